"""History ↔ entity: co-engagement with liked and passed entities, what comes next, text of likes, all numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.catalogue.encoding import EntityEncoder
from model.catalogue.records import Records, Rows
from model.features.candidates import Candidates, StaticColumns, ease_scale, weight_of
from model.features.layout import FeatureGroup, Floats

RECENT = 20  # newest events, liked or not, that say what comes next
FADE = 0.8  # weight of an event against the next newer one
NOTHING: Rows = np.zeros(0, np.int32)
NONE: Floats = np.zeros(0, np.float32)
PRIOR_EVENTS = 4.0  # prior weight of a liked share of one half, in events
_EASE = ("liked", "liked_recent", "liked_last", "passed")
_TEXT = ("text_liked", "text_recent")


@dataclass(frozen=True, slots=True)
class Profile:
    """A history summed into vectors of the co-engagement and text spaces, and the taste of the user's country."""

    liked: Floats  # [3, Dz]: all, recent, last three
    passed: Floats  # [Dz]
    text: Floats  # [2, Dt]: all liked, recent liked
    size: float  # ln(1 + liked)
    liked_share: float  # of all events, shrunk towards one half; users differ in how often they like
    numbers: Floats  # [2, n] mean and maximum of each number over the history; NaN where none is known
    events: int  # 0 = no history
    next_rows: Rows  # [P] rising: rows that follow the newest events
    next_weights: Floats  # [P]
    country: Floats | None = None  # [Dz] what it likes more than others do; None = unknown


def empty_profile(engagement_width: int, text_width: int, numbers: int) -> Profile:
    """The profile without a history."""
    zeros = np.zeros((3, engagement_width), np.float32)
    unknown = np.full((2, numbers), np.nan, np.float32)
    return Profile(zeros, zeros[0], np.zeros((2, text_width), np.float32), 0.0, 0.5, unknown, 0, NOTHING, NONE)


def encode_history(history: Records, labels: Floats, static: StaticColumns) -> Profile:
    """Sum the records of a history, oldest first, into a profile. labels [H]."""
    liked = np.flatnonzero(labels > 0)
    age = np.arange(len(liked))[::-1]
    recent = 0.9**age + 0.1
    z, text = history.engagement[liked], history.text[liked]
    passed = history.engagement[labels <= 0]
    profile = np.stack([z.sum(0), recent @ z, z[-3:].sum(0)]) if len(liked) else np.zeros((3, z.shape[1]))
    texts = np.stack([text.mean(0), recent @ text / recent.sum()]) if len(liked) else np.zeros((2, text.shape[1]))
    return Profile(
        profile.astype(np.float32),
        np.asarray(passed.sum(0), np.float32),
        texts.astype(np.float32),
        float(np.log1p(len(liked))),
        (len(liked) + PRIOR_EVENTS / 2) / (len(labels) + PRIOR_EVENTS),
        _mean_and_maximum(*_known_numbers(history, static)),
        len(labels),
        *_what_comes_next(history),
    )


def _what_comes_next(history: Records) -> tuple[Rows, Floats]:
    """Rows that follow the newest events, rising, and how strongly: the newest event counts most. [P] each"""
    newest = history.next_rows[-RECENT:]
    ages = np.arange(len(newest))[::-1, None]
    weights = (history.next_weights[-RECENT:] * FADE**ages)[newest >= 0]
    rows, places = np.unique(newest[newest >= 0], return_inverse=True)
    return rows, np.bincount(places, weights, len(rows)).astype(np.float32)


class HistoryFeatures:
    """Computes the group."""

    def __init__(self, encoder: EntityEncoder) -> None:
        names = [column.name for column in encoder.numbers]
        numbers = (*(f"history_mean_{name}" for name in names), *(f"history_most_{name}" for name in names))
        self.group = FeatureGroup("history", (_EASE, ("liked_cosine", "comes_next"), _TEXT, numbers), needs="history")
        self._static = StaticColumns.of(encoder)

    def write(self, profile: Profile, candidates: Candidates, rows: Floats) -> None:
        """The features of C candidates into `rows` [A, C]; the profile has events."""
        records = candidates.records
        ease, (cosine, comes_next), texts, numbers = self.group.split(rows)
        scores = records.engagement @ np.concatenate([profile.liked, profile.passed[None]]).T  # [C, 4]
        ease[:] = ease_scale(scores * records.inverse[:, None]).T
        cosine[:] = scores[:, 0] / np.maximum(candidates.engagement_lengths * np.linalg.norm(profile.liked[0]), 1e-6)
        comes_next[:] = weight_of(records.row, profile.next_rows, profile.next_weights)
        texts[:] = (records.text @ profile.text.T).T
        self._write_numbers(profile, records, numbers.reshape(2, len(numbers) // 2, len(records)))

    def _write_numbers(self, profile: Profile, records: Records, rows: Floats) -> None:
        """Write the distance of each number to the mean and to the maximum of the history into `rows` [2, n, C].

        0 where unknown. The distance to the maximum matters for years: an entity newer than the whole history was
        mostly not available to the user.
        """
        values, known = _known_numbers(records, self._static)
        missing = np.ascontiguousarray(~known.T) | np.isnan(profile.numbers)[:, :, None]
        np.subtract(values.T, profile.numbers[:, :, None], out=rows)
        np.copyto(rows, 0, where=missing)


def _known_numbers(records: Records, static: StaticColumns) -> tuple[Floats, NDArray[np.bool_]]:
    """Standard scores, 0 where missing, and whether each is present. [C, n] each"""
    return records.static[:, static.numbers], records.static[:, static.missing] == 0


def _mean_and_maximum(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Mean and maximum of each number of a history, NaN where none is known. [H, n] each → [2, n]"""
    count = known.sum(0)
    mean = values.sum(0) / np.maximum(count, 1)
    maximum = np.where(known, values, -np.inf).max(0, initial=-np.inf)
    return np.where(count > 0, np.stack([mean, maximum]), np.nan).astype(np.float32)
