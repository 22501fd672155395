"""Relative cohomology vanishes: H⁰(G, U; F) = H¹(G, U; F) = 0 with the paper's extended stalks, for
every pattern.
"""

import numpy as np
from hypothesis import given
from strategies import MODERATE, cases

from sheaflib import Affine, Clamp


@given(cases(scales=MODERATE, most=6))
def test_relative_cohomology_vanishes(case):
    cellular = case.sheaf.extended.cellular(case.pattern[0])
    assert cellular.relative_dims(case.sheaf.extended.boundary_index) == (0, 0)


@given(cases(integer=True))
def test_cellular_sheaf_splits_into_the_free_and_the_boundary_part(case):
    sheaf, s = case.sheaf, case.pattern[0]
    cellular, boundary = sheaf.extended.cellular(s), sheaf.extended.boundary_index
    free = np.setdiff1d(np.arange(cellular.layout.size), boundary)
    whole = cellular.coboundary
    np.testing.assert_array_equal(whole[:, free].toarray(), sheaf.coboundary(s).toarray())
    np.testing.assert_array_equal(
        whole[:, boundary].toarray(), sheaf.extended.boundary_coboundary(s).toarray()
    )
    np.testing.assert_array_equal(
        cellular.laplacian[free][:, free].toarray(), sheaf.laplacian(s).toarray()
    )
    np.testing.assert_array_equal(
        cellular.laplacian[free][:, boundary].toarray(),
        sheaf.extended.boundary_laplacian(s).toarray(),
    )


@given(cases(integer=True))
def test_forward_pass_with_its_boundary_data_is_a_global_section(case):
    """δ(ω, u) = 0 with u = (x, 1, …, 1): the forward pass is a global section of the whole
    sheaf.
    """
    sheaf, x = case.sheaf, case.x[:1]
    w = sheaf.forward(x)
    s = sheaf.pattern(w, x)[0]
    section = np.zeros(sheaf.extended.layout.size)
    section[sheaf.extended.boundary_index] = sheaf.extended.boundary_values(x)[0]
    section[np.setdiff1d(np.arange(section.size), sheaf.extended.boundary_index)] = w[0]
    assert not (sheaf.extended.cellular(s).coboundary @ section).any()
    assert section[sheaf.extended.layout["x"]][: sheaf.network.n_in].tolist() == x[0].tolist()


@given(cases(integer=True))
def test_stalk_and_edge_dimensions(case):
    """dim C¹ = dim Ω = N; the tail of an affine edge or of a clamp's carries one ones-block as wide
    as its head; a clamp at 0 alone has no constant.
    """
    sheaf = case.sheaf
    dims = {
        "x": sheaf.network.n_in,
        **{node.name: node.operation.n_out for node in sheaf.network.nodes},
    }
    constant = {
        node.name
        for node in sheaf.network.nodes
        if isinstance(node.operation, Affine)
        or isinstance(node.operation, Clamp)
        and {node.operation.low, node.operation.high} - {0, np.inf, -np.inf}
    }
    assert sum(e.dim for e in sheaf.edges) == sheaf.N == sum(dims.values()) - dims["x"]
    for vertex, n in dims.items():
        ones = sum(dims[e.head] for e in sheaf.edges if e.tail == vertex and e.head in constant)
        stalk = sheaf.extended.layout[vertex]
        assert stalk.stop - stalk.start == n + ones
