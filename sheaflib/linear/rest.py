"""When a sample of a flow is at rest: its velocity is rounding of the terms that it is a sum of
(derived).

The size of a step says nothing of how far a flow has come, as it is proportional to dt. The
gradient ∂V/∂w says it, and what is small for a coordinate of it is told by the sizes of its own
terms, T = |δ|ᵀ diag(w_e)(|δ||w| + |c|) + γ(|w| + |v*|).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from sheaflib.networks.graph import INPUT, Node
from sheaflib.networks.selection import Elementwise
from sheaflib.sheaves.forces import force
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pins, Rows
from sheaflib.support.checks import choice, positive

RULES = ("velocity", "step")
ROUNDING = 256 * np.finfo(float).eps
SLACK = 1 + 1e-9  # bounds that save work are raised by this: their rounding decides nothing


def check_rule(rest: str, tol: float, zero: bool) -> float:
    """`tol` as a float that the rule `rest` can use, 0 being allowed when `zero`.

    Raises ValueError for an unknown rule, a tol that is not positive, and one of 1 or more for the
    relative rule.
    """
    choice("rest", rest, RULES)
    tol = positive("tol", tol, zero=zero)
    if rest == "velocity" and tol >= 1:
        raise ValueError(
            f"tol={tol:g} must be < 1: it is relative to the terms of the gradient "
            '(for max|Δ| < tol, rest="step")'
        )
    return tol


def at_kinks(sheaf: NeuralSheaf, w: np.ndarray) -> np.ndarray:
    """Which coordinates of w lie exactly at a break of a selection that reads them, at 0 for a
    ReLU: shape of w, (B, N) or (B, N + n_out), of bool.
    """
    found = np.zeros(w.shape, dtype=bool)
    for node in elementwise(sheaf):
        here = sheaf.layout[node.inputs[0]]
        for point in node.operation.breaks:
            found[:, here] |= w[:, here] == point
    return found


def left_pattern(sheaf: NeuralSheaf, w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The activation pattern just below every break that a coordinate lies at: (B, M), elsewhere
    that of w (B, N) or (B, N + n_out).
    """
    found = sheaf.pattern(w, x)
    for node in elementwise(sheaf):
        z = w[:, sheaf.layout[node.inputs[0]]]
        passed = [z > point for point in node.operation.breaks]
        found[:, sheaf.pattern_layout[node.name]] = np.sum(passed, axis=0)
    return found


def elementwise(sheaf: NeuralSheaf) -> list[Node]:
    """The selections of one coordinate at a time, ReLUs and clamps, that make a kink in a
    coordinate: those that do not read x.
    """
    return [
        node
        for node in sheaf.network.nodes
        if isinstance(node.operation, Elementwise) and node.inputs != (INPUT,)
    ]


def terms(
    sheaf: NeuralSheaf, w: np.ndarray, x: np.ndarray, pins: Pins, pattern: np.ndarray
) -> np.ndarray:
    """The sizes T of the terms of ∂V/∂w, springs included: shape of w."""
    sizes = sheaf.gradient_terms(w, x, pattern)
    stretched = np.abs(w[:, pins.soft_index]) + np.abs(pins.soft_value)
    sizes[:, pins.soft_index] += pins.gamma * stretched
    return sizes


class Gauge:
    """Measures how far the samples of a flow are from rest, and saves the terms where a bound of
    them tells enough.

    pattern: that of the start w. corners: whether a z_j at its kink that both sides push back to is
    at rest (a stepper holds it there, but Euler does not). What tends to 0 with all its terms has
    no size of its own: a velocity below ROUNDING² = (256 ε)² times the largest terms at the start w
    counts as none. `first` (B,) is the unrest there.
    """

    def __init__(
        self,
        sheaf: NeuralSheaf,
        x: np.ndarray,
        w: np.ndarray,
        pins: Pins,
        output_force: str,
        corners: bool,
        pattern: np.ndarray,
    ):
        self.sheaf, self.x, self.pins = sheaf, x, pins
        self.output_force, self.corners = output_force, corners
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            sizes = terms(sheaf, w, x, pins, pattern)
            largest = sizes.max(axis=1, keepdims=True)
            self.floor = np.where(np.isfinite(largest), ROUNDING**2 * largest, 0.0)
            self.first = self._unrest(w, slice(None), pattern, sizes)
        # what `resting` remembers; no terms are known at first, and ∞ bounds them
        self.sizes, self.most = self._sizes(w), np.full(w.shape, np.inf)
        self.pattern = pattern.copy()

    @cached_property
    def breaks(self) -> list[tuple[slice, float]]:
        """The breaks at other points than 0, by the coordinates that have them."""
        return [
            (self.sheaf.layout[node.inputs[0]], point)
            for node in elementwise(self.sheaf)
            for point in node.operation.breaks
            if point != 0
        ]

    @cached_property
    def steepest(self) -> tuple[np.ndarray, np.ndarray]:
        """Which units have one break and no constant, as ReLUs, and so terms that are largest where
        they are steepest; and which of these are steepest where active: (M,) of bool each.
        """
        straight, active = np.zeros((2, self.sheaf.M), dtype=bool)
        for node in self.sheaf.network.nodes:
            operation = node.operation
            if not isinstance(operation, Elementwise):
                continue
            here = self.sheaf.pattern_layout[node.name]
            straight[here] = len(operation.breaks) == 1 and not any(operation.offsets)
            active[here] = np.abs(operation.slopes[0]) <= np.abs(operation.slopes[-1])
        return straight, straight & active

    def resting(
        self, w: np.ndarray, f: np.ndarray, pattern: np.ndarray, rows: np.ndarray, bar: float
    ) -> np.ndarray:
        """Which samples have `unrest` ≤ bar: (len(rows),) of bool, rows (indices) being the samples
        of which w, f, pattern speak.

        The terms grow by no more than the largest ratio by which a coordinate does, whatever the
        ReLUs do, as long as the choices of max-pool and the sides of clamps stay: most steps need
        nothing else. f: the force at w where w is at no kink, of any sign.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            grown = self._sizes(w) / self.sizes[rows]
            factor = np.where(np.isnan(grown), 1.0, grown).max(axis=1, initial=1.0, keepdims=True)
            most = np.maximum(bar * SLACK * factor * self.most[rows], self.floor[rows])
            same = (self.steepest[0] | (pattern == self.pattern[rows])).all(axis=1)
            moving = (np.abs(f) > most) & (w != 0)
            for here, point in self.breaks:
                moving[:, here] &= w[:, here] != point
            moving = moving.any(axis=1) & same
        resting = np.zeros(len(rows), dtype=bool)
        open_ = np.flatnonzero(~moving)
        if len(open_):
            there = rows[open_]
            self.sizes[there], self.pattern[there] = self._sizes(w[open_]), pattern[open_]
            with np.errstate(over="ignore", invalid="ignore"):
                self.most[there] = self._most(w[open_], there, pattern[open_])
            resting[open_] = self.unrest(w[open_], there) <= bar
        return resting

    def _most(self, w: np.ndarray, rows: np.ndarray, pattern: np.ndarray) -> np.ndarray:
        """The terms where every ReLU is as steep as it can be."""
        steepest = np.where(self.steepest[0], self.steepest[1], pattern)
        return terms(self.sheaf, w, self.x[rows], self.pins.rows(rows), steepest)

    def unrest(self, w: np.ndarray, rows: Rows = slice(None)) -> np.ndarray:
        """The largest |∂V/∂w_i|/T_i over the coordinates that are not clamped, (B,); w holds the
        samples `rows`.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            pattern = self.sheaf.pattern(w, self.x[rows])
            sizes = terms(self.sheaf, w, self.x[rows], self.pins.rows(rows), pattern)
            return self._unrest(w, rows, pattern, sizes)

    def _unrest(
        self, w: np.ndarray, rows: Rows, pattern: np.ndarray, sizes: np.ndarray
    ) -> np.ndarray:
        """`unrest`, the pattern of w and the terms there being known."""
        sheaf, x, pins, floor = self.sheaf, self.x[rows], self.pins.rows(rows), self.floor[rows]
        f = force(sheaf, w, x, pins=pins, pattern=pattern, output_force=self.output_force)
        off = relative(np.abs(f), sizes, floor)
        kinks = at_kinks(sheaf, w) if self.corners else np.zeros(w.shape, dtype=bool)
        if kinks.any():
            left = left_pattern(sheaf, w, x)
            f_left = force(sheaf, w, x, pins=pins, pattern=left, output_force=self.output_force)
            sides = (
                relative(np.maximum(f, 0), sizes, floor),
                relative(np.maximum(-f_left, 0), terms(sheaf, w, x, pins, left), floor),
            )
            off = np.where(kinks, np.maximum(*sides), off)
        return np.where(pins.free, off, 0.0).max(axis=1)

    def _sizes(self, w: np.ndarray) -> np.ndarray:
        """The numbers that the terms grow with: |w|, and φ(z) with a_out."""
        if w.shape[1] == self.sheaf.N:
            return np.abs(w)
        last = self.sheaf.layout[self.sheaf.network.output_name]
        return np.hstack([np.abs(w), self.sheaf.network.output.value(w[:, last])])


def relative(size: np.ndarray, sizes: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """size/sizes, 0 up to the floor, and ∞ where it is no number or the terms are not finite."""
    quotient = np.where(np.isfinite(sizes), size / sizes, np.inf)
    quotient = np.where(np.isnan(quotient), np.inf, quotient)
    return np.where((size <= floor) & np.isfinite(sizes), 0.0, quotient)
