"""The amount of information in a context: one group, whose features are the same for all candidates."""

from __future__ import annotations

from model.features.history import Profile
from model.features.layout import FeatureGroup
from model.features.query import EncodedQuery

CONTEXT_SIZE = FeatureGroup(
    "context_size", (("query_given", "query_words", "query_idf", "history_size", "liked_share"),), varies=False
)  # fmt: skip


def context_size(query: EncodedQuery, profile: Profile) -> tuple[float, ...]:
    """The features of one context."""
    mean_idf = float(query.weights.sum() / len(query.words)) if query.words else 0.0
    given = float(bool(query.words) and query.given)
    return given, len(query.words), mean_idf, profile.size, profile.liked_share
