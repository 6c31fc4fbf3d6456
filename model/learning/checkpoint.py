"""The state of a training run on disk, so that it can go on: one safetensors file, the position in its header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

TENSORS = "training.safetensors"


class CheckpointError(ValueError):
    """There is no checkpoint to go on from, or it is not of this run."""


@dataclass(slots=True)
class Saved:
    """What `load` gives back; `optimiser` has the form of `Optimizer.state_dict()`."""

    networks: dict[str, dict[str, Tensor]]
    optimiser: dict[str, Any]
    position: dict[str, Any]


def save(
    folder: Path,
    networks: dict[str, dict[str, Tensor]],
    optimiser: dict[str, Any],
    position: dict[str, Any],
) -> None:
    """`networks`: states of one network by name, such as now, mean and best.

    Writes to a new file, then renames it, so that a stop in between leaves the older checkpoint whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moments = {f"optimiser.{k}.{name}": v for k, state in optimiser["state"].items() for name, v in state.items()}
    weights = {f"network.{name}.{k}": v for name, state in networks.items() for k, v in state.items()}
    tensors = weights | moments
    header = {"position": json.dumps(position)}
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / f"{TENSORS}.new", header)
    (folder / f"{TENSORS}.new").rename(folder / TENSORS)


def load(folder: Path, optimiser: dict[str, Any]) -> Saved:
    """Read a checkpoint; `optimiser` is a fresh state whose parameter groups are kept.

    Raises `CheckpointError` where there is none.
    """
    try:
        tensors = load_file(folder / TENSORS)
        with safe_open(folder / TENSORS, framework="pt") as file:
            position = json.loads(file.metadata()["position"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: no checkpoint to resume from ({error})") from error
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimiser.").items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    moments = {"state": state, "param_groups": optimiser["param_groups"]}
    weights = _below(tensors, "network.")
    names = sorted({key.split(".", 1)[0] for key in weights})
    return Saved({name: _below(weights, f"{name}.") for name in names}, moments, position)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
