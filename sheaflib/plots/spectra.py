"""Determinants and spectra over patterns, networks and the cube of sliding modes: the pictures of Lemma 3.2."""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.patches import Patch

from sheaflib.plots import EDGE_COLOURS

BLUE, ORANGE = "#0072B2", "#D55E00"


def entries(rows, columns, kinds: Sequence[str], size: int, ax=None):
    """The entries of δ_Ω at (rows, columns), coloured by the kind of the edge they belong to; the unit diagonal is drawn black."""
    ax = plt.gca() if ax is None else ax
    marker = max(0.5, 200 / size)
    for kind in dict.fromkeys(kinds):
        own = [i for i, k in enumerate(kinds) if k == kind]
        ax.plot(np.take(columns, own), np.take(rows, own), "s", ms=marker, color=EDGE_COLOURS[kind], rasterized=True)
    ax.plot(np.arange(size), np.arange(size), "s", ms=marker, color="black", rasterized=True)
    ax.set(xlim=(-1, size), ylim=(size, -1), aspect="equal", xlabel="coordinate of Ω", ylabel="coordinate of C¹")
    handles = [Patch(color="black", label="1 on the diagonal")]
    handles += [Patch(color=EDGE_COLOURS[k], label=f"{k} edges") for k in EDGE_COLOURS if k in kinds]
    ax.legend(handles=handles, loc="upper right")
    return ax


def running_products(low, high, curves, ax=None):
    """Running products of pivots on a log₂ scale: the band low … high (n,) over all patterns and some of the curves (K, n)."""
    ax = plt.gca() if ax is None else ax
    step = np.arange(len(low))
    ax.fill_between(step, low, high, color=BLUE, alpha=0.15, linewidth=0, label="all patterns")
    for i, curve in enumerate(curves):
        ax.plot(step, curve, color=BLUE, linewidth=0.9, alpha=0.8, label="some of them" if i == 0 else None)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.plot(step[-1], 0, "o", color=ORANGE, ms=8, zorder=3, label="the end: exactly 0, for every pattern")
    ax.set(xlabel="pivots multiplied so far", ylabel="log₂ of their product", xticks=step[::3])
    ax.legend(loc="upper left")
    return ax


def spectra(smallest: Mapping[str, Sequence[float]], largest: Mapping[str, Sequence[float]], bounds: Mapping[str, float],
            forward: Mapping[str, tuple[float, float]] | None = None, ax=None):
    """λ₁ and λ_max over patterns, one row a network on a log scale, with the pattern-free bound and the forward pass's own pair."""
    ax = plt.gca() if ax is None else ax
    for values, colour in ((smallest, BLUE), (largest, ORANGE)):
        sns.violinplot(data=dict(values), orient="h", log_scale=True, color=colour, inner=None, cut=0, linewidth=0.6,
                       density_norm="width", width=0.75, ax=ax)
    for row, name in enumerate(smallest):
        ax.plot(bounds[name], row, "|", color="black", ms=20, mew=2)
        ax.plot((forward or {}).get(name, ()), [row] * len((forward or {}).get(name, ())), "o", color="white", mec="black", ms=6)
    ax.axvline(1, color="black", linewidth=0.8, linestyle="--")
    ax.set(xlabel="eigenvalue of L", ylabel="")
    handles = [Patch(color=BLUE, label="λ₁"), Patch(color=ORANGE, label="λ_max"),
               plt.Line2D([], [], marker="|", ls="", color="black", ms=11, mew=2, label="bound"),
               plt.Line2D([], [], marker="o", ls="", color="white", mec="black", label="the forward pass's pattern")]
    ax.legend(handles=handles, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def sizes(width, depth, merged: Sequence[bool], ax=None):
    """Widest layer against depth of many networks (jittered by the caller), chains and networks with merges apart."""
    ax = plt.gca() if ax is None else ax
    for flag, colour, marker, label in ((False, BLUE, "o", "chain"), (True, EDGE_COLOURS["projection"], "^", "with merges")):
        own = [i for i, m in enumerate(merged) if m == flag]
        ax.plot(np.take(width, own), np.take(depth, own), marker, ms=3.5, alpha=0.6, mew=0, color=colour, label=label, rasterized=True)
    ax.set(xscale="log", xlabel="widest layer", ylabel="layers on the longest path")
    ax.legend(loc="upper right", frameon=True)
    return ax


def extremes_by_weights(smallest: Mapping[str, Sequence[float]], largest: Mapping[str, Sequence[float]], ax=None):
    """log₁₀ λ₁ and log₁₀ λ_max of random networks, one row a kind of weights."""
    ax = plt.gca() if ax is None else ax
    for values, colour in ((smallest, BLUE), (largest, ORANGE)):
        sns.stripplot(data=dict(values), orient="h", color=colour, size=3, alpha=0.6, jitter=0.3, ax=ax, rasterized=True)
    ax.axvline(0, color="black", linewidth=0.8, linestyle="--")
    ax.set(xlabel="log₁₀ of the eigenvalue", ylabel="")
    handles = [plt.Line2D([], [], marker="o", ls="", color=c, label=name) for c, name in ((BLUE, "λ₁"), (ORANGE, "λ_max"))]
    ax.legend(handles=handles, loc="upper left")
    return ax


def face(s, values, labels: tuple[str, str], ax=None):
    """λ₁ on one square face of the cube of sliding modes: values (n, n) at s × s, the four patterns marked at the corners."""
    ax = plt.gca() if ax is None else ax
    filled = ax.contourf(s, s, np.transpose(values), levels=12, cmap="cividis")
    ax.plot([0, 1, 0, 1], [0, 0, 1, 1], "o", color="white", mec="black", ms=7, clip_on=False, zorder=3)
    ax.set(xlabel=f"s of {labels[0]}", ylabel=f"s of {labels[1]}", aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    ax.figure.colorbar(filled, ax=ax, label="λ₁", shrink=0.85)
    return ax


def by_place(values: Mapping[str, Sequence[float]], ax=None, xlabel: str = "λ₁"):
    """A distribution a row: λ₁ at vertices, on edges, inside the cube."""
    ax = plt.gca() if ax is None else ax
    sns.violinplot(data=dict(values), orient="h", color="#56B4E9", inner="quart", cut=0, linewidth=0.8, density_norm="width", ax=ax)
    ax.set(xlabel=xlabel, ylabel="", xlim=(0, None))
    return ax


def against_bound(values, bounds, merged: Sequence[bool], ax=None):
    """λ_max of many networks against the pattern-free bound, on logarithmic axes; nothing lies above the line."""
    ax = plt.gca() if ax is None else ax
    for flag, colour, marker, label in ((False, BLUE, "o", "chain"), (True, EDGE_COLOURS["projection"], "^", "with merges")):
        own = [i for i, m in enumerate(merged) if m == flag]
        ax.loglog(np.take(bounds, own), np.take(values, own), marker, ms=4, alpha=0.7, mew=0, color=colour, label=label, rasterized=True)
    ends = [min(values), max(bounds)]
    ax.plot(ends, ends, color="black", linewidth=0.8, label="λ_max = bound")
    ax.set(xlabel="the pattern-free bound", ylabel="λ_max")
    ax.legend(loc="upper left")
    return ax


def smallest_by_depth(depth, values, dense_depth, dense, ax=None):
    """λ₁ of chains against their number of layers: all seeds as a band around the median, dense solutions as rings."""
    ax = plt.gca() if ax is None else ax
    sns.lineplot(x=np.ravel(depth), y=np.ravel(values), estimator="median", errorbar=("pi", 100), color=BLUE, ax=ax,
                 label="from substitutions (median, all seeds)")
    ax.plot(dense_depth, dense, "o", mfc="none", color=ORANGE, ms=8, mew=1.5, label="dense eigenvalues, one seed")
    ax.set(yscale="log", xlabel="layers", ylabel="λ₁ at the forward pass")
    ax.legend()
    return ax
