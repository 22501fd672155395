"""The figures of notebook 02: a triangle, pivots, and the spectra of all patterns."""

from __future__ import annotations

from fractions import Fraction
from math import log2
from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.companion.random_networks import WEIGHTS
from sheaflib.companion.record import gallery
from sheaflib.plots import spectra as plots
from sheaflib.sheaves.neural import NeuralSheaf

DRAWN = 16  # patterns whose pivots are drawn
QUANTILES = np.linspace(0, 1, 41)


def triangle(sheaf: NeuralSheaf, pattern: np.ndarray) -> Figure:
    """Where the entries of δ_Ω lie for one pattern, coloured by the kind of their edge. Figure
    02-triangle.
    """
    rows, columns = sheaf.coboundary(pattern).tocoo().coords
    kinds = [edge.kind for edge in sheaf.edges for _ in range(edge.dim)]
    fig, ax = plt.subplots(figsize=(5.2, 5))
    plots.entries(rows, columns, [kinds[i] for i in rows], sheaf.N, ax)
    thin_rows, thin_columns = gallery.thin(rows)[0], gallery.thin(columns)[0]
    fig.numbers = {"rows": thin_rows, "columns": thin_columns, "N": sheaf.N}
    return fig


def pivots(exact: Sequence[Sequence[Fraction]], rng: np.random.Generator) -> Figure:
    """Running products of the exact pivots of L for every pattern of a network, on a log₂ scale.
    Figure 02-exact-pivots.
    """
    logs = [[0] + [log2(p.numerator) - log2(p.denominator) for p in row] for row in exact]
    running = np.cumsum(logs, axis=1)
    some = rng.permutation(running)[:DRAWN]
    low, high = running.min(axis=0), running.max(axis=0)
    fig, ax = plt.subplots()
    plots.running_products(low, high, some, ax)
    fig.numbers = {"low": low, "high": high, "some": some}
    return fig


def spectra(values: Mapping[str, np.ndarray], bounds: Mapping, forward: Mapping) -> Figure:
    """Smallest and largest eigenvalue over all patterns, network -> (2^M, N), the pattern-free
    bound, and (λ₁, λ_max) at the forward pass. Figure 02-spectra-of-all-patterns.
    """
    lowest, highest = ({name: v[:, end] for name, v in values.items()} for end in (0, -1))
    fig, ax = plt.subplots(figsize=(7.2, 3.8))
    plots.spectra(lowest, highest, bounds, forward, ax)
    quantiles = {
        name: np.quantile(v[:, [0, -1]], QUANTILES, axis=0).T for name, v in values.items()
    }
    fig.numbers = {"quantiles": quantiles, "bounds": bounds, "forward": forward}
    return fig


def extremes_by_weights(weights: Sequence[str], low: np.ndarray, high: np.ndarray) -> Figure:
    """λ₁ and λ_max (P,) of random networks, by the kind of their weights (P,). Figure
    02-random-networks.
    """
    kinds = np.array(weights)
    low_by_kind = {kind: np.log10(low[kinds == kind]) for kind in WEIGHTS}
    high_by_kind = {kind: np.log10(high[kinds == kind]) for kind in WEIGHTS}
    fig, ax = plt.subplots(figsize=(6.2, 3.8))
    plots.extremes_by_weights(low_by_kind, high_by_kind, ax)
    fig.numbers = {"log10 low": low_by_kind, "log10 high": high_by_kind}
    return fig


def cube(s: np.ndarray, on_face: np.ndarray, deep: Mapping[str, np.ndarray], name: str) -> Figure:
    """λ₁ on the square of two sliding neurons (n, n), and by place in the cube of a deep network,
    place -> (P,). Figure 02-cube.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), width_ratios=(1, 1.2))
    plots.face(s, on_face, ("neuron 0", "neuron 3"), left)
    plots.by_place(deep, right, xlabel=rf"$\lambda_1$, {name}")
    quantiles = {place: np.quantile(v, QUANTILES) for place, v in deep.items()}
    fig.numbers = {"s": s, "face": on_face, "quantiles": quantiles}
    return fig
