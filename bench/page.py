"""The report as one self-contained HTML page. All figures are those of `bench.json`."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bench.plot import latency_plot
from bench.servers import OURS
from bench.tables import Table, tables
from model.studies.html_report import document, figure, table

Row = Mapping[str, Any]
TITLE = "Serving speed"
CAPTION = (
    "Latency at one connection against the number of candidates: p50 solid, p99 dotted. Metarank's points are as "
    "published, measured on their hardware: they give an order of size, not a comparison."
)


def page(result: Row) -> str:
    """The whole page."""
    parts = [f"<h1>{TITLE}</h1>", f"<p>{escape(_about(result['about']))}</p>"]
    if points := one_connection(result):
        parts.append(figure(latency_plot(points), CAPTION))
    parts += [part for report_table in tables(result) for part in _section(report_table)]
    return document(TITLE, [*parts, *_checked_answers(result)])


def one_connection(result: Row) -> dict[str, list[tuple[int, float, float]]]:
    """By server of table A: (candidates, p50, p99) in ms at one connection."""
    points_of = {
        server["title"]: [
            (loop["candidates"], loop["p50_ms"], loop["p99_ms"])
            for loop in server.get("closed", ())
            if loop["connections"] == 1 and loop["p50_ms"] is not None
        ]
        for server in result["servers"]
        if server["table"] == "A"
    }
    return {title: sorted(points) for title, points in points_of.items() if points}


def _about(about: Row) -> str:
    model, machine, plan = about["model"], about["machine"], about["plan"]
    releases = ", ".join(f"{name} {release}" for name, release in machine["releases"].items())
    return (
        f"Model {model['version']}, {model['entities']:,} entities. {machine['processor']}, {machine['cores']} cores: "
        f"server on core {plan['server_core']}, load on core {plan['load_core']}, one thread. "
        f"{plan['seconds']:g} seconds a measurement, {plan['bodies']} different requests of each size, "
        f"seed {plan['seed']}. "
        f"Python {machine['python']}, {releases}. Begun {about['started']}."
    )


def _section(report_table: Table) -> list[str]:
    about = [f"<p>{escape(report_table.about)}</p>"] if report_table.about else []
    return [f"<h2>{escape(report_table.title)}</h2>", *about, table(report_table.head, report_table.rows)]


def _checked_answers(result: Row) -> list[str]:
    """The number of answers that were compared before timing."""
    checked = {server["title"]: server["checked"] for server in result["servers"] if "checked" in server}
    if not checked:
        return []
    ours = next((server["title"] for server in result["servers"] if server["name"] == OURS), OURS)
    count = checked.get(ours, next(iter(checked.values())))
    return [
        f"<p>Before it was timed, each server gave {count} answers with the model's scores (to 1e-4) and order.</p>"
    ]
