"""What an equilibrium can claim, recomputed from its cochain alone (derived).

At a point where every free coordinate has no gradient, every corner z_j = t is pushed back from
both sides, Q_− − P_− t ≥ 0 ≥ Q_+ − P_+ t (`kinks`), and every tie of a window is held together
(`windows`), V grows in all directions: in each closed cell that touches the point V is a convex
quadratic with L ≻ 0. So the point is a strict local minimum, and there is no other one in any of
those cells, nor in the product of the charts below, where V is convex.

Every number that is held against zero is judged by the rounding error of its own terms
(`NeuralSheaf.gradient_terms`), so that a large coordinate elsewhere hides nothing; and a Newton
step to the minimum of the present pieces must be none, so that a stiff direction hides no soft one.
Where rounding could turn a minimum into none the verdict is "undecided by rounding".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.equilibria.energy import Pieces, PinnedEnergy
from sheaflib.equilibria.kinks import Kink
from sheaflib.equilibria.newton_steps import near_minimum
from sheaflib.equilibria.windows import Windows
from sheaflib.linear import spectrum
from sheaflib.linear.fixed_pattern import Frozen
from sheaflib.linear.lanczos import BASIS
from sheaflib.linear.rest import ROUNDING
from sheaflib.linear.solution import shown
from sheaflib.linear.substitution import Ties
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import INPUT
from sheaflib.sheaves.pins import Pins
from sheaflib.support.checks import batch, instance, positive

MINIMUM, NO_MINIMUM, UNDECIDED = "minimum", "no minimum", "undecided by rounding"


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is proven about a cochain w, computed from it alone: what ``certify`` returns.

    It says where w is at a corner of V, and how far it is from the minimum that belongs to its
    pattern and corners. B is the number of samples and N that of free coordinates; every array has
    one row a sample.

    Parameters
    ----------
    problem : PinnedEnergy
        The energy V with its pins.
    at : Pieces
        The cochain and the quadratic pieces on which it lies.
    gradient : ndarray of shape (B, N)
        The gradient ∂V/∂w, zero where clamped or at a corner.
    terms : ndarray of shape (B, N)
        The sizes of the terms that the gradient is a sum of: 256 ε times them is its rounding
        error.
    injected : ndarray of shape (B, N)
        The gradient in the injections of the edges.
    energy_gap : ndarray of shape (B,)
        V − V* is at most this, with V* the minimum for w's pattern with its corners held. Other
        cells may hold lower minima.
    corner : ndarray of bool of shape (B, N)
        Which coordinates lie at a corner. In a window of a max-pool it marks the tied entries: all
        but the first of them, with which they move (see ``followers``), or all free ones where a
        clamped entry holds them.
    slack_minus : ndarray of shape (B, N)
        At a corner Q_−, the force on the coordinate just below the kink; zero elsewhere and in
        windows, which are judged by their own rule.
    slack_plus : ndarray of shape (B, N)
        The same for −Q_+, just above the kink. The corner is a minimum where both slacks are ≥ 0.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, equilibrium, hard
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))
    >>> found = equilibrium(sheaf, [[0.0]], pins=hard("a1", -1.0))
    >>> found.cochain[0, :2], found.certificate.corner[0]  # z1 rests on its kink
    (array([ 0., -1.]), array([ True, False, False]))
    >>> float(found.certificate.slack_minus[0, 0]), found.certificate.minimum()
    (0.5, array([ True]))
    """

    problem: PinnedEnergy
    at: Pieces
    gradient: np.ndarray
    terms: np.ndarray
    injected: np.ndarray
    energy_gap: np.ndarray
    corner: np.ndarray
    slack_minus: np.ndarray
    slack_plus: np.ndarray

    @property
    def residual(self) -> np.ndarray:
        """The largest ``|∂V/∂w|`` where neither clamped nor at a corner, shape (B,)."""
        return np.abs(self.gradient).max(axis=1)

    @cached_property
    def verdict(self) -> np.ndarray:
        """What each sample is, shape (B,) of str.

        It is "minimum", a strict local one, "no minimum", or "undecided by rounding".
        """
        return self._judge(ROUNDING)

    def minimum(self, tol: float = 0.0) -> np.ndarray:
        """Tell whether each sample is a strict local minimum.

        Parameters
        ----------
        tol : float, default: 0.0
            Where it is above 256 ε, ``|∂V/∂w_i|`` counts as zero up to ``tol`` times its own terms.

        Returns
        -------
        ndarray of bool of shape (B,)
            False where it is none, or where rounding does not let us decide.

        Raises
        ------
        ValueError
            For a negative ``tol``.
        """
        return self._judge(max(positive("tol", tol, zero=True), ROUNDING)) == MINIMUM

    def _judge(self, tol: float) -> np.ndarray:
        """The verdict where a gradient counts as zero up to tol times its own terms: (B,) of
        text."""
        floor = np.where(self.problem.clamped, 0.0, tol * self.terms)
        broken, doubtful = self._kinks(floor)
        stationary = (np.abs(self.gradient) <= floor).all(axis=1) & ~broken.any(axis=1)
        finite = np.isfinite(self.at.energy) & np.isfinite(floor).all(axis=1)
        near, known = (np.ones_like(finite), np.ones_like(finite)) if tol > ROUNDING else self._near
        stationary &= near | ~known
        found = np.where(doubtful.any(axis=1) | ~known, UNDECIDED, MINIMUM)
        return np.where(finite, np.where(stationary, found, NO_MINIMUM), UNDECIDED)

    @cached_property
    def _near(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether the minimum of the pieces is here, and whether that is known, (B,) of bool
        each."""
        with np.errstate(over="ignore", invalid="ignore"):
            return near_minimum(self.problem, self.at, self.injected)[:2]

    @property
    def doubtful(self) -> np.ndarray:
        """The kinks for which rounding decides whether they are minima, shape (B, N) of bool."""
        return self._kinks(np.where(self.problem.clamped, 0.0, ROUNDING * self.terms))[1]

    @cached_property
    def _edge_terms(self) -> np.ndarray:
        """The sizes of the terms of the discrepancy: (B, N)."""
        return self.problem.sheaf.edge_terms(self.at.w, self.problem.x, self.at.pattern)

    def _pushes(self, kink: Kink | Windows) -> tuple[np.ndarray, np.ndarray]:
        """w u + γ v of the units of one stalk, what the edge into it and its springs push, and the
        size of its terms: (B, n) each.
        """
        here, problem = kink.here, self.problem
        spring = problem.gamma[here] * problem.rest[:, here]
        terms = self._edge_terms[:, here] - np.abs(self.at.w[:, here])
        force = kink.weight * self.at.image[:, here] + spring
        return force, kink.weight * terms + np.abs(spring)

    def _kinks(self, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which coordinates are free kinks at no minimum, and for which rounding decides whether
        they are, (B, N) of bool each."""
        broken, doubtful = np.zeros((2, *floor.shape), dtype=bool)
        for kink in self.problem.kinks.values():
            here, clamped = kink.here, self.problem.clamped[kink.here]
            force, size = self._pushes(kink)
            if isinstance(kink, Windows):
                found = kink.judge(self.at.w, force, size, floor, clamped)
            else:
                z, forces = self.at.w[:, here], kink_forces(self.problem, kink, self.at)
                for reader in kink.readers:
                    size = size + kink.reader_terms(reader, self.at.w)
                found = kink.judge(z, forces, size, floor, clamped)
            broken[:, here], doubtful[:, here] = found
        return broken, doubtful

    @property
    def followers(self) -> np.ndarray:
        """The tied entries of windows that move with another one, shape (B, N) of bool."""
        ties = self.at.ties
        return np.zeros_like(self.corner) if ties is None else ties.leader >= 0

    @cached_property
    def lambda_1(self) -> np.ndarray:
        """The smallest eigenvalue of L on the free coordinates that are at no corner, shape (B,).

        Beyond 400 of them it is a lower bound, wrong with probability 1e-9 at most over Lanczos's
        random start (see ``spectrum.Extremes.lower``). Tied entries count as free, which makes it a
        lower bound, too.
        """
        return np.array(
            [
                spectrum.extremes(
                    self.problem.sheaf, s, pins=holding(self.problem, i, corner), least=BASIS
                ).lower()[0]
                for i, (s, corner) in enumerate(zip(self.at.pattern, self.corner & ~self.followers))
            ]
        )

    @cached_property
    def distance(self) -> np.ndarray:
        """A bound of the distance ``|w − w*|₂`` to the exact minimum, shape (B,).

        It is ``|∂V/∂w|₂/λ₁``, and w* is the minimum for this pattern with these corners held. The
        rounding error of the gradient is part of it.
        """
        held = self.corner | self.problem.clamped
        largest = np.abs(self.gradient) + np.where(held, 0.0, ROUNDING * self.terms)
        size = np.linalg.norm(largest, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # λ₁ is 0 where it is below rounding
            return np.where(np.isinf(self.lambda_1) | (size == 0), 0, size / self.lambda_1)

    @cached_property
    def margin(self) -> np.ndarray:
        """How far w may move before a kink changes its state, shape (B,).

        It is the smallest of all ``|z_j|``, and of the slacks over ``|∇Q_±|₂``.
        """
        problem, w = self.problem, self.at.w
        room = np.full(w.shape, np.inf)
        for kink in problem.kinks.values():
            here, rows = kink.here, row_norms(problem, kink.stalk)
            if isinstance(kink, Windows):
                force, _ = self._pushes(kink)
                room[:, here] = kink.room(w, force, rows, problem.clamped[here])
                continue
            slope_minus, slope_plus = kink.steepness(w[:, here], kink.weight * rows)
            at_corner = np.minimum(
                reach(self.slack_minus[:, here], slope_minus),
                reach(self.slack_plus[:, here], slope_plus),
            )
            room[:, here] = np.where(self.corner[:, here], at_corner, kink.distance(w[:, here]))
        return np.where(problem.clamped, np.inf, room).min(axis=1)

    @cached_property
    def pattern_certified(self) -> np.ndarray:
        """Whether the exact minimum w* has this pattern and these corners, shape (B,) of bool.

        That is so where ``distance`` is less than ``margin``.
        """
        return self.distance < self.margin

    @cached_property
    def charts(self) -> dict[str, np.ndarray]:
        """The half-spaces in whose product w is the only equilibrium, by stalk.

        Each is an array (B, n) of the texts "z >= 0", "z <= 0" and "a <= 0". On {a_j ≤ 0} the term
        (ReLU(z_j) − a_j)² is convex across the kink, for slope 0 and one reader; elsewhere the
        chart is the side of z_j. Others may lie across any of the facets.

        Raises
        ------
        ValueError
            Where a clamp or a max-pool makes a kink.
        """
        charts = {}
        for name, kink in rectifiers("charts are", self.problem).items():
            chart = np.where(self.at.w[:, kink.here] >= 0, "z >= 0", "z <= 0")
            if kink.halves:
                chart = np.where(self.at.w[:, kink.readers[0].rows] <= 0, "a <= 0", chart)
            charts[name] = chart
        return charts

    @cached_property
    def dividing(self) -> np.ndarray:
        """How many units' charts are sides, shape (B,) of int.

        Where it is 0, a minimum w is global: nowhere is V lower, though other minima may exist. For
        r = ReLU(z) − a ≥ 0 at w gives ½r'² ≥ ½r² + r(r' − r) for every other r', and ReLU is
        convex; where z_j = 0, by both slacks.

        Raises
        ------
        ValueError
            Where a clamp or a max-pool makes a kink.
        """
        free = {name: ~self.problem.clamped[self.problem.kinks[name].here] for name in self.charts}
        return sum(
            (((chart != "a <= 0") & free[name]).sum(axis=1) for name, chart in self.charts.items()),
            np.zeros(len(self.at.w), int),
        )

    @property
    def is_global(self) -> np.ndarray:
        """Whether w is proven to be a global minimum of V, shape (B,) of bool.

        It is where ``dividing`` is 0. False says nothing, and so it is with a clamp or a max-pool,
        for which there are no charts.
        """
        minimum = self.minimum()
        try:
            return minimum & (self.dividing == 0)
        except ValueError:
            return np.zeros_like(minimum)

    def basin(self) -> Basin:
        """Find starts from which the exact flow leads to w* for sure.

        It takes one dense inverse a sample.

        Returns
        -------
        Basin
            A part of the basin of each sample; its radius is 0 where w is no minimum.

        Raises
        ------
        ValueError
            Unless each kink has one reader, of slope 0.

        Notes
        -----
        In the product of its charts V ≥ V* + ½hᵀLh, with L for corners counted as inactive. So a
        facet at distance d along coordinate c costs d²/(2 (L⁻¹)_cc), and below the cheapest V is
        convex and nothing leaves. The chart of a corner is a_j ≤ −Q_−/w, that of an active unit z_j
        ≥ 0, and that of an inactive one z_j ≤ 0 or a_j ≤ 0, whichever costs more.
        """
        kinks = rectifiers("basin is", self.problem)
        if not all(kink.halves for kink in kinks.values()):
            raise ValueError(
                "basin is derived for ReLUs of slope 0, each kinked stalk read by one of them alone"
            )
        problem, w = self.problem, self.at.w
        give = np.stack([self._give(i) for i in range(len(w))])
        radius, ceiling = np.full(len(w), np.inf), np.full(w.shape, np.inf)
        for kink in kinks.values():
            here, rows, weight = kink.here, kink.readers[0].rows, kink.readers[0].weight
            z = w[:, here]
            a = w[:, rows]
            corner = self.corner[:, here]
            free = ~problem.clamped[here]
            top = np.where(corner, -self.slack_minus[:, here] / weight, 0.0)  # the chart a_j ≤ top
            with np.errstate(divide="ignore", invalid="ignore"):
                over_z = np.where(z == 0, 0, z**2 / (2 * give[:, here]))
                over_a = np.where(a < top, (a - top) ** 2 / (2 * give[:, rows]), 0)
            by_a = corner | (z < 0) & (over_a > over_z)
            ceiling[:, rows] = np.where(by_a & free, top, np.inf)
            radius = np.minimum(
                radius, np.where(free, np.where(by_a, over_a, over_z), np.inf).min(axis=1)
            )
        # a saddle may lie on the rim itself
        return Basin(self, np.where(self.minimum(), radius * (1 - 1e-9), 0.0), ceiling)

    def _give(self, i: int) -> np.ndarray:
        """(L⁻¹)_cc of sample i with its corners counted inactive, 0 where clamped: (N,)."""
        problem = self.problem
        inactive = problem.sheaf.pattern(
            np.where(self.corner, -1.0, self.at.w)[[i]], problem.x[[i]]
        )[0]
        frozen = Frozen(
            problem.sheaf, inactive, pins=holding(problem, i, np.zeros_like(problem.clamped))
        )
        give = np.zeros(problem.sheaf.N)
        # |A L⁻¹e_c|², and L = AᵀA
        give[~problem.clamped] = (frozen.stresses()[0] ** 2).sum(axis=1)
        return give

    def __repr__(self) -> str:
        verdict = self.verdict
        undecided = int((verdict == UNDECIDED).sum())
        minima = int((verdict == MINIMUM).sum())
        with_corners = int(self.corner.any(axis=1).sum())
        parts = [f"{minima} of {len(verdict)} strict local minima"]
        if undecided:
            parts.append(f"{undecided} undecided by rounding")
        parts += [
            f"{int(self.pattern_certified.sum())} patterns certified",
            f"{with_corners} samples with corners",
            f"V − V* {shown(self.energy_gap.max())}",
        ]
        return f"Certificate({', '.join(parts)})"


@dataclass(frozen=True, eq=False)
class Basin:
    """Starts from which the exact flow surely leads to a minimum.

    ``Certificate.basin`` returns it. The starts are all starts with V < V* + radius in the charts
    a_j ≤ ceiling, or on the minimum's side of z_j where the ceiling is infinite.

    Parameters
    ----------
    certificate : Certificate
        The certificate of the minimum.
    radius : ndarray of shape (B,)
        How far V may lie above V*.
    ceiling : ndarray of shape (B, N)
        How large each coordinate may be, infinite where there is no such limit.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    The minimum has V = 1, and a saddle with V = 1.125 lies between it and the next one.

    >>> from sheaflib import Network, NeuralSheaf, equilibrium, hard
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    >>> basin = equilibrium(sheaf, [[0.0]], pins=hard("z2", 2.0)).certificate.basin()
    >>> basin.radius.round(6), basin.holds([[-0.5, 1.2, 2.0]])
    (array([0.125]), array([ True]))
    """

    certificate: Certificate
    radius: np.ndarray
    ceiling: np.ndarray

    def __repr__(self) -> str:
        return (
            f"Basin(V < V* + r in its charts, r from {self.radius.min():.1e} to"
            f" {self.radius.max():.1e} over {len(self.radius)} samples)"
        )

    def holds(self, w: ArrayLike) -> np.ndarray:
        """Tell whether starts lie in it.

        Parameters
        ----------
        w : array_like of shape (B, N)
            The starts, one a sample.

        Returns
        -------
        ndarray of bool of shape (B,)
            Whether each start is one of those that surely lead to the minimum.

        Raises
        ------
        ValueError
            For another shape.
        """
        at, problem = self.certificate.at, self.certificate.problem
        w = check_rows("w", w, problem)
        energy = problem.energy(w, w - problem.sheaf.discrepancy(w, problem.x))
        inside = energy < at.energy + self.radius
        for kink in rectifiers("basin is", problem).values():
            z = w[:, kink.here]
            ceiling = self.ceiling[:, kink.readers[0].rows]
            rows = kink.readers[0].rows
            own_side = (z >= 0) == (at.w[:, kink.here] >= 0)
            inside &= (
                np.where(
                    np.isinf(ceiling), own_side | problem.clamped[kink.here], w[:, rows] <= ceiling
                )
            ).all(axis=1)
        return inside


# V beyond float64 leaves the verdict undecided
@np.errstate(over="ignore", invalid="ignore")
def certify(problem: PinnedEnergy, w: ArrayLike) -> Certificate:
    """Compute the certificate of a cochain.

    A kink lies at its corner where z_j is a break exactly, and entries of a window are tied where
    they are equal and the largest.

    Parameters
    ----------
    problem : PinnedEnergy
        The energy with its pins, ``PinnedEnergy(sheaf, x, pins)``.
    w : array_like of shape (B, N)
        The cochain, with its pins imposed.

    Returns
    -------
    Certificate
        What is proven about each sample.

    Raises
    ------
    TypeError
        For a problem of another type.
    ValueError
        For a cochain of another shape.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, hard
    >>> from sheaflib.equilibria.certificate import certify
    >>> from sheaflib.equilibria.energy import PinnedEnergy
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    >>> problem = PinnedEnergy(sheaf, [[0.0]], hard("z2", 2.0))
    >>> certify(problem, [[-0.5, 1.0, 2.0]]).verdict, certify(problem, [[0.0, 1.0, 2.0]]).verdict
    (array(['minimum'], dtype='<U21'), array(['no minimum'], dtype='<U21'))
    """
    instance("problem", problem, PinnedEnergy, "PinnedEnergy(sheaf, x, pins)")
    w = check_rows("w", w, problem)
    sheaf, held = problem.sheaf, np.broadcast_to(problem.clamped, w.shape).copy()
    leader = np.full(w.shape, -1)
    for kink in problem.kinks.values():
        here = kink.here
        if isinstance(kink, Windows):
            tied, place = kink.ties(w[:, here], problem.clamped[here])
            held[:, here] |= tied
            leader[:, here] = np.where(place >= 0, place + here.start, -1)
        else:
            held[:, here] |= kink.at_corner(w[:, here])
    ties = Ties(leader, problem.windowed) if problem.windowed else None
    image = w - sheaf.discrepancy(w, problem.x)
    pattern, energy = sheaf.pattern(w, problem.x), problem.energy(w, image)
    at = Pieces(w, image, problem.sides(w), held, pattern, energy, ties)
    injected = problem.gradient(at)
    slack_minus, slack_plus, corner = np.zeros_like(w), np.zeros_like(w), held & ~problem.clamped
    for kink in problem.kinks.values():
        if isinstance(kink, Kink):
            here, forces = kink.here, kink_forces(problem, kink, at)
            slacks = kink.slacks(w[:, here], forces)
            slack_minus[:, here], slack_plus[:, here] = np.where(corner[:, here], slacks, 0)
    gap = 0.5 * (injected**2 / problem.weights).sum(axis=1)
    return Certificate(
        problem,
        at,
        problem.slope(at),
        problem.gradient_terms(at),
        injected,
        gap,
        corner,
        slack_minus,
        slack_plus,
    )


def check_rows(name: str, w: ArrayLike, problem: PinnedEnergy) -> np.ndarray:
    """`w` checked: a cochain (B, N), one row a sample of a problem."""
    w = batch(name, w, problem.sheaf.N)
    if len(w) != len(problem.x):
        raise ValueError(f"{name} has {len(w)} rows, expected {len(problem.x)}: one a sample")
    return w


def kink_forces(problem: PinnedEnergy, kink: Kink, at: Pieces) -> list[np.ndarray]:
    """Q_s on every side of the units of one stalk: (B, n) each."""
    spring = problem.gamma[kink.here] * problem.rest[:, kink.here]
    return kink.forces(at.image[:, kink.here], at.w, spring)


def rectifiers(what: str, problem: PinnedEnergy) -> dict[str, Kink]:
    """The kinked stalks; ValueError where a clamp or a max-pool reads one, `what` begins the
    message.
    """
    found = {}
    for name, kink in problem.kinks.items():
        if isinstance(kink, Windows) or not kink.rectifies:
            maker = "max-pool" if isinstance(kink, Windows) else "clamp"
            raise ValueError(f"{what} derived for ReLUs, but a {maker} reads the stalk {name!r}")
        found[name] = kink
    return found


def holding(problem: PinnedEnergy, i: int, corner: np.ndarray) -> Pins:
    """The pins of sample i on Ω with its corners clamped too."""
    N, held = problem.sheaf.N, np.flatnonzero(problem.clamped | corner)
    soft = np.flatnonzero((problem.gamma > 0) & ~corner)
    return Pins(
        N,
        held,
        np.zeros((1, len(held))),
        soft,
        problem.rest[[i]][:, soft],
        problem.gamma[soft],
        np.zeros(1),
    )


def reach(slack: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """How far a point may move before a slack that changes by at most `slope` a unit of length is
    gone; ∞ where it cannot change.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(slack > 0, slack / slope, 0.0)


def row_norms(problem: PinnedEnergy, stalk: str) -> np.ndarray:
    """Upper bounds of the norms of the rows of the map into a stalk, inputs left out: (n,)."""
    node = next(n for n in problem.sheaf.network.nodes if n.name == stalk)
    operation, norms = node.operation, np.full(node.operation.n_out, node.operation.norm)
    if isinstance(operation, Affine) and isinstance(operation.weight, np.ndarray):
        norms = np.linalg.norm(operation.weight, axis=1)
    return 0 * norms if node.inputs == (INPUT,) else norms
