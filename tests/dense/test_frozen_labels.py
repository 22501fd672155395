"""What labels cost at a frozen pattern, against equilibria of networks whose pattern cannot change,
dense matrices, and SciPy's minimiser.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import dense_system
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from sheaflib import Affine, Network, NeuralSheaf, Stack, equilibrium, hard, report
from sheaflib.diagnosis import frozen
from sheaflib.linear import resistance
from sheaflib.sheaves import discord

SEEDS = st.integers(0, 2**32 - 1)
OUTPUTS = ("identity", "sigmoid", "softmax")


def linear(output, rng):
    """A network without a selection: its pattern cannot change. And weights for its edges."""
    nodes = [
        ("u", Affine(rng.standard_normal((4, 3)), rng.standard_normal(4))),
        ("v", Affine(rng.standard_normal((4, 4))), "u"),
        ("p", Stack(4, 4), ("v", "u")),
        ("z", Affine(rng.standard_normal((3, 8)), rng.standard_normal(3))),
    ]
    network = Network(3, nodes, output)
    edges = [edge.name for edge in NeuralSheaf(network).edges]
    return NeuralSheaf(network, {name: rng.uniform(0.5, 2.0) for name in edges})


def labels(output, count, n, rng):
    """Labels of an output: numbers, 0 and 1, or one-hot."""
    if output == "identity":
        return rng.standard_normal((count, n))
    if output == "sigmoid":
        return rng.integers(0, 2, (count, n)).astype(float)
    return np.eye(n)[rng.integers(0, n, count)]


@given(SEEDS, st.sampled_from(OUTPUTS))
def test_where_no_pattern_changes_it_is_the_equilibrium(seed, output):
    """Every sample with every label, edge by edge, whatever the weights of the edges."""
    rng = np.random.default_rng(seed)
    sheaf = linear(output, rng)
    x, y = rng.standard_normal((3, 3)), labels(output, 4, 3, rng)
    found = frozen.costs(sheaf, x, y)
    stalk = "z" if output == "identity" else "a_out"
    for k, label in enumerate(y):
        rest = equilibrium(sheaf, x, pins=hard(stalk, np.tile(label, (3, 1))))
        assert rest.converged.all()
        for name, values in discord.per_edge(sheaf, rest.cochain, x).items():
            np.testing.assert_allclose(found.discord[name][:, k], values, rtol=1e-6, atol=1e-12)


def dense(sheaf, x):
    """ρ, its parts by edge over the edge's weight, and the logits, of one sample, by the inverse of
    the dense δ.
    """
    pattern = sheaf.forward_pattern(x[None])[0]
    inverse = np.linalg.inv(dense_system(sheaf.network, pattern, x)[0])
    last = sheaf.layout[sheaf.network.output_name]
    G, parts = inverse[last], {}
    for edge in sheaf.edges:
        if edge.kind != "output":
            weight = sheaf.edge_weights[edge.name]
            parts[edge.name] = G[:, edge.rows] @ G[:, edge.rows].T / weight
    return sum(parts.values()), parts, sheaf.forward(x[None])[0, last]


@given(SEEDS, st.sampled_from(OUTPUTS), st.booleans())
def test_of_a_network_with_kinks_against_a_minimiser(seed, output, streamed):
    """The energy of a current c is ½cᵀρc and the output's; its minimum by SciPy, whose discord is
    that of dense parts. The same where G is not held.
    """
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(Network.he([3, 6, 5, 3], rng, output), 1.5)
    x, y = rng.standard_normal((2, 3)), labels(output, 3, 3, rng)
    with pytest.MonkeyPatch.context() as patch:
        if streamed:
            patch.setattr(resistance, "ENTRIES", 40)
        found = frozen.costs(sheaf, x, y)
        assert found.passes == 2 * frozen.passes_of(sheaf) == 2 * (1 + 3 * (2 if streamed else 1))
    for i, one in enumerate(x):
        rho, parts, z = dense(sheaf, one)
        assert found.norm[i] == pytest.approx(np.linalg.eigvalsh(rho)[-1], rel=1e-9)
        for k, label in enumerate(y):

            def energy(c, label=label, rho=rho, z=z):
                at = z + rho @ c
                if output == "softmax":
                    extra, pull = -(label @ log_softmax(at)), softmax(at) - label
                else:
                    extra = np.logaddexp(0, at).sum() - label @ at
                    pull = expit(at) - label
                return 0.5 * c @ rho @ c + 1.5 * extra, rho @ (c + 1.5 * pull)

            if output == "identity":
                current = np.linalg.solve(rho, label - z)
            else:
                current = minimize(energy, np.zeros(3), jac=True, tol=1e-14).x
            for name, part in parts.items():
                expected = current @ part @ current / 1.5
                assert found.discord[name][i, k] == pytest.approx(expected, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_current_of_any_resistance_meets_its_equation(output, size):
    """c = κ(y − φ(z₀ + ρc)), logits that are far off included."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 4, 4))
    rho = size * (root @ root.swapaxes(1, 2) + 0.1 * np.eye(4))
    z, y = 30 * rng.standard_normal((5, 4)), labels(output, 6, 4, rng)
    network = Network.mlp([np.eye(4)], None, output)
    c = frozen.currents(network.output, rho, z, y, 2.0)
    at = z[:, None] + np.einsum("mij,mkj->mki", rho, c)
    phi = softmax(at, axis=2) if output == "softmax" else expit(at)
    np.testing.assert_allclose(c, 2.0 * (y[None] - phi), rtol=1e-5, atol=1e-9)


def test_the_permutations_of_a_linear_network_are_those_of_its_equilibria():
    """Both nulls of a report have the same values, and the same discord of the samples' own."""
    rng = np.random.default_rng(1)
    sheaf = linear("softmax", rng)
    x, y = rng.standard_normal((3, 3)), np.array([0, 1, 2])
    found = report(sheaf, x, y, budget=20_000, progress=False)
    assert found.permutations > 20
    for row in found.edges:
        both = [set(means[row.name].round(9)) for means in (found.frozen, found.null)]
        assert both[0] == both[1] and len(both[0]) == 6
        assert row.frozen.same == pytest.approx(row.solved.same, rel=1e-6)
