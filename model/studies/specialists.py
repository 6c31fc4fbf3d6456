"""The specialists of a study: the task, the grid of settings and the constructor of each.

Every specialist has at most nine settings. Tuning and evaluation are in `specialist_cells.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from model.baselines.bm25 import ALL
from model.baselines.content import TfIdfContent
from model.baselines.ease import EASE
from model.baselines.ials import IALS
from model.baselines.item_knn import ItemKNN
from model.baselines.lambdamart import LambdaMART
from model.baselines.popularity import Popularity
from model.baselines.sasrec import SASRec
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH
from model.evaluation.protocols import Subject
from model.events.timelines import labelled_rankings
from model.learning.training_data import part_rows
from model.studies.judged_pairs import BY_PEOPLE
from model.studies.study_data import StudyData
from model.studies.subjects import Bm25Subject, ClassicTrees, FeatureTrees, LikesSubject, slates_of

Settings = Mapping[str, Any]
TREES_SECONDS, PLAIN_SECONDS = 240.0, 90.0


@dataclass(frozen=True, slots=True)
class Specialist:
    """A model from the literature for one task, with a grid of settings; `protocols[0]` decides."""

    name: str
    task: str
    protocols: tuple[str, ...]
    grid: Sequence[Settings]
    make: Callable[[StudyData, Settings], Subject]
    seconds: float = PLAIN_SECONDS


def _grid(**choices: Sequence[Any]) -> Sequence[Settings]:
    combined: list[dict[str, Any]] = [{}]
    for name, values in choices.items():
        combined = [{**settings, name: value} for settings in combined for value in values]
    return combined


# ── constructors ──────────────────────────────────────────────────────────────────────────────────────────────


def _popularity(study: StudyData, _: Settings) -> Subject:
    return LikesSubject(Popularity().fit(*study.likes), study.rows)


def _item_knn(study: StudyData, settings: Settings) -> Subject:
    return LikesSubject(ItemKNN(**settings).fit(*study.likes), study.rows)


def _ease(study: StudyData, settings: Settings) -> Subject:
    return LikesSubject(EASE(**settings).fit(*study.likes), study.rows)


def _ials(study: StudyData, settings: Settings) -> Subject:
    return LikesSubject(IALS(**settings).fit(*study.likes), study.rows)


def _sasrec(study: StudyData, settings: Settings) -> Subject:
    model = SASRec(**settings)
    subject = LikesSubject(model, study.rows)
    model.fit(study.sequences, len(study.rows), lambda: study.validation_value(subject, HOMEPAGE))
    return subject


def _content(study: StudyData, _: Settings) -> Subject:
    texts = [" ".join(parts) for parts in zip(*study.texts.values(), strict=True)]
    return LikesSubject(TfIdfContent().fit(texts), study.rows)


def _bm25(study: StudyData, settings: Settings) -> Subject:
    return Bm25Subject(study.index, settings["column"], study.rows)


def _trees_on_words(study: StudyData, settings: Settings) -> Subject:
    train_, valid = _slates(study)
    words = study.words if settings["numbers"] else study.words.without_numbers()
    slates = [slates_of(u, study.rows, lambda c, r: words(c.query or "", r)) for u in (train_, valid)]
    trees = {name: value for name, value in settings.items() if name != "numbers"}
    return ClassicTrees(LambdaMART(**trees).fit(*slates), words, study.rows)


def trees_on_features(study: StudyData, settings: Settings) -> Subject:
    """LambdaMART on the match features of our network: other features are another specialist."""
    subject = FeatureTrees(LambdaMART(**settings), study.match_catalogue)
    slates = [slates_of(rankings, study.rows, subject.features) for rankings in _slates(study)]
    subject.model.fit(*slates)
    return subject


def _slates(study: StudyData) -> tuple[Sequence[Any], Sequence[Any]]:
    """Judged slates of training and validation."""
    rows = part_rows(study.dataset.events, ("train",)).filter(pl.col("task") == SEARCH)
    rankings = labelled_rankings(rows, masked=True)  # as our network is trained
    return [ranking for ranking in rankings if ranking.slate], study.protocols["validation"]["slates"].rankings


LIKENESS = ("co_likes", "shared_tags", "family", BY_PEOPLE, "derived")
SEARCHES = ("slates", "catalogue", "tags", "sentences")
NEIGHBOURS = _grid(neighbours=(50, 200, 800), shrink=(0.0, 10.0, 50.0))
RECENT = _grid(ridge=(150.0, 300.0, 500.0), recency=((0.9, 0.1), (0.9, 0.3), (0.97, 0.1)))
CONFIDENCE = _grid(factors=(32, 64, 128), alpha=(1.0, 5.0, 20.0))
TREES = _grid(leaves=(15, 31, 63), learning_rate=(0.03, 0.06))
TREES_ON_WORDS = _grid(leaves=(15, 31, 63), learning_rate=(0.06,), numbers=(True, False))
SPECIALISTS = (
    Specialist("bm25", SEARCH, SEARCHES, _grid(column=("display_name", ALL, "name + all")), _bm25),
    Specialist("lambdamart words", SEARCH, SEARCHES, TREES_ON_WORDS, _trees_on_words, TREES_SECONDS),
    Specialist("lambdamart our features", SEARCH, SEARCHES, TREES, trees_on_features, TREES_SECONDS),
    Specialist("popularity", HOMEPAGE, (HOMEPAGE,), [{}], _popularity),
    Specialist("item knn", HOMEPAGE, (HOMEPAGE,), NEIGHBOURS, _item_knn),
    Specialist("ease", HOMEPAGE, (HOMEPAGE,), _grid(ridge=(50.0, 100.0, 200.0, 300.0, 500.0, 1000.0)), _ease),
    Specialist("ease recency", HOMEPAGE, (HOMEPAGE,), RECENT, _ease),
    Specialist("ials", HOMEPAGE, (HOMEPAGE,), CONFIDENCE, _ials),
    Specialist("sasrec", HOMEPAGE, (HOMEPAGE,), _grid(width=(64, 128), dropout=(0.3, 0.5)), _sasrec, 2600.0),
    Specialist("content", MORE_LIKE_THIS, LIKENESS, [{}], _content),
    Specialist("item knn of the source", MORE_LIKE_THIS, LIKENESS, _grid(neighbours=(200, 800)), _item_knn),
)  # fmt: skip
