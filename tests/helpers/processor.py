"""How slow this processor is at the moment, so that a bound in milliseconds means the same work everywhere. Tests
nothing.
"""

from __future__ import annotations

import time

import msgspec

_BODY = b"[" + b",".join([b'{"entity_id": "a"}'] * 90_000) + b"]"
_USUAL_S = 0.025  # what decoding that takes on the machine whose milliseconds the bounds are


def slowness() -> float:
    """How many times as long as usual this processor takes now; never below 1."""
    decode = msgspec.json.Decoder(list[dict[str, str]]).decode
    taken = []
    for _ in range(3):
        started = time.thread_time()
        decode(_BODY)
        taken.append(time.thread_time() - started)
    return max(1.0, min(taken) / _USUAL_S)
