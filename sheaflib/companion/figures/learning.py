"""The figures of notebook 06, each made from its results: two sheaves, Fig. 7 to 9, what resistance
costs, and Table E.1.
"""

from __future__ import annotations

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.companion import table_e1
from sheaflib.companion.figures import training as parts
from sheaflib.companion.table_e1 import AUTHORS, METHODS
from sheaflib.plots.palette import METHOD_COLOURS
from sheaflib.sheaves.neural import NeuralSheaf

KEPT = 20  # points a side of a surface that are stored
LEVELS = np.linspace(-1, 7.5, 18)


def two_sheaves(sheaf: NeuralSheaf) -> Figure:
    """Training as two sheaves: over each sample with the weights as maps, and over each layer with
    the stalks as maps. Figure 06-two-sheaves.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 2.6), width_ratios=[5.54, 6.53])
    parts.stalk_sheaves(sheaf, axes[0])
    parts.weight_sheaves(sheaf, axes[1])
    weights = {
        f"theta{i + 1}": node.operation.weight.size + node.operation.bias.size
        for i, node in enumerate(sheaf.network.affine_nodes)
    }
    fig.numbers = {"stalks": dict(zip(sheaf.layout.names, sheaf.layout.dims)), "weights": weights}
    return fig


def losses_and_energies(curves: dict, path: list, stop: int) -> Figure:
    """The paraboloid's losses by both methods (name -> (step, train, test)) and the energies of the
    sheaf run's states, edge by edge. Figure 06-fig-7.

    stop: the record at which the main text stops gradient descent.
    """
    energies = {edge: [s.record.energies[edge] for s in path] for edge in path[0].record.energies}
    step, train, _ = curves["gradient descent"]
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.5))
    parts.loss_curves(curves, left, unit=1000)
    left.plot(
        step[stop] / 1000,
        train[stop],
        "D",
        color=METHOD_COLOURS["gradient descent"],
        mec="black",
        label=f"gradient descent, {step[stop]:,} steps",
    )
    left.set_title("loss of the forward pass")
    left.legend()
    parts.energy_curves(step, energies, right, unit=1000)
    right.set_title("energy of the sheaf run, by edge")
    fig.numbers = {"step": step}
    for name, (_, train, test) in curves.items():
        fig.numbers |= {f"{name}-train": train, f"{name}-test": test}
    fig.numbers |= {f"energy-{edge}": values for edge, values in energies.items()}
    return fig


def surfaces(axis: np.ndarray, panels: dict[str, np.ndarray], names: tuple[str, ...]) -> Figure:
    """Functions on a square grid, title -> (n, n), on one scale of level lines. Figure 06-fig-8.

    names: what the numbers of each are called.
    """
    few = np.linspace(0, len(axis) - 1, KEPT).astype(int)
    fig, axes = plt.subplots(1, len(panels), figsize=(11, 2.9), sharey=True)
    for ax, (title, values) in zip(axes, panels.items()):
        parts.surface(axis, axis, values, LEVELS, ax, title)
        ax.title.set_fontsize(9)
    axes[0].set_ylabel("$x_2$")
    fig.colorbar(axes[0].collections[0], ax=axes, ticks=[0, 2, 4, 6], shrink=0.8)
    stored = (values[np.ix_(few, few)] for values in panels.values())
    fig.numbers = {"axis": axis[few]} | dict(zip(names, stored))
    return fig


def classifiers(runs: dict, data, n_grid: int) -> Figure:
    """Losses on the circular task, and the probability of class 1 over the plane with the test
    samples: name of a method -> Run. Figure 06-fig-9.
    """
    axis = np.linspace(-3, 3, n_grid)
    plane = np.array([(p, q) for q in axis for p in axis])
    few = np.linspace(0, n_grid - 1, KEPT).astype(int)
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    parts.loss_curves(
        {name: (run.step, run.train, run.test) for name, run in runs.items()}, axes[0], unit=1000
    )
    axes[0].set_ylabel("cross-entropy")
    axes[0].legend()
    fig.numbers = {"axis": axis[few]}
    for ax, (name, run) in zip(axes[1:], runs.items()):
        p = run.network(plane).reshape(n_grid, n_grid)
        parts.decision(axis, axis, p, data.X_test, data.Y_test[:, 0], ax, name)
        fig.numbers |= {f"{name}-step": run.step, f"{name}-train": run.train}
        fig.numbers |= {f"{name}-test": run.test, f"{name}-probability": p[np.ix_(few, few)]}
    axes[1].set_ylabel("$x_2$")
    axes[2].legend(loc="upper right", frameon=True)
    return fig


def slowdown(step, quartiles, equilibrium, actual) -> Figure:
    """The factor 2(1 + ρ) along a run, quartiles (3, R) over samples, and the factor measured with
    two kinds of stalks, (R,). Figure 06-resistance.
    """
    fig, ax = plt.subplots(figsize=(6.4, 3.6))
    parts.slowdown(step, quartiles, equilibrium, actual, ax, unit=1000)
    fig.numbers = {
        "step": step,
        "quartiles": quartiles,
        "equilibrium": equilibrium,
        "actual": actual,
    }
    return fig


def table_curves(authors: dict) -> Figure:
    """Losses along the runs from the authors' inputs, a panel a row of the table: (row, method,
    AUTHORS) -> Run. Figure 06-fig-e3.
    """
    fig, axes = plt.subplots(2, 4, figsize=(11, 4.8), sharex="row")
    fig.numbers = {}
    for ax, row in zip(axes.flat, table_e1.ROWS):
        own = {name: authors[row, method, AUTHORS] for method, name in METHODS.items()}
        curves = {name: (run.step, run.train, run.test) for name, run in own.items()}
        parts.loss_curves(curves, ax, unit=1000)
        ax.set(title=row, xlabel="", ylabel="")
        fig.numbers[f"{row}-step"] = own["sheaf"].step
        for name, (_, train, test) in curves.items():
            fig.numbers |= {f"{row}-{name}-train": train, f"{row}-{name}-test": test}
    for ax in axes[1]:
        ax.set_xlabel("thousand steps")
    for ax in axes[:, 0]:
        ax.set_ylabel("loss")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), ncols=4, loc="outside upper center")
    return fig


def table_over_seeds(fresh: dict, authors: dict) -> Figure:
    """Train and test loss of every row by both methods: fresh seeds as points and boxes, the
    authors' seed as a star. Figure 06-table-e1.

    `fig.outside` says where the star lies outside the fresh ones: part -> rows and methods.
    """
    seeds = list(dict.fromkeys(seed for _, _, seed in fresh))
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.4), sharex=True, sharey=True)
    fig.numbers, fig.outside = {}, {}
    for ax, part in zip(axes, ("train", "test")):
        seeded, own = {}, {}
        for row in table_e1.ROWS:
            seeded[row] = {
                name: [float(getattr(fresh[row, method, s], part)[-1]) for s in seeds]
                for method, name in METHODS.items()
            }
            own[row] = {
                name: float(getattr(authors[row, method, AUTHORS], part)[-1])
                for method, name in METHODS.items()
            }
        parts.seeds_table(seeded, own, ax, f"{part} loss")
        fig.numbers |= {f"{part}-fresh": seeded, f"{part}-authors": own}
        fig.outside[part] = [
            f"{row} ({name})"
            for row, name in product(table_e1.ROWS, METHODS.values())
            if not min(seeded[row][name]) <= own[row][name] <= max(seeded[row][name])
        ]
    axes[1].legend(handles=parts.method_handles(), loc="upper left", bbox_to_anchor=(1, 1))
    return fig
