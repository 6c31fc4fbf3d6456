"""Trains the demo model if the settings request it and there is no model yet. Loads no model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from app.errors import ModelNotFoundError
from app.models.loading import find_model
from app.models.pointers import replace
from app.models.registry import LIVE
from app.models.serving_state import LOADING, ServingState


async def train_demo_if_empty(state: ServingState, path: Path) -> None:
    """Train the demo model below `path` if there is no model and the settings request it; /readyz reports this.

    Raises `ModelNotFoundError` if the training fails.
    """
    if not state.settings.demo_if_empty or has_model(path):
        return
    state.reason = "there is no model yet: training the demo's first, about two minutes"
    await asyncio.to_thread(make_demo, path)
    state.reason = LOADING


def has_model(path: Path) -> bool:
    """Whether there is a model to load."""
    try:
        find_model(path)
    except ModelNotFoundError:
        return False
    return True


def make_demo(path: Path) -> None:
    """Train the demo model below `path` in a subprocess, and name it in `LIVE`.

    Raises `ModelNotFoundError` with the last line of the subprocess if that fails.
    """
    path.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "app.cli", "demo", "--out", str(path / "demo"), "--no-serve"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["it printed nothing"]
        raise ModelNotFoundError(f"the demo's model could not be trained: {lines[-1]}")
    replace(path / LIVE, "demo/model")
