"""`unirank events …`: what the service was told of people, out of its log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.commands import terminal

app = typer.Typer(help="What the service was told that people saw and did.", no_args_is_help=True)


@app.callback()
def events() -> None:
    """What the service was told that people saw and did."""


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="A file of JSON lines; only what it does not have yet is added.")],
    state_dir: Annotated[
        Path | None, typer.Option(help="Folder of the service's state. [default: its setting]")
    ] = None,
) -> None:
    """Append new events to a file, each exactly once, also after an export that was cut off."""
    from app.event_log.export import export as copy
    from app.settings import Settings

    settings = Settings() if state_dir is None else Settings(state_dir=state_dir)
    if not settings.events_folder().is_dir():
        raise ValueError(f"{settings.events_folder()}: no events there; name the service's folder with --state-dir")
    with terminal.spinner("exporting") as say:
        count = copy(settings.events_folder(), out, say)
    terminal.out.print(f"{count:,} new events in {out}", highlight=False)
