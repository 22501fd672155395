"""The affine maps that move coordinates and change none: permutations, copies, window vertices, and
constants beside coordinates.
"""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.structured import Structured
from sheaflib.networks.windows import Shape
from sheaflib.support.checks import even, indices, read_only, real_array, room, whole
from sheaflib.support.sums import sums


class Gather(Structured):
    """The map that writes the coordinate index[i] of what it reads at i: a permutation, the copies
    that a window vertex holds, or one copy of all. It has no parameters.

    index: (n_out,) whole numbers in 0 … n_in − 1; a number may stand in it several times or never.

    >>> Gather([2, 0, 0], n_in=3).value(np.array([[5.0, 6.0, 7.0]]))
    array([[7., 5., 5.]])
    """

    index: np.ndarray

    def __init__(self, index: ArrayLike, n_in: int):
        n_in, places = whole("n_in", n_in), even("index", index)
        room("n_in", n_in, n_in)
        if places.ndim != 1 or len(places) == 0:
            raise ValueError(f"index has shape {places.shape}, expected (n_out,) whole numbers")
        places = read_only(indices("index", index, n_in))
        object.__setattr__(self, "index", places)
        object.__setattr__(self, "_n_in", n_in)

    @property
    def n_in(self) -> int:
        return self._n_in

    @property
    def n_out(self) -> int:
        return len(self.index)

    @property
    def entries(self) -> int:
        return len(self.index)

    def matrix(self) -> sp.sparse.csr_array:
        entries = (np.ones(self.n_out), (np.arange(self.n_out), self.index))
        return sp.sparse.csr_array(entries, shape=(self.n_out, self.n_in))

    def _apply(self, a: np.ndarray, absolute: bool = False) -> np.ndarray:
        return a[:, self.index]

    def _apply_adjoint(self, e: np.ndarray, absolute: bool = False) -> np.ndarray:
        return sums(self.index, e, self.n_in)

    def _norm_bound(self) -> float:
        return math.sqrt(np.bincount(self.index).max()) * (1 + 1e-15)

    def out_shape(self, reads: Sequence[Shape | None]) -> Shape | None:
        everything = self.n_out == self.n_in and (np.diff(self.index) == 1).all()
        return reads[0] if everything and len(reads) == 1 else None

    def _arguments(self) -> dict:
        return {"index": self.index, "n_in": self.n_in}

    def __repr__(self) -> str:
        return f"Gather({self.n_in} -> {self.n_out})"


class Scatter(Structured):
    """The map that writes coordinate i of what it reads at places[i], and the constant fill[j] at
    every other place j: padding with any number. It has no parameters.

    places: (n_in,) whole numbers in 0 … n_out − 1, each once; fill: (n_out,) numbers, of which
    those at `places` are not used. ValueError for a place that stands twice.

    >>> Scatter([2, 0], [0.0, 7.0, 0.0]).value(np.array([[5.0, 6.0]]))
    array([[6., 7., 5.]])
    """

    places: np.ndarray
    fill: np.ndarray

    def __init__(self, places: ArrayLike, fill: ArrayLike):
        fill = np.array(real_array("fill", fill, (None,)))
        at = even("places", places)
        if at.ndim != 1 or len(at) == 0:
            raise ValueError(f"places has shape {at.shape}, expected (n_in,) whole numbers")
        at = read_only(indices("places", at, len(fill)))
        if len(np.unique(at)) < len(at):
            raise ValueError("places holds a number twice, expected each once at most")
        fill[at] = 0.0
        object.__setattr__(self, "places", at)
        object.__setattr__(self, "fill", read_only(fill))

    @property
    def n_in(self) -> int:
        return len(self.places)

    @property
    def n_out(self) -> int:
        return len(self.fill)

    @property
    def entries(self) -> int:
        return len(self.places)

    @property
    def bias(self) -> np.ndarray:
        return self.fill

    def matrix(self) -> sp.sparse.csr_array:
        entries = (np.ones(self.n_in), (self.places, np.arange(self.n_in)))
        return sp.sparse.csr_array(entries, shape=(self.n_out, self.n_in))

    def _apply(self, a: np.ndarray, absolute: bool = False) -> np.ndarray:
        out = np.zeros((len(a), self.n_out))
        out[:, self.places] = a
        return out

    def _apply_adjoint(self, e: np.ndarray, absolute: bool = False) -> np.ndarray:
        return e[:, self.places]

    def _norm_bound(self) -> float:
        return 1.0

    def _arguments(self) -> dict:
        return {"places": self.places, "fill": self.fill}

    def __repr__(self) -> str:
        return f"Scatter({self.n_in} -> {self.n_out})"
