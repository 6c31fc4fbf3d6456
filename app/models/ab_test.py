"""Which arm of a split a user is in: a pure function, the same for every worker and every analyst. Keeps nothing."""

from __future__ import annotations

import hashlib
from typing import Literal

Arm = Literal["control", "challenger"]
_HASHES = 2**64


def arm_of(user_id: str | None, control: str, challenger: str, share: float) -> Arm:
    """The arm of a user between two versions: by hash, so that a larger `share` moves nobody back, and another pair
    of models is another draw. Who is nobody is in control.

    >>> arm_of("u1", "films-1", "films-2", 0.2), arm_of("u7", "films-1", "films-2", 0.2), arm_of(None, "a", "b", 0.9)
    ('control', 'challenger', 'control')
    """
    if user_id is None:
        return "control"
    digest = hashlib.sha256("\n".join((control, challenger, user_id)).encode()).digest()
    return "challenger" if int.from_bytes(digest[:8], "big") < share * _HASHES else "control"
