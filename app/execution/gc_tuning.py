"""Python's collector of circular garbage, kept out of the way of answers. Frees nothing itself.

A full collection looks at every object there is: a quarter of a million of them are modules and the model, which live
for long, and for a tenth of a second nobody gets an answer. What a model is made of holds no circles, so it is freed
when it retires, looked at or not.
"""

from __future__ import annotations

import gc

_YOUNG = 10_000  # new objects before the youngest are looked at; Python's 700 are a few rankings


def collect() -> None:
    """Free what modules and a first model left behind. Takes a moment: before anybody is answered."""
    gc.collect()


def look_away() -> None:
    """What there is now is not looked at any more, and what comes later less often."""
    gc.freeze()
    gc.set_threshold(_YOUNG)
