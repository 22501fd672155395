"""Every equilibrium of a small pinned sheaf, by enumeration of the 3^K faces that its K kinks cut Ω into (derived).

On a face every kink has z_j > 0, z_j < 0 or z_j = 0, and V is a strictly convex quadratic there. Kinked coordinates meet no other
one in V, so each leaves in closed form and one linear system in the other coordinates remains; its solution counts where it lies
in its face and is stationary. At a corner Q_± is the force at z_j = 0± (`kinks`): Q_− ≥ 0 ≥ Q_+ is a minimum in z_j, a convex kink;
Q_− < 0 < Q_+ a maximum, a concave one. Points whose corners are of either kind are stationary in Clarke's sense; those without a
concave kink are the strict local minima. Generically Σ (−1)^(concave kinks) = 1 over all of them, V being coercive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from sheaflib.checks import batch
from sheaflib.kinks import kinks
from sheaflib.network import INPUT
from sheaflib.pieces import names_a_out
from sheaflib.pins import Pin, ResolvedPins, resolve
from sheaflib.sheaf import NeuralSheaf, check_sheaf

MOST = 12              # 3^12 = 531 441 faces take seconds
ENTRIES = 2**19        # of the matrices of one chunk of faces


@dataclass(frozen=True, eq=False)
class Equilibria:
    """Every point where 0 lies in Clarke's gradient, by rising energy: cochains (n, N), energies (n,), sides (n, K), concave (n,).

    `units` (K,) are the kinked coordinates in Ω, sides their signs there (0: a corner), concave how many corners are maxima.
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

    def __repr__(self):
        return f"Equilibria({len(self.minima)} strict local minima of {len(self.cochains)} stationary points, {3**len(self.units)} faces)"


def enumerate_equilibria(sheaf: NeuralSheaf, x, pins: Pin | Sequence[Pin] = ()) -> Equilibria:
    """Every equilibrium of the pinned sheaf over one sample x (1, n_0).

    Raises ValueError for several samples, for more than 12 kinks that are not clamped, for pins on a_out, and as `kinks` does.

    >>> from sheaflib import Network, hard
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    >>> found = enumerate_equilibria(sheaf, [[0.0]], hard("z2", 2.0))
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
        raise ValueError("a_out is pinned: its edge is not quadratic, which the faces do not cover; use equilibrium")
    pinned = resolve(sheaf, pins, 1)
    faces = Faces(sheaf, x, pinned)
    count, parts = 3**len(faces.units), []
    chunk = max(1, ENTRIES // max(1, faces.matrix.size))
    for first in range(0, count, chunk):
        parts.append(faces.stationary(np.arange(first, min(first + chunk, count))))
    w, sides, concave = (np.concatenate(part) for part in zip(*parts))
    energy = sheaf.energy(w, np.repeat(x, len(w), axis=0)) + pinned.energy(w)
    order = np.argsort(energy, kind="stable")
    return Equilibria(w[order], energy[order], sides[order], concave[order], faces.units)


class Faces:
    """V of one sample, V(y, z) = ½ yᵀAy − bᵀy + Σ_j (½ P_j z_j² − Q_j z_j), Q_j = q_j + c_jᵀy, z the free kinks and y the rest.

    P, q (2, K) and c (2, K, m) belong to the sides − and +; all are read off the Laplacians of the two extreme patterns.
    """

    def __init__(self, sheaf: NeuralSheaf, x: np.ndarray, pins: ResolvedPins):
        gamma, pull = np.zeros(sheaf.N), np.zeros(sheaf.N)
        gamma[pins.soft_index], pull[pins.soft_index] = pins.gamma, pins.gamma * pins.soft_value[0]
        kinked = np.zeros(sheaf.N, dtype=bool)
        for kink in kinks(sheaf, gamma).values():
            kinked[kink.here] = True
        self.fixed = pins.impose(np.zeros((1, sheaf.N)))
        self.units, self.rest = np.flatnonzero(kinked & pins.free), np.flatnonzero(~kinked & pins.free)
        if len(self.units) > MOST:
            raise ValueError(f"sheaf has {len(self.units)} free kinks, expected at most {MOST}: 3^{len(self.units)} faces are too many")
        z, y, sides = self.units, self.rest, []
        for plus in (False, True):
            w = self.fixed.copy()
            w[:, z] = 0.0 if plus else -1.0                          # only its signs count
            pattern = sheaf.pattern(w, x)
            delta = sheaf.coboundary(pattern[0])
            L = (delta.T @ (sheaf.row_weights[:sheaf.N, None] * delta.toarray())) + np.diag(gamma)
            stress = sheaf.row_weights[:sheaf.N] * sheaf.discrepancy(self.fixed, x, pattern)[0]
            force = pull - gamma * self.fixed[0] - delta.T @ stress   # −∂V/∂w at the clamped values, 0 elsewhere
            sides.append((L[z, z], force[z], -L[np.ix_(z, y)]))
        self.matrix, self.load = L[np.ix_(y, y)], force[y]
        self.stiffness, self.constant, self.slope = (np.array(part) for part in zip(*sides))
        shares = self.slope[..., None] * self.slope[:, :, None] / self.stiffness[..., None, None]
        pulls = self.slope * (self.constant / self.stiffness)[..., None]
        self.shares, self.pulls = (np.insert(part, 1, 0.0, axis=0) for part in (shares, pulls))       # sides −, 0, +

    def stationary(self, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The stationary points among the minima of faces (n,), numbers in base 3: cochains (k, N), sides (k, K), concave (k,)."""
        K = len(self.units)
        sides = (faces[:, None] // 3**np.arange(K) % 3 - 1).astype(np.int8)
        off = sides != 0
        matrix = np.repeat(self.matrix[None], len(faces), axis=0)
        load = np.repeat(self.load[None], len(faces), axis=0)
        for j in range(K):
            matrix -= self.shares[sides[:, j] + 1, j]
            load += self.pulls[sides[:, j] + 1, j]
        y = np.linalg.solve(matrix, load[..., None])[..., 0]
        minus, plus = (self.constant[s] + y @ self.slope[s].T for s in (0, 1))
        z = np.where(off, np.where(sides > 0, plus / self.stiffness[1], minus / self.stiffness[0]), 0.0)
        concave = ~off & (minus < 0) & (plus > 0)
        corner = ~off & (minus >= 0) & (plus <= 0)
        here = ((off & (np.sign(z) == sides)) | concave | corner).all(axis=1)
        w = np.repeat(self.fixed, int(here.sum()), axis=0)
        w[:, self.rest], w[:, self.units] = y[here], z[here]
        return w, sides[here], concave[here].sum(axis=1)
