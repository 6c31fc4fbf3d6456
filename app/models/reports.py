"""What every worker serves, as one small file each that is written again each second; commands read them to know
whether what they named is served. Below the registry's folder, so that all its replicas are seen; in the state folder
where that one may only be read. Decides nothing.
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
_LEFT_BEHIND_S = 60.0  # a file that is so much older than a new one is that of a worker that was killed
_SILENT_S = 5.0  # a worker that writes nothing for so long is not there
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Report:
    """Versions of what one worker serves, the share of the split; token and reason of refusals, by name of a folder."""

    live: str | None
    split: tuple[str, float] | None = None
    shadow: str | None = None
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)


class Reporter:
    """The file of one worker. What cannot be written is left out: reports are of use, not of need."""

    def __init__(self, registry: Path, state_dir: Path) -> None:
        self._registry = registry
        self._folders = _places(registry, state_dir)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}.json"
        self._beat = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, report: Callable[[], Report]) -> None:
        """Write what `report` returns, now and each second."""
        self._task = asyncio.create_task(self._run(report))

    async def stop(self) -> None:
        """This worker ends: write no more, and remove its file."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._remove)

    async def _run(self, report: Callable[[], Report]) -> None:
        while True:
            await asyncio.to_thread(self.write, report())
            await asyncio.sleep(WRITE_INTERVAL_S)

    def write(self, report: Report) -> None:
        """Say that this worker lives and serves that; to nobody where there are no models to move between."""
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
                folder.rmdir()  # unless others are in it

    def _write(self, folder: Path, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{self._name}"
        new.write_text(text, "utf-8")
        new.replace(folder / self._name)
        if self._beat == 1:
            _clear(folder, (folder / self._name).stat().st_mtime - _LEFT_BEHIND_S)


@dataclass(frozen=True, slots=True)
class Answer:
    """How many workers serve what was asked for, why others do not, and how many have not said either."""

    confirmed: int = 0
    refused: tuple[str, ...] = ()
    undecided: int = 0


class Workers:
    """The workers that follow a registry, as a command sees them. Made before what they are asked about is written."""

    def __init__(self, registry: Path, state_dir: Path) -> None:
        self._places = _places(registry, state_dir)
        self._before = self._beats()

    def wait(self, serves: Callable[[Report], bool], name: str, token: str, wait_s: float) -> Answer:
        """What they say, once all of them have said it, or it is too late. A refusal of the folder
        of that name counts where the folder is as it was then, which is what `token` stands for."""
        now = time.monotonic()
        silent, late = now + min(_SILENT_S, wait_s), now + wait_s
        while True:
            known, heard = self._read(), self._heard()
            answer = _answer(list(heard.values()), serves, name, token)
            everybody = len(heard) == len(known) or time.monotonic() >= silent
            if (everybody and not answer.undecided) or time.monotonic() >= late:
                return answer
            time.sleep(_POLL_S)

    def _heard(self) -> dict[Path, Report]:
        """Those that have reported since."""
        return {file: report for file, (beat, report) in self._read().items() if beat != self._before.get(file)}

    def _beats(self) -> dict[Path, int]:
        return {file: beat for file, (beat, _) in self._read().items()}

    def _read(self) -> dict[Path, tuple[int, Report]]:
        return dict(_reports(self._places))


def _answer(heard: list[Report], serves: Callable[[Report], bool], name: str, token: str) -> Answer:
    others = [report for report in heard if not serves(report)]
    refused = [report.refused[name] for report in others if name in report.refused]
    reasons = tuple(reason for stamp, reason in refused if stamp == token)
    return Answer(len(heard) - len(others), reasons, len(others) - len(reasons))


def _reports(places: list[Path]) -> Iterator[tuple[Path, tuple[int, Report]]]:
    for file in [file for place in places for file in place.glob("[!.]*.json")]:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            table = json.loads(file.read_text("utf-8"))
            split = None if table["split"] is None else (str(table["split"][0]), float(table["split"][1]))
            refused = {folder: (stamp, reason) for folder, (stamp, reason) in table["refused"].items()}
            yield file, (int(table["beat"]), Report(table["live"], split, table["shadow"], refused))


def _places(registry: Path, state_dir: Path) -> list[Path]:
    own = hashlib.sha256(str(registry.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return [registry / _FOLDER, state_dir / "workers" / own]


def _clear(folder: Path, before: float) -> None:
    for file in folder.iterdir():
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < before:
                file.unlink()
