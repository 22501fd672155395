"""The affine maps that move coordinates, against plain indexing and their dense matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import Affine, Network
from sheaflib.networks.gather import Gather, Scatter


@st.composite
def moves(draw):
    """A Gather or a Scatter, and what it does to one sample, by indexing."""
    n = draw(st.integers(1, 6))
    if draw(st.booleans()):
        index = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8))
        return Gather(index, n), lambda a: np.array([a[i] for i in index])
    m = n + draw(st.integers(0, 4))
    places = draw(st.permutations(range(m)))[:n]
    fill = np.array(draw(st.lists(st.integers(-3, 3), min_size=m, max_size=m)), dtype=float)

    def scattered(a):
        out = fill.copy()
        for place, number in zip(places, a):
            out[place] = number
        return out

    return Scatter(places, fill), scattered


@given(moves(), st.integers(0, 2**32 - 1))
def test_a_move_is_its_indexing_its_matrix_and_its_adjoint(move, seed):
    operation, expected = move
    rng = np.random.default_rng(seed)
    a, e = rng.standard_normal((3, operation.n_in)), rng.standard_normal((3, operation.n_out))
    value = operation.value(a)
    np.testing.assert_array_equal(value, [expected(row) for row in a])
    matrix = operation.matrix().toarray()
    constant = operation.value(np.zeros((1, operation.n_in)))[0]
    np.testing.assert_allclose(a @ matrix.T + constant, value, rtol=0, atol=1e-14)
    np.testing.assert_allclose(operation.adjoint(e), e @ matrix, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        np.vdot(e, value - constant), np.vdot(operation.adjoint(e), a), rtol=0, atol=1e-12
    )
    assert np.linalg.norm(matrix, 2) <= operation.norm * (1 + 1e-12)
    assert operation.entries == np.count_nonzero(matrix)


def test_a_padding_in_a_network_has_the_gradient_of_a_dense_layer():
    """The constants that a Scatter writes go through the layers after it."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((2, 5))
    pad = Scatter([3, 1], [7.0, 0.0, -1.0, 0.0, 2.0])
    network = Network(2, [("p", pad), ("z", Affine(weight))])
    x = rng.standard_normal((4, 2))
    dense = x @ weight[:, [3, 1]].T + weight @ [7.0, 0.0, -1.0, 0.0, 2.0]
    np.testing.assert_allclose(network(x), dense, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "places, fill, said",
    [
        ([0, 0], [1.0, 2.0], "places holds a number twice"),
        ([2], [1.0, 2.0], "places"),
        ([], [1.0], "places has shape"),
        ([[0]], [1.0], "places has shape"),
        ([0], [[1.0]], "fill has shape"),
        ([0], [np.nan], "fill must be finite"),
        ([0.5], [1.0], "places"),
    ],
)
def test_what_is_no_scattering_is_refused_by_name(places, fill, said):
    with pytest.raises((TypeError, ValueError), match=said):
        Scatter(places, fill)
