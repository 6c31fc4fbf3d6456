"""Logits of candidates for one encoded context: match features, then the network. For evaluation and serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from model.catalogue.encoding import EntityArrays, chunks
from model.catalogue.record_table import RecordTable, TableRows
from model.catalogue.records import Records
from model.features.match import given_parts
from model.network.collate import EncodedContext
from model.network.fast.folded import FoldedRanker
from model.network.inputs import ContextEncoder, context_arrays, serving_batch
from model.network.ranker import ContextBatch, EntityBatch, Ranker, retrieval_entity

Floats = NDArray[np.float32]
TOWER_CHUNK = 256  # fixed number of rows per pass, so that a record has the same bits in every process
SCORE_CHUNK = 512  # candidates; buffers of this many rows fit in the processor's cache


class Scorer:
    """A ranker with its context encoder. Use an instance in one thread only."""

    def __init__(self, ranker: Ranker, contexts: ContextEncoder, device: str = "cpu") -> None:
        self.ranker = ranker.to(device).eval()
        self.contexts = contexts
        self.matcher = contexts.matcher
        self.device = torch.device(device)
        self.config = ranker.config
        self.folded = FoldedRanker(self.ranker)

    def logits(self, context: EncodedContext, candidates: Records) -> Floats:
        """Logits [C]. A candidate's logit does not depend on the others."""
        return self.prepare(context)(candidates)

    def prepare(self, context: EncodedContext) -> ContextScorer:
        """A callable that scores candidates of this context. Computes the shared part once, here."""
        return ContextScorer(self, context)

    @torch.inference_mode()
    def plain_logits(self, context: EncodedContext, candidates: Records) -> Floats:
        """The same logits from the ranker in its training form, without folding: the reference for `logits`."""
        features = torch.from_numpy(self.matcher(context.query, context.source, context.profile, candidates))
        vectors = torch.from_numpy(candidates.vector)[None].to(self.device)
        return self.ranker.score(self.batch(context), vectors, features[None].to(self.device))[0].cpu().numpy()

    def batch(self, context: EncodedContext) -> ContextBatch:
        """The context as network input, a batch of one."""
        return serving_batch(context, self.config.width, self.config.history_length, self.device)

    @torch.inference_mode()
    def retrieval_query(self, context: EncodedContext) -> Floats:
        """The context in the embedding space of retrieval. [D + Dz + Dt]"""
        batch = self.batch(context)
        encoded = self.ranker.encode_contexts(batch)
        profile, text = retrieval_profile(context), retrieval_text(context)
        liked, asked = (torch.from_numpy(part)[None].to(self.device) for part in (profile, text))
        return self.ranker.retrieval_query(batch, encoded, liked, asked)[0].cpu().numpy()

    def engagement_query(self, context: EncodedContext) -> Floats:
        """The co-engagement of the context alone, in the embedding space of retrieval. [D + Dz + Dt]"""
        no_vector, no_text = (np.zeros(width, np.float32) for width in (self.config.width, self.config.text_width))
        return np.concatenate([no_vector, retrieval_profile(context), no_text])

    def text_query(self, context: EncodedContext) -> Floats:
        """The text of the context alone, in the embedding space of retrieval. [D + Dz + Dt]"""
        before = np.zeros(self.config.width + len(retrieval_profile(context)), np.float32)
        return np.concatenate([before, retrieval_text(context)])

    @torch.inference_mode()
    def vectors(self, arrays: EntityArrays, rows: Sequence[int]) -> Floats:
        """Entity vectors [N, D] of encoded entities; `rows` are catalogue rows, -1 = nobody engaged with it."""
        total = len(rows)
        parts = []
        with one_thread():
            for start in range(0, total, TOWER_CHUNK):
                chunk = np.arange(start, start + TOWER_CHUNK) % total  # the last chunk wraps around
                ids = np.asarray(rows, np.int64)[chunk] + 1
                batch = entity_batch(arrays.take(chunk), ids, self.number_columns, self.device)
                parts.append(self.ranker.entity_vectors(batch).cpu().numpy()[: min(TOWER_CHUNK, total - start)])
        return np.concatenate(parts) if parts else np.zeros((0, self.config.width), np.float32)

    @property
    def number_columns(self) -> int:
        """The number of static columns that the entity tower reads."""
        return self.ranker.sizes.numbers


class ContextScorer:
    """Scores candidates of one context. May be called several times, with different candidates."""

    @torch.inference_mode()
    def __init__(self, scorer: Scorer, context: EncodedContext) -> None:
        self._matcher, self._device = scorer.matcher, scorer.device
        self._parts = (context.query, context.source, context.profile)
        columns = self._matcher.columns(given_parts(*self._parts))
        constant = self._matcher.constant(context.query, context.profile)
        arrays = context_arrays(context, scorer.config.width, scorer.config.history_length)
        self._folded = scorer.folded.context(arrays, columns, constant)

    def __call__(self, candidates: Records | TableRows) -> Floats:
        """Logits [C]."""
        return self.all(candidates) if len(candidates) > SCORE_CHUNK else self._logits(candidates)

    def all(self, records: Records | RecordTable | TableRows) -> Floats:
        """Logits [N] of any number of records, in chunks of `SCORE_CHUNK`."""
        logits = np.empty(len(records), np.float32)
        for start, end in chunks(len(records), SCORE_CHUNK):
            logits[start:end] = self._logits(records.part(start, end))
        return logits

    @torch.inference_mode()
    def _logits(self, candidates: Records | TableRows) -> Floats:
        candidates = candidates.read() if isinstance(candidates, TableRows) else candidates
        values = torch.from_numpy(self._matcher.varying(*self._parts, candidates)).to(self._device)
        logits: Floats = self._folded(torch.from_numpy(candidates.vector).to(self._device), values).cpu().numpy()
        return logits


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread inside the block, because several threads sum in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def retrieval_profile(context: EncodedContext) -> Floats:
    """The query in the co-engagement space: the recent history, plus the source if there is one. [Dz]"""
    profile = context.profile.liked[1]
    return profile if context.source is None else np.asarray(profile + context.source.engagement[0], np.float32)


def retrieval_text(context: EncodedContext) -> Floats:
    """What a context asks for as text: the source, else the query, else what was liked of late. [Dt]"""
    if context.source is not None:
        text: Floats = context.source.text[0]
        return text
    return context.query.text if context.query.words else context.profile.text[1]


def retrieval_matrix(records: RecordTable, rows: NDArray[np.int64]) -> Floats:
    """The entities of these rows in the embedding space of retrieval. [C, D + Dz + Dt]"""
    return retrieval_entity(*(torch.from_numpy(part) for part in records.for_retrieval(rows))).numpy()


def entity_batch(arrays: EntityArrays, ids: NDArray[np.int64], numbers: int, device: torch.device) -> EntityBatch:
    """Encoded entities as tensors; ids [U], 0 = the learned null."""
    return EntityBatch(
        torch.from_numpy(ids).to(device),
        torch.from_numpy(arrays.text).to(device),
        torch.from_numpy(arrays.static[:, :numbers]).to(device),
        torch.from_numpy(arrays.categories.values.astype(np.int64)).to(device),
        torch.from_numpy(arrays.categories.offsets[:-1]).to(device),
    )
