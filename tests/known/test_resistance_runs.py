"""The experiments of effective resistance: what they find against dense matrices, closed forms and
the digits that the authors print.
"""

import numpy as np
import pytest
from figures_10 import Dense, draws, fourfold, networks, one_layer, residual
from oracles import constrained_minimum, dense_laplacian, dense_system, row_weights
from paraboloid_runs import DATA, TRAIN

from sheaflib import NeuralSheaf, equilibrium, hard
from sheaflib.companion import pace, resistance
from sheaflib.companion.experiments import Snapshot
from sheaflib.companion.tasks import paper_network
from sheaflib.linear.resistance import effective_resistance

X, Y = TRAIN
EDGES = {"affine_1": slice(0, 30), "activation_1": slice(30, 60), "affine_2": slice(60, 61)}
PRINTED = {  # Table E.2: mean and deviation of every edge, and the total
    "sheaf": ([[0.0007, 0.0010], [0.0027, 0.0034], [0.0001, 0.0002]], 0.0035),
    "gd": ([[0, 0.0001], [0.0002, 0.0003], [0, 0]], 0.0003),
}


def test_the_law_and_its_other_side_are_the_dense_minimum():
    """Both columns of the identity against one more solver of the same problem."""
    law, dense = resistance.against_dense(
        resistance.examples(30, np.random.default_rng(0)), np.random.default_rng(1)
    )
    rng = np.random.default_rng(1)
    for i, (sheaf, s) in enumerate(draws(30)):
        m, weights = sheaf.network.n_out, row_weights(sheaf)
        e = rng.standard_normal(m)
        delta, c = dense_system(sheaf.network, s, np.zeros(sheaf.network.n_in))
        place, last = np.arange(sheaf.N - m, sheaf.N), np.linalg.solve(delta, c)[-m:] + e
        springs = [(j, 1.0, v) for j, v in zip(place, last)]
        for case, pins in enumerate(({"hard": list(zip(place, last))}, {"soft": springs})):
            w = constrained_minimum(delta, c, weights, **pins)
            total = (weights * (delta @ w - c) ** 2).sum()
            total += ((w[-m:] - last) ** 2).sum() if case == 1 else 0
            np.testing.assert_allclose([law[case, i], dense[case, i]], total, rtol=1e-6)


@pytest.mark.parametrize("method", PRINTED)
def test_table_e2_is_predicted_and_solved_sample_by_sample(method):
    x, y = DATA.X_test[:50], DATA.Y_test[:50]
    network = networks(method, 42)[0][-1]  # the appendix's seeds
    p, q, out = one_layer(network, x)
    current = (y[:, 0] - out) / (1 + 2 * p + q)
    sheaf, law = NeuralSheaf(network), resistance.forward(network, x)
    predicted = law.resistance.discord(y - network(x))
    for edge, part in (("affine_1", p), ("activation_1", p + q), ("affine_2", 1)):
        np.testing.assert_allclose(predicted[edge], current**2 * part, rtol=1e-6, atol=1e-14)
    found = equilibrium(sheaf, x, pins=hard("z2", y))
    changed = resistance.changed_state(found, law.pattern)
    assert changed.sum() == (6 if method == "sheaf" else 0)
    for i, s in enumerate(law.pattern):
        delta, c = dense_system(network, s, x[i])
        w = constrained_minimum(delta, c, np.ones(61), hard=[(60, y[i, 0])])
        # the minimum on the forward pass's pieces is its own equilibrium, or none
        assert ((w[:30] >= 0) != s).any() == changed[i]
        if not changed[i]:
            squares = (delta @ w - c) ** 2
            for edge, rows in EDGES.items():
                assert predicted[edge][i] == pytest.approx(squares[rows].sum(), rel=1e-5, abs=1e-13)
    rows, total = PRINTED[method]
    table = resistance.statistics(predicted)
    np.testing.assert_allclose([table[edge] for edge in EDGES], rows, rtol=0, atol=5e-5)
    assert table["total"] == pytest.approx(total, abs=5e-5)


def test_the_largest_difference_of_a_statistic_is_told():
    one = {"gd": {"affine_1": np.array([1.0, 3.0]), "affine_2": np.array([2.0, 4.0])}}
    other = {"gd": {"affine_1": np.array([1.0, 3.0]), "affine_2": np.array([2.0, 6.0])}}
    # means 3 against 4, deviations √2 against √8
    assert resistance.off_statistics(one, one) == 0
    assert resistance.off_statistics(one, other) == pytest.approx(0.5)


def test_the_matrix_of_four_rows_is_that_of_a_chain_of_four_numbers():
    p, q = np.array([0.3, 8.18]), np.array([2.0, 10.3])
    found = np.linalg.eigvalsh(resistance.reduced(p, q))
    np.testing.assert_allclose(found, [fourfold(*row) for row in zip(p, q)], rtol=1e-12)


def test_what_is_off_is_found():
    """Each measure of a difference, of something wrong by a known part."""
    network = paper_network("2x30x1", 0)
    assert resistance.off_exact_spectra([network], X[:20]) < 1e-12
    spectra = resistance.Spectra(
        [0, 20_000],
        {"sheaf": np.array([[1.0, 2.0], [0.5, 3.0]]), "gd": np.array([[1.0, 2.0], [1.0, 4.0]])},
        {"sheaf": np.array([[9.0, 2.0], [0.5, 3.0]]), "gd": np.array([[9.0, 2.5], [0.8, 4.0]])},
    )
    assert spectra.off_gap({20_000: 0.4, 50_000: 9.0}) == pytest.approx(0.25)
    assert spectra.off_gap({}) == pytest.approx(0.25)  # 1 over 0.8
    assert spectra.off_top == pytest.approx(0.2)  # 2 over 2.5


def test_a_residual_network_has_the_resistance_of_its_dense_inverse():
    network = resistance.residual_network(10, 2, np.random.default_rng(0))
    for mine, other in zip(network.affine_nodes, residual().affine_nodes, strict=True):
        np.testing.assert_array_equal(mine.operation.triplets()[2], other.operation.triplets()[2])
    patterns = NeuralSheaf(network).forward_pattern(X[:5])
    expected = [
        (np.linalg.inv(dense_system(network, s, np.zeros(2))[0])[-1] ** 2).sum() for s in patterns
    ]
    np.testing.assert_allclose(resistance.by_path(network, patterns), expected, rtol=1e-12)
    assert len(resistance.paths(network, "z1")) == 4  # two blocks, in each by the skip or not


def test_the_bounds_are_those_of_the_dense_laplacian():
    sheaf = NeuralSheaf(paper_network("2x6x4x1", 0))
    patterns = sheaf.forward_pattern(X[:8])
    low, bounds = resistance.bottom(sheaf, patterns)
    for i, s in enumerate(patterns):
        L = dense_laplacian(sheaf, s)
        values, vectors = np.linalg.eigh(L)
        upper, ratio = values[0] * np.linalg.inv(L)[-1, -1], values[0] / values[1]
        row = [bounds.lower[i], bounds.energy[i], bounds.upper[i], bounds.ratio[i], low[i]]
        lower = max(0, (upper - ratio) / (1 - ratio))
        expected = [lower, vectors[-1, 0] ** 2, upper, ratio, values[0]]
        np.testing.assert_allclose(row, expected, rtol=1e-8)


def test_a_small_step_changes_loss_and_resistance_as_a_finite_step_does():
    """The relative change along the settled force, against both ends of a step of its own, ρ by
    dense inverses.
    """
    network, x, y = paper_network("2x30x1", 0), X[:40], Y[:40]
    found = pace.nudged(network, x, y, 1)
    force = settled_force(network, x, y)
    length = np.sqrt(sum((part**2).sum() for part in force))
    W1, b1, W2, b2 = parameters(network)

    def seen(h):
        moved = [old - h * f / length for old, f in zip((W1, b1, W2, b2), force)]
        z = x @ moved[0].T + moved[1]
        output = np.maximum(z, 0) @ moved[2].T + moved[3]
        squares = moved[2][0] ** 2
        rho = 1 + squares.sum() + (z >= 0) @ squares
        return np.array([((output - y) ** 2).mean(), np.median(rho)])

    h = 1e-6
    expected = (seen(h) - seen(-h)) / (2 * h) / seen(0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def parameters(network):
    return [
        part
        for node in network.affine_nodes
        for part in (node.operation.weight, node.operation.bias)
    ]


def settled_force(network, x, y):
    """−Σ η aᵀ and −Σ η of both layers, stalks at the dense minimum behind the label's edge."""
    parts = [np.zeros_like(part) for part in parameters(network)]
    for one, label, s in zip(x, y, NeuralSheaf(network).forward_pattern(x)):
        delta, c = dense_system(network, s, one)
        w = constrained_minimum(delta, c, np.ones(61), soft=[(60, 1.0, label[0])])
        eta = delta @ w - c
        steps = (np.outer(eta[:30], one), eta[:30], np.outer(eta[60:], w[30:60]), eta[60:])
        parts = [part - step for part, step in zip(parts, steps)]
    return parts


def test_the_slow_down_of_a_run_is_that_of_dense_matrices():
    network, x, y = paper_network("2x30x1", 0), X[:30], Y[:30]
    stalks = NeuralSheaf(network).forward(x)
    found = pace.slow_down(pace.Learnt([Snapshot(7, network, stalks)], x, y))
    dense = Dense(network, x, y)
    assert found.step == [7]
    assert found.settled[0] == pytest.approx(dense.settled(dense.delta, dense.c), rel=1e-8)
    assert found.current[0] == pytest.approx(dense.current(), rel=1e-8)
    assert found.predicted == pytest.approx(dense.quartiles()[1])
    assert found.off == pytest.approx(found.settled[0] / found.predicted)
    assert 0 < found.cosine <= 1
    assert "predicted" in repr(found) and f"{found.cosine:.2f}" in repr(found)


def test_a_run_too_short_has_no_late_slow_down():
    run = pace.Transient(
        [1, 100], {pace.AS_TRAINED: [0.5, 0.25], pace.OWN: [1, 1], pace.FORWARD: [1, 1]}, [0.5, 0]
    )
    told = run.slow_down
    assert told["step-100"] == 4 and set(told) == {f"step-{t}" for t in pace.TOLD}
    assert np.isnan([told["step-1000"], told["step-10000"], told["step-100000"]]).all()
    assert repr(run).splitlines()[2].split() == ["100", "0.250", "1.000", "1.000", "0.00", "%"]


def test_who_never_gets_there_counts_as_the_longest():
    inf, nan = np.inf, np.nan
    before, after = np.array([2.0, inf, 4.0, inf]), np.array([1.0, 5.0, inf, inf])
    np.testing.assert_array_equal(pace.over(after, before, 10.0), [0.5, 0.5, inf, nan])
    table = np.array([[1.0]])
    found = pace.Stiffer((1,), 4 * table, table, table, table, 3 * table, 10.0)
    assert found.faster == 0.25 and found.held == 1 and found.law == 1.75 / 4


def test_the_resistance_of_a_forward_pass_is_the_library_s():
    network = paper_network("2x6x4x1", 0)
    law = resistance.forward(network, X[:6])
    sheaf = NeuralSheaf(network)
    expected = effective_resistance(sheaf, sheaf.forward_pattern(X[:6])).total
    np.testing.assert_array_equal(law.resistance.total, expected)
    np.testing.assert_array_equal(law.cochain, sheaf.forward(X[:6]))
