"""`unirank bench …`: compares the speed of this service with others. The benchmark itself is in `bench/`, which only a
source checkout contains.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import terminal
from app.execution.torch_threads import one_thread

if TYPE_CHECKING:
    from bench.measure import Figures
    from bench.plan import Plan
    from bench.tables import Table as BenchTable

ROOT = Path(__file__).parents[2]
app = typer.Typer(help="How fast this service is beside others.", no_args_is_help=True)
BUSY = 0.5  # load average above which other processes affect the measurement
FULL = {
    "candidates": "25,100,200,300,500,1000",
    "connections": "1,8,32",
    "shares": "50,80,120",
}


@app.callback()
def benchmarks() -> None:
    """How fast this service is beside others."""


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    out: Annotated[Path, typer.Option(help="Folder for bench.json and bench.html.")] = Path(".bench"),
    servers: Annotated[str, typer.Option(help="Servers, by comma.")] = "unirank,fastapi,litserve,bentoml,ray",
    parts: Annotated[str, typer.Option(help="Parts of the run, by comma.")] = "limit,servers,latency,workers",
    tables: Annotated[str, typer.Option(help="A = rivals run the plain forward pass; B = our scorer.")] = "A,B",
    candidates: Annotated[str, typer.Option(help="Numbers of candidates.")] = "100,300,500",
    connections: Annotated[str, typer.Option(help="Connections of the closed loops.")] = "1,8",
    shares: Annotated[str, typer.Option(help="Rates of the open loops, % of the server's peak.")] = "80",
    open_candidates: Annotated[
        str, typer.Option(help="Candidates in the open loops, of those above. [default: 500, or the most]")
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="All candidates, connections and rates.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 3.0,
    bodies: Annotated[int, typer.Option(min=1, help="Different requests of each size.")] = 300,
    seed: Annotated[int, typer.Option(help="Requests and moments of arrival follow from it.")] = 0,
    server_core: Annotated[int, typer.Option(help="Core of the servers.")] = 1,
    load_core: Annotated[int, typer.Option(help="Core of the load.")] = 0,
    catalogue: Annotated[
        list[Path] | None, typer.Option(help="Another model folder, of a catalogue of another size; may be repeated.")
    ] = None,
    rivals_python: Annotated[
        Path | None, typer.Option(help="Python with the rivals. [default: that of .venv-bench]")
    ] = None,
) -> None:
    """This server and others with one model, each on one core, the load on another; answers compared first."""
    _add_checkout_to_path()
    one_thread()
    from bench.plan import Plan

    sizes = FULL if full else {"candidates": candidates, "connections": connections, "shares": shares}
    numbers = {name: _parse_numbers(name, text) for name, text in sizes.items()}
    opened = _parse_numbers("open_candidates", open_candidates) if open_candidates else ()
    plan = Plan(
        rivals_python=(rivals_python or ROOT / ".venv-bench" / "bin" / "python").absolute(),
        servers=_split_names(servers), parts=_split_names(parts), tables=_split_names(tables),
        candidates=numbers["candidates"], connections=numbers["connections"],
        shares=tuple(share / 100 for share in numbers["shares"]), open_candidates=opened,
        seconds=seconds, bodies=bodies, seed=seed, server_core=server_core, load_core=load_core,
        catalogues=tuple(folder.resolve() for folder in catalogue or ()),
    )  # fmt: skip
    _run(model.resolve(), plan, out)


@app.command()
def catalogue(
    model: Annotated[Path, typer.Argument(help="A trained model folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; must be empty or a model.")],
    entities: Annotated[int, typer.Option(min=1, help="How many.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="What is drawn follows from it.")] = 0,
) -> None:
    """Make a model folder of many entities out of a trained one, to measure what size costs."""
    _add_checkout_to_path()
    from bench.catalogue import make

    with terminal.bar("catalogue") as report:
        manifest = make(model, out, entities, seed, report)
    terminal.out.print(f"{manifest.version}: {entities:,} entities in {out}", highlight=False)


@app.command()
def retrieval(
    models: Annotated[list[Path], typer.Argument(help="Model folders, of catalogues of different sizes.")],
    out: Annotated[Path, typer.Option(help="Folder for retrieval.json.")] = Path(".bench"),
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 3.0,
    core: Annotated[int, typer.Option(help="Core to measure on.")] = 1,
) -> None:
    """Proposing candidates from whole catalogues: the index of each model beside exact search."""
    _add_checkout_to_path()
    from bench.retrieval import run, tables

    with terminal.spinner("measuring") as say:
        result = run(models, out, seconds, core, say)
    for table in tables(result):
        _print_table(table)
    terminal.out.print(f"figures in {out / 'retrieval.json'}", highlight=False)


def _run(model: Path, plan: Plan, out: Path) -> None:
    from bench.process import on_cores
    from bench.run import run

    minutes = plan.total_s() / 60
    terminal.out.print(f"{', '.join(plan.parts)}: about {minutes:.0f} minutes", highlight=False)
    if (load := os.getloadavg()[0]) > BUSY:
        terminal.out.print(
            f"the machine is not quiet (load {load:.1f}): others share the cores, and the figures say so"
        )
    with on_cores({plan.load_core}), terminal.bar("bench") as report:  # the progress bar draws in its own thread
        result = run(model, plan, out, report)
    show(result)
    terminal.out.print(f"report in {out / 'bench.html'} and bench.json", highlight=False)


def show(result: Figures) -> None:
    """Print the tables that fit a terminal; the page has every loop."""
    from bench.tables import short_tables

    for table in short_tables(result):
        _print_table(table)


def _print_table(table: BenchTable) -> None:
    from rich.table import Table

    rich_table = Table(*table.head, title=table.title, caption=table.about or None)
    for row, ours in table.rows:
        rich_table.add_row(*row, style="bold" if ours else None)
    terminal.out.print(rich_table)


def _add_checkout_to_path() -> None:
    """Add the checkout to `sys.path`. Raises `ValueError` in an installed package, which has no checkout."""
    if not (ROOT / "bench" / "__init__.py").is_file():
        raise ValueError("the benchmark is not part of the installed package: run it from a source checkout")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _parse_numbers(name: str, text: str) -> tuple[int, ...]:
    words = _split_names(text)
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(f"--{name.replace('_', '-')}: expected whole numbers above 0 by comma, got '{text}'")
    return tuple(sorted({int(word) for word in words}))
