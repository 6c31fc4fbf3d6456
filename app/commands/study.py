"""`unirank study …`: comparisons on the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from app.commands import terminal
from app.commands.learning import show_task

app = typer.Typer(help="Comparisons on the same rows.", no_args_is_help=True)


@app.callback()
def studies() -> None:
    """Comparisons on the same rows."""


@app.command()
def baselines(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report here as well.")] = None,
) -> None:
    """Popularity and ItemKNN (tuned on validation) on the test rows, by the protocol of `unirank evaluate`."""
    from model.data.dataset import Dataset
    from model.studies.baselines import run

    with terminal.spinner("baselines") as say:
        report = run(Dataset.load(dataset), say)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=1))
    for name in ("popularity", "item_knn"):
        for task, metrics in report[name].items():
            show_task(f"{name}: {task}", metrics)
    terminal.out.print(f"ItemKNN as chosen on validation: {report['item_knn_settings']}", highlight=False)
