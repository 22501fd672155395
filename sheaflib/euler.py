"""Explicit Euler steps of the heat equation: the state of a flow, its energy, and the NumPy step that is the oracle."""

from __future__ import annotations

import numpy as np

from sheaflib.forces import force
from sheaflib.pins import ResolvedPins
from sheaflib.sheaf import NeuralSheaf


class HeatUnstable(ArithmeticError):
    """The energy of a flow grew: the message names the step, the edge with the largest discord, the energy and dt."""


class Stepper:
    """The state of a flow: w (B, width), steps taken (B,), last max|Δ| (B,), which samples still move (B,).

    A subclass takes the steps in `advance`. A sample rests once its max|Δ| < tol.
    """

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


class EulerStepper(Stepper):
    """w ← w + dt·α·force(w), a whole batch at once."""

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
        delta = self.dt * self.alpha * force(self.sheaf, self.w, self.x, self.pins, None, self.output_force)
        delta[~self.active] = 0
        self.w += delta
        self.steps += self.active
        self.change[self.active] = np.abs(delta).max(axis=1)[self.active]
        energy = flow_energy(self.sheaf, self.w, self.x, self.pins, self.output_force)
        if not (energy <= self.limit).all():
            raise_unstable(self, int(np.argmin(energy <= self.limit)))
        self.active &= ~(self.change < self.tol)


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
    squares = sheaf.discrepancy(w, x)[0]**2
    worst = max((e for e in sheaf.edges if e.rows.stop <= len(squares)), key=lambda e: squares[e.rows].sum())
    energy = flow_energy(sheaf, w, x, stepper.pins.sample(sample), stepper.output_force)[0]
    raise HeatUnstable(f"the energy grew to {energy:.3g} (limit {stepper.limit[sample]:.3g}) at step {stepper.steps[sample]} of sample "
                       f"{sample}, most of it on edge {worst.name} (into {worst.head!r}); lower dt={stepper.dt:g}")
