"""Newton's step to the minimum of the present pieces of V: by conjugate gradients, or directly
where V is stiff (derived).

In the injections ε = δ_FF v the Hessian is W + AᵀDA with few rows A: held edges, springs, the
output (`energy`). Conjugate gradients end in about as many steps, but lose small curvatures beside
large ones; a QR decomposition with one row a held edge and spring does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy as sp

from sheaflib.equilibria.energy import Pieces, PinnedEnergy
from sheaflib.linear.rest import ROUNDING
from sheaflib.linear.substitution import held_backward, held_forward, held_pass

# a curvature of V this much above that of the free edges: CG would lose the small ones to rounding
STIFF = 1e6
MOST_ROWS = 1000  # of held edges and springs that are solved for directly
# a change of what an edge carries this small, relative to the terms of the edge, is none
CLOSE = 1e-10
ROUGH = 1e-3  # the accuracy to which the distance of a minimum need be known
ARMIJO = 1e-4  # the fraction of the predicted descent that a full step must reach
# where the slope along a step has fallen to this part of its start, the line search ends
FLAT = 0.05
BISECTIONS = 60


@dataclass
class Step:
    """A step v (B, N) of the coordinates without a kink, F v, its injections δ_FF v, and the slope
    of V along it (B,).

    cg, passes (B,): steps of CG and passes over the weights that it took; stiff (B,): whether CG
    met a curvature beyond STIFF; sure (B,): whether the step leads to the minimum of the pieces,
    and not only towards it.
    """

    v: np.ndarray
    image: np.ndarray
    change: np.ndarray
    slope: np.ndarray
    cg: np.ndarray
    passes: np.ndarray
    stiff: np.ndarray
    sure: np.ndarray


def newton_step(
    problem: PinnedEnergy,
    at: Pieces,
    gradient: np.ndarray,
    accuracy: np.ndarray,
    stiff: np.ndarray,
    again: np.ndarray,
    most: np.ndarray | None = None,
) -> Step:
    """The step to the minimum of the present pieces: by CG, and directly where that is `stiff`,
    (B,), or meets a curvature beyond STIFF.

    again (B,): whether the last direct step has led to where it began, and is to be refined. most
    (B,): steps of CG, two passes each, after which it ends short of the minimum; a direct step that
    takes more passes is not taken.
    """
    step = conjugate_gradient(problem, at, gradient, accuracy, stiff, most)
    for i in np.flatnonzero(step.stiff).tolist():
        rows = MOST_ROWS if most is None else min(MOST_ROWS, 2 * int(most[i] - step.cg[i]) - 2)
        direct = direct_step(problem.rows([i]), at.rows([i]), gradient[[i]], again[i], rows)
        step.sure[i] = direct is not None
        if direct is not None:  # else what CG has found so far, a descent direction too
            direct.passes += step.passes[i]
            for name in ("v", "image", "change", "slope", "passes"):
                getattr(step, name)[i] = getattr(direct, name)[0]
    return step


def near_minimum(
    problem: PinnedEnergy, at: Pieces, gradient: np.ndarray, left: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether the minimum of the present pieces is here: no edge would carry another value by more
    than CLOSE times its own terms and the rounding of all that the edges are strained by, (Σ w_e
    r_e²)^½.

    A gradient that is rounding of its own terms does not say so: a soft direction may hide below a
    stiff one that shares its coordinates. gradient (B, N): in the injections. Where each is small
    beside its edge's terms, no step need be computed. left (B,): passes that it may take, after
    which the minimum does not count as here. Returns that, whether it is known, and the passes that
    it took, (B,) each.
    """
    strain = np.sqrt(
        (problem.weights * (at.w - at.image) ** 2).sum(axis=1, keepdims=True) / problem.weights
    )
    allowed = CLOSE * problem.sheaf.edge_terms(at.w, problem.x, at.pattern) + ROUNDING * strain
    near = (np.abs(gradient) <= problem.weights * allowed).all(axis=1)
    sure = np.ones(len(near), dtype=bool)
    passes = np.ones(len(near), dtype=np.int64)
    far = np.flatnonzero(~near)
    for form in (False, True):  # of two forms of the step the more accurate one counts
        if not len(far):
            break
        part, again = problem.rows(far), np.full(len(far), form)
        most = None if left is None else np.maximum(0, (left[far] - passes[far]) // 2)
        step = newton_step(
            part, at.rows(far), gradient[far], np.full(len(far), ROUGH), again, again, most
        )
        near[far] = (np.abs(step.change) <= allowed[far]).all(axis=1)
        sure[far] = step.sure
        if most is not None:
            near[far] &= step.cg < most
        passes[far] += step.passes
        far = far[~near[far]]
    return near, sure, passes


def direct_step(
    problem: PinnedEnergy, at: Pieces, gradient: np.ndarray, refine: bool, most: int = MOST_ROWS
) -> Step | None:
    """The step of one sample by a QR decomposition with one row a held edge and spring; None for
    more than `most` of them.

    The minimum over the injections ε of ½‖ε‖²_w + ½‖r + Aε‖²_D, r what the held edges and springs
    feel without injections, is η = −Bᵀ(I + BBᵀ)⁻¹ρ with η = w^½ε, B = D^½Aw^{-½}, ρ = D^½r. The QR
    decomposition of [Bᵀ; I] does not mind rows of B of very different sizes, and nothing of the
    present point is left in r, so that nothing cancels. What rounding of r has left, `refine` takes
    away: there the step solves (W + AᵀDA) ε = −gradient, by the same decomposition.
    """
    sheaf, held, free = problem.sheaf, np.flatnonzero(at.held[0]), ~at.held[0]
    # a spring on an entry that follows another one feels that one
    moved_by = np.arange(sheaf.N)
    if at.ties is not None:
        follows = at.ties.leader[0] >= 0
        moved_by[follows] = at.ties.leader[0, follows]
    springs = np.flatnonzero((problem.gamma > 0) & free[moved_by])
    index, count = np.concatenate([held, moved_by[springs]]), len(held) + len(springs)
    if count > most:
        return None
    unit = np.zeros((count, sheaf.N))
    unit[np.arange(count), index] = np.repeat([-1.0, 1.0], [len(held), len(springs)])
    pattern, still = np.repeat(at.pattern, count, axis=0), np.repeat(at.held, count, axis=0)
    ties = None if at.ties is None else at.ties.repeated(count)
    rows = held_backward(sheaf, unit, pattern, still, ties)[:, free]
    base, image = held_pass(
        sheaf, problem.x, np.zeros_like(at.w), at.w, at.pattern, at.held, at.ties
    )
    felt = np.concatenate([(base - image)[0, held], (base - problem.rest)[0, springs]])
    size = np.sqrt(np.concatenate([problem.weights[held], problem.gamma[springs]]))
    root = np.sqrt(problem.weights[free])
    B = size[:, None] * rows / root
    if not np.isfinite(B).all():
        return None
    Q, R = np.linalg.qr(np.vstack([B.T, np.eye(count)]))
    Q, change, now = Q[: len(root)], np.zeros_like(at.w), np.where(at.held, 0.0, at.w - at.image)
    if refine:
        scaled = gradient[0, free] / root
        change[0, free] = (Q @ (Q.T @ scaled) - scaled) / root
        v, moved = held_forward(sheaf, change, at.pattern, at.held, at.ties)
    else:
        solved = Q @ sp.linalg.solve_triangular(R, size * felt, trans="T")
        change[0, free] = -solved / root - now[0, free]
        w, image = held_pass(sheaf, problem.x, now + change, at.w, at.pattern, at.held, at.ties)
        v, moved = w - at.w, image - at.image
    slope = (gradient * change).sum(axis=1)
    yes = np.array([True])
    return Step(
        v, moved, change, slope, np.zeros(1, dtype=np.int64), np.array([count + 2]), yes, yes
    )


def conjugate_gradient(
    problem: PinnedEnergy,
    at: Pieces,
    gradient: np.ndarray,
    accuracy: np.ndarray,
    stiff: np.ndarray,
    most: np.ndarray | None = None,
) -> Step:
    """Solve (W + AᵀDA) ε = −gradient to a relative accuracy (B,), W being the preconditioner, in
    at most `most` steps, (B,).

    Accuracy is measured in energy: what the quadratic may still lose, at most ½|residual|² as its
    Hessian is W or more, against what it has lost. It ends at a curvature beyond STIFF, where no
    label is pinned: `direct_step` does better there.
    """
    stiff = stiff & (problem.output is None)
    epsilon, v, image = (np.zeros_like(gradient) for _ in range(3))
    residual, steps = -gradient, np.zeros(len(gradient), dtype=np.int64)
    direction = residual / problem.weights
    size = (residual * direction).sum(axis=1)
    scratch = np.empty_like(gradient)
    lost = np.zeros(len(gradient))  # twice the energy that the quadratic has lost
    for _ in range(2 * gradient.shape[1] + 10):
        going = (size > accuracy**2 * lost) & ~stiff
        if most is not None:
            going &= steps < most
        if not going.any():
            break
        bent, dv, d_image = problem.hessian(at, direction)
        curvature = np.multiply(direction, bent, out=scratch).sum(axis=1)
        if problem.output is None:
            least = (problem.weights * direction**2).sum(axis=1)
            stiff |= going & ~(curvature <= STIFF * least)
        going &= np.isfinite(curvature) & (curvature > 0)
        step = np.where(going, size / np.where(going, curvature, 1), 0)
        lost += step * size
        step = step[:, None]
        epsilon += np.multiply(direction, step, out=scratch)
        v += np.multiply(dv, step, out=dv)
        image += np.multiply(d_image, step, out=d_image)
        residual -= np.multiply(bent, step, out=bent)
        steps += going
        scaled = np.divide(residual, problem.weights, out=bent)
        new = np.multiply(residual, scaled, out=scratch).sum(axis=1)
        direction *= np.where(going, new / np.where(size > 0, size, 1), 0)[:, None]
        direction += scaled
        size = np.where(going, new, size)
    return Step(
        v,
        image,
        epsilon,
        (gradient * epsilon).sum(axis=1),
        steps,
        2 * steps,
        stiff,
        np.ones(len(stiff), dtype=bool),
    )


def line_search(problem: PinnedEnergy, at: Pieces, step: Step) -> tuple[np.ndarray, np.ndarray]:
    """The full step where it lowers V_β by enough, else the minimum of V_β along it, where its
    slope vanishes: the new w, and which were full.

    V_β is convex along v and what the affine maps give is linear in t, so that a trial touches no
    weight.
    """
    v, image, slope, n = step.v, step.image, step.slope, len(at.w)
    w, low, high, slack = at.w.copy(), np.zeros(n), np.ones(n), problem.energy_rounding(at)
    t, open_ = np.ones(n), np.arange(n)
    for trial_number in range(BISECTIONS):
        part, here = problem.rows(open_), t[open_, None]
        start = at.rows(open_)
        if len(open_) < n:
            v, image = step.v[open_], step.image[open_]
        trial = part.pieces(start.w + here * v, start.side, image=start.image + here * image)
        w[open_] = trial.w
        if trial_number == 0:
            left = trial.energy > at.energy + ARMIJO * slope + slack
        else:
            rate = part.along(start, trial, v, image)
            low[open_], high[open_] = (
                np.where(rate < 0, t[open_], low[open_]),
                np.where(rate < 0, high[open_], t[open_]),
            )
            # a slope may fall by much and V rise all the same
            higher = trial.energy > at.energy[open_] + slack[open_]
            left = (np.abs(rate) > FLAT * np.abs(slope[open_])) | higher
        open_ = open_[left]
        if not len(open_):
            break
        t[open_] = (low[open_] + high[open_]) / 2
    return w, t == 1
