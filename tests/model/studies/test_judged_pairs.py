"""Pairs that people judged: read with the line of what is wrong, found by name and year, and measured by AUC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from model.context.context import Context
from model.datasets.dataset import Dataset
from model.studies.judged_pairs import BY_PEOPLE, JudgedPair, judged_rankings, likeness, read_pairs
from model.studies.protocols import protocols

HEADER = "source_name,source_year,candidate_name,candidate_year,label\n"
NAMES = ("Alien", "Aliens", "Heat", "Heat", "Amélie", "Solaris", "Solaris")
YEARS = (1979, 1986, 1995, 1986, None, 1972, 1972)
FILMS = [{"entity_id": str(n), "display_name": NAMES[n], "year": YEARS[n]} for n in range(len(NAMES))]


class Scored:
    """Scores by (source, row), as written down; everything else gets 0."""

    def __init__(self, scores: Mapping[tuple[str, int], float], count: int) -> None:
        self.scores, self.rows = scores, {str(n): n for n in range(count)}

    def score(self, context: Context, rows: Sequence[int] | None) -> np.ndarray:
        chosen = range(len(self.rows)) if rows is None else rows
        return np.array([self.scores.get((context.source_entity_id or "", int(row)), 0.0) for row in chosen])


def written(folder: Path, *lines: str) -> Path:
    file = folder / "pairs.csv"
    file.write_text(HEADER + "".join(line + "\n" for line in lines), "utf-8")
    return file


def pair(source: int, candidate: int, label: float) -> JudgedPair:
    return JudgedPair(*((NAMES[n].lower().replace("é", "e"), YEARS[n]) for n in (source, candidate)), label)


def test_pairs_are_read_with_quotes_accents_and_unknown_years(tmp_path: Path) -> None:
    file = written(tmp_path, '"Alien",1979,ALIENS!,1986,1', 'Amélie,,"Good, Bad",1966,0')
    assert read_pairs(file) == [
        JudgedPair(("alien", 1979), ("aliens", 1986), 1.0), JudgedPair(("amelie", None), ("good bad", 1966), 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "Alien,1979,Aliens,1986,1\nAlien,1979,Heat,1995,2\n", "line 3: label: expected 0 or 1, got '2'"),
        (HEADER + "Alien,1979,Heat,199x,0\n", "line 2: candidate_year: expected a year, got '199x'"),
        (HEADER + ",1979,Heat,1995,0\n", "line 2: source_name: expected a name, got ''"),
        (HEADER + "Alien,1979\n", "line 2: label: expected 0 or 1, got 'None'"),
        ("source_name,label\n", "line 1: expected the columns .*; there is no source_year, candidate_name"),
        ("", "line 1: expected the columns"),
        (HEADER, "expected at least one pair, found none"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_pairs(file)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.csv: expected a CSV file of pairs"):
        read_pairs(tmp_path / "none.csv")


def test_films_are_found_by_name_and_year_and_the_others_counted() -> None:
    pairs = [
        pair(0, 1, 1), pair(0, 2, 0), pair(1, 0, 1), pair(4, 3, 0),
        pair(0, 5, 1),  # two entities
        pair(0, 0, 1),  # itself
        JudgedPair(("alien", 1979), ("heat", 1996), 1.0),  # another year
        JudgedPair(("alien", None), ("heat", 1995), 1.0),  # a year that is not unknown
    ]  # fmt: skip
    rankings, left_out = judged_rankings(pairs, FILMS)
    found = [(r.context.source_entity_id, r.entity_ids, r.labels.tolist()) for r in rankings]
    assert found == [("0", ("1", "2"), [1, 0]), ("1", ("0",), [1]), ("4", ("3",), [0])]
    assert left_out == 4


def test_auc_within_sources_and_of_all_pairs(world: Dataset) -> None:
    """Each source orders its own pairs rightly, but the 0 of one scores above the 1 of the other."""
    films = replace(world, entities=FILMS, events=world.events.clear())
    pairs = [pair(0, 1, 1), pair(0, 2, 0), pair(1, 0, 1), pair(1, 3, 0), pair(4, 1, 1)]
    scores = {("0", 1): 4.0, ("0", 2): 3.0, ("1", 0): 2.0, ("1", 3): 1.0, ("4", 1): 5.0}
    measures, left_out = likeness(Scored(scores, len(FILMS)), films, [*pairs, pair(0, 5, 1)])
    row = measures[BY_PEOPLE]
    assert row["within"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert row["pooled"]["value"] == pytest.approx(5 / 6)
    assert row["pooled"]["low"] <= 5 / 6 <= row["pooled"]["high"]
    assert (row["sources"], row["pairs"], left_out) == (3, 5, 1)


def test_without_both_labels_no_auc_is_made_up(world: Dataset) -> None:
    films = replace(world, entities=FILMS, events=world.events.clear())
    row = likeness(Scored({}, len(FILMS)), films, [pair(0, 1, 1), pair(0, 2, 1)])[0][BY_PEOPLE]
    assert (row["within"], row["pooled"]) == (None, None)


def test_judged_pairs_are_a_protocol_of_test_alone(world: Dataset) -> None:
    films = replace(world, entities=[*world.entities, *FILMS])
    pairs = [pair(0, 1, 1), pair(0, 2, 0), pair(1, 0, 1)]
    (found,) = (p for p in protocols(films, "test", pairs) if p.name == BY_PEOPLE)
    assert [ranking.context.source_entity_id for ranking in found.rankings] == ["0"]  # 1 has no pair judged 0
    assert BY_PEOPLE not in {p.name for p in protocols(films, "validation", pairs)}
    assert BY_PEOPLE not in {p.name for p in protocols(films, "test")}


def test_the_command_puts_people_beside_the_measures_without_judgement(
    tmp_path: Path, model_path: Path, world_path: Path, world: Dataset
) -> None:
    names = [str(entity["display_name"]) for entity in world.entities]
    first, second, third = [name for name in names if names.count(name) == 1][:3]
    file = written(tmp_path, f"{first},,{second},,1", f"{first},,{third},,0", f"{first},,nobody knows,,0")
    arguments = ["study", "likeness", str(model_path), str(world_path), "--pairs", str(file)]
    ended = CliRunner().invoke(app, arguments, env={"COLUMNS": "140"})
    assert ended.exit_code == 0, ended.output
    assert "by people" in ended.output
    assert "1 of 3 judged pairs are left out" in ended.output
