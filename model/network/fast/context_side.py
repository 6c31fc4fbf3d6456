"""The context tower for serving: one context, in numpy, with the same vectors as `ContextTower` for a batch of one.

A hundred small operations take three times as long in torch, nearly all of it call overhead.
Not for training: the weights must not change during its lifetime.

Shapes: D width, H events, M missing flags, Dt text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.layers import ResidualMLP
from model.network.ranker import Ranker

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ContextArrays:
    """One context as arrays. An absent `source` is zeros, an absent `history` is empty."""

    task: int
    user: int  # 0 = the learned null
    country: int  # 0 = the learned null
    missing: Floats  # [M] 1 = present
    query: Floats  # [Dt]
    profile: Floats  # [2·Dt]
    source: Floats  # [D]
    history: Floats  # [H, D] newest first
    kinds: Ints  # [H] task · 2 + liked


class FoldedContextTower:
    """The context side of one ranker, in numpy."""

    def __init__(self, ranker: Ranker) -> None:
        tower = ranker.context_tower
        self._task, self._user, self._country = (array(e.weight) for e in (tower.task, tower.user, tower.country))
        self._no_query, self._no_source, self._no_history = (
            array(null) for null in (tower.null_query, tower.null_source, tower.null_history)
        )
        self._kind = array(tower.kind.weight)
        self._text_scale = np.float32(len(self._no_query) ** 0.5)
        self._mlp = _SingleRowMLP(tower.mlp)

    def __call__(self, context: ContextArrays) -> Floats:
        """The context's vector. [D] `context.task` is always 0 without `task_input`."""
        events = context.history + self._kind[context.kinds]
        parts = [
            self._task[context.task],
            self._user[context.user],
            self._country[context.country],
            context.missing,
            context.query * self._text_scale if context.missing[0] > 0 else self._no_query,
            context.source if context.missing[2] > 0 else self._no_source,
            events.sum(0) / np.float32(len(events)) if len(events) else self._no_history,
            context.profile * self._text_scale,
        ]
        return self._mlp(np.concatenate(parts))


class _SingleRowMLP:
    """`ResidualMLP` for a single row."""

    def __init__(self, mlp: ResidualMLP) -> None:
        self._enter = _Linear(mlp.enter)
        self._first, self._inner = _Norm(cast(nn.LayerNorm, mlp.body[0])), _Linear(cast(nn.Linear, mlp.body[-1]))
        self._second, self._leave = _Norm(cast(nn.LayerNorm, mlp.leave[0])), _Linear(cast(nn.Linear, mlp.leave[-1]))

    def __call__(self, values: Floats) -> Floats:
        """[inputs] → [outputs]"""
        entered = self._enter(values)
        return self._leave(self._second(entered + self._inner(gelu(self._first(entered)))))


class _Linear:
    def __init__(self, module: nn.Linear) -> None:
        self._weight, self._bias = array(module.weight), array(module.bias)

    def __call__(self, values: Floats) -> Floats:
        return self._weight @ values + self._bias


class _Norm:
    def __init__(self, module: nn.LayerNorm) -> None:
        self._weight, self._bias, self._eps = array(module.weight), array(module.bias), np.float32(module.eps)

    def __call__(self, values: Floats) -> Floats:
        size = np.float32(len(values))
        centred = values - values.sum() / size
        normalised: Floats = centred * (self._weight / np.sqrt(centred @ centred / size + self._eps)) + self._bias
        return normalised


def gelu(values: Floats) -> Floats:
    """x · Φ(x). numpy has no erf, and the call overhead of torch's GELU exceeds the arithmetic at this size."""
    erf = torch.erf(torch.from_numpy(values * np.float32(0.5**0.5))).numpy()
    activated: Floats = values * (np.float32(0.5) * (erf + np.float32(1)))
    return activated


def array(weights: Tensor) -> Floats:
    """Weights as an array; it shares memory with a tensor on the CPU."""
    values: Floats = weights.detach().cpu().numpy()
    return values
