"""Trains the demo's model where the settings ask for it and there is no model yet. Loads no model."""

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


async def train_demo_if_empty(live: ServingState, path: Path) -> None:
    """Train the demo's model below `path` where there is none and the settings ask for it; /readyz says so meanwhile.

    Raises `ModelNotFoundError` where the training fails.
    """
    if not live.settings.demo_if_empty or has_model(path):
        return
    live.reason = "there is no model yet: training the demo's first, about two minutes"
    await asyncio.to_thread(make_demo, path)
    live.reason = LOADING


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
