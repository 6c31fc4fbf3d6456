"""What is written is what is read, down to the scores; a folder that is no model is never overwritten."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from artefact_contexts import score, some_contexts

from model.artefact.build import build
from model.artefact.golden import GoldenRequest
from model.artefact.lookups import EXACT
from model.artefact.manifest import MANIFEST
from model.artefact.model import Artefact, ArtefactError
from model.artefact.writing import refuse_foreign, write
from model.config import Config
from model.datasets.dataset import Dataset


def test_the_files_are_those_of_the_contract(model_path: Path) -> None:
    names = {"manifest.json", "weights.safetensors", "entities.parquet", "records.safetensors"}
    names |= {"features.safetensors", "histories.parquet", "golden.json", "catalogue.safetensors", EXACT}
    assert {path.name for path in model_path.iterdir()} == names
    manifest = json.loads((model_path / MANIFEST).read_text())
    for name, expected in manifest["files"].items():
        assert hashlib.sha256((model_path / name).read_bytes()).hexdigest() == expected
    assert manifest["tasks"] == ["homepage", "more_like_this", "search"]
    assert manifest["checksum"][:12] in manifest["version"]


def test_a_model_that_is_written_again_gives_the_same_scores(artefact: Artefact, tmp_path: Path) -> None:
    manifest = write(tmp_path / "copy", artefact.contents, "simulated")
    copy = Artefact.load(tmp_path / "copy")
    assert (copy.version, copy.checksum) == (manifest.version, manifest.checksum)
    assert (copy.version, copy.checksum) == (artefact.version, artefact.checksum)
    ids = artefact.catalogue.ids
    for context in some_contexts(artefact):
        assert np.array_equal(score(copy, context, ids), score(artefact, context, ids))
        assert copy.propose(copy.encode_context(copy.fill(context)), 9) == artefact.propose(
            artefact.encode_context(artefact.fill(context)), 9
        )


def test_the_golden_scores_come_out_again(artefact: Artefact) -> None:
    entries = [GoldenRequest.of(entry) for entry in artefact.contents.golden]
    assert entries
    for entry in entries:
        logits = score(artefact, entry.context, entry.candidates)
        np.testing.assert_allclose(artefact.probability(entry.context, logits), entry.scores, atol=1e-5)


def test_attributes_come_back_as_they_went_in(artefact: Artefact, world: Dataset) -> None:
    for entity in world.entities:
        assert artefact.entity(str(entity["entity_id"])) == entity
    assert artefact.entity("unknown") is None
    assert artefact.entity_count == len(world.entities)


def test_a_whole_number_comes_back_as_one(world: Dataset, small_config: Config, tmp_path: Path) -> None:
    """`"year": 1999` in, `"year": 1999` out (API.md §4), not 1999.0."""
    entities = [{**entity, "year": 1990 + number % 20} for number, entity in enumerate(world.entities)]
    dataset = replace(world, entities=entities, columns={**world.columns, "year": "number"})
    training = replace(small_config.training, steps=1, contexts_per_step=6, negatives=4, folds=2, validation_rankings=2)
    build(dataset, tmp_path / "model", replace(small_config, training=training))
    assert json.dumps((Artefact.load(tmp_path / "model").entity("e5") or {})["year"]) == "1995"


def test_histories_are_the_events_of_training_oldest_first(artefact: Artefact, world: Dataset) -> None:
    rows = world.events.filter((world.events["part"] == "train") & (world.events["user_id"] == "u3"))
    wanted = rows.sort("timestamp")["entity_id"].to_list()[-artefact.scorer.config.profile_length :]
    assert [event.entity_id for event in artefact.history("u3")] == wanted
    assert artefact.history("a stranger") == ()
    times = [event.timestamp for event in artefact.history("u3")]
    assert times == sorted(times)


def test_a_foreign_folder_is_not_overwritten(tmp_path: Path, artefact: Artefact) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    refuse_foreign(folder)  # empty: fine
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(ArtefactError, match="is not empty and is not a model"):
        write(folder, artefact.contents, "simulated")
    assert (folder / "chapter.txt").read_text() == "years of work"
    with pytest.raises(ArtefactError, match="is not a model"):
        refuse_foreign(folder / "chapter.txt")


def test_a_foreign_folder_with_a_manifest_of_its_own_is_not_overwritten(tmp_path: Path, artefact: Artefact) -> None:
    """Web pages, browser extensions and container images have a manifest.json, too."""
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / MANIFEST).write_text('{"manifest_version": 3, "name": "My extension"}')
    (folder / "background.js").write_text("years of work")
    with pytest.raises(ArtefactError, match="is not a model"):
        write(folder, artefact.contents, "simulated")
    assert (folder / "background.js").read_text() == "years of work"


def test_a_model_replaces_an_older_one(model_path: Path, tmp_path: Path, artefact: Artefact) -> None:
    copy = Path(shutil.copytree(model_path, tmp_path / "copy"))
    write(copy, artefact.contents, "again")
    assert Artefact.load(copy).version.startswith("again-")
    assert sorted(path.name for path in copy.parent.iterdir()) == ["copy"]
