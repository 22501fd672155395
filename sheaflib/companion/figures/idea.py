"""The pictures of notebook 00: nine quantities flow to the forward pass while discord falls, and a
map of the book.
"""

from __future__ import annotations

from textwrap import fill
from typing import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from sheaflib.plots.flow import discord_curves, rate_line
from sheaflib.plots.palette import EDGE_COLOURS

EARLY, EVERY_EARLY, EVERY_LATE = 2000, 5, 25  # steps that are drawn of the quantities, of discord

PARTS = {
    "the sheaf": ("01", "02", "03"),
    "heat and pins": ("04", "05", "08", "15"),
    "diagnosis": ("09", "10", "12", "13", "14"),
    "training": ("06", "07", "11"),
}
BUILDS_ON = {  # a notebook -> those that it takes up
    "01": ("00",),
    "02": ("01",),
    "03": ("02",),
    "04": ("03",),
    "05": ("04",),
    "06": ("00",),
    "07": ("06",),
    "08": ("05",),
    "09": ("08",),
    "10": ("09",),
    "11": ("06",),
    "12": ("10",),
    "13": ("12",),
    "14": ("13",),
    "15": ("08",),
}
ROUTES = {"from topology": ("00", "01", "02"), "from PyTorch": ("00", "03", "05", "06", "09", "14")}
ROUTE_MARKS = {"from topology": ("^", "0.15"), "from PyTorch": ("s", "0.55")}
BOX = 2.5, 0.66  # width and height of a notebook on the map
ACROSS, DOWN = 3.0, 1.15  # from one box to the next


def map_of_the_book(titles: Mapping[str, str]) -> Figure:
    """The notebooks in four columns, with arrows from each to those that take it up, and marks on
    the routes of two kinds of readers.

    Figure 00-map. titles: number -> title.
    """
    place = {
        number: (ACROSS * column, -DOWN * (row + 1))
        for column, numbers in enumerate(PARTS.values())
        for row, number in enumerate(numbers)
    }
    place["00"] = (0.0, 0.0)
    fig, ax = plt.subplots(figsize=(11.5, 6.6))
    for column, part in enumerate(PARTS):
        left = ACROSS * column - BOX[0] / 2
        ax.text(left, -0.57 * DOWN, part, style="italic", color="0.35")
    for number, (x, y) in place.items():
        _notebook(number, titles[number], x, y, ax)
        _arrows([place[earlier] for earlier in BUILDS_ON.get(number, ())], (x, y), ax)
    for shift, (name, numbers) in enumerate(ROUTES.items()):
        marker, colour = ROUTE_MARKS[name]
        xs, ys = np.array([place[number] for number in numbers]).T
        xs, ys = xs - BOX[0] / 2 + 0.08 + 0.2 * shift, ys - BOX[1] / 2 + 0.06
        ax.plot(xs, ys, marker, color=colour, linestyle="none", label=f"read first, coming {name}")
    ax.legend(loc="lower left")
    ax.set(xlim=(-1.4, 3 * ACROSS + 1.4), ylim=(-5 * DOWN - 0.5, 0.6))
    ax.set_axis_off()
    fig.numbers = {"notebooks": dict(titles), "builds on": BUILDS_ON, "routes": ROUTES}
    return fig


def _notebook(number, title, x, y, ax):
    """One notebook as a box with its number and its title."""
    width, height = BOX
    corner = x - width / 2, y - height / 2
    box = FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.06", fc="0.96", ec="0.4")
    ax.add_patch(box)
    ax.text(x - width / 2 + 0.02, y, number, ha="left", va="center", weight="bold")
    ax.text(x + 0.18, y, fill(title, 25), ha="center", va="center", fontsize=8.5)


def _arrows(sources, goal, ax):
    """Arrows between boxes: down in a column, to the right between columns, and from the first row
    to the top of another column.
    """
    width, height = BOX[0] + 0.12, BOX[1] + 0.12
    for source in sources:
        bend = "arc3"
        if source[0] == goal[0]:
            ends = (source[0], source[1] - height / 2), (goal[0], goal[1] + height / 2)
        elif source[1] == 0:
            bend = "angle,angleA=0,angleB=90"
            ends = (source[0] + width / 2, 0.0), (goal[0], goal[1] + height / 2)
        else:
            ends = (source[0] + width / 2, source[1]), (goal[0] - width / 2, goal[1])
        ax.add_patch(
            FancyArrowPatch(
                *ends,
                arrowstyle="-|>",
                connectionstyle=bend,
                mutation_scale=11,
                color="0.4",
                zorder=0.5,
            )
        )


def flow_to_rest(
    path: np.ndarray, goal: np.ndarray, discord: Callable[[np.ndarray], dict], slope: float
) -> Figure:
    """The states on the way (steps + 1, 9) beside the forward pass (9,), and the discord of each
    edge beside the slope of its logarithm per step that λ₁ predicts.

    Figure 00-heat. discord: state -> edge -> discord.
    """
    early = np.arange(0, min(EARLY, len(path)), EVERY_EARLY)
    late = np.arange(0, len(path), EVERY_LATE)
    states = [discord(path[i]) for i in late]
    curves = {edge: [state[edge] for state in states] for edge in states[0]}
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.7))
    _quantities(path, goal, early, left)
    discord_curves(late, curves, right)
    tail = late[late > 0.35 * len(path)]
    above = 30 * sum(values[len(late) - len(tail)] for values in curves.values())
    rate_line(tail, (tail[0], above), slope, right, "predicted slope")
    right.set_title("discord: in the end every edge falls at the predicted rate")
    right.legend(loc="upper right")
    fig.numbers = {"early": early, "values": path[early].T, "late": late, "discord": curves}
    return fig


def _quantities(path, goal, early, ax):
    """The nine curves, coloured by the edge that computes each, and a triangle at each goal."""
    for rows, colour, name in (
        (slice(0, 4), EDGE_COLOURS["affine"], "$z^1$"),
        (slice(4, 8), EDGE_COLOURS["activation"], "$a^1$"),
        (slice(8, 9), "black", "$z^2$, the output"),
    ):
        n = rows.stop - rows.start
        ax.plot(early, path[early, rows], color=colour, label=[name] + [None] * (n - 1))
        ax.plot([early[-1] * 1.02] * n, goal[rows], "<", color=colour, clip_on=False)
    ax.set(xlabel="step", ylabel="value", title="nine quantities flow to the forward pass (◂)")
    ax.legend(loc="lower right", bbox_to_anchor=(0.95, 0.12))
