"""Tuning of Python's garbage collector, so that it does not delay answers. Frees nothing on the request path.

A full collection visits every object there is: a quarter of a million of them are modules and the model, which live
for long, and for a tenth of a second nobody gets an answer. What a model is made of holds no reference cycles, so
it is freed when it retires, frozen or not.
"""

from __future__ import annotations

import gc

_YOUNG = 10_000  # new objects before the youngest generation is collected; Python's 700 are a few rankings


def collect() -> None:
    """Free what modules and a first model left behind. Takes a moment: before anybody is answered."""
    gc.collect()


def freeze() -> None:
    """Leave out of later collections what there is now, and make those rarer."""
    gc.freeze()
    gc.set_threshold(_YOUNG)
