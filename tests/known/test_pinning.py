"""Two points of rest under one pinned output, by their formulas, and clamps counted on matrices
whose minors are known.
"""

from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from oracles import dense_laplacian
from scipy.sparse import csr_array

from sheaflib import Network, NeuralSheaf, hard
from sheaflib.companion import pinning
from sheaflib.companion.figures import pinned
from sheaflib.plots.schematic import BOUNDARY, FREE

TINY = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))


def off(y):
    """z, a and V with the neuron off: a lies in the middle between 0 and y."""
    return [-0.5, y / 2, y**2 / 4]


def on(y):
    """z, a and V with the neuron on: three springs in a row share the distance y + ½."""
    return [(y - 1) / 3, (4 * y - 1) / 6, (y + 0.5) ** 2 / 6]


@settings(max_examples=25, deadline=None)
@given(y=st.floats(-1, 0.9) | st.floats(1.1, 4))
def test_the_equilibria_that_are_found_are_those_of_the_formulas(y):
    found = pinning.basins(TINY, y, 8)
    assert set(found.ends) == ({"inactive", "active"} if y > 1 else {"inactive"})
    np.testing.assert_allclose(found.ends["inactive"], off(y), atol=1e-12)
    if y > 1:
        np.testing.assert_allclose(found.ends["active"], on(y), atol=1e-12)


@pytest.mark.parametrize(
    "y, words, missing",
    [
        (0.5, ["pinned to 0.5", "every start", "inactive", "0.0625"], ["%", "higher", "lower"]),
        (2.0, ["pinned to 2", "1.0417, higher", "1.0000"], ["every"]),
        (3.0, ["pinned to 3", "2.0417, lower", "2.2500"], ["every"]),
    ],
)
def test_the_sentence_says_what_there_is(y, words, missing):
    found = pinning.basins(TINY, y, 8)
    assert all(word in found.told for word in words)
    assert not any(word in found.told for word in missing)
    fig = pinned.two_basins(found)
    title = fig.axes[0].get_title()
    pyplot.close(fig)
    assert title.endswith("two equilibria" if y > 1 else "one equilibrium")


def test_a_start_with_the_neuron_far_on_or_off_stays_there():
    found = pinning.basins(TINY, 2.0, 8)
    above = found.a > 0.5
    assert found.active[above][:, found.z > 0].all()
    assert not found.active[:, found.z < 0].any()


def of_matrix(L):
    """Something with one pattern, the restricted Laplacian of which is L."""
    return SimpleNamespace(N=len(L), M=0, laplacian=lambda pattern: csr_array(L))


def test_where_the_determinant_is_not_one_every_minor_differs():
    # det(2 I) = 2ⁿ: what is left has 2ⁿ⁻ᵏ, the inverse's minor is 2⁻ᵏ
    counted = pinning.interlacing(of_matrix(2 * np.eye(4)), most=3)
    assert counted == {"lambda-1-lowered": 0, "minor-differs": 4 + comb(4, 2) + comb(4, 3)}


def test_where_the_determinant_is_one_none_differs():
    L = np.diag([0.25, 1.0, 2.0, 2.0])
    assert pinning.interlacing(of_matrix(L)) == {"lambda-1-lowered": 0, "minor-differs": 0}


def test_the_slowest_rates_are_those_of_the_dense_matrices():
    sheaf = NeuralSheaf(Network.he([2, 3, 1], np.random.default_rng(3)))
    rates = pinning.slowest_rates(sheaf)
    every = [dense_laplacian(sheaf, s) for s in pinning.patterns(sheaf)]
    assert list(rates) == ["none", *(sheaf.layout.label(i) for i in range(sheaf.N))]
    np.testing.assert_allclose(rates["none"], [np.linalg.eigvalsh(L)[0] for L in every])
    for i in range(sheaf.N):
        left = [np.delete(np.delete(L, i, 0), i, 1) for L in every]
        np.testing.assert_allclose(
            rates[sheaf.layout.label(i)], [np.linalg.eigvalsh(part)[0] for part in left]
        )


def test_only_the_clamped_coordinates_are_grey():
    sheaf = NeuralSheaf(Network.he([2, 4, 1], np.random.default_rng(0)))
    for at, grey in ((2, [2]), ([0, -1], [0, 3]), (None, [0, 1, 2, 3])):
        ax = pinned.pinned_schematic(sheaf, [hard("z1", 0.5, at=at)])
        squares = [p for p in ax.patches if isinstance(p, Rectangle)]
        colours = [to_hex(square.get_facecolor()) for square in squares]
        pyplot.close(ax.figure)
        assert colours == [BOUNDARY if i in grey else FREE for i in range(4)]
