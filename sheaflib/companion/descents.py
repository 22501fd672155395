"""Methods that minimise V of a pinned network, and how low each of them is after how many passes
over the weights (derived).

Three of them stand here because others use them: each moves the injections ε = w − F(w), so that a
trial point is a forward pass and its gradient a pass back. Newton's method and the homotopy are
`equilibrium` itself, stopped at growing budgets.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import scipy as sp

from sheaflib.companion.pinned_problems import Problem
from sheaflib.equilibria.certificate import MINIMUM
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.newton import FEWEST, Equilibrium, equilibrium
from sheaflib.equilibria.smoothed import Bend, Point, Smoothed
from sheaflib.linear.substitution import backward_substitution

NO_WIDTH = 1e-100  # of rounded kinks: beside numbers of usual size it is none
STEPS = (0.03, 0.1, 0.3, 1.0)  # of gradient descent in injections
GROWTH = 1.3  # of budgets
HALVINGS = 30
RUNAWAY = 100.0  # times the start's V


class Descent(NamedTuple):
    """After so many passes (R,) the lowest V so far (R,); whether the end is a certified strict
    local minimum, and in words how it ended.
    """

    passes: list[int]
    energy: list[float]
    certified: bool
    end: str

    def until(self, energy: float) -> int | None:
        """The passes after which V is at most so high; None where it never is."""
        low = [p for p, V in zip(self.passes, self.energy) if V <= energy]
        return low[0] if low else None


class Record:
    """What a method in injections has reached, kept at passes that grow by a part."""

    def __init__(self, of: Problem, w: np.ndarray, most: int):
        pinned = PinnedEnergy(of.sheaf, of.x, of.pins)
        self.smooth, self.most = Smoothed(pinned, NO_WIDTH, most), most
        self.begin = np.where(pinned.clamped, 0.0, of.sheaf.discrepancy(pinned.impose(w), of.x))
        self.passes: list[int] = []
        self.energy: list[float] = []
        self.best = np.inf

    def at(self, epsilon: np.ndarray) -> tuple[Point, Bend]:
        """The point of injections (1, N) and how V bends there: two passes."""
        point = self.smooth.forward(epsilon)
        bend = self.smooth.bend(point)
        self.note(point.energy)
        return point, bend

    def note(self, energy: float) -> None:
        """Keep the lowest V so far."""
        self.best = min(self.best, energy)
        if not self.passes or self.smooth.passes >= 1.02 * self.passes[-1]:
            self.passes.append(self.smooth.passes)
            self.energy.append(self.best)

    @property
    def spent(self) -> bool:
        """Whether no two passes are left."""
        return self.smooth.passes + 2 > self.most

    def done(self, end: str) -> Descent:
        """What was reached."""
        if self.passes[-1] < self.smooth.passes:
            self.passes.append(self.smooth.passes)
            self.energy.append(self.best)
        return Descent(self.passes, self.energy, False, end)


def gauss_newton(of: Problem, w: np.ndarray, most: int) -> Descent:
    """Gauss–Newton in injections from w (1, N): the label is seen by its Hessian and by the
    derivatives of the logits, one transposed pass each; a step is halved until V falls.
    """
    record, n = Record(of, w, most), of.sheaf.network.n_out
    problem = record.smooth.problem
    assert problem.output is not None  # a label is pinned
    point, bend = record.at(record.begin)
    unit = np.zeros((n, of.sheaf.N))
    unit[:, problem.last] = np.eye(n)
    while not record.spent:
        pattern = np.repeat(of.sheaf.pattern(point.w, of.x), n, axis=0)
        rows = backward_substitution(of.sheaf, unit, pattern) / problem.weights
        record.smooth.passes += n
        logits = np.repeat(point.w[:, problem.last], n, axis=0)
        hessian = problem.output.hessian(logits, np.eye(n))
        own = bend.gradient / problem.weights
        felt = np.linalg.solve(
            np.eye(n) + hessian @ rows @ (rows * problem.weights).T,
            hessian @ (rows @ bend.gradient[0]),
        )
        step, t = rows.T @ felt - own[0], 1.0
        for _ in range(HALVINGS):
            new = record.smooth.forward(point.epsilon + t * step)
            if new.energy < point.energy or record.spent:
                break
            t /= 2
        if not new.energy < point.energy:
            return record.done("no step lowers V")
        point, bend = new, record.smooth.bend(new)
        record.note(new.energy)
    return record.done("passes spent")


def lbfgs(of: Problem, w: np.ndarray, most: int) -> Descent:
    """SciPy's L-BFGS-B on V of the injections from w (1, N), begun again where its line search
    gives up, until that gains nothing.
    """
    record, N = Record(of, w, most), of.sheaf.N
    epsilon = record.begin

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point, bend = record.at(flat.reshape(1, N))
        return point.energy, bend.gradient[0]

    while not record.spent:
        before = record.best
        options: dict[str, float] = {"maxfun": (most - record.smooth.passes) // 2, "maxiter": most}
        options |= {"ftol": 0.0, "gtol": 1e-9, "maxcor": 20}
        found = sp.optimize.minimize(
            value, epsilon[0], jac=True, method="L-BFGS-B", options=options
        )
        epsilon = found.x[None]
        if not record.best < before:
            break
    return record.done("passes spent" if record.spent else "no step lowers V")


def predictive_coding(
    of: Problem, w: np.ndarray, most: int, steps: Sequence[float] = STEPS
) -> Descent:
    """Error-based predictive coding from w (1, N): gradient steps in the injections, of the size in
    a list that ends lowest. Its passes alone are counted.
    """
    runs = []
    for size in steps:
        record = Record(of, w, most)
        point, bend = record.at(record.begin)
        limit = RUNAWAY * point.energy
        while not record.spent and point.energy <= limit:
            point, bend = record.at(point.epsilon - size * bend.gradient)
        runs.append(record.done(f"steps of {size:g}"))
    return min(runs, key=lambda run: run.energy[-1])


def by_budget(of: Problem, w: np.ndarray, most: int, mode: str, growth: float = GROWTH) -> Descent:
    """`equilibrium` from w (1, N), begun again with budgets that grow by a factor until it
    converges: V of each answer, whose passes are those of one run.
    """
    passes: list[int] = []
    energy: list[float] = []
    budget = float(2 * FEWEST)
    while True:
        found = solved(of, w, mode, min(most, int(budget)))
        passes.append(int(found.passes[0]))
        energy.append(min([float(found.energy[0]), *energy[-1:]]))
        if found.converged[0] or budget >= most:
            break
        budget *= growth
    end = "at rest" if found.converged[0] else found.reason
    return Descent(passes, energy, certified(found), end)


def solved(of: Problem, w: np.ndarray, mode: str, budget: int | None = None) -> Equilibrium:
    """`equilibrium` of a problem from w (1, N)."""
    return equilibrium(
        of.sheaf,
        of.x,
        pins=of.pins,
        start=w,
        mode=mode,  # type: ignore[arg-type]
        budget=budget,
        progress=False,
    )


def certified(found: Equilibrium) -> bool:
    """Whether the only sample of an answer is a proven strict local minimum."""
    return bool(found.converged[0]) and found.certificate.verdict[0] == MINIMUM
