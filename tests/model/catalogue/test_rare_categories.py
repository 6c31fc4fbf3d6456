"""The commonest category values have a number of their own, and all others are null.

Serving numbers them as training did; so it is with users, countries and entities. What training never saw is null.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.artefact.model import Artefact, ArtefactError
from model.artefact.reading import read
from model.artefact.writing import write
from model.catalogue.categories import LONGEST, NULL_CATEGORY, Categories
from model.catalogue.encoding import EntityEncoder
from model.config import NetworkConfig
from model.context.context import HOMEPAGE, Context
from model.learning.training_data import TrainingData
from model.network.ranker import EntityTower, Sizes

VALUES = st.lists(st.lists(st.sampled_from(["0=a", "0=b", "1=a", "1=b", "0=c"]), max_size=4), max_size=8)


def encoder_of(kinds: list[list[str]], buckets: int) -> EntityEncoder:
    """Of a catalogue with one category column."""
    entities = [{"entity_id": str(n), "display_name": f"n{n}", "kinds": some} for n, some in enumerate(kinds)]
    config = NetworkConfig(text_width=4, text_buckets=64, category_buckets=buckets)
    return EntityEncoder.fit(entities, {"kinds": "categories"}, config, seed=0)[0]


def numbers(encoder: EntityEncoder, *kinds: str) -> list[int]:
    """As the tower reads an entity of these kinds."""
    one = encoder.encode_entities([{"entity_id": "x", "display_name": "x", "kinds": list(kinds)}])
    return [int(number) for number in one.categories.row(0)]


def test_values_that_one_entity_has_are_null_however_many_there_are() -> None:
    """110,000 of them in 8,191 buckets made every unseen value somebody's bucket."""
    rare = [[f"rare {n}", "common"] for n in range(3000)]
    encoder = encoder_of(rare, 64)
    assert numbers(encoder, "common") != [NULL_CATEGORY]
    for unknown in ("rare 7", "rare 2999", *(f"never seen {n}" for n in range(200))):
        assert numbers(encoder, unknown) == [NULL_CATEGORY]
    assert numbers(encoder, "rare 7", "common", "never seen") == numbers(encoder, "common")


def test_no_two_values_share_a_number() -> None:
    encoder = encoder_of([[f"kind {n}"] for n in range(30)] * 2, 32)
    assert sorted(numbers(encoder, f"kind {n}")[0] for n in range(30)) == list(range(1, 31))


def test_a_value_of_another_column_is_another_value() -> None:
    known = Categories.fit([["0=war"], ["0=war"]], 9)
    assert known.numbers(["1=war"]) == [NULL_CATEGORY]


def test_the_commonest_fill_the_room_and_ties_go_by_name() -> None:
    kinds = [["c"]] * 2 + [["b"]] * 2 + [["a"]] * 3 + [["d"]] * 2
    known = encoder_of(kinds, 4).categories
    assert [key.removeprefix("0=") for key in known.keys] == ["a", "b", "c"]


@given(VALUES, st.integers(-1, 5))
def test_what_is_known_does_not_depend_on_the_order_of_entities(entities: list[list[str]], most: int) -> None:
    known = Categories.fit(entities, most)
    assert known.keys == Categories.fit(entities[::-1], most).keys
    assert len(known) <= max(most, 0)
    assert all(0 <= number <= len(known) for keys in entities for number in known.numbers(keys))


def test_a_value_counts_once_an_entity_and_has_a_bounded_length() -> None:
    assert len(Categories.fit([["0=twice", "0=twice"]], 9)) == 0
    assert len(Categories.fit([["0=" + "x" * LONGEST]] * 5, 9)) == 0


def test_a_null_that_training_never_met_says_nothing() -> None:
    sizes = Sizes(tasks=1, users=0, countries=0, entities=1, features=1, numbers=0)
    assert not EntityTower(NetworkConfig(), sizes).category.weight[NULL_CATEGORY].any()


# ── in a model ──────────────────────────────────────────────────────────────────────────────────────────────


def test_serving_numbers_categories_as_training_did(prepared: TrainingData, model_path: Path) -> None:
    trained = prepared.encoder.categories
    assert len(trained) > 0
    assert read(model_path).encoder.categories.keys == trained.keys


def test_an_entity_of_unknown_kinds_has_the_null_like_one_without(artefact: Artefact) -> None:
    bare = {"entity_id": "new", "display_name": "Zyzzyva"}
    arrays = artefact.encoder.encode_entities(
        [bare, {**bare, "kinds": ["never seen", "nor this"]}, {**bare, "kinds": []}]
    )
    assert arrays.categories.values.tolist() == [NULL_CATEGORY] * 3


def test_what_training_never_saw_reads_no_row_but_the_null(artefact: Artefact) -> None:
    """Users, countries and entities have rows of their own; a stranger gets row 0 of each table."""
    encoded = artefact.catalogue.encode_context(
        artefact.fill(Context(HOMEPAGE, "a stranger", country="a strange land"))
    )
    assert (encoded.user, encoded.country) == (0, 0)
    arrays = artefact.encoder.encode_entities([{"entity_id": "new", "display_name": "Zyzzyva"}])
    stranger = artefact.scorer.vectors(arrays, [-1])
    ids = artefact.scorer.ranker.entity_tower.id.weight
    kept = ids.detach().clone()
    try:
        with torch.no_grad():
            ids[1:] += 1.0
        assert np.array_equal(artefact.scorer.vectors(arrays, [-1]), stranger)
    finally:
        with torch.no_grad():
            ids.copy_(kept)


def test_more_categories_than_the_network_has_rows_for_are_refused(model_path: Path, tmp_path: Path) -> None:
    contents = read(model_path)
    rows = contents.manifest.config.network.category_buckets
    contents.encoder.categories = Categories([f"0={n}" for n in range(rows)])
    write(tmp_path / "other", contents, "other")
    with pytest.raises(ArtefactError, match=f"{rows} categories for an embedding of {rows} rows"):
        Artefact.load(tmp_path / "other")
