"""Consequences of det L = 1, the pattern-free bound, and what pins do to a spectrum."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import EPS
from strategies import MODERATE, any_pattern, cases

from sheaflib import Network, NeuralSheaf, hard, soft
from sheaflib.linear import spectrum
from sheaflib.sheaves.pins import resolve


@given(cases(scales=MODERATE, weighted=False, most=6))
def test_eigenvalues_multiply_to_one_and_straddle_it(case):
    values = spectrum.eigenvalues(case.sheaf, case.pattern[0])
    assert (values > 0).all()
    assert abs(np.log(values).sum()) <= 100 * len(values) * EPS * values[-1] / values[0]
    assert values[0] <= 1 + 1e-12 and values[-1] >= 1 - 1e-12


@given(cases(cube=True))
def test_bound_holds_for_every_dag_pattern_weight_and_edge_weight(case):
    L = case.sheaf.laplacian(case.pattern[0]).toarray()
    assert np.linalg.eigvalsh(L)[-1] <= spectrum.bound(case.sheaf) * (1 + 1e-12)


@given(
    case=cases(outputs=("sigmoid", "softmax"), scales=MODERATE),
    gamma=st.sampled_from([0.1, 10.0, 1e4]),
    output_force=st.sampled_from(["jacobian", "identity"]),
)
def test_bound_holds_with_output_edge_and_springs(case, gamma, output_force):
    sheaf = case.sheaf
    pins = resolve(sheaf, soft(sheaf.layout.names[0], 0.0, gamma), 1, augmented=True)
    z = np.random.default_rng(0).standard_normal(sheaf.network.n_out)
    values = spectrum.eigenvalues(sheaf, case.pattern[0], pins=pins, z=z, output_force=output_force)
    assert values[-1] <= spectrum.bound(
        sheaf, pins=pins, augmented=True, output_force=output_force
    ) * (1 + 1e-12)


def test_bound_of_a_chain_is_the_largest_inner_weight():
    """(1 + max(1, max_{ℓ≥2} ‖W^ℓ‖))², the first layer does not count."""
    network = Network.mlp([[[100.0], [0.0]], [[3.0, 0.0], [0.0, 2.0]], [[0.5, 0.5]]])
    assert spectrum.bound(NeuralSheaf(network)) == pytest.approx(16.0, rel=1e-14)
    assert spectrum.bound(NeuralSheaf(network, {"affine_2": 5.0})) == pytest.approx(80.0, rel=1e-14)


@st.composite
def pinned_cases(draw):
    case = draw(cases(scales=MODERATE, most=6))
    indices = draw(
        st.sets(st.integers(0, case.sheaf.N - 1), min_size=1, max_size=max(1, case.sheaf.N - 1))
    )
    assume(len(indices) < case.sheaf.N)
    return case, sorted(indices)


def pins_at(sheaf, indices, make):
    return [make(*sheaf.layout.locate(i)) for i in indices]


@given(pinned_cases())
def test_hard_pins_interlace(drawn):
    """λ_i(L) ≤ λ_i(pinned) ≤ λ_{i+k}(L) (Cauchy); in particular λ₁ never decreases."""
    case, indices = drawn
    pins = resolve(
        case.sheaf, pins_at(case.sheaf, indices, lambda stalk, at: hard(stalk, 0.0, at)), 1
    )
    free = spectrum.eigenvalues(case.sheaf, case.pattern[0])
    pinned = spectrum.eigenvalues(case.sheaf, case.pattern[0], pins=pins)
    slack = 1e-12 * free[-1]
    assert len(pinned) == len(free) - len(indices)
    assert (free[: len(pinned)] <= pinned + slack).all()
    assert (pinned <= free[len(indices) :] + slack).all()


@given(pinned_cases(), st.sampled_from([0.01, 1.0, 100.0]))
def test_soft_pins_raise_every_eigenvalue_by_at_most_gamma(drawn, gamma):
    case, indices = drawn
    pins = resolve(
        case.sheaf, pins_at(case.sheaf, indices, lambda stalk, at: soft(stalk, 0.0, gamma, at)), 1
    )
    free = spectrum.eigenvalues(case.sheaf, case.pattern[0])
    pinned = spectrum.eigenvalues(case.sheaf, case.pattern[0], pins=pins)
    slack = 1e-12 * pinned[-1]
    assert (free <= pinned + slack).all()
    assert (pinned <= free + gamma + slack).all()
    assert pinned.sum() == pytest.approx(free.sum() + gamma * len(indices), rel=1e-10)


@given(pinned_cases())
def test_pinned_determinant_is_the_complementary_minor_of_the_inverse(drawn):
    """det L_FF = det L · det (L⁻¹)_PP (Jacobi), det L = Π w_e^{dim e}."""
    case, indices = drawn
    sheaf = case.sheaf
    pins = resolve(sheaf, pins_at(sheaf, indices, lambda stalk, at: hard(stalk, 0.0, at)), 1)
    values = spectrum.eigenvalues(sheaf, case.pattern[0])
    assume(values[-1] / values[0] < 1e8)
    inverse = np.linalg.inv(sheaf.laplacian(case.pattern[0]).toarray())
    log_minor = np.linalg.slogdet(inverse[np.ix_(indices, indices)])[1]
    log_pinned = np.log(spectrum.eigenvalues(sheaf, case.pattern[0], pins=pins)).sum()
    assert log_pinned == pytest.approx(np.log(sheaf.row_weights).sum() + log_minor, abs=1e-5)


@given(cases(scales=MODERATE, outputs=("sigmoid", "softmax"), weighted=False, most=6))
def test_augmented_coboundary_has_determinant_one(case):
    """Thm 4.2's linearisation: one more identity block, so Π λ = 1 again."""
    sheaf = case.sheaf
    z = np.linspace(-1, 2, sheaf.network.n_out)
    values = spectrum.eigenvalues(sheaf, case.pattern[0], z=z)
    assert len(values) == sheaf.N + sheaf.network.n_out
    assert abs(np.log(values).sum()) <= 100 * len(values) * EPS * values[-1] / values[0]


def test_smallest_eigenvalue_by_hand():
    """1-1-1 with unit weights, active: δ = [[1,0,0],[-1,1,0],[0,-1,1]], a path of three with one
    end tied: λ = 4 sin²((2i−1)π/14).
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    expected = 4 * np.sin((2 * np.arange(1, 4) - 1) * np.pi / 14) ** 2
    np.testing.assert_allclose(spectrum.eigenvalues(sheaf, [True]), expected, rtol=1e-13)
    # a1 cut off from z1
    low, high = spectrum.extreme(sheaf, any_pattern(sheaf, np.random.default_rng(0))[0] * 0)
    np.testing.assert_allclose([low, high], [(3 - 5**0.5) / 2, (3 + 5**0.5) / 2], rtol=1e-13)
