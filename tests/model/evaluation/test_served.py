"""As served: what the model does not propose counts as missed; with all of the catalogue proposed nothing changes."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, Context, HistoryEvent
from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import rank_catalogue
from model.evaluation.served import ServedSubject
from model.events.timelines import LabelledRanking

NOBODY = MappingProxyType({})


def test_all_proposals_score_as_the_whole_catalogue(artefact: Artefact) -> None:
    context = Context(HOMEPAGE, user_id=artefact.sample_users(1)[0])
    served = ServedSubject(artefact, artefact.catalogue, artefact.entity_count).score(context, None)
    whole = NetworkSubject(artefact.catalogue).score(context, None)
    np.testing.assert_allclose(served, whole, atol=1e-5)


def test_only_proposals_have_a_score_and_history_has_none(artefact: Artefact) -> None:
    liked = artefact.catalogue.ids[:3]
    context = Context(HOMEPAGE, history=tuple(HistoryEvent(entity_id) for entity_id in liked))
    scores = ServedSubject(artefact, artefact.catalogue, 10).score(context, None)
    assert np.isfinite(scores).sum() == 10
    assert not np.isfinite(scores[:3]).any()


def test_a_relevant_entity_that_is_not_proposed_is_missed(artefact: Artefact) -> None:
    subject = ServedSubject(artefact, artefact.catalogue, 20)
    proposed = np.isfinite(subject.score(Context(HOMEPAGE), None))
    for row, expected in ((int(np.argmin(proposed)), 0.0), (int(np.argmax(proposed)), 1.0)):
        entity = artefact.catalogue.ids[row]
        ranking = LabelledRanking(Context(HOMEPAGE), (entity,), np.ones(1), np.zeros(1, np.int64), slate=False)
        ranked = rank_catalogue(subject, [ranking], NOBODY, lambda: None)
        assert ranked.values["recall@30"] == [expected]
