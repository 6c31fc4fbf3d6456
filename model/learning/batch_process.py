"""Batches made ahead of the learner by a process of its own. What it runs is in `batch_worker.py`.

A new process, not a fork: a fork hangs after an OpenMP region. They talk over pipes, so a small /dev/shm does not
matter, and a learner that is killed takes its process with it: the pipes end.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import BinaryIO, cast

from model.learning.batch_worker import SIZE_BYTES, Failure
from model.learning.batches import TrainingBatch
from model.learning.step_batches import StepBatches

AHEAD = 4  # steps
STALLED_S = 300  # without a batch; the first one waits for the imports and the job, seconds each
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from model.learning.batch_worker import main; main()"


class BatchProcessError(ChildProcessError):
    """The process that makes batches ended or stalled. The message is one line."""


@contextmanager
def batches_ahead(steps: StepBatches, first: int, last: int) -> Iterator[Iterator[list[TrainingBatch]]]:
    """The batches of the steps `first` to `last`, without the last one. The process is gone when the block ends.

    Raises `BatchProcessError` while they are read, where the process ended, stalled or failed.
    """
    made = _Process(steps, first, last)
    try:
        yield (made.next(step) for step in range(first, last))
    finally:
        made.end()


class _Process:
    """One process, and the thread that carries bytes from its pipe into a queue."""

    def __init__(self, steps: StepBatches, first: int, last: int) -> None:
        command = [sys.executable, "-c", START, json.dumps(sys.path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )  # a session of its own: Ctrl-C is for the learner alone
        self._input = cast(BinaryIO, self._process.stdin)
        self._output = cast(BinaryIO, self._process.stdout)
        self._job = (*steps.ingredients(), first, last)
        self._arrived: SimpleQueue[bytes | None] = SimpleQueue()  # None = no more
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        """Hand over the job, then take what comes. Ends with the pipe."""
        with suppress(BrokenPipeError):  # it ended
            pickle.dump(self._job, self._input, pickle.HIGHEST_PROTOCOL)
            self._ask(AHEAD)
        while (packed := self._message()) is not None:
            self._arrived.put(packed)
        self._arrived.put(None)

    def _message(self) -> bytes | None:
        size = int.from_bytes(self._output.read(SIZE_BYTES), "little")
        packed = self._output.read(size)
        return packed if size and len(packed) == size else None

    def _ask(self, batches: int) -> None:
        self._input.write(b"+" * batches)
        self._input.flush()

    def next(self, step: int) -> list[TrainingBatch]:
        """The batches of the next step, by its number."""
        packed = self._wait()
        if packed is None:
            raise BatchProcessError(f"the process that makes batches ended before step {step + 1} ({self._ending()})")
        with suppress(BrokenPipeError):  # it made the last ones and ended
            self._ask(1)
        batches = pickle.loads(packed)
        if isinstance(batches, Failure):
            error = BatchProcessError(f"making the batches of step {step + 1}: {batches.message}")
            error.add_note(batches.trace)
            raise error
        return cast(list[TrainingBatch], batches)

    def _wait(self) -> bytes | None:
        """By the second, so that a process that was stopped and goes on has not used up its time."""
        for _ in range(STALLED_S):
            with suppress(Empty):
                return self._arrived.get(timeout=1)
        raise BatchProcessError(f"the process that makes batches made none for {STALLED_S} s")

    def _ending(self) -> str:
        code = self._process.wait()
        return f"signal {-code}, which may mean that memory ran out" if code < 0 else f"exit code {code}"

    def end(self) -> None:
        """Kill it; it has nothing to lose."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for pipe in (self._input, self._output):
            with suppress(BrokenPipeError):
                pipe.close()
