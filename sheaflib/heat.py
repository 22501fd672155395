"""The sheaf heat equation ẇ = −α ∂V/∂w in Euler steps, as a generator and as a driver (Thm 4.1, 4.2).

Forces are taken from the old state, the pattern is read anew at each step (fast selection), hard pins are re-imposed after it.
"euler" is the paper's: with pins it may chatter along a kink of V forever. "prox-euler", implicit in the kinks, slides (derived).
Each comes twice, with the same arithmetic: in NumPy it reads like the equations, compiled it is the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Sequence

import numpy as np

from sheaflib import discord, spectrum
from sheaflib.checks import batch, positive, whole
from sheaflib.compiled import CompiledProxStepper, CompiledStepper, can_compile
from sheaflib.euler import EulerStepper, HeatUnstable, ProxEulerStepper, Stepper
from sheaflib.forces import check_output_force
from sheaflib.network import INPUT
from sheaflib.pins import Pin, ResolvedPins, resolve
from sheaflib.sheaf import NeuralSheaf, check_sheaf
from sheaflib.solution import Solution
from sheaflib.steppers import ChebyshevStepper, ImplicitEulerStepper, MinimisingMovementsStepper

NO_SWITCHES = np.zeros((0, 3), dtype=np.int64)
STEPPERS = {                                              # name: in NumPy, compiled
    "euler": (EulerStepper, CompiledStepper),
    "prox-euler": (ProxEulerStepper, CompiledProxStepper),
    "implicit-euler": (ImplicitEulerStepper, ImplicitEulerStepper),
    "minimising-movements": (MinimisingMovementsStepper, MinimisingMovementsStepper),
    "chebyshev": (ChebyshevStepper, ChebyshevStepper),
}

__all__ = ["heat", "relax", "default_step", "HeatState", "HeatHistory", "HeatUnstable"]


@dataclass(frozen=True, eq=False)
class HeatState:
    """The flow after `step` steps of dt: cochain (B, width), the last max|Δ| of every sample (B,), the steps each took (B,),
    the switches since the last yield, (K, 3) rows (step, sample, unit): the pattern of state `step` differs from the one before, and
    the time, step · dt where dt stays."""

    step: int
    dt: float
    cochain: np.ndarray
    change: np.ndarray
    steps: np.ndarray
    switches: np.ndarray
    time: float

    def __repr__(self):
        return f"HeatState(step {self.step}, {len(self.switches)} switches since the last)"


@dataclass(frozen=True, eq=False)
class HeatHistory:
    """What `relax` kept: recorded steps (R,), discord edge -> (R, B), every switch (K, 3), steps taken (B,),
    the last max|Δ| (B,), dt, α, and how often each sample touched every weight (B,)."""

    step: np.ndarray
    discord: dict[str, np.ndarray]
    switches: np.ndarray
    steps: np.ndarray
    change: np.ndarray
    dt: float
    alpha: float
    passes: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Total discord at the recorded steps: (R, B)."""
        return sum(self.discord.values())

    def __repr__(self):
        return f"HeatHistory({len(self.step)} records, {len(self.switches)} switches, {self.steps.max()} steps of dt = {self.dt:g})"


def heat(sheaf: NeuralSheaf, x, start, dt: float | None = None, alpha: float = 1.0, pins: Pin | Sequence[Pin] = (),
         output_force: str = "jacobian", every: int = 1, tol: float = 0.0,
         stepper: str | type[Stepper] | None = None) -> Iterator[HeatState]:
    """Yield the flow from `start` (B, N) or (B, N + n_out) over inputs x (B, n_0): first the start, then every `every` steps.

    A start with a_out makes the output edge of a sigmoid or softmax part of the flow; without it that edge is left out.
    dt defaults to 1/(α·bound), or to the stepper's own. A sample rests once its max|Δ| < tol; the generator ends when all do.
    stepper: "euler" (explicit, as in the paper), "prox-euler" (the flow's limit points too, but holds a sliding z_j = 0 exactly
    where Euler chatters; first order, stable for every dt that Euler is), both compiled where possible; "implicit-euler",
    "minimising-movements" and "chebyshev" (`steppers`: any dt, "chebyshev" has none; after the equilibrium and not the flow; without
    a_out); or a Stepper
    class. By default "prox-euler" with pins, which make sliding possible at rest, else "euler".
    Raises ValueError for a dt that cannot converge and for an unknown stepper, HeatUnstable when the energy exceeds twice its
    value at the start.
    """
    flow = _begin(sheaf, x, start, dt, alpha, pins, output_force, tol, stepper)
    return _states(flow, whole("every", every))


def _states(flow: Stepper, every: int) -> Iterator[HeatState]:
    switches = NO_SWITCHES
    while True:
        yield HeatState(int(flow.steps.max()), flow.dt, flow.w.copy(), flow.change.copy(), flow.steps.copy(), switches, flow.time)
        if not flow.active.any():
            return
        switches = flow.advance(every)


def relax(sheaf: NeuralSheaf, x, start, dt: float | None = None, alpha: float = 1.0, pins: Pin | Sequence[Pin] = (),
          output_force: str = "jacobian", every: int = 100, tol: float = 1e-12,
          stepper: str | type[Stepper] | None = None, max_steps: int = 1_000_000) -> Solution:
    """Run `heat` until max|Δ| < tol in every sample or for max_steps; arguments as there.

    Returns a Solution whose history holds the discord at every `every`-th step and at the last, and every switch; its method
    names the stepper when it is not Euler.
    """
    every, max_steps = whole("every", every), whole("max_steps", max_steps)
    flow = _begin(sheaf, x, start, dt, alpha, pins, output_force, positive("tol", tol), stepper)
    step, kept, switches = [0], [discord.per_edge(sheaf, flow.w, flow.x)], [NO_SWITCHES]
    while flow.active.any() and step[-1] < max_steps:
        switches.append(flow.advance(min(every, max_steps - step[-1])))
        step.append(int(flow.steps.max()))
        kept.append(discord.per_edge(sheaf, flow.w, flow.x))
    history = HeatHistory(np.array(step), {e: np.array([record[e] for record in kept]) for e in kept[0]},
                          np.concatenate(switches), flow.steps, flow.change, flow.dt, alpha, flow.passes.copy())
    reason = (f"stopped at {step[-1]} steps with max|Δ| = {flow.change.max():.1e}" if flow.active.any()
              else f"max|Δ| < {tol:.0e} after {step[-1]} steps")
    method = "heat" if flow.name == "euler" else f"heat by {flow.name}"
    return Solution(sheaf, flow.x, flow.w, sheaf.pattern(flow.w, flow.x), flow.pins, method, reason,
                    output_force=output_force, history=history)


def _begin(sheaf, x, start, dt, alpha, pins, output_force, tol, stepper) -> Stepper:
    """Check the arguments of a flow and put it at its start."""
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in).copy()
    w = sheaf.cochain("start", start)
    if len(w) != len(x):
        raise ValueError(f"start has {len(w)} rows, expected {len(x)}: one a row of x")
    augmented = w.shape[1] > sheaf.N
    pinned = resolve(sheaf, pins, len(x), augmented)
    w, alpha, tol = pinned.impose(w), positive("alpha", alpha), positive("tol", tol, zero=True)
    check_output_force(output_force)
    chosen = choose_stepper(stepper, sheaf, pinned)
    if dt is not None and not chosen.steps_in_time:
        raise ValueError(f"dt={dt!r}: {chosen.name} has no step, leave dt out")
    if dt is None:
        dt = chosen.default_dt or default_step(sheaf, pinned, augmented, alpha, output_force)
    dt = positive("dt", dt)
    if not chosen.any_step:
        check_step(sheaf, x, w, dt, alpha, pinned, output_force)
    return chosen(sheaf, x, w, dt, alpha, pinned, output_force, tol)


def choose_stepper(stepper: str | type[Stepper] | None, sheaf: NeuralSheaf, pins: ResolvedPins) -> type[Stepper]:
    """A class as it is; a name of STEPPERS compiled where possible; None: "prox-euler" with pins, "euler" without."""
    if isinstance(stepper, type):
        return stepper
    name = ("prox-euler" if pins else "euler") if stepper is None else stepper
    if not isinstance(name, str) or name not in STEPPERS:
        raise ValueError(f"stepper={stepper!r} is unknown, expected one of {', '.join(STEPPERS)}, or a Stepper class")
    return STEPPERS[name][can_compile(sheaf)]


def default_step(sheaf: NeuralSheaf, pins: ResolvedPins | None = None, augmented: bool = False, alpha: float = 1.0,
                 output_force: str = "jacobian") -> float:
    """1/(α·bound): stable for every pattern, half of the largest step known to be; raises as `spectrum.bound`."""
    return 1 / (alpha * spectrum.bound(sheaf, pins, augmented, output_force))


def check_step(sheaf: NeuralSheaf, x, w, dt: float, alpha: float, pins: ResolvedPins, output_force: str) -> None:
    """Raise ValueError when dt ≥ 2/(αλ_max), λ_max of the pattern at the harmonic extension, or at the start with pins (derived)."""
    augmented = w.shape[1] > sheaf.N
    safe = 2 / (alpha * spectrum.bound(sheaf, pins, augmented, output_force))
    if dt < safe:
        return
    state = w if pins else sheaf.forward(x, augmented=augmented)
    patterns = sheaf.pattern(state, x)
    last = sheaf.layout[sheaf.network.nodes[-1].name]
    largest = max(spectrum.extreme(sheaf, s, pins, z[last] if augmented else None, output_force)[1]
                  for s, z in zip(patterns, state))
    limit = 2 / (alpha * largest) if largest else np.inf
    if dt >= limit:
        where = "the start" if pins else "the harmonic extension"
        raise ValueError(f"dt={dt:g} is unstable: Euler needs dt < 2/(α·λ_max) = {limit:.3g} here (α = {alpha:g}, λ_max = {largest:.4g} "
                         f"at {where}); use dt={0.95 * limit:.2g}, or dt < {safe:.3g}, which is safe for every pattern")
