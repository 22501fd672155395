"""The picture of notebook 00: nine quantities flow to the forward pass while discord falls."""

from __future__ import annotations

from typing import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sheaflib.plots.flow import discord_curves, rate_line
from sheaflib.plots.palette import EDGE_COLOURS

EARLY, EVERY_EARLY, EVERY_LATE = 2000, 5, 25  # steps that are drawn of the quantities, of discord


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
