"""Makes batches ahead of training in a process of its own, which runs `batch_worker.py`.

A new process, not a fork: a fork hangs after an OpenMP region. The two communicate over pipes, so a small /dev/shm
does not matter, and if the training process is killed, its pipes close and the other one ends.
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
STALLED_S = 300  # without a batch; before the first one, imports and the job take seconds each
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from model.learning.batch_worker import main; main()"


class BatchProcessError(ChildProcessError):
    """The process that makes batches ended or stalled. The message is one line."""


@contextmanager
def batches_ahead(steps: StepBatches, first: int, last: int) -> Iterator[Iterator[list[TrainingBatch]]]:
    """The batches of the steps `first` to `last`, `last` excluded. The process is gone when the block ends.

    Reading them raises `BatchProcessError` if the process ended, stalled or failed.
    """
    process = _Process(steps, first, last)
    try:
        yield (process.next(step) for step in range(first, last))
    finally:
        process.end()


class _Process:
    """One process, and the thread that moves bytes from its pipe into a queue."""

    def __init__(self, steps: StepBatches, first: int, last: int) -> None:
        command = [sys.executable, "-c", START, json.dumps(sys.path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )  # a session of its own: Ctrl-C reaches the training process only
        self._input = cast(BinaryIO, self._process.stdin)
        self._output = cast(BinaryIO, self._process.stdout)
        self._job = (*steps.job(), first, last)
        self._messages: SimpleQueue[bytes | None] = SimpleQueue()  # None = no more
        self._thread = threading.Thread(target=self._transfer, daemon=True)
        self._thread.start()

    def _transfer(self) -> None:
        """Send the job, then queue the messages that arrive. Ends when the pipe closes."""
        with suppress(BrokenPipeError):  # the process ended
            pickle.dump(self._job, self._input, pickle.HIGHEST_PROTOCOL)
            self._request(AHEAD)
        while (packed := self._read_message()) is not None:
            self._messages.put(packed)
        self._messages.put(None)

    def _read_message(self) -> bytes | None:
        size = int.from_bytes(self._output.read(SIZE_BYTES), "little")
        packed = self._output.read(size)
        return packed if size and len(packed) == size else None

    def _request(self, batches: int) -> None:
        self._input.write(b"+" * batches)
        self._input.flush()

    def next(self, step: int) -> list[TrainingBatch]:
        """The batches of the next step, by its number."""
        packed = self._next_message()
        if packed is None:
            raise BatchProcessError(f"the process that makes batches ended before step {step + 1} ({self._ending()})")
        with suppress(BrokenPipeError):  # the process made the last batches and ended
            self._request(1)
        batches = pickle.loads(packed)
        if isinstance(batches, Failure):
            error = BatchProcessError(f"making the batches of step {step + 1}: {batches.message}")
            error.add_note(batches.trace)
            raise error
        return cast(list[TrainingBatch], batches)

    def _next_message(self) -> bytes | None:
        """Wait second by second, so that time while this process was suspended does not count."""
        for _ in range(STALLED_S):
            with suppress(Empty):
                return self._messages.get(timeout=1)
        raise BatchProcessError(f"the process that makes batches made none for {STALLED_S} s")

    def _ending(self) -> str:
        code = self._process.wait()
        return f"signal {-code}, which may mean that memory ran out" if code < 0 else f"exit code {code}"

    def end(self) -> None:
        """Kill the process; it has no state to save."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for pipe in (self._input, self._output):
            with suppress(BrokenPipeError):
                pipe.close()
