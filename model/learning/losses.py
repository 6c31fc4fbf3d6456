"""Losses as pure functions of (logits, labels, mask) → scalar. B contexts, C candidates; padding has mask False."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MASKED = -1e9


def softmax_loss(logits: Tensor, labels: Tensor, mask: Tensor, log_q: Tensor | None = None) -> Tensor:
    """Listwise cross entropy, mean over the contexts that have a positive.

    logits, labels, mask [B, C]; the target is labels / Σ labels. `log_q` [B, C] is subtracted from the logits of
    sampled candidates: the log-Q correction (Bengio and Senécal 2008; Yi et al. 2019, eq. 3).
    """
    if log_q is not None:
        logits = logits - log_q
    positive = labels.clamp(min=0) * mask
    total = positive.sum(1)
    log_p = torch.log_softmax(logits.masked_fill(~mask, MASKED), dim=1)
    losses = -(positive * log_p.masked_fill(~mask, 0)).sum(1) / total.clamp(min=1e-9)
    counted = total > 0
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def binary_loss(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Binary cross entropy of label > 0, mean over the rows in the mask. All [B, C]; 0 if there are none."""
    losses = functional.binary_cross_entropy_with_logits(logits, (labels > 0).to(logits.dtype), reduction="none")
    return (losses * mask).sum() / mask.sum().clamp(min=1)
