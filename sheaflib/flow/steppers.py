"""Steppers that take fewer or safer steps than Euler, with its signature: for where the flow ends,
not for the flow itself (derived).

None needs a dt below Euler's limit. With them `relax` is a solver; `equilibrium` is the better one.
"""

from __future__ import annotations

import numpy as np

from sheaflib.equilibria.certificate import holding
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.newton import newton
from sheaflib.equilibria.sides import Rule
from sheaflib.flow.euler import BatchStepper
from sheaflib.linear import spectrum

LOOSE = 1e-3  # accuracy of a minimising movement that is only on the way
SETTLED = 20  # steps with the same pieces before Chebyshev's iteration begins


def without_windows(problem: PinnedEnergy, stepper: str) -> PinnedEnergy:
    """`problem`; ValueError where a max-pool makes kinks, whose ties no stepper can tell from a
    coordinate that still moves.
    """
    for name in problem.windowed:
        raise ValueError(
            f"a max-pool reads the stalk {name!r}, which the stepper {stepper} does not cover: its"
            " ties are at rest under forces; use equilibrium, or the stepper euler"
        )
    return problem


class ImplicitEulerStepper(BatchStepper):
    """w ← a local minimum of V(v) + |v − w|²/(2αdt): implicit Euler, each step solved by `newton`
    from w, with springs 1/(αdt) everywhere.

    V falls at every step, whatever dt; sliding is held. The trajectory is first order in dt; the
    limit is the flow's for small dt. Once a step moves nothing and there is no rest by the
    velocity, all later ones are solved as far as rounding lets them; where even that moves nothing,
    as the springs' rounding hides what is left, and the springs are weaker than the edges, V itself
    is. The last step of a sample that is at rest by the velocity ends with solving V itself, so
    that the answer is as good as `equilibrium`'s, whatever tol.
    """

    name, any_step, default_dt, holds_corners = "implicit-euler", True, 10.0, True
    ends_exactly, accuracy = True, 1e-13

    def _prepare(self) -> None:
        if self.w.shape[1] > self.sheaf.N:
            raise ValueError(
                "start holds a_out, which implicit steppers leave out; use equilibrium, or the"
                " stepper prox-euler"
            )
        self.problem = without_windows(PinnedEnergy(self.sheaf, self.x, self.pins), self.name)
        self.tau = self.alpha * self.dt
        self.touched = np.zeros(len(self.w), dtype=np.int64)

    @property
    def passes(self) -> np.ndarray:
        return self.touched

    def _step(self) -> None:
        rows = np.flatnonzero(self.active)
        answer = newton(
            self.problem.rows(rows).near(self.w[rows], self.tau),
            self.w[rows],
            self.accuracy,
            "track",
            300,
        )
        self.change[rows] = np.abs(answer.cochain - self.w[rows]).max(axis=1)
        still = (answer.cochain == self.w[rows]).all(axis=1)
        self.w[rows] = answer.cochain
        self.steps[rows] += 1
        self.touched[rows] += answer.passes
        if not self.by_velocity:
            self.arrived[rows] = (self.change[rows] < self.tol) & self.exact
            self.settle(rows)
            return
        self.arrived[rows] = self.gauge.unrest(self.w[rows], rows) <= self.bar
        if self.arrived[rows].any():
            self._polish(rows[self.arrived[rows]])
        still &= ~self.arrived[rows]
        if self.accuracy > 0:
            self.accuracy = 0.0 if still.any() else self.accuracy
        elif still.any():
            self.stuck[rows] = still & self.last
            if 1 / self.tau <= self.problem.weights.min():
                self._polish(rows[still])
        self.settle(rows)

    def _polish(self, rows: np.ndarray) -> None:
        """Take samples that have arrived, or that no step moves any more, to the minimum of V next
        to them; one that has arrived stays where it is if its way leads to no rest.
        """
        answer = newton(self.problem.rows(rows), self.w[rows], 0.0, "track", 300)
        resting = self.gauge.unrest(answer.cochain, rows) <= self.bar
        taken = resting | ~self.arrived[rows]
        there, w = rows[taken], answer.cochain[taken]
        self.touched[rows] += answer.passes
        self.change[there] = np.maximum(self.change[there], np.abs(w - self.w[there]).max(axis=1))
        self.w[there] = w
        self.arrived[rows] |= resting
        self.stuck[rows] &= ~self.arrived[rows]

    @property
    def exact(self) -> bool:
        """Whether steps are solved well enough for a small one to mean rest."""
        return True

    @property
    def last(self) -> bool:
        """Whether a later step from the same state would be the same."""
        return True


class MinimisingMovementsStepper(ImplicitEulerStepper):
    """Implicit Euler with dt doubled at each step, each solved loosely: follows the flow at first,
    and ends where it ends almost always.

    Take steps until the time is past the fast part of the flow (20 to 100), then `equilibrium` from
    there. Once a step moves nothing by more than the loose accuracy, all later ones are solved to
    the end; a small step means rest only then. dt stays once the springs 1/dt are below the
    rounding of the edge weights.
    """

    name, default_dt = "minimising-movements", 0.25
    accuracy = LOOSE

    def _prepare(self) -> None:
        super()._prepare()
        self.elapsed = 0.0

    @property
    def time(self) -> float:
        return self.elapsed

    @property
    def exact(self) -> bool:
        return self.accuracy < LOOSE

    @property
    def last(self) -> bool:
        return 1 / self.tau <= np.finfo(float).eps * self.problem.weights.min()

    def _step(self) -> None:
        rows = np.flatnonzero(self.active)
        super()._step()
        if self.change[rows].max() < LOOSE:
            self.accuracy = min(self.accuracy, ImplicitEulerStepper.accuracy)
        self.elapsed += self.tau / self.alpha
        if not self.last:
            self.tau *= 2


class ChebyshevStepper(BatchStepper):
    """Chebyshev's semi-iteration on V_β, V minimised over its kinks: no dt, √κ in place of κ steps,
    and nothing to chatter.

    The bounds of the spectrum are λ₁ of the pieces, found once they have not changed for 20
    gradient steps, and `spectrum.bound`; it begins anew whenever they change. It descends to a
    strict local minimum, not necessarily the flow's. A step first puts the kinks at their minimum,
    and ends there where that is at rest.
    """

    name, any_step, steps_in_time, default_dt, holds_corners = "chebyshev", True, False, 1.0, True

    def _prepare(self) -> None:
        if self.w.shape[1] > self.sheaf.N:
            raise ValueError(
                "start holds a_out, which Chebyshev's semi-iteration leaves out; use equilibrium,"
                " or the stepper prox-euler"
            )
        self.problem = without_windows(PinnedEnergy(self.sheaf, self.x, self.pins), self.name)
        self.largest = spectrum.bound(self.sheaf, pins=self.pins)
        self.lowest = np.full(len(self.w), self.largest)
        self.rho, self.move = np.zeros(len(self.w)), np.zeros_like(self.w)
        self.side = self.problem.sides(self.w)
        self.kept = np.zeros(len(self.w), dtype=np.int64)
        self.pieces: np.ndarray | None = None

    def _step(self) -> None:
        rows = np.flatnonzero(self.active)
        part = self.problem.rows(rows)
        at = part.pieces(self.w[rows], self.side[rows], Rule("track", True))
        self.side[rows] = at.side
        now = np.concatenate([at.side, at.held], axis=1)
        if self.pieces is None:
            self.pieces = np.zeros((len(self.w), now.shape[1]), dtype=np.int8)
        same = (now == self.pieces[rows]).all(axis=1)
        self.pieces[rows] = now
        self.kept[rows] = np.where(same, self.kept[rows] + 1, 0)
        for place in np.flatnonzero(self.kept[rows] == SETTLED).tolist():
            found = spectrum.extremes(
                self.sheaf, at.pattern[place], pins=holding(part, place, at.held[place])
            )
            # else its steps stay those of the gradient
            if not found.below_rounding[0]:
                self.lowest[rows[place]] = min(found.smallest[0], self.largest)
        g = part.slope(at)
        move = self._momentum(rows, g)
        if self.by_velocity:
            self.arrived[rows] = self.gauge.resting(at.w, g, at.pattern, rows, self.bar)
            move[self.arrived[rows]] = 0.0
        self.change[rows] = np.abs(move).max(axis=1)
        self.w[rows] = at.w + move
        self.steps[rows] += 1
        if not self.by_velocity:
            self.arrived[rows] = self.change[rows] < self.tol
        self.settle(rows)

    def _momentum(self, rows: np.ndarray, g: np.ndarray) -> np.ndarray:
        """The next move of each sample: plain gradient steps of 1/λ_max until its pieces have
        settled, then Chebyshev's three-term rule.
        """
        low, high = self.lowest[rows][:, None], self.largest
        mean, half = (high + low) / 2, np.maximum((high - low) / 2, 1e-300)
        first = (self.kept[rows] <= SETTLED)[:, None]
        rho = np.where(first, half / mean, 1 / (2 * mean / half - self.rho[rows][:, None]))
        begin = np.where((self.kept[rows] < SETTLED)[:, None], -g / high, -g / mean)
        move = np.where(
            first, begin, rho * self.rho[rows][:, None] * self.move[rows] - 2 * rho / half * g
        )
        self.rho[rows], self.move[rows] = rho[:, 0], move
        return move
