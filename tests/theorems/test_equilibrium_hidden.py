"""Equilibria whose gradient is rounding of its own terms, and which are none; minima at which
numbers vanish; labels that saturate."""

import numpy as np
import pytest
from effort import seeds
from exact_equilibrium import face

from sheaflib import Affine, Network, NeuralSheaf, ReLU, hard, soft
from sheaflib.equilibria.certificate import MINIMUM, NO_MINIMUM, certify
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.newton import equilibrium


@pytest.mark.parametrize("stiffness", [4e6, 1e9, 1e12])
def test_a_stiff_direction_hides_no_soft_one(stiffness):
    """The output holds a₁ − a₂ alone, by a weight W: along a₁ + a₂ V falls to 0, the forward pass,
    though W² ε exceeds that slope."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0], [1.0]], [[stiffness, -stiffness]]]))
    pins, x = hard("z2", 0.0), np.ones((1, 1))
    away = np.array([[1.25, 1.25, 1.5, 1.5, 0.0]])
    assert certify(PinnedEnergy(sheaf, x, pins), away).verdict.tolist() == [NO_MINIMUM]
    found = equilibrium(sheaf, x, pins=pins, start=away)
    assert found.converged.all() and found.energy[0] < 1e-25
    np.testing.assert_allclose(found.cochain, [[1, 1, 1, 1, 0]], rtol=0, atol=1e-12)


def test_nor_with_a_large_bystander():
    sheaf = NeuralSheaf(Network(3, [("a", ReLU(3)), ("z", Affine([[1e12, -1e12, 0.0]], [0.0]))]))
    found = equilibrium(
        sheaf, [[1.0, 1.0, 1e13]], pins=hard("z", 0.0), start=[[1e4, 1e4, 1e13, 0.0]]
    )
    assert found.converged.all() and found.energy[0] < 1e-6
    np.testing.assert_allclose(found.cochain, [[1, 1, 1e13, 0]], rtol=1e-9, atol=0)


def test_minima_with_exact_zeros_are_reached():
    """Whole weights and inputs: many z and a are 0 exactly at the minimum, which random starts
    reach in a few iterations."""
    for seed in seeds(60):
        rng = np.random.default_rng(seed)
        weights = [np.round(rng.standard_normal((n, m))) for m, n in ((2, 3), (3, 3), (3, 1))]
        sheaf, x = NeuralSheaf(Network.mlp(weights)), np.round(rng.standard_normal((1, 2)))
        found = equilibrium(
            sheaf,
            x,
            pins=hard("z3", sheaf.network(x) + 1.0),
            start=rng.standard_normal((1, sheaf.N)),
        )
        assert found.converged.all() and found.iterations[0] < 30, seed


@pytest.mark.parametrize("seed", seeds(10))
def test_a_network_without_biases_at_zero(seed):
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(Network.he([2, 5, 5, 1], rng))
    found = equilibrium(
        sheaf, np.zeros((1, 2)), pins=hard("z3", 1.0), start=rng.standard_normal((1, sheaf.N))
    )
    exact, is_minimum = face(sheaf, np.zeros(2), {sheaf.N - 1: 1.0}, {}, found.cochain[0])
    assert found.converged.all()
    np.testing.assert_allclose(found.cochain[0], [float(v) for v in exact], rtol=1e-9, atol=1e-14)


def test_a_matrix_free_map_hides_nothing():
    weight = np.array([[0.0, 1.0]])
    free = Affine.from_maps(lambda a: a @ weight.T, lambda e: e @ weight, weight.shape)
    found = equilibrium(
        NeuralSheaf(Network(2, [("a", ReLU(2)), ("z", free)])), [[1e16, 1.0]], pins=hard("z", 2.0)
    )
    assert found.converged.all() and found.certificate.verdict.tolist() == [MINIMUM]
    np.testing.assert_allclose(found.cochain, [[1e16, 1.5, 2.0]], rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-160, 1e-8])
def test_the_lower_side_is_found_at_any_scale(scale):
    """Mode "global": from the wrong side, forces whose squares vanish decide all the same. Known:
    (4/3, 5/3, 2), three resistors of 1."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    found = equilibrium(
        sheaf, [[scale]], pins=hard("z2", 2 * scale), start=[[-1.0, 0.0, 0.0]], mode="global"
    )
    assert found.converged.all()
    np.testing.assert_allclose(found.cochain / scale, [[4 / 3, 5 / 3, 2]], rtol=1e-12)


@pytest.mark.parametrize("weight", [1e4, 1e6])
def test_a_saturated_label_ends(weight):
    """A sigmoid far on the wrong side of its label: slopes of 1e12 and no curvature, which a line
    search may overshoot."""
    for bias in np.linspace(-3, 3, 13):
        network = Network.mlp(
            [[[1.0]], [[weight]]], [[0.0], [weight * (1 + bias)]], output="sigmoid"
        )
        found = equilibrium(
            NeuralSheaf(network, {"affine_2": 15.0}), [[1.0]], pins=hard("a_out", [[0.0]])
        )
        assert found.converged.all()


def test_nothing_at_all_is_at_rest():
    found = equilibrium(
        NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])), [[0.0]], pins=soft("z2", 1.0, 1.0)
    )
    np.testing.assert_allclose(found.cochain[0], [0.25, 0.5, 0.75], rtol=1e-12)


def test_the_reason_is_true_when_iterations_run_out():
    rng = np.random.default_rng(1)
    sheaf = NeuralSheaf(Network.he([3, 20, 20, 2], rng))
    found = equilibrium(
        sheaf, rng.standard_normal((40, 3)), pins=hard("z3", [1.0, -1.0]), max_iterations=2
    )
    slow = ~found.converged
    assert (
        slow.any()
        and found.reason == f"{slow.sum()} of 40 samples not converged after 2 iterations"
    )
