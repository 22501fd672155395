"""Fewer vertices for the same function: scalings go into the affine layer before them, and orders
into the dense layer after them; what nothing reads is left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from sheaflib.networks.affine import Affine
from sheaflib.networks.convolution import Convolution, Kernelled, TransposedConvolution
from sheaflib.networks.gather import Gather
from sheaflib.networks.operations import Operation
from sheaflib.networks.readers.tracing import Entry
from sheaflib.networks.structured import BatchNorm


@dataclass
class Vertex:
    """A node that may still change: what it computes and reads."""

    operation: Operation
    reads: tuple[str, ...]


def folded(nodes: list[Entry], last: str) -> list[Entry]:
    """The nodes that `last` depends on, folded where a layer has one reader; `last` stands last
    and keeps its place.
    """
    vertices = {name: Vertex(operation, reads) for name, operation, reads in nodes}
    _keep_needed(vertices, last)
    readers = Counter(read for vertex in vertices.values() for read in vertex.reads)
    instead: dict[str, str] = {}  # a vertex that went away -> the one that holds its numbers
    for name in list(vertices):
        here = vertices[name]
        here.reads = tuple(instead.get(read, read) for read in here.reads)
        (*_, source) = here.reads
        before = vertices.get(source)
        if before is None or len(here.reads) > 1 or readers[source] != 1:
            continue
        if isinstance(here.operation, BatchNorm):
            made = _scaled(before.operation, here.operation)
            if made is not None:
                before.operation = made
                instead[name], readers[source] = source, readers[name]
                del vertices[name]
        elif type(here.operation) is Affine and isinstance(before.operation, Gather):
            if before.operation.n_in <= 2 * before.operation.n_out:
                here.operation = _ordered(here.operation, before.operation)
                here.reads = before.reads
                del vertices[source]
    return [(name, vertex.operation, vertex.reads) for name, vertex in vertices.items()]


def _keep_needed(vertices: dict[str, Vertex], last: str) -> None:
    """Delete the vertices that `last` does not depend on."""
    needed, open_ = set(), [last]
    while open_:
        name = open_.pop()
        if name in vertices and name not in needed:
            needed.add(name)
            open_ += vertices[name].reads
    for name in [name for name in vertices if name not in needed]:
        del vertices[name]


def _gain_and_shift(norm: BatchNorm) -> tuple[np.ndarray, np.ndarray]:
    """The two numbers of each coordinate that a batch normalisation multiplies by and adds."""
    gain = norm.scale / np.sqrt(norm.variance + norm.eps)
    shift = norm.shift - gain * norm.mean
    return np.repeat(gain, norm.pixels), np.repeat(shift, norm.pixels)


def _scaled(before: Operation, norm: BatchNorm) -> Operation | None:
    """The operation followed by a scaling, as one of the same kind; None where there is none."""
    gain, shift = _gain_and_shift(norm)
    if isinstance(before, BatchNorm):
        first, offset = _gain_and_shift(before)
        total, moved = gain * first, gain * offset + shift
        pixels = np.gcd(before.pixels, norm.pixels)
        parts = [values.reshape(-1, pixels) for values in (total, moved)]
        zeros = np.zeros(len(parts[0]))
        return BatchNorm(parts[0][:, 0], parts[1][:, 0], zeros, zeros + 1, 0.0, int(pixels))
    if type(before) is Affine and isinstance(before.weight, np.ndarray):
        return Affine(before.weight * gain[:, None], before.bias * gain + shift)
    if not isinstance(before, Kernelled):
        return None
    channels = [values.reshape(len(before.channel_bias), -1) for values in (gain, shift)]
    if any((values != values[:, :1]).any() for values in channels):
        return None
    gains, shifts = (values[:, 0] for values in channels)
    bias = before.channel_bias * gains + shifts
    return before.with_parameters(kernel=_kernel(before, gains), bias=bias)


def _kernel(before: Kernelled, gains: np.ndarray) -> np.ndarray:
    """The kernel that writes each channel multiplied by its gain."""
    kernel = before.kernel
    if isinstance(before, Convolution):
        return kernel * gains.reshape(-1, *[1] * (kernel.ndim - 1))
    assert isinstance(before, TransposedConvolution)
    # of the c_in channels read, those of one group write the channels of that group
    of_group = np.repeat(gains.reshape(before.groups, -1), len(kernel) // before.groups, axis=0)
    return kernel * of_group.reshape(*kernel.shape[:2], *[1] * (kernel.ndim - 2))


def _ordered(layer: Affine, gather: Gather) -> Affine:
    """A dense layer that reads what a gather reads, in place of what it writes."""
    return Affine(layer.weight @ gather.matrix(), layer.bias)
