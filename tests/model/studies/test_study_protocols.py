"""What a study asks: each protocol holds rankings of its own part, the same each time, and none that training saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from model.baselines.popularity import Popularity
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, HistoryEvent
from model.datasets.dataset import Dataset
from model.events.table import PARTS
from model.events.timelines import LabelledRanking, Timeline
from model.studies.known_items import name_searches
from model.studies.protocols import NAMES_BY_SOMEBODY, ask, histories_before, protocols
from model.studies.proxies import proxies
from model.studies.sentences import DESCRIBED, sentence_searches
from model.studies.subjects import LikesSubject
from model.studies.time_split import by_time


def liked(ranking: LabelledRanking) -> set[str]:
    return {entity for entity, label in zip(ranking.entity_ids, ranking.labels, strict=True) if label > 0}


def test_protocols_ask_only_of_their_part(world: Dataset) -> None:
    for part in ("validation", "test"):
        rows = world.events.filter(pl.col("label") > 0, part=part)
        found = {protocol.name: protocol for protocol in protocols(world, part)}
        assert {"slates", "catalogue", "homepage"} <= set(found)
        for name, task in (("slates", SEARCH), ("homepage", HOMEPAGE), ("derived", MORE_LIKE_THIS)):
            if name in found:
                there = set(rows.filter(task=task)["entity_id"])
                assert all(liked(ranking) <= there for ranking in found[name].rankings)


def test_a_catalogue_search_is_a_judged_query_without_its_slate(world: Dataset) -> None:
    found = {protocol.name: protocol for protocol in protocols(world, "test")}
    judged = {ranking.context.query for ranking in found["slates"].rankings}
    assert all(ranking.slate for ranking in found["slates"].rankings)
    assert not any(ranking.slate for ranking in found["catalogue"].rankings)
    assert {ranking.context.query for ranking in found["catalogue"].rankings} <= judged


def test_histories_are_of_the_parts_before(world: Dataset) -> None:
    last = {
        part: max(t for line in histories_before(world, part).values() for t in line.times)
        for part in ("validation", "test")
    }
    assert last["validation"] <= last["test"]
    early = world.events.filter(pl.col("part") == "train")["timestamp"].max()
    assert last["validation"] <= early


@pytest.fixture
def with_fans(world: Dataset) -> Dataset:
    """The world with two users who liked the same three entities in its test part, and one who liked a fourth."""
    ids = [str(entity["entity_id"]) for entity in world.entities[:4]]
    pairs = [(user, entity) for user in ("fan one", "fan two") for entity in ids[:3]] + [("fan one", ids[3])]
    like = world.events.filter((pl.col("task") == HOMEPAGE) & (pl.col("label") > 0), part="test").head(1)
    rows = [
        like.with_columns(user_id=pl.lit(user), entity_id=pl.lit(entity), ranking_id=pl.lit(f"{user} {entity}"))
        for user, entity in pairs
    ]
    return replace(world, events=pl.concat([world.events, *rows]))


def test_co_likes_are_pairs_with_two_fans_against_others(with_fans: Dataset) -> None:
    ids = [str(entity["entity_id"]) for entity in with_fans.entities[:4]]
    found = {ranking.context.source_entity_id: ranking for ranking in proxies(with_fans, "test")["co_likes"]}
    for source in ids[:3]:
        assert set(ids[:3]) - {source} <= liked(found[source])
        assert ids[3] not in liked(found[source])
    for source, ranking in found.items():
        assert set(ranking.entity_ids) - liked(ranking)
        assert source not in ranking.entity_ids


def test_proxies_are_the_same_each_time(with_fans: Dataset) -> None:
    once, again = proxies(with_fans, "test"), proxies(with_fans, "test")
    assert once["co_likes"]
    for name, rankings in once.items():
        assert [ranking.entity_ids for ranking in rankings] == [ranking.entity_ids for ranking in again[name]]


def test_sentences_are_asked_of_a_catalogue_of_films_only(world: Dataset) -> None:
    films = [{"entity_id": str(n), "display_name": name, "year": year} for n, (name, year, _) in enumerate(DESCRIBED)]
    asked = sentence_searches(films)
    assert len(asked) == len(DESCRIBED) == 30
    assert asked[3].entity_ids == ("3",)
    assert asked[3].context.query == DESCRIBED[3][2]
    assert sentence_searches(world.entities) == []
    assert len(sentence_searches(films[:12])) == 12
    assert len({sentence for _, _, sentence in DESCRIBED}) == 30
    for name, _, sentence in DESCRIBED:
        assert name.casefold() not in sentence.casefold().split()  # whoever remembers the name needs no sentence


def test_the_same_names_are_asked_by_nobody_and_by_somebody(world: Dataset) -> None:
    users = set(world.events["user_id"].drop_nulls())
    alone, together = name_searches(world.entities, users)
    names = {str(entity["entity_id"]): entity["display_name"] for entity in world.entities}
    assert alone
    for one, other in zip(alone, together, strict=True):
        assert one.entity_ids == other.entity_ids
        assert one.context.query == other.context.query == names[one.entity_ids[0]]
        assert one.context.user_id is None
        assert other.context.user_id in users
    assert name_searches(world.entities, set())[1] == []
    twins = [{"entity_id": i, "display_name": name} for i, name in (("a", "Dune"), ("b", "dune"), ("c", "Up"))]
    assert [ranking.entity_ids for ranking in name_searches(twins, users)[0]] == [("c",)]


def test_what_somebody_met_can_still_be_found_by_name(world: Dataset) -> None:
    protocol = {p.name: p for p in protocols(world, "test")}[NAMES_BY_SOMEBODY]
    (ranking, *_) = protocol.rankings
    met = {ranking.context.user_id: Timeline([HistoryEvent(ranking.entity_ids[0])], [0.0])}
    rows = {str(entity["entity_id"]): row for row, entity in enumerate(world.entities)}
    subject = LikesSubject(Popularity().fit(np.zeros(0, int), np.zeros(0, int), 0, len(rows)), rows)
    ranked = ask(subject, replace(protocol, rankings=[ranking]), met)
    assert len(ranked.values["recall@1"]) == 1


def test_a_cut_by_time_is_one_moment_for_everybody(world: Dataset) -> None:
    cut = by_time(world)
    timed = cut.events.filter(pl.col("user_id").is_not_null() & pl.col("timestamp").is_not_null())
    starts = timed.group_by("ranking_id").agg(pl.col("timestamp").min(), pl.col("part").unique())
    assert starts["part"].list.len().max() == 1
    by_part = {part: starts.filter(pl.col("part").list.first() == part)["timestamp"] for part in PARTS}
    assert by_part["train"].max() < by_part["validation"].min()
    assert by_part["validation"].max() < by_part["test"].min()
    assert len(by_part["test"]) == pytest.approx(len(starts) / 10, rel=0.3)
    others = pl.col("user_id").is_null() | pl.col("timestamp").is_null()
    assert cut.events.filter(others).equals(world.events.filter(others))


def test_people_of_the_test_part_are_known_or_new(world: Dataset) -> None:
    train = set(world.events.filter(part="train")["user_id"].drop_nulls())
    for protocol in protocols(world, "test"):
        for ranking in protocol.rankings:
            user = ranking.context.user_id
            if user and not protocol.name.startswith("names"):
                assert ("new user" in ranking.slices) == (user not in train)
