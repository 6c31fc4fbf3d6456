"""A loaded model: serving scores as evaluation does, whatever is missing, and proposes from the whole catalogue."""

from __future__ import annotations

import numpy as np
import pytest
from artefact_contexts import score, some_contexts

from model.artefact.model import Artefact
from model.catalogue.records import NamedRecords, RecordError
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent


def test_what_serving_scores_is_what_evaluation_scores(artefact: Artefact) -> None:
    for context in some_contexts(artefact):
        encoded = artefact.catalogue.encode_context(artefact.fill(context))
        whole = artefact.catalogue.logits(encoded)
        np.testing.assert_allclose(score(artefact, context, artefact.catalogue.ids), whole, atol=1e-5)


def test_a_long_history_with_unknown_entities_scores_the_same_in_serving_and_evaluation(artefact: Artefact) -> None:
    known = [HistoryEvent(f"e{i}", 1.0, HOMEPAGE, i) for i in range(artefact.scorer.config.profile_length)]
    unknown = [HistoryEvent(f"gone{i}", 1.0, HOMEPAGE, 1000 + i) for i in range(artefact.scorer.config.profile_length)]
    context = Context(HOMEPAGE, query="heat", source_entity_id="e1", history=(*known, *unknown))
    encoded = artefact.catalogue.encode_context(artefact.fill(context))
    whole = artefact.catalogue.logits(encoded)
    np.testing.assert_allclose(score(artefact, context, artefact.catalogue.ids), whole, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, 10_000])
def test_sample_users(artefact: Artefact, count: int) -> None:
    users = artefact.sample_users(count)
    assert len(users) == min(count, len(artefact.contents.histories))
    assert len(set(users)) == len(users)
    lengths = [len(artefact.history(user)) for user in users]
    assert lengths == sorted(lengths)


# ---- scores -------------------------------------------------------------------------------------------------


def test_one_candidate_alone_scores_as_among_all(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids
    for context in some_contexts(artefact):
        whole = score(artefact, context, ids)
        assert np.isfinite(whole).all()
        alone = np.concatenate([score(artefact, context, [entity_id]) for entity_id in ids[:20]])
        np.testing.assert_allclose(alone, whole[:20], atol=1e-5)
        backwards = score(artefact, context, ids[::-1])
        np.testing.assert_allclose(backwards[::-1], whole, atol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 50])
def test_a_history_of_any_length_gives_scores(artefact: Artefact, length: int) -> None:
    history = tuple(HistoryEvent(f"e{i}", 1.0, HOMEPAGE, i) for i in range(length))
    assert np.isfinite(score(artefact, Context(HOMEPAGE, history=history), artefact.catalogue.ids)).all()


def test_no_candidates_give_no_scores(artefact: Artefact) -> None:
    assert score(artefact, Context(SEARCH, query="heat"), []).shape == (0,)


def test_records_at_the_side_that_are_missing_are_left_out(artefact: Artefact) -> None:
    context = some_contexts(artefact)[7]
    filled = artefact.fill(context)
    logits = artefact.prepare(artefact.encode_context(filled, NamedRecords([], artefact.unpack([]))))(
        artefact.unpack([artefact.record("e1") or b""])
    )
    assert np.isfinite(logits).all()
    side = artefact.context_entities(filled.context)
    assert "e7" in side
    assert len(set(side)) == len(side)


def test_bytes_of_another_layout_are_refused(artefact: Artefact) -> None:
    with pytest.raises(RecordError):
        artefact.unpack([b"garbage"])


def test_probabilities_keep_the_order_of_logits(artefact: Artefact) -> None:
    for task in artefact.tasks:
        p = artefact.probability(Context(task), np.array([-3.0, -1.0, 0.0, 2.0], np.float32))
        assert (np.diff(p) > 0).all()
        assert ((p > 0) & (p < 1)).all()


def test_a_user_or_country_that_training_never_saw_is_nobody(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids[:10]
    strange = score(artefact, Context(SEARCH, "a stranger", "heat", "XX"), ids)
    assert np.array_equal(strange, score(artefact, Context(SEARCH, None, "heat", None), ids))


def test_countries_rank_apart_and_alike_when_computed_from_records(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids[:30]
    here, there = (Context(HOMEPAGE, country=country) for country in artefact.contents.countries[:2])
    assert not np.array_equal(score(artefact, here, ids), score(artefact, there, ids))
    taste = artefact.catalogue.encode_context(artefact.catalogue.fill(here)).profile.country
    assert np.array_equal(taste, artefact.contents.tastes[0])
    assert np.abs(artefact.contents.tastes).max() > 0


def test_a_source_that_is_unknown_scores_as_none(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids[:10]
    assert np.isfinite(score(artefact, Context(MORE_LIKE_THIS, source_entity_id="unknown"), ids)).all()


# ---- new entities -------------------------------------------------------------------------------------------


def test_new_entities_join_by_their_attributes_alone(artefact: Artefact) -> None:
    new = {"entity_id": "new", "display_name": "Zyzzyva Quux", "about": "a brand new thing", "price": 12.0}
    bigger = artefact.with_entities([new, {"entity_id": "e3", "display_name": "changed"}])
    assert bigger.ids == [*artefact.catalogue.ids, "new"]
    assert bigger.names["e3"] == artefact.catalogue.names["e3"]
    encoded = bigger.encode_context(bigger.fill(Context(SEARCH, query="zyzzyva quux")))
    logits = bigger.logits(encoded)
    assert np.isfinite(logits).all()
    assert artefact.with_entities([]) is artefact.catalogue


@pytest.mark.parametrize("attributes", [{}, {"about": None}, {"kinds": []}, {"price": "12"}, {"colour": "red"}])
def test_new_entities_may_lack_attributes_or_have_others(artefact: Artefact, attributes: dict[str, object]) -> None:
    bigger = artefact.with_entities([{"entity_id": "new", "display_name": "New", **attributes}])
    encoded = bigger.encode_context(bigger.fill(Context(SEARCH, query="new")))
    assert np.isfinite(bigger.logits(encoded)).all()


# ---- proposals ----------------------------------------------------------------------------------------------


def test_a_prefix_of_a_name_proposes_its_entity(artefact: Artefact) -> None:
    for entity_id in artefact.catalogue.ids[:30]:
        own = artefact.catalogue.names[entity_id].lower().split()[0]
        assert entity_id in artefact.propose(artefact.encode_context(artefact.fill(Context(SEARCH, query=own))), 10)
        assert entity_id in artefact.propose(
            artefact.encode_context(artefact.fill(Context(SEARCH, query=own[:-1]))), 10
        )


def test_the_source_is_never_proposed(artefact: Artefact) -> None:
    for entity_id in artefact.catalogue.ids[:30]:
        filled = artefact.fill(Context(MORE_LIKE_THIS, source_entity_id=entity_id))
        proposed = artefact.propose(artefact.encode_context(filled), artefact.entity_count)
        assert entity_id not in proposed
        assert len(proposed) == len(set(proposed)) == artefact.entity_count - 1


@pytest.mark.parametrize("limit", [0, 1, 7, 10_000])
def test_at_most_as_many_are_proposed_as_asked_for(artefact: Artefact, limit: int) -> None:
    for context in some_contexts(artefact):
        proposed = artefact.propose(artefact.encode_context(artefact.fill(context)), limit)
        assert len(proposed) <= limit
        assert len(set(proposed)) == len(proposed)
        assert len(proposed) >= min(limit, artefact.entity_count - 1)


def test_what_is_excluded_is_not_proposed(artefact: Artefact) -> None:
    filled = artefact.fill(Context(SEARCH, query=artefact.catalogue.names["e3"]))
    first = artefact.propose(artefact.encode_context(filled), 5)
    assert first[0] == "e3"
    again = artefact.propose(artefact.encode_context(filled), 5, exclude=[*first, "unknown"])
    assert not set(first) & set(again)
