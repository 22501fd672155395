"""What clamps do to the spectrum of a network, and which starts flow to which equilibrium when the
output is pinned.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from sheaflib.flow.exact_flow import exact_flows
from sheaflib.linear import spectrum
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard, resolve

Z_WINDOW, A_WINDOW = (-1.5, 1.5), (-0.5, 2.2)  # the starts of `basins`
LEAST = 1e-12  # by how much, relatively, λ₁ has to fall before it counts as lower
SAME = 1e-9  # relative difference from which on two determinants are different


def patterns(sheaf: NeuralSheaf) -> np.ndarray:
    """Every activation pattern of a ReLU network: (2^M, M) of bool."""
    return np.array(list(product((False, True), repeat=sheaf.M)))


def interlacing(sheaf: NeuralSheaf, most: int = 2) -> dict[str, int]:
    """Clamp every set of up to `most` coordinates in every pattern; how often λ₁ falls, and how
    often the determinant of what is left differs from the complementary minor of L⁻¹.
    """
    lowered = differs = 0
    for pattern in patterns(sheaf):
        L = sheaf.laplacian(pattern).toarray()
        inverse, slowest = np.linalg.inv(L), np.linalg.eigvalsh(L)[0]
        for clamped in clamps(sheaf.N, most):
            left = np.delete(np.delete(L, clamped, 0), clamped, 1)
            minor = np.linalg.det(inverse[np.ix_(clamped, clamped)])
            determinant = np.linalg.det(left)
            lowered += np.linalg.eigvalsh(left)[0] < slowest * (1 - LEAST)
            differs += abs(determinant - minor) > SAME * determinant
    return {"lambda-1-lowered": int(lowered), "minor-differs": int(differs)}


def clamps(n: int, most: int) -> list[list[int]]:
    """Every set of 1 to `most` of n coordinates, each as a sorted list."""
    return [list(chosen) for k in range(1, most + 1) for chosen in combinations(range(n), k)]


def slowest_rates(sheaf: NeuralSheaf) -> dict[str, list[float]]:
    """λ₁ over all patterns: with no pin, under "none", and with one coordinate clamped, under its
    label.
    """
    every = patterns(sheaf)
    rates = {"none": [spectrum.extreme(sheaf, s)[0] for s in every]}
    for i in range(sheaf.N):
        stalk, place = sheaf.layout.locate(i)
        pins = resolve(sheaf, hard(stalk, 0.0, at=place), 1)
        rates[sheaf.layout.label(i)] = [spectrum.extreme(sheaf, s, pins=pins)[0] for s in every]
    return rates


@dataclass(frozen=True, eq=False)
class Basins:
    """Where heat ends from each start (z, a) in a window, the output being pinned to `label`.

    z (n,), a (n,): the axes of the window; active (n, n) of bool, a row for each a: whether the
    neuron is on where the flow ends; energy (n, n) at the starts. ends: "inactive" and "active",
    those that were found, as [z, a, V].
    """

    label: float
    z: np.ndarray
    a: np.ndarray
    active: np.ndarray
    energy: np.ndarray
    ends: dict[str, list[float]]

    @property
    def told(self) -> str:
        """One sentence: how many equilibria, which starts find them, and whose energy is higher."""
        if len(self.ends) == 1:
            ((name, (*_, energy)),) = self.ends.items()
            return (
                f"z² pinned to {self.label:g}: every start in this window flows to the {name}"
                f" equilibrium, V = {energy:.4f}"
            )
        energies = {name: end[2] for name, end in self.ends.items()}
        order = "higher" if energies["active"] > energies["inactive"] else "lower"
        return (
            f"z² pinned to {self.label:g}: {self.active.mean():.0%} of this window flows to the"
            f" active equilibrium, V = {energies['active']:.4f}, {order} than the inactive one's"
            f" {energies['inactive']:.4f}"
        )

    def __repr__(self):
        return f"Basins({self.told})"


def basins(sheaf: NeuralSheaf, label: float, n: int) -> Basins:
    """Follow the exact flow of a 1-1-1 network, x = 0 and z² pinned to `label`, from n × n starts.

    >>> from sheaflib import Network
    >>> tiny = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    >>> basins(tiny, 0.5, 4)
    Basins(z² pinned to 0.5: every start in this window flows to the inactive equilibrium,
        V = 0.0625)
    """
    z, a = np.linspace(*Z_WINDOW, n), np.linspace(*A_WINDOW, n)
    starts = np.array([(z_i, a_i, label) for a_i in a for z_i in z])
    x = np.zeros((len(starts), 1))
    limits = np.array([f.limit for f in exact_flows(sheaf, x, starts, pins=hard("z2", label))])
    active = limits[:, 0] > 0
    ends = {}
    for name, here in (("inactive", ~active), ("active", active)):
        if here.any():
            w = limits[here][:1]
            ends[name] = [float(w[0, 0]), float(w[0, 1]), float(sheaf.energy(w, x[:1])[0])]
    energy = sheaf.energy(starts, x)
    return Basins(label, z, a, active.reshape(n, n), energy.reshape(n, n), ends)
