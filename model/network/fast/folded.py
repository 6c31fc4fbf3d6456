"""The ranker for serving: the same logits for one context, with all arithmetic that does not depend on a candidate done
once. Not for training: the weights must not change during its lifetime.

Folding: inputs of the first layer that are equal for all candidates, such as those of an absent query, source or
history, become one constant. `ranker.py` defines the same network without folding; a test compares the two.
"""

from __future__ import annotations

from dataclasses import replace

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

    @torch.no_grad()
    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker
        self.scratch = Scratch()
        self.side = FoldedContextTower(ranker)
        self._evidence: BoundedCache[tuple[int, bytes], FoldedEvidence] = BoundedCache(EVIDENCE_KEPT)
        scale = ranker.config.width**-0.5
        self.bias = array(ranker.from_evidence.bias)
        self.of_dot = (ranker.from_evidence.weight[:, -1] + ranker.task_evidence[:, -1]) * scale  # [T, hidden]
        self.second, self.second_bias = ranker.second.weight.T.contiguous(), ranker.second.bias
        self.out, self.out_bias = ranker.out.weight[0], float(ranker.out.bias)

    def evidence(self, task: int, columns: bytes) -> FoldedEvidence:
        """Evidence for a task where the match features `columns` (packed int64) differ between candidates. Cached."""
        return self._evidence.get((task, columns), self._evidence_of)

    def _evidence_of(self, key: tuple[int, bytes]) -> FoldedEvidence:
        task, columns = key
        chosen = np.frombuffer(columns, np.int64).copy()
        others = np.setdiff1d(np.arange(self.ranker.sizes.features), chosen)
        varying, fixed = (EvidenceWeights.of_columns(self.ranker, task, part) for part in (chosen, others))
        return Evidence(varying, self.scratch), ConstantEvidence(fixed), others

    def context(self, context: ContextArrays, columns: Ints, constant: Floats) -> FoldedContext:
        """Compute all that the candidates of one context share.

        `columns` are the match features that differ between candidates; `constant` [F] holds the others.
        """
        context = context if self.ranker.config.task_input else replace(context, task=0)
        return FoldedContext(self, context, columns.tobytes(), constant)


class FoldedContext:
    """Scores candidates of one context with the folded weights."""

    def __init__(self, folded: FoldedRanker, context: ContextArrays, columns: bytes, constant: Floats) -> None:
        self._folded, self._scratch, self._norm = folded, folded.scratch, folded.ranker.norm
        self._varying, fixed, others = folded.evidence(context.task, columns)
        bias, straight = fixed(constant[others])
        self._straight = float(straight) + folded.out_bias
        device = self._norm.weight.device
        self._bias = torch.from_numpy(bias + folded.bias).to(device)
        self._encoded: Tensor | None = None  # [D] with which a candidate has a dot product
        self._of_dot = folded.of_dot[context.task]
        if folded.ranker.config.learned_dropout < 1:
            self._encoded = torch.from_numpy(folded.side(context)).to(device)

    def __call__(self, vectors: Tensor, values: Tensor) -> Tensor:
        """Candidate vectors [C, D] and match features [C, A] → logits [C]."""
        rows, folded = len(vectors), self._folded
        hidden = self._scratch.buffer("hidden", rows, len(self._bias), values)
        straight = self._varying(values, hidden)
        if self._encoded is not None:
            hidden.addr_(vectors @ self._encoded, self._of_dot)
        hidden += self._bias
        active = functional.gelu(self._norm(hidden))
        second = self._scratch.buffer("second", rows, len(folded.second_bias), values)
        active = functional.gelu(product(active, folded.second, second).add_(folded.second_bias))
        return torch.addmv(straight.add_(self._straight), active, folded.out)
