"""The heat flow ẇ = −α ∂V/∂w without discretisation error: closed form between events, events by a
march (derived).

While no kink changes its state w(t) = w_s + Q e^{−αΛt} Qᵀ(w_0 − w_s) on the free coordinates. At
z_j = 0 only z_j's own velocity jumps, from Q_− to Q_+ (`kinks`). Where Q_− ≥ 0 ≥ Q_+ both sides
push z_j back: it slides, held at 0, which is Filippov's velocity, until one of the two changes its
sign; several sliders do not disturb each other. Elsewhere z_j crosses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.flow.first_zero import Zero, first_zero
from sheaflib.flow.quadratics import ROUNDING, Decay, Piece, Quadratics, check_covered
from sheaflib.linear.solution import Solution
from sheaflib.networks.graph import INPUT
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin
from sheaflib.support.checks import batch, even, positive, real_array, unmasked, whole

TOGETHER = 1e-14  # events nearer than this part of their time are due together
LOST = 1e-3  # a rate that may be wrong by this part of itself is lost to rounding
SAME = 1e-8  # limits that differ by this part of their terms are one


class Event(NamedTuple):
    """A kink that changes its state, at one time of an exact flow.

    Parameters
    ----------
    time : float
        When it happens.
    unit : str
        The coordinate at whose kink it happens, like "z1[0]".
    kind : str
        What happens: "crosses up", "crosses down", "slides", "leaves up" or "leaves down".

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, exact_flow
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> event = exact_flow(chain, [[1.0]], [[-1.0, 0.0, 0.0]]).events[0]
    >>> event.unit, event.kind, round(event.time, 6)  # 2 e⁻ᵗ = 1
    ('z1[0]', 'crosses up', 0.693147)
    """

    time: float
    unit: str
    kind: str


def exact_flow(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    start: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] = (),
    alpha: float = 1.0,
    until: float | None = None,
    max_events: int = 10_000,
) -> ExactFlow:
    """Follow the heat flow of one sample without a time step.

    Between events the flow has a closed form; at an event a kink is crossed, or the flow begins or
    ends to slide along it. The flow is followed to its limit, to the time ``until``, or for
    ``max_events`` events. The output edge of a sigmoid or softmax is left out.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network whose selections are ReLUs of any slope and PReLUs; a clamp may read
        x.
    x : array_like of shape (1, n_0)
        The input.
    start : array_like of shape (1, N)
        The cochain to start from, without ``a_out``.
    pins : Pin or sequence of Pin, optional
        Hard and soft pins, as in ``heat``.
    alpha : float, default: 1.0
        The rate α of the flow.
    until : float, optional
        The time at which to stop; by default the flow is followed to its limit.
    max_events : int, default: 10000
        After how many events to stop.

    Returns
    -------
    ExactFlow
        The flow: its events, its limit, and its state at any time.

    Raises
    ------
    ValueError
        For more than one sample, for a max-pool, for a clamp that does not read x, for kinks that
        do not separate (see ``Network.separated``), and for ``a_out`` in the start or pinned.

    Notes
    -----
    In the paper: not there; derived. What it follows is the flow of Thm 4.1.

    An event costs one dense singular value decomposition, of order N³, and the search for it at
    most ``sheaflib.flow.first_zero.MOST`` steps. A flow that needs more ends there, without a
    limit, as its ``reason`` then says.

    Examples
    --------
    >>> import numpy as np
    >>> from sheaflib import Network, NeuralSheaf, exact_flow
    >>> flow = exact_flow(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])), [[1.0]], [[-1.0, 0.0, 0.0]])
    >>> flow
    ExactFlow(1 event to t = 0.693147, settled)
    >>> flow.events[0].kind, bool(np.isclose(flow.events[0].time, np.log(2), rtol=1e-15))
    ('crosses up', True)
    >>> flow.limit.round(12)
    array([1., 1., 1.])
    """
    flows = exact_flows(
        sheaf, x, start, pins=pins, alpha=alpha, until=until, max_events=max_events, most=1
    )
    return flows[0]


def exact_flows(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    start: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] = (),
    alpha: float = 1.0,
    until: float | None = None,
    max_events: int = 10_000,
    most: int | None = None,
) -> list[ExactFlow]:
    """Follow the heat flow of every sample without a time step.

    It is ``exact_flow`` of one sample after the other.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network, as in ``exact_flow``.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    start : array_like of shape (B, N)
        The cochains to start from, without ``a_out``.
    pins : Pin or sequence of Pin, optional
        Hard and soft pins.
    alpha : float, default: 1.0
        The rate α of the flow.
    until : float, optional
        The time at which to stop; by default each flow is followed to its limit.
    max_events : int, default: 10000
        After how many events of a sample to stop.
    most : int, optional
        How many samples are allowed at most; by default any number.

    Returns
    -------
    list of ExactFlow
        The flow of each sample.

    Raises
    ------
    ValueError
        For more samples than ``most``, and as in ``exact_flow``.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, exact_flows
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> exact_flows(chain, [[1.0], [2.0]], [[-1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    [ExactFlow(1 event to t = 0.693147, settled), ExactFlow(0 events, settled)]
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in).copy()
    check_covered(sheaf.network)
    if most is not None and len(x) > whole("most", most):
        raise ValueError(
            f"x has {len(x)} rows, expected one sample (1, {sheaf.network.n_in}): use exact_flows"
            " for a batch"
        )
    w = sheaf.cochain("start", start)
    if w.shape[1] > sheaf.N:
        raise ValueError(
            "start holds a_out: the exact flow leaves the output edge out; use start[:,"
            f" :{sheaf.N}], or relax"
        )
    if len(w) != len(x):
        raise ValueError(f"start has {len(w)} rows, expected {len(x)}: one a row of x")
    problem = PinnedEnergy(sheaf, x, pins)
    if problem.output is not None:
        raise ValueError(
            "a_out is pinned: its edge is not linear, which the exact flow does not cover; use"
            " relax"
        )
    w, alpha, max_events = (
        problem.impose(w),
        positive("alpha", alpha),
        whole("max_events", max_events, least=0),
    )
    until = np.inf if until is None else positive("until", until, zero=True)
    return [
        follow(Quadratics(problem.rows([i]), alpha), w[i], until, max_events) for i in range(len(x))
    ]


def begin(quadratics: Quadratics, w: np.ndarray) -> Piece:
    """The first piece: a kink at z_j = 0 slides if both sides push it back, and else starts on a
    side that lets it go.
    """
    units, side, slide = quadratics.units, w >= 0, np.zeros(len(w), dtype=bool)
    r, error = quadratics.matrix(side) @ w - quadratics.b, ROUNDING * quadratics.terms(w, side)
    zero, (minus, plus), rounding = w[units] == 0, quadratics.forces(r), quadratics.rounding(error)
    slide[units] = zero & (minus >= -rounding) & (plus <= rounding)
    side[units] = np.where(zero, plus > rounding, side[units])
    return Piece(0.0, w, side, slide, r, error, np.zeros(len(w)))


def follow(quadratics: Quadratics, w: np.ndarray, until: float, max_events: int) -> ExactFlow:
    """Go from event to event."""
    pieces, evaluations = [begin(quadratics, w)], 0
    events: list[Event] = []
    left: dict[int, float] = {}
    while True:
        piece = pieces[-1]
        decay = quadratics.decompose(piece)
        sums = monitors(quadratics, piece, decay, left)
        zero = first_zero(
            sums.star,
            sums.c,
            decay.rates,
            horizon=until - piece.time,
            floor=sums.floor,
            loose=sums.loose,
            start=sums.start,
        )
        evaluations += zero.evaluations
        if decay.loss > LOST or zero.which is None or len(events) == max_events:
            break
        event, piece = change(quadratics, piece, sums, zero, decay)
        left = {k: t for k, t in left.items() if piece.time - t <= TOGETHER * piece.time}
        for k in left:  # others left at this time: they are still at their kinks
            piece.w[quadratics.units[k]] = piece.error_w[quadratics.units[k]] = 0.0
        if event.kind.startswith("leaves"):
            left[sums.unit[zero.which]] = piece.time
        events.append(event)
        pieces.append(piece)
    limit, end, settled = None, np.inf, False
    unit = elsewhere(quadratics, piece, sums, zero, decay)
    lowest = f"λ₁ = {decay.rates.min(initial=np.inf):.1e}"
    if decay.loss > LOST:
        end = piece.time
        reason = f"stopped at t = {end:g}, where {lowest} is lost to rounding"
    elif zero.tired:
        end = piece.time + zero.time
        reason = (
            f"stopped at t = {end:g}: {zero.evaluations} steps of the march from the last event "
            f"on did not find the next one, {lowest}"
        )
    elif zero.which is not None:
        end, reason = piece.time + zero.time, f"stopped after {max_events} events"
    elif np.isfinite(zero.time):
        end, reason = until, f"stopped at t = {until:g}"
    elif unit is not None:
        end = piece.time + zero.since
        reason = (
            f"stopped at t = {end:g}: whether {unit} reaches its kink decides the limit "
            f"and is lost to rounding, {lowest}"
        )
    else:
        limit, settled = decay.limit, zero.proven
        reason = "settled" if settled else "at rest up to rounding"
    return ExactFlow(quadratics, pieces, events, end, limit, settled, reason, evaluations)


def elsewhere(
    quadratics: Quadratics, piece: Piece, sums: Monitors, zero: Zero, decay: Decay
) -> str | None:
    """A kink of which it is beyond rounding whether it changes its state, and which would then
    lead to another limit.
    """
    root = np.sqrt(quadratics.problem.weights)
    terms = quadratics.terms(decay.limit, piece.side)[: len(root)] / root
    for k in zero.doubtful:
        unit, up = quadratics.units[sums.unit[k]], bool(sums.to[k])
        if not piece.slide[unit] and sums.floor[k] <= SAME * terms[unit]:
            continue  # it decays to its kink, as far as its own terms can tell
        for slides in {False, not piece.slide[unit]}:
            w, side, slide = decay.limit.copy(), piece.side.copy(), piece.slide.copy()
            w[unit], side[unit], slide[unit] = 0.0, up, slides
            other = quadratics.limit(w, side, slide)
            if (np.abs(other - decay.limit) > SAME * (terms + np.abs(other))).any():
                return quadratics.problem.sheaf.layout.label(unit)
    return None


class Monitors(NamedTuple):
    """What must stay positive on a piece, star (K,) + c (K, n) @ e^{−rates t}: ±z_j, and of a
    slider Q_− and −Q_+.

    unit (K,): which kink; to (K,): the side it would go to, or for z_j the side it may cross to.
    floor (K,) and loose (K, n): the errors of star and c. start (5, K): what is known of them at
    the piece's start from the state itself, as `first_zero` has it.
    """

    unit: np.ndarray
    to: np.ndarray
    star: np.ndarray
    c: np.ndarray
    floor: np.ndarray
    loose: np.ndarray
    start: np.ndarray


def monitors(quadratics: Quadratics, piece: Piece, decay: Decay, left: dict) -> Monitors:
    """The monitors of a piece; `left`: the kinks that have just left a slide, so that z_j and its
    velocity are zero.
    """
    units, alpha, place = quadratics.units, quadratics.alpha, np.full(len(piece.w), -1)
    place[decay.free] = np.arange(len(decay.free))
    sliding = piece.slide[units]
    moving, held = np.flatnonzero(~sliding), np.flatnonzero(sliding)
    at, sign = place[units[moving]], np.where(piece.side[units[moving]], 1.0, -1.0)
    rows = np.concatenate([quadratics.minus[held], -quadratics.plus[held]])
    sizes, start = np.abs(rows), np.full((5, len(units) + len(held)), np.nan)
    c = np.concatenate([sign[:, None] * decay.modes[at], rows @ decay.waves])
    loose = np.concatenate([decay.loose[at], sizes @ decay.loose_waves])
    start[0] = np.concatenate([sign * piece.w[units[moving]], rows @ piece.r])
    start[1] = np.concatenate([piece.error_w[units[moving]], sizes @ piece.error])
    for k in np.flatnonzero(piece.w[units[moving]] == 0):
        row = quadratics.plus[moving[k]] if sign[k] > 0 else -quadratics.minus[moving[k]]
        start[2:4, k] = alpha * (row @ piece.r), 0.0
        if moving[k] in left:
            columns = quadratics.matrix(piece.side)[:, decay.free]
            push = -row @ columns @ (piece.r @ columns)
            error = np.abs(row) @ np.abs(columns) @ (piece.error @ np.abs(columns))
            drift = loose[k] @ decay.rates
            if start[2, k] <= drift:
                start[2:, k] = 0.0, drift, alpha**2 * push if push > error else np.nan
    side = np.concatenate([sign < 0, np.zeros(len(held), bool), np.ones(len(held), bool)])
    star = np.concatenate([sign * decay.limit[units[moving]], rows @ decay.r])
    floor = np.concatenate([decay.unsure[at], sizes @ decay.unsure_r])
    return Monitors(np.concatenate([moving, held, held]), side, star, c, floor, loose, start)


def change(
    quadratics: Quadratics, piece: Piece, sums: Monitors, zero: Zero, decay: Decay
) -> tuple[Event, Piece]:
    """The event at a monitor's zero, and the piece after it."""
    assert zero.which is not None  # else there is no event
    k, up = sums.unit[zero.which], bool(sums.to[zero.which])
    unit, time = quadratics.units[k], float(piece.time + zero.time)
    (w,), (error_w,) = decay.state(np.array([zero.time]))
    side, slide, (r, error) = piece.side.copy(), piece.slide.copy(), decay.residuals(zero.time)
    w[unit] = error_w[unit] = 0.0
    if slide[unit]:
        kind, slide[unit] = "leaves", False
    else:
        onwards = quadratics.forces(r, k)[up] * (1 if up else -1)
        kind = "crosses" if onwards > quadratics.rounding(error, k) else "slides"
        slide[unit] = kind == "slides"
    side[unit] = side[unit] if slide[unit] else up
    name = kind if slide[unit] else f"{kind} {'up' if up else 'down'}"
    event = Event(time, quadratics.problem.sheaf.layout.label(unit), name)
    return event, Piece(time, w, side, slide, r, error, error_w)


@dataclass(frozen=True, eq=False, repr=False)
class ExactFlow:
    """The heat flow of one sample, known at every time: what ``exact_flow`` returns.

    Parameters
    ----------
    quadratics : Quadratics
        The quadratic energy of every piece, from which states are computed.
    pieces : list of Piece
        The pieces between events, one more than events. Each took one decomposition.
    events : list of Event
        What happens at kinks, in order of time.
    end : float
        The time up to which the flow is known, infinite when it came to its limit.
    _limit : ndarray of shape (N,) or None
        Where it ends, None where that is not known; read it as ``limit``.
    settled : bool
        Whether it is proven that no event follows the last one.
    reason : str
        Why the flow ended, also where it is not settled.
    evaluations : int
        How many steps the search for events took, all kinks at once.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> import numpy as np
    >>> from sheaflib import Network, NeuralSheaf, exact_flow
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> flow = exact_flow(chain, [[1.0]], [[-1.0, 0.0, 0.0]])
    >>> flow.at([0.0, np.log(2.0), np.inf]).round(12)
    array([[-1.,  0.,  0.],
           [ 0.,  0.,  0.],
           [ 1.,  1.,  1.]])
    >>> flow.slides, flow.decompositions, round(flow.settled_from, 6)
    ({}, 2, 0.693147)
    """

    quadratics: Quadratics
    pieces: list[Piece]
    events: list[Event]
    end: float
    _limit: np.ndarray | None
    settled: bool
    reason: str
    evaluations: int

    @property
    def limit(self) -> np.ndarray:
        """The cochain at which the flow ends, w(∞), shape (N,).

        Raises
        ------
        ValueError
            When the flow was stopped before its last event was known.
        """
        if self._limit is None:
            raise ValueError(f"the flow was {self.reason}: its limit is not known")
        return self._limit.copy()

    @property
    def solution(self) -> Solution:
        """The limit as a ``Solution``, as other solvers return theirs.

        Raises
        ------
        ValueError
            When the limit is not known.

        Examples
        --------
        >>> from sheaflib import Network, NeuralSheaf, exact_flow
        >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
        >>> exact_flow(sheaf, [[2.0]], [[-1.0, 0.0, 0.0]]).solution.output.round(12)
        array([[2.]])
        """
        problem, w = self.quadratics.problem, self.limit[None]
        return Solution(
            problem.sheaf,
            problem.x,
            w,
            problem.sheaf.pattern(w, problem.x),
            problem.pins,
            "exact flow",
            self.reason,
            np.array([self.settled]),
        )

    @property
    def decompositions(self) -> int:
        """The number of singular value decompositions, one for each piece."""
        return len(self.pieces)

    @property
    def settled_from(self) -> float:
        """The time of the last event, infinite unless it is proven to be the last.

        From it on the flow is one sum of exponentials.
        """
        return self.pieces[-1].time if self.settled else np.inf

    @property
    def slides(self) -> dict[str, list[tuple[float, float]]]:
        """When each unit slides along its kink: its name, and the intervals of time.

        The last interval may end at ``end``.
        """
        layout = self.quadratics.problem.sheaf.layout
        slides: dict[str, list[tuple[float, float]]] = {}
        before = np.zeros_like(self.pieces[0].slide)
        for piece in self.pieces:
            for i in np.flatnonzero(piece.slide & ~before).tolist():
                slides.setdefault(layout.label(i), []).append((piece.time, self.end))
            for i in np.flatnonzero(before & ~piece.slide).tolist():
                intervals = slides[layout.label(i)]
                intervals[-1] = (intervals[-1][0], piece.time)
            before = piece.slide
        return slides

    def at(self, times: ArrayLike) -> np.ndarray:
        """Compute the exact cochains at some times.

        Each piece that is asked for is decomposed again.

        Parameters
        ----------
        times : array_like of shape (T,)
            Times from 0 to ``end``, in any order; infinity asks for the limit, and one number is T
            = 1.

        Returns
        -------
        ndarray of shape (T, N)
            The cochain w(t) at each of the times.

        Raises
        ------
        ValueError
            For a time before 0 or beyond ``end``.
        """
        unmasked("times", times)
        given = np.atleast_1d(even("times", times))
        endless = np.zeros(given.shape, dtype=bool)
        if self._limit is not None and given.dtype.kind == "f":
            endless = given == np.inf
        times = real_array(
            "times", np.where(endless, 0.0, given) if endless.any() else given, (None,)
        )
        if ((times < 0) | (times > self.end)).any():
            wrong = times[(times < 0) | (times > self.end)][0]
            raise ValueError(
                f"times holds {wrong:g}, expected 0 … {self.end:g}: the flow was {self.reason}"
                if wrong > 0
                else f"times holds {wrong:g} < 0"
            )
        w = np.empty((len(times), self.quadratics.problem.sheaf.N))
        which = np.searchsorted([piece.time for piece in self.pieces], times, side="right") - 1
        for k in np.unique(which):
            piece, here = self.pieces[k], which == k
            w[here] = self.quadratics.decompose(piece).at(times[here] - piece.time)
        if endless.any():
            w[endless] = self._limit
        return w

    def __repr__(self) -> str:
        count = f"{len(self.events)} event{'s' if len(self.events) != 1 else ''}"
        last = f" to t = {self.events[-1].time:g}" if self.events else ""
        return f"ExactFlow({count}{last}, {self.reason})"
