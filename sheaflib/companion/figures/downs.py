"""Pictures of the ways down to a minimum: a kink that is rounded off less and less, V against
passes, and how low methods end.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.companion.descents import Descent
from sheaflib.companion.figures.inference import noted
from sheaflib.plots.palette import METHOD_COLOURS, SERIES

COLOURS = {
    "homotopy": SERIES[1],
    "Newton, track": METHOD_COLOURS["equilibrium"],
    "Newton, global": SERIES[3],
    "Newton, restarts": "0.5",
    "Gauss–Newton": SERIES[4],
    "L-BFGS": SERIES[5],
    "predictive coding": SERIES[2],
}
OUTCOMES = {"lower": "0.3", "equal": "0.9", "higher": "0.65"}
LEAST = 1e-5  # of V*, below which a distance to it is drawn as this


def rounded_off(
    z, curves: Mapping[float, Sequence], path: Sequence[tuple[float, float, float]], newton: float
) -> Figure:
    """The energy of the 1-1-1 network over z with its kink rounded off by several widths, the
    points (width, z, V) that the homotopy goes through, and where Newton's method stays.
    """
    fig, ax = plt.subplots(figsize=(8, 4))
    for (width, V), shade in zip(curves.items(), np.linspace(0.75, 0.0, len(curves))):
        name = f"width {width:g}" if width else "the kink itself"
        ax.plot(z, V, color=str(shade), label=name)
    _, places, heights = np.array(path).T
    ax.plot(places, heights, "o-", color=COLOURS["homotopy"], label="homotopy")
    sharp = list(curves.values())[-1]
    ax.plot(newton, np.interp(newton, z, sharp), "*", ms=13, color=COLOURS["Newton, track"])
    ax.plot([], [], "*", color=COLOURS["Newton, track"], label="Newton, from the forward pass")
    ax.set(xlabel="z", ylabel="energy V", xlim=(z[0], z[-1]))
    ax.legend(loc="upper center", ncols=2, fontsize="small")
    return noted(
        fig,
        {
            "z": z,
            "widths": list(curves),
            "energy": list(curves.values()),
            "path": [list(point) for point in path],
            "newton": newton,
        },
    )


def race(runs: Mapping[str, Mapping[str, Descent]], close: float) -> Figure:
    """How far every method is above the lowest V of a problem, relative to it, against passes; one
    panel a problem. A circle: at rest.
    """
    fig, axes = plt.subplots(2, 2, figsize=(10.5, 7))
    numbers: dict[str, dict] = {}
    for ax, (problem, methods) in zip(axes.flat, runs.items()):
        lowest = min(run.energy[-1] for run in methods.values())
        numbers[problem] = {"V*": lowest}
        for method, run in methods.items():
            above = np.maximum(np.array(run.energy) / lowest - 1, LEAST)
            ax.loglog(run.passes, above, color=COLOURS[method], label=method)
            if run.end == "at rest":
                ax.plot(run.passes[-1], above[-1], "o", color=COLOURS[method])
            numbers[problem][method] = [run.passes, run.energy]
        ax.axhline(close, color="0.6", linewidth=0.8, linestyle="--")
        ax.set_title(f"{problem}: V* = {lowest:.5f}")
        ax.set(xlabel="passes over the weights", ylabel="V / V* − 1")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), ncols=3, loc="outside upper center")
    return noted(fig, numbers)


def minima(
    shares: Mapping[str, Mapping[str, float]], counts: Mapping[str, Mapping[str, int]]
) -> Figure:
    """Left: the share of small networks with several minima in which each way finds the global one,
    widths -> way -> share. Right: how often the homotopy ends lower than Newton, equal and higher,
    family -> outcome -> count.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
    ways = list(next(iter(shares.values())))
    for place, way in enumerate(ways):
        at = np.arange(len(shares)) + (place - (len(ways) - 1) / 2) * 0.2
        left.bar(at, [own[way] for own in shares.values()], 0.18, color=COLOURS[way], label=way)
    left.set_xticks(range(len(shares)), [f"[{name.replace('x', ',')}]" for name in shares])
    left.set(ylabel="global minimum found", ylim=(0, 1.35), title="networks with several minima")
    left.set_yticks(np.linspace(0, 1, 6))
    left.legend(ncols=2, fontsize="small", loc="upper center")
    before = np.zeros(len(counts))
    for outcome, colour in OUTCOMES.items():
        lengths = np.array([own[outcome] for own in counts.values()])
        right.barh(range(len(counts)), lengths, left=before, color=colour, label=outcome)
        before += lengths
    right.set_yticks(range(len(counts)), list(counts))
    right.invert_yaxis()
    right.set(xlabel="starts", title="where the homotopy ends beside Newton")
    right.set_xlim(0, 1.35 * before.max())
    right.set_xticks(np.linspace(0, before.max(), 4))
    right.legend(fontsize="small", loc="center right")
    return noted(fig, {"shares": dict(shares), "counts": dict(counts)})
