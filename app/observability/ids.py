"""Ids of requests and rankings. Not for secrets: API keys are generated elsewhere."""

from __future__ import annotations

from random import getrandbits


def new_id() -> str:
    """A unique id for a request or a ranking: 128 pseudo-random bits. `os.urandom` would release the GIL on each call,
    and the worker thread may then hold it for long."""
    return f"{getrandbits(128):032x}"
