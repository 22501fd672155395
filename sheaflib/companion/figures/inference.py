"""Pictures of exact inference: the speed ladder, a kink's two faces, events of a flow, how many
equilibria there are.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from sheaflib.plots.palette import SERIES

MARKERS = ("o", "s", "^", "D")
KINDS = {
    "crosses up": ("^", SERIES[0]),
    "crosses down": ("v", SERIES[0]),
    "slides": ("s", SERIES[1]),
    "leaves up": ("^", SERIES[1]),
    "leaves down": ("v", SERIES[1]),
}


def ladder(rungs: Mapping[str, Mapping[str, float]], ax=None, label: str = ""):
    """One row a method, one mark a network: rungs[method][network] on a log axis; None or a missing
    network is left out.
    """
    ax = plt.gca() if ax is None else ax
    networks = list(dict.fromkeys(name for row in rungs.values() for name in row))
    for series, network in enumerate(networks):
        points = [
            (row[network], place)
            for place, row in enumerate(rungs.values())
            if row.get(network) is not None
        ]
        if points:
            ax.plot(
                *zip(*points),
                MARKERS[series],
                color=SERIES[series],
                markersize=7,
                label=network,
                linestyle="none",
            )
    ax.set_xscale("log")
    ax.set_yticks(range(len(rungs)), list(rungs))
    ax.set_ylim(len(rungs) - 0.5, -0.5)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.set_xlabel(label)
    return ax


def faces(u: float, a: float, ax=None, reach: float = 1.6):
    """V of one unit over z with everything else fixed, ½(z − u)² + ½(ReLU(z) − a)²: its two
    parabolas, and each one's own minimum.
    """
    ax = plt.gca() if ax is None else ax
    z = np.linspace(-reach, reach, 401)
    minus, plus = 0.5 * (z - u) ** 2 + 0.5 * a**2, 0.5 * (z - u) ** 2 + 0.5 * (z - a) ** 2
    for side, V, name, colour in (
        (z <= 0, minus, "inactive", SERIES[0]),
        (z >= 0, plus, "active", SERIES[1]),
    ):
        ax.plot(z[side], V[side], color=colour, linewidth=2, label=name)
        ax.plot(z[~side], V[~side], color=colour, linewidth=1, linestyle=":")
    ax.axvline(0, color="0.3", linewidth=1, linestyle=":")
    ax.set(xlabel="z", ylabel="V", title=f"u = {u:g}, a = {a:g}")
    return ax


def events(flow, ax=None):
    """One row a unit that has events, a mark at each one's time (log axis), a bar where it slides;
    `flow` is an ExactFlow.
    """
    ax = plt.gca() if ax is None else ax
    units = sorted({event.unit for event in flow.events})
    for unit, intervals in flow.slides.items():
        for start, stop in intervals:
            ax.plot(
                [start, stop],
                [units.index(unit)] * 2,
                color=SERIES[1],
                linewidth=6,
                alpha=0.4,
                solid_capstyle="butt",
            )
    for kind, (marker, colour) in KINDS.items():
        points = [
            (event.time, units.index(event.unit)) for event in flow.events if event.kind == kind
        ]
        if points:
            ax.plot(*zip(*points), marker, color=colour, markersize=7, label=kind, linestyle="none")
    ax.set_xscale("log")
    ax.set_yticks(range(len(units)), units)
    ax.set_ylim(len(units) - 0.5, -0.5)
    ax.set(xlabel="time t", ylabel="")
    return ax


def shares(counts: Mapping[str, Sequence[int]], ax=None, label: str = ""):
    """One group of bars a name: the share of counts[name] (n,) that equals 1, 2, 3, … (whole
    numbers).
    """
    ax = plt.gca() if ax is None else ax
    most = max(int(np.max(c)) for c in counts.values())
    width = 0.8 / len(counts)
    for series, (name, values) in enumerate(counts.items()):
        part = np.bincount(values, minlength=most + 1)[1:] / len(values)
        ax.bar(
            np.arange(1, most + 1) + (series - (len(counts) - 1) / 2) * width,
            part,
            width,
            color=SERIES[series],
            label=name,
        )
    ax.set_xticks(range(1, most + 1))
    ax.set(xlabel=label, ylabel="share")
    ax.legend()
    return ax


def grouped(values: Mapping[str, Mapping[str, float]], ax=None, label: str = ""):
    """Horizontal bars, one group a row, one colour a series: values[series][row]."""
    ax = plt.gca() if ax is None else ax
    rows = list(next(iter(values.values())))
    height = 0.8 / len(values)
    for series, (name, row) in enumerate(values.items()):
        place = np.arange(len(rows)) + (series - (len(values) - 1) / 2) * height
        ax.barh(place, [row[r] for r in rows], height, color=SERIES[series], label=name)
    ax.set_yticks(range(len(rows)), [r.replace("_", " ") for r in rows])
    ax.invert_yaxis()
    ax.set_xlabel(label)
    ax.legend()
    return ax
