"""Pictures of a report: discord by edge beside its null, the worst neurons, discord against loss,
the worst samples' images, what a list finds.
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

from sheaflib.diagnosis import text
from sheaflib.diagnosis.graph import graph
from sheaflib.diagnosis.names import short
from sheaflib.plots import STYLE
from sheaflib.plots.palette import EDGE_COLOURS, SERIES

if TYPE_CHECKING:
    from sheaflib.diagnosis.report import Report

NULL = "0.75"
WIDTH, GRAPH, IMAGE = (
    11.5,
    2.3,
    1.5,
)  # of the picture, and the heights of its lower parts, in inches
LONGEST = 30  # characters of a name beside an axis
PLACE = 48  # characters of a neuron's name and place
SMALL = 6.5  # points of the letters of many names
SHOWN = 10  # images in a row
STYLES = (("-", 3.0), ("--", 1.6), (":", 2.0), ("-.", 1.6))


def look() -> AbstractContextManager[None]:
    """The companion's look whatever the caller has set, for as long as the context is open."""
    return matplotlib.style.context(["default", STYLE])


def overview(report: Report) -> Figure:
    """The panels of a `Report` in one figure: edges, neurons and samples, below them the network's
    graph, and the images of the worst samples, where there are.
    """
    with look():
        many = len(report.edges) > text.MANY
        tall = 0.8 + (0.16 if many else 0.24) * max(len(report.edges), 12)
        below = [GRAPH] if report.images is None else [GRAPH, IMAGE]
        fig = Figure(figsize=(WIDTH, tall + sum(below)))
        ratios = [tall, *below]
        bands = fig.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
        if many:  # a long list beside two panels
            panels = bands[0].subplot_mosaic([["edges", "neurons"], ["edges", "samples"]])
        else:
            row, widths = [["edges", "neurons", "samples"]], (1.25, 1, 1.15)
            panels = bands[0].subplot_mosaic(row, width_ratios=widths)
        edges(report.edges, panels["edges"], solved=bool(report.permutations))
        neurons(report.neurons, panels["neurons"])
        samples(report.loss, report.discord, report.worst, panels["samples"])
        graph(report.network, report.edges, bands[1].subplots())
        if report.images is not None:
            bands[2].suptitle("worst samples: label → output", fontsize=10)
            count = len(report.images)
            axes = bands[2].subplots(1, max(count, SHOWN), squeeze=False)[0]
            images(report.images, [text.sample(report, int(i)) for i in report.worst], axes)
    return fig


def edges(rows: Sequence, ax: Axes | None = None, solved: bool = False) -> Axes:
    """Mean discord of each edge (a mark; of the null's samples, where there is one), the null's 5
    to 95 % band and median, on a log axis; solved: whether it is the one that was solved again.
    """
    ax = plt.gca() if ax is None else ax
    letters = SMALL if len(rows) > text.MANY else None
    for place, row in enumerate(rows):
        null = row.null
        if null.median > 0:
            ax.plot(
                [null.low, null.high],
                [place] * 2,
                color=NULL,
                linewidth=9,
                solid_capstyle="butt",
                zorder=1,
            )
            ax.plot(null.median, place, "|", color="0.3", markersize=9, zorder=2)
        mark = null.same if null.median > 0 else row.discord
        if mark > 0:
            ax.plot(mark, place, "o", color=EDGE_COLOURS[row.kind], markersize=7, zorder=3)
    if any(row.discord > 0 or row.null.median > 0 for row in rows):
        ax.set_xscale("log")
    ax.set_yticks(range(len(rows)), [short(row.layer, LONGEST) for row in rows], fontsize=letters)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    how = "labels permuted, re-solved" if solved else "labels permuted, frozen"
    ax.set(xlabel="mean discord", title=f"edges; grey: {how}")
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    return ax


def neurons(worst: Sequence, ax: Axes | None = None) -> Axes:
    """Mean squared discrepancy of the worst neurons, one bar each, coloured by the kind of their
    edge.
    """
    ax = plt.gca() if ax is None else ax
    for place, neuron in enumerate(worst):
        ax.barh(place, neuron.discord, color=EDGE_COLOURS[neuron.kind], height=0.7)
    places = [short(neuron.name, PLACE) for neuron in worst]
    letters = SMALL + 1 if max(map(len, places)) > LONGEST else None
    ax.set_yticks(range(len(worst)), places, fontsize=letters)
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


def images(pixels: np.ndarray, rows: Sequence[Sequence[str]], axes: Sequence[Axes]) -> None:
    """Images (n, channels, height, width) of 1 or 3 channels, each on axes of its own, with its
    index, label and output as its title; axes that are left over are taken away.

    Grey levels and colours are stretched to those of all images together.
    """
    low, high = float(pixels.min()), float(pixels.max())
    levels = (pixels - low) / (high - low or 1.0)
    for ax, one, row in zip(axes, levels, rows):
        ax.imshow(np.moveaxis(one, 0, -1).squeeze(), cmap="gray", vmin=0, vmax=1)
        ax.set_title(f"{row[0]}: {row[1]} → {row[2]}", fontsize=7)
        ax.set_axis_off()
    for ax in axes[len(pixels) :]:
        ax.remove()


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
