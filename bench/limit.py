"""The limit: one request after another in this process, without HTTP, validation or order.

Run as `python -m bench.limit MODEL REQUESTS SECONDS` on the core that servers get; REQUESTS is a file with JSON, a list
of bodies by number of candidates. Timed is filling, features, gathering and the forward pass; JSON goes to standard
output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from bench.asks import Body, context_of
from bench.load import percentiles
from bench.plain import PlainRanking, Scorer, fast_logits, plain_logits
from model.artefact.model import Artefact

WAYS: dict[str, Scorer] = {"fast": fast_logits, "plain": plain_logits}
_WARM = 20


def limits(artefact: Artefact, requests: dict[int, list[Body]], seconds: float) -> dict[str, Any]:
    """Figures by way of scoring and number of candidates; each is run for so many seconds."""
    return {
        way: {str(count): timed(PlainRanking(artefact, logits), bodies, seconds) for count, bodies in requests.items()}
        for way, logits in WAYS.items()
    }


def timed(ranking: PlainRanking, bodies: Sequence[Body], seconds: float) -> dict[str, Any]:
    """Percentiles and requests a second of one after another."""
    asked = cycle([(context_of(body), body["candidates"]) for body in bodies])
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _WARM + 1 or time.perf_counter() < end:
        context, candidates = next(asked)
        started = time.perf_counter()
        ranking.logits(ranking.fill(context), candidates)
        times.append(time.perf_counter() - started)
    measured = times[_WARM:]
    return {"runs": len(measured), "per_s": len(measured) / sum(measured), **percentiles(measured)}


def main() -> None:
    """Measure and say."""
    model, requests, seconds = sys.argv[1:]
    torch.set_num_threads(1)
    bodies = {int(count): found for count, found in json.loads(Path(requests).read_text("utf-8")).items()}
    found = limits(Artefact.load(Path(model)), bodies, float(seconds))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
