"""The rankings on which every model of a study is evaluated, and the form of its results: a value per ranking.

A protocol is a task, a set of labelled rankings, and whether slates or the whole catalogue are ranked. All models
get the same rankings in the same order, so that results can be compared ranking by ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH
from model.context.imputation import DEFAULT_RULES
from model.datasets.dataset import Dataset
from model.evaluation.protocols import RankingResults, Subject, rank_catalogue, rank_slates
from model.events.timelines import LabelledRanking, Timeline, labelled_rankings, timelines
from model.learning.training_data import part_rows, rankable
from model.studies.judged_pairs import BY_PEOPLE, JudgedPair, judged_rankings
from model.studies.known_items import name_searches
from model.studies.proxies import proxies
from model.studies.sentences import sentence_searches
from model.text.normalise import stable_hash, words

Step = Callable[[str], None]
CATALOGUE_SEARCHES = 400  # judged queries that are also ranked against the whole catalogue, chosen by hash
DERIVED_PAIRS = 200  # sources whose derived pairs are ranked, chosen by hash
NAMES_BY_SOMEBODY = "names, somebody asks"
HEAD, TORSO = 0.1, 0.5  # shares of the entities, from the most popular


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to evaluate. `metric` is the deciding one; with `met`, entities of the user's history are ranked too."""

    name: str
    task: str
    rankings: Sequence[LabelledRanking]
    slates: bool
    metric: str
    met: bool = False


def protocols(dataset: Dataset, part: str, pairs: Sequence[JudgedPair] = ()) -> list[Protocol]:
    """All protocols of one part that have rankings. `pairs` that people judged are of the test part."""
    rows = rankable(labelled_rankings(part_rows(dataset.events, (part,))), DEFAULT_RULES)
    popularity = _popularity_ranks(dataset)
    known = set(part_rows(dataset.events, ("train",))["user_id"].drop_nulls())
    rows = [replace(u, slices=u.slices | _slices(u, popularity, known)) for u in rows if (u.labels > 0).any()]
    judged = [ranking for ranking in rows if ranking.context.task == SEARCH and ranking.slate]
    tagged = [ranking for ranking in rows if ranking.context.task == SEARCH and not ranking.slate]
    derived = [ranking for ranking in rows if ranking.context.task == MORE_LIKE_THIS]
    by_people, _ = judged_rankings(pairs if part == "test" else (), dataset.entities)
    anonymous, with_user = name_searches(dataset.entities, known)
    candidates = [
        Protocol("slates", SEARCH, judged, True, "ndcg@10"),
        Protocol("catalogue", SEARCH, _over_catalogue(judged), False, "recall@30"),
        Protocol("sentences", SEARCH, sentence_searches(dataset.entities), False, "recall@10"),
        Protocol("names", SEARCH, anonymous, False, "recall@1", met=True),
        Protocol(NAMES_BY_SOMEBODY, SEARCH, with_user, False, "recall@1", met=True),
        Protocol("tags", SEARCH, tagged, False, "recall@30"),
        Protocol(
            "homepage", HOMEPAGE, [ranking for ranking in rows if ranking.context.task == HOMEPAGE], False, "ndcg@10"
        ),
        Protocol("derived", MORE_LIKE_THIS, _first_by_hash(derived, DERIVED_PAIRS), False, "ndcg@10"),
        *(Protocol(name, MORE_LIKE_THIS, alike, True, "auc") for name, alike in proxies(dataset, part).items()),
        Protocol(BY_PEOPLE, MORE_LIKE_THIS, [u for u in by_people if 0 < u.labels.mean() < 1], True, "auc"),
    ]
    return [protocol for protocol in candidates if protocol.rankings]


def _over_catalogue(judged: Sequence[LabelledRanking]) -> list[LabelledRanking]:
    """Some judged queries over the whole catalogue; entities not judged relevant count as not relevant."""
    return [replace(ranking, slate=False) for ranking in _first_by_hash(judged, CATALOGUE_SEARCHES)]


def _first_by_hash(group: Sequence[LabelledRanking], count: int) -> list[LabelledRanking]:
    """The same subset for any order of the input."""
    return sorted(group, key=lambda u: stable_hash(f"catalogue {u.context.query} {u.context.source_entity_id}"))[:count]


def histories_before(dataset: Dataset, part: str) -> Mapping[str, Timeline]:
    """Histories of users for ranking a part: the events of the parts before it."""
    past = {"validation": ("train",), "test": ("train", "validation")}[part]
    return timelines(part_rows(dataset.events, past))


def ask(
    subject: Subject, protocol: Protocol, histories: Mapping[str, Timeline], step: Callable[[], None] = lambda: None
) -> RankingResults:
    """Evaluate one model under a protocol."""
    if protocol.slates:
        return rank_slates(subject, protocol.rankings, histories, step)
    return rank_catalogue(subject, protocol.rankings, histories, step, protocol.met)


def answers(ranked: RankingResults) -> dict[str, Any]:
    """Results as plain JSON: values, groups and slices of each ranking."""
    values = {name: [None if v != v else round(float(v), 6) for v in column] for name, column in ranked.values.items()}
    return {"values": values, "groups": ranked.groups, "slices": [sorted(group) for group in ranked.slices]}


def main_value(ranked: RankingResults, protocol: Protocol) -> float:
    """Mean of the deciding metric."""
    return float(np.nanmean(np.array(ranked.values[protocol.metric], np.float64)))


# ── slices ──────────────────────────────────────────────────────────────────────────────────────────────────


def _popularity_ranks(dataset: Dataset) -> dict[str, float]:
    """Share of the engaged entities that are more popular in training; 2 = never engaged."""
    positive = dataset.events.filter(pl.col("label") > 0, part="train")
    counts = positive.group_by("entity_id").len().sort("len", "entity_id", descending=[True, False])
    ranked = {entity: place / len(counts) for place, entity in enumerate(counts["entity_id"])}
    return {str(entity["entity_id"]): ranked.get(str(entity["entity_id"]), 2.0) for entity in dataset.entities}


def _slices(ranking: LabelledRanking, popularity: Mapping[str, float], known: Set[str]) -> frozenset[str]:
    relevant = [popularity[e] for e, label in zip(ranking.entity_ids, ranking.labels, strict=True) if label > 0]
    user = ranking.context.user_id
    novelty = [] if user is None else ["known user" if user in known else "new user"]
    return frozenset({_popularity_slice(float(np.median(relevant))), *_query_slice(ranking.context.query), *novelty})


def _popularity_slice(rank: float) -> str:
    """Slice of the median relevant entity by its popularity in training."""
    if rank > 1:
        return "cold"
    return "head" if rank < HEAD else "torso" if rank < TORSO else "tail"


def _query_slice(query: str | None) -> list[str]:
    if query is None:
        return []
    count = len(words(query))
    return ["1 word" if count <= 1 else "2 to 3 words" if count <= 3 else "4 words or more"]
