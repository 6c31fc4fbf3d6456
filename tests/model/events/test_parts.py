"""Rankings are split into parts by the documented shares and by time, and nothing leaks between parts."""

from __future__ import annotations

import polars as pl

from model.events.parts import (
    TEST,
    TRAIN,
    UNSEEN_SLICE,
    VALIDATION,
    assign_parts,
    fraction,
    source_part,
    text_part,
    unseen_part,
)
from model.events.table import conform
from model.text.normalise import normalise


def events(rows: list[dict[str, object]]) -> pl.DataFrame:
    defaults = {"task": "homepage", "entity_id": "e", "label": 1.0}
    full = [{**defaults, "ranking_id": f"r{index}", **row} for index, row in enumerate(rows)]
    return conform(pl.DataFrame(full, infer_schema_length=None))


def query_in(part: str, start: int = 0) -> str:
    return next(f"query {index}" for index in range(start, 10_000) if text_part(f"query {index}") == part)


def entity_of(part: str) -> str:
    return next(f"e{index}" for index in range(1000) if unseen_part(f"e{index}", 0.05) == part)


def test_hash_shares_are_as_documented_and_salts_are_independent() -> None:
    texts = [f"tmdb-{index}" for index in range(20_000)]
    assert abs(sum(text_part(text) == TEST for text in texts) / 20_000 - 0.10) < 0.01
    assert abs(sum(text_part(text) == VALIDATION for text in texts) / 20_000 - 0.08) < 0.01
    assert abs(sum(source_part(text) == VALIDATION for text in texts) / 20_000 - 0.10) < 0.01
    assert abs(sum(unseen_part(text) == VALIDATION for text in texts) / 20_000 - 0.05) < 0.01
    unseen = [text for text in texts if unseen_part(text) == TEST]
    assert abs(len(unseen) / 20_000 - 0.05) < 0.01
    assert abs(sum(source_part(text) == TEST for text in unseen) / len(unseen) - 0.10) < 0.04


def test_the_hash_never_changes() -> None:
    assert round(fraction("query", "toy story"), 6) == 0.746344


def test_the_last_tenth_of_a_user_is_test_and_the_tenth_before_validation() -> None:
    rows = [{"user_id": "u", "timestamp": 100 - index} for index in range(20)]
    parts = assign_parts(events(rows))["part"].to_list()
    assert parts == [TEST, TEST, VALIDATION, VALIDATION, *[TRAIN] * 16]


def test_equal_timestamps_keep_the_order_of_the_rows() -> None:
    rows = [{"user_id": "u", "timestamp": 5} for _ in range(10)]
    assert assign_parts(events(rows))["part"].to_list() == [*[TRAIN] * 8, VALIDATION, TEST]


def test_a_user_with_fewer_than_ten_rankings_is_training() -> None:
    rows = [{"user_id": "u", "timestamp": index} for index in range(9)]
    assert set(assign_parts(events(rows))["part"]) == {TRAIN}


def test_a_slate_is_never_cut() -> None:
    rows = [
        {
            "user_id": "u",
            "timestamp": index // 7,
            "ranking_id": f"slate{index // 7}",
            "entity_id": f"e{index}",
        }
        for index in range(70)
    ]
    assigned = assign_parts(events(rows))
    per_ranking = assigned.group_by("ranking_id").agg(pl.col("part").n_unique())
    assert set(per_ranking["part"]) == {1}
    assert assigned.filter(pl.col("part") == TEST)["ranking_id"].unique().to_list() == ["slate9"]


def test_queries_that_normalise_alike_share_a_part() -> None:
    texts = [f"Toy Story {index}" for index in range(200)]
    rows = [{"task": "search", "query": text} for text in (*texts, *(f"  toy, STORY {i}!" for i in range(200)))]
    parts = assign_parts(events(rows))["part"].to_list()
    assert parts[:200] == parts[200:]
    assert set(parts) == {TRAIN, VALIDATION, TEST}


def test_a_users_search_takes_the_later_of_time_and_text() -> None:
    test_query, train_query = query_in(TEST), query_in(TRAIN)
    rows: list[dict[str, object]] = [{"user_id": "u", "timestamp": index} for index in range(10)]
    rows[0] |= {"task": "search", "query": test_query}  # early, but its text is under test
    rows[9] |= {"task": "search", "query": train_query}  # its text is training, but it is late
    parts = assign_parts(events(rows))["part"].to_list()
    assert (parts[0], parts[9]) == (TEST, TEST)


def test_a_search_for_an_unseen_entity_leaves_training() -> None:
    unseen, seen = entity_of(TEST), entity_of(TRAIN)
    first, second = query_in(TRAIN), query_in(TRAIN, start=5_000)
    search = {"task": "search", "query": first}
    rows = [
        {**search, "ranking_id": "a", "entity_id": unseen, "label": 1.0},
        {**search, "ranking_id": "a", "entity_id": seen, "label": 0.0},
        {**search, "ranking_id": "b", "entity_id": seen},  # the same text, without an unseen entity
        {"task": "search", "query": second, "ranking_id": "c", "entity_id": unseen, "label": 0.0},
        {"ranking_id": "d", "entity_id": unseen, "user_id": "u", "timestamp": 1},  # homepage is not searched
    ]
    assigned = assign_parts(events(rows), unseen_share=0.05)
    assert assigned["part"].to_list() == [TEST, TEST, TEST, TRAIN, TRAIN]
    assert assigned["slice"].to_list() == [UNSEEN_SLICE, UNSEEN_SLICE, None, None, None]
    assert assign_parts(events(rows))["part"].to_list() == [TRAIN] * 5


def test_a_search_for_an_entity_unseen_by_training_is_validation_at_least() -> None:
    held, unseen, text = entity_of(VALIDATION), entity_of(TEST), query_in(TRAIN)
    rows = [
        {"task": "search", "query": text, "ranking_id": "a", "entity_id": held},
        {"task": "search", "query": query_in(TEST), "ranking_id": "b", "entity_id": held},
        {"task": "search", "query": query_in(VALIDATION), "ranking_id": "c", "entity_id": held},
        {"task": "search", "query": query_in(TRAIN, 5_000), "ranking_id": "d", "entity_id": held},
        {"task": "search", "query": query_in(TRAIN, 5_000), "ranking_id": "d", "entity_id": unseen},
    ]
    assigned = assign_parts(events(rows), unseen_share=0.05)
    assert assigned["part"].to_list() == [VALIDATION, TEST, VALIDATION, TEST, TEST]
    assert assigned["slice"].to_list() == [UNSEEN_SLICE, None, *[UNSEEN_SLICE] * 3]


def test_a_search_with_an_entity_that_training_finds_is_not_unseen_and_stays_test() -> None:
    unseen, seen = entity_of(TEST), entity_of(TRAIN)
    mixed, pure = query_in(TRAIN), query_in(TRAIN, start=5_000)
    trained = {"task": "search", "query": query_in(TRAIN, start=8_000), "ranking_id": "t", "entity_id": seen}
    rows = [
        {"task": "search", "query": mixed, "ranking_id": "a", "entity_id": unseen},
        {"task": "search", "query": mixed, "ranking_id": "a", "entity_id": seen},
        {"task": "search", "query": pure, "ranking_id": "b", "entity_id": unseen},
        {"task": "search", "query": pure, "ranking_id": "b", "entity_id": seen, "label": 0.0},
        trained,
    ]
    assigned = assign_parts(events(rows), unseen_share=0.05)
    assert assigned["part"].to_list() == [*[TEST] * 4, TRAIN]
    assert assigned["slice"].to_list() == [None, None, UNSEEN_SLICE, UNSEEN_SLICE, None]
    untrained = assign_parts(events(rows[:4]), unseen_share=0.05)
    assert untrained["slice"].to_list() == [UNSEEN_SLICE] * 4


def test_no_text_without_user_and_no_unseen_entity_is_on_both_sides() -> None:
    rows = [
        {"task": "search", "query": f"film {i % 300}", "entity_id": f"e{i % 97}", "label": float(i % 3 > 0)}
        for i in range(900)
    ]
    assigned = assign_parts(events(rows), unseen_share=0.05)
    texts = assigned.with_columns(pl.col("query").map_elements(normalise, return_dtype=pl.String))
    assert set(texts.group_by("query").agg(pl.col("part").n_unique())["part"]) == {1}
    relevant = {part: assigned.filter(pl.col("label") > 0, part=part)["entity_id"] for part in (TRAIN, VALIDATION)}
    assert {unseen_part(entity) for entity in relevant[TRAIN]} == {TRAIN}
    assert {unseen_part(entity) for entity in relevant[VALIDATION]} == {TRAIN, VALIDATION}
    assert assigned.filter(pl.col("slice") == UNSEEN_SLICE).height > 0


def test_pairs_without_user_go_by_source_and_given_parts_stay() -> None:
    rows = [{"task": "more_like_this", "source_entity_id": f"s{index // 3}"} for index in range(60)]
    assert assign_parts(events(rows))["part"].to_list() == [source_part(f"s{i // 3}") for i in range(60)]
    given = events(rows).with_columns(pl.lit(VALIDATION).alias("part"))
    assert set(assign_parts(given)["part"]) == {VALIDATION}


def test_row_order_and_columns_stay() -> None:
    rows = [{"user_id": f"u{i % 3}", "timestamp": 99 - i, "context.device": "tv"} for i in range(40)]
    before = events(rows)
    after = assign_parts(before)
    assert after.columns == before.columns
    assert after["ranking_id"].to_list() == before["ranking_id"].to_list()


def test_an_empty_table_is_split_without_an_error() -> None:
    assert assign_parts(events([{}]).clear()).is_empty()
