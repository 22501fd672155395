"""Low equilibria of large networks by a smoothing homotopy: kinks of a width that shrinks, then
Newton's method on the exact pieces (derived).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.smoothed import Bend, Point, Smoothed
from sheaflib.networks.graph import INPUT, gather
from sheaflib.networks.selection import Elementwise

WIDE = 0.3  # the first width, in parts of the root mean square of what the selections read
COARSE = 2  # steps of Newton on a coarse level
FINE = 3.0  # L-BFGS ends at widths below so many times the pull on kinks
NARROW = 0.1  # Newton ends at a width of this part of it
SETTLED = 1e-3  # the gradient at which a level of Newton ends
ARMIJO = 1e-4


def descend(problem: PinnedEnergy, w: np.ndarray, log=None) -> tuple[np.ndarray, int]:
    """A cochain (1, N) near a low minimum of V of one sample, from a start (1, N), and the passes
    that it took.
    """
    scale = reading_size(problem, w)
    smooth = Smoothed(problem, WIDE * scale)
    start = w - problem.sheaf.forward_images(w, problem.x)
    at = smooth.forward(np.where(problem.clamped, 0.0, start))
    while True:
        at, bend = newton_level(smooth, at, COARSE)
        pull = kink_pull(smooth, at, bend)
        if log: log("coarse", smooth, at, bend)
        if smooth.mu < FINE * pull or smooth.mu < 1e-4 * scale:
            break
        smooth.mu /= 2
        at = smooth.forward(at.epsilon)
    narrow = max(NARROW * pull, 1e-6 * scale)
    while True:
        at, bend = newton_level(smooth, at)
        if log: log("newton", smooth, at, bend)
        if smooth.mu <= narrow:
            return at.w, smooth.passes
        at = smooth.forward(predicted(smooth, at, bend, smooth.mu / 2))


def reading_size(problem: PinnedEnergy, w: np.ndarray) -> float:
    """The root mean square of what the selections read."""
    read = [w[:, kink.here] for kink in problem.kinks.values()]
    return float(np.sqrt(np.mean(np.concatenate(read, axis=1) ** 2))) if read else 1.0


def kink_pull(smooth: Smoothed, at: Point, bend: Bend) -> float:
    """The root mean square of the pull on selections near their kinks that bend V upwards."""
    found = []
    for node in smooth.nodes:
        if node.name in bend.curvature:
            z = at.w[:, smooth.sheaf.layout[node.inputs[0]]]
            force = bend.pull[:, smooth.sheaf.layout[node.name]]
            near = np.any([np.abs(z - t) < 3 * smooth.mu for t in node.operation.breaks], axis=0)
            found.append(force[near & (bend.curvature[node.name] > 0)])
    flat = np.concatenate(found) if found else np.zeros(0)
    return float(np.sqrt(np.mean(flat**2))) if len(flat) else 0.0


def search(smooth: Smoothed, at: Point, d: np.ndarray, slope: float):
    t = 1.0
    while t > 1e-9:
        new = smooth.forward(at.epsilon + t * d)
        if new.energy <= at.energy + ARMIJO * t * slope + 2e-16 * abs(at.energy):
            return new, t
        quadratic = -slope * t * t / (2 * (new.energy - at.energy - slope * t))
        t = min(max(quadratic, 0.1 * t), 0.5 * t) if np.isfinite(quadratic) else 0.1 * t
    return None, 0.0


def newton_level(smooth: Smoothed, at: Point, iterations: int = 8) -> tuple[Point, Bend]:
    bend = smooth.bend(at)
    for _ in range(iterations):
        weight = smooth.preconditioner(bend)
        size = np.sqrt((bend.gradient**2 / weight).sum())
        if size < SETTLED:
            break
        d = cg(smooth, at, bend, weight, min(0.1, np.sqrt(size)))
        new, t = search(smooth, at, d, (bend.gradient * d).sum())
        if new is None:
            break
        at = new
        bend = smooth.bend(at)
    return at, bend


def cg(smooth, at, bend, weight, accuracy, most=200):
    x, r = np.zeros_like(bend.gradient), -bend.gradient
    z = r / weight
    d, size, lost = z.copy(), (r * z).sum(), 0.0
    for k in range(most):
        if size <= accuracy**2 * lost:
            break
        bent = smooth.hessian(at, bend, d)
        curvature = (d * bent).sum()
        if curvature <= 1e-10 * (weight * d * d).sum():
            return d if k == 0 else x
        step = size / curvature
        lost += step * size
        x += step * d
        r -= step * bent
        z = r / weight
        new = (r * z).sum()
        d = z + new / size * d
        size = new
    return x


def predicted(smooth: Smoothed, at: Point, bend: Bend, mu: float) -> np.ndarray:
    """Injections for a smaller width, at which kinks in the window keep their slope."""
    layout, sheaf = smooth.sheaf.layout, smooth.sheaf
    ratio, smooth_mu = mu / smooth.mu, smooth.mu
    window = {}
    for node in smooth.nodes:
        if node.name in bend.curvature:
            slopes = node.operation.slopes
            low, high = np.minimum(slopes[0], slopes[-1]), np.maximum(slopes[0], slopes[-1])
            s = bend.slope[node.name]
            inside = (bend.curvature[node.name] > 0) & (np.abs(s - low) > 0.02) & (np.abs(s - high) > 0.02)
            name = node.inputs[0]
            window[name] = window.get(name, True) & inside, node.operation.breaks[0]
    smooth.mu = mu
    epsilon, w = at.epsilon.copy(), np.empty_like(at.w)
    values = {INPUT: smooth.problem.x, **layout.split(w)}
    k = 0
    for node in smooth.nodes:
        here = layout[node.name]
        read = gather(values, node)
        image = smooth.rounded(node, read)[0] if isinstance(node.operation, Elementwise) else node.operation.value(read)
        w[:, here] = image + epsilon[:, here]
        held = smooth.clamped[here]
        if held.any():
            idx = np.arange(here.start, here.stop)[held]
            w[:, idx] = smooth.problem.value[:, smooth._clamp_place(idx)]
        if node.name in window:
            inside, t = window[node.name]
            target = t + (at.w[:, here] - t) * ratio
            inside = inside & ~held
            w[:, here] = np.where(inside, target, w[:, here])
            epsilon[:, here] = np.where(inside, target - image, epsilon[:, here])
    smooth.passes += 1
    return epsilon
