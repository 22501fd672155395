"""Eigenvalues of the restricted Laplacian, and a bound of the largest one that needs no pattern (Lemma 3.2, App.).

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
from sheaflib.substitution import backward_substitution, forward_substitution, pinned_solve

DENSE = 400            # up to this many coordinates a dense symmetric eigensolver is used


def bound(sheaf: NeuralSheaf, pins: ResolvedPins | None = None, augmented: bool = False, output_force: str = "jacobian") -> float:
    """λ_max ≤ max_e w_e · (1 + max_u (Σ_{e leaving u} ‖F_e‖²)^½)² + max γ, for every pattern (derived).

    >>> from sheaflib.network import Network
    >>> round(bound(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))), 12)
    4.0
    """
    if augmented:
        _check_output_pins(sheaf, pins, output_force)
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
    similar to an output edge with J^½ in place of J, which is what is returned for it; ValueError for a softmax whose a_out
    is pinned unevenly, where that does not hold.
    """
    root = _root(sheaf, pattern, pins, z, output_force)
    return sparse.csr_array(root.T @ root)


def augmented_coboundary(sheaf: NeuralSheaf, pattern, z, output_force: str = "jacobian") -> sparse.csr_array:
    """δ with the row and column of a_out, [[δ_Ω, 0], [−J at z^{k+1}, I]], linearised at the logits z (n_out,) (Thm 4.2, as reported)."""
    J = _output_map(sheaf, z, output_force)
    last = sheaf.layout[sheaf.network.nodes[-1].name]
    row = sparse.lil_array((len(J), sheaf.N))
    row[:, last] = -J
    return sparse.csr_array(sparse.block_array([[sheaf.coboundary(pattern), None], [row, sparse.eye_array(len(J))]]))


def eigenvalues(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian") -> np.ndarray:
    """All eigenvalues in ascending order, by a dense solver: (number of free coordinates,)."""
    return np.linalg.eigvalsh(laplacian(sheaf, pattern, pins, z, output_force).toarray())


def extreme(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian") -> tuple[float, float]:
    """(λ₁, λ_max) for one pattern; with every coordinate clamped nothing is left: (∞, 0).

    Beyond 400 coordinates by Lanczos: λ_max on δᵀδ, λ₁ on its inverse, one substitution each way, so that neither product is
    formed (but for pins together with a_out).
    """
    root = _root(sheaf, pattern, pins, z, output_force)
    n = root.shape[1]
    if not n:
        return np.inf, 0.0
    if n <= DENSE:
        values = np.linalg.eigvalsh((root.T @ root).toarray())
        return float(values[0]), float(values[-1])
    start = np.random.default_rng(0).standard_normal(n)
    largest = eigsh(LinearOperator((n, n), matvec=lambda v: root.T @ (root @ v), dtype=float), k=1, v0=start, return_eigenvectors=False)
    if pins and z is not None:
        smallest = eigsh(root.T @ root, k=1, sigma=0, v0=start, return_eigenvectors=False)
        return float(smallest[0]), float(largest[0])
    inverse = _inverse(sheaf, sheaf.check_pattern(pattern, 1), pins, None if z is None else _output_map(sheaf, z, output_force))
    operator = LinearOperator((n, n), matvec=lambda v: inverse(np.ravel(v)), dtype=float)
    return 1 / float(eigsh(operator, k=1, v0=start, return_eigenvectors=False)[0]), float(largest[0])


def _root(sheaf: NeuralSheaf, pattern, pins, z, output_force) -> sparse.csr_array:
    """A with L = AᵀA: the rows √w_e of δ and √γ of the penalty edges, the columns of the free coordinates."""
    if z is not None:
        _check_output_pins(sheaf, pins, output_force)
    delta = sheaf.coboundary(pattern) if z is None else augmented_coboundary(sheaf, pattern, z, output_force)
    root = sparse.csr_array(sparse.diags_array(np.sqrt(sheaf.row_weights[:delta.shape[0]])) @ delta)
    if not pins:
        return root
    n = len(pins.soft_index)
    springs = sparse.csr_array((np.sqrt(pins.gamma), (np.arange(n), pins.soft_index)), shape=(n, delta.shape[0]))
    return sparse.csr_array(sparse.vstack([root, springs]).tocsc()[:, pins.free])


def _output_map(sheaf: NeuralSheaf, z, output_force: str) -> np.ndarray:
    """J_φ at the logits z, or J_φ^½ for the "identity" force, dense (n_out, n_out)."""
    if sheaf.network.output.is_identity:
        raise ValueError("z is given, but the output is the identity: it has no a_out")
    J = sheaf.network.output.jacobian(real_array("z", z, (sheaf.network.n_out,)))
    if check_output_force(output_force) == "jacobian":
        return J
    values, vectors = np.linalg.eigh(J)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _check_output_pins(sheaf: NeuralSheaf, pins: ResolvedPins | None, output_force: str) -> None:
    """The "identity" force of a softmax is similar to a symmetric one only if a_out is free, clamped whole, or held by equal springs."""
    if not pins or check_output_force(output_force) == "jacobian" or sheaf.network.output.name != "softmax":
        return
    n, hard = sheaf.network.n_out, int((pins.hard_index >= sheaf.N).sum())
    gamma = pins.gamma[pins.soft_index >= sheaf.N]
    if not (hard == n or hard == 0 and (len(gamma) == 0 or len(gamma) == n and np.ptp(gamma) == 0)):
        raise ValueError(f'pins hold {hard + len(gamma)} of {n} coordinates of a_out unevenly: with output_force="identity" and a softmax '
                         "pin all of them alike, or none")


def _inverse(sheaf: NeuralSheaf, pattern: np.ndarray, pins: ResolvedPins | None, J: np.ndarray | None):
    """v ↦ L⁻¹v on the free coordinates, by substitutions: unpinned (with or without a_out), or pinned without a_out."""
    weights, last = sheaf.row_weights, sheaf.layout[sheaf.network.nodes[-1].name]
    if pins:
        gap = np.zeros((1, len(pins.hard_index) + len(pins.soft_index)))

        def pinned(v):
            load = np.zeros((1, sheaf.N))
            load[0, pins.free] = v
            return pinned_solve(sheaf, pattern, pins, gap, load)[0, pins.free]

        return pinned

    def free(v):
        p, q = v[None, :sheaf.N].copy(), v[sheaf.N:]
        if J is not None:
            p[0, last] += J @ q
        d = forward_substitution(sheaf, backward_substitution(sheaf, p, pattern) / weights[:sheaf.N], pattern)[0]
        return d if J is None else np.concatenate([d, q / weights[sheaf.N:] + J @ d[last]])

    return free
