"""Ids of requests and rankings. Not secret: keys of callers are made elsewhere."""

from __future__ import annotations

from random import getrandbits


def new_id() -> str:
    """A fresh id for a request or a ranking, unlike any other: 128 random bits. Asking the system for them would
    release the interpreter lock each time, and the worker thread may hold it for long."""
    return f"{getrandbits(128):032x}"
