"""The compiled mini-batch engine takes the same updates as a plain NumPy loop over `Currents` or
back-propagation.
"""

import numpy as np
import pytest
from scipy.optimize import brentq

from sheaflib import Network, NeuralSheaf, ReLU, backpropagate
from sheaflib.circuits.currents import currents
from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.companion import tasks
from sheaflib.companion.experiments import initial
from sheaflib.networks.graph import INPUT, gather
from sheaflib.training.objective import error

ROWS = [
    ("paraboloid", "2x30x1"),
    ("saddle", "2x10x8x1"),
    ("circular", "2x10x8x1"),
    ("blobs", "2x10x8x4"),
]


def flat(gradient):
    return np.concatenate([part.ravel() for own in gradient.values() for part in own.values()])


def rayleigh(sheaf, x, y, rates):
    """−(pull) of every sample along its error, by a scalar root finder; rates: lr/batch of "prox",
    whose compliances replace 1/w.
    """
    net = sheaf.network
    z = sheaf.forward(x)[:, sheaf.layout[net.output_name]]
    pulls = -error(net.output, z, y)
    for i, c in enumerate(pulls):
        # (current)[a, 1]ᵀ: its squared norm is Σ |current|² (1 + |a|²)
        one = backpropagate(sheaf, x[i : i + 1], c[None])
        rho = currents(sheaf, x[i : i + 1], y[i : i + 1]).resistance.total[0]
        r = rates * (flat(one) ** 2).sum() / (c @ c) if rates else c @ rho @ c / (c @ c)

        def gap(t):
            return t * (c @ c) + c @ error(net.output, (z[i] + t * r * c)[None], y[i : i + 1])[0]

        pulls[i] = brentq(gap, 0, 1, xtol=1e-15, rtol=1e-14) * c
    return -pulls


def regressed(sheaf, x, g, second, beta2, number, damping):
    """Every affine edge's current times (C + damping)⁻¹, C the running mean of [a, 1][a, 1]ᵀ; g is
    flat.
    """
    values = {INPUT: x, **sheaf.layout.split(sheaf.forward(x))}
    parts, at = [], 0
    for node in sheaf.network.affine_nodes:
        a = np.column_stack([gather(values, node), np.ones(len(x))])
        second[node.name] = beta2 * second.get(node.name, 0.0) + (1 - beta2) * a.T @ a / len(x)
        n, m = node.operation.n_out, node.operation.n_in
        W, b = g[at : at + n * m].reshape(n, m), g[at + n * m : at + n * m + n]
        solved = np.linalg.solve(
            second[node.name] / (1 - beta2**number) + damping * np.eye(m + 1),
            np.column_stack([W, b]).T,
        ).T
        parts += [solved[:, :-1].ravel(), solved[:, -1]]
        at += n * m + n
    return np.concatenate(parts)


def slow(
    network,
    x,
    y,
    order,
    lr,
    rule,
    kappa,
    stiffness,
    optimiser,
    decay=0.0,
    damping=0.1,
    beta1=0.9,
    beta2=0.99,
):
    """Update by update, from the definition; the weights at the end."""
    engine = MiniBatches(network, x, y)  # only for its flat form
    theta, m, v, second = engine.chain.flat(network), 0.0, 0.0, {}
    for number, (rows, rate) in enumerate(zip(order, lr), start=1):
        net = engine.chain.unflat(theta)
        weights = {e.name: stiffness for e in NeuralSheaf(net).edges if e.name != "output"}
        sheaf = NeuralSheaf(net, weights)
        if rule == "circuit":
            g = flat(currents(sheaf, x[rows], y[rows]).gradient(kappa))
        elif rule == "backprop":
            z = sheaf.forward(x[rows])[:, sheaf.layout[net.output_name]]
            g = flat(backpropagate(sheaf, x[rows], error(net.output, z, y[rows])))
        else:
            g = flat(
                backpropagate(
                    sheaf,
                    x[rows],
                    rayleigh(sheaf, x[rows], y[rows], rate / len(rows) if rule == "prox" else 0),
                )
            )
        g = g / len(rows)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        change = {
            "sgd": lambda: g,
            "adam": lambda: (m / (1 - beta1**number)) / (np.sqrt(v / (1 - beta2**number)) + 1e-8),
            "least-squares": lambda: regressed(
                sheaf, x[rows], m / (1 - beta1**number), second, beta2, number, damping
            ),
        }[optimiser]()
        theta = theta - rate * (change + decay * theta)
    return theta


@pytest.mark.parametrize("task, widths", ROWS)
@pytest.mark.parametrize(
    "rule, kappa", [("backprop", 0.0), ("circuit", 0.0), ("circuit", 1.0), ("circuit", -1.0)]
)
@pytest.mark.parametrize("optimiser, decay", [("adam", 0.0), ("adam", 0.01), ("sgd", 0.0)])
def test_it_is_the_slow_loop(task, widths, rule, kappa, optimiser, decay):
    network = initial(task, widths, 42, False)
    data = tasks.task(task)
    rng = np.random.default_rng(0)
    order, lr = rng.integers(0, 300, (12, 7)), rng.uniform(0.002, 0.02, 12)
    engine = MiniBatches(
        network,
        data.X_train,
        data.Y_train,
        rule=rule,
        kappa=kappa,
        stiffness=3.0,
        optimiser=optimiser,
        decay=decay,
    )
    engine.advance(order[:5], lr[:5])
    engine.advance(order[5:], lr[5:])
    expected = slow(
        network, data.X_train, data.Y_train, order, lr, rule, kappa, 3.0, optimiser, decay
    )
    np.testing.assert_allclose(
        engine.theta, expected, rtol=0, atol=1e-7 if optimiser == "adam" else 1e-12
    )
    assert engine.updates == 12


@pytest.mark.parametrize("task, widths", ROWS)
@pytest.mark.parametrize(
    "rule, optimiser",
    [
        ("rayleigh", "adam"),
        ("prox", "sgd"),
        ("backprop", "least-squares"),
        ("circuit", "least-squares"),
    ],
)
def test_other_rules_and_local_least_squares_are_the_slow_loop(task, widths, rule, optimiser):
    network = initial(task, widths, 42, False)
    data = tasks.task(task)
    rng = np.random.default_rng(0)
    order, lr = rng.integers(0, 300, (8, 5)), rng.uniform(0.002, 0.05, 8)
    engine = MiniBatches(
        network,
        data.X_train,
        data.Y_train,
        rule=rule,
        stiffness=2.0,
        optimiser=optimiser,
        damping=0.3,
    )
    engine.advance(order, lr)
    expected = slow(
        network, data.X_train, data.Y_train, order, lr, rule, 0.0, 2.0, optimiser, damping=0.3
    )
    np.testing.assert_allclose(
        engine.theta, expected, rtol=0, atol=1e-7 if optimiser == "adam" else 1e-10
    )


@pytest.mark.parametrize("output, n", [("identity", 3), ("sigmoid", 3)])
@pytest.mark.parametrize("rule", ["circuit", "rayleigh"])
def test_several_outputs_of_any_kind(output, n, rule):
    rng = np.random.default_rng(3)
    network, x = Network.he([3, 8, 6, n], rng, output), rng.standard_normal((20, 3))
    y = (
        rng.standard_normal((20, n))
        if output == "identity"
        else rng.integers(0, 2, (20, n)).astype(float)
    )
    engine = MiniBatches(
        network, x, y, rule=rule, kappa=-1.0 if rule == "circuit" else 0.0, optimiser="sgd"
    )
    engine.advance([range(20)] * 3, [0.1] * 3)
    expected = slow(
        network,
        x,
        y,
        [np.arange(20)] * 3,
        [0.1] * 3,
        rule,
        -1.0 if rule == "circuit" else 0.0,
        1.0,
        "sgd",
    )
    np.testing.assert_allclose(engine.theta, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_prox_is_implicit_sgd_where_the_model_is_linear(output):
    """One affine map, one output: the implicit step θ' = θ − lr ∂Φ(θ'), found by its own
    fixed-point equation.
    """
    rng = np.random.default_rng(5)
    x, lr = rng.standard_normal((1, 4)), 7.0
    network, y = Network.he([4, 1], rng, output), np.array([[1.0]])
    engine = MiniBatches(network, x, y, rule="prox", optimiser="sgd")
    before = engine.theta.copy()
    engine.advance([[0]], [lr])
    row = np.append(x[0], 1.0)
    phi = (lambda z: z) if output == "identity" else (lambda z: 1 / (1 + np.exp(-z)))
    np.testing.assert_allclose(
        engine.theta, before - lr * (phi(engine.theta @ row) - 1.0) * row, rtol=1e-12
    )


def test_one_output_needs_no_second_sweep():
    """For one output "rayleigh" is "circuit", to the bit."""
    data, network = tasks.task("circular"), initial("circular", "2x10x8x1", 42, False)
    found = []
    for rule in ("circuit", "rayleigh"):
        engine = MiniBatches(network, data.X_train, data.Y_train, rule=rule, kappa=-1.0)
        engine.advance(np.arange(160).reshape(10, 16), np.full(10, 0.01))
        found.append(engine.theta)
    np.testing.assert_array_equal(*found)


def test_large_logits_do_not_leave_the_circuit_open():
    """Far from the label, where an undamped Newton step overshoots: still the currents of the NumPy
    solver.
    """
    rng = np.random.default_rng(1)
    for output, n in (("sigmoid", 1), ("softmax", 4)):
        network = Network.mlp(
            [
                5 * rng.standard_normal((8, 3)),
                5 * rng.standard_normal((6, 8)),
                5 * rng.standard_normal((n, 6)),
            ],
            output=output,
        )
        x = 3 * rng.standard_normal((20, 3))
        y = (
            rng.integers(0, 2, (20, 1)).astype(float)
            if n == 1
            else np.eye(n)[rng.integers(0, n, 20)]
        )
        engine = MiniBatches(network, x, y, rule="circuit", kappa=1.0, optimiser="sgd")
        engine.advance([range(20)], [1.0])
        expected = slow(network, x, y, [np.arange(20)], [1.0], "circuit", 1.0, 1.0, "sgd")
        np.testing.assert_allclose(
            engine.theta, expected, rtol=0, atol=1e-9 * np.abs(expected).max()
        )


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rule": "hebb"}, "rule='hebb'"),
        ({"optimiser": "lion"}, "optimiser='lion'"),
        ({"stiffness": 0.0}, "stiffness=0 must be > 0"),
        ({"rule": "backprop", "kappa": 1.0}, "kappa=1 with rule='backprop', expected 0"),
        ({"beta2": 1.0}, r"beta2=1, expected a number in \[0, 1\)"),
        (
            {"rule": "prox", "kappa": 1.0, "optimiser": "sgd"},
            "kappa=1 with rule='prox', expected 0",
        ),
        ({"rule": "prox"}, "optimiser='adam' with rule='prox'"),
        ({"damping": 0.0}, "damping=0 must be > 0"),
        ({"decay": -1.0}, "decay=-1 must be ≥ 0"),
        ({"kappa": np.nan}, "kappa must be finite"),
    ],
)
def test_bad_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MiniBatches(Network.mlp([[[1.0]]]), [[1.0]], [[1.0]], **change)


def test_bad_batches_and_networks_are_named():
    engine = MiniBatches(Network.mlp([[[1.0]]]), [[1.0], [2.0]], [[1.0], [2.0]])
    assert repr(engine) == "MiniBatches(Network(x(1) -> z1(1), identity), 2 samples, 0 updates)"
    for order, lr, message in (
        ([[2]], [0.1], "samples 2 to 2, expected 0 to 1"),
        ([0], [0.1], r"order has shape \(1,\)"),
        ([[0]], [0.1, 0.2], r"lr \(2,\)"),
        ([[0.7]], [0.1], "order holds float64 numbers"),
        ([[]], [0.1], r"order has shape \(1, 0\)"),
        ([[0]], [-1.0], "lr holds -1"),
    ):
        with pytest.raises(ValueError, match=message):
            engine.advance(order, lr)
    chain = Network.mlp([[[1.0]], [[1.0]]])
    leaky = Network(1, [chain.nodes[0], ("a1", ReLU(1, 0.1), ("z1",)), chain.nodes[2]])
    with pytest.raises(ValueError, match="leaky"):
        MiniBatches(leaky, [[1.0]], [[1.0]])
