"""The static picture of an explorer: the graph of a network with its stalks, some steps after the
start, each edge in the colour of its discord.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from sheaflib.flow.euler import EulerStepper
from sheaflib.flow.heat import default_step, heat
from sheaflib.plots import STYLE
from sheaflib.plots.palette import DISCORD
from sheaflib.sheaves import discord
from sheaflib.support.extras import needs

with needs("the picture of an explorer", "plots"):
    import matplotlib
    import matplotlib.style
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm
    from matplotlib.figure import Figure

    from sheaflib.plots.files import shown
    from sheaflib.plots.schematic import BOX, schematic

if TYPE_CHECKING:
    from sheaflib.plots.explore import Explorer

STEPS = 100
HEIGHT, FLOOR = 0.9, 0.32  # of the bars in inches, and where they stand above the graph
LEVELS = 10.0 ** (np.arange(9) - 6.5)  # the borders of explore.js's colours
INK, BAR, BOUNDARY = "#222222", "#5b6370", "#a8adb5"


def still(explorer: Explorer) -> bytes:
    """The PNG of an explorer, the same to the byte for the same numbers."""
    sheaf, x = explorer.sheaf, explorer.x
    flow = heat(sheaf, x, explorer.start, dt=_step(explorer), every=STEPS, stepper=EulerStepper)
    w = list(islice(flow, 2))[-1].cochain
    with matplotlib.style.context(["default", STYLE]):
        stalks = len(sheaf.layout.names) + 1
        fig = Figure(figsize=(max(0.98 * stalks + 1.4, 5.2), 2.9))
        ax = fig.subplots()
        norm = BoundaryNorm(LEVELS, 256)
        _graph(sheaf, ax, {name: d[0] for name, d in discord.per_edge(sheaf, w, x).items()}, norm)
        _stalks(sheaf, ax, np.hstack([x, w])[0], np.hstack([x, sheaf.forward(x)])[0])
        fig.suptitle(f"after {STEPS} steps of dt = {_step(explorer):g}", fontsize=9)
        bar = fig.colorbar(
            ScalarMappable(norm, DISCORD), ax=ax, label="discord of an edge", shrink=0.8
        )
        middles = (LEVELS[:-1] * 10**0.5).tolist()
        bar.set_ticks(middles, labels=[f"{middle:.0e}" for middle in middles])
        bar.ax.minorticks_off()
        return shown(fig)


def _step(explorer: Explorer) -> float:
    """The explorer's step, or the default where that would be refused."""
    return min(explorer.dt, default_step(explorer.sheaf))


def _graph(sheaf, ax, found, norm) -> None:
    """The graph with a line in the colour of its discord on each edge, and the number."""
    schematic(sheaf, ax, stalks=False)
    for text in [text for text in ax.texts if not text.get_gid()]:
        text.remove()
    for line in [line for line in ax.lines if line.get_gid()]:
        name = line.get_gid().removeprefix("line:")
        ends, height = line.get_xdata(), line.get_ydata()
        colour = matplotlib.colormaps[DISCORD](norm(max(found[name], LEVELS[0])))
        line.set(lw=9)
        ax.plot(ends, height, color=colour, lw=5, solid_capstyle="butt", zorder=2.5)
        low = float(np.min(height))
        ax.text(
            (ends[0] + ends[-1]) / 2,
            low - 0.14,
            f"{found[name]:.2g}",
            ha="center",
            va="top",
            fontsize=8,
        )
    ax.get_legend().set_bbox_to_anchor((0.5, -0.02))


def _stalks(sheaf, ax, v, forward) -> None:
    """Over every vertex a bar a coordinate, and across it the value of the forward pass."""
    scale = max(np.abs(v).max(), np.abs(forward).max(), 1e-300) * 2 / HEIGHT
    middle, first = FLOOR + HEIGHT / 2, 0
    texts = {t.get_gid().removeprefix("vertex:"): t for t in ax.texts if t.get_gid()}
    for name in ("x", *sheaf.layout.names):
        n = (
            sheaf.network.n_in
            if name == "x"
            else sheaf.layout[name].stop - sheaf.layout[name].start
        )
        width = min(0.12, 0.84 / n)
        places = texts[name].get_position()[0] + width * (np.arange(n) - (n - 1) / 2)
        own = slice(first, first + n)
        ax.bar(places, v[own] / scale, 0.8 * width, middle, color=BOUNDARY if name == "x" else BAR)
        ax.hlines(
            middle + forward[own] / scale, places - width / 2, places + width / 2, INK, lw=1.4
        )
        ax.plot(places[[0, -1]] + [-width, width], [middle, middle], color=INK, lw=0.6)
        first += n
    ax.set_ylim(min(ax.get_ylim()[0], -BOX[1]), FLOOR + HEIGHT + 0.1)
