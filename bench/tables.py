"""The tables of a report as text, for the terminal and for the page alike. Computes nothing but words and roundings."""

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
    """A title, a line about it, column heads, and rows of text; the flag of a row marks what is ours."""

    title: str
    about: str
    head: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], bool], ...]


def short_tables(result: Row) -> list[Table]:
    """What was asked, in a few tables; those without rows are left out."""
    times = [ratios(result, table) for table in ABOUT]
    return _with_rows([aims(result), *times, limit(result), latency(result), workers(result), catalogues(result)])


def tables(result: Row) -> list[Table]:
    """The same and every loop."""
    loops = [made(result, table) for made in (closed, opened) for table in ABOUT]
    return short_tables(result) + _with_rows(loops)


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals, or a dash."""
    return NONE if value is None else f"{value:,.{digits}f}"


def aims(result: Row) -> Table:
    """Aim, measured, reached."""
    words = {True: "yes", False: "no", None: "not measured"}
    rows = [
        (
            f"{aim['what']} {'≥' if aim['sign'] == '>=' else '≤'} {aim['limit']:g}",
            number(aim["value"]),
            words[aim["reached"]],
        )
        for aim in result["summary"]["aims"]
    ]
    told = result["summary"]
    shared = told["share_of_limit"]
    rows.append(("share of the in-process limit at our peak", NONE if shared is None else f"{shared:.0%}", "no aim"))
    return _table("Aims", "", ("aim", "measured", "reached"), rows)


def ratios(result: Row, table: str) -> Table:
    """Ours to each rival, and why a rival has no figure."""
    told = result["summary"]
    names = [server for server in result["servers"] if server["table"] == table and server["name"] != OURS]
    about = f"{ABOUT[table]} Requests a second at {told['candidates']} candidates, {told['connections']} connections."
    rows = [(server["title"], server["version"] or NONE, *_ratio(result, server, told)) for server in names]
    ours = cell(result, OURS, "A", told["candidates"], told["connections"])
    if rows and ours:
        rows.insert(0, (TITLES[OURS], _version(result), number(ours["per_s"], 0), "1.0"))
    return _table(f"Table {table}: requests a second", about, ("server", "release", "requests/s", "ours is"), rows)


def _ratio(result: Row, server: Row, told: Row) -> tuple[str, str]:
    found = cell(result, server["name"], server["table"], told["candidates"], told["connections"])
    times = told["ratios"][server["table"]].get(server["name"])
    return (number(found["per_s"], 0), f"{times:.1f} ×" if times else NONE) if found else (NONE, server["status"])


def closed(result: Row, table: str) -> Table:
    """Every closed loop."""
    rows = [
        (
            server["title"],
            f"{one['candidates']:,}",
            str(one["connections"]),
            number(one["per_s"], 0),
            *_times(one),
            *_faults(one),
        )
        for server in _of(result, table)
        for one in server.get("closed", ())
    ]
    head = ("server", "candidates", "connections", "requests/s", "p50 ms", "p99 ms", "not 200", "generator busy")
    return _table(f"Closed loop, table {table}", "Each connection asks again once it has its answer.", head, rows)


def opened(result: Row, table: str) -> Table:
    """Every open loop."""
    rows = [
        (server["title"], f"{one['candidates']:,}", f"{one['share']:.0%}", number(one["rate_per_s"], 0),
         number(one["per_s"], 0), *_times(one), *_faults(one))
        for server in _of(result, table)
        for one in server.get("open", ())
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
        (ways[way], f"{int(count):,}", *_times(one), number(one["mean_ms"]), number(one["per_s"], 0))
        for way, counts in result.get("limit", {}).items()
        for count, one in counts.items()
    ]
    fitted = result["summary"]["fit"]["limit"]
    about = "Fill, features, gather, forward; one request after another on the server's core, no HTTP."
    if fitted:
        about += f" A line through our means: {fitted['ms_per_100']:.3f} ms per 100 candidates, R² {fitted['r2']:.4f}."
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
        (count, number(one["cpu_ms_per_request"]), *(number(one[name], 0) for name in ("per_s", "pss_mb", "uss_mb")))
        for count, one in result.get("workers", {}).items()
    ]
    about = "All processes of the service. One worker has one core, several share two with the load."
    head = ("workers", "processor ms per request", "requests/s", "PSS MB", "USS MB")
    return _table("Workers", about, head, rows)


def catalogues(result: Row) -> Table:
    """Time in process against entities; only where other catalogues were given."""
    found = result["summary"]["catalogues"]
    rows = [(f"{one['entities']:,}", number(one["mean_ms"])) for one in found] if len(found) > 1 else []
    return _table("Size of the catalogue", "Mean time in process.", ("entities", "mean ms"), rows)


def _with_rows(found: Iterable[Table]) -> list[Table]:
    return [table for table in found if table.rows]


def _of(result: Row, table: str) -> list[Row]:
    return [server for server in result["servers"] if server["table"] == table]


def _version(result: Row) -> str:
    return next((server["version"] or NONE for server in result["servers"] if server["name"] == OURS), NONE)


def _times(one: Row) -> tuple[str, str]:
    return number(one["p50_ms"]), number(one["p99_ms"])


def _faults(one: Row) -> tuple[str, str]:
    """Answers that were not 200 or never came, and the share of its core that the generator needed."""
    others = sum(count for status, count in one["statuses"].items() if status != "200") + one["unanswered"]
    return str(others), f"{one['load_cpu_share']:.0%}"


def _table(title: str, about: str, head: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Table:
    ours = {TITLES[OURS], "our scorer"}
    return Table(title, about, tuple(head), tuple((row, row[0] in ours) for row in rows))
