"""What is not whole is refused in one line: missing, damaged, exchanged and foreign files."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from damage import Damage, damaged, damages
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from model.artefact.check import check
from model.artefact.lookups import EXACT
from model.artefact.manifest import FILES, MANIFEST
from model.artefact.model import Artefact, ArtefactError

ALL = (*FILES, EXACT)


@pytest.fixture
def copy(model_path: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may break."""
    return Path(shutil.copytree(model_path, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def reseal(folder: Path) -> None:
    """Checksums of the files as they are now, so that the checks behind them are reached."""

    def change(manifest: dict[str, object]) -> None:
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ALL}
        checksum = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        manifest |= {"files": files, "checksum": checksum, "version": f"simulated-{checksum[:12]}"}

    edit(folder, change)


def refused(folder: Path, match: str) -> None:
    """Loading fails with one line that says why."""
    with pytest.raises(ArtefactError, match=match) as caught:
        Artefact.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    refused(copy, f"{name} is missing")


@pytest.mark.parametrize("name", ALL)
def test_a_tampered_file(copy: Path, name: str) -> None:
    blob = bytearray((copy / name).read_bytes())
    blob[len(blob) // 2] ^= 1
    (copy / name).write_bytes(blob)
    refused(copy, f"{name} does not match the checksum")


@pytest.mark.parametrize("name", ALL)
def test_a_truncated_file(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:-20])
    refused(copy, f"{name} does not match the checksum")


@pytest.mark.parametrize("name", [name for name in ALL if name != "golden.json"])
def test_a_file_that_is_something_else_with_its_checksum_right(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"something else altogether")
    reseal(copy)
    refused(copy, ".")


@pytest.mark.parametrize("sealed", [True, False])
@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from([*FILES, MANIFEST]), done=damages("flip", "cut", "insert"))
def test_damaged_bytes_are_refused_in_one_line_or_harmless(
    model_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str, done: list[Damage], sealed: bool
) -> None:
    """Where the checksums are made to fit, the readers behind them get to see the damage, and then the checks."""
    copy = Path(shutil.copytree(model_path, tmp_path_factory.mktemp("damaged") / "copy"))
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(damaged(whole, done))
    changed = (copy / name).read_bytes() != whole
    if sealed and name != MANIFEST:
        reseal(copy)
    reason = why_refused(copy)
    shutil.rmtree(copy)
    assert "\n" not in reason
    assert reason or sealed or name == MANIFEST or not changed


def why_refused(folder: Path) -> str:
    """The reason, empty where the model may serve; any other error than `ArtefactError` is a failure."""
    try:
        check(Artefact.load(folder), 10.0)
    except ArtefactError as error:
        return str(error)
    return ""


def test_tokens_that_no_vocabulary_has(copy: Path) -> None:
    """Found by damage: a record whose checksum is right and whose tokens are not."""
    records = load_file(copy / "records.safetensors")
    records["tokens"] = np.full_like(records["tokens"], 2**32 - 1)
    save_file(records, copy / "records.safetensors")
    reseal(copy)
    with pytest.raises(ArtefactError):
        check(Artefact.load(copy), 10.0)


def test_a_table_without_its_columns(copy: Path) -> None:
    pl.DataFrame({"id": [f"e{n}" for n in range(120)]}).write_parquet(copy / "entities.parquet")
    reseal(copy)
    refused(copy, 'column "entity_id"')


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(copy: Path, value: float) -> None:
    weights = load_file(copy / "weights.safetensors")
    name = next(name for name, array in weights.items() if array.ndim == 2)
    weights[name] = weights[name].copy()
    weights[name][0, 0] = value
    save_file(weights, copy / "weights.safetensors")
    reseal(copy)
    refused(copy, f"weight {name} is not finite")


def test_weights_of_another_shape_or_name(copy: Path) -> None:
    weights = load_file(copy / "weights.safetensors")
    name = next(name for name, array in weights.items() if array.ndim == 2)
    weights[name] = weights[name][:, :-1].copy()
    save_file(weights, copy / "weights.safetensors")
    reseal(copy)
    refused(copy, ".")


def test_fewer_records_than_entities(copy: Path) -> None:
    records = load_file(copy / "records.safetensors")
    ends = records["token_offsets"][:-1]
    fewer = {name: column[:-1].copy() for name, column in records.items() if not name.startswith("token")}
    save_file(
        {**fewer, "token_offsets": ends.copy(), "tokens": records["tokens"][: ends[-1]].copy()},
        copy / "records.safetensors",
    )
    reseal(copy)
    refused(copy, ".")


@pytest.mark.parametrize("name", ["vector", "static", "token_offsets", "tokens"])
def test_columns_of_records_that_disagree_or_lack(copy: Path, name: str) -> None:
    records = load_file(copy / "records.safetensors")
    for changed in ({**records, name: records[name][:-1].copy()}, {n: c for n, c in records.items() if n != name}):
        save_file(changed, copy / "records.safetensors")
        reseal(copy)
        refused(copy, ".")


@pytest.mark.parametrize("name", ["width", "text_width", "engagement_width", "scorer_hidden", "category_buckets"])
def test_a_manifest_that_states_another_width(copy: Path, name: str) -> None:
    edit(copy, lambda manifest: manifest["config"]["network"].update({name: 24}))
    refused(copy, ".")


def test_a_file_and_its_checksum_both_exchanged(copy: Path) -> None:
    """The version names the files: other files under the same version would meet the cache of the old ones."""
    (copy / "golden.json").write_text("[]")
    digest = hashlib.sha256((copy / "golden.json").read_bytes()).hexdigest()
    edit(copy, lambda manifest: manifest["files"].update({"golden.json": digest}))
    refused(copy, "checksum")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '"text"',
        "{}",
        '{"format": 99}',
        '{"format": 1}',
        '{"format": 1, "files": null}',
        "\0",
        "[" * 100_000,
    ],
)
def test_a_manifest_that_is_none(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    refused(copy, ".")


@pytest.mark.parametrize("key", ["tasks", "columns", "imputation", "config", "sizes", "numbers", "calibration"])
@pytest.mark.parametrize("value", [None, 3])
def test_a_manifest_with_one_entry_of_a_wrong_type(copy: Path, key: str, value: object) -> None:
    edit(copy, lambda manifest: manifest.update({key: value}))
    refused(copy, ".")


def test_a_folder_that_is_not_a_model(tmp_path: Path) -> None:
    refused(tmp_path, "is not a model")
    refused(tmp_path / "nowhere", "is not a model")
    (tmp_path / "file").write_text("text")
    refused(tmp_path / "file", ".")
