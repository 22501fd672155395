"""Determinants and spectra over patterns, networks and the cube of sliding modes: the pictures of
Lemma 3.2.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import numpy as np

from sheaflib.plots.palette import EDGE_COLOURS
from sheaflib.support.extras import needs

with needs("sheaflib.plots", "plots"):
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

with needs("sheaflib.plots.spectra", "plots"):
    import seaborn as sns

BLUE, ORANGE = "#0072B2", "#D55E00"
SMALLEST, LARGEST = r"$\lambda_1$", r"$\lambda_{\max}$"


def jitter(n: int) -> np.ndarray:
    """n offsets in ±0.3 that spread points across their row, the same in every run: multiples of
    the golden ratio.
    """
    return 0.6 * (np.arange(n) * 0.6180339887 % 1 - 0.5)


def entries(rows, columns, kinds: Sequence[str], size: int, ax=None):
    """The entries of δ_Ω at (rows, columns), coloured by the kind of the edge they belong to; the
    unit diagonal is drawn black.
    """
    ax = plt.gca() if ax is None else ax
    picture = np.ones((size, size, 3))
    picture[rows, columns] = [to_rgb(EDGE_COLOURS[kind]) for kind in kinds]
    picture[np.arange(size), np.arange(size)] = 0
    ax.imshow(picture, interpolation="nearest")
    ax.set(xlabel="coordinate of Ω", ylabel="coordinate of C¹")
    handles = [Patch(color="black", label="1 on the diagonal")]
    handles += [
        Patch(color=EDGE_COLOURS[k], label=f"{k} edges") for k in EDGE_COLOURS if k in kinds
    ]
    ax.legend(handles=handles, loc="upper right")
    return ax


def running_products(low, high, curves, ax=None):
    """Running products of pivots on a log₂ scale: the band low … high (n,) over all patterns and
    some of the curves (K, n).
    """
    ax = plt.gca() if ax is None else ax
    step = np.arange(len(low))
    ax.fill_between(step, low, high, color=BLUE, alpha=0.15, linewidth=0, label="all patterns")
    for i, curve in enumerate(curves):
        ax.plot(
            step,
            curve,
            color=BLUE,
            linewidth=0.9,
            alpha=0.8,
            label="some of them" if i == 0 else None,
        )
    ax.axhline(0, color="black", linewidth=0.8)
    ax.plot(
        step[-1],
        0,
        "o",
        color=ORANGE,
        ms=8,
        zorder=3,
        label="the end: exactly 0, for every pattern",
    )
    ax.set(xlabel="pivots multiplied so far", ylabel=r"$\log_2$ of their product", xticks=step[::3])
    ax.legend(loc="upper left")
    return ax


def spectra(
    smallest: Mapping[str, Sequence[float] | np.ndarray],
    largest: Mapping[str, Sequence[float] | np.ndarray],
    bounds: Mapping[str, float],
    forward: Mapping[str, tuple[float, float]] | None = None,
    ax=None,
):
    """λ₁ and λ_max over patterns, one row a network on a log scale, with the pattern-free bound and
    the forward pass's own pair.
    """
    ax = plt.gca() if ax is None else ax
    for values, colour in ((smallest, BLUE), (largest, ORANGE)):
        sns.violinplot(
            data=dict(values),
            orient="h",
            log_scale=True,
            color=colour,
            inner=None,
            cut=0,
            linewidth=1.5,
            linecolor=colour,
            saturation=1,
            density_norm="width",
            width=0.75,
            ax=ax,
        )
    for row, name in enumerate(smallest):
        ax.plot(bounds[name], row, "|", color="black", ms=20, mew=2)
        ax.plot(
            (forward or {}).get(name, ()),
            [row] * len((forward or {}).get(name, ())),
            "o",
            color="white",
            mec="black",
            ms=6,
        )
    ax.axvline(1, color="black", linewidth=0.8, linestyle="--")
    ax.set(xlabel="eigenvalue of $L$", ylabel="")
    handles = [
        Patch(color=BLUE, label=SMALLEST),
        Patch(color=ORANGE, label=LARGEST),
        plt.Line2D([], [], marker="|", ls="", color="black", ms=11, mew=2, label="bound"),
        plt.Line2D(
            [],
            [],
            marker="o",
            ls="",
            color="white",
            mec="black",
            label="the forward pass's pattern",
        ),
    ]
    ax.legend(handles=handles, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def extremes_by_weights(
    smallest: Mapping[str, Sequence[float] | np.ndarray],
    largest: Mapping[str, Sequence[float] | np.ndarray],
    ax=None,
):
    """log₁₀ λ₁ and log₁₀ λ_max of random networks, one row a kind of weights."""
    ax = plt.gca() if ax is None else ax
    for row, name in enumerate(smallest):
        ax.plot(
            smallest[name],
            row + jitter(len(smallest[name])),
            "o",
            ms=3.5,
            mew=0,
            alpha=0.6,
            color=BLUE,
            rasterized=True,
        )
        ax.plot(
            largest[name],
            row + jitter(len(largest[name])),
            "o",
            ms=3.5,
            mew=0,
            alpha=0.6,
            color=ORANGE,
            rasterized=True,
        )
    ax.set_yticks(range(len(smallest)), list(smallest))
    ax.invert_yaxis()
    ax.axvline(0, color="black", linewidth=0.8, linestyle="--")
    ax.set(xlabel=r"$\log_{10}$ of the eigenvalue", ylabel="")
    handles = [
        plt.Line2D([], [], marker="o", ls="", color=c, label=name)
        for c, name in ((BLUE, SMALLEST), (ORANGE, LARGEST))
    ]
    ax.legend(handles=handles, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def face(s, values, labels: tuple[str, str], ax=None):
    """λ₁ on one square face of the cube of sliding modes: values (n, n) at s × s, the four patterns
    marked at the corners.
    """
    ax = plt.gca() if ax is None else ax
    filled = ax.contourf(s, s, np.transpose(values), levels=12, cmap="cividis")
    ax.plot(
        [0, 1, 0, 1], [0, 0, 1, 1], "o", color="white", mec="black", ms=7, clip_on=False, zorder=3
    )
    ax.set(
        xlabel=f"s of {labels[0]}",
        ylabel=f"s of {labels[1]}",
        aspect="equal",
        xticks=(0, 0.5, 1),
        yticks=(0, 0.5, 1),
    )
    ax.figure.colorbar(filled, ax=ax, label=SMALLEST, shrink=0.85)
    return ax


def by_place(values: Mapping[str, Sequence[float] | np.ndarray], ax=None, xlabel: str = SMALLEST):
    """A distribution a row: λ₁ at vertices, on edges, inside the cube."""
    ax = plt.gca() if ax is None else ax
    sns.violinplot(
        data=dict(values),
        orient="h",
        color="#56B4E9",
        inner="quart",
        cut=0,
        saturation=1,
        linewidth=0.8,
        density_norm="width",
        ax=ax,
    )
    ax.set(xlabel=xlabel, ylabel="", xlim=(0, None))
    return ax


def smallest_by_depth(depth, values, dense_depth, dense, ax=None):
    """λ₁ of chains against their number of layers: all seeds as a band around the median, dense
    solutions as rings.
    """
    ax = plt.gca() if ax is None else ax
    sns.lineplot(
        x=np.ravel(depth),
        y=np.ravel(values),
        estimator="median",
        errorbar=("pi", 100),
        color=BLUE,
        ax=ax,
        label="from substitutions (median, all seeds)",
    )
    ax.plot(
        dense_depth,
        dense,
        "o",
        mfc="none",
        color=ORANGE,
        ms=8,
        mew=1.5,
        label="dense eigenvalues, one seed",
    )
    ax.set(yscale="log", xlabel="layers", ylabel=f"{SMALLEST} at the forward pass")
    ax.legend()
    return ax
