"""Large networks: output, the coboundary, both ends of the spectrum without a matrix, the
resistance of many outputs, what is done to every coordinate once, and images.
"""

import tracemalloc
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import scipy as sp

from benchmarks import Side
from sheaflib import MaxPool, Network, NeuralSheaf, equilibrium, hard, harmonic_extension, soft
from sheaflib.companion.random_networks import deep_cnn
from sheaflib.diagnosis.measures import worst_neurons
from sheaflib.linear import resistance, spectrum
from sheaflib.sheaves.pins import resolve


def sparse(widths, rng):
    """A chain of ReLU layers with nine weights a unit, and a max-pool whose windows overlap."""
    pool = MaxPool((np.arange(widths[-1])[:, None] + np.arange(4)) % widths[-1], widths[-1])
    nodes = Network.mlp(
        [sp.sparse.random_array((b, a), density=9 / a, rng=rng) for a, b in pairwise(widths)]
    ).nodes
    return Network(widths[0], [*nodes, ("pool", pool, nodes[-1].name)])


# widths of 10⁷ weights, of N = 10⁵ and of N = 10⁶
DEEP, OUTPUTS, LARGE = [500] * 41 + [10], [10_000, 24_500, 24_500, 1000], [250_000] * 3
# images, and channels and strides of convolutions: of the size of CIFAR's, and of N = 18 000
CIFAR, SMALL = (
    ((3, 32, 32), [32, 32, 64, 64], [1, 1, 2, 1]),
    ((1, 16, 16), [12, 12, 24, 24], [1, 1, 2, 1]),
)
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
    "relax's set-up on images": (  # of a new network: an old one knows its norms
        lambda images, rng: deep_cnn(rng, *images),
        CIFAR,
        lambda sheaf, s: spectrum.bound(
            NeuralSheaf(sheaf.network.with_parameters(sheaf.network.parameters))
        ),
        20,
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
    sheaf = NeuralSheaf(network(widths, rng))
    x = rng.standard_normal((batch, sheaf.network.n_in))
    ours = Side(partial(compute, sheaf, sheaf.forward_pattern(x[:1])))
    # fmt: skip
    row(
        f"{name}, N = {sheaf.N}",
        ours,
        Side(lambda: sheaf.network(x)),
        f"against the forward pass of a batch of {batch}; goal: at most {most} of them (ratio ≥ "
        f"{1 / most:.2g}); {peak(ours.call) / 2**30:.2f} GiB of new arrays (goal: 2)",
    )


def test_forward_of_images(row, torch):
    rng = np.random.default_rng(0)
    sheaf, x = NeuralSheaf(deep_cnn(rng, *CIFAR)), rng.standard_normal((100, *CIFAR[0]))
    *maps, last = [node.operation for node in sheaf.network.affine_nodes]
    given = [
        [convolution.kernel for convolution in maps],
        [convolution.channel_bias for convolution in maps],
        [last.weight, last.bias],
        [x, np.empty((100, last.n_out))],
    ]
    ours, theirs = (
        Side(lambda: sheaf.forward(x.reshape(100, -1))),
        Side(lambda: torch("images", given, CIFAR[-1])),
    )
    assert np.abs(ours.call()[:, -last.n_out :] - theirs.call()[-1][-1]).max() < 1e-10
    # fmt: skip
    row(
        f"forward pass of images, N = {sheaf.N}",
        ours,
        theirs,
        "a batch of 100 as a cochain, against PyTorch in float64, which keeps the output alone; "
        "goal: at most 2 times its time (ratio ≥ 0.5)",
    )


def test_equilibrium_of_images(row):
    rng = np.random.default_rng(0)
    sheaf, x = NeuralSheaf(deep_cnn(rng, *SMALL, "softmax")), rng.standard_normal((2, 256))
    solve = partial(
        equilibrium, sheaf, x, pins=hard("a_out", np.eye(10)[sheaf.network(x).argmin(axis=1)])
    )
    solved = solve()
    assert solved.converged.all()
    # fmt: skip
    row(
        f"equilibrium of images, N = {sheaf.N}: newton / as many forward passes",
        Side(solve, 1, 3),
        Side(lambda: sheaf.network(x), 1 / solved.passes.mean()),
        f"random weights, least likely label pinned, a batch of 2, {solved.passes.mean():.4g} "
        "passes a sample; goal: at most 350",
    )


def test_harmonic_extension(row):
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.he([784, 1000, 1000, 1000, 10], rng))
    x = rng.standard_normal((1000, 784))
    *hidden, last = [node.operation.weight for node in sheaf.network.affine_nodes]

    def plain(a):
        for weight in hidden:
            a = np.maximum(a @ weight.T, 0)
        return a @ last.T

    ours = Side(lambda: harmonic_extension(sheaf, x))
    assert np.abs(ours.call().output - plain(x)).max() < 1e-9
    # fmt: skip
    row(
        "harmonic extension 784x1000x1000x1000x10",
        ours,
        Side(lambda: plain(x)),
        "against a bare NumPy forward pass, batch 1000; goal: within 2× (ratio ≥ 0.5)",
    )


def test_extreme_eigenvalues(row):
    """λ₁, λ_max and their vectors for a batch, per sample, against building L and `eigh`."""
    rng, samples = np.random.default_rng(0), 50  # treated as one batch
    sheaf, x = NeuralSheaf(Network.he([2, 300, 300, 1], rng)), rng.standard_normal((samples, 2))
    patterns = sheaf.forward_pattern(x)
    ours, dense = (
        Side(lambda: spectrum.extremes(sheaf, patterns, dense=0), samples),
        Side(lambda: np.linalg.eigh(sheaf.laplacian(patterns[0]).toarray())),
    )
    found, (values, _) = ours.call(), dense.call()
    assert (
        np.abs([found.smallest[0] / values[0] - 1, found.largest[0] / values[-1] - 1]).max() < 1e-8
    )
    # fmt: skip
    row(
        "extreme eigenvalues 2x300x300x1",
        ours,
        dense,
        f"N = {sheaf.N}, per sample of a batch of {samples}, {found.steps[0]} + {found.steps[1]} "
        "Lanczos steps, against building L and a dense eigh; goal: 100×; values agree to 1e-8",
    )
