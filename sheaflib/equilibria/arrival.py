"""Whether a sample of the Newton iteration has arrived: at rest in every coordinate, on the pieces
that the last step was taken on (derived).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaflib.equilibria.energy import Pieces, PinnedEnergy
from sheaflib.equilibria.newton_steps import near_minimum
from sheaflib.equilibria.sides import Rule
from sheaflib.linear.rest import ROUNDING

VANISHING = 16 * np.finfo(float).eps  # of the largest coordinate: what may be rounding of a 0


@dataclass
class Before:
    """The size of the last gradient (B,), whether the step after it was a full one, whether that
    was predicted to lower V by no more than its rounding, and the pieces it was taken on.
    """

    size: np.ndarray
    full: np.ndarray
    flat: np.ndarray
    side: np.ndarray
    held: np.ndarray


def same_pieces(problem: PinnedEnergy, at: Pieces, before: Before, stiff: np.ndarray) -> np.ndarray:
    """Whether the last step has not changed the pieces, (B,); of stiff samples a kink at its break
    up to rounding may lie on either side."""
    other = (before.side != at.side) | (before.held != at.held)
    rows = np.flatnonzero(other.any(axis=1) & stiff)
    if len(rows):
        terms = problem.sheaf.edge_terms(at.w[rows], problem.x[rows], at.pattern[rows])
        for kink in problem.kinks.values():
            far = kink.distance(at.w[rows, kink.here]) > ROUNDING * terms[:, kink.here]
            other[rows, kink.here] &= far
    return ~other.any(axis=1)


def arrived(
    problem: PinnedEnergy, at: Pieces, gradient: np.ndarray, tol: float, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether every coordinate is at rest and, for a tol of ROUNDING, the minimum of the pieces is
    here; and the passes that it took to see, (B,) each, of those that are left.
    """
    done, passes = problem.at_rest(at, tol)
    rows = np.flatnonzero(done & (tol <= ROUNDING))
    if len(rows):
        done[rows], _, more = near_minimum(
            problem.rows(rows), at.rows(rows), gradient[rows], (left - passes)[rows]
        )
        passes[rows] += more
    return done, passes


def with_zeros(
    problem: PinnedEnergy, w: np.ndarray, side: np.ndarray, tol: float, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """w (B, N) with coordinates that vanish beside the largest one at 0, where that is at rest; w
    elsewhere. Also whether it is, and the passes that it took, (B,) each, of those that are left.

    Where all that a coordinate touches is 0, steps leave rounding of other coordinates on it, which
    is no small part of its own terms.
    """
    small = np.abs(w) <= VANISHING * np.abs(w).max(axis=1, keepdims=True)
    trial = np.where(small & ~problem.clamped, 0.0, w)
    at = problem.pieces(trial, side, Rule("track", True))
    done, passes = arrived(problem, at, problem.gradient(at), tol, left)
    return np.where(done[:, None], at.w, w), done, passes + 2


def why_not(converged: np.ndarray, causes: dict[str, np.ndarray]) -> str:
    """How many samples did not converge, each counted under the first cause that holds for it; ""
    when all did."""
    left, parts = ~converged, []
    for cause, holds in causes.items():
        count = int((left & holds).sum())
        if count:
            parts.append(f"{count} of {len(converged)} samples not converged {cause}")
        left = left & ~holds
    return "; ".join(parts)
