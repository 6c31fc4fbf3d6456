"""Checks beyond the types of events: lengths, labels, times. Blocks the event loop for a few milliseconds at most."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence

from app.api.v1.event_schemas import FIRST_MS, Engagement, Event, Impression, latest_ms
from app.errors import Fault, InvalidRequestError
from app.http.decoding import pointer
from app.settings import Settings

_MAX_FAULTS = 20
_HOLD_S = 0.002  # longest time between two pauses; the event loop has other work, too
_IDS = ("task", "user_id", "country", "source_entity_id", "ranking_id", "entity_id", "kind")
_UNITS = (("seconds", 1e3), ("microseconds", 1e-3), ("nanoseconds", 1e-6))


class CooperativePause:
    """Inside a long loop, `await pause()` lets other tasks run if this one has blocked the event loop for 2 ms."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def __call__(self) -> None:
        """Let other tasks run, if it is time."""
        if time.perf_counter() - self._since > _HOLD_S:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


async def check(posted: Sequence[Event], settings: Settings, now_ms: float, pause: CooperativePause) -> None:
    """Check events. Raises `InvalidRequestError` with the first faults. `now_ms`: ms since 1970 UTC."""
    faults: list[Fault] = []
    for place, event in enumerate(posted):
        faults += _faults(event, place, settings, now_ms)
        if len(faults) >= _MAX_FAULTS:
            break
        await pause()
    if faults:
        raise InvalidRequestError(*faults[:_MAX_FAULTS])


def implausible(timestamp: float, now_ms: float) -> str | None:
    """Why `timestamp` is implausible; None if it lies between 1990 and the end of the day after `now_ms`.

    >>> implausible(1_763_900_000, now_ms=1_764_000_000_000)
    '1763900000 looks like seconds: expected milliseconds since 1970 UTC, here 1763900000000'
    """
    if _is_plausible(timestamp, now_ms):
        return None
    given = f"{timestamp:.17g}"
    for unit, milliseconds in _UNITS:
        if _is_plausible(timestamp * milliseconds, now_ms):
            corrected = f"{timestamp * milliseconds:.0f}"
            return f"{given} looks like {unit}: expected milliseconds since 1970 UTC, here {corrected}"
    side = "before 1990" if timestamp < FIRST_MS else "after tomorrow"
    return f"{given} is {side}: expected milliseconds since 1970 UTC"


def _is_plausible(timestamp: float, now_ms: float) -> bool:
    return FIRST_MS <= timestamp <= latest_ms(now_ms)


def _faults(event: Event, place: int, settings: Settings, now_ms: float) -> Iterator[Fault]:
    for name in _IDS:
        yield from _too_long(getattr(event, name, None), settings.max_id_chars, place, name)
    yield from _too_long(event.query, settings.max_query_chars, place, "query")
    if (why := implausible(event.timestamp, now_ms)) is not None:
        yield Fault(pointer(place, "timestamp"), "implausible_time", why)
    if isinstance(event, Impression):
        yield from _shown_faults(event.shown, place, settings)
    elif not _is_grade(event):
        label = f"{event.label:.17g}"
        yield Fault(pointer(place, "label"), "wrong_value", f"expected a finite number of at least 0, got {label}")


def _is_grade(event: Engagement) -> bool:
    return event.label >= 0 and math.isfinite(event.label)


def _shown_faults(shown: Sequence[str], place: int, settings: Settings) -> Iterator[Fault]:
    max_entries, max_chars = settings.max_candidates, settings.max_id_chars
    if len(shown) > max_entries:
        yield Fault(pointer(place, "shown"), "too_many", f"{len(shown)} entries, the limit is {max_entries}")
        return
    for at in [at for at, entity_id in enumerate(shown) if len(entity_id) > max_chars][:_MAX_FAULTS]:
        yield from _too_long(shown[at], max_chars, place, "shown", at)


def _too_long(value: str | None, limit: int, *at: str | int) -> Iterator[Fault]:
    if value is not None and len(value) > limit:
        yield Fault(pointer(*at), "too_long", f"{len(value)} characters, the limit is {limit}")
