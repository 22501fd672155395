"""Pictures of a report: discord by edge beside its null, the worst neurons, discord against loss,
what a list finds.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.support.extras import needs

with needs("the picture of a report", "plots"):
    import matplotlib.pyplot as plt
    import matplotlib.style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from sheaflib.plots import STYLE
from sheaflib.plots.palette import EDGE_COLOURS, SERIES

if TYPE_CHECKING:
    from sheaflib.diagnosis.report import Report

NULL = "0.75"
STYLES = (("-", 3.0), ("--", 1.6), (":", 2.0), ("-.", 1.6))


def look() -> AbstractContextManager[None]:
    """The companion's look whatever the caller has set, for as long as the context is open."""
    return matplotlib.style.context(["default", STYLE])


def overview(report: Report) -> Figure:
    """The three panels of a `Report` in one figure."""
    with look():
        fig = Figure(figsize=(11, 0.8 + 0.35 * max(len(report.edges), 8)))
        left, middle, right = fig.subplots(1, 3, width_ratios=(1.25, 1, 1.15))
        edges(report.edges, left)
        neurons(report.neurons, middle)
        samples(report.loss, report.discord, report.worst, right)
    return fig


def edges(rows: Sequence, ax: Axes | None = None) -> Axes:
    """Mean discord of each edge (a mark; of the null's samples, where there is one), the null's 5
    to 95 % band and median, on a log axis.
    """
    ax = plt.gca() if ax is None else ax
    for place, row in enumerate(rows):
        if row.median > 0:
            ax.plot(
                [row.low, row.high],
                [place] * 2,
                color=NULL,
                linewidth=9,
                solid_capstyle="butt",
                zorder=1,
            )
            ax.plot(row.median, place, "|", color="0.3", markersize=9, zorder=2)
        mark = row.same if row.median > 0 else row.discord
        if mark > 0:
            ax.plot(mark, place, "o", color=EDGE_COLOURS[row.kind], markersize=7, zorder=3)
    if any(row.discord > 0 or row.median > 0 for row in rows):
        ax.set_xscale("log")
    ax.set_yticks(range(len(rows)), [row.name.replace("_", " ") for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set(xlabel="mean discord", title="edges; grey: labels permuted")
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    return ax


def neurons(worst: Sequence, ax: Axes | None = None) -> Axes:
    """Mean squared discrepancy of the worst neurons, one bar each, coloured by the kind of their
    edge.
    """
    ax = plt.gca() if ax is None else ax
    for place, neuron in enumerate(worst):
        ax.barh(place, neuron.discord, color=EDGE_COLOURS[neuron.edge.split("_")[0]], height=0.7)
    ax.set_yticks(range(len(worst)), [neuron.name for neuron in worst])
    ax.set_ylim(len(worst) - 0.5, -0.5)
    ax.locator_params(axis="x", nbins=4)
    ax.set(xlabel="mean discord", title="worst neurons")
    return ax


def samples(
    loss: ArrayLike, discord: ArrayLike, worst: Sequence[int] | np.ndarray, ax: Axes | None = None
) -> Axes:
    """Every sample's discord against its loss on log axes, the listed ones marked; what is not
    positive is left out.
    """
    ax = plt.gca() if ax is None else ax
    loss, discord, listed = (
        np.asarray(loss),
        np.asarray(discord),
        np.isin(np.arange(len(loss)), worst),
    )
    shown = (loss > 0) & (discord > 0)
    kinds = (
        (~listed, ".", SERIES[0], "others"),
        (listed, "x", SERIES[1], f"the {len(worst)} listed"),
    )
    for where, marker, colour, name in kinds:
        where = shown & where
        ax.plot(
            loss[where],
            discord[where],
            marker,
            color=colour,
            linestyle="none",
            markersize=4,
            label=name,
            rasterized=True,
        )
    if shown.any():
        ax.set(xscale="log", yscale="log")
    ax.set(xlabel="loss", ylabel="discord", title="samples")
    ax.legend(loc="upper left")
    return ax


def finds(
    length: Sequence[int],
    curves: Mapping[str, Sequence[float]],
    ax: Axes | None = None,
    best: Sequence[float] | None = None,
    listed: int | None = None,
) -> Axes:
    """How many times more of what is sought a list holds than a random one, by its length:
    curves[name]; `best`: at most.
    """
    ax = plt.gca() if ax is None else ax
    if best is not None:
        ax.plot(length, best, "-.", color="0.5", linewidth=1.2, label="best possible")
    for (name, times), colour, (style, width) in zip(curves.items(), SERIES, STYLES):
        ax.plot(length, times, style, color=colour, linewidth=width, label=name)
    ax.axhline(1, color="0.3", linewidth=1, linestyle=":")
    if listed is not None:
        ax.axvline(listed, color="0.8", linewidth=1, zorder=0)
    ax.set(xlabel="length of the list", ylabel="enrichment", ylim=(0, None))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.08))  # above the line of a random list
    return ax
