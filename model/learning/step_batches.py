"""The batches of each step by its number, for the training process or the one that works ahead. Does not train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.events.timelines import LabelledRanking
from model.learning.batches import BatchMaker, TrainingBatch
from model.learning.teacher import taught
from model.learning.training_data import TrainingData


class StepBatches:
    """Batches of the steps of one run, over labelled rankings. Equal rankings give bitwise equal batches."""

    def __init__(self, data: TrainingData, rankings: Sequence[LabelledRanking]) -> None:
        self.data = data
        self.rankings = rankings
        self.maker = batch_maker(data)
        self.sampler = data.sampler(rankings)

    @property
    def tasks(self) -> list[str]:
        """The tasks; each step has one batch of each, in this order."""
        return self.sampler.tasks

    def batches(self, step: int) -> list[TrainingBatch]:
        """The batches of a step. Each step has its own generator, so that a resumed run is reproducible."""
        rng = np.random.default_rng([self.data.config.seed, step])
        return [self.maker.make(self.sampler.draw(task, rng), rng) for task in self.tasks]

    def feature_samples(self) -> list[NDArray[np.float32]]:
        """Match features [n, F] of some batches of each task, to set scales and bins; tasks have equal weight."""
        rng = np.random.default_rng([self.data.config.seed, 2**31])
        samples = []
        for task in self.tasks:
            drawn = [self.maker.make(self.sampler.draw(task, rng), rng) for _ in range(4)]
            samples.append(torch.cat([batch.features[batch.mask] for batch in drawn])[:20_000].numpy())
        return samples

    def job(self) -> tuple[TrainingData, Sequence[LabelledRanking]]:
        """Arguments for the same steps in another process, without rows and attributes, which it does not need."""
        dataset = self.data.dataset
        slim = replace(dataset, entities=[], events=dataset.events.clear())
        return replace(self.data, dataset=slim, rankings=[], say=_ignore), self.rankings


def _ignore(text: str) -> None:
    """Does nothing; a lambda could not be pickled for another process."""


def batch_maker(data: TrainingData) -> BatchMaker:
    """A batch maker over the outcome tables of the training data."""
    tables = [data.records(fold) for fold in range(len(data.tables))]
    numbers = 2 * len(data.encoder.numbers)
    return BatchMaker(data.arrays, tables, data.contexts(), data.rows, numbers, data.config)


def taught_rankings(data: TrainingData) -> Sequence[LabelledRanking]:
    """The labelled rankings of a run; if configured, judged slates carry scores of boosted trees."""
    if data.config.training.teaching <= 0:
        return data.rankings
    maker, sampler = batch_maker(data), data.sampler(data.rankings)
    return taught(data.rankings, lambda ranking: maker.match(sampler.whole(ranking)), data.config.seed, data.say)
