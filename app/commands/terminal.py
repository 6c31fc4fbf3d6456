"""How the command line talks: one line for an error, a spinner or a bar for work, tables for results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# typer brings its own copy of click or uses click itself, by version; this is the root of its usage errors
USAGE: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

out = Console()
err = Console(stderr=True)


def run(app: typer.Typer) -> None:
    """Run the command line; a known error becomes one line on standard error and exit code 2."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except typer.Abort:
        sys.exit(130)
    except (USAGE, ValueError, OSError) as error:
        err.print(f"[bold red]error[/] {_one_line(error)}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _one_line(error: Exception) -> str:
    from rich.markup import escape

    text = error.format_message() if isinstance(error, USAGE) and hasattr(error, "format_message") else str(error)
    return escape(" ".join(text.split()))


@contextmanager
def spinner(title: str) -> Iterator[Callable[[str], None]]:
    """A spinner whose text can be changed, for work of unknown length."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(title)
        yield lambda text: progress.update(task, description=f"{title}: {text}")


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar over steps, with a line of text behind it."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(title, total=None, note="")

        def report(step: int, total: int, note: str) -> None:
            progress.update(task, completed=step, total=total, note=note)
            if note.startswith("validation"):
                progress.print(f"step {step}: {note}", highlight=False)

        yield report
