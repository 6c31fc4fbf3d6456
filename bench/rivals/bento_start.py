"""Starts BentoML. Run as `python -m bench.rivals.bento_start MODEL PORT`; it becomes BentoML's own command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Hand over to `bentoml serve`."""
    model, port = sys.argv[1:]
    os.environ["UNIRANK_BENCH_MODEL"] = model
    serve = ["serve", "bench.rivals.bento:Ranking", "--host", "127.0.0.1", "--port", port]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *serve])


if __name__ == "__main__":
    main()
