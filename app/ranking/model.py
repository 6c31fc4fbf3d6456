"""The protocol of a model: what the pipeline calls. Artefacts and the fakes of tests implement it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from app.entities.store import Rows
from app.entities.tier import RecordBatch
from app.ranking.types import Logits
from model.catalogue.records import NamedRecords
from model.context.context import Context, FilledContext, HistoryEvent


class RankingModel(Protocol):
    """What the service needs of a model; implemented by `model.artefact.model.Artefact`. `propose`, `compute_records`
    and the function that `prepare` returns are expensive; all other methods are cheap."""

    @property
    def version(self) -> str:
        """Id of the artefact."""
        ...

    @property
    def checksum(self) -> str:
        """Checksum of the artefact."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the model was trained with."""
        ...

    @property
    def entity_count(self) -> int:
        """Number of entities in the catalogue."""
        ...

    def fill(self, context: Context) -> FilledContext:
        """Fill the gaps of a context. Raises `MissingFieldError`."""
        ...

    def understood(self, filled: FilledContext) -> dict[str, object]:
        """How a query of the caller was read where that differs from what was typed; empty for most queries."""
        ...

    def entity(self, entity_id: str) -> dict[str, object] | None:
        """`entity_id`, `display_name` and the other attributes; None = not in the catalogue."""
        ...

    def history(self, user_id: str) -> tuple[HistoryEvent, ...]:
        """The events of the user, oldest first; empty for an unknown user."""
        ...

    def seen(self, user_id: str) -> Rows:
        """Catalogue rows of all entities that the user has seen, newest first; empty for an unknown user. [S]"""
        ...

    def sample_users(self, count: int) -> list[str]:
        """Ids of up to `count` users that have a history."""
        ...

    def context_entities(self, context: Context) -> list[str]:
        """Ids of the entities whose records encode a filled context: the source, and the newest of the history."""
        ...

    def find(self, entity_ids: Sequence[str]) -> Rows:
        """Catalogue rows, -1 = not in the catalogue. [C]"""
        ...

    def records_at(self, rows: Rows) -> RecordBatch:
        """The records of these rows."""
        ...

    def unpack(self, packed: Sequence[bytes]) -> RecordBatch:
        """Unpack records from bytes."""
        ...

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        """Packed records by the entity tower; None = not in the catalogue."""
        ...

    def encode_context(self, filled: FilledContext, gathered: NamedRecords[Any] | None = None) -> Any:
        """Encode a context for the network, from the gathered records of its entities or else from the model's own."""
        ...

    def propose(self, context: Any, limit: int, exclude: Collection[str], seen: Rows) -> list[str]:
        """Retrieve candidates from the whole catalogue for an encoded context, except ids in `exclude`, rows `seen`."""
        ...

    def prepare(self, context: Any) -> Callable[[Any], Logits]:
        """Prepare an encoded context: returns a function from records of candidates to their float32 [C] logits."""
        ...

    def probability(self, context: Context, logits: Logits) -> npt.NDArray[np.floating]:
        """Calibrated probability of positive engagement in a context with its history, [C]."""
        ...
