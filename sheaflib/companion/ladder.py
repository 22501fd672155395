"""How many passes over the weights each method needs to a pinned equilibrium, as functions of plain
parameters for a sweep, and the experiments of notebook 08 over networks, samples and starts
(derived).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from sheaflib.companion import tasks
from sheaflib.companion.experiments import initial, stalks
from sheaflib.companion.sweep import sweep
from sheaflib.equilibria.certificate import ROUNDING
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.enumeration import Equilibria, enumerate_equilibria
from sheaflib.equilibria.newton import Equilibrium, equilibrium, newton
from sheaflib.equilibria.others import Others
from sheaflib.flow.exact_flow import ExactFlow, exact_flow, exact_flows
from sheaflib.flow.heat import choose_stepper, heat, relax
from sheaflib.flow.steppers import MinimisingMovementsStepper
from sheaflib.linear import spectrum
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard, resolve

# the paper's nets and the seeds of their weights
SIZES = {"2x30x1": 0, "2x10x8x1": 42, "2x12x8x6x1": 0}
STALKS = 42
DEEP = "x".join(["2", *["50"] * 10, "1"])
SPACING = 1.02  # steps at which a flow is looked at grow by this factor
EULER = "Euler, best step, where it arrives"
PAPER_STEP, BEST_STEP = "prox-Euler, the authors' dt", "prox-Euler, best step"
METHODS: dict[str, dict] = {  # those that always arrive, as parameters of `climb`
    PAPER_STEP: {"method": "prox-euler", "dt": 0.01},
    BEST_STEP: {"method": "prox-euler"},
    "Chebyshev": {"method": "chebyshev"},
    "implicit Euler": {"method": "implicit-euler"},
    "Newton": {"method": "newton"},
}
TIMED = {  # the names that `make bench` gives to the same methods
    PAPER_STEP: "prox-euler, paper's dt",
    BEST_STEP: "prox-euler, best step",
    "Chebyshev": "chebyshev",
    "implicit Euler": "implicit-euler",
}


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


# over the paper's three networks
# --------------------------------------------------------------------------------------------------


def over_sizes(function, **parameters) -> dict:
    """The results of one function on each of the paper's networks: widths -> result."""
    cases = [{"widths": widths, "seed": seed} | parameters for widths, seed in SIZES.items()]
    return dict(zip(SIZES, sweep(function, cases, label=function.__name__)))


@dataclass(frozen=True, repr=False)
class Ladder:
    """What every method needed on every network.

    passes: method -> network -> passes over the weights, their mean over the samples that all
    methods were given. arrived: network -> the share of the samples in which plain Euler arrives.
    astray: how many samples some other method did not bring to an equilibrium. deep: passes of the
    flow at its best step over those of Newton, on the deep network, over all samples of each.
    """

    passes: dict[str, dict[str, float]]
    arrived: dict[str, float]
    astray: int
    deep: float

    def over_newton(self, method: str) -> dict[str, float]:
        """How many times Newton's passes a method needs on each of the paper's networks."""
        return {size: self.passes[method][size] / self.passes["Newton"][size] for size in SIZES}

    def __repr__(self):
        networks = list(self.passes["Newton"])
        rows = {
            method: [spaced(row[name]) if name in row else "" for name in networks]
            for method, row in self.passes.items()
        }
        return table("passes until 1e-8 from rest", networks, rows)


def climb_all(
    samples: int, flow_samples: int, deep_layers: int, deep_samples: int, most: int = 15_000
) -> Ladder:
    """Let every method climb on the paper's networks, and three of them on a deep one of our own.

    Newton and plain Euler, of at most `most` steps, take `samples` samples; the others take the
    first `flow_samples` of these, and so do all means of passes but plain Euler's. On the deep
    network of `deep_layers` hidden layers, 50 wide, the start is the forward pass.
    """
    few = min(samples, flow_samples)
    plain = over_sizes(climb, method="euler", samples=samples, most=most)
    runs = {
        name: over_sizes(climb, samples=samples if name == "Newton" else few, **method)
        for name, method in METHODS.items()
    }
    deep, shown_as = climb_deep(deep_layers, deep_samples), deep_name(deep_layers)
    arrives = {size: c for size, c in plain.items() if c.reached.any()}
    passes = {EULER: {size: float(c.passes[c.reached].mean()) for size, c in arrives.items()}}
    for name, by_size in runs.items():
        passes[name] = {size: float(c.passes[:few].mean()) for size, c in by_size.items()}
    for name, found in deep.items():
        passes[name][shown_as] = float(found.passes[:deep_samples].mean())
    climbs = [*(c for by_size in runs.values() for c in by_size.values()), *deep.values()]
    return Ladder(
        passes,
        {size: float(c.reached.mean()) for size, c in plain.items()},
        sum(int((~c.reached).sum()) for c in climbs),
        float(deep[BEST_STEP].passes.mean() / deep["Newton"].passes.mean()),
    )


def deep_name(layers: int) -> str:
    """How tables and figures call the deep network."""
    return f"{layers} hidden layer{'' if layers == 1 else 's'} of 50"


def climb_deep(layers: int, samples: int) -> dict[str, Climb]:
    """Three methods on `layers` hidden layers of 50, He weights of seed 1: the flow and Chebyshev
    on `samples` samples, Newton on 32.
    """
    common = {"widths": f"2x{'50x' * layers}1", "seed": 1, "start": "forward", "fresh": True}
    return {
        name: sweep(
            climb, [common | METHODS[name] | {"samples": 32 if name == "Newton" else samples}]
        )[0]
        for name in (BEST_STEP, "Chebyshev", "Newton")
    }


def microseconds(rows: Mapping[str, dict], deep_layers: int) -> dict[str, dict[str, float]]:
    """Wall-clock a sample, method -> network -> microseconds, from the rows of `make bench`; empty
    for a method or network that was not timed.
    """
    networks = {size: (size, 300) for size in SIZES}
    networks[f"2x{'50x' * deep_layers}1"] = (deep_name(deep_layers), 1)
    clock: dict[str, dict[str, float]] = {name: {} for name in (EULER, *METHODS)}
    for size, (shown_as, batch) in networks.items():
        for name, theirs in TIMED.items():
            row = rows.get(f"equilibrium {size}: newton / {theirs}")
            if row:
                clock[name][shown_as] = row["theirs_us"] / batch
                clock["Newton"][shown_as] = row["ours_us"] / batch
    return clock


# how many equilibria there are
# --------------------------------------------------------------------------------------------------


def toy(widths: str, rng: np.random.Generator, reach: float = 3.0) -> tuple:
    """A random network, a random input, and its output pinned to a label at most `reach` away from
    what the network says: sheaf, x (1, 2), pin.
    """
    network = Network.he([int(n) for n in widths.split("x")], rng)
    sheaf, x = NeuralSheaf(network), rng.standard_normal((1, 2))
    label = network(x) + rng.uniform(-reach, reach)
    return sheaf, x, hard(network.output_name, label)


def against_the_list(networks: int, rng: np.random.Generator, reach: float = 3.0) -> dict[str, int]:
    """Newton on random networks [2,6,1], from the forward pass and from a random start each: how
    many runs do not converge, and how many end in none of the minima that enumeration lists.
    """
    outcome = {"not-converged": 0, "not-in-the-list": 0}
    for _ in range(networks):
        sheaf, x, pin = toy("2x6x1", rng, reach)
        minima = enumerate_equilibria(sheaf, x, pins=pin).minima
        for start in (None, 2 * rng.standard_normal((1, sheaf.N))):
            answer = equilibrium(sheaf, x, pins=pin, start=start)
            nearest = abs(minima - answer.cochain).max(axis=1).min()
            outcome["not-converged"] += int(not answer.converged.all())
            outcome["not-in-the-list"] += int(nearest > 1e-9)
    return outcome


def enumerated(
    widths: Sequence[str], networks: int, rng: np.random.Generator, reach: float = 3.0
) -> dict[str, list[Equilibria]]:
    """Every stationary point of `networks` random networks of each widths: widths -> lists."""
    found = {}
    for name in widths:
        problems = [toy(name, rng, reach) for _ in range(networks)]
        found[name] = [enumerate_equilibria(sheaf, x, pins=pin) for sheaf, x, pin in problems]
    return found


# the flow
# --------------------------------------------------------------------------------------------------


def path(run: tasks.HeatRun, stepper: str, dt: float, until: float) -> np.ndarray:
    """The states of a recorded run by steps of the heat flow from time 0 to `until`: (T, N)."""
    states = heat(*run, dt=dt, stepper=stepper)
    return np.array([state.cochain[0] for state, _ in zip(states, range(round(until / dt) + 1))])


def sign_changes(run: tasks.HeatRun, stepper: str, dt: float, until: float = 100.0) -> int:
    """How often a neuron changes its sign from one step of a recorded run to the next, up to the
    time `until`.
    """
    steps = round(until / dt)
    # a tolerance that is never met: the run takes all its steps
    found = relax(*run, dt=dt, stepper=stepper, max_steps=steps, every=steps, tol=1e-300)
    history: Any = found.history
    return len(history.switches)


def state_changes(flow: ExactFlow, until: float = 100.0) -> int:
    """How many sign changes a flow makes up to the time `until`, z = 0 counting as positive, as it
    does in a step: a slide that is entered from below and left to above is one.
    """
    signs = np.array([piece.side | piece.slide for piece in flow.pieces if piece.time <= until])
    return int((signs[1:] != signs[:-1]).sum())


def leave_a_basin(samples: int, seed: int, tries: int = 5) -> tuple[int, int]:
    """Follow the exact flow from starts inside the basins of the ladder's equilibria, close to
    their rims: how many end elsewhere, and how many were followed.
    """
    rng, elsewhere, followed = np.random.default_rng(seed), 0, 0
    for widths, size_seed in SIZES.items():
        sheaf, x, pin, start, pinned = problem(widths, size_seed, samples=samples)
        answer = equilibrium(sheaf, x, pins=pin, start=start)
        basin = answer.certificate.basin()
        for _ in range(tries):
            away = rng.standard_normal(start.shape) * ~pinned.clamped
            length = np.ones((len(x), 1))
            for _ in range(60):
                inside = basin.holds(answer.cochain + length * away)[:, None]
                length = np.where(inside, length, 0.7 * length)
            begin = answer.cochain + length * away
            for i in np.flatnonzero(basin.holds(begin)):
                label = hard(sheaf.network.output_name, pinned.value[[i]])
                end = exact_flow(sheaf, x[[i]], begin[[i]], pins=label).limit
                elsewhere += int(abs(end - answer.cochain[i]).max() > 1e-7)
                followed += 1
    return elsewhere, followed


@dataclass(frozen=True, repr=False)
class Agreement:
    """Who ends where the exact flow ends, start -> network -> a number each: the events of the
    exact flow, the share of its ends that are proven, the shares of the samples in which Newton and
    minimising movements end there too, and the passes of the latter.
    """

    events: dict[str, dict[str, float]]
    proven: dict[str, dict[str, float]]
    newton: dict[str, dict[str, float]]
    movements: dict[str, dict[str, float]]
    passes: dict[str, dict[str, float]]

    def __repr__(self):
        columns = ["events", "end proven", "Newton", "minimising movements", "their passes"]
        rows = {}
        for start, sizes in self.events.items():
            for size, events in sizes.items():
                shares = [part[start][size] for part in (self.proven, self.newton, self.movements)]
                rows[f"{size}, {start} start"] = [
                    f"{events:.1f}",
                    *(f"{100 * share:.1f} %" for share in shares),
                    spaced(self.passes[start][size]),
                ]
        return table("who ends where the flow ends", columns, rows)


def agreement(samples: int) -> Agreement:
    """Compare the ends of Newton and of minimising movements with the exact flow's, from the
    recorded random stalks and from the forward pass.
    """
    found = Agreement({}, {}, {}, {}, {})
    for start in ("random", "forward"):
        exact = over_sizes(exact_limits, samples=samples, start=start)
        moved = over_sizes(movements, samples=samples, start=start)
        direct = over_sizes(climb, samples=samples, start=start, method="newton")
        found.events[start] = {size: float(f.events.mean()) for size, f in exact.items()}
        found.proven[start] = {size: float(f.settled.mean()) for size, f in exact.items()}
        found.passes[start] = {size: float(m.passes.mean()) for size, m in moved.items()}
        found.newton[start] = {size: alike(direct[size].end, f.end) for size, f in exact.items()}
        found.movements[start] = {size: alike(moved[size].end, f.end) for size, f in exact.items()}
    return found


def alike(end: np.ndarray, other: np.ndarray) -> float:
    """In what share of the samples two ends (B, N) are the same point."""
    return float((abs(end - other).max(axis=1) < 1e-6).mean())


# tables
# --------------------------------------------------------------------------------------------------


def spaced(number: float) -> str:
    """A count with its thousands apart.

    >>> spaced(130037.1)
    '130 037'
    """
    return f"{number:,.0f}".replace(",", " ")


def table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Texts in rows and columns, the numbers below each other.

    >>> print(table("passes", ["small", "large"], {"Newton": ["17", "244"]}))
    passes  small  large
    Newton     17    244
    """
    lines = {title: columns, **rows}
    first = max(map(len, lines))
    widths = [max(map(len, column)) for column in zip(*lines.values())]
    return "\n".join(
        "  ".join([name.ljust(first), *(c.rjust(n) for c, n in zip(cells, widths))]).rstrip()
        for name, cells in lines.items()
    )
