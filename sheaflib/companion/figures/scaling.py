"""Pictures of scaling laws: loss against β, brackets of Euler's limit, time against depth."""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from sheaflib.plots.palette import SERIES

MARKERS = ("o", "s", "^", "D", "v", "P")


def beta_law(beta_n, losses, ax=None, label: str = "", series: int = 0):
    """Final loss against βn: losses (len(beta_n), seeds), a mark a seed, a line through their
    medians; NaN where a run diverged.
    """
    ax = plt.gca() if ax is None else ax
    losses, colour = np.asarray(losses, dtype=float), SERIES[series]
    known = ~np.isnan(losses).any(axis=1)
    beta_n = np.asarray(beta_n, dtype=float)
    ax.loglog(
        beta_n[known],
        np.median(losses[known], axis=1),
        MARKERS[series] + "-",
        color=colour,
        markersize=4,
        label=label,
    )
    for column in losses.T:
        ax.loglog(
            beta_n, column, MARKERS[series], color=colour, markersize=4, alpha=0.7, linestyle="none"
        )
    ax.set(xlabel="βn", ylabel="test MSE")
    return ax


def bands(edges: Sequence[float], names: Sequence[str], ax=None, at: float = 0.96):
    """Vertical lines at `edges` and a name between each two, at a height given in parts of the
    axis.
    """
    ax = plt.gca() if ax is None else ax
    low, high = ax.get_xlim()
    ends = [low, *edges, high]
    for edge in edges:
        ax.axvline(edge, color="0.5", linewidth=1, linestyle=":")
    for left, right, name in zip(ends, ends[1:], names):
        ax.text(
            np.sqrt(left * right),
            at,
            name,
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize="small",
            color="0.3",
        )
    ax.set_xlim(low, high)
    return ax


def brackets(found: Mapping[str, tuple[float, float]], predicted: Mapping[str, float], ax=None):
    """One row a setting: the bracket [last that trains, first that diverges] over its prediction; 1
    is the prediction.
    """
    ax = plt.gca() if ax is None else ax
    for row, (name, ends) in enumerate(found.items()):
        ax.plot(
            np.array(ends) / predicted[name],
            [row, row],
            "|-",
            color=SERIES[0],
            linewidth=3,
            markersize=10,
        )
    ax.axvline(1, color="#000000", linewidth=1, linestyle="--")
    ax.set_yticks(range(len(found)), found)
    ax.invert_yaxis()
    return ax


def spread_curves(x, values: Mapping[str, np.ndarray], ax=None, label: str = ""):
    """One curve a name through the medians of values[name] (len(x), runs), a shade from the
    smallest to the largest run.
    """
    ax = plt.gca() if ax is None else ax
    for series, (name, runs) in enumerate(values.items()):
        runs = np.asarray(runs, dtype=float)
        ax.loglog(
            x,
            np.median(runs, axis=1),
            MARKERS[series] + "-",
            color=SERIES[series],
            markersize=5,
            label=name,
        )
        ax.fill_between(
            x, runs.min(axis=1), runs.max(axis=1), color=SERIES[series], alpha=0.15, linewidth=0
        )
    ax.set_ylabel(label)
    return ax


def by_depth(depth, values, ax=None, censored=None, series: int = 0, ylabel: str = ""):
    """Values (depths, runs) as points on a log axis, their medians as a line; runs that never got
    there as open triangles at `censored`.
    """
    ax = plt.gca() if ax is None else ax
    values = np.asarray(values, dtype=float)
    shift = np.linspace(-0.2, 0.2, values.shape[1])
    for place, row in zip(depth, values):
        there = np.isfinite(row)
        ax.semilogy(
            (place + shift)[there],
            row[there],
            "o",
            color=SERIES[series],
            markersize=4,
            alpha=0.7,
            linestyle="none",
        )
        ax.semilogy(
            (place + shift)[~there],
            np.full((~there).sum(), censored or np.nan),
            "^",
            color=SERIES[series],
            markersize=5,
            fillstyle="none",
            linestyle="none",
        )
    medians = np.median(np.where(np.isfinite(values), values, np.inf), axis=1)
    medians[~np.isfinite(medians)] = np.nan
    ax.semilogy(depth, medians, color=SERIES[series])
    ax.set(xlabel="hidden layers", ylabel=ylabel, xticks=list(depth))
    return ax
