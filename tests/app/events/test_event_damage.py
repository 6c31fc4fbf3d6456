"""When the log on disk is damaged, all other events are exported once; what is missing is counted, located and kept
aside.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from damage import Damage as ByteDamage
from damage import damaged, damages
from hypothesis import given, settings
from old_frames import old_frame
from typer.testing import CliRunner

from app.cli import app
from app.events.export import export
from app.events.frames import frame
from app.events.log import EventLog
from app.events.reading import Damage
from app.events.segments import Segment, recover, segments


def event(number: int) -> bytes:
    return b'{"type":"engagement","timestamp":1700000000000,"task":"search","entity_id":"e%d","label":1}' % number


def log_of(folder: Path, *counts: int) -> list[list[bytes]]:
    """Segments of a process that is gone, and their frames as they lie there."""
    made, number = [], 0
    for count in counts:
        segment = Segment(folder)
        segment.append([event(number + place) for place in range(count)])
        segment.close()
        number += count
        at, frames = 0, []
        data = segment.path.read_bytes()
        for _ in range(count):
            end = data.find(b"\xff", at + 1) if data.find(b"\xff", at + 1) > 0 else len(data)
            frames.append(data[at:end])
            at = end
        made.append(frames)
    return made


def next_life(folder: Path) -> None:
    log = EventLog(folder)
    asyncio.run(log.append([b'"the next life"']))
    log.close()


def exported(folder: Path, out: Path) -> tuple[list[bytes], list[Damage]]:
    """What an export adds, and what it reports."""
    before = len(out.read_bytes().splitlines()) if out.exists() else 0
    reported: list[Damage] = []
    export(folder, out, report=reported.append)
    return out.read_bytes().splitlines()[before:], reported


def flip(path: Path, at: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def test_one_flipped_bit_costs_one_event_of_a_thousand(tmp_path: Path) -> None:
    """The fault as it was found: the bit took 990, and neither the service nor the export said so."""
    folder, out = tmp_path / "events", tmp_path / "out"
    (frames,) = log_of(folder, 1000)
    (path,) = segments(folder)
    start = sum(map(len, frames[:10]))
    flip(path, start + 60)
    assert recover(folder) == 0
    next_life(folder)
    lines, reported = exported(folder, out)
    assert lines == [*(event(n) for n in range(1000) if n != 10), b'"the next life"']
    assert [(one.path, one.start, one.end, one.missing) for one in reported] == [
        (path, start, start + len(frames[10]), 1)
    ]
    (copy,) = (folder / "quarantine").iterdir()
    assert copy.name == f"{path.stem}-{start}.damaged"
    assert copy.read_bytes() == path.read_bytes()[start : start + len(frames[10])]
    assert exported(folder, out) == ([], [])


@pytest.mark.parametrize(
    ("hits", "missing"),
    [([0], 1), ([4], 1), ([9], None), ([4, 5], 2), ([2, 6], 2), ([0, 1, 2], 3), ([8, 9], None), ([*range(10)], None)],
)
def test_damaged_events_are_counted_wherever_they_lie(tmp_path: Path, hits: list[int], missing: int | None) -> None:
    folder = tmp_path / "events"
    (frames,) = log_of(folder, 10)
    (path,) = segments(folder)
    for hit in hits:
        flip(path, sum(map(len, frames[:hit])) + 3)  # in the length
    lines, reported = exported(folder, tmp_path / "out")
    assert lines == [event(n) for n in range(10) if n not in hits]
    counts = [one.missing for one in reported]
    assert (None if None in counts else sum(count or 0 for count in counts)) == missing


def test_two_segments_each_lose_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    parts = log_of(folder, 6, 6, 6)
    for path, frames in zip(segments(folder)[:2], parts, strict=False):
        flip(path, len(frames[0]) + 70)
    lines, reported = exported(folder, tmp_path / "out")
    assert lines == [event(n) for n in range(18) if n not in (1, 7)]
    assert [(one.path, one.missing) for one in reported] == [(path, 1) for path in segments(folder)[:2]]


def test_a_segment_of_another_name_is_the_same_segment(tmp_path: Path) -> None:
    folder, out = tmp_path / "events", tmp_path / "out"
    log_of(folder, 3)
    exported(folder, out)
    (path,) = segments(folder)
    path.rename(folder / "restored from a copy.log")
    (folder / "and again.log").write_bytes((folder / "restored from a copy.log").read_bytes())
    assert exported(folder, out) == ([], [])
    assert len(exported(folder, tmp_path / "other")[0]) == 3


def test_frames_that_are_gone_without_a_trace_are_missing_too(tmp_path: Path) -> None:
    """Whole frames cut out leave no damaged byte; their numbers tell."""
    folder = tmp_path / "events"
    (frames,) = log_of(folder, 8)
    (path,) = segments(folder)
    path.write_bytes(b"".join(frames[:2] + frames[5:]))
    lines, reported = exported(folder, tmp_path / "out")
    assert lines == [event(n) for n in (0, 1, 5, 6, 7)]
    assert [one.missing for one in reported] == [3]


def test_a_segment_of_an_earlier_version_is_read_around_its_damage(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    path = folder / "00000000000000000001-7.log"
    path.write_bytes(b"".join(old_frame(event(n)) for n in range(6)))
    flip(path, 2 * len(old_frame(event(0))))  # the length of the third
    next_life(folder)
    lines, reported = exported(folder, tmp_path / "out")
    assert lines == [*(event(n) for n in range(6) if n != 2), b'"the next life"']
    assert [one.missing for one in reported] == [None]
    assert exported(folder, tmp_path / "out") == ([], [])


def test_zeros_left_by_a_power_failure_lose_no_event_and_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    log_of(folder, 4)
    (path,) = segments(folder)
    with path.open("ab") as stream:
        stream.write(bytes(8192))
    next_life(folder)
    lines, reported = exported(folder, tmp_path / "out")
    assert lines == [*map(event, range(4)), b'"the next life"']
    assert [one.end - one.start for one in reported] == [8192]


@pytest.mark.parametrize("which", ["older", "newest"])
def test_a_torn_tail_is_cut_from_the_newest_segment_of_a_process_only(tmp_path: Path, which: str) -> None:
    folder = tmp_path / "events"
    log_of(folder, 3, 3)
    path = segments(folder)[0 if which == "older" else 1]
    size = path.stat().st_size
    with path.open("ab") as stream:
        stream.write(frame(b"half of it comes", 77, 0)[:-4])
    cut = recover(folder)
    lines, reported = exported(folder, tmp_path / "out")
    assert lines == [*map(event, range(6))]
    assert (cut > 0, len(reported)) == ((False, 1) if which == "older" else (True, 0))
    assert (path.stat().st_size == size) == (which == "newest")


@given(damages("flip", "cut", "insert"), damages("flip", "cut", "insert"))
@settings(deadline=None, max_examples=60)
def test_exports_between_damages_have_every_whole_event_once(
    tmp_path_factory: pytest.TempPathFactory, first: list[ByteDamage], then: list[ByteDamage]
) -> None:
    """Damage, export, damage to what was exported too, a further export: nothing twice or lost besides."""
    folder = tmp_path_factory.mktemp("blows")
    (frames,) = log_of(folder, 8)
    (path,) = segments(folder)
    half = b"".join(frames[:4])
    path.write_bytes(damaged(half, first))
    lines, _ = exported(folder, folder / "out")
    left = [event(n) for n in range(4) if frames[n] in path.read_bytes()]
    assert [line for line in lines if line in left] == left
    path.write_bytes(damaged(path.read_bytes(), then) + b"".join(frames[4:]))
    recover(folder)
    more, _ = exported(folder, folder / "out")
    assert sorted({*lines, *more}) == sorted([*lines, *more])
    assert more[-4:] == [event(n) for n in range(4, 8)]


def test_the_command_says_what_is_missing_and_does_not_end_well(tmp_path: Path) -> None:
    folder, out = tmp_path / "events", tmp_path / "out.jsonl"
    (frames,) = log_of(folder, 5)
    (path,) = segments(folder)
    flip(path, len(frames[0]) + 80)
    arguments = ["events", "export", str(out), "--raw", "--state-dir", str(tmp_path)]
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 1
    assert out.read_bytes().splitlines() == [event(n) for n in (0, 2, 3, 4)]
    said = " ".join(ended.stderr.split())
    assert f"{path.name}:{len(frames[0])}: {len(frames[1])} damaged bytes, 1 events missing" in said
    assert "quarantine" in said
    assert CliRunner().invoke(app, arguments).exit_code == 0


def test_a_segment_that_cannot_be_read_is_told_and_the_others_exported(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    (folder / "00000000000000000001-7.log").mkdir(parents=True)  # a folder: unreadable for root, too
    log_of(folder, 3)
    lines, reported = exported(folder, tmp_path / "out")
    assert lines == [*map(event, range(3))]
    assert "it cannot be read" in str(reported[0])
