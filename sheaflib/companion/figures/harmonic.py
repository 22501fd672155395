"""Energy around the forward pass, masked networks, sensitivities flowing back: the pictures of
Prop. 3.4.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.companion.record import gallery
from sheaflib.linear.solution import Solution
from sheaflib.plots import spectra
from sheaflib.plots.palette import EDGE_COLOURS
from sheaflib.plots.schematic import math_name
from sheaflib.plots.spectra import jitter
from sheaflib.sheaves import discord
from sheaflib.sheaves.layout import Layout
from sheaflib.sheaves.neural import NeuralSheaf

BLUE, ORANGE = "#0072B2", "#D55E00"
LISTED = 24  # patterns whose squares still have room


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
    size = min(9, 40 / np.shape(patterns)[1])
    grid_rows, grid_columns = np.nonzero(np.transpose(patterns))
    bottom.plot(grid_columns, grid_rows, "s", color="0.25", ms=size)
    off_rows, off_columns = np.nonzero(1 - np.transpose(np.asarray(patterns, dtype=int)))
    bottom.plot(off_columns, off_rows, "s", mfc="none", color="0.7", ms=size)
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


# the figures of notebook 03, each made from its results
# --------------------------------------------------------------------------------------------------


def energy(z, a, plane, forward, t, lines) -> Figure:
    """V over the plane of one z and its a (len(a), len(z)), and along lines through the forward
    pass. Figure 03-energy.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8))
    energy_plane(z, a, plane, forward, ("$z^1_2$", "$a^1_2$"), left)
    energy_lines(t, lines, right)
    fig.numbers = {"z": z[::4], "a": a[::4], "plane": plane[::4, ::4], "t": t, "lines": lines}
    return fig


def three_cochains(sheaf: NeuralSheaf, x, cochains: Mapping[str, np.ndarray]) -> Figure:
    """Cochains (N,) stalk by stalk, the first one in grey behind each, and the discord of their
    edges. Figure 03-three-cochains.
    """
    discords = {}
    for name, w in cochains.items():
        per_edge = discord.per_edge(sheaf, w[None], x)
        discords[name] = {edge: values[0] for edge, values in per_edge.items()}
    highest = 1.15 * max(max(values.values()) for values in discords.values())
    reference = next(iter(cochains.values()))
    fig, axes = plt.subplots(
        len(cochains), 2, figsize=(9.6, 6.6), width_ratios=(1.7, 1), sharex="col"
    )
    for (left, right), (name, w) in zip(axes, cochains.items()):
        cochain(w, sheaf.layout, left, reference=reference)
        left.set_title(name, loc="left")
        edge_bars(discords[name], right, top=highest)
    axes[0, 1].set_title("discord of each edge", loc="left")
    fig.numbers = {"cochains": dict(cochains), "discord": discords}
    return fig


def wrong_patterns(answers: Mapping[str, Solution]) -> Figure:
    """All masked networks of the network with the fewest patterns by energy, the LISTED lowest
    where there are more, and of the one with the most by the number of units at which the pattern
    is wrong. Figure 03-wrong-patterns.
    """
    by_size = sorted(answers, key=lambda name: len(answers[name].pattern))
    small, large = answers[by_size[0]], answers[by_size[-1]]
    order = np.argsort(small.energy, kind="stable")[:LISTED]
    every = len(small.pattern)
    listed = f"all {every}" if len(order) == every else f"the lowest {len(order)} of {every}"
    own = (small.own_pattern == small.pattern).all(axis=1)[order]
    units = (large.own_pattern != large.pattern).sum(axis=1)
    shown = gallery.thin(np.arange(len(units)))[0]
    fig = plt.figure(figsize=(9.6, 4))
    grid = fig.add_gridspec(2, 2, height_ratios=(1.6, 1), width_ratios=(1.2, 1))
    top = fig.add_subplot(grid[0, 0])
    panels = (top, fig.add_subplot(grid[1, 0], sharex=top))
    pattern_table(small.pattern[order], small.energy[order], own, panels)
    top.set_title(f"{by_size[0]}: {listed} patterns")
    right = energy_by_wrong(units[shown], large.energy[shown], fig.add_subplot(grid[:, 1]))
    right.set_title(f"{by_size[-1]}: {len(shown)} patterns of {len(units)}")
    fig.numbers = {
        "patterns": small.pattern[order],
        "energy": small.energy[order],
        "units": units[shown],
        "deep energy": large.energy[shown],
    }
    return fig


def sensitivities(sheaf: NeuralSheaf, values, e, pattern) -> Figure:
    """A forward pass (N,) above the sensitivities (N,) of its output, inactive units of the pattern
    (M,) ringed. Figure 03-sensitivities.
    """
    units = [
        sheaf.layout[f"z{layer + 1}"].start + i
        for layer, node in enumerate(sheaf.network.affine_nodes[:-1])
        for i in range(node.operation.n_out)
    ]
    dead = [unit for unit, active in zip(units, pattern) if not active]
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True)
    cochain(values, sheaf.layout, top, ylabel="value, →", switched=dead)
    cochain(e, sheaf.layout, bottom, ylabel="sensitivity, ←", switched=dead)
    fig.numbers = {"values": values, "sensitivities": e, "inactive": dead}
    return fig


def smallest_by_depth(layers, rates, dense) -> Figure:
    """λ₁ of chains (depths, seeds), and (depth, λ₁) of some by a dense solver. Figure
    03-lambda-1.
    """
    fig, ax = plt.subplots()
    depths, solved = [depth for depth, _ in dense], [rate for _, rate in dense]
    spectra.smallest_by_depth(layers, rates, depths, solved, ax)
    fig.numbers = {"layers": layers[:, 0], "by substitution": rates, "dense": dense}
    return fig
