"""Pictures of exact inference: the parabolas of one neuron, what each method costs, a slide, the
events of a flow, how many equilibria there are.

The first part draws whole figures and leaves their numbers in `fig.numbers`; the second one panels.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.plots.palette import SERIES

MARKERS = ("o", "s", "^", "D")
KINDS = {
    "crosses up": ("^", SERIES[0]),
    "crosses down": ("v", SERIES[0]),
    "slides": ("s", SERIES[1]),
    "leaves up": ("^", SERIES[1]),
    "leaves down": ("v", SERIES[1]),
}
STEPS = {"euler": ("Euler", SERIES[1]), "prox-euler": ("prox-Euler", SERIES[0])}
EXACT = "0.1"


# whole figures
# --------------------------------------------------------------------------------------------------


def two_labels(
    z, curves: Sequence, resting: Sequence[Sequence[float]], cases: Sequence[tuple[float, float]]
) -> Figure:
    """The energy of the pinned 1-1-1 network over z, one panel for each case (u, y), with its two
    parabolas continued and its minima marked.
    """
    fig, axes = plt.subplots(1, len(cases), figsize=(4.8 * len(cases), 3.3))
    for ax, V, minima, (u, y) in zip(axes, curves, resting, cases):
        parabolas(z, V, u, y, ax)
        ax.plot(minima, np.interp(minima, z, V), "*", color="black", ms=13, label="state at rest")
        count = "one state" if len(minima) == 1 else f"{len(minima)} states"
        told = "at rest on the kink" if list(minima) == [0.0] else f"{count} at rest"
        ax.set_title(f"u = {u:g}, label y = {y:g}: {told}".replace("-", "−"))
    fig.legend(*axes[0].get_legend_handles_labels(), ncols=3, loc="outside upper center")
    return noted(
        fig,
        {
            "z": z,
            "energy": list(curves),
            "minima": {f"label {y:g}": list(minima) for minima, (_, y) in zip(resting, cases)},
            "cases": [list(case) for case in cases],
        },
    )


def costs(passes: Mapping[str, Mapping], clock: Mapping[str, Mapping]) -> Figure:
    """What every method costs on every network: passes over the weights, and microseconds."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.7), sharey=True)
    ladder(passes, left, "passes over the weights")
    ladder(clock, right, "microseconds a sample, one core")
    fig.legend(*left.get_legend_handles_labels(), ncols=4, loc="outside upper center")
    return noted(fig, {"passes": passes, "microseconds": clock})


def slide(
    times, exact, stepped: Mapping[str, Sequence], held: tuple[float, float], dt: float
) -> Figure:
    """One neuron that slides: its exact z over time, and steps of dt from time 0 by "euler" and by
    "prox-euler"; `held`: when it begins to slide and when it leaves.
    """
    fig, ax = plt.subplots(figsize=(8, 3.6))
    ax.axvspan(*held, color="0.92")
    ax.text(sum(held) / 2, -0.0075, "held at z = 0", ha="center", color="0.3")
    for name, (label, colour) in STEPS.items():
        path = np.asarray(stepped[name])
        ax.plot(dt * np.arange(len(path)), path, color=colour, label=f"{label}, dt = {dt:g}")
    ax.plot(times, exact, "--", color=EXACT, linewidth=1.2, label="exact flow")
    ax.set(xlim=(times[0], times[-1]), ylim=(-0.009, 0.009), xlabel="time t", ylabel="$z^3_0$")
    ax.legend(loc="upper center")
    return noted(fig, {"time": times, "exact": exact, "slide": list(held)} | dict(stepped))


def events_and_counts(
    flow, steps: Sequence[float], changes: Mapping[str, Sequence[int]], true: int
) -> Figure:
    """The events of an exact flow, beside the sign changes that steps of "euler" and "prox-euler"
    count, against dt, and the flow's own number of them.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6), width_ratios=(1.6, 1))
    events(flow, left)
    left.legend(ncols=2, fontsize="small", loc="lower right")
    left.set_title(f"the flow has {len(flow.events)} events")
    for (name, (label, colour)), marker in zip(STEPS.items(), "os"):
        right.loglog(steps, changes[name], marker + "-", color=colour, label=label)
    right.axhline(true, color=EXACT, linewidth=1, linestyle="--", label="exact flow")
    right.set(xlabel="dt", ylabel="sign changes up to t = 100", title="what steps count")
    right.legend()
    return noted(
        fig,
        {
            "time": [event.time for event in flow.events],
            "unit": [event.unit for event in flow.events],
            "kind": [event.kind for event in flow.events],
            "dt": list(steps),
            "flow": true,
        }
        | dict(changes),
    )


def multiplicity(minima: Mapping[str, Sequence], found: Mapping[str, Sequence], starts) -> Figure:
    """How many minima small networks have, all of them listed, and how many equilibria `starts`
    starts found on the paper's.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.4))
    shares(minima, left, "minima, all of them listed")
    shares(found, right, f"different equilibria that {starts} starts found")
    left.set(title="small random networks", ylabel="share of the networks")
    right.set(title="the paper's networks", ylabel="share of the samples")
    return noted(
        fig,
        {f"enumerated-{name}": counts for name, counts in minima.items()}
        | {f"sampled-{name}": counts for name, counts in found.items()},
    )


def by_start(
    by_edge: Mapping[str, Mapping[str, float]], energy: Mapping[str, float], samples: int
) -> Figure:
    """Mean discord by edge of several answers to the same pinned samples, with their energies."""
    fig, ax = plt.subplots(figsize=(7, 3.8))
    told = {f"{name}: V = {energy[name]:.3f}": row for name, row in by_edge.items()}
    grouped(told, ax, f"mean discord over {samples} samples")
    ax.set_title("the same labels, three answers")
    return noted(fig, {"discord": by_edge, "energy": energy})


def noted(fig: Figure, numbers: Mapping) -> Figure:
    """The figure with the numbers that it draws, which `gallery.save` writes beside it."""
    fig.numbers = numbers  # type: ignore[attr-defined]  # a note of ours, of no meaning to others
    return fig


# panels
# --------------------------------------------------------------------------------------------------


def ladder(rungs: Mapping[str, Mapping[str, float]], ax=None, label: str = ""):
    """One row a method, one mark a network: rungs[method][network] on a log axis; None or a missing
    network is left out.
    """
    ax = plt.gca() if ax is None else ax
    networks = list(dict.fromkeys(name for row in rungs.values() for name in row))
    for series, network in enumerate(networks):
        points = [
            (row[network], place)
            for place, row in enumerate(rungs.values())
            if row.get(network) is not None
        ]
        if points:
            ax.plot(
                *zip(*points),
                MARKERS[series],
                color=SERIES[series],
                markersize=7,
                label=network,
                linestyle="none",
            )
    ax.set_xscale("log")
    ax.set_yticks(range(len(rungs)), list(rungs))
    ax.set_ylim(len(rungs) - 0.5, -0.5)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.set_xlabel(label)
    return ax


def parabolas(z, V, u: float, y: float, ax=None):
    """V of the pinned 1-1-1 network over z, solid and coloured by side, with both parabolas
    continued beyond the kink, dotted.
    """
    ax = plt.gca() if ax is None else ax
    z, V = np.asarray(z), np.asarray(V)
    inactive, active = (z - u) ** 2 / 2 + y**2 / 4, (z - u) ** 2 / 2 + (y - z) ** 2 / 4
    for side, continued, name, colour in (
        (z <= 0, inactive, "neuron off, z < 0", SERIES[0]),
        (z >= 0, active, "neuron on, z ≥ 0", SERIES[1]),
    ):
        ax.plot(z[side], V[side], color=colour, linewidth=2, label=name)
        ax.plot(z[~side], continued[~side], color=colour, linewidth=1, linestyle=":")
    ax.axvline(0, color="0.3", linewidth=1, linestyle=":")
    low, high = V.min(), V.max()
    ax.set(xlabel="z", ylabel="energy V", ylim=(low - 0.1 * (high - low), high))
    return ax


def events(flow, ax=None):
    """One row a unit that has events, a mark at each one's time (log axis), a bar where it slides;
    `flow` is an ExactFlow.
    """
    ax = plt.gca() if ax is None else ax
    units = sorted({event.unit for event in flow.events})
    for unit, intervals in flow.slides.items():
        for start, stop in intervals:
            ax.plot(
                [start, stop],
                [units.index(unit)] * 2,
                color=SERIES[1],
                linewidth=6,
                alpha=0.4,
                solid_capstyle="butt",
            )
    for kind, (marker, colour) in KINDS.items():
        points = [
            (event.time, units.index(event.unit)) for event in flow.events if event.kind == kind
        ]
        if points:
            ax.plot(*zip(*points), marker, color=colour, markersize=7, label=kind, linestyle="none")
    ax.set_xscale("log")
    ax.set_yticks(range(len(units)), units)
    ax.set_ylim(len(units) - 0.5, -0.5)
    ax.set(xlabel="time t", ylabel="")
    return ax


def shares(counts: Mapping[str, Sequence[int]], ax=None, label: str = ""):
    """One group of bars a name: the share of counts[name] (n,) that equals 1, 2, 3, … (whole
    numbers).
    """
    ax = plt.gca() if ax is None else ax
    most = max(int(np.max(c)) for c in counts.values())
    width = 0.8 / len(counts)
    for series, (name, values) in enumerate(counts.items()):
        part = np.bincount(values, minlength=most + 1)[1:] / len(values)
        ax.bar(
            np.arange(1, most + 1) + (series - (len(counts) - 1) / 2) * width,
            part,
            width,
            color=SERIES[series],
            label=name,
        )
    ax.set_xticks(range(1, most + 1))
    ax.set(xlabel=label, ylabel="share")
    ax.legend()
    return ax


def grouped(values: Mapping[str, Mapping[str, float]], ax=None, label: str = ""):
    """Horizontal bars, one group a row, one colour a series: values[series][row]."""
    ax = plt.gca() if ax is None else ax
    rows = list(next(iter(values.values())))
    height = 0.8 / len(values)
    for series, (name, row) in enumerate(values.items()):
        place = np.arange(len(rows)) + (series - (len(values) - 1) / 2) * height
        ax.barh(place, [row[r] for r in rows], height, color=SERIES[series], label=name)
    ax.set_yticks(range(len(rows)), [r.replace("_", " ") for r in rows])
    ax.invert_yaxis()
    ax.set_xlabel(label)
    ax.legend()
    return ax
