"""The kinks of V between the entries of a window that a max-pool reads, where the gradient of V
jumps as another entry becomes the largest (derived).

Given all else, an entry a_j alone is a parabola with stiffness P_j = w + γ and its minimum at c_j =
(w u_j + γ v_j)/P_j; the largest entry also feels the pooled stalk m by an edge of weight w_m. The
side of a window is its label i: the entry that counts as the largest. Given i, the minimum over a_j
≤ a_i is found by filling up: all entries of T = {i} ∪ {j : c_j > t} are *tied* at one level t =
(Σ_T P c + w_m m)/(Σ_T P + w_m), the others stay at c_j < t. The force on an entry of T alone is f_j
= P_j (c_j − t), and the force of the pooled stalk down on t is h = w_m (t − m) = Σ_T f_j.

A tie of two or more entries is a strict local minimum exactly if m ≤ t and every f_j ≥ 0. With m >
t it is a saddle: V falls as one entry alone rises. A clamped entry at the level t takes part in the
tie and does not move: then t is fixed, and the condition is f_j ≥ 0 for all others and Σ f_j ≤ h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaflib.equilibria.sides import Rule, Settled
from sheaflib.linear.rest import ROUNDING
from sheaflib.networks.operations import Operation
from sheaflib.networks.selection import MaxPool
from sheaflib.networks.separation import distinct


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one stalk, `here` in Ω: each entry of the stalk belongs to one of them.

    windows (m, k) of places in the stalk, real (m, k) where an entry does not repeat another one of
    its window; rows: the pooled stalk; weight and stiffness w and P (n,); pull: w_m. Whether an
    entry is the label is its side, 1 or 0.
    """

    stalk: str
    here: slice
    weight: np.ndarray
    stiffness: np.ndarray
    windows: np.ndarray
    real: np.ndarray
    rows: slice
    pull: float

    @classmethod
    def of(
        cls,
        stalk: str,
        here: slice,
        weight: np.ndarray,
        stiffness: np.ndarray,
        pool: MaxPool,
        rows: slice,
        pull: float,
    ) -> Windows:
        """The windows that one max-pool reads, alone."""
        real = distinct(pool.windows)
        return cls(stalk, here, weight, stiffness, pool.windows, real, rows, pull)

    def grouped(self, values: np.ndarray, absent: float = -np.inf) -> np.ndarray:
        """Values (B, n) of the stalk by windows (B, m, k); `absent` where an entry repeats
        another.
        """
        return np.where(self.real, values[:, self.windows], absent)

    def spread(self, values: np.ndarray, n: int) -> np.ndarray:
        """What `grouped` undoes: (B, m, k) -> (B, n)."""
        found = np.empty((len(values), n), dtype=values.dtype)
        found[:, self.windows[self.real]] = values[:, self.real]
        return found

    def sides(self, a: np.ndarray) -> np.ndarray:
        """1 at the first largest entry of every window: (B, n) of int8."""
        label = self.grouped(a).argmax(axis=2)
        return self.spread(self._one_hot(label).astype(np.int8), a.shape[1])

    def pattern(self, operation: Operation, side: np.ndarray) -> np.ndarray:
        """The pattern of the max-pool with these labels."""
        return self._labels(side)

    def _labels(self, side: np.ndarray) -> np.ndarray:
        return self.grouped(side, 0).argmax(axis=2)

    def _one_hot(self, label: np.ndarray) -> np.ndarray:
        return np.arange(self.windows.shape[1]) == label[:, :, None]

    def settle(
        self,
        u: np.ndarray,
        w: np.ndarray,
        spring: np.ndarray,
        side: np.ndarray,
        clamped: np.ndarray,
        rule: Rule | None,
    ) -> Settled:
        """The free entries at their minimum for the label, which `rule` may change first; tied ones
        are held, and follow the label.

        u, spring, side (B, n) and clamped (n,) belong to the stalk, w (B, N) is the cochain.
        """
        n = u.shape[1]
        own = (self.weight * u + spring) / self.stiffness
        fill = Filling(self, self.grouped(np.where(clamped, w[:, self.here], own)), clamped, w)
        label = self._labels(side)
        if rule is not None:
            better = fill.lowest(label) if rule.lowest else fill.better(label)
            label = np.where(rule.settled, better, label)
        level, blocked = fill.level(label)
        first = self._one_hot(label)
        free = fill.free & ~(first & ~blocked[:, :, None])
        tied = free & ((fill.c > level[:, :, None]) | first)
        a = np.where(first & fill.free, level[:, :, None], fill.c)
        a = np.where(tied, level[:, :, None], a)
        places = np.take_along_axis(
            np.broadcast_to(self.windows, first.shape), label[:, :, None], axis=2
        )
        leader = np.where(tied & ~blocked[:, :, None], places, -1)
        return Settled(
            self.spread(a, n),
            self.spread(first.astype(np.int8), n),
            self.spread(tied, n),
            self.spread(leader, n),
        )

    def ties(self, a: np.ndarray, clamped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which entries of a cochain's stalk are held by a tie, and which one they follow, −1 for
        none: (B, n) each.

        Tied are entries that equal the largest; one that is clamped holds the others.
        """
        values, fixed = self.grouped(a), self._fixed(clamped)
        top = self.real & (values == values.max(axis=2, keepdims=True))
        blocked = (top & fixed).any(axis=2)[:, :, None]
        first = self._one_hot(values.argmax(axis=2))
        held = top & ~fixed & (~first | blocked)
        places = (self.windows * first).sum(axis=2)[:, :, None]
        leader = np.where(held & ~blocked, places, -1)
        n = a.shape[1]
        return self.spread(held, n), self.spread(leader, n)

    def _fixed(self, clamped: np.ndarray) -> np.ndarray:
        return self.real & clamped[self.windows]

    def distance(self, a: np.ndarray) -> np.ndarray:
        """How far every entry is from the largest other one: (B, n)."""
        values = self.grouped(a)
        first = self._one_hot(values.argmax(axis=2))
        top = values.max(axis=2, keepdims=True)
        second = np.where(first, -np.inf, values).max(axis=2, keepdims=True)
        return self.spread(np.where(first, top - second, top - values), a.shape[1])

    def apart(self, pair: np.ndarray, room: np.ndarray) -> bool:
        """Whether two values (2, n) of the stalk lie in windows with no common label, up to `room`
        (2, n)."""
        values = self.grouped(pair)
        near = values + self.grouped(room, 0.0) >= values.max(axis=2, keepdims=True)
        return not (near & self.real).all(axis=0).any(axis=1).all()

    def judge(
        self,
        w: np.ndarray,
        force: np.ndarray,
        size: np.ndarray,
        floor: np.ndarray,
        clamped: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which free entries are at no minimum, and for which rounding decides whether they are:
        (B, n) of bool each.

        w (B, N): the cochain; force, size (B, n): w u + γ v and its terms; floor (B, N): the
        rounding error of the gradient. Where m ≤ t for certain V is convex near the window, and
        nothing is in doubt. Elsewhere a second entry that may be tied is.
        """
        a, m = w[:, self.here], w[:, self.rows]
        values = self.grouped(a)
        level, label = values.max(axis=2), values.argmax(axis=2)
        first, fixed = self._one_hot(label), self._fixed(clamped)
        around = (floor[:, self.here][:, self.windows] * first).sum(axis=2) + floor[:, self.rows]
        error = ROUNDING * self.grouped(size, 0.0)
        error += ROUNDING * (self.stiffness[self.windows] * np.abs(level)[:, :, None])
        error += around[:, :, None]
        alone, down, down_error = self._forces(a, m, level, force, clamped)
        down_error = down_error + around
        top = self.real & (values == level[:, :, None])
        several = (top.sum(axis=2) > 1)[:, :, None]
        wrong = several & top & ~fixed & (alone < -error)
        uphill = np.where(top & ~fixed, alone, 0.0).sum(axis=2)
        slack = np.where(top & ~fixed, error, 0.0).sum(axis=2) + down_error
        blocked = (top & fixed).any(axis=2)
        falls = (down < -down_error) | blocked & (uphill > down + slack)
        wrong |= several & top & ~fixed & falls[:, :, None]
        near = self.real & ~first & (alone > -error)
        unsure = (down < down_error)[:, :, None] & near
        unsure |= first & unsure.any(axis=2, keepdims=True)
        free, n = self.real & ~fixed, a.shape[1]
        return self.spread(free & wrong, n), self.spread(free & unsure & ~wrong, n)

    def _forces(
        self,
        a: np.ndarray,
        m: np.ndarray,
        level: np.ndarray,
        force: np.ndarray,
        clamped: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """f_j of every entry at the level t, (B, m, k), h = w_m (t − m), (B, m), and its error."""
        P = np.broadcast_to(self.stiffness, a.shape)
        pulls = self.grouped(np.where(clamped, P * a, force))
        alone = pulls - self.stiffness[self.windows] * level[:, :, None]
        down = self.pull * (level - m)
        return alone, down, ROUNDING * self.pull * (np.abs(level) + np.abs(m))

    def room(
        self, w: np.ndarray, force: np.ndarray, rows: np.ndarray, clamped: np.ndarray
    ) -> np.ndarray:
        """How far w may move before a window changes its label or its tie, entry by entry: (B, n).

        rows (n,): bounds of the norms of the rows of the edge into the stalk.
        """
        a, m = w[:, self.here], w[:, self.rows]
        values = self.grouped(a)
        level = values.max(axis=2)
        alone, down, _ = self._forces(a, m, level, force, clamped)
        top, first = values == level[:, :, None], self._one_hot(values.argmax(axis=2))
        top &= self.real
        several = top.sum(axis=2)[:, :, None] > 1
        steep = np.hypot((self.weight * rows)[self.windows], self.stiffness[self.windows])
        side = self.pull * np.sqrt(2)  # the norm of the gradient of h
        tied = np.minimum(alone / steep, (down / side)[:, :, None])
        lifting = top & ~self._fixed(clamped)
        left = down - np.where(lifting, alone, 0.0).sum(axis=2)
        steep_left = side + np.where(lifting, steep, 0.0).sum(axis=2)
        blocked = (top & self._fixed(clamped)).any(axis=2)
        limit = np.where(blocked, left / steep_left, np.inf)
        tied = np.minimum(tied, limit[:, :, None])
        gap = np.where(first, np.inf, (level[:, :, None] - values) / np.sqrt(2))
        found = np.where(several & top, np.maximum(tied, 0.0), gap)
        return self.spread(np.where(self.real, found, np.inf), a.shape[1])


class Filling:
    """The windows of a batch as filling up sees them: the minima c and stiffnesses P of the entries
    alone, (B, m, k), −∞ and 0 where absent; which entries are free; the pooled stalk m (B, m).

    A clamped entry counts as one whose minimum is its value, and bounds the level from below.
    """

    def __init__(self, windows: Windows, c: np.ndarray, clamped: np.ndarray, w: np.ndarray):
        self.c, self.m, self.pull = c, w[:, windows.rows], windows.pull
        self.free = windows.real & ~clamped[windows.windows]
        self.fixed = windows.real & clamped[windows.windows]
        stiffness = np.where(self.free, windows.stiffness[windows.windows], 0.0)
        self.P = np.broadcast_to(stiffness, c.shape)
        # the level that clamped entries set, and the first of them that does
        bounds = np.where(self.fixed, c, -np.inf)
        self.bound, self.highest = bounds.max(axis=2), bounds.argmax(axis=2)

    def level(self, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """t for these labels (B, m), and whether a clamped entry sets it: (B, m) each."""
        chosen = label[:, :, None]
        first = np.arange(self.c.shape[2]) == chosen
        heights = np.where(self.free & ~first, self.c, -np.inf)
        order = np.argsort(-heights, axis=2, kind="stable")
        c = np.take_along_axis(heights, order, axis=2)
        P = np.where(np.isfinite(c), np.take_along_axis(self.P, order, axis=2), 0.0)
        own = np.take_along_axis(self.c, chosen, axis=2)
        weight = np.take_along_axis(self.P, chosen, axis=2)
        products = np.where(P > 0, P * np.where(P > 0, c, 0.0), 0.0)
        start = weight * np.where(weight > 0, own, 0.0)
        pulls = np.concatenate([start, products], axis=2).cumsum(axis=2)
        sizes = np.concatenate([weight, P], axis=2).cumsum(axis=2)
        t = (pulls + self.pull * self.m[:, :, None]) / (sizes + self.pull)
        after = np.concatenate([c, np.full_like(own, -np.inf)], axis=2)
        last = (t >= after).argmax(axis=2)[:, :, None]
        t = np.take_along_axis(t, last, axis=2)[:, :, 0]
        pinned = np.take_along_axis(self.fixed[None], chosen, axis=2)[:, :, 0]
        blocked = pinned | (t <= self.bound)
        return np.where(blocked, self.bound, t), blocked

    def energy(self, label: np.ndarray) -> np.ndarray:
        """What V has of the windows with these labels at their minimum: (B, m); ∞ where a clamped
        entry is the label below a larger one."""
        t, _ = self.level(label)
        first = np.arange(self.c.shape[2]) == label[:, :, None]
        above = (self.c > t[:, :, None]) | first
        off = np.where(self.free & above, self.c - t[:, :, None], 0.0)
        energy = 0.5 * (self.P * off**2).sum(axis=2) + 0.5 * self.pull * (self.m - t) ** 2
        low = first & self.fixed & (self.c < self.bound[:, :, None])
        return np.where(low.any(axis=2), np.inf, energy)

    def better(self, label: np.ndarray) -> np.ndarray:
        """Another label where V falls strictly from the minimum of this one: (B, m)."""
        t, blocked = self.level(label)
        chosen = label[:, :, None]
        first = np.arange(self.c.shape[2]) == chosen
        others = np.where(self.free & ~first, self.c, -np.inf)
        largest, highest = others.argmax(axis=2), others.max(axis=2)
        own = np.take_along_axis(self.c, chosen, axis=2)[:, :, 0]
        pinned = np.take_along_axis(self.fixed[None], chosen, axis=2)[:, :, 0]
        # a free label: the pooled stalk pulls one entry of a tie up, or the label hangs below it
        up = (self.m > t) & (highest >= t)
        down = (own < t) & (highest > t)
        found = np.where(~pinned & (up | down), largest, label)
        # a label that hangs below the level of a clamped entry leaves it to that
        hangs = ~pinned & blocked & (own < t)
        found = np.where(hangs, self.highest, found)
        # a clamped label: the others together lift the level beyond it
        above = self.free & (self.c >= t[:, :, None])
        lift = np.where(above, self.P * np.where(above, self.c - t[:, :, None], 0.0), 0.0)
        rises = pinned & above.any(axis=2) & (lift.sum(axis=2) > self.pull * (t - self.m))
        return np.where(rises, largest, found)

    def lowest(self, label: np.ndarray) -> np.ndarray:
        """The label whose minimum is the lowest; the present one where that is as low: (B, m)."""
        entries = range(self.c.shape[2])
        real = self.free | self.fixed
        energies = [self.energy(np.full_like(label, i)) for i in entries]
        every = np.array([np.where(real[..., i], energies[i], np.inf) for i in entries])
        now = self.energy(label)
        lowest = every.argmin(axis=0)
        return np.where(every.min(axis=0) < now * (1 - ROUNDING), lowest, label)
