"""Titled rows in training: what fits the title and was liked is positive, what was liked without fitting is not."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_examples import IDS, ROWS, drawn, ranking, sampler_of

from model.context.context import HOMEPAGE, SEARCH, Context
from model.events.timelines import NO_TIME, LabelledRanking, Timeline
from model.learning.row_titles import RowTitles
from model.learning.sampling import ContextExample

EVEN = {entity_id: row % 2 == 0 for entity_id, row in ROWS.items()}
TITLES = RowTitles([{"kinds": ["Even"] if EVEN[i] else ["Odd"]} for i in IDS], {"kinds": "categories"}, [])
Busy = tuple[list[LabelledRanking], dict[str, Timeline]]


def fits(example: ContextExample) -> list[bool]:
    title = example.filled.context.row_title or ""
    return [("ven" in title) == EVEN[IDS[row]] for row in example.rows.tolist()]


def test_only_what_fits_the_title_is_positive(busy: Busy) -> None:
    examples = drawn(sampler_of(*busy, TITLES, row_titles=1), HOMEPAGE)
    liked_without_fitting = 0
    for example in examples:
        fitting = np.array(fits(example))
        positive = example.labels > 0
        assert positive.any()
        assert fitting[positive].all()
        liked_without_fitting += int((example.shown & ~fitting & ~positive).sum())
    assert liked_without_fitting > len(examples)  # the same person liked it, and the row is not for it


def test_negatives_that_fit_keep_the_order_within_the_row(busy: Busy) -> None:
    def fitting_negatives(hard: int) -> float:
        examples = drawn(sampler_of(*busy, TITLES, row_titles=1, negatives=4, hard_negatives=hard), HOMEPAGE)
        assert all(np.isfinite(example.log_q).all() for example in examples)
        return float(np.mean([np.array(fits(example))[~example.shown].sum() for example in examples]))

    assert fitting_negatives(12) > fitting_negatives(0) + 1


def test_what_fits_is_preferred_to_what_does_not_and_what_was_liked_to_both(busy: Busy) -> None:
    for example in drawn(sampler_of(*busy, TITLES, row_titles=1, negatives=4), HOMEPAGE):
        fitting, random = np.array(fits(example)), ~example.shown
        assert example.targets[random & ~fitting].sum() == 0
        assert (example.targets[random & fitting] > 0).all()
        assert example.targets[random].max(initial=0) < example.targets[example.labels > 0].min()


def test_the_title_becomes_a_query_that_somebody_gave(busy: Busy) -> None:
    for example in drawn(sampler_of(*busy, TITLES, row_titles=1, name_query_dropout=1), HOMEPAGE, 3):
        assert example.filled.is_given("query")
        assert example.filled.context.query


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_rows_are_titled_at_the_rate_that_is_set(busy: Busy, rate: float) -> None:
    examples = drawn(sampler_of(*busy, TITLES, row_titles=rate), HOMEPAGE, 40)
    titled = np.mean([example.filled.context.row_title is not None for example in examples])
    assert titled == pytest.approx(rate, abs=0.1)


def test_other_tasks_and_titles_of_the_log_are_left_alone(busy: Busy) -> None:
    search = ranking(Context(SEARCH, query="name"), {"e1": 1.0, "e2": 0.0}, [NO_TIME, NO_TIME], slate=True)
    logged = ranking(Context(HOMEPAGE, row_title="Tonight"), {"e1": 1.0}, [5])
    sampler = sampler_of([search, logged], busy[1], TITLES, row_titles=1)
    assert {example.filled.context.row_title for example in drawn(sampler, SEARCH, 3)} == {None}
    assert {example.filled.context.row_title for example in drawn(sampler, HOMEPAGE, 3)} == {"Tonight"}


def test_first_moments_have_no_history_and_no_known_user(busy: Busy) -> None:
    for example in drawn(sampler_of(*busy, first_moments=1), HOMEPAGE, 3):
        assert example.events == ()
        assert example.filled.context.user_id is None


def test_a_log_without_times_is_drawn_from_as_a_whole() -> None:
    labels = dict.fromkeys(IDS, 1.0)
    sampler = sampler_of([ranking(Context(HOMEPAGE), labels, [NO_TIME] * len(IDS))], positives=1)
    assert {row for e in drawn(sampler, HOMEPAGE, 40) for row in e.rows[e.shown].tolist()} == set(ROWS.values())


def test_a_source_is_never_drawn_for_itself() -> None:
    likes = ranking(Context("more_like_this", source_entity_id="e7"), {"e1": 1.0}, [NO_TIME])
    assert not any(ROWS["e7"] in e.rows for e in drawn(sampler_of([likes]), "more_like_this", 40))
