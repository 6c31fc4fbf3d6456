"""A seeded world with known truth: clusters of entities, users with tastes, and what they do on each surface.

Clusters are the truth: a user engages with entities of their clusters, a search means an entity's name or a
cluster's word, and more-like-this stays within a cluster. Small and fast; no claim to look like any real log.
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
from model.events.parts import assign_parts
from model.events.table import conform

COUNTRIES = ("BR", "DE", "IN", "US")
SLATE = 10
ZIPF = 0.8  # exponent of popularity: weight of rank r is r ** -ZIPF
START_MS = 1_700_000_000_000
HOURS = 30  # over which searches spread: as long as the default homepage history
TASTE = 0.85  # share of a user's impressions from clusters of their taste
CLICK_INSIDE, CLICK_OUTSIDE = 0.75, 0.10  # P(label 1) of an entity of the user's clusters, and of another
NAME_QUERY = 0.6  # share of searches for a name; the others are for a cluster's word
SIMULATED_COLUMNS = {"about": TEXT, "kinds": CATEGORIES, "price": NUMBER}

_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va")

Row = dict[str, object]


@dataclass(frozen=True)
class World:
    """The truth. Arrays are indexed by entity [N] or user [U]; `surfaces` says where an entity may occur."""

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
    of users who like what everybody likes in their country. The same arguments write the same files. Raises
    `ValueError` for too few entities or a share outside 0 … 1.
    """
    if entities < 4 * clusters or not 0 <= overlap <= 1:
        wanted = f"{4 * clusters} entities or more and an overlap in 0 … 1"
        raise ValueError(f"expected {wanted}, got {entities} and {overlap}")
    if not 0 <= local_taste <= 1:
        raise ValueError(f"expected a share of local taste in 0 … 1, got {local_taste}")
    chance = np.random.default_rng(seed)
    world = localised(make_world(entities, users, overlap, clusters, chance), local_taste, seed)
    rows = [
        *homepage_rows(world, events_per_user, chance),
        *search_rows(world, queries, chance),
        *pair_rows(world, 2 * entities, chance),
    ]
    progress(f"writing {entities} entities and {len(rows)} events")
    events = assign_parts(conform(pl.DataFrame(rows, infer_schema_length=None)))
    meta = {"licence": "CC0-1.0", "simulation": {"seed": seed, "overlap": overlap, "clusters": clusters}}
    write_dataset(out, "simulated", world.entities, events, meta, (), SIMULATED_COLUMNS)
    return world


# ── the world ───────────────────────────────────────────────────────────────────────────────────────────────


def make_world(entities: int, users: int, overlap: float, clusters: int, chance: np.random.Generator) -> World:
    """Draw entities, their popularity, and the tastes of users (two clusters each)."""
    cluster = np.arange(entities) % clusters
    ranks = chance.permutation(entities) + 1.0
    nouns = [_word(index) for index in range(clusters)]
    both, searched = _surfaces(entities, overlap, chance)
    tastes = [tuple(chance.choice(clusters, 2, replace=False).tolist()) for _ in range(users)]
    return World(
        [_entity(index, nouns[cluster[index]], int(cluster[index]), chance) for index in range(entities)],
        cluster,
        np.power(ranks, -ZIPF, dtype=np.float64),
        nouns,
        sorted(both | searched),
        sorted(set(range(entities)) - searched),
        [(first, second) for first, second in tastes],
        [str(chance.choice(COUNTRIES)) for _ in range(users)],
    )


def localised(world: World, share: float, seed: int) -> World:
    """The world in which a share of the users have the taste of their country, two clusters of its own."""
    clusters = len(world.cluster_words)
    here = {country: (2 * number % clusters, (2 * number + 1) % clusters) for number, country in enumerate(COUNTRIES)}
    local = np.random.default_rng([seed, 1]).random(len(world.tastes)) < share
    tastes = [
        here[country] if is_local else taste
        for country, taste, is_local in zip(world.countries, world.tastes, local, strict=True)
    ]
    return replace(world, tastes=tastes)


def _surfaces(entities: int, overlap: float, chance: np.random.Generator) -> tuple[set[int], set[int]]:
    """Entities on all surfaces, and those on search alone; the rest is for recommendation alone."""
    order = chance.permutation(entities).tolist()
    shared = round(overlap * entities)
    return set(order[:shared]), set(order[shared : shared + (entities - shared) // 2])


def _word(index: int) -> str:
    """A word that the index decides; three syllables, so that 4,096 are distinct."""
    base = len(_SYLLABLES)
    spread = index * 1597 % base**3  # odd factor: a permutation, so that neighbours share no beginning
    return "".join(_SYLLABLES[spread // base**power % base] for power in range(3))


def _entity(index: int, noun: str, cluster: int, chance: np.random.Generator) -> Row:
    """Name = a word of its own and the cluster's; text, categories and number lean to the cluster."""
    own = _word(1000 + index) if index < 3000 else f"{_word(index % 4096)}{index}"
    return {
        "entity_id": f"e{index}",
        "display_name": f"{own.title()} {noun.title()}",
        "about": f"A {noun} of kind {_word(100 + 3 * cluster + index % 3)}, near {own}",
        "kinds": [f"kind-{cluster}", f"shade-{index % 5}"],
        "price": round(float(10 * (cluster + 1) + chance.normal()), 2),
    }


class Draw:
    """Entities of one surface, drawn by popularity, from given clusters or from all but these."""

    def __init__(self, world: World, allowed: Sequence[int], chance: np.random.Generator) -> None:
        self._chance = chance
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


# ── what people do ──────────────────────────────────────────────────────────────────────────────────────────


def homepage_rows(world: World, per_user: int, chance: np.random.Generator) -> Iterator[Row]:
    """One ranking a row. An hour passes between the events of a user; nobody meets an entity twice."""
    draw = Draw(world, world.recommendable, chance)
    for user, taste in enumerate(world.tastes):
        inside = int(chance.binomial(per_user, TASTE))
        shown = draw.some(inside, taste) + draw.some(per_user - inside, taste, inside=False)
        for step, index in enumerate(chance.permutation(shown).tolist()):
            likely = CLICK_INSIDE if world.cluster[index] in taste else CLICK_OUTSIDE
            yield {
                **_of_user(world, user, START_MS + 60_000 * user + 3_600_000 * step),
                "ranking_id": f"home-{user}-{step}",
                "task": HOMEPAGE,
                "entity_id": f"e{index}",
                "label": float(chance.random() < likely),
            }


def search_rows(world: World, queries: int, chance: np.random.Generator) -> Iterator[Row]:
    """Slates in shuffled order; every second one has no user. A name means one entity, a word its cluster."""
    draw = Draw(world, world.searchable, chance)
    for number in range(queries):
        user = number // 2 % len(world.tastes) if number % 2 else None
        hour = int(chance.integers(HOURS))
        who = {} if user is None else _of_user(world, user, START_MS + 60_000 * user + 3_600_000 * hour + 1_000)
        query, relevant, others = _search(world, draw, chance)
        slate = [(index, 1.0) for index in relevant] + [(index, 0.0) for index in others]
        for place, row in enumerate(chance.permutation(len(slate)).tolist(), start=1):
            index, label = slate[row]
            yield {
                **who,
                "ranking_id": f"search-{number}",
                "task": SEARCH,
                "query": query,
                "entity_id": f"e{index}",
                "position": place,
                "label": label,
            }


def _search(world: World, draw: Draw, chance: np.random.Generator) -> tuple[str, list[int], list[int]]:
    """Query, relevant entities, others."""
    cluster = int(chance.integers(len(world.cluster_words)))
    same = draw.some(4, [cluster])
    if same and chance.random() < NAME_QUERY:
        name = str(world.entities[same[0]]["display_name"]).lower()
        query = name if chance.random() < 0.5 else name.split()[0]
        return query, same[:1], same[1:] + draw.some(SLATE - len(same), [cluster], inside=False)
    return world.cluster_words[cluster], same, draw.some(SLATE - len(same), [cluster], inside=False)


def pair_rows(world: World, pairs: int, chance: np.random.Generator) -> Iterator[Row]:
    """More-like-this: rankings of an entity of the source's cluster (1) and another one (0), without user."""
    draw = Draw(world, world.recommendable, chance)
    for number in range(pairs // 2):
        source = world.recommendable[number % len(world.recommendable)]
        own = [int(world.cluster[source])]
        target = next((index for index in draw.some(2, own) if index != source), None)
        if target is None:
            continue
        for index, label in ((target, 1.0), (draw.some(1, own, inside=False)[0], 0.0)):
            yield {
                "ranking_id": f"pair-{number}",
                "task": MORE_LIKE_THIS,
                "source_entity_id": f"e{source}",
                "entity_id": f"e{index}",
                "label": label,
            }


def _of_user(world: World, user: int, timestamp: int) -> Row:
    """The context fields of a user. Every fifth one has no known country."""
    country = world.countries[user] if user % 5 else None
    return {"user_id": f"u{user}", "country": country, "timestamp": timestamp}
