"""Networks of images: one drawn as its sheaf with the shapes of its stalks, and what moves in one
when a channel is pinned. Both leave the numbers that they plot in `fig.numbers`.
"""

from __future__ import annotations

from typing import Any, Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from sheaflib.companion.residual import shape
from sheaflib.networks.selection import MaxPool
from sheaflib.plots.palette import EDGE_COLOURS
from sheaflib.plots.schematic import BOUNDARY, FREE, INK
from sheaflib.sheaves.neural import NeuralSheaf

STEP, DROP = 1.22, 1.25  # from a vertex to the next one, and from a row to the next one, in inches
HALF, LOW = 0.44, 0.24  # half the width and half the height of a vertex
SHAPE = 0.19  # height of the shape below it
ROW = 8  # vertices a row
NEW = "#f3e3ef"  # a vertex that separated() has added
LINES = {"affine": "-", "activation": "-", "pool": (0, (3, 1.2)), "projection": "-"}
COLOURS = {**EDGE_COLOURS, "pool": EDGE_COLOURS["activation"]}  # both are selections
SAID = {"pool": "max-pool, a selection too"}
PIN = EDGE_COLOURS["penalty"]
MOST = 1e-12  # a largest change below this is rounding, and drawn as none


def as_shapes(sheaf: NeuralSheaf, new: set[str]) -> Figure:
    """The graph of a network of images, row below row as an ox ploughs: vertices named by layers,
    with (channels × height × width), edges coloured by kind. new: the names of vertices that
    `Network.separated` has added. Figure 01-residual-cnn.
    """
    network = sheaf.network
    names = ["x", *(node.name for node in network.nodes)]
    at = {name: place(i) for i, name in enumerate(names)}
    kinds = {edge.name: kind(sheaf, edge) for edge in sheaf.edges if edge.kind != "output"}
    edges = [edge for edge in sheaf.edges if edge.name in kinds]
    rows = -(-len(names) // ROW)
    fig: Any
    fig, ax = plt.subplots(figsize=(STEP * ROW, DROP * rows + 0.35))
    for edge in edges:
        arrow(ax, at[edge.tail], at[edge.head], kinds[edge.name])
    for name, (x, y) in at.items():
        colour = BOUNDARY if name == "x" else NEW if name in new else FREE
        vertex(ax, x, y, name, shape(network, name), colour, name in new)
    used = [found for found in LINES if found in kinds.values()]
    handles: list[Any] = [
        plt.Line2D([], [], color=COLOURS[k], ls=LINES[k], lw=2.4, label=SAID.get(k, k))
        for k in used
    ]
    handles.append(Rectangle((0, 0), 1, 1, fc=BOUNDARY, ec=INK, lw=1.2, label="given"))
    handles.append(
        Rectangle((0, 0), 1, 1, fc=NEW, ec=INK, lw=1.2, ls="--", label="added by separated()")
    )
    ax.set(
        xlim=(-HALF - 0.1, STEP * (ROW - 1) + HALF + 0.1),
        ylim=(-DROP * (rows - 1) - 0.95, 0.45),
        aspect="equal",
    )
    ax.axis("off")
    ax.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=9, borderaxespad=0)
    fig.numbers = {
        "stalks": {name: list(shape(network, name)) for name in names},
        "edges": {edge.name: [edge.tail, edge.head, kinds[edge.name]] for edge in edges},
        "new": sorted(new),
    }
    return fig


def kind(sheaf: NeuralSheaf, edge: Any) -> str:
    """The kind of an edge, with the max-pools among the activations named apart."""
    operation = next(n.operation for n in sheaf.network.nodes if n.name == edge.head)
    return "pool" if isinstance(operation, MaxPool) else edge.kind


def place(number: int) -> tuple[float, float]:
    """Where the vertex with a number stands: rows go to the right and back in turn.

    >>> place(7), place(8)
    ((8.54, 0.0), (8.54, -1.25))
    """
    row, column = divmod(number, ROW)
    return STEP * (column if row % 2 == 0 else ROW - 1 - column), 0.0 - DROP * row


def arrow(ax, tail: tuple[float, float], head: tuple[float, float], drawn_as: str) -> None:
    """An edge between two vertices, in the direction of the computation; over more than one step of
    a row it bends below the row.
    """
    (x, y), (u, v) = tail, head
    bend = "arc3"
    if y == v:
        side = np.sign(u - x)
        far = abs(u - x) > 1.5 * STEP
        below = (x, y - LOW - SHAPE), (u, v - LOW - SHAPE)
        ends = below if far else ((x + side * HALF, y), (u - side * HALF, v))
        bend = f"arc3,rad={0.2 * side:g}" if far else bend
    else:
        ends = ((x, y - LOW - SHAPE), (u, v + LOW))
    ax.annotate(
        "",
        ends[1],
        ends[0],
        arrowprops={
            "arrowstyle": "-|>",
            "color": COLOURS[drawn_as],
            "lw": 2.2,
            "ls": LINES[drawn_as],
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 13,
            "connectionstyle": bend,
        },
        zorder=2,
    )


def vertex(ax, x: float, y: float, name: str, dims: tuple[int, ...], colour: str, new: bool):
    """The box of a vertex with its name, and the shape of its stalk below."""
    ax.add_patch(
        FancyBboxPatch(
            (x - HALF, y - LOW),
            2 * HALF,
            2 * LOW,
            boxstyle="round,pad=0,rounding_size=0.1",
            fc=colour,
            ec=INK,
            lw=1.2,
            ls="--" if new else "-",
            zorder=4,
        )
    )
    said = name.replace(".", "\n.")
    ax.text(x, y, said, ha="center", va="center", fontsize=10, linespacing=1.0, zorder=5)
    below = "×".join(map(str, dims))
    style: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 9, "zorder": 5}
    ax.text(x, y - LOW - 0.04, below, **style)


def pinned_channel(
    image: np.ndarray, change: Mapping[str, np.ndarray], stalk: str, number: int, drawn: list[str]
) -> Figure:
    """How every channel of some stalks changes when one channel is pinned, a column a stalk from
    upstream to downstream, a row a channel. Figure 05-channel.

    image (height, width); change: stalk -> (channels, height, width), or (n,) for one without
    pixels; `stalk` and `number` name the pinned channel, drawn the stalks that are shown.
    """
    channels = len(change[stalk])
    fig: Any
    fig, axes = plt.subplots(
        channels, len(drawn) + 1, figsize=(9.4, 1.04 * channels + 0.8), squeeze=False
    )
    for ax in axes[1:, 0]:
        ax.axis("off")
    picture(axes[0, 0], image, "gray_r", (0.0, 1.0))
    axes[0, 0].set_title("image", fontsize=9)
    for column, name in enumerate(drawn, start=1):
        part = change[name].reshape(-1, *change[name].shape[-2:])
        most = float(np.abs(part).max())
        limits = (-most, most) if most > MOST else (-1.0, 1.0)
        for row in range(channels):
            shown = picture(axes[row, column], part[row], "RdBu_r", limits)
        axes[0, column].set_title(f"{name}\nup to {most:.2f}", fontsize=9)
    for row in range(channels):
        axes[row, 1].set_ylabel(f"channel {row}", fontsize=9)
    held = axes[number, drawn.index(stalk) + 1]
    for spine in held.spines.values():
        spine.set(visible=True, color=PIN, linewidth=3.5)
    held.set_xlabel("pinned", fontsize=9, color=PIN, labelpad=2)
    bar = fig.colorbar(shown, ax=axes[:, -1], ticks=[limits[0], 0, limits[1]], shrink=0.9)
    bar.ax.set_yticklabels(["falls most", "same", "rises most"], fontsize=9)
    fig.numbers = {"image": image, **change, "pinned": [stalk, number]}
    return fig


def picture(ax, values: np.ndarray, colours: str | Colormap, limits: tuple[float, float]) -> Any:
    """A channel as pixels, framed thinly, without ticks."""
    shown = ax.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color="0.6", linewidth=0.8)
    return shown
