"""`unirank study …`: compares models on the same rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands import study_tables, terminal
from app.execution.torch_threads import one_thread

if TYPE_CHECKING:
    from polars import DataFrame

    from model.artefact.model import Artefact
    from model.events.timelines import LabelledRanking
    from model.studies.cells import Cell
    from model.studies.study_data import StudyData

OUT = Annotated[Path | None, typer.Option(help="Folder for cells and reports; default: studies/DATASET-STUDY.")]
CONFIG = Annotated[Path | None, typer.Option(help="TOML file with settings of the network.")]
TIME = Annotated[
    bool, typer.Option("--by-time", help="Cut the parts at one date for all users, so that users are new.")
]
ONLY = Annotated[str, typer.Option(help="Models to run now, by comma; the report takes all finished cells.")]
PAIRS = Annotated[Path | None, typer.Option(help="CSV of pairs that people judged alike or not: one more measure.")]
JUDGED = Path("docs/studies/likeness-pairs.csv")
TYPED = Path("docs/studies/typed-forms/films.csv")

app = typer.Typer(help="Comparisons on the same rows.", no_args_is_help=True)


@app.callback()
def studies() -> None:
    """Comparisons on the same rows."""


@app.command()
def specialists(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    out: OUT = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of our network, joint and alone.")] = 5,
    config: CONFIG = None,
    only: ONLY = "",
    time: TIME = False,
    pairs: PAIRS = None,
) -> None:
    """Every specialist, tuned on validation, against one network on the test rows. Goes on where it was stopped."""
    from model.studies.specialist_cells import study_cells

    _run_resumable("specialists", dataset, out, config, only, time, pairs, lambda data: study_cells(data, seeds))


@app.command()
def ablations(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    out: OUT = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each network.")] = 2,
    config: CONFIG = None,
    only: ONLY = "",
    time: TIME = False,
    pairs: PAIRS = None,
) -> None:
    """The network without each of its parts, and each task on a tenth of its events, at a third of the steps."""
    from model.studies.ablations import ablation_cells

    _run_resumable("ablations", dataset, out, config, only, time, pairs, lambda data: ablation_cells(data, seeds))


@app.command()
def likeness(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    pairs: Annotated[Path, typer.Option(help="CSV file of pairs that people judged alike or not.")] = JUDGED,
) -> None:
    """The AUC of one model by people's judgements of likeness, and by the measures that need none."""
    one_thread()
    from model.artefact.model import Artefact
    from model.datasets.dataset import Dataset
    from model.evaluation.network_subject import NetworkSubject
    from model.studies.judged_pairs import likeness, read_pairs

    with terminal.spinner("ranking"):
        judged, loaded = read_pairs(pairs), Dataset.load(dataset)
        subject = NetworkSubject(Artefact.load(model).with_entities(loaded.entities))
        measures, left_out = likeness(subject, loaded, judged)
    _warn_of_pairs(left_out, len(judged))
    study_tables.show_likeness(measures)


@app.command()
def parts(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
) -> None:
    """What each learned part is worth, switched off at scoring: at most 400 test rankings or 4,000 slates a task."""
    one_thread()
    from model.events.timelines import timelines
    from model.studies.parts import worth_of_parts

    with terminal.spinner("reading") as say:
        artefact, rankings, before = _test_rankings(model, dataset)
        worth = worth_of_parts(artefact.catalogue, rankings, timelines(before), say)
    study_tables.show_parts(worth)


@app.command()
def titles(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
) -> None:
    """Titled homepage rows: how many of the first ten fit, and whether their order follows taste, on test rows."""
    one_thread()
    from model.evaluation.reports import popularity_of
    from model.events.timelines import timelines
    from model.studies.titled_rows import titled_rows

    with terminal.spinner("reading") as say:
        artefact, rankings, before = _test_rankings(model, dataset)
        popularity = popularity_of(before, artefact.catalogue)
        columns = titled_rows(artefact, rankings, timelines(before), popularity, say)
    study_tables.show_titles(columns)


@app.command()
def typed(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    forms: Annotated[Path, typer.Option(help="CSV file with the columns kind, query and name.")] = TYPED,
) -> None:
    """Names as people type them, joined or misspelled: whether each finds its entity first, or among five."""
    one_thread()
    from model.artefact.model import Artefact
    from model.studies.typed_forms import found_forms, read_forms

    with terminal.spinner("searching"):
        kinds, left_out = found_forms(Artefact.load(model), read_forms(forms))
    if left_out:
        terminal.warning(f"{len(left_out):,} forms are left out: no entity has their name")
    study_tables.show_typed(kinds)


def _test_rankings(model: Path, dataset: Path) -> tuple[Artefact, list[LabelledRanking], DataFrame]:
    """A model, the test rankings of a dataset, and the rows before them. Raises ValueError without test rows."""
    from model.artefact.model import Artefact
    from model.datasets.dataset import Dataset
    from model.events.timelines import labelled_rankings
    from model.learning.training_data import part_rows, rankable

    artefact, events = Artefact.load(model), Dataset.load(dataset).events
    rankings = rankable(labelled_rankings(part_rows(events, ("test",))), artefact.catalogue.rules)
    if not rankings:
        raise ValueError(f"dataset '{dataset.name}' has no test rows")
    return artefact, rankings, part_rows(events, ("train", "validation"))


def _warn_of_pairs(left_out: int, total: int) -> None:
    if left_out:
        terminal.warning(
            f"{left_out:,} of {total:,} judged pairs are left out: no single entity has that name and year"
        )


def _run_resumable(study: str, *arguments: Any) -> None:
    with terminal.resumable("stopped: the same command goes on with the models that are missing"):
        _run_study(study, *arguments)


def _run_study(
    study: str,
    dataset: Path,
    out: Path | None,
    config: Path | None,
    only: str,
    time: bool,
    pairs: Path | None,
    cells_of: Callable[[StudyData], list[Cell]],
) -> None:
    """Run the missing cells, and write the report of all finished ones."""
    one_thread()
    from model.config import Config
    from model.datasets.dataset import Dataset
    from model.studies.cells import CellStore, fingerprint
    from model.studies.html_report import page
    from model.studies.judged_pairs import judged_rankings, read_pairs
    from model.studies.specialists_report import study_report
    from model.studies.study_data import StudyData
    from model.studies.time_split import by_time

    with terminal.spinner("reading") as say:
        loaded = by_time(Dataset.load(dataset)) if time else Dataset.load(dataset)
        judged = read_pairs(pairs) if pairs else ()
        data = StudyData(loaded, Config.from_toml(config) if config else Config(), say, judged)
        cells = cells_of(data)
    _warn_of_pairs(judged_rankings(judged, loaded.entities)[1], len(judged))
    suffix = "-by-time" if time else ""
    folder = out or Path("studies") / f"{loaded.name}-{study}{suffix}"
    asked = hashlib.sha256(pairs.read_bytes()).hexdigest()[:16] if pairs else ""  # other pairs, other results
    store = CellStore(folder / "cells", fingerprint(dataset) + suffix + asked)
    wanted = {name.strip() for name in only.split(",") if name.strip()}
    _check_names(wanted, cells)
    chosen = [cell for cell in cells if not wanted or cell.name in wanted]
    missing = sum(store.find(cell) is None for cell in chosen)
    minutes = store.missing_seconds(chosen) / 60
    terminal.out.print(
        f"{len(chosen)} cells, {missing} to run, about {minutes:.0f} minutes on one core", highlight=False
    )
    for number, cell in enumerate(chosen):
        if store.find(cell) is None:
            with terminal.spinner(f"{number + 1}/{len(chosen)} {cell.name}") as say:
                data.say = say
                seconds = store.get(cell)["seconds"]
            terminal.out.print(f"{cell.name}: {seconds:.0f} s", highlight=False)
    finished = [result for cell in cells if (result := store.find(cell)) is not None]
    about = {
        "study": study,
        "cut": "at one date for everybody" if time else "the last rows of each user",
        "dataset": {"name": loaded.name, "entities": len(loaded.entities), "events": loaded.events.height},
    }
    report = study_report(finished, data.protocols["test"], about)
    (folder / "report.json").write_text(json.dumps(report, indent=1), "utf-8")
    (folder / "report.html").write_text(page(report), "utf-8")
    study_tables.show_study(report)
    terminal.out.print(f"report in {folder / 'report.html'} and report.json", highlight=False)


def _check_names(wanted: set[str], cells: list[Cell]) -> None:
    known = sorted({cell.name for cell in cells})
    if unknown := sorted(wanted - set(known)):
        raise ValueError(f"--only: no model {', '.join(unknown)}; there are {', '.join(known)}")
