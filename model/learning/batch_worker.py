"""Runs in the process that makes batches: reads a job, writes a batch per request. Does not train.

It ends when its standard input closes, however the training process ended. It uses pipes only, no shared memory.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import torch
from torch import Tensor

from model.learning.step_batches import StepBatches

SIZE_BYTES = 8  # in front of each message: its length, little endian


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception in this process, as text: not every exception can be pickled."""

    message: str
    trace: str


def main() -> None:
    """Make the batches of a job. Ignores the signals of a terminal: the training process decides when this ends."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    torch.set_num_threads(1)
    out = _private_output()
    try:
        _make_batches(out)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):
        pass  # the training process has ended
    except Exception as error:
        with suppress(BrokenPipeError):
            _send(out, Failure(f"{type(error).__name__}: {error}", traceback.format_exc()))
    os._exit(0)  # at once: a thread still reads


def _make_batches(out: BinaryIO) -> None:
    data, rankings, first, last = pickle.load(sys.stdin.buffer)
    requests = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    steps = StepBatches(data, rankings)
    for step in range(first, last):
        requests.acquire()
        _send(out, steps.batches(step))


def _private_output() -> BinaryIO:
    """The pipe to the training process; what libraries print is redirected to standard error."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _listen(requests: threading.Semaphore) -> None:
    """Each byte requests one batch; the pipe ends when the training process does."""
    while sys.stdin.buffer.read(1):
        requests.release()
    os._exit(0)


class _Pickler(pickle.Pickler):
    """Pickles tensors as arrays: plain bytes, while torch would write an archive for each."""

    def reducer_override(self, value: object) -> Any:
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, Tensor) else NotImplemented


def _send(out: BinaryIO, message: object) -> None:
    packed = BytesIO()
    _Pickler(packed, pickle.HIGHEST_PROTOCOL).dump(message)
    out.write(packed.tell().to_bytes(SIZE_BYTES, "little"))
    out.write(packed.getbuffer())
    out.flush()
