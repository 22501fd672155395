"""Euler and prox-Euler steps of the heat equation: the state of a flow, its energy, and the NumPy
steps that are the oracles.

V has a kink at z_j = 0 for every coordinate z_j that a ReLU reads, and at the bounds of a clamp
(`corners`). Where the forces of both sides push onto it the flow slides along it; Euler crosses the
kink back and forth for ever, by O(dt), prox-Euler rests on it.
"""

from __future__ import annotations

import numpy as np

from sheaflib.flow.corners import corners, prox
from sheaflib.linear.rest import ROUNDING, Gauge
from sheaflib.sheaves.forces import force
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pins

NOISE = 1e-9  # of the terms of an edge: what a flow at rest may be off by and not run away


class HeatUnstable(ArithmeticError):
    """The error of a flow whose energy grew instead of falling.

    Its message names the step, the edge with the largest discord, the energy and dt.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    The slope of the ReLU is 1 where the flow ends, and 10 where it starts.

    >>> from sheaflib import Affine, HeatUnstable, Network, NeuralSheaf, ReLU, relax
    >>> nodes = [("z1", Affine([[1.0]])), ("a1", ReLU(1, 10.0)), ("z2", Affine([[1.0]]))]
    >>> try:
    ...     relax(NeuralSheaf(Network(1, nodes)), [[1.0]], [[-1.0, 0.0, 0.0]], dt=0.5)
    ... except HeatUnstable as error:
    ...     print(str(error).split(" to ")[0])
    the energy grew
    """


class Stepper:
    """The state of a flow: w (B, width), steps taken (B,), last max|Δ| (B,), which samples still
    move (B,).

    A subclass takes the steps in `advance`, and `name` says which; `any_step`: whether it is stable
    for every dt, `steps_in_time`: whether it has one, `holds_corners`: whether a z_j = 0 that both
    sides push back to stays where it is, `ends_exactly`: whether it solves for the point of rest
    once the rule holds, which a start within rounding of it does not need. A sample stops moving
    once it has `arrived` (B,), by the rule `rest`: "velocity", its `Gauge.unrest` is at most `bar`,
    tol or what rounding leaves; "step", max|Δ| < tol. With tol 0 none ever does. It also stops when
    it is `stuck` (B,): not at rest by its velocity, and no later step would change it.
    """

    name = "euler"
    any_step = False
    steps_in_time = True
    holds_corners = False
    ends_exactly = False
    default_dt: float | None = None  # None: from the bound of λ_max

    def __init__(
        self,
        sheaf: NeuralSheaf,
        x: np.ndarray,
        w: np.ndarray,
        dt: float,
        alpha: float,
        pins: Pins,
        output_force: str,
        tol: float,
        rest: str = "velocity",
    ):
        self.sheaf, self.x, self.w, self.pins = sheaf, x, w.copy(), pins
        self.dt, self.alpha, self.output_force = dt, alpha, output_force
        self.tol, self.rest = tol, rest
        self.steps = np.zeros(len(w), dtype=np.int64)
        self.change = np.full(len(w), np.inf)
        self.by_velocity, self.bar = rest == "velocity" and tol > 0, max(tol, ROUNDING)
        self.arrived, self.stuck = np.zeros((2, len(w)), dtype=bool)
        pattern = sheaf.pattern(self.w, x)
        if self.by_velocity:
            self.gauge = Gauge(sheaf, x, self.w, pins, output_force, self.holds_corners, pattern)
            self.arrived = self.gauge.first <= (ROUNDING if self.ends_exactly else self.bar)
        self.active = ~self.arrived
        self.limit = energy_limit(sheaf, self.w, x, pins, output_force, pattern)
        self._prepare()

    def _prepare(self) -> None:
        """What a kind of stepper sets up besides, once all arguments stand; nothing here."""

    def settle(self, rows: int | np.ndarray) -> None:
        """Of the samples `rows`, those that have arrived or are stuck stop moving."""
        self.active[rows] = ~(self.arrived[rows] | self.stuck[rows])

    def advance(self, n: int) -> np.ndarray:
        """Take up to n steps with every sample that still moves; return the switches (K, 3): step,
        sample, unit.

        Raises HeatUnstable when the energy of a sample exceeds its limit.
        """
        raise NotImplementedError

    @property
    def time(self) -> float:
        """The time that the most steps of a sample make."""
        return int(self.steps.max()) * self.dt

    @property
    def passes(self) -> np.ndarray:
        """How often each sample touched every weight, forward or transposed: (B,); whether it is at
        rest is not counted.
        """
        return 2 * self.steps


class BatchStepper(Stepper):
    """Takes each step, `_step`, with a whole batch at once."""

    def advance(self, n: int) -> np.ndarray:
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

    def _prepare(self) -> None:
        self.force = self._force()

    def _step(self) -> None:
        rows, before = np.flatnonzero(self.active), self.w
        delta = np.zeros_like(before)
        delta[rows] = self._delta()[rows]
        self.w = before + delta
        self.steps[rows] += 1
        self.change[rows] = np.abs(delta).max(axis=1)[rows]
        energy = flow_energy(self.sheaf, self.w, self.x, self.pins, self.output_force)
        if not (energy <= self.limit).all():
            raise_unstable(self, int(np.argmin(energy <= self.limit)))
        self.force = self._force()
        if self.by_velocity:
            pattern = self.sheaf.pattern(self.w[rows], self.x[rows])
            self.arrived[rows] = self.gauge.resting(
                self.w[rows], self.force[rows], pattern, rows, self.bar
            )
            self.stuck[rows] = (self.w == before).all(axis=1)[rows] & ~self.arrived[rows]
        else:
            self.arrived[rows] = self.change[rows] < self.tol
        self.settle(rows)

    def _force(self) -> np.ndarray:
        return force(
            self.sheaf, self.w, self.x, pins=self.pins, pattern=None, output_force=self.output_force
        )

    def _delta(self) -> np.ndarray:
        """What one step adds to the state: (B, width)."""
        return self.dt * self.alpha * self.force


class ProxEulerStepper(EulerStepper):
    """Euler's step, but implicit in every z_j that a ReLU or a clamp reads, for the activation
    edges that read it (derived).

    z_j ← argmin_z (z − ẑ_j)²/(2h) + ½ Σ_r w_r (φ_r(z) − a_r)², h = dt·α, ẑ_j the explicit step of
    all other forces, φ_r what reads z_j, a_r old (see `corners.prox`). It rests where the flow does
    and nowhere else; while the flow slides z_j is exactly 0, or a bound of the clamp; first order;
    with a fixed pattern the energy falls for every dt < 2/(α·λ_max), as Euler's does. Max-pool
    stays explicit.
    """

    name, holds_corners = "prox-euler", True

    def _prepare(self) -> None:
        super()._prepare()
        self.corners = corners(self.sheaf, self.w.shape[1])
        self.stiffness = self.corners.stiffness[:, None]
        self.kinked = self.pins.free & self.corners.kinked

    def _delta(self) -> np.ndarray:
        w, h = self.w, self.dt * self.alpha
        rest, pull = self.corners.without(w, self.force), self.corners.pull(w)
        moved = prox(w, w + h * rest, h, pull, self.stiffness, self.corners.breaks[:, None])
        return np.where(self.kinked, moved - w, np.where(self.pins.free, h * rest, 0.0))


def flow_energy(
    sheaf: NeuralSheaf, w: np.ndarray, x: np.ndarray, pins: Pins, output_force: str
) -> np.ndarray:
    """The function the flow descends up to a constant, (B,): V with penalty edges; with the
    "identity" force V_Ω + ψ(z) − a_outᵀz in place of the output edge, which is descended when a_out
    is pinned (the cross-entropy)."""
    springs = 0.5 * (pins.gamma * pins.stretch(w) ** 2).sum(axis=1)
    if w.shape[1] == sheaf.N or output_force == "jacobian":
        return sheaf.energy(w, x) + springs
    z = w[:, sheaf.layout[sheaf.network.output_name]]
    cross_entropy = sheaf.network.output.potential(z) - (w[:, sheaf.N :] * z).sum(axis=1)
    return sheaf.energy(w[:, : sheaf.N], x) + springs + sheaf.edge_weights["output"] * cross_entropy


def energy_limit(
    sheaf: NeuralSheaf,
    w: np.ndarray,
    x: np.ndarray,
    pins: Pins,
    output_force: str,
    pattern: np.ndarray,
) -> np.ndarray:
    """The energy above which a flow from w, of this pattern, has run away, (B,): twice its value at
    the start.

    Twice, because crossing a kink may lift V by O(dt²) for a step; a little more, because at rest V
    is rounding: as if every edge were off by 1e-9 of the terms that it is a sum of. The "identity"
    force with a free a_out descends no energy we know: there the limit is a thousand times the
    sizes of all edges at the start, the output edge counting at least 1.
    """
    energy = flow_energy(sheaf, w, x, pins, output_force)
    with np.errstate(over="ignore", invalid="ignore"):
        stretched = np.abs(w[:, pins.soft_index]) + np.abs(pins.soft_value)
        edges = (sheaf.row_weights[: w.shape[1]] * sheaf.edge_terms(w, x, pattern) ** 2).sum(axis=1)
        scale = 0.5 * (edges + (pins.gamma * stretched**2).sum(axis=1))
    limit = energy + np.abs(energy) + NOISE**2 * scale
    if w.shape[1] == sheaf.N or output_force == "jacobian":
        return limit
    z = w[:, sheaf.layout[sheaf.network.output_name]]
    # the cross-entropy is the difference of these parts
    parts = np.abs(sheaf.network.output.potential(z)) + np.abs(w[:, sheaf.N :] * z).sum(axis=1)
    if pins.free[sheaf.N :].any():
        springs = 0.5 * (pins.gamma * pins.stretch(w) ** 2).sum(axis=1)
        return 1e3 * (sheaf.energy(w, x) + springs + sheaf.edge_weights["output"] * (1 + parts))
    return limit + ROUNDING * sheaf.edge_weights["output"] * parts


def raise_unstable(stepper: Stepper, sample: int) -> None:
    """Raise HeatUnstable with step, edge, energy and dt of one sample."""
    sheaf, w, x = stepper.sheaf, stepper.w[[sample]], stepper.x[[sample]]
    if not np.isfinite(w).all():
        raise HeatUnstable(
            f"the flow left float64 at step {stepper.steps[sample]} of sample {sample}; lower"
            f" dt={stepper.dt:g}"
        )
    squares = sheaf.discrepancy(w, x)[0] ** 2
    worst = max(
        (e for e in sheaf.edges if e.rows.stop <= len(squares)), key=lambda e: squares[e.rows].sum()
    )
    energy = flow_energy(sheaf, w, x, stepper.pins.rows([sample]), stepper.output_force)[0]
    raise HeatUnstable(
        f"the energy grew to {energy:.3g} (limit {stepper.limit[sample]:.3g}) at step"
        f" {stepper.steps[sample]} of sample {sample}, most of it on edge {worst.name} (into"
        f" {worst.head!r}); lower dt={stepper.dt:g}"
    )
