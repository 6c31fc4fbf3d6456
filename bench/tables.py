"""The tables of a report as text, for the terminal and the page. Only formats and rounds; computes no figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.servers import OURS, TITLES
from bench.summary import cell

Row = Mapping[str, Any]
NONE = "–"
ABOUT = {
    "A": "Rivals run the plain forward pass, as a user would write it.",
    "B": "Rivals run our scorer: what is left is the framework. No aim.",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a line of description, column heads, and rows of text; the flag of a row marks our own."""

    title: str
    about: str
    head: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], bool], ...]


def short_tables(result: Row) -> list[Table]:
    """The main tables; those without rows are left out."""
    times = [ratios(result, table) for table in ABOUT]
    return _with_rows([aims(result), *times, limit(result), latency(result), workers(result), catalogues(result)])


def tables(result: Row) -> list[Table]:
    """The main tables, and those of every loop."""
    loops = [make_table(result, table) for make_table in (closed, opened) for table in ABOUT]
    return short_tables(result) + _with_rows(loops)


def number(value: float | None, digits: int = 2) -> str:
    """A number with `digits` decimals, or a dash for None."""
    return NONE if value is None else f"{value:,.{digits}f}"


def aims(result: Row) -> Table:
    """Each aim: measured value, and whether it was reached."""
    words = {True: "yes", False: "no", None: "not measured"}
    rows = [
        (
            f"{aim['what']} {'≥' if aim['sign'] == '>=' else '≤'} {aim['limit']:g}",
            number(aim["value"]),
            words[aim["reached"]],
        )
        for aim in result["summary"]["aims"]
    ]
    summary = result["summary"]
    shared = summary["share_of_limit"]
    rows.append(("share of the in-process limit at our peak", NONE if shared is None else f"{shared:.0%}", "no aim"))
    return _table("Aims", "", ("aim", "measured", "reached"), rows)


def ratios(result: Row, table: str) -> Table:
    """Our speed relative to each rival, or the reason why a rival has no figure."""
    summary = result["summary"]
    names = [server for server in result["servers"] if server["table"] == table and server["name"] != OURS]
    about = (
        f"{ABOUT[table]} Requests a second at {summary['candidates']} candidates, {summary['connections']} connections."
    )
    rows = [(server["title"], server["version"] or NONE, *_ratio(result, server, summary)) for server in names]
    ours = cell(result, OURS, "A", summary["candidates"], summary["connections"])
    if rows and ours:
        rows.insert(0, (TITLES[OURS], _version(result), number(ours["per_s"], 0), "1.0"))
    return _table(f"Table {table}: requests a second", about, ("server", "release", "requests/s", "ours is"), rows)


def _ratio(result: Row, server: Row, summary: Row) -> tuple[str, str]:
    theirs = cell(result, server["name"], server["table"], summary["candidates"], summary["connections"])
    times = summary["ratios"][server["table"]].get(server["name"])
    return (number(theirs["per_s"], 0), f"{times:.1f} ×" if times else NONE) if theirs else (NONE, server["status"])


def closed(result: Row, table: str) -> Table:
    """Every closed loop."""
    rows = [
        (
            server["title"],
            f"{loop['candidates']:,}",
            str(loop["connections"]),
            number(loop["per_s"], 0),
            *_times(loop),
            *_faults(loop),
        )
        for server in _servers_of(result, table)
        for loop in server.get("closed", ())
    ]
    head = ("server", "candidates", "connections", "requests/s", "p50 ms", "p99 ms", "not 200", "generator busy")
    return _table(f"Closed loop, table {table}", "Each connection asks again once it has its answer.", head, rows)


def opened(result: Row, table: str) -> Table:
    """Every open loop."""
    rows = [
        (server["title"], f"{loop['candidates']:,}", f"{loop['share']:.0%}", number(loop["rate_per_s"], 0),
         number(loop["per_s"], 0), *_times(loop), *_faults(loop))
        for server in _servers_of(result, table)
        for loop in server.get("open", ())
    ]  # fmt: skip
    head = (
        "server",
        "candidates",
        "of its peak",
        "asked/s",
        "answered/s",
        "p50 ms",
        "p99 ms",
        "not 200",
        "generator busy",
    )
    about = "Requests come at random moments, whatever the server does; a time runs from the moment it was due."
    return _table(f"Open loop, table {table}", about, head, rows)


def limit(result: Row) -> Table:
    """The work in process, by way of scoring."""
    ways = {"fast": "our scorer", "plain": "plain forward pass"}
    rows = [
        (ways[way], f"{int(count):,}", *_times(figures), number(figures["mean_ms"]), number(figures["per_s"], 0))
        for way, counts in result.get("limit", {}).items()
        for count, figures in counts.items()
    ]
    line = result["summary"]["fit"]["limit"]
    about = "Fill, features, gather, forward; one request after another on the server's core, no HTTP."
    if line:
        about += f" A line through our means: {line['ms_per_100']:.3f} ms per 100 candidates, R² {line['r2']:.4f}."
    return _table("The limit", about, ("way", "candidates", "p50 ms", "p99 ms", "mean ms", "requests/s"), rows)


def latency(result: Row) -> Table:
    """Every run at one connection; the best has the lowest p99."""
    best = result["summary"]["latency"]
    rows = [
        (f"{int(count):,}", str(place), *_times(run), "best" if run == best[count] else "")
        for count, runs in result.get("latency", {}).items()
        for place, run in enumerate(runs, 1)
    ]
    return _table("Latency at one connection", "", ("candidates", "run", "p50 ms", "p99 ms", ""), rows)


def workers(result: Row) -> Table:
    """Processor time and memory by number of workers."""
    rows = [
        (
            count,
            number(figures["cpu_ms_per_request"]),
            *(number(figures[name], 0) for name in ("per_s", "pss_mb", "uss_mb")),
        )
        for count, figures in result.get("workers", {}).items()
    ]
    about = "All processes of the service. One worker has one core, several share two with the load."
    head = ("workers", "processor ms per request", "requests/s", "PSS MB", "USS MB")
    return _table("Workers", about, head, rows)


def catalogues(result: Row) -> Table:
    """Time in process by number of entities; no rows unless other catalogues were given."""
    by_catalogue = result["summary"]["catalogues"]
    rows = (
        [(f"{figures['entities']:,}", number(figures["mean_ms"])) for figures in by_catalogue]
        if len(by_catalogue) > 1
        else []
    )
    return _table("Size of the catalogue", "Mean time in process.", ("entities", "mean ms"), rows)


def _with_rows(all_tables: Iterable[Table]) -> list[Table]:
    return [table for table in all_tables if table.rows]


def _servers_of(result: Row, table: str) -> list[Row]:
    return [server for server in result["servers"] if server["table"] == table]


def _version(result: Row) -> str:
    return next((server["version"] or NONE for server in result["servers"] if server["name"] == OURS), NONE)


def _times(figures: Row) -> tuple[str, str]:
    return number(figures["p50_ms"]), number(figures["p99_ms"])


def _faults(figures: Row) -> tuple[str, str]:
    """Number of answers with another status than 200 or missing, and the CPU share of the generator."""
    others = sum(count for status, count in figures["statuses"].items() if status != "200") + figures["unanswered"]
    return str(others), f"{figures['load_cpu_share']:.0%}"


def _table(title: str, about: str, head: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Table:
    ours = {TITLES[OURS], "our scorer"}
    return Table(title, about, tuple(head), tuple((row, row[0] in ours) for row in rows))
