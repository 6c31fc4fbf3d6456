"""Likeness by people: pairs of films that people judged alike or not, found in a dataset; and the AUC of any scorer.

Only measures: all pairs are test, so nothing may be trained on them or chosen by them. `proxies.py` has the measures
that need no judgement.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.context.context import MORE_LIKE_THIS, Context
from model.datasets.dataset import Dataset
from model.evaluation.metrics import bootstrap_interval
from model.evaluation.protocols import Subject, evaluate, rank_slates
from model.events.timelines import NO_TIME, LabelledRanking
from model.studies.proxies import proxies, year_of
from model.text.normalise import normalise

BY_PEOPLE = "by_people"
COLUMNS = ("source_name", "source_year", "candidate_name", "candidate_year", "label")
Film = tuple[str, int | None]  # normalised name, year


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A source and a candidate; `label` 1 = people found them alike, 0 = they did not."""

    source: Film
    candidate: Film
    label: float


def read_pairs(file: Path) -> list[JudgedPair]:
    """Read a CSV file with `COLUMNS`; an empty year = unknown. Raises ValueError with the line of the first bad row."""
    if not file.is_file():
        raise ValueError(f"{file}: expected a CSV file of pairs that people judged, found none")
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"expected the columns {', '.join(COLUMNS)}; there is no {', '.join(missing)}")
            pairs = [_pair(row) for row in reader]
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{file}, line {max(reader.line_num, 1)}: {error}") from error
    if not pairs:
        raise ValueError(f"{file}: expected at least one pair, found none")
    return pairs


def _pair(row: Mapping[str, str | None]) -> JudgedPair:
    if row["label"] not in ("0", "1"):
        raise ValueError(f"label: expected 0 or 1, got '{row['label']}'")
    return JudgedPair(_film(row, "source"), _film(row, "candidate"), float(row["label"]))


def _film(row: Mapping[str, str | None], side: str) -> Film:
    name, year = normalise(row[f"{side}_name"] or ""), (row[f"{side}_year"] or "").strip()
    if not name:
        raise ValueError(f"{side}_name: expected a name, got '{row[f'{side}_name'] or ''}'")
    if year and not (year.isascii() and year.isdigit()):
        raise ValueError(f"{side}_year: expected a year, got '{year}'")
    return name, int(year) if year else None


def judged_rankings(
    pairs: Iterable[JudgedPair], entities: Iterable[Mapping[str, object]]
) -> tuple[list[LabelledRanking], int]:
    """One labelled ranking per source, in the order of the pairs; and the number of pairs that are left out.

    A film is the only entity of its name and year. Pairs with a film that no entity or several entities match are left
    out, as is a pair of an entity with itself.
    """
    ids = _ids_of_films(entities)
    sources: dict[str, list[tuple[str, float]]] = defaultdict(list)
    left_out = 0
    for pair in pairs:
        source, candidate = ids.get(pair.source), ids.get(pair.candidate)
        if source is None or candidate is None or source == candidate:
            left_out += 1
        else:
            sources[source].append((candidate, pair.label))
    return [_ranking(source, judged) for source, judged in sources.items()], left_out


def _ids_of_films(entities: Iterable[Mapping[str, object]]) -> dict[Film, str]:
    found: dict[Film, list[str]] = defaultdict(list)
    for entity in entities:
        film = normalise(str(entity["display_name"])), year_of(entity)
        found[film].append(str(entity["entity_id"]))
    return {film: ids[0] for film, ids in found.items() if len(ids) == 1}


def _ranking(source: str, judged: Sequence[tuple[str, float]]) -> LabelledRanking:
    candidates, labels = zip(*judged, strict=True)
    context = Context(task=MORE_LIKE_THIS, source_entity_id=source)
    return LabelledRanking(context, candidates, np.array(labels), np.full(len(labels), NO_TIME), slate=True)


def likeness(subject: Subject, dataset: Dataset, pairs: Sequence[JudgedPair]) -> tuple[dict[str, dict[str, Any]], int]:
    """The AUC of a scorer by each measure of likeness that has rankings; and the number of pairs left out.

    By name, people first: `within` (mean AUC of a source) and `pooled` (AUC of all pairs together), each {value, low,
    high} from a bootstrap over sources, or None where it is undefined; `sources` and `pairs` are counts.
    """
    judged, left_out = judged_rankings(pairs, dataset.entities)
    measures = {BY_PEOPLE: judged, **proxies(dataset, "test")}
    return {name: _aucs(subject, rankings) for name, rankings in measures.items() if rankings}, left_out


def _aucs(subject: Subject, rankings: Sequence[LabelledRanking]) -> dict[str, Any]:
    ranked = rank_slates(subject, rankings, {}, lambda: None)
    within = [auc for auc in ranked.values["auc"] if np.isfinite(auc)]
    interval = dict(zip(("value", "low", "high"), bootstrap_interval(within), strict=True)) if within else None
    report = evaluate(subject, rankings, {}, np.zeros(len(subject.rows)))[MORE_LIKE_THIS]
    pairs = sum(len(ranking.labels) for ranking in rankings)
    return {"within": interval, "pooled": report["auc"], "sources": len(rankings), "pairs": pairs}
