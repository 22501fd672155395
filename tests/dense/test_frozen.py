"""A batch of frozen sheaves as operators: every product against a dense matrix written from the
definition.
"""

import numpy as np
import pytest
from hypothesis import given
from oracles import dense_system, row_weights
from strategies import MODERATE, any_pattern, cases

from sheaflib import Network, NeuralSheaf, ReLU, hard, soft
from sheaflib.linear.fixed_pattern import Frozen, output_maps
from sheaflib.linear.resistance import effective_resistance
from sheaflib.networks.output import Output
from sheaflib.sheaves.pins import resolve


def dense_delta(sheaf, pattern, z=None, output_force="jacobian"):
    """δ for one pattern, with the row and column of a_out where z is given, and the weights of its
    rows.
    """
    delta, _ = dense_system(sheaf.network, pattern, np.zeros(sheaf.network.n_in))
    if z is None:
        return delta, row_weights(sheaf)
    p = Output(sheaf.network.output.name).value(z[None])[0]
    J = (
        np.diag(p * (1 - p))
        if sheaf.network.output.name == "sigmoid"
        else np.diag(p) - np.outer(p, p)
    )
    if output_force == "identity":
        values, vectors = np.linalg.eigh(J)
        # a softmax's J has the exact eigenvalue 0
        J = vectors @ np.diag(np.sqrt(np.where(values > 1e-14, values, 0))) @ vectors.T
    n, N = len(z), sheaf.N
    whole = np.eye(N + n)
    whole[:N, :N] = delta
    whole[N:, N - n : N] = -J
    return whole, np.concatenate([row_weights(sheaf), np.full(n, sheaf.edge_weights["output"])])


def agree(frozen, deltas, weights, springs, free, tol=1e-12):
    """All of `frozen` against δ (B, …) with a spring γ on some coordinates and the others than
    `free` clamped.
    """
    rng = np.random.default_rng(0)
    v = rng.standard_normal((len(deltas), deltas[0].shape[0]))
    u = rng.standard_normal((len(deltas), int(free.sum())))
    for i, delta in enumerate(deltas):

        def near(found, expected, worst=1.0):
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=tol * worst * max(1, np.abs(expected).max(initial=0))
            )

        inverse = np.linalg.inv(delta)
        steep = np.linalg.norm(delta) * np.linalg.norm(inverse)
        near(frozen.push(v)[i], delta @ v[i], np.abs(delta).max())
        near(frozen.pull(v)[i], delta.T @ v[i], np.abs(delta).max())
        near(frozen.forward(v)[i], inverse @ v[i], steep)
        near(frozen.backward(v)[i], inverse.T @ v[i], steep)
        L = (delta.T @ (weights[:, None] * delta) + np.diag(springs))[np.ix_(free, free)]
        near(frozen.laplacian(u)[i], L @ u[i], np.abs(L).max(initial=1) * len(L))
        near(frozen.matrix()[i], L, np.abs(L).max(initial=1))
        if len(L):
            near(frozen.inverse(u)[i], np.linalg.solve(L, u[i]), np.linalg.cond(L))


@given(cases(cube=True, scales=MODERATE))
def test_every_product_is_the_dense_one(case):
    deltas = [dense_delta(case.sheaf, s)[0] for s in case.pattern]
    everything = np.ones(case.sheaf.N, dtype=bool)
    frozen = Frozen(case.sheaf, case.pattern)
    assert (len(frozen), frozen.n, frozen.width) == (len(case.pattern), case.sheaf.N, case.sheaf.N)
    agree(frozen, deltas, row_weights(case.sheaf), np.zeros(case.sheaf.N), everything)


@given(cases(scales=MODERATE))
def test_with_hard_and_soft_pins(case):
    sheaf, rng = case.sheaf, np.random.default_rng(1)
    clamped, springy = np.array_split(rng.permutation(sheaf.N)[: max(1, sheaf.N // 2)], 2)
    names = [
        (name, i)
        for name, width in zip(sheaf.layout.names, sheaf.layout.dims)
        for i in range(width)
    ]
    pins = resolve(
        sheaf,
        [
            *(hard(names[i][0], 1.0, at=names[i][1]) for i in clamped),
            *(soft(names[i][0], 1.0, 3.0, at=names[i][1]) for i in springy),
        ],
        2,
    )
    free, springs = np.ones(sheaf.N, dtype=bool), np.zeros(sheaf.N)
    free[clamped], springs[springy] = False, 3.0
    deltas = [dense_delta(sheaf, s)[0] for s in case.pattern]
    agree(Frozen(sheaf, case.pattern, pins=pins), deltas, row_weights(sheaf), springs, free, 1e-11)


@pytest.mark.parametrize("output_force", ["jacobian", "identity"])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("pinned", [False, True])
def test_with_a_out(output, output_force, pinned):
    rng = np.random.default_rng(2)
    sheaf = NeuralSheaf(Network.he([2, 5, 3], rng, output), {"output": 3.0, "affine_2": 0.5})
    patterns, z = any_pattern(sheaf, rng, 4), rng.standard_normal((4, 3))
    pins = (
        resolve(sheaf, [hard("a_out", 0.3), soft("z1", 0.0, 2.0, at=1)], 4, augmented=True)
        if pinned
        else ()
    )
    free, springs = np.ones(sheaf.N + 3, dtype=bool), np.zeros(sheaf.N + 3)
    if pinned:
        free[sheaf.N :], springs[1] = False, 2.0
    dense = [dense_delta(sheaf, s, logits, output_force) for s, logits in zip(patterns, z)]
    agree(
        Frozen(sheaf, patterns, pins=pins, z=z, output_force=output_force),
        [delta for delta, _ in dense],
        dense[0][1],
        springs,
        free,
    )


def test_many_samples_in_parts(monkeypatch):
    """Dense matrices are made for some samples at a time; how many makes no difference."""
    rng = np.random.default_rng(3)
    sheaf = NeuralSheaf(Network.he([2, 6, 4, 2], rng))
    patterns = any_pattern(sheaf, rng, 7)
    whole, rows = Frozen(sheaf, patterns).matrix(), Frozen(sheaf, patterns).rows([3, 17])
    monkeypatch.setattr("sheaflib.linear.fixed_pattern.AT_ONCE", 1000)
    np.testing.assert_array_equal(Frozen(sheaf, patterns).matrix(), whole)
    np.testing.assert_array_equal(Frozen(sheaf, patterns).rows([3, 17]), rows)
    for i, s in enumerate(patterns):
        np.testing.assert_allclose(whole[i], sheaf.laplacian(s).toarray(), atol=1e-14)
        np.testing.assert_allclose(
            rows[i], np.linalg.inv(sheaf.coboundary(s).toarray())[[3, 17]], atol=1e-13
        )


def test_logits_are_checked():
    sheaf = NeuralSheaf(Network.he([2, 4, 3], np.random.default_rng(0), "softmax"))
    pattern = np.ones((2, 4), dtype=bool)
    with pytest.raises(ValueError, match=r"z has shape \(3, 3\), expected \(2, 3\)"):
        Frozen(sheaf, pattern, z=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="it has no a_out"):
        output_maps(NeuralSheaf(Network.mlp([[[1.0]]])), [[0.0]], 1, "jacobian")
    np.testing.assert_allclose(
        output_maps(sheaf, np.zeros(3), 2, "jacobian"),
        np.broadcast_to(np.eye(3) / 3 - 1 / 9, (2, 3, 3)),
        atol=1e-15,
    )


def test_samples_of_a_frozen_sheaf_with_pins_forget_what_was_kept():
    """A part taken after a solve has its own pinned directions."""
    rng = np.random.default_rng(4)
    sheaf = NeuralSheaf(Network.he([2, 5, 1], rng))
    patterns, pins = any_pattern(sheaf, rng, 3), resolve(sheaf, hard("z2", 0.0), 3)
    frozen = Frozen(sheaf, patterns, pins=pins)
    v = rng.standard_normal((3, frozen.n))
    whole = frozen.inverse(v)
    np.testing.assert_allclose(frozen.samples(slice(1, 3)).inverse(v[1:]), whole[1:], rtol=1e-13)


def test_a_leaky_network_counts_its_slope():
    sheaf = NeuralSheaf(
        Network(
            1,
            [
                ("z1", Network.mlp([[[2.0]]]).nodes[0].operation, ("x",)),
                ("a1", ReLU(1, 0.5), ("z1",)),
            ],
        )
    )
    np.testing.assert_allclose(Frozen(sheaf, [[0]]).matrix()[0], [[1.25, -0.5], [-0.5, 1.0]])
    assert effective_resistance(sheaf, [[0]]).total[0, 0, 0] == 1.25
