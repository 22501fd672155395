"""Substitution in δ_Ω: forward is a forward pass with injections, backward is back-propagation
(Lemma 3.2).

Pinned problems for a frozen pattern use δ_Ω⁻¹ too: with G the rows of δ_Ω⁻¹ at the pinned
coordinates, the smallest disturbance η of the edges that closes the gaps at the pins is diag(w)⁻¹
Gᵀ (ρ + Γ⁻¹)⁻¹ gap, ρ = G diag(w)⁻¹ Gᵀ being their effective resistance (derived). No N × N matrix
is formed; the only dense system has one row a pinned coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.graph import INPUT, gather
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pins, Rows
from sheaflib.support.checks import batch, finite

REFINEMENTS = 10  # at most; two or three are usual
EXACT = 2**-51  # equations met to this part of their terms are met as well as rounding allows
TRUSTED = 1e-12  # a minimum whose equations are not met to this part of their terms is declined


def masked_forward(sheaf: NeuralSheaf, x: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """δ_Ω⁻¹ c: the forward pass with the selections frozen at `pattern` (B, M): (B, n_0) -> (B,
    N).
    """
    w = np.empty((len(x), sheaf.N))
    values = {INPUT: x, **sheaf.layout.split(w)}
    for node in sheaf.network.nodes:
        values[node.name][:] = node.operation.value(gather(values, node), sheaf.own(node, pattern))
    return w


def forward_substitution(sheaf: NeuralSheaf, f: ArrayLike, pattern: ArrayLike) -> np.ndarray:
    """Solve ``δ_Ω v = f``, which is a forward pass with injections into every block.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf.
    f : array_like, shape (B, N)
        The injections, one row a sample.
    pattern : array_like, shape (M,) or (B, M)
        The pattern at which the sheaf is frozen.

    Returns
    -------
    ndarray, shape (B, N)
        The solution ``δ_Ω⁻¹ f``.

    Raises
    ------
    ValueError
        If `f` or `pattern` has another shape.

    Notes
    -----
    In the paper: Prop. 3.4.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, forward_substitution
    >>> sheaf = NeuralSheaf(Network.mlp([[[2.0]], [[3.0]]]))
    >>> forward_substitution(sheaf, [[1.0, 0.0, 0.0]], [True])  # 1 into z1
    array([[1., 1., 3.]])
    """
    f = batch("f", f, check_sheaf(sheaf).N)
    return inject(sheaf, f.copy(), sheaf.check_pattern(pattern, len(f)))


def inject(sheaf: NeuralSheaf, v: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """δ_Ω⁻¹ v in place of v, nothing checked."""
    values = {INPUT: np.zeros((len(v), sheaf.network.n_in)), **sheaf.layout.split(v)}
    for node in sheaf.network.nodes:
        if node.inputs != (INPUT,):
            values[node.name] += node.operation.linear(
                gather(values, node), sheaf.own(node, pattern)
            )
    return v


def backward_substitution(sheaf: NeuralSheaf, g: ArrayLike, pattern: ArrayLike) -> np.ndarray:
    """Solve ``δ_Ωᵀ e = g``, which is back-propagation of sensitivities.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf.
    g : array_like, shape (B, N)
        The sensitivities at every block, one row a sample.
    pattern : array_like, shape (M,) or (B, M)
        The pattern at which the sheaf is frozen.

    Returns
    -------
    ndarray, shape (B, N)
        The solution ``δ_Ω⁻ᵀ g``.

    Raises
    ------
    ValueError
        If `g` or `pattern` has another shape.

    Notes
    -----
    In the paper: not there; derived from Lemma 3.2.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, backward_substitution
    >>> sheaf = NeuralSheaf(Network.mlp([[[2.0]], [[3.0]]]))
    >>> backward_substitution(sheaf, [[0.0, 0.0, 1.0]], [True])  # 1 at z2
    array([[3., 3., 1.]])
    """
    g = batch("g", g, check_sheaf(sheaf).N)
    return send_back(sheaf, g.copy(), sheaf.check_pattern(pattern, len(g)))


def send_back(sheaf: NeuralSheaf, e: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """δ_Ω⁻ᵀ e in place of e, nothing checked."""
    for node in reversed(sheaf.network.nodes):
        sheaf.scatter(node, e[:, sheaf.layout[node.name]], pattern, e)
    return e


def pinned_minimum(
    sheaf: NeuralSheaf, x: np.ndarray, pattern: np.ndarray, pins: Pins
) -> PinnedMinimum:
    """The minimum of V with pins at frozen patterns (B, M): substitution, then refinement by what
    the equations lack.

    Stalks w, currents λ and spring forces f are refined together, by the residuals of δw − c =
    λ/w_e, w − v* = f/γ and δᵀλ + f = 0. Stalks alone would not do: behind a large gain they are
    small differences of large forward passes, and what is left of their discrepancy is rounding.
    """
    N, weights, soft = sheaf.N, sheaf.row_weights[: sheaf.N], pins.soft_index
    held = np.broadcast_to(~pins.free, (len(x), N))
    root = np.sqrt(np.concatenate([weights, pins.gamma]))
    factors = [PinnedFactor(sheaf, s, pins) for s in pattern]
    G = np.array([factor.G for factor in factors])

    def step(strain: np.ndarray, load: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """d and the change of λ, f with δd = λ/w_e + strain, d = f/γ + strain at springs, δᵀλ + f =
        load, d = 0 where clamped."""
        flow = held_backward(sheaf, load, pattern, held)
        eta = flow / weights + strain[:, :N]
        gap = -(G @ eta[:, :, None])[:, :, 0]
        gap[:, len(pins.hard_index) :] += strain[:, N:]
        answer = np.array([factor.least(part) for factor, part in zip(factors, gap)])
        d, _ = held_forward(sheaf, eta + answer[:, :N] / root[:N], pattern, held)
        answer *= root
        return d, np.hstack([flow + answer[:, :N], -answer[:, N:]])

    def residuals(w: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the equations lack, and that relative to the terms they are sums of, the largest of
        each sample."""
        flow, spring = current[:, :N], current[:, N:]
        strain = np.hstack(
            [
                flow / weights - sheaf.discrepancy(w, x, pattern),
                spring / pins.gamma - pins.stretch(w),
            ]
        )
        load = -sheaf.delta_transposed(flow, pattern)
        forces = sheaf.delta_transposed(np.abs(flow), pattern, sizes=True)
        load[:, soft] -= spring
        forces[:, soft] += np.abs(spring)
        load[held] = 0
        terms = np.hstack(
            [sheaf.edge_terms(w, x, pattern), np.abs(w[:, soft]) + np.abs(pins.soft_value)]
        )
        terms += np.abs(current) / np.concatenate([weights, pins.gamma])
        return strain, load, np.maximum(share(strain, terms), share(load, forces))

    w = pins.impose(np.zeros((len(x), N)))
    w = (
        w
        + held_forward(
            sheaf, np.where(held, 0.0, -sheaf.discrepancy(w, x, pattern)), pattern, held
        )[0]
    )
    finite("the forward pass with pins", w)
    current = np.zeros((len(x), N + len(soft)))
    strain, load, _ = residuals(w, current)
    best, defect = (w, current), np.full(len(w), np.inf)
    for _ in range(REFINEMENTS):
        change, more = step(strain, load)
        w, current = (
            finite("a stalk of the minimum with pins", w + change),
            finite("a current of the minimum with pins", current + more),
        )
        strain, load, found = residuals(w, current)
        better, gained = (found <= defect)[:, None], found < defect / 2
        best = np.where(better, w, best[0]), np.where(better, current, best[1])
        defect = np.minimum(defect, found)
        if not ((defect > EXACT) & (gained | (defect > TRUSTED))).any():
            break
    change, _ = step(*residuals(*best)[:2])
    return PinnedMinimum(best[0], best[1][:, :N], np.abs(change), defect)


@dataclass(frozen=True, eq=False)
class PinnedMinimum:
    """Stalks and currents (B, N) at a minimum with pins; the next correction (B, N), a measure of
    what rounding left; defect (B,).

    The stalks are exact for matrices, biases, inputs, edge weights and springs that differ by at
    most `defect`, relative and entry by entry, where δ and δᵀ may do so by themselves.
    """

    cochain: np.ndarray
    current: np.ndarray
    correction: np.ndarray
    defect: np.ndarray

    def checked(self) -> PinnedMinimum:
        """Itself; ArithmeticError where rounding has left a defect above TRUSTED."""
        if not (self.defect <= TRUSTED).all():
            i = int(np.argmax(~(self.defect <= TRUSTED)))
            raise ArithmeticError(
                f"sample {i}: the scales of weights, edge weights and pins are so uneven that "
                "rounding decides the minimum with pins: its equations are met to "
                f"{self.defect[i]:.1e} of their terms, expected {TRUSTED:.0e}"
            )
        return self


class PinnedFactor:
    """The linear problem of one pattern with pins: [G w^-½ | Γ^-½]ᵀ = QR, the longest rows first.

    Each soft pin has a row of G, what injections into the edges do to its stalk; each clamped
    coordinate too, what they do to its own edge, where they end. The square of this, the resistance
    at the pins, is never formed. Pins that no edge reaches together are taken apart, so that no
    rounding error of one is a current at another.
    """

    def __init__(self, sheaf: NeuralSheaf, pattern: np.ndarray, pins: Pins):
        index = np.concatenate([pins.hard_index, pins.soft_index])
        unit, many = np.zeros((len(index), sheaf.N)), (len(index), 1)
        unit[np.arange(len(index)), index] = 1
        self.G = held_backward(sheaf, unit, np.tile(pattern, many), np.tile(~pins.free, many))
        give = np.zeros((len(index), len(pins.gamma)))
        give[len(pins.hard_index) :] = np.diag(1 / np.sqrt(pins.gamma))
        rows = np.concatenate([self.G / np.sqrt(sheaf.row_weights[: sheaf.N]), give], axis=1).T
        if not np.isfinite(rows).all():
            raise OverflowError(
                "the gain from an edge to a pin leaves float64: weights are too large"
            )
        reached = (rows != 0).astype(float)
        joined = reached.T @ reached > 0
        count, part = sp.sparse.csgraph.connected_components(joined, directed=False)
        size = np.bincount(part, minlength=count)
        self.single = np.flatnonzero(size[part] == 1)
        self.length = np.linalg.norm(rows[:, self.single], axis=0)
        self.alone = rows[:, self.single] / self.length
        self.together = [
            self._factor(rows, np.flatnonzero(part == k)) for k in np.flatnonzero(size > 1)
        ]

    def _factor(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """Some columns and the rows that they have, in the order of the factors, Q and R."""
        longest = np.abs(rows[:, columns]).max(axis=1)
        order = np.argsort(-longest, kind="stable")[: np.count_nonzero(longest)]
        Q, R, place = sp.linalg.qr(rows[np.ix_(order, columns)], mode="economic", pivoting=True)
        if not np.diag(R).all():
            raise ArithmeticError(
                "two pins move as one, up to rounding: "
                "the scales of weights, edge weights and pins are too uneven"
            )
        return order, columns[place], Q, R

    def least(self, gap: np.ndarray) -> np.ndarray:
        """The smallest (N + s,) that closes a gap at the pins, [G w^-½ | Γ^-½] times it being the
        gap."""
        answer = self.alone @ (gap[self.single] / self.length)
        for rows, columns, Q, R in self.together:
            answer[rows] = Q @ sp.linalg.solve_triangular(
                R, gap[columns], trans="T", check_finite=False
            )
        return answer


def share(values: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """max|values|/terms of every row, 0/0 = 0, and terms below 2⁻³⁰⁰ of the row's largest counted
    as that: (B, N), (B, N) -> (B,)."""
    terms = np.maximum(terms, 2.0**-300 * terms.max(axis=1, keepdims=True))
    return np.divide(
        np.abs(values), terms, out=np.where(values == 0, 0.0, np.inf), where=terms > 0
    ).max(axis=1)


@dataclass(frozen=True, eq=False)
class Ties:
    """Held coordinates that follow another one, their leader, as tied entries of a window do:
    leader (B, N), −1 for those that follow none; stalks: the names of the stalks that have any.

    A leader lies in the stalk of those that follow it, and is free.
    """

    leader: np.ndarray
    stalks: frozenset[str]

    def rows(self, keep: Rows) -> Ties:
        """The same for some of the samples."""
        return Ties(self.leader[keep], self.stalks)

    def repeated(self, count: int) -> Ties:
        """Every sample `count` times."""
        return Ties(np.repeat(self.leader, count, axis=0), self.stalks)

    def of(self, here: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples, followers and leaders of one stalk, as places in Ω: (n,) each."""
        sample, place = np.nonzero(self.leader[:, here] >= 0)
        follower = place + here.start
        return sample, follower, self.leader[sample, follower]

    def of_leaders(self, values: np.ndarray) -> np.ndarray:
        """The values (B, N) of the leaders, at themselves and at their followers, 0 elsewhere: (B,
        N).
        """
        found = np.zeros_like(values)
        sample, follower = np.nonzero(self.leader >= 0)
        leader = self.leader[sample, follower]
        found[sample, follower] = found[sample, leader] = values[sample, leader]
        return found

    def add(self, to: np.ndarray, values: np.ndarray) -> None:
        """Add the values (B, N) at the followers to their leaders in `to` (B, N)."""
        sample, follower = np.nonzero(self.leader >= 0)
        np.add.at(to, (sample, self.leader[sample, follower]), values[sample, follower])


def held_forward(
    sheaf: NeuralSheaf,
    f: np.ndarray,
    pattern: np.ndarray,
    held: np.ndarray,
    ties: Ties | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """v = δ_FF⁻¹ f with the held coordinates C at 0, or as their leaders in `ties`, and F_σ v, what
    every block would compute from it: two (B, N).

    f (B, N) (read on F alone), pattern (B, M), held (B, N) of bool. On F, F_σ v = v − f; on C, v −
    F_σ v is what the held edges feel.
    """
    v, image = np.empty_like(f), np.zeros_like(f)
    values = sheaf.layout.split(v)
    values[INPUT] = np.zeros((len(f), sheaf.network.n_in))
    for node in sheaf.network.nodes:
        here = sheaf.layout[node.name]
        if node.inputs != (INPUT,):
            image[:, here] = node.operation.linear(gather(values, node), sheaf.own(node, pattern))
        np.add(f[:, here], image[:, here], out=v[:, here])
        np.copyto(v[:, here], 0.0, where=held[:, here])
        if ties and node.name in ties.stalks:
            sample, follower, leader = ties.of(here)
            v[sample, follower] = v[sample, leader]
    return v, image


def held_pass(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    f: np.ndarray,
    w: np.ndarray,
    pattern: np.ndarray,
    held: np.ndarray,
    ties: Ties | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The forward pass with injections f into the free coordinates, the held ones staying as in w,
    or as their leaders in `ties`: that cochain, and F_σ of it.

    x (B, n_0); f, w (B, N); pattern (B, M); held (B, N) of bool. Without injections only the held
    edges disagree.
    """
    found, image = w.copy(), np.empty_like(w)
    values = {INPUT: x, **sheaf.layout.split(found)}
    for node in sheaf.network.nodes:
        here = sheaf.layout[node.name]
        image[:, here] = node.operation.value(gather(values, node), sheaf.own(node, pattern))
        found[:, here] = np.where(held[:, here], w[:, here], image[:, here] + f[:, here])
        if ties and node.name in ties.stalks:
            sample, follower, leader = ties.of(here)
            found[sample, follower] = found[sample, leader]
    return found, image


def held_backward(
    sheaf: NeuralSheaf,
    g: np.ndarray,
    pattern: np.ndarray,
    held: np.ndarray,
    ties: Ties | None = None,
) -> np.ndarray:
    """p = δ_FF⁻ᵀ (g_F − δ_CFᵀ g_C): back-propagation from g on F and from the held edges, which
    keep p_C = g_C: (B, N). What follows a leader in `ties` moves with it.
    """
    p = g.copy()
    for node in reversed(sheaf.network.nodes):
        here = sheaf.layout[node.name]
        np.copyto(p[:, here], g[:, here], where=held[:, here])
        if ties and node.name in ties.stalks:
            sample, follower, leader = ties.of(here)
            np.subtract.at(p, (sample, leader), g[sample, follower])
        sheaf.scatter(node, p[:, here], pattern, p)
    return p
