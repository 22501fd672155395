"""The figures of notebook 04: heat on the graph, switches, rates, sliding, paths to the forward
pass. Each function makes a whole figure and leaves the plotted numbers in `fig.numbers`. A `run` is
a Solution of `relax`, a `history` its HeatHistory.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sheaflib.companion.flows import Path, Plane
from sheaflib.companion.record import gallery
from sheaflib.plots.flow import discord_curves, mark_switches
from sheaflib.plots.palette import DISCORD, EDGE_COLOURS, SERIES
from sheaflib.plots.schematic import BOX, schematic
from sheaflib.sheaves import discord
from sheaflib.sheaves.neural import NeuralSheaf

INK, GREY = "#000000", "0.6"
MAP, HEAT = "cividis", DISCORD
MARKED = {"facecolor": "#fff2c4", "edgecolor": "none", "pad": 1.5}
STAR = {"marker": "*", "ms": 15, "color": "white", "mec": INK, "ls": "none", "zorder": 4}


def graph_in_time(
    sheaf: NeuralSheaf, x, path, dt: float, times: Sequence[float] = (0, 1, 5, 20)
) -> Figure:
    """The graph of a network at four times of a flow, each edge in the colour of its discord; path
    (R, N) holds the states after 0, 1, 2, … steps of dt.
    """
    steps = [min(round(time / dt), len(path) - 1) for time in times]
    w, x = np.array([path[step] for step in steps]), np.repeat(x, len(steps), axis=0)
    found, pattern = discord.per_edge(sheaf, w, x), sheaf.pattern(w, x)
    every = np.concatenate(list(found.values()))
    norm = LogNorm(10.0 ** np.floor(np.log10(every.min())), 10.0 ** np.ceil(np.log10(every.max())))
    fig, axes = plt.subplots(2, 2, figsize=(9.4, 3))
    for i, ax in enumerate(axes.flat):
        _coloured(sheaf, ax, {edge: values[i] for edge, values in found.items()}, norm)
        _dots(sheaf, ax, pattern[i])
        ax.set(title=f"time {steps[i] * dt:g}", ylim=(-0.42, 0.42))
    bar = fig.colorbar(ScalarMappable(norm, HEAT), ax=axes, label="discord of an edge", aspect=14)
    bar.ax.minorticks_off()
    numbers = {
        "time": [step * dt for step in steps],
        "discord": found,
        "pattern": pattern.astype(int),
    }
    return holding(fig, numbers)


def _coloured(sheaf: NeuralSheaf, ax, found: Mapping[str, float], norm) -> None:
    """The graph of a network, its edges in the colours of their discord and with their names."""
    schematic(sheaf, ax, stalks=False).get_legend().remove()
    for text in [text for text in ax.texts if not text.get_gid()]:
        text.remove()
    lines = {line.get_gid().removeprefix("line:"): line for line in ax.lines if line.get_gid()}
    for edge, value in found.items():
        ends = lines[edge].get_xdata()
        ax.plot(ends, [0, 0], color=INK, lw=11, solid_capstyle="butt", zorder=1)
        lines[edge].set(color=plt.get_cmap(HEAT)(norm(value)), lw=9.5)
        middle, name = np.mean(ends), edge.replace("_", " ")
        ax.text(middle, 0.13, _short(value), ha="center", va="bottom", fontsize=8.5)
        ax.text(middle, -0.2, name, ha="center", va="top", fontsize=7.5)


def _dots(sheaf: NeuralSheaf, ax, pattern) -> None:
    """Above each z that a ReLU reads its neurons, those that are on filled."""
    places = {t.get_gid().removeprefix("vertex:"): t for t in ax.texts if t.get_gid()}
    for node in sheaf.network.nodes:
        if node.name in sheaf.pattern_layout:
            own = pattern[sheaf.pattern_layout[node.name]]
            x = places[node.inputs[0]].get_position()[0]
            place = x + 0.1 * (np.arange(len(own)) - (len(own) - 1) / 2)
            colours = np.where(own, INK, "white")
            height = np.full(len(own), BOX[1] / 2 + 0.1)
            ax.scatter(place, height, s=16, c=colours, ec=INK, lw=0.7, zorder=4)


def _short(value: float) -> str:
    """A number to two digits, small ones with a power of ten."""
    if value >= 0.001:
        return f"{value:.2g}"
    digits, power = f"{value:.0e}".split("e")
    return rf"${digits}\cdot 10^{{{int(power)}}}$"


def two_switches(run, z: np.ndarray) -> Figure:
    """The paper's Fig. 6: hidden neurons z (R, n) crossing 0, and discord edge by edge; R is the
    number of the run's records.
    """
    history = run.history
    switches = history.switches
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    shown = slice(0, round(2 / history.dt) + 1)
    for i, style in zip(range(z.shape[1]), ("-", "--", "-.", ":")):
        colour = INK if i in switches[:, 2] else GREY
        left.plot(history.step[shown], z[shown, i], style, color=colour)
        left.text(1.02 * history.step[shown][-1], z[shown, i][-1], f"$z^1_{i}$", va="center")
    left.axhline(0, color=GREY, lw=0.8)
    mark_switches(switches[:, 0], left)
    left.set(xlabel="step", ylabel="$z^1$", title="the four hidden neurons")
    by_edge = {edge: values[:, 0] for edge, values in history.discord.items()}
    discord_curves(history.step, by_edge, right, switches[:, 0])
    right.set_title("discord, edge by edge")
    step, z, *kept = gallery.thin(history.step, z, *by_edge.values(), keep=switches[:, 0])
    return holding(
        fig, {"step": step, "z1": z.T, "switches": switches[:, 0], **dict(zip(by_edge, kept))}
    )


def switch(sheaf: NeuralSheaf, x, path: Path) -> Figure:
    """The sheaf at the last step before the first switch of a path and at the step after it, for a
    network with one hidden layer: the mask of the activation edge is all that changes.
    """
    step, _, unit = path.switches[0]
    w = path.cochain[[step - 1, step], 0]
    x = np.repeat(x, 2, axis=0)
    found, pattern = discord.total(sheaf, w, x), sheaf.pattern(w, x).astype(int)
    z = w[:, sheaf.layout["z1"]][:, unit]
    fig, axes = plt.subplots(2, 1, figsize=(9, 5.4))
    for i, (ax, when) in enumerate(zip(axes, ("before", "after"))):
        mask = rf"$\mathrm{{diag}}({','.join(map(str, pattern[i]))})$"
        schematic(sheaf, ax, {"activation_1": (mask, r"$[I\,|\,0]$")})
        next(text for text in ax.texts if text.get_text() == mask).set(bbox=MARKED, fontsize=8)
        value = f"{z[i]:.4f}".replace("-", "−")
        ax.set_title(f"{when}, step {step - 1 + i}: $z^1_{unit}$ = {value}, discord {found[i]:.4f}")
    axes[0].get_legend().remove()
    return holding(
        fig, {"step": [step - 1, step], "unit": unit, "z": z, "pattern": pattern, "discord": found}
    )


def recorded_runs(runs: Mapping[str, tuple]) -> Figure:
    """Total discord of some runs, and beside each a line of the predicted slope of its logarithm a
    step: widths -> (history, slope).
    """
    fig, axes = plt.subplots(1, len(runs), figsize=(9, 3.6), squeeze=False)
    numbers: dict = {}
    for ax, (name, (history, slope)) in zip(axes.flat, runs.items()):
        falling(history, slope, ax)
        ax.set_title(f"[{name.replace('x', ',')}]")
        numbers |= {
            f"{name}-step": history.step,
            f"{name}-discord": history.total[:, 0],
            f"{name}-switches": history.switches[:, 0],
        }
    return holding(fig, numbers)


def falling(history, slope: float, ax):
    """Total discord as a broad grey line, the predicted slope as a dashed one on it, switches as
    ticks below.
    """
    step, total = history.step, history.total[:, 0]
    ax.semilogy(step, total, color="0.72", lw=4, solid_capstyle="butt", label="total discord")
    end = total[-1] * np.exp(slope * (step[[0, -1]] - step[-1]))
    ax.semilogy(step[[0, -1]], end, "--", color=INK, lw=1.2, label="predicted slope")
    at = np.unique(history.switches[:, 0])
    ax.plot(
        at,
        np.full(len(at), 0.02),
        "|",
        color=INK,
        ms=11,
        transform=ax.get_xaxis_transform(),
        label="a neuron switches",
    )
    ax.set(xlabel="step", ylabel="discord")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.legend()
    return ax


def below_the_bound(path: Path, V, bound) -> Figure:
    """The energy V along a path under an exponential bound (R,)."""
    switches = np.unique(path.switches[:, 0])
    time, V, bound = gallery.thin(path.time, V, bound, keep=switches[:200], n=900)
    fig, ax = plt.subplots(figsize=(6, 3.4))
    ax.semilogy(time, V, color=INK, label="V along the flow")
    ax.semilogy(time, bound, "--", color=INK, label="V(0) exp(−2αμt)")
    ax.set(xlabel="time t", ylabel="energy V")
    ax.legend()
    return holding(fig, {"time": time, "V": V, "bound": bound})


def sliding(run, coarse: Path, fine: Path) -> Figure:
    """Every switch of a run up to t = 7, neuron by neuron, and the one that switches most, close to
    its kink at two step sizes.
    """
    sheaf = run.sheaf
    history = run.history
    # in a chain the n-th unit of all stands at the n-th coordinate of all z but the last
    z = [i for name in sheaf.layout.names[:-1:2] for i in range(sheaf.N)[sheaf.layout[name]]]
    unit = np.bincount(history.switches[:, 2]).argmax()
    early = history.switches[history.switches[:, 0] * history.dt <= 7]
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), width_ratios=(1, 1.1))
    rows = np.unique(early[:, 2])
    for row, own in enumerate(rows):
        times = history.dt * early[early[:, 2] == own, 0]
        left.plot(times, np.full(len(times), row), "|", ms=14, color=INK)
        left.text(7.2, row, f"{len(times)}", va="center")
    left.set_yticks(range(len(rows)), [sheaf.layout.label(z[own]) for own in rows])
    left.set(xlabel="time t", xlim=(0, 7), ylim=(-0.6, len(rows) - 0.4))
    left.set_title("Euler's switches, their number at the right")
    ends = coarse.cochain[:, 0, z[unit]], fine.cochain[:, 0, z[unit]]
    time, shown = gallery.thin(fine.time, ends[1])
    right.axhline(0, color=GREY, lw=0.8)
    right.plot(coarse.time, ends[0], color=GREY, lw=2, label=f"dt = {history.dt:g}")
    right.plot(time, shown, color=INK, lw=1, label=f"dt = {history.dt / 10:g}")
    right.set(xlim=(0.7, 1.8), ylim=(-0.8 * history.dt, 0.8 * history.dt), xlabel="time t")
    right.set(ylabel=sheaf.layout.label(z[unit]), title="one neuron slides along its kink")
    right.legend(loc="lower right")
    return holding(fig, {"switches": early.T, "z": ends[0], "fine-time": time, "fine-z": shown})


def sigmoid_output(run, slope: float, path: Path) -> Figure:
    """The paper's Fig. E.1: discord of a run with a sigmoid output in total, by kind of edge and by
    layer, and its two output values along a path with the run's records.
    """
    sheaf = run.sheaf
    history = run.history
    curves = {edge: values[:, 0] for edge, values in history.discord.items()}
    logit, probability = path.cochain[:, 0, sheaf.N - 1], path.cochain[:, 0, sheaf.N]
    phi = sheaf.network.output.value(logit[:, None])[:, 0]
    fig, ((total, kinds), (layers, output)) = plt.subplots(2, 2, figsize=(9, 5.6))
    falling(history, slope, total)
    for kind in ("affine", "activation", "output"):
        values = np.sum([v for e, v in curves.items() if e.startswith(kind)], axis=0)
        kinds.semilogy(history.step, values, color=EDGE_COLOURS[kind], label=kind)
    shades = plt.get_cmap(MAP)(np.linspace(0, 0.85, 4))
    for layer, (style, shade) in enumerate(zip(("-", "--", "-.", ":"), shades), 1):
        values = np.sum([v for e, v in curves.items() if e.endswith(f"_{layer}")], axis=0)
        layers.semilogy(history.step, values, style, color=shade, label=f"layer {layer}")
    shown = min(len(history.step), len(phi))
    step, phi, probability = history.step[:shown], phi[:shown], probability[:shown]
    output.axhline(sheaf.network(run.x)[0, 0], color=GREY, lw=0.8, label="forward pass")
    output.plot(step, phi, color=INK, label="$φ(z^4)$")
    output.plot(step, probability, "--", color=EDGE_COLOURS["output"], label=r"$a_{\mathrm{out}}$")
    titles = ("total discord", "by kind of edge", "by layer", "the two ends of the output edge")
    for ax, title in zip((total, kinds, layers, output), titles):
        ax.set(title=title, xlabel="step", ylabel="value" if ax is output else "discord")
        ax.legend()
    return holding(fig, {"step": history.step, **curves, "phi": phi, "a_out": probability})


def phase_planes(planes: Mapping[str, Plane]) -> Figure:
    """The paper's Fig. E.2: paths of two neurons of the last hidden layer into the forward pass,
    one plane a network, with every switch.
    """
    fig, axes = plt.subplots(2, 2, figsize=(9, 6.6))
    numbers = {}
    for ax, (name, plane) in zip(axes.flat, planes.items()):
        where = plane.paths[plane.switches[:, 0], plane.switches[:, 1]]
        for sample in range(plane.paths.shape[1]):
            kept = plane.switches[plane.switches[:, 1] == sample, 0][:60]
            path = np.array(gallery.thin(*plane.paths[:, sample].T, keep=kept, n=160)).T
            ax.plot(*path.T, color=SERIES[sample % len(SERIES)], lw=1.2)
            ax.plot(*path[0], "o", ms=6, color=SERIES[sample % len(SERIES)])
            numbers[f"{name}-path-{sample}"] = path
        _switches(ax, where[~plane.own], "o", "another neuron switches", ec="0.35", fc="none")
        _switches(ax, where[plane.own], "x", "a plotted neuron switches", color=INK)
        ax.plot(*plane.rest, **STAR, label="forward pass")
        ax.axhline(0, color="0.75", lw=0.8, zorder=0)
        ax.axvline(0, color="0.75", lw=0.8, zorder=0)
        ax.set(xlabel=plane.names[0], ylabel=plane.names[1])
        ax.set_title(f"[{name.replace('x', ',')}]: {len(plane.switches)} switches")
        numbers |= {f"{name}-own": where[plane.own], f"{name}-others": where[~plane.own]}
    axes[1, 1].axis("off")
    axes[1, 1].legend(*axes[0, 0].get_legend_handles_labels(), loc="center", fontsize="medium")
    return holding(fig, numbers)


def _switches(ax, points, marker: str, label: str, **colours) -> None:
    many = len(points) > 300
    ax.scatter(
        *points.T, s=24, lw=0.9, marker=marker, label=label, zorder=3, rasterized=many, **colours
    )


def any_start(rates, history, tol: float) -> Figure:
    """The time at which each of many starts came to rest, against 1/λ₁ of its own forward pass."""
    rates, times = np.asarray(rates), history.steps * history.dt
    ends = np.array([rates.max(), rates.min()])
    fig, ax = plt.subplots(figsize=(6, 3.6))
    ax.plot(1 / rates, times, "o", ms=5, color=INK, mec="white", mew=0.5, label="a random start")
    ax.plot(
        1 / ends,
        np.log(history.dt * ends / tol) / ends,
        "--",
        color=INK,
        label="ln(dt λ₁/tol)/λ₁: an error of 1 at t = 0",
    )
    ax.set(xlabel="1/λ₁ of the forward pass's pattern", ylabel="time to rest")
    ax.legend()
    return holding(fig, {"inverse-rate": 1 / rates, "time": times})


def holding(fig: Any, numbers: Mapping[str, object]) -> Figure:
    """The figure, with the plotted numbers in `fig.numbers`, where `gallery.save` looks."""
    fig.numbers = dict(numbers)
    return fig
