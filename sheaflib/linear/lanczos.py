"""The largest eigenpair of a symmetric positive operator for each sample of a batch, by Lanczos
with thick restarts.

SciPy's `eigsh` knows one operator at a time; here all samples of a batch share every call. Each new
vector is made orthogonal to all that are kept, twice where little is left of it, so no spurious
copies appear, not even where few distinct eigenvalues leave nothing new; `BASIS` vectors are kept
at most, whatever the number of steps.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

import numpy as np

BASIS = 24  # Lanczos vectors kept at once
KEPT = 8  # Ritz vectors that a restart keeps
MOST = 5000  # steps
BREAKDOWN = 1e-14  # a new direction this small, relative to the eigenvalue, is none
# what is left of a new vector, relative to its largest part: below, it is made orthogonal twice
SHORT = 1e-2
EVERY = 8  # how often a batch of many samples is looked at


class Ritz(NamedTuple):
    """Ritz values (B,), from below, unit Ritz vectors (B, n), |Av − θv| (B,), steps taken (one call
    of the operator each).
    """

    value: np.ndarray
    vector: np.ndarray
    residual: np.ndarray
    steps: int


def largest(
    apply: Callable,
    start: np.ndarray,
    tol: float = 1e-9,
    basis: int = BASIS,
    least: int = 0,
    most: int = MOST,
) -> Ritz:
    """The largest eigenpair of each sample's operator; apply: (B, n) -> (B, n), start: (B, n),
    random.

    Stops when every sample's value is good to about tol, relative: |r₁| ≤ tol · θ, or (|r₁|² + … +
    |r_m|²)/(θ₁ − θ_{m+1}) ≤ tol · θ for some m, where r_i is the residual of the i-th largest Ritz
    value. The second rule ends the search for a cluster of m values that lie close together. Not
    before `least` steps. ArithmeticError when `most` steps are not enough, OverflowError when the
    operator leaves float64.
    """
    n_batch, n = start.shape
    scale = None
    Q, T = np.zeros((n_batch, basis + 1, n)), np.zeros((n_batch, basis, basis))
    Q[:, 0] = start / np.linalg.norm(start, axis=1, keepdims=True)
    j = 0
    for steps in range(1, most + 1):
        w = apply(Q[:, j])
        if scale is None:  # powers of two: squares stay in float64
            scale = np.frexp(np.abs(w).max(axis=1))[1]
        w = np.ldexp(w, -scale[:, None])
        if not np.isfinite(w).all():
            raise OverflowError("Lanczos: the operator leaves float64: an entry is beyond 1e308")
        j += 1
        alpha = np.einsum("bn,bn->b", w, Q[:, j - 1])
        # first, and alone: it is the largest part, and what follows takes its rounding out
        w -= alpha[:, None] * Q[:, j - 1]
        T[:, j - 1, :j] = _project(Q[:, :j], w)
        T[:, j - 1, j - 1] += alpha
        beta = np.linalg.norm(w, axis=1)
        # near an invariant subspace rounding would be all that is left: once more
        if (beta < SHORT * np.abs(alpha)).any():
            T[:, j - 1, :j] += _project(Q[:, :j], w)
            beta = np.linalg.norm(w, axis=1)
        if n_batch > 1 and steps % EVERY and j < min(basis, n) and steps < most:
            _append(Q, j, w, beta, T)
            continue
        theta, S = np.linalg.eigh(T[:, :j, :j])
        residual = beta * np.abs(S[:, -1, -1])
        allowed = tol * np.abs(theta[:, -1])
        if (
            steps >= least
            and (
                (residual <= allowed) | _close(theta, (beta[:, None] * S[:, -1]) ** 2, allowed)
            ).all()
            or j >= n
        ):
            vector = (S[:, None, :, -1] @ Q[:, :j])[:, 0]
            size = np.linalg.norm(vector, axis=1, keepdims=True)
            vector = np.where(size > 0.5, vector / np.maximum(size, 0.5), Q[:, 0])
            return Ritz(np.ldexp(theta[:, -1], scale), vector, np.ldexp(residual, scale), steps)
        if j == basis:
            Q[:, :KEPT] = S[:, :, -KEPT:].swapaxes(1, 2) @ Q[:, :basis]
            T[:] = 0
            T[:, range(KEPT), range(KEPT)] = theta[:, -KEPT:]
            j = KEPT
        _append(Q, j, w, beta, T)
    raise ArithmeticError(
        f"Lanczos: {most} steps leave a relative residual of"
        f" {float((residual / np.abs(theta[:, -1])).max()):.1e}, and tol={tol:g} was asked for"
    )


def _close(theta: np.ndarray, squares: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Whether the largest Ritz value is within `allowed` (B,) of an eigenvalue, by the residuals of
    a cluster and its distance from the rest.
    """
    cluster = np.cumsum(squares[:, ::-1], axis=1)[:, :-1]
    distance = theta[:, -1:] - theta[:, -2::-1]
    return (cluster <= allowed[:, None] * distance).any(axis=1)


def _project(known: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Take from w (B, n) its part along the known vectors (B, j, n), in place; returns the
    coefficients (B, j).
    """
    h = (known @ w[:, :, None])[:, :, 0]
    w -= (h[:, None] @ known)[:, 0]
    return h


def _append(Q: np.ndarray, j: int, w: np.ndarray, beta: np.ndarray, T: np.ndarray) -> None:
    """Make w / beta the next vector; zero where nothing is left, which adds the eigenvalue 0."""
    size = np.abs(T[:, :j, :j]).max(axis=(1, 2))
    Q[:, j] = np.where(beta > BREAKDOWN * size, 1 / np.where(beta > 0, beta, 1), 0)[:, None] * w
