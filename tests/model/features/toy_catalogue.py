"""Six entities whose match features can be read off, and the features of a context over them. No test."""

from __future__ import annotations

from functools import cache

import numpy as np

from model.catalogue.encoding import EntityEncoder
from model.catalogue.records import Records, assemble
from model.config import NetworkConfig
from model.events.engagement import Engagement
from model.events.transitions import Transitions
from model.features.history import empty_profile
from model.features.match import MatchFeatures

COLUMNS = {"about": "text", "genres": "categories", "year": "number"}
ENTITIES: list[dict[str, object]] = [
    {"entity_id": "0", "display_name": "Toy Story", "about": "toys come alive", "genres": ["animation"], "year": 1995},
    {"entity_id": "1", "display_name": "Toy Soldiers", "about": "boys at a school", "genres": ["action"], "year": 1991},
    {"entity_id": "2", "display_name": "Heat", "about": "a story of cops", "genres": ["action", "crime"], "year": 1995},
    {"entity_id": "3", "display_name": "2001", "about": "", "genres": [], "year": 1968},
    {"entity_id": "4", "display_name": "Up"},
    {"entity_id": "5", "display_name": "?!", "about": "no words in the name", "genres": ["crime"], "year": 12.5},
]
TOY_STORY, TOY_SOLDIERS, HEAT, SPACE, UP, MARKS = range(6)
ENGAGEMENT_WIDTH = 4


@cache
def matcher() -> MatchFeatures:
    return _made()[0]


def catalogue() -> Records:
    return _made()[1]


@cache
def _made() -> tuple[MatchFeatures, Records]:
    config = NetworkConfig(text_width=4, text_buckets=2**12, engagement_width=ENGAGEMENT_WIDTH)
    encoder, arrays = EntityEncoder.fit(ENTITIES, COLUMNS, config, seed=0)
    z = np.zeros((6, ENGAGEMENT_WIDTH), np.float32)
    z[TOY_STORY, 0], z[TOY_SOLDIERS, 0], z[HEAT, 1] = 0.5, 0.25, 0.5
    inverse = (1 / (1 - (z**2).sum(1))).astype(np.float32)
    popularity = np.log1p(np.array([9, 3, 5, 0, 0, 0])).astype(np.float32)
    following = Transitions.none(6, 2)
    following.rows[TOY_STORY], following.weights[TOY_STORY] = (TOY_SOLDIERS, HEAT), (0.5, 0.25)
    following.rows[HEAT, 0], following.weights[HEAT, 0] = TOY_SOLDIERS, 0.125
    return MatchFeatures(encoder, countries=True), assemble(
        arrays, Engagement(z, inverse, popularity, following), np.zeros((6, 2), np.float32), np.arange(6)
    )


def nobody() -> object:
    return empty_profile(ENGAGEMENT_WIDTH, 4, 1)


def features(
    query: str | None = None, source: int | None = None, liked: tuple[int, ...] = (), passed: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """Feature name → its value for each of the six entities."""
    table = computed(query, source, liked, passed)
    assert table.dtype == np.float32
    assert table.shape == (6, len(matcher().names))
    return dict(zip(matcher().names, table.T, strict=True))


def computed(
    query: str | None,
    source: int | None = None,
    liked: tuple[int, ...] = (),
    passed: tuple[int, ...] = (),
    candidates: Records | None = None,
) -> np.ndarray:
    records = catalogue()
    one = None if source is None else records.take(np.array([source]))
    profile = nobody()
    if liked or passed:
        labels = np.array([1.0] * len(liked) + [0.0] * len(passed), np.float32)
        profile = matcher().encode_history(records.take(np.array([*liked, *passed])), labels)
    return matcher()(matcher().encode_query(query), one, profile, records if candidates is None else candidates)
