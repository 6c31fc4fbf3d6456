"""BentoML: the service. `bento_start.py` runs it; the model folder is in UNIRANK_BENCH_MODEL."""

from __future__ import annotations

import os
from pathlib import Path

import bentoml

from bench.plain import PlainRanking
from bench.rivals.bodies import ContextIn, RankIn, RankOut, answer


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": True})
class Ranking:
    """One worker, one thread, metrics on (the default); access log off, as for all servers."""

    def __init__(self) -> None:
        self._ranking = PlainRanking.load(Path(os.environ["UNIRANK_BENCH_MODEL"]))

    @bentoml.api(route="/rank")
    def rank(self, context: ContextIn, candidates: list[str]) -> RankOut:
        """One ranking; BentoML passes the fields of the body as arguments."""
        return answer(self._ranking, RankIn.model_construct(context=context, candidates=candidates))
