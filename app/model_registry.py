"""Finds the model folder that the settings name, has the demo's made where there is none, and loads it.

Does not serve, swap or compare models.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import ModelNotFoundError

if TYPE_CHECKING:
    from model.artefact import Artefact


def find_model(path: Path | None) -> Path:
    """`path` itself, or the version that its file `LIVE` names. Raises `ModelNotFoundError`."""
    if path is None:
        raise ModelNotFoundError("no model: set UNIRANK_MODEL_PATH to a model folder")
    if not path.is_dir():
        raise ModelNotFoundError(f"no model: {path} is not a folder")
    live = path / "LIVE"
    folder = path / live.read_text(encoding="utf-8").strip() if live.is_file() else path
    if not (folder / "manifest.json").is_file():
        raise ModelNotFoundError(f"no model: {folder} holds no manifest.json")
    return folder


def has_model(path: Path) -> bool:
    """Whether there is a model to load."""
    try:
        find_model(path)
    except ModelNotFoundError:
        return False
    return True


def make_demo(path: Path) -> None:
    """Train the demo's model below `path`, in a process of its own, and name it in `LIVE`.

    Raises `ModelNotFoundError` with the last line of that process where it fails.
    """
    path.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "app.cli", "demo", "--out", str(path / "demo"), "--no-serve"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or ["it said nothing"]
        raise ModelNotFoundError(f"the demo's model could not be trained: {said[-1]}")
    (path / "LIVE").write_text("demo/model\n", encoding="utf-8")


def load_model(path: Path | None, device: str) -> Artefact:
    """The model, ready to score in the calling thread. Takes seconds; raises `ArtefactError` on a bad one."""
    folder = find_model(path)
    import torch

    from model.artefact import Artefact

    torch.set_num_threads(1)  # holds for the calling thread; more of them only get in each other's way
    return Artefact.load(folder, device)
