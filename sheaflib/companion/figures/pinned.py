"""Pins: drawn on the sheaf of a network, how strong they are, what they move, and where the flow
ends under one. Whole figures leave the numbers that they plot in `fig.numbers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from sheaflib.plots import flow
from sheaflib.plots.palette import EDGE_COLOURS, METHOD_COLOURS, SERIES
from sheaflib.plots.schematic import BOUNDARY, BOX, FREE, INK, math_name, schematic
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pin

if TYPE_CHECKING:
    from sheaflib.companion.pinning import Basins

# the schematic's distance of vertices; how far below its vertex a pin stands, in inches
STEP, DROP = (0.98, 1.15)
SQUARE = 0.17  # side of a coordinate below a clamped vertex
BELOW = 0.36  # how far below the line of the graph these stand
SPRING = EDGE_COLOURS["penalty"]
BASIN_COLOURS = ("#ffffff", "#e2e2e2")  # where the flow ends with the neuron off, and on
ABOVE = (0.05, 0.1, 0.2, 0.4, 0.7, 1.2, 2.0)  # contours, over the lowest energy of the equilibria
MOST = 80  # starts a side that a figure's file keeps


# whole figures
# --------------------------------------------------------------------------------------------------


def two_kinds_of_pin(sheaf: NeuralSheaf, spring: Pin, clamp: Pin) -> Figure:
    """A soft pin above and a hard pin below, each on the chain of the network."""
    fig: Any
    fig, axes = plt.subplots(2, 1, figsize=(6.2, 4.9), height_ratios=[1.95, 1.35])
    pinned_schematic(sheaf, [spring], axes[0])
    pinned_schematic(sheaf, [clamp], axes[1])
    axes[0].set_title(f"soft pin: an edge of weight γ = {spring.gamma:g} to a vertex that holds v*")
    axes[1].set_title("hard pin: what is clamped becomes boundary")
    place = "" if clamp.at is None else str(list(clamp.at))
    fig.numbers = {"soft": [spring.stalk, f"gamma {spring.gamma:g}"], "hard": [clamp.stalk + place]}
    return fig


def soft_to_hard(gammas, z1_0, outputs, free_z1_0: float, stiff, gap) -> Figure:
    """Left: where soft pins to 0 leave a neuron and the output, with the closed form. Right: how
    soft and hard pins differ.

    free_z1_0: the neuron without a pin. stiff, gap: stiffnesses and the largest differences.
    """
    fig: Any
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
    fine = np.logspace(-1.5, 2.5, 80)
    closed = free_z1_0 / (1 + fine)
    left.semilogx(fine, closed, color="black", linewidth=1, label="z¹₀ by the formula, c/(1 + γ)")
    left.semilogx(gammas, z1_0, "o", color=SERIES[0], label="z¹₀ by heat")
    left.semilogx(gammas, outputs, "s", color=SERIES[1], label="output by heat")
    left.set(xlabel="stiffness γ", ylabel="value at rest", title="all of z¹ pulled towards 0")
    right.loglog(
        stiff, gap, "o-", color=SERIES[0], markersize=3, label="largest |soft − hard|, pin on z²"
    )
    through = gap[len(gap) // 2] * stiff[len(gap) // 2] / np.asarray(stiff)
    right.loglog(stiff, through, "--", color="black", linewidth=1, label="proportional to 1/γ")
    right.set(
        xlabel="stiffness γ", ylabel="difference to the hard pin", title="soft pins become hard"
    )
    left.legend()
    right.legend()
    fig.numbers = {
        "gamma": list(gammas),
        "z1_0": list(z1_0),
        "output": list(outputs),
        "stiff": stiff,
        "gap": gap,
        "fine": fine,
        "closed-form": closed,
    }
    return fig


def displacements(moved: Mapping[str, Mapping[str, float]]) -> Figure:
    """How far each stalk moves when one is pinned: moved[pinned][stalk], as a table in colours."""
    fig: Any
    fig, ax = plt.subplots(figsize=(6.4, 4.2))
    stalks = list(moved)
    table = np.array([[moved[pinned][stalk] for stalk in stalks] for pinned in stalks])
    displacement_map(table, stalks, ax)
    ax.set_title("left of the frames: upstream of the pin; right of them: downstream")
    fig.numbers = {"stalks": stalks, "moved": table}
    return fig


def pinned_rates(rates: Mapping[str, Sequence[float]]) -> Figure:
    """λ₁ over all patterns, a column for each clamped coordinate; "none" is the network without a
    pin.
    """
    fig: Any
    fig, ax = plt.subplots(figsize=(7, 3.4))
    for column, values in enumerate(rates.values()):
        colour = INK if column == 0 else SPRING
        ax.plot([column] * len(values), values, "o", color=colour, markersize=4)
    for level, name in ((min(rates["none"]), "slowest"), (max(rates["none"]), "fastest")):
        ax.axhline(level, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        ax.annotate(
            f"{name} without a pin",
            (1, level),
            (-2, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            color="0.35",
            fontsize=8,
        )
    ax.set_xticks(
        range(len(rates)), [name if name == "none" else coordinate(name) for name in rates]
    )
    ax.set_xlim(-0.5, len(rates) + 0.9)
    ax.set(xlabel="clamped coordinate", ylabel="λ₁, a dot for each pattern")
    fig.numbers = {name: list(values) for name, values in rates.items()}
    return fig


def two_basins(found: Basins) -> Figure:
    """The energy over the two free coordinates of a 1-1-1 network, shaded by where the flow
    ends.
    """
    fig: Any
    fig, ax = plt.subplots(figsize=(5.8, 4.4))
    shades = found.active.astype(float)
    ax.contourf(found.z, found.a, shades, levels=[-0.5, 0.5, 1.5], colors=BASIN_COLOURS)
    lowest = min(end[2] for end in found.ends.values())
    flow.landscape(found.z, found.a, found.energy, ax, levels=[lowest + more for more in ABOVE])
    for name, (z, a, energy) in found.ends.items():
        marker = {"inactive": "o", "active": "s"}[name]
        style: dict[str, Any] = {"color": METHOD_COLOURS["equilibrium"], "markersize": 9}
        ax.plot(z, a, marker, label=f"{name}: V = {energy:.4f}", linestyle="none", **style)
    count = {1: "one equilibrium", 2: "two equilibria"}[len(found.ends)]
    ax.set(xlabel="$z^1$", ylabel="$a^1$", title=f"output pinned to {found.label:g}: {count}")
    ax.legend(loc="lower left", frameon=True)
    every = -(-len(found.z) // MOST)  # a finer grid is drawn whole and kept thinned
    ends = {name: np.round(end, 8) for name, end in found.ends.items()}
    fig.numbers = {
        "z": found.z,
        "a": found.a,
        "active": ends.get("active"),
        "energy": found.energy[::every, ::every],
        "inactive": ends.get("inactive"),
    }
    return fig


# panels
# --------------------------------------------------------------------------------------------------


def pinned_schematic(sheaf: NeuralSheaf, pins: Sequence[Pin], ax=None):
    """The chain of a network with its pins: a soft pin is a penalty edge down to a boundary vertex
    v*, a hard pin greys the coordinates that it clamps, drawn below their vertex.
    """
    ax = schematic(sheaf, ax, stalks=False)
    if ax.get_legend():
        ax.get_legend().remove()
    names = ("x", *sheaf.augmented_layout.names)
    for pin in pins:
        draw = _clamp if np.isinf(pin.gamma) else _spring
        draw(ax, sheaf, pin, STEP * names.index(pin.stalk))
    all_hard = all(np.isinf(pin.gamma) for pin in pins)
    ax.set_ylim(-BELOW - 0.49 if all_hard else -DROP - 0.3, ax.get_ylim()[1])
    return ax


def _spring(ax, sheaf: NeuralSheaf, pin: Pin, x: float) -> None:
    """A penalty edge from the vertex at x to a boundary vertex below it."""
    ends = [-BOX[1] / 2, -DROP + BOX[1] / 2]
    ax.plot([x, x], ends, color=SPRING, linewidth=2.2, zorder=1)
    ax.text(x + 0.09, -DROP / 2, f"γ = {pin.gamma:g}", va="center", fontsize=9, color=SPRING)
    ax.add_patch(
        FancyBboxPatch(
            (x - BOX[0] / 2, -DROP - BOX[1] / 2),
            *BOX,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=BOUNDARY,
            edgecolor=SPRING,
            linewidth=1.8,
            zorder=5,
        )
    )
    ax.text(x, -DROP, "$v^*$", ha="center", va="center", zorder=6)


def _clamp(ax, sheaf: NeuralSheaf, pin: Pin, x: float) -> None:
    """The coordinates of the vertex at x in a row below it, the clamped ones grey with a coloured
    frame.
    """
    n = sheaf.augmented_layout.dims[sheaf.augmented_layout.names.index(pin.stalk)]
    clamped = range(n) if pin.at is None else [i % n for i in pin.at]
    left = x - n * SQUARE / 2
    ax.plot([x, x], [-BOX[1] / 2, -BELOW], color=INK, linewidth=0.8, linestyle=":", zorder=1)
    for i in range(n):
        held = i in clamped
        style: dict[str, Any] = (
            {"fc": BOUNDARY, "ec": SPRING, "lw": 1.8, "zorder": 4}
            if held
            else {"fc": FREE, "ec": INK, "lw": 0.7, "zorder": 3}
        )
        ax.add_patch(Rectangle((left + i * SQUARE, -BELOW - SQUARE), SQUARE, SQUARE, **style))
    name = math_name(pin.stalk)
    held_names = ", ".join(f"${name}_{i}$" for i in clamped)
    free = n - len(set(clamped))
    rest = f"; the other {free} are free" if free > 1 else "; the other is free" if free else ""
    ax.text(
        left,
        -BELOW - SQUARE - 0.07,
        f"{held_names} clamped{rest}",
        ha="left",
        va="top",
        fontsize=9,
        color=SPRING,
    )


def coordinate(label: str) -> str:
    """A coordinate's label in mathtext.

    >>> coordinate("z1[0]")
    '$z^{1}_{0}$'
    """
    stalk, place = label.rstrip("]").split("[")
    return f"${math_name(stalk)}_{{{place}}}$"


def displacement_map(moved, stalks: Sequence[str], ax=None):
    """How far each stalk (column) moves when a stalk (row) is pinned: an annotated heat map,
    `moved` (pinned, stalk), the pinned stalk's own entry framed.
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
        if i == j:
            ax.add_patch(
                Rectangle((j - 0.5, i - 0.5), 1, 1, fc="none", ec=SPRING, lw=2.2, clip_on=False)
            )
    names = [f"${math_name(stalk)}$" for stalk in stalks]
    ax.set_xticks(range(len(stalks)), names)
    ax.set_yticks(range(len(stalks)), names)
    ax.set(xlabel="stalk that moves", ylabel="pinned stalk")
    ax.spines[:].set_visible(False)
    return ax
