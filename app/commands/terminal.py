"""Output of the command line: one line for an error, a spinner or a progress bar for work, tables for results.

All output is plain text: brackets in data, names and folders are not markup. Styles are set by objects.
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

# depending on its version, typer uses click or a copy of it; this is the base class of its usage errors
USAGE: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
ENDED = 128  # plus the signal number: the exit code of a command that was ended by a signal

out = Console(markup=False, emoji=False, highlight=False)
err = Console(stderr=True, markup=False, emoji=False, highlight=False)


def run(app: typer.Typer) -> None:
    """Run the command line; a known error becomes one line on standard error and exit code 2.

    A group without a command shows its help and exits with 0.
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
        _exit_with_error(error)
    except (ValueError, OSError) as error:
        _exit_with_error(error)


def _exit_with_error(error: Exception) -> None:
    problem(_message(error))
    sys.exit(2)


def _message(error: Exception) -> str:
    return error.format_message() if isinstance(error, USAGE) and hasattr(error, "format_message") else str(error)


def problem(text: str) -> None:
    """Print an error as one line on standard error."""
    _print_marked("error", "bold red", text)


def warning(text: str) -> None:
    """Print a warning as one line on standard error."""
    _print_marked("warning", "yellow", text)


def _print_marked(word: str, style: str, text: str) -> None:
    err.print(Text.assemble((word, style), " ", " ".join(text.split())), soft_wrap=True)


@contextmanager
def resumable(hint: str) -> Iterator[None]:
    """Run work that a signal may end: its clean-up runs, and `hint`, the last line, says how to continue."""
    before = signal.signal(signal.SIGTERM, _raise_ended)
    try:
        yield
    except (KeyboardInterrupt, _EndedError) as stop:
        number = signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM
        err.print(hint, soft_wrap=True)
        raise typer.Exit(ENDED + number) from stop
    finally:
        signal.signal(signal.SIGTERM, before)


class _EndedError(BaseException):
    """Raised on SIGTERM, so that blocks clean up."""


def _raise_ended(number: int, frame: FrameType | None) -> None:
    raise _EndedError


@contextmanager
def spinner(title: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner for work of unknown length; yields a function that changes its text."""
    columns = (SpinnerColumn(), _text_column("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(title)
        yield lambda text: progress.update(task, description=f"{title}: {text}")


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar; yields a function that reports the step, the total and a note."""
    columns = (
        _text_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), _text_column("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(title, total=None, note="")

        def report(step: int, total: int, note: str) -> None:
            progress.update(task, completed=step, total=total, note=note)
            if note.startswith("validation"):
                progress.print(f"step {step}: {note}")

        yield report


def _text_column(template: str) -> ProgressColumn:
    return TextColumn(template, markup=False)
