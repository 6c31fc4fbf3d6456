"""The A/B test of two models: assigns users to arms and chooses the model. Reads no file and stores nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from app.models.served_model import ServedModel

Arm = Literal["control", "challenger"]
_HASHES = 2**64


def arm_of(user_id: str | None, control: str, challenger: str, share: float) -> Arm:
    """The arm of a user for two versions. It is a hash, so it is the same in every worker and every analysis, a larger
    `share` moves no user back to control, and each pair of models is a new draw. Control for requests without a user.

    >>> arm_of("u1", "films-1", "films-2", 0.2), arm_of("u7", "films-1", "films-2", 0.2), arm_of(None, "a", "b", 0.9)
    ('control', 'challenger', 'control')
    """
    if user_id is None:
        return "control"
    digest = hashlib.sha256("\n".join((control, challenger, user_id)).encode()).digest()
    return "challenger" if int.from_bytes(digest[:8], "big") < share * _HASHES else "control"


@dataclass(frozen=True, slots=True)
class Split:
    """An A/B test: a second model, the challenger, answers this share of the users."""

    challenger: ServedModel
    share: float

    def __str__(self) -> str:
        return f"{self.challenger.version} takes {self.share:g}"

    def named(self) -> tuple[str, float]:
        """The version and the share of the challenger."""
        return self.challenger.version, self.share

    def choose(self, live: ServedModel, user_id: str | None, wanted: str | None) -> tuple[ServedModel, Arm | None]:
        """The model that answers, and the arm of the user. A request that names a version (`wanted`) gets that model
        and is in no arm: arms are compared, so they may not contain requests that chose their model."""
        if wanted is not None:
            return (self.challenger if wanted == self.challenger.version else live), None
        arm = arm_of(user_id, live.version, self.challenger.version, self.share)
        return (self.challenger if arm == "challenger" else live), arm
