"""The metrics: arithmetic a reader can redo, ties, edges, properties, and agreement with `ir_measures`."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from model.evaluation.metrics import (
    auc,
    bootstrap_interval,
    coverage,
    ece,
    mrr,
    ndcg,
    novelty,
    paired_difference,
    ranks_of_positives,
    recall,
    top_k,
)

ON_ONE_RANKING = (ndcg, mrr, recall, auc)


def test_ndcg_by_hand() -> None:
    # order of labels: 0, 2, 1; ideal: 2, 1
    gained = 2 / math.log2(3) + 1 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert ndcg([0.9, 0.8, 0.1], [0, 2, 1]) == pytest.approx(gained / ideal)


def test_ndcg_ideal_counts_positives_below_the_cut() -> None:
    # one of two positives within the first two, at rank 1
    assert ndcg([4, 3, 2, 1], [1, 0, 0, 1], k=2) == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_mrr_and_recall_by_hand() -> None:
    scores, labels = [4, 3, 2, 1], [0, 1, 0, 1]
    assert mrr(scores, labels) == 0.5
    assert recall(scores, labels, k=3) == 0.5
    assert recall(scores, labels, k=1) == 0.0
    assert recall(scores, labels) == 1.0


def test_auc_by_hand() -> None:
    # pairs (0.8, 0.9) wrong, (0.8, 0.1) right, (0.1, 0.9) wrong, (0.1, 0.1) a tie
    assert auc([0.9, 0.8, 0.1, 0.1], [0, 1, 1, 0]) == pytest.approx((0 + 1 + 0 + 0.5) / 4)


def test_ece_by_hand() -> None:
    # bin [0, .5): stated .2 and .4, observed 0 and 1: |.6 - 1| = .4; bin [.5, 1]: |.9 + 1 - 2| = .1
    assert ece([0.2, 0.4, 0.9, 1.0], [0, 1, 3, 1], bins=2) == pytest.approx((0.4 + 0.1) / 4)


def test_ece_of_a_calibrated_answer_is_zero() -> None:
    assert ece([0.25] * 4, [1, 0, 0, 0]) == 0.0


def test_novelty_by_hand() -> None:
    # shares 1/2, 1/4, and 1/8 for the entity without events, which counts as one of the 8
    assert novelty([0, 1, 3], [4, 2, 2, 0]) == pytest.approx((1 + 2 + 3) / 3)


def test_coverage_by_hand() -> None:
    assert coverage([[0, 1], [1, 2], []], n_entities=6) == 0.5


def test_top_k_keeps_input_order_of_ties_and_leaves_out_what_is_not_finite() -> None:
    assert top_k([1.0, 3.0, math.nan, 3.0, math.inf, 2.0], k=3).tolist() == [1, 3, 5]
    assert top_k([2.0, 2.0, 2.0], k=2).tolist() == [0, 1]
    assert top_k([-math.inf, 1.0], k=5).tolist() == [1]


def test_ties_count_against_us() -> None:
    ranks, gains = ranks_of_positives([0.5] * 4, [2, 0, 1, 0])
    assert ranks.tolist() == [3, 4]
    assert gains.tolist() == [1.0, 2.0]
    assert mrr([0.5] * 10, [1] + [0] * 9) == 0.1
    assert recall([0.5] * 40, [1] + [0] * 39) == 0.0
    assert auc([0.5] * 4, [1, 0, 1, 0]) == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_come_last(bad: float) -> None:
    assert mrr([bad, -1e300, 0.0], [1, 0, 0]) == pytest.approx(1 / 3)
    assert mrr([bad, bad], [1, 0]) == 0.5
    assert auc([bad, -1e300], [1, 0]) == 0.0


def test_negative_labels_are_no_gain() -> None:
    assert ndcg([3, 2, 1], [-1, 1, 0]) == pytest.approx(1 / math.log2(3))


@pytest.mark.parametrize("metric", ON_ONE_RANKING)
@pytest.mark.parametrize(("scores", "labels"), [([], []), ([0.5], [0]), ([0.5, 0.4], [0, -1])])
def test_nothing_positive_is_none(metric, scores, labels) -> None:
    assert metric(scores, labels) is None


def test_one_element() -> None:
    assert ndcg([0.5], [3]) == mrr([0.5], [3]) == recall([0.5], [3]) == 1.0
    assert auc([0.5], [3]) is None
    assert ece([0.5], [1]) is None


def test_padding_below_every_score_changes_nothing() -> None:
    scores, labels = [0.3, 0.2, 0.9], [1, 0, 2]
    for metric in (ndcg, mrr, recall):
        assert metric([*scores, -math.inf, math.nan], [*labels, 0, 0]) == metric(scores, labels)


def test_nothing_to_summarise_is_none() -> None:
    assert ece([], []) is None
    assert ece([0.1, 0.2], [0, 0]) is None
    assert novelty([], [1, 2]) is None
    assert novelty([0], [0, 0]) is None
    assert coverage([], 5) is None
    assert coverage([[]], 0) is None


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        ndcg([0.1, 0.2], [1])
    for p in (1.1, -0.1, math.nan):
        with pytest.raises(ValueError, match="probabilities from 0 to 1"):
            ece([0.5, p], [0, 1])
    for values in ([], [0.1, math.nan], [[0.1]]):
        with pytest.raises(ValueError, match="finite values"):
            bootstrap_interval(values)
    with pytest.raises(ValueError, match="one group for each value"):
        bootstrap_interval([0.1, 0.2], groups=["u1"])


# Distinct scores small enough that their cubes are exact, each with a label.
RANKINGS = st.lists(
    st.tuples(st.integers(-1000, 1000), st.integers(0, 3)),
    min_size=1,
    max_size=40,
    unique_by=lambda pair: pair[0],
)


@given(RANKINGS, st.randoms(use_true_random=False))
def test_order_of_candidates_does_not_matter(ranking, random) -> None:
    shuffled = random.sample(ranking, len(ranking))
    for metric in ON_ONE_RANKING:
        assert metric(*zip(*shuffled, strict=True)) == metric(*zip(*ranking, strict=True))


@given(RANKINGS)
def test_a_monotone_transformation_changes_nothing(ranking) -> None:
    scores, labels = np.array(ranking, dtype=float).T
    for metric in ON_ONE_RANKING:
        assert metric(scores**3 + 7, labels) == metric(scores, labels)


@given(RANKINGS)
def test_every_metric_lies_between_zero_and_one(ranking) -> None:
    scores, labels = np.array(ranking, dtype=float).T
    for metric in ON_ONE_RANKING:
        value = metric(scores, labels)
        assert value is None or 0.0 <= value <= 1.0
    assert ndcg(labels * 10_000 + scores, labels) in (None, pytest.approx(1.0))


def test_agrees_with_ir_measures() -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        n = int(rng.integers(5, 120))
        scores = rng.permutation(n).astype(float)
        labels = rng.choice(4, size=n, p=[0.7, 0.15, 0.1, 0.05])
        labels[0] = 1  # a ranking without a positive has no value here and 0 there
        qrels = [Qrel("q", f"d{i}", int(label)) for i, label in enumerate(labels)]
        run = [ScoredDoc("q", f"d{i}", float(score)) for i, score in enumerate(scores)]
        theirs = ir_measures.calc_aggregate([nDCG @ 10, RR, R @ 30], qrels, run)
        assert ndcg(scores, labels) == pytest.approx(theirs[nDCG @ 10])
        assert mrr(scores, labels) == pytest.approx(theirs[RR])
        assert recall(scores, labels) == pytest.approx(theirs[R @ 30])


def test_bootstrap_of_one_value_and_of_equal_values_has_no_width() -> None:
    assert bootstrap_interval([0.3]) == (0.3, 0.3, 0.3)
    assert bootstrap_interval([0.5] * 50) == (0.5, 0.5, 0.5)


def test_bootstrap_is_near_the_normal_interval_and_repeatable() -> None:
    values = np.random.default_rng(1).normal(10.0, 2.0, size=2500)
    mean, low, high = bootstrap_interval(values, draws=2000, seed=3)
    half_width = 1.96 * values.std() / math.sqrt(values.size)
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - half_width, abs=0.1 * half_width)
    assert high == pytest.approx(mean + half_width, abs=0.1 * half_width)
    assert bootstrap_interval(values, draws=2000, seed=3) == (mean, low, high)


def test_bootstrap_draws_whole_groups() -> None:
    # two users, each of one mind: a draw holds only the first, both, or only the second
    values, users = [0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50
    assert bootstrap_interval(values, users) == (0.5, 0.0, 1.0)
    _, low, high = bootstrap_interval(values)
    assert 0.3 < low < high < 0.7


def test_groups_of_one_are_no_groups() -> None:
    values = [0.1, 0.7, 0.4, 0.9]
    assert bootstrap_interval(values, groups=[0, 1, 2, 3]) == bootstrap_interval(values)


def test_paired_difference_sees_a_small_steady_gain() -> None:
    base = np.random.default_rng(2).random(200)
    mean, low, high = paired_difference(base + 0.01, base)
    assert (mean, low, high) == pytest.approx((0.01, 0.01, 0.01))
    assert paired_difference(base, base) == (0.0, 0.0, 0.0)
