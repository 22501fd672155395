"""Low minima of V on large networks: kinks rounded off by a width that shrinks (derived).

At a large width V is nearly convex below its start, and a few steps of Newton's method lead far
down. As the width μ is halved the minimum moves little. At the end V is that of the network but for
the coordinates that rest on a kink, and Newton's method on the exact pieces (`newton`) ends it.

Every step is one in the injections (`smoothed`): it solves for the step by conjugate gradients,
goes along a direction in which V bends down where they meet one, and is shortened until V falls.
Between two levels the coordinates on a rounded kink keep their slope there: z is moved to t + (z −
t) μ'/μ, and its injection follows.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.smoothed import Bend, Point, Smoothed
from sheaflib.equilibria.windows import Windows

WIDE = 1.0  # the first width, relative to the root mean square of what the selections read
COARSE, FINE = 2, 8  # steps of Newton on a level, at most
NEAR = 3.0  # levels are coarse down to a width of so many times the pull on kinks,
NARROW = 0.1  # and the last one has a width of this part of the pull
LEAST = 1e-6  # the smallest width, relative as WIDE
SETTLED = 1e-2  # the size of a gradient at which a level ends
ACCURACY = 0.1  # of conjugate gradients, in energy
MOST = 200  # steps of conjugate gradients
ARMIJO = 1e-4  # the fraction of the predicted descent that a step must reach
SHORTEST = 1e-8
ON_KINK = 3.5  # widths from a break up to which a coordinate rests on it

Told = Callable[[float, float, float], None]  # of the width, V and the size of the gradient


def lowered(
    problem: PinnedEnergy, w: np.ndarray, budget: float, tell: Told | None = None
) -> tuple[np.ndarray, int]:
    """The cochain (1, N) near a low minimum of V of one sample that a start w (1, N) leads to, and
    the passes that it took, at most about `budget`. The start itself where V is no lower there: a
    label that the network knows well needs no low minimum, and a wide rounding leads away from it.

    `tell` is called after every level. ValueError for a network with max-pools.
    """
    size = reading_size(problem, w)
    smooth = Smoothed(problem, WIDE * size, budget)
    image = w - problem.sheaf.discrepancy(w, problem.x)
    at = smooth.forward(np.where(problem.clamped, 0.0, w - image))
    last, most = LEAST * size, COARSE
    while True:
        at, bend = descended(smooth, at, most)
        if tell is not None:
            tell(smooth.mu, at.energy, gradient_size(bend, smooth.scale(bend)))
        if smooth.mu <= last or smooth.passes >= budget:
            end = at.w - problem.sheaf.discrepancy(at.w, problem.x)
            lower = problem.energy(at.w, end)[0] <= problem.energy(w, image)[0]
            return at.w if lower else w, smooth.passes + 1
        if most == COARSE:
            pull = kink_pull(smooth, at, bend)
            if smooth.mu < NEAR * pull:
                last, most = max(last, NARROW * pull), FINE
        targets = moved(smooth, at, bend, 0.5) if most == FINE else None
        smooth.mu /= 2
        at = smooth.forward(at.epsilon, targets)


def reading_size(problem: PinnedEnergy, w: np.ndarray) -> float:
    """The root mean square of what the selections read, 1 where that is nothing."""
    read = [w[:, kink.here].ravel() for kink in problem.kinks.values()]
    size = float(np.sqrt(np.mean(np.concatenate(read) ** 2))) if read else 0.0
    return size or 1.0


def on_kinks(smooth: Smoothed, at: Point, bend: Bend, widths: float) -> dict[str, tuple]:
    """Of every kinked stalk: the nearest break of each coordinate, and which coordinates lie so
    many widths from it at most where V bends upwards, (1, n) each.
    """
    found = {}
    for name, kink in smooth.problem.kinks.items():
        if isinstance(kink, Windows):
            continue  # refused by `Smoothed`
        z = at.w[:, kink.here]
        breaks = np.array(kink.breaks)
        nearest = breaks[np.abs(z[..., None] - breaks).argmin(axis=-1)]
        near = np.abs(z - nearest) < widths * smooth.mu
        found[name] = nearest, near & (bend.curvature[:, kink.here] > 0)
    return found


def kink_pull(smooth: Smoothed, at: Point, bend: Bend) -> float:
    """The root mean square of the pull on selections whose kinks are near; 0 where none are."""
    near, pulls = on_kinks(smooth, at, bend, ON_KINK), []
    for node in smooth.nodes:
        if node.name in smooth.kinked:
            pulls.append(bend.pull[:, smooth.layout[node.name]][near[node.inputs[0]][1]])
    flat = np.concatenate(pulls) if pulls else np.zeros(0)
    return float(np.sqrt(np.mean(flat**2))) if len(flat) else 0.0


def moved(smooth: Smoothed, at: Point, bend: Bend, part: float) -> dict[str, tuple]:
    """Where coordinates on a kink go as the width shrinks to a part: `targets` of `forward`."""
    found = {}
    for name, (t, near) in on_kinks(smooth, at, bend, ON_KINK).items():
        here = smooth.layout[name]
        found[name] = near & ~smooth.clamped[here], t + (at.w[:, here] - t) * part
    return found


def descended(smooth: Smoothed, at: Point, most: int) -> tuple[Point, Bend]:
    """At most so many steps of Newton's method on one level, and how V bends where they end."""
    bend = smooth.bend(at)
    for _ in range(most):
        scale = smooth.scale(bend)
        size = gradient_size(bend, scale)
        if size <= SETTLED or smooth.passes >= smooth.budget:
            break
        step = direction(smooth, at, bend, scale, min(ACCURACY, np.sqrt(size)))
        new = shortened(smooth, at, step, float((bend.gradient * step).sum()))
        if new is None:
            break
        at, bend = new, smooth.bend(new)
    return at, bend


def gradient_size(bend: Bend, scale: np.ndarray) -> float:
    """(Σ g²/scale)^½ of the gradient by the injections."""
    return float(np.sqrt((bend.gradient**2 / scale).sum()))


def direction(
    smooth: Smoothed, at: Point, bend: Bend, scale: np.ndarray, accuracy: float
) -> np.ndarray:
    """A direction (1, N) of descent: H d = −gradient by conjugate gradients, to an accuracy in
    energy, or up to where V bends down.
    """
    x, residual = np.zeros_like(bend.gradient), -bend.gradient
    d = residual / scale
    size, lost = float((residual * d).sum()), 0.0
    for _ in range(MOST):
        if size <= accuracy**2 * lost or smooth.passes >= smooth.budget:
            break
        bent = smooth.hessian(at, bend, d)
        curvature = float((d * bent).sum())
        if curvature <= 1e-10 * float((scale * d * d).sum()):
            break
        step = size / curvature
        lost += step * size
        x += step * d
        residual -= step * bent
        scaled = residual / scale
        new = float((residual * scaled).sum())
        d = scaled + new / size * d
        size = new
    return x if x.any() else d


def shortened(smooth: Smoothed, at: Point, step: np.ndarray, slope: float) -> Point | None:
    """The point after a step that is shortened until V falls by enough; None where it does not."""
    t = 1.0
    while t > SHORTEST:
        new = smooth.forward(at.epsilon + t * step)
        rounding = 4 * np.finfo(float).eps * abs(at.energy)
        if new.energy <= at.energy + ARMIJO * t * slope + rounding:
            return new
        # the minimum of the parabola through both energies and the slope
        lowest = -slope * t * t / (2 * (new.energy - at.energy - slope * t))
        t = min(max(lowest, 0.1 * t), 0.5 * t) if np.isfinite(lowest) else 0.1 * t
    return None
