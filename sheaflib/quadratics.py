"""V of one sample as the quadratics between its kinks: the flow in closed form on each, and the forces on the kinks (derived)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaflib.march import EPS
from sheaflib.pieces import Pinned


@dataclass(frozen=True, eq=False)
class Piece:
    """The flow from `time` to the next event: w (N,) there, the sides of the kinks and which of them slide, (N,) of bool."""

    time: float
    w: np.ndarray
    side: np.ndarray
    slide: np.ndarray


class Quadratics:
    """V of one sample as the quadratics of its pieces, and the forces Q_± = minus, plus (K, N) @ w + constant (K,) of its K free kinks."""

    def __init__(self, problem: Pinned, alpha: float):
        sheaf, N = problem.sheaf, problem.sheaf.N
        self.problem, self.alpha, self.weights, self.gamma, self.rest = problem, alpha, problem.weights, problem.gamma, problem.rest[0]
        somewhere = sheaf.pattern(np.zeros((1, N)), problem.x)
        delta = sheaf.coboundary(somewhere[0])
        self.c = -sheaf.discrepancy(np.zeros((1, N)), problem.x, somewhere)[0]        # the same for every pattern
        parts = [np.arange(kink.here.start, kink.here.stop) for kink in problem.kinks.values()]
        self.units = np.concatenate(parts) if parts else np.zeros(0, int)
        rows = np.diag(self.weights)[self.units] - self.weights[self.units, None] * delta[self.units].toarray()
        self.minus, self.plus, place = rows, rows.copy(), np.full(N, -1)
        place[self.units] = np.arange(len(self.units))
        for kink in problem.kinks.values():
            for read, slope, weight in kink.readers:
                at = place[kink.here], np.arange(read.start, read.stop)
                self.minus[at] += weight * (1.0 if slope is None else slope)
                self.plus[at] += weight
        free = ~problem.clamped[self.units]
        self.units, self.minus, self.plus = self.units[free], self.minus[free], self.plus[free]
        self.constant = self.weights[self.units] * self.c[self.units] + self.gamma[self.units] * self.rest[self.units]

    def forces(self, w, k=slice(None)):
        """Q_− and Q_+ of the kinks k at w (N,)."""
        return self.minus[k] @ w + self.constant[k], self.plus[k] @ w + self.constant[k]

    def rounding(self, w, k=slice(None)):
        """The rounding error of both."""
        return 8 * EPS * (np.maximum(np.abs(self.minus[k]), np.abs(self.plus[k])) @ np.abs(w) + np.abs(self.constant[k]))

    def decompose(self, piece: Piece) -> Decay:
        """The closed form of the flow on a piece."""
        sheaf, free = self.problem.sheaf, np.flatnonzero(~(self.problem.clamped | piece.slide))
        pattern = sheaf.pattern(np.where(piece.side, 1.0, -1.0)[None], self.problem.x)
        delta = sheaf.coboundary(pattern[0]).toarray()
        columns = delta[:, free]
        hessian = columns.T @ (self.weights[:, None] * columns)
        hessian[np.diag_indices_from(hessian)] += self.gamma[free]
        values, Q = np.linalg.eigh(hessian)
        limit = piece.w.copy()
        for _ in range(2):                                                            # the second round refines the first
            g = columns.T @ (self.weights * (delta @ limit - self.c)) + self.gamma[free] * (limit - self.rest)[free]
            limit[free] -= Q @ (Q.T @ g / values)
        return Decay(limit, free, Q * (Q.T @ (piece.w - limit)[free]), self.alpha * values)


@dataclass(frozen=True, eq=False)
class Decay:
    """w(t) = limit (N,) + modes (n, n) @ e^{−rates t} on the free coordinates (n,)."""

    limit: np.ndarray
    free: np.ndarray
    modes: np.ndarray
    rates: np.ndarray

    def at(self, t: np.ndarray) -> np.ndarray:
        """The cochains at times t (T,) after the piece's start: (T, N)."""
        w = np.tile(self.limit, (len(t), 1))
        w[:, self.free] += np.exp(-np.multiply.outer(t, self.rates)) @ self.modes.T
        return w
