"""The parts of one artefact, as training produces and a folder stores them. Reads no files, scores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.artefact.lookups import Lookups
from model.artefact.manifest import Manifest
from model.catalogue.encoding import EntityEncoder
from model.catalogue.record_table import RecordTable
from model.catalogue.records import RecordLayout
from model.config import Config
from model.context.context import HistoryEvent
from model.events.engagement import Engagement
from model.events.seen import SeenEntities
from model.learning.calibration import Calibration
from model.network.ranker import Ranker


@dataclass(slots=True)
class ArtefactContents:
    """The parts of one artefact; `Artefact` is built from them."""

    manifest: Manifest
    ranker: Ranker
    encoder: EntityEncoder
    entities: Sequence[dict[str, object]]
    engagement: Engagement
    records: RecordTable
    layout: RecordLayout
    users: list[str]
    countries: list[str]
    tastes: NDArray[np.float32]  # [countries, Dz] what each country likes, in the co-engagement space
    histories: dict[str, tuple[HistoryEvent, ...]]  # the newest events of each user, for the network
    seen: SeenEntities  # all entities that each user has seen
    calibration: Calibration
    golden: list[dict[str, Any]]
    lookups: Lookups | None = None  # set when read from a folder; writing builds them again


def layout_of(config: Config, encoder: EntityEncoder) -> RecordLayout:
    """The record widths of a network and an encoder."""
    network = config.network
    return RecordLayout(
        network.width, network.text_width, network.engagement_width, len(encoder.static_names), network.transitions
    )
