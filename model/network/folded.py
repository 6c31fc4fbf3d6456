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

from model.network.layers import vector_asinh
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
        self._mean, self._deviation = encoding.mean[chosen], encoding.deviation[chosen]
        self._inverse = encoding.inverse[chosen][real[:, 0], real[:, 1]]
        self._start = -encoding.low[chosen][real[:, 0], real[:, 1]] * self._inverse
        weights = ranker.from_evidence.weight.T + ranker.task_evidence[task]  # [F · (1 + bins) + 3, hidden]
        in_bins = weights[ranker.sizes.features :][: ranker.sizes.features * bins].view(-1, bins, weights.shape[1])
        self._of_scores = weights[chosen].contiguous()
        self._of_bins = in_bins[chosen][real[:, 0], real[:, 1]].contiguous()
        self._straight = ranker.straight.weight[task][chosen]

    def __call__(self, values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Features [C, A] → the first layer's [C, hidden] with `bias` [hidden] added, and the straight part [C]."""
        scores = vector_asinh((values - self._mean) / self._deviation)
        filled = self._scratch.take("bins", len(values), len(self._of), values)
        torch.index_select(values, 1, self._of, out=filled)
        torch.addcmul(self._start, filled, self._inverse, out=filled).clamp_(0, 1)
        hidden = torch.addmm(bias, scores, self._of_scores).addmm_(filled, self._of_bins)
        return hidden, scores @ self._straight


class Folded:
    """One ranker, ready to score contexts one at a time. One instance serves one thread."""

    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker
        self._scratch = Scratch()
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
        bias, straight = fixed(constant[None, others], ranker.from_evidence.bias)
        bias = bias[0] + ranker.from_context(encoded)[0] + ranker.task_bias.weight[task]
        learned = ranker.config.learned_dropout < 1
        return FoldedContext(self, task, batch, encoded, events, varying, bias, straight, learned)

    def _new_evidence(self, task: int, columns: bytes) -> tuple[Evidence, Evidence, Tensor]:
        """Of the columns that vary, of the others, and which these are."""
        chosen = np.frombuffer(columns, np.int64).copy()
        others = np.setdiff1d(np.arange(self.ranker.sizes.features), chosen)
        varying, fixed = (Evidence(self.ranker, task, part, self._scratch) for part in (chosen, others))
        return varying, fixed, torch.from_numpy(others)

    def layers(self, task: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights and bias of the second layer and of the output, the task's gates folded in."""
        return self._layers(task)

    def _new_layers(self, task: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ranker = self.ranker
        first = 2 * torch.sigmoid(ranker.task_gate.weight[task])
        second = 2 * torch.sigmoid(ranker.second_gate.weight[task])
        return (
            (ranker.second.weight * first).T.contiguous(), ranker.second.bias,
            ranker.out.weight[0] * second, ranker.out.bias,
        )  # fmt: skip


class FoldedContext:
    """One context, folded. Call it with candidates."""

    def __init__(
        self, folded: Folded, task: int, batch: ContextBatch, encoded: Tensor, events: Tensor, varying: Evidence,
        bias: Tensor, straight: Tensor, learned: bool,
    ) -> None:  # fmt: skip
        ranker = folded.ranker
        self._norm = ranker.norm
        self._varying, self._bias, self._straight = varying, bias, straight
        self._second, self._second_bias, self._out, self._out_bias = folded.layers(task)
        self._learned = learned
        self._events: Tensor | None = None
        if learned:
            self._fold_vector(ranker, task, batch, encoded, events)

    def _fold_vector(self, ranker: Ranker, task: int, batch: ContextBatch, encoded: Tensor, events: Tensor) -> None:
        """One matrix for all that reads the candidate's vector; for the history, keys and what each event adds."""
        scale = float(encoded.shape[1] ** -0.5)
        weights = (ranker.from_evidence.weight.T[-3:] + ranker.task_evidence[task, -3:]) * scale  # of the dot products
        self._of_vector = ranker.from_entity.weight.T.clone()
        if not ranker.config.crossing:
            return
        self._of_vector.addr_(encoded[0], weights[0]).addr_(batch.source[0], weights[2])
        if batch.present.any():
            self._events = events[0]
            self._keys = events[0] @ ranker.attention.ask.weight * scale  # [H, D]
            self._of_event = events[0] @ ranker.from_history.weight.T  # [H, hidden]
            self._of_history_dot = weights[1]

    def __call__(self, vectors: Tensor, values: Tensor) -> Tensor:
        """Candidate vectors [C, D] and match features [C, A] → logits [C]."""
        hidden, straight = self._varying(values, self._bias)
        if self._learned:
            hidden.addmm_(vectors, self._of_vector)
        if self._events is not None:
            attention = torch.softmax(vectors @ self._keys.T, dim=1)
            hidden.addmm_(attention, self._of_event)
            hidden.addr_((attention * (vectors @ self._events.T)).sum(1), self._of_history_dot)
        hidden = functional.gelu(self._norm(hidden))
        hidden = functional.gelu(torch.addmm(self._second_bias, hidden, self._second))
        return torch.addmv(straight + self._straight + self._out_bias, hidden, self._out)
