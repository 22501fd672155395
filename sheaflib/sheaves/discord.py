"""Discord: how much each edge, neuron and sample disagrees, ‖(δw − c)_e‖² without weights and
without ½ (§6.3 of the paper, as reported).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf


def per_neuron(
    sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None
) -> dict[str, np.ndarray]:
    """Squared discrepancy of every coordinate of every edge: edge name -> (B, n_e). "output" only
    for a w with a_out.

    Range: that of `NeuralSheaf.discrepancy`; ∞ where a square is above 1.8e308, and squares below
    1e-308 are lost.

    >>> from sheaflib.networks.graph import Network
    >>> sheaf = NeuralSheaf(Network.mlp([[[2.0]], [[3.0]]]))
    >>> total(sheaf, [[2.0, 2.0, 7.0]], [[1.0]])
    array([1.])
    """
    squares = _squares(sheaf, w, x, pattern)
    return {e.name: squares[:, e.rows] for e in sheaf.edges if e.rows.stop <= squares.shape[1]}


def per_edge(
    sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None
) -> dict[str, np.ndarray]:
    """Discord of every edge: edge name -> (B,). The paper's figure for a batch is its mean."""
    return {name: squares.sum(axis=1) for name, squares in per_neuron(sheaf, w, x, pattern).items()}


def total(
    sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None
) -> np.ndarray:
    """Total discord, the sum over edges: (B,); twice the energy when all edge weights are 1."""
    return _squares(sheaf, w, x, pattern).sum(axis=1)


def _squares(
    sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None
) -> np.ndarray:
    with np.errstate(over="ignore"):
        return check_sheaf(sheaf).discrepancy(w, x, pattern) ** 2


def forward_deviation(sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike) -> dict[str, np.ndarray]:
    """How far each stalk is from the forward pass, "tension": stalk name -> (B, n)."""
    w = check_sheaf(sheaf).cochain("w", w)
    exact = sheaf.forward(x, augmented=w.shape[1] > sheaf.N)
    if len(w) != len(exact):
        raise ValueError(f"w has {len(w)} rows, expected {len(exact)}: one a row of x")
    return {
        name: w[:, s] - exact[:, s]
        for name, s in sheaf.augmented_layout.slices.items()
        if s.stop <= w.shape[1]
    }
