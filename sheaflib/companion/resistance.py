"""Effective resistance against whoever knows no circuit: dense least squares, dense spectra, lists
of paths, derivatives by complex steps (notebook 10, derived).
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import scipy as sp

from sheaflib.companion import experiments
from sheaflib.companion.random_networks import random_network, random_patterns, random_widths
from sheaflib.companion.sweep import sweep
from sheaflib.equilibria.newton import Equilibrium
from sheaflib.linear import spectrum
from sheaflib.linear.fixed_pattern import Frozen
from sheaflib.linear.harmonic import harmonic_extension
from sheaflib.linear.resistance import Resistance, effective_resistance
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import Network
from sheaflib.networks.operations import Operation, Stack
from sheaflib.networks.selection import ReLU
from sheaflib.sheaves import discord
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard, soft
from sheaflib.training.joint import weight_gradient

METHODS = ("sheaf", "gd")
GOLDEN = (3 + np.array([-1, 1]) * np.sqrt(5)) / 2  # eigenvalues of an active unit on its own
APART = 1e-6  # λ₁ and λ₂ that are nearer than that count as one


class Forward(NamedTuple):
    """A network's sheaf with the forward pass of some inputs (B, N), and its pattern (B, M)."""

    sheaf: NeuralSheaf
    cochain: np.ndarray
    pattern: np.ndarray

    @property
    def resistance(self) -> Resistance:
        """The effective resistance of the output at this pattern."""
        return effective_resistance(self.sheaf, self.pattern)


def forward(network: Network, x: np.ndarray) -> Forward:
    """The forward pass of inputs x (B, n_0)."""
    sheaf = NeuralSheaf(network)
    w = sheaf.forward(x)
    return Forward(sheaf, w, sheaf.pattern(w, x))


def paraboloid_runs(steps: int, weights_seed: int = 0) -> dict[str, list]:
    """The paper's runs of [2,30,1] from its recorded stalks of seed 42: method -> snapshots at the
    start, after 1000 and after every 5000 steps.
    """
    moments = [0, 1000, *range(5000, steps + 1, 5000)]
    case = {"task": "paraboloid", "widths": "2x30x1", "seed": weights_seed, "stalk_seed": 42}
    return {
        method: sweep(
            experiments.snapshots, [case | {"at": moments, "method": method}], label=method
        )[0]
        for method in METHODS
    }


# the circuit and the law
# --------------------------------------------------------------------------------------------------


class Circuit(NamedTuple):
    """A chain as resistors in series: the resistance of every edge, the label's own among them, and
    potentials from the input on, by the law and solved: with the output pinned, and with the label
    behind an edge of weight 1.
    """

    resistances: dict[str, float]
    predicted: dict[str, np.ndarray]
    solved: dict[str, list]

    @property
    def gap(self) -> float:
        """The largest difference between a predicted and a solved potential."""
        return max(abs(np.array(self.predicted[k]) - self.solved[k]).max() for k in self.solved)


def circuit(network: Network, x: np.ndarray, y: np.ndarray) -> Circuit:
    """The circuit of one sample x (1, 2), y (1, 1) through a network with one hidden layer."""
    sheaf, w, s = forward(network, x)
    rho = effective_resistance(sheaf, s)
    parts = {edge: float(value[0, 0, 0]) for edge, value in rho.edges.items()} | {"output": 1.0}
    ends, error = np.cumsum([0, *parts.values()]), float(y[0, 0] - w[0, -1])
    predicted = {
        "output pinned": w[0, -1] + error / ends[-2] * ends[:-1],
        "label behind a unit edge": w[0, -1] + error / ends[-1] * ends,
    }

    def potentials(pin) -> list:
        """What the forward pass would give if it went on from each stalk of the equilibrium."""
        settled = harmonic_extension(sheaf, x, pins=pin, pattern=s).cochain
        z1, a1, z2 = sheaf.layout.split(settled).values()
        last = network.nodes[2].operation
        return [w[0, -1], last.value(s * z1)[0, 0], last.value(a1)[0, 0], z2[0, 0]]

    solved = [potentials(hard("z2", y)), [*potentials(soft("z2", y, 1.0)), y[0, 0]]]
    return Circuit(parts, predicted, dict(zip(predicted, solved)))


def examples(count: int, rng: np.random.Generator) -> list[tuple[NeuralSheaf, np.ndarray]]:
    """Random networks with a random pattern each: chains and networks with merges in turn, half of
    them with one output, two thirds with random edge weights.
    """
    drawn = []
    for i in range(count):
        widths = random_widths(rng, max_width=12, max_depth=8)
        widths[-1] = 1 if i % 2 else widths[-1]
        network = random_network(rng, widths, merge_rate=0.6 * (i // 2 % 2))
        weights = {e.name: float(np.exp(rng.uniform(-2, 2))) for e in NeuralSheaf(network).edges}
        sheaf = NeuralSheaf(network, weights if i % 3 else 1.0)
        drawn.append((sheaf, random_patterns(rng, 1, sheaf.M)))
    return drawn


def against_dense(drawn: Sequence, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Twice the energy at equilibrium for a random error of each example, by the law and by dense
    least squares: (2, count) each, the output pinned and behind an edge of weight 1.
    """
    law: list[list] = [[], []]
    dense: list[list] = [[], []]
    for sheaf, pattern in drawn:
        rho = effective_resistance(sheaf, pattern).total[0]
        e = rng.standard_normal(len(rho))
        for case, total in enumerate((rho, np.eye(len(rho)) + rho)):
            law[case].append(e @ np.linalg.solve(total, e))
            dense[case].append(least_discord(sheaf, pattern, e, pinned=case == 0))
    return np.array(law), np.array(dense)


def least_discord(sheaf: NeuralSheaf, pattern: np.ndarray, e: np.ndarray, pinned: bool) -> float:
    """The smallest weighted discord over all cochains whose output is moved by e, or pulled by an
    edge of weight 1.
    """
    root = np.sqrt(sheaf.row_weights)[:, None] * sheaf.coboundary(pattern).toarray()
    A, b = np.vstack([root, np.eye(sheaf.N)[-len(e) :]]), np.concatenate([np.zeros(sheaf.N), e])
    if pinned:
        A, b = root[:, : -len(e)], -root[:, -len(e) :] @ e
    return float(((A @ np.linalg.lstsq(A, b)[0] - b) ** 2).sum())


def off_ratios(count: int, rng: np.random.Generator) -> float:
    """How far the discords of random networks with one hidden layer are from 1 : ‖W²‖² : ‖W²R‖²,
    the largest relative difference over 20 samples each, their outputs pinned to random labels.
    """
    worst = 0.0
    for _ in range(count):
        network = random_network(rng, [2, int(rng.integers(2, 40)), 1])
        inputs, labels = rng.standard_normal((20, 2)), 3 * rng.standard_normal((20, 1))
        sheaf, _, s = forward(network, inputs)
        settled = harmonic_extension(sheaf, inputs, pins=hard("z2", labels), pattern=s).cochain
        found = discord.per_edge(sheaf, settled, inputs, s)
        squares = network.nodes[2].operation.weight[0] ** 2
        for edge, ratio in (("activation_1", squares.sum()), ("affine_1", s @ squares)):
            off = abs(found[edge] - ratio * found["affine_2"]) / np.maximum(found[edge], 1e-300)
            worst = max(worst, off.max())
    return float(worst)


def statistics(table: dict[str, np.ndarray]) -> dict:
    """Mean and standard deviation (ddof 1) of each edge's discords, and the total of the means."""
    found = {edge: [float(d.mean()), float(d.std(ddof=1))] for edge, d in table.items()}
    return found | {"total": sum(mean for mean, _ in found.values())}


def off_statistics(predicted: dict, solved: dict) -> float:
    """The largest relative difference of a mean or standard deviation, over methods and edges."""
    off = []
    for method in predicted:
        law, found = statistics(predicted[method]), statistics(solved[method])
        for edge in predicted[method]:
            off += [abs(one / other - 1) for one, other in zip(law[edge], found[edge])]
    return float(max(off))


def changed_state(found: Equilibrium, pattern: np.ndarray) -> np.ndarray:
    """In which samples (B,) a unit of the first layer is in another state than in `pattern`, or
    rests at its kink.
    """
    return ((found.own_pattern != pattern) | (found["z1"] == 0)).any(axis=1)


# the spectrum
# --------------------------------------------------------------------------------------------------


class Bounds(NamedTuple):
    """Of networks or samples with one output: the energy of the bottom eigenvector on the output,
    and the two bounds between which it must lie; λ₁/λ₂.
    """

    lower: np.ndarray
    energy: np.ndarray
    upper: np.ndarray
    ratio: np.ndarray


def bottom(sheaf: NeuralSheaf, pattern: np.ndarray) -> tuple[np.ndarray, Bounds]:
    """λ₁ of every pattern (B, M) and the bounds, eigenvectors from dense Laplacians."""
    values, vectors = np.linalg.eigh(Frozen(sheaf, pattern).matrix())
    low, second = values.T[:2]
    rho = effective_resistance(sheaf, pattern).norm
    apart = 1 - low / second  # 0 when λ₁ is double: then there is no lower bound
    none = np.zeros_like(low)
    lower = np.divide(low * rho - low / second, apart, out=none, where=apart > APART).clip(0)
    return low, Bounds(lower, vectors[:, -1, 0] ** 2, low * rho, low / second)


def bounds(drawn: Sequence) -> tuple[dict[str, int], Bounds]:
    """How often the examples violate λ₁ ≤ 1/λ_max(ρ) and, those with one output, the two bounds;
    and these bounds, by rising upper one.
    """
    violations, rows = {"gap": 0, "lower": 0, "upper": 0}, []
    for sheaf, pattern in drawn:
        low, found = bottom(sheaf, pattern)
        norm = effective_resistance(sheaf, pattern).norm
        violations["gap"] += int((low * norm > 1 + 1e-10).sum())
        if sheaf.network.n_out == 1:
            violations["lower"] += int((found.lower > found.energy + 1e-10).sum())
            violations["upper"] += int((found.energy > found.upper + 1e-10).sum())
            rows.append([values[0] for values in found])
    rows = sorted(rows, key=lambda row: row[2])
    return violations, Bounds(*np.array(rows).T)


def bottom_along(run: Sequence, x: np.ndarray) -> Bounds:
    """The medians over inputs x of bounds and energy at every snapshot of a run: (R,) each."""
    rows = []
    for snap in run:
        sheaf, _, s = forward(snap.network, x)
        rows.append([np.median(values) for values in bottom(sheaf, s)[1]])
    return Bounds(*np.array(rows).T)


def reduced(p, q) -> np.ndarray:
    """The 4 × 4 matrices of p and q, whose eigenvalues those of one hidden layer are, but for
    (3 ± √5)/2 and 1: (…) -> (…, 4, 4).
    """
    p, q = np.asarray(p, float), np.asarray(q, float)
    c, o, i = np.sqrt(p * q), np.zeros_like(p), np.ones_like(p)
    rows = [
        [2 * i, -i, o, o],
        [-i, 1 + p, c, -np.sqrt(p)],
        [o, c, 1 + q, -np.sqrt(q)],
        [o, -np.sqrt(p), -np.sqrt(q), i],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def p_q(network: Network, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """‖W²R‖² and ‖W²(I−R)‖² of every input x, one hidden layer: (B,) each."""
    s = forward(network, x).pattern
    squares = network.nodes[2].operation.weight[0] ** 2
    return s @ squares, ~s @ squares


def off_exact_spectra(networks: Sequence[Network], x: np.ndarray) -> float:
    """How far the dense spectra of networks with one hidden layer are from the 4 × 4 matrix with
    (3 ± √5)/2 and 1, over λ_max: the largest over all inputs x.
    """
    worst = 0.0
    for network in networks:
        sheaf, _, s = forward(network, x)
        whole = np.linalg.eigvalsh(Frozen(sheaf, s).matrix())
        fours = np.linalg.eigvalsh(reduced(*p_q(network, x)))
        for found, four, active in zip(whole, fours, s.sum(axis=1)):
            rest = np.ones(2 * (s.shape[1] - active) - 1)
            law = np.sort(np.concatenate([four, np.repeat(GOLDEN, active - 1), rest]))
            worst = max(worst, abs(found - law).max() / found[-1])
    return float(worst)


class Spectra(NamedTuple):
    """λ₁ and λ_max along runs: steps (R,), and for each method (R, 2) by mean p and q of a batch,
    and medians over some inputs.
    """

    step: list[int]
    predicted: dict[str, np.ndarray]
    found: dict[str, np.ndarray]

    def off_gap(self, recorded: dict[int, float]) -> float:
        """The largest relative difference of λ₁ from step 20 000 on, from our medians and, for the
        sheaf, from digits recorded at some steps.
        """
        late = np.array(self.step) >= min(20_000, self.step[-1])
        ratios = [self.predicted[m][late, 0] / self.found[m][late, 0] for m in self.found]
        known = {step: value for step, value in recorded.items() if step in self.step}
        for step, value in known.items():
            ratios.append(self.predicted["sheaf"][[self.step.index(step)], 0] / value)
        return float(abs(np.concatenate(ratios) - 1).max())

    @property
    def off_top(self) -> float:
        """The largest relative difference of λ_max at any step."""
        off = [self.predicted[m][:, 1] / self.found[m][:, 1] - 1 for m in self.found]
        return float(abs(np.concatenate(off)).max())


def spectra_along(runs: dict[str, list], x: np.ndarray, samples: int = 50) -> Spectra:
    """Both ends of the spectrum along runs: from the mean p and q over inputs x, and medians over
    the first samples of them.
    """
    predicted, found = {}, {}
    for method, run in runs.items():
        mean = np.array([np.mean(p_q(snap.network, x), axis=1) for snap in run])
        predicted[method] = np.linalg.eigvalsh(reduced(*mean.T))[:, [0, -1]]
        ends = []
        for snap in run:
            sheaf, _, s = forward(snap.network, x[:samples])
            sides = spectrum.extremes(sheaf, s)
            ends.append([np.median(sides.smallest), np.median(sides.largest)])
        found[method] = np.array(ends)
    return Spectra([snap.step for snap in runs["sheaf"]], predicted, found)


# networks with skip connections
# --------------------------------------------------------------------------------------------------


def residual_network(width: int, blocks: int, rng: np.random.Generator) -> Network:
    """A ReLU layer of two inputs, blocks s -> ReLU(Ws + b) + s, and one output; He weights. The
    sums are affine maps [I I], which learn with the rest.
    """

    def he(n: int, m: int) -> Affine:
        return Affine(rng.standard_normal((n, m)) * np.sqrt(2 / m))

    nodes: list[tuple] = [("z1", he(width, 2)), ("a1", ReLU(width))]
    read, total = "a1", Affine(sp.sparse.hstack([sp.sparse.eye_array(width)] * 2).tocsr())
    for k in range(2, blocks + 2):
        nodes += [(f"z{k}", he(width, width), (read,)), (f"a{k}", ReLU(width))]
        nodes += [(f"p{k}", Stack(width, width), (f"a{k}", read)), (f"s{k}", total)]
        read = f"s{k}"
    return Network(2, nodes + [(f"z{blocks + 2}", he(1, width), (read,))])


def paths(network: Network, name: str) -> list[list[tuple]]:
    """Every way from a vertex to the output: lists of (node that reads, place among its inputs)."""
    if name == network.output_name:
        return [[]]
    readers = [
        (node, i) for node in network.nodes for i, read in enumerate(node.inputs) if read == name
    ]
    return [[step, *rest] for step in readers for rest in paths(network, step[0].name)]


def by_path(network: Network, patterns: np.ndarray) -> np.ndarray:
    """ρ of one output path by path: at every vertex the sum over all its ways to the output of the
    products of dense maps along them, squared, and all of that summed: (B, M) -> (B,).
    """
    sheaf = NeuralSheaf(network)
    width = {node.name: node.operation.n_out for node in network.nodes}
    ways = {name: paths(network, name) for name in width}

    def jacobian(path: list[tuple], s: np.ndarray) -> np.ndarray:
        J = np.eye(1)
        for node, place in reversed(path):
            cuts = np.cumsum([width[name] for name in node.inputs])[:-1]
            F = dense_map(sheaf, node.name, node.operation, s)
            J = J @ np.split(F, cuts, axis=1)[place]
        return J

    def squares(name: str, s: np.ndarray) -> float:
        whole = np.zeros((1, width[name]))
        for path in ways[name]:
            whole = whole + jacobian(path, s)
        return float((whole**2).sum())

    return np.array([sum(squares(name, s) for name in width) for s in patterns])


def dense_map(sheaf: NeuralSheaf, name: str, operation: Operation, s: np.ndarray) -> np.ndarray:
    """The linear map of one node at a pattern s (M,): (n_out, n_in)."""
    eye = np.eye(operation.n_in)
    if isinstance(operation, ReLU):
        return eye * s[sheaf.pattern_layout[name]]
    return operation.linear(eye, s).T


# what the weights feel
# --------------------------------------------------------------------------------------------------


def dense_maps(network: Network) -> dict[str, tuple]:
    """W (dense, complex), b (complex), and where W has entries, of every affine node."""
    maps = {}
    for node in network.nodes:
        if isinstance(node.operation, Affine):
            rows, columns, entries = node.operation.triplets()
            W = np.zeros((node.operation.n_out, node.operation.n_in), complex)
            W[rows, columns] = entries
            maps[node.name] = W, node.operation.bias.astype(complex), (rows, columns)
    return maps


def law_energy(sheaf: NeuralSheaf, maps: dict, one: np.ndarray, s: np.ndarray, label: np.ndarray):
    """½ eᵀ(I+ρ)⁻¹e of one sample for complex weights: a masked forward pass, and Jacobians
    backwards.
    """
    values, F, last = {"x": one}, {}, sheaf.network.output_name
    for node in sheaf.network.nodes:
        affine = node.name in maps
        F[node.name] = (
            maps[node.name][0] if affine else dense_map(sheaf, node.name, node.operation, s)
        )
        read = np.concatenate([values[name] for name in node.inputs])
        values[node.name] = F[node.name] @ read + (maps[node.name][1] if affine else 0)
    jacobians, rho = {last: np.eye(len(label))}, np.zeros((len(label), len(label)))
    for node in reversed(sheaf.network.nodes):
        rho = rho + jacobians[node.name] @ jacobians[node.name].T
        back, start = jacobians[node.name] @ F[node.name], 0
        for name in node.inputs:
            stop = start + len(values[name])
            jacobians[name] = jacobians.get(name, 0) + back[:, start:stop]
            start = stop
    e = label - values[last]
    return 0.5 * e @ np.linalg.solve(np.eye(len(e)) + rho, e)


def off_force(network: Network, x: np.ndarray, y: np.ndarray) -> float:
    """The largest difference between the force on a weight at equilibrium and the derivative of
    ½ Σ eᵀ(I+ρ)⁻¹e by a complex step of 1e-30, over the largest force.
    """
    sheaf, _, s = forward(network, x)
    maps = dense_maps(network)
    pin = soft(network.output_name, y, 1.0)
    settled = harmonic_extension(sheaf, x, pins=pin, pattern=s).cochain
    forces = weight_gradient(sheaf, x, settled)
    pairs = []
    for name, force in forces.items():
        W, b, places = maps[name]
        dW, db = (np.asarray(d.toarray() if hasattr(d, "toarray") else d) for d in force.values())
        entries = [(W, dW, place) for place in zip(*places)]
        entries += [(b, db, (i,)) for i in range(len(b))]
        for array, given, place in entries:
            array[place] += 1e-30j
            energies = [law_energy(sheaf, maps, *row).imag for row in zip(x, s, y)]
            array[place] = array[place].real
            pairs.append((given[place], sum(energies) / 1e-30))
    given, expected = np.array(pairs).T
    return float(abs(given - expected).max() / abs(given).max())
