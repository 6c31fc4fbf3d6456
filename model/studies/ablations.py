"""The ablation study: the same run without one part of the network, with a share of the steps.

Also each task on a tenth of its own events, trained jointly and alone: there, joint training should help most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import polars as pl

from model.context.imputation import DEFAULT_RULES, Rules, rules_to_json
from model.datasets.dataset import Dataset
from model.learning.training_data import prepare
from model.studies.cells import Cell, Result
from model.studies.network_cells import NETWORK_SECONDS, network_result, settle_steps, train_share
from model.studies.specialists_report import JOINT, TENTH_ALONE, TENTH_JOINT
from model.studies.study_data import StudyData
from model.text.normalise import stable_hash

SHARE = 1 / 3  # of the steps: enough for the order of ablations, with two seeds of each
SEEDS = 2
CUT = 0.1
NO_RULES: Rules = {
    task: {name: tuple(rule for rule in rules if rule == "required" or rule.startswith("null_")) or ("null_query",)
           for name, rules in fields.items()}
    for task, fields in DEFAULT_RULES.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variant:
    """One network of the study, described by what is removed. `task` None = joint."""

    name: str
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    rules: Rules = field(default_factory=lambda: DEFAULT_RULES)
    without_column: str | None = None
    nulls: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    cut_task: str | None = None


def variants(dataset: Dataset) -> list[Variant]:
    """The full network, and one without each of: task input, rules, learned vectors, user, country, each text."""
    country = Variant("without the country", training={"country_dropout": 1.0}, nulls={"country": None})
    countries = [country] if dataset.events["country"].drop_nulls().len() else []
    texts = [name for name, kind in dataset.columns.items() if kind in ("text", "categories")]
    return [
        Variant(JOINT),
        Variant("without task input", network={"task_input": False}),
        Variant("without imputation", rules=NO_RULES),
        Variant("without learned vectors", network={"learned_dropout": 1.0}),
        Variant(
            "without the person",
            training={"user_dropout": 1.0, "history_dropout": 1.0},
            nulls={"user_id": None, "history": ()},
        ),
        *countries,
        *(Variant(f"without {name}", without_column=name) for name in texts),
    ]


def cut_variants(tasks: Sequence[str]) -> list[Variant]:
    """Each task on a tenth of its training events: with the other tasks, and alone."""
    return [
        variant
        for task in tasks
        for variant in (
            Variant(TENTH_JOINT.format(task), cut_task=task),
            Variant(TENTH_ALONE.format(task), cut_task=task, task=task),
        )
    ]


def variant_cell(study: StudyData, variant: Variant, seed: int, share: float = SHARE) -> Cell:
    """The cell that trains and evaluates one variant."""
    config = replace(
        study.config,
        network=replace(study.config.network, **variant.network),
        training=replace(study.config.training, **variant.training),
        seed=seed,
    )
    settings = {**asdict(variant), "rules": rules_to_json(variant.rules), "config": asdict(config), "share": share}

    def run() -> Result:
        dataset = changed_dataset(study.dataset, variant)
        tasks = None if variant.task is None else [variant.task]
        data = replace(prepare(dataset, config, tasks, say=study.say), rules=variant.rules)
        training = train_share(study, data, share, variant.name)
        return network_result(study, data, training, variant.task, variant.nulls)

    return Cell(variant.name, settings, NETWORK_SECONDS * share, run)


def changed_dataset(dataset: Dataset, variant: Variant) -> Dataset:
    """The dataset without a column, or with a tenth of the training rankings of one task, chosen by hash."""
    if variant.without_column is not None:
        columns = {name: kind for name, kind in dataset.columns.items() if name != variant.without_column}
        dataset = replace(dataset, columns=columns)
    if variant.cut_task is not None:
        kept = [stable_hash(f"cut {ranking}") < CUT * 2**32 for ranking in dataset.events["ranking_id"]]
        others = (pl.col("task") != variant.cut_task) | (pl.col("part") != "train")
        dataset = replace(dataset, events=dataset.events.filter(others | pl.Series(kept)))
    return dataset


def ablation_cells(study: StudyData, seeds: int = SEEDS) -> list[Cell]:
    """All cells; the full network first."""
    settle_steps(study)
    tasks = sorted({protocol.task for protocol in study.protocols["test"].values()})
    all_variants = [*variants(study.dataset), *cut_variants(tasks)]
    return [variant_cell(study, variant, seed) for variant in all_variants for seed in range(seeds)]
