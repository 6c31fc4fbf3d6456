"""Proxies for judgments of similarity: pairs that no model was trained on, against matched other entities.

Three kinds: films liked by the same users in the test part, films under the same tag of the test part, films of
one franchise or director. Each positive has negatives of similar popularity and the same decade, so that neither
can replace similarity. The metric is the AUC of each source. The rule of `family` also made labels of training, for
sources of other parts: it tells whether the rule was learned, and is in no mean of likeness.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl

from model.catalogue.fields import text_values
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context
from model.datasets.dataset import Dataset
from model.datasets.importers.titles import franchise_of
from model.events.parts import source_part
from model.events.timelines import NO_TIME, LabelledRanking
from model.text.normalise import normalise, stable_hash

Pairs = Mapping[str, Collection[str]]  # source → similar entities
LEAST_SHARED_FANS = 2
MOST_POSITIVES = 6  # per source
NEGATIVES = 4  # for each positive
NEAREST = 40  # negatives are drawn from this many entities of nearest popularity
MOST_SOURCES = 400
LARGEST_GROUP = 30  # a name with more entities is a genre


def proxies(dataset: Dataset, part: str) -> dict[str, list[LabelledRanking]]:
    """Labelled rankings of each proxy over one part: a source, its positives (1) and their negatives (0)."""
    positives = {
        "co_likes": _co_likes(dataset.events, part),
        "shared_tags": _shared_tags(dataset.events, part),
        "family": _family(dataset.entities, part),
    }
    alike: dict[str, set[str]] = defaultdict(set)
    for pairs in positives.values():
        for source, targets in pairs.items():
            alike[source] |= set(targets)
    matcher = _Matcher(dataset)
    return {name: _rankings(pairs, alike, matcher) for name, pairs in positives.items()}


def _co_likes(events: pl.DataFrame, part: str) -> Pairs:
    """Pairs that at least two users liked in the part."""
    liked = events.filter((pl.col("task") == HOMEPAGE) & (pl.col("label") > 0), part=part)
    shared: Counter[tuple[str, str]] = Counter()
    for (group,) in liked.group_by("user_id", maintain_order=True).agg("entity_id").select("entity_id").iter_rows():
        shared.update(combinations(sorted(set(group)), 2))
    return _symmetric(pair for pair, fans in shared.items() if fans >= LEAST_SHARED_FANS)


def _shared_tags(events: pl.DataFrame, part: str) -> Pairs:
    """Entities that users found with the same query."""
    searches = events.filter((pl.col("task") == SEARCH) & (pl.col("label") > 0), part=part)
    groups: dict[str, set[str]] = defaultdict(set)
    for query, entity in searches.filter(pl.col("user_id").is_not_null()).select("query", "entity_id").iter_rows():
        groups[normalise(query or "")].add(entity)
    return _symmetric(pair for group in groups.values() for pair in _pairs_of(group))


def _family(entities: Sequence[Mapping[str, object]], part: str) -> Pairs:
    """Entities of one franchise or director, for sources of the part."""
    groups: dict[str, set[str]] = defaultdict(set)
    for entity in entities:
        names = [f"director {name}" for name in text_values(entity.get("director"))]
        franchise = franchise_of(str(entity["display_name"]))
        for name in [*names, *([f"franchise {franchise}"] if franchise else [])]:
            groups[name].add(str(entity["entity_id"]))
    pairs = _symmetric(pair for group in groups.values() for pair in _pairs_of(group))
    return {source: targets for source, targets in pairs.items() if source_part(source) == part}


def _pairs_of(group: set[str]) -> Iterable[tuple[str, str]]:
    return combinations(sorted(group), 2) if len(group) <= LARGEST_GROUP else ()


def _symmetric(pairs: Iterable[tuple[str, str]]) -> Pairs:
    partners: dict[str, set[str]] = defaultdict(set)
    for first, second in pairs:
        partners[first].add(second)
        partners[second].add(first)
    return partners


class _Matcher:
    """Finds entities of the same decade and nearest popularity."""

    def __init__(self, dataset: Dataset) -> None:
        liked = dataset.events.filter((pl.col("label") > 0) & (pl.col("task") == HOMEPAGE), part="train")["entity_id"]
        counts = Counter(liked.to_list())
        self.popularity = {str(e["entity_id"]): counts[str(e["entity_id"])] for e in dataset.entities}
        self.decade = {str(e["entity_id"]): _decade(e) for e in dataset.entities}
        self.groups: dict[int | None, list[str]] = defaultdict(list)
        for entity in sorted(self.popularity, key=lambda entity: (self.popularity[entity], stable_hash(entity))):
            self.groups[self.decade[entity]].append(entity)
        self.places = {entity: place for group in self.groups.values() for place, entity in enumerate(group)}

    def near(self, entity: str) -> list[str]:
        """At most `NEAREST` others of the decade, more and less popular."""
        group, place = self.groups[self.decade[entity]], self.places[entity]
        start = max(0, min(place - NEAREST // 2, len(group) - NEAREST - 1))
        return [other for other in group[start : start + NEAREST + 1] if other != entity]


def year_of(entity: Mapping[str, object]) -> int | None:
    """The year of an entity; None if it has none, or one that is no number."""
    year = entity.get("year")
    return int(year) if isinstance(year, (int, float)) and year == year else None


def _decade(entity: Mapping[str, object]) -> int | None:
    year = year_of(entity)
    return None if year is None else year // 10


def _rankings(pairs: Pairs, alike: Mapping[str, set[str]], matcher: _Matcher) -> list[LabelledRanking]:
    """Rankings of sources and positives in the catalogue, chosen by hash so that a rerun chooses the same."""
    rankings = []
    known = [source for source in pairs if source in matcher.places]
    for source in sorted(known, key=lambda entity: (stable_hash(f"proxy {entity}"), entity))[:MOST_SOURCES]:
        rng = np.random.default_rng(stable_hash(source))
        targets = sorted(target for target in pairs[source] if target in matcher.places)
        chosen = [targets[i] for i in sorted(rng.permutation(len(targets))[:MOST_POSITIVES])]
        others: list[str] = []
        for target in chosen:
            near = [n for n in matcher.near(target) if n != source and n not in alike[source] and n not in others]
            others += [near[i] for i in rng.permutation(len(near))[:NEGATIVES]]
        if chosen and others:
            labels = np.array([1.0] * len(chosen) + [0.0] * len(others))
            context = Context(task=MORE_LIKE_THIS, source_entity_id=source)
            rankings.append(LabelledRanking(context, (*chosen, *others), labels, np.full(len(labels), NO_TIME), True))
    return rankings
