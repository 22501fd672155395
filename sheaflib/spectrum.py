"""Eigenvalues of the restricted Laplacian, and a bound of the largest one that needs no pattern (Lemma 3.2, App.).

λ₁ = 1/‖δ⁻¹‖² and δ⁻¹ is a forward pass with injections, δ⁻ᵀ back-propagation: both ends of the spectrum cost a few dozen passes over
the weights (derived). The paper calls λ₁ of this Dirichlet problem "Fiedler". With an output φ ≠ identity the augmented Laplacian
adds the block a_out and the edge a_out − J_φ z^{k+1}, linearised at a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable

import numpy as np
import scipy.sparse as sparse

from sheaflib.checks import positive, whole
from sheaflib.forces import check_output_force
from sheaflib.frozen import Frozen, check_output_pins, output_maps, resolved
from sheaflib.lanczos import BASIS, Ritz, largest
from sheaflib.pins import ResolvedPins
from sheaflib.sheaf import NeuralSheaf

DENSE = 400            # up to this many free coordinates a dense symmetric eigensolver is used
AGREE = 1e-6           # λ₁ by two routes
ROOM = 2**21           # entries that the Lanczos vectors of the samples treated at once may have: a cache's size


def bound(sheaf: NeuralSheaf, pins: ResolvedPins | None = None, augmented: bool = False, output_force: str = "jacobian") -> float:
    """λ_max ≤ max_e w_e · (1 + max_u (Σ_{e leaving u} ‖F_e‖²)^½)² + max γ, for every pattern (derived).

    >>> from sheaflib.network import Network
    >>> round(bound(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))), 12)
    4.0
    """
    pins = resolved(sheaf, pins, 1, augmented)
    if augmented:
        check_output_pins(sheaf, pins, output_force)
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
    J = output_maps(sheaf, z, 1, output_force)[0]
    last = sheaf.layout[sheaf.network.nodes[-1].name]
    row = sparse.lil_array((len(J), sheaf.N))
    row[:, last] = -J
    return sparse.csr_array(sparse.block_array([[sheaf.coboundary(pattern), None], [row, sparse.eye_array(len(J))]]))


def eigenvalues(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian") -> np.ndarray:
    """All eigenvalues in ascending order, by a dense solver: (number of free coordinates,)."""
    return np.linalg.eigvalsh(laplacian(sheaf, pattern, pins, z, output_force).toarray())


@dataclass(frozen=True, eq=False)
class Extremes:
    """λ₁ and λ_max of every sample, (B,), with unit eigenvectors (B, N), or (B, N + n_out) with a_out; 0 where clamped.

    residual_low, residual_high (B,): |λ₁L⁻¹v − v| and |Lv/λ_max − v|. steps: how often L⁻¹ and L were applied, one pass over the
    weights each way every time; (0, 0) for a dense solver. fewest: the same for L⁻¹, of the samples that took fewest. Clamped
    altogether, nothing is left: λ₁ = ∞, λ_max = 0.
    """

    smallest: np.ndarray
    largest: np.ndarray
    bottom: np.ndarray
    top: np.ndarray
    residual_low: np.ndarray
    residual_high: np.ndarray
    steps: tuple[int, int]
    free: int
    fewest: int = 0

    @property
    def condition(self) -> np.ndarray:
        """κ = λ_max/λ₁: (B,)."""
        return self.largest / self.smallest

    def lower(self, failure: float = 1e-9) -> np.ndarray:
        """A lower bound of λ₁ (B,), wrong for one sample with probability at most `failure` over the random start of Lanczos.

        With k steps P(θ < (1 − ε)λ_max(L⁻¹)) ≤ 1.648 √n exp(−√ε(2k − 1)) (Kuczyński & Woźniakowski 1992). 0 where k is too small to say.
        """
        if not 0 < positive("failure", failure) < 1:
            raise ValueError(f"failure={failure:g}, expected a probability below 1")
        if self.steps == (0, 0) or self.fewest >= self.free:
            return self.smallest
        k = min(self.fewest, BASIS)                                                       # restarts only add to the first cycle's Ritz value
        epsilon = (np.log(1.648 * np.sqrt(self.free) / failure) / (2 * k - 1))**2
        return self.smallest * max(0.0, 1 - epsilon)

    def __repr__(self):
        return (f"Extremes(λ₁ {_range(self.smallest)}, λ_max {_range(self.largest)} over {len(self.smallest)} samples, "
                f"{'dense' if self.steps == (0, 0) else f'{self.steps[0]} + {self.steps[1]} Lanczos steps'})")


def extremes(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian", *,
             tol: float = 1e-9, dense: int = DENSE, least: int = 0, seed: int = 0) -> Extremes:
    """λ₁, λ_max and their eigenvectors for every pattern (B, M), a batch at once; z (B, n_out): the logits, with which a_out is included.

    pins: as everywhere, or resolved. Up to `dense` free coordinates by a dense solver; beyond, λ_max by Lanczos on L and λ₁ by Lanczos
    on L⁻¹, no matrix formed, with some 40 vectors a sample and one more a pinned coordinate. `tol` is about the relative accuracy of the
    values, clusters that Lanczos has not resolved aside; a vector's is its residual over the distance of the next eigenvalue. least: steps
    at least on L⁻¹, for a better `lower`. Raises ValueError for bad input, ArithmeticError when Lanczos does not arrive, or pins cut
    so large a gain that L⁻¹ is lost in rounding.

    >>> from sheaflib.network import Network
    >>> found = extremes(NeuralSheaf(Network.mlp([[[1.0]]])), [[]])
    >>> float(found.smallest[0]), float(found.largest[0])
    (1.0, 1.0)
    """
    frozen, tol = Frozen(sheaf, pattern, pins, z, output_force), positive("tol", tol)
    dense, least = whole("dense", dense, least=0), whole("least", least, least=0)
    if not frozen.n:
        nothing, zero = np.zeros((len(frozen), frozen.width)), np.zeros(len(frozen))
        return Extremes(np.full(len(frozen), np.inf), zero, nothing, nothing, zero, zero, (0, 0), 0)
    if frozen.n <= dense:
        low, high, bottom, top = _dense(frozen)
        return Extremes(low, high, frozen.embed(bottom), frozen.embed(top), np.zeros(len(frozen)), np.zeros(len(frozen)), (0, 0), frozen.n)
    low, fewest = _lanczos(frozen, Frozen.inverse, tol, least, seed)
    high, _ = _lanczos(frozen, Frozen.laplacian, tol, 0, seed)
    return Extremes(_gap(frozen, low), high.value, frozen.embed(low.vector), frozen.embed(high.vector),
                    low.residual / low.value, high.residual / high.value, (low.steps, high.steps), frozen.n, fewest)


def smallest(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian", *,
             tol: float = 1e-9, seed: int = 0) -> np.ndarray:
    """λ₁ alone, by Lanczos on L⁻¹ whatever the size: (B,). Arguments as in `extremes`."""
    frozen = Frozen(sheaf, pattern, pins, z, output_force)
    if not frozen.n:
        return np.full(len(frozen), np.inf)
    return _gap(frozen, _lanczos(frozen, Frozen.inverse, positive("tol", tol), 0, seed)[0])


def extreme(sheaf: NeuralSheaf, pattern, pins: ResolvedPins | None = None, z=None, output_force: str = "jacobian") -> tuple[float, float]:
    """(λ₁, λ_max) for one pattern; with every coordinate clamped nothing is left: (∞, 0). As `extremes`."""
    found = extremes(sheaf, sheaf.one_pattern(pattern), pins, z, output_force)
    return float(found.smallest[0]), float(found.largest[0])


def _dense(frozen: Frozen) -> tuple[np.ndarray, ...]:
    """λ₁, λ_max (B,) and their vectors (B, n). eigh(L) would leave an error of rounding · λ_max in λ₁: hence L⁻¹, with pins singular values."""
    if len(frozen.held):
        _, sizes, vectors = np.linalg.svd(frozen.root(), full_matrices=False)
        return sizes[:, -1]**2, sizes[:, 0]**2, vectors[:, -1].copy(), vectors[:, 0].copy()
    inverse, bottoms = np.linalg.eigh(frozen.inverse_matrix())
    values, tops = np.linalg.eigh(frozen.matrix())
    return 1 / inverse[:, -1], values[:, -1], bottoms[:, :, -1].copy(), tops[:, :, -1].copy()


def _gap(frozen: Frozen, low: Ritz) -> np.ndarray:
    """λ₁ from the largest Ritz pair of L⁻¹, held against vᵀLv where pins may make L⁻¹ inexact; ArithmeticError where they disagree."""
    if not len(frozen.held):
        return 1 / low.value
    quotient = (low.vector * frozen.laplacian(low.vector)).sum(axis=1)
    agree = np.abs(quotient * low.value - 1) < AGREE
    if not agree.all():
        i = int(np.argmin(agree))
        raise ArithmeticError(f"λ₁ of sample {i}: pins cut a gain so large that L⁻¹ is lost in rounding (1/θ = {1 / low.value[i]:.3g}, "
                              f"vᵀLv = {quotient[i]:.3g})")
    return quotient


def _lanczos(frozen: Frozen, operator: Callable, tol: float, least: int, seed: int) -> tuple[Ritz, int]:
    """The largest eigenpair of Frozen.inverse or Frozen.laplacian for every sample, as many at once as a cache holds, and the fewest steps."""
    start = np.random.default_rng(whole("seed", seed, least=0)).standard_normal((1, frozen.n))
    together, found = max(1, ROOM // max(BASIS * frozen.n, frozen.width * (1 + len(frozen.held)))), []
    for i in range(0, len(frozen), together):
        part = frozen.samples(slice(i, i + together))
        found.append(largest(partial(operator, part), np.broadcast_to(start, (len(part), frozen.n)), tol, least=least))
    value, vector, residual = (np.concatenate(column) for column in list(zip(*found))[:3])
    steps = [part.steps for part in found]
    return Ritz(value, vector, residual, max(steps)), min(steps)


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _root(sheaf: NeuralSheaf, pattern, pins, z, output_force) -> sparse.csr_array:
    """A with L = AᵀA: the rows √w_e of δ and √γ of the penalty edges, the columns of the free coordinates."""
    pins = resolved(sheaf, pins, 1, z is not None)
    if z is not None:
        check_output_pins(sheaf, pins, output_force)
    delta = sheaf.coboundary(pattern) if z is None else augmented_coboundary(sheaf, pattern, z, output_force)
    root = sparse.csr_array(sparse.diags_array(np.sqrt(sheaf.row_weights[:delta.shape[0]])) @ delta)
    if not pins:
        return root
    n = len(pins.soft_index)
    springs = sparse.csr_array((np.sqrt(pins.gamma), (np.arange(n), pins.soft_index)), shape=(n, delta.shape[0]))
    return sparse.csr_array(sparse.vstack([root, springs]).tocsc()[:, pins.free])
