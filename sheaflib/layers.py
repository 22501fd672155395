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
    """Make a convolution, which in deep learning is a cross-correlation.

    As a map of flattened images it is affine and sparse: one affine edge of the sheaf.

    Parameters
    ----------
    kernel : array_like, shape (c_out, c_in / groups, h, w)
        The kernel; (c_out, c_in / groups, k) for a signal.
    shape : sequence of int
        The shape of the image that is read, (c_in, height, width), or of the signal, (c_in,
        length).
    bias : array_like, shape (c_out,), optional
        One number for each channel that is written; zeros by default.
    stride : int or tuple of int, default 1
        The distance of neighbouring windows.
    padding : int, tuple or {"valid", "same"}, default 0
        How many zeros stand around the image: one whole number, one for each axis, or ((top,
        bottom), (left, right)). ``"valid"`` means none, and ``"same"`` as many as keep the sides of
        the image, which needs stride 1.
    dilation : int or tuple of int, default 1
        The distance of neighbouring taps of the kernel.
    groups : int, default 1
        Into how many groups the channels are split; each group is convolved by itself.

    Returns
    -------
    convolution : Convolution
        The operation.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import convolution
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
    """Make a transposed convolution: the adjoint of a convolution, plus a bias.

    Parameters
    ----------
    kernel : array_like, shape (c_in, c_out / groups, h, w)
        The kernel; (c_in, c_out / groups, k) for a signal.
    shape : sequence of int
        The shape of the image that is read, (c_in, height, width), or of the signal, (c_in,
        length).
    bias : array_like, shape (c_out,), optional
        One number for each channel that is written; zeros by default.
    stride : int or tuple of int, default 1
        The distance of neighbouring windows in the image that is written.
    padding : int or tuple, default 0
        The padding of the convolution whose adjoint it is: so many rows and columns are cut off
        from what is written. One whole number, one for each axis, or ((top, bottom), (left,
        right)).
    output_padding : int or tuple of int, default 0
        How many rows are added below, and columns on the right; less than the stride or the
        dilation.
    groups : int, default 1
        Into how many groups the channels are split.
    dilation : int or tuple of int, default 1
        The distance of neighbouring taps of the kernel.

    Returns
    -------
    transposed : TransposedConvolution
        The operation.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import transposed
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
    """Make an average pooling: the mean over windows, channel by channel.

    Parameters
    ----------
    shape : sequence of int
        The shape of the image that is read, (channels, height, width), or of the signal, (channels,
        length).
    size : int or tuple of int
        The size of a window.
    stride : int or tuple of int, optional
        The distance of neighbouring windows; the size of a window by default.
    padding : int or tuple of int, default 0
        How many zeros stand at both ends of each axis; at most half of the size of a window.
    ceil_mode : bool, default False
        Whether a last window may reach beyond the image and its padding; it is cut off there.
    count_include_pad : bool, default True
        Whether the zeros of the padding are counted in the mean.

    Returns
    -------
    pool : Separable
        The operation, which is affine.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import average_pool
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
    """Make a max-pooling: the maximum over windows, channel by channel.

    A tap in the padding repeats another tap of its window, so the padding never is the maximum.

    Parameters
    ----------
    shape : sequence of int
        The shape of the image that is read, (channels, height, width), or of the signal, (channels,
        length).
    size : int or tuple of int
        The size of a window.
    stride : int or tuple of int, optional
        The distance of neighbouring windows; the size of a window by default.
    padding : int or tuple of int, default 0
        How many rows and columns stand at both ends of each axis; at most half of the size of a
        window.
    dilation : int or tuple of int, default 1
        The distance of neighbouring taps of a window.
    ceil_mode : bool, default False
        Whether a last window may reach beyond the image and its padding.

    Returns
    -------
    pool : ImagePool
        The operation, a `sheaflib.MaxPool`.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import max_pool
    >>> pool, shape = max_pool((1, 2, 4), 2)
    >>> shape, pool.value(np.arange(8.0)[None])
    ((1, 1, 2), array([[5., 7.]]))
    """
    found = _grids(shape, size, stride, padding, dilation, ceil_mode)
    made = ImagePool(shape, *map(repeated, found))
    return made, made.written


def adaptive_average_pool(shape: Sequence[int], output_size: int | Pair) -> tuple[Separable, Shape]:
    """Make an average pooling over a given number of windows.

    The windows cover the image evenly: window i of m along an axis of n pixels reaches from pixel
    ⌊i n/m⌋ to before pixel ⌈(i + 1) n/m⌉.

    Parameters
    ----------
    shape : sequence of int
        The shape of the image that is read, (channels, height, width), or of the signal, (channels,
        length).
    output_size : int or tuple of int
        How many windows there are along every axis.

    Returns
    -------
    pool : Separable
        The operation, which is affine.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import adaptive_average_pool
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
    """Make a max-pooling over a given number of windows.

    The windows cover the image evenly, as those of `adaptive_average_pool` do.

    Parameters
    ----------
    shape : sequence of int
        The shape of the image that is read, (channels, height, width), or of the signal, (channels,
        length).
    output_size : int or tuple of int
        How many windows there are along every axis.

    Returns
    -------
    pool : ImagePool
        The operation, a `sheaflib.MaxPool`.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import adaptive_max_pool
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
    """Make the mean of each channel.

    Parameters
    ----------
    shape : sequence of int
        The shape of the image that is read, (channels, height, width), or of the signal, (channels,
        length).

    Returns
    -------
    pool : Separable
        The operation, which is affine.
    shape : tuple of int
        The shape of the image that it writes, (channels, 1, 1), or (channels, 1) for a signal.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import global_average_pool
    >>> global_average_pool((1, 2, 2))[0].value(np.array([[1.0, 2.0, 3.0, 6.0]]))
    array([[3.]])
    """
    return adaptive_average_pool(shape, 1)


def global_max_pool(shape: Sequence[int]) -> tuple[ImagePool, Shape]:
    """Make the maximum of each channel.

    Parameters
    ----------
    shape : sequence of int
        The shape of the image that is read, (channels, height, width), or of the signal, (channels,
        length).

    Returns
    -------
    pool : ImagePool
        The operation, a `sheaflib.MaxPool`.
    shape : tuple of int
        The shape of the image that it writes, (channels, 1, 1), or (channels, 1) for a signal.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import global_max_pool
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
    """Make batch normalisation as it is in inference.

    It is the diagonal affine map ``scale · (a − mean)/√(variance + eps) + shift``. Training may
    change scale and shift.

    Parameters
    ----------
    scale : array_like, shape (channels,)
        The factor of each channel.
    shift : array_like, shape (channels,)
        What is added to each channel.
    mean : array_like, shape (channels,)
        The mean of each channel.
    variance : array_like, shape (channels,)
        The variance of each channel.
    eps : float, default 1e-5
        What is added to the variances.
    pixels : int, default 1
        How many neighbouring coordinates a channel has: height · width for an image.

    Returns
    -------
    BatchNorm
        The operation.

    Raises
    ------
    ValueError
        If a variance is negative, or a number leaves the range of float64.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import batch_norm
    >>> batch_norm([2.0], [1.0], [3.0], [4.0], eps=1e-12).value(np.array([[5.0]])).round(6)
    array([[3.]])
    """
    return BatchNorm(scale, shift, mean, variance, eps, pixels)


def permutation(order: ArrayLike) -> Gather:
    """Make the map that writes coordinate ``order[i]`` of what it reads at place i.

    A transposed image and shuffled channels are such maps.

    Parameters
    ----------
    order : array_like of int, shape (n,)
        The numbers 0 … n − 1 in another order.

    Returns
    -------
    Gather
        The operation, which is affine.

    Raises
    ------
    ValueError
        If a number stands in `order` twice, or is not in 0 … n − 1.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import permutation
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
    """Make a padding: an image with more rows and columns around it.

    Parameters
    ----------
    shape : sequence of int
        The shape of the image that is read, (channels, height, width), or of the signal, (channels,
        length).
    padding : int or tuple
        How many rows and columns are added: one whole number, one for each axis, or ((top, bottom),
        (left, right)).
    mode : {"constant", "reflect", "replicate", "circular"}, default "constant"
        What stands there: zeros (``"constant"``), the image mirrored at its first and last pixel
        (``"reflect"``), these pixels repeated (``"replicate"``), or the image from its other end on
        (``"circular"``).

    Returns
    -------
    padded : Separable
        The operation, which is affine.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the image is too small for its padding, or the arguments do not fit together.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import pad
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
    """Make an upsampling that repeats every pixel along each axis (nearest neighbour).

    Parameters
    ----------
    shape : sequence of int
        The shape of the image that is read, (channels, height, width), or of the signal, (channels,
        length).
    scale_factor : int or tuple of int
        How often a pixel is repeated along each axis.

    Returns
    -------
    upsampled : Separable
        The operation, which is affine.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the arguments do not fit together; the message names the one that is wrong.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import upsample
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
    """Make a stack of images, one behind the other, channel on channel.

    Parameters
    ----------
    *shapes : sequence of int
        The shape of each image, (channels, height, width), or of each signal, (channels, length).

    Returns
    -------
    stack : Stack
        The operation.
    shape : tuple of int
        The shape of the image that it writes.

    Raises
    ------
    ValueError
        If the images do not all have the same height and width.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import concatenation
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
    """Make the sum of several stacked vectors.

    In a residual block it follows a `sheaflib.Stack`. Its matrix is ``[I … I]``.

    Parameters
    ----------
    n : int
        The width of each vector.
    parts : int, default 2
        How many vectors there are, at least two.

    Returns
    -------
    Sum
        The operation, which is affine.

    Raises
    ------
    ValueError
        If n is no positive whole number, or there are fewer than two parts.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.layers import add
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
