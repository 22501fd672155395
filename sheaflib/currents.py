"""Training's equilibrium as an electrical circuit, for the forward pass's pattern (derived, not known to be in the paper).

The label pulls at z^{k+1} through the output edge; the pull c runs down the network as a current, G_eᵀ c on edge e, conserved at every
stalk: this is back-propagation's recursion. Ohm's law closes the circuit: z = ŷ + ρ c and c = −w ∇Φ(z), ρ the effective resistance, w the
weight of the output edge. Back-propagation is the short circuit ρ = 0, where z = ŷ: all other edge weights → ∞.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sheaflib.checks import batch
from sheaflib.frozen import output_maps
from sheaflib.joint import output_weight
from sheaflib.network import INPUT, gather
from sheaflib.objective import check_labels, error, output_energy
from sheaflib.resistance import Resistance, effective_resistance
from sheaflib.sheaf import NeuralSheaf, check_sheaf
from sheaflib.substitution import inject

NEWTON, HALVINGS = 100, 60
ARMIJO = 1e-4
ROUNDING = 1e-15
CLOSE = 1e-14          # of a unit of pull


@dataclass(frozen=True, eq=False, repr=False)
class Currents:
    """The relaxed sheaf of training over inputs x (B, n_0): forward (B, N) and pattern (B, M) of the forward pass, resistance, and the
    pull c = −w ∇Φ(z) (B, n_out) at the relaxed output z = ŷ + ρ c."""

    sheaf: NeuralSheaf
    x: np.ndarray
    forward: np.ndarray
    pattern: np.ndarray
    resistance: Resistance
    pull: np.ndarray

    @cached_property
    def edges(self) -> np.ndarray:
        """The current w_e η_e = G_eᵀ c of every edge, coordinate by coordinate: (B, N)."""
        return (self.resistance.G.swapaxes(1, 2) @ self.pull[:, :, None])[:, :, 0]

    @cached_property
    def relaxed(self) -> np.ndarray:
        """The stalks at equilibrium, those of the forward pass moved by δ_Ω⁻¹ of currents over weights: (B, N)."""
        return self.forward + inject(self.sheaf, self.edges / self.sheaf.row_weights[:self.sheaf.N], self.pattern)

    def gradient(self, kappa: float = 1.0) -> dict[str, tuple]:
        """−Σ_i (current)(a + κ(a* − a))ᵀ and −Σ_i (current) for every affine node, a forward, a* relaxed: node -> (dW, db).

        κ = 1: the gradient of the equilibrium energy; κ = 0: back-propagation of −c in place of the error; κ = −1: the mirror, which
        lowers the resistance where κ = 1 raises it.
        """
        w = self.forward + kappa * (self.relaxed - self.forward)
        values = {INPUT: self.x, **self.sheaf.layout.split(w)}
        return {node.name: node.operation.gradient(gather(values, node), -self.edges[:, self.sheaf.layout[node.name]])
                for node in self.sheaf.network.nodes if node.operation.kind == "affine"}

    def __repr__(self):
        return f"Currents({len(self.x)} samples, |c| up to {np.abs(self.pull).max():.3g}, {self.resistance!r})"


def edge_update(sheaf: NeuralSheaf, name: str, x, forward, relaxed, kappa: float = 1.0) -> tuple:
    """The part of `Currents.gradient` that the affine edge into stalk `name` finds by itself, (dW, db), from whole cochains (B, N).

    It looks at its own two ends alone: its current is w(z* − W a* − b), what it feels a + κ(a* − a), a and z its lower and upper stalk.
    ValueError for a name that is no end of an affine edge.
    """
    affine = [node.name for node in sheaf.network.nodes if node.operation.kind == "affine"]
    if name not in affine:
        raise ValueError(f"name={name!r}, expected a stalk at the end of an affine edge: {', '.join(affine)}")
    node = next(node for node in sheaf.network.nodes if node.name == name)
    weight = next(sheaf.edge_weights[edge.name] for edge in sheaf.edges if edge.head == name)
    below = [x if end == INPUT else w[:, sheaf.layout[end]] for end in node.inputs for w in (forward, relaxed)]
    before, after = np.concatenate(below[::2], axis=1), np.concatenate(below[1::2], axis=1)
    current = weight * (relaxed[:, sheaf.layout[name]] - node.operation.value(after))
    return node.operation.gradient(before + kappa * (after - before), -current)


def currents(sheaf: NeuralSheaf, x, y) -> Currents:
    """Close the circuit for inputs x (B, n_0) and labels y (B, n_out): one backward substitution an output for ρ, then Ohm's law.

    ValueError for labels that do not fit the output (`objective.check_labels`).

    >>> from sheaflib.network import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> currents(chain, [[1.0]], [[5.0]]).edges                    # an error of 4 over three resistors of 1 and the label's own
    array([[1., 1., 1.]])
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in)
    y = check_labels(sheaf.network.output, y, sheaf.network.n_out, len(x))
    w = sheaf.forward(x)
    pattern = sheaf.pattern(w, x)
    law = effective_resistance(sheaf, pattern)
    z = w[:, sheaf.layout[sheaf.network.nodes[-1].name]]
    return Currents(sheaf, x, w, pattern, law, ohm(sheaf, law.total, z, y))


def ohm(sheaf: NeuralSheaf, rho: np.ndarray, forward: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The pull c (B, m) with c = −w ∇Φ(ŷ + ρ c): by one solve for the square loss, else by Newton's method on w Φ(ŷ + ρc) + ½ cᵀρc."""
    output, weight = sheaf.network.output, output_weight(sheaf)
    if output.is_identity:
        return np.linalg.solve(rho + np.eye(y.shape[1]) / weight, (y - forward)[:, :, None])[:, :, 0]
    c, eye = np.zeros_like(y), np.eye(y.shape[1])

    def energy(c, z):
        return weight * output_energy(output, z, y) + 0.5 * (c * (z - forward)).sum(axis=1)

    for _ in range(NEWTON):
        z = forward + (rho @ c[:, :, None])[:, :, 0]
        short = c + weight * error(output, z, y)          # what Ohm's law is short of
        if np.abs(short).max() <= CLOSE * weight:
            break
        J = output_maps(sheaf, z, len(z), "jacobian")
        step = -np.linalg.solve(eye + weight * J @ rho, short[:, :, None])[:, :, 0]
        lift = (rho @ step[:, :, None])[:, :, 0]
        slope, before = (short * lift).sum(axis=1), energy(c, z)
        allowed, t = before + ROUNDING * (1 + np.abs(before)), np.ones(len(z))
        for _ in range(HALVINGS):
            high = energy(c + t[:, None] * step, z + t[:, None] * lift) > allowed + ARMIJO * t * slope
            if not high.any():
                break
            t = np.where(high, t / 2, t)
        c = c + t[:, None] * step
    return -weight * error(output, forward + (rho @ c[:, :, None])[:, :, 0], y)
