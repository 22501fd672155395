"""The oracles of notebook 10's figures: dense inverses and least squares, closed forms, recorded
digits, NumPy's steps.
"""

from itertools import islice

import numpy as np
import scipy.sparse as sparse
from figure_oracles import close, oracle
from oracles import constrained_minimum, dense_laplacian, dense_system, row_weights
from paraboloid_runs import TRAIN, run, stalks

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack, joint_flow
from sheaflib.companion.random_networks import random_network, random_patterns, random_widths
from sheaflib.companion.tasks import paper_network
from sheaflib.sheaves.pins import resolve
from sheaflib.training.joint import JointStepper

X, Y = TRAIN
TENTHS = range(0, 100_001, 10_000)
SPEEDS = ("as training has them", "settled in their own pattern", "settled in the forward pass's")


def networks(method, seed=0):
    """The networks of a paraboloid run from a seed every 10 000 steps, and its last stalks."""
    states = run("1H", {"gd": "gradient descent"}.get(method, method), seed)
    return [states[step][0] for step in TENTHS], states[TENTHS[-1]][1]


def forward_pattern(network, x):
    sheaf = NeuralSheaf(network)
    return sheaf.forward_pattern(x)


def one_layer(network, x):
    """p = ‖W²R‖² and q = ‖W²(I−R)‖² of every sample, by closed form, and the output."""
    first, second = network.nodes[0].operation, network.nodes[2].operation
    z = x @ first.weight.T + first.bias
    squares = second.weight[0] ** 2
    return (
        (z >= 0) @ squares,
        (z < 0) @ squares,
        np.maximum(z, 0) @ second.weight[0] + second.bias[0],
    )


def fourfold(p, q):
    """The eigenvalues of the Laplacian on the four vectors that W² spans, built as δᵀδ of a chain
    of four numbers.
    """
    delta = np.array([[1, 0, 0, 0], [-1, 1, 0, 0], [0, 0, 1, 0], [0, -np.sqrt(p), -np.sqrt(q), 1]])
    return np.linalg.eigvalsh(delta.T @ delta)


@oracle("10-circuit")
def _(n):
    network, x, y = paper_network("2x30x1", 0), X[0], Y[0, 0]
    (p,), (q,), (out,) = one_layer(network, X[:1])
    parts = {"affine_1": p, "activation_1": p + q, "affine_2": 1, "output": 1}
    assert set(n["resistances"]) == set(parts)
    close([n["resistances"][edge] for edge in parts], list(parts.values()))
    s = forward_pattern(network, X[:1])[0]
    delta, c = dense_system(network, s, x)
    W2, b2 = network.nodes[2].operation.weight[0], network.nodes[2].operation.bias[0]
    for name, pins in (
        ("output pinned", {"hard": [(60, y)]}),
        ("label behind a unit edge", {"soft": [(60, 1.0, y)]}),
    ):
        w = constrained_minimum(delta, c, np.ones(61), **pins)
        potential = [out, W2 @ (s * w[:30]) + b2, W2 @ w[30:60] + b2, w[60], y][
            : len(n["solved"][name])
        ]
        close(n["solved"][name], potential, rtol=1e-7)
        close(n["predicted"][name], potential, rtol=1e-7)


def draws(count, rng=None):
    """The notebook's random networks, drawn from seed 0, with a pattern each."""
    rng = np.random.default_rng(0) if rng is None else rng
    for i in range(count):
        widths = random_widths(rng, max_width=12, max_depth=8)
        widths[-1] = 1 if i % 2 else widths[-1]
        network = random_network(rng, widths, merge_rate=0.6 * (i // 2 % 2))
        weights = {e.name: float(np.exp(rng.uniform(-2, 2))) for e in NeuralSheaf(network).edges}
        sheaf = NeuralSheaf(network, weights if i % 3 else 1.0)
        yield sheaf, random_patterns(rng, 1, sheaf.M)[0]


@oracle("10-identity")
def _(n):
    bounds = []
    for sheaf, pattern in draws(200):
        if sheaf.network.n_out == 1:
            delta, _ = dense_system(sheaf.network, pattern, np.zeros(sheaf.network.n_in))
            values, vectors = np.linalg.eigh(dense_laplacian(sheaf, pattern))
            rho = (np.linalg.inv(delta)[-1] ** 2 / row_weights(sheaf)).sum()
            bounds.append((values[0] * rho, vectors[-1, 0] ** 2, values[0] / values[1]))
    upper, energy, ratio = np.array(sorted(bounds)).T
    close(n["upper"], upper, rtol=1e-6)
    apart, lower = ratio < 1 - 1e-6, np.array(n["lower"])
    close(np.array(n["energy"])[apart], energy[apart], rtol=1e-5, atol=1e-7)
    close(
        lower[apart],
        np.maximum(0, (upper - ratio) / (1 - np.where(apart, ratio, 0)))[apart],
        rtol=1e-4,
        atol=1e-7,
    )
    assert (lower <= np.array(n["energy"]) + 1e-9).all()
    assert (np.array(n["energy"]) <= upper + 1e-9).all()


@oracle("10-spectrum-along-training")
def _(n):
    places = [n["step"].index(step) for step in TENTHS]
    pick = {key: np.array(n[key])[places] for key in n if key != "step"}
    for method in ("sheaf", "gd"):
        for i, network in enumerate(networks(method)[0]):
            p, q, _ = one_layer(network, X)
            expected = fourfold(p.mean(), q.mean())[[0, -1]]
            close(
                [pick[f"{method}-{end}-predicted"][i] for end in ("low", "high")],
                expected,
                rtol=1e-6,
            )
            sheaf = NeuralSheaf(network)
            spectra = [
                np.linalg.eigvalsh(dense_laplacian(sheaf, s))
                for s in forward_pattern(network, X[:50])
            ]
            ends = np.array(spectra)[:, [0, -1]]
            close(
                [pick[f"{method}-{end}"][i] for end in ("low", "high")],
                np.median(ends, axis=0),
                rtol=1e-6,
            )
    # recorded
    close(
        pick["sheaf-low"][[0, 1, 2, 5, 10]],
        [0.1911, 0.0511, 0.0415, 0.0346, 0.0324],
        rtol=0,
        atol=5.1e-5,
    )
    close(
        pick["sheaf-high"][[0, 1, 2, 5, 10]],
        [3.58, 12.75, 15.64, 18.84, 20.47],
        rtol=0,
        atol=5.1e-3,
    )
    close(pick["gd-low"][[1, 10]], [0.0934, 0.0610], rtol=0, atol=5.1e-5)
    close(pick["gd-high"][[1, 10]], [7.80, 12.79], rtol=0, atol=5.1e-3)


@oracle("10-bottom-eigenvector")
def _(n):
    for network, step in zip(networks("sheaf")[0], TENTHS):
        sheaf, rows = NeuralSheaf(network), []
        for s in forward_pattern(network, X[:50]):
            L = dense_laplacian(sheaf, s)
            values, vectors = np.linalg.eigh(L)
            rho = np.linalg.inv(L)[-1, -1]
            ratio = values[0] / values[1]
            rows.append(
                [(values[0] * rho - ratio) / (1 - ratio), vectors[-1, 0] ** 2, values[0] * rho]
            )
        i = n["step"].index(step)
        close(
            [n[key][i] for key in ("lower", "energy", "upper")], np.median(rows, axis=0), rtol=1e-6
        )
    # recorded
    close(
        [n[key][0] for key in ("lower", "energy", "upper")], [0.31, 0.60, 0.66], rtol=0, atol=5.1e-3
    )
    close(
        [n[key][-1] for key in ("lower", "energy", "upper")],
        [0.931, 0.936, 0.937],
        rtol=0,
        atol=5.1e-4,
    )


# a residual network
# --------------------------------------------------------------------------------------------------


def total(width):
    """A sum of two parts as an affine map, which learns: [I I]."""
    return Affine(sparse.csr_array(np.hstack([np.eye(width)] * 2)))


def residual(width=10, blocks=2):
    """The notebook's residual network, drawn from seed 0."""
    rng, nodes, read = np.random.default_rng(0), [], "a1"
    W = [
        rng.standard_normal((n, m)) * np.sqrt(2 / m)
        for n, m in [(width, 2), *[(width, width)] * blocks, (1, width)]
    ]
    nodes = [("z1", Affine(W[0])), ("a1", ReLU(width))]
    for k in range(2, blocks + 2):
        nodes += [(f"z{k}", Affine(W[k - 1]), (read,)), (f"a{k}", ReLU(width))]
        nodes += [(f"p{k}", Stack(width, width), (f"a{k}", read)), (f"s{k}", total(width))]
        read = f"s{k}"
    return Network(2, [*nodes, (f"z{blocks + 2}", Affine(W[-1]), (read,))])


@oracle("10-residual")
def _(n):
    network = residual()
    sheaf, parts, rho = NeuralSheaf(network), [], []
    patterns = forward_pattern(network, X[:100])
    for s in patterns:
        squares = np.linalg.inv(dense_system(network, s, np.zeros(2))[0])[-1] ** 2
        parts.append([squares[edge.rows].sum() for edge in sheaf.edges])
        rho.append(squares.sum())
    assert set(n["edges"]) == {edge.name for edge in sheaf.edges}
    close([n["edges"][edge.name] for edge in sheaf.edges], np.mean(parts, axis=0))
    close(n["rho"], rho)
    close(n["by-path"], rho)
    squares = network.nodes[-1].operation.weight[0] ** 2
    close(n["chain"], 1 + squares.sum() + patterns[:, -10:] @ squares)


# what training does
# --------------------------------------------------------------------------------------------------


@oracle("10-currents")
def _(n):
    network, x, y = paper_network("2x6x4x1", 0), X[0], Y[0, 0]
    s = forward_pattern(network, X[:1])[0]
    delta, c = dense_system(network, s, x)
    G = np.linalg.inv(delta)[-1]  # rows: 6 of z1, 6 of a1, 4 of z2, 4 of a2, 1 of z3
    forward = np.linalg.solve(delta, c)
    settled = constrained_minimum(delta, c, np.ones(21), soft=[(20, 1.0, y)])
    current = G * (y - forward[-1]) / (1 + (G**2).sum())
    close(delta @ settled - c, current, rtol=1e-8)
    for name, rows, units in (
        ("a1", slice(6, 12), slice(0, 6)),
        ("a2", slice(16, 20), slice(6, 10)),
    ):
        close(n["current"][name], current[rows], rtol=1e-7)
        for kappa in (1, 0, -1):
            felt = forward[rows] + kappa * (settled[rows] - forward[rows])
            close(n["activity"][name][f"kappa {kappa}"], felt, rtol=1e-7)
        assert n["active"][name] == (s[units] == 1).tolist()
    assert set(n["current"]) == set(n["activity"]) == set(n["active"]) == {"a1", "a2"}
    # Ohm's law of the first layer: two resistors of 1 below an active unit, one below another
    moved = np.subtract(n["activity"]["a1"]["kappa 1"], n["activity"]["a1"]["kappa 0"])
    close(moved, np.array(n["current"]["a1"]) * (1 + s[:6]), rtol=1e-6)


class Dense:
    """A network over a batch by dense matrices: ρ, the loss's gradient, and the force of stalks,
    all weights in one vector.
    """

    def __init__(self, network, x, y):
        self.network, self.x, self.y = network, x, y
        ends = np.cumsum([node.operation.n_out for node in network.nodes])
        self.blocks = {
            node.name: slice(end - node.operation.n_out, end)
            for node, end in zip(network.nodes, ends)
        }
        self.delta, self.c = self.systems(forward_pattern(network, x))
        inverse = np.linalg.inv(self.delta)
        self.forward, self.G = (inverse @ self.c[:, :, None])[:, :, 0], inverse[:, -1]
        self.rho, self.error = (self.G**2).sum(axis=1), y[:, 0] - self.forward[:, -1]

    def systems(self, patterns):
        """δ (B, N, N) and c (B, N) of every sample."""
        systems = [dense_system(self.network, s, one) for s, one in zip(patterns, self.x)]
        return tuple(np.array(part) for part in zip(*systems))

    def vector(self, injections, stalks):
        """−Σ η aᵀ of every affine node, where it has weights, and −Σ η."""
        parts = []
        for node in self.network.nodes:
            if isinstance(node.operation, Affine):
                read = np.concatenate(
                    [
                        self.x if name == "x" else stalks[:, self.blocks[name]]
                        for name in node.inputs
                    ],
                    axis=1,
                )
                rows, columns, _ = node.operation.triplets()
                eta = injections[:, self.blocks[node.name]]
                parts += [-(eta.T @ read)[rows, columns], -eta.sum(axis=0)]
        return np.concatenate(parts)

    def ratio(self, injections, stalks):
        """What a step of gradient descent lowers the loss by, over a step that these stalks'
        discrepancies drive.
        """
        g = 2 * self.vector(self.error[:, None] * self.G, self.forward)
        return g @ g / (g @ self.vector(injections, stalks))

    def settled(self, delta, c):
        """The same with the stalks at equilibrium behind a unit edge on these pieces."""
        A, right = delta.swapaxes(1, 2) @ delta, (c[:, None] @ delta)[:, 0]
        A[:, -1, -1] += 1
        right[:, -1] += self.y[:, 0]
        w = np.linalg.solve(A, right[:, :, None])
        return self.ratio((delta @ w)[:, :, 0] - c, w[:, :, 0])

    def current(self):
        return self.ratio((self.error / (1 + self.rho))[:, None] * self.G, self.forward)

    def quartiles(self):
        return np.percentile(2 * (1 + self.rho), [25, 50, 75])

    def speeds(self, stalks):
        """Speed over the law's of the stalks as they are, settled in their own pattern, and in the
        forward pass's.
        """
        patterns = NeuralSheaf(self.network).pattern(stalks, self.x)
        delta, c = self.systems(patterns)
        actual = self.ratio((delta @ stalks[:, :, None])[:, :, 0] - c, stalks)
        settled = self.settled(delta, c), self.settled(self.delta, self.c)
        return self.quartiles()[1] / np.array([actual, *settled])


def stepped(network, x, y, start, steps, dt, edge_weight=1.0, alpha=1.0, beta_n=1.0):
    """A flow of the NumPy oracle, ready to advance, after some steps."""
    sheaf = NeuralSheaf(network, edge_weight)
    start = sheaf.forward(x) if start is None else start
    flow = JointStepper(sheaf, x, y, start, beta_n / len(x), dt, alpha, resolve(sheaf, (), len(x)))
    flow.advance(steps)
    return flow


@oracle("10-slow-down")
def _(n):
    deep = paper_network("2x12x8x6x1", 0)
    last, _ = run("3H", "sheaf")[200_000]
    blocks = stepped(residual(), X[:100], Y[:100], None, 200, 0.02).state()[0].network
    assert n["3h"]["step"] == [0, 1000, 20_000, 200_000] and n["residual"]["step"] == list(
        range(0, 1001, 200)
    )
    cases = [
        ("1h", networks("sheaf")[0][i], n["1h"]["step"].index(10_000 * i), X, Y) for i in (0, 5, 10)
    ]
    cases += [("3h", deep, 0, X, Y), ("3h", last, -1, X, Y)]
    cases += [
        ("residual", network, i, X[:100], Y[:100]) for i, network in enumerate((residual(), blocks))
    ]
    for name, network, i, x, y in cases:
        dense, row = Dense(network, x, y), n[name]
        close(np.array(row["quartiles"])[:, i], dense.quartiles(), rtol=1e-6)
        close(row["settled"][i], dense.settled(dense.delta, dense.c), rtol=1e-5)
        close(row["current"][i], dense.current(), rtol=1e-5)
        if i == -1:
            close(row["ends"], [dense.rho.min(), dense.rho.max()], rtol=1e-6)


@oracle("10-transient")
def _(n):
    network = paper_network("2x30x1", 0)
    flow, done = stepped(network, X, Y, stalks(network, "2x30x1"), 0, 0.005), 0
    trained = {}
    for step in (1, 20, 100, 500):
        flow.advance(step - done)
        done = step
        trained[step] = flow.state()[0].network, flow.state()[1]
    trained[100_000] = networks("sheaf")[0][-1], networks("sheaf")[1]
    for step, (later, w) in trained.items():
        i, dense = n["step"].index(step), Dense(later, X, Y)
        close([n["speeds"][name][i] for name in SPEEDS], dense.speeds(w), rtol=1e-5)
        close(n["foreign"][i], ((w[:, :30] >= 0) != (dense.forward[:, :30] >= 0)).mean())
    network, w = run("1H", "sheaf")[20_000]
    for beta_n, lag in list(zip(n["beta_n"], n["lag"]))[::3]:  # the ends
        flow = joint_flow(
            NeuralSheaf(network), X, Y, start=w, beta=beta_n / 300, dt=0.005, every=20_000
        )
        state = list(islice(flow, 2))[1]
        actual, own, _ = Dense(state.network, X, Y).speeds(state.stalks)
        close(lag, own / actual - 1, rtol=1e-4)
    assert np.ptp(np.divide(n["lag"], n["beta_n"])[1:]) < 0.15  # first order


@oracle("10-depth")
def _(n):
    assert n["depth"] == [1, 2, 4, 6]
    soft, stiff, before, after = (
        np.array(n[key], dtype=float) for key in ("soft", "stiff", "before", "after")
    )
    assert (stiff < 0.4 * soft).all() and (after < before).mean() > 0.9
    x, y = X[:100], Y[:100]
    for row, depth in enumerate(n["depth"]):
        for column, seed in enumerate((1, 2, 3, 4)):
            network = Network.he([2, *[10] * depth, 1], np.random.default_rng(seed))
            close(n["rho"][row][column], np.median(Dense(network, x, y).rho))
    fastest = int(soft[0].argmin())
    network = Network.he([2, 10, 1], np.random.default_rng(fastest + 1))
    random = np.random.default_rng([fastest + 1, 1]).standard_normal((100, 21))
    clock = {"dt": 0.04, "beta_n": 0.1}
    stiffer = {"edge_weight": 4.0}
    for times, start, every, which in (  # looked at once in a unit of time
        (soft, random, 25, {"dt": 0.04}),
        (stiff, random, 100, stiffer | {"dt": 0.01}),
        (before, None, 25, clock),
        (after, None, 25, clock | stiffer | {"alpha": 0.25}),
    ):
        steps = round(times[0, fastest] / which["dt"])
        assert steps % every == 0
        flow, losses = stepped(network, x, y, start, steps - every, **which), []
        for more in (0, every):
            flow.advance(more)
            losses.append(((flow.state()[0].network(x) - y) ** 2).mean())
        assert losses[1] < y.var() / 2 <= losses[0]
