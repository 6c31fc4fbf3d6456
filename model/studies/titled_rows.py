"""Homepage rows with a title: whether the first ten fit it, and whether their order follows taste. Trains nothing.

Titles are the most frequent values of each category column, and the decades, in two wordings that shops use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, Context
from model.evaluation import metrics
from model.evaluation.protocols import history_of
from model.evaluation.served import first_rows
from model.events.timelines import LabelledRanking, Timeline
from model.learning.row_titles import RowTitle, RowTitles, plural
from model.studies.comparison import Difference, paired

Ints = NDArray[np.int64]
TOP = 10
TITLES = 20  # of each column, the most frequent values
USERS = 6  # that see each title
FEWEST_FITTING = 30  # entities among which an order is measured


@dataclass(frozen=True, slots=True)
class TitledColumn:
    """The titles of one column. `fits` [titles]: how many of the first ten fit, the mean over wordings and users."""

    column: str
    titles: list[str]
    fits: NDArray[np.float64]
    order: Difference | None  # NDCG@10 among what fits, ours minus popularity; None where nobody liked what fits


def titled_rows(
    artefact: Artefact,
    rankings: Sequence[LabelledRanking],
    histories: Mapping[str, Timeline],
    popularity: NDArray[np.float64],
    say: Callable[[str], None] = lambda _: None,
) -> list[TitledColumn]:
    """One entry for each column with titles. Homepage `rankings` say what users liked, `popularity` [N] what all do."""
    own = [ranking for ranking in rankings if ranking.context.task == HOMEPAGE and (ranking.labels > 0).any()]
    result = []
    for column, titles in _titles(artefact).items():
        say(f"titles of {column}")
        fits = [np.mean([_fitting_share(artefact, wording) for wording in _wordings(title)]) for title in titles]
        order = _order(artefact, titles, own, histories, popularity)
        result.append(TitledColumn(column, [title.text for title in titles], TOP * np.array(fits), order))
    return result


def _titles(artefact: Artefact) -> dict[str, list[RowTitle]]:
    """Column → its titles, the most frequent first; of a column of years, the decades."""
    encoder = artefact.encoder
    values = RowTitles(artefact.contents.entities, encoder.columns, encoder.years).fitting
    groups: dict[str, list[RowTitle]] = {}
    for (column, value), rows in values.items():
        if column not in encoder.years or (len(value) == len("1990s") and value.endswith("s")):
            groups.setdefault(column, []).append(RowTitle(value, rows))
    return {
        column: sorted(titles, key=lambda title: (-len(title.fitting), title.text))[:TITLES]
        for column, titles in groups.items()
    }


def _wordings(title: RowTitle) -> Iterator[RowTitle]:
    yield title
    yield replace(title, text=f"best of {plural(title.text)}")


def _fitting_share(artefact: Artefact, title: RowTitle) -> float:
    """The share of the first ten that fits, the mean over some users; all that fit are enough where they are fewer."""
    shares = []
    for user in artefact.sample_users(USERS):
        context = Context(HOMEPAGE, user_id=user, history=artefact.history(user), row_title=title.text)
        seen = artefact.seen(user)
        first = first_rows(artefact, context, TOP, seen)
        possible = min(TOP, len(np.setdiff1d(title.fitting, seen)))
        shares.append(float(title.fits(first).sum()) / possible if possible else 1.0)
    return float(np.mean(shares))


def _order(
    artefact: Artefact,
    titles: Sequence[RowTitle],
    rankings: Sequence[LabelledRanking],
    histories: Mapping[str, Timeline],
    popularity: NDArray[np.float64],
) -> Difference | None:
    ours, theirs, users = [], [], []
    for ranking in rankings:
        history = history_of(ranking, histories)
        liked = np.zeros(len(popularity))
        liked[artefact.catalogue.rows_of(ranking.entity_ids)] = ranking.labels
        met = artefact.find([event.entity_id for event in history])
        for title in titles:
            rows = np.setdiff1d(title.fitting, met)
            if not history or len(rows) < FEWEST_FITTING or not (liked[rows] > 0).any():
                continue
            context = replace(ranking.context, history=tuple(history), row_title=title.text)
            logits = artefact.catalogue.logits(artefact.encode_context(artefact.fill(context)), rows)
            ours.append(metrics.ndcg(logits.astype(np.float64), liked[rows], TOP))
            theirs.append(metrics.ndcg(popularity[rows], liked[rows], TOP))
            users.append(ranking.context.user_id or "")
    return paired(np.array(ours, float), np.array(theirs, float), users) if ours else None
