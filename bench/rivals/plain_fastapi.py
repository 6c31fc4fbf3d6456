"""Plain FastAPI + pydantic + torch. Run as `python -m bench.rivals.plain_fastapi MODEL PORT`.

The route is async, so it runs in the event loop: on one core this is faster than a thread pool, and it keeps the
model, which is not thread-safe, in one thread.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from bench.plain import PlainRanking
from bench.rivals.bodies import RankIn, RankOut, answer


def make(ranking: PlainRanking) -> FastAPI:
    """The application."""
    app = FastAPI()

    @app.post("/rank")
    async def rank(body: RankIn) -> RankOut:
        return answer(ranking, body)

    return app


def main() -> None:
    """Load and serve."""
    model, port = sys.argv[1:]
    uvicorn.run(make(PlainRanking.load(Path(model))), host="127.0.0.1", port=int(port), access_log=False)


if __name__ == "__main__":
    main()
