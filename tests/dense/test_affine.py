"""The three forms of an affine map, dense, sparse, matrix-free, are one map; its gradient; its
norm.
"""

import numpy as np
import pytest
import scipy.sparse as sparse

from sheaflib import Affine, Network, NeuralSheaf, harmonic_extension
from sheaflib.linear import spectrum

RNG = np.random.default_rng(2)
W, B = RNG.standard_normal((4, 3)) * (RNG.random((4, 3)) < 0.7), RNG.standard_normal(4)
A, E = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 4))
FORMS = {
    "dense": Affine(W, B),
    "csr": Affine(sparse.csr_array(W), B),
    "coo matrix": Affine(sparse.coo_matrix(W), B),
    "matrix-free": Affine.from_maps(lambda a: a @ W.T, lambda e: e @ W, W.shape, B),
}


@pytest.mark.parametrize("affine", FORMS.values(), ids=FORMS)
def test_value_adjoint_entries_and_norm(affine):
    np.testing.assert_allclose(affine.value(A), A @ W.T + B, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(affine.adjoint(E), E @ W, rtol=1e-14, atol=1e-14)
    rows, columns, entries = affine.triplets()
    np.testing.assert_array_equal(
        sparse.coo_array((entries, (rows, columns)), shape=W.shape).toarray(), W
    )
    assert affine.norm == pytest.approx(np.linalg.svd(W)[1][0], rel=1e-12)


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_gradient_is_the_batch_sum_of_outer_products(form):
    gradient = FORMS[form].gradient(A, E)
    dW, db = gradient["weight"], gradient["bias"]
    expected = sum(np.outer(e, a) for e, a in zip(E, A))
    found = dW.toarray() if sparse.issparse(dW) else dW
    np.testing.assert_allclose(
        found, expected if form == "dense" else np.where(W, expected, 0), rtol=1e-13, atol=1e-14
    )
    np.testing.assert_allclose(db, E.sum(axis=0), rtol=1e-14)


def test_gradient_of_a_matrix_free_map_is_refused():
    with pytest.raises(TypeError, match="matrix-free"):
        FORMS["matrix-free"].gradient(A, E)


@pytest.mark.parametrize("form", [sparse.csr_array, lambda w: w], ids=["sparse", "dense"])
@pytest.mark.parametrize(
    "matrix",
    [RNG.standard_normal((60, 50)), np.ones((40, 40)), np.zeros((40, 40))],
    ids=["random", "rank one", "zero"],
)
def test_norm_of_larger_maps_is_an_upper_bound_and_sharp(matrix, form):
    exact, found = np.linalg.norm(matrix, 2), Affine(form(matrix)).norm
    assert exact * (1 - 1e-14) <= found <= exact * (1 + 2e-6)


def test_norm_of_a_matrix_free_map_by_lanczos():
    matrix = RNG.standard_normal((60, 50))
    affine = Affine.from_maps(lambda a: a @ matrix.T, lambda e: e @ matrix, matrix.shape)
    assert np.linalg.norm(matrix, 2) <= affine.norm <= np.linalg.norm(matrix, 2) * (1 + 2e-6)


def test_norm_of_a_flat_sparse_map_forms_no_large_dense_matrix():
    """One row that reads 300 000 coordinates: an identity of that size would take 671 GiB."""
    row = sparse.csr_array(([3.0, 4.0], ([0, 0], [0, 299_999])), shape=(1, 300_000))
    assert Affine(row).norm == pytest.approx(5.0, rel=2e-6)


def test_network_of_each_form_is_the_same_sheaf():
    def sheaf(affine):
        return NeuralSheaf(
            Network(3, [("z1", FORMS["dense"]), ("z2", Affine(W.T)), ("z3", affine)])
        )

    reference = sheaf(FORMS["dense"])
    for affine in FORMS.values():
        other = sheaf(affine)
        np.testing.assert_allclose(
            harmonic_extension(other, A).cochain, reference.forward(A), rtol=1e-13, atol=1e-14
        )
        np.testing.assert_array_equal(
            other.coboundary([]).toarray(), reference.coboundary([]).toarray()
        )
        assert spectrum.bound(other) == pytest.approx(spectrum.bound(reference), rel=1e-12)


def test_adjoint_of_a_pair_is_checked():
    with pytest.raises(
        ValueError,
        match=r"adjoint is not the adjoint of apply.*⟨apply\(a\), e⟩ = .* but ⟨a, adjoint\(e\)⟩ = ",
    ):
        Affine.from_maps(lambda a: a @ W.T, lambda e: 2 * e @ W, W.shape)
    with pytest.raises(ValueError, match=r"apply\(a\) has shape \(2, 3\), expected \(2, 4\)"):
        Affine.from_maps(lambda a: a, lambda e: e @ W, W.shape)


def test_a_sparse_weight_is_not_replaced_by_a_dense_one():
    affine = Affine(sparse.csr_array(np.eye(2)))
    with pytest.raises(TypeError, match="weight is array.*expected a csr_array as in Affine"):
        affine.with_parameters(weight=np.eye(2))
