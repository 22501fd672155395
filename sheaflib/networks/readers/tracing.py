"""A network that grows vertex by vertex while a model is read, whatever the model's format."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Sequence

import numpy as np

from sheaflib.networks.affine import Affine
from sheaflib.networks.convolution import Convolution
from sheaflib.networks.gather import Gather, Scatter
from sheaflib.networks.graph import A_OUT, INPUT
from sheaflib.networks.operations import Operation, Stack
from sheaflib.networks.readers.views import CONSTANT, View, check_size, side_by_side, size
from sheaflib.networks.selection import MaxPool, Selection
from sheaflib.networks.structured import BatchNorm, Sum

Entry = tuple[str, Operation, tuple[str, ...]]


class Tracer:
    """The nodes read so far. Its methods take the views of tensors, add the nodes that compute with
    them, and give the view of what these write.

    n_in: the width of the input of one sample; batch: how many samples the model is traced with.
    """

    def __init__(self, n_in: int, batch: int):
        self.batch = batch
        self.nodes: list[Entry] = []
        self.widths = {INPUT: n_in}
        self._moved: dict[tuple, str] = {}

    def input(self, shape: tuple[int, ...]) -> View:
        """The input as a tensor of a shape with the batch axis."""
        return View.of(INPUT, self.widths[INPUT], shape, self.batch)

    def add(self, label: str, operation: Operation, reads: tuple[str, ...]) -> str:
        """A node that reads these; returns its name, which is the label, or one like it."""
        name, number = label, 2
        while name in self.widths or name == A_OUT:
            name, number = f"{label}.{number}", number + 1
        self.nodes.append((name, operation, reads))
        self.widths[name] = operation.n_out
        return name

    def written(self, label: str, operation: Operation, view: View, shape: Sequence[int]) -> View:
        """What an operation writes that reads the entries of a tensor in order, as a tensor whose
        shape in one sample is this.
        """
        name = self.add(label, operation, (self.stalk(label, view),))
        return View.of(name, operation.n_out, (*view.lead, *shape), self.batch)

    # the numbers of a tensor side by side
    # ----------------------------------------------------------------------------------------------

    def stalk(self, label: str, view: View) -> str:
        """The name of a stalk that holds the entries of a tensor in the tensor's order."""
        places, fill = view.one.ravel(), view.constants
        used = np.unique(places[places != CONSTANT])
        if len(used) == 0:
            raise ValueError("it reads nothing but constants")
        source, places = self._joined(label, view, places, used)
        live = places != CONSTANT
        name = self._gathered(label, source, places[live])
        if live.all():
            return name
        numbers = np.zeros(len(places)) if fill is None else fill.ravel()
        return self.add(f"{label}.pad", Scatter(np.flatnonzero(live), numbers), (name,))

    def _joined(
        self, label: str, view: View, places: np.ndarray, used: np.ndarray
    ) -> tuple[str, np.ndarray]:
        """One stalk that holds all coordinates which a view uses, and the places in it."""
        ends = np.cumsum([0, *view.widths])
        needed = [
            k for k in range(len(view.sources)) if ((used >= ends[k]) & (used < ends[k + 1])).any()
        ]
        moved = places.copy()
        start = 0
        for k in needed:
            inside = (places >= ends[k]) & (places < ends[k + 1])
            moved[inside] += start - ends[k]
            start += view.widths[k]
        names = tuple(view.sources[k] for k in needed)
        if len(names) == 1:
            return names[0], moved
        if (names,) not in self._moved:
            widths = [view.widths[k] for k in needed]
            self._moved[(names,)] = self.add(f"{label}.stack", Stack(*widths), names)
        return self._moved[(names,)], moved

    def _gathered(self, label: str, source: str, places: np.ndarray) -> str:
        """A stalk that holds these coordinates of another one, in this order; itself where they
        are all of it.
        """
        width = self.widths[source]
        if len(places) == width and (places == np.arange(width)).all():
            return source
        key = (source, places.tobytes())
        if key not in self._moved:
            self._moved[key] = self.add(f"{label}.gather", Gather(places, width), (source,))
        return self._moved[key]

    def whole(self, label: str, view: View) -> View:
        """The tensor as a view that holds each coordinate of one stalk once, in some order."""
        if view.whole:
            return view
        return self.in_order(label, view)

    # what computes
    # ----------------------------------------------------------------------------------------------

    def affine(self, label: str, view: View, weight: np.ndarray, bias: np.ndarray | None) -> View:
        """W a + b on the whole of a sample, weight (n_out, n_in): a tensor of (n_out,)."""
        return self.written(label, Affine(weight, bias), view, (len(weight),))

    def along(self, label: str, view: View, weight: np.ndarray) -> View:
        """W on the second last axis of the tensor (…, n, length) for every place along the others:
        (…, m, length). Weight is (m, n).
        """
        if view.one.ndim < 2:
            raise ValueError(f"it multiplies a tensor of shape {view.shape} along its batch axis")
        *lead, n, length = view.one.shape
        if size(tuple(lead)) != 1:
            raise ValueError(f"it multiplies a tensor of shape {view.shape} along one of its axes")
        shared = Convolution(weight[:, :, None], (n, length))
        return self.written(label, shared, view, (*lead, len(weight), length))

    def scaled(
        self, label: str, view: View, gain: np.ndarray | float, shift: np.ndarray | float
    ) -> View:
        """gain · a + shift, entry by entry; both have a shape that NumPy makes of a sample's."""
        shape = np.broadcast_shapes(view.one.shape, np.shape(gain), np.shape(shift))
        view = self.whole(label, broadcast(view, shape))
        gains, shifts = view.in_order(np.asarray(gain)), view.in_order(np.asarray(shift))
        if (gains == 1).all() and (shifts == 0).all():
            return view
        return view.onto(self.add(label, diagonal(gains, shifts, view.one.shape), view.sources))

    def sum(self, label: str, views: Sequence[View]) -> View:
        """The sum of tensors, entry by entry, each made as large as the largest."""
        shape = np.broadcast_shapes(*(view.one.shape for view in views))
        parts = [self.whole(label, broadcast(view, shape)) for view in views]
        if any((part.one != parts[0].one).any() for part in parts):
            parts = [self.in_order(label, part) for part in parts]
        names = tuple(part.sources[0] for part in parts)
        if len(set(names)) == 1:
            return self.scaled(label, parts[0], float(len(names)), 0.0)
        width = parts[0].total
        stack = self.add(f"{label}.stack", Stack(*[width] * len(names)), names)
        return parts[0].onto(self.add(label, Sum(width, len(names)), (stack,)))

    def in_order(self, label: str, view: View) -> View:
        """The tensor as a view of a stalk that holds its entries in order."""
        name, one = self.stalk(label, view), view.one
        return View.of(name, one.size, (*view.lead, *one.shape), self.batch)

    def selection(self, label: str, view: View, make: Callable[[View], Selection]) -> View:
        """A function of each entry by itself. `make` gives the operation for a view of a whole
        stalk.
        """
        view = self.whole(label, view)
        return view.onto(self.add(label, make(view), view.sources))

    def maximum(self, label: str, view: View, windows: np.ndarray) -> View:
        """The largest of several entries: windows (…, k) numbers entries of one sample, flat."""
        pool = MaxPool(windows.reshape(-1, windows.shape[-1]), view.one.size)
        return self.written(label, pool, view, windows.shape[:-1])


def diagonal(gains: np.ndarray, shifts: np.ndarray, shape: Sequence[int]) -> BatchNorm:
    """gains · a + shifts, a number a coordinate, or a channel where the channels of a tensor of
    this shape share it.
    """
    for channels in (1, shape[0] if shape else 1):
        parts = [values.reshape(channels, -1) for values in (gains, shifts)]
        if all((values == values[:, :1]).all() for values in parts):
            break
    else:
        parts = [gains[:, None], shifts[:, None]]
    gain, shift = (values[:, 0] for values in parts)
    zeros = np.zeros(len(gain))
    return BatchNorm(gain, shift, zeros, zeros + 1, eps=0.0, pixels=parts[0].shape[1])


def broadcast(view: View, shape: tuple[int, ...]) -> View:
    """The tensor with its entries repeated to a shape of one sample, as NumPy does."""
    if view.one.shape == tuple(shape):
        return view
    check_size(view.batch * size(shape))
    longer = (*view.lead, *[1] * (len(shape) - view.one.ndim), *view.one.shape)
    whole = (*view.lead, *shape)
    places = np.broadcast_to(view.places.reshape(longer), whole)
    fill = None if view.fill is None else np.broadcast_to(view.fill.reshape(longer), whole)
    return replace(view, places=places, fill=fill)


def image(view: View) -> tuple[int, ...]:
    """The shape (channels, height, width), or (channels, length), of a tensor in one sample."""
    shape = view.one.shape
    if len(shape) not in (2, 3):
        raise ValueError(
            f"it reads a tensor of shape {view.shape}, expected (batch, channels, height, width) or"
            " (batch, channels, length)"
        )
    return tuple(int(n) for n in shape)


def stacked(views: Sequence[View]) -> View:
    """Tensors of one shape as one tensor with a new last axis, without any vertex."""
    sources, widths, places = side_by_side(list(views))
    fills = [np.zeros(v.shape) if v.fill is None else v.fill for v in views]
    fill = None if all(v.fill is None for v in views) else np.stack(fills, axis=-1)
    return View(sources, widths, np.stack(places, axis=-1), views[0].batch, fill)
