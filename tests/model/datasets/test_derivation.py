"""What is derived for a task follows from the catalogue by arithmetic, and only for tasks that the log cannot teach."""

from __future__ import annotations

import math
import random

import polars as pl
import pytest
from table_imports import Import

from model.datasets.dataset import CATEGORIES, NUMBER, TEXT
from model.datasets.errors import DatasetError
from model.datasets.importers.alike import Contents, TermIndex, alike_pairs, terms_of
from model.datasets.importers.co_likes import Association, Like
from model.datasets.importers.derivation import LogSummary, derive, with_derived
from model.datasets.importers.fresh_homepage import EACH_KIND, fresh_homepage, kinds_of, recencies
from model.datasets.importers.name_searches import NameIndex, name_searches
from model.events.derived import derived_counts
from model.events.table import EVENT_SCHEMA, conform

COLUMNS = {"kind": CATEGORIES, "brand": TEXT, "year": NUMBER}


def things(count: int, kinds: int = 5) -> list[dict[str, object]]:
    """Things of some kinds, each newer than the one before."""
    return [
        {"entity_id": f"e{i}", "display_name": f"Thing {i}", "kind": [f"kind {i % kinds}"], "year": 1990 + i}
        for i in range(count)
    ]


def events(rows: list[dict[str, object]]) -> pl.DataFrame:
    full = [{"ranking_id": f"r{i}", "label": 1.0, "part": "train", **row} for i, row in enumerate(rows)]
    return conform(pl.DataFrame(full, infer_schema_length=None))


# ── pairs ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_terms_are_words_of_names_and_texts_and_values_of_categories_and_short_texts() -> None:
    entity = {"display_name": "Red Shoe", "kind": ["Sport"], "brand": "New Balance", "year": 3}
    assert terms_of(entity, COLUMNS) == {"red", "shoe", "kind=sport", "brand=new balance"}
    assert terms_of(entity | {"brand": "made by hand in Spain"}, COLUMNS) >= {"made", "by", "hand", "in", "spain"}
    assert terms_of({"display_name": "Red"}, {"kind": CATEGORIES, "brand": "ignore"}) == {"red"}


def test_likeness_agrees_with_a_calculation_by_hand() -> None:
    index = TermIndex([frozenset("ab"), frozenset("abc"), frozenset("d")])
    two, one = math.log(4 / 2) ** 2, math.log(4 / 1) ** 2  # a and b are on two of three, c and d on one
    cosine = 2 * two / math.sqrt(2 * two * (2 * two + one))
    assert index.likeness(0, 1) == pytest.approx(cosine * 2 / 3)
    assert index.likeness(0, 2) == 0.0
    assert [index.nearest(row) for row in range(3)] == [[1], [0], []]


def test_pairs_are_the_most_alike_first_and_bounded() -> None:
    shop = [
        {"entity_id": "1", "display_name": "Red running shoes", "kind": ["shoes"]},
        {"entity_id": "2", "display_name": "Blue running shoes", "kind": ["shoes"]},
        {"entity_id": "3", "display_name": "Brown shoes", "kind": ["boots"]},
    ]
    pairs = alike_pairs(Contents(shop, COLUMNS), targets=1)
    assert pairs[:2] == [("1", "2"), ("2", "1")]
    assert len(alike_pairs(Contents(shop, COLUMNS), limit=2, targets=1)) == 2
    assert sorted(alike_pairs(Contents(shop[::-1], COLUMNS), targets=1)) == pairs


def test_of_equally_alike_entities_the_one_that_the_same_people_like_comes_first() -> None:
    shop = [{"entity_id": str(i), "display_name": "Red running shoes", "kind": ["shoes"]} for i in range(4)]
    likes = [Like(f"u{user}", entity, 0) for user in range(9) for entity in ("0", "3")]
    assert alike_pairs(Contents(shop, COLUMNS), targets=1)[0] == ("0", "1")
    assert alike_pairs(Contents(shop, COLUMNS), Association(likes), targets=1)[0] == ("0", "3")


def test_contents_agree_on_what_is_most_alike_and_do_not_object_where_they_say_nothing() -> None:
    kinds = [chr(ord("a") + i) * 5 for i in range(20)]
    shop = [{"entity_id": f"e{i}", "display_name": "Thing", "kind": [kinds[i % 20]]} for i in range(40)]
    contents = Contents(shop, {"kind": CATEGORIES})
    assert [contents.agree("e0", other) for other in ("e20", "e1", "e2", "nowhere")] == [True, False, False, False]
    assert Contents(shop, {}).agree("e0", "e1")


def test_a_value_that_everything_has_still_gives_each_source_its_neighbours() -> None:
    same = [{"entity_id": f"e{i}", "display_name": f"{i}x", "kind": ["a", "b"]} for i in range(200)]
    index = TermIndex([terms_of(entity, COLUMNS) for entity in same])
    found = [index.nearest(row) for row in (0, 100, 199)]
    assert [(min(near), max(near)) for near in found] == [(1, 4), (96, 104), (195, 198)]
    assert TermIndex([frozenset({"the", f"{i}x"}) for i in range(200)]).nearest(0) == []  # a common word is nothing


# ── searches ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_searched_in_full_and_by_rare_words_and_what_matches_is_relevant() -> None:
    names = ["The Rain Jacket", "The Wool Jacket", "Rain", "???"]
    searches = name_searches([{"entity_id": f"e{i}", "display_name": name} for i, name in enumerate(names)])
    slates = {
        query: dict(group.select("entity_id", "label").iter_rows()) for (query,), group in searches.group_by("query")
    }
    assert slates["the rain jacket"] == {"e0": 1.0, "e1": 0.0, "e2": 0.0}
    assert slates["rain"] == {"e0": 1.0, "e2": 1.0}
    assert set(slates) >= {"the wool jacket"}
    assert searches["query"].n_unique() == searches["ranking_id"].n_unique()
    assert searches.equals(name_searches([{"entity_id": f"e{i}", "display_name": n} for i, n in enumerate(names)]))
    assert name_searches(things(9), limit=4)["query"].n_unique() == 4


def test_a_part_of_a_name_is_one_or_two_of_its_rarest_words_in_order() -> None:
    index = NameIndex([["the", "red", "wool", "hat"], ["the", "red", "cap"], ["the", "cup"], ["cup"]])
    parts = {tuple(index.part(0, random.Random(seed))) for seed in range(20)}
    assert parts == {("wool",), ("wool", "hat")}
    assert index.part(3, random.Random(0)) == ["cup"]


# ── homepage ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_homepage_prefers_new_entities_and_shows_few_of_each_kind() -> None:
    page = fresh_homepage(things(1000), COLUMNS)
    rows = [int(entity[1:]) for entity in page["entity_id"]]
    assert len(rows) == len(set(rows)) == 5 * EACH_KIND
    assert sum(row >= 500 for row in rows) > 0.7 * len(rows)
    assert set(page["user_id"]) == {None}
    assert set(page["label"]) == {1.0}
    old_first = fresh_homepage(list(reversed(things(1000))), COLUMNS)
    assert set(old_first["entity_id"]) == set(page["entity_id"])  # the order of the file does not matter


@pytest.mark.parametrize(
    ("column", "values", "newest"),
    [("year", [1990, 2020, None], 1), ("release_date", ["2021-05-01", "1999-01-01", "soon"], 0)],
)
def test_how_new_an_entity_is_comes_from_a_column_that_names_a_date(
    column: str, values: list[object], newest: int
) -> None:
    entities = [{"entity_id": str(i), column: value} for i, value in enumerate(values)]
    ages = recencies(entities, {"rating": NUMBER, column: TEXT if isinstance(values[0], str) else NUMBER})
    assert (ages[newest], ages[1 - newest], ages[2]) == (1.0, 0.0, 0.0)
    assert recencies(entities, {"rating": NUMBER}) == [0.0] * 3


def test_the_kind_is_a_column_whose_values_repeat() -> None:
    rows = [{"entity_id": str(i), "sku": f"s{i}", "brand": "ab"[i % 2]} for i in range(4)]
    assert kinds_of(rows, {"sku": TEXT, "brand": TEXT}) == ["a", "b", "a", "b"]
    assert kinds_of(rows, {"sku": TEXT}) == ["0", "1", "2", "3"]


# ── which tasks ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_derived_unless_training_has_a_positive_row_of_it_that_can_be_ranked() -> None:
    log = LogSummary(5)
    log.add(
        events(
            [
                {"task": "search", "entity_id": "e1", "query": "x", "part": "test"},
                {"task": "homepage", "entity_id": "e1", "label": 0.0},
                {"task": "more_like_this", "entity_id": "e1", "source_entity_id": "e1"},
                {"task": "more_like_this", "entity_id": "e1"},
                {"task": "mine", "entity_id": "e1"},
            ]
        )
    )
    assert log.tasks == {"mine"}
    derived = derive(things(30), COLUMNS, log)
    assert set(derived["task"]) == {"search", "homepage", "more_like_this"}
    assert derived["part"].null_count() == 0
    assert set(derived.filter(part="train")["task"]) == {"search", "homepage", "more_like_this"}


def test_what_the_log_teaches_is_left_as_it_is() -> None:
    rows = [
        {"task": "search", "entity_id": "e1", "query": "x", "context.device": "tv"},
        {"task": "homepage", "entity_id": "e1", "user_id": "u"},
        {"task": "more_like_this", "entity_id": "e1", "source_entity_id": "e2"},
    ]
    whole = events(rows)
    assert with_derived(whole, things(30), COLUMNS).equals(whole)
    partly = with_derived(whole[:2], things(30), COLUMNS)
    assert partly[:2].equals(whole[:2])
    assert derived_counts(partly).keys() == {"more_like_this"}
    with pytest.raises(DatasetError, match="the entities give nothing to learn from"):
        with_derived(pl.DataFrame(schema=EVENT_SCHEMA), things(1), COLUMNS)


def test_fewer_than_ten_derived_rankings_are_all_training() -> None:
    few = derive(things(4, kinds=2), {"kind": CATEGORIES}, LogSummary(0))
    assert set(few.filter(pl.col("task") != "search")["part"]) == {"train"}
    parts = derive(things(400), {"kind": CATEGORIES}, LogSummary(0)).filter(task="more_like_this")["part"]
    assert set(parts) == {"train", "validation", "test"}


def test_likes_of_a_log_that_is_imported_become_pairs(imported: Import) -> None:
    rows = [
        f"{item},user{user},{1_700_000_000 + 60 * item}\n"
        for user in range(60)
        for item in ((1, 2) if user < 20 else (3,))
    ]
    dataset = imported("entity_id,user_id,timestamp\n" + "".join(rows), derive=True)
    liked = dataset.events.filter(pl.col("ranking_id").str.starts_with("derived-liked-"))
    assert set(liked.select("source_entity_id", "entity_id").iter_rows()) == {("1", "2")}
    assert dataset.about["derived"] == derived_counts(dataset.events)
    assert "homepage" not in derived_counts(dataset.events)


def test_of_a_log_with_many_likes_whole_users_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.datasets.importers.derivation.MOST_LIKES", 100)
    rows = [{"task": "homepage", "entity_id": f"e{i % 4}", "user_id": f"u{i // 4}", "timestamp": i} for i in range(400)]
    log = LogSummary(400)
    log.add(events(rows))
    assert 40 < len(log.likes) < 160
    assert all(sum(like.user_id == user for like in log.likes) == 4 for user in {like.user_id for like in log.likes})
