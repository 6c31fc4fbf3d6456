"""Exposes the metrics of one worker, or the sum of those of several. Counts nothing itself.

With several workers, each writes its values to memory-mapped files of its own, which remain when it ends, and the
worker that is scraped adds up all files: so a counter does not fall when another worker answers or one is killed.
Process metrics (memory, CPU, files) would fall in a sum when a worker ends, so they have a label `pid` instead.
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
    """A new registry for the metrics of this worker; for a single worker it includes the process metrics."""
    registry = CollectorRegistry()
    if not sharing():
        ProcessCollector(registry=registry)
    return registry


def exposition(own: CollectorRegistry) -> bytes:
    """The metrics of this worker, or of all workers if there are several, in Prometheus' text format. Reads files."""
    if not sharing():
        return generate_latest(own)
    registry = CollectorRegistry()
    folder = Path(os.environ[DIRECTORY])
    registry.register(_AllWorkers(folder))
    registry.register(_Processes(folder))
    for _ in range(_TRIES):
        try:
            return generate_latest(registry)
        except (struct.error, FileNotFoundError):  # a worker has just created a file, still empty, or removed one
            continue
    return generate_latest(registry)


class _AllWorkers(Collector):
    """The merged metrics of all workers, without models that no worker serves any more."""

    def __init__(self, folder: Path) -> None:
        self._files = MultiProcessCollector(None, str(folder))

    def collect(self) -> Iterator[Metric]:
        """The merged metrics."""
        for metric in self._files.collect():
            if metric.name == "unirank_model_info":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


class _Processes(Collector):
    """Memory, CPU and open files of each running worker, by `pid`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """The process metrics, each with one sample per worker."""
        metrics: dict[str, Metric] = {}
        for pid in sorted(_pids(self._folder)):
            for part in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                metric = metrics.setdefault(part.name, Metric(part.name, part.documentation, part.type))
                for sample in part.samples:
                    metric.add_sample(sample.name, {**sample.labels, "pid": str(pid)}, sample.value)
        yield from metrics.values()


def _pids(folder: Path) -> set[int]:
    """Workers that have gauges; `forget_dead` removes those of dead workers."""
    return {int(match[1]) for file in folder.glob("gauge_live*.db") if (match := re.search(r"_(\d+)\.db$", file.name))}


def forget_dead(folder: Path, living: Collection[int]) -> None:
    """Remove the gauges of all workers except these; the counters of the others stay."""
    for pid in _pids(folder) - set(living):
        mark_process_dead(pid, str(folder))


@contextmanager
def shared_folder(state_dir: Path) -> Iterator[Path]:
    """A new temporary folder for the metrics of the workers that start within the block; it is below the state folder
    if the system's temporary folder is not writable."""
    folder = _make_folder(state_dir)
    os.environ[DIRECTORY] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop(DIRECTORY, None)
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder(state_dir: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError:
        state_dir.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=state_dir))


def mark_stopping(folder: Path) -> None:
    """Tell all workers of the folder that the service is stopping."""
    (folder / _STOPPING).touch()


def stopping() -> bool:
    """Whether the service of this worker is stopping; only known if it has several workers."""
    return sharing() and Path(os.environ[DIRECTORY], _STOPPING).exists()
