"""The figures of notebook 01: networks drawn as sheaves, their coboundary and Laplacian in blocks,
and harmonic extension on a path.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.plots.matrices import block_matrix, nonzeros
from sheaflib.plots.schematic import schematic
from sheaflib.sheaves.layout import Layout
from sheaflib.sheaves.neural import NeuralSheaf

ENTRIES = 99  # of each edge of a convolutional network that are drawn
COLUMNS = Layout(("x", "1", "z1", "a1", "1'", "z2"), (2, 4, 4, 4, 1, 1))
ROWS = Layout(("affine 1", "activation 1", "affine 2"), (4, 4, 1))
BLOCKS = {
    ("affine 1", "x"): "-W^1",
    ("affine 1", "1"): r"-\mathrm{diag}\,b^1",
    ("affine 1", "z1"): "I",
    ("activation 1", "z1"): "-R",
    ("activation 1", "a1"): "I",
    ("affine 2", "a1"): "-W^2",
    ("affine 2", "1'"): "-b^2",
    ("affine 2", "z2"): "I",
}
GIVEN = Layout(("x", "1", "1'"), (2, 4, 1))
FREE_BLOCKS = {
    ("z1", "z1"): "I+R",
    ("z1", "a1"): "-R",
    ("a1", "z1"): "-R",
    ("a1", "a1"): r"I+W^{2\top}W^2",
    ("a1", "z2"): r"-W^{2\top}",
    ("z2", "a1"): "-W^2",
    ("z2", "z2"): "I",
}
BOUNDARY_BLOCKS = {
    ("z1", "x"): "-W^1",
    ("z1", "1"): r"-\mathrm{diag}\,b^1",
    ("a1", "1'"): r"W^{2\top}b^2",
    ("z2", "1'"): "-b^2",
}


def sizes(sheaf: NeuralSheaf) -> dict:
    """The dimensions of the extended stalks and of the edges, by name."""
    extended = sheaf.extended.layout
    return {
        "stalks": dict(zip(extended.names, extended.dims)),
        "edges": {edge.name: edge.dim for edge in sheaf.edges},
    }


def as_sheaf(sheaf: NeuralSheaf, **options) -> Figure:
    """The graph of a network with its stalks and restriction maps. Figures 01-schematic-2x4x1 and
    01-residual-block. options: those of `schematic`.
    """
    fig = schematic(sheaf, **options).figure
    fig.numbers = sizes(sheaf)
    return fig


def coboundary_in_blocks(delta: np.ndarray, pattern: np.ndarray) -> Figure:
    """The coboundary (9, 16) of a [2,4,1] network with its blocks named. Figure 01-coboundary."""
    fig, ax = plt.subplots(figsize=(8.4, 4.4))
    block_matrix(delta, ROWS, COLUMNS, ax, BLOCKS)
    fig.numbers = {"delta": delta, "pattern": pattern}
    return fig


def laplacian_in_blocks(L, L_U, sheaf: NeuralSheaf, pattern: np.ndarray) -> Figure:
    """The Laplacian of a [2,4,1] network, (9, 9) on the free coordinates and (9, 7) from the
    boundary. Figure 01-laplacian.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.4), width_ratios=(9, 8))
    block_matrix(L, sheaf.layout, sheaf.layout, left, FREE_BLOCKS, limit=2)
    left.set_title(r"$L[\Omega,\Omega]$", pad=22)
    block_matrix(L_U, sheaf.layout, GIVEN, right, BOUNDARY_BLOCKS, limit=2)
    right.set_title(r"$L[\Omega,U]$", pad=22)
    fig.numbers = {"free": L, "boundary": L_U, "pattern": pattern}
    return fig


def paths(even: np.ndarray, other: np.ndarray, weight: float) -> Figure:
    """Values on a path whose ends are given, with edges all alike and with one edge of another
    weight, (7,) each. Figure 01-path.
    """
    last = len(even) - 1
    fig, ax = plt.subplots(figsize=(6.4, 3.2))
    ax.plot(even, "o-", label="all edges alike: linear interpolation")
    ax.plot(other, "s--", label=f"edge $v_2v_3$ with weight {weight:g}")
    ax.plot([0, last], [0, 1], "o", ms=11, mfc="none", color="black", label="boundary, given")
    names = [f"$v_{i}$" for i in range(last + 1)]
    ax.set(xticks=range(last + 1), xticklabels=names, ylabel="value in the stalk")
    ax.legend()
    fig.numbers = {"constant": even, "soft edge": other}
    return fig


def graph_and_entries(sheaf: NeuralSheaf, pattern: np.ndarray, rng: np.random.Generator) -> Figure:
    """The graph of a network, and where entries of its coboundary lie for one pattern, some drawn
    of each edge or, where it has few, all. Figure 01-cnn.
    """
    entries = sheaf.coboundary(pattern).tocoo()
    below = (entries.data != 0) & (entries.coords[0] != entries.coords[1])
    row, column = entries.coords[0][below], entries.coords[1][below]
    chosen = []
    for edge in sheaf.edges:
        if edge.tail != "x":
            places = np.flatnonzero((edge.rows.start <= row) & (row < edge.rows.stop))
            chosen.append(rng.choice(places, min(ENTRIES, len(places)), replace=False))
    some = np.concatenate(chosen)
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(9.6, 6.8), height_ratios=(1, 3.4))
    schematic(sheaf, top, stalks=False)
    nonzeros(row[some], column[some], sheaf.layout, bottom)
    fig.numbers = {**sizes(sheaf), "rows": row[some], "columns": column[some]}
    return fig
