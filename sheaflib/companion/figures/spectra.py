"""Spectra in pictures: both ends along training, histograms, and where eigenvectors live.

The first part draws whole figures and leaves their numbers in `fig.numbers`; the second one panels.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from sheaflib.companion.figures.diagnostics import SHADES, STYLES
from sheaflib.companion.figures.inference import noted
from sheaflib.companion.paraboloid import said
from sheaflib.plots.palette import METHOD_COLOURS

SYMBOLS = {"λ₁": r"$\lambda_1$", "λ_max": r"$\lambda_{\max}$", "κ": r"$\kappa$"}


# whole figures
# --------------------------------------------------------------------------------------------------


def along_training(found: Mapping) -> Figure:
    """λ₁, λ_max and κ along training, and histograms of λ₁ at three moments: as
    `companion.spectra.along_training` finds them.
    """
    fig, axes = plt.subplots(2, 3, figsize=(10.5, 5.6))
    for ax, (name, values) in zip(axes[0], found["quartiles"].items()):
        bands(found["step"], values, ax, 1000, SYMBOLS[name])
    for ax, (step, values) in zip(axes[1], found["counts"].items()):
        histograms(found["bins"], values, ax, SYMBOLS["λ₁"], f"after {said(step)}")
    axes[0, 0].legend()
    return noted(fig, found)


def eigenvectors(by_step: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> Figure:
    """Energy of the bottom and top eigenvectors on every block: by_step[size][step][end][block]."""
    sizes = list(by_step)
    fig, axes = plt.subplots(
        2, len(sizes), figsize=(10, 5), width_ratios=(1, 1.7), sharey=True, squeeze=False
    )
    for column, (size, steps) in zip(axes.T, by_step.items()):
        for ax, end in zip(column, ("bottom", "top")):
            energy = {name: ends[end] for name, ends in steps.items()}
            block_energies(energy, ax, f"{size}, {end} eigenvector")
        column[0].legend(loc="upper left")
    for ax in axes[:, 0]:
        ax.set_ylabel("mean energy")
    return noted(fig, by_step)


# panels
# --------------------------------------------------------------------------------------------------


def bands(step, quartiles: Mapping[str, Sequence], ax=None, unit: float = 1.0, label: str = ""):
    """Median (line) and quartiles (band) on a log axis along training: name of a method -> (3, R),
    lowest first.
    """
    ax = plt.gca() if ax is None else ax
    place = np.asarray(step) / unit
    for series, (name, (low, median, high)) in enumerate(quartiles.items()):
        ax.fill_between(place, low, high, color=METHOD_COLOURS[name], alpha=0.25, linewidth=0)
        ax.semilogy(place, median, STYLES[series], color=METHOD_COLOURS[name], label=name)
    ax.yaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)),
        minor_locator=NullLocator(),
        major_formatter=FuncFormatter(lambda value, _: f"{value:g}"),
    )
    ax.set(xlabel="thousand steps" if unit == 1000 else "step", ylabel=label)
    return ax


def histograms(
    edges, counts: Mapping[str, Sequence[int]], ax=None, label: str = "", title: str = ""
):
    """Counts between common bin edges, one outline a method."""
    ax = plt.gca() if ax is None else ax
    for series, (name, values) in enumerate(counts.items()):
        ax.stairs(values, edges, fill=True, color=METHOD_COLOURS[name], alpha=0.3)
        ax.stairs(
            values,
            edges,
            color=METHOD_COLOURS[name],
            linewidth=1.5,
            linestyle=STYLES[series],
            label=name,
        )
    ax.set(xlabel=label, ylabel="inputs", title=title)
    return ax


def block_energies(energies: Mapping[str, Mapping[str, float]], ax=None, title: str = ""):
    """One group of bars a block of the cochain, one colour a series: energies[series][block], which
    add up to 1 in a series.
    """
    ax = plt.gca() if ax is None else ax
    blocks, width = list(next(iter(energies.values()))), 0.8 / len(energies)
    for series, (name, row) in enumerate(energies.items()):
        place = np.arange(len(blocks)) + (series - (len(energies) - 1) / 2) * width
        ax.bar(place, [row[b] for b in blocks], width, color=SHADES[series], label=name)
    ax.set_xticks(range(len(blocks)), [f"${b[0]}^{b[1:]}$" for b in blocks])
    ax.set(ylim=(0, 1), title=title)
    return ax
