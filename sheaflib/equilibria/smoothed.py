"""V of a pinned sheaf with its kinks rounded off, as a function of injections (derived).

A selection that is affine between its breaks t_b is s₀ z + c₀ + Σ_b Δ_b (z − t_b)₊, Δ_b the change
of its slope at t_b. Here (y)₊ is replaced by r_μ(y) = (y + √(y² + μ²))/2, which is smooth, lies
above it by at most μ/2, and becomes it as the width μ shrinks to 0.

The state is written down by its injections ε = w − F(w), one a coordinate that is not clamped. The
cochain w follows from them by a forward pass, so that what lies downstream follows a step at once.
V is ½ Σ w_e ε_e² there, plus what clamped edges, springs and the label feel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import numpy as np

from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.networks.graph import INPUT, Node, gather
from sheaflib.networks.operations import NO_PATTERN
from sheaflib.networks.selection import Elementwise

Targets = Mapping[str, tuple[np.ndarray, np.ndarray]]  # stalk -> which (1, n), and where to


@dataclass(frozen=True, eq=False)
class Point:
    """Where a sample stands: its injections and cochain, what every edge is strained by, w − F(w),
    (1, N) each; and V.
    """

    epsilon: np.ndarray
    w: np.ndarray
    strain: np.ndarray
    energy: float


@dataclass(frozen=True, eq=False)
class Bend:
    """How V bends at a point.

    gradient (1, N): by the injections, 0 where clamped; pull (1, N): ∂V/∂w through what reads it,
    springs and the label; slope, by node: the derivative of each selection at what it reads;
    curvature (1, N): the second derivatives of those that read a coordinate, times the forces on
    them.
    """

    gradient: np.ndarray
    pull: np.ndarray
    slope: dict[str, np.ndarray]
    curvature: np.ndarray


class Smoothed:
    """V of one sample of a pinned problem whose kinks have the width `mu`.

    Raises ValueError for a network with max-pools.

    passes: how often every weight has been touched; budget: how often it may be.
    """

    def __init__(self, problem: PinnedEnergy, mu: float, budget: float = np.inf):
        if problem.windowed:
            raise ValueError(
                f"mode='homotopy' does not round off max-pools, and {min(problem.windowed)!r} is"
                " read by one: use mode='track' or 'global'"
            )
        self.problem, self.sheaf, self.mu = problem, problem.sheaf, mu
        self.budget, self.passes = budget, 0
        self.nodes, self.layout = self.sheaf.network.nodes, self.sheaf.layout
        self.clamped = problem.clamped
        self.fixed = problem.impose(np.zeros((1, self.sheaf.N)))
        # selections of what may move
        self.kinked = {
            node.name
            for node in self.nodes
            if isinstance(node.operation, Elementwise) and node.inputs != (INPUT,)
        }

    def rounded(self, node: Node, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A selection at z (1, n) with its kinks rounded off, its slope and second derivative."""
        operation = node.operation
        slope = operation.slopes[0] + np.zeros_like(z)
        value, second = slope * z + operation.offsets[0], np.zeros_like(z)
        for t, below, above in zip(operation.breaks, operation.slopes, operation.slopes[1:]):
            y, change = z - t, above - below
            root = np.sqrt(y * y + self.mu**2)
            value += change * (y + root) / 2
            slope += change * (1 + y / root) / 2
            second += change * self.mu**2 / (2 * root**3)
        return value, slope, second

    def forward(self, epsilon: np.ndarray, targets: Targets | None = None) -> Point:
        """The point of some injections (1, N): one pass. Coordinates of `targets` go there, and
        their injections follow.
        """
        problem, epsilon = self.problem, epsilon.copy()
        w, image = np.empty_like(epsilon), np.empty_like(epsilon)
        values = {INPUT: problem.x, **self.layout.split(w)}
        for node in self.nodes:
            here, read = self.layout[node.name], gather(values, node)
            if node.name in self.kinked:
                image[:, here] = self.rounded(node, read)[0]
            else:
                image[:, here] = node.operation.value(read)
            if targets is not None and node.name in targets:
                which, where = targets[node.name]
                epsilon[:, here] = np.where(which, where - image[:, here], epsilon[:, here])
            w[:, here] = np.where(
                self.clamped[here], self.fixed[:, here], image[:, here] + epsilon[:, here]
            )
        self.passes += 1
        return Point(epsilon, w, w - image, float(problem.energy(w, image)[0]))

    def bend(self, at: Point) -> Bend:
        """How V bends at a point: one pass back."""
        problem, slopes = self.problem, {}
        pull = problem.gamma * (at.w - problem.rest)
        curvature = np.zeros_like(pull)
        if problem.output is not None:
            pull[:, problem.last] += problem.output.gradient(at.w[:, problem.last])
        values = {INPUT: problem.x, **self.layout.split(at.w)}
        for node in reversed(self.nodes):
            force = self._force(node, pull, at.strain)
            if node.name in self.kinked:
                read = self.layout[node.inputs[0]]
                _, slopes[node.name], second = self.rounded(node, gather(values, node))
                curvature[:, read] += force * second
                pull[:, read] += force * slopes[node.name]
            else:
                self.sheaf.scatter(node, force, NO_PATTERN, pull)
        self.passes += 1
        gradient = np.where(self.clamped, 0.0, problem.weights * at.strain + pull)
        return Bend(gradient, pull, slopes, curvature)

    def _force(self, node: Node, pull: np.ndarray, strain: np.ndarray) -> np.ndarray:
        """∂V/∂F of a node: the pull on what it writes, or minus the stress where that is
        clamped.
        """
        here = self.layout[node.name]
        stress = self.problem.weights[here] * strain[:, here]
        return np.where(self.clamped[here], -stress, pull[:, here])

    def hessian(self, at: Point, bend: Bend, d: np.ndarray) -> np.ndarray:
        """∂²V/∂ε² d (1, N): one pass forward and one back."""
        problem = self.problem
        v, image = np.zeros_like(d), np.zeros_like(d)
        values = {INPUT: np.zeros_like(problem.x), **self.layout.split(v)}
        for node in self.nodes:
            here = self.layout[node.name]
            if node.name in self.kinked:
                image[:, here] = bend.slope[node.name] * values[node.inputs[0]]
            elif node.inputs != (INPUT,):
                image[:, here] = node.operation.linear(gather(values, node), NO_PATTERN)
            v[:, here] = np.where(self.clamped[here], 0.0, image[:, here] + d[:, here])
        pull = problem.gamma * v + bend.curvature * v
        if problem.output is not None:
            pull[:, problem.last] += problem.output.hessian(
                at.w[:, problem.last], v[:, problem.last]
            )
        for node in reversed(self.nodes):
            force = self._force(node, pull, v - image)
            if node.name in self.kinked:
                pull[:, self.layout[node.inputs[0]]] += force * bend.slope[node.name]
            else:
                self.sheaf.scatter(node, force, NO_PATTERN, pull)
        self.passes += 2
        return np.where(self.clamped, 0.0, problem.weights * d + pull)

    def scale(self, bend: Bend) -> np.ndarray:
        """The diagonal (1, N) that gradients are divided by: edge weights, and the curvature of
        kinks that bend V upwards.
        """
        return self.problem.weights + np.maximum(bend.curvature, 0)
