"""Pictures of effective resistance: a chain as a circuit, bounds of the bottom eigenvector, spectra
along training, a residual network.

The first part draws whole figures and leaves their numbers in `fig.numbers`; the second one panels.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.companion.figures.scaling import numbered, plain_ticks
from sheaflib.plots.palette import EDGE_COLOURS, METHOD_COLOURS, SERIES
from sheaflib.plots.schematic import math_name

MARKERS = ("o", "s", "^", "D", "v", "P")
STYLES = ("-", "--", "-.", ":")
NAMES = {"sheaf": "sheaf", "gd": "gradient descent"}
SHEAF = METHOD_COLOURS["sheaf"]
INK, SKY = "0.2", SERIES[5]  # colours that mean no edge and no method
TEETH = np.array([0, 0, 1, -1, 1, -1, 1, -1, 0, 0])  # of a resistor: height
PLACES = np.array([0, 0.14, 0.2, 0.32, 0.44, 0.56, 0.68, 0.8, 0.86, 1])


# whole figures
# --------------------------------------------------------------------------------------------------


def circuit(solved) -> Figure:
    """A `companion.resistance.Circuit` of a network with one hidden layer."""
    fig, ax = plt.subplots(figsize=(7.2, 3.8))
    vertices = ["x", "z1", "a1", "z2", "y"]
    resistors(solved.resistances, vertices, solved.predicted, solved.solved, ax)
    return numbered(
        fig,
        {"resistances": solved.resistances, "predicted": solved.predicted, "solved": solved.solved},
    )


def bounded(bounds) -> Figure:
    """The `Bounds` of random networks with one output, side by side."""
    fig, ax = plt.subplots(figsize=(7.2, 3.5))
    intervals(bounds.lower, bounds.energy, bounds.upper, ax)
    ax.set(
        xlabel="networks with one output, by rising upper bound",
        ylabel="bottom eigenvector's energy\non the output",
        ylim=(-0.02, 1.02),
    )
    return numbered(fig, {"lower": bounds.lower, "energy": bounds.energy, "upper": bounds.upper})


def spectrum_along_training(spectra) -> Figure:
    """Both ends of the spectrum along two runs, from `Spectra`."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
    numbers: dict[str, Any] = {"step": spectra.step}
    for ax, end, text in ((left, 0, r"$\lambda_1$"), (right, 1, r"$\lambda_{\max}$")):
        law = {NAMES[m]: values[:, end] for m, values in spectra.predicted.items()}
        found = {NAMES[m]: values[:, end] for m, values in spectra.found.items()}
        along(spectra.step, law, found, ax, unit=1000)
        ax.set_ylabel(text)
    left.set(yscale="log")
    plain_ticks(left.yaxis)
    left.legend()
    for m in spectra.found:
        for end, key in enumerate(("low", "high")):
            numbers[f"{m}-{key}-predicted"] = spectra.predicted[m][:, end]
            numbers[f"{m}-{key}"] = spectra.found[m][:, end]
    return numbered(fig, numbers)


def bottom_eigenvector(step: Sequence[int], bounds) -> Figure:
    """The medians of `Bounds` at some steps of a run."""
    fig, ax = plt.subplots(figsize=(6, 3.3))
    label = "energy on $z^2$, found"
    band(step, bounds.lower, bounds.energy, bounds.upper, ax, unit=1000, label=label)
    ax.set_xscale("symlog", linthresh=1)
    ax.set(ylabel="median over 50 inputs", ylim=(0.25, 1), xlim=(-0.1, 1.2 * step[-1] / 1000))
    ax.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    numbers = {"lower": bounds.lower, "energy": bounds.energy, "upper": bounds.upper}
    return numbered(fig, {"step": list(step)} | numbers)


def residual(edges: Mapping[str, float], rho, by_path, chain) -> Figure:
    """The mean resistance of every edge of a residual network, and ρ of every sample (B,) against
    the sum over paths and against the formula of a chain.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.7))
    by_edge(edges, left, f"mean resistance over {len(rho)} samples")
    formula = "the formula of one hidden layer"
    pairs = {"path by path": (rho, by_path), formula: (rho, chain)}
    against(pairs, right, "ρ by one backward pass", "ρ by another route")
    for axis in (right.xaxis, right.yaxis):
        plain_ticks(axis)
    return numbered(fig, {"edges": dict(edges), "rho": rho, "by-path": by_path, "chain": chain})


# parts of figures
# --------------------------------------------------------------------------------------------------


def resistors(
    resistances: Mapping[str, float],
    vertices: Sequence[str],
    potentials: Mapping[str, Sequence[float]],
    found: Mapping[str, Sequence[float]],
    ax=None,
):
    """A chain as resistors in series along an axis of resistance, and the potential of every vertex
    above it.

    resistances: edge -> ρ_e, from the input on; vertices: the names at their ends, one more;
    potentials: name -> predicted, a line; found: name -> solved, marks. A name whose row is shorter
    stops earlier.
    """
    ax = plt.gca() if ax is None else ax
    ends = np.concatenate([[0], np.cumsum(list(resistances.values()))])
    values = np.concatenate([np.asarray(row, dtype=float) for row in potentials.values()])
    low, span = values.min(), np.ptp(values)
    rail = low - 0.42 * span
    for (edge, _), left, right in zip(resistances.items(), ends, ends[1:]):
        colour = EDGE_COLOURS[edge.split("_")[0]]
        ax.plot(
            left + PLACES * (right - left),
            rail + 0.06 * span * TEETH,
            color=colour,
            linewidth=2,
            gid=f"edge:{edge}",
        )
        text = f"{edge.replace('_', ' ')}\n{right - left:.3g}"
        ax.text(
            (left + right) / 2, rail - 0.12 * span, text, ha="center", va="top", fontsize="small"
        )
    for place, name in zip(ends, vertices):
        ax.plot(place, rail, "o", color="white", mec="black", ms=6, zorder=3)
        ax.text(place, rail + 0.12 * span, f"${math_name(name)}$", ha="center", va="bottom")
    for series, (name, row) in enumerate(potentials.items()):
        colour = (INK, SHEAF)[series]
        open_mark = {
            "marker": MARKERS[series],
            "linestyle": "none",
            "mfc": "none",
            "ms": 8,
            "mew": 1.5,
        }
        ax.plot(ends[: len(row)], row, STYLES[series], color=colour, label=f"{name}, predicted")
        ax.plot(
            ends[: len(found[name])],
            found[name],
            color=colour,
            label=f"{name}, solved",
            **open_mark,
        )
    ax.set(xlabel="resistance on the way from the input", ylabel="potential")
    ax.set_ylim(rail - 0.42 * span, values.max() + 0.08 * span)
    ax.set_yticks(
        [
            tick
            for tick in ax.get_yticks()
            if low - 0.05 * span <= tick <= values.max() + 0.08 * span
        ]
    )
    ax.legend(loc="upper left")
    return ax


def against(pairs: Mapping[str, tuple], ax=None, xlabel: str = "predicted", ylabel: str = "solved"):
    """Points (predicted, solved) on log axes, one mark a name, and the line on which both are
    equal.
    """
    ax = plt.gca() if ax is None else ax
    everything = np.concatenate([np.ravel(values) for pair in pairs.values() for values in pair])
    ends = [everything.min() / 1.5, everything.max() * 1.5]
    ax.loglog(ends, ends, color="0.6", linewidth=1, zorder=1)
    for series, (name, (predicted, solved)) in enumerate(pairs.items()):
        ax.loglog(
            predicted,
            solved,
            MARKERS[series],
            color=(INK, SKY)[series],
            ms=5,
            mfc="none",
            linestyle="none",
            label=name,
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=ends, ylim=ends)
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return ax


def intervals(low, value, high, ax=None):
    """Vertical bars low … high (n,) side by side, and what was found as dots."""
    ax = plt.gca() if ax is None else ax
    place = np.arange(len(value))
    ax.vlines(place, low, high, color=SKY, linewidth=1.2, label="between the bounds")
    ax.plot(place, value, ".", color=INK, ms=4, linestyle="none", label="found")
    ax.legend(loc="upper left")
    return ax


def along(
    step,
    predicted: Mapping[str, Sequence[float]],
    measured: Mapping[str, Sequence[float]],
    ax=None,
    unit: float = 1.0,
):
    """Predictions along a run as lines, what was measured as marks: name -> (R,); `unit` is one of
    the axis in steps.
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    for series, name in enumerate(predicted):
        colour = METHOD_COLOURS.get(name, SERIES[series])
        ax.plot(place, predicted[name], STYLES[series], color=colour, label=f"{name}, predicted")
        mark = {"marker": MARKERS[series], "linestyle": "none", "mfc": "none", "ms": 5}
        ax.plot(place, measured[name], color=colour, label=f"{name}, measured", **mark)
    ax.set_xlabel(steps_label(unit))
    return ax


def band(step, low, value, high, ax=None, unit: float = 1.0, label: str = ""):
    """Medians of two bounds as a shade with edges and what was found between them as marks, (R,)
    each.
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    ax.fill_between(place, low, high, color=SHEAF, alpha=0.15, linewidth=0)
    ax.plot(place, high, "--", color=SHEAF, linewidth=1, label="upper bound")
    ax.plot(place, value, "o", color=INK, ms=3.5, linestyle="none", label=label)
    ax.plot(place, low, ":", color=SHEAF, linewidth=1.2, label="lower bound")
    ax.set_xlabel(steps_label(unit))
    ax.legend(loc="lower right")
    return ax


def by_edge(parts: Mapping[str, float], ax=None, label: str = ""):
    """Horizontal bars, one an edge from the input on, in the colour of its kind."""
    ax = plt.gca() if ax is None else ax
    ax.barh(
        range(len(parts)),
        list(parts.values()),
        color=[EDGE_COLOURS[edge.split("_")[0]] for edge in parts],
    )
    ax.set_yticks(range(len(parts)), [edge.replace("_", " ") for edge in parts])
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return ax


def steps_label(unit: float) -> str:
    """What an axis of steps says whose unit is so many of them."""
    return {1.0: "step", 1000.0: "thousand steps"}.get(unit, f"steps / {unit:g}")
