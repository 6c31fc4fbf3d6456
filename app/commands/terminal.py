"""How the command line talks: one line for an error, a spinner or a bar for work, tables for results.

What is printed is text: brackets in data, names and folders stay as they are. Style is set by objects, never by markup.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

# typer brings its own copy of click or uses click itself, by version; this is the root of its usage errors
USAGE: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
ENDED = 128  # plus the signal: the exit code of a command that a signal ended

out = Console(markup=False, emoji=False, highlight=False)
err = Console(stderr=True, markup=False, emoji=False, highlight=False)


def run(app: typer.Typer) -> None:
    """Run the command line; a known error becomes one line on standard error and exit code 2.

    A group without a command shows its help, and that is no error.
    """
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except KeyboardInterrupt:
        sys.exit(ENDED + signal.SIGINT)
    except typer.Abort:
        sys.exit(ENDED + signal.SIGINT)
    except USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(_message(error))
            sys.exit(0)
        _refuse(error)
    except (ValueError, OSError) as error:
        _refuse(error)


def _refuse(error: Exception) -> None:
    problem(_message(error))
    sys.exit(2)


def _message(error: Exception) -> str:
    return error.format_message() if isinstance(error, USAGE) and hasattr(error, "format_message") else str(error)


def problem(text: str) -> None:
    """One line on standard error: what cannot be done, or cannot be used."""
    _marked("error", "bold red", text)


def warning(text: str) -> None:
    """One line on standard error: what can be done, and may not be what was meant."""
    _marked("warning", "yellow", text)


def _marked(word: str, style: str, text: str) -> None:
    err.print(Text.assemble((word, style), " ", " ".join(text.split())), soft_wrap=True)


@contextmanager
def resumable(hint: str) -> Iterator[None]:
    """Work that a signal may end: what it started ends with it, and the last line says how to go on."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except (KeyboardInterrupt, _EndedError) as stop:
        number = signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM
        err.print(hint, soft_wrap=True)
        raise typer.Exit(ENDED + number) from stop
    finally:
        signal.signal(signal.SIGTERM, before)


class _EndedError(BaseException):
    """SIGTERM, on its way through the blocks that clean up."""


def _end(number: int, frame: FrameType | None) -> None:
    raise _EndedError


@contextmanager
def spinner(title: str) -> Iterator[Callable[[str], None]]:
    """A spinner whose text can be changed, for work of unknown length."""
    columns = (SpinnerColumn(), _text("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(title)
        yield lambda text: progress.update(task, description=f"{title}: {text}")


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar over steps, with a line of text behind it."""
    columns = (
        _text("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), _text("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(title, total=None, note="")

        def report(step: int, total: int, note: str) -> None:
            progress.update(task, completed=step, total=total, note=note)
            if note.startswith("validation"):
                progress.print(f"step {step}: {note}")

        yield report


def _text(template: str) -> ProgressColumn:
    return TextColumn(template, markup=False)
