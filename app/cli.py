"""The command line, `unirank …`. Commands only parse and call `app/commands/`; heavy imports wait until needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.commands import bench, data, events, keys, models, study

app = typer.Typer(
    name="unirank",
    help="One ranking network for search, homepage rows and more-like-this.",
    no_args_is_help=True,
    context_settings={"max_content_width": 120},
    rich_markup_mode=None,  # else brackets in a help text are markup, and every [default: …] is lost
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")
app.add_typer(events.app, name="events")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")

Model = Annotated[Path, typer.Argument(help="A model folder.")]
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda, …")]
DatasetFolder = Annotated[Path, typer.Argument(help="A dataset folder.")]


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"unirank {version('unirank')}")
        except PackageNotFoundError as error:
            raise ValueError("unirank runs from a checkout that is not installed: no version is known") from error
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """One ranking network for search, homepage rows and more-like-this."""


@app.command()
def train(
    dataset: DatasetFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the model; must be empty or hold a model.")],
    tasks: Annotated[str, typer.Option(help="Tasks to train on, separated by commas; default: all.")] = "",
    seed: Annotated[str | None, typer.Option(metavar="<int>", help="Seed of all random draws. [default: 0]")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with [network] and [training].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the run's last checkpoint.")] = False,
    parts: Annotated[str, typer.Option(help="'train', or 'all' to train again on every row at the end.")] = "train",
    device: Device = "cpu",
) -> None:
    """Train one network on a dataset and write the model folder."""
    from app.commands import learning

    learning.train(dataset, out, tasks, seed, config, resume, parts, device)


@app.command()
def evaluate(
    model: Model,
    dataset: DatasetFolder,
    history: Annotated[Path | None, typer.Option(help="A dataset whose rows are the users' histories.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report here as well.")] = None,
    run: Annotated[Path | None, typer.Option(help="Write the rankings here: TREC run, or Parquet (.parquet).")] = None,
    qrels: Annotated[Path | None, typer.Option(help="Write the labels here: TREC qrels, or Parquet.")] = None,
    curve: Annotated[str, typer.Option(help="Also with these numbers of proposals, by comma: 100,250,1000.")] = "",
    device: Device = "cpu",
) -> None:
    """Measure a model on the test rows of a dataset: slates, the whole catalogue, as served, calibration."""
    from app.commands import learning

    learning.evaluate(model, dataset, history, json, run, qrels, curve, device)


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(help="A model folder, or a folder of models with a file LIVE.")],
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. [default: 8000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes. [default: 1]")] = None,
    demo_if_empty: Annotated[
        bool, typer.Option("--demo-if-empty", help="Train the demo's model first if there is none.")
    ] = False,
) -> None:
    """Serve a model over HTTP. Every setting is also an environment variable, UNIRANK_…"""
    from app.commands import serving

    serving.serve(model, host, port, workers, demo_if_empty)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the demo's dataset and model.")] = Path(".demo"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop when the model is trained.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again even if there is a model.")] = False,
) -> None:
    """Prepare real film data, train a model on it and serve it with a demonstration page."""
    from app.commands import serving

    serving.demo(out, host, port, no_serve, fresh)


def main() -> None:
    """Entry point. A known error prints one line and exits with code 2."""
    from app.commands.terminal import run

    run(app)


if __name__ == "__main__":
    main()
