"""Pictures of the pace of sheaf training: what an edge reads, steps for one of gradient descent,
stiffer edges, and where the law fails.

The first part draws whole figures and leaves their numbers in `fig.numbers`; the second one panels.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sheaflib.companion.figures.resistance import INK, MARKERS, SKY, STYLES, steps_label
from sheaflib.companion.figures.scaling import known, numbered, plain_ticks
from sheaflib.plots.palette import METHOD_COLOURS, SERIES
from sheaflib.plots.schematic import math_name

TITLES = {"1h": "[2,30,1]", "3h": "[2,12,8,6,1]", "residual": "two residual blocks"}
SHEAF, SETTLED = METHOD_COLOURS["sheaf"], METHOD_COLOURS["equilibrium"]
ACTIVITIES = {  # κ -> name, colour, mark
    1: ("κ = 1: settled", SETTLED, "o"),
    0: ("κ = 0: forward pass", METHOD_COLOURS["backpropagation"], "s"),
    -1: ("κ = −1: mirrored", SKY, "D"),
}
SPEEDS = (SHEAF, SETTLED, INK)


# whole figures
# --------------------------------------------------------------------------------------------------


def currents(felt) -> Figure:
    """One panel for every stalk after a ReLU of a `companion.pace.Felt`: the current through each
    unit over the activity that the next edge reads.
    """
    fig, axes = plt.subplots(1, len(felt.current), figsize=(9.4, 3.8), sharey=True, squeeze=False)
    for ax, name in zip(axes[0], felt.current):
        through_units(felt.current[name], felt.activity[name], felt.active[name], ax)
        ax.set(xlabel=f"activity of ${math_name(name)}$, as the next edge reads it")
    axes[0, 0].set_ylabel("current through the unit")
    handles = [
        Line2D([], [], color=colour, marker=mark, linestyle="none", label=label)
        for label, colour, mark in ACTIVITIES.values()
    ]
    hollow = Line2D([], [], color="0.4", marker="o", mfc="white", linestyle="none")
    hollow.set_label("open: inactive unit")
    handles.append(hollow)
    fig.legend(handles=handles, ncols=4, loc="outside upper center")
    return numbered(
        fig,
        {
            "current": felt.current,
            "activity": {
                name: {f"kappa {kappa}": values for kappa, values in by_kappa.items()}
                for name, by_kappa in felt.activity.items()
            },
            "active": felt.active,
        },
    )


def slow_down(slow: Mapping[str, Any]) -> Figure:
    """One panel for each run: a `SlowDown` by its name, "1h", "3h" or "residual"."""
    fig, axes = plt.subplots(1, len(slow), figsize=(10.2, 3.5))
    for ax, (name, run) in zip(axes, slow.items()):
        marks = {
            "each sample over its own 1 + ρ": (run.current, SKY),
            "measured, stalks at equilibrium": (run.settled, SETTLED),
        }
        factors(run.step, run.quartiles, marks, ax, unit=1 if name == "residual" else 1000)
        ax.set_title(TITLES[name])
        plain_ticks(ax.yaxis)
    axes[0].set_ylabel("steps for one of gradient descent")
    fig.legend(*axes[0].get_legend_handles_labels(), ncols=3, loc="outside upper center")
    shown = ("step", "quartiles", "settled", "current", "ends")
    return numbered(
        fig, {name: {key: getattr(run, key) for key in shown} for name, run in slow.items()}
    )


def stiffer(found) -> Figure:
    """Times of a `Stiffer` by depth, and their ratios."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.7))
    times = {"edges of weight 1": found.soft, "edges of weight 4": found.stiff}
    runs(found.depth, times, left, beyond=1.3 * found.T)
    left.set(yscale="log", xlabel="hidden layers", ylabel="time to half the variance")
    left.legend(loc="upper left")
    plain_ticks(left.yaxis)
    ratios = {"time": found.faster, "Euler steps": 4 * found.faster}
    runs(found.depth, ratios | {"time, clock held": found.held}, right)
    right.axhline(1, color="black", linewidth=0.8, linestyle="--")
    right.set(xlabel="hidden layers", ylabel="weight 4 over weight 1", ylim=(0, 1.9))
    right.legend(loc="upper left", ncols=3)
    parts = {key: known(getattr(found, key)) for key in ("soft", "stiff", "before", "after")}
    return numbered(fig, {"depth": list(found.depth), **parts, "rho": found.rho})


def transient(run, beta_n, lag) -> Figure:
    """Speeds of a `Transient` over the law's, and what the lag of the stalks costs at some speeds
    of the weights.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.5), width_ratios=(1.7, 1))
    speeds(run.step, run.speeds, left)
    left.set(ylabel="speed over the law's", ylim=(0, 1.75))
    left.legend(loc="upper left", ncols=2)
    beta_n, lag = np.asarray(beta_n), np.asarray(lag)
    proportional(beta_n, lag, lag[-1] / beta_n[-1] * beta_n, right)
    right.set(xlabel="speed of the weights, βn", ylabel="what the lag costs")
    for axis in (right.xaxis, right.yaxis):
        plain_ticks(axis)
    return numbered(
        fig,
        {
            "step": run.step,
            "speeds": run.speeds,
            "foreign": run.foreign,
            "beta_n": beta_n,
            "lag": lag,
        },
    )


# parts of figures
# --------------------------------------------------------------------------------------------------


def through_units(current, activity: Mapping[int, Sequence[float]], active, ax=None):
    """The units of one stalk: the current of each (n,) over its activity at every κ, joined by a
    line; open marks where a unit is not active.
    """
    ax = plt.gca() if ax is None else ax
    values = np.array(list(activity.values()))
    ax.hlines(current, values.min(axis=0), values.max(axis=0), color="0.75", linewidth=1, zorder=1)
    for kappa, row in activity.items():
        _, colour, mark = ACTIVITIES[kappa]
        for a, c, on in zip(row, current, active):
            fill = colour if on else "white"
            ax.plot(a, c, mark, color=colour, mfc=fill, ms=5.5, linestyle="none", zorder=2)
    ax.axhline(0, color="0.5", linewidth=0.6, zorder=0)
    ax.axvline(0, color="0.5", linewidth=0.6, zorder=0)
    return ax


def factors(
    step, quartiles, measured: Mapping[str, tuple[Sequence[float], str]], ax=None, unit: float = 1.0
):
    """A predicted factor along a run, quartiles (3, R) over samples as a band, and measured ones
    (R,) as marks, name -> (values, colour).
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    low, median, high = np.asarray(quartiles, dtype=float)
    ax.fill_between(place, low, high, color=SHEAF, alpha=0.2, linewidth=0)
    ax.plot(place, median, color=SHEAF, label="2(1 + ρ): median and quartiles over samples")
    for series, (name, (values, colour)) in enumerate(measured.items(), start=1):
        ax.plot(
            place,
            values,
            MARKERS[series],
            color=colour,
            mfc="none",
            ms=6,
            mew=1.3,
            linestyle="none",
            label=name,
        )
    ax.set(xlabel=steps_label(unit), yscale="log")
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
            color=SPEEDS[series],
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
    ax.loglog(x, values, "o", color=SHEAF, ms=6, linestyle="none", label="measured")
    ax.legend(loc="upper left")
    return ax
