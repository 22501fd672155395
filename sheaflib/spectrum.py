"""Eigenvalues of the restricted Laplacian, and a bound of the largest one that needs no pattern (paper §2, App.).

The paper calls λ₁ of this Dirichlet problem "Fiedler". With an output φ ≠ identity the augmented Laplacian adds the block
a_out and the edge a_out − J_φ z^{k+1}, linearised at a state.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import LinearOperator, eigsh

from sheaflib.checks import real_array
from sheaflib.forces import check_output_force
from sheaflib.pins import ResolvedPins
from sheaflib.sheaf import NeuralSheaf
from sheaflib.substitution import backward_substitution, forward_substitution

DENSE = 400            # up to this many coordinates a dense symmetric eigensolver is used


def bound(sheaf: NeuralSheaf, pins: ResolvedPins | None = None, augmented: bool = False, output_force: str = "jacobian") -> float:
    """λ_max ≤ max_e w_e · (1 + max_u (Σ_{e leaving u} ‖F_e‖²)^½)² + max γ, for every pattern (derived).

    >>> from sheaflib.network import Network
    >>> round(bound(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))), 12)
    4.0
    """
    squares = dict.fromkeys(sheaf.layout.names, 0.0)
    for node in sheaf.network.nodes:
        for name in node.inputs:
            if name in squares:
                squares[name] += node.operation.norm**2
    if augmented and not sheaf.network.output.is_identity:
        norm = sheaf.network.output.norm
        squares[sheaf.network.nodes[-1].name] += norm**2 if check_output_force(output_force) == "jacobian" else norm
    weight = max(w for e, w in sheaf.edge_weights.items() if augmented or e != "output")
    stiffness = pins.gamma.max() if pins is not None and len(pins.gamma) else 0.0
    return float(weight * (1 + np.sqrt(max(squares.values())))**2 + stiffness)


def laplacian(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian") -> sparse.csr_array:
    """The Laplacian on the free coordinates for one pattern: clamped ones removed, γ added on soft pins; sparse.

    z: (n_out,), the logits at which φ is linearised; then a_out is included (the augmented Laplacian). The "identity" force is
    similar to an output edge with J^½ in place of J, which is what is returned for it.
    """
    delta = sheaf.coboundary(pattern)
    if z is not None:
        delta = _augment(sheaf, delta, real_array("z", z, (sheaf.network.n_out,)), output_force)
    weights = sparse.diags_array(sheaf.row_weights[:delta.shape[0]])
    L = sparse.csr_array(delta.T @ weights @ delta)
    if pins is None:
        return L
    stiffness = np.zeros(delta.shape[0])
    stiffness[pins.soft_index] = pins.gamma
    return sparse.csr_array((L + sparse.diags_array(stiffness))[pins.free[:L.shape[0]]][:, pins.free[:L.shape[0]]])


def _augment(sheaf: NeuralSheaf, delta, z, output_force):
    """δ with the row and column of a_out: [[δ, 0], [−J at z^{k+1}, I]]."""
    J = sheaf.network.output.jacobian(z)
    if check_output_force(output_force) == "identity":
        values, vectors = np.linalg.eigh(J)
        J = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    last = sheaf.layout[sheaf.network.nodes[-1].name]
    row = sparse.lil_array((len(z), sheaf.N))
    row[:, last] = -J
    return sparse.csr_array(sparse.block_array([[delta, None], [row, sparse.eye_array(len(z))]]))


def eigenvalues(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian") -> np.ndarray:
    """All eigenvalues in ascending order, by a dense solver: (number of free coordinates,)."""
    return np.linalg.eigvalsh(laplacian(sheaf, pattern, pins, z, output_force).toarray())


def extreme(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian") -> tuple[float, float]:
    """(λ₁, λ_max) for one pattern; Lanczos beyond 400 coordinates, λ₁ then through δ⁻¹δ⁻ᵀ (one substitution each way).

    With every coordinate clamped nothing is left: (∞, 0).
    """
    L = laplacian(sheaf, pattern, pins, z, output_force)
    if not L.shape[0]:
        return np.inf, 0.0
    if L.shape[0] <= DENSE:
        values = np.linalg.eigvalsh(L.toarray())
        return float(values[0]), float(values[-1])
    start = np.random.default_rng(0).standard_normal(L.shape[0])
    largest = float(eigsh(L, k=1, v0=start, return_eigenvectors=False)[0])
    if pins or z is not None:
        return float(eigsh(L, k=1, sigma=0, v0=start, return_eigenvectors=False)[0]), largest

    def inverse(v):
        e = backward_substitution(sheaf, v.reshape(1, -1), pattern)
        return forward_substitution(sheaf, e / sheaf.row_weights[:sheaf.N], pattern)[0]

    operator = LinearOperator(L.shape, matvec=inverse, dtype=float)
    return float(1 / eigsh(operator, k=1, v0=start, return_eigenvectors=False)[0]), largest
