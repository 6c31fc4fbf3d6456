"""What several tests of the sampler draw from."""

from __future__ import annotations

import pytest
from drawn_examples import ranking

from model.context.context import HOMEPAGE, Context, HistoryEvent
from model.events.timelines import LabelledRanking, Timeline


@pytest.fixture
def busy() -> tuple[list[LabelledRanking], dict[str, Timeline]]:
    """A user with an event a second, two of them in each odd second."""
    times = [1000 * (number // 2) for number in range(20)]
    labels = {f"e{number}": float(number % 3 != 0) for number in range(20)}
    events = [HistoryEvent(e, label, HOMEPAGE, t) for (e, label), t in zip(labels.items(), times, strict=True)]
    rankings = [ranking(Context(HOMEPAGE, "u1", country="US"), labels, times)]
    return rankings, {"u1": Timeline(events, times)}
