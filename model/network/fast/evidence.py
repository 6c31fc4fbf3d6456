"""Contribution of match features to the first layer and the logit, folded for one task. Computes no match feature."""

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
    """Weights of A match features for the first layer and the logit, for one task. P = bins of non-zero width.

    In the pass, features are rows. So a bin is a scaled copy of the row of its feature.
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
        """The weights of these features."""
        encoding, bins = ranker.features, ranker.features.bins
        chosen = torch.from_numpy(columns).to(encoding.mean.device)
        feature, bin_index = torch.nonzero(encoding.inverse[chosen] > 0).T  # bins in use
        inverse = encoding.inverse[chosen][feature, bin_index]
        weights = ranker.from_evidence.weight.T + ranker.task_evidence[task]  # [F · (1 + bins) + 1, hidden]
        bin_weights = weights[ranker.sizes.features :][: ranker.sizes.features * bins].view(-1, bins, weights.shape[1])
        return cls(
            encoding.mean[chosen],
            1 / encoding.deviation[chosen],
            feature.contiguous(),
            -encoding.low[chosen][feature, bin_index] * inverse,
            inverse,
            torch.cat([weights[chosen], bin_weights[chosen][feature, bin_index]]),
            ranker.straight.weight[task][chosen],
        )


class ConstantEvidence:
    """Contribution of features that are equal for all candidates."""

    def __init__(self, parts: EvidenceWeights) -> None:
        self._mean, self._inverse_deviation, self._of = (
            parts.mean.cpu().numpy(), parts.inverse_deviation.cpu().numpy(), parts.of.cpu().numpy()
        )  # fmt: skip
        self._start, self._inverse = array(parts.start), array(parts.inverse)
        self._weights, self._straight = array(parts.weights), array(parts.straight)

    def __call__(self, values: Floats) -> tuple[Floats, np.float32]:
        """Features [A] → their part of the first layer [hidden] and of the linear model."""
        scores = np.arcsinh((values - self._mean) * self._inverse_deviation)
        bins = np.clip(values[self._of] * self._inverse + self._start, 0, 1)
        return np.concatenate([scores, bins]) @ self._weights, scores @ self._straight


class Evidence:
    """Contribution of features that differ between candidates."""

    def __init__(self, parts: EvidenceWeights, scratch: Scratch) -> None:
        self._scratch, self._of = scratch, parts.of
        self._mean, self._inverse_deviation = parts.mean[:, None], parts.inverse_deviation[:, None]
        self._inverse, self._start = parts.inverse[:, None], parts.start[:, None]
        self._weights, self._straight = parts.weights, parts.straight

    def __call__(self, values: Tensor, hidden: Tensor) -> Tensor:
        """Features [C, A] → their part of the first layer, into `hidden` [C, hidden]. Returns the linear part [C].

        Fastest where `values` is the transpose of an array [A, C].
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
        """Write asinh of the standard scores, [A, C], into `scores`."""
        rows, columns = values.shape
        scaled, size = (self._scratch.buffer(name, rows, columns, values) for name in ("scaled", "size"))
        torch.sub(values, self._mean, out=scaled).mul_(self._inverse_deviation)
        if ASINH_IS_VECTORISED and values.device.type == "cpu":
            np.arcsinh(scaled.numpy(), out=scores.numpy())
        else:
            asinh_into(scaled, size, scores)


def asinh_into(values: Tensor, size: Tensor, out: Tensor) -> None:
    """asinh as log(|x| + √(x² + 1)) with the sign of x, exact to 1e-7. `size` is overwritten; all shapes are equal.

    >>> values = torch.tensor([-1e6, -0.1, 0.0, 2.0])
    >>> result = torch.empty(4)
    >>> asinh_into(values, torch.empty(4), result)
    >>> bool(torch.allclose(result, values.asinh()))
    True
    """
    torch.mul(values, values, out=size).add_(1).sqrt_()
    torch.abs(values, out=out)
    size.add_(out)
    if size.device.type == "cpu":  # numpy's log takes less than half of torch's time
        np.log(size.numpy(), out=size.numpy())
    else:
        size.log_()
    torch.copysign(size, values, out=out)


def asinh_is_vectorised() -> bool:
    """Whether numpy computes asinh of float32 sixteen at a time: only with AVX-512."""
    introspect = getattr(np.lib, "introspect", None)  # since numpy 2.2
    functions = introspect.opt_func_info("^arcsinh$", "float32") if introspect is not None else {}
    return any(loop["current"] in _AVX512 for loops in functions.values() for loop in loops.values())


_AVX512 = ("X86_V4", "AVX512_SKX")  # the name depends on the version of numpy
ASINH_IS_VECTORISED = asinh_is_vectorised()
