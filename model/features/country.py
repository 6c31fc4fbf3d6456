"""Country ↔ entity: co-engagement with what is liked there more than elsewhere."""

from __future__ import annotations

from model.features.candidates import Candidates, ease_scale
from model.features.layout import FeatureGroup, Floats


class CountryFeatures:
    """Computes the group. It is empty where tastes of countries are not `known`."""

    def __init__(self, known: bool) -> None:
        self.group = FeatureGroup("country", (("liked_in_country",) if known else (),), needs="country")

    def write(self, taste: Floats, candidates: Candidates, rows: Floats) -> None:
        """The features of C candidates into `rows` [A, C]; `taste` [Dz] is of the country."""
        rows[:] = ease_scale((candidates.records.engagement @ taste) * candidates.records.inverse)
