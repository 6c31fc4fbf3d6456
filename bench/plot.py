"""The plot of a report: latency against candidates. Reads and measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

from model.studies.plots import COLOURS, INK, STYLE, svg

METARANK = ((25, 3, 6), (100, 7, 10), (200, 15, 17.5), (300, 20, 23.5))  # candidates, p50, p99 in ms
METARANK_LABEL = "Metarank, as published, their hardware"
_MS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_CANDIDATES = (25, 50, 100, 200, 300, 500, 1000)
Points = Sequence[tuple[float, float, float]]


def latency_plot(servers: Mapping[str, Points]) -> str:
    """SVG of p50 and p99 by candidates, one colour per server, and Metarank's points. Both axes are logarithmic."""
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(7.2, 4.6))
        axes = drawing.subplots()
        for (name, points), colour in zip(servers.items(), COLOURS, strict=False):
            counts, middle, slow = zip(*points, strict=True)
            axes.plot(counts, middle, color=colour, marker="o", markersize=4, label=name)
            axes.plot(counts, slow, color=colour, marker="o", markersize=2, linestyle=":")
        counts, middle, slow = zip(*METARANK, strict=True)
        axes.plot(counts, middle, color=INK, marker="x", linestyle="none", label=METARANK_LABEL)
        axes.plot(counts, slow, color=INK, marker="+", linestyle="none")
        axes.set(xlabel="candidates", ylabel="ms: p50 solid and ×, p99 dotted and +", xscale="log", yscale="log")
        _plain_ticks(axes)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
        return svg(drawing)


def _plain_ticks(axes: Axes) -> None:
    """Show ticks as plain numbers, not as powers of ten; ticks outside the plotted range are not drawn."""
    for axis, ticks in ((axes.xaxis, _CANDIDATES), (axes.yaxis, _MS)):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
