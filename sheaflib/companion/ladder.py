"""How many passes over the weights each method needs to a pinned equilibrium, as functions of plain
parameters for a sweep (derived).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sheaflib.companion import tasks
from sheaflib.companion.experiments import initial, stalks
from sheaflib.equilibria.certificate import ROUNDING
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.newton import Equilibrium, Others, equilibrium, newton
from sheaflib.flow.exact_flow import exact_flows
from sheaflib.flow.heat import choose_stepper
from sheaflib.flow.steppers import MinimisingMovementsStepper
from sheaflib.linear import spectrum
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard, resolve

# the paper's nets and the seeds of their weights
SIZES = {"2x30x1": 0, "2x10x8x1": 42, "2x12x8x6x1": 0}
STALKS = 42
DEEP = "x".join(["2", *["50"] * 10, "1"])
SPACING = 1.02  # steps at which a flow is looked at grow by this factor


class Climb(NamedTuple):
    """Passes of each sample until it stays within the accuracy of where it ends (B,), whether it
    gets there (B,), and the end (B, N).
    """

    passes: np.ndarray
    reached: np.ndarray
    end: np.ndarray


def problem(widths: str, seed: int, start: str = "random", samples: int = 300, fresh: bool = False):
    """The pinned problem of the ladder: sheaf, x, the labels' pin, the start (B, N) and the problem
    as the solver sees it.

    Paraboloid inputs, output clamped to the label; start "random": the recorded stalks (or drawn,
    for a fresh network), "forward".
    """
    sheaf, task = NeuralSheaf(initial("paraboloid", widths, seed, fresh)), tasks.task("paraboloid")
    x, pin = task.X_train[:samples], hard(sheaf.network.output_name, task.Y_train[:samples])
    w = sheaf.forward(x) if start == "forward" else stalks(sheaf, widths, STALKS, fresh, samples)
    pins = resolve(sheaf, pin, samples)
    return sheaf, x, pin, pins.impose(w), PinnedEnergy(sheaf, x, pins)


def climb(
    widths: str,
    method: str,
    seed: int = 0,
    start: str = "random",
    samples: int = 300,
    fresh: bool = False,
    dt: float = 0.0,
    accuracy: float = 1e-8,
    most: int = 2_000_000,
) -> Climb:
    """Passes of one method from the start to |w − w*|_∞ < accuracy, w* its own end polished by
    Newton.

    method: "newton", "chebyshev", "implicit-euler" (dt 10 unless given), or a stepper of the flow,
    "euler" or "prox-euler", of step dt (0: the best stable one, 1.9 over the bound of λ_max).
    `most`: steps at most.
    """
    sheaf, x, pin, w, pinned = problem(widths, seed, start, samples, fresh)
    if method == "newton":
        found = equilibrium(sheaf, x, pins=pin, start=w)
        return Climb(found.passes, found.converged, found.cochain)
    pins = pinned.pins
    step = dt or (10.0 if method == "implicit-euler" else best_step(sheaf, pins))
    flow = choose_stepper(method, sheaf, pins)(sheaf, x, w, step, 1.0, pins, "jacobian", 1e-13)
    return follow(flow, pinned, accuracy, most)


def best_step(sheaf: NeuralSheaf, pins) -> float:
    """1.9 over the bound of λ_max: the largest step known to be stable for every pattern."""
    return 1.9 / spectrum.bound(sheaf, pins=pins)


def follow(flow, pinned: PinnedEnergy, accuracy: float, most: int) -> Climb:
    """Run a stepper to rest, polish its end, and find when each sample came to stay near it (to 2 %
    of the steps).
    """
    kept, passes = [flow.w.copy()], [np.zeros(len(flow.w))]
    while flow.active.any() and flow.steps.max() < most:
        flow.advance(max(1, int(flow.steps.max() * (SPACING - 1))))
        kept.append(flow.w.copy())
        passes.append(flow.passes.astype(float))
    end = newton(pinned, flow.w, ROUNDING, "track", 300).cochain
    far = np.array([np.abs(w - end).max(axis=1) >= accuracy for w in kept])  # (records, B)
    first = len(far) - np.argmax(far[::-1], axis=0)  # the record after the last far one
    first = np.where(far.any(axis=0), first, 0)
    reached = first < len(far)
    return Climb(
        np.array(passes)[np.minimum(first, len(far) - 1), np.arange(far.shape[1])], reached, end
    )


def others(
    widths: str, seed: int = 0, samples: int = 300, starts: int = 50, drawn: int = 0
) -> Others:
    """The distinct equilibria that Newton finds from other starts, drawn with the seed `drawn`."""
    sheaf, x, pin, w, _ = problem(widths, seed, samples=samples)
    return equilibrium(sheaf, x, pins=pin, start=w).others(starts, drawn)


class Limits(NamedTuple):
    """Where the exact flow of each sample ends (B, N), how many events it has (B,), whether its end
    is proven (B,).
    """

    end: np.ndarray
    events: np.ndarray
    settled: np.ndarray


def exact_limits(widths: str, seed: int = 0, start: str = "random", samples: int = 200) -> Limits:
    """The exact flow of each sample of the ladder's problem."""
    sheaf, x, pin, w, _ = problem(widths, seed, start, samples)
    flows = exact_flows(sheaf, x, w, pins=pin)
    return Limits(
        np.array([flow.limit for flow in flows]),
        np.array([len(flow.events) for flow in flows]),
        np.array([flow.settled for flow in flows]),
    )


def movements(
    widths: str,
    seed: int = 0,
    start: str = "random",
    samples: int = 200,
    until: float = 20.0,
    tau: float = 0.25,
) -> Climb:
    """Minimising movements with τ doubled from `tau` until the time `until`, then Newton: passes,
    convergence and the end.
    """
    sheaf, x, pin, w, pinned = problem(widths, seed, start, samples)
    flow = MinimisingMovementsStepper(sheaf, x, w, tau, 1.0, pinned.pins, "jacobian", 0.0)
    while flow.time < until:
        flow.advance(1)
    found: Equilibrium = equilibrium(sheaf, x, pins=pin, start=flow.w)
    return Climb(flow.passes + found.passes, found.converged, found.cochain)
