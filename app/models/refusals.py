"""Which model folders may not serve, why, and when each is tried again. Tries nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.errors import UnirankError
from app.models.stamps import Stamp

_CHANGED_S, _CHANGED_MOST_S = 0.5, 4.0  # pause before a folder that has changed is tried again
_SAME_S, _SAME_MOST_S = 30.0, 600.0  # … and one that has not: a disk or a busy processor may have been the reason
_SHARE = 4.0  # that many times as long as a try took passes before the next


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a folder was when it was tried last, why it may not serve, and how often in a row it failed."""

    stamp: Stamp
    reason: str
    times: int
    at: float
    took_s: float

    def pause_s(self, changed: bool) -> float:
        """How long it is left alone; longer each time."""
        first, most = (_CHANGED_S, _CHANGED_MOST_S) if changed else (_SAME_S, _SAME_MOST_S)
        return max(min(first * 2.0 ** min(self.times - 1, 10), most), _SHARE * self.took_s)


class Refusals:
    """By the whole path of a folder: two may have the same name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.known: dict[Path, Refusal] = {}
        self._clock = clock

    def now(self) -> float:
        """The time by which `note` measures how long a try took."""
        return self._clock()

    def note(self, stamp: Stamp, reason: str, since: float) -> None:
        """A folder with this stamp, tried since then, may not serve."""
        before, now = self.known.get(stamp.folder), self._clock()
        times = 1 if before is None else before.times + 1
        self.known[stamp.folder] = Refusal(stamp, reason, times, now, now - since)

    def forget(self, folder: Path) -> None:
        """It may serve."""
        self.known.pop(folder, None)

    def waits(self, stamp: Stamp) -> bool:
        """Whether it failed before and is not to be tried again yet."""
        known = self.known.get(stamp.folder)
        return known is not None and self._clock() < known.at + known.pause_s(known.stamp != stamp)

    def reason(self, folder: Path) -> str | None:
        """Why a folder may not serve; None = nothing is known against it."""
        known = self.known.get(folder)
        return None if known is None else known.reason

    def tokens(self) -> dict[Path, tuple[str, str]]:
        """By folder, the token of its stamp when it was tried, and why it may not serve."""
        return {folder: (refusal.stamp.token, refusal.reason) for folder, refusal in self.known.items()}


def reason_of(error: Exception) -> str:
    """One line."""
    text = error.detail if isinstance(error, UnirankError) else str(error)
    return " ".join(text.split()) or type(error).__name__
