"""A network drawn as its sheaf: the graph, a stalk over every vertex and edge, the restriction maps
between them (the paper's construction).
"""

from __future__ import annotations

import re
from typing import Mapping, Sequence

from sheaflib.networks.operations import Operation
from sheaflib.networks.selection import Clamp, MaxPool, PReLU
from sheaflib.plots.palette import EDGE_COLOURS
from sheaflib.sheaves.edges import Edge
from sheaflib.sheaves.extended import has_constant
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.extras import needs

with needs("sheaflib.plots", "plots"):
    import matplotlib.pyplot as plt
    from matplotlib.artist import Artist
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

CELL = 0.17  # height of a coordinate in inches
MOST = 6  # a longer stalk is drawn with dots
BOX = (0.5, 0.34)  # width and height of a vertex
FLOOR = 0.52  # where stalks stand, above the line of the graph
CLEAR = FLOOR + 2 * CELL  # below this the names of the maps are
LANE = 0.82  # depth of one lane of skip edges below the graph
BOUNDARY, FREE, INK = "#c9c9c9", "#ffffff", "#222222"
ESCAPED = str.maketrans(  # what mathtext reads as its own, in a name
    {**{c: f"\\{c}" for c in "#$%{}_"}, "\\": r"\backslash ", "^": r"\wedge ", "~": r"\sim "}
)


def schematic(
    sheaf: NeuralSheaf,
    ax=None,
    maps: Mapping[str, tuple[str, str]] | None = None,
    stalks: bool = True,
):
    """Draw a network as its sheaf.

    Vertices stand in topological order on a line, and edges that skip vertices lie below it. Grey
    coordinates are boundary (x and the ones-blocks), white ones are free, and coloured ones belong
    to edges.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    ax : matplotlib.axes.Axes, optional
        Where to draw, by default axes of a figure of its own, at one inch a unit.
    maps : mapping of str to tuple of str, optional
        Other names of restriction maps: edge -> (that from the tail, that from the head).
    stalks : bool, default: True
        Whether stalks and maps are drawn; leave them out for long networks.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Notes
    -----
    In the paper: the construction of the sheaf; how it is drawn is ours.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.plots.schematic import schematic
    >>> ax = schematic(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])))
    >>> [text.get_text() for text in ax.texts if str(text.get_gid()).startswith("vertex")]
    ['$x$', '$z^{1}$', '$a^{1}$', '$z^{2}$']
    """
    step = 2.44 if stalks else 0.98
    names = sheaf.augmented_layout.names
    at = {name: step * i for i, name in enumerate(("x", *names))}
    lanes = _lanes([e for e in sheaf.edges if at[e.head] - at[e.tail] > 1.5 * step], at)
    ax = _axes(ax, *_extent(sheaf, at, lanes, stalks))
    for edge in sheaf.edges:
        labels = (maps or {}).get(edge.name) or map_labels(sheaf, edge)
        draw = _straight if edge.name not in lanes else _skip
        draw(ax, edge, at, lanes.get(edge.name, 0), labels if stalks else None)
    for name, x in at.items():
        _vertex(ax, sheaf, name, x, stalks)
    _legend(ax, sheaf, stalks)
    return ax


def map_labels(sheaf: NeuralSheaf, edge: Edge) -> tuple[str, str]:
    """The two restriction maps of an edge as mathtext: from its tail, from its head (zero blocks of
    other readers left out).
    """
    number = edge.name.rsplit("_", 1)[-1]
    wide = {v: bool(sheaf.extended.ones_blocks.get(v)) for v in (edge.tail, edge.head)}
    head = r"$[I\,|\,0]$" if wide[edge.head] else "$I$"
    if edge.kind == "output":
        return r"$\varphi$", "$I$"
    node = next(n for n in sheaf.network.nodes if n.name == edge.head)
    if edge.kind == "affine":
        letter = "K" if hasattr(node.operation, "kernel") else "W"  # of a convolution
        return rf"$[{letter}^{{{number}}}\,|\,\mathrm{{diag}}\,b^{{{number}}}]$", head
    if edge.kind == "projection":
        return (
            r"$[I\,|\,0]$" if wide[edge.tail] else "$I$"
        ), rf"$\pi_{{{node.inputs.index(edge.tail) + 1}}}$"
    block = f"{_letter(node.operation)}_{{{math_name(edge.tail)}}}"
    if has_constant(node.operation):
        return rf"$[{block}\,|\,\mathrm{{diag}}\,c_{{{math_name(edge.tail)}}}]$", head
    return (f"$[{block}|0]$" if wide[edge.tail] else f"${block}$"), head


def _letter(operation: Operation) -> str:
    """The letter of a selection's restriction map: S of a max-pool, C of a clamp, P of a PReLU, and
    R of a ReLU, the paper's.
    """
    letters = {MaxPool: "S", Clamp: "C", PReLU: "P"}
    return next((letters[kind] for kind in letters if isinstance(operation, kind)), "R")


def math_name(name: str) -> str:
    """A stalk's name in mathtext, without dollars: z1 -> z^{1}, a_out -> a_{out}; anything else
    stays, and what mathtext would read as its own is shown as it is.

    >>> math_name("z12"), math_name("a_out")
    ('z^{12}', 'a_{\\\\mathrm{out}}')
    """
    parts = re.fullmatch(r"([A-Za-z]+)(\d*)(.*)", name)
    if not parts:
        return name.translate(ESCAPED)
    letters, digits, rest = parts.groups()
    rest = rf"_{{\mathrm{{{rest.strip('_').translate(ESCAPED)}}}}}" if rest else ""
    return letters + (f"^{{{digits}}}" if digits else "") + rest


def _axes(ax, width: tuple[float, float], height: tuple[float, float]):
    """An axes one unit of which is an inch when it is made here."""
    if ax is None:
        size = (width[1] - width[0], height[1] - height[0])
        _, ax = plt.subplots(figsize=size)
    ax.set_xlim(width)
    ax.set_ylim(height)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def _extent(sheaf, at, lanes, stalks):
    """((left, right), (bottom, top)) of the whole picture in inches."""
    own = {
        "x": sheaf.network.n_in,
        **dict(zip(sheaf.augmented_layout.names, sheaf.augmented_layout.dims)),
    }
    tallest = max(
        _shown(n) + sum(_shown(w) for _, w in sheaf.extended.ones_blocks.get(name, ()))
        for name, n in own.items()
    )
    top = FLOOR + CELL * tallest + 0.34 if stalks else 0.5
    bottom = -0.75 - (LANE if stalks else 0.34) * max(lanes.values(), default=0)
    return (-0.62, max(at.values()) + 0.62), (bottom, top)


def _lanes(skips: list[Edge], at) -> dict[str, int]:
    """Edge -> lane 1, 2, … below the graph, so that edges over one stretch do not share a lane."""
    lanes: dict[str, int] = {}
    taken: list[tuple[int, float, float]] = []
    for edge in sorted(skips, key=lambda e: at[e.head] - at[e.tail]):
        lane = 1
        while any(
            number == lane and at[edge.tail] < right and left < at[edge.head]
            for number, left, right in taken
        ):
            lane += 1
        taken.append((lane, at[edge.tail], at[edge.head]))
        lanes[edge.name] = lane
    return lanes


def _shown(n: int) -> int:
    return min(n, MOST)


def _vertex(ax, sheaf, name, x, stalks):
    """The box of a vertex, its name, and its stalk above: own coordinates on top, ones-blocks
    below.
    """
    w, h = BOX
    ax.add_patch(
        FancyBboxPatch(
            (x - w / 2, -h / 2),
            w,
            h,
            boxstyle="round,pad=0,rounding_size=0.1",
            fc=BOUNDARY if name == "x" else FREE,
            ec=INK,
            lw=1.2,
            zorder=4,
            gid=f"box:{name}",
        )
    )
    ax.text(
        x,
        0,
        f"${math_name(name)}$",
        ha="center",
        va="center",
        fontsize=11,
        zorder=5,
        gid=f"vertex:{name}",
    )
    own = (
        sheaf.network.n_in
        if name == "x"
        else sheaf.augmented_layout.dims[sheaf.augmented_layout.names.index(name)]
    )
    ones = [width for _, width in sheaf.extended.ones_blocks.get(name, ())] if stalks else []
    if not stalks:
        ax.text(x, h / 2 + 0.07, rf"$\mathbb{{R}}^{{{own}}}$", ha="center", va="bottom", fontsize=9)
        return
    ax.plot([x, x], [h / 2, FLOOR], color=INK, lw=0.8, ls=":", zorder=1)
    y = FLOOR
    for width in reversed(ones):
        y = _column(ax, x, y, width, BOUNDARY, "1")
    y = _column(ax, x, y, own, BOUNDARY if name == "x" else FREE, "")
    space = r"\oplus".join(rf"\mathbb{{R}}^{{{n}}}" for n in (own, *ones))
    ax.text(x, max(y, CLEAR) + 0.07, f"${space}$", ha="center", va="bottom", fontsize=10)


def _column(ax, x, y, n, colour, text, width=0.24):
    """n coordinates stacked from y upwards around x; returns the height of the top."""
    for i in range(_shown(n)):
        dots = n > MOST and i == 1
        if not dots:
            ax.add_patch(
                Rectangle(
                    (x - width / 2, y + i * CELL), width, CELL, fc=colour, ec=INK, lw=0.7, zorder=3
                )
            )
        if text or dots:
            ax.text(
                x,
                y + (i + 0.5) * CELL,
                "⋮" if dots else text,
                ha="center",
                va="center_baseline",
                fontsize=7.5,
                zorder=5,
            )
    return y + _shown(n) * CELL


def _straight(ax, edge, at, lane, labels):
    """An edge between neighbours on the line, with its stalk above its middle and the two
    restriction maps as arrows.
    """
    left, right = at[edge.tail], at[edge.head]
    middle, colour = (left + right) / 2, EDGE_COLOURS[edge.kind]
    ax.plot(
        [left, right],
        [0, 0],
        color=colour,
        lw=2.4,
        solid_capstyle="butt",
        zorder=2,
        gid=f"line:{edge.name}",
    )
    if labels is None:
        return
    _edge_name(ax, edge, middle, -0.09)
    ax.plot([middle, middle], [0, FLOOR], color=colour, lw=0.8, ls=":", zorder=1)
    top = _column(ax, middle, FLOOR, edge.dim, colour, "", 0.2)
    ax.text(
        middle,
        max(top, CLEAR) + 0.07,
        rf"$\mathbb{{R}}^{{{edge.dim}}}$",
        ha="center",
        va="bottom",
        fontsize=10,
        color=_dark(colour),
    )
    for start, stop, text in (
        (left + 0.15, middle - 0.13, labels[0]),
        (right - 0.15, middle + 0.13, labels[1]),
    ):
        _arrow(ax, (start, FLOOR + CELL / 2), (stop, FLOOR + CELL / 2), colour)
        ax.text(
            (start + stop) / 2, FLOOR + CELL / 2 + 0.06, text, ha="center", va="bottom", fontsize=9
        )


def _skip(ax, edge, at, lane, labels):
    """An edge that passes over other vertices: down, along its lane, up again; its stalk lies on
    the lane.
    """
    colour, depth = EDGE_COLOURS[edge.kind], LANE if labels else 0.34
    aside = max(0.18 - 0.09 * (lane - 1), 0)  # so that lanes neither meet nor cross at a vertex
    left, right, y = at[edge.tail] + aside, at[edge.head] - aside, -0.1 - depth * lane
    ax.plot(
        [left, left, right, right],
        [0, y, y, 0],
        color=colour,
        lw=2.4,
        solid_joinstyle="round",
        zorder=2,
        gid=f"line:{edge.name}",
    )
    if labels is None:
        return
    middle, n = (left + right) / 2, _shown(edge.dim)
    start = middle - n * CELL / 2
    for i in range(n):
        if edge.dim > MOST and i == n - 2:
            ax.text(start + (i + 0.5) * CELL, y + 0.2, "⋯", ha="center", va="center", fontsize=7.5)
        else:
            ax.add_patch(
                Rectangle(
                    (start + i * CELL, y + 0.1), CELL, 0.2, fc=colour, ec=INK, lw=0.7, zorder=3
                )
            )
    ax.text(
        middle,
        y + 0.36,
        rf"$\mathbb{{R}}^{{{edge.dim}}}$",
        ha="center",
        va="bottom",
        fontsize=10,
        color=_dark(colour),
    )
    _edge_name(ax, edge, middle, y - 0.09)
    for end, stop, text in (
        (left + 0.2, start - 0.08, labels[0]),
        (right - 0.2, start + n * CELL + 0.08, labels[1]),
    ):
        origin = stop + (0.75 if end > stop else -0.75)
        _arrow(ax, (origin, y + 0.2), (stop, y + 0.2), colour)
        ax.text((origin + stop) / 2, y + 0.26, text, ha="center", va="bottom", fontsize=9)


def _arrow(ax, start, stop, colour):
    ax.annotate(
        "",
        stop,
        start,
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 0},
        zorder=3,
    )


def _edge_name(ax, edge, x, y):
    text = edge.name.replace("_", " ")
    ax.text(
        x,
        y,
        text,
        ha="center",
        va="top",
        fontsize=9,
        color=_dark(EDGE_COLOURS[edge.kind]),
        gid=f"edge:{edge.name}",
    )


def _dark(colour):
    """A darker shade, for letters on white."""
    return tuple(0.68 * c for c in to_rgb(colour))


def _legend(ax, sheaf, stalks):
    """What grey and white mean, or, when the edges have no names, their colours."""
    handles: Sequence[Artist]
    if stalks:
        handles = [
            Patch(fc=BOUNDARY, ec=INK, lw=0.7, label="boundary U: the input and the ones"),
            Patch(fc=FREE, ec=INK, lw=0.7, label="free coordinates Ω"),
            Patch(
                fc=EDGE_COLOURS["affine"],
                ec=INK,
                lw=0.7,
                label="edge stalks, in the colour of the step",
            ),
        ]
    else:
        kinds = list(dict.fromkeys(e.kind for e in sheaf.edges))
        handles = [plt.Line2D([], [], color=EDGE_COLOURS[k], lw=2.4, label=k) for k in kinds]
    ax.legend(
        handles=handles, loc="lower center", ncols=len(handles), fontsize=8.5, borderaxespad=0
    )
