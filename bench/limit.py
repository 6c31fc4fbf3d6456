"""The in-process limit: scores one request after another in this process, without HTTP, validation or ordering.

Run as `python -m bench.limit MODEL REQUESTS SECONDS` on the core of the servers; REQUESTS is a JSON file with a list of
bodies by number of candidates. Imputation, features, gathering and the forward pass are timed; the figures are written
to standard output as JSON.
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

from bench.load import percentiles
from bench.plain import PlainRanking, Scorer, fast_logits, plain_logits
from bench.request_set import Body, context_of
from model.artefact.model import Artefact

WAYS: dict[str, Scorer] = {"fast": fast_logits, "plain": plain_logits}
_WARM = 20


def limits(artefact: Artefact, requests: dict[int, list[Body]], seconds: float) -> dict[str, Any]:
    """Figures by way of scoring and number of candidates; each is measured for `seconds`."""
    return {
        way: {str(count): timed(PlainRanking(artefact, logits), bodies, seconds) for count, bodies in requests.items()}
        for way, logits in WAYS.items()
    }


def timed(ranking: PlainRanking, bodies: Sequence[Body], seconds: float) -> dict[str, Any]:
    """Percentiles and requests per second of sequential requests."""
    requests = cycle([(context_of(body), body["candidates"]) for body in bodies])
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _WARM + 1 or time.perf_counter() < end:
        context, candidates = next(requests)
        started = time.perf_counter()
        ranking.logits(ranking.fill(context), candidates)
        times.append(time.perf_counter() - started)
    measured = times[_WARM:]
    return {"runs": len(measured), "per_s": len(measured) / sum(measured), **percentiles(measured)}


def main() -> None:
    """Measure, and write the figures to standard output."""
    model, requests, seconds = sys.argv[1:]
    torch.set_num_threads(1)
    bodies = {int(count): figures for count, figures in json.loads(Path(requests).read_text("utf-8")).items()}
    figures = limits(Artefact.load(Path(model)), bodies, float(seconds))
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
