"""Data in units of their own deviation, and a network's weights for the units they came in."""

from __future__ import annotations

import numpy as np

from sheaflib.networks.graph import Network


def folded(
    network: Network,
    mean: np.ndarray,
    deviation: np.ndarray,
    shift: np.ndarray,
    stretch: np.ndarray,
) -> Network:
    """The chain with x -> (x − mean)/deviation folded into its first layer, z -> shift + stretch z
    into its last: arrays (n_in,), (n_out,).

    >>> line = Network.mlp([[[3.0]]], [[1.0]])
    >>> mean, deviation, shift, stretch = np.array([[1.0], [2.0], [10.0], [2.0]])
    >>> folded(line, mean, deviation, shift, stretch)([[3.0]])  # 10 + 2 (3 (3 − 1)/2 + 1)
    array([[18.]])
    """
    first, last = network.nodes[0], network.output_name
    with np.errstate(over="ignore", invalid="ignore"):
        W = first.operation.weight / deviation
        b = first.operation.bias - W @ mean
    fits(W, b)
    network = network.with_parameters({first.name: {"weight": W, "bias": b}})
    edge = network.nodes[-1].operation
    with np.errstate(over="ignore", invalid="ignore"):
        W, b = stretch[:, None] * edge.weight, stretch * edge.bias + shift
    fits(W, b)
    return network.with_parameters({last: {"weight": W, "bias": b}})


def fits(*weights: np.ndarray) -> None:
    """Raise ValueError unless the weights and biases for the units of X and y are finite."""
    if not all(np.isfinite(part).all() for part in weights):
        raise ValueError(
            "X and y are in units that need weights too large for float64: rescale X or y"
        )


def in_units(name: str, rows: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """(rows − mean)/deviation; ValueError where that is too large for float64."""
    with np.errstate(over="ignore"):
        half = 0.5 * rows - 0.5 * mean  # the difference may be twice the largest float
        found = half / deviation * 2
    if not np.isfinite(found).all():
        i, j = np.argwhere(~np.isfinite(found))[0]
        raise ValueError(
            f"{name} holds {rows[i, j]:g} in column {j}, where mean and deviation are {mean[j]:g}"
            f" and {deviation[j]:g} in training: in these units it is too large for float64"
        )
    return found


def spread(rows: np.ndarray, standardise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every column, 1 for that of a constant; 0 and 1 if not standardised.

    Squares are taken in units of a power of two near the column's largest entry, which changes no
    bit of the results but keeps them in float64. A constant so large that 1 is less than the
    rounding of its mean has this rounding for its deviation.
    """
    if not standardise:
        return np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    from sklearn.preprocessing import StandardScaler

    largest = abs(rows).max(axis=0)
    unit = np.frexp(largest)[1]
    scaler = StandardScaler().fit(np.ldexp(rows, -unit))  # entries below 1: no deviation is 1
    rounding = np.maximum(1.0, len(rows) * np.spacing(largest))
    deviation = np.where(scaler.scale_ == 1, rounding, np.ldexp(scaler.scale_, unit))
    return np.ldexp(scaler.mean_, unit), deviation
