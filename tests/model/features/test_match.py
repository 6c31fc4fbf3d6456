"""All features of a context: one column a name, and each depends on the context and one entity alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_catalogue import HEAT, MARKS, TOY_STORY, UP, catalogue, computed, features, matcher, nobody

from model.features.match import MatchFeatures


def test_names_are_distinct_and_one_a_column() -> None:
    assert len(set(matcher().names)) == len(matcher().names)
    assert computed("toy").shape[1] == len(matcher().names)


def test_popularity_and_whoever_has_none() -> None:
    made = features()
    assert made["engaged_count"].tolist() == pytest.approx(np.log1p([9, 3, 5, 0, 0, 0]).tolist())
    assert made["never_engaged"].tolist() == [0, 0, 0, 1, 1, 1]


CONTEXTS = [
    ("toy sto", None, (), ()),
    ("heat", TOY_STORY, (HEAT,), (UP,)),
    (None, HEAT, (TOY_STORY, HEAT), ()),
    ("1995 story", None, (), (HEAT,)),
    (None, None, (), ()),
    ("zzz", MARKS, (), ()),
]


def test_scratch_tables_are_clean_after_each_call() -> None:
    first = [computed(*context) for context in CONTEXTS]
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [1, 1, 0, 3, 0, 2]):
        for number in order:
            assert np.array_equal(computed(*CONTEXTS[number]), first[number])
    fresh = MatchFeatures(matcher().encoder, countries=True)
    query = fresh.encode_query("toy sto")
    assert np.array_equal(fresh(query, None, nobody(), catalogue()), first[0])


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_order_of_candidates_does_not_matter(context: tuple[object, ...]) -> None:
    order = np.array([4, 2, 0, 5, 1, 3])
    shuffled = computed(*context, candidates=catalogue().take(order))
    np.testing.assert_allclose(shuffled, computed(*context)[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_candidate_does_not_depend_on_the_others(context: tuple[object, ...]) -> None:
    whole = computed(*context)
    for row in range(6):
        alone = computed(*context, candidates=catalogue().take(np.array([row])))
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-5, atol=1e-6)
    twice = computed(*context, candidates=catalogue().take(np.array([2, 2, 0])))
    np.testing.assert_allclose(twice, whole[[2, 2, 0]], rtol=1e-5, atol=1e-6)


def test_no_candidates() -> None:
    for context in CONTEXTS:
        assert computed(*context, candidates=catalogue().take(np.zeros(0, np.int64))).shape[0] == 0


def test_a_record_without_tokens_still_has_features() -> None:
    records = catalogue()
    bare = replace(records, text=np.zeros_like(records.text)).without_tokens()
    assert np.isfinite(computed("toy story", TOY_STORY, candidates=bare)).all()
