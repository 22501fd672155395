"""How fast sheaf training learns beside gradient descent, over what effective resistance predicts
(notebook 10, derived).
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple, Sequence

import numpy as np

from sheaflib.circuits.currents import currents
from sheaflib.companion import experiments, tasks
from sheaflib.companion.experiments import Snapshot
from sheaflib.companion.resistance import forward
from sheaflib.companion.sweep import sweep
from sheaflib.linear.harmonic import backpropagate, harmonic_extension
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import soft
from sheaflib.training.drivers import gradient, joint_flow, weight_gradient
from sheaflib.training.objective import loss

KAPPAS = (1, 0, -1)
EARLY = [1, 2, 5, 10, 20, 50, 100, 200, 500]
TOLD = (100, 1000, 10_000, 100_000)  # the steps whose real slow-down is a claim
AS_TRAINED = "as training has them"
OWN, FORWARD = "settled in their own pattern", "settled in the forward pass's"
LAG_STEP = 20_000  # from here on the lag is measured
DEPTHS = (1, 2, 4, 6)


class Learnt(NamedTuple):
    """Snapshots of a run of sheaf training, and the samples it learned from."""

    run: list[Snapshot]
    x: np.ndarray
    y: np.ndarray


def deep_run(steps: int) -> list[Snapshot]:
    """The paper's run of [2,12,8,6,1], seeds 0/42: the start, step 1000, a fifth of `steps` and
    twice as many.
    """
    case = {"task": "paraboloid", "widths": "2x12x8x6x1", "seed": 0, "stalk_seed": 42}
    case |= {"method": "sheaf", "dt": 0.05, "at": [0, 1000, steps // 5, 2 * steps]}
    return sweep(experiments.snapshots, [case])[0]


def follow(network: Network, x: np.ndarray, y: np.ndarray, steps: int) -> list[Snapshot]:
    """Sheaf training of any network from its forward pass, dt = 0.02: six snapshots."""
    flow = joint_flow(NeuralSheaf(network), x, y, beta=1 / len(x), dt=0.02, every=steps // 5)
    return [snapshot(state) for state in islice(flow, 6)]


def snapshot(state) -> Snapshot:
    """The moment of a training run that a state holds."""
    return Snapshot(state.record.step, state.network, state.stalks)


# one step of gradient descent in steps of sheaf training
# --------------------------------------------------------------------------------------------------


def flat(parameters) -> np.ndarray:
    """All parameters, node -> parameter -> array, in one vector."""
    parts = [part for own in parameters.values() for part in own.values()]
    return np.concatenate([p.ravel() if isinstance(p, np.ndarray) else p.data for p in parts])


def in_steps(network: Network, x: np.ndarray, y: np.ndarray, force: dict) -> float:
    """How far a step of gradient descent lowers the loss, to first order, over a step along a
    force, the sum over samples taken as a mean.
    """
    g = flat(gradient(network, x, y))
    return float((g @ g) / (g @ flat(force)) * len(x))


def at_rest(network: Network, x: np.ndarray, y: np.ndarray, pattern=None) -> np.ndarray:
    """The stalks at equilibrium behind the unit edge to the label, the pattern frozen: the forward
    pass's unless given.
    """
    sheaf, _, s = forward(network, x)
    s = s if pattern is None else pattern
    pin = soft(network.output_name, y, 1.0)
    return harmonic_extension(sheaf, x, pins=pin, pattern=s).cochain


def driven(network: Network, stalks: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """The steps of training with these stalks that one of gradient descent is worth."""
    return in_steps(network, x, y, weight_gradient(NeuralSheaf(network), x, stalks))


def by_current(network: Network, x: np.ndarray, y: np.ndarray) -> float:
    """The same for the currents alone: each sample's error over its own 1 + ρ, sent back."""
    law = forward(network, x)
    current = (y - network(x)) / (1 + law.resistance.norm[:, None])
    return in_steps(network, x, y, backpropagate(law.sheaf, x, -current))


class SlowDown(NamedTuple):
    """Steps of sheaf training for one of gradient descent along a run (R,): 2(1 + ρ), its quartiles
    over samples (3, R); measured with settled stalks; by the currents alone. Of the last network:
    the smallest and largest ρ, and the cosine between the settled force and the loss's gradient.
    """

    step: list[int]
    quartiles: np.ndarray
    settled: list[float]
    current: list[float]
    ends: list[float]
    cosine: float

    @property
    def predicted(self) -> float:
        """2(1 + ρ) at the end, the median over the samples."""
        return float(self.quartiles[1, -1])

    @property
    def off(self) -> float:
        """Measured over predicted, at the end."""
        return self.settled[-1] / self.predicted

    def __repr__(self):
        low, high = self.ends
        return (
            f"predicted {self.predicted:.4g} (ρ {low:.4g} to {high:.4g}), measured"
            f" {self.settled[-1]:.4g}, each sample over its own {self.current[-1]:.4g}, cosine"
            f" {self.cosine:.2f}"
        )


def slow_down(learnt: Learnt) -> SlowDown:
    """The prediction and the measurement at every snapshot of a run."""
    run, x, y = learnt
    rhos = [forward(snap.network, x).resistance.norm for snap in run]
    last = run[-1].network
    g = flat(gradient(last, x, y))
    f = flat(weight_gradient(NeuralSheaf(last), x, at_rest(last, x, y)))
    return SlowDown(
        [snap.step for snap in run],
        np.array([np.percentile(2 * (1 + rho), [25, 50, 75]) for rho in rhos]).T,
        [driven(snap.network, at_rest(snap.network, x, y), x, y) for snap in run],
        [by_current(snap.network, x, y) for snap in run],
        [float(rhos[-1].min()), float(rhos[-1].max())],
        float(g @ f / np.sqrt((g @ g) * (f @ f))),
    )


# what an edge reads: currents and activations
# --------------------------------------------------------------------------------------------------


class Felt(NamedTuple):
    """Of one sample, for every stalk after a ReLU: the current through each unit, and the activity
    a + κ(a* − a) that the next edge reads, κ -> (n,); a is the forward pass's, a* the settled one.
    """

    current: dict[str, np.ndarray]
    activity: dict[str, dict[int, np.ndarray]]
    active: dict[str, np.ndarray]


def felt(network: Network, x: np.ndarray, y: np.ndarray) -> Felt:
    """Currents and activities of one sample x (1, n_0), y (1, n_out) through a chain."""
    sheaf = NeuralSheaf(network)
    law = currents(sheaf, x, y)
    layers = [name for name in sheaf.layout.names if name.startswith("a")]
    current, activity, active = {}, {}, {}
    for name in layers:
        here = sheaf.layout[name]
        a, settled = law.forward[0, here], law.relaxed[0, here]
        # the edge into a stalk has its rows where the stalk has its coordinates
        current[name] = law.edges[0, here]
        activity[name] = {kappa: a + kappa * (settled - a) for kappa in KAPPAS}
        active[name] = law.pattern[0, sheaf.pattern_layout[name]]
    return Felt(current, activity, active)


def nudged(network: Network, x: np.ndarray, y: np.ndarray, kappa: float, size: float = 1e-6):
    """By what fraction the loss and the median ρ change along −gradient(κ) of the currents, over
    the length of the way, a step of relative size `size`.
    """
    force = currents(NeuralSheaf(network), x, y).gradient(kappa)
    length = np.linalg.norm(flat(force))
    moved = network.with_parameters(
        {
            name: {part: value - size / length * force[name][part] for part, value in own.items()}
            for name, own in network.parameters.items()
        }
    )

    def seen(net: Network) -> np.ndarray:
        return np.array([loss(net, x, y), np.median(forward(net, x).resistance.norm)])

    before = seen(network)
    return (seen(moved) - before) / before / size


# where the law fails
# --------------------------------------------------------------------------------------------------


class Transient(NamedTuple):
    """The speed of training over the law's along a run, with stalks as they are and settled in two
    ways; which part of the units is in another state than in the forward pass.
    """

    step: list[int]
    speeds: dict[str, list[float]]
    foreign: list[float]

    @property
    def slow_down(self) -> dict[str, float]:
        """The real slow-down over 2(1 + ρ) at the steps told, NaN where the run does not come."""
        real = {}
        for t in TOLD:
            there = t in self.step
            speed = self.speeds[AS_TRAINED][self.step.index(t)] if there else np.nan
            real[f"step-{t}"] = 1 / speed
        return real

    def __repr__(self):
        rows = [f"{'step':>7}  as trained  own pattern  forward pattern  units in another state"]
        for step in (1, *TOLD):
            if step in self.step:
                i = self.step.index(step)
                actual, own, settled = (values[i] for values in self.speeds.values())
                part = f"{100 * self.foreign[i]:.2f} %"
                rows.append(f"{step:7}  {actual:10.3f}  {own:11.3f}  {settled:15.3f}  {part:>22}")
        return "\n".join(rows)


def speed(snap: Snapshot, stalks: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """The speed of training with these stalks over the law's, 2(1 + the median ρ) steps for one."""
    rho = np.median(forward(snap.network, x).resistance.norm)
    return float(2 * (1 + rho) / driven(snap.network, stalks, x, y))


def own_rest(snap: Snapshot, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The stalks at equilibrium in the pattern that they have."""
    own = NeuralSheaf(snap.network).pattern(snap.stalks, x)
    return at_rest(snap.network, x, y, own)


def transient(run: Sequence[Snapshot], x: np.ndarray, y: np.ndarray) -> Transient:
    """Speeds along the paraboloid run, the paper's seeds 0/42, whose first 500 steps are added."""
    case = {"task": "paraboloid", "widths": "2x30x1", "seed": 0, "stalk_seed": 42}
    early = sweep(experiments.snapshots, [case | {"method": "sheaf", "at": EARLY}])[0]
    history = [*early, *run[1:]]
    speeds: dict[str, list[float]] = {AS_TRAINED: [], OWN: [], FORWARD: []}
    foreign = []
    for snap in history:
        sheaf, _, s = forward(snap.network, x)
        speeds[AS_TRAINED].append(speed(snap, snap.stalks, x, y))
        speeds[OWN].append(speed(snap, own_rest(snap, x, y), x, y))
        speeds[FORWARD].append(speed(snap, at_rest(snap.network, x, y), x, y))
        foreign.append(float((sheaf.pattern(snap.stalks, x) != s).mean()))
    return Transient([snap.step for snap in history], speeds, foreign)


def lag(
    run: Sequence[Snapshot], x: np.ndarray, y: np.ndarray, beta_n: Sequence[float], steps: int
) -> np.ndarray:
    """What the lag of the stalks costs when the run goes on with weights of other speeds from step
    20 000: the speed of settled stalks, their pattern kept, over the real one, less 1.
    """
    start = next((snap for snap in run if snap.step >= LAG_STEP), run[-1])
    costs = []
    for speed_n in beta_n:
        flow = joint_flow(
            NeuralSheaf(start.network),
            x,
            y,
            start=start.stalks,
            beta=speed_n / len(x),
            dt=0.005,
            every=steps,
        )
        snap = snapshot(list(islice(flow, 2))[1])
        settled = speed(snap, own_rest(snap, x, y), x, y)
        costs.append(settled / speed(snap, snap.stalks, x, y) - 1)
    return np.array(costs)


# the same networks with stiffer edges
# --------------------------------------------------------------------------------------------------


class Stiffer(NamedTuple):
    """Time to half the labels' variance, ten units a layer (∞: not by T): edges of weight 1 and 4;
    the same with the clock held; ρ at the start. All (D, S) over depths and seeds.
    """

    depth: tuple[int, ...]
    soft: np.ndarray
    stiff: np.ndarray
    before: np.ndarray
    after: np.ndarray
    rho: np.ndarray
    T: float

    @property
    def faster(self) -> np.ndarray:
        """The time at weight 4 over that at weight 1."""
        return over(self.stiff, self.soft, self.T)

    @property
    def held(self) -> np.ndarray:
        """The same with the clock held."""
        return over(self.after, self.before, self.T)

    @property
    def law(self) -> np.ndarray:
        """What the law of slow weights expects of the latter: (1 + ρ/4)/(1 + ρ)."""
        return (1 + self.rho / 4) / (1 + self.rho)

    @property
    def never(self) -> dict[str, int]:
        """How many runs never got there, by the weight of their edges."""
        return {
            "weight 1": int(np.isinf(self.soft).sum()),
            "weight 4": int(np.isinf(self.stiff).sum()),
        }


def over(after: np.ndarray, before: np.ndarray, T: float) -> np.ndarray:
    """Ratios of times: whoever is never there counts as T in `before` and as ∞ in `after`; both, as
    no number.
    """
    return np.where(np.isinf(before) & np.isinf(after), np.nan, after / np.minimum(before, T))


def stiffer(seeds: int, T: float) -> Stiffer:
    """Train networks of one to six hidden layers from fresh seeds 1 to `seeds` on 100 samples of
    the paraboloid, four times each.
    """
    x = tasks.task("paraboloid").X_train[:100]
    nets = [
        ("x".join(["2", *["10"] * depth, "1"]), seed)
        for depth in DEPTHS
        for seed in range(1, seeds + 1)
    ]

    def times(**which) -> np.ndarray:
        cases = [{"widths": widths, "seed": seed, "T": T} | which for widths, seed in nets]
        return np.array(sweep(experiments.time_to_half, cases)).reshape(len(DEPTHS), -1)

    slow_weights = {"beta_n": 0.1, "start": "forward", "dt": 0.04, "every": 25}
    born = [
        experiments.initial("paraboloid", seed=seed, widths=widths, fresh=True)
        for widths, seed in nets
    ]
    rho = [np.median(forward(network, x).resistance.norm) for network in born]
    return Stiffer(
        DEPTHS,
        times(dt=0.04, every=25),
        times(edge_weight=4.0, dt=0.01, every=100),
        times(**slow_weights),
        times(edge_weight=4.0, alpha=0.25, **slow_weights),
        np.array(rho).reshape(len(DEPTHS), -1),
        T,
    )
