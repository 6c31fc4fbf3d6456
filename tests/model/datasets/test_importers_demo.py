"""The demo dataset has clean entities, and searches with positive and negative labels, in all parts."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from model.datasets.dataset import Dataset
from model.datasets.importers.demo import OTHERS, DemoFilm, TitleIndex, decade, import_demo
from model.datasets.quality import validate
from model.text.normalise import words

TITLES = [
    "Toy Story", "Toy Story 2", "Heat", "Matrix, The", "Matrix Reloaded, The", "Amelie (Fabuleux destin, Le)",
    "Up", "Big Fish", "Big Lebowski, The", "Fish Tank", "Alien", "Aliens", "Brazil", "Chinatown", "Fargo",
    "Gattaca", "Jaws", "Memento", "Rocky", "Rocky II",
]  # fmt: skip


def ratings() -> pl.DataFrame:
    """40 users rate 12 films each; film 99 has neither title nor year."""
    rows = [
        (
            movie,
            TITLES[movie],
            1990 + movie,
            "Comedy|Sci-Fi" if movie // 2 % 2 else "Drama",
            user,
            4.5,
            1000 + step,
        )
        for user in range(40)
        for step, movie in enumerate((user + offset) % len(TITLES) for offset in range(12))
    ]
    nameless = (99, None, None, "(no genres listed)", 3, 5.0, 5000)
    names = ("movieId", "title", "year", "genres", "userId", "rating", "timestamp")
    return pl.DataFrame([*rows, nameless], schema=names, orient="row", infer_schema_length=None)


@pytest.fixture
def imported(tmp_path: Path) -> Dataset:
    counts = import_demo(tmp_path, searches=100, ratings=ratings)
    assert counts["rejected"] == 1
    return Dataset.load(tmp_path, max_rejected=0)


def test_films_have_clean_names_genres_and_years(imported: Dataset) -> None:
    films = {str(film["entity_id"]): film for film in imported.entities}
    assert len(films) == len(TITLES)
    assert films["ml-3"] == {
        "entity_id": "ml-3",
        "display_name": "The Matrix",
        "genres": ["Comedy", "Science Fiction"],
        "year": 1993,
    }
    assert films["ml-5"]["other_titles"] == ["Le Fabuleux destin"]


def test_a_film_without_a_title_is_rejected_by_row(imported: Dataset) -> None:
    text = (imported.path / "rejected.jsonl").read_text()
    assert '"line":481' in text
    assert "ml-99" in text


def test_searches_are_slates_with_both_labels_and_distinct_texts(imported: Dataset) -> None:
    searches = imported.events.filter(pl.col("task") == "search")
    slates = searches.group_by("ranking_id").agg(
        pl.len(),
        pl.col("label").sum().alias("relevant"),
        pl.col("entity_id").n_unique().alias("films"),
    )
    assert (slates["relevant"] >= 1).all()
    assert (slates["len"] - slates["relevant"] <= OTHERS).all()
    assert (slates["len"] == slates["films"]).all()
    texts = searches.select("ranking_id", "query").unique()
    assert texts["query"].n_unique() == texts.height
    assert texts["query"].str.contains("comedy 90s").any()


def test_no_film_that_fits_the_words_is_labelled_zero(imported: Dataset) -> None:
    names = {film["entity_id"]: words(str(film["display_name"])) for film in imported.entities}
    searches = imported.events.filter((pl.col("task") == "search") & (pl.col("label") == 0))
    for query, entity in searches.select("query", "entity_id").iter_rows():
        *full, last = words(query)
        fits = all(word in names[entity] for word in full) and any(w.startswith(last) for w in names[entity])
        assert not fits, (query, entity)


def test_all_parts_are_assigned_and_the_dataset_is_sound(imported: Dataset) -> None:
    report = validate(imported.path, max_rejected=0)
    assert (report.errors, report.warnings) == ([], [])
    pairs = imported.events.filter(pl.col("task") == "more_like_this")
    assert ("ml-18", "ml-19") in set(pairs.select("source_entity_id", "entity_id").iter_rows())


def test_the_same_seed_writes_the_same_and_the_limit_holds(tmp_path: Path) -> None:
    for name in ("one", "two"):
        import_demo(tmp_path / name, searches=7, ratings=ratings)
    first, second = ((tmp_path / name / "events.jsonl").read_bytes() for name in ("one", "two"))
    assert first == second
    events = Dataset.load(tmp_path / "one").events
    assert events.filter(pl.col("task") == "search")["ranking_id"].n_unique() == 7


def test_the_title_index_matches_the_last_word_as_a_prefix() -> None:
    films = [DemoFilm(str(i), name, (), None) for i, name in enumerate(("Toy Story", "Story of Toys", "Toyland"))]
    index = TitleIndex(films)
    assert index.matching("toy sto") == {0}
    assert index.matching("toy") == {0, 1, 2}
    assert index.matching("of toys") == {1}
    assert index.matching("nothing") == set()


def test_years_are_grouped_into_decades() -> None:
    assert [decade(year) for year in (1902, 1919, 1999, 2000, 2016)] == [
        "1900s",
        "10s",
        "90s",
        "2000s",
        "2010s",
    ]
