"""Discord along a network, drawn on its graph: every edge as bright and as wide as its share."""

from __future__ import annotations

from typing import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from sheaflib.diagnosis.measures import EdgeRow
from sheaflib.diagnosis.names import short
from sheaflib.networks.graph import A_OUT, INPUT, Network
from sheaflib.plots.palette import DISCORD

WIDTHS = (0.8, 6.0)  # of an edge, in points: of no discord, and of the largest
LONGEST = 16  # characters of a vertex's name
LETTERS = (4.5, 8.0)  # their size in points, by how many there are
INCHES = 10.0  # that a row of names has
CHARACTER = 0.014  # of a name below the graph, a point high: how much room it takes there


def graph(network: Network, rows: Sequence[EdgeRow], ax: Axes | None = None) -> Axes:
    """The graph from the left to the right, vertices by how far they are from the input, edges that
    pass over others as arcs; with one bar of colours, for shares of the total discord.
    """
    ax = plt.gca() if ax is None else ax
    depth, lane, reads = places(network)
    total = sum(row.discord for row in rows)
    shares = np.array([row.discord / total if total else 0.0 for row in rows])
    most = max(float(shares.max()), 1e-12)
    colours, norm = plt.get_cmap(DISCORD), Normalize(0, most)
    for (tail, head), share in zip(reads, shares):
        width = WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * share / most
        start, stop = (depth[tail], lane[tail]), (depth[head], lane[head])
        between = {lane[name] for name in depth if depth[tail] < depth[name] < depth[head]}
        rise = (
            0.35 * (stop[0] - start[0]) ** 0.5
            if start[1] == stop[1] and start[1] in between
            else 0.0
        )
        control = ((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2 + 2 * rise)
        curve = Path([start, control, stop], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
        ax.add_patch(
            PathPatch(
                curve,
                fill=False,
                color=colours(norm(share)),
                linewidth=width,
                capstyle="butt",
                zorder=1 + share / most,
                gid=f"line:{tail}:{head}",
            )
        )
    longest = max(len(short(name, LONGEST)) for name in depth)
    letters = float(np.clip(72 * INCHES / (1 + max(depth.values())) * 0.8, *LETTERS))
    lowest = {x: min(lane[name] for name in depth if depth[name] == x) for x in depth.values()}
    for name, x in depth.items():
        ax.plot(x, lane[name], "o", color="0.25", markersize=3, zorder=3)
        above = lane[name] > lowest[x]  # there is another vertex where its name would stand
        ax.annotate(
            short(name, LONGEST),
            (x, lane[name]),
            (0, 5 if above else -5),
            textcoords="offset points",
            rotation=90 if len(depth) > 8 else 0,
            ha="center",
            va="bottom" if above else "top",
            fontsize=letters,
        )
    high = max(lane.values()) + 0.5 + 0.35 * max(depth[h] - depth[t] for t, h in reads) ** 0.5
    ax.set_xlim(-0.7, max(depth.values()) + 0.7)
    ax.set_ylim(min(lane.values()) - 0.3 - CHARACTER * letters * longest, high)
    ax.set_axis_off()
    ax.set_title("share of discord along the network")
    ax.figure.colorbar(
        ScalarMappable(norm, colours), ax=ax, fraction=0.02, pad=0.01, format="{x:.0%}"
    )
    return ax


def places(network: Network) -> tuple[dict[str, int], dict[str, int], list[tuple[str, str]]]:
    """Of every vertex its distance from the input along the longest way, and its lane, 0 for the
    first one at a distance and lower for others; and the edges (tail, head), as a sheaf has them.
    """
    depth, lane = {INPUT: 0}, {INPUT: 0}
    reads: list[tuple[str, str]] = []
    taken = {0: 1}
    heads = [(node.name, node.inputs) for node in network.nodes]
    if not network.output.is_identity:
        heads.append((A_OUT, (network.output_name,)))
    for head, tails in heads:
        depth[head] = 1 + max(depth[tail] for tail in tails)
        lane[head] = -taken.get(depth[head], 0)
        taken[depth[head]] = 1 - lane[head]
        reads += [(tail, head) for tail in tails]
    return depth, lane, reads
