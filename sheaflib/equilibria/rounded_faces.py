"""What floating point alone can say of the faces of Ω: which ones hold no stationary point
(derived).
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from sheaflib.equilibria.faces import Faces
from sheaflib.equilibria.kink_faces import Kink

TINY = 1e-300  # what underflow may have hidden


class Rounded:
    """The numbers of `Faces` rounded to floats, each to a relative ε, and what follows from that
    for a face."""

    def __init__(self, faces: Faces):
        K, m = len(faces.kinks), len(faces.rest)
        self.matrix, self.load = nearest(faces.matrix).reshape(m, m), nearest(faces.load).reshape(m)
        self.kinks = [RoundedKink(kink, m) for kink in faces.kinks]
        parabolas = sum(max(len(face.parabolas) for face in kink.faces) for kink in faces.kinks)
        self.epsilon = 4 * (K + parabolas + m + 4) * np.finfo(float).eps

    def possible(self, digits: np.ndarray) -> np.ndarray:
        """Which faces (n, K) may hold a stationary point, (n,) of bool: False only where a sign is
        wrong beyond its rounding error.

        The error of y is bounded with an approximate inverse R of the matrix M of a face: |y − ŷ| ≤
        (1 − |1 − RM|)⁻¹ |R| |b − Mŷ|.
        """
        n = len(digits)
        matrix, load = (np.repeat(part[None], n, axis=0) for part in (self.matrix, self.load))
        matrix_terms, load_terms = np.abs(matrix), np.abs(load)
        for kink, digit in zip(self.kinks, digits.T):
            share, pull = kink.share[digit], kink.pull[digit]
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
        wrong = np.zeros(n, dtype=bool)
        for kink, digit in zip(self.kinks, digits.T):
            wrong |= kink.wrong(digit, y, off, self.epsilon)
        return ~((rate < 0.5) & wrong)


class RoundedKink:
    """The faces of one kink as arrays, one row a face (F, …), and the forms of each as (F, S)
    numbers α and (F, S, m) numbers β, filled up with zeros.
    """

    def __init__(self, kink: Kink, m: int):
        none = [[0.0] * m for _ in range(m)]
        shares = [none if face.share is None else face.share for face in kink.faces]
        self.share = nearest(shares).reshape(len(shares), m, m)
        self.pull = nearest([face.pull for face in kink.faces]).reshape(len(shares), m)
        self.inside = tabulated([face.inside for face in kink.faces], m)
        self.balance = tabulated([face.balance for face in kink.faces], m)

    def wrong(self, face: np.ndarray, y: np.ndarray, off: np.ndarray, epsilon: float) -> np.ndarray:
        """Where a point y (n, m), known up to off (n, m), is certainly no stationary point of its
        face (n,): (n,) of bool.
        """
        found = []
        for alpha, beta in (self.inside, self.balance):
            a, b = alpha[face], beta[face]
            form = a + times(b, y)
            b = np.abs(b)
            doubt = times(b, off) + TINY + epsilon * (np.abs(a) + times(b, np.abs(y)))
            found += [(form > doubt).any(axis=1), (form < -doubt).any(axis=1)]
        _, outside, rises, falls = found
        return outside | rises & falls


def tabulated(forms: Sequence[Sequence], m: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers α (F, S) and β (F, S, m) of the forms of F faces; those that a face lacks are
    0.
    """
    most = max(len(some) for some in forms)
    alpha, beta = np.zeros((len(forms), most)), np.zeros((len(forms), most, m))
    for k, some in enumerate(forms):
        if some:
            alpha[k, : len(some)] = nearest([a for a, _ in some])
            beta[k, : len(some)] = nearest([b for _, b in some])
    return alpha, beta


def times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(n, k, m) and (n, m) -> (n, k)."""
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
