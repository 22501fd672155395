"""Every equilibrium of a small pinned sheaf, by enumeration of the 3^K faces that its K kinks cut Ω
into (derived).

On a face every kink has z_j > 0, z_j < 0 or z_j = 0, and V is a strictly convex quadratic there.
Kinked coordinates meet no other one in V, so each leaves in closed form and one linear system in
the other coordinates remains; its solution counts where it lies in its face and is stationary. At a
corner Q_± is the force at z_j = 0± (`kinks`): Q_− ≥ 0 ≥ Q_+ is a minimum in z_j, a convex kink; Q_−
< 0 < Q_+ a maximum, a concave one. Points whose corners are of either kind are stationary in
Clarke's sense; those without a concave kink are the strict local minima. Generically Σ
(−1)^(concave kinks) = 1 over all of them, V being coercive.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.equilibria.energy import names_a_out
from sheaflib.equilibria.kinks import kinks
from sheaflib.linear.rational import solve
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import INPUT
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, Pins, resolve
from sheaflib.support.checks import batch

MOST = 12  # 3^12 = 531 441 faces take seconds
ENTRIES = 2**19  # of the matrices of one chunk of faces
EXACT = 3**9  # faces that exact arithmetic takes in some ten seconds
TINY = 1e-300  # what underflow may have hidden


@dataclass(frozen=True, eq=False)
class Equilibria:
    """Every point where 0 lies in Clarke's gradient, by rising energy: cochains (n, N), energies
    (n,), sides (n, K), concave (n,).

    `units` (K,) are the kinked coordinates in Ω, sides their signs there (0: a corner), concave how
    many corners are maxima.
    """

    cochains: np.ndarray
    energies: np.ndarray
    sides: np.ndarray
    concave: np.ndarray
    units: np.ndarray

    @property
    def minima(self) -> np.ndarray:
        """The strict local minima by rising energy, the global one first: (m, N)."""
        return self.cochains[self.concave == 0]

    @property
    def index_sum(self) -> int:
        """Σ (−1)^concave: 1 unless some force vanishes at a corner."""
        return int((1 - 2 * (self.concave % 2)).sum())

    def __repr__(self) -> str:
        return (
            f"Equilibria({len(self.minima)} strict local minima of {len(self.cochains)} stationary"
            f" points, {3 ** len(self.units)} faces)"
        )


def enumerate_equilibria(
    sheaf: NeuralSheaf, x: ArrayLike, *, pins: Pin | Sequence[Pin] = ()
) -> Equilibria:
    """Every equilibrium of the pinned sheaf over one sample x (1, n_0).

    Range: any. Floating point only rules out faces where a sign is beyond its rounding error; all
    others are decided, and their points and energies found, in exact rational arithmetic, so that
    none is lost or invented and each number is the float nearest to the true one. ArithmeticError
    where scales are so uneven that more than 3⁹ faces are left, OverflowError where a result leaves
    float64. Raises ValueError for several samples, for more than 12 kinks that are not clamped, for
    pins on a_out, and as `kinks` does.

    >>> from sheaflib import Network, hard
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    >>> found = enumerate_equilibria(sheaf, [[0.0]], pins=hard("z2", 2.0))
    >>> found
    Equilibria(2 strict local minima of 3 stationary points, 3 faces)
    >>> found.minima.round(4)
    array([[-0.5   ,  1.    ,  2.    ],
           [ 0.3333,  1.1667,  2.    ]])
    >>> found.energies.round(4), found.concave, found.index_sum
    (array([1.    , 1.0417, 1.125 ]), array([0, 0, 1]), 1)
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in)
    if len(x) != 1:
        raise ValueError(f"x has {len(x)} rows, expected 1: the faces are those of one sample")
    if names_a_out(sheaf, pins):
        raise ValueError(
            "a_out is pinned: its edge is not quadratic, which the faces do not cover; use"
            " equilibrium"
        )
    pinned = resolve(sheaf, pins, 1)
    faces = Faces(sheaf, x, pinned)
    count, left = 3 ** len(faces.units), []
    chunk = max(1, ENTRIES // max(1, faces.size))
    with np.errstate(all="ignore"):
        for first in range(0, count, chunk):
            sides = faces.signs(np.arange(first, min(first + chunk, count)))
            left.extend(sides[faces.rounded.possible(sides)])
            if len(left) > EXACT:
                raise ArithmeticError(
                    f"more than {EXACT} of {count} faces are undecided by float64, "
                    "which is too many for exact arithmetic: "
                    "the scales of weights, edge weights and pins are too uneven"
                )
    found = [
        (side, *point) for side, point in ((side, faces.point(side)) for side in left) if point
    ]
    found.sort(key=lambda entry: entry[2])
    side, w, energy, concave = zip(*found)
    return Equilibria(np.array(w), np.array(energy), np.array(side), np.array(concave), faces.units)


class Faces:
    """V of one sample, V(y, z) = V_0 + ½ yᵀAy − bᵀy + Σ_j (½ P_j z_j² − Q_j z_j), Q_j = q_j +
    c_jᵀy, z the free kinks and y the rest.

    P, q (2, K) and c (2, K, m) belong to the sides − and +. All are exact rational numbers, as the
    given floats are, and so are the points of the faces; floating point only rules faces out, where
    a sign is beyond its rounding error.
    """

    def __init__(self, sheaf: NeuralSheaf, x: np.ndarray, pins: Pins):
        springs, targets = np.zeros(sheaf.N), np.zeros(sheaf.N)
        springs[pins.soft_index], targets[pins.soft_index] = pins.gamma, pins.soft_value[0]
        kinked = np.zeros(sheaf.N, dtype=bool)
        for kink in kinks(sheaf, springs).values():
            kinked[kink.here] = True
        self.fixed = pins.impose(np.zeros((1, sheaf.N)))
        self.units = np.flatnonzero(kinked & pins.free)
        self.rest = np.flatnonzero(~kinked & pins.free)
        if len(self.units) > MOST:
            raise ValueError(
                f"sheaf has {len(self.units)} free kinks, expected at most {MOST}:"
                f" 3^{len(self.units)} faces are too many"
            )
        weights, gamma, rest, fixed = (
            exact_numbers(v)
            for v in (sheaf.row_weights[: sheaf.N], springs, targets, self.fixed[0])
        )
        offset, sides = Fraction(float(pins.offset[0])), []
        for plus in (False, True):
            w = self.fixed.copy()
            w[:, self.units] = 0.0 if plus else -1.0  # only its signs count
            delta, c = exact_system(sheaf, sheaf.pattern(w, x), x)
            lack = [
                sum((v * fixed[j] for j, v in row.items()), -shift) for row, shift in zip(delta, c)
            ]
            L = [
                [gamma[i] if i == j else Fraction(0) for j in range(sheaf.N)]
                for i in range(sheaf.N)
            ]
            # −∂V/∂w at the clamped values, 0 elsewhere
            force = [g * (t - v) for g, t, v in zip(gamma, rest, fixed)]
            for weight, row, r in zip(weights, delta, lack):
                for i, v in row.items():
                    force[i] -= v * weight * r
                    for j, u in row.items():
                        L[i][j] += weight * v * u
            sides.append(
                (
                    [L[z][z] for z in self.units],
                    [force[z] for z in self.units],
                    [[-L[z][y] for y in self.rest] for z in self.units],
                )
            )
        self.least = (
            offset
            + (
                sum(p * r * r for p, r in zip(weights, lack))
                + sum(g * (v - t) ** 2 for g, t, v in zip(gamma, rest, fixed))
            )
            / 2
        )
        self.matrix = [[L[i][j] for j in self.rest] for i in self.rest]
        self.load = [force[y] for y in self.rest]
        self.stiffness, self.constant, self.slope = (list(part) for part in zip(*sides))
        self.shares = [
            [[[u * v / P for v in c] for u in c] for c, P in zip(*side)]
            for side in zip(self.slope, self.stiffness)
        ]
        self.pulls = [
            [[v * q / P for v in c] for c, q, P in zip(*side)]
            for side in zip(self.slope, self.constant, self.stiffness)
        ]
        self.rounded = Rounded(self)

    @property
    def size(self) -> int:
        """How many numbers the matrix of one face has."""
        return len(self.rest) ** 2

    def signs(self, faces: np.ndarray) -> np.ndarray:
        """The sides −1, 0, 1 of faces (n,), numbers in base 3: (n, K)."""
        return (faces[:, None] // 3 ** np.arange(len(self.units)) % 3 - 1).astype(np.int8)

    def point(self, sides: np.ndarray) -> tuple[np.ndarray, float, int] | None:
        """The minimum of one face (K,) if it is stationary: w (N,), V and the number of concave
        kinks, each the float nearest to it."""
        sides, matrix, load = sides.tolist(), self.matrix, self.load
        for j in (j for j, side in enumerate(sides) if side):
            share, pull = self.shares[sides[j] > 0][j], self.pulls[sides[j] > 0][j]
            matrix = [[a - b for a, b in zip(*rows)] for rows in zip(matrix, share)]
            load = [a + b for a, b in zip(load, pull)]
        y = solve(matrix, load)
        z, concave, drop = [], 0, sum((b * v for b, v in zip(self.load, y)), Fraction(0))
        for j, side in enumerate(sides):
            minus, plus = (
                self.constant[s][j] + sum((c * v for c, v in zip(self.slope[s][j], y)), Fraction(0))
                for s in (0, 1)
            )
            force = plus if side > 0 else minus
            if (
                side
                and force * side <= 0
                or not side
                and not (minus >= 0 >= plus or minus < 0 < plus)
            ):
                return None
            z.append(force / self.stiffness[side > 0][j] if side else Fraction(0))
            drop += self.constant[side > 0][j] * z[-1]
            concave += not side and minus < 0
        w = self.fixed[0].copy()
        w[self.rest], w[self.units] = nearest(y), nearest(z)
        return w, nearest([self.least - drop / 2])[0], concave


class Rounded:
    """The numbers of `Faces` rounded to floats, each to a relative ε, and what follows from that
    for a face."""

    def __init__(self, faces: Faces):
        K, m = len(faces.units), len(faces.rest)
        self.matrix, self.load = nearest(faces.matrix).reshape(m, m), nearest(faces.load).reshape(m)
        self.constant = nearest(faces.constant).reshape(2, K)
        self.slope = nearest(faces.slope).reshape(2, K, m)
        shares = nearest(faces.shares).reshape(2, K, m, m)
        pulls = nearest(faces.pulls).reshape(2, K, m)
        # sides −, 0, +
        self.shares = np.insert(shares, 1, 0.0, axis=0)
        self.pulls = np.insert(pulls, 1, 0.0, axis=0)
        self.epsilon = 4 * (K + m + 4) * np.finfo(float).eps

    def possible(self, sides: np.ndarray) -> np.ndarray:
        """Which faces (n, K) may hold a stationary point, (n,) of bool: False only where a sign is
        wrong beyond its rounding error.

        The error of y is bounded with an approximate inverse R of the matrix M of a face: |y − ŷ| ≤
        (1 − |1 − RM|)⁻¹ |R| |b − Mŷ|.
        """
        n, K = sides.shape
        matrix, load = (np.repeat(part[None], n, axis=0) for part in (self.matrix, self.load))
        matrix_terms, load_terms = np.abs(matrix), np.abs(load)
        for j in range(K):
            share, pull = self.shares[sides[:, j] + 1, j], self.pulls[sides[:, j] + 1, j]
            matrix -= share
            load += pull
            matrix_terms += np.abs(share)
            load_terms += np.abs(pull)
        try:
            R = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            return np.ones(n, dtype=bool)
        y = times(R, load)
        short = np.abs(load - times(matrix, y)) + self.epsilon * (
            times(matrix_terms, np.abs(y)) + load_terms
        )
        off = times(np.abs(R), short)
        loss = np.abs(np.eye(len(self.load)) - R @ matrix) + self.epsilon * (
            np.abs(R) @ matrix_terms
        )
        scale = 1 / np.sqrt(np.maximum(np.diagonal(matrix, axis1=1, axis2=2), TINY))
        rate = (times(loss, scale) / scale).max(axis=1, initial=0)
        off += scale * (rate / (1 - rate) * (off / scale).max(axis=1, initial=0))[:, None]
        minus, plus = (self.constant[s] + y @ self.slope[s].T for s in (0, 1))
        doubt = [
            off @ np.abs(self.slope[s].T)
            + TINY
            + self.epsilon * (np.abs(self.constant[s]) + np.abs(y) @ np.abs(self.slope[s].T))
            for s in (0, 1)
        ]
        wrong = np.where(
            sides > 0,
            plus < -doubt[1],
            np.where(
                sides < 0,
                minus > doubt[0],
                (minus > doubt[0]) & (plus > doubt[1]) | (minus < -doubt[0]) & (plus < -doubt[1]),
            ),
        )
        return ~((rate < 0.5)[:, None] & wrong).any(axis=1)


def times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(n, m, m) and (n, m) -> (n, m)."""
    return (matrices @ vectors[:, :, None])[:, :, 0]


def nearest(numbers: Sequence) -> np.ndarray:
    """Nested lists of rational numbers as the floats nearest to them; OverflowError where one
    leaves float64."""
    try:
        return np.array(numbers, dtype=float)
    except OverflowError:
        raise OverflowError(
            "the stiffness of V or a stationary point leaves float64: "
            "weights, inputs or pins are too large"
        ) from None


def exact_numbers(vector: np.ndarray) -> list[Fraction]:
    """A vector of floats as the rational numbers that they are."""
    return [Fraction(float(v)) for v in vector]


def exact_system(
    sheaf: NeuralSheaf, pattern: np.ndarray, x: np.ndarray
) -> tuple[list[dict[int, Fraction]], list[Fraction]]:
    """δ by rows, {column: entry}, and c of one sample (1, n_0), exactly."""
    inputs = exact_numbers(x[0])
    delta = [{i: Fraction(1)} for i in range(sheaf.N)]
    c = [Fraction(0)] * sheaf.N
    for node in sheaf.network.nodes:
        start, columns = sheaf.layout[node.name].start, sheaf.columns(node)
        boundary = np.concatenate(
            [
                (
                    np.arange(sheaf.network.n_in)
                    if name == INPUT
                    else np.zeros(sheaf.layout[name].stop - sheaf.layout[name].start, int)
                )
                for name in node.inputs
            ]
        )
        if isinstance(node.operation, Affine):
            for i, b in enumerate(exact_numbers(node.operation.bias)):
                c[start + i] += b
        for i, j, entry in zip(*node.operation.triplets(sheaf.own(node, pattern)[0])):
            if columns[j] < 0:
                c[start + i] += Fraction(float(entry)) * inputs[boundary[j]]
            elif entry:
                delta[start + i][columns[j]] = delta[start + i].get(
                    columns[j], Fraction(0)
                ) - Fraction(float(entry))
    return delta, c
