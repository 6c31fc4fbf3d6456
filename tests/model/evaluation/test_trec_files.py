"""From the run and qrels that `evaluate` writes, ir-measures computes our figures again, ties included."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote

import ir_measures
import numpy as np
import polars as pl
import pytest
from command_line import run_command
from evaluation_rows import frame, row, value
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import R, nDCG

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context
from model.datasets.dataset import Dataset
from model.evaluation.protocols import evaluate
from model.evaluation.reports import evaluate_artefact
from model.evaluation.trec_files import HIGHEST_GRADE, escape, grades, trec_files
from model.events.timelines import labelled_rankings, timelines

IDS = [f"e{number}" for number in range(1500)]
MEASURES = {"ndcg@10": nDCG @ 10, "recall@1": R @ 1, "recall@10": R @ 10, "recall@30": R @ 30}


class Coarse:
    """A ranker with few distinct scores and some that are not finite."""

    def __init__(self) -> None:
        self.rows = {entity: place for place, entity in enumerate(IDS)}

    def score(self, context: Context, rows: np.ndarray | None) -> np.ndarray:
        rng = np.random.default_rng(len(context.query or context.user_id or ""))
        scores = rng.integers(0, 300, len(IDS)).astype(float)
        scores[::50] = np.nan
        return scores if rows is None else scores[rows] // 100


def theirs(run: Path, qrels: Path, prefix: str) -> dict[str, float]:
    """Mean of each measure over the queries of a task and protocol."""
    values = defaultdict(list)
    run_lines, qrel_lines = ir_measures.read_trec_run(str(run)), ir_measures.read_trec_qrels(str(qrels))
    for found in ir_measures.iter_calc(MEASURES.values(), qrel_lines, run_lines):
        if found.query_id.startswith(prefix + "/"):
            values[found.measure].append(found.value)
    return {name: float(np.mean(values[measure])) for name, measure in MEASURES.items()}


def rows_of(labels: tuple[float, ...]) -> pl.DataFrame:
    rng = np.random.default_rng(0)

    def drawn() -> tuple[int, float]:
        return int(rng.integers(len(IDS))), float(rng.choice(labels))

    slates = [(*drawn(), f"s{n // 9}") for n in range(450)]
    rows = [row(e, label, SEARCH, s, query="q" * int(s[1:])) for e, label, s in slates]
    rows += [row(e, label, HOMEPAGE, user_id="u" * (n % 30)) for n in range(300) for e, label in [drawn()]]
    return frame(*rows)


@pytest.mark.parametrize("labels", [(0.0, 0.0, 1.0), (0.0, -1.0, 0.5, 2.0), (0.0, 0.31830989, 2.71828183, 0.001)])
def test_ir_measures_gives_our_figures(tmp_path: Path, labels: tuple[float, ...]) -> None:
    run, qrels = tmp_path / "run", tmp_path / "qrels"
    test, past = rows_of(labels), frame(*(row(n, user_id="u" * (n % 30)) for n in range(100)))
    with trec_files(run, qrels, IDS) as files:
        found = evaluate(Coarse(), labelled_rankings(test), timelines(past), np.ones(len(IDS)), watch=files.watch)
    slates, catalogue = theirs(run, qrels, "search/slates"), theirs(run, qrels, "homepage/catalogue")
    assert slates["ndcg@10"] == pytest.approx(value(found[SEARCH], "ndcg@10"), abs=1e-6)
    assert 0.2 < slates["ndcg@10"] < 0.9
    for name in MEASURES:
        assert catalogue[name] == pytest.approx(value(found[HOMEPAGE], name), abs=1e-6), name
    assert catalogue["recall@30"] > 0


def test_the_command_writes_both_and_they_agree_with_its_report(
    artefact: Artefact, world: Dataset, model_path: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run, qrels = tmp_path / "new" / "films.run", tmp_path / "films.qrels"
    ended = run_command(capsys, monkeypatch, "evaluate", model_path, world.path, "--run", run, "--qrels", qrels)
    assert ended.code == 0, ended.err
    report = evaluate_artefact(artefact, world)["tasks"]
    protocols = {SEARCH: "slates", MORE_LIKE_THIS: "catalogue", HOMEPAGE: "catalogue"}
    protocols[MORE_LIKE_THIS] = "slates" if "mrr" in report[MORE_LIKE_THIS] else "catalogue"
    for task, protocol in protocols.items():
        ours = value(report[task], "ndcg@10")
        assert theirs(run, qrels, f"{task}/{protocol}")["ndcg@10"] == pytest.approx(ours, abs=1e-6), task
    assert not list(tmp_path.rglob(".*"))


def test_parquet_holds_the_same_rows(artefact: Artefact, world: Dataset, tmp_path: Path) -> None:
    text, table = tmp_path / "run", tmp_path / "run.parquet"
    evaluate_artefact(artefact, world, run=text)
    evaluate_artefact(artefact, world, run=table, qrels=tmp_path / "qrels.parquet")
    rows = pl.read_parquet(table)
    assert rows.columns == ["q_id", "Q0", "doc_id", "rank", "score", "tag"]
    assert [" ".join(map(str, line)) for line in rows.iter_rows()] == text.read_text().splitlines()
    assert pl.read_parquet(tmp_path / "qrels.parquet").columns == ["q_id", "iteration", "doc_id", "score"]


def test_scores_fall_and_a_run_ends_at_its_depth(tmp_path: Path) -> None:
    with trec_files(tmp_path / "run", None, IDS) as files:
        evaluate(Coarse(), labelled_rankings(frame(row(1, user_id="u"))), {}, np.ones(len(IDS)), watch=files.watch)
    lines = [line.split(" ") for line in (tmp_path / "run").read_text().splitlines()]
    assert [line[3] for line in lines] == [str(rank) for rank in range(1, 1001)]
    scores = np.array([line[4] for line in lines], np.float32)
    assert (np.diff(scores) < 0).all()
    assert {(line[0], line[1], line[5]) for line in lines} == {("homepage/catalogue/1", "Q0", "unirank")}


def test_an_entity_twice_in_a_slate_is_two_documents(tmp_path: Path) -> None:
    rows = [row(n, float(n == 2), SEARCH, "s", query="x") for n in (1, 2, 1)]
    run, qrels = tmp_path / "run", tmp_path / "qrels"
    with trec_files(run, qrels, IDS) as files:
        found = evaluate(Coarse(), labelled_rankings(frame(*rows)), {}, np.ones(len(IDS)), watch=files.watch)
    assert {line.split()[2] for line in qrels.read_text().splitlines()} == {"e1", "e2", "e1#2"}
    assert theirs(run, qrels, "search/slates")["ndcg@10"] == pytest.approx(value(found[SEARCH], "ndcg@10"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_id_is_one_field_and_comes_back(text: str) -> None:
    written = escape(text)
    assert unquote(written) == text
    assert written.split() == ([written] if text else [])
    assert not set(written) & set('#/"')


@given(st.lists(st.floats(-2, 1e7, allow_nan=False), min_size=1, max_size=20))
def test_grades_are_whole_keep_the_order_and_stay_small(labels: list[float]) -> None:
    found = grades(np.array(labels))
    assert found.max() <= HIGHEST_GRADE
    assert ((found > 0) == (np.array(labels) > 0)).all()
    order = np.argsort(labels, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_whole_and_half_labels_stay_exact() -> None:
    assert grades(np.array([1.0, 0.0, 3.0, -1.0])).tolist() == [1, 0, 3, 0]
    assert grades(np.array([0.5, 1.5, 5.0])).tolist() == [1, 3, 10]
    assert grades(np.zeros(2)).tolist() == [0, 0]
    assert grades(np.array([5e-324, 0.0])).tolist() == [HIGHEST_GRADE, 0]  # the smallest number that there is
    assert grades(np.array([2.0, 5e-324])).tolist() == [HIGHEST_GRADE, 1]


def test_one_file_for_both_and_an_error_on_the_way_leave_what_was_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.write_text("mine")
    with pytest.raises(ValueError, match="expected two files"), trec_files(run, run, IDS):
        pass
    with pytest.raises(RuntimeError), trec_files(run, None, IDS):
        raise RuntimeError
    assert run.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [run]
