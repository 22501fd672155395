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
    """The flow after `step` steps of dt: cochain (B, width), the last max|Δ| of every sample (B,),
    the steps each took (B,), the switches since the last yield, (K, 3) rows (step, sample, unit):
    the pattern of state `step` differs from the one before, the time, step · dt where dt stays, and
    which samples have arrived, (B,) of bool."""

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
    """What `relax` kept: recorded steps (R,), discord edge -> (R, B), every switch (K, 3), steps
    taken (B,), the last max|Δ| (B,; ∞ without a step), dt, α, how often each sample touched every
    weight (B,), and which arrived, (B,) of bool."""

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
        """Total discord at the recorded steps: (R, B)."""
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
    """Yield the flow from `start` (B, N) or (B, N + n_out) over inputs x (B, n_0): first the start,
    then every `every` steps.

    A start with a_out makes the output edge of a sigmoid or softmax part of the flow; without it
    that edge is left out. dt defaults to 1/(α·bound), or to the stepper's own. The generator ends
    when every sample has arrived, with tol 0 never. rest: what arriving means. "velocity", whatever
    dt and the scale of the numbers: |∂V/∂w_i| ≤ tol·T_i in every coordinate i, T_i being the sizes
    of the terms that ∂V/∂w_i is a sum of (`NeuralSheaf.gradient_terms`, and γ(|w_i| + |v*_i|) of a
    spring). Clamped coordinates are at rest, and so is a z_j = 0 that both sides push back to,
    where the stepper holds it. tol counts as 256 ε = 5.7e-14 at least; terms that all tend to 0 are
    done below (256 ε)² of the largest at the start. This bounds the gradient; the error of w it
    bounds only up to the condition number of the sheaf Laplacian L, about tol·κ(L) of the layer's
    size. "implicit-euler" and "minimising-movements" solve for the point of rest once it holds.
    "step": max|Δ| < tol, the paper's rule, which a small dt meets anywhere. stepper: "euler"
    (explicit, as in the paper), "prox-euler" (the flow's limit points too, but holds a sliding z_j
    = 0 exactly where Euler chatters; first order, stable for every dt that Euler is), both compiled
    where possible; "implicit-euler", "minimising-movements" and "chebyshev" (`steppers`: any dt,
    "chebyshev" has none; after the equilibrium and not the flow; without a_out); or a Stepper
    class. By default "prox-euler" with pins, which make sliding possible at rest, else "euler".
    Raises ValueError for a dt that cannot converge, for an unknown stepper or rule, and for tol ≥ 1
    with "velocity"; HeatUnstable when the energy exceeds twice its value at the start.
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
    """Run `heat` until every sample has arrived or for max_steps; arguments as there, tol > 0.

    Returns a Solution whose history holds the discord at every `every`-th step and at the last,
    every switch, and which samples have arrived; its reason says why the run ended, its method
    names the stepper when it is not Euler. A sample that has not arrived and that no step moves any
    more, as dt times its velocity is below rounding, is left where it is.
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
    """1/(α·bound): stable for every pattern, half of the largest step known to be; raises as
    `spectrum.bound`.

    OverflowError where the weights are so large or so small that it is no number.
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
