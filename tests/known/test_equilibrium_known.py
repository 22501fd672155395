"""Equilibria with known digits: the recorded pins of the net [2,4,1], and nets of one neuron a
layer by hand.
"""

import numpy as np
import pytest
from equilibrium_cases import MODES

from sheaflib import Network, NeuralSheaf, hard, soft
from sheaflib.companion.tasks import paper_network
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.equilibria.newton import equilibrium

PAPER, X = NeuralSheaf(paper_network("2x4x1", 42)), [[1.0, 0.5]]


def line(b1, w2=1.0):
    return NeuralSheaf(Network.mlp([[[1.0]], [[w2]]], [[b1], [0.0]]))


def test_recorded_hard_pin():
    found = equilibrium(PAPER, X, pins=hard("z1", 0.5, at=0))
    assert found.output[0, 0] == pytest.approx(1.310511, abs=5e-7) and found["z1"][0, 0] == 0.5
    assert found.iterations.tolist() == [1] and found.certificate.minimum().all()


@pytest.mark.parametrize(
    "gamma, z, output",
    [
        (0.1, 0.364632, 1.162022),
        (1, 0.200548, 0.639112),
        (10, 0.036463, 0.116202),
        (100, 0.003971, 0.012656),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_recorded_soft_pins(gamma, z, output, mode):
    found = equilibrium(PAPER, X, pins=soft("z1", 0.0, gamma), mode=mode)
    assert found["z1"][0, 0] == pytest.approx(z, abs=5e-7) and found.output[0, 0] == pytest.approx(
        output, abs=5e-7
    )
    assert found.iterations[0] <= 2 and found.certificate.minimum().all()


@pytest.mark.parametrize("start", [None, [[3.0, 0.0, 0.0]], [[-3.0, 5.0, 2.0]], [[0.0, 0.0, 0.0]]])
@pytest.mark.parametrize("mode", MODES)
def test_a_corner_is_held_exactly(start, mode):
    """x = 0, b¹ = ½, a clamped to −1: the force on z at 0 is ½ from below, −½ from above."""
    found = equilibrium(line(0.5), [[0.0]], pins=hard("a1", -1.0), start=start, mode=mode)
    assert found.cochain.tolist() == [[0.0, -1.0, -1.0]] and found.iterations[0] <= 1
    certificate = found.certificate
    assert certificate.minimum().all() and certificate.corner.tolist() == [[True, False, False]]
    assert (certificate.slack_minus[0, 0], certificate.slack_plus[0, 0]) == (0.5, 0.5)
    assert 0 < certificate.margin[0] <= 0.5 and certificate.pattern_certified.all()
    assert found.energy.tolist() == [0.5 * (0.5**2 + 1)]


@pytest.mark.parametrize(
    "start, expected",
    [
        (None, [-1 / 2, 1, 2]),
        ([[-3.0, -3.0, 0.0]], [-1 / 2, 1, 2]),
        ([[-1.0, 1.0, 0.0]], [-1 / 2, 1, 2]),
        ([[1.0, 1.0, 0.0]], [1 / 3, 7 / 6, 2]),
        ([[0.0, 5.0, 0.0]], [1 / 3, 7 / 6, 2]),
    ],
)
def test_two_equilibria_by_start(start, expected):
    """x = 0, b¹ = −½, z2 clamped to 2: "track" keeps the side of its start where that has a
    minimum; V = 1 and 25/24.
    """
    found = equilibrium(line(-0.5), [[0.0]], pins=hard("z2", 2.0), start=start)
    np.testing.assert_allclose(found.cochain, [expected], rtol=0, atol=1e-14)
    assert found.certificate.minimum().all() and found.certificate.dividing.tolist() == [1]
    assert found.energy[0] == pytest.approx(1 if expected[0] < 0 else 25 / 24, rel=1e-14)


def test_both_are_found_by_other_starts():
    found = equilibrium(line(-0.5), [[0.0]], pins=hard("z2", 2.0)).others(20)
    assert found.count.tolist() == [2]
    np.testing.assert_allclose(
        sorted(found.cochains[0].tolist()), [[-1 / 2, 1, 2], [1 / 3, 7 / 6, 2]], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("mode", MODES)
def test_zero_input_and_zero_bias(mode):
    """Every kink starts at its corner; the start is the answer where nothing is pinned, and a pin
    is met where one is.
    """
    sheaf = NeuralSheaf(Network.he([2, 6, 4, 1], np.random.default_rng(0)))
    assert not equilibrium(sheaf, [[0.0, 0.0]], mode=mode).cochain.any()
    found = equilibrium(sheaf, [[0.0, 0.0]], pins=hard("z3", 1.0), mode=mode)
    assert found.converged.all() and found.certificate.minimum().all()


@pytest.mark.parametrize("y", [-2.0, 0.0, 1.0, 7.5])
def test_recorded_net_with_a_label_against_enumeration(y):
    pins = hard("z2", y)
    minima = enumerate_equilibria(PAPER, X, pins=pins).minima
    for mode in MODES:
        found = equilibrium(PAPER, X, pins=pins, mode=mode)
        assert abs(minima - found.cochain).max(axis=1).min() < 1e-12
