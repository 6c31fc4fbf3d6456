"""The state of a training run on disk, for resuming: one safetensors file, the position in its header."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.datasets.atomic_writes import sync_entry, write_file_atomically

TENSORS = "training.safetensors"


class CheckpointError(ValueError):
    """There is no checkpoint to resume from, or it is of another run."""


@dataclass(slots=True)
class SavedRun:
    """A loaded checkpoint; `optimiser` has the form of `Optimizer.state_dict()`."""

    networks: dict[str, dict[str, Tensor]]
    optimiser: dict[str, Any]
    position: dict[str, Any]


def save(
    folder: Path,
    networks: dict[str, dict[str, Tensor]],
    optimiser: dict[str, Any],
    position: dict[str, Any],
) -> None:
    """Write a checkpoint. `networks`: states of one network by name, such as now, mean and best.

    Writes to a new file, then renames it, so that an interruption leaves the older checkpoint intact.
    Raises `CheckpointError` if the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moments = {f"optimiser.{k}.{name}": v for k, state in optimiser["state"].items() for name, v in state.items()}
    weights = {f"network.{name}.{k}": v for name, state in networks.items() for k, v in state.items()}
    tensors = weights | moments
    header = {"position": json.dumps(position)}
    new = folder / f"{TENSORS}.new"
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, new, header)
        sync_entry(new)
        new.rename(folder / TENSORS)
        sync_entry(folder)
    except (OSError, SafetensorError) as error:
        new.unlink(missing_ok=True)
        raise CheckpointError(f"{folder}: no checkpoint could be written, the one before stays ({error})") from error


def load(folder: Path, optimiser: dict[str, Any]) -> SavedRun:
    """Read a checkpoint; `optimiser` is a fresh state whose parameter groups are kept.

    Raises `CheckpointError` if there is none.
    """
    try:
        tensors = load_file(folder / TENSORS)
        with safe_open(folder / TENSORS, framework="pt") as file:
            position = json.loads(file.metadata()["position"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: no checkpoint to resume from ({error})") from error
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _with_prefix(tensors, "optimiser.").items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    moments = {"state": state, "param_groups": optimiser["param_groups"]}
    weights = _with_prefix(tensors, "network.")
    names = sorted({key.split(".", 1)[0] for key in weights})
    return SavedRun({name: _with_prefix(weights, f"{name}.") for name in names}, moments, position)


def exists(folder: Path) -> bool:
    """Whether there is a checkpoint to resume from."""
    return (folder / TENSORS).is_file()


def save_result(file: Path, run: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Write the result of a finished training, with the settings of its run."""
    write_file_atomically(file, json.dumps({"run": run, "result": result}).encode())


def load_result(file: Path, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result written by `save_result`, or None. Raises `CheckpointError` if it is of another run."""
    try:
        table = json.loads(file.read_bytes())
        saved, result = table["run"], dict(table["result"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: no checkpoint to resume from ({error})") from error
    check_same_run(file.parent, saved, json.loads(json.dumps(run)))
    return result


def check_same_run(folder: Path, saved: Mapping[str, Any], requested: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` if the saved run and the requested one differ."""
    if saved.get("steps") != requested.get("steps"):
        raise CheckpointError(
            f"{folder}: the checkpoint is of a run of {saved.get('steps')} steps, this one has {requested.get('steps')}"
        )
    before, now = dict(_flat(saved)), dict(_flat(requested))
    differences = [
        f"{name} {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted(before | now)
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise CheckpointError(f"{folder}: the checkpoint is of another run: {', '.join(differences)}")


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", entry) for key, entry in _flat(value))
        else:
            yield name, value


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
