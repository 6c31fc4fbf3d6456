"""Tunes Python's garbage collector, so that it does not delay answers. Frees nothing on the request path.

A full collection visits every object: a quarter of a million of them belong to modules and the model, which are
long-lived, and it blocks all answers for a tenth of a second. A model holds no reference cycles, so it is freed when it
is replaced, frozen or not.
"""

from __future__ import annotations

import gc

_YOUNG = 10_000  # new objects before the youngest generation is collected; Python's default, 700, is a few rankings


def collect() -> None:
    """Free what loading the modules and the first model left behind. Slow: call it before the first request."""
    gc.collect()


def freeze() -> None:
    """Exclude all current objects from later collections, and make those rarer."""
    gc.freeze()
    gc.set_threshold(_YOUNG)
