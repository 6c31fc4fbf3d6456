"""Draws training examples: a context as it was at one moment, its positives, what was passed over, random entities.

Outcome features are out of fold here, fields are dropped at random, history is strictly earlier than the moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.config import TrainingConfig
from model.context.context import HOMEPAGE, SEARCH, Context, HistoryEvent
from model.context.imputation import FilledContext, Rules, fill
from model.events.engagement import fold_of
from model.events.timelines import NO_TIME, LabelledRanking, Timeline
from model.learning.teacher import targets
from model.text.bounded_cache import BoundedCache
from model.text.normalise import normalise

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Alike = Callable[[str], Ints]  # a query → rows of entities that share words with it
POOL = 4  # one step draws this many times `negatives`, and its contexts share them: fewer entities to encode
QUERIES_KEPT = 2**16  # whose entities that share words with them are kept
TAUGHT = 1.5  # times as many contexts for a task with a teacher: soft targets take longer to learn by heart
LATE = 0.5  # moments are drawn as u ** LATE along the positives, so later ones, with more history, come more often


@dataclass(frozen=True, slots=True)
class ContextExample:
    """One context and its C candidates. `shown` False = drawn at random, with its log-Q."""

    filled: FilledContext
    events: Sequence[HistoryEvent]
    event_rows: Ints
    rows: Ints  # [C]
    labels: Floats  # [C]
    targets: Floats  # [C] what a softmax over the candidates should be in proportion to
    shown: NDArray[np.bool_]  # [C]
    log_q: Floats  # [C], 0 where shown: random rows stand for the catalogue that they were drawn from
    fold: int  # table of outcomes to use


class Negatives:
    """Draws random entities of one task: half uniformly, half by popularity^0.75. Knows each one's log-Q."""

    def __init__(self, positives: Ints, entity_count: int) -> None:
        weight = np.bincount(positives, minlength=entity_count).astype(np.float64) ** 0.75
        share = weight / weight.sum() if weight.sum() else np.full(entity_count, 1 / entity_count)
        q = 0.5 / entity_count + 0.5 * share
        self._cumulative = np.cumsum(q)
        self._log_q = np.log(q).astype(np.float32)

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """`count` rows, drawn with q; some may be equal."""
        draws = np.searchsorted(self._cumulative, rng.random(count) * self._cumulative[-1])
        return np.asarray(np.minimum(draws, len(self._log_q) - 1), np.int64)

    def log_q(self, rows: Ints, draws: int) -> Floats:
        """Log of how often `draws` draws are expected to give each row."""
        return self._log_q[rows] + np.float32(np.log(draws))


class Sampler:
    """Draws the examples of one training run. Deterministic: everything random comes from the generator passed in."""

    def __init__(
        self,
        rankings: Sequence[LabelledRanking],
        histories: Mapping[str, Timeline],
        rows: Mapping[str, int],
        names: Mapping[str, str],
        rules: Rules,
        config: TrainingConfig,
        alike: Alike = lambda _: np.zeros(0, np.int64),
    ) -> None:
        self.histories = histories
        self.rows = rows
        self.names = names
        self.rules = rules
        self.config = config
        self._find_alike = alike
        self._alike: BoundedCache[str, Ints] = BoundedCache(QUERIES_KEPT)
        self.tasks = sorted({ranking.context.task for ranking in rankings})
        self._units = {task: [ranking for ranking in rankings if ranking.context.task == task] for task in self.tasks}
        self._weights = {task: _weights(group) for task, group in self._units.items()}
        self._negatives = {task: Negatives(self._positives(group), len(rows)) for task, group in self._units.items()}
        self.shares = self._shares()
        self._users = sorted(histories)
        self._named = _one_of_a_name(names)
        self._marks = np.zeros(len(rows), bool)  # scratch

    def _positives(self, group: Sequence[LabelledRanking]) -> Ints:
        pairs = (zip(ranking.entity_ids, ranking.labels, strict=True) for ranking in group)
        return np.array([self.rows[entity] for ranking in pairs for entity, label in ranking if label > 0], np.int64)

    def _shares(self) -> dict[str, int]:
        """Contexts a step of each task: p ~ n^exponent over the number of positives; more where a task is taught."""
        sizes = {task: sum(float((u.labels > 0).sum()) for u in group) for task, group in self._units.items()}
        powers = {task: size**self.config.task_exponent for task, size in sizes.items()}
        total = sum(powers.values())
        if not total:
            raise ValueError("there is no positive label in the rows under training")
        taught = {task for task, group in self._units.items() if any(ranking.taught is not None for ranking in group)}
        more = {task: TAUGHT if task in taught else 1.0 for task in powers}
        return {
            task: max(2, round(more[task] * self.config.contexts_per_step * p / total)) for task, p in powers.items()
        }

    def draw(self, task: str, rng: np.random.Generator) -> list[ContextExample]:
        """The examples of one task for one step."""
        group = self._units[task]
        picks = np.searchsorted(self._weights[task], rng.random(self.shares[task]) * self._weights[task][-1])
        pool = self._negatives[task].draw(POOL * self.config.negatives, rng)
        return [self._example(group[min(pick, len(group) - 1)], pool, rng) for pick in picks]

    def _example(self, ranking: LabelledRanking, pool: Ints, rng: np.random.Generator) -> ContextExample:
        ranking = self._borrow(self._by_name(ranking, rng), rng)
        chosen, moment = self._slate(ranking, rng) if ranking.slate else self._moment(ranking, rng)
        context = self._context(ranking, chosen, moment, rng)
        filled = self._forget(fill(context, self.rules, self.names.get), rng)
        shown = np.array([self.rows[ranking.entity_ids[i]] for i in chosen], np.int64)
        event_rows = np.array([self.rows[event.entity_id] for event in context.history], np.int64)
        drawn, log_q = self._drawn(ranking, context, pool, rng)
        outside = self._outside(drawn, ranking, event_rows)
        rows, log_q = drawn[outside], log_q[outside]
        labels, none = ranking.labels[chosen].astype(np.float32), np.zeros(len(rows), np.float32)
        return ContextExample(
            filled,
            context.history,
            event_rows,
            np.concatenate([shown, rows]),
            np.concatenate([labels, none]),
            np.concatenate([self._targets(ranking, chosen, labels), none]),
            np.arange(len(shown) + len(rows)) < len(shown),
            np.concatenate([np.zeros(len(shown), np.float32), log_q]),
            self._fold(ranking.context.user_id),
        )

    def _targets(self, ranking: LabelledRanking, chosen: Ints, labels: Floats) -> Floats:
        return labels if ranking.taught is None else targets(labels, ranking.taught[chosen], self.config.teaching)

    def whole(self, ranking: LabelledRanking) -> ContextExample:
        """All rows of a unit as they were at its time, nothing dropped and nothing beside them."""
        timeline = self.histories.get(ranking.context.user_id or "")
        moment = int(ranking.times.min())
        rows = np.array([self.rows[entity_id] for entity_id in ranking.entity_ids], np.int64)
        history = self._past(timeline, ranking, np.arange(len(rows)), moment) if timeline is not None else ()
        labels = ranking.labels.astype(np.float32)
        return ContextExample(
            fill(replace(ranking.context, history=tuple(history)), self.rules, self.names.get), history,
            np.array([self.rows[event.entity_id] for event in history], np.int64), rows, labels, labels,
            np.ones(len(rows), bool), np.zeros(len(rows), np.float32), self._fold(ranking.context.user_id),
        )  # fmt: skip

    def _by_name(self, ranking: LabelledRanking, rng: np.random.Generator) -> LabelledRanking:
        """At times a search for one entity by its whole name instead, which the catalogue itself answers."""
        if ranking.context.task != SEARCH or not self._named or rng.random() >= self.config.name_searches:
            return ranking
        entity = self._named[rng.integers(len(self._named))]
        return LabelledRanking(
            Context(SEARCH, query=self.names[entity]), (entity,), np.ones(1), np.full(1, NO_TIME), slate=True
        )

    def _borrow(self, ranking: LabelledRanking, rng: np.random.Generator) -> LabelledRanking:
        """At times somebody else asks what nobody in particular asked: the answer to these words stays the same.

        Else the network knows people from their own searches only, and takes every search of a person for one of those.
        """
        nobody = ranking.context.task == SEARCH and ranking.context.user_id is None
        if not nobody or not self._users or rng.random() >= self.config.borrowed_user:
            return ranking
        return replace(ranking, context=replace(ranking.context, user_id=self._users[rng.integers(len(self._users))]))

    def _drawn(
        self, ranking: LabelledRanking, context: Context, pool: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats]:
        """Distinct rows beside those shown, and the log of how often each is drawn in the mean.

        A slate takes fewer at random, and some that share words with its query: a search over the whole catalogue
        has to rank those lower.
        """
        count = self.config.negatives // 4 if ranking.slate else self.config.negatives
        alike = self._alike.get(context.query, self._find_alike) if ranking.slate and context.query else pool[:0]
        hard = rng.permutation(alike)[: self.config.hard_negatives]
        rows = np.unique(np.append(rng.choice(pool, count), hard))
        expected = np.exp(self._negatives[ranking.context.task].log_q(rows, count))
        expected += np.isin(rows, alike) * (len(hard) / max(len(alike), 1))
        return rows, np.log(expected).astype(np.float32)

    def _outside(self, rows: Ints, ranking: LabelledRanking, event_rows: Ints) -> NDArray[np.bool_]:
        """Which rows neither the unit, nor on the homepage the history, knows."""
        known = np.array([self.rows[entity] for entity in ranking.entity_ids], np.int64)
        self._marks[known] = True
        if ranking.context.task == HOMEPAGE:
            self._marks[event_rows] = True
        outside: NDArray[np.bool_] = ~self._marks[rows]
        self._marks[known] = False
        self._marks[event_rows] = False
        return outside

    def _fold(self, user_id: str | None) -> int:
        return self.config.folds if user_id is None else fold_of(user_id, self.config.folds)

    def _slate(self, ranking: LabelledRanking, rng: np.random.Generator) -> tuple[Ints, int]:
        """Rows of a slate, at most `slate` of them, positives first; its moment is its earliest time."""
        order = rng.permutation(len(ranking.labels))
        order = order[np.argsort(ranking.labels[order] <= 0, kind="stable")]
        return order[: self.config.slate], int(ranking.times.min())

    def _moment(self, ranking: LabelledRanking, rng: np.random.Generator) -> tuple[Ints, int]:
        """A moment along the positives, and what was engaged or passed over from then on."""
        positive = np.flatnonzero(ranking.labels > 0)
        if not len(positive):
            return np.flatnonzero(ranking.labels <= 0)[:1], int(ranking.times.max())
        positive = positive[np.argsort(ranking.times[positive], kind="stable")]
        pick = int(len(positive) * rng.random() ** LATE)
        moment = int(ranking.times[positive[pick]])
        later = positive[ranking.times[positive] >= moment][: 5 * self.config.positives]
        passed = np.flatnonzero((ranking.labels <= 0) & (ranking.times >= moment))
        taken = [rng.permutation(group)[: self.config.positives] for group in (later, passed)]
        return np.concatenate(taken), moment

    def _context(self, ranking: LabelledRanking, chosen: Ints, moment: int, rng: np.random.Generator) -> Context:
        """The raw context of that moment, with fields dropped at random."""
        context, config = ranking.context, self.config
        history: Sequence[HistoryEvent] = ()
        timeline = self.histories.get(context.user_id or "")
        if timeline is not None and rng.random() >= config.history_dropout:
            history = self._past(timeline, ranking, chosen, moment)
        return replace(
            context,
            user_id=None if rng.random() < config.user_dropout else context.user_id,
            country=None if rng.random() < config.country_dropout else context.country,
            history=tuple(history),
        )

    def _past(self, timeline: Timeline, ranking: LabelledRanking, chosen: Ints, moment: int) -> Sequence[HistoryEvent]:
        """What came before; without times, whatever the user did beside the rows under training."""
        if moment != NO_TIME:
            return timeline.before(moment)
        under_training = set(ranking.entity_ids) if ranking.slate else {ranking.entity_ids[i] for i in chosen}
        return [event for event in timeline.events if event.entity_id not in under_training]

    def _forget(self, filled: FilledContext, rng: np.random.Generator) -> FilledContext:
        """Replace an imputed query, or an imputed source, by null at times, so that neither gives the task away."""
        context = filled.context
        for field in ("query", "source_entity_id"):
            imputed = filled.rule_of(field) is not None and getattr(context, field) is not None
            if imputed and rng.random() < self.config.name_query_dropout:
                context = replace(context, query=None) if field == "query" else replace(context, source_entity_id=None)
        return FilledContext(context, filled.imputed)


def _one_of_a_name(names: Mapping[str, str]) -> list[str]:
    """Entities whose name no other entity has."""
    normal = {entity: normalise(name) for entity, name in names.items()}
    counts = Counter(normal.values())
    return [entity for entity, name in normal.items() if name and counts[name] == 1]


def _weights(group: Sequence[LabelledRanking]) -> NDArray[np.float64]:
    """Cumulative weight of each unit: the square root of its positives, slates one each."""
    sizes = [1.0 if ranking.slate else float(np.sqrt((ranking.labels > 0).sum())) for ranking in group]
    return np.cumsum(np.array(sizes))
