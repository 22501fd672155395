"""The compiled mini-batch engine takes the same updates as a plain NumPy loop over `Currents` or back-propagation."""

import numpy as np
import pytest

from sheaflib import Network, NeuralSheaf, ReLU, backpropagate, tasks
from sheaflib.currents import currents
from sheaflib.experiments import initial
from sheaflib.minibatch import MiniBatches
from sheaflib.objective import error

ROWS = [("paraboloid", "2x30x1"), ("saddle", "2x10x8x1"), ("circular", "2x10x8x1"), ("blobs", "2x10x8x4")]


def flat(gradient):
    return np.concatenate([part.ravel() for pair in gradient.values() for part in pair])


def slow(network, x, y, order, lr, rule, kappa, stiffness, adam, decay, beta1=0.9, beta2=0.99):
    """Update by update, from the definition; the weights at the end."""
    engine = MiniBatches(network, x, y)                    # only for its flat form
    theta, m, v = engine.chain.flat(network), 0.0, 0.0
    for number, (rows, rate) in enumerate(zip(order, lr), start=1):
        net = engine.chain.unflat(theta)
        weights = {e.name: stiffness for e in NeuralSheaf(net).edges if e.name != "output"}
        sheaf = NeuralSheaf(net, weights)
        if rule == "circuit":
            g = flat(currents(sheaf, x[rows], y[rows]).gradient(kappa))
        else:
            z = sheaf.forward(x[rows])[:, sheaf.layout[net.nodes[-1].name]]
            g = flat(backpropagate(sheaf, x[rows], error(net.output, z, y[rows])))
        g = g / len(rows)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        change = (m / (1 - beta1**number)) / (np.sqrt(v / (1 - beta2**number)) + 1e-8) if adam else g
        theta = theta - rate * (change + decay * theta)
    return theta


@pytest.mark.parametrize("task, widths", ROWS)
@pytest.mark.parametrize("rule, kappa", [("backprop", 0.0), ("circuit", 0.0), ("circuit", 1.0), ("circuit", -1.0)])
@pytest.mark.parametrize("optimiser, decay", [("adam", 0.0), ("adam", 0.01), ("sgd", 0.0)])
def test_it_is_the_slow_loop(task, widths, rule, kappa, optimiser, decay):
    network, data, rng = initial(task, widths, 42, False), tasks.task(task), np.random.default_rng(0)
    order, lr = rng.integers(0, 300, (12, 7)), rng.uniform(0.002, 0.02, 12)
    engine = MiniBatches(network, data.X_train, data.Y_train, rule=rule, kappa=kappa, stiffness=3.0, optimiser=optimiser, decay=decay)
    engine.advance(order[:5], lr[:5])
    engine.advance(order[5:], lr[5:])
    expected = slow(network, data.X_train, data.Y_train, order, lr, rule, kappa, 3.0, optimiser == "adam", decay)
    np.testing.assert_allclose(engine.theta, expected, rtol=0, atol=1e-7 if optimiser == "adam" else 1e-12)
    assert engine.updates == 12


def test_large_logits_do_not_leave_the_circuit_open():
    """Far from the label, where an undamped Newton step overshoots: still the currents of the NumPy solver."""
    rng = np.random.default_rng(1)
    for output, n in (("sigmoid", 1), ("softmax", 4)):
        network = Network.mlp([5 * rng.standard_normal((8, 3)), 5 * rng.standard_normal((6, 8)), 5 * rng.standard_normal((n, 6))], output=output)
        x = 3 * rng.standard_normal((20, 3))
        y = rng.integers(0, 2, (20, 1)).astype(float) if n == 1 else np.eye(n)[rng.integers(0, n, 20)]
        engine = MiniBatches(network, x, y, rule="circuit", kappa=1.0, optimiser="sgd")
        engine.advance([range(20)], [1.0])
        expected = slow(network, x, y, [np.arange(20)], [1.0], "circuit", 1.0, 1.0, False, 0.0)
        np.testing.assert_allclose(engine.theta, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("change, message", [
    ({"rule": "hebb"}, "rule='hebb'"), ({"optimiser": "lion"}, "optimiser='lion'"), ({"stiffness": 0.0}, "stiffness=0 must be > 0"),
    ({"rule": "backprop", "kappa": 1.0}, "kappa=1 with rule='backprop', expected 0"), ({"beta2": 1.0}, r"beta2=1, expected a number in \[0, 1\)"),
    ({"decay": -1.0}, "decay=-1 must be ≥ 0"), ({"kappa": np.nan}, "kappa must be finite"),
])
def test_bad_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MiniBatches(Network.mlp([[[1.0]]]), [[1.0]], [[1.0]], **change)


def test_bad_batches_and_networks_are_named():
    engine = MiniBatches(Network.mlp([[[1.0]]]), [[1.0], [2.0]], [[1.0], [2.0]])
    for order, lr, message in (([[2]], [0.1], "samples 2 to 2, expected 0 to 1"), ([0], [0.1], r"order has shape \(1,\)"), ([[0]], [0.1, 0.2], r"lr \(2,\)")):
        with pytest.raises(ValueError, match=message):
            engine.advance(order, lr)
    chain = Network.mlp([[[1.0]], [[1.0]]])
    leaky = Network(1, [chain.nodes[0], ("a1", ReLU(1, 0.1), ("z1",)), chain.nodes[2]])
    with pytest.raises(ValueError, match="leaky"):
        MiniBatches(leaky, [[1.0]], [[1.0]])
