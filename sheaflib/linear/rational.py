"""Exact rational arithmetic for small matrices: every float is a rational number, so Lemma 3.2 can
be checked without tolerance.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from numbers import Rational
from typing import Iterable

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.support.checks import brief, items, real_array

Matrix = list[list[Fraction]]


def rational(matrix: ArrayLike | sp.sparse.sparray) -> Matrix:
    """The entries of a dense or sparse real matrix as the exact rational numbers that the floats
    are.
    """
    dense = real_array(
        "matrix", matrix.toarray() if hasattr(matrix, "toarray") else matrix, (None, None)
    )
    return [[Fraction(float(entry)) for entry in row] for row in dense]


def _exact(name: str, value: Iterable, square: bool = False) -> Matrix:
    """`value` checked: rows of exact numbers, equally long, and when `square` as many as they have
    entries.
    """
    rows = [items(f"a row of {name}", row) for row in items(name, value)]
    width = len(rows) if square else len(rows[0]) if rows else 0
    for row in rows:
        if len(row) != width:
            raise ValueError(f"{name} has a row of {len(row)} entries, expected {width} in each")
    return [[_number(name, entry) for entry in row] for row in rows]


def _number(name: str, entry: object) -> Fraction:
    if isinstance(entry, Fraction):
        return entry
    if isinstance(entry, (bool, np.bool_)) or not isinstance(entry, Rational):
        raise TypeError(
            f"{name} holds {brief(entry)}, expected whole numbers and fractions: rational(…) makes"
            " them of floats"
        )
    return Fraction(int(entry.numerator), int(entry.denominator))  # NumPy's would overflow


def gram(delta: Matrix) -> Matrix:
    """δᵀδ, exactly."""
    columns = list(zip(*_exact("delta", delta)))
    return [
        [sum((p * q for p, q in zip(a, b) if p and q), Fraction(0)) for b in columns]
        for a in columns
    ]


def pivots(matrix: Matrix) -> list[Fraction]:
    """The pivots of Gaussian elimination without exchanges; all positive exactly when a symmetric
    matrix is positive definite.

    Their product is the determinant. Raises ZeroDivisionError at a zero pivot.

    >>> pivots(rational(np.array([[2.0, 1.0], [1.0, 2.0]])))
    [Fraction(2, 1), Fraction(3, 2)]
    """
    rows, found = _exact("matrix", matrix, square=True), []
    for k, pivot_row in enumerate(rows):
        found.append(pivot_row[k])
        for row in rows[k + 1 :]:
            if row[k]:
                if not pivot_row[k]:
                    raise ZeroDivisionError(f"the matrix has a zero pivot in row {k}")
                factor = row[k] / pivot_row[k]
                for j in range(k, len(row)):
                    if pivot_row[j]:
                        row[j] -= factor * pivot_row[j]
    return found


def determinant(matrix: Matrix) -> Fraction:
    """The determinant, exactly; the matrix must have no zero pivot before its last (true of δ_Ω and
    L).

    >>> determinant(rational([[1, 0], [5, 1]]))
    Fraction(1, 1)
    """
    product = Fraction(1)
    for pivot in pivots(matrix):
        product *= pivot
    return product


def solve(matrix: Matrix, right: list[Fraction]) -> list[Fraction]:
    """The solution of a linear system, by fraction-free elimination over the integers (Bareiss);
    ZeroDivisionError when singular.

    >>> solve(rational([[0, 2], [1, 1]]), [Fraction(1), Fraction(1)])
    [Fraction(1, 2), Fraction(1, 2)]
    """
    matrix = _exact("matrix", matrix, square=True)
    right = [_number("right", entry) for entry in items("right", right)]
    n, rows, before = len(matrix), [], 1
    if len(right) != n:
        raise ValueError(f"right has {len(right)} entries, expected {n}: one a row of matrix")
    for left, value in zip(matrix, right):
        common = lcm(value.denominator, *(entry.denominator for entry in left))
        rows.append([entry.numerator * (common // entry.denominator) for entry in (*left, value)])
    for k in range(n):
        pivot = next((i for i in range(k, n) if rows[i][k]), None)
        if pivot is None:
            raise ZeroDivisionError(
                f"the matrix is singular: its first {k + 1} columns are dependent"
            )
        rows[k], rows[pivot] = rows[pivot], rows[k]
        top = rows[k]
        for row in rows[k + 1 :]:
            factor = row[k]
            row[k + 1 :] = [
                (top[k] * a - factor * b) // before for a, b in zip(row[k + 1 :], top[k + 1 :])
            ]
        before = top[k]
    found = [Fraction(0)] * n
    for k in reversed(range(n)):
        found[k] = (rows[k][n] - sum(rows[k][j] * found[j] for j in range(k + 1, n))) / Fraction(
            rows[k][k]
        )
    return found
