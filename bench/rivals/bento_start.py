"""Starts BentoML. Run as `python -m bench.rivals.bento_start MODEL PORT`; it replaces itself with BentoML's command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Replace this process with `bentoml serve`."""
    model, port = sys.argv[1:]
    os.environ["UNIRANK_BENCH_MODEL"] = model
    serve = ["serve", "bench.rivals.bento:Ranking", "--host", "127.0.0.1", "--port", port]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *serve])


if __name__ == "__main__":
    main()
