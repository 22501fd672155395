"""Flows of the heat equation kept state by state, for pictures and counts of single paths."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple, Sequence

import numpy as np

from sheaflib.companion import tasks
from sheaflib.flow.heat import heat
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.checks import positive, whole


class Path(NamedTuple):
    """A flow with all its states: steps (R,), times (R,), cochains (R, B, N), and the switches
    (K, 3) as rows of step, sample, unit.
    """

    step: np.ndarray
    time: np.ndarray
    cochain: np.ndarray
    switches: np.ndarray

    def __repr__(self):
        return f"Path({len(self.step)} states to t = {self.time[-1]:g})"


class Plane(NamedTuple):
    """Paths (R, B, 2) of two coordinates, their names, the point of rest (2,), the switches (K, 3)
    of all neurons, and which of these belong to the two coordinates, (K,) of bool.
    """

    names: tuple[str, str]
    paths: np.ndarray
    rest: np.ndarray
    switches: np.ndarray
    own: np.ndarray

    def __repr__(self):
        return f"Plane({' and '.join(self.names)}, {len(self.switches)} switches)"


def follow(sheaf: NeuralSheaf, x, start, *, dt: float, steps: int, every: int = 1, **which) -> Path:
    """The states 0, `every`, 2·`every`, … up to `steps` of `heat`; `which` is handed on to it.

    >>> from sheaflib import Network
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]]]))
    >>> follow(sheaf, [[1.0]], [[0.0]], dt=0.5, steps=2).cochain[:, 0, 0]
    array([0.  , 0.5 , 0.75])
    """
    dt, every = positive("dt", dt), whole("every", every)
    wanted = whole("steps", steps, least=0) // every + 1
    states = list(islice(heat(sheaf, x, start, dt=dt, every=every, **which), wanted))
    step = np.array([state.step for state in states])
    return Path(
        step,
        dt * step,
        np.array([state.cochain for state in states]),
        np.concatenate([state.switches for state in states]),
    )


def phase_planes(
    rng: np.random.Generator,
    dt: float,
    time: float,
    widths: Sequence[str] = ("2x4x1", "2x6x4x1", "2x6x4x4x1"),
    starts: int = 6,
) -> dict[str, Plane]:
    """The first two neurons of the last hidden layer of the authors' networks (seed 0, input
    (1, 0.5)), from starts drawn with standard deviation 2: widths -> plane.
    """
    planes = {}
    for name in widths:
        sheaf = NeuralSheaf(tasks.paper_network(name, seed=0))
        x, start = np.tile((1.0, 0.5), (starts, 1)), 2 * rng.standard_normal((starts, sheaf.N))
        path = follow(sheaf, x, start, dt=dt, steps=round(time / dt))
        first = sheaf.layout[sheaf.layout.names[-3]].start
        first_unit = sheaf.pattern_layout[sheaf.pattern_layout.names[-1]].start
        planes[name] = Plane(
            (sheaf.layout.label(first), sheaf.layout.label(first + 1)),
            path.cochain[:, :, first : first + 2],
            sheaf.forward(x)[0, first : first + 2],
            path.switches,
            np.isin(path.switches[:, 2], (first_unit, first_unit + 1)),
        )
    return planes


def swing(sheaf: NeuralSheaf, x, start, *, dt: float, time: float, last: int = 1000, **which):
    """By how much each coordinate of the first sample still moves up and down in the last states
    before a time, in the second half of the steps where `last` are more: (N,); `which` is handed on
    to `heat`.
    """
    steps = whole("steps", int(time / dt))
    last = min(last, steps // 2)
    begin = follow(sheaf, x, start, dt=dt, steps=steps - last, every=steps - last, **which)
    end = follow(sheaf, x, begin.cochain[-1], dt=dt, steps=last - 1, **which)
    return np.ptp(end.cochain[:, 0], axis=0)
