"""The files through which a request, or a training row, is passed on: seen by a profiler. Asserts nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]


@contextmanager
def path_through(files: Sequence[str]) -> Iterator[list[str]]:
    """The files in the order in which they are entered, in this thread: a file is entered where another of the files
    calls a function of it, the first one wherever its call comes from. Calls of one file in a row count once.

    A coroutine that resumes is not called again.
    """
    entered: list[str] = []
    known = {str(ROOT / file): file for file in files}
    running: set[FrameType] = set()  # kept, so that no other frame gets the identity of one that ended

    def profile(frame: FrameType, event: str, _: object) -> None:
        file = known.get(frame.f_code.co_filename)
        if event != "call" or file is None or frame in running:
            return
        running.add(frame)
        source = caller_of(frame)
        if source != file and (source is not None or file == files[0]) and (not entered or entered[-1] != file):
            entered.append(file)

    def caller_of(frame: FrameType) -> str | None:
        """The nearest of the files that the call came from, through any library."""
        caller = frame.f_back
        while caller is not None and caller.f_code.co_filename not in known:
            caller = caller.f_back
        return None if caller is None else known[caller.f_code.co_filename]

    sys.setprofile(profile)
    try:
        yield entered
    finally:
        sys.setprofile(None)
