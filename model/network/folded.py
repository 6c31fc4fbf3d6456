"""The ranker as serving runs it: the same logits for one context, with all arithmetic that no candidate changes done
once. Learns nothing; weights must not change while it lives.

What is folded: the part of the first layer that an absent query, source or history would feed is one constant; dot
products of a candidate with context and source become a rank-one change of the weights that read the candidate; gates
of a task become part of the layer behind them. `ranker.py` says the same in plain form, and a test holds them together.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.network.ranker import ContextBatch, Ranker

Ints = NDArray[np.int64]


class Scratch:
    """Buffers that are used again: fresh ones of this size cost more in page faults than in arithmetic."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """An uninitialised [rows, columns], valid until the same name is taken again."""
        wanted = rows * columns
        held = self._buffers.get(name)
        if held is None or len(held) < wanted:
            held = self._buffers[name] = torch.empty(wanted, dtype=like.dtype, device=like.device)
        return held[:wanted].view(rows, columns)


class Evidence:
    """What some of the match features add to the first layer, and to the logit directly, for one task."""

    def __init__(self, ranker: Ranker, task: int, columns: Ints, scratch: Scratch) -> None:
        encoding, bins = ranker.features, ranker.features.bins
        self._scratch = scratch
        chosen = torch.from_numpy(columns).to(encoding.mean.device)
        real = torch.nonzero(encoding.inverse[chosen] > 0)  # (feature, bin) pairs that can be filled
        self._of = real[:, 0].contiguous()
        self._mean, self._inverse_deviation = encoding.mean[chosen], 1 / encoding.deviation[chosen]
        self._inverse = encoding.inverse[chosen][real[:, 0], real[:, 1]]
        self._start = -encoding.low[chosen][real[:, 0], real[:, 1]] * self._inverse
        weights = ranker.from_evidence.weight.T + ranker.task_evidence[task]  # [F · (1 + bins) + 3, hidden]
        in_bins = weights[ranker.sizes.features :][: ranker.sizes.features * bins].view(-1, bins, weights.shape[1])
        self._weights = torch.cat([weights[chosen], in_bins[chosen][real[:, 0], real[:, 1]]])  # [A + bins, hidden]
        self._straight = ranker.straight.weight[task][chosen]

    def __call__(self, values: Tensor, hidden: Tensor) -> Tensor:
        """Features [C, A] → the first layer into `hidden` [C, hidden]; returns the straight part [C]."""
        rows, features = values.shape
        evidence = self._scratch.take("evidence", rows, len(self._weights), values)
        scores = self._scores(values, self._scratch)
        filled = self._scratch.take("bins", rows, len(self._of), values)
        torch.index_select(values, 1, self._of, out=filled)
        torch.addcmul(self._start, filled, self._inverse, out=filled)
        torch.clamp(filled, 0, 1, out=evidence[:, features:])
        evidence[:, :features] = scores
        product(evidence, self._weights, hidden)
        return scores @ self._straight

    def _scores(self, values: Tensor, scratch: Scratch) -> Tensor:
        """Standard scores [C, A]: `vector_asinh` of `layers.py` in kept buffers."""
        scaled, size, root = (
            scratch.take(name, len(values), values.shape[1], values) for name in ("scaled", "size", "root")
        )
        torch.sub(values, self._mean, out=scaled).mul_(self._inverse_deviation)
        torch.abs(scaled, out=size)
        torch.mul(size, size, out=root)
        square = scratch.take("square", len(values), values.shape[1], values).copy_(root)
        root.add_(1).sqrt_().add_(1)
        size.add_(square.div_(root)).log1p_()
        return torch.copysign(size, scaled, out=scaled)


def product(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """left [C, K] @ right [K, D] into `out`. On a CPU numpy does it: its library takes half to nine tenths of torch's
    time here, by processor (decision 8)."""
    if out.device.type == "cpu":
        np.matmul(left.numpy(), right.numpy(), out=out.numpy())
        return out
    return torch.mm(left, right, out=out)


class Folded:
    """One ranker, ready to score contexts one at a time. One instance serves one thread."""

    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker
        self.scratch = Scratch()
        self._evidence = lru_cache(64)(self._new_evidence)
        self._layers = lru_cache(16)(self._new_layers)

    def context(self, batch: ContextBatch, task: int, columns: Ints, constant: Tensor) -> FoldedContext:
        """Everything of one context (a batch of one) that its candidates share.

        `columns` are the match features that differ between candidates, `constant` [F] holds the others.
        """
        ranker = self.ranker
        task = task if ranker.config.task_input else 0
        encoded, events = ranker.encode(batch)
        varying, fixed, others = self._evidence(task, columns.tobytes())
        bias = torch.empty(1, ranker.config.scorer_hidden, dtype=constant.dtype, device=constant.device)
        straight = fixed(constant[None, others], bias) + ranker.out.bias
        bias += ranker.from_evidence.bias + ranker.from_context(encoded) + ranker.task_bias.weight[task]
        return FoldedContext(self, task, batch, encoded, events, varying, bias, straight)

    def _new_evidence(self, task: int, columns: bytes) -> tuple[Evidence, Evidence, Tensor]:
        """Of the columns that vary, of the others, and which these are."""
        chosen = np.frombuffer(columns, np.int64).copy()
        others = np.setdiff1d(np.arange(self.ranker.sizes.features), chosen)
        varying, fixed = (Evidence(self.ranker, task, part, self.scratch) for part in (chosen, others))
        return varying, fixed, torch.from_numpy(others)

    def layers(self, task: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and bias of the second layer and weights of the output, the task's gates folded in."""
        return self._layers(task)

    def _new_layers(self, task: int) -> tuple[Tensor, Tensor, Tensor]:
        ranker = self.ranker
        first = 2 * torch.sigmoid(ranker.task_gate.weight[task])
        second = 2 * torch.sigmoid(ranker.second_gate.weight[task])
        return (ranker.second.weight * first).T.contiguous(), ranker.second.bias, ranker.out.weight[0] * second


class FoldedContext:
    """One context, folded. Call it with candidates."""

    def __init__(
        self, folded: Folded, task: int, batch: ContextBatch, encoded: Tensor, events: Tensor, varying: Evidence,
        bias: Tensor, straight: Tensor,
    ) -> None:  # fmt: skip
        self._scratch, self._norm = folded.scratch, folded.ranker.norm
        self._varying, self._bias, self._straight = varying, bias, straight
        self._second, self._second_bias, self._out = folded.layers(task)
        config = folded.ranker.config
        self._learned = config.learned_dropout < 1
        self._reads = self._learned and config.crossing and bool(batch.present.any())
        if self._learned:
            self._fold(folded.ranker, task, batch, encoded, events)

    def _fold(self, ranker: Ranker, task: int, batch: ContextBatch, encoded: Tensor, events: Tensor) -> None:
        """One matrix [D + H + 1, hidden] for all that reads the candidate's vector and what it reads of the history."""
        scale = float(encoded.shape[1] ** -0.5)
        dots = (ranker.from_evidence.weight.T[-3:] + ranker.task_evidence[task, -3:]) * scale  # of the dot products
        self._weights = ranker.from_entity.weight.T.clone()
        if ranker.config.crossing:
            self._weights.addr_(encoded[0], dots[0]).addr_(batch.source[0], dots[2])
        if self._reads:
            self._events = events[0].T.contiguous()  # [D, H]
            self._keys = (events[0] @ ranker.attention.ask.weight * scale).T.contiguous()  # [D, H]
            of_event = events[0] @ ranker.from_history.weight.T
            self._weights = torch.cat([self._weights, of_event, dots[1:2]])

    def __call__(self, vectors: Tensor, values: Tensor) -> Tensor:
        """Candidate vectors [C, D] and match features [C, A] → logits [C]."""
        rows, width = len(vectors), self._bias.shape[1]
        hidden = self._scratch.take("hidden", rows, width, values)
        straight = self._varying(values, hidden)
        if self._learned:
            learned = self._scratch.take("learned", rows, width, values)
            hidden += product(self._read(vectors), self._weights, learned)
        hidden += self._bias
        active = functional.gelu(self._norm(hidden))
        second = self._scratch.take("second", rows, self._second.shape[1], values)
        active = functional.gelu(product(active, self._second, second).add_(self._second_bias))
        return torch.addmv(straight + self._straight, active, self._out)

    def _read(self, vectors: Tensor) -> Tensor:
        """The vectors, behind them the attention of each to the events, and its dot product with what it reads there.

        [C, D] → [C, D + H + 1]; without a history the vectors alone.
        """
        if not self._reads:
            return vectors
        rows, width, count = len(vectors), vectors.shape[1], self._keys.shape[1]
        read = self._scratch.take("read", rows, width + count + 1, vectors)
        asked, likes = (self._scratch.take(name, rows, count, vectors) for name in ("asked", "likes"))
        attention = torch.softmax(product(vectors, self._keys, asked), dim=1)
        read[:, :width], read[:, width:-1] = vectors, attention
        torch.sum(product(vectors, self._events, likes).mul_(attention), 1, out=read[:, -1])
        return read
