"""What runs in the process that makes batches: reads a job, writes a batch for each one asked for. Learns nothing.

It ends when its standard input does, however the learner came to its end. It uses pipes alone: no shared memory.
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
    """An exception in this process, in words: not every exception can be sent."""

    message: str
    trace: str


def main() -> None:
    """Make the batches of a job. The learner decides when this ends, so the signals of a terminal do not."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    torch.set_num_threads(1)
    out = _private_output()
    try:
        _work(out)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):
        pass  # the learner has gone
    except Exception as error:
        with suppress(BrokenPipeError):
            _send(out, Failure(f"{type(error).__name__}: {error}", traceback.format_exc()))
    os._exit(0)  # at once: a thread still reads


def _work(out: BinaryIO) -> None:
    prepared, rankings, first, last = pickle.load(sys.stdin.buffer)
    asked = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    steps = StepBatches(prepared, rankings)
    for step in range(first, last):
        asked.acquire()
        _send(out, steps.batches(step))


def _private_output() -> BinaryIO:
    """The pipe to the learner; whatever a library prints goes to standard error instead."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _listen(asked: threading.Semaphore) -> None:
    """One byte asks for one batch; the end of the pipe is the end of the learner."""
    while sys.stdin.buffer.read(1):
        asked.release()
    os._exit(0)


class _Pickler(pickle.Pickler):
    """Tensors as arrays: plain bytes, where torch would write an archive for each."""

    def reducer_override(self, value: object) -> Any:
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, Tensor) else NotImplemented


def _send(out: BinaryIO, message: object) -> None:
    packed = BytesIO()
    _Pickler(packed, pickle.HIGHEST_PROTOCOL).dump(message)
    out.write(packed.tell().to_bytes(SIZE_BYTES, "little"))
    out.write(packed.getbuffer())
    out.flush()
