"""The enumeration for every selection, clamp and max-pool included, against brute force over all
sides, corners and ties, against the energy around each point, and by hand.
"""

from functools import cache

import effort
import numpy as np
import pytest
from brute_equilibria import KINDS, Energy, case, minima

from sheaflib import Affine, Network, NeuralSheaf, hard, soft
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.networks.selection import Clamp, MaxPool, PReLU

# of 1520 networks: two of each kind by default, of which one has whole numbers, eighty at length
CASES = [(kind, seed) for kind in KINDS for seed in effort.seeds(2)]


@cache
def drawn(kind, seed):
    """A problem and what is listed for it."""
    p = case(kind, np.random.default_rng([list(KINDS).index(kind), seed]), seed % 2 == 1)
    return p, enumerate_equilibria(p.sheaf, p.x, pins=p.pins)


@pytest.mark.parametrize("kind, seed", CASES)
def test_the_list_is_that_of_brute_force(kind, seed):
    p, found = drawn(kind, seed)
    expected = minima(p.sheaf, p.x, p.pins)
    assert len(found.minima) == len(expected)
    energies = found.energies[found.concave == 0]
    for w, V in expected:
        off = abs(found.minima - w).max(axis=1)
        assert off.min() <= 1e-12 * (1 + abs(w).max())
        assert abs(energies[off.argmin()] - V) <= 1e-13 * (1 + V)


@pytest.mark.parametrize("kind, seed", CASES)
def test_minima_are_minima_and_the_others_are_stationary_and_none(kind, seed):
    """V rises around a minimum in random directions, at several distances within the cells that
    touch it; at any other point 0 is a mean of the gradients around it, and V falls somewhere.
    """
    p, found = drawn(kind, seed)
    rng, V = np.random.default_rng(seed), Energy(p.sheaf, p.x, p.pins)
    assert (np.diff(found.energies) >= 0).all()
    np.testing.assert_allclose(V(found.cochains), found.energies, rtol=1e-12, atol=1e-28)
    assert seed % 2 or found.index_sum == 1  # whole numbers may make a force vanish
    for w, concave in zip(found.cochains, found.concave):
        assert V.is_stationary(w)
        assert V.is_minimum(w) == (concave == 0)
        if concave:
            continue
        steps = rng.uniform(-1, 1, (100, V.N))
        steps[:, list(V.hard)] = 0
        for radius in (1e-7, 1e-4, 1e-2, 1.0):
            around = V(w + radius * V.room(w) * steps)
            assert (around >= V(w[None]) * (1 - 1e-14) - 1e-15).all()


@pytest.mark.parametrize("kind, seed", CASES)
def test_sides_say_where_the_points_are(kind, seed):
    p, found = drawn(kind, seed)
    V = Energy(p.sheaf, p.x, p.pins)
    breaks = {scalar.z: np.array(scalar.breaks) for scalar in V.scalars}
    assert [place[0] for place in found.places] == found.units.tolist() == sorted(found.units)
    for w, sides in zip(found.cochains, found.sides):
        for value, v in pinned_values(p, w):
            assert value == v
        for place, side in zip(found.places, sides):
            if place[0] in breaks and len(place) == 1:
                here = breaks[place[0]]
                assert side == (w[place[0]] >= here).sum() + (w[place[0]] > here).sum() - 1
            else:
                values = w[list(place)]
                assert side == (2 ** np.flatnonzero(values == values.max())).sum()


def pinned_values(p, w):
    """Pairs of what a hard pin asks for and what w (N,) has there."""
    for pin in p.pins:
        if np.isinf(pin.gamma):
            here = w[p.sheaf.layout[pin.stalk]]
            yield from zip(np.broadcast_to(pin.value, len(pin.at)), here[list(pin.at)])


def test_the_cases_have_what_they_are_to_show():
    """Corners, convex and concave ties of two and of three, and clamped entries that are tied."""
    seen = set()
    for seed in range(12):
        for kind in ("clamp", "pool last", "overlapping activation", "two pools"):
            p, found = drawn(kind, seed)
            clamped = Energy(p.sheaf, p.x, p.pins).hard
            for sides, concave in zip(found.sides, found.concave):
                for place, side in zip(found.places, sides):
                    if len(place) == 1:
                        seen.add(("coordinate", side))
                        continue
                    tied = [i for k, i in enumerate(place) if side >> k & 1]
                    if len(tied) > 1:
                        seen.add(("tie", len(tied), concave > 0))
                        seen.add(("clamped", any(i in clamped for i in tied)))
    assert {("coordinate", side) for side in range(-1, 4)} <= seen
    assert {("tie", n, concave) for n in (2, 3) for concave in (True, False)} <= seen
    assert ("clamped", True) in seen


# by hand
# --------------------------------------------------------------------------------------------------


def window(entries, pins):
    """What is listed for one window, whose entries are carried `entries`."""
    z = Affine(np.eye(len(entries)))
    pool = MaxPool([[0, *range(len(entries))]], len(entries))  # the first stands there twice
    sheaf = NeuralSheaf(Network(len(entries), [("z", z), ("m", pool)]))
    return enumerate_equilibria(sheaf, [entries], pins=pins)


def test_a_concave_tie_by_hand():
    """Entries are carried 0 and ½, and m is clamped to 2. The first alone: (1, ½), V = 1. The
    second: (0, 5/4), V = 9/16. Tied: t = (0 + ½ + 2)/3 = 5/6 < m, V = 13/12, forces −5/6, −1/3.
    """
    found = window([0.0, 0.5], hard("m", 2.0))
    np.testing.assert_allclose(
        found.cochains, [[0, 5 / 4, 2], [1, 1 / 2, 2], [5 / 6, 5 / 6, 2]], rtol=1e-15
    )
    np.testing.assert_allclose(found.energies, [9 / 16, 1, 13 / 12], rtol=1e-15)
    assert found.sides.tolist() == [[2], [1], [3]] and found.concave.tolist() == [0, 0, 1]
    assert found.places == ((0, 1),) and found.units.tolist() == [0] and found.faces == 3
    assert repr(found) == "Equilibria(2 strict local minima of 3 stationary points, 3 faces)"


def test_a_convex_tie_by_hand():
    """m is clamped to −1: tied at t = (0 + ½ − 1)/3 = −1/6 with forces 1/6 and 2/3, V = 7/12."""
    found = window([0.0, 0.5], hard("m", -1.0))
    np.testing.assert_allclose(found.cochains, [[-1 / 6, -1 / 6, -1]], rtol=1e-15)
    assert found.energies == pytest.approx(7 / 12, rel=1e-15)
    assert found.sides.tolist() == [[3]] and found.concave.tolist() == [0]


def test_a_tie_without_force_above_is_left_out():
    """Entries 0 and 1, m clamped to 2: alone, the first ends at t = 1, just where the second is,
    which may rise from there: V = 1. The second alone is the only equilibrium, V = ¼.
    """
    found = window([0.0, 1.0], hard("m", 2.0))
    assert found.cochains.tolist() == [[0, 1.5, 2]] and found.energies.tolist() == [0.25]
    assert found.index_sum == 1


def test_three_tied_entries_are_a_maximum_in_two_directions():
    """Entries 0 and m = 4: each alone at 2, each two at 4/3, all three at 1."""
    found = window([0.0, 0.0, 0.0], hard("m", 4.0))
    assert found.concave.tolist() == [0, 0, 0, 1, 1, 1, 2] and found.index_sum == 1
    assert sorted(found.sides[:, 0].tolist()) == list(range(1, 8))
    np.testing.assert_allclose(found.energies, [4] * 3 + [16 / 3] * 3 + [6], rtol=1e-15)
    np.testing.assert_allclose(found.cochains[-1], [1, 1, 1, 4], rtol=1e-15)


@pytest.mark.parametrize(
    "carried, m, expected",
    [
        (0.0, -1.0, [(2, 0.0, 0)]),  # below the clamped one
        (2.0, -1.0, [(3, 1.0, 0)]),  # alone it would end at ½: tied, with forces 1 and 1
        (2.0, 1.5, [(1, 1.75, 0)]),
        (0.0, 4.0, [(1, 2.0, 0), (2, 0.0, 0), (3, 1.0, 1)]),  # forces −1 and −2 at the tie
    ],
)
def test_a_clamped_entry_by_hand(carried, m, expected):
    """The first entry is clamped to 1, the last of `places`; the second is carried `carried`."""
    found = window([0.0, carried], [hard("z", 1.0, at=0), hard("m", m)])
    listed = zip(found.sides[:, 0].tolist(), found.cochains[:, 1].tolist(), found.concave.tolist())
    assert sorted(listed) == expected and found.places == ((1, 0),)


def test_a_spring_on_a_tied_entry_by_hand():
    """A spring of stiffness 2 to −1 on the first: t = (0 + ½ − 2 − 1)/(1 + 1 + 2 + 1) = −½, with
    forces −1 on the first, so no tie; the second alone ends at −¼, the first below at −2/3."""
    found = window([0.0, 0.5], [soft("z", -1.0, 2.0, at=0), hard("m", -1.0)])
    np.testing.assert_allclose(found.cochains, [[-2 / 3, -1 / 4, -1]], rtol=1e-15)
    assert found.sides.tolist() == [[2]]


def test_a_clamp_by_hand():
    """z is carried −½, F(z) = min(max(z, 0), 1) is clamped to 3. Below 0: z = −½, V = 9/2. At 0 the
    force is −½ from below, 5/2 from above: a maximum, V = 37/8. Between z would be 5/4. At 1 it is
    ½ and −3/2: a minimum, V = 25/8. Above z would be −½.
    """
    nodes = [("z", Affine([[1.0]])), ("a", Clamp(1, 0.0, 1.0))]
    sheaf = NeuralSheaf(Network(1, nodes))
    found = enumerate_equilibria(sheaf, [[-0.5]], pins=hard("a", 3.0))
    assert found.cochains.tolist() == [[1, 3], [-0.5, 3], [0, 3]]
    assert found.energies.tolist() == [25 / 8, 9 / 2, 37 / 8]
    assert found.sides.tolist() == [[2], [-1], [0]] and found.concave.tolist() == [0, 0, 1]
    assert found.faces == 5 and found.index_sum == 1


def test_what_a_clamp_adds_pulls_what_is_behind_it():
    """Beyond the bound 1 the clamp carries 1 whatever z is: a = (1 + 5)/2 under a spring to 5."""
    nodes = [("z", Affine([[1.0]])), ("a", Clamp(1, 0.0, 1.0))]
    sheaf = NeuralSheaf(Network(1, nodes))
    found = enumerate_equilibria(sheaf, [[2.0]], pins=soft("a", 5.0, 1.0))
    assert found.cochains.tolist() == [[2, 3]] and found.sides.tolist() == [[3]]
    assert found.energies.tolist() == [4.0]


def test_two_readers_of_a_stalk_unite_their_breaks():
    nodes = [("z", Affine([[1.0]])), ("a", Clamp(1, -1.0, 2.0)), ("b", PReLU(1, 0.5), "z")]
    found = enumerate_equilibria(NeuralSheaf(Network(1, nodes)), [[1.0]])
    assert found.faces == 7 and found.sides.tolist() == [[3]]
    assert found.cochains.tolist() == [[1, 1, 1]]


def test_most_faces_of_windows():
    """Two windows of nine make 511² faces, the most there may be is 3^12."""
    rng = np.random.default_rng(0)
    nodes = [
        ("z", Affine(rng.standard_normal((18, 2)))),
        ("m", MaxPool(np.arange(18).reshape(2, 9), 18)),
    ]
    sheaf = NeuralSheaf(Network(2, nodes))
    x = rng.standard_normal((1, 2))
    found = enumerate_equilibria(sheaf, x, pins=hard("m", [1.0, -1.0]))
    assert found.faces == 511**2 and found.index_sum == 1
