"""V of a pinned sheaf, piece by piece: on which side every kink lies, what is held, the gradient
and the Hessian there (derived).

Both are taken in the injections ε = δ_FF v of the coordinates F that are not held: the Hessian is W
+ AᵀDA, whose few rows A are what the held edges, the springs and the output feel of v.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from sheaflib.equilibria.kinks import kinks
from sheaflib.equilibria.pinned_output import PinnedOutput
from sheaflib.equilibria.sides import Rule
from sheaflib.equilibria.windows import Windows
from sheaflib.linear.substitution import Ties, held_backward, held_forward
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import A_OUT, INPUT, Node, gather
from sheaflib.networks.selection import Selection
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pin, Pins, Rows, keeps_all, resolve

FEW = 4 * np.finfo(float).eps


@dataclass
class Pieces:
    """Where a batch stands: w and F_β(w) (B, N), the sides β of the kinks and what is held (B, N),
    the pattern (B, M), V (B,), and which of what is held follows another coordinate, None where
    no max-pool has a window.
    """

    w: np.ndarray
    image: np.ndarray
    side: np.ndarray
    held: np.ndarray
    pattern: np.ndarray
    energy: np.ndarray
    ties: Ties | None = None

    def rows(self, keep: Rows) -> Pieces:
        """The same for some of the samples; itself where all of them stay."""
        if keeps_all(keep, len(self.w)):
            return self
        parts = {name: value[keep] for name, value in vars(self).items() if name != "ties"}
        return Pieces(**parts, ties=None if self.ties is None else self.ties.rows(keep))


class PinnedEnergy:
    """V of a sheaf with pins over x (B, n_0) as the Newton iteration sees it: its pieces, gradient
    and Hessian.
    """

    def __init__(self, sheaf: NeuralSheaf, x: np.ndarray, pins: Pin | Sequence[Pin] | Pins):
        self.sheaf, self.x, N = sheaf, x, sheaf.N
        augmented = pins.width > N if isinstance(pins, Pins) else names_a_out(sheaf, pins)
        self.pins = resolve(sheaf, pins, len(x), augmented)
        self.output = PinnedOutput.of(sheaf, self.pins)
        inside = self.pins.hard_index < N
        self.clamped = np.zeros(N, dtype=bool)
        self.clamped[self.pins.hard_index[inside]] = True
        self.value = self.pins.hard_value[:, inside]
        self.gamma, self.rest = np.zeros(N), np.zeros((len(x), N))
        springs = self.pins.soft_index < N
        index = self.pins.soft_index[springs]
        self.gamma[index] = self.pins.gamma[springs]
        self.springs = bool(self.gamma.any())
        self.rest[:, index] = self.pins.soft_value[:, springs]
        self.weights = sheaf.row_weights[:N]
        self.kinks = kinks(sheaf, self.gamma)
        windows = [name for name, kink in self.kinks.items() if isinstance(kink, Windows)]
        self.windowed = frozenset(windows)
        # of ReLUs alone a pattern is of bool
        self.pattern_kind = sheaf.pattern(np.zeros((1, N)), x[:1]).dtype
        self.last = sheaf.layout[sheaf.network.output_name]
        self.offset = self.pins.offset

    def impose(self, w: np.ndarray) -> np.ndarray:
        """A copy of w (B, N) with the clamped coordinates set."""
        w = w.copy()
        w[:, self.clamped] = self.value
        return w

    def rows(self, keep: Rows) -> PinnedEnergy:
        """The same problem for some of the samples; itself where all of them stay."""
        if keeps_all(keep, len(self.x)):
            return self
        part = copy(self)
        part.x, part.pins, part.rest = self.x[keep], self.pins.rows(keep), self.rest[keep]
        part.value, part.offset = self.value[keep], self.offset[keep]
        part.output = None if self.output is None else self.output.rows(keep)
        return part

    def near(self, w: np.ndarray, tau: float) -> PinnedEnergy:
        """The same problem with |v − w|²/(2τ) added: one more spring 1/τ on every coordinate,
        resting at w (B, N).
        """
        part = self.rows(slice(None))
        gamma = self.gamma + 1 / tau
        part.rest = np.where(self.clamped, self.rest, (self.gamma * self.rest + w / tau) / gamma)
        part.gamma, part.springs = np.where(self.clamped, self.gamma, gamma), True
        part.offset = self.offset + 0.5 * (
            self.gamma * (self.rest - part.rest) ** 2 + (w - part.rest) ** 2 / tau
        ).sum(axis=1)
        part.kinks = kinks(self.sheaf, part.gamma)
        return part

    def sides(self, w: np.ndarray) -> np.ndarray:
        """The side of every kinked coordinate of w (B, N), 0 elsewhere: (B, N) of int8."""
        side = np.zeros(w.shape, dtype=np.int8)
        for kink in self.kinks.values():
            side[:, kink.here] = kink.sides(w[:, kink.here])
        return side

    def pieces(
        self,
        w: np.ndarray,
        side: np.ndarray,
        rule: Rule | None = None,
        image: np.ndarray | None = None,
    ) -> Pieces:
        """The pieces at w: kinked coordinates set to their minimum on their side, which `rule` may
        change first.

        side (B, N) as `sides` makes it. `image` (B, N) saves the affine maps: what they give at w,
        known from elsewhere.
        """
        sheaf, w, side = self.sheaf, w.copy(), side.copy()
        u = np.empty_like(w)
        held = np.broadcast_to(self.clamped, w.shape).copy()
        pattern = np.zeros((len(w), sheaf.M), dtype=self.pattern_kind)
        leader = np.full(w.shape, -1, dtype=np.int64) if self.windowed else None
        values = {INPUT: self.x, **sheaf.layout.split(w)}
        for node in sheaf.network.nodes:
            here, s = sheaf.layout[node.name], None
            if isinstance(node.operation, Selection):
                s = self._pattern(node, side)
                pattern[:, sheaf.pattern_layout[node.name]] = s
            if image is not None and isinstance(node.operation, Affine):
                u[:, here] = image[:, here]
            else:
                u[:, here] = node.operation.value(gather(values, node), s)
            kink = self.kinks.get(node.name)
            if kink is None:
                continue
            spring = self.gamma[here] * self.rest[:, here]
            found = kink.settle(u[:, here], w, spring, side[:, here], self.clamped[here], rule)
            w[:, here], side[:, here] = found.z, found.side
            held[:, here] |= found.held
            if found.leader is not None and leader is not None:
                leads = found.leader >= 0
                leader[:, here] = np.where(leads, found.leader + here.start, -1)
        ties = None if leader is None else Ties(leader, self.windowed)
        return Pieces(w, u, side, held, pattern, self.energy(w, u), ties)

    def _pattern(self, node: Node, side: np.ndarray) -> np.ndarray:
        """The pattern of a selection on these sides (B, N); in the input nothing moves."""
        if node.inputs == (INPUT,):
            return node.operation.pattern(self.x)
        kink = self.kinks[node.inputs[0]]
        return kink.pattern(node.operation, side[:, kink.here])

    def sides_beyond(self, at: Pieces) -> np.ndarray:
        """The sides (B, N), and beyond a break where a coordinate rests on one up to rounding and V
        falls there; which leaves windows as they are.
        """
        side = at.side.copy()
        for kink in self.kinks.values():
            if isinstance(kink, Windows):
                continue
            here = kink.here
            u, spring = at.image[:, here], self.gamma[here] * self.rest[:, here]
            size = np.abs(kink.weight * u) + np.abs(spring)
            size += sum(kink.reader_terms(reader, at.w) for reader in kink.readers)
            moved = kink.beyond(kink.forces(u, at.w, spring), size, side[:, here])
            side[:, here] = np.where(self.clamped[here], side[:, here], moved)
        return side

    def energy(self, w: np.ndarray, u: np.ndarray) -> np.ndarray:
        """V (B,) with springs and, for a label, the cross-entropy."""
        terms = w - u
        terms *= terms
        terms *= self.weights
        if self.springs:
            terms += self.gamma * (w - self.rest) ** 2
        V = 0.5 * terms.sum(axis=1) + self.offset
        return V if self.output is None else V + self.output.energy(w[:, self.last])

    def gradient(self, at: Pieces) -> np.ndarray:
        """∂V/∂ε (B, N) on the free coordinates, 0 on the held: W r + δ_FF⁻ᵀ(springs and label −
        δ_CFᵀ W r_C), one backward substitution.
        """
        stress = self.weights * (at.w - at.image)
        g = np.where(at.held, -stress, self.gamma * (at.w - self.rest))
        if self.output is not None:
            pull = self.output.gradient(at.w[:, self.last])
            g[:, self.last] += np.where(at.held[:, self.last], 0.0, pull)
        if at.ties is not None:
            at.ties.add(g, self.gamma * (at.w - self.rest))
        p = held_backward(self.sheaf, g, at.pattern, at.held, at.ties)
        return np.where(at.held, 0.0, stress + p)

    def terms(self, at: Pieces) -> tuple[np.ndarray, np.ndarray]:
        """How large the terms are that cancel in the gradient, in the norm (Σ g²/w)^½: of the
        edges, and of the springs, (B,) each.
        """
        edges = np.sqrt((self.weights * (np.abs(at.w) + np.abs(at.image)) ** 2).sum(axis=1))
        if not self.springs:
            return edges, np.zeros_like(edges)
        return edges, np.sqrt(
            ((self.gamma * (np.abs(at.w) + np.abs(self.rest))) ** 2 / self.weights).sum(axis=1)
        )

    def gradient_terms(self, at: Pieces) -> np.ndarray:
        """The sizes of the terms that each coordinate of ∂V_β/∂w (`slope`) is a sum of, springs and
        label included: (B, N)."""
        terms = self.sheaf.gradient_terms(at.w, self.x, at.pattern) + self.gamma * (
            np.abs(at.w) + np.abs(self.rest)
        )
        if self.output is not None:
            terms[:, self.last] += self.output.terms(at.w[:, self.last])
        if at.ties is not None:
            at.ties.add(terms, terms.copy())
            # where rounding moves a tie, it moves the stalks below
            stress = self.weights * at.ties.of_leaders(terms / self.weights)
            terms += self.sheaf.delta_transposed(stress, at.pattern, sizes=True)
        return terms

    def at_rest(self, at: Pieces, tol: float) -> tuple[np.ndarray, np.ndarray]:
        """Whether |∂V_β/∂w| ≤ tol times its own terms in every coordinate that is not held, (B,);
        and the passes that it took, (B,).

        The terms of a coordinate's own edge need no weight. Only samples for which they are not
        enough take two passes more.
        """
        g = np.abs(self.slope(at))
        rest = (g <= tol * self.weights * (np.abs(at.w) + np.abs(at.image))).all(axis=1)
        passes, open_ = np.where(rest, 1, 3), np.flatnonzero(~rest)
        if len(open_):
            terms = self.rows(open_).gradient_terms(at.rows(open_))
            rest[open_] = (g[open_] <= tol * terms).all(axis=1)
        return rest, passes

    def energy_rounding(self, at: Pieces) -> np.ndarray:
        """How much of V is rounding: what an error of a few ε in every w and F(w) changes, (B,)."""

        def change(weights: np.ndarray, residual: np.ndarray, error: np.ndarray) -> np.ndarray:
            return (weights * (np.abs(residual) * error + error**2)).sum(axis=1)

        edges = change(self.weights, at.w - at.image, FEW * (np.abs(at.w) + np.abs(at.image)))
        if self.springs:
            error = FEW * (np.abs(at.w) + np.abs(self.rest))
            edges = edges + change(self.gamma, at.w - self.rest, error)
        return edges + FEW * np.abs(at.energy)

    def size(self, gradient: np.ndarray) -> np.ndarray:
        """(Σ g²/w)^½ of a gradient in the injections: half its square bounds how much lower V can
        get on these pieces, (B,).
        """
        return np.sqrt((gradient**2 / self.weights).sum(axis=1))

    def along(self, at: Pieces, trial: Pieces, v: np.ndarray, image: np.ndarray) -> np.ndarray:
        """dV_β/dt at a trial point w + t v, v on the coordinates without a kink: its kinks are at
        their minimum and add nothing, (B,).
        """
        change, v = np.zeros_like(v), v.copy()
        for name, kink in self.kinks.items():
            v[:, kink.here] = 0
        for node in self.sheaf.network.nodes:
            here = self.sheaf.layout[node.name]
            if isinstance(node.operation, Affine):
                change[:, here] = image[:, here]
            elif not isinstance(node.operation, Selection):
                change[:, here] = node.operation.linear(
                    gather({INPUT: 0 * self.x, **self.sheaf.layout.split(v)}, node),
                    self.sheaf.own(node, at.pattern),
                )
        slope = self.weights * (trial.w - trial.image) * np.subtract(v, change, out=change)
        if self.springs:
            slope += self.gamma * (trial.w - self.rest) * v
        if self.output is not None:
            slope[:, self.last] += self.output.gradient(trial.w[:, self.last]) * v[:, self.last]
        return slope.sum(axis=1)

    def slope(self, at: Pieces) -> np.ndarray:
        """∂V_β/∂w (B, N), 0 on the held coordinates and on kinks at their minimum: one transposed
        pass.
        """
        stress = self.weights * (at.w - at.image)
        g = stress + self.gamma * (at.w - self.rest)
        for node in self.sheaf.network.nodes:
            self.sheaf.scatter(node, stress[:, self.sheaf.layout[node.name]], at.pattern, g, -1.0)
        if self.output is not None:
            g[:, self.last] += self.output.gradient(at.w[:, self.last])
        if at.ties is not None:
            at.ties.add(g, g.copy())
        return np.where(at.held, 0.0, g)

    def hessian(self, at: Pieces, epsilon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(W + AᵀDA) ε, and the step v = δ_FF⁻¹ε with its image F v: one forward and one backward
        substitution.
        """
        v, image = held_forward(self.sheaf, epsilon, at.pattern, at.held, at.ties)
        felt = image if at.ties is None else image - v
        g = self.gamma * v
        np.multiply(self.weights, felt, out=g, where=at.held)
        if self.output is not None:
            bend = self.output.hessian(at.w[:, self.last], v[:, self.last])
            g[:, self.last] += np.where(at.held[:, self.last], 0.0, bend)
        if at.ties is not None:
            at.ties.add(g, self.gamma * v)
        p = held_backward(self.sheaf, g, at.pattern, at.held, at.ties)
        p += self.weights * epsilon
        np.copyto(p, 0.0, where=at.held)
        return p, v, image


def names_a_out(sheaf: NeuralSheaf, pins: Pin | Sequence[Pin]) -> bool:
    """Whether one of the pins is on a_out and the output has one."""
    named = pins if isinstance(pins, (list, tuple)) else [pins]
    return not sheaf.network.output.is_identity and any(
        isinstance(pin, Pin) and pin.stalk == A_OUT for pin in named
    )
