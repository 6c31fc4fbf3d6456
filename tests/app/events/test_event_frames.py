"""Each frame whose bytes are whole is read, once and in order, and nothing else, whatever was done to the rest.

Holds for the present format and earlier ones. `whole` below decides what must be read: a frame is whole where its
bytes, which no other frame has, still stand together.
"""

from __future__ import annotations

import random

import pytest
from damage import Damage, damaged, damages
from hypothesis import example, given, settings
from hypothesis import strategies as st
from old_frames import old_frame

from app.events.frames import HEADER_BYTES, LONGEST, MARKER, Frame, Gap, frame, scan

RUN = 0x1234567890ABCDEF
PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=12)


def framed(payloads: list[bytes]) -> list[bytes]:
    return [frame(payload, RUN, number) for number, payload in enumerate(payloads)]


def read(data: bytes) -> list[bytes]:
    return [found.payload for found in scan(data) if isinstance(found, Frame)]


def covers(data: bytes) -> None:
    """Frames and gaps follow each other from the first byte to the last; gaps are never empty."""
    at = 0
    for found in scan(data):
        assert found.start == at < found.end
        at = found.end
    assert at == len(data)


@given(PAYLOADS)
@example(
    [MARKER, b"\xfe", b"\xfe\xff\xff\xfe\x01\x00", frame(b"in it", RUN, 7), old_frame(b"in it"), b"\0" * 60, b"\n"]
)
@settings(deadline=None)
def test_any_payload_comes_back(payloads: list[bytes]) -> None:
    data = b"".join(framed(payloads))
    assert [(f.payload, f.run, f.number) for f in scan(data) if isinstance(f, Frame)] == [
        (payload, RUN, number) for number, payload in enumerate(payloads)
    ]
    covers(data)


@given(PAYLOADS, damages("flip", "cut", "insert"))
@settings(deadline=None, max_examples=200)
def test_damage_costs_the_frames_that_it_touches(payloads: list[bytes], done: list[Damage]) -> None:
    frames = framed([*payloads, b"never damaged"])
    data = damaged(b"".join(frames[:-1]), done) + frames[-1]
    whole = [place for place, one in enumerate(frames) if one in data]
    found = [one for one in scan(data) if isinstance(one, Frame)]
    assert [one.number for one in found if one.number in whole] == whole
    assert {(one.number, one.payload) for one in found} <= set(enumerate([*payloads, b"never damaged"]))
    covers(data)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=12), damages("flip", "cut", "insert"))
@settings(deadline=None, max_examples=200)
def test_damage_in_a_log_of_earlier_versions_costs_the_frames_that_it_touches(
    values: list[int], done: list[Damage]
) -> None:
    payloads = [b'{"type":"engagement","number":%d,"of":%d}' % (n, value) for n, value in enumerate(values)]
    frames = [old_frame(payload) for payload in payloads]
    data = damaged(b"".join(frames[:-1]), done) + frames[-1]
    found = read(data)
    assert [one for one in found if old_frame(one) in data] == [one for one in payloads if old_frame(one) in data]
    assert set(found) <= set(payloads)
    covers(data)


@pytest.mark.parametrize("make", [frame, old_frame])
def test_each_single_bit_costs_one_frame(make: object) -> None:
    """Every bit of the middle one of three: marker, length, run, number, checksums, payload."""
    first, middle, last = (b'{"event":"number %d"}' % number for number in range(3))
    before, hit, behind = map(make if callable(make) else frame, (first, middle, last))
    for bit in range(8 * len(hit)):
        flipped = bytearray(hit)
        flipped[bit // 8] ^= 1 << bit % 8
        assert read(before + bytes(flipped) + behind) == [first, last], bit


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\xff0", b"0"])
def test_long_damaged_ranges_are_skipped(filler: bytes) -> None:
    """What a disk leaves of a lost megabyte, without a second of work on it."""
    first, last = frame(b"first", RUN, 0), frame(b"last", RUN, 5)
    found = list(scan(first + filler * 2**20 + last))
    assert [type(one) for one in found] == [Frame, Gap, Frame]
    old = old_frame(b"first") + filler * 2**20 + old_frame(b"last")
    assert read(old) == [b"first", b"last"]


@pytest.mark.parametrize("size", [1, 7, 60, 5000])
def test_a_tail_is_torn_where_the_frame_goes_on_behind_the_end_and_only_there(size: int) -> None:
    first, last = frame(b"first", RUN, 0), frame(random.Random(0).randbytes(size), RUN, 1)
    for cut in range(1, len(last), 1 + size // 50):
        assert list(scan(first + last[:cut]))[1:] == [Gap(len(first), len(first) + cut, torn=True)]
    for at in (0, 3, 12, HEADER_BYTES - 1, HEADER_BYTES, len(last) - 1):
        flipped = bytearray(last)
        flipped[at] ^= 4
        assert list(scan(first + flipped))[1:] == [Gap(len(first), len(first) + len(last), torn=False)], at


def test_zeros_behind_the_last_frame_are_damage_not_a_torn_tail() -> None:
    """A loss of power leaves them, but so does a disk that loses a frame."""
    first = frame(b"first", RUN, 0)
    assert list(scan(first + bytes(4096)))[1:] == [Gap(len(first), len(first) + 4096)]


@pytest.mark.parametrize("payload", [b"", b"x" * (LONGEST + 1)], ids=["empty", "too long"])
def test_an_empty_or_too_long_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="1 to"):
        frame(payload)
