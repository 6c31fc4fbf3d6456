"""The model whose stages are timed: `pytest bench/micro --model FOLDER`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.micro.stages import Stage, stages
from model.artefact.model import Artefact


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--model FOLDER`."""
    parser.addoption("--model", required=True, help="a model folder")


@pytest.fixture(scope="session")
def stage_functions(pytestconfig: pytest.Config) -> dict[str, Stage]:
    """All stages over one model."""
    torch.set_num_threads(1)
    return stages(Artefact.load(Path(pytestconfig.getoption("--model"))))
