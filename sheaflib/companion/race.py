"""The race of notebook 11: one training run as a function of plain parameters, tuning on folds,
paired ratios over seeds.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from sheaflib.circuits.minibatch import MiniBatches, rates
from sheaflib.companion import tasks
from sheaflib.companion.experiments import OUTPUTS, TABLE_E1, initial
from sheaflib.linear.resistance import effective_resistance
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.checks import whole
from sheaflib.support.extras import needs
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
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images / 16, np.eye(10)[labels]
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
    found = digits() if task == "digits" else tasks.task(task)
    rng = np.random.default_rng([seed, 3])
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
    return network.with_parameters(
        {name: {"weight": scale * own["weight"]} for name, own in network.parameters.items()}
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
    order = batches(seed, again, len(engine.x), updates, size)
    speeds = rates(lr, updates, constant)
    now = 0
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
        bowl = (x**2).sum(axis=1) - 2 / 3
        saddle = x[:, 0] ** 2 - x[:, 1] ** 2 + np.sin(2 * x[:, 0]) / 2
        y = ((1 - share) * bowl + share * saddle)[:, None]
        engine = MiniBatches(
            start(f"paraboloid/{widths}", seed + 10_000 * again),
            x,
            y,
            rule=rule,
            optimiser=optimiser,
        )
        errors = []
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
            p = model.predict_proba(held_x)
            labels = held_y if held_y.shape[1] > 1 else np.hstack([1 - held_y, held_y])
            found.append(float(-(labels * np.log(np.maximum(p, CLAMP))).sum(axis=1).mean()))
    return np.array(found).reshape((len(seeds), folds) if folds else len(seeds))


@cache
def quadratic_discriminant() -> float:
    """The test loss on blobs of the classifier that knows that the classes are normally
    distributed: quadratic discriminants."""
    with needs("race.quadratic_discriminant", "sklearn"):
        from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    blobs = tasks.task("blobs")
    rule = QuadraticDiscriminantAnalysis().fit(blobs.X_train, blobs.Y_train.argmax(axis=1))
    return float(-np.log(rule.predict_proba(blobs.X_test)[blobs.Y_test.astype(bool)]).mean())


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
    rows = np.random.default_rng(seed).integers(0, len(paired), (RESAMPLES, len(paired)))
    drawn = np.median(paired[rows], axis=1)
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
