"""V of one sample as the quadratics between its kinks: the flow in closed form on each, and the
forces on the kinks (derived).

With A = (diag(√w) δ; √γ a row of each soft pin) and b = (√w c; √γ v) a quadratic is V = ½|r|², r =
Aw − b. A state is carried as w and r both: large terms cancel in r, so that a velocity, a force on
a kink or the part in a fast mode, taken from w again, would be the rounding error of the largest
coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy as sp
from numpy.linalg import norm

from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.flow.corners import corners
from sheaflib.flow.first_zero import EPS
from sheaflib.networks.graph import INPUT, Network
from sheaflib.networks.selection import Elementwise, MaxPool
from sheaflib.networks.separation import reasons

ROUNDING = 8 * EPS  # of a sum, relative to the sum of the sizes of its terms
GRADED = 1e4  # singular values that differ by more than this need the careful method


@dataclass(frozen=True, eq=False)
class Piece:
    """The flow from `time` to the next event: w (N,) there, the sides of the kinks and which of
    them slide, (N,) of bool.

    r (N + S,): the residuals there, S the number of soft pins. error (N + S,) and error_w (N,):
    estimates of how far rounding since the start of the flow has moved r and w.
    """

    time: float
    w: np.ndarray
    side: np.ndarray
    slide: np.ndarray
    r: np.ndarray
    error: np.ndarray
    error_w: np.ndarray


class Quadratics:
    """V of one sample as the quadratics of its pieces, and the forces Q_± = minus, plus (K, N +
    S) @ r on its K free kinks at z_j = 0.
    """

    def __init__(self, problem: PinnedEnergy, alpha: float):
        sheaf, N, gamma = problem.sheaf, problem.sheaf.N, problem.gamma
        self.problem, self.alpha = problem, alpha
        held = problem.impose(np.zeros((1, N)))
        pattern, springs = sheaf.pattern(held, problem.x), np.flatnonzero(gamma > 0)
        root, delta = np.sqrt(problem.weights), sheaf.coboundary(pattern[0]).toarray()
        self.A = np.concatenate([root[:, None] * delta, np.diag(np.sqrt(gamma))[springs]])
        c = -sheaf.discrepancy(np.zeros((1, N)), problem.x, pattern)[0]  # for all patterns
        self.b = np.concatenate([root * c, (np.sqrt(gamma) * problem.rest[0])[springs]])
        kinks = corners(sheaf, N)
        minus, plus = (-self.A.T + 0.0 for _ in range(2))  # of what has no sides
        for reader in kinks.readers:
            reads, rows = (np.arange(N)[part] for part in (reader.reads, reader.rows))
            minus[reads, rows], plus[reads, rows] = np.sqrt(reader.weight) * reader.slope
        self.units = np.flatnonzero(kinks.kinked & ~problem.clamped)
        self.minus, self.plus = minus[self.units], plus[self.units]

    def forces(self, r: np.ndarray, k: int | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Q_− and Q_+ of the kinks k where z_j = 0, from the residuals r (N + S,)."""
        return self.minus[k] @ r, self.plus[k] @ r

    def rounding(self, error: np.ndarray, k: int | slice = slice(None)) -> np.ndarray:
        """The error of both for an error (N + S,) of the residuals."""
        return np.maximum(np.abs(self.minus[k]), np.abs(self.plus[k])) @ error

    def matrix(self, side: np.ndarray) -> np.ndarray:
        """A (N + S, N) for the sides of the kinks (N,)."""
        A = self.A.copy()
        A[:, self.units] = -np.where(side[self.units, None], self.plus, self.minus).T
        return A

    def terms(self, w: np.ndarray, side: np.ndarray) -> np.ndarray:
        """|A||w| + |b| (N + S,): the sizes of the terms of the residuals."""
        return np.abs(self.matrix(side)) @ np.abs(w) + np.abs(self.b)

    def held(self, slide: np.ndarray) -> np.ndarray:
        """Which coordinates do not move, (N,) of bool."""
        return self.problem.clamped | slide

    def decompose(self, piece: Piece) -> Decay:
        """The closed form of the flow on a piece.

        A = UΣVᵀ on the free columns gives the rates ασ². The eigenvalues of L = AᵀA would not do:
        float64 keeps those above 10⁻¹⁶ λ_max, and with weights of 100 in four layers λ₁ lies below
        that.
        """
        A, free = self.matrix(piece.side), np.flatnonzero(~self.held(piece.slide))
        least = minimum(A, self.b, free, piece.w)
        U, sigma, V = singular(A[:, free])
        sizes, U_sizes, V_sizes = np.abs(A), np.abs(U), np.abs(V)
        # What of piece.r lies across the range of A, other than least.r, is rounding: dropped.
        by_w, by_r = V.T @ (piece.w - least.w)[free], U.T @ (piece.r - least.r) / sigma
        error_w = ROUNDING * (norm(piece.w[free]) + norm(least.w[free]))
        error_w = error_w + piece.error_w[free] @ V_sizes
        error_r = (ROUNDING * (norm(piece.r) + norm(least.r)) + piece.error @ U_sizes) / sigma
        terms = ROUNDING * (sizes @ np.abs(least.w) + np.abs(self.b))
        turn = ROUNDING * (np.abs(least.r) @ sizes[:, free]) @ V_sizes / sigma
        normal = np.abs(least.normal)
        kinked = np.zeros(len(piece.w), dtype=bool)
        kinked[self.units] = True
        loss = 0.0
        if len(sigma):
            slowest = sigma.argmin()
            loss = U_sizes[:, slowest] @ sizes[:, free] @ V_sizes[:, slowest] / sigma[slowest]
        return Decay(
            limit=least.w,
            free=free,
            modes=V * np.where(error_w <= error_r, by_w, by_r),
            rates=self.alpha * sigma**2,
            loose=V_sizes * np.minimum(error_w, error_r),
            unsure=V_sizes @ ((terms @ U_sizes + turn) / sigma),
            r=least.r,
            waves=U * (sigma * by_r),
            basis=U,
            loose_waves=U_sizes * (sigma * error_r),
            unsure_r=normal @ (normal.T @ terms) + U_sizes @ turn,
            loss=ROUNDING * loss,
            kinked=kinked,
            piece=piece,
        )

    def limit(self, w: np.ndarray, side: np.ndarray, slide: np.ndarray) -> np.ndarray:
        """The limit (N,) of a piece, of which the sliding and clamped coordinates are read off w
        (N,).
        """
        return minimum(self.matrix(side), self.b, np.flatnonzero(~self.held(slide)), w).w


@dataclass(frozen=True, eq=False)
class Decay:
    """w(t) = limit (N,) + modes (n, n) @ e^{−rates t} on the free coordinates (n,), r(t) = r (N +
    S,) + waves (N + S, n) @ e^{−rates t}.

    loose (n, n) and loose_waves: estimates of the errors of modes and waves. unsure (n,) and
    unsure_r (N + S,): about how far limit and r, which do not depend on r at the piece's start,
    move when the data change in their last digits. loss: by which part of itself the smallest
    singular value may change then; of order 1, it is lost. basis (N + S, n): the singular vectors
    that the waves are multiples of. kinked (N,) of bool: which coordinates have a side. piece:
    where it starts.
    """

    limit: np.ndarray
    free: np.ndarray
    modes: np.ndarray
    rates: np.ndarray
    loose: np.ndarray
    unsure: np.ndarray
    r: np.ndarray
    waves: np.ndarray
    basis: np.ndarray
    loose_waves: np.ndarray
    unsure_r: np.ndarray
    loss: float
    kinked: np.ndarray
    piece: Piece

    def at(self, t: np.ndarray) -> np.ndarray:
        """The cochains at times t (T,) after the piece's start: (T, N)."""
        return self.state(t)[0]

    def state(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """w and an estimate of its error at times t (T,) after the piece's start: (T, N) each.

        Each coordinate is summed from its limit or from its beginning, whichever is more precise,
        and has the sign of its side.
        """
        piece, free, exponent = self.piece, self.free, -np.multiply.outer(t, self.rates)
        decay, fallen = np.exp(exponent), np.expm1(exponent)
        late = self.unsure + decay @ self.loose.T
        early = piece.error_w[free] + ROUNDING * np.abs(piece.w[free]) - fallen @ self.loose.T
        from_limit = self.limit[free] + decay @ self.modes.T
        from_start = piece.w[free] + fallen @ self.modes.T
        w, error = np.tile(self.limit, (len(t), 1)), np.zeros((len(t), len(piece.w)))
        w[:, free] = np.where(early < late, from_start, from_limit)
        error[:, free] = np.minimum(early, late)
        kinked, up = self.kinked, piece.side
        w[:, kinked & up] = np.maximum(w[:, kinked & up], 0.0)
        w[:, kinked & ~up] = np.minimum(w[:, kinked & ~up], 0.0)
        return w, error

    def residuals(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """r and an estimate of its error t after the piece's start: (N + S,) each.

        The flow lets no error grow in norm, but moves it from one coordinate to another: the error
        at the piece's start decays as r does. That of the limit and the rounding since are added.
        """
        decay = np.exp(-self.rates * t)
        sizes = np.abs(self.r) + np.abs(self.waves) @ decay
        carried = np.abs((self.basis * decay) @ self.basis.T) @ self.piece.error
        summed = (norm(self.piece.r) + norm(self.r)) * (np.abs(self.basis) @ decay)
        error = self.unsure_r + np.minimum(norm(self.piece.error), carried) + ROUNDING * summed
        return self.r + self.waves @ decay, error + ROUNDING * sizes


def singular(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (m, n), σ (n,) and V (n, n) of A = U diag(σ) Vᵀ (m, n), each σ to many digits of its own.

    The quick method's error is that of the largest σ. Where the smallest is much smaller, Jacobi's
    method takes over, some five times as slow: it keeps the digits of all of them for A = D₁CD₂
    with diagonal D₁, D₂ and a well-conditioned C. A network with large weights is of that kind: δ =
    D(1 − F)D⁻¹, D growing from layer to layer by the size of the weights.
    """
    U, sigma, Vt = np.linalg.svd(A, full_matrices=False)
    if sigma.max(initial=0.0) <= GRADED * sigma.min(initial=np.inf):
        return U, sigma, Vt.T
    sigma, U, V, work, _, info = sp.linalg.lapack.dgejsv(A, joba=2)
    if info:
        raise ArithmeticError(f"the singular values did not converge: dgejsv returned {info}")
    return U, sigma * (work[0] / work[1]), V


@dataclass(frozen=True, eq=False)
class Least:
    """The minimum of |Av − b|: v as w (N,), the residuals r (N + S,), and an orthonormal basis
    of where they lie, `normal` (N + S, K).
    """

    w: np.ndarray
    r: np.ndarray
    normal: np.ndarray


def minimum(A: np.ndarray, b: np.ndarray, free: np.ndarray, w: np.ndarray) -> Least:
    """The minimum of |Av − b| over the free coordinates of v, the others as in w (N,), by
    substitution: A is triangular but for soft pins.

    The free rows can be solved for any residuals ε there. On the K other rows the residual is then
    ρ − Hε, and the least of both is ε = Hᵀy with y = (1 + HHᵀ)⁻¹ρ on the other rows. Without held
    coordinates and soft pins it is a forward pass.
    """
    w, r, N = w.copy(), np.zeros(len(b)), len(w)
    held = np.delete(np.arange(N), free)
    rest = np.concatenate([held, np.arange(N, len(A))])
    triangle, other = A[np.ix_(free, free)], A[np.ix_(rest, free)]
    load = b[free] - A[np.ix_(free, held)] @ w[held]
    normal = np.zeros((len(b), len(rest)))
    if len(free):
        w[free] = sp.linalg.solve_triangular(triangle, load, lower=True, check_finite=False)
    if len(rest):
        H = np.zeros((len(rest), 0))
        if len(free):
            H = -sp.linalg.solve_triangular(
                triangle, other.T, trans=1, lower=True, check_finite=False
            ).T
        Q, R = np.linalg.qr(np.concatenate([H.T, np.eye(len(rest))]))
        normal[np.concatenate([free, rest])] = Q
        for again in (True, True, True, False, False):
            miss = A @ w - b - r
            if not again:  # what is left there is rounding, which w would magnify
                miss[free] = 0.0
            gap = miss[rest] + H @ miss[free]
            step = Q[len(free) :] @ sp.linalg.solve_triangular(R, gap, trans=1, check_finite=False)
            r[rest] += step
            r[free] = H.T @ r[rest]
            if len(free):
                change = H.T @ step - miss[free]
                w[free] += sp.linalg.solve_triangular(
                    triangle, change, lower=True, check_finite=False
                )
    return Least(w, r, normal)


def check_covered(network: Network) -> None:
    """Raise ValueError, which names the node, for a selection that the closed form does not
    cover.
    """
    instead = 'use relax, where stepper="prox-euler" holds its kinks'
    for node, why in reasons(network):
        operation = node.operation
        if isinstance(operation, MaxPool):
            raise ValueError(
                f"node {node.name!r} is a max-pool: its kinks lie between coordinates, and the"
                " exact flow covers kinks of one coordinate alone; use relax"
            )
        if not isinstance(operation, Elementwise) or node.inputs == (INPUT,):
            continue
        if operation.breaks != (0.0,) or any(operation.offsets):
            points = ", ".join(f"{point:g}" for point in operation.breaks)
            raise ValueError(
                f"node {node.name!r} is {operation!r}, with kinks at {points}: the exact flow"
                f" covers ReLUs and PReLUs, whose one kink is at 0; {instead}"
            )
        if why:
            raise ValueError(
                f"node {node.name!r} {why}: their kinks do not separate, which the exact flow does"
                " not cover; use network.separated(), or relax"
            )
