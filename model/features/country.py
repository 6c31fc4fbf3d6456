"""Country ↔ entity: co-engagement with the entities that the country likes more than others do."""

from __future__ import annotations

from model.features.candidates import Candidates, ease_scale
from model.features.layout import FeatureGroup, Floats


class CountryFeatures:
    """Computes the group. It is empty unless tastes of countries are `known`."""

    def __init__(self, known: bool) -> None:
        self.group = FeatureGroup("country", (("liked_in_country",) if known else (),), needs="country")

    def write(self, taste: Floats, candidates: Candidates, rows: Floats) -> None:
        """The features of C candidates into `rows` [A, C]; `taste` [Dz] is that of the country."""
        rows[:] = ease_scale((candidates.records.engagement @ taste) * candidates.records.inverse)
