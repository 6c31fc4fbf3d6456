"""`unirank data …`: make, check and describe dataset folders. The work is done in `model.datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands import terminal

app = typer.Typer(help="Make, check and describe datasets.", no_args_is_help=True)

Out = Annotated[Path, typer.Argument(help="The dataset folder to write.")]
Folder = Annotated[Path, typer.Argument(help="A dataset folder.")]
Limit = Annotated[float, typer.Option(help="Largest share of rows that may be set aside.")]


@app.command()
def movies(
    out: Out,
    movielens: Annotated[Path | None, typer.Option(help="Folder of a MovieLens archive (ml-latest-small).")] = None,
    movie_search: Annotated[Path | None, typer.Option(help="Folder of the movie search ranking dataset.")] = None,
    wikipedia: Annotated[Path | None, typer.Option(help="Folder with Wikipedia extracts of films.")] = None,
) -> None:
    """Join MovieLens, movie search and Wikipedia into one dataset."""
    from model.datasets.importers.movies import import_movies

    with terminal.spinner("films") as say:
        counts = import_movies(out, movielens, movie_search, wikipedia, progress=say)
    _show_counts(out, counts)


@app.command("import")
def import_(
    out: Out,
    entities: Annotated[Path, typer.Option(help="Entities: CSV, TSV, JSON lines, a JSON array or Parquet.")],
    events: Annotated[
        Path | None,
        typer.Option(help="Events in the same formats; may be larger than memory. None: all rows are derived."),
    ] = None,
    map: Annotated[list[str] | None, typer.Option("--map", help="target=column, once for each renamed column.")] = None,
    task: Annotated[str, typer.Option(help="Task of events that name none.")] = "homepage",
    name: Annotated[str | None, typer.Option(help="Name of the dataset; default: the folder's.")] = None,
    max_rejected: Limit = 0.01,
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding, such as latin-1; default: by the byte order mark, else UTF-8."),
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Field separator; default: detected from the file.")] = None,
    quote: Annotated[
        str | None, typer.Option(help='Quote character, empty for none; default: ", and none where tabs delimit.')
    ] = None,
    decimal: Annotated[str, typer.Option(help="Decimal separator of numbers: a point or a comma.")] = ".",
    null: Annotated[
        list[str] | None,
        typer.Option(
            help="A word that means unknown (not in ids of entities, names and labels); replaces the default list "
            "NULL, null, NaN, nan, None, \\N, NA, N/A, <NA>. Empty: none."
        ),
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out, once for each.")] = None,
    derive: Annotated[
        bool, typer.Option(help="Derive rows for search, homepage and more_like_this where the events teach none.")
    ] = True,
) -> None:
    """Make a dataset from your own tables. Files may be packed (gz, zst, bz2, xz)."""
    from model.datasets.importers.table_batches import NULL_WORDS, ReadOptions
    from model.datasets.importers.tables import import_tables

    words = NULL_WORDS if null is None else tuple(word for word in null if word)
    options = ReadOptions(encoding, _parse_delimiter(delimiter), quote, decimal, words, tuple(drop or ()))
    columns, warnings = _parse_mapping(map or []), list[str]()
    with terminal.bar("rows") as report:
        counts = import_tables(
            out, entities, events, columns, max_rejected, name, task, options, warn=warnings.append,
            rows=lambda done, total: report(done, total, ""), derive=derive,
        )  # fmt: skip
    for line in warnings:
        terminal.warning(line)
    _show_counts(out, counts)


def _parse_delimiter(delimiter: str | None) -> str | None:
    return "\t" if delimiter in ("\\t", "tab") else delimiter


@app.command()
def simulate(
    out: Out,
    entities: Annotated[int, typer.Option(help="Entities of the world.")] = 400,
    users: Annotated[int, typer.Option(help="Users of the world.")] = 200,
    queries: Annotated[int, typer.Option(help="Searches.")] = 400,
    overlap: Annotated[float, typer.Option(help="Share of entities that occur in search and recommendation.")] = 0.5,
    events_per_user: Annotated[int, typer.Option(min=1, help="What a user is shown on the homepage.")] = 30,
    local_taste: Annotated[float, typer.Option(help="Share of users with the taste of their country.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
) -> None:
    """A small seeded world with known truth."""
    from model.datasets.simulation import simulate as run

    with terminal.spinner("world") as say:
        run(
            out, entities=entities, users=users, queries=queries, overlap=overlap, events_per_user=events_per_user,
            local_taste=local_taste, seed=seed, progress=say,
        )  # fmt: skip
    terminal.out.print(f"dataset in {out}")


@app.command()
def validate(folder: Folder, max_rejected: Limit = 0.01) -> None:
    """Check a dataset: schema, values, parts. Exit code 2 where it cannot be used."""
    from model.datasets.quality import validate as run

    report = run(folder, max_rejected)
    for line in report.errors:
        terminal.problem(line)
    for line in report.warnings:
        terminal.warning(line)
    for row in report.rejected[:20]:
        terminal.out.print(f"set aside: {row}", highlight=False, soft_wrap=True)
    if not report.usable:
        raise typer.Exit(2)
    terminal.out.print(
        f"{report.entities:,} entities, {report.events:,} events, {len(report.rejected):,} rows set aside"
    )


@app.command()
def describe(folder: Folder) -> None:
    """Counts, entity overlap between tasks, popularity divergence, missing fields."""
    from model.datasets.dataset import Dataset
    from model.datasets.quality import describe as run

    with terminal.spinner("reading"):
        facts = run(Dataset.load(folder))
    for name, value in facts.items():
        _show_fact(name, value)


def _parse_mapping(pairs: list[str]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for pair in pairs:
        target, sign, column = pair.partition("=")
        if not sign or not target or not column:
            raise ValueError(f"--map: expected target=column, got '{pair}'")
        if mapping.setdefault(target, column) != column:
            raise ValueError(f"--map: expected {target} once, got {mapping[target]} and {column}")
    return mapping


def _show_counts(out: Path, counts: dict[str, int]) -> None:
    terminal.out.print(f"dataset in {out}: " + ", ".join(f"{value:,} {name}" for name, value in counts.items()))


def _show_fact(name: str, value: Any) -> None:
    """Print a nested dictionary as a table, anything else as a line."""
    from rich.table import Table

    title = name.replace("_", " ")
    if not isinstance(value, dict):
        terminal.out.print(f"{title}: {value}", highlight=False)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    for key, entry in _flatten(value):
        table.add_row(key, f"{entry:,.4g}" if isinstance(entry, float) else f"{entry}")
    terminal.out.print(table)


def _flatten(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, entry in value.items():
        name = f"{prefix}{key}"
        rows += _flatten(entry, f"{name} · ") if isinstance(entry, dict) else [(name, entry)]
    return rows
