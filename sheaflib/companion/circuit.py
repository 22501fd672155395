"""What notebook 11 checks of training's equilibrium as an electrical circuit: its currents against
dense least squares, its limit, what is local about it, and how its stalks are found locally.
"""

from __future__ import annotations

from itertools import islice
from typing import Iterator, NamedTuple, Sequence

import numpy as np

from sheaflib.circuits import relaxation
from sheaflib.circuits.currents import Currents, currents, edge_update
from sheaflib.circuits.messages import exact_after, messages, vector_messages
from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.companion import race, tasks
from sheaflib.companion.competition import KAPPAS, Competition
from sheaflib.companion.ladder import table
from sheaflib.companion.random_networks import random_network, random_widths
from sheaflib.equilibria.newton import equilibrium
from sheaflib.linear.harmonic import backpropagate
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard, soft
from sheaflib.training.objective import error

CROSSING_ROWS = ("paraboloid-1h", "paraboloid-2h", "circular-2h", "blobs-2h", "digits")
DEPTHS = (1, 2, 8, 32)
CHAINS = (("identity", 2), ("sigmoid", 1), ("softmax", 4))  # outputs and how many


def flat(parts: dict) -> np.ndarray:
    """The parts of a gradient, node by node and parameter by parameter, as one vector."""
    return np.concatenate([part.ravel() for own in parts.values() for part in own.values()])


# currents against a solve in which no backpropagation is written down
# --------------------------------------------------------------------------------------------------


def relaxed_by_least_squares(sheaf: NeuralSheaf, x, y, pattern) -> np.ndarray:
    """The stalks at rest of one sample (1, N) at a pattern (M,), all at once, by dense least
    squares: rows of √w (δω − c), and one for the label's edge, of weight 1.
    """
    root, n_out = np.sqrt(sheaf.row_weights), sheaf.network.n_out
    A = np.vstack([root[:, None] * sheaf.coboundary(pattern).toarray(), np.eye(sheaf.N)[-n_out:]])
    b = np.concatenate([-root * sheaf.discrepancy(np.zeros((1, sheaf.N)), x, pattern)[0], y[0]])
    return np.linalg.lstsq(A, b)[0][None]


def identity(networks: int, rng: np.random.Generator) -> float:
    """The largest relative difference of G_eᵀ(I + ρ)⁻¹(y − ŷ) from the weighted residuals of a
    least-squares solve, over random networks with random edge weights, every second with merges.
    """
    worst = 0.0
    for i in range(networks):
        network = random_network(
            rng, random_widths(rng, max_width=8, max_depth=5), merge_rate=0.6 * (i % 2)
        )
        weights = {e.name: float(np.exp(rng.uniform(-2, 2))) for e in NeuralSheaf(network).edges}
        sheaf = NeuralSheaf(network, weights)
        x, y = rng.standard_normal((1, network.n_in)), rng.standard_normal((1, network.n_out))
        pattern = sheaf.forward_pattern(x)
        rho = currents(sheaf, x, y).resistance
        pull = np.linalg.solve(np.eye(network.n_out) + rho.total[0], (y - network(x))[0])
        at_rest = relaxed_by_least_squares(sheaf, x, y, pattern[0])
        residuals = sheaf.row_weights * sheaf.discrepancy(at_rest, x, pattern)[0]
        worst = max(worst, abs(residuals - rho.G[0].T @ pull).max() / abs(residuals).max())
    return worst


# the frozen pattern
# --------------------------------------------------------------------------------------------------


class Crossings(NamedTuple):
    """Before and after training, row -> number: the share of samples in which the label moves a
    unit from its side of the kink, and how far off the force of the frozen pattern is, relatively.
    """

    first: dict[str, tuple[float, float]]
    last: dict[str, tuple[float, float]]

    def shares(self) -> dict[str, float]:
        """The shares of samples, as the ledger keeps them."""
        found: dict[str, float] = {}
        for row in self.first:
            found |= {f"{row}-first": self.first[row][0], f"{row}-last": self.last[row][0]}
        return found

    def __repr__(self):
        columns = ["samples that change, at first", "after training"]
        columns += ["force off, at first", "after training"]
        rows = {
            row: [f"{100 * part[row][i]:.{1 - i}f} %" for i in (0, 1) for part in self]
            for row in self.first
        }
        return table("by the frozen pattern", columns, rows)


def crossings(found: Competition, samples: int = 300) -> Crossings:
    """Train by currents at the untuned learning rate; see at both ends which samples cross."""
    first, last = {}, {}
    for row in CROSSING_ROWS:
        given, base = race.data(row, 0), found.finals[row, "= backprop"]
        x, y, n = given.X_train[:samples], given.Y_train[:samples], base["updates"]
        engine = MiniBatches(race.start(row, 0), given.X_train, given.Y_train, rule="circuit")
        first[row] = crossing(engine.network, x, y)
        for _ in race.along(engine, 0, (n,), base["lr"], n, 32):
            last[row] = crossing(engine.network, x, y)
    return Crossings(first, last)


def crossing(network: Network, x, y) -> tuple[float, float]:
    """The share of samples that change their pattern, and the relative error of the frozen one's
    force."""
    true, changed = settled_force(network, x, y)
    frozen = flat(currents(NeuralSheaf(network), x, y).gradient(1.0))
    return float(changed.mean()), float(np.linalg.norm(true - frozen) / np.linalg.norm(true))


def settled_force(network: Network, x, y) -> tuple[np.ndarray, np.ndarray]:
    """The force at the true equilibrium, flat, and which samples have a unit that is not on its
    forward side there: beyond the kink, or on it.
    """
    sheaf, last = NeuralSheaf(network), network.output_name
    pin = soft(last, y, 1.0) if network.output.is_identity else hard("a_out", y)
    found = equilibrium(sheaf, x, pins=pin)
    assert found.converged.all()
    relaxed = found.cochain[:, : sheaf.N]
    parts = {
        node.name: edge_update(sheaf, node.name, x, relaxed, relaxed)
        for node in network.affine_nodes
    }
    z = np.hstack([relaxed[:, sheaf.layout[node.name]] for node in network.nodes[:-1:2]])
    moved = (sheaf.pattern(relaxed, x) != sheaf.forward_pattern(x)) | (z == 0)
    return flat(parts), moved.any(axis=1)


# backpropagation as the limit of stiff edges
# --------------------------------------------------------------------------------------------------


class Limit(NamedTuple):
    """The relative distance of one update from backpropagation's, rule -> for every weight of all
    edges but the label's.
    """

    weights: list[float]
    distance: dict[str, list[float]]

    def slopes(self) -> dict[str, float]:
        """The slope of the distance against the weight, both as logarithms, at the last two."""
        run = np.log(self.weights[-1] / self.weights[-2])
        return {name: float(np.log(v[-1] / v[-2]) / run) for name, v in self.distance.items()}


def short_circuit(weights: Sequence[float] = (1.0, 3.0, 10.0, 100.0, 1e3, 1e4)) -> Limit:
    """One update of a fresh network on the first 32 samples of saddle, by every rule."""
    network, data = race.start("saddle-2h", 0), tasks.task("saddle")
    x, y = data.X_train[:32], data.Y_train[:32]
    exact = flat(backpropagate(NeuralSheaf(network), x, error(network.output, network(x), y)))
    inner = [edge.name for edge in NeuralSheaf(network).edges if edge.name != "output"]
    solved = [currents(NeuralSheaf(network, dict.fromkeys(inner, w)), x, y) for w in weights]

    def distance(one: Currents, kappa: float) -> float:
        return float(np.linalg.norm(flat(one.gradient(kappa)) - exact) / np.linalg.norm(exact))

    return Limit(list(weights), {n: [distance(c, k) for c in solved] for n, k in KAPPAS.items()})


# locality
# --------------------------------------------------------------------------------------------------


def poisoned(rng: np.random.Generator) -> float:
    """How far an affine edge's update moves, at most, when every stalk but its own two is NaN."""
    worst = 0.0
    for output, n_out in CHAINS:
        network = Network.he([3, 9, 7, n_out], rng, output)
        sheaf = NeuralSheaf(network, {"affine_2": 2.0, "activation_1": 0.5})
        x, y = rng.standard_normal((20, 3)), np.eye(n_out)[rng.integers(0, n_out, 20)]
        solved = currents(sheaf, x, y)
        for kappa in (-1.0, 0.0, 1.0):
            for name, exact in solved.gradient(kappa).items():
                forward, relaxed = only(solved, name)
                own = edge_update(sheaf, name, x, forward, relaxed, kappa)
                worst = max(worst, *(abs(own[part] - exact[part]).max() for part in exact))
    return worst


def only(solved: Currents, name: str) -> Iterator[np.ndarray]:
    """The forward and the relaxed stalks, NaN but for the two ends of an affine edge."""
    node = next(node for node in solved.sheaf.network.affine_nodes if node.name == name)
    for cochain in (solved.forward, solved.relaxed):
        left = np.full_like(cochain, np.nan)
        for stalk in {name, *node.inputs} - {"x"}:
            here = solved.sheaf.layout[stalk]
            left[:, here] = cochain[:, here]
        yield left


class Sweeps(NamedTuple):
    """What local schemes leave of the currents' error.

    remaining: hidden layers -> scheme -> (sweeps or rounds, relative errors). after: the same
    layers -> the least error that any scheme of sweeps leaves after twice as many of them. rounds:
    the same layers -> how many rounds each kind of message takes, and the largest error then. warm:
    start -> error after 0, 1, 2, … red–black sweeps.
    """

    remaining: dict[int, dict[str, tuple]]
    after: dict[int, float]
    rounds: dict[int, dict[str, tuple[int, float]]]
    warm: dict[str, list[float]]

    def messages_leave(self) -> float:
        """The largest error that messages leave when all have arrived."""
        return max(error for kinds in self.rounds.values() for _, error in kinds.values())

    def __repr__(self):
        columns = ["left by 2·depth sweeps", "rounds of messages", "of vector messages"]
        rows = {
            f"{depth}": [f"{left:.2f}", *(f"{last}" for last, _ in self.rounds[depth].values())]
            for depth, left in self.after.items()
        }
        return table("hidden layers", columns, rows)


def sweeps(seed: int, depths: Sequence[int] = DEPTHS, most: int = 128) -> Sweeps:
    """Relax the stalks of random networks, ten units a layer, by local schemes."""
    found = Sweeps({}, {}, {}, warm_starts())
    x, y = _sixty()
    for depth in depths:
        sheaf = NeuralSheaf(Network.he([2] + [10] * depth + [1], np.random.default_rng(seed)))
        exact = currents(sheaf, x, y)
        bounds = relaxation.jacobi_bounds(sheaf, exact.pattern)
        schemes = {
            "Gauss–Seidel, output to input": relaxation.gauss_seidel(sheaf, x, y),
            "red–black": relaxation.red_black(sheaf, x, y),
            "Chebyshev": relaxation.chebyshev(sheaf, x, y, *bounds),
        }
        errors = {name: left(states, exact, most) for name, states in schemes.items()}
        found.after[depth] = min(row[2 * depth] for row in errors.values())
        shown = spread(most)
        curves = {name: (shown, [row[s] for s in shown]) for name, row in errors.items()}
        found.rounds[depth] = {}
        for name, states, last in (
            ("messages", messages(sheaf, x, y), exact_after(sheaf)),
            ("vector messages", vector_messages(sheaf, x, y), exact_after(sheaf, vectors=True)),
        ):
            passed, shown = left(states, exact, last), spread(last, last - 1)
            curves[name] = (shown, [passed[r] for r in shown])
            found.rounds[depth][name] = (last, passed[-1])
        found.remaining[depth] = curves
    return found


def warm_starts() -> dict[str, list[float]]:
    """The errors of red–black sweeps on a network after one update of Adam's size, from its forward
    pass and from the stalks at rest before the update."""
    network, (x, y) = race.start("paraboloid-2h", 0), _sixty()
    settled = currents(NeuralSheaf(network), x, y)
    force = settled.gradient(0.0)
    moved = network.with_parameters(
        {
            name: {part: value - 0.02 * np.sign(force[name][part]) for part, value in own.items()}
            for name, own in network.parameters.items()
        }
    )
    exact = currents(NeuralSheaf(moved), x, y)
    starts = {"the forward pass": None, "the stalks of the update before": settled.relaxed}
    return {
        name: left(relaxation.red_black(NeuralSheaf(moved), x, y, start), exact, 64)
        for name, start in starts.items()
    }


def _sixty() -> tuple[np.ndarray, np.ndarray]:
    """Sixty samples of paraboloid."""
    data = tasks.task("paraboloid")
    return data.X_train[:60], data.Y_train[:60]


def left(states: Iterator[np.ndarray], exact: Currents, last: int) -> list[float]:
    """Relative errors of the edge currents, state by state, up to number `last`."""
    return [relaxation.relative_error(exact, w) for w in islice(states, last + 1)]


def spread(last: int, *kept: int) -> list[int]:
    """At most 25 numbers from 1 to `last`, evenly spread on a logarithmic axis, and those kept.

    >>> spread(4, 3)
    [1, 2, 3, 4]
    """
    return sorted({*np.geomspace(1, last, 25).astype(int).tolist(), *kept, last})
