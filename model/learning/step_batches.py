"""The batches of each step by its number: what the learner and the process ahead of it both make. Learns nothing."""

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
    """Batches of the steps of one run, over the given units. Two over the same units give the same bits."""

    def __init__(self, prepared: TrainingData, rankings: Sequence[LabelledRanking]) -> None:
        self.prepared = prepared
        self.rankings = rankings
        self.maker = batch_maker(prepared)
        self.sampler = prepared.sampler(rankings)

    @property
    def tasks(self) -> list[str]:
        """One batch a step of each, in this order."""
        return self.sampler.tasks

    def batches(self, step: int) -> list[TrainingBatch]:
        """The batches of a step. Each step has its own generator, so that a resumed run agrees."""
        rng = np.random.default_rng([self.prepared.config.seed, step])
        return [self.maker.make(self.sampler.draw(task, rng), rng) for task in self.tasks]

    def feature_samples(self) -> list[NDArray[np.float32]]:
        """Match features [n, F] of some batches of each task, which set scale and bins; tasks count alike."""
        rng = np.random.default_rng([self.prepared.config.seed, 2**31])
        samples = []
        for task in self.tasks:
            drawn = [self.maker.make(self.sampler.draw(task, rng), rng) for _ in range(4)]
            samples.append(torch.cat([batch.features[batch.mask] for batch in drawn])[:20_000].numpy())
        return samples

    def ingredients(self) -> tuple[TrainingData, Sequence[LabelledRanking]]:
        """What another process makes the same steps of; it needs neither the rows nor the attributes."""
        dataset = self.prepared.dataset
        slim = replace(dataset, entities=[], events=dataset.events.clear())
        return replace(self.prepared, dataset=slim, rankings=[], say=_nothing), self.rankings


def _nothing(text: str) -> None:
    """Says nothing; a lambda could not be sent to another process."""


def batch_maker(prepared: TrainingData) -> BatchMaker:
    """The maker of batches over the outcome tables of a prepared dataset."""
    tables = [prepared.records(fold) for fold in range(len(prepared.tables))]
    numbers = 2 * len(prepared.encoder.numbers)
    return BatchMaker(prepared.arrays, tables, prepared.contexts(), prepared.rows, numbers, prepared.config)


def taught_rankings(prepared: TrainingData) -> Sequence[LabelledRanking]:
    """The units of a run; where the configuration asks for it, judged slates are taught by trees."""
    if prepared.config.training.teaching <= 0:
        return prepared.rankings
    maker, sampler = batch_maker(prepared), prepared.sampler(prepared.rankings)
    return taught(
        prepared.rankings, lambda ranking: maker.match(sampler.whole(ranking)), prepared.config.seed, prepared.say
    )
