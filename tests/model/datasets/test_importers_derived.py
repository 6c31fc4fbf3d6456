"""Derived pairs follow from association and content scores by arithmetic, and do not leak between parts."""

from __future__ import annotations

import math

import polars as pl
import pytest

from model.datasets.importers.co_likes import (
    HOUR_MS,
    Association,
    Like,
    co_like_events,
    co_like_pairs,
    likes_of,
    near_pairs,
)
from model.datasets.importers.content_pairs import (
    Content,
    content_events,
    content_pairs,
    content_scores,
    jaccard,
    tag_cosines,
    without_reversals,
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
    assert content_events(content_pairs([])).is_empty()


def test_sequels_score_and_coincidences_do_not() -> None:
    action, drama = frozenset({"Action"}), frozenset({"Drama"})
    contents = [
        Content("1", "Rocky", genres=drama),
        Content("2", "Rocky II", genres=drama),
        Content("3", "Rocky III", genres=action),
        Content("4", "Frozen", genres=action),
        Content("5", "Frozen", genres=frozenset({"Action", "Drama"})),
        Content("6", "Frozen II"),
    ]
    scores = content_scores(contents)
    assert scores["1", "2"] == pytest.approx(1.3)  # series 1, the same genres 0.3
    assert ("1", "3") not in scores  # no genre in common
    assert scores["4", "5"] == pytest.approx(0.5 + 0.15)  # one name: half a series, half the genres
    assert scores["4", "6"] == pytest.approx(1.0)  # no genres known: nothing speaks against it


def test_directors_count_with_genres() -> None:
    genres = frozenset({"Horror", "Comedy", "Crime"})
    contents = [
        Content("1", "Alpha", ("D",), genres),
        Content("2", "Bravo", ("D",), genres),
        Content("3", "Delta", ("D",), frozenset({"Crime", "War", "Music"})),
    ]
    scores = content_scores(contents)
    assert scores["1", "2"] == pytest.approx(0.7)
    assert scores["1", "3"] == pytest.approx(0.4 + 0.3 / 5)
    assert content_pairs(contents) == [("1", "2"), ("2", "1")]


def test_scores_of_rare_tags_agree_with_a_calculation_by_hand() -> None:
    tags = [{"x", "y"}, {"x", "y", "z"}, {"z"}, {"w"}]
    contents = [Content(str(i), f"Film {'abcd'[i]}", tags=frozenset(t)) for i, t in enumerate(tags)]
    weight = math.log(4 / 2)  # x, y and z are each on two of four
    expected = 2 * weight**2 / (math.sqrt(2) * weight * math.sqrt(3) * weight)
    assert tag_cosines(contents) == {("0", "1"): pytest.approx(expected)}  # one shared tag is not enough


def test_the_best_targets_of_each_source_are_kept_and_share_a_ranking() -> None:
    contents = [Content(str(index), f"Saga {index}") for index in range(1, 8)]
    pairs = content_pairs(contents, targets=2)
    assert len(pairs) == 14
    assert pairs[:2] == [("1", "2"), ("1", "3")]
    assert len(content_pairs(contents, limit=5, targets=2)) == 5
    events = content_events(pairs)
    assert events["ranking_id"].n_unique() == 7
    assert events["user_id"].null_count() == events["timestamp"].null_count() == 14


def test_a_pair_stays_only_in_the_later_part_of_its_two_directions() -> None:
    pairs = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"), ("e", "f"), ("g", "h"), ("h", "g")]
    parts = [TRAIN, TEST, TRAIN, TRAIN, TRAIN, TEST, VALIDATION]
    kept = without_reversals(content_events(pairs).with_columns(pl.Series("part", parts)))
    found = list(kept.select("source_entity_id", "entity_id").iter_rows())
    assert found == [("b", "a"), ("c", "d"), ("d", "c"), ("e", "f"), ("g", "h")]
    assert kept.columns == content_events(pairs).columns


def test_jaccard_similarity_agrees_with_a_calculation_by_hand() -> None:
    assert jaccard(frozenset("ab"), frozenset("bc")) == pytest.approx(1 / 3)
    assert jaccard(frozenset(), frozenset()) == 0.0
