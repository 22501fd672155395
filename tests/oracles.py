"""Dense matrices of a network, written from the definition alone: the independent side of many
tests.
"""

import numpy as np

from sheaflib import Affine, Clamp, MaxPool, PReLU, ReLU

EPS = np.finfo(float).eps


def operation_matrix(operation, s):
    """F_s of one operation as a dense (n_out, n_in) array, s its own part of a pattern."""
    if isinstance(operation, ReLU):
        s = np.asarray(s, float)
        return np.diag(s + operation.slope * (1 - s))
    if isinstance(operation, PReLU):
        s, pixels = np.asarray(s, float), operation.n // len(operation.slope)
        slope = np.array([operation.slope[j // pixels] for j in range(operation.n)])
        return np.diag(s + slope * (1 - s))
    if isinstance(operation, Clamp):
        return np.diag([float(clamped(operation, side) is None) for side in s])
    if isinstance(operation, MaxPool):
        matrix = np.zeros((operation.n_out, operation.n_in))
        for row, (window, place) in enumerate(zip(operation.windows, s)):
            matrix[row, window[int(place)]] = 1
        return matrix
    if isinstance(operation, Affine):
        return operation.linear(np.eye(operation.n_in)).T
    return np.eye(operation.n_out)


def clamped(operation, side):
    """The bound that a clamp gives on a side of its pattern, None between the bounds; a pattern
    counts the finite bounds that are reached.
    """
    bounds = [operation.low] * (operation.low > -np.inf) + [None]
    return (bounds + [operation.high] * (operation.high < np.inf))[int(side)]


def dense_system(network, pattern, x):
    """δ_Ω (N, N) and c (N,) for one pattern (M,) and one input x (n_0,): block i is w_i −
    F_i(blocks before i).
    """
    ends = np.cumsum([node.operation.n_out for node in network.nodes])
    blocks = {
        node.name: np.arange(end - node.operation.n_out, end)
        for node, end in zip(network.nodes, ends)
    }
    delta, c, used = np.eye(ends[-1]), np.zeros(ends[-1]), 0
    for node in network.nodes:
        operation, rows, start = node.operation, blocks[node.name], 0
        length = operation.n_out if isinstance(operation, (ReLU, PReLU, Clamp, MaxPool)) else 0
        own = pattern[used : used + length]
        F = operation_matrix(operation, own)
        used += length
        if isinstance(operation, Affine):
            c[rows] += operation.bias
        if isinstance(operation, Clamp):
            c[rows] += [clamped(operation, side) or 0.0 for side in own]
        for tail in node.inputs:
            width = network.n_in if tail == "x" else len(blocks[tail])
            part = F[:, start : start + width]
            start += width
            if tail == "x":
                c[rows] += part @ x
            else:
                delta[np.ix_(rows, blocks[tail])] -= part
    return delta, c


def row_weights(sheaf):
    """The edge weight of every row of δ_Ω."""
    return np.concatenate(
        [np.full(e.dim, sheaf.edge_weights[e.name]) for e in sheaf.edges if e.name != "output"]
    )


def dense_laplacian(sheaf, pattern):
    """δ_Ωᵀ diag(w) δ_Ω for one pattern."""
    delta, _ = dense_system(sheaf.network, pattern, np.zeros(sheaf.network.n_in))
    return delta.T @ (row_weights(sheaf)[:, None] * delta)


def constrained_minimum(delta, c, weights, hard=(), soft=()):
    """argmin ½‖δw − c‖²_weights + ½Σγ(w_i − t)² with w_i = v: hard holds (i, v), soft holds (i, γ,
    t).
    """
    fixed = {int(i): v for i, v in hard}
    free = [i for i in range(len(c)) if i not in fixed]
    w = np.zeros(len(c))
    w[list(fixed)] = list(fixed.values())
    rows = [np.sqrt(weights)[:, None] * delta] + [
        np.sqrt(gamma) * np.eye(len(c))[[i]] for i, gamma, _ in soft
    ]
    right = np.concatenate([np.sqrt(weights) * c, [np.sqrt(gamma) * t for _, gamma, t in soft]])
    A = np.concatenate(rows)
    if free:
        w[free] = np.linalg.lstsq(A[:, free], right - A @ w, rcond=None)[0]
    return w
