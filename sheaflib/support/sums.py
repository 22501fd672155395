"""Sums over entries that share a place, without a loop in Python."""

from __future__ import annotations

import numpy as np


def sums(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """In every row the sums of the values that share a place, added one after the other from the
    left: (B, size), 0 where there is none.

    places is (K,) or (B, K), integers in 0 … size − 1; values is (B, K).

    >>> sums(np.array([0, 2, 0]), np.array([[1.0, 5.0, 2.0]]), 4)
    array([[3., 0., 5., 0.]])
    """
    rows = len(values)
    if rows == 1:
        return np.bincount(places.ravel(), values[0], minlength=size)[None]
    flat = (places + size * np.arange(rows)[:, None]).ravel()
    return np.bincount(flat, values.ravel(), minlength=rows * size).reshape(rows, size)
