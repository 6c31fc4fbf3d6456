"""Writes rankings as TREC run and qrels, for other programs to compute the metrics again. Computes none itself.

A query id is `task/protocol/number`. Ids are percent-encoded, so that none holds a space; a further row of the same
entity in a slate ends in `#2`, `#3` and so on. Scores fall by one a rank, in the order that our metrics assume: ties
count against the model. A path that ends in `.parquet` becomes Parquet with the same columns.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import lru_cache
from math import lcm
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars._typing import PolarsDataType

from model.evaluation import metrics
from model.evaluation.protocols import Watch
from model.events.timelines import LabelledRanking

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
DEPTH = 1000  # of a run; no metric looks further than 30
HIGHEST_GRADE = 1_000_000  # programs that read qrels take memory for every grade up to the highest
TAG = "unirank"
RUN_COLUMNS = {"q_id": pl.String, "Q0": pl.String, "doc_id": pl.String, "rank": pl.Int64, "score": pl.Int64,
               "tag": pl.String}  # fmt: skip
QREL_COLUMNS = {"q_id": pl.String, "iteration": pl.String, "doc_id": pl.String, "score": pl.Int64}
_PLAIN = "!$&'()*+,-.:;<=>?@[]^_`{|}~"  # kept beside letters and digits: neither space, %, #, / nor quotation mark


class TrecFiles:
    """Run and qrels under writing; None = not wanted. `ids` [N]: the entities of the catalogue."""

    def __init__(self, run: TextIO | None, qrels: TextIO | None, ids: Sequence[str]) -> None:
        self._run = run
        self._qrels = qrels
        self._ids = ids
        self._counts: Counter[str] = Counter()

    def watch(self, protocol: str) -> Watch:
        """A function that writes a ranking of a protocol."""
        return lambda *ranking: self._write(protocol, *ranking)

    def _write(self, protocol: str, ranking: LabelledRanking, rows: Ints, scores: Floats, labels: Floats) -> None:
        name = f"{escape(ranking.context.task)}/{protocol}"
        self._counts[name] += 1
        query = f"{name}/{self._counts[name]}"
        order = metrics.ranked(scores, labels)[:DEPTH].tolist()
        judged = range(len(labels)) if ranking.slate else np.flatnonzero(labels > 0).tolist()
        documents = self._documents(rows, {*order, *judged})
        if self._run:
            lines = (f"{query} Q0 {documents[i]} {rank} {DEPTH - rank} {TAG}\n" for rank, i in enumerate(order, 1))
            self._run.writelines(lines)
        if self._qrels:
            graded = grades(labels)
            self._qrels.writelines(f"{query} 0 {documents[i]} {graded[i]}\n" for i in judged)

    def _documents(self, rows: Ints, places: Set[int]) -> dict[int, str]:
        """The document id of each place of a ranking. A slate needs all of its places, since rows may repeat."""
        seen: Counter[int] = Counter()
        result = {}
        for place in sorted(places):
            row = int(rows[place])
            seen[row] += 1
            result[place] = escape(self._ids[row]) + (f"#{seen[row]}" if seen[row] > 1 else "")
        return result


@contextmanager
def trec_files(run: Path | None, qrels: Path | None, ids: Sequence[str]) -> Iterator[TrecFiles]:
    """Write both, each replaced once it is complete. Raises ValueError if they are one file."""
    if run is not None and qrels is not None and run.resolve() == qrels.resolve():
        raise ValueError(f"--run and --qrels: expected two files, got {run} for both")
    with ExitStack() as stack:
        tables = ((run, RUN_COLUMNS), (qrels, QREL_COLUMNS))
        first, second = (stack.enter_context(_replaced(path, columns)) if path else None for path, columns in tables)
        yield TrecFiles(first, second, ids)


@contextmanager
def _replaced(path: Path, columns: Mapping[str, PolarsDataType]) -> Iterator[TextIO]:
    """A text of lines, which replaces the file at the end. Nothing is held in memory, since runs are large."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        text, parquet = Path(folder, "text"), Path(folder, "parquet")
        with text.open("w", encoding="utf-8") as file:
            yield file
        if path.suffix == ".parquet":
            table = pl.scan_csv(
                text, separator=" ", has_header=False, schema=columns, quote_char=None, raise_if_empty=False
            )
            table.sink_parquet(parquet)
        (parquet if path.suffix == ".parquet" else text).replace(path)


@lru_cache(100_000)
def escape(text: str) -> str:
    """Percent-encode what would end a field of a line. `urllib.parse.unquote` gives the text back.

    >>> escape("a b/ü#2")
    'a%20b%2F%C3%BC%232'
    """
    return quote(text, safe=_PLAIN)


def grades(labels: Floats) -> Ints:
    """Whole grades in proportion to the labels, at least 1 for a positive one and 0 for others. [C]

    NDCG does not depend on the scale of its gains. Labels that no common scale makes whole are rounded to a millionth
    of the highest.

    >>> grades(np.array([0.5, 2.0, 0.0, -1.0]))
    array([1, 4, 0, 0])
    """
    relevant = labels > 0
    positive = np.unique(labels[relevant])
    if not positive.size:
        return np.zeros(len(labels), np.int64)
    fractions = [Fraction(label).limit_denominator(1000) for label in positive.tolist()]
    scale: float = lcm(*(fraction.denominator for fraction in fractions))
    if scale * positive[-1] > HIGHEST_GRADE or not np.allclose(np.array(fractions, float), positive, rtol=1e-9, atol=0):
        labels, scale = labels / positive[-1], HIGHEST_GRADE  # in this order: the highest label may be tiny
    return np.where(relevant, np.maximum(np.rint(labels * scale), 1), 0).astype(np.int64)
