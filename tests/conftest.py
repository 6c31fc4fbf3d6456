"""Fixtures that several folders share: a simulated dataset and one small model trained on it; and the files that run
alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from model.artefact.build import build
from model.artefact.model import Artefact
from model.config import Config, NetworkConfig, TrainingConfig
from model.datasets.dataset import Dataset
from model.datasets.simulation import simulate
from model.learning.training_data import TrainingData, prepare

# Files that hold something to a time, or break what others would use: `make test` runs them one after the other.
ALONE = {
    "test_bench_load.py", "test_body_cost.py", "test_chaos.py", "test_connection.py", "test_connection_bounds.py",
    "test_deadlines.py", "test_draining.py", "test_event_checks.py", "test_load_shedding.py", "test_models_life.py",
    "test_server_process.py", "test_startup.py",
}  # fmt: skip
SMALL_NETWORK = NetworkConfig(
    width=16,
    text_width=16,
    text_buckets=2**12,
    engagement_width=16,
    tower_hidden=32,
    scorer_hidden=32,
    history_length=6,
    profile_length=12,
)
SMALL_TRAINING = TrainingConfig(
    steps=40, contexts_per_step=18, negatives=12, evaluations=2, validation_rankings=48, folds=3
)
SMALL = Config(SMALL_NETWORK, SMALL_TRAINING)


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Mark what runs alone."""
    for item in items:
        if item.path.name in ALONE:
            item.add_marker("alone")


@pytest.fixture
def alone_files() -> set[str]:
    """The names in `ALONE`, for the test that looks for the files."""
    return ALONE


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of every asynchronous test."""
    return "asyncio"


@pytest.fixture(scope="session")
def small_config() -> Config:
    """A network that trains in seconds."""
    return SMALL


@pytest.fixture(scope="session")
def world_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a simulated dataset. Read only."""
    path = tmp_path_factory.mktemp("world") / "dataset"
    simulate(path, entities=120, users=60, queries=160, events_per_user=16)
    return path


@pytest.fixture(scope="session")
def world(world_path: Path) -> Dataset:
    """The same in memory. Read only."""
    return Dataset.load(world_path)


@pytest.fixture(scope="session")
def prepared(world: Dataset) -> TrainingData:
    """The world made ready for training. Read only."""
    return prepare(world, SMALL)


@pytest.fixture(scope="session")
def model_path(world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that was trained on the world. Read only: copy it before changing it."""
    path = tmp_path_factory.mktemp("model") / "small"
    build(world, path, SMALL)
    return path


@pytest.fixture(scope="session")
def artefact(model_path: Path) -> Artefact:
    """That model, loaded. Read only."""
    return Artefact.load(model_path)
