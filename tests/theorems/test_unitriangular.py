"""Lemma 3.2: δ_Ω is unit lower triangular, det δ_Ω = 1 and L ≻ 0 for every network, pattern and
weights. No tolerance anywhere.
"""

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from strategies import any_pattern, cases

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack
from sheaflib.layers import add
from sheaflib.linear.rational import determinant, gram, pivots, rational


@given(cases(cube=True))
def test_unit_lower_triangular_for_every_dag_and_every_point_of_the_cube(case):
    delta = case.sheaf.coboundary(case.pattern[0]).toarray()
    assert (np.diag(delta) == 1).all()
    assert not np.triu(delta, 1).any()


@given(cases(cube=True, most=5))
def test_determinant_of_delta_is_exactly_one(case):
    assert determinant(rational(case.sheaf.coboundary(case.pattern[0]))) == 1


@given(cases(weighted=False, most=5))
def test_laplacian_is_positive_definite_with_determinant_one_in_rational_arithmetic(case):
    found = pivots(gram(rational(case.sheaf.coboundary(case.pattern[0]))))
    assert all(pivot > 0 for pivot in found)
    assert prod(found) == 1


@given(cases(integer=True, most=5))
def test_determinant_of_weighted_laplacian_is_the_product_of_edge_weights(case):
    sheaf = case.sheaf
    expected = prod(Fraction(sheaf.edge_weights[e.name]) ** e.dim for e in sheaf.edges)
    found = pivots(rational(sheaf.laplacian(case.pattern[0])))
    assert all(pivot > 0 for pivot in found)
    assert prod(found) == expected


@pytest.mark.parametrize(
    "network",
    [
        Network.mlp([[[1, -2], [3, 0.5], [0, 0]], [[2, 2, 2], [2, 2, 2]], [[1, -1]]]),
        Network(
            2,
            [
                ("z1", Affine([[1, 2], [3, 4]])),
                ("a1", ReLU(2)),
                ("z2", Affine([[1, -1], [2, 0]])),
                ("p", Stack(2, 2), ("z2", "a1")),
                ("s", add(2)),
                ("a2", ReLU(2)),
                ("z3", Affine([[1, 1]])),
            ],
        ),
    ],
    ids=["chain", "residual block"],
)
def test_every_one_of_the_2_to_the_M_patterns(network):
    sheaf = NeuralSheaf(network)
    for pattern in product([False, True], repeat=sheaf.M):
        assert determinant(gram(rational(sheaf.coboundary(pattern)))) == 1


@pytest.mark.parametrize("dims", [[3, 200, 200, 2], [2] + [12] * 20 + [1]], ids=["wide", "deep"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_large_networks_by_their_triangular_structure(dims, scale):
    rng = np.random.default_rng(5)
    sheaf = NeuralSheaf(
        Network.mlp([scale * rng.standard_normal((n, m)) for m, n in zip(dims, dims[1:])])
    )
    delta = sheaf.coboundary(any_pattern(sheaf, rng)[0]).tocoo()
    rows, columns = delta.coords
    assert (rows >= columns)[delta.data != 0].all()
    assert (delta.diagonal() == 1).all()
