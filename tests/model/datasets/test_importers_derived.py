"""Derived pairs follow from association and content scores by arithmetic, and do not leak between parts."""

from __future__ import annotations

import math

import polars as pl
import pytest

from model.datasets.importers.alike import content_events, without_reversals
from model.datasets.importers.co_likes import (
    HOUR_MS,
    Association,
    Like,
    co_like_events,
    co_like_pairs,
    likes_of,
    near_pairs,
)
from model.events.parts import TEST, TRAIN, VALIDATION


def crowd(pair: tuple[str, str], users: int, part: str = TRAIN, start: int = 0) -> list[Like]:
    """Each user likes both entities, a minute apart."""
    return [
        Like(f"u{user}", entity, 60_000 * place, part)
        for user in range(start, start + users)
        for place, entity in enumerate(pair)
    ]


def others(users: int, start: int = 100) -> list[Like]:
    """Users who like something of their own: they make the two entities rare, so that the lift is high."""
    return [Like(f"u{user}", f"own{user}", 0) for user in range(start, start + users)]


def test_association_agrees_with_a_calculation_by_hand() -> None:
    likes = [*crowd(("a", "b"), 5), Like("u50", "a", 0), *others(14)]
    association = Association(likes)  # 20 users, 6 like a, 5 like b, 5 like both
    assert association.lift("a", "b") == pytest.approx(5 * 20 / (6 * 5))
    assert association.strength("a", "b") == pytest.approx(5 / math.sqrt(30) * 5 / 15)
    assert association.strength("a", "own100") == association.lift("a", "missing") == 0.0
    assert association.holds("a", "b")


def test_what_everybody_likes_is_no_association() -> None:
    assert not Association(crowd(("a", "b"), 20)).holds("a", "b")  # lift 1
    assert not Association([*crowd(("a", "b"), 3), *others(50)]).holds("a", "b")  # three shared fans are too few


def test_test_likes_count_for_nothing() -> None:
    likes = [*crowd(("a", "b"), 10, TEST), *others(50)]
    assert Association(likes).strength("a", "b") == 0.0
    assert co_like_pairs(likes) == []


def test_near_means_an_hour_a_few_places_and_one_part() -> None:
    late = [Like("u", "a", 0), Like("u", "b", HOUR_MS), Like("u", "c", 2 * HOUR_MS + 1)]
    assert [(pair.source, pair.target, pair.timestamp) for pair in near_pairs(late)] == [("a", "b", HOUR_MS)]
    assert list(near_pairs([Like("u", "a", 0, TRAIN), Like("u", "b", 1, TEST)])) == []
    assert list(near_pairs([Like("u", "a", 0), Like("v", "b", 1)])) == []
    crowded = [Like("u", f"e{index}", 0) for index in range(9)]
    assert max(int(p.target[1:]) - int(p.source[1:]) for p in near_pairs(crowded)) == 6
    assert list(near_pairs([Like("u", "a", 0), Like("u", "a", 1)])) == []


def test_pairs_carry_user_time_and_part_and_are_capped() -> None:
    likes = [*crowd(("a", "b"), 8), *crowd(("a", "b"), 2, TEST, start=50), *others(80)]
    pairs = co_like_pairs(likes)
    assert [pair.part for pair in pairs].count(TRAIN) == 4  # PAIR_REPEATS
    assert [pair.part for pair in pairs].count(TEST) == 2
    assert {(pair.source, pair.target, pair.timestamp) for pair in pairs} == {("a", "b", 60_000)}
    assert pairs == co_like_pairs(list(reversed(likes)))
    assert len(co_like_pairs(likes, limit=1)) == 2  # one of each part
    events = co_like_events(pairs)
    assert events["ranking_id"].n_unique() == events.height == 6
    assert events["part"].to_list() == [pair.part for pair in pairs]
    assert likes_of(events) == []  # they are no homepage rows


def test_no_likes_and_no_contents_give_no_pairs() -> None:
    assert co_like_events(co_like_pairs([])).is_empty()
    assert content_events([]).is_empty()


def test_what_likes_pair_must_agree_otherwise_too() -> None:
    likes = [*crowd(("a", "b"), 8), *crowd(("c", "d"), 8, start=20), *others(80)]
    assert {(p.source, p.target) for p in co_like_pairs(likes)} == {("a", "b"), ("c", "d")}
    assert {p.source for p in co_like_pairs(likes, lambda source, _: source == "c")} == {"c"}


def test_targets_of_one_source_share_a_ranking_without_user_and_time() -> None:
    events = content_events([("a", "b"), ("a", "c"), ("b", "a")])
    assert events["ranking_id"].n_unique() == 2
    assert events["user_id"].null_count() == events["timestamp"].null_count() == 3


def test_a_pair_stays_only_in_the_later_part_of_its_two_directions() -> None:
    pairs = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"), ("e", "f"), ("g", "h"), ("h", "g")]
    parts = [TRAIN, TEST, TRAIN, TRAIN, TRAIN, TEST, VALIDATION]
    kept = without_reversals(content_events(pairs).with_columns(pl.Series("part", parts)))
    found = list(kept.select("source_entity_id", "entity_id").iter_rows())
    assert found == [("b", "a"), ("c", "d"), ("d", "c"), ("e", "f"), ("g", "h")]
    assert kept.columns == content_events(pairs).columns
