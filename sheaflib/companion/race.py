"""The race of notebook 11: one training run as a function of plain parameters, tuning on folds,
paired ratios over seeds.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sheaflib.circuits.minibatch import MiniBatches, rates
from sheaflib.companion import tasks
from sheaflib.companion.experiments import OUTPUTS, TABLE_E1, initial
from sheaflib.companion.sweep import sweep
from sheaflib.linear.resistance import effective_resistance
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.checks import whole
from sheaflib.support.extras import needs
from sheaflib.training.joint import with_weights
from sheaflib.training.objective import CLAMP, loss

DIGITS = "64x64x32x10"
RESAMPLES = 10_000
QUERY = 20  # samples that a drifting stream is asked about before they are learned
DRIFTS = 2  # from one target to the other and back, in a stream


def place(row: str) -> tuple[str, str]:
    """Task and widths of a row: one of Table E.1, "digits", or "task/widths"."""
    if row in TABLE_E1:
        return TABLE_E1[row]["task"], TABLE_E1[row]["widths"]
    if row == "digits":
        return row, DIGITS
    task, _, widths = row.partition("/")
    if task not in OUTPUTS or not widths:
        raise ValueError(
            f"row={row!r} is unknown, expected digits, task/widths or one of {', '.join(TABLE_E1)}"
        )
    return task, widths


@cache
def digits() -> tasks.Task:
    """scikit-learn's digits, over 16 and one-hot: 1297 to train on, 500 to test."""
    with needs("race.digits", "sklearn"):
        from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order, images, labels = (
        np.random.default_rng(0).permutation(len(images)),
        images / 16,
        np.eye(10)[labels],
    )
    return tasks.Task(
        images[order[500:]], labels[order[500:]], images[order[:500]], labels[order[:500]]
    )


def data(
    row: str, seed: int, samples: int = 0, flips: float = 0.0, deviation: float = 0.0
) -> tasks.Task:
    """The data of a row; `samples` of the training set drawn, its labels flipped or noisy, all by
    the seed.
    """
    task, _ = place(row)
    found, rng = (
        digits() if task == "digits" else tasks.task(task),
        np.random.default_rng([seed, 3]),
    )
    x, y = found.X_train, found.Y_train
    if samples:
        kept = rng.permutation(len(x))[:samples]
        x, y = x[kept], y[kept]
    if flips:
        y = np.where(rng.uniform(size=y.shape) < flips, 1 - y, y)
    if deviation:
        y = y + deviation * rng.standard_normal(y.shape)
    return found._replace(X_train=x, Y_train=y)


def start(row: str, seed: int, scale: float = 1.0) -> Network:
    """He weights times `scale`, drawn with the seed."""
    task, widths = place(row)
    if task == "digits":
        network = Network.he(
            [int(n) for n in widths.split("x")], np.random.default_rng(seed), "softmax"
        )
    else:
        network = initial(task, widths, seed, True)
    if scale == 1:
        return network
    return with_weights(
        network,
        {
            node.name: (scale * node.operation.weight, node.operation.bias)
            for node in network.affine_nodes
        },
    )


@lru_cache(maxsize=8)
def batches(seed: int, again: int, n: int, updates: int, size: int) -> np.ndarray:
    """Sample numbers (updates, size): one permutation of n after another, drawn with the seed;
    `again` names another order.
    """
    rng, passes = np.random.default_rng([seed, 1 + again]), -(-updates * size // n)
    return (
        rng.permuted(np.tile(np.arange(n), (passes, 1)), axis=1)
        .ravel()[: updates * size]
        .reshape(updates, size)
    )


def losses(
    row: str,
    seeds: list,
    folds: int = 0,
    *,
    rule: str,
    lr: float,
    updates: int,
    size: int = 32,
    kappa: float = 0.0,
    stiffness: float = 1.0,
    optimiser: str = "adam",
    decay: float = 0.0,
    constant: bool = False,
    looks: int = 1,
    scale: float = 1.0,
    again: int = 0,
    samples: int = 0,
    flips: float = 0.0,
    deviation: float = 0.0,
) -> np.ndarray:
    """Losses after training a fresh network of each seed: (seeds,) on the test data, or (seeds,
    folds) on held-out folds; ∞ if it diverged.

    The training data are cut into folds anew by each seed. looks > 1: the mean of the loss at that
    many even moments of the second half. rule, κ, stiffness, optimiser, decay as in `MiniBatches`;
    the rest as above.
    """
    found, marks = [], updates - updates // 2 * np.arange(looks)[::-1] // looks
    for seed in seeds:
        given = data(row, seed, samples, flips, deviation)
        for x, y, held_x, held_y in parts(given, whole("folds", folds, least=0), seed):
            engine = MiniBatches(
                start(row, seed, scale),
                x,
                y,
                rule=rule,
                kappa=kappa,
                stiffness=stiffness,
                optimiser=optimiser,
                decay=decay,
            )
            seen = [
                held_out(engine, held_x, held_y)
                for _ in along(engine, seed, marks, lr, updates, size, constant, again)
            ]
            found.append(np.mean(seen))
    return np.array(found).reshape((len(seeds), folds) if folds else len(seeds))


def along(
    engine: MiniBatches,
    seed: int,
    marks,
    lr: float,
    updates: int,
    size: int,
    constant: bool = False,
    again: int = 0,
):
    """Train, and yield at every one of `marks`, numbers of updates in rising order, of a run of
    `updates` in all.
    """
    order, speeds, now = (
        batches(seed, again, len(engine.x), updates, size),
        rates(lr, updates, constant),
        0,
    )
    for until in marks:
        engine.advance(order[now:until], speeds[now:until])
        now = until
        yield until


def curve(
    row: str,
    seeds: list,
    marks: list,
    *,
    rule: str,
    lr: float,
    updates: int,
    size: int = 32,
    kappa: float = 0.0,
    stiffness: float = 1.0,
    decay: float = 0.0,
) -> np.ndarray:
    """Test losses (seeds, marks) after `marks` updates, in rising order, of runs of `updates` in
    all; the rest as in `losses`.
    """
    given, found = data(row, 0), []
    for seed in seeds:
        engine = MiniBatches(
            start(row, seed),
            given.X_train,
            given.Y_train,
            rule=rule,
            kappa=kappa,
            stiffness=stiffness,
            decay=decay,
        )
        found += [
            held_out(engine, given.X_test, given.Y_test)
            for _ in along(engine, seed, marks, lr, updates, size)
        ]
    return np.array(found).reshape(len(seeds), len(marks))


def resistance(
    row: str,
    seeds: list,
    *,
    rule: str,
    lr: float,
    updates: int,
    size: int = 32,
    kappa: float = 0.0,
    stiffness: float = 1.0,
) -> np.ndarray:
    """The median over training inputs of ρ, all edges of weight 1, before and after training:
    (seeds, 2), for one output.
    """
    given, found = data(row, 0), []
    for seed in seeds:
        engine = MiniBatches(
            start(row, seed),
            given.X_train,
            given.Y_train,
            rule=rule,
            kappa=kappa,
            stiffness=stiffness,
        )
        for _ in along(engine, seed, (0, updates), lr, updates, size):
            sheaf = NeuralSheaf(engine.network)
            pattern = sheaf.forward_pattern(given.X_train)
            found.append(np.median(effective_resistance(sheaf, pattern).total[:, 0, 0]))
    return np.array(found).reshape(len(seeds), 2)


def held_out(engine: MiniBatches, x, y) -> float:
    """The loss on data it did not learn from, ∞ when its weights are not numbers or so large that
    its outputs are not.
    """
    if not np.isfinite(engine.theta).all():
        return np.inf
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = loss(engine.network, x, y)
    except OverflowError:  # finite weights, but no finite forward pass
        return np.inf
    return found if np.isfinite(found) else np.inf


def parts(given: tasks.Task, folds: int, seed: int):
    """Yield (x, y, held-out x, held-out y): every fold of the training data, or with 0 all of it
    and the test data.
    """
    if not folds:
        yield given
        return
    order = np.random.default_rng([seed, 0]).permutation(len(given.X_train))
    for k in range(folds):
        out = np.zeros(len(order), dtype=bool)
        out[order[k::folds]] = True
        yield given.X_train[~out], given.Y_train[~out], given.X_train[out], given.Y_train[out]


def drift(
    widths: str, seeds: list, *, rule: str, lr: float, updates: int, optimiser: str, again: int = 0
) -> np.ndarray:
    """Mean squared error on samples not yet learned, mean over the second half of a stream whose
    label drifts: (seeds,), ∞ if it diverged.

    One sample an update, uniform on [−2, 2]²; the label turns from x₁² + x₂² − 2/3 to x₁² − x₂² + ½
    sin 2x₁ and back, `DRIFTS` times. again: 1 for other initial weights.
    """
    found = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 4])
        x, angle = rng.uniform(-2, 2, (updates, 2)), np.pi * DRIFTS * np.linspace(0, 1, updates)
        share = np.sin(angle) ** 2
        bowl, saddle = (
            (x**2).sum(axis=1) - 2 / 3,
            x[:, 0] ** 2 - x[:, 1] ** 2 + np.sin(2 * x[:, 0]) / 2,
        )
        y = ((1 - share) * bowl + share * saddle)[:, None]
        engine, errors = (
            MiniBatches(
                start(f"paraboloid/{widths}", seed + 10_000 * again),
                x,
                y,
                rule=rule,
                optimiser=optimiser,
            ),
            [],
        )
        # the first half is learned in one go
        asked = range(-(-updates // (2 * QUERY)) * QUERY, updates, QUERY)
        for i, until in zip([0, *asked], [*asked, updates]):
            if i:
                errors.append(held_out(engine, x[i : i + QUERY], y[i : i + QUERY]))
            engine.advance(np.arange(i, until)[:, None], np.full(until - i, lr))
        found.append(np.mean(errors))
    return np.array(found)


def scikit_learn(
    row: str, seeds: list, folds: int = 0, *, alpha: float, max_iter: int
) -> np.ndarray:
    """As `losses`, for scikit-learn's MLP with the solver lbfgs and its own initial weights."""
    with needs("race.scikit_learn", "sklearn"):
        from sklearn.neural_network import MLPClassifier, MLPRegressor

    (task, widths), found = place(row), []
    for seed in seeds:
        for x, y, held_x, held_y in parts(data(row, seed), whole("folds", folds, least=0), seed):
            options = {
                "hidden_layer_sizes": [int(n) for n in widths.split("x")[1:-1]],
                "solver": "lbfgs",
                "alpha": alpha,
                "max_iter": max_iter,
                "random_state": seed,
            }
            if OUTPUTS.get(task) == "identity":
                found.append(
                    float(
                        (
                            (MLPRegressor(**options).fit(x, y[:, 0]).predict(held_x) - held_y[:, 0])
                            ** 2
                        ).mean()
                    )
                )
                continue
            model = MLPClassifier(**options).fit(
                x, y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)
            )
            p, labels = (
                model.predict_proba(held_x),
                held_y if held_y.shape[1] > 1 else np.hstack([1 - held_y, held_y]),
            )
            found.append(float(-(labels * np.log(np.maximum(p, CLAMP))).sum(axis=1).mean()))
    return np.array(found).reshape((len(seeds), folds) if folds else len(seeds))


def candidates(method: dict, lr: list | None = None) -> list[dict]:
    """The candidates of a method of the protocol, as keyword arguments of `losses`, by rising
    learning rate; lr: in place of its own.

    >>> candidates({"rule": "backprop", "lr": [0.1], "decay": [0.5]})
    [{'rule': 'backprop', 'lr': 0.1, 'kappa': 0.0, 'stiffness': 1.0, 'decay': 0.5}]
    """
    rule = "rayleigh" if method.get("several_outputs", "").startswith("one") else method["rule"]
    grid = product(
        lr or method["lr"],
        method.get("kappa_and_stiffness", [[0.0, 1.0]]),
        method.get("decay", [0.0]),
    )
    return [
        {"rule": rule, "lr": lr, "kappa": kappa, "stiffness": stiffness, "decay": decay}
        for lr, (kappa, stiffness), decay in grid
    ]


def budget(protocol: dict, row: str) -> dict:
    """Updates and batch size of a row of the race."""
    return {
        "updates": protocol["budget"]["updates"][row.rpartition("-")[2]],
        "size": protocol["budget"]["batch"],
    }


def entrants(protocol: dict, row: str) -> dict[str, list[dict]]:
    """The cases that tune each method on a row of the race; rows of the second round by its
    rules.
    """
    again, found = protocol["second-round"] if row in protocol["second-round"]["rows"] else None, {}
    for name, method in protocol["methods"].items():
        if "rule" not in method or name == ("primary" if again else "cheap"):
            continue
        null = int("batch_order" in method)
        common = {"row": row, "again": null, **budget(protocol, row)}
        if again:
            common |= {
                "folds": again["folds"],
                "seeds": [
                    seed + 10 * null
                    for seed in again["digits_seeds" if row == "digits" else "seeds"]
                ],
            }
            found[name] = [
                common | c
                for c in candidates(method, again["lr" if len(method["lr"]) == 6 else "lr_alone"])
            ]
        else:
            common |= {
                "folds": protocol["tuning"]["folds"],
                "seeds": method.get("seeds", protocol["tuning"]["seeds"]),
            }
            found[name] = [common | c for c in candidates(method)]
        if again and name == "equilibrium":
            found[name] = [case | {"rule": "rayleigh"} for case in found[name]]
    return {name: cases[:: protocol.get("every", 1)] for name, cases in found.items()}


def finalists(protocol: dict, row: str, chosen: dict[str, dict]) -> dict[str, dict]:
    """The cases that test what was chosen for a row, and "= …": everything once more at one
    learning rate, untuned.
    """
    again = (
        protocol["second-round"] if row in protocol["second-round"]["rows"] else protocol["test"]
    )
    found = {
        name: (
            {key: value for key, value in case.items() if key != "folds"}
            | {"seeds": again.get("test_seeds", again.get("seeds"))}
        )
        for name, case in chosen.items()
    }
    if "cheap" in found:
        found["primary"] = found["cheap"] | {"rule": "circuit"}
        found["equilibrium"] = found["equilibrium"] | {"rule": "circuit"}
    common = {
        "row": row,
        "seeds": found["backprop"]["seeds"],
        "lr": again["equal_lr"],
        **budget(protocol, row),
    }
    one = {"rule": "rayleigh"}  # one output: the same as "circuit"
    plain = {"kappa": 0.0, "stiffness": 1.0}
    alike = {
        "backprop": plain | {"rule": "backprop"},
        "ohm": plain | one,
        "mirror": one | {"kappa": -1.0, "stiffness": 3.0},
        "equilibrium": plain | one | {"kappa": 1.0},
    }
    return found | {f"= {name}": common | case for name, case in alike.items()}


def lighter(protocol: dict, share: float, seeds: int, every: int) -> dict:
    """The protocol with a share of the updates, so many test seeds, every so-many-th candidate and
    one tuning seed: for a quick look.
    """
    if share == every == 1 and seeds >= len(protocol["test"]["seeds"]):
        return protocol

    def cut(name, value):
        if isinstance(value, dict):
            return {key: cut(key, inner) for key, inner in value.items()}
        if name in ("updates", "1h", "2h", "digits") and isinstance(value, int):
            return max(64, int(share * value))
        if name == "test_seeds":
            return value[:seeds]
        return value[:1] if name in ("seeds", "digits_seeds") else value

    found = cut("", protocol)
    return found | {
        "test": found["test"] | {"seeds": protocol["test"]["seeds"][:seeds]},
        "every": every,
    }


def passes(row: str, case: dict) -> int:
    """Sweeps over all weights in a whole run, as the protocol counts them."""
    n_out = int(place(row)[1].rpartition("x")[2])
    currents = n_out + 1 if case["rule"] == "circuit" and n_out > 1 else 1
    return case["updates"] * (2 + currents + int(case["kappa"] != 0))


def tune(entries: dict, floor: float, function=losses) -> dict:
    """{key: cases} -> {key: the case with the lowest mean of ln max(loss, floor)}, the first of
    those that tie; all cases in one sweep.
    """
    found = iter(
        sweep(function, [case for cases in entries.values() for case in cases], label="tuning")
    )
    return {
        key: min(cases, key=lambda case: float(np.log(np.maximum(next(found), floor)).mean()))
        for key, cases in entries.items()
    }


class Choices:
    """What tuning chose, group by group of methods; kept in a file, so that a run need not tune
    again.

    Without a file, `choose` tunes. With one it takes the choice that the file keeps, as long as
    candidates, folds, seeds and budget are those that were tuned on.
    """

    def __init__(self, file: Path | None = None):
        """Take the choices of a file that `save` wrote; None: there are none yet."""
        self.file, self.made = file, {}
        self.kept = json.loads(file.read_text(encoding="utf-8")) if file else None

    def choose(self, group: str, entries: dict, floor: float, function=losses) -> dict:
        """{key: cases} -> {key: the case chosen}, by `tune` or as the file says.

        ValueError: the file's choices were made among other candidates.
        """
        tuned_on = hashlib.sha256(repr([*entries.items(), floor]).encode()).hexdigest()
        if self.kept is None:
            found = tune(entries, floor, function)
        elif self.kept.get(group, {}).get("tuned on") != tuned_on:
            raise ValueError(
                f"{self.file.name} holds no choices among these candidates of {group}; tune again"
            )
        else:
            chosen = self.kept[group]["chosen"]
            found = {key: candidate(cases, chosen[words(key)]) for key, cases in entries.items()}
        choices = {words(key): varied(entries[key], case) for key, case in found.items()}
        self.made[group] = {"tuned on": tuned_on, "chosen": choices}
        return found

    def changed(self, file: Path) -> list[str]:
        """The choices made here that are other than those in a file, "group: method" each."""
        kept = json.loads(file.read_text(encoding="utf-8"))
        before = {
            f"{group}: {name}": choice
            for group, made in kept.items()
            for name, choice in made["chosen"].items()
        }
        now = {
            f"{group}: {name}": choice
            for group, made in self.made.items()
            for name, choice in made["chosen"].items()
        }
        return [name for name, choice in now.items() if before.get(name) != choice]

    def save(self, file: Path):
        """Write all choices made so far to a file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.made, indent=1) + "\n", encoding="utf-8")


def words(key) -> str:
    """The name of a key in a file of choices: its parts, one after the other."""
    return key if isinstance(key, str) else " ".join(map(str, key))


def varied(cases: list[dict], case: dict) -> dict:
    """What tells a case from the others among `cases`.

    >>> slow, fast = {"row": "digits", "lr": 0.1}, {"row": "digits", "lr": 0.2}
    >>> varied([slow, fast], fast)
    {'lr': 0.2}
    """
    return {
        name: value for name, value in case.items() if any(other[name] != value for other in cases)
    }


def candidate(cases: list[dict], chosen: dict) -> dict:
    """The one of `cases` that has what was chosen."""
    (found,) = [case for case in cases if varied(cases, case) == chosen]
    return found


def measured(chosen: dict, function=losses) -> dict:
    """{key: case} -> {key: losses (seeds,)}, all cases in one sweep."""
    return dict(zip(chosen, sweep(function, list(chosen.values()), label="testing")))


class Ratio(NamedTuple):
    """The median of paired ratios and its 90 % bootstrap interval."""

    median: float
    low: float
    high: float

    def __repr__(self):
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio(ours, theirs, floor: float, seed: int = 0) -> Ratio:
    """Ours over theirs, seed by seed, both (S,), losses below `floor` counted as the floor; two
    that diverged count as 1.

    >>> ratio([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], 1e-4)
    0.500 [0.500, 0.500]
    """
    ours, theirs = np.maximum(ours, floor), np.maximum(theirs, floor)
    both = np.isinf(ours) & np.isinf(theirs)
    paired = np.divide(ours, theirs, out=np.ones(len(ours)), where=~both)
    drawn = np.median(
        paired[np.random.default_rng(seed).integers(0, len(paired), (RESAMPLES, len(paired)))],
        axis=1,
    )
    return Ratio(
        float(np.median(paired)),
        float(np.quantile(drawn, 0.05, method="lower")),
        float(np.quantile(drawn, 0.95, method="higher")),
    )


def verdict(ours: Ratio, over_null: Ratio) -> str:
    """The protocol's rule: "better" or "worse" where the intervals of the ratios to
    back-propagation and to its null both leave out 1, alike.
    """
    if max(ours.high, over_null.high) < 1:
        return "better"
    return "worse" if min(ours.low, over_null.low) > 1 else "no difference"
