"""Encoded contexts as arrays, and a batch of them as the ranker's tensors. `inputs.py` computes what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.catalogue.records import Records
from model.context.context import FilledContext
from model.features.history import Profile
from model.features.query import EncodedQuery
from model.network.ranker import ContextBatch


@dataclass(frozen=True, slots=True)
class EncodedContext:
    """One filled context as arrays. `source` holds one record or is None, `history` runs from oldest to newest."""

    filled: FilledContext
    task: int
    user: int
    country: int
    missing: tuple[float, ...]
    query: EncodedQuery
    source: Records | None
    history: Records | None
    kinds: NDArray[np.int64]  # [H]
    profile: Profile


def collate(
    contexts: Sequence[EncodedContext],
    source: Tensor,
    history: Tensor,
    kinds: Tensor,
    present: Tensor,
) -> ContextBatch:
    """Stack B encoded contexts; source [B, D], history [B, H, D], kinds and present [B, H] are padded."""
    device = source.device

    def stack(rows: Sequence[object], dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(np.asarray(rows), dtype=dtype, device=device)

    return ContextBatch(
        task=stack([context.task for context in contexts], torch.long),
        user=stack([context.user for context in contexts], torch.long),
        country=stack([context.country for context in contexts], torch.long),
        missing=stack([context.missing for context in contexts], torch.float32),
        query=stack([context.query.text for context in contexts], torch.float32),
        profile=stack([context.profile.text.ravel() for context in contexts], torch.float32),
        source=source,
        history=history,
        kinds=kinds,
        present=present,
    )
