"""Output and heat: the harmonic extension, and steps of the heat equation of one sample."""

import numpy as np

from benchmarks import Side
from sheaflib import Network, NeuralSheaf, harmonic_extension, relax
from sheaflib.companion import tasks

DT, STEPS, LONG = 0.01, 5000, 50_000


def test_harmonic_extension(row):
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.he([784, 1000, 1000, 1000, 10], rng))
    x = rng.standard_normal((1000, 784))
    *hidden, last = [node.operation.weight for node in sheaf.network.affine_nodes]

    def plain():
        a = x
        for weight in hidden:
            a = np.maximum(a @ weight.T, 0)
        return a @ last.T

    ours = Side(lambda: harmonic_extension(sheaf, x))
    assert np.abs(ours.call().output - plain()).max() < 1e-9
    # fmt: skip
    row(
        "harmonic extension 784x1000x1000x1000x10",
        ours,
        Side(plain),
        "against a bare NumPy forward pass, batch 1000; goal: within 2× (ratio ≥ 0.5)",
    )


def euler(W, x, z, a):
    """Euler steps of the heat equation of a chain without biases, z and a in place."""
    k = len(W) - 1
    for _ in range(STEPS):
        r = [(a[i - 1] if i else x) @ W[i].T - z[i] for i in range(k + 1)]
        on = [z[i] >= 0 for i in range(k)]
        dz = [r[i] - on[i] * (on[i] * z[i] - a[i]) for i in range(k)] + [r[k]]
        da = [on[i] * z[i] - a[i] - r[i + 1] @ W[i + 1] for i in range(k)]
        for state, force in zip(z + a, dz + da):
            state += DT * force


def test_heat_step(row):
    """Of the recorded run that takes 67 557 steps."""
    sheaf, x, start = tasks.heat_run("2x6x4x4x1")
    W = [node.operation.weight for node in sheaf.network.affine_nodes]
    parts = sheaf.layout.split(start)
    z, a = ([parts[name].copy() for name in parts if name[0] == kind] for kind in "za")

    def run(steps):
        return relax(sheaf, x, start, dt=DT, every=steps, max_steps=steps, rest="step").output

    theirs = Side(lambda: euler(W, x, z, a), STEPS)
    theirs.call()
    assert np.abs(run(STEPS) - z[-1]).max() < 1e-12
    row("heat step 2x6x4x4x1", Side(lambda: run(LONG), LONG), theirs, "against a plain NumPy loop")
