"""The picture of a report on wrong labels: edges beside their null, and how soon lists find the
wrong labels.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from sheaflib.companion.figures.inference import noted
from sheaflib.diagnosis import picture
from sheaflib.diagnosis.report import Report


def wrong_labels(
    found: Report,
    lengths: Sequence[int],
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    best: Sequence[float],
) -> Figure:
    """Discord by edge with its null, and the enrichment of lists by their length: curves[network]
    [score] and the largest that there can be.
    """
    fig, (left, *panels) = plt.subplots(
        1, 1 + len(curves), figsize=(11.5, 4), width_ratios=(1.2, *(1 for _ in curves))
    )
    picture.edges(found.edges, left, solved=bool(found.permutations))
    for ax, (title, curve) in zip(panels, curves.items()):
        picture.finds(lengths, curve, ax, best, len(found.worst))
        ax.set(title=title, ylim=(0, 1.05 * max(best)))
    for ax in panels[1:]:
        ax.set_ylabel("")
        ax.get_legend().remove()
    rows = {
        row.name: [row.discord, row.null.same, row.null.low, row.null.median, row.null.high]
        for row in found.edges
    }
    return noted(fig, {"edges": rows, "lengths": lengths, "best": best, "enrichment": dict(curves)})
