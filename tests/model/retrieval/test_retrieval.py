"""Dense and lexical search over a catalogue are exact, in order, and leave out what is excluded."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.catalogue.encoding import EntityArrays, EntityEncoder
from model.catalogue.ragged import Ragged
from model.config import NetworkConfig
from model.features.match import MatchFeatures
from model.retrieval import lexical
from model.retrieval.exact import DenseIndex, best_rows
from model.retrieval.lexical import GRAM_WEIGHT, NAME_WEIGHT, PREFIX_SHARE, LexicalIndex, Postings
from model.text.vocabulary import FIELD_BITS

NAMES = ["Toy Story", "Toy Soldiers", "Toy Story 2", "Heat", "The Heat", "Story of Kale", "Amélie", "七人の侍", "?!"]
ABOUT = ["cowboy doll", "boys", "cowboy doll again", "cops", "cops too", "a love story", "paris", "seven", "nothing"]


ENTITIES = [
    {"entity_id": str(i), "display_name": name, "about": about}
    for i, (name, about) in enumerate(zip(NAMES, ABOUT, strict=True))
]


@cache
def encoded() -> tuple[EntityEncoder, EntityArrays]:
    config = NetworkConfig(text_width=4, text_buckets=2**12)
    return EntityEncoder.fit(ENTITIES, {"about": "text"}, config, seed=0)


@cache
def parts() -> tuple[MatchFeatures, LexicalIndex]:
    encoder, arrays = encoded()
    postings = Postings.of(arrays.tokens, len(encoder.vocabulary.weights), np.zeros(len(NAMES), np.float32))
    return MatchFeatures(encoder), LexicalIndex(postings, encoder.vocabulary)


def found(query: str | None, k: int = 20, exclude: tuple[int, ...] = ()) -> list[str]:
    matcher, index = parts()
    return [NAMES[row] for row in index.search(matcher.encode_query(query), k, exclude)]


# ---- lexical ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name != "?!"])
def test_a_name_finds_its_entity_first(name: str) -> None:
    assert found(name)[0] == name


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("toy sol", "Toy Soldiers"),
        ("amel", "Amélie"),
        ("七人", "七人の侍"),
        ("hea", "Heat"),
        ("toy story", "Toy Story"),
    ],
)
def test_the_last_word_is_a_prefix(query: str, first: str) -> None:
    assert found(query)[0] == first


@pytest.mark.parametrize(("query", "first"), [("soldeirs", "Toy Soldiers"), ("amellie", "Amélie")])
def test_a_typo_is_found_by_its_trigrams(query: str, first: str) -> None:
    assert found(query)[0] == first


def test_words_of_other_fields_are_found_and_names_come_first() -> None:
    assert set(found("cowboy")) >= {"Toy Story", "Toy Story 2"}
    assert found("story")[:3] != found("doll")[:3]
    assert found("story").index("Story of Kale") < 3


def test_only_what_matches_is_returned() -> None:
    assert "Heat" not in found("soldiers")
    assert found("xyzxyz") == []


@pytest.mark.parametrize("query", [None, "", "  ", "?!", "🎬"])
def test_an_empty_query_finds_nothing(query: str | None) -> None:
    assert found(query) == []


@pytest.mark.parametrize("k", [0, 1, 2, 100])
def test_at_most_k_results_are_returned(k: int) -> None:
    assert len(found("toy story", k)) == min(k, len(found("toy story")))
    assert found("toy story", k) == found("toy story")[:k]


def test_what_is_excluded_is_not_found() -> None:
    assert "Toy Story" not in found("toy story", exclude=(0,))
    assert found("toy story", exclude=tuple(range(len(NAMES)))) == []


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_query_gives_distinct_rows(query: str) -> None:
    rows = found(query)
    assert len(set(rows)) == len(rows)


def test_the_same_query_finds_the_same_again() -> None:
    assert found("toy") == found("toy")
    assert found("heat") == found("heat")
    assert found("toy") == found("toy")


WORDS = st.lists(st.sampled_from(["toy", "story", "sol", "heat", "cowboy", "boys", "too", "again", "s"]), max_size=4)


@settings(deadline=None)
@given(WORDS, st.integers(1, 9), st.sets(st.integers(0, len(NAMES) - 1)))
def test_scores_are_sums_over_words_trigrams_and_the_prefix(words: list[str], k: int, exclude: set[int]) -> None:
    matcher, index = parts()
    query = matcher.encode_query(" ".join(words))
    tokens, vocabulary = encoded()[1].tokens, matcher.encoder.vocabulary
    scores = []
    for row in range(len(NAMES)):
        held = {int(code) >> FIELD_BITS: NAME_WEIGHT if code & 1 else 1.0 for code in tokens.row(row)}
        meant = zip(query.meanings, query.weights, strict=True)
        score = sum(held.get(number, 0) * v for numbers, v in meant for number in numbers)
        score += sum(held.get(vocabulary.gram_id(gram), 0) * GRAM_WEIGHT for gram in query.grams)
        if query.words:
            prefix = range(*vocabulary.typed_range(query.words[query.last]))
            score += max((held.get(n, 0) for n in prefix), default=0) * query.weights[query.last] * PREFIX_SHARE
        scores.append(score)
    wanted = [row for row in np.argsort(-np.round(scores, 4), kind="stable") if scores[row] > 0 and row not in exclude]
    rows = index.search(query, k, exclude)
    np.testing.assert_allclose([scores[row] for row in rows], [scores[row] for row in wanted[:k]], rtol=1e-4)


def test_of_a_common_word_the_best_known_with_it_in_their_name_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    entities = [{"entity_id": str(i), "display_name": f"Film {'x' * (i % 2)}", "about": "y"} for i in range(40)]
    entities += [{"entity_id": "last", "display_name": "Rare", "about": "film"}]
    encoder, arrays = EntityEncoder.fit(entities, {"about": "text"}, NetworkConfig(text_width=4, text_buckets=64), 0)
    popularity = np.arange(41, dtype=np.float32)
    index = LexicalIndex(Postings.of(arrays.tokens, len(encoder.vocabulary.weights), popularity), encoder.vocabulary)
    monkeypatch.setattr(lexical, "MOST", 40)
    encode = MatchFeatures(encoder).encode_query
    rows = index.search(encode("film"), 41).tolist()
    assert len(rows) <= 40
    assert {39, 38, 37} <= set(rows)
    assert not {0, 40} & set(rows)
    assert index.search(encode("rare film"), 3)[0] == 40


def test_postings_of_a_range_of_words_take_the_first_of_each() -> None:
    tokens = Ragged.of([[number << FIELD_BITS | 1 for number in range(3)] for _ in range(10)])
    postings = Postings.of(tokens, 4, -np.arange(10, dtype=np.float32))
    assert postings.count(0, 3) == 30
    assert (postings.of_words(0, 3, 30) >> 2).tolist() == [*range(10)] * 3
    assert (postings.of_words(0, 3, 7) >> 2).tolist() == [0, 1] * 3
    assert (postings.of_words(1, 2, 4) >> 2).tolist() == [0, 1, 2, 3]
    assert postings.of_words(3, 4, 5).tolist() == []


def test_a_source_finds_what_shares_its_rare_words() -> None:
    encoder, arrays = encoded()
    postings = Postings.of(
        arrays.tokens, len(encoder.vocabulary.weights), np.zeros(len(NAMES), np.float32), encoder.lists
    )
    index = LexicalIndex(postings, encoder.vocabulary, encoder.lists)
    rows, shared = index.like(arrays.tokens.row(NAMES.index("Toy Story")))
    order = [NAMES[row] for row in rows[np.argsort(-shared, kind="stable")]]
    assert order[:2] == ["Toy Story", "Toy Story 2"]
    assert set(order) == {"Toy Story", "Toy Story 2", "Toy Soldiers", "Story of Kale"}  # by name alone, not by text
    nameless, _ = index.like(arrays.tokens.row(NAMES.index("?!")))
    assert not len(nameless)


def test_a_title_finds_names_and_lists_and_no_texts() -> None:
    entities = [
        {"entity_id": "0", "display_name": "Heat", "about": "a comedy of errors", "kinds": ["Crime"]},
        {"entity_id": "1", "display_name": "Clerks", "about": "a shop", "kinds": ["Comedy"]},
        {"entity_id": "2", "display_name": "King of Comedy", "about": "fame", "kinds": ["Drama"]},
    ]
    columns = {"about": "text", "kinds": "categories"}
    encoder, arrays = EntityEncoder.fit(entities, columns, NetworkConfig(text_width=4, text_buckets=2**12), seed=0)
    postings = Postings.of(arrays.tokens, len(encoder.vocabulary.weights), np.zeros(3, np.float32), encoder.lists)
    rows, _ = LexicalIndex(postings, encoder.vocabulary).titled(MatchFeatures(encoder).encode_query("Comedies"))
    assert rows.tolist() == [1, 2]


# ---- dense --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 35), st.integers(0, 5), st.data())
def test_dense_search_is_exact(count: int, k: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-2, 3, (count, 4)).astype(np.float32)  # many ties
    query = rng.integers(-2, 3, 4).astype(np.float32)
    exclude = data.draw(st.sets(st.integers(0, count - 1), max_size=count))
    scores = matrix @ query
    wanted = [row for row in np.lexsort((np.arange(count), -scores)) if row not in exclude][:k]
    rows = DenseIndex(matrix).search(query, k, exclude)
    assert scores[rows].tolist() == scores[wanted].tolist()
    assert len(set(rows.tolist())) == len(rows)
    assert not set(rows.tolist()) & exclude


def test_ties_come_in_row_order() -> None:
    assert best_rows(np.zeros(6, np.float32), 6).tolist() == [0, 1, 2, 3, 4, 5]


def test_ties_at_the_cut_come_in_row_order() -> None:
    scores = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1] * 20, np.float32)
    assert best_rows(scores, 5).tolist() == [1, 3, 5, 7, 9]


def test_scores_that_are_no_numbers_are_left_out() -> None:
    scores = np.array([np.nan, 1.0, -np.inf, 2.0, np.inf], np.float32)
    rows = best_rows(scores, 5).tolist()
    assert rows[:2] in ([3, 1], [4, 3])
    assert 0 not in rows
    assert 2 not in rows
    assert best_rows(np.array([np.nan, 1.0, 2.0, 3.0], np.float32), 2).tolist() == [3, 2]


def test_the_index_is_not_changed_by_a_search() -> None:
    index = DenseIndex(np.eye(3, dtype=np.float32))
    query = np.array([3, 2, 1], np.float32)
    assert index.search(query, 3, {0}).tolist() == [1, 2]
    assert index.search(query, 3).tolist() == [0, 1, 2]


def test_an_empty_index_finds_nothing() -> None:
    assert DenseIndex(np.zeros((0, 4), np.float32)).search(np.zeros(4, np.float32), 5).tolist() == []
