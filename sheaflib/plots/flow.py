"""Pictures of a flow: discord against steps, switches neuron by neuron, phase planes, energy
landscapes.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import numpy as np

from sheaflib.plots.palette import EDGE_COLOURS
from sheaflib.support.extras import needs

with needs("sheaflib.plots", "plots"):
    import matplotlib.pyplot as plt

STYLES = ("-", "--", "-.", ":")


def discord_curves(
    step,
    curves: Mapping[str, Sequence[float]],
    ax=None,
    switches: Sequence[int] | np.ndarray = (),
    floor: float = 1e-20,
):
    """Log discord against steps, one curve a name coloured by edge kind where the name starts with
    one; switches as ticks.
    """
    ax = plt.gca() if ax is None else ax
    count: dict[str, int] = {}
    for name, values in curves.items():
        kind = name.split("_")[0]
        style = STYLES[count.get(kind, 0) % len(STYLES)]
        count[kind] = count.get(kind, 0) + 1
        ax.semilogy(
            step,
            np.maximum(values, floor),
            style,
            color=EDGE_COLOURS.get(kind, "#333333"),
            label=name.replace("_", " "),
        )
    mark_switches(switches, ax)
    ax.set(xlabel="step", ylabel="discord")
    ax.legend()
    return ax


def mark_switches(switches: Sequence[int] | np.ndarray, ax=None, label: str = "switch"):
    """Thin vertical lines at the steps where a neuron switches; one entry in the legend."""
    ax = plt.gca() if ax is None else ax
    for i, step in enumerate(switches):
        ax.axvline(step, color="0.6", linewidth=0.8, zorder=0, label=label if i == 0 else None)
    return ax


def rate_line(step, anchor: tuple[float, float], slope: float, ax=None, label: str = ""):
    """The line of a predicted log-slope per step through the point `anchor` (step, discord)."""
    ax = plt.gca() if ax is None else ax
    step = np.asarray(step, dtype=float)
    ax.semilogy(
        step,
        anchor[1] * np.exp(slope * (step - anchor[0])),
        color="#000000",
        linewidth=1,
        linestyle=(0, (6, 4)),
        label=label,
    )
    return ax


def landscape(p, q, energy, ax=None, levels=12):
    """Contours of an energy (len(q), len(p)) over two coordinates, with the kink p = 0 marked."""
    ax = plt.gca() if ax is None else ax
    drawn = ax.contour(p, q, energy, levels=levels, cmap="viridis", linewidths=0.9)
    ax.axvline(0, color="0.3", linewidth=1, linestyle=":")
    return drawn
