"""The figures of notebook 14: what a pinned label changes, layer by layer and in the image, and how
soon lists of suspicious samples find flipped labels.
"""

from __future__ import annotations

from typing import Any, Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.companion.figures.images import picture
from sheaflib.companion.figures.inference import noted
from sheaflib.companion.own_network import Draws
from sheaflib.plots.palette import EDGE_COLOURS, SERIES
from sheaflib.sheaves.neural import NeuralSheaf

SIDE = 8  # pixels of an image
LEVELS = 21  # colours of a change: more would leave fewer for all else in the file
BESIDE = {"discord": ("-", 2.6), "loss": ("--", 1.6)}  # of the two lists: style and width


def pinned_label(
    sheaf: NeuralSheaf,
    image: np.ndarray,
    moved: np.ndarray,
    held: Mapping[str, float],
    loose: Mapping[str, float],
) -> Figure:
    """The image, how it changes where it may, and the discord of every layer where the image is
    given and where it is a vertex of its own. Figure 14-pinned-label.

    sheaf: with the vertex "image"; image, moved (64,); held, loose: layer -> discord.
    """
    change = (moved - image).reshape(SIDE, SIDE)
    most = float(np.abs(change).max())
    fig: Any = plt.figure(figsize=(9.6, 4.6))
    axes = fig.add_gridspec(2, 2, width_ratios=(1, 2.4))
    shown, ways, right = (fig.add_subplot(axes[at]) for at in ((0, 0), (1, 0), (slice(None), 1)))
    picture(shown, image.reshape(SIDE, SIDE), "gray_r", (0.0, 1.0))
    shown.set_title("the image", fontsize=10)
    drawn = picture(ways, change, plt.get_cmap("RdBu_r", LEVELS), (-most, most))
    ways.set_title("how it changes", fontsize=10)
    fig.colorbar(drawn, ax=ways, label="grey level")
    colours = {edge.head: EDGE_COLOURS[edge.kind] for edge in sheaf.edges}
    colours["image"] = EDGE_COLOURS["penalty"]  # its edge is a spring to the given image
    for place, (name, colour) in enumerate(colours.items()):
        if name in held:
            right.plot(held[name], place, "o", mfc="white", mec=colour, mew=1.6)
        right.plot(loose[name], place, "o", color=colour)
    right.plot([], [], "o", mfc="white", mec="0.3", mew=1.6, label="the image is given")
    right.plot([], [], "o", color="0.3", label="the image may move")
    right.set_yticks(range(len(colours)), list(colours), fontsize=8.5)
    right.set(xscale="log", xlabel="discord", ylim=(len(colours) - 0.4, -0.6))
    right.grid(axis="y", color="0.92")
    right.set_axisbelow(True)
    right.legend(loc="upper left")
    return noted(fig, {"image": image, "moved": moved, "held": dict(held), "loose": dict(loose)})


def flipped_labels(draws: Draws) -> Figure:
    """Discord against the loss of every sample of the first draw, flipped labels marked; and how
    many of the flipped ones a list holds, by its length, on average over all draws. Figure
    14-flips.
    """
    first = next(iter(draws.values()))
    loss, discord = first.scores["loss"], first.scores["discord"]
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8))
    for flipped, marker, colour, said in (
        (False, ".", "0.6", "label as it was"),
        (True, "x", "0.1", "label flipped"),
    ):
        chosen = (first.flipped == flipped) & (loss > 0) & (discord > 0)
        shown: dict[str, Any] = {"linestyle": "none", "color": colour, "label": said}
        left.plot(loss[chosen], discord[chosen], marker, **shown)
    left.set(xscale="log", yscale="log", xlabel="loss", ylabel="discord")
    left.legend(loc="upper left")
    wrong = first.flipped.sum()
    lengths = list(range(1, min(3 * wrong, len(loss)) + 1))
    found = {
        name: np.array([draw.found(name, lengths) for draw in draws.values()]) for name in BESIDE
    }
    right.plot(lengths, np.minimum(lengths, wrong) / wrong, color="0.7", lw=5, label="at most")
    for (name, (style, width)), colour in zip(BESIDE.items(), SERIES):
        part = found[name].mean(axis=0) / wrong
        right.plot(lengths, part, style, color=colour, lw=width, label=f"by {name}")
    right.axvline(draws.length, color="0.8", lw=1, zorder=0)
    right.set(
        xlabel="length of the list", ylabel="part of the flipped labels found", ylim=(0, 1.05)
    )
    right.legend(loc="lower right")
    return noted(
        fig,
        {
            "loss": loss,
            "discord": discord,
            "flipped": first.flipped.astype(int),
            "lengths": lengths,
            "found": {name: values.tolist() for name, values in found.items()},
        },
    )
