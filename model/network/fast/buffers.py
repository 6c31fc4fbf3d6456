"""Reusable buffers of the folded pass, and a matrix product that writes into them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

VIEWS_KEPT = 256  # views of buffers; the last chunk of a list can have any length


class Scratch:
    """Reusable buffers: with new ones of this size, page faults would take longer than the arithmetic."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._views: dict[tuple[str, int, int], Tensor] = {}

    def buffer(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        """An uninitialised tensor [rows, columns], valid until the next call with the same name."""
        view = self._views.get((name, rows, columns))
        return self._new_view(name, rows, columns, like) if view is None else view

    def _new_view(self, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
        size = rows * columns
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size or len(self._views) >= VIEWS_KEPT:
            self._views.clear()  # views would keep a replaced buffer alive
            buffer = buffer if buffer is not None and len(buffer) >= size else None
        if buffer is None:
            buffer = self._buffers[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        view = self._views[name, rows, columns] = buffer[:size].view(rows, columns)
        return view


def product(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """Write left [C, K] @ right [K, D] into `out`.

    Uses numpy on a CPU: its library takes half to nine tenths of torch's time here, by processor (decision 8).
    """
    if out.device.type == "cpu":
        np.matmul(left.numpy(), right.numpy(), out=out.numpy())
        return out
    return torch.mm(left, right, out=out)
