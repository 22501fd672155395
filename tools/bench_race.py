"""The rows of `make bench` on mini-batch training: an update by currents against one by back-propagation, a run against gradient descent."""

import numpy as np

CANDIDATES = {"ohm": {"kappa": 0.0, "stiffness": 1.0}, "mirror": {"kappa": -1.0, "stiffness": 3.0}}
REPEATS, BATCH = 9, 32
SHARE = 0.036          # of gradient descent's steps, in updates: the budget of notebook 11
LR = {"identity": 0.02, "sigmoid": 0.02, "softmax": 0.001}


def rows(row):
    """Every row on mini-batch training."""
    from sheaflib.experiments import TABLE_E1

    found = []
    for name in (*TABLE_E1, "digits"):
        runs, updates = {key: whole_run(name, **which) for key, which in sides(name).items()}, budget(name)
        slowest = 0.0
        for key in runs:
            if key == "backprop":
                continue
            ours, theirs = together(runs[key], runs["backprop"])
            slowest = slowest if "one sweep" in key else max(slowest, ours)
            found.append(row(f"update {name}, {key}", ours / updates, theirs / updates,
                             f"whole runs of {updates} updates, against backpropagation by the same engine, batch {BATCH}: {ours / theirs:.2f}× its "
                             "time (goal: at most 2×)"))
        if name in TABLE_E1:
            found.append(descent(row, name, slowest))
    return found


def budget(name):
    """The updates of a run of notebook 11."""
    from sheaflib.experiments import TABLE_E1

    return round(SHARE * TABLE_E1[name]["steps"]) if name in TABLE_E1 else 1200


def sides(name):
    """The rules timed on a row: the protocol's candidates, and with several outputs their one-sweep versions."""
    exact = {key: {"rule": "circuit", **which} for key, which in CANDIDATES.items()}
    cheap = {f"{key}, one sweep": {"rule": "rayleigh", **which} for key, which in CANDIDATES.items()}
    return {"backprop": {"rule": "backprop"}} | exact | (cheap if name.startswith("blobs") or name == "digits" else {})


def whole_run(name, **which):
    """A call that trains a fresh network with the whole budget, its batches drawn beforehand."""
    from sheaflib import race
    from sheaflib.minibatch import MiniBatches

    given, updates = race.data(name, 0), budget(name)
    network = race.start(name, 0)
    order, lr = race.batches(0, 0, len(given.X_train), updates, BATCH), race.rates(LR[network.output.name], updates, False)
    return lambda: MiniBatches(network, given.X_train, given.Y_train, **which).advance(order, lr)


def together(ours, theirs):
    """Median seconds of two calls made in turn."""
    from tools.bench import paired

    return paired(ours, theirs, REPEATS)


def descent(row, name, ours):
    """A whole run of the dearer candidate, `ours` seconds, against the whole gradient descent of Table E.1."""
    from sheaflib import race
    from sheaflib.experiments import TABLE_E1, initial
    from sheaflib.fused import FusedDescentStepper
    from tools.bench import seconds

    setting, given = TABLE_E1[name], race.data(name, 0)
    lr = 0.005 if setting["task"] in ("paraboloid", "saddle") else 0.01
    stepper = FusedDescentStepper(initial(setting["task"], setting["widths"], 42, False), given.X_train, given.Y_train, lr)
    stepper.advance(2)
    theirs = sorted(seconds(lambda: stepper.advance(setting["steps"])) for _ in range(3))[1]
    return row(f"run {name}", ours, theirs, f"{budget(name)} updates by currents, the dearer candidate, against {setting['steps']} steps of fused "
               f"gradient descent: 1/{theirs / ours:.0f} of its time (goal: 1/5)")
