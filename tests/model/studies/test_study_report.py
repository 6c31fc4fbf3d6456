"""The page of a study: all models and figures are in it, nothing outside it is asked for, names are only text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from model.studies.html_report import page
from model.studies.protocols import NAMES_BY_SOMEBODY, Protocol
from model.studies.specialists_report import LIKENESS, study_report

RIVALS = ("ease", "<b>bold & co</b>")
VOID = {"meta", "br", "img", "link", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """Text, attributes and open elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.attributes, self.tags, self.open = [], [], [], []  # type: ignore[var-annotated]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def cell(name: str, seed: int, better: float, **further: Any) -> dict[str, Any]:
    """A finished cell of forty homepage rankings."""
    rng = np.random.default_rng(7)
    values = np.clip(rng.random(40) / 2 + better, 0, 1).round(3).tolist()
    answers = {"values": {"ndcg@10": values, "recall@30": values}, "groups": [f"u{i}" for i in range(40)],
               "slices": [["head"] if i % 2 else ["tail"] for i in range(40)]}  # fmt: skip
    task = None if name == "joint" else "homepage"
    about = {"name": name, "task": task, "seed": seed, "chosen": {}, "validation": {"ndcg@10": better}, "seconds": 2.0}
    return {**about, "protocols": {"homepage": answers}, **further}


def written(*cells: dict[str, Any]) -> dict[str, Any]:
    protocols = {"homepage": Protocol("homepage", "homepage", (), False, "ndcg@10")}
    about = {"study": "specialists", "dataset": {"name": "toys <i>", "entities": 5, "events": 1234}}
    return study_report(cells, protocols, about)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    curves = {"losses": [(1, 3.0), (6, 2.5)], "validations": [(3, 0.2, {"homepage": 0.1}), (6, 0.3, {"homepage": 0.2})]}
    bins = [{"predicted": 0.1, "observed": 0.2, "count": 9}, {"predicted": 0.8, "observed": 0.7, "count": 3}]
    calibration = {"homepage": {"ece": 0.0123, "bins": bins}, "search": {"ece": None, "bins": []}}
    ours = [cell("joint", seed, 0.4, curves=curves, calibration=calibration) for seed in range(2)]
    return written(*ours, *(cell(name, 0, 0.1, chosen={"ridge": 3}) for name in RIVALS))


def likeness(name: str, *aucs: float) -> dict[str, Any]:
    """A cell with measures of likeness of one value each, of which the first has more rankings."""
    counts = (30, 10, 10)
    found = {
        proxy: {"values": {"auc": [auc] * count}, "groups": [f"g{i}" for i in range(count)], "slices": [[]] * count}
        for proxy, auc, count in zip(LIKENESS, aucs, counts, strict=False)
    }
    task = None if name == "joint" else "more_like_this"
    return {"name": name, "task": task, "seed": 0, "chosen": {}, "validation": {}, "seconds": 1.0, "protocols": found}


def test_the_mean_of_the_proxies_counts_each_alike() -> None:
    protocols = {name: Protocol(name, "more_like_this", (), True, "auc") for name in LIKENESS}
    about = {"study": "specialists", "dataset": {"name": "toys", "entities": 5, "events": 9}}
    found = study_report([likeness("joint", 0.9, 0.6, 0.6), likeness("content", 0.6, 0.6, 0.6)], protocols, about)
    (row,) = (row for row in found["differences"] if row["protocol"] == "likeness")
    assert row["value"] == pytest.approx(0.1)
    assert row["rival"] == "content"


def test_the_mean_is_of_the_measures_that_a_study_has_and_never_of_the_family_rule() -> None:
    protocols = {
        name: Protocol(name, "more_like_this", (), True, "auc") for name in ("co_likes", "shared_tags", "family")
    }
    about = {"study": "specialists", "dataset": {"name": "toys", "entities": 5, "events": 9}}
    ours, theirs = likeness("joint", 0.9, 0.7), likeness("content", 0.6, 0.6)
    for found, auc in ((ours, 0.0), (theirs, 1.0)):
        found["protocols"]["family"] = {
            "values": {"auc": [auc] * 10},
            "groups": list("abcdefghij"),
            "slices": [[]] * 10,
        }
    rows = {row["protocol"]: row["value"] for row in study_report([ours, theirs], protocols, about)["differences"]}
    assert rows["family"] == pytest.approx(-1.0)
    assert rows["likeness"] == pytest.approx(0.2)


def test_one_measure_of_likeness_has_no_mean() -> None:
    protocols = {"co_likes": Protocol("co_likes", "more_like_this", (), True, "auc")}
    about = {"study": "specialists", "dataset": {"name": "toys", "entities": 5, "events": 9}}
    found = study_report([likeness("joint", 0.9), likeness("content", 0.6)], protocols, about)["differences"]
    assert [row["protocol"] for row in found] == ["co_likes"]


def test_asked_without_something_is_a_row_of_its_own() -> None:
    ours = cell("joint", 0, 0.4)
    less = cell("joint", 0, 0.1)["protocols"]
    found = written({**ours, "asked without": {"query not imputed": less}}, cell("ease", 0, 0.1))
    rows = {(row["rival"], row["metric"]): row for row in found["differences"]}
    assert rows["joint, query not imputed", "ndcg@10"]["value"] == pytest.approx(rows["ease", "ndcg@10"]["value"])
    assert found["named"] == {"homepage": "ease"}


def test_what_is_served_is_compared_with_the_best_specialist_and_with_the_whole_catalogue() -> None:
    served = cell("joint", 0, 0.3)["protocols"]
    found = written({**cell("joint", 0, 0.4), "served": served}, cell("ease", 0, 0.1), cell("popularity", 0, 0.05))
    asked = {(row["ours"], row["rival"]): row for row in found["differences"] if row["metric"] == "ndcg@10"}
    assert asked["joint, as served", "ease"]["value"] == pytest.approx(0.2, abs=0.02)
    assert asked["joint, as served", "ease"]["main"]
    assert asked["joint", "joint, as served"]["value"] == pytest.approx(0.1, abs=0.02)
    assert ("joint, as served", "popularity") not in asked


def test_whether_taste_hurts_a_search_for_a_name() -> None:
    def asked(*hits: float) -> dict[str, Any]:
        count = len(hits)
        return {"values": {"recall@1": list(hits)}, "groups": [f"r{i}" for i in range(count)], "slices": [[]] * count}

    both = {"names": asked(1, 1, 1, 1, 0), NAMES_BY_SOMEBODY: asked(1, 1, 1, 0, 0)}
    protocols = {name: Protocol(name, "search", (), False, "recall@1", True) for name in both}
    about = {"study": "specialists", "dataset": {"name": "toys", "entities": 5, "events": 9}}
    (row,) = study_report([{**likeness("joint", 0, 0, 0), "protocols": both}], protocols, about)["differences"]
    assert row["metric"] == "success@1"
    assert row["value"] == pytest.approx(-0.2)


def test_all_models_and_their_figures_are_there(whole: dict[str, Any]) -> None:
    text = " ".join(Page(page(whole)).words)
    for name in ("joint", *RIVALS):
        assert name in text
    for row in whole["table"]:
        if row["slice"] == "all":
            assert f"{row['value']:.4f}" in text
            assert f"{row['low']:.4f} – {row['high']:.4f}" in text
    assert "homepage 0.012" in text
    assert "ridge 3" in text
    assert "1,234 events" in text


def test_the_questions_asked_beforehand_are_answered_in_words(whole: dict[str, Any]) -> None:
    text = " ".join("".join(Page(page(whole)).words).split())
    (main,) = (row for row in whole["differences"] if row["main"] and row["metric"] == "ndcg@10")
    assert f"joint is better than {main['rival']} in ndcg@10 by {main['value']:+.4f}" in text
    worse = written(cell("joint", 0, 0.0), cell("ease", 0, 0.3))
    assert "joint is worse than ease" in " ".join("".join(Page(page(worse)).words).split())
    same = written(cell("joint", 0, 0.3), cell("ease", 0, 0.3))
    assert "joint is not told apart from ease" in " ".join("".join(Page(page(same)).words).split())


def test_every_element_is_closed_and_names_are_text(whole: dict[str, Any]) -> None:
    found = Page(page(whole))
    assert not found.open
    assert not {"b", "i", "script", "link", "img", "iframe"} & set(found.tags)


def test_nothing_outside_the_page_is_asked_for(whole: dict[str, Any]) -> None:
    found = Page(page(whole))
    for name, value in found.attributes:
        if name in ("src", "href", "xlink:href", "data", "action"):
            assert (value or "").startswith("#"), (name, value)
    assert not re.search(r"url\((?!#)|@import", page(whole))


def test_pictures_of_slices_training_and_calibration(whole: dict[str, Any]) -> None:
    found = Page(page(whole))
    assert found.tags.count("svg") == found.tags.count("figcaption") == 3
    assert "tail" in " ".join(found.words)


def test_cells_without_curves_and_a_study_without_ours() -> None:
    found = Page(page(written(cell("ease", 0, 0.2))))
    assert found.tags.count("svg") == 1
    assert "has not been run yet" in " ".join(found.words)


def test_the_same_report_gives_the_same_bytes(whole: dict[str, Any]) -> None:
    assert page(whole) == page(whole)
