"""The sheaf heat equation ẇ = −α ∂V/∂w in Euler steps, as a generator and as a driver (Thm 4.1,
4.2).

Forces are taken from the old state, the pattern is read anew at each step (fast selection), hard
pins are re-imposed after it. "euler" is the paper's: with pins it may chatter along a kink of V
forever. "prox-euler", implicit in the kinks, slides (derived). A flow has arrived when its velocity
is rounding of its own terms (`rest`), or as the paper says, when a step is small. Each comes twice,
with the same arithmetic: in NumPy it reads like the equations, compiled it is the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Literal, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.flow.euler import EulerStepper, HeatUnstable, ProxEulerStepper, Stepper
from sheaflib.flow.steppers import (
    ChebyshevStepper,
    ImplicitEulerStepper,
    MinimisingMovementsStepper,
)
from sheaflib.linear import spectrum
from sheaflib.linear.rest import check_rule
from sheaflib.linear.solution import Solution
from sheaflib.networks.graph import INPUT
from sheaflib.sheaves import discord
from sheaflib.sheaves.forces import check_output_force
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, Pins, resolve
from sheaflib.support.checks import batch, brief, positive, subclass, whole

NO_SWITCHES = np.zeros((0, 3), dtype=np.int64)
STEPPERS = {
    "euler": EulerStepper,
    "prox-euler": ProxEulerStepper,
    "implicit-euler": ImplicitEulerStepper,
    "minimising-movements": MinimisingMovementsStepper,
    "chebyshev": ChebyshevStepper,
}

__all__ = ["heat", "relax", "default_step", "HeatState", "HeatHistory", "HeatUnstable"]


@dataclass(frozen=True, eq=False)
class HeatState:
    """The heat flow after some steps: what ``heat`` yields.

    B is the number of samples. The cochain has ``sheaf.N`` columns, or ``sheaf.N + n_out`` where
    the start holds ``a_out``; K is the number of switches since the last state.

    Parameters
    ----------
    step : int
        How many steps were taken, by the sample that took most.
    dt : float
        The time of one step.
    cochain : ndarray of shape (B, width)
        The values at all vertices.
    change : ndarray of shape (B,)
        The largest ``|Δ|`` of any coordinate in the last step of each sample; infinite before the
        first.
    steps : ndarray of int of shape (B,)
        How many steps each sample took. One that has arrived takes no more.
    switches : ndarray of int of shape (K, 3)
        Rows of step, sample and unit: at that step the unit's entry of the activation pattern
        differs from the one before.
    time : float
        The time of the flow: step times dt, where dt stays the same.
    arrived : ndarray of bool of shape (B,)
        Which samples have come to rest.

    Notes
    -----
    In the paper: Thm 4.1 and 4.2.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, heat
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> states = heat(chain, [[1.0]], [[0.0, 0.0, 0.0]], dt=0.5)
    >>> next(states), next(states).cochain
    (HeatState(step 0, 0 switches since the last), array([[0.5, 0. , 0. ]]))
    """

    step: int
    dt: float
    cochain: np.ndarray
    change: np.ndarray
    steps: np.ndarray
    switches: np.ndarray
    time: float
    arrived: np.ndarray

    def __repr__(self) -> str:
        return f"HeatState(step {self.step}, {len(self.switches)} switches since the last)"


@dataclass(frozen=True, eq=False)
class HeatHistory:
    """What ``relax`` recorded on its way: the ``history`` of its solution.

    B is the number of samples, R the number of records, K the number of switches.

    Parameters
    ----------
    step : ndarray of int of shape (R,)
        The steps at which discord was recorded.
    discord : dict of str to ndarray of shape (R, B)
        The discord of every edge at those steps, by the edge's name.
    switches : ndarray of int of shape (K, 3)
        Every switch, as rows of step, sample and unit.
    steps : ndarray of int of shape (B,)
        How many steps each sample took.
    change : ndarray of shape (B,)
        The largest ``|Δ|`` of any coordinate in each sample's last step; infinite where it took
        none.
    dt : float
        The time of one step.
    alpha : float
        The rate α of the flow.
    passes : ndarray of int of shape (B,)
        How often each sample touched every weight, forward or transposed.
    arrived : ndarray of bool of shape (B,)
        Which samples have come to rest.

    Notes
    -----
    In the paper: Thm 4.1 and 4.2.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, relax
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> found = relax(chain, [[1.0]], [[-1.0, 0.0, 0.0]], dt=0.5).history
    >>> found
    HeatHistory(4 records, 1 switches, 246 steps of dt = 0.5)
    >>> found.switches, found.total[0]
    (array([[1, 0, 0]]), array([4.]))
    """

    step: np.ndarray
    discord: dict[str, np.ndarray]
    switches: np.ndarray
    steps: np.ndarray
    change: np.ndarray
    dt: float
    alpha: float
    passes: np.ndarray
    arrived: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Total discord of each sample at the recorded steps, shape (R, B)."""
        nothing = np.zeros((len(self.step), len(self.steps)))
        return sum(self.discord.values(), nothing)

    def __repr__(self) -> str:
        return (
            f"HeatHistory({len(self.step)} records, {len(self.switches)} switches,"
            f" {self.steps.max()} steps of dt = {self.dt:g})"
        )


def heat(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    start: ArrayLike,
    *,
    dt: float | None = None,
    alpha: float = 1.0,
    pins: Pin | Sequence[Pin] = (),
    output_force: str = "jacobian",
    every: int = 1,
    tol: float = 0.0,
    stepper: str | type[Stepper] | None = None,
    rest: Literal["velocity", "step"] = "velocity",
) -> Iterator[HeatState]:
    """Yield the heat flow from a start, step by step.

    The first state is the start itself, the next ones follow every ``every`` steps. The generator
    ends when every sample has arrived; with ``tol=0`` it never ends.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    start : array_like of shape (B, N) or (B, N + n_out)
        The cochains to start from. A start with ``a_out`` makes the output edge of a sigmoid or
        softmax part of the flow; without it that edge is left out.
    dt : float, optional
        The time of one step. By default 1/(α·bound), as ``default_step`` has it, or the stepper's
        own.
    alpha : float, default: 1.0
        The rate α of the flow.
    pins : Pin or sequence of Pin, optional
        Hard and soft pins, from ``hard`` and ``soft``. Hard ones are imposed again after each step.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits z of a start with ``a_out``: by Jᵀ(φ(z) − a_out),
        with J the Jacobian of φ, or by φ(z) − a_out, which is the form of the cross-entropy.
    every : int, default: 1
        How many steps lie between two states that are yielded.
    tol : float, default: 0.0
        How little must be left where a sample has arrived; in which sense, ``rest`` says.
    stepper : str or type of Stepper, optional
        How steps are taken; the names stand in the notes. By default "prox-euler" with pins, since
        these make sliding possible at rest, and "euler" without.
    rest : {"velocity", "step"}, default: "velocity"
        What it means to have arrived; see the notes.

    Returns
    -------
    Iterator of HeatState
        The states, the start first.

    Raises
    ------
    ValueError
        For a dt that cannot converge, for an unknown stepper or rule, and for ``tol`` ≥ 1 with
        "velocity".
    HeatUnstable
        When the energy of a sample exceeds twice its value at the start.
    OverflowError
        When the weights are so large or so small that no step is a number of float64.

    Notes
    -----
    In the paper: Thm 4.1 and 4.2, with pins §5.1; rest by the velocity and "prox-euler" are ours.

    **Rest.** "velocity" asks for ``|∂V/∂w_i| ≤ tol·T_i`` in every coordinate i, whatever dt and the
    scale of the numbers are. T_i adds up the sizes of the terms that ∂V/∂w_i is a sum of: those of
    ``NeuralSheaf.gradient_terms``, and ``γ(|w_i| + |v*_i|)`` of a spring towards ``v*``. Clamped
    coordinates count as at rest, and so does a z_j = 0 that both sides push back to, where the
    stepper holds it. ``tol`` counts as 256 ε = 5.7e-14 at least; terms that all tend to 0 are done
    below (256 ε)² of the largest at the start. This bounds the gradient. The error of w is bounded
    only up to the condition number κ of the sheaf Laplacian L, by about tol·κ(L) of the layer's
    size. "step" asks for ``max|Δ| < tol``, the paper's rule, which a small dt meets anywhere.

    **Steppers.** "euler" is explicit Euler, as in the paper; with pins it may chatter along a kink
    for ever. "prox-euler" has the flow's limit points too, but holds a sliding z_j = 0 exactly
    where Euler chatters; it is of first order, and stable for every dt for which Euler is. Both are
    compiled where possible. "implicit-euler", "minimising-movements" and "chebyshev" follow the
    equilibrium and not the flow, do not take ``a_out``, and take any dt ("chebyshev" has none). The
    first two of these solve for the point of rest once the rule "velocity" holds. A class derived
    from ``sheaflib.flow.euler.Stepper`` may be passed as well.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, heat
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> for state in heat(chain, [[1.0]], [[0.0, 0.0, 0.0]], dt=0.5, tol=0.5):
    ...     print(state.time, state.cochain[0])
    0.0 [0. 0. 0.]
    0.5 [0.5 0.  0. ]
    1.0 [0.5  0.25 0.  ]
    1.5 [0.625 0.25  0.125]
    """
    tol = check_rule(rest, tol, zero=True)
    flow = _begin(sheaf, x, start, dt, alpha, pins, output_force, tol, stepper, rest)
    return _states(flow, whole("every", every))


def _states(flow: Stepper, every: int) -> Iterator[HeatState]:
    switches = NO_SWITCHES
    while True:
        yield HeatState(
            int(flow.steps.max()),
            flow.dt,
            flow.w.copy(),
            flow.change.copy(),
            flow.steps.copy(),
            switches,
            flow.time,
            flow.arrived.copy(),
        )
        if not flow.active.any():
            return
        switches = flow.advance(every)


def relax(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    start: ArrayLike,
    *,
    dt: float | None = None,
    alpha: float = 1.0,
    pins: Pin | Sequence[Pin] = (),
    output_force: str = "jacobian",
    every: int = 100,
    tol: float = 1e-12,
    stepper: str | type[Stepper] | None = None,
    max_steps: int = 1_000_000,
    rest: Literal["velocity", "step"] = "velocity",
) -> Solution:
    """Run the heat flow until every sample has arrived.

    It takes the arguments of `heat`, whose notes explain the rule of rest and the steppers, and one
    more, ``max_steps``. N is the number of free coordinates, ``sheaf.N``.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    start : array_like of shape (B, N) or (B, N + n_out)
        The cochains to start from; with ``a_out`` the output edge takes part.
    dt : float, optional
        The time of one step. By default 1/(α·bound), or the stepper's own.
    alpha : float, default: 1.0
        The rate α of the flow.
    pins : Pin or sequence of Pin, optional
        Hard and soft pins.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits of a start with ``a_out``.
    every : int, default: 100
        How many steps lie between two records of the discord.
    tol : float, default: 1e-12
        How little must be left where a sample has arrived; more than 0. What is measured, ``rest``
        says.
    stepper : str or type of Stepper, optional
        "euler", "prox-euler", "implicit-euler", "minimising-movements", "chebyshev", or a class.
        By default "prox-euler" with pins and "euler" without.
    max_steps : int, default: 1000000
        After how many steps the run ends in any case.
    rest : {"velocity", "step"}, default: "velocity"
        When a sample has arrived: when its velocity is small beside the terms that it is a sum of,
        or, as in the paper, when no value moved by more than ``tol`` in a step.

    Returns
    -------
    Solution
        The state at the end is ``cochain``, and ``converged`` says which samples have arrived. Its
        ``history`` is a ``HeatHistory``: the discord at every ``every``-th step and at the
        last, every switch, and which samples have arrived. Its ``reason`` says why the run ended,
        and its ``method`` names the stepper where it is not Euler.

    Raises
    ------
    ValueError
        For a dt that cannot converge, for an unknown stepper or rule, and for a ``tol`` out of
        range.
    HeatUnstable
        When the energy of a sample exceeds twice its value at the start.
    OverflowError
        When the weights are so large or so small that no step is a number of float64.

    Notes
    -----
    In the paper: Thm 4.1 and 4.2, with pins §5.1.

    A sample that has not arrived, and that no step moves any more, as dt times its velocity is
    below rounding, is left where it is.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, relax
    >>> chain = NeuralSheaf(Network.mlp([[[2.0]], [[3.0]]]))
    >>> found = relax(chain, [[1.0]], [[0.0, 0.0, 0.0]])
    >>> found.cochain.round(9), found.converged
    (array([[2., 2., 6.]]), array([ True]))
    """
    every, max_steps = whole("every", every), whole("max_steps", max_steps)
    tol = check_rule(rest, tol, zero=False)
    flow = _begin(sheaf, x, start, dt, alpha, pins, output_force, tol, stepper, rest)
    step, kept, switches = [0], [discord.per_edge(sheaf, flow.w, flow.x)], [NO_SWITCHES]
    while flow.active.any() and step[-1] < max_steps:
        switches.append(flow.advance(min(every, max_steps - step[-1])))
        step.append(int(flow.steps.max()))
        kept.append(discord.per_edge(sheaf, flow.w, flow.x))
    history = HeatHistory(
        np.array(step),
        {e: np.array([record[e] for record in kept]) for e in kept[0]},
        np.concatenate(switches),
        flow.steps,
        flow.change,
        flow.dt,
        alpha,
        flow.passes.copy(),
        flow.arrived,
    )
    method = "heat" if flow.name == "euler" else f"heat by {flow.name}"
    return Solution(
        sheaf,
        flow.x,
        flow.w,
        sheaf.pattern(flow.w, flow.x),
        flow.pins,
        method,
        why_ended(flow),
        flow.arrived,
        output_force=output_force,
        history=history,
    )


def why_ended(flow: Stepper) -> str:
    """By which rule a flow has arrived, or how far from it the samples that have not arrived
    are.
    """
    steps, by_velocity = flow.steps.max(), flow.rest == "velocity"
    if flow.arrived.all():
        met = (
            f"at rest: |∂V/∂w| ≤ {flow.bar:.0e} of its own terms"
            if by_velocity
            else f"max|Δ| < {flow.tol:.0e} (the paper's rule)"
        )
        return f"{met} after {steps} steps"
    away = np.flatnonzero(~flow.arrived)
    if not by_velocity:
        return f"stopped at {steps} steps with max|Δ| = {flow.change[away].max():.1e}"
    whose = f" in {len(away)} of {len(flow.w)} samples" if len(flow.w) > 1 else ""
    far = f"|∂V/∂w| is {flow.gauge.unrest(flow.w).max():.1e} of its own terms{whose}"
    if flow.stuck[away].all():
        cause = "a step changes nothing" if flow.any_step else "dt is below rounding"
        return f"{cause}: no coordinate moves after {steps} steps, {far}"
    return f"stopped at {steps} steps: {far}"


def _begin(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    start: ArrayLike,
    dt: float | None,
    alpha: float,
    pins: Pin | Sequence[Pin],
    output_force: str,
    tol: float,
    stepper: str | type[Stepper] | None,
    rest: str,
) -> Stepper:
    """Check the arguments of a flow and put it at its start."""
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in).copy()
    w = sheaf.cochain("start", start)
    if len(w) != len(x):
        raise ValueError(f"start has {len(w)} rows, expected {len(x)}: one a row of x")
    augmented = w.shape[1] > sheaf.N
    pinned = resolve(sheaf, pins, len(x), augmented)
    w, alpha = pinned.impose(w), positive("alpha", alpha)
    check_output_force(output_force)
    chosen = choose_stepper(stepper, sheaf, pinned)
    if dt is not None and not chosen.steps_in_time:
        raise ValueError(f"dt={brief(dt)}: {chosen.name} has no step, leave dt out")
    if dt is None:
        dt = chosen.default_dt or stable_step(
            1.0, alpha, rate_bound(sheaf, pinned, augmented, output_force)
        )
    dt = positive("dt", dt)
    if not np.isfinite(alpha * dt):
        raise ValueError(f"alpha={alpha:g} times dt={dt:g} is too large for float64")
    if not chosen.any_step:
        check_step(sheaf, x, w, dt, alpha, pinned, output_force)
    return chosen(sheaf, x, w, dt, alpha, pinned, output_force, tol, rest)


def choose_stepper(
    stepper: str | type[Stepper] | None, sheaf: NeuralSheaf, pins: Pins
) -> type[Stepper]:
    """A class as it is; a name of STEPPERS, compiled where possible; None: "prox-euler" with pins,
    "euler" without."""
    if isinstance(stepper, type):
        return subclass("stepper", stepper, Stepper)
    name = ("prox-euler" if pins else "euler") if stepper is None else stepper
    if not isinstance(name, str) or name not in STEPPERS:
        raise ValueError(
            f"stepper={brief(stepper)} is unknown, expected one of {', '.join(STEPPERS)}, or a"
            " Stepper class"
        )
    from sheaflib.flow import kernels  # here, for importing numba takes as long as all the rest

    in_numpy = STEPPERS[name]
    return kernels.STEPPERS.get(name, in_numpy) if kernels.can_compile(sheaf) else in_numpy


def default_step(
    sheaf: NeuralSheaf,
    *,
    pins: Pin | Sequence[Pin] | Pins = (),
    augmented: bool = False,
    alpha: float = 1.0,
    output_force: str = "jacobian",
) -> float:
    """Compute a time step that is stable for every activation pattern.

    It is 1/(α·bound), where ``spectrum.bound`` bounds the largest eigenvalue: half of the largest
    step that is known to be stable.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    pins : Pin, sequence of Pin or Pins, optional
        Hard and soft pins. Soft ones stiffen the flow.
    augmented : bool, default: False
        Whether the output edge of a sigmoid or softmax takes part.
    alpha : float, default: 1.0
        The rate α of the flow.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits.

    Returns
    -------
    float
        The time step, in the units of time in which the flow has the rate α.

    Raises
    ------
    ValueError
        For bad arguments, as in ``spectrum.bound``.
    OverflowError
        Where the weights are so large or so small that the step is no number.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.flow.heat import default_step
    >>> default_step(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])))  # λ_max is at most 4
    0.25
    """
    bound = rate_bound(sheaf, pins, augmented, output_force)
    return stable_step(1.0, positive("alpha", alpha), bound)


def rate_bound(
    sheaf: NeuralSheaf, pins: Pin | Sequence[Pin] | Pins, augmented: bool, output_force: str
) -> float:
    """`spectrum.bound`, ∞ where it leaves float64."""
    try:
        return spectrum.bound(sheaf, pins=pins, augmented=augmented, output_force=output_force)
    except OverflowError:
        return np.inf


def stable_step(factor: float, alpha: float, largest: float) -> float:
    """factor/(α·largest), λ_max ≤ largest; OverflowError where float64 has no such number > 0."""
    with np.errstate(all="ignore"):
        step = float(factor / np.float64(largest) / np.float64(alpha))
    if not 0 < step < np.inf:
        raise OverflowError(
            f"{factor:g}/(α·λ) is no float64 for α = {alpha:g} and "
            f"λ = {largest:g}, the bound of λ_max: "
            "give dt and alpha, or weights, of another scale"
        )
    return step


def check_step(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    w: np.ndarray,
    dt: float,
    alpha: float,
    pins: Pins,
    output_force: str,
) -> None:
    """Raise ValueError when dt ≥ 2/(αλ_max), λ_max of the pattern at the harmonic extension, or at
    the start with pins (derived).
    """
    augmented = w.shape[1] > sheaf.N
    safe = stable_step(2.0, alpha, rate_bound(sheaf, pins, augmented, output_force))
    if dt < safe:
        return
    state = w if pins else sheaf.forward(x, augmented=augmented)
    patterns = sheaf.pattern(state, x)
    last = sheaf.layout[sheaf.network.output_name]
    logits = state[:, last] if augmented else None
    largest = float(
        spectrum.extremes(
            sheaf, patterns, pins=pins, z=logits, output_force=output_force
        ).largest.max()
    )
    limit = stable_step(2.0, alpha, largest) if largest else np.inf
    if dt >= limit:
        where = "the start" if pins else "the harmonic extension"
        raise ValueError(
            f"dt={dt:g} is unstable: Euler needs dt < 2/(α·λ_max) = {limit:.3g} here "
            f"(α = {alpha:g}, λ_max = {largest:.4g} at {where}); use "
            f"dt={0.95 * limit:.2g}, or dt < {safe:.3g}, "
            "which is safe for every pattern"
        )
