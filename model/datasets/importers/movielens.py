"""MovieLens rows → films and events: ids, genres, ratings, tags. Knows no other source."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from model.context.context import HOMEPAGE, SEARCH
from model.datasets.errors import FileFormatError, MissingFileError
from model.datasets.importers.titles import Title, parse_title
from model.events.table import conform

LIKED = 4.0  # stars from which a rating is a positive engagement
GENRE_NAMES = {"sci-fi": "Science Fiction", "children": "Family", "musical": "Music", "imax": "IMAX"}
NO_GENRES = "(no genres listed)"
_COLUMNS = {
    "movies.csv": ("movieId", "title", "genres"),
    "ratings.csv": ("userId", "movieId", "rating", "timestamp"),
    "tags.csv": ("userId", "movieId", "tag", "timestamp"),
    "links.csv": ("movieId", "tmdbId"),
}


@dataclass(frozen=True, slots=True)
class Film:
    """One film of MovieLens. `tmdb_id` is None if the archive has no link."""

    movie_id: int
    title: Title
    genres: tuple[str, ...] = ()
    tmdb_id: str | None = None

    @property
    def entity_id(self) -> str:
        """`tmdb-<tmdbId>`, else `ml-<movieId>`."""
        return f"tmdb-{self.tmdb_id}" if self.tmdb_id else f"ml-{self.movie_id}"


@dataclass(frozen=True)
class MovieLens:
    """The archive: films, and ratings and tags as frames of the published columns (timestamps in s)."""

    films: list[Film]
    ratings: pl.DataFrame
    tags: pl.DataFrame
    entity_ids: dict[int, str] = field(default_factory=dict)


def genre_name(raw: str) -> str:
    """One vocabulary for both spellings of a genre.

    >>> genre_name("sci-fi"), genre_name("Film-Noir"), genre_name("Science Fiction"), genre_name("TV Movie")
    ('Science Fiction', 'Film-Noir', 'Science Fiction', 'TV Movie')
    """
    name = raw.strip()
    return GENRE_NAMES.get(name.lower()) or (name.title() if name.islower() else name)


def genre_names(raw: list[str]) -> tuple[str, ...]:
    """Genres in one vocabulary, each once, without MovieLens' placeholder for none."""
    return tuple(dict.fromkeys(genre_name(name) for name in raw if name and name != NO_GENRES))


def read_movielens(folder: Path) -> MovieLens:
    """Read `movies.csv`, `ratings.csv`, and `tags.csv` and `links.csv` if they exist."""
    links = _tmdb_ids(folder)
    films = [
        Film(movie, parse_title(title), genre_names(genres.split("|")), links.get(movie))
        for movie, title, genres in _table(folder, "movies.csv", required=True).iter_rows()
    ]
    ids = {film.movie_id: film.entity_id for film in films}
    ratings = _table(folder, "ratings.csv", required=True)
    return MovieLens(films, ratings, _table(folder, "tags.csv"), ids)


def _tmdb_ids(folder: Path) -> dict[int, str]:
    rows = _table(folder, "links.csv").drop_nulls()
    return {movie: str(tmdb) for movie, tmdb in rows.iter_rows()}


def _table(folder: Path, name: str, required: bool = False) -> pl.DataFrame:
    """The used columns of one CSV file; without the file no rows, or an error if it is required."""
    file, columns = folder / name, _COLUMNS[name]
    types = {c: pl.Int64 if c.endswith("Id") or c == "timestamp" else pl.String for c in columns}
    schema = types | ({"rating": pl.Float64} if "rating" in columns else {})
    if not file.is_file():
        if required:
            raise MissingFileError(f"{file}: expected this file of MovieLens, found nothing")
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_csv(file, columns=list(columns), schema_overrides=schema, glob=False).select(columns)
    except pl.exceptions.PolarsError as error:
        raise FileFormatError(f"{name}: expected the columns {', '.join(columns)}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["unreadable"])[0]


def rating_events(ratings: pl.DataFrame, entity_ids: dict[int, str], prefix: str = "ml") -> pl.DataFrame:
    """Homepage events: one ranking per rating, label 1.0 from `LIKED` stars on, else 0.0. No row is dropped.

    `ratings` has userId, movieId, rating, timestamp (s). A film that is not in `entity_ids` gets the id
    `<prefix>-<movieId>`, so that the check of the dataset can name it.
    """
    user, movie = pl.col("userId").cast(pl.String), pl.col("movieId").cast(pl.String)
    return conform(
        ratings.select(
            pl.format("{}r-{}-{}-{}", pl.lit(prefix), user, movie, "timestamp").alias("ranking_id"),
            (pl.col("timestamp") * 1000).alias("timestamp"),
            pl.lit(HOMEPAGE).alias("task"),
            pl.format("{}-{}", pl.lit(prefix), user).alias("user_id"),
            _entity_of(entity_ids, prefix),
            (pl.col("rating") >= LIKED).cast(pl.Float64).alias("label"),
        )
    )


def tag_events(tags: pl.DataFrame, entity_ids: dict[int, str], prefix: str = "ml") -> pl.DataFrame:
    """Search events with a user: the tag is the query, the film its positive; one ranking per row."""
    user, movie = pl.col("userId").cast(pl.String), pl.col("movieId").cast(pl.String)
    row = pl.int_range(pl.len()).cast(pl.String)
    return conform(
        tags.select(
            pl.format("{}t-{}-{}-{}", pl.lit(prefix), user, movie, row).alias("ranking_id"),
            (pl.col("timestamp") * 1000).alias("timestamp"),
            pl.lit(SEARCH).alias("task"),
            pl.format("{}-{}", pl.lit(prefix), user).alias("user_id"),
            pl.col("tag").str.strip_chars().alias("query"),
            _entity_of(entity_ids, prefix),
            pl.lit(1.0).alias("label"),
        )
    )


def _entity_of(entity_ids: dict[int, str], prefix: str) -> pl.Expr:
    fallback = pl.format("{}-{}", pl.lit(prefix), pl.col("movieId").cast(pl.String))
    known = pl.col("movieId").replace_strict(entity_ids, default=None, return_dtype=pl.String)
    return pl.coalesce(known, fallback).alias("entity_id")
