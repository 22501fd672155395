"""Coboundaries and Laplacians as heat maps with their blocks named, and the nonzeros of the big
ones (paper §1, eq. A.5).
"""

from __future__ import annotations

from typing import Mapping

import numpy as np

from sheaflib.plots.schematic import math_name
from sheaflib.sheaves.layout import Layout
from sheaflib.support.extras import needs

with needs("sheaflib.plots", "plots"):
    import matplotlib.pyplot as plt

with needs("sheaflib.plots.matrices", "plots"):
    import seaborn as sns


SHADES = 21  # few enough to be told apart, and to stay as they are in a PNG with a palette


def block_matrix(
    matrix,
    rows: Layout,
    columns: Layout,
    ax=None,
    names: Mapping[tuple[str, str], str] | None = None,
    limit: float | None = None,
):
    """A small matrix as a heat map centred at 0, zeros left white, lines between the blocks of
    `rows` and `columns`, and names written into blocks.

    matrix: (rows.size, columns.size) dense; names: (row block, column block) -> mathtext; limit:
    the value of the darkest colour.
    """
    ax = plt.subplots(figsize=(5, 4.2))[1] if ax is None else ax
    limit = float(np.abs(matrix).max()) if limit is None else limit
    colours = sns.color_palette("vlag", as_cmap=True).resampled(SHADES)
    sns.heatmap(
        matrix,
        mask=np.asarray(matrix) == 0,
        ax=ax,
        cmap=colours,
        vmin=-limit,
        vmax=limit,
        square=True,
        linewidths=0.4,
        linecolor="#e6e6e6",
        cbar_kws={"shrink": 0.8, "label": "entry"},
    )
    _frame(ax, rows, columns)
    for (row, column), text in (names or {}).items():
        r, c = rows[row], columns[column]
        corner = min(c.stop - c.start, r.stop - r.start) > 2  # off the diagonal of a big block
        place = (
            (c.stop - 0.2, r.start + 0.2)
            if corner
            else ((c.start + c.stop) / 2, (r.start + r.stop) / 2)
        )
        ax.text(
            *place,
            f"${text}$",
            ha="right" if corner else "center",
            va="top" if corner else "center",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85},
        )
    return ax


def nonzeros(rows, columns, blocks: Layout, ax=None):
    """Some nonzeros of a big square matrix as dots, at (rows, columns), with lines between its
    blocks and the diagonal drawn.
    """
    ax = plt.subplots(figsize=(5, 5))[1] if ax is None else ax
    ax.plot([0, blocks.size], [0, blocks.size], color="#d55e00", lw=0.8, label="diagonal: all ones")
    ax.plot(
        columns,
        rows,
        ".",
        ms=2.5,
        color="#0072b2",
        rasterized=True,
        label="entries below it (a sample)",
    )
    ax.set_xlim(0, blocks.size)
    ax.set_ylim(blocks.size, 0)
    ax.set_aspect("equal")
    _frame(ax, blocks, blocks, width=0.5, least=0.03)
    ax.legend(
        loc="upper right",
        fontsize=8.5,
        frameon=True,
        framealpha=1,
        edgecolor="none",
        borderaxespad=0.7,
    )
    return ax


def _frame(ax, rows: Layout, columns: Layout, width: float = 1.3, least: float = 0.0) -> None:
    """Lines at the ends of the blocks and the blocks' names as ticks; names of blocks shorter than
    `least` of the side are left out.
    """
    for axis, layout, line in ((ax.yaxis, rows, ax.axhline), (ax.xaxis, columns, ax.axvline)):
        blocks = layout.slices.items()
        for _, s in blocks:
            line(s.stop, color="#333333", lw=width)
        line(0, color="#333333", lw=width)
        named = [
            (name if " " in name else f"${math_name(name)}$", (s.start + s.stop) / 2)
            for name, s in blocks
            if s.stop - s.start >= least * layout.size
        ]
        axis.set_ticks([place for _, place in named], [name for name, _ in named], rotation=0)
        axis.set_tick_params(length=0, labelsize=10)
    ax.xaxis.tick_top()
    ax.spines[:].set_visible(False)
