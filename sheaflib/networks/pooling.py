"""Max-pooling of images, whose windows are products of a set of rows and a set of columns
(derived).
"""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from functools import cached_property
from typing import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks.selection import MaxPool
from sheaflib.networks.windows import Shape, image, like
from sheaflib.support.checks import indices, read_only, room


class ImagePool(MaxPool):
    """A max-pool of every channel of an image of this shape: the window at (i, j) holds the pixels
    in the rows rows[i] and the columns columns[j].

    shape (channels, height, width), rows (height of what it writes, k) and columns (its width, l)
    whole numbers. A tap in the padding repeats another one of its window. Raises ValueError for a
    row or a column that is not in the image.

    >>> pool = ImagePool((1, 2, 4), [[0, 1]], [[0, 1], [2, 3]])
    >>> pool.value(np.array([[1.0, 2.0, 3.0, 4.0, 0.0, 9.0, 0.0, 0.0]]))
    array([[9., 4.]])
    """

    shape: Shape
    rows: np.ndarray
    columns: np.ndarray

    def __init__(self, shape: Sequence[int], rows: ArrayLike, columns: ArrayLike):
        channels, height, width = image(shape)
        parts = []
        for name, value, n in (("rows", rows, height), ("columns", columns, width)):
            part = indices(name, value, n)
            if part.ndim != 2 or part.size == 0:
                raise ValueError(f"{name} has shape {part.shape}, expected (windows, taps)")
            parts.append(read_only(part))
        if len(shape) == 2 and parts[0].size != 1:
            raise ValueError("rows must be [[0]] for a signal (channels, length)")
        room("rows", parts[0].shape, channels * parts[0].size * parts[1].size)
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "rows", parts[0])
        object.__setattr__(self, "columns", parts[1])
        object.__setattr__(self, "n_in", channels * height * width)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to {name!r} of {self!r}")

    @property
    def reads(self) -> Shape:
        return self.shape

    @property
    def written(self) -> Shape:
        """The shape of the image that it writes."""
        return like(self.shape, self.shape[0], (len(self.rows), len(self.columns)))

    def out_shape(self, reads: Sequence[Shape | None]) -> Shape | None:
        return self.written

    @property
    def n_out(self) -> int:
        return math.prod(self.written)

    @cached_property
    def windows(self) -> np.ndarray:
        """(n_out, k · l) indices into what is read, row by row of a window."""
        channels, height, width = image(self.shape)
        one = self.rows[:, None, :, None] * width + self.columns[None, :, None, :]
        one = one.reshape(len(self.rows) * len(self.columns), -1)
        starts = np.arange(channels)[:, None, None] * (height * width)
        return read_only((starts + one).reshape(self.n_out, -1))

    @property
    def norm(self) -> float:
        """√(number of windows that share a pixel), as of any max-pool."""
        most = [int(np.bincount(grid.ravel()).max()) for grid in (self.rows, self.columns)]
        return float(np.sqrt(most[0] * most[1]))

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        if s is not None:
            return super().value(a, s)
        best = _along(a.reshape(-1, *image(self.shape)[1:]), self.rows, 1)
        return _along(best, self.columns, 2).reshape(len(a), -1)

    def pattern(self, a: np.ndarray) -> np.ndarray:
        across, column = _first(a.reshape(-1, *image(self.shape)[1:]), self.columns, 2)
        _, row = _first(across, self.rows, 1)
        chosen = np.zeros_like(row)
        for tap in range(self.rows.shape[1]):
            there = np.take(column, self.rows[:, tap], axis=1)
            np.copyto(chosen, there + tap * self.columns.shape[1], where=row == tap)
        return chosen.reshape(len(a), -1)


def repeated(grid: np.ndarray) -> np.ndarray:
    """The grid (windows, taps) with the first tap of a window that is in the image in place of
    those that are not, which are −1.

    >>> repeated(np.array([[-1, 0, 1], [1, 2, -1]]))
    array([[0, 0, 1],
           [1, 2, 1]])
    """
    first = np.take_along_axis(grid, (grid >= 0).argmax(axis=1)[:, None], axis=1)
    return np.where(grid >= 0, grid, first)


def _step(index: np.ndarray) -> slice | np.ndarray:
    """Indices that rise evenly as a slice, which takes a view; others as they are."""
    steps = np.diff(index)
    if len(index) == 1 or steps[0] > 0 and (steps == steps[0]).all():
        return slice(index[0], index[-1] + 1, steps[0] if len(steps) else 1)
    return index


def _parts(images: np.ndarray, grid: np.ndarray, axis: int) -> list[np.ndarray]:
    """For each tap of a grid (windows, taps) the pixels along an axis that the windows read."""
    ahead = (slice(None),) * axis
    return [images[(*ahead, _step(tap))] for tap in grid.T]


def _along(images: np.ndarray, grid: np.ndarray, axis: int) -> np.ndarray:
    """The largest tap of each window of a grid along an axis."""
    first, *others = _parts(images, grid, axis)
    best = np.array(first)
    for part in others:
        np.maximum(best, part, out=best)
    return best


def _first(images: np.ndarray, grid: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest tap of each window, and which tap is the first that is as large."""
    first, *others = _parts(images, grid, axis)
    best, chosen = np.array(first), np.zeros(first.shape, dtype=np.int64)
    for place, part in enumerate(others, start=1):
        larger = part > best
        np.copyto(best, part, where=larger)
        np.copyto(chosen, place, where=larger)
    return best, chosen
