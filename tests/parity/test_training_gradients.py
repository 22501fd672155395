"""Gradients of training against HIPS autograd: of the loss at the forward pass, of the energy at
any stalks, along 50 steps.
"""

import numpy as np
import pytest
from training_cases import OUTPUTS, chain, labels, nth, pose

from sheaflib import Affine, MaxPool, Network, NeuralSheaf, ReLU, Stack
from sheaflib.layers import add
from sheaflib.training.descent import DescentStepper
from sheaflib.training.drivers import gradient, gradient_descent, joint_flow, loss, weight_gradient
from sheaflib.training.joint import JointStepper, edge_energies

autograd = pytest.importorskip("autograd")
anp = pytest.importorskip("autograd.numpy")
WINDOWS = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 0]])
CHAINS = [[2, 3], [1, 4, 1], [3, 6, 4, 5, 2]]


def affine(p, v):
    return anp.dot(v, p[0].T) + p[1]


def same(p, v):
    return v


def leaky(slope):
    return lambda p, v: anp.where(v >= 0, v, slope * v)


def stepwise(network):
    """The operations of a chain in autograd's NumPy: name -> function of (its weights or None, what
    it reads).
    """
    return {
        node.name: affine if isinstance(node.operation, Affine) else leaky(node.operation.slope)
        for node in network.nodes
    }


def graph(output):
    """A DAG with leaky and absolute ReLUs, a residual sum, a max-pool, a concatenation with x; and
    its operations.
    """
    rng = np.random.default_rng(3)
    z1, z2, z3 = (
        Affine(rng.standard_normal(shape), rng.standard_normal(shape[0]))
        for shape in ((4, 3), (4, 4), (2, 10))
    )
    network = Network(
        3,
        [
            ("z1", z1),
            ("a1", ReLU(4, 0.2)),
            ("z2", z2),
            ("p1", Stack(4, 4), ("z2", "z1")),
            ("s", Affine(add(4).weight)),  # a sparse map, whose entries are trained
            ("a2", ReLU(4, -1.0)),
            ("m", MaxPool(WINDOWS, 4), "s"),
            ("p2", Stack(4, 3, 3), ("a2", "m", "x")),
            ("z3", z3),
        ],
        output,
    )
    return network, {
        "z1": affine,
        "a1": leaky(0.2),
        "z2": affine,
        "p1": same,
        "s": affine,
        "a2": lambda p, v: anp.abs(v),
        "m": lambda p, v: anp.max(v[:, WINDOWS], axis=2),
        "p2": same,
        "z3": affine,
    }


def networks(output):
    """Chains and the DAG, each with its operations."""
    lines = [
        chain(dims, np.random.default_rng(sum(dims)), output, [0.0, 0.2, -0.5, 0.0])
        for dims in CHAINS
    ]
    return [*((line, stepwise(line)) for line in lines), graph(output)]


CASES = [
    pytest.param(output, i, id=f"{output}-{name}")
    for output in OUTPUTS
    for i, name in enumerate([*map(str, CHAINS), "DAG"])
]


def weights(network):
    """node -> (W, b) as dense arrays."""
    return {
        node.name: (
            getattr(
                node.operation.weight, "toarray", lambda w=node.operation.weight: np.array(w)
            )(),
            np.array(node.operation.bias),
        )
        for node in network.affine_nodes
    }


def read(values, node):
    return anp.concatenate([values[name] for name in node.inputs], axis=1)


def logits(network, operations, theta, x):
    values = {"x": x}
    for node in network.nodes:
        values[node.name] = operations[node.name](theta.get(node.name), read(values, node))
    return values[network.output_name]


def log_partition(z):
    top = np.max(getattr(z, "_value", z), axis=1, keepdims=True)
    return top[:, 0] + anp.log(anp.sum(anp.exp(z - top), axis=1))


def costs(output, z, y):
    """Square loss or cross-entropy in logits, entry by entry or row by row."""
    if output == "identity":
        return (z - y) ** 2
    return (
        anp.logaddexp(0.0, z) - y * z
        if output == "sigmoid"
        else log_partition(z) - anp.sum(y * z, axis=1)
    )


def mean_loss(network, operations, theta, x, y):
    """MSE: mean over all entries. Cross-entropy: a sum over the outputs, mean over the batch."""
    cost = costs(network.output.name, logits(network, operations, theta, x), y)
    output = network.output.name
    return anp.mean(cost) if output == "identity" else anp.sum(cost) / len(x)


def energy(sheaf, operations, theta, parts, x, y):
    """E(ω, θ) by its definition; parts: stalk -> (B, n)."""
    network, values, total = sheaf.network, {"x": x, **parts}, 0.0
    for node in network.nodes:
        squares = (
            operations[node.name](theta.get(node.name), read(values, node)) - values[node.name]
        ) ** 2
        for edge in (e for e in sheaf.edges if e.head == node.name):
            first = sheaf.layout[node.name].start
            total = total + 0.5 * sheaf.edge_weights[edge.name] * anp.sum(
                squares[:, edge.rows.start - first : edge.rows.stop - first]
            )
    label = anp.sum(costs(network.output.name, values[network.output_name], y)) * (
        0.5 if network.output.is_identity else 1
    )
    return total + sheaf.edge_weights.get("output", 1.0) * label


def assert_equal_gradients(network, found, expected):
    """The entries a weight stores, to rounding."""
    assert set(found) == set(expected) == set(weights(network))
    for name, (W, _) in weights(network).items():
        dW, db = found[name]["weight"], found[name]["bias"]
        stored = expected[name][0] * (W != 0) if hasattr(dW, "indptr") else expected[name][0]
        np.testing.assert_allclose(
            dW.toarray() if hasattr(dW, "indptr") else dW,
            stored,
            rtol=1e-10,
            atol=1e-11,
            err_msg=name,
        )
        np.testing.assert_allclose(db, expected[name][1], rtol=1e-10, atol=1e-11, err_msg=name)


def data(network, n_batch=6):
    rng = np.random.default_rng(11)
    return rng.standard_normal((n_batch, network.n_in)), labels(
        network.output.name, rng, n_batch, network.n_out
    )


@pytest.mark.parametrize("output, which", CASES)
def test_gradient_of_the_loss(output, which):
    network, operations = networks(output)[which]
    x, y = data(network)
    assert loss(network, x, y) == pytest.approx(
        mean_loss(network, operations, weights(network), x, y), rel=1e-12
    )
    expected = autograd.grad(lambda theta: mean_loss(network, operations, theta, x, y))(
        weights(network)
    )
    assert_equal_gradients(network, gradient(network, x, y), expected)


@pytest.mark.parametrize("output, which", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_the_energy_at_any_stalks(output, which, weighted):
    """One step from random stalks: the weights by `weight_gradient`, and both engines move against
    autograd's gradient, stalks too.
    """
    network, operations = networks(output)[which]
    problem = pose(network, np.random.default_rng(12), 6, weighted)
    sheaf, x, y, w = problem
    theta = weights(network)
    parts = {name: np.array(part) for name, part in sheaf.layout.split(w).items()}
    assert sum(edge_energies(sheaf, x, y, w).values()) == pytest.approx(
        energy(sheaf, operations, theta, parts, x, y), rel=1e-12
    )
    d_theta, d_parts = autograd.grad(lambda both: energy(sheaf, operations, *both, x, y))(
        (theta, parts)
    )
    assert_equal_gradients(network, weight_gradient(sheaf, x, w), d_theta)
    beta, dt, alpha = 0.25, 0.125, 0.5
    for stepper in {None, JointStepper}:
        moved = nth(
            joint_flow(
                *problem[:3],
                start=problem[3],
                beta=beta,
                dt=dt,
                alpha=alpha,
                every=1,
                stepper=stepper,
            ),
            1,
        )
        np.testing.assert_allclose(
            moved.stalks,
            w - dt * alpha * np.hstack([d_parts[name] for name in sheaf.layout.names]),
            rtol=1e-11,
            atol=1e-12,
        )
        for name, (W, b) in weights(moved.network).items():
            stored = theta[name][0] != 0
            np.testing.assert_allclose(
                W,
                np.where(stored, theta[name][0] - dt * beta * d_theta[name][0], 0),
                rtol=1e-11,
                atol=1e-12,
            )
            np.testing.assert_allclose(
                b, theta[name][1] - dt * beta * d_theta[name][1], rtol=1e-11, atol=1e-12
            )


@pytest.mark.parametrize("output, which", CASES)
def test_fifty_steps_of_gradient_descent(output, which):
    network, operations = networks(output)[which]
    x, y = data(network)
    slope, theta, lr = (
        autograd.grad(lambda theta: mean_loss(network, operations, theta, x, y)),
        weights(network),
        0.01,
    )
    kept = {name: W != 0 for name, (W, _) in theta.items()}
    for _ in range(50):
        g = slope(theta)
        theta = {
            name: (W - lr * g[name][0] * kept[name], b - lr * g[name][1])
            for name, (W, b) in theta.items()
        }
    for stepper in {None, DescentStepper}:
        state = nth(
            gradient_descent(NeuralSheaf(network), x, y, lr=lr, every=50, stepper=stepper), 1
        )
        for name, (W, b) in weights(state.network).items():
            np.testing.assert_allclose(W, theta[name][0], rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(b, theta[name][1], rtol=1e-9, atol=1e-10)
        np.testing.assert_array_equal(state.stalks, NeuralSheaf(state.network).forward(x))
