"""LitServe. Run as `python -m bench.rivals.lit MODEL PORT`. One HTTP process and one worker, as by default."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litserve as ls

from bench.plain import PlainRanking
from bench.rivals.bodies import RankIn, RankOut, answer


class Ranking(ls.LitAPI):
    """Validate, rank, answer."""

    def __init__(self, model: Path) -> None:
        super().__init__(api_path="/rank")
        self._model = model

    def setup(self, device: str) -> None:
        """Load the model, once per worker."""
        self._ranking = PlainRanking.load(self._model)

    def decode_request(self, request) -> RankIn:
        """Validate the JSON that LitServe has parsed. Faster than annotating `request` with the type."""
        return RankIn.model_validate(request)

    def predict(self, body: RankIn) -> RankOut:
        """One ranking."""
        return answer(self._ranking, body)

    def encode_response(self, answered: RankOut) -> dict[str, Any]:
        """Convert to plain values, which LitServe encodes as JSON."""
        return answered.model_dump()


def main() -> None:
    """Serve until terminated."""
    model, port = sys.argv[1:]
    server = ls.LitServer(Ranking(Path(model)), accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(port), num_api_servers=1, generate_client_file=False, log_level="warning",
        access_log=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
