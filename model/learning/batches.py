"""Examples → tensors: match features by the same function as in serving, vectors by the tower under training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.catalogue.encoding import EntityArrays
from model.catalogue.records import Records
from model.config import Config
from model.learning.sampling import ContextExample
from model.network.collate import EncodedContext, collate
from model.network.inputs import ContextEncoder
from model.network.ranker import ContextBatch, EntityBatch
from model.network.scorer import entity_batch, retrieval_profile, retrieval_text

Ints = NDArray[np.int64]
NO_VECTORS = torch.zeros(0)  # the ranker puts in those that its entity tower makes


@dataclass(slots=True)
class TrainingBatch:
    """B examples of one task, padded. Indices point into `entities`."""

    entities: EntityBatch  # [U]
    context: ContextBatch  # [B] without the vectors of source and history, which are under training
    candidates: Tensor  # [B, C] index
    features: Tensor  # [B, C, F]
    labels: Tensor  # [B, C]
    targets: Tensor  # [B, C]
    mask: Tensor  # [B, C] not padding
    shown: Tensor  # [B, C] not random
    log_q: Tensor  # [B, C]
    source: Tensor  # [B] index, -1 = none
    history: Tensor  # [B, H] index, newest first, -1 = padding
    affinity: Tensor  # [B, C, 2] co-engagement and text of each candidate, as in retrieval


class BatchMaker:
    """Turns examples into batches. `tables[f]` are the records without the outcomes of fold f."""

    def __init__(
        self, arrays: EntityArrays, tables: Sequence[Records],
        contexts: ContextEncoder, rows: dict[str, int], numbers: int, config: Config,
    ) -> None:  # fmt: skip
        self.arrays = arrays
        self.tables = tables
        self.met = tables[-1].popularity > 0  # [N] somebody engaged with it
        self.light = [table.without_tokens() for table in tables]
        self.contexts = contexts
        self.rows = rows
        self.numbers = numbers
        self.config = config

    def make(self, examples: Sequence[ContextExample], rng: np.random.Generator) -> TrainingBatch:
        """Encode B examples."""
        encoded = [self._encode(example) for example in examples]
        history, kinds = self._histories(examples, encoded)
        context = collate(encoded, NO_VECTORS, NO_VECTORS, torch.from_numpy(kinds), torch.from_numpy(history >= 0))
        source = np.array([self._source_row(example) for example in examples], np.int64)
        candidates = _pad([example.rows for example in examples], -1, np.int64)
        used = np.unique(np.concatenate([candidates.ravel(), history.ravel(), source]))
        used = used[used >= 0]
        cold = rng.random(len(used)) < self.config.training.cold_dropout  # a step knows nothing of what these met
        features = [self._features(e, c, used[cold]) for e, c in zip(examples, encoded, strict=True)]
        return TrainingBatch(
            self._entities(used, cold, rng),
            context,
            torch.from_numpy(np.maximum(np.searchsorted(used, candidates), 0)),
            torch.from_numpy(_pad(features, 0, np.float32)),
            torch.from_numpy(_pad([example.labels for example in examples], 0, np.float32)),
            torch.from_numpy(_pad([example.targets for example in examples], 0, np.float32)),
            torch.from_numpy(candidates >= 0),
            torch.from_numpy(_pad([example.shown for example in examples], False, np.bool_)),
            torch.from_numpy(_pad([example.log_q for example in examples], 0, np.float32)),
            torch.from_numpy(np.where(source >= 0, np.searchsorted(used, source), -1)),
            torch.from_numpy(np.where(history >= 0, np.searchsorted(used, history), -1)),
            torch.from_numpy(
                _pad([self._affinity(*pair) for pair in zip(examples, encoded, strict=True)], 0, np.float32)
            ),
        )

    def match(self, example: ContextExample) -> NDArray[np.float32]:
        """Match features of an example. [C, F]"""
        context = self._encode(example)
        candidates = self.tables[example.fold].take(example.rows)
        return self.contexts.matcher(context.query, context.source, context.profile, candidates)

    def _encode(self, example: ContextExample) -> EncodedContext:
        table = self.tables[example.fold]
        length = self.config.network.profile_length
        events, rows = example.events[-length:], example.event_rows[-length:]
        source_row = self._source_row(example)
        source = table.take(np.array([source_row])) if source_row >= 0 else None
        history = self.light[example.fold].take(rows) if len(rows) else None
        return self.contexts.from_records(example.filled, source, events, history, example.fold)

    def _source_row(self, example: ContextExample) -> int:
        return self.rows.get(example.filled.context.source_entity_id or "", -1)

    def _features(self, example: ContextExample, context: EncodedContext, cold: Ints) -> NDArray[np.float32]:
        candidates = without_outcomes(self.tables[example.fold].take(example.rows), np.isin(example.rows, cold))
        return self.contexts.matcher(context.query, context.source, context.profile, candidates)

    def _affinity(self, example: ContextExample, context: EncodedContext) -> NDArray[np.float32]:
        table, rows = self.tables[example.fold], example.rows
        liked = table.engagement[rows] @ retrieval_profile(context) * table.inverse[rows]
        return np.stack([liked, table.text[rows] @ retrieval_text(context)], axis=1)

    def _histories(self, examples: Sequence[ContextExample], encoded: Sequence[EncodedContext]) -> tuple[Ints, Ints]:
        length = self.config.network.history_length
        rows = [example.event_rows[-length:][::-1] for example in examples]
        kinds = [context.kinds[-length:][::-1] for context in encoded]
        return _pad(rows, -1, np.int64, at_least=1), _pad(kinds, 0, np.int64, at_least=1)

    def _entities(self, used: Ints, cold: NDArray[np.bool_], rng: np.random.Generator) -> EntityBatch:
        """Entities of a batch. Cold ones have no id, as those in serving that nobody met; others lose it at random."""
        keep = self.met[used] & ~cold & (rng.random(len(used)) >= self.config.training.id_dropout)
        return entity_batch(self.arrays.take(used), (used + 1) * keep, self.numbers, torch.device("cpu"))


def without_outcomes(records: Records, cold: NDArray[np.bool_]) -> Records:
    """The records as if no user had engaged with the masked entities. cold [C]"""
    warm = ~cold
    return replace(
        records,
        engagement=records.engagement * warm[:, None],
        inverse=np.where(warm, records.inverse, np.float32(1.0)),
        popularity=records.popularity * warm,
        row=np.where(warm, records.row, np.int32(-1)),
    )


def _pad(rows: Sequence[NDArray[Any]], fill: float, dtype: type, at_least: int = 0) -> NDArray[Any]:
    """Stack arrays of different first length: B × [C, …] → [B, max C, …]."""
    longest = max([at_least, *(len(row) for row in rows)])
    result = np.full((len(rows), longest, *rows[0].shape[1:]), fill, dtype)
    for number, row in enumerate(rows):
        result[number, : len(row)] = row
    return result
