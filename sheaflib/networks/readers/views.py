"""What a tensor of a model holds: coordinates of stalks, which moves only bring into another order.

A reshape, a transpose, a slice or a concatenation changes no number. So a tensor is kept as the
places of its entries, and such a move is done to an array of places. Only what computes with the
tensor needs its numbers side by side, and then a `Gather` or a `Stack` becomes a vertex.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Sequence

import numpy as np

from sheaflib.support.checks import brief

SAMPLE = 2**40  # the place of coordinate i in sample b is b · SAMPLE + i
LARGEST = 2**25  # numbers in a tensor, of all samples that a model is traced with together
CONSTANT = -1  # the place of an entry that is in no stalk: the model says its number


@dataclass(frozen=True, eq=False)
class View:
    """A tensor of a model, entry by entry a coordinate of `sources` or a constant.

    sources: names of stalks, widths: of these, side by side; places: of the tensor's shape, the
    batch axis included, b · SAMPLE + i for coordinate i of the stalks in sample b, or CONSTANT;
    fill: numbers of the same shape, read where a place is CONSTANT, or None where there are none;
    batch: how many samples the model is traced with, at least 1; head: "", or the output map,
    softmax or sigmoid, that has been applied to it.
    """

    sources: tuple[str, ...]
    widths: tuple[int, ...]
    places: np.ndarray
    batch: int
    fill: np.ndarray | None = None
    head: str = ""

    @classmethod
    def of(cls, name: str, width: int, shape: tuple[int, ...], batch: int) -> View:
        """The whole stalk `name`, in order, as a tensor of a shape."""
        check_size(batch * width)
        places = np.arange(batch)[:, None] * SAMPLE + np.arange(width)
        return cls((name,), (width,), places.reshape(shape), batch)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.places.shape

    @property
    def total(self) -> int:
        """How many coordinates the sources have together."""
        return sum(self.widths)

    @property
    def lead(self) -> tuple[int, ...]:
        """The batch axis of the tensor, (batch,), or () where it has none, as a vector of a single
        sample.
        """
        has_axis = self.shape[:1] == (self.batch,) and (self.batch > 1 or len(self.shape) > 1)
        return (self.batch,) if has_axis else ()

    @property
    def one(self) -> np.ndarray:
        """The places in one sample, without the batch axis.

        Raises ValueError unless the first axis is the batch and each sample is made of its own
        coordinates alone, in the same way.
        """
        if self.batch < 2:
            return self.places[0] if self.lead else self.places
        first = self.places[0] if self.shape[:1] == (self.batch,) else None
        if first is None or not self._alike(first):
            raise ValueError(
                f"it mixes the {self.batch} samples of a batch, or moves them off the first axis,"
                " expected each to be computed alone"
            )
        return first

    def _alike(self, first: np.ndarray) -> bool:
        starts = np.arange(self.batch).reshape(-1, *[1] * first.ndim) * SAMPLE
        expected = np.where(first == CONSTANT, CONSTANT, first + starts)
        same = self.fill is None or bool((self.fill == self.fill[:1]).all())
        return same and bool((self.places == expected).all())

    @property
    def constants(self) -> np.ndarray | None:
        """The numbers of `fill` in one sample, 0 where a place is no constant; None for none."""
        one = self.one
        if self.fill is None or not (one == CONSTANT).any():
            return None
        fill = self.fill[0] if one.ndim < self.fill.ndim else self.fill
        return np.where(one == CONSTANT, fill, 0.0)

    @property
    def whole(self) -> bool:
        """Whether it holds each coordinate of one stalk once, in whatever order."""
        one = self.one.ravel()
        if len(self.sources) > 1 or one.size != self.total or (one == CONSTANT).any():
            return False
        return bool((np.bincount(one, minlength=self.total) == 1).all())

    def rearranged(self, order: Sequence[int] | None, shape: Sequence[int]) -> View:
        """The entries with the axes of one sample in another order, and then in another shape of
        one sample.
        """
        samples, one = self.batch, self.one.shape
        axes = [0, *(axis + 1 for axis in (range(len(one)) if order is None else order))]

        def turned(array: np.ndarray) -> np.ndarray:
            return array.reshape(samples, *one).transpose(axes).reshape(*self.lead, *shape)

        fill = None if self.fill is None else turned(np.asarray(self.fill))
        return replace(self, places=turned(self.places), fill=fill)

    def onto(self, name: str) -> View:
        """The view of another stalk that holds a number for each coordinate of this one's."""
        return replace(self, sources=(name,))

    def in_order(self, values: np.ndarray) -> np.ndarray:
        """Numbers that belong to the entries of a whole view, (total,), in the stalk's order.

        values has the shape of one sample, or one that NumPy makes of that shape.
        """
        one = self.one
        found = np.empty(self.total)
        found[one.ravel()] = np.broadcast_to(values, one.shape).ravel()
        return found


def side_by_side(views: list[View]) -> tuple[tuple[str, ...], tuple[int, ...], list[np.ndarray]]:
    """The sources of several views together, each once, their widths, and the places of each view
    in them.
    """
    widths: dict[str, int] = {}
    for view in views:
        widths |= dict(zip(view.sources, view.widths))
    starts = dict(zip(widths, np.cumsum([0, *widths.values()])))
    places = []
    for view in views:
        own = np.cumsum([0, *view.widths])
        sample, coordinate = np.divmod(view.places, SAMPLE)
        part = np.searchsorted(own, coordinate, side="right") - 1
        part = np.minimum(part, len(view.widths) - 1)  # a constant is in none
        moved = np.array([starts[name] for name in view.sources])[part]
        moved = sample * SAMPLE + moved + coordinate - own[part]
        places.append(np.where(view.places == CONSTANT, CONSTANT, moved))
    return tuple(widths), tuple(widths.values()), places


def check_size(count: float) -> None:
    """Raise ValueError where a tensor would hold more numbers than this reader traces."""
    if count > LARGEST:
        raise ValueError(f"it makes a tensor of {brief(count)} numbers, expected at most {LARGEST}")


def size(shape: tuple[int, ...]) -> int:
    """How many entries a tensor of a shape has."""
    return math.prod(shape)
