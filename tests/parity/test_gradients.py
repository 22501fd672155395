"""Backpropagation as the transposed substitution against HIPS autograd."""

import numpy as np
import pytest
import scipy.sparse as sparse

from sheaflib import Affine, MaxPool, Network, NeuralSheaf, ReLU, Stack, backpropagate
from sheaflib.layers import add, convolution

autograd = pytest.importorskip("autograd")
anp = pytest.importorskip("autograd.numpy")
RNG = np.random.default_rng(7)


def relu(z):
    return anp.where(z >= 0, z, 0.0)


def square_loss(out, y):
    return 0.5 * anp.sum((out - y) ** 2)


def cross_entropy(out, y):
    return anp.sum(anp.log(anp.sum(anp.exp(out), axis=1)) - anp.sum(y * out, axis=1))


LOSSES = {"identity": square_loss, "softmax": cross_entropy}


def parameters(network):
    return [
        (node.name, node.operation.weight, node.operation.bias) for node in network.affine_nodes
    ]


def compare(network, forward, loss, y, x):
    """`forward(weights, x)` in autograd's NumPy against backpropagate, weights a dict node -> (W,
    b).
    """
    weights = {
        name: (w.toarray() if sparse.issparse(w) else np.array(w), np.array(b))
        for name, w, b in parameters(network)
    }
    np.testing.assert_allclose(
        forward(weights, x),
        network.nodes[-1].operation and NeuralSheaf(network).forward(x)[:, -network.n_out :],
        rtol=1e-12,
        atol=1e-13,
    )
    expected = autograd.grad(lambda w: loss(forward(w, x), y))(weights)
    g = autograd.grad(lambda out: loss(out, y))(forward(weights, x))
    found = backpropagate(NeuralSheaf(network), x, g)
    assert set(found) == set(expected)
    for name, w, _ in parameters(network):
        dW = found[name]["weight"]
        stored = (
            np.where(w.toarray() != 0, expected[name][0], 0)
            if sparse.issparse(w)
            else expected[name][0]
        )
        np.testing.assert_allclose(
            dW.toarray() if sparse.issparse(dW) else dW, stored, rtol=1e-10, atol=1e-11
        )
        np.testing.assert_allclose(found[name]["bias"], expected[name][1], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("output", LOSSES)
@pytest.mark.parametrize("dims", [[2, 3], [2, 5, 1], [3, 6, 4, 5, 2]])
def test_chain(dims, output):
    network = Network.mlp(
        [RNG.standard_normal((n, m)) for m, n in zip(dims, dims[1:])],
        [RNG.standard_normal(n) for n in dims[1:]],
        output,
    )
    layers = [f"z{i}" for i in range(1, len(dims))]

    def forward(weights, x):
        for name in layers:
            x = relu(x) if name != "z1" else x
            x = anp.dot(x, weights[name][0].T) + weights[name][1]
        return x

    compare(
        network,
        forward,
        LOSSES[output],
        RNG.random((6, dims[-1])),
        RNG.standard_normal((6, dims[0])),
    )


def test_residual_concatenation_fan_out_leaky_and_pool():
    """z1 feeds three readers, x two; a max-pool with overlapping windows; |·| and leaky ReLU."""
    W = {
        name: (RNG.standard_normal(shape), RNG.standard_normal(shape[0]))
        for name, shape in {"z1": (4, 3), "z2": (4, 4), "z3": (2, 10)}.items()
    }
    windows = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 0]])
    total = Affine(add(4).weight)  # a sparse map, whose entries are parameters
    network = Network(
        3,
        [
            ("z1", Affine(*W["z1"])),
            ("a1", ReLU(4, 0.2)),
            ("z2", Affine(*W["z2"])),
            ("p1", Stack(4, 4), ("z2", "z1")),
            ("s", total),
            ("a2", ReLU(4, -1.0)),
            ("m", MaxPool(windows, 4), "s"),
            ("p2", Stack(4, 3, 3), ("a2", "m", "x")),
            ("z3", Affine(*W["z3"])),
        ],
    )

    def forward(weights, x):
        z1 = anp.dot(x, weights["z1"][0].T) + weights["z1"][1]
        a1 = anp.where(z1 >= 0, z1, 0.2 * z1)
        z2 = anp.dot(a1, weights["z2"][0].T) + weights["z2"][1]
        s = anp.dot(anp.concatenate([z2, z1], axis=1), weights["s"][0].T) + weights["s"][1]
        m = anp.max(s[:, windows], axis=2)
        p2 = anp.concatenate([anp.abs(s), m, x], axis=1)
        return anp.dot(p2, weights["z3"][0].T) + weights["z3"][1]

    compare(network, forward, square_loss, RNG.random((6, 2)), RNG.standard_normal((6, 3)))


def test_convolution_written_out():
    conv, _ = convolution(RNG.standard_normal((2, 1, 2, 2)), (1, 3, 3), bias=[0.3, -0.2])
    conv = Affine(conv.weight, conv.bias)  # one entry for each tap, where a kernel shares them
    head = RNG.standard_normal((1, 8)), RNG.standard_normal(1)
    network = Network(9, [("z1", conv), ("a1", ReLU(8)), ("z2", Affine(*head))])

    def forward(weights, x):
        a1 = relu(anp.dot(x, weights["z1"][0].T) + weights["z1"][1])
        return anp.dot(a1, weights["z2"][0].T) + weights["z2"][1]

    compare(network, forward, square_loss, RNG.random((5, 1)), RNG.standard_normal((5, 9)))


def test_gradients_are_sums_over_the_batch():
    network = Network.he([2, 4, 1], RNG)
    sheaf, x, g = NeuralSheaf(network), RNG.standard_normal((5, 2)), RNG.standard_normal((5, 1))
    whole = backpropagate(sheaf, x, g)
    singles = [backpropagate(sheaf, x[i : i + 1], g[i : i + 1]) for i in range(5)]
    for name, own in whole.items():
        for part, found in own.items():
            expected = sum(one[name][part] for one in singles)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
