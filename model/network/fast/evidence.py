"""What match features add to the first layer and to the logit, folded for one task. Computes no match feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network.fast.buffers import Scratch, product
from model.network.fast.context_side import array
from model.network.ranker import Ranker

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


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
        evidence = self._scratch.buffer("evidence", len(self._weights), values.shape[1], values)
        scores, bins = evidence[:features], evidence[features:]
        self._scores(values, scores)
        torch.index_select(values, 0, self._of, out=bins)
        bins.mul_(self._inverse).add_(self._start).clamp_(0, 1)  # addcmul is not vectorised here: three times as long
        product(evidence.T, self._weights, hidden)
        return scores.T @ self._straight

    def _scores(self, values: Tensor, scores: Tensor) -> None:
        """asinh of standard scores, [A, C] into `scores`."""
        rows, columns = values.shape
        scaled, size = (self._scratch.buffer(name, rows, columns, values) for name in ("scaled", "size"))
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
