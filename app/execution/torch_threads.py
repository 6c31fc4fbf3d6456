"""Limits the threads of torch to one where other threads or processes compute too. Imports torch only when called."""

from __future__ import annotations

import os


def one_thread() -> None:
    """Limit the calling thread: the other cores have their own work, and two spinning thread pools collide."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
