"""The first zero of sums of decaying exponentials, by steps that cannot pass one (derived).

For h(t) = h* + Σ_i c_i e^{−λ_i t} with λ_i > 0, B_k(t) = Σ |c_i| λ_i^k e^{−λ_i t} bounds the k-th derivative from t on. So h > 0 up
to the positive root τ of h + h'τ − B₂τ²/2, and the march goes from root to root: at a simple zero it is Newton's method from the
safe side. Once Σ |c_i| e^{−λ_i t} < h* no zero is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPS = np.finfo(float).eps
ORDERS = 16            # a sum whose value and so many derivatives are rounding is zero
FLAT = 1e-14           # a sum this small, relative to its terms, is rounding


@dataclass(frozen=True)
class Zero:
    """Which sum reaches zero first, and when; None when none does before `time`, the horizon or ∞.

    proven: Σ |c_i| e^{−λ_i t} < h* was reached for every sum. Where time is ∞ without it, what is left of some sum is below its floor.
    """

    which: int | None
    time: float
    proven: bool
    evaluations: int


def first_zero(star, c, rates, *, horizon: float = np.inf, floor=0.0, flat: int | None = None) -> Zero:
    """The first time at which one of K sums, all ≥ 0 at t = 0, falls through zero: star (K,), c (K, n), rates (n,) > 0.

    A sum that is zero up to rounding falls or rises as its first derivative that is more than rounding says; `flat` is one whose
    slope at t = 0 is known to be zero. Sums that stay within `floor` (K,) of their limit are left alone: they count as rounding.

    >>> float(round(first_zero(np.array([-0.5]), np.array([[1.0]]), np.array([1.0])).time, 15))         # e^{−t} = ½
    0.693147180559945
    """
    sums = Sums(np.arange(len(star)), star, np.broadcast_to(floor, star.shape), c, np.abs(c), np.zeros(len(star)))
    t, evaluations, proven, fastest = 0.0, 0, True, rates.max(initial=EPS)
    while len(sums.which):
        evaluations += 1
        h, slope, size, bend = sums.at(t, rates)
        strict = size < sums.star
        going = ~strict & (size > sums.floor)
        if not going.all():
            proven &= bool((strict | going).all())
            sums, h, slope, size, bend = sums.keep(going), h[going], slope[going], size[going], bend[going]
            if not len(h):
                break
        level, tick = np.maximum(sums.floor, FLAT * size), 4 * EPS * (t + 1 / fastest)
        still = np.abs(slope) <= level * fastest
        if t == 0 and flat is not None:
            still |= sums.which == flat
        for k in np.flatnonzero(still & (h <= level) & (t + tick >= sums.guard)):
            certain = rises(sums.c[k], rates, t, level[k])
            if not certain:
                return Zero(int(sums.which[k]), t, False, evaluations)
            sums.guard[k] = t + certain
        step = np.where(t + tick < sums.guard, sums.guard - t, safe_step(h, slope, bend))
        first = int(step.argmin())
        if step[first] <= tick:
            return Zero(int(sums.which[first]), float(t + step[first]), False, evaluations)
        t += step[first]
        if t >= horizon:
            return Zero(None, horizon, False, evaluations)
    return Zero(None, np.inf, proven, evaluations)


@dataclass
class Sums:
    """The sums that may still reach zero, by their numbers `which`; each is positive up to its guard although it was zero before."""

    which: np.ndarray
    star: np.ndarray
    floor: np.ndarray
    c: np.ndarray
    absolute: np.ndarray
    guard: np.ndarray

    def at(self, t: float, rates: np.ndarray) -> tuple[np.ndarray, ...]:
        """h, h', Σ|c_i| e^{−λ_i t} and B₂ at t: (K,) each."""
        decay = np.exp(-rates * t)
        h, slope = (self.c @ np.array([decay, -rates * decay]).T).T
        size, bend = (self.absolute @ np.array([decay, rates**2 * decay]).T).T
        return self.star + h, slope, size, bend

    def keep(self, those: np.ndarray) -> Sums:
        return Sums(*(value[those] for value in vars(self).values()))


def safe_step(h, slope, bend):
    """The positive root of h + h'τ − B₂τ²/2: (K,); 0 where h ≤ 0 ≥ h'."""
    h = np.maximum(h, 0.0)
    root = np.sqrt(slope**2 + 2 * bend * h)
    far, near = np.where(slope > 0, slope + root, 2 * h), np.where(slope > 0, bend, root - slope)
    return np.divide(far, near, out=np.where(far > 0, np.inf, 0.0), where=near > 0)


def rises(c, rates, t, level) -> float:
    """For how long a sum that is zero at t together with its slope is positive for certain: c (n,). 0 when it falls, ∞ when it is zero.

    It falls when its first derivative D_k that is not rounding is negative. Else h ≥ D_k τ^k/k! − B_{k+1} τ^{k+1}/(k+1)! > 0 up to
    (k+1) D_k/B_{k+1}, for every k before the first negative one; half of the longest is returned. level·λ_max^k is rounding in Dk.
    """
    terms, longest = c * np.exp(-rates * t) * -rates, 0.0
    for k in range(2, ORDERS):
        terms, level = terms * -rates, level * rates.max()
        derivative = terms.sum()
        if derivative < -level * rates.max():
            return longest
        if derivative > level * rates.max():
            longest = max(longest, (k + 1) / 2 * derivative / (np.abs(terms) @ rates))
    return longest or np.inf
