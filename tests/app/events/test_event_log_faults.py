"""When the disk or the code under the event log fails, every append ends, none is acknowledged that is not on disk,
files do not pile up, and the log recovers by itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import EventsUnavailableError
from app.events import log as log_module
from app.events.export import export
from app.events.log import EventLog
from app.events.segments import Segment, recover, segments

OS = "app.events.segments.os."
WAIT_S = 20  # an append that hangs fails the test instead of the run
REFUSED = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS]


async def append(log: EventLog, *payloads: bytes) -> None:
    await asyncio.wait_for(log.append(payloads), WAIT_S)


async def refused(log: EventLog, *payloads: bytes) -> str:
    with pytest.raises(EventsUnavailableError) as raised:
        await append(log, *payloads)
    return raised.value.detail


def fails(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def exported(folder: Path) -> list[bytes]:
    out = folder.parent / "out"
    export(folder, out, report=lambda damage: pytest.fail(str(damage)))
    return out.read_bytes().splitlines()


@pytest.mark.parametrize("number", REFUSED)
@pytest.mark.parametrize("call", ["write", "fdatasync", "open", "fsync"])
@pytest.mark.parametrize("first", [True, False], ids=["from the first event", "after an event"])
def test_refusals_leave_no_files_and_read_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str, first: bool
) -> None:
    """Fifty refusals in a row; then the disk has room, and the next event is kept."""
    folder, recovered = tmp_path / "events", []
    monkeypatch.setattr(log_module, "recover", lambda folder: recovered.append(folder) or recover(folder))

    async def story() -> None:
        log = EventLog(folder, segment_bytes=10 if call in ("open", "fsync") else 2**20)
        if not first:
            await append(log, b"before")
        with monkeypatch.context() as broken:
            broken.setattr(OS + call, fails(OSError(number, os.strerror(number))))
            for _ in range(50):
                assert os.strerror(number) in await refused(log, b"refused")
                assert log.failing
        await append(log, b"after")
        assert not log.failing
        await asyncio.to_thread(log.close)

    asyncio.run(story())
    assert len(segments(folder)) <= 2 - first
    assert len(recovered) == 1
    assert exported(folder) == [b"after"] if first else [b"before", b"after"]


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), RuntimeError("bug"), SystemExit(3), KeyError("k")])
@pytest.mark.parametrize("place", ["frame", "Segment", "recover", "os.fdatasync"])
def test_any_exception_of_the_writer_reaches_the_waiting_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, place: str
) -> None:
    where = log_module.__name__ if place in ("Segment", "recover") else "app.events.segments"

    async def story() -> None:
        log = EventLog(tmp_path / "events")
        with monkeypatch.context() as broken:
            broken.setattr(f"{where}.{place}", fails(error))
            for _ in range(3):
                assert "could not be stored" in await refused(log, b"refused")
        await append(log, b"after")
        await asyncio.to_thread(log.close)

    asyncio.run(story())
    assert exported(tmp_path / "events") == [b"after"]


def test_a_bad_event_fails_its_own_caller_only(tmp_path: Path) -> None:
    async def story() -> None:
        log = EventLog(tmp_path / "events")
        good, bad = await asyncio.gather(append(log, b"good"), append(log, b"with it", b""), return_exceptions=True)
        assert good is None
        assert isinstance(bad, ValueError)
        await asyncio.to_thread(log.close)

    asyncio.run(story())
    assert exported(tmp_path / "events") == [b"good"]


def test_a_writer_thread_that_cannot_start_refuses_the_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        log = EventLog(tmp_path / "events")
        with monkeypatch.context() as broken:
            broken.setattr(threading.Thread, "start", fails(RuntimeError("can't start new thread")))
            assert "no thread" in await refused(log, b"refused")
        await append(log, b"after")
        await asyncio.to_thread(log.close)

    asyncio.run(story())
    assert exported(tmp_path / "events") == [b"after"]


def test_a_partial_write_is_undone_and_the_file_is_used_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes the first twenty frames of a group, then none; then room, then none, again and again."""
    folder, real = tmp_path / "events", os.write

    def half(file: int, data: memoryview) -> int:
        if len(data) < 2000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[: len(data) // 2])

    async def story() -> None:
        log = EventLog(folder)
        for turn in range(5):
            await append(log, b"kept %d" % turn)
            with monkeypatch.context() as broken:
                broken.setattr(OS + "write", half)
                await refused(log, *(b"refused %d" % n for n in range(60)))
        await asyncio.to_thread(log.close)

    asyncio.run(story())
    assert len(segments(folder)) == 1
    assert exported(folder) == [b"kept %d" % turn for turn in range(5)]


def test_a_file_is_closed_when_a_partial_write_cannot_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is ever written behind half a frame."""
    folder, real = tmp_path / "events", os.write

    def half(file: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(errno.EIO, "Input/output error")
        return real(file, data[:70])

    async def story() -> None:
        log = EventLog(folder)
        await append(log, b"before")
        with monkeypatch.context() as broken:
            broken.setattr(OS + "write", half)
            broken.setattr(OS + "ftruncate", fails(OSError(errno.EIO, "Input/output error")))
            await refused(log, b"r" * 100)
        await append(log, b"after")
        await asyncio.to_thread(log.close)

    asyncio.run(story())
    assert len(segments(folder)) == 2
    out = tmp_path / "out"
    export(folder, out)
    assert out.read_bytes().splitlines() == [b"before", b"after"]


def test_an_export_that_read_what_was_then_refused_misses_nothing_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export comes between a write and its failed sync; the next event takes the same place in the file."""
    folder, out = tmp_path / "events", tmp_path / "out"

    def exports_then_fails(file: int) -> None:
        export(folder, out)
        raise OSError(errno.ENOSPC, "No space left on device")

    async def story() -> None:
        log = EventLog(folder)
        await append(log, b"before")
        with monkeypatch.context() as broken:
            broken.setattr(OS + "fdatasync", exports_then_fails)
            await refused(log, b"refused")
        await append(log, b"another")
        await asyncio.to_thread(log.close)

    asyncio.run(story())
    assert set(exported(folder)) - {b"refused"} == {b"before", b"another"}


def test_a_segment_that_nobody_may_read_does_not_stop_new_events(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    (folder / "00000000000000000001-7.log").mkdir(parents=True)  # unreadable for root, too

    async def story() -> None:
        log = EventLog(folder)
        await append(log, b"kept")
        await asyncio.to_thread(log.close)

    asyncio.run(story())
    assert len(segments(folder)) == 2


def test_a_file_whose_creation_cannot_be_synced_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OS + "fsync", fails(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input"):
        Segment(tmp_path)
    assert list(tmp_path.iterdir()) == []
