"""What a country likes pulls its neighbours and changes no other feature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_catalogue import HEAT, MARKS, SPACE, TOY_SOLDIERS, TOY_STORY, UP, catalogue, matcher, nobody


def in_country(taste: list[float] | None, liked: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """Features of all for somebody in a country of this taste."""
    profile = nobody() if not liked else matcher().encode_history(catalogue().take(np.array(liked)), np.ones(1))
    profile = replace(profile, country=None if taste is None else np.array(taste, np.float32))
    table = matcher()(matcher().encode_query("toy"), None, profile, catalogue())
    return dict(zip(matcher().names, table.T, strict=True))


@pytest.mark.parametrize("liked", [(), (HEAT,)])
def test_what_a_country_likes_pulls_its_neighbours(liked: tuple[int, ...]) -> None:
    made, without = in_country([0.5, -0.5, 0, 0], liked), in_country(None, liked)
    pull = made.pop("liked_in_country")
    assert pull[TOY_STORY] > pull[TOY_SOLDIERS] > 0 > pull[HEAT]
    assert pull[[SPACE, UP, MARKS]].tolist() == [0, 0, 0]
    assert not without.pop("liked_in_country").any()
    for name, values in made.items():
        assert values.tolist() == without[name].tolist(), name
