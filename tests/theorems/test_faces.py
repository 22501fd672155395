"""The enumeration of all faces, against what defines an equilibrium: energies around it, the index
identity, the heat flow.
"""

import numpy as np
import pytest
from equilibrium_cases import DAGS, SLOPES, nearest, small, toy
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import Affine, Network, NeuralSheaf, ReLU, hard, relax, soft
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.sheaves.pins import resolve

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("dims, nets", [((2, 6, 1), 40), ((2, 4, 4, 1), 20)])
def test_index_identity(dims, nets):
    """V is coercive and piecewise quadratic: the signs (−1)^(concave kinks) of its stationary
    points add up to 1.
    """
    found = [
        enumerate_equilibria(p.sheaf, p.x, pins=p.pins)
        for p in (toy(seed, dims) for seed in range(nets))
    ]
    assert {f.index_sum for f in found} == {1}
    assert max(len(f.minima) for f in found) > 1 and max(f.concave.max() for f in found) > 1


@given(st.sampled_from(DAGS), SEEDS)
def test_minima_are_minima_and_the_others_are_not(kind, seed):
    """V rises in random directions from a minimum; at any other point it falls when a unit leaves
    its concave corner to one side.
    """
    rng = np.random.default_rng(seed)
    p = small(kind, rng)
    found, pins = enumerate_equilibria(p.sheaf, p.x, pins=p.pins), resolve(p.sheaf, p.pins, 1)
    assert found.index_sum == 1

    def energy(w):
        return p.sheaf.energy(w, np.repeat(p.x, len(w), axis=0)) + pins.energy(w)

    assert (np.diff(found.energies) >= 0).all()
    np.testing.assert_allclose(energy(found.cochains), found.energies, rtol=1e-12)
    np.testing.assert_array_equal(pins.impose(found.cochains), found.cochains)
    np.testing.assert_array_equal(np.sign(found.cochains[:, found.units]), found.sides)
    steps = np.where(pins.free, rng.standard_normal((200, p.sheaf.N)), 0)
    for w, V, sides, concave in zip(found.cochains, found.energies, found.sides, found.concave):
        if not concave:
            # within the cells that touch w
            h = min(1e-4, 0.1 * abs(w[found.units[sides != 0]]).min(initial=1))
            assert (energy(w + h * steps) > V - 1e-14 * (1 + V)).all()
            continue
        unit = 1e-6 * np.eye(p.sheaf.N)[found.units[sides == 0]]
        falls = (energy(w + unit) < V) & (energy(w - unit) < V)
        assert falls.sum() == concave


@pytest.mark.parametrize("seed", range(6))
def test_heat_ends_at_a_minimum(seed):
    p = toy(seed)
    flow = relax(p.sheaf, p.x, p.start, pins=p.pins, tol=1e-13, max_steps=200_000, every=200_000)
    if flow.history.arrived.all():
        assert (
            nearest(enumerate_equilibria(p.sheaf, p.x, pins=p.pins).minima, flow.cochain[0]) < 1e-9
        )


def test_one_neuron_by_hand():
    """x = 0, W = 1, 1, b¹ = −½, z2 clamped to 2. z < 0: V = ½(z + ½)² + ½a² + ½(a − 2)², least at
    (−½, 1), V = 1. z > 0: ½(z + ½)² + ½(z − a)² + ½(a − 2)², least at (⅓, 7/6), V = 25/24. z = 0: a
    = 1, a maximum in z, V = 9/8."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    found = enumerate_equilibria(sheaf, [[0.0]], pins=[hard("z2", 2.0)])
    np.testing.assert_allclose(
        found.cochains, [[-1 / 2, 1, 2], [1 / 3, 7 / 6, 2], [0, 1, 2]], rtol=0, atol=1e-15
    )
    np.testing.assert_allclose(found.energies, [1, 25 / 24, 9 / 8], rtol=1e-15)
    assert (
        found.sides.tolist() == [[-1], [1], [0]]
        and found.concave.tolist() == [0, 0, 1]
        and found.units.tolist() == [0]
    )
    assert repr(found) == "Equilibria(2 strict local minima of 3 stationary points, 3 faces)"


def test_a_convex_corner_by_hand():
    """b¹ = ½ and a clamped to −1: the force at z = 0 is ½ from below and −½ from above."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))
    found = enumerate_equilibria(sheaf, [[0.0]], pins=hard("a1", -1.0))
    assert (
        found.cochains.tolist() == [[0, -1, -1]]
        and found.sides.tolist() == [[0]]
        and found.concave.tolist() == [0]
    )


@given(st.sampled_from(DAGS), SEEDS)
def test_without_pins_only_the_forward_pass(kind, seed):
    p = small(kind, np.random.default_rng(seed))
    found = enumerate_equilibria(p.sheaf, p.x)
    assert nearest(found.minima, p.sheaf.forward(p.x)[0]) < 1e-12 and found.energies[0] < 1e-24


@given(st.sampled_from(SLOPES), SEEDS)
def test_clamped_kinks_are_no_faces_and_all_may_be_clamped(slope, seed):
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(
        Network(
            2,
            [
                ("z1", Affine(rng.standard_normal((4, 2)))),
                ("a1", ReLU(4, slope)),
                ("z2", Affine(rng.standard_normal((1, 4)))),
            ],
        )
    )
    x = rng.standard_normal((1, 2))
    pins = [hard("z1", rng.standard_normal(3), at=(0, 1, 3)), soft("z2", 2.0, gamma=3.0)]
    assert enumerate_equilibria(sheaf, x, pins=pins).sides.shape[1] == 1
    everything = [
        hard(name, rng.standard_normal(n)) for name, n in zip(sheaf.layout.names, sheaf.layout.dims)
    ]
    found = enumerate_equilibria(sheaf, x, pins=everything)
    assert (
        found.cochains.tolist() == [[v for pin in everything for v in pin.value]]
        and found.index_sum == 1
    )
    assert len(enumerate_equilibria(sheaf, x, pins=everything[:1] + everything[2:]).cochains) == 1


def test_nets_without_kinks_have_one_equilibrium():
    sheaf = NeuralSheaf(Network.mlp([[[1.0, 2.0]]]))
    found = enumerate_equilibria(sheaf, [[1.0, 1.0]], pins=soft("z1", 5.0, gamma=1.0))
    assert (
        found.cochains.tolist() == [[4.0]]
        and found.energies.tolist() == [1.0]
        and found.sides.shape == (1, 0)
    )


def test_many_faces_in_chunks():
    """59 049 faces are taken in several chunks; none is lost, none comes twice."""
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.he([2, 10, 1], rng))
    found = enumerate_equilibria(sheaf, rng.standard_normal((1, 2)), pins=hard("z2", 4.0))
    assert found.index_sum == 1 and len(np.unique(found.sides, axis=0)) == len(found.sides)
