"""Metrics of one worker or of several as one text. Counts nothing itself.

Several workers write each value to a mapped file of their own, which outlives them, and whoever is scraped adds up all
files: so a counter does not fall when another worker answers, nor when one is killed. What a process is (memory, CPU,
files) cannot be added up without falling when one ends, and has a label `pid` instead.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from app.observability.metrics import sharing

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_STOPPING = "stopping"
_PREFIX = "unirank-workers-"
_TRIES = 5


def own_registry() -> CollectorRegistry:
    """Where the metrics of this worker are registered; where it has no others beside it, with those of its process."""
    registry = CollectorRegistry()
    if not sharing():
        ProcessCollector(registry=registry)
    return registry


def exposition(own: CollectorRegistry) -> bytes:
    """The metrics of this worker, or of all where there are several, in Prometheus' text format. Reads files."""
    if not sharing():
        return generate_latest(own)
    registry = CollectorRegistry()
    folder = Path(os.environ[DIRECTORY])
    registry.register(_AllWorkers(folder))
    registry.register(_Processes(folder))
    for _ in range(_TRIES):
        try:
            return generate_latest(registry)
        except (struct.error, FileNotFoundError):  # a worker has just made a file, or lost it, and it is empty
            continue
    return generate_latest(registry)


class _AllWorkers(Collector):
    """What all workers counted, less the models that no longer serve anywhere."""

    def __init__(self, folder: Path) -> None:
        self._files = MultiProcessCollector(None, str(folder))

    def collect(self) -> Iterator[Metric]:
        """Sums, by metric."""
        for metric in self._files.collect():
            if metric.name == "unirank_model_info":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


class _Processes(Collector):
    """Memory, CPU and files of each worker that lives, by `pid`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """One metric a kind, with a sample for each worker."""
        metrics: dict[str, Metric] = {}
        for pid in sorted(_pids(self._folder)):
            for found in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                metric = metrics.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                for sample in found.samples:
                    metric.add_sample(sample.name, {**sample.labels, "pid": str(pid)}, sample.value)
        yield from metrics.values()


def _pids(folder: Path) -> set[int]:
    """Workers that have gauges: those that are dead have none, once they are forgotten."""
    return {int(found[1]) for file in folder.glob("gauge_live*.db") if (found := re.search(r"_(\d+)\.db$", file.name))}


def forget_dead(folder: Path, living: Collection[int]) -> None:
    """Drop the gauges of all workers but these; what the others counted stays."""
    for pid in _pids(folder) - set(living):
        mark_process_dead(pid, str(folder))


@contextmanager
def shared_folder(state_dir: Path) -> Iterator[Path]:
    """A folder for the metrics of workers that start within the block, empty whatever ran before: a temporary one,
    below the state folder where no other may be written."""
    folder = _temporary(state_dir)
    os.environ[DIRECTORY] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop(DIRECTORY, None)
        shutil.rmtree(folder, ignore_errors=True)


def _temporary(state_dir: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError:
        state_dir.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=state_dir))


def mark_stopping(folder: Path) -> None:
    """Tell all workers of the folder that the service is about to end."""
    (folder / _STOPPING).touch()


def stopping() -> bool:
    """Whether the service that this worker is one of several of is about to end."""
    return sharing() and Path(os.environ[DIRECTORY], _STOPPING).exists()
