"""Reports of what each worker serves: one small file per worker, rewritten each second, which commands read to learn
whether the model that they named is served. The files are below the registry's folder, so that all replicas share
them, or in the state folder if that one is read-only. Decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import uuid4

from app.models.registry import MANIFEST

_log = logging.getLogger("unirank")
WRITE_INTERVAL_S = 1.0
_FOLDER = ".workers"
_STALE_S = 60.0  # a file this much older than a new one belongs to a worker that was killed
_SILENT_S = 5.0  # a worker that writes nothing for this long is not running
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Report:
    """Versions that one worker serves, and the share of the split; `refused`: token and reason, by folder name."""

    live: str | None
    split: tuple[str, float] | None = None
    shadow: str | None = None
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)


class Reporter:
    """Writes the file of one worker. Write errors are only logged, because serving does not depend on reports."""

    def __init__(self, registry: Path, state_dir: Path) -> None:
        self._registry = registry
        self._folders = _report_folders(registry, state_dir)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}.json"
        self._beat = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, report: Callable[[], Report]) -> None:
        """Write the result of `report`, now and each second."""
        self._task = asyncio.create_task(self._run(report))

    async def stop(self) -> None:
        """Stop writing, and remove the file of this worker."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._remove)

    async def _run(self, report: Callable[[], Report]) -> None:
        while True:
            await asyncio.to_thread(self.write, report())
            await asyncio.sleep(WRITE_INTERVAL_S)

    def write(self, report: Report) -> None:
        """Write a report of this worker; nothing if the registry is a single model."""
        if not self._registry.is_dir() or (self._registry / MANIFEST).is_file():
            return
        self._beat += 1
        text = json.dumps({"beat": self._beat, **asdict(report)})
        while self._folders:
            try:
                self._write(self._folders[0], text)
            except OSError as error:
                _log.debug("no report in %s: %s", self._folders[0], error)
                self._folders = self._folders[1:]
            else:
                return

    def _remove(self) -> None:
        for folder in self._folders[:1]:
            with contextlib.suppress(OSError):
                (folder / self._name).unlink(missing_ok=True)
                folder.rmdir()  # fails while other files are in it

    def _write(self, folder: Path, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{self._name}"
        new.write_text(text, "utf-8")
        new.replace(folder / self._name)
        if self._beat == 1:
            _remove_stale(folder, (folder / self._name).stat().st_mtime - _STALE_S)


@dataclass(frozen=True, slots=True)
class Answer:
    """Number of workers that confirm a change, reasons of those that refuse it, number of undecided ones."""

    confirmed: int = 0
    refused: tuple[str, ...] = ()
    undecided: int = 0


class Workers:
    """The workers that follow a registry, as a command sees them. Create it before writing the change to confirm."""

    def __init__(self, registry: Path, state_dir: Path) -> None:
        self._report_folders = _report_folders(registry, state_dir)
        self._beats_before = self._beats()

    def wait(self, serves: Callable[[Report], bool], name: str, token: str, wait_s: float) -> Answer:
        """The answer once all workers have decided, or after `wait_s`. A refusal of the folder `name` counts only if
        the folder had the same `token` then, that is, has not changed since."""
        now = time.monotonic()
        silent_until, deadline = now + min(_SILENT_S, wait_s), now + wait_s
        while True:
            all_workers, reports = self._read(), self._new_reports()
            answer = _summarise(list(reports.values()), serves, name, token)
            all_reported = len(reports) == len(all_workers) or time.monotonic() >= silent_until
            if (all_reported and not answer.undecided) or time.monotonic() >= deadline:
                return answer
            time.sleep(_POLL_S)

    def _new_reports(self) -> dict[Path, Report]:
        """Reports that are newer than this object."""
        return {file: report for file, (beat, report) in self._read().items() if beat != self._beats_before.get(file)}

    def _beats(self) -> dict[Path, int]:
        return {file: beat for file, (beat, _) in self._read().items()}

    def _read(self) -> dict[Path, tuple[int, Report]]:
        return dict(_read_reports(self._report_folders))


def _summarise(reports: list[Report], serves: Callable[[Report], bool], name: str, token: str) -> Answer:
    not_serving = [report for report in reports if not serves(report)]
    refused = [report.refused[name] for report in not_serving if name in report.refused]
    reasons = tuple(reason for stamp, reason in refused if stamp == token)
    return Answer(len(reports) - len(not_serving), reasons, len(not_serving) - len(reasons))


def _read_reports(folders: list[Path]) -> Iterator[tuple[Path, tuple[int, Report]]]:
    for file in [file for folder in folders for file in folder.glob("[!.]*.json")]:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            table = json.loads(file.read_text("utf-8"))
            split = None if table["split"] is None else (str(table["split"][0]), float(table["split"][1]))
            refused = {folder: (stamp, reason) for folder, (stamp, reason) in table["refused"].items()}
            yield file, (int(table["beat"]), Report(table["live"], split, table["shadow"], refused))


def _report_folders(registry: Path, state_dir: Path) -> list[Path]:
    key = hashlib.sha256(str(registry.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return [registry / _FOLDER, state_dir / "workers" / key]


def _remove_stale(folder: Path, before: float) -> None:
    for file in folder.iterdir():
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < before:
                file.unlink()
