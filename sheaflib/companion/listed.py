"""Do all runs of Newton's method end at an equilibrium that enumeration lists? Small random
networks with a max-pool or with a clamp, their output pinned (derived).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.equilibria.newton import equilibrium
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import Network
from sheaflib.networks.operations import Operation
from sheaflib.networks.selection import Clamp, MaxPool
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard
from sheaflib.support.checks import choice

KINDS = ("max-pool", "clamp")
WINDOWS = ((0, 1, 2), (1, 2, 3))  # two that overlap, so that there has to be a window vertex
WIDTH = 4
FAR = 4.0  # the typical distance of a label from the forward pass, and of a start from 0
SAME = 1e-9  # the largest difference from an equilibrium of the list at which a run is there


@dataclass(frozen=True)
class Listed:
    """How many runs there were, how many of them ended off the list, of how many networks the list
    holds several minima, and how many minima there are and were found.
    """

    kind: str
    networks: int
    runs: int
    off: int
    several: int
    minima: int
    reached: int

    @property
    def measured(self) -> dict[str, int]:
        """What the claim measures."""
        return {
            "off-the-list": self.off,
            "runs": self.runs,
            "networks": self.networks,
            "several": self.several,
        }

    def __repr__(self):
        return (
            f"Listed({self.kind}: {self.runs - self.off} of {self.runs} runs end on the list;"
            f" {self.reached} of its {self.minima} minima are reached,"
            f" {self.several} of {self.networks} networks have several)"
        )


def random_network(kind: str, rng: np.random.Generator) -> Network:
    """Two inputs, an affine map, a max-pool of overlapping windows or a clamp, one output."""
    selection: Operation = MaxPool(WINDOWS, WIDTH)
    if choice("kind", kind, KINDS) == "clamp":
        low, high = np.sort(rng.normal(size=2))
        selection = Clamp(WIDTH, low, high)
    first = Affine(rng.normal(size=(WIDTH, 2)), rng.normal(size=WIDTH))
    last = Affine(rng.normal(size=(1, selection.n_out)), rng.normal(size=1))
    return Network(2, [("z1", first), ("a1", selection), ("z2", last)])


def listed(kind: str, networks: int, starts: int, seed: int = 0) -> Listed:
    """Pin the output of random networks and run from the forward pass and from random starts.

    A run counts as off the list also when it does not converge.

    >>> listed("clamp", 1, 3)
    Listed(clamp: 3 of 3 runs end on the list; 1 of its 1 minima are reached,
        0 of 1 networks have several)
    """
    off = several = minima = reached = 0
    for number in range(networks):
        rng = np.random.default_rng([seed, number])
        sheaf = NeuralSheaf(random_network(kind, rng).separated())
        x = rng.normal(size=(1, 2))
        label = sheaf.network(x)[0, 0] + FAR * rng.normal()
        pin = hard("z2", label)
        every = enumerate_equilibria(sheaf, x, pins=pin).minima
        some = FAR * rng.normal(size=(starts - 1, sheaf.N))
        start = np.vstack([sheaf.forward(x), some])
        found = equilibrium(sheaf, np.repeat(x, starts, axis=0), pins=pin, start=start)
        gaps = np.abs(found.cochain[:, None, : sheaf.N] - every).max(axis=2)
        arrived = found.converged & (gaps.min(axis=1) <= SAME)
        off += int((~arrived).sum())
        several += len(every) > 1
        minima += len(every)
        reached += len(set(gaps[arrived].argmin(axis=1)))
    return Listed(kind, networks, networks * starts, off, several, minima, reached)
