"""The ranker as serving runs it: the same logits for one context, with all arithmetic that no candidate changes done
once. Learns nothing; weights must not change while it lives.

What is folded: the part of the first layer that an absent query, source or history would feed is one constant; dot
products of a candidate with context and source become a rank-one change of the weights that read the candidate; gates
of a task become part of the layer behind them. `ranker.py` says the same in plain form, and a test holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.network.fast.context_side import ContextSide, OneContext, array
from model.network.ranker import Ranker

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
VIEWS_KEPT = 256  # of buffers: the last part of a list is of any length


class Scratch:
    """Buffers that are used again: fresh ones of this size cost more in page faults than in arithmetic."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._views: dict[tuple[str, int, int], Tensor] = {}

    def take(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """An uninitialised [rows, columns], valid until the same name is taken again."""
        view = self._views.get((name, rows, columns))
        return self._new_view(name, rows, columns, like) if view is None else view

    def _new_view(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        wanted = rows * columns
        held = self._buffers.get(name)
        if held is None or len(held) < wanted or len(self._views) >= VIEWS_KEPT:
            self._views.clear()  # a view of a buffer that was too small would keep it alive
            held = held if held is not None and len(held) >= wanted else None
        if held is None:
            held = self._buffers[name] = torch.empty(wanted, dtype=like.dtype, device=like.device)
        view = self._views[name, rows, columns] = held[:wanted].view(rows, columns)
        return view


@dataclass(frozen=True, slots=True)
class EvidenceWeights:
    """What A of the match features add to the first layer and to the logit, for one task. P = bins with an extent.

    Features of one context stand in rows here, so that a bin is a row of its feature, scaled.
    """

    mean: Tensor  # [A]
    inverse_deviation: Tensor  # [A]
    of: Tensor  # [P] the feature of each bin
    start: Tensor  # [P]
    inverse: Tensor  # [P] 1 / width
    weights: Tensor  # [A + P, hidden]
    straight: Tensor  # [A]

    @classmethod
    def of_columns(cls, ranker: Ranker, task: int, columns: Ints) -> EvidenceWeights:
        """Those of the named features."""
        encoding, bins = ranker.features, ranker.features.bins
        chosen = torch.from_numpy(columns).to(encoding.mean.device)
        feature, place = torch.nonzero(encoding.inverse[chosen] > 0).T  # of the bins that can be filled
        inverse = encoding.inverse[chosen][feature, place]
        weights = ranker.from_evidence.weight.T + ranker.task_evidence[task]  # [F · (1 + bins) + 3, hidden]
        in_bins = weights[ranker.sizes.features :][: ranker.sizes.features * bins].view(-1, bins, weights.shape[1])
        return cls(
            encoding.mean[chosen],
            1 / encoding.deviation[chosen],
            feature.contiguous(),
            -encoding.low[chosen][feature, place] * inverse,
            inverse,
            torch.cat([weights[chosen], in_bins[chosen][feature, place]]),
            ranker.straight.weight[task][chosen],
        )


class ConstantEvidence:
    """Evidence of features that are the same for all candidates."""

    def __init__(self, parts: EvidenceWeights) -> None:
        self._mean, self._inverse_deviation, self._of = (
            parts.mean.cpu().numpy(), parts.inverse_deviation.cpu().numpy(), parts.of.cpu().numpy()
        )  # fmt: skip
        self._start, self._inverse = array(parts.start), array(parts.inverse)
        self._weights, self._straight = array(parts.weights), array(parts.straight)

    def __call__(self, values: Floats) -> tuple[Floats, np.float32]:
        """Features [A] → their part of the first layer [hidden] and the straight part."""
        scores = np.arcsinh((values - self._mean) * self._inverse_deviation)
        bins = np.clip(values[self._of] * self._inverse + self._start, 0, 1)
        return np.concatenate([scores, bins]) @ self._weights, scores @ self._straight


class Evidence:
    """Evidence of features that differ between candidates."""

    def __init__(self, parts: EvidenceWeights, scratch: Scratch) -> None:
        self._scratch, self._of = scratch, parts.of
        self._mean, self._inverse_deviation = parts.mean[:, None], parts.inverse_deviation[:, None]
        self._inverse, self._start = parts.inverse[:, None], parts.start[:, None]
        self._weights, self._straight = parts.weights, parts.straight

    def __call__(self, values: Tensor, hidden: Tensor) -> Tensor:
        """Features [C, A] → the first layer into `hidden` [C, hidden]; returns the straight part [C].

        Quickest where `values` is the transpose of an array [A, C].
        """
        values, features = values.T, values.shape[1]
        evidence = self._scratch.take("evidence", len(self._weights), values.shape[1], values)
        scores, bins = evidence[:features], evidence[features:]
        self._scores(values, scores)
        torch.index_select(values, 0, self._of, out=bins)
        bins.mul_(self._inverse).add_(self._start).clamp_(0, 1)  # addcmul is not vectorised here: three times as long
        product(evidence.T, self._weights, hidden)
        return scores.T @ self._straight

    def _scores(self, values: Tensor, scores: Tensor) -> None:
        """asinh of standard scores, [A, C] into `scores`."""
        rows, columns = values.shape
        scaled, size = (self._scratch.take(name, rows, columns, values) for name in ("scaled", "size"))
        torch.sub(values, self._mean, out=scaled).mul_(self._inverse_deviation)
        if ASINH_IS_VECTORISED and values.device.type == "cpu":
            np.arcsinh(scaled.numpy(), out=scores.numpy())
        else:
            quick_asinh(scaled, size, scores)


def quick_asinh(values: Tensor, size: Tensor, out: Tensor) -> None:
    """log(|x| + √(x² + 1)) with the sign of x, exact to 1e-7; `size` is overwritten. All of one shape.

    >>> values = torch.tensor([-1e6, -0.1, 0.0, 2.0])
    >>> found = torch.empty(4)
    >>> quick_asinh(values, torch.empty(4), found)
    >>> bool(torch.allclose(found, values.asinh()))
    True
    """
    torch.mul(values, values, out=size).add_(1).sqrt_()
    torch.abs(values, out=out)
    size.add_(out)
    if size.device.type == "cpu":  # numpy's logarithm takes less than half of torch's time
        np.log(size.numpy(), out=size.numpy())
    else:
        size.log_()
    torch.copysign(size, values, out=out)


def asinh_is_vectorised() -> bool:
    """Whether numpy computes asinh of float32 sixteen at a time: with AVX-512 it does, else one by one."""
    introspect = getattr(np.lib, "introspect", None)  # since numpy 2.2
    found = introspect.opt_func_info("^arcsinh$", "float32") if introspect is not None else {}
    return any(loop["current"] in _AVX512 for loops in found.values() for loop in loops.values())


_AVX512 = ("X86_V4", "AVX512_SKX")  # as numpy's versions call it
ASINH_IS_VECTORISED = asinh_is_vectorised()


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
        self.side = ContextSide(ranker)
        self.evidence = lru_cache(64)(partial(_evidence_of, ranker, self.scratch))
        self.layers = lru_cache(16)(partial(_layers_of, ranker))
        self.from_entity, self.from_context, self.from_history, self.ask = (
            array(layer.weight)
            for layer in (ranker.from_entity, ranker.from_context, ranker.from_history, ranker.attention.ask)
        )

    def context(self, one: OneContext, columns: Ints, constant: Floats) -> FoldedContext:
        """Everything of one context that its candidates share.

        `columns` are the match features that differ between candidates, `constant` [F] holds the others.
        """
        one = one if self.ranker.config.task_input else replace(one, task=0)
        return FoldedContext(self, one, columns.tobytes(), constant)


@dataclass(frozen=True, slots=True)
class Layers:
    """What a task alone decides, its gates folded in."""

    bias: Floats  # [hidden] of the first layer
    of_dots: Floats  # [3, hidden] what reads the dot products with context, history and source, scaled
    straight: float
    second: Tensor  # [hidden, hidden / 2]
    second_bias: Tensor
    out: Tensor  # [hidden / 2]


class FoldedContext:
    """One context, folded. Call it with candidates."""

    def __init__(self, folded: Folded, one: OneContext, columns: bytes, constant: Floats) -> None:
        self._scratch, self._norm, self._layers = folded.scratch, folded.ranker.norm, folded.layers(one.task)
        encoded, events = folded.side(one)
        self._varying, fixed, others = folded.evidence(one.task, columns)
        bias, straight = fixed(constant[others])
        self._straight = float(straight) + self._layers.straight
        self._device = self._norm.weight.device
        self._bias = self._there(bias + self._layers.bias + folded.from_context @ encoded)
        config = folded.ranker.config
        self._learned = config.learned_dropout < 1
        self._count = len(events) if self._learned and config.crossing else 0  # H, events that are read
        if self._learned:
            self._fold(folded, np.stack([encoded, one.source]), events)

    def _fold(self, folded: Folded, whole: Floats, events: Floats) -> None:
        """One matrix [D + H + 1, hidden] for all that reads the candidate's vector and what it reads of the history.

        `whole` are the two vectors that a candidate is multiplied with, [2, D].
        """
        width, count, of_dots = whole.shape[1], self._count, self._layers.of_dots
        weights = np.empty((width + count + (count > 0), len(folded.from_entity)), np.float32)
        weights[:width] = folded.from_entity.T
        if folded.ranker.config.crossing:
            weights[:width] += whole.T @ of_dots[::2]
        if count:
            np.matmul(events, folded.from_history.T, out=weights[width:-1])
            weights[-1] = of_dots[1]
            keys = events @ folded.ask * np.float32(width**-0.5)
            self._keys = self._there(np.concatenate([keys, events]).T)  # [D, 2·H]
        self._weights = self._there(weights)

    def _there(self, values: Floats) -> Tensor:
        return torch.from_numpy(values).to(self._device)

    def __call__(self, vectors: Tensor, values: Tensor) -> Tensor:
        """Candidate vectors [C, D] and match features [C, A] → logits [C]."""
        rows, layers = len(vectors), self._layers
        hidden = self._scratch.take("hidden", rows, len(self._bias), values)
        straight = self._varying(values, hidden)
        if self._learned:
            learned = self._scratch.take("learned", rows, len(self._bias), values)
            hidden += product(self._read(vectors), self._weights, learned)
        hidden += self._bias
        active = functional.gelu(self._norm(hidden))
        second = self._scratch.take("second", rows, len(layers.second_bias), values)
        active = functional.gelu(product(active, layers.second, second).add_(layers.second_bias))
        return torch.addmv(straight.add_(self._straight), active, layers.out)

    def _read(self, vectors: Tensor) -> Tensor:
        """The vectors, behind them the attention of each to the events, and its dot product with what it reads there.

        [C, D] → [C, D + H + 1]; without a history the vectors alone.
        """
        if not self._count:
            return vectors
        rows, width = vectors.shape
        read = self._scratch.take("read", rows, width + self._count + 1, vectors)
        asked = product(vectors, self._keys, self._scratch.take("asked", rows, 2 * self._count, vectors))
        attention = torch.softmax(asked[:, : self._count], dim=1)
        read[:, :width], read[:, width:-1] = vectors, attention
        torch.sum(asked[:, self._count :].mul_(attention), 1, out=read[:, -1])
        return read


def _evidence_of(
    ranker: Ranker, scratch: Scratch, task: int, columns: bytes
) -> tuple[Evidence, ConstantEvidence, Ints]:
    """Of the columns that vary, of the others, and which these are."""
    chosen = np.frombuffer(columns, np.int64).copy()
    others = np.setdiff1d(np.arange(ranker.sizes.features), chosen)
    varying, fixed = (EvidenceWeights.of_columns(ranker, task, part) for part in (chosen, others))
    return Evidence(varying, scratch), ConstantEvidence(fixed), others


def _layers_of(ranker: Ranker, task: int) -> Layers:
    first = 2 * torch.sigmoid(ranker.task_gate.weight[task])
    second = 2 * torch.sigmoid(ranker.second_gate.weight[task])
    of_dots = ranker.from_evidence.weight.T[-3:] + ranker.task_evidence[task, -3:]
    return Layers(
        array(ranker.from_evidence.bias + ranker.task_bias.weight[task]),
        array(of_dots * float(ranker.config.width**-0.5)),
        float(ranker.out.bias),
        (ranker.second.weight * first).T.contiguous(),
        ranker.second.bias,
        ranker.out.weight[0] * second,
    )
