"""Benchmark of retrieval from whole catalogues: the index of each model against exact search, one process per model.

`python -m bench.retrieval MODEL SECONDS` measures one model and writes JSON to standard output;
`unirank bench retrieval` measures several. It runs no service: no HTTP, no queue.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from bench import process
from bench.load import percentiles
from bench.tables import Row, Table, number
from model.artefact.index import sample_contexts
from model.artefact.lookups import APPROXIMATE, EXACT, whole_matrix
from model.artefact.model import Artefact
from model.context.context import SEARCH, Context, FilledContext
from model.retrieval.exact import DenseIndex, Floats
from model.retrieval.tuning import recall, rows_of

ROOT = Path(__file__).parents[1]
LIMIT = 500  # candidates to propose, the default of UNIRANK_RETRIEVE_LIMIT
CONTEXTS = 300
RECALLED = 100  # number of queries for recall
_WARM = 20


def measure(folder: Path, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Figures of one model; each search is repeated for `seconds`."""
    started = time.perf_counter()
    artefact = Artefact.load(folder)
    load_s = time.perf_counter() - started
    contexts = [artefact.fill(context) for context in sample_contexts(artefact, CONTEXTS, seed)]
    queries = [_dense_query(artefact, filled) for filled in contexts]
    timings = {
        "dense": timed(lambda query: artefact.dense.search(query, LIMIT), queries, seconds),
        "lexical": timed(_lexical(artefact), typed(artefact, seed), seconds),
        "propose": timed(lambda filled: artefact.propose(artefact.encode_context(filled), LIMIT), contexts, seconds),
    }
    memory = process.memory_mb(os.getpid())["dirty_mb"]  # before the exact index, which no service builds
    exact = DenseIndex(whole_matrix(artefact.contents.records))
    return {
        "version": artefact.version,
        "entities": artefact.entity_count,
        "index": "exact" if isinstance(artefact.dense, DenseIndex) else "approximate",
        "load_s": load_s,
        "own_memory_mb": memory,
        **timings,
        "exact": timed(lambda query: exact.search(query, LIMIT), queries, seconds),
        "recall@100": recall(rows_of(artefact.dense, queries[:RECALLED]), rows_of(exact, queries[:RECALLED])),
        "bytes_per_entity": _bytes(folder, artefact.entity_count),
    }


def timed(search: Callable[[Any], object], queries: Sequence[Any], seconds: float) -> dict[str, float | None]:
    """Percentiles of sequential searches."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    for query in cycle(queries):
        started = time.perf_counter()
        search(query)
        times.append(time.perf_counter() - started)
        if len(times) > _WARM and time.perf_counter() > end:
            return percentiles(times[_WARM:])
    return percentiles([])


def typed(artefact: Artefact, seed: int) -> list[FilledContext]:
    """Searches for prefixes of names, as typed in a search bar."""
    rng = random.Random(seed)
    names = [artefact.catalogue.names[rng.choice(artefact.catalogue.ids)].lower() for _ in range(CONTEXTS)]
    prefixes = [name[: rng.randint(1, len(name))] for name in names]
    return [artefact.fill(Context(SEARCH, query=query)) for query in prefixes]


def _lexical(artefact: Artefact) -> Callable[[FilledContext], object]:
    encode = artefact.scorer.contexts.matcher.encode_query
    return lambda filled: artefact.lexical.search(encode(filled.context.query), LIMIT)


def _dense_query(artefact: Artefact, filled: FilledContext) -> Floats:
    return artefact.scorer.retrieval_query(artefact.catalogue.encode_context(filled))


def _bytes(folder: Path, entities: int) -> dict[str, float]:
    """Bytes per entity of the index, and of all files."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    index = sum(sizes.get(name, 0) for name in (EXACT, APPROXIMATE))
    return {"index": index / entities, "all": sum(sizes.values()) / entities}


def run(models: Iterable[Path], out: Path, seconds: float, core: int, say: Callable[[str], None]) -> Row:
    """Measure each model in a separate process on one core; write `retrieval.json` into `out`."""
    figures = []
    for folder in models:
        say(str(folder))
        figures.append(_measure_in_process(folder, seconds, core))
    out.mkdir(parents=True, exist_ok=True)
    result = {"limit": LIMIT, "seconds": seconds, "load_average": os.getloadavg()[0], "models": figures}
    (out / "retrieval.json").write_text(json.dumps(result, indent=1), "utf-8")
    return result


def _measure_in_process(folder: Path, seconds: float, core: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.retrieval", str(folder.resolve()), str(seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with process.on_cores({core}):
        process_result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if process_result.returncode:
        raise ValueError(f"{folder}: {(process_result.stderr.strip().splitlines() or ['no reason'])[-1]}")
    figures: dict[str, Any] = json.loads(process_result.stdout)
    return figures


def tables(result: Row) -> list[Table]:
    """A table of speed and one of size, each with one row per model."""
    models = sorted(result["models"], key=lambda figures: int(figures["entities"]))
    speed = ("entities", "index", "dense", "exact dense", "recall@100", "lexical", "propose")
    size = ("entities", "index: bytes each", "all files: bytes each", "own memory MB", "load s")
    about = f"p50 / p99 in milliseconds, {result['limit']} candidates, one core."
    return [
        Table("Retrieval", about, speed, tuple((_speed_row(figures), False) for figures in models)),
        Table(
            "Size",
            "Own memory: what no other process shares.",
            size,
            tuple((_size_row(figures), False) for figures in models),
        ),
    ]


def _speed_row(figures: Row) -> tuple[str, ...]:
    dense, exact, lexical, propose = (_pair(figures[name]) for name in ("dense", "exact", "lexical", "propose"))
    return (
        f"{figures['entities']:,}",
        figures["index"],
        dense,
        exact,
        number(figures["recall@100"], 3),
        lexical,
        propose,
    )


def _size_row(figures: Row) -> tuple[str, ...]:
    size = figures["bytes_per_entity"]
    sizes = (number(size["index"], 0), number(size["all"], 0))
    return f"{figures['entities']:,}", *sizes, number(figures["own_memory_mb"], 0), number(figures["load_s"], 1)


def _pair(times: Row) -> str:
    return f"{number(times['p50_ms'])} / {number(times['p99_ms'])}"


def main() -> None:
    """Measure one model, and write its figures to standard output."""
    folder, seconds = sys.argv[1:]
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(measure(Path(folder), float(seconds))))


if __name__ == "__main__":
    main()
