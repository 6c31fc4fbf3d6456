"""Memory that the folded pass uses again, and a product into it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

VIEWS_KEPT = 256  # of buffers: the last part of a list is of any length


class Scratch:
    """Buffers that are used again: fresh ones of this size cost more in page faults than in arithmetic."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._views: dict[tuple[str, int, int], Tensor] = {}

    def buffer(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
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


def product(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """left [C, K] @ right [K, D] into `out`. On a CPU numpy does it: its library takes half to nine tenths of torch's
    time here, by processor (decision 8)."""
    if out.device.type == "cpu":
        np.matmul(left.numpy(), right.numpy(), out=out.numpy())
        return out
    return torch.mm(left, right, out=out)
