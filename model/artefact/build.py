"""From a dataset to a model folder: prepare, train, calibrate, pack, write. The loop is in `learning/trainer.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from model.artefact.contents import ArtefactContents, layout_of
from model.artefact.golden import golden_requests
from model.artefact.index import index_large
from model.artefact.manifest import Manifest
from model.artefact.place import try_out
from model.artefact.writing import write
from model.catalogue.record_table import RecordTable
from model.catalogue.records import Records
from model.config import Config
from model.context.context import HistoryEvent
from model.datasets.dataset import Dataset
from model.events.seen import SeenEntities
from model.learning import checkpoint
from model.learning.calibration import Calibration
from model.learning.ranker_training import TrainingResult, steps_for, train
from model.learning.trained_rows import TrainedRows, fingerprint
from model.learning.training_data import TrainingData, part_rows, prepare
from model.learning.validation import subject_of

ALL_PARTS = ("train", "validation", "test")
FIRST, SECOND = "first.json", "second"  # what is kept of a run over every part: the first training, the second
Report = Callable[[int, int, str], None]
Say = Callable[[str], None]


def build(
    dataset: Dataset,
    out: Path,
    config: Config,
    tasks: Sequence[str] | None = None,
    every_part: bool = False,
    resume: bool = False,
    say: Say = lambda _: None,
    report: Report = lambda *_: None,
) -> Manifest:
    """Train on a dataset and write the model folder `out`.

    `every_part`: train once on the training part, which fixes steps and calibration, then again on all rows.
    Raises `ArtefactError` where `out` must not be overwritten, `CheckpointError` where `resume` finds nothing.
    """
    try_out(out)
    place = out.resolve()
    saved = place.with_name(f".{place.name}.training")
    if not resume:
        shutil.rmtree(saved, ignore_errors=True)
    run = _first if not every_part else _both
    prepared, trained = run(dataset, config, tasks, saved, resume, say, report)
    say("writing the model")
    manifest = index_large(out, write(out, contents_of(prepared, trained), dataset.name), report)
    shutil.rmtree(saved, ignore_errors=True)
    return manifest


def _first(
    dataset: Dataset, config: Config, tasks: Sequence[str] | None, saved: Path, resume: bool, say: Say, report: Report
) -> tuple[TrainingData, TrainingResult]:
    """Train on the training part."""
    prepared = prepare(dataset, config, tasks, say=say)
    return prepared, train(prepared, steps_for(config.training, prepared), saved, resume, report)


def _both(
    dataset: Dataset, config: Config, tasks: Sequence[str] | None, saved: Path, resume: bool, say: Say, report: Report
) -> tuple[TrainingData, TrainingResult]:
    """Train on the training part, which says for how long and calibrates; then on every row, from the beginning.

    What the first came to is kept in `FIRST`, so that a run that stopped in the second goes on there.
    """
    asked = {"dataset": f"{dataset.name} {fingerprint(dataset)}", "tasks": tasks, "config": config.to_json()}
    found = checkpoint.load_result(saved / FIRST, asked) if resume else None
    if found is None:
        _, trained = _first(dataset, config, tasks, saved, resume, say, report)
        found = {"steps": max(trained.best_step, 1), "calibration": trained.calibration.to_json()}
        checkpoint.save_result(saved / FIRST, asked, found)
        (saved / checkpoint.TENSORS).unlink(missing_ok=True)
    prepared = prepare(dataset, config, tasks, ALL_PARTS, say)
    second = saved / SECOND
    again = train(prepared, found["steps"], second, resume and checkpoint.exists(second), report)
    return prepared, replace(again, calibration=Calibration.from_json(found["calibration"]))


def contents_of(prepared: TrainingData, trained: TrainingResult) -> ArtefactContents:
    """The parts of an artefact from a finished run."""
    subject = subject_of(trained.ranker, prepared)
    layout, records = layout_of(prepared.config, prepared.encoder), subject.catalogue.records
    assert isinstance(records, Records)  # as they come from training, in full width
    manifest = Manifest(
        version="", checksum="", tasks=prepared.tasks, columns=dict(prepared.dataset.columns), rules=prepared.rules,
        config=prepared.config, sizes=trained.ranker.sizes, numbers=list(prepared.encoder.numbers),
        calibration=trained.calibration, metrics=_metrics(trained),
        dataset=_trained_on(prepared), files={},
    )  # fmt: skip
    return ArtefactContents(
        manifest, trained.ranker, prepared.encoder, prepared.dataset.entities, prepared.tables[-1],
        RecordTable.of(records), layout, prepared.users, prepared.countries, prepared.tastes[-1],
        _histories(prepared), _seen(prepared), trained.calibration,
        golden_requests(subject.catalogue, prepared.rankings, prepared.histories, trained.calibration),
    )  # fmt: skip


def _trained_on(prepared: TrainingData) -> dict[str, Any]:
    """What was trained on: `evaluate` warns where it meets the same rows."""
    dataset = prepared.dataset
    events = part_rows(dataset.events, prepared.parts)
    rows = TrainedRows.of(events.filter(pl.col("task").is_in(prepared.tasks))).to_json()
    return {"name": dataset.name, "parts": list(prepared.parts), "fingerprint": fingerprint(dataset), "rows": rows}


def _metrics(trained: TrainingResult) -> dict[str, Any]:
    best = next((values for step, _, values in trained.history.validations if step == trained.best_step), {})
    return {
        "validation_ndcg@10": best,
        "steps": len(trained.history.losses),
        "best_step": trained.best_step,
        "taught_by_trees": trained.taught,
    }


def _histories(prepared: TrainingData) -> dict[str, tuple[HistoryEvent, ...]]:
    longest = prepared.config.network.profile_length
    return {user: tuple(timeline.events[-longest:]) for user, timeline in prepared.histories.items()}


def _seen(prepared: TrainingData) -> SeenEntities:
    """Of every task, also one that is not trained: what a person has met is met."""
    return SeenEntities.of(part_rows(prepared.dataset.events, prepared.parts), prepared.ids)
