"""Euler and prox-Euler steps of the heat equation: the state of a flow, its energy, and the NumPy steps that are the oracles.

V has a kink at z_j = 0 for every coordinate z_j that a ReLU reads. Where the forces of both sides push onto it the flow slides
along z_j = 0; Euler crosses the kink back and forth for ever, by O(dt), prox-Euler rests on it.
"""

from __future__ import annotations

import numpy as np

from sheaflib.forces import force
from sheaflib.network import INPUT
from sheaflib.pins import ResolvedPins
from sheaflib.selection import ReLU
from sheaflib.sheaf import NeuralSheaf


class HeatUnstable(ArithmeticError):
    """The energy of a flow grew: the message names the step, the edge with the largest discord, the energy and dt."""


class Stepper:
    """The state of a flow: w (B, width), steps taken (B,), last max|Δ| (B,), which samples still move (B,).

    A subclass takes the steps in `advance`, and `name` says which; `any_step`: whether it is stable for every dt, `steps_in_time`: whether it has one. A sample rests once
    its max|Δ| < tol.
    """

    name = "euler"
    any_step = False
    steps_in_time = True
    default_dt = None              # None: from the bound of λ_max

    def __init__(self, sheaf: NeuralSheaf, x, w, dt: float, alpha: float, pins: ResolvedPins, output_force: str, tol: float):
        self.sheaf, self.x, self.w, self.pins = sheaf, x, w.copy(), pins
        self.dt, self.alpha, self.output_force, self.tol = dt, alpha, output_force, tol
        self.steps = np.zeros(len(w), dtype=np.int64)
        self.change = np.full(len(w), np.inf)
        self.active = np.ones(len(w), dtype=bool)
        self.limit = energy_limit(sheaf, self.w, x, pins, output_force)

    def advance(self, n: int) -> np.ndarray:
        """Take up to n steps with every sample that still moves; return the switches (K, 3): step, sample, unit.

        Raises HeatUnstable when the energy of a sample exceeds its limit.
        """
        raise NotImplementedError

    @property
    def time(self) -> float:
        """The time that the most steps of a sample make."""
        return int(self.steps.max()) * self.dt

    @property
    def passes(self) -> np.ndarray:
        """How often each sample touched every weight, forward or transposed: (B,)."""
        return 2 * self.steps


class BatchStepper(Stepper):
    """Takes each step, `_step`, with a whole batch at once."""

    def advance(self, n):
        found = [np.zeros((0, 3), dtype=np.int64)]
        pattern = self.sheaf.pattern(self.w, self.x)
        for _ in range(n):
            if not self.active.any():
                break
            self._step()
            new = self.sheaf.pattern(self.w, self.x)
            sample, unit = np.nonzero(new != pattern)
            found.append(np.stack([self.steps[sample], sample, unit], axis=1))
            pattern = new
        return np.concatenate(found)

    def _step(self) -> None:
        raise NotImplementedError


class EulerStepper(BatchStepper):
    """w ← w + dt·α·force(w): first order, chatters along a kink instead of sliding."""

    def _step(self):
        delta = self._delta()
        delta[~self.active] = 0
        self.w += delta
        self.steps += self.active
        self.change[self.active] = np.abs(delta).max(axis=1)[self.active]
        energy = flow_energy(self.sheaf, self.w, self.x, self.pins, self.output_force)
        if not (energy <= self.limit).all():
            raise_unstable(self, int(np.argmin(energy <= self.limit)))
        self.active &= ~(self.change < self.tol)

    def _delta(self) -> np.ndarray:
        """What one step adds to the state: (B, width)."""
        return self.dt * self.alpha * force(self.sheaf, self.w, self.x, self.pins, None, self.output_force)


class ProxEulerStepper(EulerStepper):
    """Euler's step, but implicit in every z_j that a ReLU reads, for the activation edges that read it (derived).

    z_j ← argmin_z (z − ẑ_j)²/(2h) + ½ Σ_r w_r (ReLU_r(z) − a_r)², h = dt·α, ẑ_j the explicit step of all other forces, a_r old
    (see `prox`). It rests where the flow does and nowhere else; while the flow slides z_j is 0 exactly; first order; with a fixed
    pattern the energy falls for every dt < 2/(α·λ_max), as Euler's does. Max-pool stays explicit.
    """

    name = "prox-euler"

    def __init__(self, sheaf: NeuralSheaf, x, w, dt: float, alpha: float, pins: ResolvedPins, output_force: str, tol: float):
        super().__init__(sheaf, x, w, dt, alpha, pins, output_force, tol)
        self.readers = relu_readers(sheaf)
        self.stiffness = kink_stiffness(sheaf, w.shape[1])
        self.kinked = pins.free & (self.stiffness[0] > 0)

    def _delta(self):
        w, h = self.w, self.dt * self.alpha
        rest = force(self.sheaf, w, self.x, self.pins, None, self.output_force)
        plus, minus = np.zeros_like(w), np.zeros_like(w)
        for rows, reads, slope, weight in self.readers:
            a, z = w[:, rows], w[:, reads]
            gain = np.where(z >= 0, 1.0, slope)
            rest[:, reads] -= gain * weight * (a - gain * z)
            plus[:, reads] += weight * a
            minus[:, reads] += slope * weight * a
        moved = prox(w, w + h * rest, h, (plus, minus), self.stiffness)
        return np.where(self.kinked, moved - w, np.where(self.pins.free, h * rest, 0.0))


def prox(z, free, h: float, pull, stiffness) -> np.ndarray:
    """argmin_ζ (ζ − free)²/(2h) + ½ Σ_r w_r (ReLU_r(ζ) − a_r)², all of one shape, one number a coordinate.

    pull = Σ_r w_r m_r a_r and stiffness = Σ_r w_r m_r² come in pairs: the side ζ ≥ 0, m_r = 1, and ζ ≤ 0, m_r the slope of r.
    Of two minima the one on the side of z (z = 0: plus) is taken unless it is the kink 0; then the other side's, which may be 0
    too: z is held there.
    """
    plus = np.maximum((free + h * pull[0]) / (1 + h * stiffness[0]), 0.0)
    minus = np.minimum((free + h * pull[1]) / (1 + h * stiffness[1]), 0.0)
    own, other = np.where(z >= 0, plus, minus), np.where(z >= 0, minus, plus)
    return np.where(own != 0, own, other)


def relu_readers(sheaf: NeuralSheaf) -> list[tuple[slice, slice, float, float]]:
    """(rows of a, the z it reads, slope, edge weight) of every ReLU but those of the input, where the flow has no kink."""
    relus = [node for node in sheaf.network.nodes if isinstance(node.operation, ReLU) and node.inputs != (INPUT,)]
    parts = [(sheaf.layout[node.name], sheaf.layout[node.inputs[0]], node.operation.slope) for node in relus]
    return [(rows, reads, slope, sheaf.row_weights[rows.start]) for rows, reads, slope in parts]


def kink_stiffness(sheaf: NeuralSheaf, width: int) -> np.ndarray:
    """Σ_r w_r and Σ_r w_r slope_r² over the ReLUs r that read a coordinate: (2, width); 0 where there is no kink."""
    stiffness = np.zeros((2, width))
    for _, reads, slope, weight in relu_readers(sheaf):
        stiffness[:, reads] += np.array([[1.0], [slope**2]]) * weight
    return stiffness


def flow_energy(sheaf: NeuralSheaf, w, x, pins: ResolvedPins, output_force: str) -> np.ndarray:
    """The function the flow descends, (B,): V with penalty edges; with the "identity" force V_Ω + ψ(z) − a_outᵀz in place of the
    output edge, which is descended when a_out is pinned (the cross-entropy up to a constant)."""
    if w.shape[1] == sheaf.N or output_force == "jacobian":
        return sheaf.energy(w, x) + pins.energy(w)
    z = w[:, sheaf.layout[sheaf.network.nodes[-1].name]]
    cross_entropy = sheaf.network.output.potential(z) - (w[:, sheaf.N:] * z).sum(axis=1)
    return sheaf.energy(w[:, :sheaf.N], x) + pins.energy(w) + sheaf.edge_weights["output"] * cross_entropy


def energy_limit(sheaf: NeuralSheaf, w, x, pins: ResolvedPins, output_force: str) -> np.ndarray:
    """The energy above which a flow has run away, (B,): twice its value at the start.

    Twice, because crossing a kink may lift V by O(dt²) for a step; a little more than 0, because a start at rest has V ~ rounding.
    The "identity" force with a free a_out descends no energy we know: there the limit is a thousand times the start's scale.
    """
    energy = flow_energy(sheaf, w, x, pins, output_force)
    floor = 1e-18 * (1 + (w**2).sum(axis=1))
    descends = w.shape[1] == sheaf.N or output_force == "jacobian" or not pins.free[sheaf.N:].any()
    return energy + np.abs(energy) + floor if descends else 1e3 * (1 + np.abs(energy))


def raise_unstable(stepper: Stepper, sample: int) -> None:
    """Raise HeatUnstable with step, edge, energy and dt of one sample."""
    sheaf, w, x = stepper.sheaf, stepper.w[[sample]], stepper.x[[sample]]
    if not np.isfinite(w).all():
        raise HeatUnstable(f"the flow left float64 at step {stepper.steps[sample]} of sample {sample}; lower dt={stepper.dt:g}")
    squares = sheaf.discrepancy(w, x)[0]**2
    worst = max((e for e in sheaf.edges if e.rows.stop <= len(squares)), key=lambda e: squares[e.rows].sum())
    energy = flow_energy(sheaf, w, x, stepper.pins.sample(sample), stepper.output_force)[0]
    raise HeatUnstable(f"the energy grew to {energy:.3g} (limit {stepper.limit[sample]:.3g}) at step {stepper.steps[sample]} of sample "
                       f"{sample}, most of it on edge {worst.name} (into {worst.head!r}); lower dt={stepper.dt:g}")
