"""Pinned problems for a frozen pattern against dense constrained least squares."""

from dataclasses import replace

import numpy as np
import pytest
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import constrained_minimum, dense_laplacian, dense_system, row_weights
from strategies import MODERATE, cases

from sheaflib import Network, NeuralSheaf, hard, harmonic_extension, relax, soft

GAMMAS = (0.01, 1.0, 30.0)


@st.composite
def pinned_cases(draw):
    """A case, pins, and per sample the hard (i, v) and soft (i, γ, t) they mean."""
    case = draw(cases(scales=MODERATE, most=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pins, clamped, springs = [], [{} for _ in case.x], [[] for _ in case.x]
    for name in draw(st.lists(st.sampled_from(case.sheaf.layout.names), min_size=1, max_size=4)):
        s = case.sheaf.layout[name]
        n = s.stop - s.start
        at = (
            None
            if rng.random() < 0.4
            else tuple(rng.permutation(n)[: rng.integers(1, n + 1)].tolist())
        )
        indices = [s.start + i for i in (range(n) if at is None else at)]
        per_sample = rng.random() < 0.5
        value = rng.standard_normal((len(case.x), len(indices)) if per_sample else len(indices))
        is_hard = rng.random() < 0.5 and not any(i in clamped[0] for i in indices)
        gamma = rng.choice(GAMMAS)
        pins.append(hard(name, value, at) if is_hard else soft(name, value, gamma, at))
        for sample, row in enumerate(np.broadcast_to(value, (len(case.x), len(indices)))):
            if is_hard:
                clamped[sample].update(zip(indices, row))
            else:
                springs[sample] += [(i, gamma, t) for i, t in zip(indices, row)]
    return case, pins, clamped, springs


@given(pinned_cases())
def test_direct_pinned_solve(drawn):
    case, pins, clamped, springs = drawn
    sheaf, s = case.sheaf, case.pattern
    solution = harmonic_extension(sheaf, case.x, pins=pins, pattern=s)
    assert solution.frozen and solution.pattern_changes == (solution.own_pattern != s).sum()
    for i, x in enumerate(case.x):
        delta, c = dense_system(sheaf.network, s[i], x)
        loose = [(k, gamma, t) for k, gamma, t in springs[i] if k not in clamped[i]]
        expected = constrained_minimum(delta, c, row_weights(sheaf), clamped[i].items(), loose)
        size = 1 + abs(expected).max() + abs(c).max()
        condition = np.linalg.cond(np.sqrt(row_weights(sheaf))[:, None] * delta)
        np.testing.assert_allclose(
            solution.cochain[i], expected, rtol=0, atol=1e-13 * condition**2 * size
        )
        for k, v in clamped[i].items():
            assert solution.cochain[i, k] == v


def test_springs_on_one_coordinate_rest_at_their_weighted_mean():
    """½(z − 1)² + ½ z² + 3/2 (z − 4)² is least at z = (1 + 0 + 12)/5."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]]]))
    pins = [soft("z1", 0.0, 1.0), soft("z1", 4.0, 3.0)]
    found = harmonic_extension(sheaf, [[1.0]], pins=pins)
    np.testing.assert_allclose(found.cochain, [[2.6]], rtol=1e-14)


@given(pinned_cases())
def test_residual_is_the_largest_gradient_off_the_clamped_coordinates(drawn):
    case, pins, clamped, springs = drawn
    sheaf, s = case.sheaf, case.pattern
    solution = harmonic_extension(sheaf, case.x, pins=pins, pattern=s)
    moved = replace(solution, cochain=case.w)
    largest = 0.0
    for i, x in enumerate(case.x):
        delta, c = dense_system(sheaf.network, s[i], x)
        gradient = delta.T @ (row_weights(sheaf) * (delta @ case.w[i] - c))
        for k, gamma, t in springs[i]:
            gradient[k] += gamma * (case.w[i, k] - t)
        gradient[list(clamped[i])] = 0
        largest = max(largest, abs(gradient).max())
    assert moved.residual == pytest.approx(largest, rel=1e-10, abs=1e-12)
    assert solution.residual <= 1e-8 * (1 + largest)


@given(pinned_cases())
def test_error_of_a_pinned_solution_measures_the_distance(drawn):
    """Move the answer by a known amount on the free coordinates: `error` finds that amount."""
    case, pins, clamped, _ = drawn
    sheaf = case.sheaf
    solution = harmonic_extension(sheaf, case.x, pins=pins, pattern=case.pattern)
    shift = 1e3 * case.w
    shift[:, list(clamped[0])] = 0
    moved = replace(solution, cochain=solution.cochain + shift)
    condition = max(np.linalg.cond(dense_laplacian(sheaf, s)) for s in case.pattern)
    assert moved.error == pytest.approx(
        abs(shift).max(), abs=1e-12 * condition * (1e4 + abs(solution.cochain).max())
    )


def test_two_springs_on_one_coordinate_are_one_of_summed_stiffness():
    sheaf, x = NeuralSheaf(Network.mlp([[[1.0]], [[2.0]]])), [[1.0]]
    both = harmonic_extension(
        sheaf, x, pins=[soft("a1", 4.0, gamma=1.0), soft("a1", 1.0, gamma=3.0)], pattern=[True]
    )
    delta, c = dense_system(sheaf.network, [1], np.array([1.0]))
    expected = constrained_minimum(delta, c, np.ones(3), soft=[(1, 1.0, 4.0), (1, 3.0, 1.0)])
    np.testing.assert_allclose(both.cochain[0], expected, rtol=1e-13)


def test_energy_counts_the_spring_of_every_soft_pin():
    """V = ½‖δw − c‖² + ½Σγ(w − t)², every penalty edge by itself, also when two hold one
    coordinate.
    """
    sheaf, x = NeuralSheaf(Network.mlp([[[1.0]], [[2.0]]])), [[1.0]]
    springs = [(1, 1.0, 4.0), (1, 3.0, 1.0)]
    solution = harmonic_extension(
        sheaf, x, pins=[soft("a1", t, gamma=gamma) for _, gamma, t in springs], pattern=[True]
    )
    w = solution.cochain[0]
    delta, c = dense_system(sheaf.network, [1], np.array([1.0]))
    expected = 0.5 * np.sum((delta @ w - c) ** 2) + 0.5 * sum(
        gamma * (w[i] - t) ** 2 for i, gamma, t in springs
    )
    assert solution.energy[0] == pytest.approx(expected, rel=1e-12)


def test_hard_wins_over_soft():
    sheaf, x = NeuralSheaf(Network.mlp([[[1.0]], [[2.0]]])), [[1.0]]
    pinned = harmonic_extension(sheaf, x, pins=[soft("a1", 9.0, gamma=100.0), hard("a1", 3.0)])
    np.testing.assert_array_equal(
        pinned.cochain, harmonic_extension(sheaf, x, pins=hard("a1", 3.0)).cochain
    )


@examples(10)
@given(st.integers(0, 10**6))
def test_flow_and_direct_solve_agree_when_the_pattern_does(seed):
    """Pins near the forward pass leave the pattern alone: then the flow ends at the frozen
    pattern's answer.
    """
    rng = np.random.default_rng(seed)
    sheaf, x = NeuralSheaf(Network.he([2, 4, 2], rng)), rng.standard_normal((2, 2))
    w = sheaf.forward(x)
    margin = abs(w[:, sheaf.layout["z1"]]).min()
    pins = [
        hard("z2", w[:, -2:] + [[0.05 * margin, 0.0]]),
        soft("a1", w[:, 4:6] + 0.05 * margin, 2.0, at=(0, 1)),
    ]
    direct = harmonic_extension(sheaf, x, pins=pins)
    assume(direct.pattern_changes == 0)
    flow = relax(sheaf, x, w, tol=1e-14, pins=pins, every=10_000)
    np.testing.assert_allclose(flow.cochain, direct.cochain, rtol=0, atol=1e-9)
    assert flow.residual < 1e-10


def test_without_pins_no_coordinate_moves_and_pins_at_the_forward_pass_change_nothing():
    rng = np.random.default_rng(0)
    sheaf, x = NeuralSheaf(Network.he([3, 5, 4, 2], rng)), rng.standard_normal((4, 3))
    w = sheaf.forward(x)
    for name in sheaf.layout.names:
        pinned = harmonic_extension(sheaf, x, pins=hard(name, w[:, sheaf.layout[name]]))
        np.testing.assert_allclose(pinned.cochain, w, rtol=0, atol=1e-13)
        assert (pinned.energy < 1e-26).all()


def test_negative_places_count_from_the_end():
    sheaf, x = NeuralSheaf(Network.he([2, 4, 2], np.random.default_rng(2))), [[1.0, -1.0]]
    np.testing.assert_array_equal(
        harmonic_extension(sheaf, x, pins=hard("a1", 1.0, at=-1)).cochain,
        harmonic_extension(sheaf, x, pins=hard("a1", 1.0, at=3)).cochain,
    )
