"""Catalogues that are generated for measuring can be loaded and ranked, and are determined by their seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.catalogue import make
from model.artefact.check import check
from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context

MANY, FEW = 300, 50  # the model has 120


@pytest.fixture(scope="module")
def many(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """A made-up catalogue of more entities than were trained."""
    out = tmp_path_factory.mktemp("made") / "many"
    make(model_path, out, MANY)
    return Artefact.load(out)


def test_it_has_as_many_entities_as_asked_for_and_may_serve(many: Artefact) -> None:
    assert many.entity_count == MANY
    assert list(many.catalogue.ids) == [f"c{row}" for row in range(MANY)]
    check(many, limit_s=5)


def test_the_first_entities_are_those_of_the_model(many: Artefact, artefact: Artefact) -> None:
    known = artefact.catalogue.ids[7]
    assert many.catalogue.names["c7"] == artefact.catalogue.names[known]
    ours, theirs = (made.contents.records.take(np.array([7])) for made in (many, artefact))
    assert ours.tokens.values.tolist() == theirs.tokens.values.tolist()
    assert 0.9 < float(np.corrcoef(ours.vector[0], theirs.vector[0])[0, 1]) < 1.0


def test_every_task_is_proposed_for_and_scored(many: Artefact) -> None:
    user = many.sample_users(3)[-1]
    contexts = [
        Context(HOMEPAGE, user_id=user, history=many.history(user)),
        Context(SEARCH, query=many.catalogue.names["c250"]),
        Context(MORE_LIKE_THIS, source_entity_id="c250"),
    ]
    for filled in map(many.fill, contexts):
        proposed = many.propose(many.encode_context(filled), 40)
        assert len(proposed) == 40
        assert np.isfinite(many.score(filled, proposed)).all()


def test_histories_name_entities_that_are_there(many: Artefact, model_path: Path, tmp_path: Path) -> None:
    make(model_path, tmp_path / "few", FEW)
    for made in (many, Artefact.load(tmp_path / "few")):
        events = [event for user in made.sample_users(100) for event in made.history(user)]
        assert events
        assert {event.entity_id for event in events} <= set(made.catalogue.ids)


def test_the_same_seed_makes_the_same_catalogue(model_path: Path, tmp_path: Path) -> None:
    seen = []
    first = make(model_path, tmp_path / "a", FEW, 1, lambda *step: seen.append(step[:2]))
    assert seen[-1] == (FEW, FEW)
    assert make(model_path, tmp_path / "b", FEW, 1).checksum == first.checksum
    assert make(model_path, tmp_path / "c", FEW, 2).checksum != first.checksum
