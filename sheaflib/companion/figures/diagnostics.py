"""Diagnostics in pictures: discord by edge, unit and sample, tension, nulls.

The first part draws whole figures and leaves their numbers in `fig.numbers`; the second one panels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import NullLocator

from sheaflib.companion.figures.inference import grouped, noted
from sheaflib.plots.palette import EDGE_COLOURS, METHOD_COLOURS, SERIES

if TYPE_CHECKING:
    from sheaflib.companion.pinned_labels import Null, TableE2
    from sheaflib.companion.tension import Tension

Numbers = Sequence[float] | np.ndarray
GOLDEN = 0.6180339887498949  # its multiples fill an interval evenly: jitter without chance
MARKERS = ("o", "s", "^", "D", "v", "P")
SHADES = ("#9ecae1", "#4292c6", "#08306b")  # early to late: one hue, told apart by lightness
STYLES = ("-", "--", ":", "-.")
OUTLINED = [Stroke(linewidth=4, foreground="black"), Normal()]  # seen on light and dark
CHANCE = np.array([1.96, 0.0627])  # |N(0, 1)| exceeds these with 5 and 95 %


# whole figures
# --------------------------------------------------------------------------------------------------


def training_state(state: Mapping[str, Mapping[str, Numbers]]) -> Figure:
    """Discord of every edge and sample as training leaves it: state[size][edge] (B,)."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1, 1.2))
    for ax, (size, values) in zip(axes, state.items()):
        strips(values, ax, "discord of a sample", f"{size}, training state")
    return noted(fig, state)


def pinned_labels(found: Mapping[str, Mapping], where: str) -> Figure:
    """Pinned discord along training, by edge and by unit, of the runs that `where` names: as
    `companion.pinned_labels.along_training` finds it.
    """
    fig, axes = plt.subplots(2, 2, figsize=(10, 6.4))
    for ax, (method, values) in zip(axes[0], found["residuals"].items()):
        label = r"residual $\|(\delta\omega - c)_e\|$ of a test input"
        boxes(values, ax, label, f"{where}, {method}")
        ax.set_xlim(1e-5, 3)
    axes[0, 0].legend(loc="upper left", fontsize="small")
    label, last = "pinned discord: mean, and mean + std", list(values)[-1]
    spreads(found["discord"], axes[1, 0], label, f"{where}, after {last}")
    unit_discord(found["neurons"], axes[1, 1], "mean pinned discord", "affine edge by unit")
    axes[1, 1].legend()
    return noted(fig, found)


def table_e2(table: TableE2, seeds: Mapping[str, str]) -> Figure:
    """Pinned discord by edge where the heat flow ends (filled), and from random stalks (hollow)."""
    names = {"flow": "forward", "random": "random"}
    rows_of = {
        size: {
            f"{method}, {name}": found.means[start]
            for (other, method), found in table.items()
            if other == size
            for start, name in names.items()
        }
        for size in seeds
    }
    fig, axes = plt.subplots(1, 2, figsize=(10, 5.2))
    for ax, (size, of_size) in zip(axes, rows_of.items()):
        label = "pinned discord: mean, and mean + std"
        spreads(of_size, ax, label, f"{size} at {seeds[size]}")
    fig.legend(*axes[0].get_legend_handles_labels(), ncols=4, loc="outside upper center")
    return noted(fig, rows_of)


def tension(found: Tension, steps: Sequence[int], history: Mapping[str, Sequence]) -> Figure:
    """Tension's spread over its mean, by coordinate at the end and by stalk along training, and how
    much a correction by its mean gains.
    """
    chance = np.sqrt(len(next(iter(found.deviation.values())))) / CHANCE
    percent = {
        part: {name: 100 * both[i] for name, both in found.gains.items()}
        for i, part in enumerate(("train", "test"))
    }
    fig, axes = plt.subplot_mosaic([["end", "along"], ["gain", "gain"]], figsize=(10, 6.4))
    strips(found.coordinates, axes["end"], "std / |mean| of a coordinate", "at the end")
    axes["end"].axvspan(*chance, color="0.9", zorder=0)
    curves(steps, history, axes["along"], 1000, "std / |mean| of a stalk", "along training")
    axes["along"].legend(loc="upper left")
    grouped(percent, axes["gain"], "loss falls by … %")
    axes["gain"].axvline(0.1, color="black", linestyle=":", linewidth=1)
    axes["gain"].set_title("corrected forward pass")
    shown = {"coordinates": found.coordinates, "step": steps, "stalks": history}
    return noted(fig, shown | {"gain": percent, "chance": chance})


def permuted_labels(nulls: Mapping[str, Null]) -> Figure:
    """Mean pinned discord beside that with permuted labels, and the ratio of the two."""
    observed = {method: null.observed for method, null in nulls.items()}
    bands = {method: null.bands for method, null in nulls.items()}
    ratio = {method: null.ratio for method, null in nulls.items()}
    losses = {method: null.loss_ratio for method, null in nulls.items()}
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1.4, 1), sharey=True)
    null_bands(observed, bands, left, "mean pinned discord", "observed, and labels permuted")
    ratios(ratio, losses, right, "observed / null's median", "nearly one ratio for all edges")
    fig.legend(*left.get_legend_handles_labels(), ncols=4, loc="outside upper center")
    right.legend(fontsize="small", loc="center")
    return noted(
        fig,
        {
            "observed": observed,
            "null": bands,
            "ratio": ratio,
            "loss": losses,
            "permuted": {method: null.permuted for method, null in nulls.items()},
        },
    )


# panels
# --------------------------------------------------------------------------------------------------


def strips(values: Mapping[str, Numbers], ax=None, label: str = "", title: str = ""):
    """One jittered row of points an edge or stalk on a log axis, a bar at the median; zeros are
    left out and counted.
    """
    ax = plt.gca() if ax is None else ax
    for row, (name, given) in enumerate(values.items()):
        points = np.asarray(given, dtype=float)
        place = row + 0.6 * (np.arange(len(points)) * GOLDEN % 1 - 0.5)
        seen = points > 0
        ax.plot(
            points[seen],
            place[seen],
            ".",
            color=kind_colour(name),
            markersize=2.5 if len(points) > 50 else 8,
            markeredgewidth=0,
            rasterized=True,
        )
        ax.plot([np.median(points)] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.8)
        if not seen.all():
            ax.annotate(
                f"{(~seen).sum()} at 0",
                (0, row),
                (3, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
            )
    ax.set_xscale("log")
    return rows(ax, list(values), label, title)


def kind_colour(name: str) -> str:
    """The colour of an edge's kind; a stalk z has that of the affine edge that leads to it, a that
    of the activation.
    """
    return EDGE_COLOURS[
        (
            {"z": "affine", "a": "activation"}.get(name[0], "affine")
            if name[1:].isdecimal()
            else name.split("_")[0]
        )
    ]


def rows(ax, names: Sequence[str], label: str, title: str):
    """Named rows from the top, a grid across the values; decades alone are ticked."""
    if ax.get_xscale() == "log":
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(
        range(len(names)),
        [f"${n[0]}^{n[1:]}$" if n[1:].isdecimal() else n.replace("_", " ") for n in names],
    )
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.set(xlabel=label, title=title)
    return ax


def boxes(
    quantiles: Mapping[str, Mapping[str, Numbers]], ax=None, label: str = "", title: str = ""
):
    """One group of boxes an edge on a log axis: quantiles[series][edge] = (5 %, 25 %, 50 %, 75 %,
    95 %).
    """
    ax = plt.gca() if ax is None else ax
    names, height = list(next(iter(quantiles.values()))), 0.8 / len(quantiles)
    for series, (name, row) in enumerate(quantiles.items()):
        stats = [
            dict(zip(("whislo", "q1", "med", "q3", "whishi"), row[e]), fliers=[]) for e in names
        ]
        place = np.arange(len(names)) + (series - (len(quantiles) - 1) / 2) * height
        drawn = ax.bxp(
            stats,
            positions=place,
            widths=0.8 * height,
            orientation="horizontal",
            patch_artist=True,
            showfliers=False,
            manage_ticks=False,
            boxprops={"facecolor": SHADES[series], "linewidth": 0.8},
            medianprops={"color": "white", "linewidth": 2, "path_effects": OUTLINED},
            whiskerprops={"linewidth": 0.8},
            capprops={"linewidth": 0.8},
        )
        drawn["boxes"][0].set_label(name)
    ax.set_xscale("log")
    return rows(ax, names, label, title)


def spreads(
    rows_of: Mapping[str, Mapping[str, Numbers]], ax=None, label: str = "", title: str = ""
):
    """Mean (marker) and mean + one standard deviation (tick) on a log axis: rows_of[series][row] =
    (mean, std).
    """
    ax = plt.gca() if ax is None else ax
    names, height = list(next(iter(rows_of.values()))), 0.7 / len(rows_of)
    for series, (name, row) in enumerate(rows_of.items()):
        place = np.arange(len(names)) + (series - (len(rows_of) - 1) / 2) * height
        mean, std = np.array([row[n] for n in names]).T
        colour = METHOD_COLOURS.get(name.split(",")[0], SERIES[series])
        ax.errorbar(
            mean,
            place,
            xerr=[np.zeros(len(mean)), std],
            fmt=MARKERS[series],
            color=colour,
            markersize=6,
            capsize=4,
            linewidth=1.4,
            markerfacecolor="white" if series % 2 else colour,
            label=name,
        )
    ax.set_xscale("log")
    return rows(ax, names, label, title)


def unit_discord(values: Mapping[str, Numbers], ax=None, label: str = "", title: str = ""):
    """A number for every unit on a log axis, units in falling order, one series a method."""
    ax = plt.gca() if ax is None else ax
    for series, (name, numbers) in enumerate(values.items()):
        ax.semilogy(
            np.arange(1, len(numbers) + 1),
            np.sort(numbers)[::-1],
            MARKERS[series],
            color=METHOD_COLOURS[name],
            markersize=4.5,
            markerfacecolor="white" if series else METHOD_COLOURS[name],
            label=name,
        )
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="hidden unit, by rank", ylabel=label, title=title)
    return ax


def null_bands(
    observed: Mapping[str, Mapping[str, float]],
    null: Mapping[str, Mapping[str, Numbers]],
    ax=None,
    label: str = "",
    title: str = "",
):
    """Observed means (markers), observed[method][edge], beside a null's (5, 50, 95 %),
    null[method][edge] (bar, tick at 50 %).
    """
    ax = plt.gca() if ax is None else ax
    names, height = list(next(iter(observed.values()))), 0.8 / len(observed)
    for series, name in enumerate(observed):
        place = np.arange(len(names)) + (series - (len(observed) - 1) / 2) * height
        low, median, high = np.array([null[name][e] for e in names]).T
        ax.barh(
            place,
            high - low,
            0.7 * height,
            left=low,
            color=METHOD_COLOURS[name],
            alpha=0.35,
            label=f"{name}, null",
        )
        ax.plot(median, place, "|", color="black", markersize=10, markeredgewidth=1.5)
        ax.plot(
            [observed[name][e] for e in names],
            place,
            MARKERS[series],
            color=METHOD_COLOURS[name],
            markersize=7,
            label=f"{name}, observed",
        )
    ax.set_xscale("log")
    return rows(ax, names, label, title)


def ratios(
    values: Mapping[str, Mapping[str, float]],
    lines: Mapping[str, float],
    ax=None,
    label: str = "",
    title: str = "",
):
    """One marker an edge and method on a log axis, and a vertical line a method for what they are
    compared with.
    """
    ax = plt.gca() if ax is None else ax
    names = list(next(iter(values.values())))
    for series, (name, row) in enumerate(values.items()):
        ax.axvline(
            lines[name],
            color=METHOD_COLOURS[name],
            linestyle=STYLES[series + 1],
            linewidth=1.2,
            label=f"{name}, its loss",
        )
        ax.plot(
            [row[e] for e in names],
            range(len(names)),
            MARKERS[series],
            color=METHOD_COLOURS[name],
            markersize=7,
            label=f"{name}, its edges",
        )
    ax.set_xscale("log")
    return rows(ax, names, label, title)


def curves(
    step,
    values: Mapping[str, Numbers],
    ax=None,
    unit: float = 1.0,
    label: str = "",
    title: str = "",
):
    """Named curves on a log axis along training, a marker at every record."""
    ax = plt.gca() if ax is None else ax
    for series, (name, numbers) in enumerate(values.items()):
        ax.semilogy(
            np.asarray(step) / unit,
            numbers,
            MARKERS[series] + STYLES[series],
            color=kind_colour(name),
            markersize=4,
            linewidth=1.2,
            label=f"${name[0]}^{name[1:]}$",
        )
    ax.set(xlabel="thousand steps" if unit == 1000 else "step", ylabel=label, title=title)
    return ax
