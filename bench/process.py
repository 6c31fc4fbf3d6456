"""Inspects and controls the processes of a server: cores, processor time, memory, signals. Linux only.

Starts nothing. A process is identified by its id and start time, so that a reused id is never mistaken for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS_S = os.sysconf("SC_CLK_TCK")
_MB = 1000  # /proc counts kB


@dataclass(frozen=True, slots=True)
class Seen:
    """A process that was running; `began`: its start time in clock ticks since boot."""

    pid: int
    began: int


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Run the block on these cores; processes that it starts stay on them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pids: Collection[int], cores: Collection[int]) -> None:
    """Move processes, with all their threads, to these cores."""
    for pid in pids:
        for task in _tasks(pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, cores)


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    pids = [pid]
    for parent in pids:
        for task in _tasks(parent):
            pids += map(int, _read(Path(f"/proc/{parent}/task/{task}/children")).split())
    return pids


def seen(pids: Collection[int]) -> set[Seen]:
    """The processes among `pids` that are running."""
    return {Seen(pid, int(fields[19])) for pid in pids if (fields := _stat(pid))}


def end(processes: Collection[Seen], patience_s: float) -> None:
    """Terminate processes with SIGTERM; kill those that are still running after `patience_s`."""
    remaining = _signal(processes, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while remaining and time.monotonic() < deadline:
        time.sleep(0.05)
        remaining = remaining & seen([process.pid for process in remaining])
    _signal(remaining, signal.SIGKILL)


def _signal(processes: Collection[Seen], number: signal.Signals) -> set[Seen]:
    running = set(processes) & seen([process.pid for process in processes])
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
    return running


def cpu_seconds(pids: Collection[int]) -> float:
    """Processor time of the processes in seconds, user plus kernel."""
    return sum(int(fields[11]) + int(fields[12]) for pid in pids if (fields := _stat(pid))) / _TICKS_S


def memory_mb(pid: int) -> dict[str, float]:
    """PSS (shared pages by share), USS (private pages) and dirty private pages of a process, in MB."""
    rollup = _read(Path(f"/proc/{pid}/smaps_rollup"))
    kb = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", rollup, re.MULTILINE)}
    own = kb.get("Private_Clean", 0) + kb.get("Private_Dirty", 0)
    return {"pss_mb": kb.get("Pss", 0) / _MB, "uss_mb": own / _MB, "dirty_mb": kb.get("Private_Dirty", 0) / _MB}


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; empty for a missing process or a zombie."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return [] if fields[:1] == ["Z"] else fields


def _tasks(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return []


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text("utf-8")
    return ""
