"""Training in pictures: the two coupled sheaves, loss curves, surfaces and decision boundaries,
what resistance costs, the table over seeds.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch, Patch

from sheaflib.networks.graph import INPUT
from sheaflib.plots.palette import EDGE_COLOURS, METHOD_COLOURS
from sheaflib.plots.schematic import BOUNDARY, BOX, FREE, INK, math_name
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.extras import needs

with needs("sheaflib.companion.figures.training", "plots"):
    import seaborn as sns

METHODS = {name: METHOD_COLOURS[name] for name in ("sheaf", "gradient descent")}
SAMPLES = ("1", "2", "n")  # the samples that are drawn, of however many
ROW, COLUMN = 0.72, 1.16  # distances of vertices in inches
LABEL = "y"


def stalk_sheaves(sheaf: NeuralSheaf, ax=None):
    """Weights frozen: the sheaf of a chain over each of three samples; white stalks move, grey
    ones, the input and the label, do not.
    """
    ax = plt.gca() if ax is None else ax
    names = (INPUT, *sheaf.layout.names, LABEL)
    maps = [
        *(
            (e.kind, _weights(e.name.split("_")[1]) if e.kind == "affine" else "R")
            for e in sheaf.edges
            if e.kind != "output"
        ),
        ("output", "I"),
    ]
    for row, sample in enumerate(SAMPLES):
        y = _height(row)
        for column, (kind, text) in enumerate(maps):
            ax.plot(
                [COLUMN * column, COLUMN * (column + 1)],
                [y, y],
                color=EDGE_COLOURS[kind],
                linewidth=2.2,
                zorder=1,
                gid=f"edge:{sample}:{column}",
            )
            if row == 0:
                ax.text(
                    COLUMN * (column + 0.5), 0.12, f"${text}$", ha="center", va="bottom", fontsize=9
                )
        for column, name in enumerate(names):
            _box(
                ax,
                COLUMN * column,
                y,
                f"{math_name(name)}_{{{sample}}}",
                BOUNDARY if name in (INPUT, LABEL) else FREE,
            )
    ax.text(COLUMN * (len(names) - 1) / 2, _height(1.5), "⋮", ha="center", va="center", fontsize=13)
    return _framed(
        ax,
        (-0.45, COLUMN * (len(names) - 1) + 0.45),
        (_height(2) - 0.35, 0.6),
        "weights frozen: a sheaf over each sample",
    )


def weight_sheaves(sheaf: NeuralSheaf, ax=None):
    """Stalks frozen: one sheaf a layer, its only free vertex θ^ℓ = (W^ℓ, b^ℓ), with an edge to the
    grey stalk z^ℓ of every sample.
    """
    ax = plt.gca() if ax is None else ax
    affine = [e for e in sheaf.edges if e.kind == "affine"]
    for layer, edge in enumerate(affine):
        left, number = 2.85 * COLUMN * layer, edge.name.split("_")[1]
        middle = left + COLUMN
        for column, sample in enumerate(SAMPLES):
            x = left + COLUMN * column
            ax.plot(
                [middle, x],
                [0, _height(2)],
                color=EDGE_COLOURS["affine"],
                linewidth=2.2,
                zorder=1,
                gid=f"edge:{number}:{sample}",
            )
            ax.text(
                (middle + x) / 2,
                _height(1.15),
                f"$[{math_name(edge.tail)}_{{{sample}}}\\,|\\,1]$",
                ha="center",
                va="center",
                fontsize=9,
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )
            _box(ax, x, _height(2), f"{math_name(edge.head)}_{{{sample}}}", BOUNDARY)
        ax.text(left + 1.5 * COLUMN, _height(2), "⋯", ha="center", va="center", fontsize=13)
        _box(ax, middle, 0, rf"\theta^{{{number}}}", FREE)
    return _framed(
        ax,
        (-0.45, 2.85 * COLUMN * (len(affine) - 1) + 2 * COLUMN + 0.45),
        (_height(2) - 0.35, 0.6),
        "stalks frozen: a sheaf for each layer",
    )


def _weights(number: str) -> str:
    return rf"[W^{{{number}}}|\,b^{{{number}}}]"


def _height(row: float) -> float:
    return -ROW * row


def _box(ax, x: float, y: float, text: str, colour: str) -> None:
    width, height = BOX
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=colour,
            edgecolor=INK,
            linewidth=1.2,
            zorder=5,
            gid=f"box:{text}",
        )
    )
    ax.text(x, y, f"${text}$", ha="center", va="center", fontsize=11, zorder=6)


def _framed(ax, width: tuple[float, float], height: tuple[float, float], title: str):
    ax.set(xlim=width, ylim=height, title=title, aspect="equal")
    ax.axis("off")
    return ax


def loss_curves(runs: Mapping[str, tuple], ax=None, unit: float = 1.0):
    """Train (solid) and test loss (dashed) on a log scale: name of a method -> (step, train, test);
    `unit` is one of the axis in steps.
    """
    ax = plt.gca() if ax is None else ax
    for name, (step, train, test) in runs.items():
        for values, style, part in ((train, "-", "train"), (test, "--", "test")):
            ax.semilogy(
                np.asarray(step) / unit,
                values,
                style,
                color=METHODS[name],
                linewidth=1.3,
                label=f"{name}, {part}",
            )
    ax.set(xlabel=_steps(unit), ylabel="loss")
    return ax


def energy_curves(step, energies: Mapping[str, Sequence[float]], ax=None, unit: float = 1.0):
    """The energy edge by edge and in total on a log scale, coloured by the kind of edge; "output"
    is the edge to the label.
    """
    ax = plt.gca() if ax is None else ax
    seen: list[str] = []
    for name, values in energies.items():
        kind = name.split("_")[0]
        seen.append(kind)
        ax.semilogy(
            np.asarray(step) / unit,
            values,
            ("-", "--", ":")[(seen.count(kind) - 1) % 3],
            color=EDGE_COLOURS[kind],
            label=name.replace("_", " "),
            zorder=1 if kind == "output" else 2,
            linewidth=2.5 if kind == "output" else 1.5,
        )
    ax.semilogy(
        np.asarray(step) / unit,
        np.sum(list(energies.values()), axis=0),
        color="black",
        linewidth=1,
        label="all edges",
    )
    ax.set(xlabel=_steps(unit), ylabel="energy $E$")
    ax.legend()
    return ax


def _steps(unit: float) -> str:
    return {1.0: "step", 1000.0: "thousand steps"}.get(unit, f"steps / {unit:g}")


def surface(x, y, values, levels, ax=None, title: str = ""):
    """Filled level lines of a function of the plane (values has shape (len(y), len(x))); one set of
    levels for all panels.
    """
    ax = plt.gca() if ax is None else ax
    ax.contourf(x, y, values, levels=levels, cmap="cividis", extend="both")
    ax.contour(x, y, values, levels=[0.0], colors="white", linewidths=1)
    ax.set(aspect="equal", title=title, xlabel="$x_1$")
    return ax


def decision(x, y, probability, points, labels, ax=None, title: str = ""):
    """The probability of class 1 over the plane, the boundary at one half, and the samples: points
    (B, 2), labels (B,) of 0 and 1.
    """
    ax = plt.gca() if ax is None else ax
    labels, points = np.asarray(labels), np.asarray(points)
    ax.contourf(x, y, probability, levels=np.linspace(0, 1, 11), cmap="cividis", alpha=0.75)
    ax.contour(x, y, probability, levels=[0.5], colors="black", linewidths=1.6)
    for label, marker, colour in ((0, "o", "#00224e"), (1, "^", "#fee838")):
        own = points[labels == label]
        ax.plot(
            own[:, 0],
            own[:, 1],
            marker,
            color=colour,
            mec="black",
            mew=0.4,
            ms=4,
            label=f"class {label}",
            rasterized=True,
        )
    ax.set(aspect="equal", title=title, xlabel="$x_1$")
    return ax


def slowdown(step, quartiles, equilibrium, measured, ax=None, unit: float = 1.0):
    """The factor 2(1+ρ) by which resistance slows training: quartiles (3, R) over samples, and two
    measured factors (R,).
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    low, median, high = quartiles
    ax.fill_between(place, low, high, color="black", alpha=0.15, linewidth=0)
    ax.plot(
        place, median, color="black", label="predicted: 2(1 + ρ), median and quartiles over samples"
    )
    ax.plot(
        place,
        equilibrium,
        "o",
        color=METHOD_COLOURS["equilibrium"],
        mec="black",
        mew=0.5,
        label="measured, stalks put at their equilibrium",
    )
    ax.plot(
        place,
        measured,
        "s",
        color=METHOD_COLOURS["sheaf"],
        mec="black",
        mew=0.5,
        label="measured, stalks as training has them",
    )
    ax.set(xlabel=_steps(unit), ylabel="factor", ylim=(0, None))
    ax.legend(loc="upper left")
    return ax


def seeds_table(
    losses: Mapping[str, Mapping[str, Sequence[float]]],
    paper: Mapping[str, Mapping[str, float]],
    ax=None,
    title: str = "",
):
    """Losses on a log scale, one row a task: a box and a point a fresh seed for each method, a star
    for the paper's own seed.
    """
    ax = plt.gca() if ax is None else ax
    rows = list(losses)
    long = [
        (row, method, value) for row in rows for method in METHODS for value in losses[row][method]
    ]
    columns = dict(zip(("row", "method", "loss"), zip(*long)))
    common = {
        "data": columns,
        "x": "loss",
        "y": "row",
        "hue": "method",
        "order": rows,
        "hue_order": list(METHODS),
        "ax": ax,
        "legend": False,
    }
    sns.boxplot(
        **common,
        palette=list(METHODS.values()),
        fill=False,
        log_scale=(True, False),
        fliersize=0,
        linewidth=0.9,
        width=0.7,
    )
    sns.stripplot(
        **common, palette=list(METHODS.values()), dodge=True, jitter=False, size=3.5, alpha=0.6
    )
    for place, row in enumerate(rows):
        for shift, method in ((-0.175, "sheaf"), (0.175, "gradient descent")):
            ax.plot(
                paper[row][method],
                place + shift,
                "*",
                color=METHODS[method],
                mec="black",
                mew=0.6,
                ms=9,
                zorder=5,
            )
    ax.set(xlabel="loss", ylabel="", title=title)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    return ax


def method_handles(marked: str = "the paper's seed"):
    """Legend entries of `seeds_table`."""
    return [
        *(Patch(color=colour, label=name) for name, colour in METHODS.items()),
        plt.Line2D([], [], marker="*", ls="", color="white", mec="black", ms=11, label=marked),
    ]
