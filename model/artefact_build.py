"""From a dataset to a model folder: prepare, train, calibrate, pack, write. The loop itself is in `training.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.artefact_files import Contents, Manifest, layout_of, refuse_foreign, write
from model.artefact_golden import golden
from model.artefact_index import index_large
from model.config import Config
from model.data.context import HistoryEvent
from model.data.dataset import Dataset
from model.data.record_table import RecordTable
from model.data.records import Records
from model.learning.prepared import Prepared, prepare
from model.learning.training import Trained, steps_for, subject_of, train

ALL_PARTS = ("train", "validation", "test")
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
    refuse_foreign(out)
    training = out.with_name(f".{out.name}.training")
    if not resume:
        shutil.rmtree(training, ignore_errors=True)
    prepared = prepare(dataset, config, tasks, say=say)
    trained = train(prepared, steps_for(config.training, prepared), training, resume, report)
    if every_part:
        calibration, steps = trained.calibration, max(trained.best_step, 1)
        shutil.rmtree(training, ignore_errors=True)
        prepared = prepare(dataset, config, tasks, ALL_PARTS, say)
        trained = replace(train(prepared, steps, training, False, report), calibration=calibration)
    say("writing the model")
    manifest = index_large(out, write(out, contents_of(prepared, trained), dataset.name), report)
    shutil.rmtree(training, ignore_errors=True)
    return manifest


def contents_of(prepared: Prepared, trained: Trained) -> Contents:
    """The parts of an artefact from a finished run."""
    subject = subject_of(trained.ranker, prepared)
    layout, records = layout_of(prepared.config, prepared.encoder), subject.catalogue.records
    assert isinstance(records, Records)  # as they come from training, in full width
    manifest = Manifest(
        version="", checksum="", tasks=prepared.tasks, columns=dict(prepared.dataset.columns), rules=prepared.rules,
        config=prepared.config, sizes=trained.ranker.sizes, numbers=list(prepared.encoder.numbers),
        calibration=trained.calibration, metrics=_metrics(trained),
        dataset={"name": prepared.dataset.name, "parts": list(prepared.parts)}, files={},
    )  # fmt: skip
    return Contents(
        manifest, trained.ranker, prepared.encoder, prepared.dataset.entities, prepared.tables[-1],
        RecordTable.of(records), layout, prepared.users, prepared.countries, prepared.tastes[-1],
        _histories(prepared), trained.calibration,
        golden(subject.catalogue, prepared.units, prepared.histories, trained.calibration),
    )  # fmt: skip


def _metrics(trained: Trained) -> dict[str, Any]:
    best = next((values for step, _, values in trained.history.validations if step == trained.best_step), {})
    return {"validation_ndcg@10": best, "steps": len(trained.history.losses), "best_step": trained.best_step}


def _histories(prepared: Prepared) -> dict[str, tuple[HistoryEvent, ...]]:
    longest = prepared.config.network.profile_length
    return {user: tuple(timeline.events[-longest:]) for user, timeline in prepared.histories.items()}
