"""An acknowledged event survives kill -9; incomplete ends of files are cut off; an export has each event once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from damage import Damage, damaged, damages
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.cli import app
from app.errors import EventsUnavailableError
from app.events.export import export
from app.events.log import EventLog
from app.events.segments import Segment, frame, frames, recover, segments

WRITER = """
import asyncio, sys
from pathlib import Path
from app.events.log import EventLog

async def one(log, name, numbers):
    for number in numbers:
        await log.append([f"{name} {number}".encode()])
        print(name, number, flush=True)

async def main():
    log = EventLog(Path(sys.argv[1]), segment_bytes=2000)
    await asyncio.gather(*(one(log, f"{sys.argv[2]}{k}", range(100_000)) for k in range(4)))

asyncio.run(main())
"""


def exported(folder: Path, out: Path) -> list[bytes]:
    export(folder, out)
    return out.read_bytes().splitlines()


def keep(folder: Path, *payloads: bytes) -> None:
    log = EventLog(folder)
    asyncio.run(log.append(payloads))
    log.close()


def test_acknowledged_events_survive_sigkill(tmp_path: Path) -> None:
    """Three processes, each killed while four callers write; the export runs between the deaths, too."""
    folder, out = tmp_path / "events", tmp_path / "out.jsonl"
    acknowledged: list[bytes] = []
    for life in "abc":
        command = [sys.executable, "-c", WRITER, str(folder), life]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline() for _ in range(50)]
            time.sleep(0.05)
            writer.send_signal(signal.SIGKILL)
            acknowledged += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        exported(folder, out)
    keep(folder, b"the next life")
    lines = exported(folder, out)
    assert len(acknowledged) >= 150
    assert {line.strip() for line in acknowledged} <= set(lines)
    assert len(lines) == len(set(lines))
    assert lines[-1] == b"the next life"
    assert len(segments(folder)) > 3


def test_many_callers_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    real = os.fdatasync

    def slow(file: int) -> None:
        syncs.append(file)
        time.sleep(0.02)
        real(file)

    monkeypatch.setattr("app.events.segments.os.fdatasync", slow)

    async def everybody() -> None:
        log = EventLog(tmp_path)
        await asyncio.gather(*(log.append([str(number).encode()]) for number in range(200)))
        await asyncio.to_thread(log.close)

    asyncio.run(everybody())
    assert len(exported(tmp_path, tmp_path / "out")) == 200
    assert len(syncs) < 20


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_torn_tail_is_cut_and_nothing_else(tmp_path: Path, cut: int) -> None:
    segment = Segment(tmp_path)
    segment.append([b"first", b"other"])
    segment.close()
    whole = segment.path.read_bytes()
    segment.path.write_bytes(whole[:-cut])
    assert recover(tmp_path) == len(frame(b"other")) - cut if cut < len(frame(b"other")) else True
    left = [payload for _, payload in frames(segment.path)]
    assert left == ([b"first"] if cut <= len(frame(b"other")) else [])
    assert recover(tmp_path) == 0


def test_the_segment_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    segment = Segment(tmp_path)
    segment.append([b"kept"])
    with segment.path.open("ab") as stream:
        stream.write(b"half a fra")
    assert recover(tmp_path) == 0
    segment.close()
    assert recover(tmp_path) == len(b"half a fra")


@given(st.binary(max_size=80), st.integers(0, 60))
@settings(deadline=None, max_examples=200)
def test_random_bytes_at_the_end_are_never_read(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    """Whatever a disk made of the end of a file, nothing is read that was not written."""
    path = tmp_path_factory.mktemp("noise") / "segment.log"
    payloads = [f"event {number}".encode() for number in range(5)]
    whole = b"".join(map(frame, payloads))
    path.write_bytes(whole[:at] + noise)
    read = [payload for _, payload in frames(path)]
    assert read == payloads[: len(read)]
    assert len(read) >= at // len(frame(payloads[0]))


def written(folder: Path, count: int = 12) -> tuple[Path, list[bytes]]:
    """A segment of a process that is gone, and its payloads, of many lengths."""
    segment = Segment(folder)
    payloads = [f"event {number} {'x' * (number * 7 % 40)}".encode() for number in range(count)]
    segment.append(payloads)
    segment.close()
    return segment.path, payloads


@given(damages("flip", "cut", "insert"))
@settings(deadline=None, max_examples=150)
def test_damage_is_never_read_as_an_event(tmp_path_factory: pytest.TempPathFactory, done: list[Damage]) -> None:
    """What comes out was written, in that order and once; recovery and export agree, and go on afterwards."""
    folder = tmp_path_factory.mktemp("damaged")
    path, payloads = written(folder)
    path.write_bytes(damaged(path.read_bytes(), done))
    read = [payload for _, payload in frames(path)]
    left = iter(payloads)
    assert all(payload in left for payload in read)
    recover(folder)
    assert recover(folder) == 0
    keep(folder, b"the next life")
    assert exported(folder, folder / "out") == [*read, b"the next life"]
    assert export(folder, folder / "out") == 0


@given(damages("flip", "cut"))
@settings(deadline=None, max_examples=100)
def test_damage_after_an_export_gives_no_event_twice(
    tmp_path_factory: pytest.TempPathFactory, done: list[Damage]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path, payloads = written(folder)
    assert exported(folder, folder / "out") == payloads
    path.write_bytes(damaged(path.read_bytes(), done))
    recover(folder)
    keep(folder, b"the next life")
    assert exported(folder, folder / "out") == [*payloads, b"the next life"]


@given(damages("flip", "cut", "insert"))
@settings(deadline=None, max_examples=100)
def test_a_damaged_cursor_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, done: list[Damage]) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    written(folder)
    export(folder, folder / "out")
    cursor = folder / "out.cursor"
    cursor.write_bytes(damaged(cursor.read_bytes(), done))
    with contextlib.suppress(ValueError):
        export(folder, folder / "out")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"bytes": -1}', '{"bytes": 1e999}', '{"bytes": 1, "segments": 3}', "\xff"]
)
def test_a_file_that_is_not_a_cursor_is_refused_by_name(tmp_path: Path, text: str) -> None:
    keep(tmp_path / "events", b"one")
    export(tmp_path / "events", tmp_path / "out")
    (tmp_path / "out.cursor").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"out\.cursor: not what an export wrote"):
        export(tmp_path / "events", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "one\n"


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        log = EventLog(tmp_path)
        await log.append([b"before"])
        with monkeypatch.context() as broken:
            broken.setattr("app.events.segments.os.write", _full)
            with pytest.raises(EventsUnavailableError, match="No space left"):
                await log.append([b"refused"])
        await log.append([b"after"])
        await asyncio.to_thread(log.close)
        with pytest.raises(EventsUnavailableError):
            await log.append([b"too late"])

    asyncio.run(story())
    assert exported(tmp_path, tmp_path / "out") == [b"before", b"after"]


def _full(file: int, data: memoryview) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_partial_write_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment, real, calls = Segment(tmp_path), os.write, []

    def fills_up(file: int, data: memoryview) -> int:
        calls.append(len(data))
        return real(file, data[:7]) if len(calls) == 1 else _full(file, data)

    monkeypatch.setattr("app.events.segments.os.write", fills_up)
    with pytest.raises(OSError, match="No space"):
        segment.append([b"a payload of some length"])
    assert segment.path.stat().st_size == 0
    segment.close()


def test_empty_events_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 to"):
        frame(b"")


def test_an_export_continues_and_has_each_event_once(tmp_path: Path) -> None:
    folder, out = tmp_path / "events", tmp_path / "out.jsonl"
    keep(folder, b"one", b"two")
    assert exported(folder, out) == [b"one", b"two"]
    keep(folder, b"three")
    assert exported(folder, out) == [b"one", b"two", b"three"]
    assert export(folder, out) == 0


def test_an_export_that_died_between_file_and_cursor_writes_no_event_twice(tmp_path: Path) -> None:
    folder, out = tmp_path / "events", tmp_path / "out.jsonl"
    keep(folder, b"one")
    export(folder, out)
    keep(folder, b"two")
    with out.open("ab") as stream:
        stream.write(b"two\nthr")  # what a run wrote before it died
    assert exported(folder, out) == [b"one", b"two"]


def test_after_the_output_was_moved_away_the_export_has_new_events_only(tmp_path: Path) -> None:
    folder, out = tmp_path / "events", tmp_path / "out.jsonl"
    keep(folder, b"one")
    export(folder, out)
    out.rename(tmp_path / "taken.jsonl")
    keep(folder, b"two")
    assert exported(folder, out) == [b"two"]


def test_a_foreign_or_shortened_file_is_refused(tmp_path: Path) -> None:
    folder, out = tmp_path / "events", tmp_path / "out.jsonl"
    keep(folder, b"one", b"two")
    out.write_text("mine\n")
    with pytest.raises(ValueError, match="not a file that an export wrote"):
        export(folder, out)
    assert out.read_text() == "mine\n"
    other = tmp_path / "other.jsonl"
    export(folder, other)
    other.write_bytes(b"one")
    with pytest.raises(ValueError, match="part of it is missing"):
        export(folder, other)


def test_the_command_exports_the_log(tmp_path: Path) -> None:
    keep(tmp_path / "events", b'{"type": "engagement"}')
    out = tmp_path / "out.jsonl"
    done = CliRunner().invoke(app, ["events", "export", str(out), "--raw", "--state-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "1 new events" in done.output
    missing = CliRunner().invoke(app, ["events", "export", str(out), "--raw", "--state-dir", str(tmp_path / "none")])
    assert "no events there" in str(missing.exception)
