"""What training minimises: labels, the loss a reader sees, and the energy Φ of the output edge
(§5.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks.graph import Network, check_network
from sheaflib.networks.output import Output
from sheaflib.support.checks import batch, even

CLAMP = 1e-12  # the authors' floor of a probability under the logarithm


def check_labels(
    output: Output, y: ArrayLike | None, n_out: int, n_batch: int | None = None, name: str = "y"
) -> np.ndarray:
    """`y` as float64 labels (B, n_out); `name` is what the caller names them.

    Raises ValueError for another shape, another number of rows than n_batch, labels of a sigmoid
    outside {0, 1} and labels of a softmax that are not one-hot.
    """
    if y is None:
        raise TypeError(f"{name} is None, expected labels of shape (B, {n_out})")
    if even(name, y).ndim == 1:
        hint = (
            f"np.eye({n_out})[{name}] makes integer classes one-hot"
            if output.name == "softmax"
            else f"use {name}[:, None]"
        )
        raise ValueError(f"{name} has shape {np.shape(y)}, expected (B, {n_out}): {hint}")
    y = batch(name, y, n_out)
    if n_batch is not None and len(y) != n_batch:
        raise ValueError(f"{name} has {len(y)} rows, expected {n_batch}: one a row of x")
    if output.is_identity:
        return y
    wrong = ~np.isin(y, (0, 1))
    if wrong.any():
        i, j = (int(k) for k in np.argwhere(wrong)[0])
        raise ValueError(
            f"{name} holds {y[i, j]:g} at index ({i}, {j}), expected 0 or 1: the output is a"
            f" {output.name}"
        )
    if output.name == "softmax" and (y.sum(axis=1) != 1).any():
        i = int(np.argmax(y.sum(axis=1) != 1))
        raise ValueError(
            f"{name} is not one-hot: row {i} sums to {y[i].sum():g}, expected one 1 a row: the"
            " output is a softmax"
        )
    return y


def loss(network: Network, x: ArrayLike, y: ArrayLike) -> float:
    """Compute the ordinary loss of the forward pass.

    It is the mean squared error over all entries for an identity output. For a sigmoid or softmax
    it is the cross-entropy, the mean over the batch, with probabilities of at least 1e-12 under the
    logarithm.

    Parameters
    ----------
    network : Network
        The network.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    y : array_like of shape (B, n_out)
        The labels: 0 or 1 for a sigmoid, one-hot for a softmax.

    Returns
    -------
    float
        The loss.

    Raises
    ------
    ValueError
        For inputs or labels that do not fit the network.

    Notes
    -----
    In the paper: §5.2.

    Examples
    --------
    >>> from sheaflib import Network
    >>> from sheaflib.training.drivers import loss
    >>> loss(Network.mlp([[[2.0]]]), [[1.0], [2.0]], [[2.0], [3.0]])
    0.5
    """
    p = check_network(network)(x)
    y = check_labels(network.output, y, network.n_out, len(p))
    if network.output.is_identity:
        return float(((p - y) ** 2).mean())
    cost = -y * np.log(np.maximum(p, CLAMP))
    if network.output.name == "sigmoid":
        cost = cost - (1 - y) * np.log(np.maximum(1 - p, CLAMP))
    return float(cost.sum(axis=1).mean())


def loss_gradient(output: Output, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of `loss` with respect to the logits z^{k+1}: (B, n_out), without the clamp."""
    return error(output, z, y) * loss_scale(output, *y.shape)


def loss_scale(output: Output, n_batch: int, n_out: int) -> float:
    """∂loss/∂z over φ(z) − y: 2/(B·n_out) for the mean of squares, 1/B for a cross-entropy."""
    return 2 / (n_batch * n_out) if output.is_identity else 1 / n_batch


def error(output: Output, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """φ(z) − y = ∂Φ/∂z: (B, n_out), each entry to a relative accuracy of rounding, also where φ(z)
    rounds to its label."""
    if output.is_identity:
        return z - y
    p = output.value(z)
    # 1 − φ(z), nothing subtracted
    rest = output.value(-z) if output.name == "sigmoid" else p @ (1 - np.eye(z.shape[1]))
    return (1 - y) * p - y * rest


def output_energy(output: Output, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Φ(z, y) of every sample, (B,): ½‖z − y‖², or the cross-entropy in logits ψ(z) − yᵀz, to a
    relative accuracy of rounding.

    The labels of a softmax sum to one.
    """
    if output.is_identity:
        return 0.5 * ((z - y) ** 2).sum(axis=1)
    if output.name == "sigmoid":
        return ((1 - y) * np.logaddexp(0, z) + y * np.logaddexp(0, -z)).sum(axis=1)
    top, rows = z.argmax(axis=1), np.arange(len(z))
    below = z - z[rows, top][:, None]
    others = np.exp(below)
    others[rows, top] = 0
    return np.log1p(others.sum(axis=1)) - (y * below).sum(axis=1)
