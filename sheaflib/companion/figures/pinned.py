"""Pins drawn on the sheaf of a network, and what they move."""

from __future__ import annotations

from typing import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch

from sheaflib.plots.palette import EDGE_COLOURS
from sheaflib.plots.schematic import BOX, math_name, schematic
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pin

# the schematic's distance of vertices; how far below its vertex a pin stands, in inches
STEP, DROP = (0.98, 1.15)


def pinned_schematic(sheaf: NeuralSheaf, pins: Sequence[Pin], ax=None):
    """The chain of a network with its pins: a soft pin is a penalty edge √γ down to a boundary
    vertex v*, a hard pin a grey vertex.
    """
    ax = schematic(sheaf, ax, stalks=False)
    if ax.get_legend():
        ax.get_legend().remove()
    names = ("x", *sheaf.augmented_layout.names)
    for pin in pins:
        x = STEP * names.index(pin.stalk)
        place = "" if pin.at is None else "_{" + ",".join(map(str, pin.at)) + "}"
        if np.isinf(pin.gamma):
            _box(ax, x, 0, f"${math_name(pin.stalk)}{place}$")
            ax.text(
                x,
                -0.42,
                "clamped:\nboundary",
                ha="center",
                va="top",
                fontsize=8,
                color=EDGE_COLOURS["penalty"],
            )
            continue
        ax.plot(
            [x, x],
            [-BOX[1] / 2, -DROP + BOX[1] / 2],
            color=EDGE_COLOURS["penalty"],
            linewidth=2.2,
            zorder=1,
        )
        ax.text(
            x + 0.09,
            -DROP / 2,
            f"$\\sqrt{{\\gamma}}$, γ = {pin.gamma:g}",
            va="center",
            fontsize=9,
            color=EDGE_COLOURS["penalty"],
        )
        _box(ax, x, -DROP, "$v^*$")
    ax.set_ylim(
        -0.95 if all(np.isinf(pin.gamma) for pin in pins) else -DROP - 0.3, ax.get_ylim()[1]
    )
    return ax


def _box(ax, x: float, y: float, text: str) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x - BOX[0] / 2, y - BOX[1] / 2),
            *BOX,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor="#c9c9c9",
            edgecolor=EDGE_COLOURS["penalty"],
            linewidth=1.8,
            zorder=5,
        )
    )
    ax.text(x, y, text, ha="center", va="center", zorder=6)


def displacement_map(moved, stalks: Sequence[str], ax=None):
    """How far each stalk (column) moves when a stalk (row) is pinned: an annotated heat map,
    `moved` (pinned, stalk).
    """
    ax = plt.gca() if ax is None else ax
    moved = np.asarray(moved)
    image = ax.imshow(
        np.log10(np.maximum(moved, 1e-3)), cmap="cividis", vmin=-2.5, vmax=0.4, aspect="auto"
    )
    for (i, j), value in np.ndenumerate(moved):
        light = image.norm(np.log10(max(value, 1e-3))) < 0.55
        ax.text(
            j,
            i,
            f"{value:.2f}" if value >= 0.095 else f"{value:.3f}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if light else "black",
            fontweight="bold" if i == j else None,
        )
    ax.set(
        xticks=range(len(stalks)),
        xticklabels=stalks,
        yticks=range(len(stalks)),
        yticklabels=stalks,
        xlabel="stalk that moves",
        ylabel="pinned stalk",
    )
    ax.spines[:].set_visible(False)
    return ax
