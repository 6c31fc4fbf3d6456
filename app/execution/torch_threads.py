"""How many threads torch computes in: one wherever something else computes beside it. Imports torch when asked."""

from __future__ import annotations

import os


def one_thread() -> None:
    """Holds for the thread that calls: the other core has its own work, and two spinning thread pools collide."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
