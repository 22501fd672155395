"""Thm 4.1: exponential convergence from every start, V(t) ≤ V(0) e^{−2αμt} with μ the smallest λ₁
over the cube of patterns.

Inside one pattern Euler with α·dt·λ_max ≤ 1 obeys the bound itself, since (1 − s)² ≤ e^{−2s};
across switches the bound's slack is used.
"""

from itertools import product

import numpy as np
import pytest

from sheaflib import Network, NeuralSheaf, heat, relax
from sheaflib.linear import spectrum


def rate(sheaf, rng):
    """min λ₁ over all vertices, edge midpoints and centres of the cube, and 200 points inside
    it.
    """
    patterns = [*product([0.0, 0.5, 1.0], repeat=sheaf.M), *rng.random((200, sheaf.M))]
    return spectrum.extremes(sheaf, np.array(patterns)).smallest.min()


@pytest.mark.parametrize("alpha", [1.0, 2.5])
@pytest.mark.parametrize(
    "dims, seed",
    [
        ([1, 1, 1], 0),
        ([2, 3, 1], 1),
        ([2, 3, 1], 2),
        ([2, 2, 2, 1], 3),
        ([2, 2, 2, 1], 4),
        ([1, 4, 2], 5),
    ],
)
def test_energy_stays_below_the_exponential(dims, seed, alpha):
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(
        Network.mlp(
            [rng.standard_normal((n, m)) for m, n in zip(dims, dims[1:])],
            [rng.standard_normal(n) for n in dims[1:]],
        )
    )
    mu, x = rate(sheaf, rng), rng.standard_normal((5, dims[0]))
    x[1:] = x[0]
    start = 3 * rng.standard_normal((5, sheaf.N))
    first = sheaf.energy(start, x)
    for state in heat(sheaf, x, start, dt=0.002 / alpha, alpha=alpha, every=200):
        assert (
            sheaf.energy(state.cochain, x)
            <= first * np.exp(-2 * alpha * mu * state.time) * (1 + 1e-12)
        ).all()
        if state.step >= 4000:
            break


@pytest.mark.parametrize("seed", range(4))
def test_every_start_ends_at_the_forward_pass(seed):
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(Network.he([2, 4, 3, 1], rng))
    x = np.repeat(rng.standard_normal((1, 2)), 8, axis=0)
    solution = relax(sheaf, x, 5 * rng.standard_normal((8, sheaf.N)), tol=1e-13, every=10_000)
    slowest = min(spectrum.extreme(sheaf, s)[0] for s in np.unique(solution.pattern, axis=0))
    np.testing.assert_allclose(
        solution.cochain, sheaf.forward(x), atol=1e-13 * sheaf.N / (solution.history.dt * slowest)
    )


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_nonlinear_outputs_converge_too(output):
    """Thm 4.2: a_out takes part in the flow and ends at φ of the forward pass."""
    rng = np.random.default_rng(8)
    sheaf = NeuralSheaf(Network.he([2, 3, 2], rng, output))
    x = rng.standard_normal((3, 2))
    solution = relax(sheaf, x, rng.standard_normal((3, sheaf.N + 2)), tol=1e-13, every=10_000)
    np.testing.assert_allclose(solution.cochain, sheaf.forward(x, augmented=True), atol=1e-9)
    np.testing.assert_allclose(solution["a_out"], sheaf.network(x), atol=1e-9)
