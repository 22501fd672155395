"""Batched Lanczos against matrices whose spectrum is known."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaflib.linear.lanczos import BASIS, largest


def with_spectrum(values, rng):
    """A symmetric matrix with these eigenvalues."""
    Q = np.linalg.qr(rng.standard_normal((len(values),) * 2)).Q
    return (Q * values) @ Q.T


@given(st.integers(1, 80), st.integers(1, 4), st.integers(0, 10_000))
def test_the_largest_pair_of_every_sample(n, n_batch, seed):
    rng = np.random.default_rng(seed)
    spectra = rng.uniform(0.1, 10, (n_batch, n))
    matrices = np.array([with_spectrum(values, rng) for values in spectra])
    found = largest(
        lambda v: (matrices @ v[:, :, None])[:, :, 0], rng.standard_normal((n_batch, n)), tol=1e-11
    )
    np.testing.assert_allclose(found.value, spectra.max(axis=1), rtol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(found.vector, axis=1), 1, rtol=1e-13)
    left = np.linalg.norm(
        (matrices @ found.vector[:, :, None])[:, :, 0] - found.value[:, None] * found.vector, axis=1
    )
    np.testing.assert_allclose(left, found.residual, atol=1e-9)


def test_restarts_lose_nothing():
    """Evenly spaced eigenvalues take several cycles of the basis; the value is the largest, not the
    second.
    """
    values = np.linspace(1, 2, 400)
    found = largest(
        lambda v: values * v, np.random.default_rng(0).standard_normal((1, 400)), tol=1e-12
    )
    assert found.steps > 3 * BASIS
    assert found.value[0] == pytest.approx(2, rel=1e-12)
    assert abs(found.vector[0, -1]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "values", [[3.0] * 7, [5.0, 5.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0]]
)
def test_few_distinct_eigenvalues_end_it_early(values):
    values = np.array(values)
    found = largest(
        lambda v: values * v, np.random.default_rng(0).standard_normal((3, len(values)))
    )
    np.testing.assert_allclose(found.value, values.max(), rtol=1e-13)
    assert found.steps <= len(values)


def test_a_batch_waits_for_its_slowest_and_each_sample_has_its_own_answer():
    rng = np.random.default_rng(1)
    quick, slow = np.r_[np.ones(99), 100.0], np.linspace(1, 2, 100)
    values = np.array([quick, slow, 7 * quick])
    found = largest(lambda v: values * v, rng.standard_normal((3, 100)), tol=1e-12)
    np.testing.assert_allclose(found.value, [100, 2, 700], rtol=1e-11)


def test_steps_that_are_asked_for_are_taken_and_too_few_are_an_error():
    values = np.linspace(1, 2, 300)
    start = np.random.default_rng(0).standard_normal((1, 300))
    assert largest(lambda v: 0 * v + v * np.r_[9.0, np.ones(299)], start, least=20).steps == 20
    with pytest.raises(ArithmeticError, match="30 steps leave a relative residual of .*tol=1e-12"):
        largest(lambda v: values * v, start, tol=1e-12, most=30)


def test_at_most_forty_vectors_are_kept():
    """However many steps: 25 of the basis, 8 of a restart, the few that a step works on."""
    n = 50_000
    values = np.linspace(1, 2, n)
    start = np.random.default_rng(0).standard_normal((1, n))
    tracemalloc.start()
    with pytest.raises(ArithmeticError):
        largest(lambda v: values * v, start, tol=1e-13, most=4 * BASIS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 25 * 8 * n < peak < 40 * 8 * n


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_operators_whose_squares_leave_float64(scale):
    """Eigenvalues near either end of float64's range are found as those near 1 are."""
    values = np.r_[np.linspace(1, 2, 50), 3.0]
    start = np.random.default_rng(0).standard_normal((2, 51))
    found = largest(lambda v: scale * (values * v), start, tol=1e-12)
    one = largest(lambda v: values * v, start, tol=1e-12)
    np.testing.assert_allclose(found.value / scale, 3, rtol=1e-12)
    np.testing.assert_allclose(found.vector, one.vector, atol=1e-12)
    np.testing.assert_allclose(found.residual / scale, one.residual, atol=1e-12)


def test_an_operator_that_leaves_float64_is_an_error():
    with pytest.raises(OverflowError, match="Lanczos: the operator leaves float64"):
        largest(lambda v: np.inf * v, np.ones((1, 3)))
