"""Titles for training rows: a value that enough entities share, and exactly the entities that have it."""

from __future__ import annotations

import numpy as np
import pytest

from model.learning.row_titles import FEWEST, WORDINGS, RowTitles, plural
from model.text.normalise import words

COLUMNS = {"kinds": "categories", "about": "text", "year": "number"}
KINDS = {0: ["Odd"], 1: ["Comedy"], 2: ["Odd"], 3: ["Comedy"], 4: ["Heist"], 5: ["Comedy"]}
ENTITIES: list[dict[str, object]] = [
    {"display_name": f"film {n}", "kinds": KINDS[n % 6], "about": "war", "year": 1985 + n} for n in range(24)
]


def titles_of(row: int, draws: int = 300) -> dict[str, list[int]]:
    titles, rng = RowTitles(ENTITIES, COLUMNS, ["year"]), np.random.default_rng(0)
    drawn = (titles.draw(row, rng) for _ in range(draws))
    return {title.text: title.fitting.tolist() for title in drawn if title is not None}


def test_a_title_holds_exactly_the_entities_with_its_value() -> None:
    titles = titles_of(7)
    assert any("90s" in text for text in titles)
    for text, fitting in titles.items():
        assert fitting == (list(range(5, 15)) if "90s" in text else list(range(1, 24, 2)))


def test_a_value_of_few_entities_or_of_nearly_all_titles_no_row() -> None:
    assert not any("heist" in text.lower() for text in titles_of(4))  # four of them
    assert sum(entity["kinds"] == ["Heist"] for entity in ENTITIES) < FEWEST
    everything = [{"display_name": "a", "kinds": ["All"]} for _ in range(20)]
    assert RowTitles(everything, COLUMNS, []).draw(3, np.random.default_rng(0)) is None


def test_an_entity_that_shares_nothing_has_no_title() -> None:
    assert RowTitles([{"display_name": "alone"}], COLUMNS, ["year"]).draw(0, np.random.default_rng(0)) is None


def test_titles_come_in_many_wordings_and_all_name_the_value() -> None:
    texts = [text for text in titles_of(1, 2_000) if "omed" in text]
    assert len(texts) >= 0.7 * len(set(WORDINGS))
    assert all({"comedy", "comedies"} & set(words(text)) for text in texts)


@pytest.mark.parametrize(("text", "expected"), [("Day", "Days"), ("Sci-Fi", "Sci-Fis"), ("", ""), ("Kids", "Kids")])
def test_plurals(text: str, expected: str) -> None:
    assert plural(text) == expected
