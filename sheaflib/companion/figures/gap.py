"""Pictures of the race: losses and ratios row by row, the dial between two methods, learning
curves, what local sweeps leave.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from sheaflib.plots.palette import SERIES

MARKERS = ("o", "s", "^", "D", "v", "P")
STYLES = ("-", "--", "-.", ":")
NULL = "0.8"


def losses(
    found: Mapping[str, Mapping[str, Sequence[float] | float]], ax=None, xlabel: str = "test loss"
):
    """Series -> row -> losses over seeds, drawn as their median and quartiles, or one number, drawn
    as a star; a log axis, rows downwards.
    """
    ax = plt.gca() if ax is None else ax
    rows = list(next(iter(found.values())))
    for series, (name, by_row) in enumerate(found.items()):
        shift, label = _shift(series, len(found)), name
        for place, row in enumerate(rows):
            if row not in by_row:
                continue
            values, colour = np.asarray(by_row[row], dtype=float), SERIES[series]
            if values.ndim == 0:
                ax.plot(
                    values,
                    place + shift,
                    "*",
                    color=colour,
                    mec="black",
                    mew=0.5,
                    ms=10,
                    label=label,
                    zorder=3,
                )
            else:
                low, median, high = quartiles(values)
                ax.plot([low, high], [place + shift] * 2, color=colour, linewidth=1.6)
                ax.plot(
                    median,
                    place + shift,
                    MARKERS[series % len(MARKERS)],
                    color=colour,
                    ms=5,
                    label=label,
                )
            label = "_"
    return _rows(ax, rows, xlabel)


def ratios(
    found: Mapping[str, Mapping[str, Sequence[float]]],
    null: Mapping[str, Sequence[float]] | None = None,
    ax=None,
    xlabel: str = "test loss over backpropagation's",
    colours: Sequence[int] = range(len(SERIES)),
):
    """Series -> row -> (median, low, high) of ratios on a log axis, the line at 1; null: row -> the
    same, a grey band.

    colours: which of the house's colours and marks each series has.
    """
    ax = plt.gca() if ax is None else ax
    rows = list(next(iter(found.values()))) if null is None else list(null)
    label = "backpropagation over itself"
    for place, (middle, low, high) in enumerate(null.values() if null else ()):
        ax.fill_between([low, high], place - 0.4, place + 0.4, color=NULL, linewidth=0, label=label)
        ax.plot([middle] * 2, [place - 0.4, place + 0.4], color="0.55", linewidth=1)
        label = "_"
    for series, (name, by_row) in enumerate(found.items()):
        shift, label = _shift(series, len(found)), name
        for place, row in enumerate(rows):
            if row not in by_row:
                continue
            median, low, high = by_row[row]
            ax.plot([low, high], [place + shift] * 2, color=SERIES[colours[series]], linewidth=1.6)
            ax.plot(
                median,
                place + shift,
                MARKERS[colours[series]],
                color=SERIES[colours[series]],
                ms=5,
                label=label,
            )
            label = "_"
    ax.axvline(1, color="black", linewidth=0.8, zorder=1)
    _rows(ax, rows, xlabel)
    plain_ticks(ax)
    return ax


def dial(
    weights: Sequence[float],
    found: Mapping[str, Sequence[Sequence[float]]],
    null: Sequence[float] | None = None,
    ax=None,
    title: str = "",
):
    """Series -> (median, low, high) at each edge weight, lines with bands on log axes; null: the
    grey band; the line at 1.
    """
    ax = plt.gca() if ax is None else ax
    if null is not None:
        ax.axhspan(null[1], null[2], color=NULL, linewidth=0, label="backpropagation over itself")
    for series, (name, rows) in enumerate(found.items()):
        median, low, high = np.array(rows).T
        ax.fill_between(weights, low, high, color=SERIES[series], alpha=0.18, linewidth=0)
        ax.plot(
            weights,
            median,
            STYLES[series % len(STYLES)],
            marker=MARKERS[series],
            ms=4,
            color=SERIES[series],
            label=name,
        )
    ax.axhline(1, color="black", linewidth=0.8, zorder=1)
    ax.set(xscale="log", yscale="log", xlabel="weight of the edges", title=title)
    plain_ticks(ax, "y")
    return ax


def learning(
    curves: Mapping[str, tuple],
    ax=None,
    xlabel: str = "updates",
    title: str = "",
    colours: Sequence[int] = range(len(SERIES)),
):
    """Series -> (x (R,), losses (S, R)) on log axes: medians with quartiles, a plain line where
    there is one run; colours as in `ratios`.
    """
    ax = plt.gca() if ax is None else ax
    for series, (name, (x, values)) in enumerate(curves.items()):
        values = np.atleast_2d(values)
        low, median, high = quartiles(values)
        if len(values) > 1:
            ax.fill_between(x, low, high, color=SERIES[colours[series]], alpha=0.2, linewidth=0)
        ax.plot(x, median, STYLES[series % len(STYLES)], color=SERIES[colours[series]], label=name)
    ax.set(xscale="log", yscale="log", xlabel=xlabel, title=title)
    return ax


def sweeps(curves: Mapping[str, tuple], ax=None, title: str = ""):
    """Series -> (sweeps (R,), relative error (R,)) on log axes; errors below 1e-13 are drawn
    there.
    """
    ax = plt.gca() if ax is None else ax
    for series, (name, (x, error)) in enumerate(curves.items()):
        ax.loglog(
            x,
            np.maximum(error, 1e-13),
            STYLES[series % len(STYLES)],
            marker=MARKERS[series],
            ms=3.5,
            color=SERIES[series],
            label=name,
        )
    ax.set(xlabel="sweeps or rounds", title=title)
    return ax


def quartiles(values) -> np.ndarray:
    """The lower quartile, the median and the upper quartile over the first axis, (3, …); a quartile
    is one of the values.
    """
    low, high = np.quantile(values, [0.25, 0.75], axis=0, method="nearest")
    return np.array([low, np.median(values, axis=0), high])


def plain_ticks(ax, axis: str = "x") -> None:
    """Ticks of a log axis as plain numbers: 0.5, 1, 2."""
    own = ax.xaxis if axis == "x" else ax.yaxis
    low, high = ax.get_xlim() if axis == "x" else ax.get_ylim()
    tables = (
        (2, (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4)),
        (30, (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7)),
    )
    table = next(
        (ticks for widest, ticks in tables if high / low < widest), (0.01, 0.1, 1, 10, 100, 1000)
    )
    ticks = [t for t in table if low <= t <= high]
    own.set_major_locator(plt.FixedLocator(ticks))
    own.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
    own.set_minor_locator(plt.NullLocator())


def _shift(series: int, count: int) -> float:
    """Where a series lies within its row."""
    return (series - (count - 1) / 2) * min(0.2, 0.8 / count)


def _rows(ax, rows: Sequence[str], xlabel: str):
    ax.set(xscale="log", xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(range(len(rows)), [row.replace("-", " ") for row in rows])
    ax.tick_params(axis="y", length=0)
    for place in range(1, len(rows)):
        ax.axhline(place - 0.5, color="0.92", linewidth=0.8, zorder=0)
    return ax
