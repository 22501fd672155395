"""Equilibria under any pins by damped semismooth Newton, a batch at once (derived; the paper runs 10⁴–10⁵ Euler steps).

Fix a side β_j of every kink: on the cell {β_j z_j ≥ 0} V is one strictly convex quadratic, and so is, piece by piece, V_β, its
minimum over the kinked coordinates, which closed forms give (`kinks`). A step solves the quadratic of the present pieces by CG in
the injections ε = δ_FF v, where the Hessian is W + AᵀDA with few rows A: held edges, springs, the output. So CG ends in that many
steps, each one forward and one backward substitution, and no matrix is formed. After a full step a unit at a wrong corner changes
its side, which lowers V strictly: were each V_β minimised before, none would be minimised twice, so the iteration ends, at a strict
local minimum; here the sides move on earlier, and the tests find no run that does not end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Sequence

import numpy as np

from sheaflib.certificate import ROUNDING, Certificate, certify
from sheaflib.checks import batch, positive, whole
from sheaflib.network import INPUT
from sheaflib.pieces import Pieces, Pinned
from sheaflib.pins import Pin
from sheaflib.sheaf import NeuralSheaf, check_sheaf
from sheaflib.solution import Solution, shown

ARMIJO = 1e-4          # the fraction of the predicted descent that a full step must reach
FLAT = 0.05            # where the slope along a step has fallen to this part of its start, the line search ends
BISECTIONS = 60
MOST = 300             # iterations
SAME = 1e-6            # two cochains closer than this, relative to their size, are one equilibrium
NEAR = 1e-7            # a gradient this small, relative to its terms, that a full step on the same pieces does not halve is rounding


def equilibrium(sheaf: NeuralSheaf, x, pins: Pin | Sequence[Pin] = (), start=None, *, tol: float = 1e-13, mode: str = "track",
                max_iterations: int = MOST) -> Equilibrium:
    """An equilibrium of the pinned sheaf over x (B, n_0), reached from `start` (B, N) (default: the forward pass).

    Every answer that converged is a strict local minimum of V with the pins; which one depends on the start, and it need not be
    the heat flow's limit: for that use `relax` or `exact_flow`. Of the start only the coordinates without a kink count, and the
    sign of those with one. mode "track" leaves a side only where the minimum is a wrong corner; "global" takes the lower of both
    sides in every unit, which finds lower energies more often, and need not find the lowest. A sigmoid or softmax output with a_out
    pinned (hard, whole) adds the cross-entropy ψ(z) − a_outᵀz; otherwise the output edge is left out. Iteration stops where the
    gradient in the injections is below tol times the terms that cancel in it, (Σ g²/w)^½ against (Σ w(|w_i| + |u_i|)²)^½, or a full
    step on the same pieces does not halve it any more (rounding).
    Raises ValueError for max-pool and for kinks that do not separate (`kinks`), for an unknown mode, and for other pins on a_out.
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in).copy()
    problem = Pinned(sheaf, x, pins)
    if mode not in ("track", "global"):
        raise ValueError(f"mode={mode!r} is unknown, expected track or global")
    tol, max_iterations = positive("tol", tol), whole("max_iterations", max_iterations)
    w = sheaf.forward(x) if start is None else sheaf.cochain("start", start)[:, :sheaf.N]
    if len(w) != len(x):
        raise ValueError(f"start has {len(w)} rows, expected {len(x)}: one a row of x")
    w = problem.impose(w)
    return newton(problem, w, tol, mode, max_iterations)


@dataclass(frozen=True, eq=False, repr=False)
class Equilibrium(Solution):
    """A strict local minimum of V for every sample that `converged`: one that its start led to, of possibly several.

    iterations, cg and passes (B,): Newton steps, CG steps, and how often every weight was touched (forward or transposed).
    """

    problem: Pinned = field(kw_only=True)
    mode: str = field(kw_only=True)
    tol: float = field(kw_only=True)
    converged: np.ndarray = field(kw_only=True)
    iterations: np.ndarray = field(kw_only=True)
    cg: np.ndarray = field(kw_only=True)
    passes: np.ndarray = field(kw_only=True)

    @cached_property
    def certificate(self) -> Certificate:
        """What can be said of the answer, from the cochain alone."""
        return certify(self.problem, self.cochain[:, :self.sheaf.N])

    @cached_property
    def energy(self) -> np.ndarray:
        """V (B,), springs included, and with a_out pinned the cross-entropy ψ(z) − a_outᵀz in place of the output edge."""
        w = self.cochain[:, :self.sheaf.N]
        return self.problem.energy(w, w - self.sheaf.discrepancy(w, self.x))

    @cached_property
    def residual(self) -> float:
        """max|∂V/∂w| over the batch and the coordinates that are neither clamped nor at a corner."""
        return float(self.certificate.residual.max())

    @cached_property
    def error(self) -> float:
        """The largest bound of |w − w*| over the batch."""
        return float(self.certificate.distance.max())

    def others(self, starts: int = 10, seed: int = 0, scale: float = 3.0) -> Others:
        """What `starts` other starts find, each coordinate drawn from N(0, scale²): a lower bound of how many equilibria there are."""
        rng, sheaf, n_batch = np.random.default_rng(seed), self.sheaf, len(self.x)
        kept = [[(self.energy[i], w)] if self.converged[i] else [] for i, w in enumerate(self.cochain[:, :sheaf.N])]
        for _ in range(whole("starts", starts)):
            w = self.problem.impose(scale * rng.standard_normal((n_batch, sheaf.N)))
            found = newton(self.problem, w, self.tol, self.mode, MOST)
            for i in np.flatnonzero(found.converged):
                here = found.cochain[i, :sheaf.N]
                if all(np.abs(here - other).max() > SAME * np.abs(other).max(initial=0) for _, other in kept[i]):
                    kept[i].append((found.energy[i], here))
        kept = [sorted(k, key=lambda pair: pair[0]) for k in kept]
        return Others(starts, [np.array([V for V, _ in k]) for k in kept], [np.array([w for _, w in k]) for k in kept])

    def __repr__(self):
        slow = len(self.converged) - int(self.converged.sum())
        state = f"{slow} of {len(self.converged)} samples not converged" if slow else "strict local minima"
        return (f"Equilibrium({state}, {self.iterations.mean():.1f} iterations, {self.passes.mean():.1f} passes on average, "
                f"residual {shown(self.residual)})")


@dataclass(frozen=True, eq=False)
class Others:
    """Distinct equilibria that other starts led to, the first answer included, by rising energy: arrays (count,) and (count, N) a sample."""

    starts: int
    energies: list
    cochains: list

    @property
    def count(self) -> np.ndarray:
        """How many were found for each sample: (B,)."""
        return np.array([len(V) for V in self.energies])

    @property
    def lowest(self) -> np.ndarray:
        """The cochain of lowest energy that was found for each sample: (B, N). ValueError names a sample for which nothing converged."""
        nothing = np.flatnonzero(self.count == 0)
        if len(nothing):
            raise ValueError(f"sample {nothing[0]} has no equilibrium: none of its {self.starts + 1} starts converged")
        return np.array([w[0] for w in self.cochains])

    def __repr__(self):
        low, high = self.count.min(), self.count.max()
        return f"Others({self.starts} starts: {low if low == high else f'{low} to {high}'} distinct equilibria a sample)"


def newton(problem: Pinned, w, tol, mode, max_iterations) -> Equilibrium:
    """Run the iteration from w (B, N); samples that are done leave the batch."""
    n_batch, active = len(w), np.arange(len(w))
    w, side = w.copy(), w >= 0
    count = {name: np.zeros(n_batch, dtype=np.int64) for name in ("iterations", "cg", "passes")}
    converged, before = np.zeros(n_batch, dtype=bool), None
    for _ in range(max_iterations + 1):
        part, settled = problem.rows(active), before is None or before.full
        at = part.pieces(w[active], side[active], sides_where(settled, mode))
        gradient = part.gradient(at)
        size, (edges, springs) = part.size(gradient), part.terms(at)
        done = settled & (size <= tol * edges + ROUNDING * springs)
        if before is not None:
            same = (before.side == at.side).all(axis=1) & (before.held == at.held).all(axis=1)
            done |= before.full & same & (size <= NEAR * (edges + springs)) & (size > 0.5 * before.size)
        w[active], side[active] = at.w, at.side
        count["passes"][active] += 2
        converged[active] = done
        left = ~done & (count["iterations"][active] < max_iterations)
        if not left.any():
            break
        active, part, size = active[left], part.rows(left), size[left]
        at = Pieces(*(value[left] for value in vars(at).values()))
        v, image, slope, steps = conjugate_gradient(part, at, gradient[left], np.clip(size / edges[left], 1e-12, 0.1))
        w[active], full = line_search(part, at, v, image, slope)
        count["iterations"][active] += 1
        count["cg"][active] += steps
        count["passes"][active] += 2 * steps
        before = Before(size, full, at.side, at.held)
    slow = int((~converged).sum())
    reason = f"{slow} of {n_batch} samples not converged after {max_iterations} iterations" if slow else ""
    augmented = w if problem.label is None else np.hstack([w, problem.label])
    return Equilibrium(problem.sheaf, problem.x, augmented, problem.sheaf.pattern(w, problem.x), problem.pins, "newton", reason,
                       output_force="identity", problem=problem, mode=mode, tol=tol, converged=converged, **count)


def sides_where(settled, mode: str):
    """How sides are chosen, in the samples (B,) whose last step was full: changed after damped ones, two sides may take turns for ever."""
    rule = "lowest_side" if mode == "global" else "better_side"
    return lambda kink, minus, plus, side: np.where(np.reshape(settled, (-1, 1)), getattr(kink, rule)(minus, plus, side), side)


@dataclass
class Before:
    """The size of the last gradient (B,), whether the step after it was a full one, and the pieces it was taken on."""

    size: np.ndarray
    full: np.ndarray
    side: np.ndarray
    held: np.ndarray


def conjugate_gradient(problem: Pinned, at: Pieces, gradient, accuracy):
    """Solve (W + AᵀDA) ε = −gradient to a relative accuracy (B,), W being the preconditioner.

    Accuracy is measured in energy: what the quadratic may still lose, at most ½|residual|² as its Hessian is W or more, against what
    it has lost. Returns v = δ_FF⁻¹ε, F v, the slope ⟨gradient, ε⟩ of V along v, and the steps each sample took.
    """
    epsilon, v, image = (np.zeros_like(gradient) for _ in range(3))
    residual, steps = -gradient, np.zeros(len(gradient), dtype=np.int64)
    direction = residual / problem.weights
    size = (residual * direction).sum(axis=1)
    lost = np.zeros(len(gradient))                        # twice the energy that the quadratic has lost
    for _ in range(2 * gradient.shape[1] + 10):
        going = size > accuracy**2 * lost
        if not going.any():
            break
        bent, dv, d_image = problem.hessian(at, direction)
        step = np.where(going, size / np.where(going, (direction * bent).sum(axis=1), 1), 0)
        lost += step * size
        step = step[:, None]
        epsilon += step * direction
        v += step * dv
        image += step * d_image
        residual -= step * bent
        steps += going
        scaled = residual / problem.weights
        new = (residual * scaled).sum(axis=1)
        direction = scaled + np.where(going, new / np.where(size > 0, size, 1), 0)[:, None] * direction
        size = np.where(going, new, size)
    return v, image, (gradient * epsilon).sum(axis=1), steps


def line_search(problem: Pinned, at: Pieces, v, image, slope):
    """The full step where it lowers V_β by enough, else the minimum of V_β along it, where its slope vanishes: the new w, and which were full.

    V_β is convex along v and what the affine maps give is linear in t, so that a trial touches no weight.
    """
    n = len(v)
    w, low, high, slack = at.w.copy(), np.zeros(n), np.ones(n), 1e-15 * (np.abs(at.energy) + problem.terms(at)[0]**2)
    t, open_ = np.ones(n), np.arange(n)
    for trial_number in range(BISECTIONS):
        part, here = problem.rows(open_), t[open_, None]
        start = Pieces(*(value[open_] for value in vars(at).values()))
        trial = part.pieces(start.w + here * v[open_], start.side, image=start.image + here * image[open_])
        w[open_] = trial.w
        if trial_number == 0:
            left = trial.energy > at.energy + ARMIJO * slope + slack
        else:
            rate = part.along(start, trial, v[open_], image[open_])
            low[open_], high[open_] = np.where(rate < 0, t[open_], low[open_]), np.where(rate < 0, high[open_], t[open_])
            left = np.abs(rate) > FLAT * np.abs(slope[open_])
        open_ = open_[left]
        if not len(open_):
            break
        t[open_] = (low[open_] + high[open_]) / 2
    return w, t == 1
