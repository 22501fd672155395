"""Equilibria under any pins by damped semismooth Newton, a batch at once (derived; the paper runs 10⁴–10⁵ Euler steps).

Fix a side β_j of every kink: on the cell {β_j z_j ≥ 0} V is one strictly convex quadratic, and so is, piece by piece, V_β, its
minimum over the kinked coordinates, which closed forms give (`kinks`). A step solves the quadratic of the present pieces by CG in
the injections ε = δ_FF v, where the Hessian is W + AᵀDA with few rows A: held edges, springs, the output. So CG ends in that many
steps, each one forward and one backward substitution, and no matrix is formed. A unit at a wrong corner changes its side, which
lowers V strictly, so no β is minimised twice: the iteration ends, at a strict local minimum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Sequence

import numpy as np

from sheaflib.certificate import Certificate, certify
from sheaflib.checks import batch, positive, whole
from sheaflib.network import INPUT
from sheaflib.pieces import Pieces, Pinned
from sheaflib.pins import Pin
from sheaflib.sheaf import NeuralSheaf, check_sheaf
from sheaflib.solution import Solution

ARMIJO = 1e-4          # the fraction of the predicted descent that a step must reach
HALVINGS = 60
SAME = 1e-6            # two cochains closer than this, relative to their size, are one equilibrium
NEAR = 1e-6            # a gradient so small that does not halve in a full step is rounding


def equilibrium(sheaf: NeuralSheaf, x, pins: Pin | Sequence[Pin] = (), start=None, *, tol: float = 1e-12, mode: str = "track",
                max_iterations: int = 300) -> Equilibrium:
    """An equilibrium of the pinned sheaf over x (B, n_0), reached from `start` (B, N) (default: the forward pass).

    Every answer that converged is a strict local minimum of V with the pins; which one depends on the start, and it need not be
    the heat flow's limit: for that use `relax` or `exact_flow`. Of the start only the coordinates without a kink count, and the
    sign of those with one. mode "track" leaves a side only where the minimum is a wrong corner; "global" takes the lower of both
    sides in every unit, which finds lower energies more often. A sigmoid or softmax output with a_out pinned (hard, whole) adds the
    cross-entropy ψ(z) − a_outᵀz; otherwise the output edge is left out. Iteration stops where the gradient in the injections, which
    bounds V − V* by ½|ε|², is below tol·(1 + √(2V)), or no full step halves it any more (rounding).
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

    def others(self, starts: int, seed: int = 0, scale: float = 3.0) -> Others:
        """What `starts` other starts find, each coordinate drawn from N(0, scale²): a lower bound of how many equilibria there are."""
        rng, sheaf, n_batch = np.random.default_rng(seed), self.sheaf, len(self.x)
        kept = [[(self.energy[i], w)] for i, w in enumerate(self.cochain[:, :sheaf.N])]
        for _ in range(whole("starts", starts)):
            w = self.problem.impose(scale * rng.standard_normal((n_batch, sheaf.N)))
            found = newton(self.problem, w, 1e-12, self.mode, 300)
            for i in np.flatnonzero(found.converged):
                here = found.cochain[i, :sheaf.N]
                if all(np.abs(here - other).max() > SAME * (1 + np.abs(other).max()) for _, other in kept[i]):
                    kept[i].append((found.energy[i], here))
        kept = [sorted(k, key=lambda pair: pair[0]) for k in kept]
        return Others(starts, [np.array([V for V, _ in k]) for k in kept], [np.array([w for _, w in k]) for k in kept])

    def __repr__(self):
        slow = len(self.converged) - int(self.converged.sum())
        state = f"{slow} of {len(self.converged)} samples not converged" if slow else "strict local minima"
        return (f"Equilibrium({state}, {self.iterations.mean():.1f} iterations, {self.passes.mean():.1f} passes on average, "
                f"residual {self.residual:.1e})")


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
        """The cochain of lowest energy that was found for each sample: (B, N)."""
        return np.array([w[0] for w in self.cochains])

    def __repr__(self):
        return f"Others({self.starts} starts: {self.count.min()} to {self.count.max()} distinct equilibria a sample)"


def newton(problem: Pinned, w, tol, mode, max_iterations) -> Equilibrium:
    """Run the iteration from w (B, N); samples that are done leave the batch."""
    choose = (lambda kink, *q: kink.lowest_side(*q)) if mode == "global" else (lambda kink, *q: kink.better_side(*q))
    n_batch, active = len(w), np.arange(len(w))
    w, side = w.copy(), w >= 0
    count = {name: np.zeros(n_batch, dtype=np.int64) for name in ("iterations", "cg", "passes")}
    converged, before = np.zeros(n_batch, dtype=bool), None
    for _ in range(max_iterations + 1):
        part = problem.rows(active)
        at = part.pieces(w[active], side[active], choose)
        gradient = part.gradient(at)
        w[active], side[active] = at.w, at.side
        count["passes"][active] += 2
        size = np.abs(gradient).max(axis=1, initial=0)
        scale = 1 + np.sqrt(2 * np.maximum(at.energy, 0))
        done = size <= tol * scale
        if before is not None:
            done |= before.full & (size <= NEAR * scale) & (size > 0.5 * before.size)
        converged[active] = done
        left = ~done & (count["iterations"][active] < max_iterations)
        if not left.any():
            break
        active, part = active[left], part.rows(left)
        at = Pieces(*(value[left] for value in vars(at).values()))
        v, image, slope, steps = conjugate_gradient(part, at, gradient[left], np.clip(size[left], 1e-12, 0.1))
        w[active], full, stuck = line_search(part, at, v, image, slope)
        count["iterations"][active] += 1
        count["cg"][active] += steps
        count["passes"][active] += 2 * steps
        active, before = active[~stuck], Before(size[left][~stuck], full[~stuck])
        if not len(active):
            break
    augmented = w if problem.label is None else np.hstack([w, problem.label])
    return Equilibrium(problem.sheaf, problem.x, augmented, problem.sheaf.pattern(w, problem.x), problem.pins, "newton", "",
                       output_force="identity", problem=problem, mode=mode, converged=converged, **count)


@dataclass
class Before:
    """The last gradient (B,) and whether the step after it was a full one."""

    size: np.ndarray
    full: np.ndarray


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
    """Halve t from 1 until V_β(w + t v) ≤ V + c t ⟨∇V, v⟩: the new w, which steps were full, and which samples found none.

    What the affine maps give is linear in t, so a trial touches no weight.
    """
    w, t, open_ = at.w.copy(), np.ones(len(v)), np.arange(len(v))
    for _ in range(HALVINGS):
        part, here = problem.rows(open_), t[open_, None]
        trial = part.pieces(at.w[open_] + here * v[open_], at.side[open_], image=at.image[open_] + here * image[open_])
        low = at.energy[open_] + ARMIJO * t[open_] * slope[open_] + 1e-15 * (1 + np.abs(at.energy[open_]))
        fine = trial.energy <= low
        w[open_[fine]] = trial.w[fine]
        open_ = open_[~fine]
        if not len(open_):
            break
        t[open_] /= 2
    stuck = np.zeros(len(v), dtype=bool)
    stuck[open_] = True
    return w, (t == 1) & ~stuck, stuck
