"""The paper's training experiments as functions of plain parameters, so that a sweep can run, cache
and resume them (§5.2, App. E).
"""

from __future__ import annotations

import math
from typing import Iterator, NamedTuple

import numpy as np

from sheaflib.companion import tasks
from sheaflib.linear import spectrum
from sheaflib.linear.resistance import effective_resistance
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.checks import whole
from sheaflib.training.drivers import TrainingDiverged, TrainingState, gradient_descent, joint_flow
from sheaflib.training.objective import loss

OUTPUTS = {
    "paraboloid": "identity",
    "saddle": "identity",
    "circular": "sigmoid",
    "blobs": "softmax",
}
DEEP = {"widths": "2x10x8x1", "dt": 0.01, "steps": 200_000}
TABLE_E1: dict[str, dict] = {
    "paraboloid-1h": {"task": "paraboloid", "widths": "2x30x1", "dt": 0.005, "steps": 100_000},
    "saddle-1h": {"task": "saddle", "widths": "2x30x1", "dt": 0.005, "steps": 100_000},
    "circular-1h": {"task": "circular", "widths": "2x25x1", "dt": 0.005, "steps": 100_000},
    "blobs-1h": {"task": "blobs", "widths": "2x25x4", "dt": 0.005, "steps": 100_000},
    "paraboloid-2h": {"task": "paraboloid", **DEEP},
    "saddle-2h": {"task": "saddle", **DEEP},
    "circular-2h": {"task": "circular", **DEEP},
    "blobs-2h": {"task": "blobs", **DEEP, "widths": "2x10x8x4"},
}


class Run(NamedTuple):
    """A training run: recorded steps (R,), train and test loss there (R,), the last network and
    stalks, "" or why it diverged.
    """

    step: np.ndarray
    train: np.ndarray
    test: np.ndarray
    network: Network
    stalks: np.ndarray
    diverged: str = ""

    def __repr__(self):
        end = (
            "diverged" if self.diverged else f"train {self.train[-1]:.4g}, test {self.test[-1]:.4g}"
        )
        return f"Run({len(self.step)} records to step {self.step[-1]}: {end})"


def initial(task: str, widths: str, seed: int, fresh: bool) -> Network:
    """The network of a run: the authors' recorded weights, or He weights drawn with `seed` when
    `fresh`.
    """
    if task not in OUTPUTS:
        raise ValueError(f"task={task!r} is unknown, expected one of {', '.join(OUTPUTS)}")
    if fresh and not all(n.isdecimal() for n in widths.split("x")):
        raise ValueError(
            f"widths={widths!r}, expected whole numbers with x between them, as in 2x30x1"
        )
    if fresh:
        return Network.he(
            [int(n) for n in widths.split("x")], np.random.default_rng(seed), OUTPUTS[task]
        )
    return tasks.paper_network(widths, seed, OUTPUTS[task])


def stalks(sheaf: NeuralSheaf, widths: str, seed: int, fresh: bool, n_batch: int) -> np.ndarray:
    """Random stalks (n_batch, N), standard normal: the authors' recorded ones, or drawn with `seed`
    when `fresh`.
    """
    if fresh:
        return np.random.default_rng([seed, 1]).standard_normal((n_batch, sheaf.N))
    recorded = tasks.paper_inputs()
    names = [f"stalks/{widths}/seed{seed}/{stalk}" for stalk in sheaf.layout.names]
    if names[0] not in recorded:
        known = sorted(
            {"/".join(name.split("/")[1:3]) for name in recorded if name.startswith("stalks/")}
        )
        raise ValueError(
            f"no recorded stalks for widths={widths!r}, seed={seed}; expected one of"
            f" {', '.join(known)}"
        )
    return np.concatenate([recorded[name] for name in names], axis=1)[:n_batch]


def train(
    task: str,
    widths: str,
    *,
    method: str = "sheaf",
    seed: int = 42,
    stalk_seed: int = 42,
    fresh: bool = False,
    start: str = "",
    beta_n: float = 1.0,
    dt: float = 0.005,
    steps: int = 100_000,
    every: int = 0,
    n: int = 300,
) -> Run:
    """One run of sheaf training (method "sheaf") or gradient descent ("gd"), as the authors set it
    up.

    seed and stalk_seed choose the recorded weights and stalks: 0 and 42 in the paper's main text
    (Fig. 10 takes 100 and 43, 200 and 44 too), 42 and 42 in its appendix (Tables E.1 and E.2,
    Fig. E.3 to E.6).

    Regression starts from random stalks and keeps them; classification starts from the forward pass
    and returns to it every 1000 steps ("cold"); start="forward", "random" or "zero" overrides the
    former. β = beta_n/n, n the number of training samples taken. The learning rate of gradient
    descent is 0.005 for regression, 0.01 for classification. every: steps between records (0: only
    the first and the last; it must divide `steps`). `start`, `stalk_seed`, `beta_n` and dt concern
    the sheaf only. A run that diverges says so and keeps the records before.
    """
    every, steps = whole("every", every, least=0) or whole("steps", steps), whole("steps", steps)
    if steps % every:
        raise ValueError(
            f"every={every} does not divide steps={steps}: the last record would lie beyond"
        )
    run = states(
        task,
        widths,
        every,
        method=method,
        seed=seed,
        stalk_seed=stalk_seed,
        fresh=fresh,
        start=start,
        beta_n=beta_n,
        dt=dt,
        n=n,
    )
    return record(run, steps, tasks.task(task))


class Snapshot(NamedTuple):
    """A moment of a training run: its step, the network, the stalks of all samples (B, N)."""

    step: int
    network: Network
    stalks: np.ndarray

    def __repr__(self):
        return f"Snapshot(step {self.step}, {self.network!r})"


def snapshots(task: str, widths: str, at: list, **which) -> list[Snapshot]:
    """The states of a run of `train` at some steps, in rising order; `which` as there, without
    steps and every.

    Raises ValueError when `at` is empty or not rising, TrainingDiverged when the run does before
    the last of them.
    """
    at = [whole("at", step, least=0) for step in at]
    if not at or any(late <= early for early, late in zip(at, at[1:])):
        raise ValueError(f"at={at}, expected steps in rising order, at least one")
    kept, every = [], math.gcd(*at) or 1
    for state in states(task, widths, every, **which):
        if state.record.step in at:
            kept.append(Snapshot(state.record.step, state.network, state.stalks))
        if state.record.step >= at[-1]:
            break
    return kept


def states(
    task: str,
    widths: str,
    every: int,
    *,
    method: str = "sheaf",
    seed: int = 42,
    stalk_seed: int = 42,
    fresh: bool = False,
    start: str = "",
    beta_n: float = 1.0,
    dt: float = 0.005,
    n: int = 300,
) -> Iterator[TrainingState]:
    """The training states of a run every `every` steps, without end; arguments as in `train`."""
    network, data = initial(task, widths, seed, fresh), tasks.task(task)
    if whole("n", n) > len(data.X_train):
        raise ValueError(
            f"n={n}, expected at most {len(data.X_train)}: the task has no more training samples"
        )
    x, y = data.X_train[:n], data.Y_train[:n]
    regression = OUTPUTS[task] == "identity"
    if method == "gd":
        return gradient_descent(
            NeuralSheaf(network), x, y, lr=0.005 if regression else 0.01, every=every
        )
    if method == "sheaf":
        sheaf = NeuralSheaf(network)
        begin = begin_at(
            start or ("random" if regression else "forward"),
            sheaf,
            widths,
            stalk_seed,
            fresh,
            len(x),
        )
        return joint_flow(
            sheaf,
            x,
            y,
            start=begin,
            beta=beta_n / len(x),
            dt=dt,
            cold=0 if regression else 1000,
            every=every,
        )
    raise ValueError(f"method={method!r} is unknown, expected sheaf or gd")


def begin_at(
    start: str, sheaf: NeuralSheaf, widths: str, seed: int, fresh: bool, n_batch: int
) -> np.ndarray | None:
    """The stalks a run starts from, by name; None for the forward pass."""
    if start not in ("random", "forward", "zero"):
        raise ValueError(f"start={start!r} is unknown, expected random, forward or zero")
    if start == "random":
        return stalks(sheaf, widths, seed, fresh, n_batch)
    return np.zeros((n_batch, sheaf.N)) if start == "zero" else None


def record(run, steps: int, data: tasks.Task) -> Run:
    """Follow a training generator for a number of steps."""
    kept, why = [], ""
    try:
        for state in run:
            kept.append(
                (
                    state.record.step,
                    state.record.loss,
                    loss(state.network, data.X_test, data.Y_test),
                )
            )
            last: TrainingState = state
            if state.record.step >= steps:
                break
    except TrainingDiverged as error:
        why = str(error)
    step, train_loss, test_loss = (np.array(column) for column in zip(*kept))
    return Run(step, train_loss, test_loss, last.network, last.stalks, why)


def time_to_half(
    widths: str,
    seed: int,
    *,
    edge_weight: float = 1.0,
    alpha: float = 1.0,
    beta_n: float = 1.0,
    dt: float = 0.02,
    start: str = "random",
    n: int = 100,
    T: float = 1000.0,
    every: int = 50,
) -> float:
    """The time until sheaf training brings a fresh network's loss on n paraboloid samples below
    half the labels' variance.

    edge_weight: of all edges but the one to the label, which has 1. Looked at every `every` steps;
    ∞ when it is not there by T.
    """
    data = tasks.task("paraboloid")
    sheaf = NeuralSheaf(initial("paraboloid", widths, seed, True), edge_weight)
    x, y = data.X_train[:n], data.Y_train[:n]
    begin = begin_at(start, sheaf, widths, seed, True, n)
    for state in joint_flow(
        sheaf, x, y, start=begin, beta=beta_n / n, alpha=alpha, dt=dt, every=every
    ):
        if state.record.loss < 0.5 * y.var():
            return state.record.time
        if state.record.time >= T:
            break
    return np.inf


class Birth(NamedTuple):
    """Of a network at initialisation: λ₁ and the output's resistance ρ, medians over some
    inputs.
    """

    gap: float
    resistance: float


def at_birth(widths: str, seed: int, samples: int = 50) -> Birth:
    """λ₁ and ρ of a fresh network over the first training inputs of the paraboloid."""
    sheaf = NeuralSheaf(initial("paraboloid", widths, seed, True))
    x = tasks.task("paraboloid").X_train[:samples]
    pattern = sheaf.forward_pattern(x)
    gaps = spectrum.extremes(sheaf, pattern).smallest
    return Birth(
        float(np.median(gaps)), float(np.median(effective_resistance(sheaf, pattern).norm))
    )
