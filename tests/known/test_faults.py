"""Faults and AUROC against counting pairs, cases by hand, finite differences and the law without a
solver.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import Network, NeuralSheaf
from sheaflib.companion import faults
from sheaflib.companion.experiments import initial
from sheaflib.linear.resistance import effective_resistance
from sheaflib.sheaves import discord
from sheaflib.training.drivers import gradient
from sheaflib.training.objective import loss

RNG = np.random.default_rng(3)
CHAIN = Network.mlp(
    [RNG.standard_normal((5, 2)), RNG.standard_normal((4, 5)), RNG.standard_normal((1, 4))],
    [RNG.standard_normal(5), RNG.standard_normal(4), RNG.standard_normal(1)],
)
X, Y = RNG.standard_normal((40, 2)), RNG.standard_normal((40, 1))
SIGMOID = Network.he([2, 6, 1], np.random.default_rng(1), "sigmoid")
CLASSES = (RNG.random((40, 1)) < 0.5).astype(float)


def counted(faulty, healthy):
    faulty, healthy = np.asarray(faulty, float)[:, None], np.asarray(healthy, float)
    return ((faulty > healthy) + 0.5 * (faulty == healthy)).mean()


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
)
def test_auroc_counts_pairs(faulty, healthy):
    assert faults.auroc(faulty, healthy) == pytest.approx(counted(faulty, healthy), abs=1e-14)
    assert faults.auroc(faulty, healthy) + faults.auroc(healthy, faulty) == pytest.approx(
        1, abs=1e-14
    )


def test_auroc_of_several_detectors_at_once():
    scores = {"good": np.array([1.0, 2, 9]), "blind": np.ones(3), "wrong": np.array([5.0, 4, 1])}
    assert faults.among(scores, 2) == {"good": 1.0, "blind": 0.5, "wrong": 0.0}
    assert faults.among(scores, [0, 2])["good"] == 0.5
    assert faults.among(scores, 2, np.array([True, False, True]))["good"] == 1.0
    np.testing.assert_array_equal(faults.auroc([[1.0], [0.0]], [[0.0], [1.0]]), [1, 0])


def test_a_dead_unit_is_just_dead_and_nothing_else_has_changed():
    for part in faults.units(CHAIN):
        network = faults.dead(CHAIN, part, X, 0.25)
        sheaf = NeuralSheaf(network)
        z = sheaf.forward(X)[:, sheaf.layout[part.node]][:, part.rows]
        assert z.max() == pytest.approx(-0.25)
        for before, after in zip(faults.affine_nodes(CHAIN), faults.affine_nodes(network)):
            np.testing.assert_array_equal(after.operation.weight, before.operation.weight)
            moved = np.flatnonzero(after.operation.bias != before.operation.bias)
            assert moved.tolist() == (part.rows if after.name == part.node else [])


def test_the_parts_of_a_network():
    assert [(p.node, p.rows) for p in faults.units(CHAIN)] == [
        *(("z1", [j]) for j in range(5)),
        *(("z2", [j]) for j in range(4)),
    ]
    assert [(p.node, len(p.rows)) for p in faults.layers(CHAIN)] == [
        ("z1", 5),
        ("z2", 4),
        ("z3", 1),
    ]


def test_scrambling_permutes_one_weight():
    part = faults.layers(CHAIN)[1]
    network = faults.scrambled(CHAIN, part, np.random.default_rng(0))
    for before, after in zip(faults.affine_nodes(CHAIN), faults.affine_nodes(network)):
        np.testing.assert_array_equal(
            np.sort(after.operation.weight.ravel()), np.sort(before.operation.weight.ravel())
        )
        assert (after.operation.weight != before.operation.weight).any() == (after.name == "z2")
        np.testing.assert_array_equal(after.operation.bias, before.operation.bias)


def test_silenced_and_saturated():
    part = faults.Part("z2", [1, 3])
    z2 = NeuralSheaf(faults.silenced(CHAIN, part)).forward(X)[:, 10:14]
    np.testing.assert_array_equal(z2[:, part.rows], 0)
    np.testing.assert_allclose(faults.saturated(CHAIN, 7.0)(X), 7 * CHAIN(X))
    p, q = SIGMOID(X), faults.saturated(SIGMOID, 3.0)(X)
    np.testing.assert_allclose(np.log(q / (1 - q)), 3 * np.log(p / (1 - p)), atol=1e-12)


def test_flipped_labels():
    np.testing.assert_array_equal(
        faults.flipped(CHAIN, [[1.0], [2.0], [3.0]], [0, 2]), [[-1], [2], [-3]]
    )
    np.testing.assert_array_equal(
        faults.flipped(SIGMOID, [[1.0], [0.0], [1.0]], [0, 1]), [[0], [1], [1]]
    )


@pytest.mark.parametrize("network, y", [(CHAIN, Y), (SIGMOID, CLASSES)])
def test_sample_gradients_add_up_and_are_finite_differences(network, y):
    each = faults.sample_gradients(network, X, y)
    scale = 2 if network.output.is_identity else 1  # loss is a mean of squares, Φ half a square
    flat = np.concatenate(
        [np.ravel(part) for own in gradient(network, X, y).values() for part in own.values()]
    )
    np.testing.assert_allclose(scale * each.mean(axis=0), flat, rtol=1e-10, atol=1e-12)
    first, eps = faults.affine_nodes(network)[0], 1e-6
    moved = []
    for sign in (1, -1):
        net = faults.plain(network)
        net["weights"][0][1][0] += sign * eps
        moved.append(loss(Network.mlp(**net, output=network.output.name), X[[7]], y[[7]]))
    assert each[7, first.operation.n_in] * scale == pytest.approx(
        (moved[0] - moved[1]) / (2 * eps), rel=1e-6, abs=1e-9
    )


def test_sample_scores_follow_the_law_where_no_unit_switches():
    """Total pinned discord is e²/ρ and the loss e²: one label apart by a little, so that patterns
    stay.
    """
    y = CHAIN(X) + 1e-4
    sheaf = NeuralSheaf(CHAIN)
    rho = effective_resistance(sheaf, sheaf.forward_pattern(X)).total[:, 0, 0]
    scores = faults.sample_scores(CHAIN, X, y)
    np.testing.assert_allclose(scores["loss"], 1e-8, rtol=1e-6)
    settled = (
        NeuralSheaf(CHAIN).pattern(faults.pinned(CHAIN, X, y), X) == sheaf.forward_pattern(X)
    ).all(axis=1)
    assert settled.mean() > 0.9
    np.testing.assert_allclose(scores["pinned discord"][settled], 1e-8 / rho[settled], rtol=1e-6)
    np.testing.assert_allclose(faults.frozen_discord(sheaf, X, y), 1e-8 / rho, rtol=1e-6)
    np.testing.assert_allclose(
        scores["gradient"], np.linalg.norm(faults.sample_gradients(CHAIN, X, y), axis=1)
    )


def test_part_scores():
    parts, w = faults.units(CHAIN), faults.pinned(CHAIN, X, Y)
    kept = NeuralSheaf(CHAIN).forward(X)
    killed = faults.dead(CHAIN, parts[6], X)
    scores = faults.part_scores(killed, X, Y, parts, kept, faults.pinned(killed, X, Y))
    # kept stalks disagree where the weights changed
    assert np.flatnonzero(scores["kept stalks"] > 1e-20).tolist() == [6]
    assert scores["frozen pattern"][6] == scores["gradient"][6] == scores["loss"][6] == 0
    whole = faults.part_scores(CHAIN, X, Y, faults.layers(CHAIN), kept, w)
    edges = faults.edge_means(CHAIN, X, w)
    np.testing.assert_allclose(whole["pinned discord"], [edges[f"affine_{i}"] for i in (1, 2, 3)])
    assert set(edges) == set(discord.per_edge(NeuralSheaf(CHAIN), w, X))
    W, b = gradient(CHAIN, X, Y)["z2"].values()
    assert whole["gradient"][1] == pytest.approx(np.hypot(np.linalg.norm(W), np.linalg.norm(b)))
    assert whole["loss"][2] == pytest.approx(abs((Y**2).mean() - loss(CHAIN, X, Y)))


def test_changes_and_jumps_by_hand():
    scores = {"loss": np.array([1.0, 1.0, np.e**3]), "kept stalks": np.array([0.0, 2.0, 0.0])}
    moved = faults.change(scores, {"loss": np.ones(3), "kept stalks": np.ones(3)})
    np.testing.assert_allclose(moved["loss"], [1, 1, 2])
    np.testing.assert_array_equal(moved["kept stalks"], [0, 2, 0])
    edges = {
        "affine_1": 1.0,
        "activation_1": 1.0,
        "affine_2": np.e**2,
        "activation_2": np.e**2,
        "affine_3": np.e,
    }
    np.testing.assert_allclose(faults.jumps(edges, dict.fromkeys(edges, 1.0)), [0, 2, 1])


def test_trials_on_a_small_network():
    net = faults.plain(initial("paraboloid", "2x6x5x1", 0, True))
    dead = faults.dead_units("paraboloid", **net)
    assert all(values.shape == (11,) for kind in dead.values() for values in kind.values())
    assert all((dead["fault"][d] == 1).all() for d in ("kept stalks", "frozen pattern", "gradient"))
    # layer 1 reads the boundary: no label wakes it
    assert (dead["fault"]["pinned discord"][:6] == 1).all()
    scrambled = faults.scrambled_layers("paraboloid", **net, draws=2, seed=1)
    assert all(values.shape == (6,) for kind in scrambled.values() for values in kind.values())
    assert (scrambled["fault"]["kept stalks"] == 1).all() and (
        scrambled["null"]["kept stalks"] == 0.5
    ).all()
    flips = faults.flipped_labels("paraboloid", **net, draws=3, seed=1)
    assert (
        flips["fault"]["loss"].shape == (3,)
        and (flips["fault"]["loss"] > flips["null"]["loss"]).all()
    )
    again = faults.flipped_labels("paraboloid", **net, draws=3, seed=1)
    np.testing.assert_array_equal(
        again["fault"]["pinned discord"], flips["fault"]["pinned discord"]
    )


@pytest.mark.parametrize("method", ["sheaf", "gd"])
def test_trials_that_train(method):
    learned = faults.learned_flips("paraboloid", "2x5x1", method, 50, 0.01, 0)
    assert set(learned) == {"pinned discord", "frozen pattern", "loss", "gradient"} | (
        {"kept stalks"} if method == "sheaf" else set()
    )
    found = faults.saturated_outputs("circular", "2x5x1", method, 100, 10.0, [0, 1, 2], 4)
    assert set(found) == {"fault", "null", "longer"} and all(
        v.shape == (4,) for kind in found.values() for v in kind.values()
    )
    assert (found["fault"]["kept stalks"] == 1).all() and (
        found["longer"]["kept stalks"] == 0.5
    ).all()
    # a greater resistance: it looks like a better fit
    assert (found["fault"]["pinned discord"] < 0.5).all()
