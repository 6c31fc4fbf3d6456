"""Results of cells → the report of a study: means with intervals, and differences of models, as plain JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.context.context import MORE_LIKE_THIS, SEARCH
from model.studies.cells import Result
from model.studies.comparison import holm, interval, paired, paired_mean, seed_mean
from model.studies.judged_pairs import BY_PEOPLE
from model.studies.protocols import NAMES_BY_SOMEBODY, Protocol

Floats = NDArray[np.float64]
Row = dict[str, Any]
JOINT, ALONE = "joint", "{} alone"
ASKED = "joint, {}"  # evaluated without an input
SERVED = ASKED.format("as served")  # over the proposals of the service
TENTH_JOINT, TENTH_ALONE = "joint on a tenth of {}", "{} alone on a tenth"  # of that task's training events
SHOWN = {
    "slates": ("ndcg@10",),
    "catalogue": ("recall@30",),
    "sentences": ("recall@10", "ndcg@10"),
    "tags": ("recall@30", "ndcg@10"),
    "names": ("recall@1",),
    NAMES_BY_SOMEBODY: ("recall@1",),
}
LIKENESS = ("co_likes", "shared_tags", BY_PEOPLE)  # without `family`, whose rule made labels of training
CATALOGUE_METRICS, PROXY_METRICS = ("ndcg@10", "recall@30"), ("auc",)


def metrics_of(protocol: Protocol) -> tuple[str, ...]:
    """The metrics that a report shows for a protocol."""
    return SHOWN.get(protocol.name, PROXY_METRICS if protocol.metric == "auc" else CATALOGUE_METRICS)


class Answers:
    """Per-ranking values of each model under each protocol, by seed."""

    def __init__(self, results: Iterable[Result]) -> None:
        self.by_model: dict[str, list[Result]] = defaultdict(list)
        for result in results:
            self.by_model[result["name"]].append(result)
            if result["name"] == JOINT:
                for missing, protocols in result.get("asked without", {}).items():
                    self.by_model[ASKED.format(missing)].append({**result, "protocols": protocols})
                if result.get("served"):
                    self.by_model[SERVED].append({**result, "protocols": result["served"]})

    def models(self, protocol: str) -> list[str]:
        """Models with results under a protocol."""
        return [name for name, runs in self.by_model.items() if protocol in runs[0]["protocols"]]

    def values(self, model: str, protocol: str, metric: str) -> Floats:
        """[S, R], a row for each seed."""
        runs = [run["protocols"][protocol]["values"][metric] for run in self.by_model[model]]
        return np.array([[np.nan if v is None else v for v in run] for run in runs], np.float64)

    def seeds(self, model: str) -> list[int]:
        """The seed of each run. [S]"""
        return [run["seed"] for run in self.by_model[model]]

    def groups(self, model: str, protocol: str) -> list[str]:
        """User or ranking of each value. [R]"""
        groups: list[str] = self.by_model[model][0]["protocols"][protocol]["groups"]
        return groups

    def slices(self, model: str, protocol: str) -> list[list[str]]:
        """Slices of each value. [R]"""
        slices: list[list[str]] = self.by_model[model][0]["protocols"][protocol]["slices"]
        return slices

    def named(self) -> dict[str, str]:
        """The best specialist of each task on validation, among those with the same deciding protocol."""
        best: dict[str, tuple[float, str]] = {}
        for name, (result, *_) in self.by_model.items():
            if "chosen" in result and result["task"] and result["validation"] and not _is_ours(name):
                value = float(next(iter(result["validation"].values())))
                best[result["task"]] = max(best.get(result["task"], (-np.inf, "")), (value, name))
        return {task: name for task, (_, name) in best.items()}


def _is_ours(name: str) -> bool:
    return (
        name == JOINT or name.startswith((ASKED.format(""), "without ")) or name.endswith(" alone") or "a tenth" in name
    )


def study_report(
    results: Sequence[Result], protocols: Mapping[str, Protocol], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole report of a study; `about` is copied into it."""
    answers = Answers(results)
    named = answers.named()
    differences = [row for protocol in protocols.values() for row in _differences(answers, protocol, named)]
    differences += [
        row for row in (_likeness_difference(answers, protocols, rival) for rival in answers.models(LIKENESS[0])) if row
    ]
    differences += _taste_difference(answers)
    _correct(differences)
    joint = answers.by_model.get(JOINT, [])
    return {
        **about, "named": named,
        "chosen": {name: runs[0]["chosen"] for name, runs in answers.by_model.items() if runs[0].get("chosen")},
        "seconds": round(sum(result["seconds"] for result in results), 1),
        "table": [row for protocol in protocols.values() for row in _table(answers, protocol)],
        "differences": differences,
        "curves": {f"{run['name']} seed {run['seed']}": run["curves"] for run in results if "curves" in run},
        "calibration": joint[0].get("calibration", {}) if joint else {},
    }  # fmt: skip


def _table(answers: Answers, protocol: Protocol) -> list[Row]:
    """Means with 95 % intervals of each model, over all rankings and over each slice."""
    rows = []
    for model in answers.models(protocol.name):
        groups = np.array(answers.groups(model, protocol.name), dtype=object)
        slices = answers.slices(model, protocol.name)
        names = sorted({name for group in slices for name in group})
        masks = {"all": np.ones(len(groups), bool)} | {n: np.array([n in group for group in slices]) for n in names}
        for metric in metrics_of(protocol):
            values = answers.values(model, protocol.name, metric)
            for name, mask in masks.items():
                kept = mask & np.isfinite(seed_mean(values))
                if kept.sum() >= 5:
                    value, low, high = interval(values[:, kept], groups[kept].tolist())
                    rows.append({
                        "task": protocol.task, "protocol": protocol.name, "metric": metric, "slice": name,
                        "model": model, "value": value, "low": low, "high": high, "rankings": int(kept.sum()),
                        "seeds": len(answers.by_model[model]),
                    })  # fmt: skip
    return rows


def _differences(answers: Answers, protocol: Protocol, named: Mapping[str, str]) -> list[Row]:
    """Ours minus each rival, over all rankings and over those with entities unseen in training."""
    slices = ("all", "unseen_film") if protocol.name == "slates" else ("all",)
    rows = [
        _difference(answers, protocol, metric, ours, rival, name, main)
        for ours, rival, main in _questions(answers.models(protocol.name), protocol.task, named)
        for metric in metrics_of(protocol)
        for name in slices
    ]
    return [row for row in rows if row]


def _questions(models: Sequence[str], task: str, named: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """(ours, rival, asked beforehand): joint against all on the full data, as served against the best specialist, and
    joint against alone on a tenth.
    """
    beforehand = {named.get(task), ALONE.format(task), *(name for name in models if name.startswith("without "))}
    others = [name for name in models if name != JOINT and "a tenth" not in name] if JOINT in models else []
    questions = [(JOINT, rival, rival in beforehand) for rival in others]
    if SERVED in models and named.get(task) in models:
        questions.append((SERVED, str(named[task]), True))
    joint, alone = TENTH_JOINT.format(task), TENTH_ALONE.format(task)
    return [*questions, (joint, alone, True)] if {joint, alone} <= set(models) else questions


def _likeness_difference(answers: Answers, protocols: Mapping[str, Protocol], rival: str) -> Row:
    """Ours minus a rival in the mean of the measures of likeness that the study has, with equal weights."""
    names = [name for name in LIKENESS if name in protocols]
    if rival == JOINT or len(names) < 2 or any(not {JOINT, rival} <= set(answers.models(name)) for name in names):
        return {}
    first, second = ([answers.values(model, name, "auc") for name in names] for model in (JOINT, rival))
    groups = [answers.groups(JOINT, name) for name in names]
    return {
        "question": f"{JOINT} against {rival}", "task": MORE_LIKE_THIS, "protocol": "likeness", "metric": "mean auc",
        "slice": "all", "ours": JOINT, "rival": rival, "main": False, **paired_mean(first, second, groups).to_json(),
    }  # fmt: skip


def _taste_difference(answers: Answers) -> list[Row]:
    """Whether a user's taste hurts the search for a name."""
    if JOINT not in answers.models(NAMES_BY_SOMEBODY):
        return []
    first, second = (answers.values(JOINT, name, "recall@1") for name in (NAMES_BY_SOMEBODY, "names"))
    groups = [f"name {number}" for number in range(first.shape[1])]
    return [{
        "question": "names asked by somebody against nobody", "task": SEARCH, "protocol": "names",
        "metric": "success@1", "slice": "all", "ours": "joint for somebody", "rival": "joint for nobody", "main": False,
        **paired(first, second, groups, same_runs=True).to_json(),
    }]  # fmt: skip


def _difference(
    answers: Answers, protocol: Protocol, metric: str, ours: str, rival: str, slice_name: str, main: bool
) -> Row:
    first, second = (answers.values(model, protocol.name, metric) for model in (ours, rival))
    same_runs = rival.startswith(ASKED.format(""))
    if same_runs:  # not every run was evaluated without the input
        first = first[np.isin(answers.seeds(ours), answers.seeds(rival))]
    slices = answers.slices(ours, protocol.name)
    mask = np.array([slice_name == "all" or slice_name in group for group in slices])
    if not (mask & np.isfinite(seed_mean(first)) & np.isfinite(seed_mean(second))).any():
        return {}
    groups = np.array(answers.groups(ours, protocol.name), dtype=object)[mask].tolist()
    difference = paired(first[:, mask], second[:, mask], groups, same_runs=same_runs)
    return {
        "question": f"{ours} against {rival}", "task": protocol.task, "protocol": protocol.name, "metric": metric,
        "slice": slice_name, "ours": ours, "rival": rival, "main": main, **difference.to_json(),
    }  # fmt: skip


def _correct(rows: Sequence[Row]) -> None:
    """Holm's correction over the questions asked beforehand: the main ones, on all rankings."""
    main = {str(number): row["p"] for number, row in enumerate(rows) if row["main"] and row["slice"] == "all"}
    for number, value in holm(main).items():
        rows[int(number)]["p_holm"] = value
