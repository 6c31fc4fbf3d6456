"""From a model folder to a model that may serve: read, checked, in the calling thread. Swaps and compares nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import ModelNotFoundError
from app.execution.torch_threads import one_thread
from app.models.pointers import replace
from app.models.registry import LIVE, Shelf

if TYPE_CHECKING:
    from model.artefact.model import Artefact


def find_model(path: Path | None) -> Path:
    """`path` itself, or the version that its file `LIVE` names. Raises `ModelNotFoundError`."""
    if path is None:
        raise ModelNotFoundError("no model: set UNIRANK_MODEL_PATH to a model folder")
    return Shelf(path).live()


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
    replace(path / LIVE, "demo/model")


def load_model(folder: Path, device: str, limit_s: float) -> Artefact:
    """The model of a folder, after the checks that it must pass to serve. Takes seconds; raises `ArtefactError`.

    `limit_s`: the longest that it may take for a ranking of 500 candidates.
    """
    from model.artefact.check import check
    from model.artefact.model import Artefact

    one_thread()
    artefact = Artefact.load(folder, device)
    check(artefact, limit_s)
    return artefact
