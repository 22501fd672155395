"""Pictures of scaling laws: loss against β, brackets of Euler's limit, time against depth."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sheaflib.plots.palette import METHOD_COLOURS, SERIES

MARKERS = ("o", "s", "^", "D", "v", "P")
SHEAF = METHOD_COLOURS["sheaf"]
START_COLOURS = {"random": SHEAF, "zero": SERIES[1], "forward": SERIES[2]}
# random and zero stalks lie on each other: the latter have large open squares and a dashed line
START_MARKS: dict[str, dict[str, Any]] = {
    "random": {"marker": "o", "markersize": 4},
    "zero": {"marker": "s", "markersize": 7, "fillstyle": "none"},
    "forward": {"marker": "^", "markersize": 4},
}
START_LINES: dict[str, Any] = {"random": "-", "zero": "--", "forward": "-"}


# whole figures
# --------------------------------------------------------------------------------------------------


def fig_10(law) -> Figure:
    """Fig. 10: final losses of a `companion.scaling.Law` against βn, with the paper's bands."""
    fig, ax = plt.subplots(figsize=(7, 3.8))
    seeds = f"{len(law.seeds)} seed{'s' if len(law.seeds) > 1 else ''}"
    beta_law(law.beta_n, law.loss, ax, f"{seeds}, T = {law.T:g}: runs, and their median")
    twice = 2 * np.nanmin(law.median)
    ax.axhline(twice, color="0.3", linewidth=1, linestyle="--", label="twice the smallest median")
    ax.set(title="Fig. 10: final test loss against the weights' speed", ylim=roomy(law.loss, 3))
    bands([0.3, 10], ["“stagnation”", "“optimal”", "“divergence”"], ax)
    ax.legend(loc="lower left")
    return numbered(fig, {"beta_n": law.beta_n, "loss": known(law.loss)})


def collapse(unit, law, forward) -> Figure:
    """Three panels over βn: the first layer after one unit of time, units that bend at the end,
    final loss.

    unit: a `FirstUnit`; law and forward: a `Law` from random stalks and one from the forward pass.
    """
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(11.5, 3.8))
    shown = unit.beta_n < 10
    for start in unit.kept:
        colour = START_COLOURS[start]
        style = {"color": colour, "linestyle": START_LINES[start]}
        left.loglog(unit.beta_n[shown], unit.formula[start][shown][:, 0], **style)
        style = {"color": colour, "linestyle": "none", **START_MARKS[start]}
        left.loglog(unit.beta_n[shown], unit.kept[start][shown], **style)
    left.set(xlabel="βn", ylabel="‖W¹‖ after one unit of time, over its start", ylim=(0.015, 1.6))
    left.set_title("fast weights forget")
    left.legend(handles=start_handles(unit.kept), loc="lower left")
    plain_ticks(left.yaxis)
    for ax, values, others in ((middle, law.bent, forward.bent), (right, law.loss, forward.loss)):
        beta_law(law.beta_n, values, ax, "random stalks")
        beta_law(forward.beta_n, others, ax, "forward pass", start="forward")
    middle.set(yscale="linear", ylim=(0, 32), ylabel="hidden units")
    middle.set_title(f"units that bend inside the data, T = {law.T:g}")
    middle.legend(loc="lower left")
    both = np.concatenate([law.loss.ravel(), forward.loss.ravel()])
    right.set(title=f"test loss at T = {law.T:g}", ylim=roomy(both, 2))
    right.legend()
    return numbered(
        fig,
        {
            "beta_n": law.beta_n,
            **{f"{start}-measured": known(unit.kept[start][shown]) for start in unit.kept},
            **{f"{start}-formula": unit.formula[start][shown] for start in unit.kept},
            "bent": known(law.bent, int),
            "rho": known(law.resistance),
            "loss": known(law.loss),
            "slow-fast": forward.beta_n,
            "bent-forward": known(forward.bent, int),
            "rho-forward": known(forward.resistance),
            "loss-forward": known(forward.loss),
        },
    )


def start_handles(starts) -> list[Line2D]:
    """Entries of a legend: the starts by their colours, then what lines and marks are."""
    names = {"random": "random stalks", "zero": "zero stalks", "forward": "forward pass"}
    handles = [
        Line2D(
            [],
            [],
            color=START_COLOURS[start],
            linestyle=START_LINES[start],
            label=names[start],
            **START_MARKS[start],
        )
        for start in starts
    ]
    none = Line2D([], [], linestyle="none", label="lines: formula; marks: runs")
    return [*handles, none]


def euler_limit(limits, law, beyond) -> Figure:
    """Left: the law continued to where training diverges. Right: brackets of the limit over the
    prediction.

    limits: a `Limits`; law and beyond: a `Law` on the paper's speeds and one beyond them.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1, 1.1))
    beta_n = np.concatenate([law.beta_n, beyond.beta_n])
    # rounding grows in the runs beyond: another machine has other digits after the third
    stable = [[float(f"{v:.3g}") for v in row] for row in beyond.loss]
    loss = np.vstack([law.loss, stable])
    beta_law(beta_n, loss, left)
    end = 1.1 * beta_n[-1]
    # of n = 300 and dt: the second setting
    limit = list(limits.predicted.values())[1]
    if limit < end:
        left.axvspan(limit, end, color="0.9", zorder=0)
        left.text(
            np.sqrt(limit * end),
            0.6,
            "diverges",
            transform=left.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="center",
            color="0.3",
        )
    left.set(
        title=f"Fig. 10 to βn = {beta_n[-1]:g}", xlim=(beta_n[0] / 1.5, end), ylim=roomy(loss, 2)
    )
    found = {name: (low, limits.diverges[name]) for name, low in limits.trains.items()}
    brackets(found, limits.predicted, right)
    over = [v / limits.predicted[name] for name, ends in found.items() for v in ends]
    low, high = min(0.9, 0.98 * min(over)), max(1.1, 1.02 * max(over))
    if (low, high) == (0.9, 1.1):
        right.set_xticks([0.9, 0.95, 1, 1.05, 1.1])
    right.set(title="Euler's limit, bracketed", xlim=(low, high))
    right.set_xlabel(r"$\beta n$ over the prediction $2/(dt\,\lambda_{\max}(C))$")
    return numbered(
        fig,
        {
            "beta_n": beta_n,
            "loss": known(loss),
            "settings": list(limits.trains),
            "trains": list(limits.trains.values()),
            "diverges": list(limits.diverges.values()),
            "predicted": list(limits.predicted.values()),
        },
    )


def fig_e4(result) -> Figure:
    """Fig. E.4: test loss against training time for three networks, from a `LossOverTime`.

    The authors' script runs the two deeper networks for times 1 and 20 where it says 0.5 and 25.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.7), sharey=True)
    as_run = {0.5: 1.0, 25.0: 20.0}
    times = list(result.times)
    asked = [place for place, t in enumerate(times) if t not in as_run.values()]
    for series, (widths, losses) in enumerate(result.paper.items()):
        style = {"color": SERIES[series], "marker": MARKERS[series]}
        left.loglog(
            [times[place] for place in asked],
            losses[asked],
            markersize=5,
            label=bracketed(widths),
            **style,
        )
        if widths.count("x") > 2:
            places = [times.index(t) for t in as_run.values()]
            left.loglog(
                list(as_run),
                losses[places],
                markersize=9,
                fillstyle="none",
                linestyle="none",
                **style,
            )
    left.set(xlabel="time T", ylabel="test MSE", title="the paper's seeds 42/42")
    curves = {bracketed(widths): losses for widths, losses in result.fresh.items()}
    spread_curves(times, curves, right)
    count = np.shape(next(iter(result.fresh.values())))[1]
    seeds = f"{count} fresh seed{'s' if count > 1 else ''}"
    right.set(xlabel="time T", title=f"{seeds}: median, smallest to largest")
    script = Line2D(
        [], [], color="0.3", marker="s", markersize=9, fillstyle="none", linestyle="none"
    )
    script.set_label("as the authors' script runs it")
    handles, _ = left.get_legend_handles_labels()
    left.legend(handles=[*handles, script])
    right.legend()
    for ax in (left, right):
        plain_ticks(ax.xaxis)
    plain_ticks(left.yaxis)
    return numbered(
        fig,
        {
            "T": times,
            **{f"{widths}-42": losses for widths, losses in result.paper.items()},
            **{f"{widths}-fresh": losses for widths, losses in result.fresh.items()},
        },
    )


def depth_law(result) -> Figure:
    """Three panels over the number of hidden layers, from a `DepthLaw`: time, λ₁, ρ."""
    fig, (first, second, third) = plt.subplots(1, 3, figsize=(11.5, 3.6))
    by_depth(
        result.depth,
        result.time,
        first,
        censored=1.2 * result.T,
        ylabel="time to half the variance",
        colour=SHEAF,
    )
    by_depth(result.depth, result.gap, second, ylabel="λ₁ at initialisation", colour=SERIES[1])
    by_depth(
        result.depth,
        result.resistance,
        third,
        ylabel="resistance ρ at initialisation",
        colour=SERIES[2],
    )
    first.set_title(f"training time, stopped at {result.T:g}")
    second.set_title("the gap")
    third.set_title("the resistance")
    return numbered(
        fig,
        {
            "depth": result.depth,
            "time": known(result.time),
            "gap": result.gap,
            "rho": result.resistance,
        },
    )


def numbered(fig, numbers: Mapping) -> Figure:
    """The figure with the numbers that it plots, for `gallery.save` to write."""
    fig.numbers = numbers
    return fig


def bracketed(widths: str) -> str:
    """Widths as the paper writes them: "[2,30,1]" for "2x30x1"."""
    return f"[{widths.replace('x', ',')}]"


def known(values, kind=float) -> list:
    """Rows of numbers as lists, with None where a value is not finite."""
    return [[kind(v) if np.isfinite(v) else None for v in row] for row in np.asarray(values)]


def roomy(values, above: float) -> tuple[float, float]:
    """Limits of a logarithmic axis: a little below the smallest value, `above` times the
    largest.
    """
    return 0.6 * np.nanmin(values), above * np.nanmax(values)


def plain_ticks(axis) -> None:
    """Label a logarithmic axis by 0.1, 0.2, 0.5, 1, …, not by powers and products of powers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


# parts of figures
# --------------------------------------------------------------------------------------------------


def beta_law(beta_n, losses, ax=None, label: str = "", start: str = "random"):
    """Final loss against βn: losses (len(beta_n), seeds), a mark a seed, a line through their
    medians; NaN where a run diverged.
    """
    ax = plt.gca() if ax is None else ax
    losses = np.asarray(losses, dtype=float)
    colour, marker = START_COLOURS[start], START_MARKS[start]["marker"]
    trained = ~np.isnan(losses).any(axis=1)
    beta_n = np.asarray(beta_n, dtype=float)
    ax.loglog(
        beta_n[trained],
        np.median(losses[trained], axis=1),
        marker + "-",
        color=colour,
        markersize=4,
        label=label,
    )
    for column in losses.T:
        ax.loglog(beta_n, column, marker, color=colour, markersize=4, alpha=0.7, linestyle="none")
    ax.set(xlabel="βn", ylabel="test MSE")
    plain_ticks(ax.yaxis)
    return ax


def bands(edges: Sequence[float], names: Sequence[str], ax=None, at: float = 0.96):
    """Vertical lines at `edges` and a name between each two, at a height given in parts of the
    axis.
    """
    ax = plt.gca() if ax is None else ax
    low, high = ax.get_xlim()
    ends = [low, *edges, high]
    for edge in edges:
        ax.axvline(edge, color="0.5", linewidth=1, linestyle=":")
    for left, right, name in zip(ends, ends[1:], names):
        ax.text(
            np.sqrt(left * right),
            at,
            name,
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize="small",
            color="0.3",
        )
    ax.set_xlim(low, high)
    return ax


def brackets(found: Mapping[str, tuple[float, float]], predicted: Mapping[str, float], ax=None):
    """One row a setting: the bracket [last that trains, first that diverges] over its prediction; 1
    is the prediction.
    """
    ax = plt.gca() if ax is None else ax
    for row, (name, ends) in enumerate(found.items()):
        ax.plot(
            np.array(ends) / predicted[name],
            [row, row],
            "|-",
            color=SHEAF,
            linewidth=3,
            markersize=10,
        )
    ax.axvline(1, color="#000000", linewidth=1, linestyle="--")
    ax.set_yticks(range(len(found)), found)
    ax.invert_yaxis()
    return ax


def spread_curves(x, values: Mapping[str, np.ndarray], ax=None, label: str = ""):
    """One curve a name through the medians of values[name] (len(x), runs), a shade from the
    smallest to the largest run.
    """
    ax = plt.gca() if ax is None else ax
    for series, (name, runs) in enumerate(values.items()):
        runs = np.asarray(runs, dtype=float)
        ax.loglog(
            x,
            np.median(runs, axis=1),
            MARKERS[series] + "-",
            color=SERIES[series],
            markersize=5,
            label=name,
        )
        ax.fill_between(
            x, runs.min(axis=1), runs.max(axis=1), color=SERIES[series], alpha=0.15, linewidth=0
        )
    ax.set_ylabel(label)
    return ax


def by_depth(depth, values, ax=None, censored=None, colour: str = SHEAF, ylabel: str = ""):
    """Values (depths, runs) as points on a log axis, their medians as a line; runs that never got
    there as open triangles at `censored`.
    """
    ax = plt.gca() if ax is None else ax
    values = np.asarray(values, dtype=float)
    shift = np.linspace(-0.2, 0.2, values.shape[1])
    mark = {"color": colour, "linestyle": "none"}
    for place, row in zip(depth, values):
        there = np.isfinite(row)
        ax.semilogy((place + shift)[there], row[there], "o", markersize=4, alpha=0.7, **mark)
        last = np.full((~there).sum(), censored or np.nan)
        ax.semilogy((place + shift)[~there], last, "^", markersize=5, fillstyle="none", **mark)
    medians = np.median(np.where(np.isfinite(values), values, np.inf), axis=1)
    medians[~np.isfinite(medians)] = np.nan
    ax.semilogy(depth, medians, color=colour)
    ax.set(xlabel="hidden layers", ylabel=ylabel, xticks=list(depth))
    plain_ticks(ax.yaxis)
    return ax
