"""`unirank events …`: what the service was told of people, out of its log."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import terminal

if TYPE_CHECKING:
    from app.events.dataset_export import DatasetExport
    from app.events.reading import Damage

app = typer.Typer(help="What the service was told that people saw and did.", no_args_is_help=True)

STDOUT = Path("-")
_FILES = (".jsonl", ".ndjson", ".json")


@app.callback()
def events() -> None:
    """What the service was told that people saw and did."""


@app.command()
def export(
    out: Annotated[
        Path, typer.Argument(help="A folder, to write a dataset; a file ending in .jsonl, for its events; - = print.")
    ],
    entities: Annotated[
        Path | None, typer.Option(help="A dataset or its file of entities: makes OUT ready to train on.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Events as they were sent; a file gets only what it does not have yet.")
    ] = False,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the service's state; default: its setting.")] = None,
) -> None:
    """Write all events as rows that import and train as they are: shown or engaged, labels joined.

    Exit code 1 where events are missing: the log is damaged, or holds what is no event. The rest is written.
    """
    from app.settings import Settings

    settings = Settings() if state_dir is None else Settings(state_dir=state_dir)
    folder = settings.events_folder()
    if not folder.is_dir():
        raise ValueError(f"{folder}: no events there; name the service's folder with --state-dir")
    is_file = out == STDOUT or raw or out.is_file() or out.suffix in _FILES
    if entities is not None and is_file:
        raise ValueError("--entities makes a whole dataset: name a folder, without --raw")
    if out == STDOUT:
        done = _print(folder, raw)
    elif raw:
        done = _append(folder, out)
    else:
        done = _write(folder, out, entities, is_file)
    _end(done)


def _print(folder: Path, raw: bool) -> DatasetExport:
    from app.events.dataset_export import export_lines, export_rows

    return (export_lines if raw else export_rows)(folder, sys.stdout.buffer)


def _append(folder: Path, out: Path) -> DatasetExport:
    from app.events.dataset_export import DatasetExport
    from app.events.export import export as append

    damages: list[Damage] = []
    with terminal.spinner("exporting") as say:
        count = append(folder, out, say, damages.append)
    _say(f"{count:,} new events in {out}")
    return DatasetExport(events=count, damages=damages)


def _write(folder: Path, out: Path, entities: Path | None, is_file: bool) -> DatasetExport:
    from app.events.dataset_export import export_file, export_folder

    with terminal.spinner("exporting") as say:
        done = export_file(folder, out, say) if is_file else export_folder(folder, out, entities, say)
    _say(f"{done.events:,} events as {done.rows:,} rows in {out}")
    if done.set_aside:
        _say(f"{done.set_aside:,} rows name entities that are not in {entities}: set aside in rejected.jsonl")
    return done


def _end(done: DatasetExport) -> None:
    """Say what is missing, and end with 1 where anything is."""
    for damage in done.damages:
        _complain(str(damage))
    if done.damages:
        _complain(_total(done.damages))
    if done.unusable:
        _complain(f"{done.unusable:,} stored lines are no events: left out")
    if done.damages or done.unusable:
        raise typer.Exit(1)


def _total(damages: Sequence[Damage]) -> str:
    missing = sum(damage.missing or 0 for damage in damages)
    more = " and an unknown number more" if any(damage.missing is None for damage in damages) else ""
    return f"{len(damages):,} damaged places in the log, {missing:,} events{more} missing; all others are exported"


def _say(text: str) -> None:
    terminal.out.print(text, soft_wrap=True)


def _complain(text: str) -> None:
    terminal.err.print(text, soft_wrap=True)
