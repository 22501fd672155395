"""Tension, the deviation of trained stalks from the forward pass, and what correcting the forward
pass by its mean gains (§6.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaflib.companion import tasks
from sheaflib.companion.experiments import Snapshot
from sheaflib.companion.ladder import table
from sheaflib.networks.graph import Network
from sheaflib.sheaves import discord
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.training.objective import loss

EVERY_STALK = "mean deviation, every stalk"


def corrected(network: Network, x, push: dict[str, np.ndarray]) -> np.ndarray:
    """The output (B, n) of a chain's forward pass, to each value of which `push` is added by name:
    (n,) or (B, n).
    """
    values = x
    for node in network.nodes:
        values = node.operation.value(values) + push.get(node.name, 0)
    return values


def spread(t: np.ndarray) -> float:
    """‖standard deviation‖ over ‖mean‖ of a stalk's tension (B, n)."""
    return float(np.sqrt(t.var(axis=0).sum()) / np.linalg.norm(t.mean(axis=0)))


@dataclass(frozen=True, repr=False)
class Tension:
    """The tension of a training state: `deviation[stalk]` (B, n); `ratio[stalk]` is its spread over
    its mean, `coordinates[stalk]` the same of every coordinate (n,); `gains[recipe]` is the
    fraction by which (training, test) loss falls, own_gain that of the training loss when each
    sample is corrected by its own discrepancy.
    """

    deviation: dict[str, np.ndarray]
    ratio: dict[str, float]
    coordinates: dict[str, np.ndarray]
    gains: dict[str, tuple[float, float]]
    own_gain: float

    def __repr__(self):
        rows = {name: [f"{100 * gain:.3f} %" for gain in both] for name, both in self.gains.items()}
        rows["each sample's own discrepancy"] = [f"{100 * self.own_gain:.2f} %", ""]
        return table("the loss falls by", ["training", "test"], rows)


def tension(moment: Snapshot) -> Tension:
    """Measure the tension of a training state on the paraboloid, and correct the forward pass by
    its mean in three ways, and by every sample's own discrepancy, which gives the stalks back.
    """
    data, network = tasks.task("paraboloid"), moment.network
    sheaf, train = NeuralSheaf(network), data[:2]
    gap = sheaf.layout.split(sheaf.discrepancy(moment.stalks, data.X_train))
    deviation = discord.forward_deviation(sheaf, moment.stalks, data.X_train)
    means = {stalk: t.mean(axis=0) for stalk, t in deviation.items()}
    recipes = {
        EVERY_STALK: means,
        "mean discrepancy, injected": {stalk: t.mean(axis=0) for stalk, t in gap.items()},
        "mean deviation, output only": {network.output_name: means[network.output_name]},
    }

    def gain(push, x, y) -> float:
        after = ((corrected(network, x, push) - y) ** 2).mean()
        return float(1 - after / loss(network, x, y))

    gains = {
        name: (gain(push, *train), gain(push, data.X_test, data.Y_test))
        for name, push in recipes.items()
    }
    return Tension(
        deviation,
        {stalk: spread(t) for stalk, t in deviation.items()},
        {stalk: t.std(axis=0) / abs(t.mean(axis=0)) for stalk, t in deviation.items()},
        gains,
        gain(gap, *train),
    )


def history(run: dict[int, Snapshot]) -> tuple[list[int], dict[str, list[float]]]:
    """The spread of every stalk's tension over its mean along a training run, without its start:
    steps, stalk -> ratios.
    """
    x, steps = tasks.task("paraboloid").X_train, [step for step in run if step > 0]
    ratios: dict[str, list[float]] = {}
    for step in steps:
        sheaf = NeuralSheaf(run[step].network)
        for stalk, t in discord.forward_deviation(sheaf, run[step].stalks, x).items():
            ratios.setdefault(stalk, []).append(spread(t))
    return steps, ratios
