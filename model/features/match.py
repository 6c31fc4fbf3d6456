"""Match features: how well a candidate matches a context, as F numbers. Training and serving use the same code.

Each group of features has its own file; `layout.py` assigns their columns. A feature depends on the context and one
entity, never on the other candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.catalogue.encoding import EntityEncoder
from model.catalogue.records import Records
from model.features.candidates import Candidates, StaticColumns
from model.features.context_size import CONTEXT_SIZE, context_size
from model.features.country import CountryFeatures
from model.features.entity import EntityFeatures
from model.features.history import HistoryFeatures, Profile, encode_history
from model.features.layout import FeatureLayout, Floats, GivenParts, Ints
from model.features.query import EncodedQuery, QueryFeatures, encode_query
from model.features.source import SourceFeatures
from model.text.bounded_cache import BoundedCache

QUERIES_KEPT = 2**14  # encoded queries, about 1 KB each


def given_parts(query: EncodedQuery, source: Records | None, profile: Profile) -> GivenParts:
    """The parts that a context has."""
    return GivenParts(bool(query.words), source is not None, profile.events > 0, profile.country is not None)


class MatchFeatures:
    """Computes the features. Its groups hold scratch tables, so use an instance in one thread only.

    `countries`: whether tastes of countries are known; else there is no feature for them.
    """

    def __init__(self, encoder: EntityEncoder, countries: bool = False) -> None:
        self.encoder = encoder
        self._static = StaticColumns.of(encoder)
        self._query, self._source = QueryFeatures(encoder), SourceFeatures(encoder)
        self._history, self._country = HistoryFeatures(encoder), CountryFeatures(countries)
        self._entity = EntityFeatures(encoder)
        by_context = (self._query, self._source, self._history, self._country)
        self._layout = FeatureLayout((*(part.group for part in by_context), CONTEXT_SIZE, self._entity.group))
        self._queries: BoundedCache[str | None, EncodedQuery] = BoundedCache(QUERIES_KEPT)

    @property
    def names(self) -> list[str]:
        """The F names, in the order of the columns."""
        return list(self._layout.names)

    def columns(self, given: GivenParts) -> Ints:
        """The columns that differ between the candidates of a context with these parts. [A], rising"""
        return self._layout.varying(given).columns

    def encode_query(self, query: str | None) -> EncodedQuery:
        """Words, weights and text vector of a query; a null query is empty. Recent queries are cached."""
        return self._queries.get(query, self._encode_query)

    def _encode_query(self, query: str | None) -> EncodedQuery:
        return encode_query(self.encoder.vocabulary, self.encoder.corrections, self.encoder.vectors, query)

    def encode_history(self, history: Records, labels: Floats) -> Profile:
        """Sum the records of a history, oldest first, into a profile. labels [H]."""
        return encode_history(history, labels, self._static)

    def __call__(
        self, query: EncodedQuery, source: Records | None, profile: Profile, candidates: Records
    ) -> NDArray[np.float32]:
        """Features [C, F] of C candidates for one context; `source` holds one record or is None."""
        features = np.tile(self.constant(query, profile), (len(candidates), 1))
        columns = self.columns(given_parts(query, source, profile))
        features[:, columns] = self.varying(query, source, profile, candidates)
        return features

    def constant(self, query: EncodedQuery, profile: Profile) -> NDArray[np.float32]:
        """The features that are equal for all candidates, 0 elsewhere: features of an absent part are 0. [F]"""
        features = np.zeros(len(self._layout), np.float32)
        features[self._layout.columns(CONTEXT_SIZE.name)] = context_size(query, profile)
        return features

    def varying(
        self, query: EncodedQuery, source: Records | None, profile: Profile, candidates: Records
    ) -> NDArray[np.float32]:
        """Features [C, A] of the columns that differ between candidates."""
        given = given_parts(query, source, profile)
        varying, compared = self._layout.varying(given), Candidates(candidates)
        rows = np.empty((len(varying.columns), len(candidates)), np.float32)  # [A, C]: each feature contiguous
        if given.query:
            self._query.write(query, compared, rows[varying.rows["query"]])
        if source is not None:
            self._source.write(source, compared, rows[varying.rows["source"]])
        if given.history:
            self._history.write(profile, compared, rows[varying.rows["history"]])
        if profile.country is not None:
            self._country.write(profile.country, compared, rows[varying.rows["country"]])
        self._entity.write(compared, rows[varying.rows["entity"]])
        return rows.T
