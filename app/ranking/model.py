"""What the pipeline needs of a model: the one protocol that an artefact, and every stand-in of a test, keeps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from app.entities.store import Rows
from app.entities.tier import RecordBatch
from app.ranking.types import Logits
from model.catalogue.records import NamedRecords
from model.context.context import Context, HistoryEvent
from model.context.imputation import FilledContext


class RankingModel(Protocol):
    """What the service needs of a model; `model.artefact.model.Artefact` has it. `propose`, `compute_records` and what
    `prepare` gives compute; all else is quick."""

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
        """Entities of the catalogue."""
        ...

    def fill(self, context: Context) -> FilledContext:
        """Fill the gaps of a context. Raises `MissingFieldError`."""
        ...

    def entity(self, entity_id: str) -> dict[str, object] | None:
        """`entity_id`, `display_name` and the attributes beside them; None = not in the catalogue."""
        ...

    def history(self, user_id: str) -> tuple[HistoryEvent, ...]:
        """What the user did, oldest first; empty where unknown."""
        ...

    def seen(self, user_id: str) -> Rows:
        """Rows of all that the user has met, the newest first; empty where unknown. [S]"""
        ...

    def sample_users(self, count: int) -> list[str]:
        """Some users that have a history."""
        ...

    def context_entities(self, context: Context) -> list[str]:
        """Whose records encoding a filled context needs: the source, the newest of the history."""
        ...

    def find(self, entity_ids: Sequence[str]) -> Rows:
        """Rows of the catalogue, -1 = not in it. [C]"""
        ...

    def records_at(self, rows: Rows) -> RecordBatch:
        """The records of these rows."""
        ...

    def unpack(self, packed: Sequence[bytes]) -> RecordBatch:
        """Records from their bytes."""
        ...

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        """Packed records by the entity tower; None = not in the catalogue."""
        ...

    def encode_context(self, filled: FilledContext, gathered: NamedRecords[Any] | None = None) -> Any:
        """A context as the network reads it, from gathered records of its entities, else from the model's own."""
        ...

    def propose(self, context: Any, limit: int, exclude: Collection[str], seen: Rows) -> list[str]:
        """Candidates for an encoded context out of the whole catalogue; neither ids to `exclude` nor rows `seen`."""
        ...

    def prepare(self, context: Any) -> Callable[[Any], Logits]:
        """An encoded context made ready: records of candidates in, float32 [C] logits out."""
        ...

    def probability(self, task: str, logits: Logits) -> npt.NDArray[np.floating]:
        """Calibrated probability of positive engagement, [C]."""
        ...
