"""Ray Serve. Run as `python -m bench.rivals.ray_serve MODEL PORT`. One node, one replica, one proxy.

The node's address is 127.0.0.2: with 127.0.0.1, or none, Ray uses the machine's network address. HTTP is on the
loopback; some internal ports are on every interface nevertheless. Its processes inherit the core of this one.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from bench.plain import PlainRanking
from bench.rivals.bodies import RankIn, answer

_OBJECTS_BYTES = 100_000_000


class Ranking:
    """Validate, rank, answer."""

    def __init__(self, model: str) -> None:
        self._ranking = PlainRanking.load(Path(model))

    async def __call__(self, request: Request) -> dict[str, Any]:
        """One request; Ray Serve encodes plain values as JSON."""
        body = RankIn.model_validate(await request.json())
        return answer(self._ranking, body).model_dump()


def main() -> None:
    """Serve until terminated."""
    model, port = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    ray.init(
        num_cpus=1, include_dashboard=False, object_store_memory=_OBJECTS_BYTES, _node_ip_address="127.0.0.2",
        _temp_dir=tempfile.gettempdir(), log_to_driver=True,
    )  # fmt: skip
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)}, logging_config={"enable_access_log": False})
    deployment = serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 1})(Ranking)
    serve.run(deployment.bind(model), route_prefix="/rank")
    signal.pause()


if __name__ == "__main__":
    main()
