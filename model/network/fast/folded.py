"""The ranker for serving: the same logits for one context, with all arithmetic that does not depend on a candidate done
once. Not for training: the weights must not change during its lifetime.

Folding: inputs of the first layer that are equal for all candidates, such as those of an absent query, source or
history, become one constant. The gates of a task become part of the next layer. `ranker.py` defines the same network
without folding; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.network.fast.buffers import Scratch, product
from model.network.fast.context_side import ContextArrays, FoldedContextTower, array
from model.network.fast.evidence import ConstantEvidence, Evidence, EvidenceWeights
from model.network.ranker import Ranker
from model.text.bounded_cache import BoundedCache

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
FoldedEvidence = tuple[Evidence, ConstantEvidence, Ints]  # of the varying columns, of the others, their indices
EVIDENCE_KEPT = 64  # pairs of a task and its varying columns


class FoldedRanker:
    """Folds one ranker for single contexts. Use an instance in one thread only."""

    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker
        self.scratch = Scratch()
        self.side = FoldedContextTower(ranker)
        self._evidence: BoundedCache[tuple[int, bytes], FoldedEvidence] = BoundedCache(EVIDENCE_KEPT)
        self._layers: dict[int, Layers] = {}  # by task

    def evidence(self, task: int, columns: bytes) -> FoldedEvidence:
        """Evidence for a task where the match features `columns` (packed int64) differ between candidates. Cached."""
        return self._evidence.get((task, columns), self._evidence_of)

    def _evidence_of(self, key: tuple[int, bytes]) -> FoldedEvidence:
        task, columns = key
        chosen = np.frombuffer(columns, np.int64).copy()
        others = np.setdiff1d(np.arange(self.ranker.sizes.features), chosen)
        varying, fixed = (EvidenceWeights.of_columns(self.ranker, task, part) for part in (chosen, others))
        return Evidence(varying, self.scratch), ConstantEvidence(fixed), others

    def layers(self, task: int) -> Layers:
        """The layers of one task. Cached."""
        if task not in self._layers:
            self._layers[task] = _layers_of(self.ranker, task)
        return self._layers[task]

    def context(self, context: ContextArrays, columns: Ints, constant: Floats) -> FoldedContext:
        """Compute all that the candidates of one context share.

        `columns` are the match features that differ between candidates; `constant` [F] holds the others.
        """
        context = context if self.ranker.config.task_input else replace(context, task=0)
        return FoldedContext(self, context, columns.tobytes(), constant)


@dataclass(frozen=True, slots=True)
class Layers:
    """The weights that depend only on the task, with its gates folded in."""

    bias: Floats  # [hidden] of the first layer
    of_dot: Tensor  # [hidden] weights of the dot product, scaled
    straight: float
    second: Tensor  # [hidden, hidden / 2]
    second_bias: Tensor
    out: Tensor  # [hidden / 2]


class FoldedContext:
    """Scores candidates of one context with the folded weights."""

    def __init__(self, folded: FoldedRanker, context: ContextArrays, columns: bytes, constant: Floats) -> None:
        self._scratch, self._norm, self._layers = folded.scratch, folded.ranker.norm, folded.layers(context.task)
        self._varying, fixed, others = folded.evidence(context.task, columns)
        bias, straight = fixed(constant[others])
        self._straight = float(straight) + self._layers.straight
        device = self._norm.weight.device
        self._bias = torch.from_numpy(bias + self._layers.bias).to(device)
        self._encoded: Tensor | None = None  # [D] with which a candidate has a dot product
        if folded.ranker.config.learned_dropout < 1:
            self._encoded = torch.from_numpy(folded.side(context)).to(device)

    def __call__(self, vectors: Tensor, values: Tensor) -> Tensor:
        """Candidate vectors [C, D] and match features [C, A] → logits [C]."""
        rows, layers = len(vectors), self._layers
        hidden = self._scratch.buffer("hidden", rows, len(self._bias), values)
        straight = self._varying(values, hidden)
        if self._encoded is not None:
            hidden.addr_(vectors @ self._encoded, layers.of_dot)
        hidden += self._bias
        active = functional.gelu(self._norm(hidden))
        second = self._scratch.buffer("second", rows, len(layers.second_bias), values)
        active = functional.gelu(product(active, layers.second, second).add_(layers.second_bias))
        return torch.addmv(straight.add_(self._straight), active, layers.out)


def _layers_of(ranker: Ranker, task: int) -> Layers:
    first = 2 * torch.sigmoid(ranker.task_gate.weight[task])
    second = 2 * torch.sigmoid(ranker.second_gate.weight[task])
    of_dot = ranker.from_evidence.weight[:, -1] + ranker.task_evidence[task, -1]
    return Layers(
        array(ranker.from_evidence.bias + ranker.task_bias.weight[task]),
        of_dot * float(ranker.config.width**-0.5),
        float(ranker.out.bias),
        (ranker.second.weight * first).T.contiguous(),
        ranker.second.bias,
        ranker.out.weight[0] * second,
    )
