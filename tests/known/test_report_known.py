"""A report against answers by hand, dense matrices and SciPy's own root and eigenvalue finders."""

from itertools import permutations

import numpy as np
import pytest
from equilibrium_cases import toy
from oracles import dense_laplacian, dense_system
from scipy.optimize import root
from scipy.special import softmax

from sheaflib import Network, NeuralSheaf, report
from sheaflib.diagnosis import measures

CHAIN = Network.mlp([[[1.0]], [[1.0]]])


def quiet(network, x, y, **options):
    return report(NeuralSheaf(network), x, y, progress=False, **options)


# by hand
# --------------------------------------------------------------------------------------------------


def test_three_resistors_in_series():
    """Errors 3 and −1.5 at a resistance of 3: discord e²/3, a third on every edge; L is that of a
    path with one end clamped.
    """
    found = quiet(CHAIN, [[1.0], [4.0]], [4.0, 2.5])
    np.testing.assert_allclose(found.discord, [3.0, 0.75], rtol=1e-12)
    np.testing.assert_allclose(found.loss, [9.0, 2.25], rtol=1e-12)
    for row in found.edges:
        np.testing.assert_allclose(row[2:6], [1, (1 + 0.25) / 2, 1 / 3, 1 / 3], rtol=1e-12)
    assert found.total.discord == pytest.approx(3.75 / 2) and found.total.size == 3
    np.testing.assert_allclose(found.resistance, 3, rtol=1e-12)
    np.testing.assert_allclose(found.smallest, 2 - 2 * np.cos(np.pi / 7), rtol=1e-12)
    np.testing.assert_allclose(found.largest, 2 - 2 * np.cos(5 * np.pi / 7), rtol=1e-12)
    assert found.worst.tolist() == [0, 1]
    assert {n.name: n.edge for n in found.neurons} == {
        "z1[0]": "affine_1",
        "a1[0]": "activation_1",
        "z2[0]": "affine_2",
    }


def test_a_null_of_two_labels_has_two_values():
    """Outputs 1 and 2, labels 4 and 2: errors 3 and 0, mean discord 3/2; exchanged 1 and 2, mean
    discord 5/6.
    """
    found = quiet(CHAIN, [[1.0], [2.0]], [4.0, 2.0], budget=1000)
    for null, means in ((found.total.solved, found.null), (found.total.frozen, found.frozen)):
        total = sum(means.values())
        assert set(total.round(9)) == {1.5, round(5 / 6, 9)}
        low, median, high = np.quantile(total, (0.05, 0.5, 0.95))
        np.testing.assert_allclose(null[:3], [low, median, high], rtol=1e-12)
        assert null.ratio == pytest.approx(1.5 / median)


def test_many_permutations_approach_all_of_them():
    """Four labels of the identity z = x: discord (y − x)²; over the 24 orders its mean is that of
    all 16 pairs.
    """
    x, y = np.array([0.0, 1.0, 3.0, 7.0]), np.array([2.0, -1.0, 0.0, 5.0])
    found = quiet(Network.mlp([[[1.0]]]), x[:, None], y, budget=20_000)
    every = {
        round(float(((y[list(order)] - x) ** 2).mean()), 9) for order in permutations(range(4))
    }
    assert found.permutations == 1000
    nulls = ((found.edges[0].solved, found.null), (found.edges[0].frozen, found.frozen))
    for null, by_edge in nulls:
        means = by_edge["affine_1"]
        assert set(means.round(9)) == every
        np.testing.assert_allclose(null[:3], np.quantile(means, (0.05, 0.5, 0.95)), rtol=1e-12)
        assert abs(means.mean() - ((y[:, None] - x) ** 2).mean()) < 4 * means.std() / np.sqrt(
            len(means)
        )


def test_where_the_worst_neuron_sits():
    """z² = 2a¹₀ + a¹₁ over x = 1: the error 1.5 meets ρ = 1 + 2·(4 + 1), so unit 0 has four times
    unit 1's discord.
    """
    found = quiet(Network.mlp([[[1.0], [1.0]], [[2.0, 1.0]]]), [[1.0]], [4.5])
    current = 1.5 / 11
    assert {n.name for n in found.neurons[:2]} == {"z1[0]", "a1[0]"}
    expected = {"z1[0]": 4, "a1[0]": 4, "z1[1]": 1, "a1[1]": 1, "z2[0]": 1}
    assert {n.name: n.discord / current**2 for n in found.neurons} == pytest.approx(
        expected, rel=1e-12
    )
    np.testing.assert_allclose(
        [row.share for row in found.edges], [5 / 11, 5 / 11, 1 / 11], rtol=1e-12
    )
    np.testing.assert_allclose(
        [row.resistance for row in found.edges], [5 / 11, 5 / 11, 1 / 11], rtol=1e-12
    )


# dense
# --------------------------------------------------------------------------------------------------


def series(sheaf, pattern):
    """ρ of the last stalk and its parts by edge from the inverse of the dense δ: (m, m) each."""
    inverse = np.linalg.inv(dense_system(sheaf.network, pattern, np.zeros(sheaf.network.n_in))[0])
    G = inverse[sheaf.layout[sheaf.network.output_name]]
    return G @ G.T, {
        edge.name: G[:, edge.rows] @ G[:, edge.rows].T
        for edge in sheaf.edges
        if edge.kind != "output"
    }


SIZES = [
    ("identity", (3, 6, 4, 1)),
    ("identity", (3, 5, 2)),
    ("softmax", (3, 6, 3)),
    ("identity", (4, 50, 20, 1)),
]


@pytest.mark.parametrize("output, dims", SIZES)
def test_spectrum_and_resistance_are_those_of_dense_matrices(output, dims):
    """The last one is beyond what the report solves densely itself."""
    rng = np.random.default_rng(0)
    sheaf, x = NeuralSheaf(Network.he(dims, rng, output)), rng.standard_normal((9, dims[0]))
    y = (
        np.eye(dims[-1])[rng.integers(0, dims[-1], 9)]
        if output == "softmax"
        else rng.standard_normal((9, dims[-1]))
    )
    found = quiet(sheaf.network, x, y, samples=6)
    patterns = sheaf.forward_pattern(x)[found.spectral]
    values = np.array([np.linalg.eigvalsh(dense_laplacian(sheaf, s))[[0, -1]] for s in patterns])
    rtol = 1e-7 if sheaf.N <= measures.DENSE else 1e-3  # the digits that the table says
    np.testing.assert_allclose(np.column_stack([found.smallest, found.largest]), values, rtol=rtol)
    patterns = sheaf.forward_pattern(x)[found.subset]
    assert len(found.subset) == 6 and set(found.spectral) <= set(found.subset)
    rho, parts = zip(*(series(sheaf, s) for s in patterns))
    np.testing.assert_allclose(found.resistance, np.linalg.eigvalsh(rho)[:, -1], rtol=1e-9)
    for row in found.edges:
        if row.kind != "output":
            shares = [np.trace(p[row.name]) / np.trace(r) for p, r in zip(parts, rho)]
            assert row.resistance == pytest.approx(np.mean(shares), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_small_moves_have_the_discord_of_dense_algebra(seed):
    """A label so near that no unit changes: total discord eᵀρ⁻¹e of the dense ρ, edge by edge η =
    Gᵀρ⁻¹e.
    """
    problem, rng = toy(seed, (2, 7, 5, 2)), np.random.default_rng(seed)
    sheaf, x = problem.sheaf, rng.standard_normal((8, 2))
    error = 1e-9 * rng.standard_normal((8, 2))
    found = quiet(sheaf.network, x, sheaf.network(x) + error)
    for i, (s, e) in enumerate(zip(sheaf.forward_pattern(x), error)):
        rho, parts = series(sheaf, s)
        current = np.linalg.solve(rho, e)
        assert found.discord[i] == pytest.approx(e @ current, rel=1e-4)
        for name, part in parts.items():
            assert found.per_edge[name][i] == pytest.approx(
                current @ part @ current, rel=1e-4, abs=1e-24
            )


def test_shares_follow_the_resistance_for_one_output_whatever_the_label():
    """The law, where no unit changes its state."""
    rng = np.random.default_rng(3)
    network, x = Network.he([3, 8, 6, 1], rng), rng.standard_normal((1, 3))
    for error in (1e-9, -3e-9):
        found = quiet(network, x, network(x) + error)
        np.testing.assert_allclose(
            [row.share for row in found.edges], [row.resistance for row in found.edges], rtol=1e-5
        )


def test_an_affine_softmax_against_scipy():
    """One edge z − u and the cross-entropy: z − u + φ(z) − y = 0, one root; the same discord on
    both edges.
    """
    rng = np.random.default_rng(1)
    W = rng.standard_normal((3, 2))
    b = rng.standard_normal(3)
    x = rng.standard_normal((4, 2))
    y = np.array([2, 0, 1, 1])
    found = quiet(Network.mlp([W], [b], "softmax"), x, y)
    for i, u in enumerate(x @ W.T + b):
        z = root(lambda z: z - u + softmax(z) - np.eye(3)[y[i]], u, tol=1e-14).x
        expected = ((z - u) ** 2).sum()
        got = [found.per_edge["affine_1"][i], found.per_edge["output"][i], found.discord[i]]
        np.testing.assert_allclose(got, [expected, expected, 2 * expected], rtol=1e-9)
        assert found.loss[i] == pytest.approx(-np.log(softmax(u)[y[i]]), rel=1e-9)


def test_flipped_labels_come_first():
    """Blobs that a linear softmax separates: what is mislabelled is the list."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    x = 6 * np.eye(3)[y] + rng.standard_normal((200, 3))
    flipped = rng.choice(200, 10, replace=False)
    given = y.copy()
    given[flipped] = (y[flipped] + 1) % 3
    found = quiet(Network.mlp([np.eye(3)], [np.zeros(3)], "softmax"), x, given)
    assert set(found.worst) == set(flipped) and found.total.ratio < 0.2
