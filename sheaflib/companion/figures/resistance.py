"""Pictures of effective resistance: a chain as a circuit, a law against what was solved, bounds,
factors, speeds.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from sheaflib.plots.palette import EDGE_COLOURS, SERIES
from sheaflib.plots.schematic import math_name

MARKERS = ("o", "s", "^", "D", "v", "P")
STYLES = ("-", "--", "-.", ":")
TEETH = np.array([0, 0, 1, -1, 1, -1, 1, -1, 0, 0])  # of a resistor: height
PLACES = np.array([0, 0.14, 0.2, 0.32, 0.44, 0.56, 0.68, 0.8, 0.86, 1])


def circuit(
    resistances: Mapping[str, float],
    vertices: Sequence[str],
    potentials: Mapping[str, Sequence[float]],
    found: Mapping[str, Sequence[float]],
    ax=None,
):
    """A chain as resistors in series along an axis of resistance, and the potential of every vertex
    above it.

    resistances: edge -> ρ_e, from the input on; vertices: the names at their ends, one more;
    potentials: name -> predicted, a line; found: name -> solved, marks. A name whose row is shorter
    stops earlier.
    """
    ax = plt.gca() if ax is None else ax
    ends = np.concatenate([[0], np.cumsum(list(resistances.values()))])
    values = np.concatenate([np.asarray(row, dtype=float) for row in potentials.values()])
    low, span = values.min(), np.ptp(values)
    rail = low - 0.42 * span
    for (edge, _), left, right in zip(resistances.items(), ends, ends[1:]):
        colour = EDGE_COLOURS[edge.split("_")[0]]
        ax.plot(
            left + PLACES * (right - left),
            rail + 0.06 * span * TEETH,
            color=colour,
            linewidth=2,
            gid=f"edge:{edge}",
        )
        text = f"{edge.replace('_', ' ')}\n{right - left:.3g}"
        ax.text(
            (left + right) / 2, rail - 0.12 * span, text, ha="center", va="top", fontsize="small"
        )
    for place, name in zip(ends, vertices):
        ax.plot(place, rail, "o", color="white", mec="black", ms=6, zorder=3)
        ax.text(place, rail + 0.12 * span, f"${math_name(name)}$", ha="center", va="bottom")
    for series, (name, row) in enumerate(potentials.items()):
        open_mark = {
            "marker": MARKERS[series],
            "linestyle": "none",
            "mfc": "none",
            "ms": 8,
            "mew": 1.5,
        }
        ax.plot(
            ends[: len(row)], row, STYLES[series], color=SERIES[series], label=f"{name}, predicted"
        )
        ax.plot(
            ends[: len(found[name])],
            found[name],
            color=SERIES[series],
            label=f"{name}, solved",
            **open_mark,
        )
    ax.set(xlabel="resistance on the way from the input", ylabel="potential")
    ax.set_ylim(rail - 0.42 * span, values.max() + 0.08 * span)
    ax.set_yticks(
        [
            tick
            for tick in ax.get_yticks()
            if low - 0.05 * span <= tick <= values.max() + 0.08 * span
        ]
    )
    ax.legend(loc="upper left")
    return ax


def against(pairs: Mapping[str, tuple], ax=None, xlabel: str = "predicted", ylabel: str = "solved"):
    """Points (predicted, solved) on log axes, one mark a name, and the line on which both are
    equal.
    """
    ax = plt.gca() if ax is None else ax
    everything = np.concatenate([np.ravel(values) for pair in pairs.values() for values in pair])
    ends = [everything.min() / 1.5, everything.max() * 1.5]
    ax.loglog(ends, ends, color="0.6", linewidth=1, zorder=1)
    for series, (name, (predicted, solved)) in enumerate(pairs.items()):
        ax.loglog(
            predicted,
            solved,
            MARKERS[series],
            color=SERIES[series],
            ms=5,
            mfc="none",
            linestyle="none",
            label=name,
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=ends, ylim=ends)
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return ax


def intervals(low, value, high, ax=None):
    """Vertical bars low … high (n,) side by side, and what was found as dots."""
    ax = plt.gca() if ax is None else ax
    place = np.arange(len(value))
    ax.vlines(place, low, high, color=SERIES[5], linewidth=1.2, label="between the bounds")
    ax.plot(place, value, ".", color=SERIES[1], ms=4, linestyle="none", label="found")
    ax.legend(loc="upper left")
    return ax


def along(
    step,
    predicted: Mapping[str, Sequence[float]],
    measured: Mapping[str, Sequence[float]],
    ax=None,
    unit: float = 1.0,
):
    """Predictions along a run as lines, what was measured as marks: name -> (R,); `unit` is one of
    the axis in steps.
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    for series, name in enumerate(predicted):
        ax.plot(
            place, predicted[name], STYLES[series], color=SERIES[series], label=f"{name}, predicted"
        )
        mark = {"marker": MARKERS[series], "linestyle": "none", "mfc": "none", "ms": 5}
        ax.plot(place, measured[name], color=SERIES[series], label=f"{name}, measured", **mark)
    ax.set_xlabel(_steps(unit))
    return ax


def band(step, low, value, high, ax=None, unit: float = 1.0, label: str = ""):
    """Medians of two bounds as a shade with edges and what was found between them as marks, (R,)
    each.
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    ax.fill_between(place, low, high, color=SERIES[0], alpha=0.15, linewidth=0)
    ax.plot(place, high, "--", color=SERIES[0], linewidth=1, label="upper bound")
    ax.plot(place, value, "o", color=SERIES[1], ms=3.5, linestyle="none", label=label)
    ax.plot(place, low, ":", color=SERIES[0], linewidth=1.2, label="lower bound")
    ax.set_xlabel(_steps(unit))
    ax.legend(loc="lower right")
    return ax


def factors(step, quartiles, measured: Mapping[str, Sequence[float]], ax=None, unit: float = 1.0):
    """A predicted factor along a run, quartiles (3, R) over samples as a band, and measured ones
    (R,) as marks.
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    low, median, high = np.asarray(quartiles, dtype=float)
    ax.fill_between(place, low, high, color=SERIES[0], alpha=0.2, linewidth=0)
    ax.plot(place, median, color=SERIES[0], label="2(1 + ρ): median and quartiles over samples")
    for series, (name, values) in enumerate(measured.items(), start=1):
        ax.plot(
            place,
            values,
            MARKERS[series],
            color=SERIES[series],
            mfc="none",
            ms=6,
            mew=1.3,
            linestyle="none",
            label=name,
        )
    ax.set(xlabel=_steps(unit), yscale="log")
    return ax


def by_edge(parts: Mapping[str, float], ax=None, label: str = ""):
    """Horizontal bars, one an edge from the input on, in the colour of its kind."""
    ax = plt.gca() if ax is None else ax
    ax.barh(
        range(len(parts)),
        list(parts.values()),
        color=[EDGE_COLOURS[edge.split("_")[0]] for edge in parts],
    )
    ax.set_yticks(range(len(parts)), [edge.replace("_", " ") for edge in parts])
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return ax


def runs(place, values: Mapping[str, np.ndarray], ax=None, beyond: float | None = None):
    """Values (places, runs) side by side at every place, one mark a name, and lines through their
    medians.

    Infinite ones, of runs that never got there, are triangles at the height `beyond`, or left out,
    as infinite medians are.
    """
    ax = plt.gca() if ax is None else ax
    at = np.arange(len(place))
    for series, (name, rows) in enumerate(values.items()):
        rows, middle = np.asarray(rows, dtype=float), at + 0.24 * (series - (len(values) - 1) / 2)
        spot, there = middle[:, None] + np.linspace(-0.08, 0.08, rows.shape[1]), np.isfinite(rows)
        ax.plot(
            spot[there],
            rows[there],
            MARKERS[series],
            color=SERIES[series],
            ms=5,
            mfc="none",
            linestyle="none",
            label=name,
        )
        if beyond is not None and not there.all():
            ax.plot(
                spot[~there],
                np.full((~there).sum(), beyond),
                "^",
                color=SERIES[series],
                ms=6,
                linestyle="none",
            )
        medians = np.median(rows, axis=1)
        known = np.isfinite(medians)
        ax.plot(middle[known], medians[known], STYLES[series], color=SERIES[series], linewidth=1.2)
    ax.set_xticks(at, place)
    return ax


def speeds(step, curves: Mapping[str, Sequence[float]], ax=None):
    """Speeds over the predicted one against the step: one curve a name on a log axis, and the line
    at 1.
    """
    ax = plt.gca() if ax is None else ax
    for series, (name, values) in enumerate(curves.items()):
        ax.semilogx(
            step,
            values,
            MARKERS[series] + STYLES[series],
            color=SERIES[series],
            ms=4,
            linewidth=1.2,
            label=name,
        )
    ax.axhline(1, color="black", linewidth=0.8, linestyle="--")
    ax.set(xlabel="step", ylim=(0, None))
    return ax


def proportional(x, values, line, ax=None):
    """Marks on log axes and a dashed line `line` (n,), proportional to x, for comparison."""
    ax = plt.gca() if ax is None else ax
    ax.loglog(x, line, "--", color="0.5", linewidth=1, label="in proportion")
    ax.loglog(x, values, "o", color=SERIES[0], ms=6, linestyle="none", label="measured")
    ax.legend(loc="upper left")
    return ax


def _steps(unit: float) -> str:
    return {1.0: "step", 1000.0: "thousand steps"}.get(unit, f"steps / {unit:g}")
