"""Steps: of the heat equation of one sample, of the joint flow on all samples, and updates by
mini-batches, one by currents against one by backpropagation, a run against gradient descent.

Where those end differs by design; that each engine does what it says is for the unit tests.
"""

import numpy as np
import pytest

from benchmarks import Side
from sheaflib import NeuralSheaf, relax
from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.companion import race, tasks
from sheaflib.companion.experiments import TABLE_E1, initial
from sheaflib.sheaves.pins import resolve
from sheaflib.training.chains import FusedDescentStepper, FusedJointStepper

SETUPS = {  # name -> task, widths, seed of the recorded weights
    "2x30x1": ("paraboloid", "2x30x1", 0),
    "2x10x8x1": ("paraboloid", "2x10x8x1", 42),
    "2x12x8x6x1": ("paraboloid", "2x12x8x6x1", 0),
    "2x25x1 sigmoid": ("circular", "2x25x1", 42),
    "2x25x4 softmax": ("blobs", "2x25x4", 42),
}
DT, STEPS = 0.005, 1000
HEAT_DT, HEAT_STEPS, LONG = 0.01, 5000, 50_000
CANDIDATES = {"ohm": {"kappa": 0.0, "stiffness": 1.0}, "mirror": {"kappa": -1.0, "stiffness": 3.0}}
# samples of an update; updates of a run as a share of the steps of gradient descent, the budget of
# notebook 11
BATCH, SHARE = 32, 0.036
LR = {"identity": 0.02, "sigmoid": 0.02, "softmax": 0.001}
SEVERAL = ("blobs-1h", "blobs-2h", "digits")  # several outputs: there is a version of one sweep
RULES = {
    "backprop": {"rule": "backprop"},
    **{name: {"rule": "circuit", **which} for name, which in CANDIDATES.items()},
    **{f"{name}, one sweep": {"rule": "rayleigh", **which} for name, which in CANDIDATES.items()},
}
ROWS = [
    ("paraboloid-1h", "backprop"),  # against itself: what its ratio differs from 1 by is noise
    *((name, rule) for name in (*TABLE_E1, "digits") for rule in CANDIDATES),
    *((name, f"{rule}, one sweep") for name in SEVERAL for rule in CANDIDATES),
]


def problem(name):
    """Sheaf, inputs, labels and stalks near the forward pass."""
    task, widths, seed = SETUPS[name]
    sheaf, given = NeuralSheaf(initial(task, widths, seed, False)), tasks.task(task)
    noise = np.random.default_rng(0).standard_normal((len(given.X_train), sheaf.N))
    return sheaf, given.X_train, given.Y_train, sheaf.forward(given.X_train) + noise


def joint(sheaf, x, y, w):
    """Our engine for the joint flow."""
    return FusedJointStepper(sheaf, x, y, w, 1 / len(x), DT, 1.0, resolve(sheaf, (), len(x)))


def lists(sheaf, w):
    """Lists of weights, of biases, of z and of a, copied."""
    affine, parts = [node.operation for node in sheaf.network.affine_nodes], sheaf.layout.split(w)
    stalks = ([parts[name].copy() for name in parts if name[0] == kind] for kind in "za")
    return [a.weight.copy() for a in affine], [a.bias.copy() for a in affine], *stalks


@pytest.mark.parametrize("name", SETUPS)
def test_joint_flow_step(row, torch, name):
    sheaf, x, y, w = problem(name)
    stepper, given = joint(sheaf, x, y, w), [*lists(sheaf, w), [x, y]]
    theirs = Side(lambda: torch("joint", given, STEPS, DT, sheaf.network.output.name), STEPS)
    stepper.advance(STEPS)
    for these, those in zip(lists(*stepper.state()), theirs.call()):
        assert all(np.abs(a - b).max() < 1e-12 for a, b in zip(these, those, strict=True))
    # fmt: skip
    row(
        f"joint-flow step {name}",
        Side(lambda: stepper.advance(STEPS), STEPS),  # from wherever the last ones ended
        theirs,
        "against a lean PyTorch step (addmm, in place, no autograd); goal of 2x30x1: 8×, aim 15×",
    )


def test_joint_flow_step_with_twice_the_samples(row):
    sheaf, *rest = problem("2x30x1")
    one, two = joint(sheaf, *rest), joint(sheaf, *(np.tile(v, (2, 1)) for v in rest))
    # fmt: skip
    row(
        "joint-flow step 2x30x1, 600 samples",
        Side(lambda: two.advance(STEPS), STEPS),
        Side(lambda: one.advance(STEPS), STEPS),
        "against 300 samples; goal: at most 2.2 times the time (ratio ≥ 0.45)",
    )


def euler(W, x, z, a):
    """Euler steps of the heat equation of a chain without biases, z and a in place."""
    k = len(W) - 1
    for _ in range(HEAT_STEPS):
        r = [(a[i - 1] if i else x) @ W[i].T - z[i] for i in range(k + 1)]
        on = [z[i] >= 0 for i in range(k)]
        dz = [r[i] - on[i] * (on[i] * z[i] - a[i]) for i in range(k)] + [r[k]]
        da = [on[i] * z[i] - a[i] - r[i + 1] @ W[i + 1] for i in range(k)]
        for state, force in zip(z + a, dz + da):
            state += HEAT_DT * force


def test_heat_step(row):
    """Of the recorded run that takes 67 557 steps."""
    sheaf, x, start = tasks.heat_run("2x6x4x4x1")
    W, _, z, a = lists(sheaf, start)

    def run(steps):
        return relax(sheaf, x, start, dt=HEAT_DT, every=steps, max_steps=steps, rest="step").output

    theirs = Side(lambda: euler(W, x, z, a), HEAT_STEPS)
    theirs.call()
    assert np.abs(run(HEAT_STEPS) - z[-1]).max() < 1e-12
    row("heat step 2x6x4x4x1", Side(lambda: run(LONG), LONG), theirs, "against a plain NumPy loop")


def budget(name):
    """The updates of a run of notebook 11."""
    return round(SHARE * TABLE_E1[name]["steps"]) if name in TABLE_E1 else 1200


def whole_run(name, rule):
    """Train a fresh network with the whole budget; its batches are drawn beforehand."""
    given, network, updates = race.data(name, 0), race.start(name, 0), budget(name)
    order = race.batches(0, 0, len(given.X_train), updates, BATCH)
    rates = race.rates(LR[network.output.name], updates, False)
    return Side(
        lambda: MiniBatches(network, given.X_train, given.Y_train, **RULES[rule]).advance(
            order, rates
        ),
        updates,
    )


@pytest.mark.parametrize("name, rule", ROWS)
def test_update(row, name, rule):
    # fmt: skip
    row(
        f"update {name}, {rule}",
        whole_run(name, rule),
        whole_run(name, "backprop"),
        f"whole runs of {budget(name)} updates, against backpropagation by the same engine, batch "
        f"{BATCH}; goal: at most twice its time (ratio ≥ 0.5)",
    )


@pytest.mark.parametrize("name", TABLE_E1)
def test_run(row, name):
    """The dearer candidate against the whole gradient descent of Table E.1."""
    setting, given = TABLE_E1[name], race.data(name, 0)
    dearer, steps = "ohm" if name in SEVERAL else "mirror", setting["steps"]
    network = initial(setting["task"], setting["widths"], 42, False)
    stepper = FusedDescentStepper(
        network, given.X_train, given.Y_train, 0.005 if network.output.is_identity else 0.01
    )
    # fmt: skip
    row(
        f"run {name}",
        whole_run(name, dearer)._replace(per=1),
        Side(lambda: stepper.advance(steps), rounds=3),
        f"{budget(name)} updates by currents ({dearer}, the dearer candidate above) against "
        f"{steps} steps of fused gradient descent; goal: 1/5 of its time (ratio ≥ 5)",
    )
