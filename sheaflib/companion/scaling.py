"""The scaling laws of sheaf training on the paraboloid: losses over the speed β of the weights,
the start of the stalks, the step and the depth (§5.2, Fig. 10, Fig. E.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple, Sequence

import numpy as np

from sheaflib.companion import experiments, tasks
from sheaflib.companion.experiments import Run
from sheaflib.companion.sweep import sweep
from sheaflib.linear.resistance import effective_resistance
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.training.drivers import TrainingDiverged, joint_flow

WIDTHS = "2x30x1"
N = 300  # training samples
BETA_N = (0.003, 0.009, 0.03, 0.09, 0.3, 0.6, 0.999, 1.5, 3.0, 9.0, 30.0)  # the grid of Fig. 10
BEYOND = (60.0, 120.0, 200.0, 250.0, 300.0, 500.0, 1000.0)
STARTS = ("random", "zero", "forward")
E4_TIMES = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 25.0, 50.0)
E4_STEPS = {"2x30x1": 0.005, "2x10x8x1": 0.01, "2x8x6x4x1": 0.01}  # widths -> dt


# the speed of the weights
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Law:
    """Runs of the network [2,30,1] over speeds βn (K,) and seeds (S); what is measured is an array
    (K, S), with NaN where a run diverged.
    """

    beta_n: np.ndarray
    runs: list[list[Run]]
    T: float
    dt: float
    seeds: Sequence
    start: str

    def __repr__(self):
        lost = int(np.isnan(self.loss).sum())
        return (
            f"Law({len(self.beta_n)} speeds, {len(self.seeds)} seeds, T = {self.T:g}, dt ="
            f" {self.dt:g}: {lost} diverged)"
        )

    def _measured(self, measure) -> np.ndarray:
        return np.array(
            [[np.nan if run.diverged else measure(run) for run in row] for row in self.runs],
            dtype=float,
        )

    @cached_property
    def loss(self) -> np.ndarray:
        """The test loss at the end."""
        return self._measured(lambda run: run.test[-1])

    @cached_property
    def tenth(self) -> np.ndarray:
        """The test loss after a tenth of the time."""
        return self._measured(lambda run: run.test[1])

    @property
    def median(self) -> np.ndarray:
        """The median final loss over the seeds (K,), NaN where a run diverged."""
        return np.median(self.loss, axis=1)

    @cached_property
    def bent(self) -> np.ndarray:
        """How many hidden units bend inside the data at the end: active on some training inputs,
        not on all.
        """
        return self._measured(bent_units)

    @cached_property
    def resistance(self) -> np.ndarray:
        """The effective resistance ρ of the output at the end, the median over the training
        inputs.
        """
        return self._measured(resistance)

    def place(self, beta_n: float) -> int:
        """The place of the speed nearest to this one, on a logarithmic scale."""
        return int(np.argmin(abs(np.log(self.beta_n / beta_n))))

    def at(self, beta_n: float) -> np.ndarray:
        """The final losses (S,) at the speed nearest to this one."""
        return self.loss[self.place(beta_n)]

    @property
    def best(self) -> int:
        """The place of the smallest median loss; a speed at which a run diverged does not count."""
        return int(np.argmin(np.where(np.isnan(self.median), np.inf, self.median)))


def bent_units(run: Run) -> int:
    """How many hidden units of a run's last network are active on some training inputs, not on
    all.
    """
    x = tasks.task("paraboloid").X_train
    active = NeuralSheaf(run.network).forward_pattern(x)
    return int((active.any(axis=0) & ~active.all(axis=0)).sum())


def resistance(run: Run) -> float:
    """The effective resistance of the output of a run's last network, median over the training
    inputs.
    """
    sheaf = NeuralSheaf(run.network)
    pattern = sheaf.forward_pattern(tasks.task("paraboloid").X_train)
    return float(np.median(effective_resistance(sheaf, pattern).norm))


def case(beta_n: float, seeds, T: float, dt: float, **more) -> dict:
    """The parameters of `experiments.train` for a run of [2,30,1] with eleven records; `seeds`: of
    the recorded weights, of the recorded stalks.
    """
    every = max(round(T / dt / 10), 1)
    return {
        "task": "paraboloid",
        "widths": WIDTHS,
        "seed": seeds[0],
        "stalk_seed": seeds[1],
        "beta_n": float(beta_n),
        "dt": dt,
        "steps": 10 * every,
        "every": every,
        **more,
    }


def beta_law(T: float, dt: float, seeds: Sequence, beta_n=BETA_N, start: str = "random") -> Law:
    """Train [2,30,1] on the paraboloid for a time T at every speed βn and from every pair of seeds,
    as Fig. 10 does.

    start: "random" stalks as in the paper, "forward" for the forward pass, or "zero".
    """
    cases = [case(b, pair, T, dt, start=start) for b in beta_n for pair in seeds]
    runs = sweep(experiments.train, cases, label=f"β law, dt = {dt:g}")
    rows = [runs[k : k + len(seeds)] for k in range(0, len(runs), len(seeds))]
    return Law(np.array(beta_n, dtype=float), rows, T, dt, seeds, start)


def at_half_the_step(law: Law) -> np.ndarray:
    """Final losses at half the step over those of the law: the first seed at every speed, then all
    seeds at speeds above 3. Runs that diverged are left out.
    """
    fast = law.beta_n > 3
    first = beta_law(law.T, law.dt / 2, law.seeds[:1], law.beta_n, law.start)
    others = beta_law(law.T, law.dt / 2, law.seeds, law.beta_n[fast], law.start)
    changes = np.concatenate(
        [(first.loss / law.loss[:, :1]).ravel(), (others.loss / law.loss[fast]).ravel()]
    )
    return changes[np.isfinite(changes)]


# the first unit of time
# --------------------------------------------------------------------------------------------------


class FirstUnit(NamedTuple):
    """The norm of the first layer's weights after one unit of time over that at the start, as run
    and by the law of conservation: start -> (K, S), NaN where a run diverged.
    """

    beta_n: np.ndarray
    kept: dict[str, np.ndarray]
    formula: dict[str, np.ndarray]

    def __repr__(self):
        return f"FirstUnit({len(self.beta_n)} speeds, starts {', '.join(self.kept)})"

    def farthest(self, above: float = 2.0) -> dict[str, float]:
        """The ratio of both that is farthest from 1 among the speeds above some βn, for every
        start.
        """
        fast = self.beta_n > above
        ratios = {start: (self.kept[start] / self.formula[start])[fast] for start in self.kept}
        return {start: farthest_from_1(values) for start, values in ratios.items()}


def farthest_from_1(ratios) -> float:
    """The ratio whose distance from 1 is largest; NaN when none is a number."""
    known = np.ravel(ratios)[np.isfinite(np.ravel(ratios))]
    return float(known[np.argmax(abs(known - 1))]) if len(known) else np.nan


def first_unit(dt: float, seeds: Sequence, beta_n=BETA_N) -> FirstUnit:
    """Run one unit of time from random, zero and forward stalks at every speed and seed."""
    kept, formula = {}, {}
    for start in STARTS:
        rows = [[first_layer(start, pair, b, dt) for pair in seeds] for b in beta_n]
        kept[start], formula[start] = np.moveaxis(np.array(rows), 2, 0)
    return FirstUnit(np.array(beta_n, dtype=float), kept, formula)


def first_layer(start: str, seeds, beta_n: float, dt: float) -> tuple[float, float]:
    """‖W¹‖ after one unit of time over ‖W¹‖ at the start: as run, and where an affine edge on its
    own would come to rest, (W₀ + βn⟨z₀x̃ᵀ⟩)(I + βn C)⁻¹.
    """
    x, y, *_ = tasks.task("paraboloid")
    sheaf = NeuralSheaf(experiments.initial("paraboloid", WIDTHS, seeds[0], False))
    given = experiments.begin_at(start, sheaf, WIDTHS, seeds[1], False, N)
    stalks = sheaf.forward(x) if given is None else given
    first = sheaf.network.nodes[0].operation
    tilde = np.hstack([x, np.ones((N, 1))])
    moved = np.c_[first.weight, first.bias] + beta_n * stalks[:, sheaf.layout["z1"]].T @ tilde / N
    rest = moved @ np.linalg.inv(np.eye(3) + beta_n * tilde.T @ tilde / N)
    size = np.linalg.norm(first.weight)
    flow = joint_flow(sheaf, x, y, start=given, beta=beta_n / N, dt=dt, every=round(1 / dt))
    try:
        _, after = islice(flow, 2)
        kept = float(np.linalg.norm(after.network.nodes[0].operation.weight) / size)
    except TrainingDiverged:
        kept = np.nan
    return kept, float(np.linalg.norm(rest[:, :2]) / size)


# Euler's limit
# --------------------------------------------------------------------------------------------------


class Limits(NamedTuple):
    """Euler's limit of βn, setting by setting: the largest speed that trains, the smallest that
    diverges, and the prediction 2/(dt λ_max(C)).

    late: settings in which the largest that trained over a fifth of the time diverges later on.
    """

    trains: dict[str, float]
    diverges: dict[str, float]
    predicted: dict[str, float]
    late: list[str]

    def __repr__(self):
        found = (f"{s}: {self.trains[s]:.0f} to {self.diverges[s]:.0f}" for s in self.trains)
        return f"Limits({'; '.join(found)})"

    @property
    def middle(self) -> dict[str, float]:
        """The geometric middle of every bracket."""
        return {s: float(np.sqrt(self.trains[s] * self.diverges[s])) for s in self.trains}

    @property
    def over_prediction(self) -> dict[str, float]:
        """The middle of every bracket over the prediction."""
        return {s: middle / self.predicted[s] for s, middle in self.middle.items()}


def setting(n: int, dt: float) -> str:
    """The name of a setting of `limits`."""
    return f"n={n}, dt={dt:g}"


def limits(T: float, dt: float, seeds) -> Limits:
    """Bracket the limit of βn by eight bisections, for twice the step, the step and half of it, on
    all and on half of the samples.

    Runs of the bisection take T/5; at the end the largest speed that trained runs for T. At dt =
    0.005 the bisection begins with βn from 30 to 1000, at another step with as much over dt.
    """
    settings = {setting(n, h): (n, h) for n in (N, N // 2) for h in (2 * dt, dt, dt / 2)}
    predicted = {name: 2 / (h * largest_moment(n)) for name, (n, h) in settings.items()}

    def diverged(speeds: dict[str, float], until: float) -> dict[str, bool]:
        cases = []
        for name, speed in speeds.items():
            n, h = settings[name]
            cases.append(case(speed, seeds, until, h, n=n, steps=round(until / h), every=0))
        runs = sweep(experiments.train, cases, label="Euler's limit")
        return {name: bool(run.diverged) for name, run in zip(speeds, runs)}

    trains = dict.fromkeys(settings, round(0.15 / dt, 2))
    diverges = dict.fromkeys(settings, round(5 / dt, 2))
    for _ in range(8):
        tried = {name: round(float(np.sqrt(trains[name] * diverges[name])), 2) for name in settings}
        for name, lost in diverged(tried, T / 5).items():
            (diverges if lost else trains)[name] = tried[name]
    late = [name for name, lost in diverged(trains, T).items() if lost]
    return Limits(trains, diverges, predicted, late)


def largest_moment(n: int) -> float:
    """λ_max(C), C the second moment ⟨x̃x̃ᵀ⟩ of x̃ = [x, 1] over the first n training inputs."""
    tilde = np.hstack([tasks.task("paraboloid").X_train[:n], np.ones((n, 1))])
    return float(np.linalg.eigvalsh(tilde.T @ tilde / n)[-1])


# depth
# --------------------------------------------------------------------------------------------------


class LossOverTime(NamedTuple):
    """Fig. E.4: test losses at some times, for networks by their widths: with the paper's seeds
    (R,), with fresh ones (R, S).
    """

    times: tuple[float, ...]
    paper: dict[str, np.ndarray]
    fresh: dict[str, np.ndarray]

    def __repr__(self):
        return f"LossOverTime({', '.join(self.paper)}: {len(self.times)} times)"


def loss_over_time(seeds: int) -> LossOverTime:
    """Train the three networks of Fig. E.4 with the paper's seeds 42/42, and with fresh seeds 1 to
    `seeds`.
    """
    paper, fresh = {}, {}
    draws = [{"seed": s, "stalk_seed": s, "fresh": True} for s in range(1, seeds + 1)]
    for widths, dt in E4_STEPS.items():
        net = {"task": "paraboloid", "widths": widths, "dt": dt, "every": round(0.5 / dt)}
        net["steps"] = round(max(E4_TIMES) / dt)
        runs = sweep(experiments.train, [net, *(net | draw for draw in draws)], label=widths)
        steps = [round(t / dt) for t in E4_TIMES]
        losses = np.array([run.test[np.searchsorted(run.step, steps)] for run in runs]).T
        paper[widths], fresh[widths] = losses[:, 0], losses[:, 1:]
    return LossOverTime(E4_TIMES, paper, fresh)


class DepthLaw(NamedTuple):
    """Ten units a layer: time to half the labels' variance (∞: not by T), λ₁ and ρ at
    initialisation, each (D, S) over depths (D,) and seeds.
    """

    depth: np.ndarray
    time: np.ndarray
    gap: np.ndarray
    resistance: np.ndarray
    T: float

    def __repr__(self):
        return f"DepthLaw(depths {self.depth[0]} to {self.depth[-1]}, {self.time.shape[1]} seeds)"


def depth_law(T: float, seeds: int, depths=range(1, 9)) -> DepthLaw:
    """Train networks of ten units a layer from fresh seeds 1 to `seeds`, on a third of the samples
    with dt = 0.02, until their loss is below half the variance of the labels, or the time T is
    over.
    """
    nets = [
        {"widths": "x".join(["2", *["10"] * depth, "1"]), "seed": seed}
        for depth in depths
        for seed in range(1, seeds + 1)
    ]
    wait = {"dt": 0.02, "T": T, "every": 50, "n": N // 3}
    # the deepest first: they take longest
    times = sweep(experiments.time_to_half, [net | wait for net in nets[::-1]], label="depth")
    born = np.array(sweep(experiments.at_birth, nets, label="depth, at initialisation"))
    shape = len(depths), seeds
    gap, rho = (column.reshape(shape) for column in born.T)
    return DepthLaw(np.array(depths), np.array(times[::-1]).reshape(shape), gap, rho, T)
