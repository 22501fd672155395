"""The kinks of V: the coordinates z_j that a ReLU reads, where the gradient of V jumps (derived).

Given everything else, V is two parabolas in z_j that meet at z_j = 0, with the forces Q_s − P_s z_j
on the sides s = + and −: P_s = w + Σ_r w_r m_s² + Σ_p w_p + γ and Q_s = w u + Σ_r w_r m_s a_r + Σ_p
w_p p + γ v, u what the edge into z_j carries, r the ReLUs that read z_j (m_+ = 1, m_− their slope),
p the stacks that do, γ a soft pin. So Q_± is the force at z_j = 0±, and a side's minimum is Q_s/P_s
where that lies on the side, else the corner z_j = 0. The corner is a strict local minimum when Q_−
≥ 0 ≥ Q_+.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection

import numpy as np

from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import INPUT, Node
from sheaflib.networks.operations import Stack
from sheaflib.networks.selection import MaxPool, ReLU
from sheaflib.sheaves.neural import NeuralSheaf


@dataclass(frozen=True, eq=False)
class Kink:
    """The kinks of one stalk, `here` in Ω: its readers (rows, slope, w_r) or (rows, None, w_p), and
    the numbers w, P_−, P_+.
    """

    stalk: str
    here: slice
    weight: np.ndarray
    readers: tuple[tuple[slice, float | None, float], ...]
    stiffness_minus: np.ndarray
    stiffness_plus: np.ndarray

    def forces(
        self, u: np.ndarray, w: np.ndarray, spring: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Q_− and Q_+ (B, n): u (B, n) carried into the stalk, w (B, N), spring = γ v (B, n)."""
        minus = self.weight * u + spring
        plus = minus.copy()
        for rows, slope, weight in self.readers:
            minus += weight * (1.0 if slope is None else slope) * w[:, rows]
            plus += weight * w[:, rows]
        return minus, plus

    def minimum(self, minus: np.ndarray, plus: np.ndarray, side: np.ndarray) -> np.ndarray:
        """The minimum over z_j on the chosen side (True: z_j ≥ 0) of each unit; 0 exactly at a
        corner.
        """
        return np.where(
            side,
            np.maximum(plus / self.stiffness_plus, 0.0),
            np.minimum(minus / self.stiffness_minus, 0.0),
        )

    def better_side(self, minus: np.ndarray, plus: np.ndarray, side: np.ndarray) -> np.ndarray:
        """The other side where a unit is at a corner and the other side lies lower: V falls
        strictly.
        """
        return np.where(side, ~((plus <= 0) & (minus < 0)), (minus >= 0) & (plus > 0))

    def lowest_side(self, minus: np.ndarray, plus: np.ndarray, side: np.ndarray) -> np.ndarray:
        """The side with the lower minimum; the present one where both are alike."""
        gain = np.maximum(plus, 0) / np.sqrt(self.stiffness_plus) + np.minimum(minus, 0) / np.sqrt(
            self.stiffness_minus
        )
        # no squares, which would vanish for small forces
        return np.where(gain == 0, side, gain > 0)


def kinks(sheaf: NeuralSheaf, gamma: np.ndarray) -> dict[str, Kink]:
    """The kinked stalks by name; gamma (N,): the soft pins. ValueError for a network whose kinks do
    not separate.

    Covered: ReLUs of any slope on affine maps and stacks of quantities without kinks, any number of
    readers. Not covered: max-pool (its kinks lie between coordinates), a kinked stalk that an
    affine map reads as well, a ReLU or a stack of kinks that is read by a ReLU.
    """
    found = dict.fromkeys(
        name
        for node in sheaf.network.nodes
        if isinstance(node.operation, ReLU)
        for name in node.inputs
        if name != INPUT
    )
    for node in sheaf.network.nodes:
        check_separable(node, found)
    return {name: _kink(sheaf, name, gamma) for name in found}


def check_separable(node: Node, kinked: Collection[str]) -> None:
    """Raise ValueError when a node ties a kinked coordinate to another one."""
    if isinstance(node.operation, MaxPool):
        raise ValueError(
            f"node {node.name!r} is a max-pool: its kinks lie between coordinates, which no"
            " equilibrium solver here covers; use relax"
        )
    reads = [name for name in node.inputs if name in kinked]
    if reads and isinstance(node.operation, Affine):
        raise ValueError(
            f"stalk {reads[0]!r} is read by a ReLU and by the affine node {node.name!r}: its kinks"
            " do not separate; use relax"
        )
    if reads and node.name in kinked:
        raise ValueError(
            f"stalk {node.name!r} is read by a ReLU and reads the kinked stalk {reads[0]!r}: their"
            " kinks do not separate; use relax"
        )


def _kink(sheaf: NeuralSheaf, name: str, gamma: np.ndarray) -> Kink:
    here, readers = sheaf.layout[name], []
    for node in sheaf.network.nodes:
        start = sheaf.layout[node.name].start
        for tail in node.inputs:
            width = (
                sheaf.network.n_in
                if tail == INPUT
                else len(range(*sheaf.layout[tail].indices(sheaf.N)))
            )
            if tail == name:
                rows = slice(start, start + width)
                slope = None if isinstance(node.operation, Stack) else node.operation.slope
                readers.append((rows, slope, float(sheaf.row_weights[rows.start])))
            start += width
    weights = sheaf.row_weights[here]
    common = weights + gamma[here] + sum(w for _, slope, w in readers if slope is None)
    minus = common + sum(w * slope**2 for _, slope, w in readers if slope is not None)
    plus = common + sum(w for _, slope, w in readers if slope is not None)
    return Kink(name, here, weights, tuple(readers), minus, plus)
