"""Pictures of the race: losses and ratios row by row, the dial between two methods, learning
curves, what local sweeps leave; what each side of the race looks like in all of them.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from sheaflib.plots.palette import METHOD_COLOURS, NULL, SERIES

MARKERS = ("o", "s", "^", "D", "v", "P")
STYLES = ("-", "--", "-.", ":")
SHEAF, EQUILIBRIUM = METHOD_COLOURS["sheaf"], METHOD_COLOURS["equilibrium"]
BACKPROPAGATION = METHOD_COLOURS["backpropagation"]
DESCENT = METHOD_COLOURS["gradient descent"]
ITSELF = "backpropagation over itself"
# what each side looks like, in every figure: colour, mark, line
LOOKS = {
    "sheaf, by currents": (SHEAF, "o", "-"),
    "ohm": (SHEAF, "o", "-"),
    "mirror": (SHEAF, "D", "--"),
    "equilibrium": (EQUILIBRIUM, "P", "-."),
    "backpropagation": (BACKPROPAGATION, "s", "-"),
    "weight decay": (BACKPROPAGATION, "v", "--"),
    "scikit-learn, L-BFGS": (METHOD_COLOURS["scikit-learn"], "^", "-"),
    "paper: sheaf": (SHEAF, "*", ":"),
    "paper: gradient descent": (DESCENT, "*", "--"),
    "before training": ("0.6", "x", "-"),
}
LABELS = {
    "ohm": "κ = 0, Ohm's law",
    "mirror": "κ = −1, the mirror",
    "equilibrium": "κ = 1, equilibrium's own gradient",
    "weight decay": "backpropagation with weight decay",
}


def look(name: str, place: int) -> tuple[str, str, str, str]:
    """The colour, mark, line and label of a side; of one that has none of its own by its place."""
    if name in LOOKS:
        return *LOOKS[name], LABELS.get(name, name)
    return SERIES[place], MARKERS[place], STYLES[place % len(STYLES)], name


def losses(
    found: Mapping[str, Mapping[str, Sequence[float] | float]], ax=None, xlabel: str = "test loss"
):
    """Series -> row -> losses over seeds, drawn as their median and quartiles, or one number, drawn
    as a star; a log axis, rows downwards.
    """
    ax = plt.gca() if ax is None else ax
    rows = list(next(iter(found.values())))
    for series, (name, by_row) in enumerate(found.items()):
        shift = _shift(series, len(found))
        colour, marker, _, label = look(name, series)
        for place, row in enumerate(rows):
            if row not in by_row:
                continue
            values = np.asarray(by_row[row], dtype=float)
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
                ax.plot(median, place + shift, marker, color=colour, ms=5, label=label)
            label = "_"
    return _rows(ax, rows, xlabel)


def ratios(
    found: Mapping[str, Mapping[str, Sequence[float]]],
    null: Mapping[str, Sequence[float]] | None = None,
    ax=None,
    xlabel: str = "test loss over backpropagation's",
):
    """Series -> row -> (median, low, high) of ratios on a log axis, the line at 1; null: row -> the
    same, a grey band.
    """
    ax = plt.gca() if ax is None else ax
    rows = list(next(iter(found.values()))) if null is None else list(null)
    label = ITSELF
    for place, (middle, low, high) in enumerate(null.values() if null else ()):
        ax.fill_between([low, high], place - 0.4, place + 0.4, color=NULL, linewidth=0, label=label)
        ax.plot([middle] * 2, [place - 0.4, place + 0.4], color="0.4", linewidth=1)
        label = "_"
    for series, (name, by_row) in enumerate(found.items()):
        shift = _shift(series, len(found))
        colour, marker, _, label = look(name, series)
        for place, row in enumerate(rows):
            if row not in by_row:
                continue
            median, low, high = by_row[row]
            ax.plot([low, high], [place + shift] * 2, color=colour, linewidth=1.6)
            ax.plot(median, place + shift, marker, color=colour, ms=5, label=label)
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
        ax.axhspan(null[1], null[2], color=NULL, linewidth=0, label=ITSELF)
    for series, (name, rows) in enumerate(found.items()):
        median, low, high = np.array(rows).T
        colour, marker, line, label = look(name, series)
        ax.fill_between(weights, low, high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(weights, median, line, marker=marker, ms=4, color=colour, label=label)
    ax.axhline(1, color="black", linewidth=0.8, zorder=1)
    ax.set(xscale="log", yscale="log", xlabel="weight of the edges", title=title)
    plain_ticks(ax, "y")
    return ax


def learning(curves: Mapping[str, tuple], ax=None, xlabel: str = "updates", title: str = ""):
    """Series -> (x (R,), losses (S, R)) on log axes: medians with quartiles, a plain line where
    there is one run.
    """
    ax = plt.gca() if ax is None else ax
    for series, (name, (x, values)) in enumerate(curves.items()):
        values = np.atleast_2d(values)
        low, median, high = quartiles(values)
        colour, _, line, label = look(name, series)
        if len(values) > 1:
            ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        ax.plot(x, median, line, color=colour, label=label)
    ax.set(xscale="log", yscale="log", xlabel=xlabel, title=title)
    return ax


def sweeps(curves: Mapping[str, tuple], ax=None, title: str = ""):
    """Series -> (sweeps (R,), relative error (R,)) on log axes; errors below 1e-13 are drawn
    there.
    """
    ax = plt.gca() if ax is None else ax
    for series, (name, (x, error)) in enumerate(curves.items()):
        colour, marker, line, label = look(name, series)
        error = np.maximum(error, 1e-13)
        ax.loglog(x, error, line, marker=marker, ms=3.5, color=colour, label=label)
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
