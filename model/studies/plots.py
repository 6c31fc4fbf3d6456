"""The figures of a study report as SVG text, to be embedded in a page. Knows numbers and names, no models.

Drawn by matplotlib without dates or random ids, so that equal numbers give equal bytes. `INK` is replaced by the
text colour of the page, light or dark.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

matplotlib.use("agg")
INK = "#123457"
OURS, THEIRS, THIRD = "#0072b2", "#d55e00", "#009e73"  # Okabe and Ito: distinguishable with colour blindness
COLOURS = (OURS, THEIRS, THIRD, "#cc79a7", "#e69f00", "#56b4e9")
Row = Mapping[str, Any]
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "unirank", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
}  # fmt: skip


def slice_bars(slices: Sequence[str], models: Sequence[str], rows: Mapping[tuple[str, str], Row], metric: str) -> str:
    """One bar per slice and model, with its 95 % interval; `rows` by (slice, model), missing ones are left out."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.6 + 0.24 * len(slices) * len(models)))
        axes = figure.subplots()
        height = 0.8 / len(models)
        for number, model in enumerate(models):
            for place, name in enumerate(slices):
                if row := rows.get((name, model)):
                    y = place + (number - (len(models) - 1) / 2) * height
                    error = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
                    axes.barh(y, row["value"], height * 0.9, color=COLOURS[number], xerr=error, ecolor=INK)
        axes.set_yticks(range(len(slices)), slices)
        axes.invert_yaxis()
        axes.set_xlabel(metric)
        _legend(axes, dict(zip(models, COLOURS, strict=False)))
        return svg(figure)


def training_curves(curves: Mapping[str, Any]) -> str:
    """Loss by step, and validation metrics by step. `curves` as in the result of a network cell."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.6))
        left, right = figure.subplots(1, 2)
        left.plot(*zip(*curves["losses"], strict=True), color=OURS, linewidth=0.8)
        left.set(xlabel="step", ylabel="loss")
        names = sorted({name for _, _, values in curves["validations"] for name in values})
        for name, colour in zip(names, COLOURS, strict=False):
            points = [(step, values[name]) for step, _, values in curves["validations"] if name in values]
            right.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour)
        right.set(xlabel="step", ylabel="NDCG@10 on validation", ylim=(0, 1))
        _legend(right, dict(zip(names, COLOURS, strict=False)))
        return svg(figure)


def reliability(bins: Mapping[str, Sequence[Row]]) -> str:
    """Stated against observed probability, a line per task; the diagonal is perfect calibration."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 3.2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":")
        for (task, rows), colour in zip(sorted(bins.items()), COLOURS, strict=False):
            points = [(row["predicted"], row["observed"]) for row in rows]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=task)
        axes.set(xlabel="stated probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1))
        axes.legend()
        return svg(figure)


def _legend(axes: Axes, colours: Mapping[str, str]) -> None:
    handles = [matplotlib.patches.Patch(color=colour, label=name) for name, colour in colours.items()]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def svg(figure: Figure) -> str:
    """The figure as SVG: no prologue, no date, `INK` in the text colour of the page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None, "Creator": ""})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
