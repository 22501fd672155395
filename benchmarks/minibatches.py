"""Mini-batches: an update by currents against one by backpropagation, a run against gradient
descent. Their ends differ by design; that each engine does what it says is for the unit tests.
"""

import pytest

from benchmarks import Side
from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.companion import race
from sheaflib.companion.experiments import TABLE_E1, initial
from sheaflib.training.chains import FusedDescentStepper

CANDIDATES = {"ohm": {"kappa": 0.0, "stiffness": 1.0}, "mirror": {"kappa": -1.0, "stiffness": 3.0}}
BATCH = 32
SHARE = 0.036  # of gradient descent's steps, in updates: the budget of notebook 11
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


def budget(name):
    """The updates of a run of notebook 11."""
    return round(SHARE * TABLE_E1[name]["steps"]) if name in TABLE_E1 else 1200


def whole_run(name, rule):
    """Train a fresh network with the whole budget; its batches are drawn beforehand."""
    given, network, updates = race.data(name, 0), race.start(name, 0), budget(name)
    order = race.batches(0, 0, len(given.X_train), updates, BATCH)
    rates = race.rates(LR[network.output.name], updates, False)
    data = network, given.X_train, given.Y_train
    return Side(lambda: MiniBatches(*data, **RULES[rule]).advance(order, rates), updates)


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
    lr = 0.005 if network.output.name == "identity" else 0.01
    stepper = FusedDescentStepper(network, given.X_train, given.Y_train, lr)
    # fmt: skip
    row(
        f"run {name}",
        whole_run(name, dearer)._replace(per=1),
        Side(lambda: stepper.advance(steps), rounds=3),
        f"{budget(name)} updates by currents ({dearer}, the dearer candidate above) against "
        f"{steps} steps of fused gradient descent; goal: 1/5 of its time (ratio ≥ 5)",
    )
