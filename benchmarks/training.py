"""Training on all samples: steps of the joint flow."""

import numpy as np
import pytest

from benchmarks import Side
from sheaflib import NeuralSheaf
from sheaflib.companion import tasks
from sheaflib.companion.experiments import initial
from sheaflib.sheaves.pins import resolve
from sheaflib.training.chains import FusedJointStepper

SETUPS = {  # name -> task, widths, seed of the recorded weights
    "2x30x1": ("paraboloid", "2x30x1", 0),
    "2x10x8x1": ("paraboloid", "2x10x8x1", 42),
    "2x12x8x6x1": ("paraboloid", "2x12x8x6x1", 0),
    "2x25x1 sigmoid": ("circular", "2x25x1", 42),
    "2x25x4 softmax": ("blobs", "2x25x4", 42),
}
DT, STEPS = 0.005, 1000


def problem(name):
    """Sheaf, inputs, labels and stalks near the forward pass."""
    task, widths, seed = SETUPS[name]
    sheaf, given = NeuralSheaf(initial(task, widths, seed, False)), tasks.task(task)
    noise = np.random.default_rng(0).standard_normal((len(given.X_train), sheaf.N))
    return sheaf, given.X_train, given.Y_train, sheaf.forward(given.X_train) + noise


def joint(sheaf, x, y, w):
    """Our engine for the joint flow."""
    return FusedJointStepper(sheaf, x, y, w, 1 / len(x), DT, 1.0, resolve(sheaf, (), len(x)))


def onward(stepper):
    """Our side: steps from wherever the last ones ended."""
    return Side(lambda: stepper.advance(STEPS), STEPS)


def lists(sheaf, w):
    """Lists of weights, of biases, of z and of a, copied."""
    affine, parts = [node.operation for node in sheaf.network.affine_nodes], sheaf.layout.split(w)
    stalks = ([parts[name].copy() for name in parts if name[0] == kind] for kind in "za")
    return [a.weight.copy() for a in affine], [a.bias.copy() for a in affine], *stalks


@pytest.mark.parametrize("name", SETUPS)
def test_joint_flow_step(row, torch, name):
    sheaf, x, y, w = problem(name)
    stepper, given = joint(sheaf, x, y, w), [*lists(sheaf, w), [x, y]]
    theirs = Side(lambda: torch(given, STEPS, DT, sheaf.network.output.name), STEPS)
    stepper.advance(STEPS)
    for these, those in zip(lists(*stepper.state()), theirs.call()):
        assert all(np.abs(a - b).max() < 1e-12 for a, b in zip(these, those, strict=True))
    # fmt: skip
    row(
        f"joint-flow step {name}",
        onward(stepper),
        theirs,
        "against a lean PyTorch step (addmm, in place, no autograd); goal of 2x30x1: 8×, aim 15×",
    )


def test_joint_flow_step_with_twice_the_samples(row):
    sheaf, *rest = problem("2x30x1")
    one, two = joint(sheaf, *rest), joint(sheaf, *(np.tile(v, (2, 1)) for v in rest))
    # fmt: skip
    row(
        "joint-flow step 2x30x1, 600 samples",
        onward(two),
        onward(one),
        "against 300 samples; goal: at most 2.2 times the time (ratio ≥ 0.45)",
    )
