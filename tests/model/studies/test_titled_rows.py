"""A titled row is measured by what it shows: what fits is counted by attributes, and order against popularity."""

from __future__ import annotations

import numpy as np
import pytest

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, Context, HistoryEvent
from model.events.timelines import LabelledRanking, Timeline
from model.studies import titled_rows as study


@pytest.fixture
def rankings(artefact: Artefact) -> list[LabelledRanking]:
    entities = tuple(artefact.catalogue.ids)
    labels, times = np.arange(len(entities)) % 3 == 0, np.zeros(len(entities), np.int64)
    users = artefact.sample_users(4)
    return [LabelledRanking(Context(HOMEPAGE, user_id=u), entities, labels * 1.0, times, False) for u in users]


def test_each_column_of_values_has_its_titles(artefact: Artefact, rankings: list[LabelledRanking]) -> None:
    columns = study.titled_rows(artefact, rankings, {}, np.zeros(artefact.entity_count))
    assert columns
    for column in columns:
        assert 0 < len(column.titles) <= study.TITLES
        assert ((column.fits >= 0) & (column.fits <= study.TOP)).all()
        assert column.order is None  # nobody is known


def test_what_fits_is_counted_by_attributes(artefact: Artefact) -> None:
    everything = study.RowTitle("anything", np.arange(artefact.entity_count))
    nothing = study.RowTitle("anything", np.zeros(0, np.int64))
    half = study.RowTitle("anything", np.arange(0, artefact.entity_count, 2))
    assert study._fitting_share(artefact, everything) == 1.0
    assert study._fitting_share(artefact, nothing) == 1.0  # no more could fit
    assert 0 < study._fitting_share(artefact, half) < 1


def test_an_order_by_popularity_gains_nothing_on_popularity(
    artefact: Artefact, rankings: list[LabelledRanking], monkeypatch: pytest.MonkeyPatch
) -> None:
    popularity = np.arange(artefact.entity_count)[::-1] * 1.0
    monkeypatch.setattr(study, "FEWEST_FITTING", 2)
    monkeypatch.setattr(artefact.catalogue, "logits", lambda _, rows: popularity[rows])
    events = [HistoryEvent(artefact.catalogue.ids[1])]
    histories = {ranking.context.user_id or "": Timeline(events, [0]) for ranking in rankings}
    titles = [study.RowTitle("anything", np.arange(artefact.entity_count))]
    gap = study._order(artefact, titles, rankings, histories, popularity)
    assert gap is not None
    assert (gap.value, gap.groups) == (0, len(rankings))
