"""Entities are found by id, from packed texts and hashed ids, and a large catalogue answers as a small one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.artefact.model import Artefact
from model.catalogue import entities, ids
from model.catalogue.entities import Directory
from model.catalogue.ids import IdTable, find, hashed
from model.catalogue.packed_text import Texts
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context

ANY_TEXT = st.text(st.characters(), max_size=20)  # lone surrogates and NUL included


# ---- texts --------------------------------------------------------------------------------------------------


@given(st.lists(ANY_TEXT, max_size=12), st.data())
def test_texts_are_a_list_of_strings(strings: list[str], data: st.DataObject) -> None:
    texts = Texts.from_arrays(Texts.of(strings).arrays("x"), "x")
    assert list(texts) == strings
    assert [texts[place] for place in range(-len(strings), len(strings))] == strings * 2
    assert texts[1::2] == strings[1::2]
    rows = np.array(data.draw(st.lists(st.integers(0, len(strings) - 1), max_size=20) if strings else st.just([])), int)
    taken = [strings[row] for row in rows]
    assert texts.take(rows) == taken
    lengths, joined = texts.joined(rows)
    assert joined == "".join(taken).encode("utf-8", "surrogatepass")
    assert lengths.sum() == len(joined)


@pytest.mark.parametrize("place", [2, -3])
def test_a_place_beyond_the_end_is_an_error(place: int) -> None:
    with pytest.raises(IndexError):
        Texts.of(["a", "b"])[place]


def test_bytes_that_do_not_fit_their_offsets_are_refused() -> None:
    with pytest.raises(ValueError, match="bytes of text"):
        Texts(np.array([0, 3]), np.zeros(2, np.uint8))


# ---- ids ----------------------------------------------------------------------------------------------------


@given(st.lists(ANY_TEXT, min_size=1, unique=True), st.lists(ANY_TEXT))
def test_a_table_is_a_dictionary(ids: list[str], others: list[str]) -> None:
    table, wanted = IdTable.of(Texts.of(ids)), {one: row for row, one in enumerate(ids)}
    assert dict(table) == wanted
    asked = [*others, *reversed(ids)]
    assert find(table, asked).tolist() == find(wanted, asked).tolist() == [wanted.get(one, -1) for one in asked]
    assert [one in table for one in asked] == [one in wanted for one in asked]


def test_ids_of_any_length_are_found() -> None:
    ids = ["x" * (number % 90) + str(number) for number in range(20_000)]
    table = IdTable.of(Texts.of(ids))
    assert table.find(ids).tolist() == list(range(20_000))
    assert table.find([one + "y" for one in ids[:500]]).tolist() == [-1] * 500
    assert table.find([]).tolist() == []


def test_another_string_with_the_hash_of_an_id_is_not_it(monkeypatch: pytest.MonkeyPatch) -> None:
    table = IdTable.of(Texts.of(["a", "b", "cc"]))
    real = hashed
    monkeypatch.setattr(ids, "hashed", lambda packed, seed: real([b"cc"] * len(packed), seed))
    assert table.find(["a", "cc", "dd"]).tolist() == [-1, 2, -1]


def test_ids_with_one_hash_get_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = hashed
    monkeypatch.setattr(ids, "hashed", lambda packed, seed: real(packed, seed) * np.uint64(seed >= 2))
    table = IdTable.of(Texts.of(["a", "b"]))
    assert table.seed == 2
    assert table.find(["b", "c", "a"]).tolist() == [1, -1, 0]


def test_an_id_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        IdTable.of(Texts.of(["a", "b", "a"]))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), min_size=1, max_size=30))
def test_a_hash_depends_on_one_string_alone(packed: list[bytes]) -> None:
    assert [hashed([one], 3)[0] for one in packed] == hashed(packed, 3).tolist()
    assert hashed([b"id", *packed], 3)[0] != hashed([b"id", *packed], 4)[0]


def test_ids_that_differ_in_their_last_letters_alone_have_different_hashes() -> None:
    packed = [f"{first:08d}{second:08d}".encode() for first in range(200) for second in range(200)]
    hashes = hashed(packed, 0)
    assert len(set(hashes.tolist())) == len(packed)
    assert len(set((hashes >> np.uint64(40)).tolist())) > 0.99 * len(packed)


# ---- a catalogue --------------------------------------------------------------------------------------------


def test_a_directory_knows_its_entities() -> None:
    entities = [
        {"entity_id": "a", "display_name": "Amélie", "kinds": ["x", "y"], "year": 2001},
        {"entity_id": "b", "display_name": "Heat", "price": 1.5},
    ]
    made = Directory.from_arrays(Directory.of(entities).arrays())
    assert list(made.entities) == entities
    assert dict(made.names) == {"a": "Amélie", "b": "Heat"}
    assert list(made.ids) == ["a", "b"]
    assert made.rows["b"] == 1


@pytest.fixture
def large(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artefact:
    """The small model, as if its catalogue were too large to be unpacked."""
    monkeypatch.setattr(entities, "SMALL", 0)
    artefact = Artefact.load(model_path)
    assert isinstance(artefact.catalogue.rows, IdTable)
    return artefact


def test_a_large_catalogue_answers_like_a_small_one(large: Artefact, artefact: Artefact) -> None:
    ids = artefact.catalogue.ids
    assert list(large.catalogue.ids) == ids
    assert dict(large.catalogue.names) == dict(artefact.catalogue.names)
    for entity_id in [*ids, "unknown"]:
        assert large.entity(entity_id) == artefact.entity(entity_id)
    assert large.contents.entities[3:5] == artefact.contents.entities[3:5]
    user = artefact.sample_users(3)[-1]
    contexts = [
        Context(HOMEPAGE, user_id=user, history=artefact.history(user)),
        Context(SEARCH, query=artefact.catalogue.names[ids[3]]),
        Context(MORE_LIKE_THIS, source_entity_id=ids[3]),
    ]
    for context in contexts:
        filled = artefact.fill(context)
        assert large.fill(context) == filled
        proposed = large.propose(large.encode_context(filled), 30, exclude=[ids[5], "unknown"])
        assert proposed == artefact.propose(artefact.encode_context(filled), 30, exclude=[ids[5], "unknown"])
        np.testing.assert_array_equal(large.score(filled, proposed), artefact.score(filled, proposed))
        assert large.context_entities(filled.context) == artefact.context_entities(filled.context)
    assert large.compute_records([ids[2], "unknown"]) == artefact.compute_records([ids[2], "unknown"])


def test_an_unknown_id_is_a_key_error_in_both(large: Artefact, artefact: Artefact) -> None:
    for loaded in (large, artefact):
        with pytest.raises(KeyError, match="unknown"):
            loaded.catalogue.rows_of([loaded.catalogue.ids[0], "unknown"])


def test_what_grows_with_the_catalogue_is_a_view_of_a_file(large: Artefact) -> None:
    records, embedding = large.contents.records, large.contents.ranker.entity_tower.id.weight
    assert large.contents.engagement.vectors is records.engagement
    for array in (records.vector, records.tokens.values, large.lexical.postings.codes, large.dense.matrix):
        assert _is_mapped(array)
    assert _is_mapped(embedding.detach().numpy())


def _is_mapped(array: np.ndarray) -> bool:
    """Whether its memory is that of a file, by the map of this process."""
    place = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(edge, 16) for edge in line.split()[0].split("-"))
        if start <= place < end:
            return ".safetensors" in line
    return False
