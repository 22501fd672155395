"""Slow weights feel the reduced energy ½ Σ eᵀ(I + ρ)⁻¹e, ρ the output's effective resistance; stiff
edges make it backpropagation.
"""

import numpy as np
import pytest
from oracles import constrained_minimum, dense_laplacian, dense_system, row_weights
from training_cases import chain, gradients, nth, theta

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack, backpropagate
from sheaflib.layers import add
from sheaflib.training.drivers import joint_flow, weight_gradient
from sheaflib.training.joint import JointStepper

RNG = np.random.default_rng(21)
SKIP = Network(
    2,
    [
        ("z1", Affine(RNG.standard_normal((3, 2)), RNG.standard_normal(3))),
        ("a1", ReLU(3)),
        ("z2", Affine(RNG.standard_normal((3, 3)) / 2, RNG.standard_normal(3))),
        ("p", Stack(3, 3), ("z2", "a1")),
        ("s", add(3)),
        ("a2", ReLU(3, 0.2)),
        ("z3", Affine(RNG.standard_normal((2, 3)), RNG.standard_normal(2))),
    ],
)
NETWORKS = {
    "layer": chain([2, 3], RNG),
    "1H": chain([2, 6, 1], RNG),
    "2H": chain([3, 5, 4, 2], RNG, slopes=[0.0, 0.3, 0.0]),
    "DAG": SKIP,
}
CASES = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def posed(network, edge_weights=1.0, n_batch=4, far=0.02):
    """A sheaf, inputs, labels so close to the output that the pattern of the forward pass holds at
    the equilibrium too.
    """
    rng = np.random.default_rng(22)
    x = rng.standard_normal((n_batch, network.n_in))
    return (
        NeuralSheaf(network, edge_weights),
        x,
        network(x) + far * rng.standard_normal((n_batch, network.n_out)),
    )


def equilibrium(sheaf, x, y):
    """argmin_ω E by dense least squares, the pattern frozen at the forward pass's; asserted to be
    its own.
    """
    pattern, last = sheaf.forward_pattern(x), range(sheaf.N - sheaf.network.n_out, sheaf.N)
    w = np.array(
        [
            constrained_minimum(
                *dense_system(sheaf.network, pattern[i], x[i]),
                row_weights(sheaf),
                soft=[(j, 1.0, t) for j, t in zip(last, y[i])],
            )
            for i in range(len(x))
        ]
    )
    assert (sheaf.pattern(w, x) == pattern).all()
    return w, pattern


def moved(network, name, bias, place, h):
    """The network with one weight moved by h."""
    nodes = []
    for node in network.nodes:
        operation = node.operation
        if node.name == name:
            W, b = np.array(operation.weight), np.array(operation.bias)
            (b if bias else W)[place] += h
            operation = Affine(W, b)
        nodes.append((node.name, operation, node.inputs))
    return Network(network.n_in, nodes)


def reduced_energy(network, weights, pattern, x, y):
    """½ Σ eᵀ(I + ρ)⁻¹e with ρ = G diag(1/w) Gᵀ, G the last block row of δ⁻¹: every matrix dense,
    nothing of the stalks.
    """
    total = 0.0
    for s, row, label in zip(pattern, x, y):
        delta, c = dense_system(network, s, row)
        G = np.linalg.inv(delta)[-network.n_out :]
        e = label - G @ c
        total += 0.5 * e @ np.linalg.solve(np.eye(len(e)) + G / weights @ G.T, e)
    return total


def some_weights(network, rng, n=12):
    """Places (node, is it the bias, index) of dense affine nodes, drawn at random."""
    places = [
        (node.name, bias, place)
        for node in network.nodes
        if isinstance(getattr(node.operation, "weight", None), np.ndarray)
        for bias, array in ((False, node.operation.weight), (True, node.operation.bias))
        for place in np.ndindex(array.shape)
    ]
    return [places[i] for i in rng.choice(len(places), size=min(n, len(places)), replace=False)]


@CASES
@pytest.mark.parametrize("uneven", [False, True])
def test_weights_at_the_equilibrium_feel_the_gradient_of_the_reduced_energy(network, uneven):
    """Fourth-order differences of it, with the labels at the size of the outputs to leave rounding
    behind.
    """
    rng = np.random.default_rng(23)
    edges = {e.name: rng.uniform(0.3, 3) for e in NeuralSheaf(network).edges} if uneven else 1.0
    sheaf, x, y = posed(network, edges)
    w, pattern = equilibrium(sheaf, x, y)
    found, weights = weight_gradient(sheaf, x, w), row_weights(sheaf)
    scale = abs(gradients(found)).max()
    assert scale > 1e-3
    for name, bias, place in some_weights(network, rng):
        f1, b1, f2, b2 = (
            reduced_energy(moved(network, name, bias, place, h), weights, pattern, x, y)
            for h in (1e-3, -1e-3, 2e-3, -2e-3)
        )
        assert found[name]["bias" if bias else "weight"][place] == pytest.approx(
            (8 * (f1 - b1) - (f2 - b2)) / 12e-3, rel=1e-7, abs=1e-8 * scale
        )


@CASES
@pytest.mark.parametrize("stepper", [None, JointStepper])
def test_with_weights_at_rest_the_flow_stays_there_and_comes_there(network, stepper):
    """From the equilibrium nothing moves; from the forward pass the distance to it shrinks like the
    slowest mode, at the end to nothing.
    """
    sheaf, x, y = posed(network)
    rest, pattern = equilibrium(sheaf, x, y)
    stays = nth(joint_flow(sheaf, x, y, start=rest, beta=0, dt=0.05, every=50, stepper=stepper), 1)
    np.testing.assert_allclose(stays.stalks, rest, atol=1e-12)
    tie = np.diag(np.arange(sheaf.N) >= sheaf.N - network.n_out)
    slowest = min(np.linalg.eigvalsh(dense_laplacian(sheaf, s) + tie)[0] for s in pattern)
    if stepper is None and network is not SKIP:
        comes = nth(joint_flow(sheaf, x, y, beta=0, dt=0.05, every=int(20 / (0.05 * slowest))), 1)
        np.testing.assert_allclose(comes.stalks, rest, atol=10 * np.exp(-20))


def distances(network, edges, aim):
    """Relative distance of the equilibrium's weight gradient to `aim` for stiffer and stiffer
    edges: the orders in 1/w, a decade each.
    """
    errors = []
    for stiffness in 10.0 ** np.arange(1, 6):
        sheaf, x, y = posed(
            network, {e.name: stiffness for e in NeuralSheaf(network).edges if e.name in edges}
        )
        found = gradients(weight_gradient(sheaf, x, equilibrium(sheaf, x, y)[0]))
        errors.append(np.linalg.norm(found - aim) / np.linalg.norm(aim))
    return np.array(errors), np.log10(np.divide(errors[:-1], errors[1:]))


@CASES
def test_stiff_edges_make_it_the_gradient_of_backpropagation(network):
    """Of ½ Σ‖ŷ − y‖², with an error of order 1/w."""
    sheaf, x, y = posed(network)
    errors, orders = distances(
        network, [e.name for e in sheaf.edges], gradients(backpropagate(sheaf, x, network(x) - y))
    )
    assert errors[0] > 0.01 and (abs(orders[2:] - 1) < 0.01).all()


@pytest.mark.parametrize("name", ["1H", "2H", "DAG"])
def test_with_the_last_affine_edge_left_soft_it_is_half_of_it(name):
    """ρ tends to I: the last edge and the edge to the label share the error."""
    network = NETWORKS[name]
    sheaf, x, y = posed(network)
    errors, orders = distances(
        network,
        [e.name for e in sheaf.edges[:-1]],
        gradients(backpropagate(sheaf, x, network(x) - y)) / 2,
    )
    assert errors[0] > 0.001 and (abs(orders[2:] - 1) < 0.01).all()


def test_slow_weights_follow_the_reduced_energy_in_time():
    """β a thousandth of the relaxation rate: after a short while θ has moved by −βt times its
    gradient, to the part of order β.
    """
    network = NETWORKS["1H"]
    sheaf, x, y = posed(network)
    w, pattern = equilibrium(sheaf, x, y)
    beta, dt, steps = 1e-5, 0.02, 5000
    state = nth(joint_flow(sheaf, x, y, start=w, beta=beta, dt=dt, every=steps), 1)
    expected = -beta * dt * steps * gradients(weight_gradient(sheaf, x, w))
    change = theta(state.network) - theta(network)
    assert np.linalg.norm(change - expected) < 2e-3 * np.linalg.norm(expected)
    after, before = (
        reduced_energy(net, row_weights(sheaf), pattern, x, y) for net in (state.network, network)
    )
    assert after - before == pytest.approx(
        -beta * dt * steps * (gradients(weight_gradient(sheaf, x, w)) ** 2).sum(), rel=5e-3
    )
