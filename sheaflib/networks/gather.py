"""The affine map that moves coordinates and changes none: permutations, copies, window vertices."""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.structured import Structured
from sheaflib.networks.windows import Shape
from sheaflib.support.checks import even, indices, read_only, room, whole
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
