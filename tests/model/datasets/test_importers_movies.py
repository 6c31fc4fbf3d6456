"""The joint film dataset is built right from small files in the publishers' formats."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH
from model.datasets.dataset import Dataset
from model.datasets.errors import DatasetError, FileFormatError, MissingFileError
from model.datasets.importers.movielens import genre_name, genre_names
from model.datasets.importers.movies import FILM_COLUMNS, import_movies
from model.datasets.importers.titles import franchise_of, parse_title
from model.events.parts import TRAIN, UNSEEN_SLICE, source_part, unseen_part


def movielens(path: Path) -> Path:
    path.mkdir()
    (path / "movies.csv").write_text(
        "movieId,title,genres\n"
        "1,Toy Story (1995),Adventure|Children|Sci-Fi\n"
        '2,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Fantasy\n'
        "3,No Link (2001),(no genres listed)\n",
        encoding="utf-8",
    )
    (path / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n2,0112682,902\n3,0000003,\n")
    rows = [f"7,{1 + index % 3},{4.0 if index % 2 else 3.5},{1000 + index}" for index in range(20)]
    (path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(rows) + "\n")
    (path / "tags.csv").write_text('userId,movieId,tag,timestamp\n7,2,"weird, dark",900\n7,99,lost,901\n')
    return path


def zipped(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


def movie_search(path: Path) -> Path:
    path.mkdir()
    first = {"id": "862", "title": "Toy Story", "overview": "Toys live.", "tags": ["pixar"]}
    first |= {"genres": ["children"], "director": "John Lasseter", "actors": [], "characters": ["Woody"]}
    first |= {"year": 1995, "votes": 10, "rating": 7.9, "popularity": 2.5, "budget": 0, "url": "https://x"}
    second = {"id": "863", "title": "Toy Story 2", "overview": "", "tags": [], "genres": ["Family"]}
    second |= {"director": "", "actors": ["Tom Hanks"], "characters": [], "year": 0, "votes": 0}
    second |= {"rating": 0.0, "popularity": 1.0, "budget": 5, "url": ""}
    films = [first, second]
    zipped(path / "movies.jsonl.gz", "\n".join([*map(json.dumps, films), "{broken"]) + "\n")
    rows = ["query_id\tquery\tdoc_id\tgrade"]
    for number in range(30):
        rows += [f'qid:{number}\tfilm "{number}\t862\t1', f'qid:{number}\tfilm "{number}\t863\t0']
    rows.append("qid:0\tfilm\t555\t1")
    zipped(path / "judgments.tsv.gz", "\n".join(rows) + "\n")
    return path


def wikipedia(path: Path) -> Path:
    path.mkdir()
    row = {"movieId": 1, "title": "Toy Story", "year": 1995, "cast": ["Tim Allen", "(voices)"], "genres": [],
           "article": "Toy_Story", "extract": "Toy Story is a film."}  # fmt: skip
    zipped(path / "extracts.jsonl.gz", json.dumps(row) + "\n")
    return path


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    sources = movielens(tmp_path / "ml"), movie_search(tmp_path / "ms"), wikipedia(tmp_path / "wiki")
    said: list[str] = []
    counts = import_movies(tmp_path / "out", *sources, said.append)
    assert counts["entities"] == 4
    assert any("deriving" in message for message in said)
    return tmp_path / "out"


def test_catalogues_are_joined_by_tmdb_id(imported: Path) -> None:
    dataset = Dataset.load(imported, max_rejected=0)
    assert [entity["entity_id"] for entity in dataset.entities] == [
        "tmdb-862",
        "tmdb-863",
        "tmdb-902",
        "ml-3",
    ]
    assert dataset.entities[0] == {
        "entity_id": "tmdb-862",
        "display_name": "Toy Story",
        "overview": "Toys live.",
        "extract": "Toy Story is a film.",
        "director": ["John Lasseter"],
        "genres": ["Family"],
        "tags": ["pixar"],
        "actors": ["Tim Allen"],
        "characters": ["Woody"],
        "year": 1995,
        "votes": 10,
        "rating": 7.9,
        "popularity": 2.5,
    }
    assert list(dataset.columns.items()) == list(FILM_COLUMNS.items())


def test_zeros_and_empties_of_the_sources_are_unknown(imported: Path) -> None:
    films = {str(entity["entity_id"]): entity for entity in Dataset.load(imported).entities}
    assert films["tmdb-863"].keys() == {
        "entity_id", "display_name", "genres", "actors", "popularity", "budget"
    }  # fmt: skip
    assert films["ml-3"] == {"entity_id": "ml-3", "display_name": "No Link", "year": 2001}
    assert films["tmdb-902"]["display_name"] == "The City of Lost Children"
    assert films["tmdb-902"]["other_titles"] == ["La Cité des enfants perdus"]


def test_judgments_are_slates_without_user_time_or_order(imported: Path) -> None:
    events = Dataset.load(imported).events
    judged = events.filter((pl.col("task") == SEARCH) & pl.col("user_id").is_null())
    assert judged["ranking_id"].n_unique() == 30
    first = judged.filter(pl.col("ranking_id") == "msr-qid:3")
    assert first["query"].to_list() == ['film "3'] * 2
    assert first["label"].to_list() == [1.0, 0.0]
    assert judged["timestamp"].null_count() == judged["position"].null_count() == judged.height
    assert unseen_part("tmdb-862") == TRAIN
    assert set(judged["part"]) <= {"train", "validation", "test"}
    assert (judged["slice"] == UNSEEN_SLICE).sum() == 0


def test_ratings_are_homepage_and_tags_are_searches_of_users(imported: Path) -> None:
    events = Dataset.load(imported).events
    home = events.filter(pl.col("task") == HOMEPAGE)
    assert home["label"].to_list() == [0.0, 1.0] * 10
    assert home["ranking_id"].n_unique() == 20
    assert home["timestamp"][0] == 1_000_000
    assert home["part"].to_list()[-4:] == ["validation", "validation", "test", "test"]
    (tag,) = events.filter((pl.col("task") == SEARCH) & pl.col("user_id").is_not_null()).to_dicts()
    assert (tag["query"], tag["user_id"], tag["entity_id"]) == ("weird, dark", "ml-7", "tmdb-902")
    assert (tag["timestamp"], tag["label"]) == (900_000, 1.0)


def test_sequels_become_pairs_grouped_by_source(imported: Path) -> None:
    events = Dataset.load(imported).events.filter(pl.col("task") == MORE_LIKE_THIS)
    pairs = set(events.select("ranking_id", "source_entity_id", "entity_id").iter_rows())
    both = {
        ("derived-content-tmdb-862", "tmdb-862", "tmdb-863"),
        ("derived-content-tmdb-863", "tmdb-863", "tmdb-862"),
    }
    same_part = source_part("tmdb-862") == source_part("tmdb-863")
    assert len(pairs & both) == (2 if same_part else 1)


def test_what_no_film_explains_is_rejected_with_its_line(imported: Path) -> None:
    lines = (imported / "rejected.jsonl").read_text().splitlines()
    found = {(row["file"], row["line"], row["column"]) for row in map(json.loads, lines)}
    assert found == {
        ("movies.jsonl.gz", 3, None),
        ("judgments.tsv.gz", 62, "entity_id"),
        ("tags.csv", 3, "entity_id"),
    }


def test_each_main_source_suffices(tmp_path: Path) -> None:
    lens, searched = movielens(tmp_path / "ml"), movie_search(tmp_path / "ms")
    assert import_movies(tmp_path / "one", movielens=lens)["entities"] == 3
    assert import_movies(tmp_path / "two", movie_search=searched)["entities"] == 2
    assert Dataset.load(tmp_path / "two").events["user_id"].null_count() > 0


def test_missing_sources_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="got neither"):
        import_movies(tmp_path / "out", wikipedia=tmp_path)
    with pytest.raises(MissingFileError, match=r"movies\.csv"):
        import_movies(tmp_path / "out", movielens=tmp_path)
    searched = movie_search(tmp_path / "ms")
    (searched / "judgments.tsv.gz").write_bytes(b"not gzip")
    with pytest.raises(FileFormatError, match=r"judgments\.tsv\.gz: expected a gzip file"):
        import_movies(tmp_path / "out", movie_search=searched)


@pytest.mark.parametrize(
    ("raw", "name", "year", "others"),
    [
        ("Toy Story (1995)", "Toy Story", 1995, ()),
        ("American President, The (1995)", "The American President", 1995, ()),
        ("Shanghai Triad (Yao a yao yao dao waipo qiao) (1995)", "Shanghai Triad", 1995,
         ("Yao a yao yao dao waipo qiao",)),
        ("Lady in White (a.k.a. The Mystery) (1988)", "Lady in White", 1988, ("The Mystery",)),
        ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", 2006, ()),
        ("Babylon 5", "Babylon 5", None, ()),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009, ()),
        ("Atalante, L' (1934)", "L'Atalante", 1934, ()),
        ("Zatoichi and the Chest (Senryô-kubi) (Zatôichi 6) (1964)", "Zatoichi and the Chest", 1964,
         ("Senryô-kubi", "Zatôichi 6")),
    ],
)  # fmt: skip
def test_titles_are_cleaned(raw: str, name: str, year: int | None, others: tuple[str, ...]) -> None:
    title = parse_title(raw)
    assert (title.name, title.year, title.others) == (name, year, others)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Toy Story 2", "toy story"),
        ("The Godfather: Part II", "godfather"),
        ("Rocky IV", "rocky"),
        ("Harry Potter and the Goblet of Fire", "harry potter"),
        ("Up", None),
        ("1984", None),
        ("Home", None),
        ("", None),
    ],
)
def test_franchises_are_found_in_titles(name: str, key: str | None) -> None:
    assert franchise_of(name) == key


def test_genres_have_one_vocabulary() -> None:
    assert genre_name("children") == genre_name("Children") == "Family"
    assert genre_names(["sci-fi", "Sci-Fi", "(no genres listed)", ""]) == ("Science Fiction",)
