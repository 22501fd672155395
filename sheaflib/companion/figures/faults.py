"""Pictures of faults: how often each score finds them.

The first part draws the whole figure and leaves its numbers in `fig.numbers`; the second one
panels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.companion.figures.diagnostics import MARKERS, STYLES, Numbers, rows
from sheaflib.companion.figures.inference import noted
from sheaflib.plots.palette import METHOD_COLOURS, NULL, SERIES

if TYPE_CHECKING:
    from sheaflib.companion.fault_trials import Trials

NETWORKS = ("1H, sheaf", "1H, GD", "3H, sheaf", "3H, GD")
DETECTORS = ("pinned discord", "frozen pattern", "pinned, jump", "kept stalks", "loss", "gradient")


# the whole figure
# --------------------------------------------------------------------------------------------------


def faults(trials: Trials) -> Figure:
    """AUROC of every detector, a panel a fault, and of a scrambled layer by its number."""
    shown, layer = trials.summaries(), trials.by_layer()
    fig, axes = plt.subplots(3, 2, figsize=(10, 10.5))
    for ax, (fault, kinds) in zip(axes.flat, shown.items()):
        auroc(kinds["fault"], kinds["null"], ax, fault)
    by_layer(layer, axes[2, 1], "scrambled layer, 3H, by layer")
    axes[2, 1].legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return noted(fig, shown | {"by layer": layer})


# panels
# --------------------------------------------------------------------------------------------------


def auroc(
    found: Mapping[str, Mapping[str, Numbers]],
    null: Mapping[str, Mapping[str, Numbers]],
    ax=None,
    title: str = "",
):
    """One row a detector, one mark a network at the mean AUROC, a line over 10–90 % of the trials,
    the null's in grey below each.

    found[network][detector] and null[network][detector] are (10 %, mean, 90 %); a missing detector
    is left out.
    """
    ax = plt.gca() if ax is None else ax
    detectors = [d for d in DETECTORS if any(d in row for row in found.values())]
    height = 0.72 / len(found)
    ax.axvline(0.5, color="0.3", linewidth=1, linestyle=":")
    for series, (name, row) in enumerate(found.items()):
        which = NETWORKS.index(name)
        for shift, values, colour, size in (
            (0.16, null.get(name, {}), NULL, 3),
            (-0.16, row, method_colour(name), 5),
        ):
            place = [
                detectors.index(d) + (series - (len(found) - 1) / 2 + shift) * height
                for d in values
            ]
            low, mean, high = np.array(list(values.values())).reshape(-1, 3).T
            ax.hlines(place, low, high, color=colour, linewidth=1.4)
            ax.plot(
                mean,
                place,
                MARKERS[which],
                color=colour,
                markersize=size,
                linestyle="none",
                label=name if colour != NULL else None,
            )
    ax.set_xlim(-0.04, 1.04)
    return rows(ax, detectors, "AUROC", title)


def method_colour(network: str) -> str:
    """The colour of the method that trained a network, "1H, GD"."""
    method = network.split(", ")[1]
    return METHOD_COLOURS["gradient descent" if method == "GD" else method]


def by_layer(found: Mapping[str, Numbers], ax=None, title: str = ""):
    """Mean AUROC against the number of the faulty layer, one line a detector; found[detector] is
    (layers,).
    """
    ax = plt.gca() if ax is None else ax
    ax.axhline(0.5, color="0.3", linewidth=1, linestyle=":")
    for series, (name, values) in enumerate(found.items()):
        ax.plot(
            range(1, len(values) + 1),
            values,
            MARKERS[series] + STYLES[series],
            color=SERIES[series],
            label=name,
        )
    ax.set_xticks(range(1, len(values) + 1))
    ax.set(xlabel="faulty layer", ylabel="AUROC", ylim=(-0.04, 1.04), title=title)
    return ax
