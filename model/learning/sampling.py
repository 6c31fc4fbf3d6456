"""Draws training examples: a context as of one moment, its positives, its skipped entities, and random entities.

Outcome features are out of fold, fields are dropped at random, the history is strictly earlier than the moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.config import TrainingConfig
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, FilledContext, HistoryEvent
from model.context.imputation import Rules, fill
from model.events.engagement import fold_of
from model.events.timelines import NO_TIME, LabelledRanking, Timeline
from model.learning.negatives import Negatives
from model.learning.neighbours import Neighbours
from model.learning.row_titles import RowTitle, RowTitles
from model.learning.teacher import targets
from model.text.bounded_cache import BoundedCache
from model.text.normalise import normalise

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Alike = Callable[[str], Ints]  # a query → rows of entities that share words with it
POOL = 4  # a step draws POOL * `negatives` entities that its contexts share, so that fewer are encoded
QUERIES_KEPT = 2**16  # number of queries whose entities with shared words are cached
TAUGHT = 1.5  # factor on the contexts of a task with a teacher: soft targets overfit later
LATE = 0.5  # moments are drawn as u ** LATE along the positives: later ones, with more history, are more frequent


@dataclass(frozen=True, slots=True)
class ContextExample:
    """One context and its C candidates. `shown` False = drawn at random, with its log-Q."""

    filled: FilledContext
    events: Sequence[HistoryEvent]
    event_rows: Ints
    rows: Ints  # [C]
    labels: Floats  # [C]
    targets: Floats  # [C] targets of a softmax over the candidates, up to a factor
    shown: NDArray[np.bool_]  # [C]
    log_q: Floats  # [C], 0 where shown: random rows represent the catalogue they were drawn from
    fold: int  # table of outcomes to use


class Sampler:
    """Draws the examples of one training run. Deterministic given the generator passed in."""

    def __init__(
        self,
        rankings: Sequence[LabelledRanking],
        histories: Mapping[str, Timeline],
        rows: Mapping[str, int],
        names: Mapping[str, str],
        rules: Rules,
        config: TrainingConfig,
        alike: Alike = lambda _: np.zeros(0, np.int64),
        titles: RowTitles | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self.histories = histories
        self.rows = rows
        self.names = names
        self.rules = rules
        self.config = config
        self._titles = titles
        self._neighbours = neighbours
        self._find_alike = alike
        self._alike_cache: BoundedCache[str, Ints] = BoundedCache(QUERIES_KEPT)
        self.tasks = sorted({ranking.context.task for ranking in rankings})
        self._groups = {task: [ranking for ranking in rankings if ranking.context.task == task] for task in self.tasks}
        self._weights = {task: _weights(group) for task, group in self._groups.items()}
        self._negatives = {task: Negatives(self._positives(group), len(rows)) for task, group in self._groups.items()}
        self.shares = self._shares()
        self._users = sorted(histories)
        self._uniquely_named = _with_unique_name(names)
        self._marks = np.zeros(len(rows), bool)  # scratch

    def _positives(self, group: Sequence[LabelledRanking]) -> Ints:
        pairs = (zip(ranking.entity_ids, ranking.labels, strict=True) for ranking in group)
        return np.array([self.rows[entity] for ranking in pairs for entity, label in ranking if label > 0], np.int64)

    def _shares(self) -> dict[str, int]:
        """Contexts per step of each task: p ~ n^exponent for n positives; more for a task with a teacher."""
        sizes = {task: sum(float((u.labels > 0).sum()) for u in group) for task, group in self._groups.items()}
        powers = {task: size**self.config.task_exponent for task, size in sizes.items()}
        total = sum(powers.values())
        if not total:
            raise ValueError("there is no positive label in the rows under training")
        taught = {task for task, group in self._groups.items() if any(r.taught is not None for r in group)}
        factors = {task: TAUGHT if task in taught else 1.0 for task in powers}
        return {
            task: max(2, round(factors[task] * self.config.contexts_per_step * p / total)) for task, p in powers.items()
        }

    def draw(self, task: str, rng: np.random.Generator) -> list[ContextExample]:
        """The examples of one task for one step."""
        group = self._groups[task]
        picks = np.searchsorted(self._weights[task], rng.random(self.shares[task]) * self._weights[task][-1])
        pool = self._negatives[task].draw(POOL * self.config.negatives, rng)
        return [self._example(group[min(pick, len(group) - 1)], pool, rng) for pick in picks]

    def _example(self, ranking: LabelledRanking, pool: Ints, rng: np.random.Generator) -> ContextExample:
        ranking = self._with_random_user(self._as_name_search(ranking, rng), rng)
        chosen, moment = self._draw_slate(ranking, rng) if ranking.slate else self._draw_moment(ranking, rng)
        title = self._draw_title(ranking, chosen, rng)
        if title is not None:
            ranking, chosen = self._with_title(ranking, title, chosen)
        context = self._context(ranking, chosen, moment, rng)
        filled = self._drop_imputed(fill(context, self.rules, self.names.get), rng)
        shown = np.array([self.rows[ranking.entity_ids[i]] for i in chosen], np.int64)
        event_rows = np.array([self.rows[event.entity_id] for event in context.history], np.int64)
        alike, targets_of = self._alike(ranking, title)
        drawn, log_q = self._draw_others(ranking, alike, pool, rng)
        outside = self._outside_ranking(drawn, ranking, event_rows)
        rows, log_q = drawn[outside], log_q[outside]
        labels, zeros = ranking.labels[chosen].astype(np.float32), np.zeros(len(rows), np.float32)
        return ContextExample(
            filled,
            context.history,
            event_rows,
            np.concatenate([shown, rows]),
            np.concatenate([labels, zeros]),
            np.concatenate([self._targets(ranking, chosen, labels), targets_of(rows)]),
            np.arange(len(shown) + len(rows)) < len(shown),
            np.concatenate([np.zeros(len(shown), np.float32), log_q]),
            self._fold(ranking.context.user_id),
        )

    def _targets(self, ranking: LabelledRanking, chosen: Ints, labels: Floats) -> Floats:
        return labels if ranking.taught is None else targets(labels, ranking.taught[chosen], self.config.teaching)

    def whole(self, ranking: LabelledRanking) -> ContextExample:
        """All rows of a ranking as of its time; no field dropped, no random rows added."""
        timeline = self.histories.get(ranking.context.user_id or "")
        moment = int(ranking.times.min())
        rows = np.array([self.rows[entity_id] for entity_id in ranking.entity_ids], np.int64)
        history = self._history(timeline, ranking, np.arange(len(rows)), moment) if timeline is not None else ()
        labels = ranking.labels.astype(np.float32)
        return ContextExample(
            fill(replace(ranking.context, history=tuple(history)), self.rules, self.names.get), history,
            np.array([self.rows[event.entity_id] for event in history], np.int64), rows, labels, labels,
            np.ones(len(rows), bool), np.zeros(len(rows), np.float32), self._fold(ranking.context.user_id),
        )  # fmt: skip

    def _as_name_search(self, ranking: LabelledRanking, rng: np.random.Generator) -> LabelledRanking:
        """Sometimes replace a search by one for an entity by its full name, whose label the catalogue gives."""
        if ranking.context.task != SEARCH or not self._uniquely_named or rng.random() >= self.config.name_searches:
            return ranking
        entity = self._uniquely_named[rng.integers(len(self._uniquely_named))]
        return LabelledRanking(
            Context(SEARCH, query=self.names[entity]), (entity,), np.ones(1), np.full(1, NO_TIME), slate=True
        )

    def _with_random_user(self, ranking: LabelledRanking, rng: np.random.Generator) -> LabelledRanking:
        """Sometimes give a search without a user a random one: the labels of the query stay the same.

        Otherwise the network sees users only in their own searches, and expects one of those from every user.
        """
        anonymous = ranking.context.task == SEARCH and ranking.context.user_id is None
        if not anonymous or not self._users or rng.random() >= self.config.borrowed_user:
            return ranking
        return replace(ranking, context=replace(ranking.context, user_id=self._users[rng.integers(len(self._users))]))

    def _draw_title(self, ranking: LabelledRanking, chosen: Ints, rng: np.random.Generator) -> RowTitle | None:
        """Sometimes a title for a homepage row: one that an entity fits which the user engaged with from then on."""
        if ranking.context.task != HOMEPAGE or ranking.context.row_title or self._titles is None:
            return None
        positive = chosen[ranking.labels[chosen] > 0]
        if not len(positive) or rng.random() >= self.config.row_titles:
            return None
        return self._titles.draw(self.rows[ranking.entity_ids[rng.choice(positive)]], rng)

    def _with_title(self, ranking: LabelledRanking, title: RowTitle, chosen: Ints) -> tuple[LabelledRanking, Ints]:
        """The ranking under this title: what does not fit is no positive, however much the user liked it."""
        own = np.array([self.rows[entity] for entity in ranking.entity_ids], np.int64)
        labels = np.where(np.isin(own, title.fitting), ranking.labels, 0.0)
        context = replace(ranking.context, row_title=title.text)
        return replace(ranking, context=context, labels=labels), chosen

    def _alike(self, ranking: LabelledRanking, title: RowTitle | None) -> tuple[Ints, Callable[[Ints], Floats]]:
        """Rows near the title, the source of more-like-this or the query of a slate; and targets of unlabelled rows."""
        context, source = ranking.context, self.rows.get(ranking.context.source_entity_id or "")
        if title is not None:
            return np.union1d(title.fitting, self._sharing_words(title.text)), title.targets_of
        if context.task == MORE_LIKE_THIS and source is not None and self._neighbours is not None:
            near = self._neighbours.of(source)
            return near.rows, near.targets_of
        sharing = self._sharing_words(context.query) if ranking.slate and context.query else np.zeros(0, np.int64)
        return sharing, lambda rows: np.zeros(len(rows), np.float32)

    def _sharing_words(self, text: str) -> Ints:
        return self._alike_cache.get(text, self._find_alike)

    def _draw_others(
        self, ranking: LabelledRanking, alike: Ints, pool: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats]:
        """Distinct rows besides those shown, and the log of the expected number of draws of each.

        A slate takes fewer random rows. Some more are `alike`: near the query, the title or the source, where a ranking
        of the whole catalogue has to rank those lower.
        """
        count = self.config.negatives // 4 if ranking.slate else self.config.negatives
        near_source = ranking.context.task == MORE_LIKE_THIS  # half as many: each is one more entity for the tower
        hard = rng.permutation(alike)[: self.config.hard_negatives // (1 + near_source)]
        rows = np.unique(np.append(rng.choice(pool, count), hard))
        expected = np.exp(self._negatives[ranking.context.task].log_q(rows, count))
        expected += np.isin(rows, alike) * (len(hard) / max(len(alike), 1))
        return rows, np.log(expected).astype(np.float32)

    def _outside_ranking(self, rows: Ints, ranking: LabelledRanking, event_rows: Ints) -> NDArray[np.bool_]:
        """Which rows are not in the ranking, not its source nor, on the homepage, in the history."""
        source = ranking.context.source_entity_id
        named = ranking.entity_ids if source is None else (*ranking.entity_ids, source)
        known = np.array([self.rows[entity] for entity in named], np.int64)
        self._marks[known] = True
        if ranking.context.task == HOMEPAGE:
            self._marks[event_rows] = True
        outside: NDArray[np.bool_] = ~self._marks[rows]
        self._marks[known] = False
        self._marks[event_rows] = False
        return outside

    def _fold(self, user_id: str | None) -> int:
        return self.config.folds if user_id is None else fold_of(user_id, self.config.folds)

    def _draw_slate(self, ranking: LabelledRanking, rng: np.random.Generator) -> tuple[Ints, int]:
        """Rows of a slate, at most `slate` of them, positives first; its moment is its earliest time."""
        order = rng.permutation(len(ranking.labels))
        order = order[np.argsort(ranking.labels[order] <= 0, kind="stable")]
        return order[: self.config.slate], int(ranking.times.min())

    def _draw_moment(self, ranking: LabelledRanking, rng: np.random.Generator) -> tuple[Ints, int]:
        """A moment along the positives, and the entities engaged or skipped from then on."""
        positive = np.flatnonzero(ranking.labels > 0)
        if not len(positive):
            return np.flatnonzero(ranking.labels <= 0)[:1], int(ranking.times.max())
        positive = rng.permutation(positive)  # rows of one time, or of none, have no order
        positive = positive[np.argsort(ranking.times[positive], kind="stable")]
        first = rng.random() < self.config.first_moments  # what people begin with, before anything is known of them
        pick = 0 if first else int(len(positive) * rng.random() ** LATE)
        moment = int(ranking.times[positive[pick]])
        later = positive[ranking.times[positive] >= moment][: 5 * self.config.positives]
        passed = np.flatnonzero((ranking.labels <= 0) & (ranking.times >= moment))
        taken = [rng.permutation(group)[: self.config.positives] for group in (later, passed)]
        return np.concatenate(taken), moment

    def _context(self, ranking: LabelledRanking, chosen: Ints, moment: int, rng: np.random.Generator) -> Context:
        """The raw context at that moment, with fields dropped at random."""
        context, config = ranking.context, self.config
        history: Sequence[HistoryEvent] = ()
        timeline = self.histories.get(context.user_id or "")
        newcomer = timeline is not None and moment != NO_TIME and not timeline.before(moment)  # has no vector yet
        if timeline is not None and rng.random() >= config.history_dropout:
            history = self._history(timeline, ranking, chosen, moment)
        return replace(
            context,
            user_id=None if newcomer or rng.random() < config.user_dropout else context.user_id,
            country=None if rng.random() < config.country_dropout else context.country,
            history=tuple(history),
        )

    def _history(
        self, timeline: Timeline, ranking: LabelledRanking, chosen: Ints, moment: int
    ) -> Sequence[HistoryEvent]:
        """The events before that moment; without times, all events of the user but the rows under training."""
        if moment != NO_TIME:
            return timeline.before(moment)
        under_training = set(ranking.entity_ids) if ranking.slate else {ranking.entity_ids[i] for i in chosen}
        return [event for event in timeline.events if event.entity_id not in under_training]

    def _drop_imputed(self, filled: FilledContext, rng: np.random.Generator) -> FilledContext:
        """Replace an imputed query or source by null at random, so that neither reveals the task."""
        context = filled.context
        for field in ("query", "source_entity_id"):
            imputed = not filled.is_given(field) and getattr(context, field) is not None
            if imputed and rng.random() < self.config.name_query_dropout:
                context = replace(context, query=None) if field == "query" else replace(context, source_entity_id=None)
        return FilledContext(context, filled.imputed)


def _with_unique_name(names: Mapping[str, str]) -> list[str]:
    """Entities with a unique name."""
    normal = {entity: normalise(name) for entity, name in names.items()}
    counts = Counter(normal.values())
    return [entity for entity, name in normal.items() if name and counts[name] == 1]


def _weights(group: Sequence[LabelledRanking]) -> NDArray[np.float64]:
    """Cumulative weight of each ranking: the square root of its number of positives; a slate weighs 1."""
    sizes = [1.0 if ranking.slate else float(np.sqrt((ranking.labels > 0).sum())) for ranking in group]
    return np.cumsum(np.array(sizes))
