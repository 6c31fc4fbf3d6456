"""Builds a model folder from a dataset: prepare, train, calibrate, pack, write. `trainer.py` has the training loop."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from model.artefact.contents import ArtefactContents, layout_of
from model.artefact.golden import golden_requests
from model.artefact.index import index_large
from model.artefact.manifest import Manifest
from model.artefact.model import Artefact
from model.artefact.output_folder import check_writable
from model.artefact.proposals import learn_shares
from model.artefact.writing import write
from model.catalogue.record_table import RecordTable
from model.catalogue.records import Records
from model.config import Config
from model.context.context import HistoryEvent
from model.datasets.dataset import Dataset
from model.events.derived import derived_counts
from model.events.seen import SeenEntities
from model.learning import checkpoint
from model.learning.calibration import Calibration
from model.learning.ranker_training import TrainingResult, steps_for, train
from model.learning.trained_rows import TrainedRows, fingerprint
from model.learning.training_data import TrainingData, part_rows, prepare
from model.learning.validation import Validation, subject_of

ALL_PARTS = ("train", "validation", "test")
FIRST, SECOND = "first.json", "second"  # result of the first training, checkpoint of the second, if `every_part`
Report = Callable[[int, int, str], None]
Say = Callable[[str], None]
Fit = Callable[[TrainingData, int, Path, bool], TrainingResult]  # data, steps, checkpoints, whether to resume


def build(
    dataset: Dataset,
    out: Path,
    config: Config,
    tasks: Sequence[str] | None = None,
    every_part: bool = False,
    resume: bool = False,
    say: Say = lambda _: None,
    report: Report = lambda *_: None,
    device: str = "cpu",
) -> Manifest:
    """Train on a dataset, on a device, and write the model folder `out`.

    `every_part`: train on the training part, which determines steps and calibration, then again on all rows.
    Raises `ArtefactError` where `out` must not be overwritten, `CheckpointError` where there is nothing to resume.
    """
    check_writable(out)
    place = out.resolve()
    saved = place.with_name(f".{place.name}.training")
    if not resume:
        shutil.rmtree(saved, ignore_errors=True)
    run = _train_once if not every_part else _train_twice
    contents = run(dataset, config, tasks, saved, resume, say, partial(train, report=report, device=device))
    say("writing the model")
    manifest = index_large(out, write(out, contents, dataset.name), report)
    shutil.rmtree(saved, ignore_errors=True)
    return manifest


def _train_once(
    dataset: Dataset, config: Config, tasks: Sequence[str] | None, saved: Path, resume: bool, say: Say, fit: Fit
) -> ArtefactContents:
    """Train on the training part only."""
    prepared = prepare(dataset, config, tasks, say=say)
    return served_contents_of(prepared, fit(prepared, steps_for(config.training, prepared), saved, resume), say)


def served_contents_of(prepared: TrainingData, trained: TrainingResult, say: Say = lambda _: None) -> ArtefactContents:
    """The parts of an artefact from a finished run, with shares of its retrievers learned on the validation rows."""
    contents, validation = contents_of(prepared, trained), Validation(prepared)
    shares = learn_shares(Artefact(contents), validation.rankings, validation.histories, say)
    contents.manifest = replace(contents.manifest, proposals=shares)
    return contents


def _train_twice(
    dataset: Dataset, config: Config, tasks: Sequence[str] | None, saved: Path, resume: bool, say: Say, fit: Fit
) -> ArtefactContents:
    """Train on the training part, which determines steps, calibration and proposals; then on all rows, from the start.

    The result of the first training is saved in `FIRST`, so that an interrupted run resumes in the second.
    """
    settings = {"dataset": f"{dataset.name} {fingerprint(dataset)}", "tasks": tasks, "config": config.to_json()}
    first = checkpoint.load_result(saved / FIRST, settings) if resume else None
    if first is None:
        trained = _train_once(dataset, config, tasks, saved, resume, say, fit).manifest
        first = {
            "steps": max(trained.metrics["best_step"], 1),
            "calibration": trained.calibration.to_json(),
            "proposals": trained.proposals,
            "config": trained.config.to_json(),  # with the sizes that were chosen
        }
        checkpoint.save_result(saved / FIRST, settings, first)
        (saved / checkpoint.TENSORS).unlink(missing_ok=True)
    prepared = prepare(dataset, Config.from_json(first["config"]), tasks, ALL_PARTS, say)
    second = saved / SECOND
    retrained = fit(prepared, first["steps"], second, resume and checkpoint.exists(second))
    calibrated = replace(retrained, calibration=Calibration.from_json(first["calibration"]))
    contents = contents_of(prepared, calibrated)
    contents.manifest = replace(contents.manifest, proposals=first["proposals"])
    return contents


def contents_of(prepared: TrainingData, trained: TrainingResult) -> ArtefactContents:
    """The parts of an artefact from a finished run."""
    subject = subject_of(trained.ranker, prepared)
    layout, records = layout_of(prepared.config, prepared.encoder), subject.catalogue.records
    assert isinstance(records, Records)  # training gives them unpacked
    manifest = Manifest(
        version="", checksum="", tasks=prepared.tasks, columns=dict(prepared.dataset.columns), rules=prepared.rules,
        config=prepared.config, sizes=trained.ranker.sizes, numbers=list(prepared.encoder.numbers),
        calibration=trained.calibration, proposals={}, metrics=_metrics(trained),
        dataset=_describe_data(prepared), files={},
    )  # fmt: skip
    return ArtefactContents(
        manifest, trained.ranker, prepared.encoder, prepared.dataset.entities, prepared.tables[-1],
        RecordTable.of(records), layout, prepared.users, prepared.countries, prepared.tastes[-1],
        _histories(prepared), _seen_entities(prepared), trained.calibration,
        golden_requests(subject.catalogue, prepared.rankings, prepared.histories, trained.calibration),
    )  # fmt: skip


def _describe_data(prepared: TrainingData) -> dict[str, Any]:
    """The training data, for the manifest: `evaluate` warns where its rows are the same. `derived`: task → rows."""
    dataset = prepared.dataset
    events = part_rows(dataset.events, prepared.parts).filter(pl.col("task").is_in(prepared.tasks))
    return {
        "name": dataset.name,
        "parts": list(prepared.parts),
        "derived": derived_counts(events),
        "fingerprint": fingerprint(dataset),
        "rows": TrainedRows.of(events).to_json(),
    }


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


def _seen_entities(prepared: TrainingData) -> SeenEntities:
    """The entities that each user has seen in any task, including tasks that are not trained."""
    return SeenEntities.of(part_rows(prepared.dataset.events, prepared.parts), prepared.ids)
