"""The first zero of sums of decaying exponentials, by steps that cannot pass one (derived).

For h(t) = h* + Σ_i c_i e^{−λ_i t} with λ_i > 0, B_k(t) = Σ |c_i| λ_i^k e^{−λ_i t} bounds the k-th
derivative from t on. So h > 0 up to the positive root τ of h + h'τ − B₂τ²/2, and the march goes
from root to root: at a simple zero it is Newton's method from the safe side. Once Σ |c_i| e^{−λ_i
t} < h* no zero is left.

Whether h or a derivative is zero is decided by its own terms: with an error e_i of each c_i the
k-th derivative is known up to Σ e_i λ_i^k e^{−λ_i t}, and h* up to a floor. A common size, of the
largest sum or the fastest rate, would take a slow fall for rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPS, TINY = np.finfo(float).eps, np.finfo(float).tiny
ORDERS = 16  # a sum whose value and so many derivatives are rounding is zero
MOST = 100_000  # steps of one march
PATIENCE = 50  # steps of one march before it takes the trouble of longer ones
FAST = 100.0  # in units of the step
STRETCH = 1.2 ** np.arange(80)
FACTORIALS = np.cumprod(np.maximum(np.arange(ORDERS + 1.0), 1.0))
FLAT = 1e-14  # the error of a term, relative to itself, where nothing else is said


@dataclass(frozen=True)
class Zero:
    """Which sum reaches zero first, and when; None when none does before `time`, the horizon or ∞.

    doubtful: the sums that came within their floor of a limit that does not prove them positive,
    from the time `since` on: whether they still reach zero is beyond rounding. Without them, Σ
    |c_i| e^{−λ_i t} < h* was reached for every sum where time is ∞. tired: the march used up its
    steps; no zero was found up to `time`, and nothing is known from there on.
    """

    which: int | None
    time: float
    doubtful: tuple[int, ...]
    since: float
    evaluations: int
    tired: bool = False

    @property
    def proven(self) -> bool:
        """Whether no sum reaches zero, ever."""
        return self.which is None and self.time == np.inf and not self.doubtful


def first_zero(
    star: np.ndarray,
    c: np.ndarray,
    rates: np.ndarray,
    *,
    horizon: float = np.inf,
    floor: np.ndarray | float = 0.0,
    loose: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> Zero:
    """The first time at which one of K sums, all ≥ 0 at t = 0, falls through zero: star (K,), c (K,
    n), rates (n,) > 0.

    floor (K,) and loose (K, n) are the errors of star and c. A sum that is zero up to these falls
    or rises as its first derivative that is more than rounding says; while none is, it counts as
    positive. One that is negative by more than its error has fallen. Sums that stay within their
    errors of their limit are left alone and are doubtful unless that limit proves them positive.
    start (5, K): h at t = 0 and its error, h' and its error, and h'' there, where they are known
    better than by the sums, NaN where not; h'' only where h = h' = 0.

    The first zero of e^{−t} − ½ is at ln 2.

    >>> found = first_zero(np.array([-0.5]), np.array([[1.0]]), np.array([1.0]))
    >>> float(round(found.time, 15))
    0.693147180559945
    """
    loose = FLAT * np.abs(c) if loose is None else loose
    start = np.full((5, len(star)), np.nan) if start is None else start
    sums = Sums(
        np.arange(len(star)),
        star,
        np.broadcast_to(floor, star.shape),
        c,
        np.abs(c),
        loose,
        start[0],
        start[1],
        np.nan_to_num(start[3]),
        np.zeros(len(star)),
        np.full(len(star), np.nan),
    )
    t, evaluations, doubtful, since, tick_0 = 0.0, 0, (), np.inf, 4 * EPS / rates.max(initial=EPS)
    while len(sums.which):
        if evaluations == MOST:
            return Zero(None, t, doubtful, since, evaluations, tired=True)
        evaluations += 1
        h, level, slope, slope_level, size, noise, bend = sums.at(t, rates)
        if t == 0:
            slope, slope_level = np.where(np.isnan(start[2]), (slope, slope_level), start[2:4])
            bend_3, known = sums.absolute @ rates**3, ~np.isnan(start[4])
            sums.guard = np.divide(
                1.5 * start[4], bend_3, out=np.where(known, np.inf, 0.0), where=known & (bend_3 > 0)
            )
        strict = size < sums.star - sums.floor
        going = ~strict & (size > noise)
        if not going.all():
            lost = sums.which[~(strict | going)].tolist()
            doubtful, since = (*doubtful, *lost), t if lost and not doubtful else since
            sums = sums.keep(going)
            h, level, slope, slope_level, bend = (
                value[going] for value in (h, level, slope, slope_level, bend)
            )
            if not len(h):
                break
        tick = 4 * EPS * t + tick_0
        still = (np.abs(slope) <= slope_level) & (h <= level)
        for k in np.flatnonzero(still & (t + tick >= sums.guard)):
            certain = rises(sums.c[k], sums.loose[k], rates, t)
            if certain == 0:
                return Zero(int(sums.which[k]), t, doubtful, since, evaluations)
            if np.isinf(certain):  # look again later, at growing intervals
                sums.open[k] = t if np.isnan(sums.open[k]) else sums.open[k]
                band = float(safe_step(level[k], -slope_level[k], bend[k]))
                certain = max(band, t - sums.open[k], 2 * tick)
            else:
                sums.open[k] = np.nan
            sums.guard[k] = t + certain
        step = np.where(t + tick < sums.guard, sums.guard - t, safe_step(h, slope, bend))
        step[(h < -level) & (t + tick >= sums.guard)] = 0.0
        first = int(step.argmin())
        tried = set()
        while evaluations > PATIENCE and step[first] > tick and first not in tried:
            tried.add(first)
            known = max(h[first], 0.0), slope[first] - slope_level[first]
            step[first] = longer(sums.c[first], sums.loose[first], rates, t, known, step[first])
            first = int(step.argmin())
        if step[first] <= tick:
            time = float(t + step[first])
            return Zero(int(sums.which[first]), time, doubtful, since, evaluations)
        t += step[first]
        if t >= horizon:
            return Zero(None, horizon, doubtful, since, evaluations)
    return Zero(None, np.inf, doubtful, since, evaluations)


@dataclass
class Sums:
    """The sums that may still reach zero, by their numbers `which`.

    Each is positive up to its guard although it was zero before; `open`: since when rounding leaves
    open whether it rises or falls.
    """

    which: np.ndarray
    star: np.ndarray
    floor: np.ndarray
    c: np.ndarray
    absolute: np.ndarray
    loose: np.ndarray
    begin: np.ndarray
    begin_error: np.ndarray
    drift: np.ndarray
    guard: np.ndarray
    open: np.ndarray

    def at(self, t: float, rates: np.ndarray) -> tuple[np.ndarray, ...]:
        """h and its error, h' and its error, Σ|c_i| e^{−λ_i t} and what of it is rounding, and B₂
        at t: (K,) each.

        h is summed from its limit or, for short times, from its beginning, whichever is more
        precise.
        """
        decay, fallen = np.exp(-rates * t), np.expm1(-rates * t)
        down, change, slope = (self.c @ np.array([decay, fallen, -rates * decay]).T).T
        size, bend = (self.absolute @ np.array([decay, rates**2 * decay]).T).T
        errors = self.loose @ np.array([decay, -fallen, rates * decay]).T
        error, change_error, slope_error = errors.T
        noise, early = self.floor + error, self.begin_error + change_error + self.drift * t
        near = early < noise  # False where the beginning is not known
        h, level = np.where(near, (self.begin + change, early), (self.star + down, noise))
        return h, level, slope, slope_error + self.drift, size, noise, bend

    def keep(self, those: np.ndarray) -> Sums:
        return Sums(*(value[those] for value in vars(self).values()))


def safe_step(h: np.ndarray, slope: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """The positive root of h + h'τ − B₂τ²/2: (K,); 0 where h ≤ 0 ≥ h'."""
    h = np.maximum(h, 0.0)
    root = np.sqrt(slope**2 + 2 * bend * h)
    far, near = np.where(slope > 0, slope + root, 2 * h), np.where(slope > 0, bend, root - slope)
    return np.divide(far, near, out=np.where(far > 0, np.inf, 0.0), where=near > 0)


def longer(
    c: np.ndarray,
    loose: np.ndarray,
    rates: np.ndarray,
    t: float,
    known: tuple[float, float],
    step: float,
) -> float:
    """A step at least as long as `step`, up to which a sum c (n,) stays positive by its Taylor
    series from t on.

    B₂ is far above h'' where large terms cancel in h, which makes safe_step short. known: h and a
    lower bound of h'. The other derivatives are lowered by their errors, and the remainder is
    bounded by the next B_k. Between τ and τ' > τ the polynomial is at least the sum of its positive
    terms at τ and of its negative ones at τ'.
    """
    terms, level = c * np.exp(-rates * t), loose * np.exp(-rates * t)
    alive = level + np.abs(terms) > 0
    terms, level, rates = terms[alive], level[alive], rates[alive]
    if not (rates * step).max(initial=0.0) < FAST:  # a series of such terms would not help
        return step
    k = np.arange(ORDERS + 1)
    powers = np.power.outer(rates * step, k)  # of the step as unit of time
    low = (terms @ powers) * (-1.0) ** k - level @ powers
    low[:2] = known[0], known[1] * step
    low[ORDERS] = -(np.abs(terms) @ powers[:, ORDERS])
    low /= FACTORIALS
    grid = np.power.outer(STRETCH, k)
    positive = grid[:-1] @ np.maximum(low, 0.0) + grid[1:] @ np.minimum(low, 0.0) > 0
    return step * STRETCH[len(positive) if positive.all() else positive.argmin()]


def rises(c: np.ndarray, loose: np.ndarray, rates: np.ndarray, t: float) -> float:
    """For how long a sum that is zero at t together with its slope is positive for certain: c (n,).
    0 when it falls, ∞ when rounding leaves that open.

    It falls when its first derivative D_k that is not rounding is negative. Else h ≥ D_k τ^k/k! −
    B_{k+1} τ^{k+1}/(k+1)! > 0 up to (k+1) D_k/B_{k+1}, for every k before the first negative one;
    half of the longest is returned. Rounding in D_k is Σ e_i λ_i^k e^{−λ_i t}.
    """
    decay = np.exp(-rates * t)
    terms, level, longest = c * decay * -rates, loose * decay * rates, 0.0
    for k in range(2, ORDERS):
        terms, level = terms * -rates, level * rates
        derivative, unsure = terms.sum(), level.sum()
        if derivative < -unsure:
            return longest
        bound = np.abs(terms) @ rates
        if bound < TINY:  # it underflows: no more can be told
            break
        if derivative > unsure:
            longest = max(longest, (k + 1) / 2 * derivative / bound)
    return longest or np.inf  # longest < ORDERS / min(rates), finite
