"""The block formula (A.5) and the paper's extended stalks, built with np.block."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator
from strategies import any_pattern, cases

from sheaflib import Network, NeuralSheaf

RNG = np.random.default_rng(3)
W1, W2, W3 = RNG.standard_normal((3, 2)), RNG.standard_normal((2, 3)), RNG.standard_normal((1, 2))
B1, B2, B3 = RNG.standard_normal(3), RNG.standard_normal(2), RNG.standard_normal(1)
CHAIN = Network.mlp([W1, W2, W3], [B1, B2, B3])
I, O = np.eye, np.zeros


@pytest.mark.parametrize("pattern", list(product([0, 1], repeat=5))[::3])
def test_block_formula_of_the_laplacian(pattern):
    """Diagonal [[I+R, −R], [−R, I+WᵀW]] on (z^ℓ, a^ℓ), coupling −W, last block I."""
    R1, R2 = np.diag(pattern[:3]).astype(float), np.diag(pattern[3:]).astype(float)
    expected = np.block(
        [
            [I(3) + R1, -R1, O((3, 2)), O((3, 2)), O((3, 1))],
            [-R1, I(3) + W2.T @ W2, -W2.T, O((3, 2)), O((3, 1))],
            [O((2, 3)), -W2, I(2) + R2, -R2, O((2, 1))],
            [O((2, 3)), O((2, 3)), -R2, I(2) + W3.T @ W3, -W3.T],
            [O((1, 3)), O((1, 3)), O((1, 2)), -W3, I(1)],
        ]
    )
    np.testing.assert_allclose(
        NeuralSheaf(CHAIN).laplacian(pattern).toarray(), expected, rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("pattern", [[0.3, 0.0, 1.0, 0.5, 0.9]])
def test_block_formula_with_edge_weights_inside_the_cube(pattern):
    """Weights w on the five edges; with s ∈ [0,1] the diagonal entry is w₁I + w₂RᵀR."""
    weights = {
        "affine_1": 2.0,
        "activation_1": 3.0,
        "affine_2": 5.0,
        "activation_2": 7.0,
        "affine_3": 11.0,
    }
    R1, R2 = np.diag(pattern[:3]), np.diag(pattern[3:])
    expected = np.block(
        [
            [2 * I(3) + 3 * R1 @ R1, -3 * R1, O((3, 2)), O((3, 2)), O((3, 1))],
            [-3 * R1, 3 * I(3) + 5 * W2.T @ W2, -5 * W2.T, O((3, 2)), O((3, 1))],
            [O((2, 3)), -5 * W2, 5 * I(2) + 7 * R2 @ R2, -7 * R2, O((2, 1))],
            [O((2, 3)), O((2, 3)), -7 * R2, 7 * I(2) + 11 * W3.T @ W3, -11 * W3.T],
            [O((1, 3)), O((1, 3)), O((1, 2)), -11 * W3, 11 * I(1)],
        ]
    )
    np.testing.assert_allclose(
        NeuralSheaf(CHAIN, weights).laplacian(pattern).toarray(), expected, rtol=0, atol=1e-13
    )


def test_boundary_blocks_of_the_laplacian():
    """(z¹; v_x) = −[W¹ | diag b¹], (z^ℓ; 1) = −diag b^ℓ, (a^{ℓ-1}; 1) = W^ℓᵀ diag b^ℓ."""
    expected = np.block(
        [
            [-W1, -np.diag(B1), O((3, 2)), O((3, 1))],
            [O((3, 2)), O((3, 3)), W2.T @ np.diag(B2), O((3, 1))],
            [O((2, 2)), O((2, 3)), -np.diag(B2), O((2, 1))],
            [O((2, 2)), O((2, 3)), O((2, 2)), W3.T @ np.diag(B3)],
            [O((1, 2)), O((1, 3)), O((1, 2)), -np.diag(B3)],
        ]
    )
    sheaf = NeuralSheaf(CHAIN)
    for pattern in any_pattern(sheaf, RNG, 4):
        found = sheaf.extended.boundary_laplacian(pattern).toarray()
        R1, R2 = np.diag(pattern[:3]), np.diag(pattern[3:])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
        assert (R1.shape, R2.shape) == ((3, 3), (2, 2))


def test_whole_coboundary_with_extended_stalks():
    """v_x = R²⊕R³, v_z1 = R³, v_a1 = R³⊕R², v_z2 = R², v_a2 = R²⊕R¹, v_z3 = R¹; rows: affine_1,
    activation_1, …, affine_3.
    """
    pattern = np.array([1, 0, 1, 0, 1])
    R1, R2 = np.diag(pattern[:3]), np.diag(pattern[3:])
    keep1, keep2 = np.hstack([I(3), O((3, 2))]), np.hstack([I(2), O((2, 1))])
    expected = np.block(
        [
            [-np.hstack([W1, np.diag(B1)]), I(3), O((3, 5)), O((3, 2)), O((3, 3)), O((3, 1))],
            [O((3, 5)), -R1, keep1, O((3, 2)), O((3, 3)), O((3, 1))],
            [O((2, 5)), O((2, 3)), -np.hstack([W2, np.diag(B2)]), I(2), O((2, 3)), O((2, 1))],
            [O((2, 5)), O((2, 3)), O((2, 5)), -R2, keep2, O((2, 1))],
            [O((1, 5)), O((1, 3)), O((1, 5)), O((1, 2)), -np.hstack([W3, np.diag(B3)]), I(1)],
        ]
    )
    sheaf = NeuralSheaf(CHAIN)
    cellular = sheaf.extended.cellular(pattern)
    np.testing.assert_array_equal(cellular.coboundary.toarray(), expected)
    assert cellular.layout.names == ("x", "z1", "a1", "z2", "a2", "z3")
    assert cellular.layout.dims == (5, 3, 5, 2, 3, 1)
    assert [e.name for e in cellular.edges] == [
        "affine_1",
        "activation_1",
        "affine_2",
        "activation_2",
        "affine_3",
    ]
    np.testing.assert_array_equal(
        sheaf.extended.boundary_values([[4.0, 5.0]]), [[4, 5, 1, 1, 1, 1, 1, 1]]
    )


def test_harmonic_extension_of_the_cellular_sheaf_is_the_forward_pass():
    sheaf, x = NeuralSheaf(CHAIN), np.array([[0.4, -1.1]])
    w = sheaf.forward(x)
    boundary = {"x": [*x[0], 1, 1, 1], "a1": ([3, 4], [1, 1]), "a2": ([2], [1])}
    extension = sheaf.extended.cellular(sheaf.pattern(w, x)[0]).harmonic_extension(boundary)
    for name in sheaf.layout.names:
        n = sheaf.layout[name].stop - sheaf.layout[name].start
        np.testing.assert_allclose(
            extension[name][:n], w[0, sheaf.layout[name]], rtol=0, atol=1e-12
        )


@given(cases(), st.sampled_from((1e-8, 1.0, 1e8)))
def test_terms_are_those_of_the_absolute_matrices(case, scale):
    """|δ||w| + |c| and |δ|ᵀ diag(w_e)(|δ||w| + |c|), entry by entry; a matrix-free map may only be
    over-estimated.
    """
    sheaf, x, w = case.sheaf, scale * case.x, scale * case.w
    edge, vertex = sheaf.edge_terms(w, x, case.pattern), sheaf.gradient_terms(w, x, case.pattern)
    exact = not any(
        isinstance(getattr(n.operation, "weight", None), LinearOperator)
        for n in sheaf.network.nodes
    )
    for i, s in enumerate(np.broadcast_to(case.pattern, (len(w), sheaf.M))):
        sizes = abs(sheaf.extended.cellular(s).coboundary.toarray())
        free = sizes[:, np.setdiff1d(np.arange(sizes.shape[1]), sheaf.extended.boundary_index)]
        wanted_edge = free @ abs(w[i]) + sizes[:, sheaf.extended.boundary_index] @ abs(
            sheaf.extended.boundary_values(x[[i]])[0]
        )
        wanted = free.T @ (sheaf.row_weights[: sheaf.N] * wanted_edge)
        if exact:
            np.testing.assert_allclose(edge[i], wanted_edge, rtol=1e-12)
            np.testing.assert_allclose(vertex[i], wanted, rtol=1e-12)
        assert (edge[i] >= wanted_edge * (1 - 1e-12)).all() and (
            vertex[i] >= wanted * (1 - 1e-12)
        ).all()
