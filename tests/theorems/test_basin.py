"""The basin that a certificate grants, against the exact flow and against enumeration: it is never
contradicted.
"""

import numpy as np
import pytest
from equilibrium_cases import toy
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import Network, NeuralSheaf, ReLU, equilibrium, exact_flow, hard
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.networks.affine import Affine

SEEDS = st.integers(0, 2**32 - 1)


def rim(basin, w, direction):
    """The farthest of the starts w + 0.8^k direction that lies in the basin."""
    for k in range(120):
        start = w + 0.8**k * direction
        if basin.holds(start)[0]:
            return start
    raise AssertionError("the basin is empty")


@given(SEEDS, st.sampled_from([(2, 6, 1), (2, 4, 4, 1), (3, 5, 4, 3, 2)]))
def test_every_start_inside_flows_to_its_equilibrium(seed, dims):
    p, rng = toy(seed, dims), np.random.default_rng(seed)
    found = equilibrium(p.sheaf, p.x, pins=p.pins, start=p.start)
    basin, free = found.certificate.basin(), ~found.problem.clamped
    assert basin.radius[0] >= 0 and (basin.radius[0] == 0 or basin.holds(found.cochain)[0])
    if basin.radius[0] < 1e-12:
        return
    for _ in range(3):
        start = rim(basin, found.cochain, free * rng.standard_normal(found.cochain.shape))
        assert abs(
            exact_flow(p.sheaf, p.x, start, pins=p.pins).limit - found.cochain[0]
        ).max() < 1e-7 * (1 + abs(found.cochain).max())


@given(SEEDS)
def test_no_other_equilibrium_lies_inside(seed):
    """A saddle may lie on the rim itself, where V = V* + r: there the cheapest facet is touched."""
    p = toy(seed)
    listed = enumerate_equilibria(p.sheaf, p.x, pins=p.pins)
    found = equilibrium(p.sheaf, p.x, pins=p.pins, start=p.start)
    basin = found.certificate.basin()
    below = listed.energies < found.energy + basin.radius * (1 - 1e-9)
    others = listed.cochains[below & (abs(listed.cochains - found.cochain).max(axis=1) > 1e-8)]
    assert not any(basin.holds(w[None])[0] for w in others)


def test_two_basins_by_hand():
    """One unit, x = 0, b = −½, z² clamped to 2: minima at z = −½ and ⅓. L is the identity at the
    inactive one, [[2, −1], [−1, 2]] at the other.

    So a facet z = 0 costs (½)²/2 there, and (⅓)²/(2 · ⅔) here.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    found = equilibrium(
        sheaf, np.zeros((2, 1)), pins=hard("z2", 2.0), start=[[-1.0, 0.0, 2.0], [1.0, 1.0, 2.0]]
    )
    assert found.cochain[:, 0] == pytest.approx([-1 / 2, 1 / 3])
    assert found.certificate.basin().radius == pytest.approx([1 / 8, 1 / 12])


def test_leaky_units_are_refused():
    network = Network(1, [("z1", Affine([[1.0]])), ("a1", ReLU(1, 0.1)), ("z2", Affine([[1.0]]))])
    with pytest.raises(ValueError, match="slope 0"):
        equilibrium(NeuralSheaf(network), [[1.0]], pins=hard("z2", 3.0)).certificate.basin()
