"""Networks made separate: the same function, nothing done twice, and every kink then lies apart."""

import numpy as np
import pytest
from brute_equilibria import KINDS, MOST_FACES, Draw, Energy
from hypothesis import given
from hypothesis import strategies as st
from strategies import networks

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.layers import global_max_pool
from sheaflib.networks.gather import Gather
from sheaflib.networks.selection import Clamp, MaxPool, PReLU, Selection
from sheaflib.networks.separation import check_separate, distinct
from sheaflib.training.drivers import weight_gradient

SEEDS = st.integers(0, 2**32 - 1)
SEPARATE = (
    Network.mlp([np.ones((3, 2)), np.ones((1, 3))]),
    Network(2, [("z", Affine(np.ones((4, 2)))), ("m", MaxPool([[0, 1], [2, 3]], 4))]),
    Network(2, [("z", Affine(np.ones((3, 2)))), ("m", MaxPool([[0, 1, 1], [2, 2, 2]], 3))]),
    Network(
        2, [("m", MaxPool([[0, 1], [1, 1]], 2)), ("a", ReLU(2)), ("y", Affine(np.eye(2)), "m")]
    ).separated(),
    Network(
        2,
        [
            ("z", Affine(np.eye(2))),
            ("a", Clamp(2, 0.0, 6.0)),
            ("b", PReLU(2, 0.1), "z"),
            ("p", Stack(2, 2, 2), ("a", "z", "b")),
            ("y", Affine(np.ones((1, 6)))),
        ],
    ),
)


def holds(network, x, exact):
    """What must hold of a network and the same one made separate.

    Each selection has the very bits that the one before has on the same stalk. What a matrix makes
    of them depends on how they lie in memory, in the last bits, unless its sums are exact.
    """
    plain = network.separated()
    check_separate(plain)
    assert plain.separated() is plain
    before, after = NeuralSheaf(network), NeuralSheaf(plain)
    w, v = before.forward(x), after.forward(x)
    names = before.layout.names
    values = {"x": x, **after.layout.split(v)}
    assert after.layout.names[-1] == names[-1]
    for node in network.nodes:
        if isinstance(node.operation, Selection):
            expected = node.operation.value(values[node.inputs[0]].copy())
            np.testing.assert_array_equal(values[node.name], expected)
    terms = before.edge_terms(w, x)
    for name in names:
        here, rounding = before.layout[name], 0 if exact else 1e-13
        assert (abs(values[name] - w[:, here]) <= rounding * terms.max()).all()
    new = [name for name in after.layout.names if name not in names]
    discrepancy = after.layout.split(after.discrepancy(v, x))
    assert not any(discrepancy[name].any() for name in new)
    if plain is not network:
        with pytest.raises(ValueError, match=r"network\.separated\(\)"):
            check_separate(network)


@given(networks(scales=(0.1, 1.0, 3.0)), SEEDS)
def test_any_network_becomes_separate_and_stays_the_same_function(network, seed):
    x = np.random.default_rng(seed).standard_normal((4, network.n_in))
    x[0] = 0  # ties
    holds(network, x, exact=False)


@given(networks(integer=True, most=6), SEEDS)
def test_whole_numbers_give_the_same_bits(network, seed):
    x = np.random.default_rng(seed).integers(-2, 3, (4, network.n_in)).astype(float)
    holds(network, x, exact=True)


@given(st.sampled_from(list(KINDS)), st.booleans(), SEEDS)
def test_every_kind_becomes_separate_and_stays_the_same_function(kind, integer, seed):
    draw = Draw(np.random.default_rng(seed), integer)
    holds(Network(2, KINDS[kind](draw)), draw.numbers(5, 2), exact=False)


@given(networks(integer=True, most=5), SEEDS)
def test_a_separate_network_can_be_enumerated(network, seed):
    """Without pins the forward pass is the only point of energy 0."""
    network = network.separated()
    x = np.random.default_rng(seed).integers(-2, 3, (1, network.n_in)).astype(float)
    if Energy(sheaf := NeuralSheaf(network), x, []).faces() > MOST_FACES:
        return
    found = enumerate_equilibria(sheaf, x)
    assert found.energies[0] == 0
    np.testing.assert_array_equal(found.minima[0], sheaf.forward(x)[0])


@pytest.mark.parametrize("network", SEPARATE)
def test_a_network_that_is_separate_is_returned_as_it_is(network):
    assert network.separated() is network
    check_separate(network)


def test_new_names_differ_from_those_that_are_there():
    pool = MaxPool([[0, 1], [1, 0]], 2)
    nodes = [
        ("m.window", Affine(np.eye(2))),
        ("m.window'", Affine(np.eye(2))),
        ("m", pool),
        ("r.copy", ReLU(2), "m"),
        ("r", ReLU(2)),
    ]
    network = Network(2, nodes)
    names = [node.name for node in network.separated().nodes]
    assert len(set(names)) == len(names) and set(names) >= {name for name, *_ in nodes}
    holds(network, np.array([[1.0, -2.0]]), exact=True)


def test_a_window_vertex_by_hand():
    """Three windows of [0, 1, 2] that overlap, the last one padded: five copies."""
    nodes = [("z", Affine(np.eye(3))), ("m", MaxPool([[0, 1], [1, 2], [2, 2]], 3))]
    network = Network(3, nodes).separated()
    gather, pool = network.nodes[1].operation, network.nodes[2].operation
    assert gather.weight.toarray().tolist() == np.eye(3)[[0, 1, 1, 2, 2]].tolist()
    assert pool.windows.tolist() == [[0, 1], [2, 3], [4, 4]]


@given(SEEDS)
def test_distinct_entries_are_those_that_stand_first(seed):
    rng = np.random.default_rng(seed)
    windows = rng.integers(0, 4, (rng.integers(1, 5), rng.integers(1, 6)))
    for window, first in zip(windows.tolist(), distinct(windows).tolist()):
        assert first == [entry not in window[:k] for k, entry in enumerate(window)]


def test_what_separates_is_not_trained():
    """The copies and the window vertices have no parameters, and their gradients and files know
    it.
    """
    pool = MaxPool([[0, 1], [1, 2]], 3)
    nodes = [("z", Affine(np.eye(3))), ("m", pool), ("a", ReLU(2)), ("y", Affine(np.ones((1, 2))))]
    plain = Network(3, nodes).separated()
    assert [node.name for node in plain.nodes] == ["z", "m.window", "m", "a.copy", "a", "y"]
    assert set(plain.parameters) == {"z", "y"}
    found = weight_gradient(NeuralSheaf(plain), np.ones((2, 3)), np.ones((2, NeuralSheaf(plain).N)))
    assert set(found) == {"z", "y"}


def test_a_global_pool_is_separated_without_the_square_of_its_windows():
    """64 windows of 12 544 entries each: their square would have 10¹⁰ entries."""
    pool, _ = global_max_pool((64, 112, 112))
    nodes = [("m", pool, "x"), ("y", Affine(np.ones((1, 64))), "m"), ("n", pool, "x")]
    plain = Network(pool.n_in, [("z", Gather(np.arange(pool.n_in), pool.n_in)), *nodes]).separated()
    x = np.random.default_rng(0).standard_normal((1, pool.n_in))
    assert plain.output_name == "n"
    np.testing.assert_array_equal(plain(x), pool.value(x))
