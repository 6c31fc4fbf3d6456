"""What a source and an entity have in common: each is most like itself, overlap is a cosine, no source is zeros."""

from __future__ import annotations

import numpy as np
import pytest
from toy_catalogue import HEAT, SPACE, TOY_SOLDIERS, TOY_STORY, catalogue, features, matcher


@pytest.mark.parametrize("source", [TOY_STORY, TOY_SOLDIERS, HEAT])
def test_a_source_overlaps_with_itself_wholly(source: int) -> None:
    made = features(source=source)
    for name in matcher().encoder.fields:
        assert made[f"source_{name}"][source] == pytest.approx(1, abs=1e-3), name
    assert made["source_text"][source] == pytest.approx(1, abs=1e-2)
    assert made["source_distance_year"][source] == 0
    assert made["source_cosine"][source] == pytest.approx(1, abs=1e-3)


def test_overlap_with_a_source_is_a_cosine_of_idf() -> None:
    made = features(source=TOY_STORY)
    toy, story, soldiers = (matcher().encoder.vocabulary.weight(word) for word in ("toy", "story", "soldiers"))
    cosine = toy**2 / (np.hypot(toy, story) * np.hypot(toy, soldiers))
    assert made["source_display_name"][TOY_SOLDIERS] == pytest.approx(cosine, abs=1e-4)
    assert made["source_display_name"][HEAT] == 0  # "story" is in the text of Heat, not in its name
    assert made["source_genres"].tolist() == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-5)
    years = made["source_numbers"]
    assert years[[TOY_STORY, HEAT, SPACE]].tolist() == pytest.approx([1, 1, 0], abs=1e-5)
    assert 0.1 < years[TOY_SOLDIERS] < 0.9  # the same decade


def test_distance_of_numbers_is_in_standard_scores() -> None:
    made = features(source=TOY_STORY)
    assert made["source_distance_year"][HEAT] == 0
    assert made["source_distance_year"][SPACE] > made["source_distance_year"][TOY_SOLDIERS] > 0


def test_co_engagement_with_the_source() -> None:
    made = features(source=TOY_STORY)
    z, inverse = catalogue().engagement, catalogue().inverse
    ease = z @ z[TOY_STORY] * inverse
    assert made["source_engagement"].tolist() == pytest.approx(np.arcsinh(100 * ease).tolist(), abs=1e-3)
    assert made["source_cosine"].tolist() == pytest.approx([1, 1, 0, 0, 0, 0], abs=1e-3)


def test_without_a_source_its_features_are_zero() -> None:
    assert not any(values.any() for name, values in features("toy").items() if name.startswith("source_"))
