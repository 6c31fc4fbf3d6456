"""`unirank data movies`: MovieLens, Movie Search Ranking Dataset, Wikipedia extracts → one joint dataset.

Films are joined by TMDB id; judged queries are search, ratings the homepage, and more-like-this is derived.
Each source may be missing, as long as one of the first two is given. Reads local folders; downloads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from model.context.context import SEARCH
from model.datasets.dataset import CATEGORIES, NUMBER, TEXT, write_dataset
from model.datasets.errors import DatasetError, Rejected
from model.datasets.importers.co_likes import likes_of
from model.datasets.importers.derivation import similar_events
from model.datasets.importers.movie_sources import Extract, Progress, SearchFilm, Sources, read_sources
from model.datasets.importers.movielens import (
    Film,
    genre_names,
    rating_events,
    tag_events,
)
from model.events.parts import UNSEEN_SHARE, assign_parts
from model.events.table import check_events, conform

Entity = dict[str, object]

FILM_COLUMNS = {
    "overview": TEXT,
    "extract": TEXT,
    "director": CATEGORIES,
    "genres": CATEGORIES,
    "tags": CATEGORIES,
    "actors": CATEGORIES,
    "characters": CATEGORIES,
    "year": NUMBER,
    "votes": NUMBER,
    "rating": NUMBER,
    "popularity": NUMBER,
    "budget": NUMBER,
    "other_titles": CATEGORIES,
}
CAST_LIMIT = 10
LICENCES = {
    "movielens": "MovieLens ml-latest-small (GroupLens): non-commercial, redistribution under the same terms",
    "movie_search": "Movie Search Ranking Dataset (Metarank Labs, Elastic): CC BY-SA 4.0; data of TMDB",
    "wikipedia": "Wikipedia extracts: CC BY-SA",
}


def import_movies(
    out: Path,
    movielens: Path | None = None,
    movie_search: Path | None = None,
    wikipedia: Path | None = None,
    progress: Progress = lambda message: None,
) -> dict[str, int]:
    """Write the joint dataset to `out` and return its counts: entities, events, rejected.

    The folders contain the files under their published names. Raises `DatasetError` if neither MovieLens nor the
    search set is given, or if a file is missing or malformed.
    """
    if movielens is None and movie_search is None:
        raise DatasetError("expected a folder of MovieLens or of the movie search set, got neither")
    sources = read_sources(movielens, movie_search, wikipedia, progress)
    entities = film_entities(sources)
    events, rejected = film_events(sources, entities, progress)
    rejected = sources.rejected + rejected
    given = {"movielens": movielens, "movie_search": movie_search, "wikipedia": wikipedia}
    progress(f"writing {len(entities)} films and {events.height} events")
    licence = "; ".join(text for name, text in LICENCES.items() if given[name] is not None)
    write_dataset(out, "films", entities, events, {"licence": licence}, rejected, FILM_COLUMNS)
    return {"entities": len(entities), "events": events.height, "rejected": len(rejected)}


# ── entities ────────────────────────────────────────────────────────────────────────────────────────────────


def film_entities(sources: Sources) -> list[Entity]:
    """The union of both catalogues, in file order: the search set, then the films that only MovieLens has."""
    films: dict[str, list[Film]] = {}
    for film in sources.movielens.films if sources.movielens else ():
        films.setdefault(film.entity_id, []).append(film)
    searched = {f"tmdb-{film.id}": film for film in sources.search_films}
    ids = list(dict.fromkeys([*searched, *films]))
    return [_entity(entity_id, searched.get(entity_id), films.get(entity_id, []), sources) for entity_id in ids]


def _entity(entity_id: str, searched: SearchFilm | None, films: Sequence[Film], sources: Sources) -> Entity:
    """One film with the attributes that are known, in the order of `FILM_COLUMNS`."""
    extract = next((sources.extracts[f.movie_id] for f in films if f.movie_id in sources.extracts), None)
    name = searched.title if searched else films[0].title.name
    values = {
        **_from_wikipedia(extract),
        **_from_movielens(films, name),
        **(_from_search(searched) if searched else {}),
    }
    attributes = {column: values[column] for column in FILM_COLUMNS if column in values}
    return {"entity_id": entity_id, "display_name": name, **attributes}


def _without_unknown(values: Mapping[str, object]) -> Entity:
    """The values that are known: neither None nor 0 nor empty."""
    return {name: value for name, value in values.items() if value}


def _from_search(film: SearchFilm) -> Entity:
    return _without_unknown(
        {
            "overview": film.overview,
            "director": [film.director] if film.director else [],
            "genres": list(genre_names(film.genres)),
            "tags": film.tags,
            "actors": film.actors,
            "characters": film.characters,
            **{n: getattr(film, n) for n in ("year", "votes", "rating", "popularity", "budget")},
        }
    )


def _from_movielens(films: Sequence[Film], name: str) -> Entity:
    years = [film.title.year for film in films if film.title.year]
    genres = dict.fromkeys(genre for film in films for genre in film.genres)
    titles = dict.fromkeys(title for film in films for title in (film.title.name, *film.title.others))
    folded_name = name.casefold()
    others = [title for title in titles if title.casefold() != folded_name]
    return _without_unknown({"genres": list(genres), "year": years[0] if years else None, "other_titles": others})


def _from_wikipedia(row: Extract | None) -> Entity:
    if row is None:
        return {}
    cast = [name for name in row.cast if name and not name.startswith("(")]
    return _without_unknown({"extract": row.extract, "actors": cast[:CAST_LIMIT], "year": row.year})


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────


def film_events(sources: Sources, entities: Sequence[Entity], say: Progress) -> tuple[pl.DataFrame, list[Rejected]]:
    """All events with parts, and the rejected rows, which name an unknown film."""
    ids = [entity["entity_id"] for entity in entities]
    frames, rejected = [], []
    for file, frame in _source_events(sources):
        good, bad = check_events(frame, file, ids)
        frames.append(conform(good))
        rejected += bad
    events = assign_parts(pl.concat(frames), unseen_share=UNSEEN_SHARE)
    say("deriving more-like-this pairs")
    return pl.concat([events, similar_events(entities, FILM_COLUMNS, likes_of(events))]), rejected


def _source_events(sources: Sources) -> Iterable[tuple[str, pl.DataFrame]]:
    """File name and events of each source, with the line of the file."""
    if sources.judgments is not None:
        yield "judgments.tsv.gz", judgment_events(sources.judgments)
    if (lens := sources.movielens) is not None:
        yield "ratings.csv", rating_events(lens.ratings, lens.entity_ids).with_row_index("line", offset=2)
        yield "tags.csv", tag_events(lens.tags, lens.entity_ids).with_row_index("line", offset=2)


def judgment_events(judgments: pl.DataFrame) -> pl.DataFrame:
    """Search slates: one ranking per judged query, grade as label; user, time and order are unknown."""
    events = conform(
        judgments.select(
            pl.format("msr-{}", "query_id").alias("ranking_id"),
            pl.lit(SEARCH).alias("task"),
            "query",
            pl.format("tmdb-{}", "doc_id").alias("entity_id"),
            pl.col("grade").alias("label"),
        )
    )
    return events.with_columns(judgments["line"])
