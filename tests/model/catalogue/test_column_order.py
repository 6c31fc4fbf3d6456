"""The order of the columns is part of a model, as fields are bits by place: it survives saving and loading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from model.artefact.build import build
from model.artefact.model import Artefact
from model.config import Config
from model.datasets.dataset import Dataset


@pytest.mark.parametrize("backwards", [False, True])
def test_computed_records_are_the_stored_ones_in_any_order_of_columns(
    world: Dataset, small_config: Config, tmp_path: Path, backwards: bool
) -> None:
    columns = dict(sorted(world.columns.items(), reverse=backwards))
    config = replace(small_config, training=replace(small_config.training, steps=2, evaluations=1))
    build(replace(world, columns=columns), tmp_path / "model", config)
    loaded = Artefact.load(tmp_path / "model")
    ids = loaded.catalogue.ids
    assert loaded.compute_records(ids) == [loaded.record(entity_id) for entity_id in ids]
