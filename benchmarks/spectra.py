"""Large networks: the coboundary, and both ends of the spectrum without a matrix."""

import tracemalloc

import numpy as np
import pytest

from benchmarks import Side
from sheaflib import Network, NeuralSheaf
from sheaflib.linear import spectrum

SAMPLES = 50  # of [2,300,300,1], treated as one batch
FORWARD = {  # row -> what is done, and at most how many forward passes of one sample it may cost
    "sparse coboundary": (lambda sheaf, pattern: sheaf.coboundary(pattern[0]), 300),
    "λ₁ of 41 layers of width 500": (spectrum.smallest, 60),
}


def peak(call):
    """The most bytes of arrays that stood while it ran, beyond those that stood before."""
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("name", FORWARD)
def test_deep_network(row, name):
    """41 affine layers, 10⁷ weights: against the forward pass of one sample."""
    rng, (compute, most) = np.random.default_rng(0), FORWARD[name]
    sheaf, x = NeuralSheaf(Network.he([500] * 41 + [10], rng)), rng.standard_normal((1, 500))
    pattern = sheaf.forward_pattern(x)
    ours = Side(lambda: compute(sheaf, pattern))
    # fmt: skip
    row(
        f"{name}, N = {sheaf.N}",
        ours,
        Side(lambda: sheaf.network(x)),
        f"against the forward pass of one sample; goal: at most {most} of them (ratio ≥ "
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
    ends = np.array([found.smallest[0], found.largest[0]])
    assert np.abs(ends / values[[0, -1]] - 1).max() < 1e-8
    # fmt: skip
    row(
        "extreme eigenvalues 2x300x300x1",
        ours,
        dense,
        f"N = {sheaf.N}, per sample of a batch of {SAMPLES}, {found.steps[0]} + {found.steps[1]} "
        "Lanczos steps, against building L and a dense eigh; goal: 100×; values agree to 1e-8",
    )
