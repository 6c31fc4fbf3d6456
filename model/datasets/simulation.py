"""A seeded simulation with known ground truth: clusters of entities, users with tastes, events of each surface.

Clusters are the ground truth: a user engages with entities of their clusters, a search is for an entity's name or
a cluster's word, and more-like-this stays within a cluster. Small and fast; not meant to resemble a real log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH
from model.datasets.dataset import CATEGORIES, NUMBER, TEXT, write_dataset
from model.datasets.importers.derivation import with_derived
from model.events.derived import derived_counts
from model.events.parts import assign_parts
from model.events.table import conform

COUNTRIES = ("BR", "DE", "IN", "US")
SLATE = 10
ZIPF = 0.8  # exponent of popularity: weight of rank r is r ** -ZIPF
START_MS = 1_700_000_000_000
HOURS = 30  # period of the searches: as long as the default homepage history
TASTE = 0.85  # share of a user's impressions from clusters of their taste
CLICK_INSIDE, CLICK_OUTSIDE = 0.75, 0.10  # P(label 1) of an entity of the user's clusters, and of another
NAME_QUERY = 0.6  # share of searches for a name; the others are for a cluster's word
SIMULATED_COLUMNS = {"about": TEXT, "kinds": CATEGORIES, "price": NUMBER}

_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va")

Row = dict[str, object]


@dataclass(frozen=True)
class World:
    """The ground truth. Arrays are indexed by entity [N] or user [U].

    `searchable` and `recommendable` are the entities that may occur in search and in recommendation.
    """

    entities: list[Row]
    cluster: NDArray[np.int64]
    popularity: NDArray[np.float64]
    cluster_words: list[str]
    searchable: list[int]
    recommendable: list[int]
    tastes: list[tuple[int, int]]
    countries: list[str]


def simulate(
    out: Path,
    entities: int = 400,
    users: int = 200,
    queries: int = 400,
    overlap: float = 0.5,
    seed: int = 0,
    clusters: int = 8,
    events_per_user: int = 30,
    local_taste: float = 0.0,
    progress: Callable[[str], None] = lambda message: None,
) -> World:
    """Write a dataset with parts to `out` and return the world behind it.

    `queries` search slates of 10, `users` × `events_per_user` homepage rows. `overlap` = share of entities
    that occur in both search and recommendation, 0 … 1; the others are split between the two. `local_taste` = share
    of users who have the taste of their country. The same arguments write the same files. Raises `ValueError` for
    too few entities or a share outside 0 … 1.
    """
    if entities < 4 * clusters or not 0 <= overlap <= 1:
        wanted = f"{4 * clusters} entities or more and an overlap in 0 … 1"
        raise ValueError(f"expected {wanted}, got {entities} and {overlap}")
    if not 0 <= local_taste <= 1:
        raise ValueError(f"expected a share of local taste in 0 … 1, got {local_taste}")
    rng = np.random.default_rng(seed)
    world = localised(make_world(entities, users, overlap, clusters, rng), local_taste, seed)
    rows = [
        *homepage_rows(world, events_per_user, rng),
        *search_rows(world, queries, rng),
        *pair_rows(world, 2 * entities, rng),
    ]
    events = assign_parts(conform(pl.DataFrame(rows, infer_schema_length=None)))
    events = with_derived(events, world.entities, SIMULATED_COLUMNS)
    progress(f"writing {entities} entities and {events.height} events")
    meta = {"licence": "CC0-1.0", "simulation": {"seed": seed, "overlap": overlap, "clusters": clusters}}
    if derived := derived_counts(events):
        meta["derived"] = derived
    write_dataset(out, "simulated", world.entities, events, meta, (), SIMULATED_COLUMNS)
    return world


# ── ground truth ──────────────────────────────────────────────────────────────────────────────────────────────


def make_world(entities: int, users: int, overlap: float, clusters: int, rng: np.random.Generator) -> World:
    """Draw entities, their popularity, and the tastes of users (two clusters each)."""
    cluster = np.arange(entities) % clusters
    ranks = rng.permutation(entities) + 1.0
    nouns = [_word(index) for index in range(clusters)]
    both, searched = _surfaces(entities, overlap, rng)
    tastes = [tuple(rng.choice(clusters, 2, replace=False).tolist()) for _ in range(users)]
    return World(
        [_entity(index, nouns[cluster[index]], int(cluster[index]), rng) for index in range(entities)],
        cluster,
        np.power(ranks, -ZIPF, dtype=np.float64),
        nouns,
        sorted(both | searched),
        sorted(set(range(entities)) - searched),
        [(first, second) for first, second in tastes],
        [str(rng.choice(COUNTRIES)) for _ in range(users)],
    )


def localised(world: World, share: float, seed: int) -> World:
    """The same world, in which a share of the users have the taste of their country: two clusters of its own."""
    clusters = len(world.cluster_words)
    by_country = {
        country: (2 * number % clusters, (2 * number + 1) % clusters) for number, country in enumerate(COUNTRIES)
    }
    local = np.random.default_rng([seed, 1]).random(len(world.tastes)) < share
    tastes = [
        by_country[country] if is_local else taste
        for country, taste, is_local in zip(world.countries, world.tastes, local, strict=True)
    ]
    return replace(world, tastes=tastes)


def _surfaces(entities: int, overlap: float, rng: np.random.Generator) -> tuple[set[int], set[int]]:
    """Entities on all surfaces, and those in search only; the others are in recommendation only."""
    order = rng.permutation(entities).tolist()
    shared_count = round(overlap * entities)
    return set(order[:shared_count]), set(order[shared_count : shared_count + (entities - shared_count) // 2])


def _word(index: int) -> str:
    """The word of an index: three syllables, which makes 4,096 distinct words."""
    base = len(_SYLLABLES)
    spread = index * 1597 % base**3  # odd factor: a permutation, so that neighbours start differently
    return "".join(_SYLLABLES[spread // base**power % base] for power in range(3))


def _entity(index: int, noun: str, cluster: int, rng: np.random.Generator) -> Row:
    """Name = a word of its own and the word of its cluster; text, categories and number depend on the cluster."""
    own_word = _word(1000 + index) if index < 3000 else f"{_word(index % 4096)}{index}"
    return {
        "entity_id": f"e{index}",
        "display_name": f"{own_word.title()} {noun.title()}",
        "about": f"A {noun} of kind {_word(100 + 3 * cluster + index % 3)}, near {own_word}",
        "kinds": [f"kind-{cluster}", f"shade-{index % 5}"],
        "price": round(float(10 * (cluster + 1) + rng.normal()), 2),
    }


class Draw:
    """Entities of one surface, drawn by popularity, from given clusters or from all others."""

    def __init__(self, world: World, allowed: Sequence[int], rng: np.random.Generator) -> None:
        self._chance = rng
        self._ids = np.asarray(allowed)
        self._clusters = world.cluster[self._ids]
        self._weights = world.popularity[self._ids]

    def some(self, size: int, clusters: Sequence[int], inside: bool = True) -> list[int]:
        """At most `size` distinct entities."""
        chosen = np.isin(self._clusters, clusters) == inside
        ids, weights = self._ids[chosen], self._weights[chosen]
        size = min(size, len(ids))
        drawn = self._chance.choice(ids, size, replace=False, p=weights / weights.sum()) if size else ids[:0]
        return [int(index) for index in drawn]


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────


def homepage_rows(world: World, per_user: int, rng: np.random.Generator) -> Iterator[Row]:
    """One ranking per row. Events of a user are an hour apart; no user sees an entity twice."""
    draw = Draw(world, world.recommendable, rng)
    for user, taste in enumerate(world.tastes):
        inside = int(rng.binomial(per_user, TASTE))
        shown = draw.some(inside, taste) + draw.some(per_user - inside, taste, inside=False)
        for step, index in enumerate(rng.permutation(shown).tolist()):
            likely = CLICK_INSIDE if world.cluster[index] in taste else CLICK_OUTSIDE
            yield {
                **_user_fields(world, user, START_MS + 60_000 * user + 3_600_000 * step),
                "ranking_id": f"home-{user}-{step}",
                "task": HOMEPAGE,
                "entity_id": f"e{index}",
                "label": float(rng.random() < likely),
            }


def search_rows(world: World, queries: int, rng: np.random.Generator) -> Iterator[Row]:
    """Slates in shuffled order; every second one has no user. A name stands for one entity, a word for its cluster."""
    draw = Draw(world, world.searchable, rng)
    for number in range(queries):
        user = number // 2 % len(world.tastes) if number % 2 else None
        hour = int(rng.integers(HOURS))
        fields = {} if user is None else _user_fields(world, user, START_MS + 60_000 * user + 3_600_000 * hour + 1_000)
        query, relevant, others = _search(world, draw, rng)
        slate = [(index, 1.0) for index in relevant] + [(index, 0.0) for index in others]
        for position, row in enumerate(rng.permutation(len(slate)).tolist(), start=1):
            index, label = slate[row]
            yield {
                **fields,
                "ranking_id": f"search-{number}",
                "task": SEARCH,
                "query": query,
                "entity_id": f"e{index}",
                "position": position,
                "label": label,
            }


def _search(world: World, draw: Draw, rng: np.random.Generator) -> tuple[str, list[int], list[int]]:
    """Query, relevant entities, others."""
    cluster = int(rng.integers(len(world.cluster_words)))
    same = draw.some(4, [cluster])
    if same and rng.random() < NAME_QUERY:
        name = str(world.entities[same[0]]["display_name"]).lower()
        query = name if rng.random() < 0.5 else name.split()[0]
        return query, same[:1], same[1:] + draw.some(SLATE - len(same), [cluster], inside=False)
    return world.cluster_words[cluster], same, draw.some(SLATE - len(same), [cluster], inside=False)


def pair_rows(world: World, pairs: int, rng: np.random.Generator) -> Iterator[Row]:
    """More-like-this: rankings of one entity of the source's cluster (1) and one of another (0), without user."""
    draw = Draw(world, world.recommendable, rng)
    for number in range(pairs // 2):
        source = world.recommendable[number % len(world.recommendable)]
        source_cluster = [int(world.cluster[source])]
        target = next((index for index in draw.some(2, source_cluster) if index != source), None)
        if target is None:
            continue
        for index, label in ((target, 1.0), (draw.some(1, source_cluster, inside=False)[0], 0.0)):
            yield {
                "ranking_id": f"pair-{number}",
                "task": MORE_LIKE_THIS,
                "source_entity_id": f"e{source}",
                "entity_id": f"e{index}",
                "label": label,
            }


def _user_fields(world: World, user: int, timestamp: int) -> Row:
    """The context fields of a user. Every fifth one has no known country."""
    country = world.countries[user] if user % 5 else None
    return {"user_id": f"u{user}", "country": country, "timestamp": timestamp}
