"""Output and heat: the harmonic extension, and steps of the heat equation of one sample."""

import numpy as np
import pytest

from benchmarks import Side
from benchmarks.heat_loop import heat
from sheaflib import Network, NeuralSheaf, harmonic_extension, relax, tasks

HEAT = {
    "heat step 2x6x4x4x1": "against a plain NumPy loop",
    "heat step 2x6x4x4x1, PyTorch": "against the same loop with PyTorch tensors; goal: 10×",
}
DT, STEPS, LONG = 0.01, 5000, 50_000


def test_harmonic_extension(row):
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.he([784, 1000, 1000, 1000, 10], rng))
    x = rng.standard_normal((1000, 784))
    *hidden, last = [node.operation.weight for node in sheaf.network.nodes[::2]]

    def plain():
        a = x
        for weight in hidden:
            a = np.maximum(a @ weight.T, 0)
        return a @ last.T

    ours = Side(lambda: harmonic_extension(sheaf, x))
    assert np.abs(ours.call().output - plain()).max() < 1e-9
    row(
        "harmonic extension 784x1000x1000x1000x10", ours, Side(plain),
        "against a bare NumPy forward pass, batch 1000; goal: within 2× (ratio ≥ 0.5)",
    )  # fmt: skip


@pytest.mark.parametrize("name", HEAT)
def test_heat_step(row, request, name):
    """Of the recorded run that takes 67 557 steps."""
    sheaf, x, start = tasks.heat_run("2x6x4x4x1")
    W = [node.operation.weight for node in sheaf.network.nodes[::2]]
    parts = sheaf.layout.split(start)
    z, a = ([parts[name].copy() for name in parts if name[0] == kind] for kind in "za")

    def run(steps):
        return relax(sheaf, x, start, dt=DT, every=steps, max_steps=steps, rest="step").output

    here = lambda name, lists, *options: heat(*lists, *options)
    loop = request.getfixturevalue("torch") if "PyTorch" in name else here
    theirs = Side(lambda: loop("heat", [W, [x], z, a], STEPS, DT), STEPS)
    assert np.abs(run(STEPS) - theirs.call()[2][-1]).max() < 1e-12
    row(name, Side(lambda: run(LONG), LONG), theirs, HEAT[name])
