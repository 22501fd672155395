"""The figures of notebook 11: the race, its learning curves, the dial between sheaf training and
backpropagation, resistances, local sweeps, regimes.
"""

from __future__ import annotations

from typing import Any, Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.companion.figures.gap import dial, learning, losses, quartiles, ratios, sweeps


def competitive(race) -> Figure:
    """The race: test losses row by row, and their ratios to backpropagation's.

    race: a `companion.competition.Competition`.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 5.8), width_ratios=(1.35, 1), sharey=True)
    against = {name: race.over(name) for name in ("primary", "equilibrium", "null")}
    shown = {
        "sheaf, by currents": {row: race.losses[row, "primary"] for row in race.rows},
        "backpropagation": {row: race.losses[row, "backprop"] for row in race.rows},
        "scikit-learn, L-BFGS": {row: race.scikit_learn[row] for row in race.rows},
        "paper: sheaf": {row: columns["sheaf"] for row, columns in race.paper.items()},
        "paper: gradient descent": {
            row: columns["gradient descent"] for row, columns in race.paper.items()
        },
    }
    losses(shown, left, "mean squared error, or cross-entropy")
    low = left.get_xlim()[0]
    if low < race.floor:
        left.axvspan(low, race.floor, color="0.94", zorder=0)
        left.text(race.floor, len(race.rows) - 1, "these count as equal ", ha="right", color="0.4")
    left.set(title="test loss", xlim=(low, None))
    over = {"sheaf, by currents": against["primary"], "equilibrium": against["equilibrium"]}
    ratios(over, against["null"], right, "median of paired ratios, 90 % interval")
    right.set_title("test loss over backpropagation's")
    legend(fig, (left, right), 3)
    rules = ("rule", "lr", "kappa", "stiffness", "updates")
    kept = ("primary", "equilibrium", "backprop", "null")
    return noted(
        fig,
        {
            "losses": shown,
            "ratios": against,
            "over null": race.over("primary", "null"),
            "floor": race.floor,
            "all": {row: {name: race.losses[row, name] for name in kept} for row in race.rows},
            "chosen": {
                row: {
                    name: {key: race.finals[row, name][key] for key in rules}
                    for name in ("primary", "backprop")
                }
                for row in race.rows
            },
        },
    )


def learning_curves(curves: Mapping[str, Mapping]) -> Figure:
    """Test losses against updates and against passes: row -> method ->
    `companion.competition.Curve`.
    """
    fig, axes = plt.subplots(len(curves), 2, figsize=(9.0, 5.8), sharey="row", squeeze=False)
    for (row, series), (left, right) in zip(curves.items(), axes):
        title = row.replace("-", " ")
        learning({name: (c.updates, c.losses) for name, c in series.items()}, left, title=title)
        by_passes = {
            name: (np.asarray(c.updates) * c.passes, c.losses) for name, c in series.items()
        }
        learning(by_passes, right, "passes over the weights", title)
        left.set_ylabel("test loss")
    legend(fig, axes[0, :1], 4)
    numbers: dict[str, Any] = {
        row: {
            name: {
                "x": c.updates,
                "quartiles": quartiles(np.atleast_2d(c.losses)),
                "passes": c.passes,
            }
            for name, c in series.items()
        }
        for row, series in curves.items()
    }
    first = {row: series["backpropagation"].losses[0] for row, series in curves.items()}
    return noted(fig, numbers | {"first seed": first})


def short_circuit(limit, turned) -> Figure:
    """One update's distance from backpropagation's against the weight of the edges, and test losses
    when it is turned: a `companion.circuit.Limit` and a `companion.competition.Dial`.
    """
    rows = list(turned.ratios)
    fig, axes = plt.subplots(1, 1 + len(rows), figsize=(10.4, 3.8))
    sweeps({name: (limit.weights, v) for name, v in limit.distance.items()}, axes[0])
    axes[0].set(title="one update, saddle 2h", xlabel="weight of the edges")
    axes[0].set_ylabel("distance from backpropagation's")
    for ax, row in zip(axes[1:], rows):
        title = f"trained, {row.replace('-', ' ')}"
        dial(turned.weights, turned.ratios[row], turned.null[row], ax, title)
    axes[1].set_ylabel("test loss over backpropagation's")
    legend(fig, axes[1:2], 4)
    return noted(
        fig,
        {
            "weight": limit.weights,
            "distance": limit.distance,
            "turned": turned.weights,
            "ratios": turned.ratios,
            "null": turned.null,
        },
    )


def inflation(found) -> Figure:
    """Resistances by the rule that trained, row by row: a `companion.competition.Inflation`."""
    fig, ax = plt.subplots(figsize=(8, 3.8))
    losses(found.by_rule, ax, "effective resistance of the output")
    legend(fig, (ax,), 3)
    return noted(fig, found.by_rule)


def local_sweeps(found) -> Figure:
    """What local schemes leave of the error, a panel a depth: a `companion.circuit.Sweeps`."""
    rows = -(-len(found.remaining) // 2)
    fig, axes = plt.subplots(
        rows, 2, figsize=(8.6, 2.9 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax, (depth, curves) in zip(axes.flat, found.remaining.items()):
        sweeps(curves, ax, f"{depth} hidden layer{'s' if depth > 1 else ''}")
        ax.axvline(2 * depth, color="0.6", linewidth=0.8, linestyle=":")
        ax.set_xlabel("")
    for ax in axes[-1]:
        ax.set_xlabel("sweeps, or rounds of messages")
    for ax in axes[:, 0]:
        ax.set_ylabel("relative error of the currents")
    legend(fig, axes[0, :1], 3)
    return noted(fig, {"remaining": found.remaining, "persistent": found.warm})


def regimes(found) -> Figure:
    """The ratios of every regime with their nulls: a `companion.regimes.Contests`."""
    fig = plt.figure(figsize=(10, 6.8))
    grid = fig.add_gridspec(2, 2)
    sheaf, primary = "sheaf, by currents", {"sheaf, by currents": ("primary",)}
    more = {"weight decay": ("backprop-decay",), "equilibrium": ("equilibrium",)}
    panels = [
        (
            grid[:, 0],
            "one sample at a time",
            {"online": "", "continual": "drifting label "},
            {sheaf: ("prox", "circuit")},
        ),
        (
            grid[0, 1],
            "initial weights and depth",
            {"initialisation": "", "depth": "hidden layers: "},
            primary | more,
        ),
        (
            grid[1, 1],
            "few samples, noisy labels",
            {"few": "40 samples, ", "noise": "noise, "},
            primary,
        ),
    ]
    axes = []
    for place, title, parts, sides in panels:
        ax = fig.add_subplot(place)
        shown, null = found.panel(parts, sides)
        ratios(shown, null, ax)
        ax.set_title(title)
        axes.append(ax)
    axes[1].set_xlabel("")
    fig.set_layout_engine("constrained", hspace=0.06)  # a title keeps off the ticks above it
    legend(fig, axes, 2)
    return noted(fig, found.numbers())


def legend(fig: Figure, axes, ncols: int) -> None:
    """One legend above all axes; a name that several have stands there once."""
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, name in zip(*ax.get_legend_handles_labels()):
            handles.setdefault(name, handle)
    fig.legend(handles.values(), handles, ncols=ncols, loc="outside upper center")


def noted(fig: Figure, numbers: Mapping) -> Figure:
    """The figure with the numbers that it draws, which `gallery.save` writes beside it."""
    fig.numbers = numbers  # type: ignore[attr-defined]  # a note of ours, of no meaning to others
    return fig
