"""Diagnostics in pictures: spectra along training, where eigenvectors live, discord by edge, unit
and sample, nulls, faults.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from sheaflib.plots.palette import EDGE_COLOURS, SERIES

GOLDEN = 0.6180339887498949  # its multiples fill an interval evenly: jitter without chance
MARKERS = ("o", "s", "^", "D", "v", "P")
SHADES = ("#9ecae1", "#4292c6", "#08306b")  # early to late: one hue, told apart by lightness
METHODS = {"sheaf": SERIES[0], "gradient descent": SERIES[1]}
STYLES = ("-", "--", ":", "-.")
NETWORKS = ("1H, sheaf", "1H, GD", "3H, sheaf", "3H, GD")
DETECTORS = ("pinned discord", "frozen pattern", "pinned, jump", "kept stalks", "loss", "gradient")
NULL = "0.55"


def bands(step, quartiles: Mapping[str, Sequence], ax=None, unit: float = 1.0, label: str = ""):
    """Median (line) and quartiles (band) on a log axis along training: name of a method -> (3, R),
    lowest first.
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    for series, (name, (low, median, high)) in enumerate(quartiles.items()):
        ax.fill_between(place, low, high, color=METHODS[name], alpha=0.25, linewidth=0)
        ax.semilogy(place, median, STYLES[series], color=METHODS[name], label=name)
    ax.yaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)),
        minor_locator=NullLocator(),
        major_formatter=FuncFormatter(lambda value, _: f"{value:g}"),
    )
    ax.set(xlabel="thousand steps" if unit == 1000 else "step", ylabel=label)
    return ax


def histograms(
    edges, counts: Mapping[str, Sequence[int]], ax=None, label: str = "", title: str = ""
):
    """Counts between common bin edges, one outline a method."""
    ax = plt.gca() if ax is None else ax
    for series, (name, values) in enumerate(counts.items()):
        ax.stairs(values, edges, fill=True, color=METHODS[name], alpha=0.3)
        ax.stairs(
            values, edges, color=METHODS[name], linewidth=1.5, linestyle=STYLES[series], label=name
        )
    ax.set(xlabel=label, ylabel="inputs", title=title)
    return ax


def block_energies(energies: Mapping[str, Mapping[str, float]], ax=None, title: str = ""):
    """One group of bars a block of the cochain, one colour a series: energies[series][block], which
    add up to 1 in a series.
    """
    ax = plt.gca() if ax is None else ax
    blocks, width = list(next(iter(energies.values()))), 0.8 / len(energies)
    for series, (name, row) in enumerate(energies.items()):
        place = np.arange(len(blocks)) + (series - (len(energies) - 1) / 2) * width
        ax.bar(place, [row[b] for b in blocks], width, color=SHADES[series], label=name)
    ax.set_xticks(range(len(blocks)), [f"${b[0]}^{b[1:]}$" for b in blocks])
    ax.set(ylim=(0, 1), title=title)
    return ax


def strips(values: Mapping[str, Sequence[float]], ax=None, label: str = "", title: str = ""):
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
    quantiles: Mapping[str, Mapping[str, Sequence[float]]],
    ax=None,
    label: str = "",
    title: str = "",
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
            medianprops={"color": "#E69F00", "linewidth": 2},
            whiskerprops={"linewidth": 0.8},
            capprops={"linewidth": 0.8},
        )
        drawn["boxes"][0].set_label(name)
    ax.set_xscale("log")
    return rows(ax, names, label, title)


def spreads(
    rows_of: Mapping[str, Mapping[str, Sequence[float]]], ax=None, label: str = "", title: str = ""
):
    """Mean (marker) and mean + one standard deviation (tick) on a log axis: rows_of[series][row] =
    (mean, std).
    """
    ax = plt.gca() if ax is None else ax
    names, height = list(next(iter(rows_of.values()))), 0.7 / len(rows_of)
    for series, (name, row) in enumerate(rows_of.items()):
        place = np.arange(len(names)) + (series - (len(rows_of) - 1) / 2) * height
        mean, std = np.array([row[n] for n in names]).T
        colour = METHODS.get(name.split(",")[0], SERIES[series])
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


def unit_discord(values: Mapping[str, Sequence[float]], ax=None, label: str = "", title: str = ""):
    """A number for every unit on a log axis, units in falling order, one series a method."""
    ax = plt.gca() if ax is None else ax
    for series, (name, numbers) in enumerate(values.items()):
        ax.semilogy(
            np.arange(1, len(numbers) + 1),
            np.sort(numbers)[::-1],
            MARKERS[series],
            color=METHODS[name],
            markersize=4.5,
            markerfacecolor="white" if series else METHODS[name],
            label=name,
        )
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="hidden unit, by rank", ylabel=label, title=title)
    return ax


def null_bands(
    observed: Mapping[str, Mapping[str, float]],
    null: Mapping[str, Mapping[str, Sequence[float]]],
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
            color=METHODS[name],
            alpha=0.35,
            label=f"{name}, null",
        )
        ax.plot(median, place, "|", color="black", markersize=10, markeredgewidth=1.5)
        ax.plot(
            [observed[name][e] for e in names],
            place,
            MARKERS[series],
            color=METHODS[name],
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
            color=METHODS[name],
            linestyle=STYLES[series + 1],
            linewidth=1.2,
            label=f"{name}, its loss",
        )
        ax.plot(
            [row[e] for e in names],
            range(len(names)),
            MARKERS[series],
            color=METHODS[name],
            markersize=7,
            label=f"{name}, its edges",
        )
    ax.set_xscale("log")
    return rows(ax, names, label, title)


def curves(
    step,
    values: Mapping[str, Sequence[float]],
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
            color=SERIES[series],
            markersize=4,
            linewidth=1.2,
            label=f"${name[0]}^{name[1:]}$",
        )
    ax.set(xlabel="thousand steps" if unit == 1000 else "step", ylabel=label, title=title)
    return ax


def auroc(
    found: Mapping[str, Mapping[str, Sequence[float]]],
    null: Mapping[str, Mapping[str, Sequence[float]]],
    ax=None,
    title: str = "",
):
    """One row a detector, one mark a network at the mean AUROC, a line over 10–90 % of the trials,
    the null's in grey below each.

    found[network][detector] and null[network][detector] are (10 %, mean, 90 %); a missing detector
    is left out.
    """
    ax = plt.gca() if ax is None else ax
    detectors = [d for d in DETECTORS if any(d in row for row in found.values())]
    height = 0.72 / len(found)
    ax.axvline(0.5, color="0.3", linewidth=1, linestyle=":")
    for series, (name, row) in enumerate(found.items()):
        which = NETWORKS.index(name)
        for shift, values, colour, size in (
            (0.16, null.get(name, {}), NULL, 3),
            (-0.16, row, SERIES[which], 4.5),
        ):
            place = [
                detectors.index(d) + (series - (len(found) - 1) / 2 + shift) * height
                for d in values
            ]
            low, mean, high = np.array(list(values.values())).reshape(-1, 3).T
            ax.hlines(place, low, high, color=colour, linewidth=1.4)
            ax.plot(
                mean,
                place,
                MARKERS[which],
                color=colour,
                markersize=size,
                linestyle="none",
                label=name if colour != NULL else None,
            )
    ax.set_xlim(-0.04, 1.04)
    return rows(ax, detectors, "AUROC", title)


def by_layer(found: Mapping[str, Sequence[float]], ax=None, title: str = ""):
    """Mean AUROC against the number of the faulty layer, one line a detector; found[detector] is
    (layers,).
    """
    ax = plt.gca() if ax is None else ax
    ax.axhline(0.5, color="0.3", linewidth=1, linestyle=":")
    for series, (name, values) in enumerate(found.items()):
        ax.plot(
            range(1, len(values) + 1),
            values,
            MARKERS[series] + STYLES[series],
            color=SERIES[series],
            label=name,
        )
    ax.set_xticks(range(1, len(values) + 1))
    ax.set(xlabel="faulty layer", ylabel="AUROC", ylim=(-0.04, 1.04), title=title)
    return ax
