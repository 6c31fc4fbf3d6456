"""Reads the files of the movie search set and of the Wikipedia extracts; `movielens.py` reads MovieLens.

Lines of another shape are rejected with file and line. `movies.py` turns the rows into a dataset.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl

from model.datasets.errors import UNREADABLE, FileFormatError, MissingFileError, Rejected
from model.datasets.importers.movielens import MovieLens, read_movielens

Progress = Callable[[str], None]
Row = TypeVar("Row")


class SearchFilm(msgspec.Struct):
    """A line of `movies.jsonl.gz` of the search set. 0 and empty values mean unknown."""

    id: str
    title: str
    overview: str | None = None
    tags: list[str] = []
    genres: list[str] = []
    director: str | None = None
    actors: list[str] = []
    characters: list[str] = []
    year: int | None = None
    votes: int | None = None
    rating: float | None = None
    popularity: float | None = None
    budget: int | None = None


class Extract(msgspec.Struct, rename={"movie_id": "movieId"}):
    """A line of `extracts.jsonl.gz`."""

    movie_id: int
    extract: str | None = None
    cast: list[str] = []
    year: int | None = None


@dataclass
class Sources:
    """What was read. Empty if a source is not given."""

    movielens: MovieLens | None = None
    search_films: list[SearchFilm] = field(default_factory=list)
    judgments: pl.DataFrame | None = None
    extracts: dict[int, Extract] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)


def read_sources(movielens: Path | None, movie_search: Path | None, wikipedia: Path | None, say: Progress) -> Sources:
    """Read the folders that are given. Raises `DatasetError` if a file is missing or malformed."""
    sources = Sources()
    if movielens is not None:
        say("reading MovieLens")
        sources.movielens = read_movielens(movielens)
    if movie_search is not None:
        say("reading the movie search set")
        sources.search_films = _json_rows(movie_search / "movies.jsonl.gz", SearchFilm, sources.rejected)
        sources.judgments = _judgments(movie_search / "judgments.tsv.gz")
    if wikipedia is not None:
        say("reading the Wikipedia extracts")
        rows = _json_rows(wikipedia / "extracts.jsonl.gz", Extract, sources.rejected)
        sources.extracts = {row.movie_id: row for row in rows}
    return sources


def _json_rows(file: Path, kind: type[Row], rejected: list[Rejected]) -> list[Row]:
    """Rows of a gzipped JSON lines file; those of another shape are added to `rejected`."""
    decoder = msgspec.json.Decoder(kind)
    rows = []
    for number, line in enumerate(_read_gzip(file).splitlines(), start=1):
        try:
            rows.append(decoder.decode(line))
        except UNREADABLE as error:
            rejected.append(Rejected(file.name, number, None, str(error)))
    return rows


def _read_gzip(file: Path) -> bytes:
    if not file.is_file():
        raise MissingFileError(f"{file}: expected this file, found nothing")
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError) as error:
        raise FileFormatError(f"{file.name}: expected a gzip file: {error}") from error


def _judgments(file: Path) -> pl.DataFrame:
    """Columns query_id, query, doc_id, grade, and `line` of the file from 1 (line 1 is its header)."""
    types = {"query_id": pl.String, "query": pl.String, "doc_id": pl.String, "grade": pl.Float64}
    try:
        frame = pl.read_csv(_read_gzip(file), separator="\t", quote_char=None, schema_overrides=types, glob=False)
        return frame.select(list(types)).with_row_index("line", offset=2)
    except pl.exceptions.PolarsError as error:
        first = (str(error).splitlines() or ["unreadable"])[0]
        raise FileFormatError(f"{file.name}: expected {', '.join(types)}: {first}") from error
