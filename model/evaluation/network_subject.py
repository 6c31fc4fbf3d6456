"""Adapts a network to `evaluation`. The protocols are in `protocols.py`."""

from __future__ import annotations

import numpy as np

from model.context.context import Context
from model.network.catalogue import CatalogueRanker


class NetworkSubject:
    """A catalogue scored by a network: scores are logits."""

    def __init__(self, catalogue: CatalogueRanker) -> None:
        self.catalogue = catalogue
        self.rows = catalogue.rows

    def score(self, context: Context, rows: np.ndarray | None) -> np.ndarray:
        """Logits of the given rows, or of the whole catalogue."""
        encoded = self.catalogue.encode_context(self.catalogue.fill(context))
        return self.catalogue.logits(encoded, rows).astype(np.float64)
