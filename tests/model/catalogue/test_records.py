"""A record of an entity has the same bytes whoever computes it, is read back unchanged, and other bytes are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.artefact.model import Artefact
from model.catalogue.encoding import EntityArrays
from model.catalogue.ragged import Ragged
from model.catalogue.records import RecordError, RecordLayout, Records, assemble
from model.events.engagement import Engagement
from model.events.transitions import Transitions

LAYOUT = RecordLayout(width=4, text_width=3, engagement_width=2, static_width=5, transitions=3)
FIXED = 4 + 2 * (4 + 3 + 2) + 4 + 4 + 4 * 5 + 4 + 3 * (4 + 2)


def make(count: int, seed: int = 0) -> Records:
    """Random records of LAYOUT; the number of tokens goes 0, 1, 2, …"""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    tokens = Ragged.of([rng.integers(0, 2**32, i) for i in range(count)])
    arrays = EntityArrays(draw(count, 5), draw(count, 3), tokens, Ragged.of([[0]] * count))
    following = Transitions(rng.integers(-1, count, (count, 3), np.int32), draw(count, 3).astype(np.float16))
    outcomes = Engagement(draw(count, 2), draw(count), draw(count), following)
    return assemble(arrays, outcomes, draw(count, 4), np.arange(count))


def assert_equal(left: Records, right: Records) -> None:
    """Bit by bit."""
    for entry in fields(Records):
        if entry.name != "tokens":
            one, two = getattr(left, entry.name), getattr(right, entry.name)
            assert one.dtype == two.dtype == (np.int32 if entry.name in ("row", "next_rows") else np.float32)
            assert one.tobytes() == two.tobytes()
    assert left.tokens.offsets.tolist() == right.tokens.offsets.tolist()
    assert left.tokens.values.tolist() == right.tokens.values.tolist()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_packing_and_unpacking_changes_no_bit(count: int) -> None:
    records = make(count)
    packed = LAYOUT.pack(records)
    assert [len(blob) for blob in packed] == [FIXED + 4 * i for i in range(count)]
    assert_equal(LAYOUT.unpack(packed), records)
    assert LAYOUT.pack(LAYOUT.unpack(packed)) == packed


def test_an_empty_list_of_records_packs_and_unpacks() -> None:
    assert LAYOUT.pack(make(0)) == []
    assert len(LAYOUT.unpack([])) == 0


def test_a_record_packs_to_the_same_bytes_alone_and_among_others() -> None:
    records = make(6)
    together = LAYOUT.pack(records)
    assert [LAYOUT.pack(records.take(np.array([i])))[0] for i in range(6)] == together
    backwards = np.arange(6)[::-1].copy()
    assert LAYOUT.pack(records.take(backwards)) == together[::-1]


def test_records_joined_are_the_one_then_the_other() -> None:
    records = make(6)
    first, second = records.take(np.arange(2)), records.take(np.arange(2, 6))
    assert_equal(first.joined(second), records)


def test_records_without_tokens_keep_all_else() -> None:
    records, light = make(3), make(3).without_tokens()
    assert len(light.tokens.values) == 0
    assert np.array_equal(light.take(np.array([2])).vector, records.vector[[2]])


@given(st.integers(0, FIXED + 12), st.integers(0, 3))
def test_a_truncated_record_is_refused(length: int, place: int) -> None:
    packed = LAYOUT.pack(make(4))
    if length >= len(packed[place]):
        return
    packed[place] = packed[place][:length]
    with pytest.raises(RecordError):
        LAYOUT.unpack(packed)


@pytest.mark.parametrize(
    "foreign", [b"", b"\0", b"PONG", b"\xff" * FIXED, b"\0" * (FIXED + 4), b"\xff" * 4096, b"\x01" * (FIXED + 1)]
)
@pytest.mark.parametrize("place", [0, 1])
def test_foreign_bytes_are_refused(foreign: bytes, place: int) -> None:
    packed = LAYOUT.pack(make(2))
    packed[place] = foreign
    with pytest.raises(RecordError):
        LAYOUT.unpack(packed)


def test_bytes_of_another_layout_are_refused() -> None:
    packed = LAYOUT.pack(make(3))
    for other in (RecordLayout(6, 3, 2, 5, 3), RecordLayout(4, 3, 2, 4, 3), RecordLayout(4, 3, 2, 5, 2)):
        with pytest.raises(RecordError):
            other.unpack(packed)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_record_error(blob: bytes) -> None:
    try:
        records = LAYOUT.unpack([blob])
    except RecordError:
        return
    floats = (records.vector, records.static, records.next_weights)
    assert LAYOUT.pack(records) == [blob] or any(np.isnan(values).any() for values in floats)


# ---- computed by the tower ----------------------------------------------------------------------------------


def test_every_record_computed_alone_has_the_bytes_of_the_artefact(artefact: Artefact) -> None:
    for entity_id in artefact.catalogue.ids:
        assert artefact.compute_records([entity_id]) == [artefact.record(entity_id)]


def test_records_computed_together_have_the_bytes_of_the_artefact(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids
    assert artefact.compute_records(ids) == [artefact.record(entity_id) for entity_id in ids]


@pytest.mark.parametrize("seed", range(5))
def test_records_computed_with_any_others_have_the_bytes_of_the_artefact(artefact: Artefact, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.choice(artefact.catalogue.ids, int(rng.integers(2, 700))).tolist()  # with repeats, above one chunk
    assert artefact.compute_records(ids) == [artefact.record(entity_id) for entity_id in ids]


def test_unknown_entities_have_no_record(artefact: Artefact) -> None:
    assert artefact.record("nobody") is None
    assert artefact.compute_records(["nobody"]) == [None]
    assert artefact.compute_records([]) == []
    assert artefact.compute_records(["nobody", "e3", "nobody"]) == [None, artefact.record("e3"), None]


COUNT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(int(sys.argv[2]))
from model.artefact.model import Artefact
artefact = Artefact.load(Path(sys.argv[1]))
ids = artefact.catalogue.ids
computed = artefact.compute_records(ids)
print(sum(blob != artefact.record(entity_id) for blob, entity_id in zip(computed, ids, strict=True)))
"""


def test_another_process_with_more_threads_computes_the_same_bytes(model_path: Path) -> None:
    root = Path(__file__).parents[3]
    threads = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "7", "PYTHONPATH": str(root)}
    same_kernels = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
    command = [sys.executable, "-c", COUNT, str(model_path), "2"]
    done = subprocess.run(command, env=same_kernels | threads, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "0"
