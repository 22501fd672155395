"""Every equilibrium of a small pinned sheaf, by enumeration of the faces that its kinks cut Ω into
(derived).

On a face V is a strictly convex quadratic (`faces`); its minimum there counts where it lies in the
face and is stationary across each kink.
* A coordinate that ReLUs or clamps read is on a side of a break b or at it, in a corner. Q_± is the
  force at z = b±: Q_− ≥ 0 ≥ Q_+ is a minimum in z, Q_− < 0 < Q_+ a maximum.
* In a window of a max-pool the entries T are tied at the maximum t, the others lie below. f_j is
  the force on a tied entry without the pooling edge ½ w (m − t)². Along the tie Σ_T f_j =
  w (t − m), and 0 lies in Clarke's gradient where all f_j have the sign of t − m. All f_j ≥ 0,
  hence m ≤ t, is a minimum in the differences of the tied entries; all f_j < 0, hence m > t, a
  maximum in these |T| − 1 directions: V falls whichever entry leaves the tie, up or down. A clamped
  entry that is tied counts with what is left of the sum, w (t − m) − Σ f_j.

Points that are a minimum across every kink are the strict local minima: in each cell that touches
one, V is strictly convex and does not fall to first order. All others are saddles or maxima. With
the number of directions in which V is a maximum across kinks, Σ (−1)^number = 1 over all points,
V being coercive, unless some force vanishes. Where it does, 0 may lie on the rim of Clarke's
gradient at a point that is no minimum (f_j = 0 with m > t, or Q_− = 0 < Q_+): V rises on one side
of it and falls on the other, and it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.equilibria.energy import names_a_out
from sheaflib.equilibria.faces import Faces
from sheaflib.equilibria.rounded_faces import Rounded, nearest
from sheaflib.networks.graph import INPUT
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, resolve
from sheaflib.support.checks import batch

ENTRIES = 2**19  # of the matrices of one chunk of faces
EXACT = 3**9  # faces that exact arithmetic takes in some ten seconds


@dataclass(frozen=True, eq=False)
class Equilibria:
    """All equilibria of a small pinned sheaf: what ``enumerate_equilibria`` returns.

    They are every strict local minimum, and every saddle or maximum where 0 lies inside Clarke's
    gradient, by rising energy. There are n of them, and K free kinks.

    Parameters
    ----------
    cochains : ndarray of shape (n, N)
        The equilibria.
    energies : ndarray of shape (n,)
        Their energies.
    sides : ndarray of int of shape (n, K)
        Where each equilibrium lies at each kink. For a coordinate that ReLUs or clamps read it is
        −1 below its lowest break, 0 there, in a corner, 1 above it, 2 at the next break and 3 above
        that; so for a ReLU it is the sign. For a window of a max-pool it is Σ 2^k over those of its
        places k that are tied at the maximum, one power of 2 where the maximum is alone.
    concave : ndarray of int of shape (n,)
        The number of directions across kinks in which V is a maximum: one for a concave corner, one
        less than there are entries for a tie.
    units : ndarray of int of shape (K,)
        The first of the places of each kink.
    places : tuple of tuple of int
        The coordinates of each kink: one that elementwise selections read, or those entries of a
        window which may be tied, the free ones first and then the highest clamped one.
    faces : int
        How many faces were enumerated.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, hard
    >>> from sheaflib.equilibria.enumeration import enumerate_equilibria
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    >>> found = enumerate_equilibria(sheaf, [[0.0]], pins=hard("z2", 2.0))
    >>> found.sides[:, 0], found.concave  # two minima, and between them a saddle on the kink
    (array([-1,  1,  0], dtype=int32), array([0, 0, 1]))
    """

    cochains: np.ndarray
    energies: np.ndarray
    sides: np.ndarray
    concave: np.ndarray
    units: np.ndarray
    places: tuple[tuple[int, ...], ...]
    faces: int

    @property
    def minima(self) -> np.ndarray:
        """The strict local minima by rising energy, the global one first, shape (m, N)."""
        return self.cochains[self.concave == 0]

    @property
    def index_sum(self) -> int:
        """The sum of (−1)^concave, which is 1 unless some force vanishes at a corner or a tie."""
        return int((1 - 2 * (self.concave % 2)).sum())

    def __repr__(self) -> str:
        return (
            f"Equilibria({len(self.minima)} strict local minima of {len(self.cochains)} stationary"
            f" points, {self.faces} faces)"
        )


def enumerate_equilibria(
    sheaf: NeuralSheaf, x: ArrayLike, *, pins: Pin | Sequence[Pin] = ()
) -> Equilibria:
    """List every equilibrium of a small pinned sheaf, over one sample.

    Floating point only rules out faces where a sign is beyond its rounding error. All others are
    decided, and their points and energies found, in exact rational arithmetic, so that none is lost
    or invented and each number is the float nearest to the true one.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network whose kinks lie apart, whatever its selections.
    x : array_like of shape (1, n_0)
        The input.
    pins : Pin or sequence of Pin, optional
        Hard and soft pins, but none on ``a_out``.

    Returns
    -------
    Equilibria
        The equilibria by rising energy, the strict local minima and the others.

    Raises
    ------
    ValueError
        For several samples, for a network that is not separate (see ``Network.separated``), for
        more than 3¹² faces or a window of more than 12 free entries, and for pins on ``a_out``.
    ArithmeticError
        Where scales are so uneven that more than 3⁹ faces are left for exact arithmetic.
    OverflowError
        Where a result leaves float64.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, hard
    >>> from sheaflib.equilibria.enumeration import enumerate_equilibria
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
    left = possible_faces(faces)
    found = [(digits, *point) for digits in left if (point := faces.point(digits))]
    digits, points, energies, concave = zip(*found)
    w = np.repeat(faces.fixed[None], len(found), axis=0)
    w[:, faces.free] = nearest(points)[:, faces.free]
    energies = nearest(energies)
    order = np.argsort(energies, kind="stable")
    sides = np.array([faces.sides(face) for face in digits], dtype=np.int32)
    places = tuple(kink.places for kink in faces.kinks)
    return Equilibria(
        w[order],
        energies[order],
        sides.reshape(len(found), len(places))[order],
        np.array(concave)[order],
        np.array([place[0] for place in places], dtype=int),
        places,
        faces.count,
    )


def possible_faces(faces: Faces) -> list[np.ndarray]:
    """The faces, each as its digits (K,), that floating point does not rule out; ArithmeticError
    for more than exact arithmetic can take.
    """
    rounded, left = Rounded(faces), []
    chunk = max(1, ENTRIES // max(1, len(faces.rest) ** 2))
    with np.errstate(all="ignore"):
        for first in range(0, faces.count, chunk):
            digits = faces.digits(np.arange(first, min(first + chunk, faces.count)))
            left.extend(digits[rounded.possible(digits)])
            if len(left) > EXACT:
                raise ArithmeticError(
                    f"more than {EXACT} of {faces.count} faces are undecided by float64, "
                    "which is too many for exact arithmetic: "
                    "the scales of weights, edge weights and pins are too uneven"
                )
    return left
