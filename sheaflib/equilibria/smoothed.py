"""V of a pinned sheaf with its kinks rounded off, as a function of injections (derived).

A selection that is affine between its breaks t_b is s₀ z + c₀ + Σ_b Δ_b (z − t_b)₊, Δ_b the change
of its slope at t_b. Here (y)₊ is replaced by r_μ(y) = (y + √(y² + μ²))/2, which is smooth, differs
from it by at most μ/2, and becomes it as the width μ shrinks to 0.

The state is written down by its injections ε = w − F(w), one a coordinate that is not clamped: the
cochain w follows from them by a forward pass, so that what lies downstream follows a step at once.
V is ½ Σ w_e ε_e² there, plus what clamped edges, springs and the label feel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.networks.graph import INPUT, Node, gather
from sheaflib.networks.selection import Elementwise, MaxPool
from sheaflib.sheaves.layout import Layout


@dataclass(frozen=True, eq=False)
class Point:
    """Where one sample stands: injections, the cochain that they make, what each edge carries,
    (1, N) each, and V.
    """

    epsilon: np.ndarray
    w: np.ndarray
    residual: np.ndarray
    energy: float


@dataclass(frozen=True, eq=False)
class Bend:
    """The first and second derivatives of V at a point, as one backward pass finds them.

    gradient (1, N): by the injections, 0 where clamped; pull (1, N): ∂V/∂w of each coordinate
    through what lies downstream; slope and curvature: node -> the derivative of each selection at
    what it reads, and the second one times the force on it.
    """

    gradient: np.ndarray
    pull: np.ndarray
    slope: dict[str, np.ndarray]
    curvature: dict[str, np.ndarray]


class Smoothed:
    """V of one sample of a pinned problem whose kinks have the width `mu`.

    passes counts how often every weight has been touched.
    """

    def __init__(self, problem: PinnedEnergy, mu: float):
        self.problem, self.sheaf, self.mu, self.passes = problem, problem.sheaf, mu, 0
        self.clamped, self.weights = problem.clamped, problem.weights
        self.nodes = self.sheaf.network.nodes

    def rounded(self, node: Node, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A selection at z (1, n) with its kinks rounded, its slope and its second derivative."""
        operation = node.operation
        if node.inputs == (INPUT,):  # in the input nothing moves
            s = operation.pattern(z)
            still = np.zeros_like(z)
            return operation.value(z, s), still, still
        slopes = operation.slopes
        value, slope, bend = slopes[0] * z + operation.offsets[0], slopes[0] + 0 * z, 0 * z
        for t, below, above in zip(operation.breaks, slopes, slopes[1:]):
            y, change = z - t, above - below
            root = np.sqrt(y * y + self.mu**2)
            value = value + change * 0.5 * (y + root)
            slope = slope + change * 0.5 * (1 + y / root)
            bend = bend + change * 0.5 * self.mu**2 / root**3
        # the sides' offsets follow from continuity: c₀ + Σ Δ_b (z − t_b)₊ needs none of them
        return value, slope, bend

    def forward(self, epsilon: np.ndarray) -> Point:
        """The cochain of injections (1, N), and V: one pass."""
        layout, problem = self.sheaf.layout, self.problem
        w, residual = np.empty_like(epsilon), epsilon.copy()
        values = {INPUT: problem.x, **layout.split(w)}
        for node in self.nodes:
            here = layout[node.name]
            read = gather(values, node)
            if isinstance(node.operation, Elementwise):
                image = self.rounded(node, read)[0]
            else:
                image = node.operation.value(read)
            w[:, here] = image + epsilon[:, here]
            held = self.clamped[here]
            if held.any():
                at = np.arange(here.start, here.stop)[held]
                w[:, at] = problem.value[:, self._clamp_place(at)]
                residual[:, at] = w[:, at] - image[:, held]
        self.passes += 1
        energy = 0.5 * float((self.weights * residual**2).sum()) + float(problem.offset[0])
        if problem.springs:
            energy += 0.5 * float((problem.gamma * (w - problem.rest) ** 2).sum())
        if problem.output is not None:
            energy += float(problem.output.energy(w[:, problem.last])[0])
        return Point(epsilon, w, residual, energy)

    def _clamp_place(self, at: np.ndarray) -> np.ndarray:
        """Where clamped coordinates stand among all clamped ones."""
        return np.cumsum(self.clamped)[at] - 1

    def bend(self, at: Point) -> Bend:
        """The derivatives at a point: one pass back."""
        problem, layout, w = self.problem, self.sheaf.layout, at.w
        pull = problem.gamma * (w - problem.rest)
        if problem.output is not None:
            pull[:, problem.last] += problem.output.gradient(w[:, problem.last])
        slope, curvature = {}, {}
        values = {INPUT: problem.x, **layout.split(w)}
        for node in reversed(self.nodes):
            force = self._force(node, pull, at.residual)
            if isinstance(node.operation, Elementwise) and node.inputs != (INPUT,):
                _, slope[node.name], second = self.rounded(node, gather(values, node))
                curvature[node.name] = force * second
                pull[:, layout[node.inputs[0]]] += slope[node.name] * force
            else:
                self._back(node, force, pull)
        self.passes += 1
        gradient = np.where(self.clamped, 0.0, self.weights * at.residual + pull)
        return Bend(gradient, pull, slope, curvature)

    def _force(self, node: Node, pull: np.ndarray, strain: np.ndarray) -> np.ndarray:
        """∂V/∂F of a node: the pull on what it writes, or minus the stress where that is clamped."""
        here = self.sheaf.layout[node.name]
        held = self.clamped[here]
        stress = self.weights[here] * strain[:, here]
        return np.where(held, -stress, pull[:, here])

    def _back(self, node: Node, force: np.ndarray, out: np.ndarray) -> None:
        self.sheaf.scatter(node, force, NO_SELECTION, out)

    def hessian(self, at: Point, bend: Bend, d: np.ndarray) -> np.ndarray:
        """The second derivative by the injections times d (1, N): two passes."""
        problem, layout = self.problem, self.sheaf.layout
        v, image = np.zeros_like(d), np.zeros_like(d)
        values = {INPUT: np.zeros_like(problem.x), **layout.split(v)}
        for node in self.nodes:
            here = layout[node.name]
            if node.inputs != (INPUT,):
                if node.name in bend.slope:
                    image[:, here] = bend.slope[node.name] * values[node.inputs[0]]
                else:
                    image[:, here] = node.operation.linear(gather(values, node), NO_SELECTION)
            v[:, here] = np.where(self.clamped[here], 0.0, image[:, here] + d[:, here])
        pull = problem.gamma * v
        if problem.output is not None:
            last = problem.last
            pull[:, last] += problem.output.hessian(at.w[:, last], v[:, last])
        for node in reversed(self.nodes):
            force = self._force(node, pull, -image)
            if node.name in bend.slope:
                (read,) = node.inputs
                pull[:, layout[read]] += bend.slope[node.name] * force
                pull[:, layout[read]] += bend.curvature[node.name] * v[:, layout[read]]
            else:
                self._back(node, force, pull)
        self.passes += 2
        return np.where(self.clamped, 0.0, self.weights * d + pull)

    def preconditioner(self, bend: Bend) -> np.ndarray:
        """The diagonal (1, N) by which gradients are divided: edge weights and springs, and the
        curvature of kinks that bend V upwards.
        """
        found = np.broadcast_to(self.weights, bend.gradient.shape).copy()
        for node in self.nodes:
            if node.name in bend.curvature:
                found[:, self.sheaf.layout[node.inputs[0]]] += np.maximum(
                    bend.curvature[node.name], 0
                )
        return found


NO_SELECTION = np.zeros((1, 0), dtype=bool)
