"""The models that a study of specialists compares: what each is tuned over, and how it is made.

Every specialist has at most nine settings to choose from, by its own main metric on validation. Our network is in
the list as *joint* and, once a task, *alone*: the same network and steps, with that task's events and nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from model.baselines.bm25 import ALL, BM25
from model.baselines.content import TfIdfContent
from model.baselines.ease import EASE
from model.baselines.ials import IALS
from model.baselines.item_knn import ItemKNN
from model.baselines.lambdamart import LambdaMART
from model.baselines.popularity import Popularity
from model.baselines.sasrec import SASRec
from model.config import Config
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH
from model.datasets.dataset import Dataset
from model.evaluation.metrics import ece
from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import Ranked, Subject
from model.events.timelines import timelines
from model.features import matching
from model.learning.calibration import Calibration
from model.learning.prepared import Prepared, part_rows, prepare
from model.learning.ranker_training import Trained, steps_for, train
from model.learning.validation import subject_of
from model.network.catalogue import CatalogueRanker
from model.studies.asked_without import ways
from model.studies.cells import Cell, Result
from model.studies.protocols import Protocol, answers, ask, histories_before, main_value, protocols
from model.studies.specialists_report import ALONE, JOINT
from model.studies.subjects import (
    Bm25Subject,
    ClassicTrees,
    FeatureTrees,
    LikesSubject,
    OwnEvents,
    Without,
    WordFeatures,
    field_texts,
    slates_of,
)

Settings = Mapping[str, Any]
Say = Callable[[str], None]
NOTHING: Settings = MappingProxyType({})
CALIBRATION_BINS = 10
NETWORK_SECONDS, TREES_SECONDS, PLAIN_SECONDS = 600.0, 240.0, 90.0


class World:
    """A dataset with what several specialists share, made when first asked for."""

    def __init__(self, dataset: Dataset, config: Config, say: Say = lambda _: None) -> None:
        self.dataset, self.config, self.say = dataset, config, say
        self.rows = {str(entity["entity_id"]): row for row, entity in enumerate(dataset.entities)}

    @cached_property
    def protocols(self) -> dict[str, dict[str, Protocol]]:
        """Part → name → protocol."""
        return {part: {p.name: p for p in protocols(self.dataset, part)} for part in ("validation", "test")}

    @cached_property
    def histories(self) -> dict[str, Any]:
        """Part → what users did before it."""
        return {part: histories_before(self.dataset, part) for part in ("validation", "test")}

    @cached_property
    def likes(self) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Users and items of the training likes, with their numbers."""
        positive = self._liked()
        _, users = np.unique(np.array(positive["user_id"].to_list(), dtype=object), return_inverse=True)
        items = np.array([self.rows[entity] for entity in positive["entity_id"]], np.int64)
        return users.astype(np.int64), items, int(users.max(initial=-1)) + 1, len(self.rows)

    @cached_property
    def sequences(self) -> list[np.ndarray]:
        """Training likes of each user, oldest first."""
        lines = timelines(self._liked()).values()
        return [np.array([self.rows[event.entity_id] for event in line.events], np.int64) for line in lines]

    @cached_property
    def popularity(self) -> np.ndarray:
        """Positive training rows of each entity. [N]"""
        positive = part_rows(self.dataset.events, ("train",)).filter(pl.col("label") > 0)["entity_id"]
        return np.bincount([self.rows[entity] for entity in positive], minlength=len(self.rows))

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """Text of each field of each entity."""
        return field_texts(self.dataset.entities, self.dataset.columns)

    @cached_property
    def index(self) -> BM25:
        """BM25 of all fields."""
        return BM25().fit(self.texts)

    @cached_property
    def words(self) -> WordFeatures:
        """The features of the classic LambdaMART."""
        return WordFeatures(self.index, self.dataset.entities, self.dataset.columns, self.popularity)

    @cached_property
    def match_catalogue(self) -> CatalogueRanker:
        """An untrained network's catalogue: match features need no weights."""
        prepared = prepare(self.dataset, self.config, say=self.say)
        return subject_of(prepared.ranker().eval(), prepared).catalogue

    def _liked(self) -> pl.DataFrame:
        rows = part_rows(self.dataset.events, ("train",))
        keep = (pl.col("label") > 0) & pl.col("user_id").is_not_null() & (pl.col("task") != MORE_LIKE_THIS)
        return rows.filter(keep)


@dataclass(frozen=True, slots=True)
class Specialist:
    """A model of others for one task, with the settings to choose from; `protocols[0]` decides."""

    name: str
    task: str
    protocols: tuple[str, ...]
    grid: Sequence[Settings]
    make: Callable[[World, Settings], Subject]
    seconds: float = PLAIN_SECONDS


def _grid(**choices: Sequence[Any]) -> Sequence[Settings]:
    combined: list[dict[str, Any]] = [{}]
    for name, values in choices.items():
        combined = [{**settings, name: value} for settings in combined for value in values]
    return combined


# ── how each is made ────────────────────────────────────────────────────────────────────────────────────────


def _popularity(world: World, _: Settings) -> Subject:
    return LikesSubject(Popularity().fit(*world.likes), world.rows)


def _item_knn(world: World, settings: Settings) -> Subject:
    return LikesSubject(ItemKNN(**settings).fit(*world.likes), world.rows)


def _ease(world: World, settings: Settings) -> Subject:
    return LikesSubject(EASE(**settings).fit(*world.likes), world.rows)


def _ials(world: World, settings: Settings) -> Subject:
    return LikesSubject(IALS(**settings).fit(*world.likes), world.rows)


def _sasrec(world: World, settings: Settings) -> Subject:
    model = SASRec(**settings)
    subject = LikesSubject(model, world.rows)

    def validate() -> float:
        protocol = world.protocols["validation"][HOMEPAGE]
        return main_value(ask(subject, protocol, world.histories["validation"]), protocol)

    model.fit(world.sequences, len(world.rows), validate)
    return subject


def _content(world: World, _: Settings) -> Subject:
    whole = [" ".join(parts) for parts in zip(*world.texts.values(), strict=True)]
    return LikesSubject(TfIdfContent().fit(whole), world.rows)


def _bm25(world: World, settings: Settings) -> Subject:
    return Bm25Subject(world.index, settings["column"], world.rows)


def _trees_on_words(world: World, settings: Settings) -> Subject:
    train_, valid = _slates(world)
    words = world.words if settings["numbers"] else world.words.without_numbers()
    made = [slates_of(u, world.rows, lambda c, r: words(c.query or "", r)) for u in (train_, valid)]
    trees = {name: value for name, value in settings.items() if name != "numbers"}
    return ClassicTrees(LambdaMART(**trees).fit(*made), words, world.rows)


def _trees_on_features(world: World, settings: Settings) -> Subject:
    subject = FeatureTrees(LambdaMART(**settings), world.match_catalogue)
    made = [slates_of(units, world.rows, subject.features) for units in _slates(world)]
    subject.model.fit(*made)
    return subject


def _slates(world: World) -> tuple[Sequence[Any], Sequence[Any]]:
    """Judged slates of training and validation."""
    from model.events.timelines import units

    every = units(part_rows(world.dataset.events, ("train",)).filter(pl.col("task") == SEARCH))
    return [unit for unit in every if unit.slate], world.protocols["validation"]["slates"].units


LIKENESS = ("co_likes", "shared_tags", "family", "derived")
SEARCHES = ("slates", "catalogue", "tags", "sentences")
NEIGHBOURS = _grid(neighbours=(50, 200, 800), shrink=(0.0, 10.0, 50.0))
RECENT = _grid(ridge=(150.0, 300.0, 500.0), recency=((0.9, 0.1), (0.9, 0.3), (0.97, 0.1)))
CONFIDENCE = _grid(factors=(32, 64, 128), alpha=(1.0, 5.0, 20.0))
TREES = _grid(leaves=(15, 31, 63), learning_rate=(0.03, 0.06))
TREES_ON_WORDS = _grid(leaves=(15, 31, 63), learning_rate=(0.06,), numbers=(True, False))
SPECIALISTS = (
    Specialist("bm25", SEARCH, SEARCHES, _grid(column=("display_name", ALL, "name + all")), _bm25),
    Specialist("lambdamart words", SEARCH, SEARCHES, TREES_ON_WORDS, _trees_on_words, TREES_SECONDS),
    Specialist("lambdamart our features", SEARCH, SEARCHES, TREES, _trees_on_features, TREES_SECONDS),
    Specialist("popularity", HOMEPAGE, (HOMEPAGE,), [{}], _popularity),
    Specialist("item knn", HOMEPAGE, (HOMEPAGE,), NEIGHBOURS, _item_knn),
    Specialist("ease", HOMEPAGE, (HOMEPAGE,), _grid(ridge=(50.0, 100.0, 200.0, 300.0, 500.0, 1000.0)), _ease),
    Specialist("ease recency", HOMEPAGE, (HOMEPAGE,), RECENT, _ease),
    Specialist("ials", HOMEPAGE, (HOMEPAGE,), CONFIDENCE, _ials),
    Specialist("sasrec", HOMEPAGE, (HOMEPAGE,), _grid(width=(64, 128), dropout=(0.3, 0.5)), _sasrec, 2600.0),
    Specialist("content", MORE_LIKE_THIS, LIKENESS, [{}], _content),
    Specialist("item knn of the source", MORE_LIKE_THIS, LIKENESS, _grid(neighbours=(200, 800)), _item_knn),
)  # fmt: skip


# ── cells ───────────────────────────────────────────────────────────────────────────────────────────────────


def specialist_cell(world: World, specialist: Specialist) -> Cell:
    """Choose a setting on validation, then answer the test protocols."""

    def run() -> Result:
        deciding = next(name for name in specialist.protocols if name in world.protocols["validation"])
        protocol = world.protocols["validation"][deciding]
        best, best_value, chosen = None, -np.inf, {}
        for settings in specialist.grid:
            world.say(f"{specialist.name} {dict(settings)}")
            subject = specialist.make(world, settings)
            value = main_value(ask(subject, protocol, world.histories["validation"]), protocol)
            if value > best_value:
                best, best_value, chosen = subject, value, dict(settings)
        assert best is not None
        found = _asked(world, best, specialist.protocols)
        return {
            "task": specialist.task, "seed": 0, "chosen": chosen, "validation": {deciding: best_value},
            "protocols": {name: answers(ranked) for name, ranked in found.items()},
        }  # fmt: skip

    settings = {"grid": [dict(settings) for settings in specialist.grid], "protocols": specialist.protocols}
    if specialist.make is _trees_on_features:
        settings["features"] = inspect.getsource(matching)  # other features are another specialist
    return Cell(specialist.name, settings, specialist.seconds, run)


def network_cell(world: World, task: str | None, seed: int, share: float = 1.0, name: str | None = None) -> Cell:
    """Our network on all tasks (`task` None) or on one; `share` of the steps, and then two such runs make a claim."""
    config = replace(world.config, seed=seed)

    def run() -> Result:
        every = prepare(world.dataset, config, None, say=world.say) if task is None else None
        prepared = every or prepare(world.dataset, config, [task or ""], say=world.say)
        steps = max(1, round(share * config.training.steps))

        def report(step: int, of: int, note: str) -> None:
            if step % 50 == 0:
                world.say(f"{label} seed {seed}: step {step} of {of}")

        return network_result(
            world, prepared, train(prepared, steps, report=report), task, seed, ask_less=task is None and seed == 0
        )

    label = name or (JOINT if task is None else ALONE.format(task))
    asked = sorted(p.name for p in world.protocols["test"].values() if task in (None, p.task))
    settings = {"config": asdict(config), "task": task, "share": share, "protocols": asked}
    return Cell(label, settings, NETWORK_SECONDS * share, run)


def network_result(
    world: World,
    prepared: Prepared,
    trained: Trained,
    task: str | None,
    seed: int,
    nulls: Settings = NOTHING,
    ask_less: bool = False,
) -> Result:
    """Answers of a trained network to the test protocols of its task, or of all.

    `nulls` are fields it is not given; `ask_less` also asks without imputation and without the person.
    """
    whole = subject_of(trained.ranker, prepared)
    network: Subject = Without(whole, **nulls) if nulls else whole
    subject = network if task is None else OwnEvents(network, task)
    found = _asked(world, subject, [p.name for p in world.protocols["test"].values() if task in (None, p.task)])
    best = next((values for step, _, values in trained.history.validations if step == trained.best_step), {})
    return {
        "task": task, "seed": seed, "chosen": {}, "validation": best,
        "protocols": {name: answers(ranked) for name, ranked in found.items()},
        "asked without": _asked_without(world, whole, prepared) if ask_less else {},
        "calibration": _calibration(world, found, trained.calibration),
        "curves": {"losses": trained.history.losses[::5], "validations": trained.history.validations},
    }  # fmt: skip


def _asked(world: World, subject: Subject, names: Sequence[str]) -> dict[str, Ranked]:
    found = {}
    for name in names:
        if name in world.protocols["test"]:
            protocol = world.protocols["test"][name]
            done = 0

            def step(name: str = name, total: int = len(protocol.units)) -> None:
                nonlocal done
                done += 1
                if done % 50 == 0:
                    world.say(f"{name}: {done} of {total}")

            found[name] = ask(subject, protocol, world.histories["test"], step)
    return found


def _asked_without(world: World, network: NetworkSubject, prepared: Prepared) -> dict[str, Any]:
    """Answers to the protocols in which less can be told, by way of asking and protocol."""
    result = {}
    for way in ways(prepared.rules):
        names = [p.name for p in world.protocols["test"].values() if p.task in way.tasks]
        asked = _asked(world, way.subject(network), [n for n in names if way.protocols is None or n in way.protocols])
        result[way.name] = {name: answers(ranked) for name, ranked in asked.items()}
    return result


def _calibration(world: World, found: Mapping[str, Ranked], calibration: Calibration) -> dict[str, Any]:
    """Stated against observed on the labelled rows of the test part, once a task."""
    report = {}
    for name, ranked in found.items():
        protocol = world.protocols["test"][name]
        if name not in ("slates", HOMEPAGE):
            continue
        p = calibration.probability(protocol.task, np.concatenate(ranked.logits))
        labels = np.concatenate(ranked.labels)
        report[protocol.task] = {"ece": ece(p, labels), "bins": _bins(p, labels > 0)}
    return report


def _bins(p: np.ndarray, positive: np.ndarray) -> list[dict[str, float]]:
    place = np.minimum((p * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {"predicted": float(p[own].mean()), "observed": float(positive[own].mean()), "count": int(own.sum())}
        for own in (place == number for number in range(CALIBRATION_BINS))
        if own.any()
    ]


def study_cells(world: World, seeds: int) -> list[Cell]:
    """All cells, those that take longest last."""
    tasks = sorted({protocol.task for protocol in world.protocols["test"].values()})
    others = [specialist_cell(world, s) for s in SPECIALISTS if s.task in tasks]
    settle_steps(world)
    networks = [network_cell(world, task, seed) for seed in range(seeds) for task in (None, *tasks)]
    return others + networks


def settle_steps(world: World) -> None:
    """Where the configuration leaves the number of steps to the dataset, ask it once: all networks take as many."""
    config = world.config
    if not config.training.steps:
        steps = steps_for(config.training, prepare(world.dataset, config, say=world.say))
        world.config = replace(config, training=replace(config.training, steps=steps))
