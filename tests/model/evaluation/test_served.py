"""As served: what the model does not propose counts as missed; with all of the catalogue proposed nothing changes."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, Context, HistoryEvent
from model.datasets.dataset import Dataset
from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import rank_catalogue
from model.evaluation.served import ServedSubject, served_report
from model.events.timelines import LabelledRanking, labelled_rankings, timelines
from model.learning.training_data import part_rows

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


def test_the_curve_has_the_numbers_that_were_asked_for_and_rises(artefact: Artefact, world: Dataset) -> None:
    rankings = labelled_rankings(part_rows(world.events, ("test",)))
    histories = timelines(part_rows(world.events, ("train", "validation")))
    report = served_report(artefact, artefact.catalogue, rankings, histories, curve=(5, 40, 120))
    curve = report[HOMEPAGE]["curve"]
    recalls = [curve[str(limit)]["recall@30"] for limit in (5, 40, 120)]  # type: ignore[index]
    assert recalls[0] < recalls[1] <= recalls[2] + 0.02
    whole = rank_catalogue(
        NetworkSubject(artefact.catalogue), [r for r in rankings if r.context.task == HOMEPAGE], histories, lambda: None
    )
    assert recalls[2] == np.mean(whole.values["recall@30"])  # all 120 entities


def test_a_source_is_no_candidate_of_itself(artefact: Artefact) -> None:
    source, other = artefact.catalogue.ids[:2]
    context = Context(MORE_LIKE_THIS, source_entity_id=source)
    ranking = LabelledRanking(context, (source, other), np.ones(2), np.zeros(2, np.int64), slate=False)
    for subject in (NetworkSubject(artefact.catalogue), ServedSubject(artefact, artefact.catalogue, 500)):
        ranked = rank_catalogue(subject, [ranking], NOBODY, lambda: None)
        assert 0 not in ranked.tops[0]
