"""Energy around the forward pass, masked networks, sensitivities flowing back: the pictures of
Prop. 3.4.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from sheaflib.plots.palette import EDGE_COLOURS
from sheaflib.plots.schematic import math_name
from sheaflib.plots.spectra import jitter
from sheaflib.sheaves.layout import Layout

BLUE, ORANGE = "#0072B2", "#D55E00"


def energy_plane(z, a, V, forward: tuple[float, float], labels: tuple[str, str], ax=None):
    """Level lines of V on the plane of one z and its a (V has shape (len(a), len(z))), the kink z =
    0 and the forward pass.
    """
    ax = plt.gca() if ax is None else ax
    levels = np.geomspace(0.02, np.max(V), 14)
    filled = ax.contourf(
        z, a, np.clip(V, levels[0], levels[-1]), levels=levels, cmap="cividis", norm="log"
    )
    ax.axvline(0, color="white", linewidth=1.2, linestyle="--")
    ax.plot(*forward, "*", color="white", mec="black", ms=17, label="forward pass, $V = 0$")
    ax.set(xlabel=labels[0], ylabel=labels[1], title="energy $V$ on a plane")
    ax.legend(loc="upper left", labelcolor="white")
    ax.figure.colorbar(filled, ax=ax, ticks=[0.1, 1, 10], format="%g")
    return ax


def energy_lines(t, curves, ax=None):
    """V along straight lines through the forward pass at t = 0: curves (K, len(t))."""
    ax = plt.gca() if ax is None else ax
    for curve in curves:
        ax.plot(t, curve, color=BLUE, linewidth=1, alpha=0.7)
    ax.plot(0, 0, "*", color="white", mec="black", ms=17, clip_on=False, zorder=3)
    ax.set(
        xlabel="distance from the forward pass",
        title="energy $V$ along straight lines",
        ylim=(0, None),
    )
    return ax


def cochain(
    values,
    layout: Layout,
    ax=None,
    reference=None,
    ylabel: str = "value",
    switched: Sequence[int] = (),
):
    """The coordinates of one cochain (N,) stalk by stalk as stems, `reference` as grey bars behind,
    `switched` ones ringed.
    """
    ax = plt.gca() if ax is None else ax
    if reference is not None:
        ax.bar(range(len(values)), reference, color="0.85", width=0.9, zorder=0)
    ax.vlines(range(len(values)), 0, values, color=BLUE, linewidth=1)
    ax.plot(range(len(values)), values, "o", color=BLUE, ms=4.5)
    ax.plot(
        list(switched),
        np.take(values, list(switched)) if len(switched) else [],
        "o",
        mfc="none",
        color=ORANGE,
        ms=11,
        mew=1.6,
    )
    ax.axhline(0, color="black", linewidth=0.7)
    for s in list(layout.slices.values())[1:]:
        ax.axvline(s.start - 0.5, color="0.6", linewidth=0.6, linestyle=":")
    ax.set_xticks(
        [(s.start + s.stop - 1) / 2 for s in layout.slices.values()],
        [f"${math_name(n)}$" for n in layout.names],
    )
    ax.tick_params(axis="x", length=0)
    ax.set(ylabel=ylabel, xlim=(-0.7, len(values) - 0.3))
    return ax


def edge_bars(discords: Mapping[str, float], ax=None, top: float | None = None):
    """Discord of every edge as a bar coloured by the edge's kind; names such as "affine_1" become
    ticks.
    """
    ax = plt.gca() if ax is None else ax
    ax.bar(
        range(len(discords)),
        list(discords.values()),
        color=[EDGE_COLOURS[name.split("_")[0]] for name in discords],
    )
    ax.set_xticks(
        range(len(discords)),
        [name.replace("activation", "act").replace("_", " ") for name in discords],
        rotation=30,
        ha="right",
        rotation_mode="anchor",
        fontsize=8,
    )
    ax.set(ylabel="discord", ylim=(0, top))
    return ax


def pattern_table(patterns, energies, own: Sequence[bool], axes=None):
    """Patterns (P, M) as a table of active (filled) units under the energy of each one's masked
    network; `own`: self-consistent.
    """
    top, bottom = plt.subplots(2, 1, sharex=True)[1] if axes is None else axes
    place = np.arange(len(energies))
    top.bar(place, energies, color=[ORANGE if o else BLUE for o in own])
    for i in np.flatnonzero(own):
        top.plot(i, 0, "*", color=ORANGE, ms=15, clip_on=False, zorder=3)
    top.set(ylabel="energy $V$")
    grid_rows, grid_columns = np.nonzero(np.transpose(patterns))
    bottom.plot(grid_columns, grid_rows, "s", color="0.25", ms=9)
    off_rows, off_columns = np.nonzero(1 - np.transpose(np.asarray(patterns, dtype=int)))
    bottom.plot(off_columns, off_rows, "s", mfc="none", color="0.7", ms=9)
    bottom.set(
        ylim=(np.shape(patterns)[1] - 0.4, -0.6),
        xlabel="pattern, by energy",
        ylabel="neuron",
        xticks=[],
        yticks=range(np.shape(patterns)[1]),
    )
    return top


def energy_by_wrong(wrong, energies, ax=None):
    """Energy of the masked networks against the number of units at which the pattern differs from
    the cochain's own.
    """
    ax = plt.gca() if ax is None else ax
    ax.plot(
        np.asarray(wrong) + jitter(len(wrong)),
        energies,
        "o",
        ms=3,
        mew=0,
        color=BLUE,
        alpha=0.5,
        rasterized=True,
    )
    ax.plot(0, 0, "*", color=ORANGE, ms=15, clip_on=False, zorder=3)
    ax.set(
        xlabel="units at which σ differs from the cochain's own pattern",
        ylabel="energy $V$",
        ylim=(0, None),
    )
    return ax


def agreement(differences, gradients: Mapping[str, tuple], ax=None):
    """Finite differences against back-propagation: name -> (gradients, finite differences); points
    lie on the diagonal.
    """
    ax = plt.gca() if ax is None else ax
    for (name, (gradient, quotient)), marker in zip(gradients.items(), "os^D"):
        ax.plot(gradient, quotient, marker, ms=4, alpha=0.6, mew=0, label=name, rasterized=True)
    ax.plot(differences, differences, color="black", linewidth=0.8, zorder=0)
    ax.set(xlabel="gradient by the transposed substitution", ylabel="central difference quotient")
    ax.legend(loc="upper left")
    return ax
