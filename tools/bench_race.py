"""The rows of `make bench` on mini-batch training: an update by currents against one by back-propagation, a run against gradient descent."""

import numpy as np

CANDIDATES = {"ohm": {"kappa": 0.0, "stiffness": 1.0}, "mirror": {"kappa": -1.0, "stiffness": 3.0}}
UPDATES, REPEATS, BATCH = 1000, 15, 32
SHARE = 0.036          # of gradient descent's steps, in updates: the budget of notebook 11


def rows(row):
    """Every row on mini-batch training."""
    from sheaflib.experiments import TABLE_E1

    found = []
    for name in (*TABLE_E1, "digits"):
        update = {key: advancing(name, **which) for key, which in sides(name).items()}
        for key in update:
            if key == "backprop":
                continue
            ours, theirs = together(update[key], update["backprop"])
            found.append(row(f"update {name}, {key}", ours / UPDATES, theirs / UPDATES,
                             f"against backpropagation by the same engine, batch {BATCH}: {ours / theirs:.2f}× its time (goal: at most 2×)"))
        if name in TABLE_E1:
            found.append(run(row, name, update["mirror"]))
    return found


def sides(name):
    """The rules timed on a row: the protocol's candidates, and with several outputs their one-sweep versions."""
    exact = {key: {"rule": "circuit", **which} for key, which in CANDIDATES.items()}
    cheap = {f"{key}, one sweep": {"rule": "rayleigh", **which} for key, which in CANDIDATES.items()}
    return {"backprop": {"rule": "backprop"}} | exact | (cheap if name.startswith("blobs") or name == "digits" else {})


def advancing(name, **which):
    """A call that takes UPDATES updates, the learning rate so small that the weights stay where they are."""
    from sheaflib import race
    from sheaflib.minibatch import MiniBatches

    given = race.data(name, 0)
    engine = MiniBatches(race.start(name, 0), given.X_train, given.Y_train, **which)
    order, lr = race.batches(0, 0, len(given.X_train), UPDATES, BATCH), np.full(UPDATES, 1e-9)
    return lambda: engine.advance(order, lr)


def together(ours, theirs):
    """Median seconds of two calls made in turn."""
    from tools.bench import paired

    return paired(ours, theirs, REPEATS)


def run(row, name, update):
    """A whole run of the dearer candidate, as the protocol budgets it, against the whole gradient descent of Table E.1."""
    from sheaflib import race
    from sheaflib.experiments import TABLE_E1, initial
    from sheaflib.fused import FusedDescentStepper

    setting, given = TABLE_E1[name], race.data(name, 0)
    descent = FusedDescentStepper(initial(setting["task"], setting["widths"], 42, False), given.X_train, given.Y_train, 1e-9)
    ours, theirs = together(update, lambda: descent.advance(UPDATES))
    updates = round(SHARE * setting["steps"])
    ours, theirs = ours / UPDATES * updates, theirs / UPDATES * setting["steps"]
    return row(f"run {name}", ours, theirs, f"{updates} updates by currents, kappa = -1, against {setting['steps']} steps of fused gradient descent: "
               f"1/{theirs / ours:.0f} of its time (goal: 1/5)")
