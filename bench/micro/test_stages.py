"""Each stage under pytest-benchmark: `make bench-micro`. `make test` runs the stages without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.micro.stages import STAGES, Stage


@pytest.mark.parametrize("name", STAGES)
def test_stage(benchmark: Callable[[Stage], Any], stage_functions: dict[str, Stage], name: str) -> None:
    """The time of one stage."""
    assert benchmark(stage_functions[name]) is not None
