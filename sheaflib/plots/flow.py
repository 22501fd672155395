"""Pictures of a flow: discord against steps, switches neuron by neuron, phase planes, energy
landscapes.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from sheaflib.plots.palette import EDGE_COLOURS

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


def run_with_rate(history, slope: float, ax=None, title: str = "", label: str = "2 ln(1 − dt λ₁)"):
    """Total discord of a `HeatHistory` (its first sample), its switches, and the line of the
    predicted late slope per step.
    """
    ax = plt.gca() if ax is None else ax
    total = history.total[:, 0]
    discord_curves(history.step, {"total": total}, ax, np.unique(history.switches[:, 0])[:60])
    rate_line(history.step[[0, -1]], (history.step[-1], total[-1]), slope, ax, label)
    ax.set_title(title)
    ax.legend()
    return ax


def switch_raster(switches, labels: Sequence[str], ax=None, dt: float = 1.0):
    """One row a neuron, one tick a switch at its time step·dt; `switches` (K, 3) as in
    `HeatHistory`, labels of all neurons.
    """
    ax = plt.gca() if ax is None else ax
    switches = np.asarray(switches)
    rows = np.unique(switches[:, 2]) if len(switches) else np.zeros(0, int)
    for row, unit in enumerate(rows):
        times = dt * switches[switches[:, 2] == unit, 0]
        colour = EDGE_COLOURS["penalty"] if len(times) > 5 else EDGE_COLOURS["affine"]
        ax.plot(
            times,
            np.full(len(times), row),
            "|",
            markersize=14,
            color=colour,
            rasterized=len(times) > 1000,
        )
        ax.annotate(
            f"{len(times)}",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            annotation_clip=False,
        )
    ax.set(
        yticks=range(len(rows)),
        yticklabels=[labels[unit] for unit in rows],
        ylim=(-0.6, len(rows) - 0.4),
        xlabel="time t",
    )
    return ax


def phase_plane(
    paths: Sequence,
    rest: tuple[float, float],
    ax=None,
    crossings: Sequence = (),
    others: Sequence = (),
):
    """Paths (T, 2) of two coordinates into the point `rest`; `crossings` and `others` (K, 2) are
    switches of these and other neurons.
    """
    ax = plt.gca() if ax is None else ax
    for path in paths:
        path = np.asarray(path)
        (line,) = ax.plot(path[:, 0], path[:, 1], linewidth=1)
        ax.plot(*path[0], "o", markersize=5, color=line.get_color())
    ax.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    ax.axvline(0, color="0.75", linewidth=0.8, zorder=0)
    for points, style, label in (
        (
            others,
            {"marker": "o", "facecolors": "none", "edgecolors": "0.35"},
            "another neuron switches",
        ),
        (crossings, {"marker": "x", "color": "#000000"}, "a plotted neuron switches"),
    ):
        places = np.asarray(points).reshape(-1, 2)
        ax.scatter(
            places[:, 0],
            places[:, 1],
            s=22,
            linewidths=0.9,
            label=label,
            zorder=3,
            rasterized=len(places) > 300,
            **style,
        )
    ax.plot(
        *rest, "*", markersize=13, color=EDGE_COLOURS["penalty"], label="forward pass", zorder=4
    )
    return ax


def landscape(p, q, energy, ax=None, levels=12):
    """Contours of an energy (len(q), len(p)) over two coordinates, with the kink p = 0 marked."""
    ax = plt.gca() if ax is None else ax
    drawn = ax.contour(p, q, energy, levels=levels, cmap="viridis", linewidths=0.9)
    ax.axvline(0, color="0.3", linewidth=1, linestyle=":")
    return drawn
