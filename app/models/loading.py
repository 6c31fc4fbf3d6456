"""Loads a model folder and checks that it may serve, in the calling thread. Makes nothing live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import ModelNotFoundError
from app.execution.torch_threads import one_thread
from app.models.registry import ModelRegistry

if TYPE_CHECKING:
    from model.artefact.model import Artefact


def find_model(path: Path | None) -> Path:
    """`path` itself, or the version that its file `LIVE` names. Raises `ModelNotFoundError`."""
    if path is None:
        raise ModelNotFoundError("no model: set UNIRANK_MODEL_PATH to a model folder")
    return ModelRegistry(path).live()


def load_model(folder: Path, device: str, limit_s: float) -> Artefact:
    """The model of a folder, after the checks that it must pass to serve. Takes seconds; raises `ArtefactError`.

    `limit_s`: the longest time that a ranking of 500 candidates may take.
    """
    from model.artefact.check import check
    from model.artefact.model import Artefact

    one_thread()
    artefact = Artefact.load(folder, device)
    check(artefact, limit_s)
    return artefact
