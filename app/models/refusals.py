"""The model folders that may not serve, with reasons and retry times. Loads nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.errors import UnirankError
from app.models.stamps import Stamp

_CHANGED_S, _CHANGED_MAX_S = 0.5, 4.0  # pause before a changed folder is tried again
_UNCHANGED_S, _UNCHANGED_MAX_S = 30.0, 600.0  # … and an unchanged one: a slow disk or CPU may have been the reason
_DURATION_FACTOR = 4.0  # the pause is at least this many times the duration of the failed attempt


@dataclass(frozen=True, slots=True)
class Refusal:
    """A failed attempt: the stamp of the folder, the reason, and the number of consecutive failures."""

    stamp: Stamp
    reason: str
    times: int
    at: float
    took_s: float

    def pause_s(self, changed: bool) -> float:
        """Seconds until the next attempt; longer after each failure."""
        first, most = (_CHANGED_S, _CHANGED_MAX_S) if changed else (_UNCHANGED_S, _UNCHANGED_MAX_S)
        return max(min(first * 2.0 ** min(self.times - 1, 10), most), _DURATION_FACTOR * self.took_s)


class Refusals:
    """Refusals by the full path of a folder, since two folders may have the same name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.known: dict[Path, Refusal] = {}
        self._clock = clock

    def now(self) -> float:
        """The current time, for the `since` of `note`."""
        return self._clock()

    def note(self, stamp: Stamp, reason: str, since: float) -> None:
        """Note that a folder with this stamp may not serve; `since`: when the attempt started."""
        previous, now = self.known.get(stamp.folder), self._clock()
        times = 1 if previous is None else previous.times + 1
        self.known[stamp.folder] = Refusal(stamp, reason, times, now, now - since)

    def forget(self, folder: Path) -> None:
        """Forget a folder, because it may serve."""
        self.known.pop(folder, None)

    def waits(self, stamp: Stamp) -> bool:
        """Whether the folder failed before and must not be tried again yet."""
        refusal = self.known.get(stamp.folder)
        return refusal is not None and self._clock() < refusal.at + refusal.pause_s(refusal.stamp != stamp)

    def reason(self, folder: Path) -> str | None:
        """Why a folder may not serve; None = no refusal is known."""
        refusal = self.known.get(folder)
        return None if refusal is None else refusal.reason

    def tokens(self) -> dict[Path, tuple[str, str]]:
        """By folder: the token of its stamp at the last attempt, and the reason."""
        return {folder: (refusal.stamp.token, refusal.reason) for folder, refusal in self.known.items()}


def reason_of(error: Exception) -> str:
    """The message of an error as one line."""
    text = error.detail if isinstance(error, UnirankError) else str(error)
    return " ".join(text.split()) or type(error).__name__
