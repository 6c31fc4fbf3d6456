"""Before figures are believed, rankers with a known result pass through the protocols; one that errs is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluation_rows import frame, row

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, SEARCH
from model.datasets.dataset import Dataset
from model.evaluation import checks, metrics, protocols
from model.evaluation.checks import check_evaluation
from model.evaluation.protocols import EvaluationProtocol
from model.evaluation.reports import evaluate_artefact
from model.events.timelines import labelled_rankings, timelines

ROWS = {f"e{number}": number for number in range(400)}
SLATE = [row(n, float(n % 3), SEARCH, f"s{n // 12}", query=f"q{n // 12}") for n in range(360)]
LIKES = [row(7 * n % 400, 1.0 + n % 2, HOMEPAGE, user_id=f"u{n % 60}") for n in range(300)]
PAST = [row(n, 1.0, HOMEPAGE, user_id=f"u{n % 60}") for n in range(180)]


def checked(*rows: dict[str, object]) -> None:
    check_evaluation(ROWS, labelled_rankings(frame(*(rows or (*SLATE, *LIKES)))), timelines(frame(*PAST)))


def with_rank(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Any], Any]) -> None:
    """The protocols, with one whose results are changed."""

    def changed(protocol: EvaluationProtocol) -> EvaluationProtocol:
        return replace(protocol, rank=lambda *a, **k: change(protocol.rank(*a, **k)))

    monkeypatch.setattr(checks, "PROTOCOLS", [changed(p) if p.name == name else p for p in protocols.PROTOCOLS])


def test_the_protocols_as_they_are_pass() -> None:
    checked()


def test_graded_repeated_and_negative_labels_and_small_catalogues_pass() -> None:
    checked(*[row(n % 5, float(n % 4) - 1, HOMEPAGE, user_id=f"v{n % 3}") for n in range(40)])
    checked(*[row(n % 2, float(n % 2 == 0), SEARCH, "same", query="x") for n in range(4)])
    few = {f"e{number}": number for number in range(3)}
    check_evaluation(few, labelled_rankings(frame(row(0, user_id="u"), row(1, user_id="u"))), {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, y: (s, np.roll(y, 1)), "protocol catalogue: ndcg@10 of an oracle: expected 1.0"),
        (lambda s, y: (np.append(s, 9.0), np.append(y, 1.0)), "protocol catalogue: ndcg@10 of an oracle: expected 1.0"),
    ],
)
def test_a_metric_that_sees_other_labels_is_named(
    monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any], message: str
) -> None:
    """Labels of the neighbours; and a positive that every ranker gets for nothing."""
    for name in ("ndcg", "recall"):
        plain = getattr(metrics, name)
        monkeypatch.setattr(metrics, name, lambda s, y, k, plain=plain: plain(*change(s, y), k))
    with pytest.raises(ValueError, match=message) as error:
        checked(*LIKES)
    assert "task 'homepage'" in str(error.value)
    assert ", found 0." in str(error.value) or ", found 1." in str(error.value)
    assert "\n" not in str(error.value)


def test_a_history_that_is_not_left_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entity of the history is positive again under test: it must not count."""
    monkeypatch.setattr(protocols, "history_of", lambda *_: ())
    with pytest.raises(ValueError, match=r"protocol catalogue: .* expected .*, found"):
        checked(*LIKES, *[row(n, user_id=f"u{n}") for n in range(60)])


def test_ties_that_count_for_the_model_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant ranker would get the best: neither oracle has ties that matter."""
    plain = metrics.ndcg
    monkeypatch.setattr(metrics, "ndcg", lambda s, y, k: plain(s + 1e-6 * y, y, k))
    with pytest.raises(ValueError, match=r"ndcg@10 of a constant ranker: expected 0\.\d+, found 1\.000000"):
        checked()


def test_a_ranker_that_is_better_than_chance_by_itself_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lifted(ranked: Any) -> Any:
        ranked.values["auc"] = [value if value in (0.0, 0.5, 1.0) else 1.0 for value in ranked.values["auc"]]
        return ranked

    many = [row(n, float(n % 3 > 0), SEARCH, f"s{n // 6}", query=f"q{n // 6}") for n in range(390)]
    checked(*many)
    with_rank(monkeypatch, "slates", lifted)
    with pytest.raises(ValueError, match=r"task 'search', protocol slates: auc of a random ranker: expected 0\.5"):
        checked(*many)


def test_evaluate_checks_first_and_stops(artefact: Artefact, world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(ranked: Any) -> Any:
        ranked.values["ndcg@10"] = [0.0 for _ in ranked.values["ndcg@10"]]
        return ranked

    with_rank(monkeypatch, "catalogue", zeros)
    steps: list[int] = []
    with pytest.raises(ValueError, match=r"ndcg@10 of an oracle: expected 1\.000000, found 0\.000000"):
        evaluate_artefact(artefact, world, report=lambda done, *_: steps.append(done))
    assert not steps


def test_a_large_catalogue_is_checked_on_fewer_rankings(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def counted(ranked: Any) -> Any:
        counts.append(1)
        return ranked

    with_rank(monkeypatch, "catalogue", counted)
    monkeypatch.setattr(checks, "CELLS", 400 * 20)
    checked(*LIKES)
    assert len(counts) == 4 * 20


def test_nothing_to_rank_is_nothing_to_check() -> None:
    check_evaluation(ROWS, labelled_rankings(frame(row(0)).filter(pl.lit(False))), {})
    checked(row(0, 0.0, user_id="u"))
