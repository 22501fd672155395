"""The compiler of the steps, where numba is there, and the compiled output edge."""

from __future__ import annotations

from typing import Any

import numpy as np

njit: Any = None  # numba is optional: EulerStepper does the same, slower
try:
    from numba import njit
except ImportError:
    pass

compiled = njit(cache=True, error_model="numpy") if njit is not None else lambda function: function


@compiled
def output_edge(
    w: np.ndarray,
    n: int,
    last: int,
    output: int,
    jacobian: bool,
    weight: np.ndarray,
    p: np.ndarray,
    stress: np.ndarray,
    f: np.ndarray,
) -> float:
    """Stress and forces of the edge a_out − φ(z), z = w[last:last + n_out]; returns its energy."""
    potential = _phi(w[last : last + len(p)], output, p)
    energy, dot = 0.0, 0.0
    for j in range(len(p)):
        e = w[n + j] - p[j]
        stress[n + j] = weight[n + j] * e
        f[n + j] = -stress[n + j]
        dot += p[j] * stress[n + j]
        energy += 0.5 * stress[n + j] * e
        potential -= w[n + j] * w[last + j]
    for j in range(len(p)):
        if not jacobian:
            f[last + j] += stress[n + j]
        elif output == 1:
            f[last + j] += p[j] * (1 - p[j]) * stress[n + j]
        else:
            f[last + j] += p[j] * (stress[n + j] - dot)
    return energy if jacobian else weight[n] * potential


@compiled
def _phi(z: np.ndarray, output: int, p: np.ndarray) -> float:
    """p = φ(z) for sigmoid (1) or softmax (2); returns the potential ψ(z)."""
    if output == 1:
        potential = 0.0
        for j in range(len(z)):
            p[j] = 1 / (1 + np.exp(-z[j])) if z[j] >= 0 else np.exp(z[j]) / (1 + np.exp(z[j]))
            potential += max(z[j], 0.0) + np.log1p(np.exp(-abs(z[j])))
        return potential
    top, total = z.max(), 0.0
    for j in range(len(z)):
        p[j] = np.exp(z[j] - top)
        total += p[j]
    for j in range(len(z)):
        p[j] /= total
    return top + np.log(total)
