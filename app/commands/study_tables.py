"""The tables that `unirank study …` prints. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.commands import terminal

if TYPE_CHECKING:
    from model.studies.comparison import Difference
    from model.studies.titled_rows import TitledColumn
    from model.studies.typed_forms import Found


def show_study(report: dict[str, Any]) -> None:
    """Print two tables: the means of each model, and the differences between ours and the others."""
    from rich.table import Table
    from rich.text import Text

    means = Table("protocol", "metric", "model", "value", "95 % interval", "seeds", title="all test rankings")
    for row in report["table"]:
        if row["slice"] in ("all", "unseen_film"):
            label = row["protocol"] if row["slice"] == "all" else f"{row['protocol']}, unseen"
            interval = f"{row['low']:.4f} – {row['high']:.4f}"
            means.add_row(label, row["metric"], row["model"], f"{row['value']:.4f}", interval, str(row["seeds"]))
    terminal.out.print(means)
    gaps = Table("protocol", "metric", "against", "difference", "95 % interval", "relative", "p (Holm)", title="ours")
    for row in report["differences"]:
        label = row["protocol"] if row["slice"] == "all" else f"{row['protocol']}, unseen"
        interval = f"{row['low']:+.4f} – {row['high']:+.4f}"
        p = f"{row['p_holm']:.4f}" if "p_holm" in row else ""
        rival = Text(row["rival"], "bold" if row["main"] else "")
        gaps.add_row(label, row["metric"], rival, f"{row['value']:+.4f}", interval, f"{row['relative']:+.1%}", p)
    terminal.out.print(gaps)


def show_parts(worth: dict[str, dict[str, Difference]]) -> None:
    """Print what NDCG@10 loses without each part, per task."""
    from rich.table import Table

    tasks = list(next(iter(worth.values())))
    table = Table("without", *tasks, title="loss of NDCG@10, 95 % interval")
    for part, by_task in worth.items():
        gaps = (by_task[task] for task in tasks)
        table.add_row(part, *(f"{gap.value:+.4f} ({gap.low:+.4f} … {gap.high:+.4f})" for gap in gaps))
    terminal.out.print(table)


def show_titles(columns: list[TitledColumn]) -> None:
    """Print one row per column of titles."""
    from rich.table import Table

    heads = ("titles of", "titles", "of the first ten fit", "fewest", "NDCG@10 among what fits, less popularity's")
    table = Table(*heads)
    for column in columns:
        worst, gap = int(column.fits.argmin()), column.order
        order = f"{gap.value:+.4f} ({gap.low:+.4f} … {gap.high:+.4f})" if gap is not None else "–"
        fewest = f"{column.fits[worst]:.1f} {column.titles[worst]}"
        table.add_row(column.column, str(len(column.titles)), f"{column.fits.mean():.1f}", fewest, order)
    terminal.out.print(table)


def show_typed(kinds: Mapping[str, Found]) -> None:
    """Print one row per kind of typed forms."""
    from rich.table import Table
    from rich.text import Text

    table = Table("kind", "forms", "first", "first five", "not first")
    for kind, found in kinds.items():
        shares = (f"{count / found.forms:.0%}" for count in (found.first, found.among))
        table.add_row(kind, str(found.forms), *shares, Text(", ".join(form.query for form in found.missed)))
    terminal.out.print(table)


def show_likeness(measures: dict[str, dict[str, Any]]) -> None:
    """Print one row per measure of likeness."""
    from rich.table import Table

    table = Table("likeness by", "sources", "pairs", "AUC of a source", "95 %", "AUC of all pairs", "95 %")
    for name, row in measures.items():
        cells = [text for key in ("within", "pooled") for text in _interval_cells(row[key])]
        table.add_row(name.replace("_", " "), f"{row['sources']:,}", f"{row['pairs']:,}", *cells)
    terminal.out.print(table)


def _interval_cells(interval: dict[str, float] | None) -> tuple[str, str]:
    if interval is None:
        return "–", ""
    return f"{interval['value']:.4f}", f"{interval['low']:.4f} – {interval['high']:.4f}"
