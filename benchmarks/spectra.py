"""Large networks: the coboundary, both ends of the spectrum without a matrix, the resistance of
many outputs, and what is done to every coordinate once.
"""

import tracemalloc
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import scipy as sp

from benchmarks import Side
from sheaflib import MaxPool, Network, NeuralSheaf, hard, soft
from sheaflib.diagnosis.measures import worst_neurons
from sheaflib.linear import resistance, spectrum
from sheaflib.sheaves.pins import resolve

SAMPLES = 50  # of [2,300,300,1], treated as one batch


def sparse(widths, rng):
    """A chain of ReLU layers with nine weights a unit, and a max-pool whose windows overlap."""
    pool = MaxPool((np.arange(widths[-1])[:, None] + np.arange(4)) % widths[-1], widths[-1])
    nodes = Network.mlp(
        [sp.sparse.random_array((b, a), density=9 / a, rng=rng) for a, b in pairwise(widths)]
    ).nodes
    return Network(widths[0], [*nodes, ("pool", pool, nodes[-1].name)])


# widths of 10⁷ weights, of N = 10⁵ and of N = 10⁶
DEEP, OUTPUTS, LARGE = [500] * 41 + [10], [10_000, 24_500, 24_500, 1000], [250_000] * 3
FORWARD = {  # row -> network, what is done, at most how many forward passes it costs, of how many
    "sparse coboundary": (Network.he, DEEP, lambda sheaf, s: sheaf.coboundary(s[0]), 300, 1),
    "λ₁ of 41 layers of width 500": (Network.he, DEEP, spectrum.smallest, 60, 1),
    "ρ of 1000 outputs": (
        sparse,
        OUTPUTS,
        lambda sheaf, s: resistance.effective_resistance(sheaf, s).total,
        100,
        50,
    ),
    "λ_max(ρ) of 1000 outputs": (
        sparse,
        OUTPUTS,
        lambda sheaf, s: resistance.effective_resistance(sheaf, s).norm,
        300,
        1,
    ),
    "springs and clamps": (
        sparse,
        LARGE,
        lambda sheaf, s: resolve(sheaf, [hard("a1", 1), soft("z2", 1, 2), soft("z2", 0, 3)], 1),
        10,
        1,
    ),
    "worst neurons": (
        sparse,
        LARGE,
        lambda sheaf, s: worst_neurons(sheaf, sheaf.row_weights, 10),
        5,
        1,
    ),
    "max-pool's adjoint": (
        sparse,
        LARGE,
        lambda sheaf, s: sheaf.network.nodes[-1].operation.adjoint(
            np.ones((1, LARGE[-1])), s[:, -LARGE[-1] :]
        ),
        5,
        1,
    ),
}


def peak(call):
    """The most bytes of arrays that stood while it ran, beyond those that stood before."""
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("name", FORWARD)
def test_large_network(row, name):
    """Against forward passes."""
    rng, (network, widths, compute, most, batch) = np.random.default_rng(0), FORWARD[name]
    sheaf, x = NeuralSheaf(network(widths, rng)), rng.standard_normal((batch, widths[0]))
    ours = Side(partial(compute, sheaf, sheaf.forward_pattern(x[:1])))
    # fmt: skip
    row(
        f"{name}, N = {sheaf.N}",
        ours,
        Side(lambda: sheaf.network(x)),
        f"against the forward pass of a batch of {batch}; goal: at most {most} of them (ratio ≥ "
        f"{1 / most:.2g}); {peak(ours.call) / 2**30:.2f} GiB of new arrays (goal: 2)",
    )


def test_extreme_eigenvalues(row):
    """λ₁, λ_max and their vectors for a batch, per sample, against building L and `eigh`."""
    rng = np.random.default_rng(0)
    sheaf, x = NeuralSheaf(Network.he([2, 300, 300, 1], rng)), rng.standard_normal((SAMPLES, 2))
    patterns = sheaf.forward_pattern(x)
    ours = Side(lambda: spectrum.extremes(sheaf, patterns, dense=0), SAMPLES)
    dense = Side(lambda: np.linalg.eigh(sheaf.laplacian(patterns[0]).toarray()))
    found, (values, _) = ours.call(), dense.call()
    assert (
        np.abs([found.smallest[0] / values[0] - 1, found.largest[0] / values[-1] - 1]).max() < 1e-8
    )
    # fmt: skip
    row(
        "extreme eigenvalues 2x300x300x1",
        ours,
        dense,
        f"N = {sheaf.N}, per sample of a batch of {SAMPLES}, {found.steps[0]} + {found.steps[1]} "
        "Lanczos steps, against building L and a dense eigh; goal: 100×; values agree to 1e-8",
    )
