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
    """Compute the squared discrepancy of every coordinate of every edge.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    w : array_like of shape (B, N) or (B, N + n_out)
        The cochains; with ``a_out`` the edge "output" is there too.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    pattern : array_like of shape (M,) or (B, M), optional
        A frozen activation pattern; by default that of each cochain.

    Returns
    -------
    dict of str to ndarray of shape (B, n_e)
        The squares by edge. They are infinite above 1.8e308, and lost below 1e-308.

    Raises
    ------
    ValueError
        For arrays of another shape, and as in ``NeuralSheaf.discrepancy``.

    Notes
    -----
    In the paper: §6.3, as reported.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.sheaves.discord import per_neuron
    >>> sheaf = NeuralSheaf(Network.mlp([[[2.0]], [[3.0]]]))
    >>> per_neuron(sheaf, [[2.0, 2.0, 7.0]], [[1.0]])["affine_2"]  # (3 · 2 − 7)²
    array([[1.]])
    """
    squares = _squares(sheaf, w, x, pattern)
    return {e.name: squares[:, e.rows] for e in sheaf.edges if e.rows.stop <= squares.shape[1]}


def per_edge(
    sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None
) -> dict[str, np.ndarray]:
    """Compute the discord of every edge: how much its two ends disagree.

    It is ‖(δw − c)_e‖², without edge weights and without ½. The paper's figure for a batch is its
    mean.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    w : array_like of shape (B, N) or (B, N + n_out)
        The cochains; with ``a_out`` the edge "output" is there too.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    pattern : array_like of shape (M,) or (B, M), optional
        A frozen activation pattern; by default that of each cochain.

    Returns
    -------
    dict of str to ndarray of shape (B,)
        The discord of each sample by edge.

    Raises
    ------
    ValueError
        For arrays of another shape, and as in ``NeuralSheaf.discrepancy``.

    Notes
    -----
    In the paper: §6.3, as reported.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.sheaves.discord import per_edge
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> per_edge(sheaf, [[2.0, 1.0, 3.0]], [[1.0]])  # x = 1, z1 = 2, a1 = 1, z2 = 3
    {'affine_1': array([1.]), 'activation_1': array([1.]), 'affine_2': array([4.])}
    """
    return {name: squares.sum(axis=1) for name, squares in per_neuron(sheaf, w, x, pattern).items()}


def total(
    sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None
) -> np.ndarray:
    """Compute the total discord, the sum over edges.

    It is twice the energy when all edge weights are 1.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    w : array_like of shape (B, N) or (B, N + n_out)
        The cochains; with ``a_out`` the output edge counts too.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    pattern : array_like of shape (M,) or (B, M), optional
        A frozen activation pattern; by default that of each cochain.

    Returns
    -------
    ndarray of shape (B,)
        The total discord of each sample.

    Raises
    ------
    ValueError
        For arrays of another shape, and as in ``NeuralSheaf.discrepancy``.

    Notes
    -----
    In the paper: §6.3, as reported.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.sheaves.discord import total
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> total(sheaf, [[2.0, 1.0, 3.0]], [[1.0]])
    array([6.])
    """
    return _squares(sheaf, w, x, pattern).sum(axis=1)


def _squares(
    sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None
) -> np.ndarray:
    with np.errstate(over="ignore"):
        return check_sheaf(sheaf).discrepancy(w, x, pattern) ** 2


def forward_deviation(sheaf: NeuralSheaf, w: ArrayLike, x: ArrayLike) -> dict[str, np.ndarray]:
    """Compute how far each stalk is from the forward pass: its "tension".

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    w : array_like of shape (B, N) or (B, N + n_out)
        The cochains.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.

    Returns
    -------
    dict of str to ndarray of shape (B, n)
        The deviation of each stalk, by its name.

    Raises
    ------
    ValueError
        For arrays of another shape.

    Notes
    -----
    In the paper: §6.3, as reported.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.sheaves.discord import forward_deviation
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> forward_deviation(sheaf, [[2.0, 1.0, 3.0]], [[1.0]])
    {'z1': array([[1.]]), 'a1': array([[0.]]), 'z2': array([[2.]])}
    """
    w = check_sheaf(sheaf).cochain("w", w)
    exact = sheaf.forward(x, augmented=w.shape[1] > sheaf.N)
    if len(w) != len(exact):
        raise ValueError(f"w has {len(w)} rows, expected {len(exact)}: one a row of x")
    return {
        name: w[:, s] - exact[:, s]
        for name, s in sheaf.augmented_layout.slices.items()
        if s.stop <= w.shape[1]
    }
