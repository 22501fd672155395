"""The oracle of notebook 13's report on the digits: the network trained again, gradients by the
chain rule, stationarity by hand.
"""

import numpy as np
from figure_oracles import close, oracle
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from sheaflib import Network, NeuralSheaf, equilibrium, hard


def digits(**settings):
    """Images, labels with 5 % wrong ones, which those are, and weights and biases of the trained
    network: drawn as the notebook does.
    """
    data, rng = load_digits(), np.random.default_rng(0)
    images, given = data.data / 16, data.target.copy()
    at = rng.choice(1797, 90, replace=False)
    given[at] = (given[at] + rng.integers(1, 10, 90)) % 10
    mlp = MLPClassifier((128, 64), random_state=0, max_iter=1000, **settings).fit(images, given)
    return images, given, given != data.target, [W.T for W in mlp.coefs_], mlp.intercepts_


def gradient_size(x, y, weights, biases):
    """Loss and norm of its gradient by all weights and biases, sample by sample, by the chain rule
    in plain NumPy: (B,) each.
    """
    read, z = [x], []
    for W, b in zip(weights, biases):
        z.append(read[-1] @ W.T + b)
        read.append(np.maximum(z[-1], 0))
    logits = z[-1] - logsumexp(z[-1], axis=1, keepdims=True)
    back, size = np.exp(logits) - y, 0
    for layer in reversed(range(len(weights))):
        size = size + (back**2).sum(axis=1) * ((read[layer] ** 2).sum(axis=1) + 1)
        back = (back @ weights[layer]) * (z[layer - 1] > 0 if layer else 1)
    return -(logits * y).sum(axis=1), np.sqrt(size)


def softmax_residuals(x, y, weights, biases, w):
    """What the six edges of the chain feel at a cochain w, once its gradient with the labels pinned
    is seen to vanish: a list of (B, n).
    """
    z1, a1, z2, a2, z3 = np.split(w[:, :394], np.cumsum([128, 128, 64, 64]), axis=1)
    error = y - np.exp(z3 - logsumexp(z3, axis=1, keepdims=True))
    felt = [
        z1 - x @ weights[0].T - biases[0],
        a1 - np.maximum(z1, 0),
        z2 - a1 @ weights[1].T - biases[1],
        a2 - np.maximum(z2, 0),
        z3 - a2 @ weights[2].T - biases[2],
        error,
    ]
    np.testing.assert_allclose(felt[4], error, rtol=0, atol=1e-9)
    np.testing.assert_allclose(felt[3], felt[4] @ weights[2], rtol=0, atol=1e-9)
    np.testing.assert_allclose(felt[1], felt[2] @ weights[1], rtol=0, atol=1e-9)
    for own, after, z, a in ((felt[0], felt[1], z1, a1), (felt[2], felt[3], z2, a2)):
        u, corner = z - own, z == 0
        # a minimum from both sides
        assert (u[corner] >= 0).all() and (u + a)[corner].max(initial=-1) <= 0
        np.testing.assert_allclose(np.where(corner, 0, own - (z > 0) * after), 0, rtol=0, atol=1e-9)
    return felt


def pinned_edges(x, y, weights, biases):
    """Discord of every sample and edge at the equilibrium that Newton finds from the forward pass:
    (6, B).
    """
    network = Network.mlp(weights, biases, "softmax")
    parts = [
        equilibrium(
            NeuralSheaf(network), x[i : i + 500], pins=hard("a_out", y[i : i + 500])
        ).cochain
        for i in range(0, len(x), 500)
    ]
    return np.array(
        [
            (felt**2).sum(axis=1)
            for felt in softmax_residuals(x, y, weights, biases, np.vstack(parts))
        ]
    )


def largest_discords(x, y, weights, biases, cost, count):
    """Discord of every sample among the `count` largest, (B,), and 0 for most others.

    It is at most twice the forward pass's cross-entropy, `cost`: so much energy there is, and the
    output edge's ‖y − p‖² is at most 2(1 − p_y)² ≤ −2 ln p_y. Samples are solved in the order of
    that bound until it is less than what was found.
    """
    order, found, done = np.argsort(-cost), np.zeros(len(x)), 0
    while done < len(x) and np.sort(found)[-count] <= 2 * cost[order[done]]:
        rows = order[done : done + 100]
        found[rows] = pinned_edges(x[rows], y[rows], weights, biases).sum(axis=0)
        done += 100
    return found


@oracle("13-report")
def _(n):
    lengths = np.arange(5, 201, 5)
    close(n["lengths"], lengths)
    close(n["best"], np.minimum(1, 90 / lengths) * 1797 / 90)
    for title, settings in (
        ("with weight decay", {"alpha": 1.0, "tol": 1e-3, "n_iter_no_change": 5}),
        ("memorised", {"alpha": 0.0, "learning_rate_init": 3e-3}),
    ):
        x, given, wrong, weights, biases = digits(**settings)
        y = np.eye(10)[given]
        cost, steepness = gradient_size(x, y, weights, biases)
        if title == "memorised":
            discord = largest_discords(x, y, weights, biases, cost, 200)
        else:
            by_edge = pinned_edges(x, y, weights, biases)
            discord = by_edge.sum(axis=0)
        assert (
            (np.exp(-cost[wrong]) > 0.5).all()
            if title == "memorised"
            else (np.exp(-cost[wrong]) < 0.5).all()
        )
        for name, score in (("discord", discord), ("loss", cost), ("gradient", steepness)):
            place = 1 + np.argsort(np.argsort(-score))[wrong]  # of every wrong label in the list
            close(
                n["enrichment"][title][name],
                [(place <= length).mean() / length * 1797 for length in lengths],
            )
        if title == "with weight decay":
            rng = np.random.default_rng(0)
            subset = rng.choice(1797, 200, replace=False)
            for _ in range(1000):  # those of the frozen null are drawn first
                rng.permutation(200)
            nulls = [
                pinned_edges(x[subset], y[rng.permutation(subset)], weights, biases).mean(axis=1)
                for _ in range(20)
            ]
            found = np.column_stack(
                [
                    by_edge.mean(axis=1),
                    by_edge[:, subset].mean(axis=1),
                    *np.quantile(nulls, (0.05, 0.5, 0.95), axis=0),
                ]
            )
            names = ("affine_1", "activation_1", "affine_2", "activation_2", "affine_3", "output")
            close([n["edges"][name] for name in names], found, rtol=1e-6)
