"""`unirank events …`: exports the user events from the event log of the service."""

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

app = typer.Typer(help="User events that the service has stored.", no_args_is_help=True)

STDOUT = Path("-")
_FILES = (".jsonl", ".ndjson", ".json")


@app.callback()
def events() -> None:
    """User events that the service has stored."""


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
        result = _print_events(folder, raw)
    elif raw:
        result = _append_to_file(folder, out)
    else:
        result = _write_dataset(folder, out, entities, is_file)
    _report_missing(result)


def _print_events(folder: Path, raw: bool) -> DatasetExport:
    from app.events.dataset_export import export_lines, export_rows

    return (export_lines if raw else export_rows)(folder, sys.stdout.buffer)


def _append_to_file(folder: Path, out: Path) -> DatasetExport:
    from app.events.dataset_export import DatasetExport
    from app.events.export import export as append

    damages: list[Damage] = []
    with terminal.spinner("exporting") as say:
        count = append(folder, out, say, damages.append)
    _print_line(f"{count:,} new events in {out}")
    return DatasetExport(events=count, damages=damages)


def _write_dataset(folder: Path, out: Path, entities: Path | None, is_file: bool) -> DatasetExport:
    from app.events.dataset_export import export_file, export_folder

    with terminal.spinner("exporting") as say:
        result = export_file(folder, out, say) if is_file else export_folder(folder, out, entities, say)
    _print_line(f"{result.events:,} events as {result.rows:,} rows in {out}")
    if result.set_aside:
        _print_line(f"{result.set_aside:,} rows name entities that are not in {entities}: set aside in rejected.jsonl")
    return result


def _report_missing(result: DatasetExport) -> None:
    """Print what is missing, and exit with 1 if anything is."""
    for damage in result.damages:
        _print_error(str(damage))
    if result.damages:
        _print_error(_describe_damage(result.damages))
    if result.unusable:
        _print_error(f"{result.unusable:,} stored lines are no events: left out")
    if result.damages or result.unusable:
        raise typer.Exit(1)


def _describe_damage(damages: Sequence[Damage]) -> str:
    missing = sum(damage.missing or 0 for damage in damages)
    more = " and an unknown number more" if any(damage.missing is None for damage in damages) else ""
    return f"{len(damages):,} damaged places in the log, {missing:,} events{more} missing; all others are exported"


def _print_line(text: str) -> None:
    terminal.out.print(text, soft_wrap=True)


def _print_error(text: str) -> None:
    terminal.err.print(text, soft_wrap=True)
