"""What the exact flow rests on when weights are large: all singular values of δ, and a march that
tells a slow fall from rest.
"""

from fractions import Fraction

import numpy as np
import pytest

from sheaflib import Network, NeuralSheaf
from sheaflib.flow.first_zero import first_zero
from sheaflib.flow.quadratics import minimum, singular


@pytest.mark.parametrize("s", [1e2, 1e5, 1e8, 1e12])
def test_two_by_two(s):
    """(1 0; −s 1): σ₁σ₂ = det = 1 and σ₁² + σ₂² = 2 + s², so σ_max − 1/σ_max = s."""
    U, sigma, V = singular(np.array([[1.0, 0.0], [-s, 1.0]]))
    largest = (s + np.sqrt(s**2 + 4)) / 2
    np.testing.assert_allclose(np.sort(sigma), [1 / largest, largest], rtol=1e-13)
    np.testing.assert_allclose(U * sigma @ V.T, [[1.0, 0.0], [-s, 1.0]], rtol=0, atol=1e-14 * s)


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
def test_the_product_of_all_is_one(size):
    """det δ = 1 (Lemma 3.2), though σ_min may be 10⁻¹⁴ of σ_max."""
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.mlp([size * rng.standard_normal((4, 4)) for _ in range(3)]))
    delta = sheaf.coboundary(np.ones(sheaf.M, dtype=bool)).toarray()
    sigma = singular(delta)[1]
    assert abs(np.log(sigma).sum()) < 1e-11


def test_the_minimum_with_held_coordinates_against_exact_least_squares():
    """Normal equations in rational numbers; the gradient is rounding of its own terms."""
    rng = np.random.default_rng(3)
    sheaf = NeuralSheaf(
        Network.mlp([1e3 * rng.standard_normal((2, 1)), 1e3 * rng.standard_normal((1, 2))])
    )
    A = sheaf.coboundary(np.ones(sheaf.M, dtype=bool)).toarray()
    A = np.concatenate([A, 0.5 * np.eye(sheaf.N)[[2]]])
    b, w, free = rng.standard_normal(len(A)), rng.standard_normal(sheaf.N), np.array([1, 2, 3])
    held = np.array([0, 4])
    exact = [[Fraction(v) for v in row] for row in A.tolist()]
    right = [
        Fraction(b[i]) - sum(exact[i][j] * Fraction(w[j]) for j in held) for i in range(len(A))
    ]
    rows = [
        [sum(exact[i][j] * exact[i][k] for i in range(len(A))) for k in free]
        + [sum(exact[i][j] * right[i] for i in range(len(A)))]
        for j in free
    ]
    for k in range(len(free)):
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for i in range(len(free)):
            if i != k:
                rows[i] = [p - rows[i][k] * q for p, q in zip(rows[i], rows[k])]
    found = minimum(A, b, free, w)
    np.testing.assert_allclose(found.w[free], [float(row[-1]) for row in rows], rtol=1e-10)
    np.testing.assert_array_equal(found.w[held], w[held])
    terms = np.abs(A).T @ (np.abs(A) @ np.abs(found.w) + np.abs(b))
    gradient = A.T @ (A @ found.w - b)
    assert (np.abs(gradient) <= 100 * np.finfo(float).eps * terms)[free].all()


@pytest.mark.parametrize("slow", [1e-3, 1e-6, 1e-9])
def test_a_slow_fall_beside_a_fast_rate_is_no_rest(slow):
    """2e^{−λt} − 1 + 10⁻¹²e^{−10⁹t} is zero at ln 2/λ; 10⁹ times its size is no measure of h'."""
    zero = first_zero(np.array([-1.0]), np.array([[2.0, 1e-12]]), np.array([slow, 1e9]))
    assert zero.which == 0
    np.testing.assert_allclose(zero.time, np.log(2) / slow, rtol=1e-13)
