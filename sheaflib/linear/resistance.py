"""Effective resistance: how stiffly a network's output resists being moved (derived, not known to
be in the paper).

For a frozen pattern let G = ∂z^{k+1}/∂(injection into an edge), the last block row of δ_Ω⁻¹: all
path Jacobians to the output. Then ρ = G diag(w)⁻¹ Gᵀ = (L⁻¹)_{out,out} is a sum over edges, as of
resistors in series. Output moved by e = y − ŷ and pinned: edge e feels η_e = w_e⁻¹ G_eᵀ ρ⁻¹ e, and
the energy is ½ eᵀρ⁻¹e. Behind a spring γ (training: γ = 1), ρ + I/γ in place of ρ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.linear.fixed_pattern import Frozen
from sheaflib.sheaves.edges import Edge
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import batch, choice, positive


@dataclass(frozen=True, eq=False)
class Resistance:
    """ρ of one stalk of dimension m, for every sample: `total` (B, m, m), and its parts by edge; G
    (B, m, N), its rows of δ_Ω⁻¹.

    An edge has the resistance G_e G_eᵀ/w_e; edges beyond the stalk have none. What is solved is
    solved by G diag(w)^-½ itself, whose condition number is the root of that of ρ.
    """

    sheaf: NeuralSheaf
    G: np.ndarray

    @cached_property
    def edges(self) -> dict[str, np.ndarray]:
        """ρ_e of every edge: edge name -> (B, m, m); their sum is `total`."""
        parts = {e.name: self._root[:, :, e.rows] for e in self._edges}
        return {name: part @ part.swapaxes(1, 2) for name, part in parts.items()}

    @cached_property
    def _root(self) -> np.ndarray:
        """G diag(w)^-½, with ρ = _root _rootᵀ: (B, m, N)."""
        return self.G / np.sqrt(self.sheaf.row_weights[: self.sheaf.N])

    @cached_property
    def total(self) -> np.ndarray:
        """ρ: (B, m, m), symmetric positive definite."""
        m = self.G.shape[1]
        return sum(self.edges.values(), np.zeros((m, m)))

    @property
    def norm(self) -> np.ndarray:
        """λ_max(ρ), so that λ₁ ≤ 1/λ_max(ρ): (B,); for one output ρ itself."""
        return np.linalg.norm(self._root, 2, axis=(1, 2)) ** 2

    def injections(self, error: ArrayLike, spring: float = np.inf) -> np.ndarray:
        """η = δω − c at equilibrium when the stalk is moved by `error` (B, m), or pulled so by a
        spring γ: (B, N).

        >>> from sheaflib.networks.graph import Network
        >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
        >>> effective_resistance(chain, [True]).injections([[3.0]])  # three resistors share it
        array([[1., 1., 1.]])
        """
        n_batch, m = self.G.shape[:2]
        error = batch("error", error, m)
        if len(error) != n_batch:
            raise ValueError(f"error has {len(error)} rows, expected {n_batch}: one a sample")
        if not (isinstance(spring, float) and spring == np.inf):
            spring = positive("spring", spring)
        give = np.broadcast_to(np.eye(m) / np.sqrt(spring), (n_batch, m, m))
        rows = np.concatenate([self._root, give], axis=2)
        size = np.linalg.norm(rows, axis=2, keepdims=True)  # the gains may differ much
        # ρ + I/γ = diag(size) RᵀR diag(size)
        R = np.linalg.qr((rows / size).swapaxes(1, 2), mode="r")
        turned = np.swapaxes(R, 1, 2)
        current = np.linalg.solve(R, np.linalg.solve(turned, error[:, :, None] / size))
        stress = (self._root.swapaxes(1, 2) @ (current / size))[:, :, 0]
        return stress / np.sqrt(self.sheaf.row_weights[: self.sheaf.N])

    def discord(self, error: ArrayLike, spring: float = np.inf) -> dict[str, np.ndarray]:
        """Discord ‖η_e‖² of every edge at that equilibrium, by weights, pattern and error alone:
        edge name -> (B,).

        The error is one of the stalk: for a sigmoid or softmax output of the logits z^{k+1}, not of
        φ(z^{k+1}).
        """
        eta = self.injections(error, spring)
        return {e.name: (eta[:, e.rows] ** 2).sum(axis=1) for e in self._edges}

    @property
    def _edges(self) -> list[Edge]:
        return [e for e in self.sheaf.edges if e.rows.stop <= self.sheaf.N]

    def __repr__(self) -> str:
        norm = self.norm
        return f"Resistance({len(norm)} samples, λ_max(ρ) {norm.min():.3g} to {norm.max():.3g})"


def effective_resistance(
    sheaf: NeuralSheaf, pattern: ArrayLike, stalk: str | None = None
) -> Resistance:
    """The effective resistance of a stalk (default: z^{k+1}) at patterns (B, M): one backward
    substitution a coordinate of the stalk.

    ValueError for an unknown stalk or a pattern of the wrong shape.
    """
    names = check_sheaf(sheaf).layout.names
    stalk = sheaf.network.output_name if stalk is None else choice("stalk", stalk, names)
    here = sheaf.layout[stalk]
    return Resistance(sheaf, Frozen(sheaf, pattern).rows(np.arange(here.start, here.stop)))
