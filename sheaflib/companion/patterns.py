"""Spectra of many patterns at once, for notebook 02: δ_Ω is affine in the pattern, so all 2^M
coboundaries of a small network come from M + 1 of them (Lemma 3.2).
"""

from __future__ import annotations

from itertools import product

import numpy as np

from sheaflib.companion.random_networks import cube_points
from sheaflib.sheaves.neural import NeuralSheaf

AT_ONCE = 1000  # matrices in a stack


def all_patterns(sheaf: NeuralSheaf) -> np.ndarray:
    """Every activation pattern of a sheaf: (2^M, M) of zeros and ones."""
    return np.array(list(product((0.0, 1.0), repeat=sheaf.M)))


def coboundaries(sheaf: NeuralSheaf, patterns: np.ndarray) -> np.ndarray:
    """δ_Ω for patterns (B, M), entries in [0, 1] allowed: dense, (B, N, N)."""
    zero = sheaf.coboundary(np.zeros(sheaf.M)).toarray()
    units = np.array([sheaf.coboundary(unit).toarray() - zero for unit in np.eye(sheaf.M)])
    return zero + np.tensordot(patterns, units, axes=1)


def eigenvalues(sheaf: NeuralSheaf, patterns: np.ndarray) -> np.ndarray:
    """All eigenvalues of L for patterns (B, M), ascending: (B, N)."""
    found = []
    for part in np.array_split(patterns, len(patterns) // AT_ONCE + 1):
        delta = coboundaries(sheaf, part)
        found.append(np.linalg.eigvalsh(delta.transpose(0, 2, 1) @ delta))
    return np.concatenate(found)


def rounding(values: np.ndarray) -> np.ndarray:
    """By how much computed eigenvalues (…, N) may be wrong: N ε λ_max, (…)."""
    return values.shape[-1] * np.finfo(float).eps * values[..., -1]


def cube_spectra(sheaf: NeuralSheaf, rng: np.random.Generator, points: int) -> dict:
    """Eigenvalues at random points of the cube of sliding modes, on edges and inside: place ->
    (points, N).
    """
    places = cube_points(rng, points, sheaf.M)
    return {place: eigenvalues(sheaf, s) for place, s in places.items()}


def beyond(points: np.ndarray, vertices: np.ndarray) -> dict[str, int]:
    """How many points of a cube have eigenvalues (P, N) beyond those of all its vertices (V, N), by
    more than rounding.
    """
    below = points[:, 0] < vertices[:, 0].min() - rounding(points)
    above = points[:, -1] > vertices[:, -1].max() + rounding(points)
    return {"below-the-vertices": int(below.sum()), "above-the-vertices": int(above.sum())}


def violations(values: np.ndarray, bound: float) -> np.ndarray:
    """How many spectra (B, N) break Π λ = 1, λ₁ ≤ 1 ≤ λ_max, and λ_max ≤ bound: (3,).

    A logarithm of a product is compared with the rounding that its factors carry; only spectra for
    which that leaves a digit take part in the product.
    """
    allowed = (rounding(values)[:, None] / np.maximum(values, rounding(values)[:, None])).sum(1)
    readable = allowed < 0.1
    product_is_off = np.abs(np.log(values[readable]).sum(axis=1)) > allowed[readable]
    one_side = (values[:, 0] > 1 + rounding(values)) | (values[:, -1] < 1 - rounding(values))
    too_large = values[:, -1] > bound + rounding(values)
    return np.array([int(found.sum()) for found in (product_is_off, one_side, too_large)])
