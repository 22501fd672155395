"""Layers of images: each function makes an operation, with the arguments that PyTorch's layer of
that name has, and says the shape of what it writes.

An image of shape (channels, height, width) is flattened in C order, so a "flatten" layer is no
layer at all. A signal (channels, length) is an image with one axis. Where an argument is said of
each axis it is one whole number for all of them, or one an axis.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.convolution import Convolution, TransposedConvolution
from sheaflib.networks.gather import Gather
from sheaflib.networks.operations import Stack
from sheaflib.networks.pooling import ImagePool, repeated
from sheaflib.networks.structured import BatchNorm, Separable, Sum, means
from sheaflib.networks.windows import Pair, Shape, grids, image, padding_of, pair
from sheaflib.support.checks import brief, choice, even, flag, indices, room, unmasked

MODES: dict[str, Literal["constant", "reflect", "edge", "wrap"]] = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def convolution(
    kernel: ArrayLike,
    shape: Sequence[int],
    bias: ArrayLike | None = None,
    stride: int | Pair = 1,
    padding: Any = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> tuple[Convolution, Shape]:
    """A convolution (cross-correlation, as in deep learning), and the shape it writes.

    kernel (c_out, c_in / groups, h, w), or (c_out, c_in / groups, k) for a signal; shape (c_in, H,
    W), or (c_in, L), of what it reads; bias (c_out,). padding: a whole number, one an axis, ((top,
    bottom), (left, right)), "valid" or "same". Raises ValueError when they do not fit.

    >>> conv, shape = convolution(np.ones((1, 1, 2, 2)), (1, 3, 3))
    >>> shape, conv.value(np.ones((1, 9)))
    ((1, 2, 2), array([[4., 4., 4., 4.]]))
    """
    made = Convolution(kernel, shape, bias, stride, padding, dilation, groups)
    return made, made.written


def transposed(
    kernel: ArrayLike,
    shape: Sequence[int],
    bias: ArrayLike | None = None,
    stride: int | Pair = 1,
    padding: Any = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> tuple[TransposedConvolution, Shape]:
    """A transposed convolution, the adjoint of a convolution plus a bias, and the shape it writes.

    kernel (c_in, c_out / groups, h, w), or (c_in, c_out / groups, k) for a signal; shape (c_in, H,
    W), or (c_in, L), of what it reads; bias (c_out,). `output_padding` adds rows below and columns
    on the right. Raises ValueError when they do not fit.

    >>> up, shape = transposed(np.ones((1, 1, 2, 2)), (1, 1, 2), stride=2)
    >>> shape, up.value(np.array([[1.0, 2.0]]))
    ((1, 2, 4), array([[1., 1., 2., 2., 1., 1., 2., 2.]]))
    """
    made = TransposedConvolution(
        kernel, shape, bias, stride, padding, output_padding, groups, dilation
    )
    return made, made.written


def average_pool(
    shape: Sequence[int],
    size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> tuple[Separable, Shape]:
    """The mean over windows of a size, channel by channel, and the shape it writes; stride defaults
    to size.

    With `ceil_mode` a last window may reach beyond the image and its padding, and is cut off there.
    The padding counts as zeros, unless `count_include_pad` is False.

    >>> pool, shape = average_pool((1, 2, 4), 2)
    >>> shape, pool.value(np.arange(8.0)[None])
    ((1, 1, 2), array([[2.5, 4.5]]))
    """
    include = flag("count_include_pad", count_include_pad)
    found = _grids(shape, size, stride, padding, 1, ceil_mode)
    sides, pads, strides = [], _axes(shape, padding), _strides(shape, size, stride)
    for n, grid, step, pad in zip(image(shape)[1:], found, strides, pads):
        start = np.arange(len(grid)) * step - pad
        cut = np.minimum(start + grid.shape[1], n + pad) - start
        count = cut if include else (grid >= 0).sum(axis=1)
        sides.append(means(grid, n, count))
    made = Separable(shape, *sides)
    return made, made.written


def max_pool(
    shape: Sequence[int],
    size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> tuple[ImagePool, Shape]:
    """The maximum over windows of a size, channel by channel, and the shape it writes; stride
    defaults to size.

    A tap in the padding repeats another one of its window, so the padding never is the maximum.

    >>> pool, shape = max_pool((1, 2, 4), 2)
    >>> shape, pool.value(np.arange(8.0)[None])
    ((1, 1, 2), array([[5., 7.]]))
    """
    found = _grids(shape, size, stride, padding, dilation, ceil_mode)
    made = ImagePool(shape, *map(repeated, found))
    return made, made.written


def adaptive_average_pool(shape: Sequence[int], output_size: int | Pair) -> tuple[Separable, Shape]:
    """The mean over so many windows that cover the image evenly, and the shape it writes.

    Window i of m along an axis of n pixels reaches from ⌊i n/m⌋ to before ⌈(i + 1) n/m⌉.

    >>> pool, shape = adaptive_average_pool((1, 1, 3), (1, 2))
    >>> shape, pool.value(np.array([[1.0, 2.0, 5.0]]))
    ((1, 1, 2), array([[1.5, 3.5]]))
    """
    sides = []
    for n, ends in zip(image(shape)[1:], _even(shape, output_size)):
        lengths = [stop - start for start, stop in ends]
        columns = np.concatenate([np.arange(*end) for end in ends])
        rows = np.repeat(np.arange(len(ends)), lengths)
        weights = np.repeat(1 / np.array(lengths), lengths)
        sides.append(sp.sparse.csr_array((weights, (rows, columns)), shape=(len(ends), n)))
    made = Separable(shape, *sides)
    return made, made.written


def adaptive_max_pool(shape: Sequence[int], output_size: int | Pair) -> tuple[ImagePool, Shape]:
    """The maximum over so many windows that cover the image evenly, as those of
    `adaptive_average_pool`, and the shape it writes.

    >>> pool, shape = adaptive_max_pool((1, 1, 3), (1, 2))
    >>> shape, pool.value(np.array([[1.0, 2.0, 5.0]]))
    ((1, 1, 2), array([[2., 5.]]))
    """
    parts = []
    for ends in _even(shape, output_size):
        longest = max(stop - start for start, stop in ends)
        parts.append([[min(start + k, stop - 1) for k in range(longest)] for start, stop in ends])
    made = ImagePool(shape, np.array(parts[0]), np.array(parts[1]))
    return made, made.written


def global_average_pool(shape: Sequence[int]) -> tuple[Separable, Shape]:
    """The mean of each channel, and the shape (channels, 1, 1).

    >>> global_average_pool((1, 2, 2))[0].value(np.array([[1.0, 2.0, 3.0, 6.0]]))
    array([[3.]])
    """
    return adaptive_average_pool(shape, 1)


def global_max_pool(shape: Sequence[int]) -> tuple[ImagePool, Shape]:
    """The maximum of each channel, and the shape (channels, 1, 1).

    >>> global_max_pool((1, 2, 2))[0].value(np.array([[1.0, 2.0, 3.0, 6.0]]))
    array([[6.]])
    """
    return adaptive_max_pool(shape, 1)


def batch_norm(
    scale: ArrayLike,
    shift: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    eps: float = 1e-5,
    pixels: int = 1,
) -> BatchNorm:
    """Batch normalisation in inference, scale·(a − mean)/√(variance + eps) + shift.

    scale, shift, mean, variance: (channels,); `pixels` = height · width repeats each channel over
    its image. Training may change scale and shift. Raises ValueError for a negative variance, and
    where a number leaves float64.

    >>> batch_norm([2.0], [1.0], [3.0], [4.0], eps=1e-12).value(np.array([[5.0]])).round(6)
    array([[3.]])
    """
    return BatchNorm(scale, shift, mean, variance, eps, pixels)


def permutation(order: ArrayLike) -> Gather:
    """The map that writes coordinate order[i] of what it reads at i: a transposed image, shuffled
    channels, any Gather. A number may stand in `order` once only; ValueError otherwise.

    >>> axes = np.arange(6).reshape(2, 3).transpose()
    >>> permutation(axes.ravel()).value(np.arange(6.0)[None])
    array([[0., 3., 1., 4., 2., 5.]])
    """
    unmasked("order", order)
    order = even("order", order)
    if order.ndim != 1 or len(order) == 0:
        raise ValueError(f"order has shape {order.shape}, expected (n,) whole numbers")
    places = indices("order", order, len(order))
    if len(np.unique(places)) < len(places):
        raise ValueError(f"order holds a number twice, expected each of 0 … {len(order) - 1} once")
    return Gather(places, len(places))


def pad(shape: Sequence[int], padding: Any, mode: str = "constant") -> tuple[Separable, Shape]:
    """The image with more rows and columns around it, and the shape it writes.

    padding: a whole number, one an axis, or ((top, bottom), (left, right)). mode: "constant" pads
    with zeros, "reflect" mirrors the image at its first and last pixel, "replicate" repeats these,
    "circular" goes on at the other end. Raises ValueError where the image is too small for it.

    >>> padded, shape = pad((1, 1, 3), ((0, 0), (2, 1)), "reflect")
    >>> shape, padded.value(np.array([[1.0, 2.0, 3.0]]))
    ((1, 1, 6), array([[3., 2., 1., 2., 3., 2.]]))
    """
    mode, (channels, *lengths) = choice("mode", mode, MODES), image(shape)
    if isinstance(padding, str):
        raise ValueError(f"padding={brief(padding)}, expected numbers")
    sides, pads = [], padding_of(padding, len(shape) - 1)
    room("padding", padding, channels * math.prod(n + sum(m) for n, m in zip(lengths, pads)))
    most = {"reflect": -1, "circular": 0}
    for n, more in zip(lengths, pads):
        if mode in most and max(more) > n + most[mode]:
            raise ValueError(
                f"padding={brief(padding)} is too large for {mode!r} in an image of shape"
                f" {tuple(shape)}, expected at most {n + most[mode]}"
            )
        if mode == "constant":
            index = np.pad(np.arange(n), more, constant_values=-1)
        else:
            index = np.pad(np.arange(n), more, mode=MODES[mode])
        sides.append(_gather(index, n))
    made = Separable(shape, *sides)
    return made, made.written


def upsample(shape: Sequence[int], scale_factor: int | Pair) -> tuple[Separable, Shape]:
    """Every pixel repeated scale_factor times along each axis (nearest neighbour), and the shape it
    writes.

    >>> upsample((1, 1, 2), (1, 2))[0].value(np.array([[1.0, 2.0]]))
    array([[1., 1., 2., 2.]])
    """
    channels, *lengths = image(shape)
    factors = pair("scale_factor", scale_factor, len(shape) - 1)
    room("scale_factor", scale_factor, channels * math.prod(lengths) * math.prod(factors))
    sides = [_gather(np.repeat(np.arange(n), k), n) for n, k in zip(lengths, factors)]
    made = Separable(shape, *sides)
    return made, made.written


def concatenation(*shapes: Sequence[int]) -> tuple[Stack, Shape]:
    """Images one behind the other, channel on channel, and the shape that is written; ValueError
    unless all have the same sides.

    >>> concatenation((2, 4, 4), (3, 4, 4))
    (Stack(dims=(32, 48)), (5, 4, 4))
    """
    for shape in shapes:
        image(shape, "shapes")
    made = Stack(*(math.prod(shape) for shape in shapes))
    written = made.out_shape([tuple(shape) for shape in shapes])
    if written is None:
        raise ValueError(f"shapes={brief(shapes)}, expected images of the same height and width")
    return made, written


def add(n: int, parts: int = 2) -> Sum:
    """The sum of `parts` stacked vectors of width n, [I … I]: what follows a Stack in a residual
    block.

    >>> add(2).value(np.array([[1.0, 2.0, 10.0, 20.0]]))
    array([[11., 22.]])
    """
    return Sum(n, parts)


def _axes(shape: Sequence[int], padding: int | Pair) -> Pair:
    """The padding of a pooling, the same on both sides of an axis, as (of height, of width)."""
    return pair("padding", padding, len(shape) - 1, 0, 0)


def _strides(shape: Sequence[int], size: int | Pair, stride: int | Pair | None) -> Pair:
    name, given = ("size", size) if stride is None else ("stride", stride)
    return pair(name, given, len(shape) - 1)


def _grids(
    shape: Sequence[int],
    size: int | Pair,
    stride: int | Pair | None,
    padding: int | Pair,
    dilation: int | Pair,
    ceil_mode: bool,
) -> list[np.ndarray]:
    """Of the height and of the width the pixels (windows, taps) of the windows of a pooling, −1 in
    the padding.
    """
    channels, *sides = image(shape)
    axes, ceil = len(shape) - 1, flag("ceil_mode", ceil_mode)
    sizes, dilations = pair("size", size, axes), pair("dilation", dilation, axes)
    strides, pads = _strides(shape, size, stride), _axes(shape, padding)
    if any(2 * p > k for p, k in zip(pads, sizes)):
        raise ValueError(f"padding={brief(padding)} must be at most half of size={brief(size)}")
    found = grids(sides, sizes, strides, [(p, p) for p in pads], dilations, ceil)
    room("size", size, channels * found[0].size * found[1].size)
    return found


def _even(shape: Sequence[int], output_size: int | Pair) -> list[list[Pair]]:
    """Of each axis where the windows of an adaptive pooling begin and end."""
    channels, *sides = image(shape)
    counts = pair("output_size", output_size, len(shape) - 1)
    room("output_size", output_size, channels * math.prod(counts) + sum(counts) + sum(sides))
    return [[(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(sides, counts)]


def _gather(index: np.ndarray, n: int) -> sp.sparse.csr_array:
    """The matrix (len(index), n) that reads coordinate index[i] at i, and 0 where it is −1."""
    inside = np.nonzero(index >= 0)[0]
    entries = (np.ones(len(inside)), (inside, index[inside]))
    return sp.sparse.csr_array(entries, shape=(len(index), n))
