"""Layers that are operations in disguise: each function builds an `Affine` or a `MaxPool` on
flattened images.

An image of shape (channels, height, width) is flattened in C order, so a "flatten" layer is no
layer at all.
"""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.affine import Affine
from sheaflib.networks.selection import MaxPool
from sheaflib.support.checks import brief, positive, real_array, room, whole

Shape = tuple[int, int, int]


def convolution(
    kernel: ArrayLike,
    shape: Shape,
    bias: ArrayLike | None = None,
    stride: int = 1,
    padding: int = 0,
) -> tuple[Affine, Shape]:
    """A 2-D convolution (cross-correlation, as in deep learning) as a sparse Affine, and the shape
    it writes.

    kernel (c_out, c_in, h, w); shape (c_in, H, W) of what it reads; bias (c_out,). Raises
    ValueError when they do not fit, and for a kernel of groups, which reads fewer channels.

    >>> conv, shape = convolution(np.ones((1, 1, 2, 2)), (1, 3, 3))
    >>> shape, conv.value(np.ones((1, 9)))
    ((1, 2, 2), array([[4., 4., 4., 4.]]))
    """
    shape = _image(shape)
    kernel = _kernel(kernel, shape[0])
    c_out, _, h, w = kernel.shape
    windows, (height, width) = _windows("kernel", shape, (h, w), stride, padding)
    taps = windows.reshape(height * width, -1)  # input index (−1: padding) of every tap of a window
    inside = taps >= 0
    pixel, tap = np.nonzero(inside)
    rows = (np.arange(c_out)[:, None] * height * width + pixel).ravel()
    columns = np.tile(taps[inside], c_out)
    entries = kernel.reshape(c_out, -1)[:, tap].ravel()
    size = (c_out * height * width, math.prod(shape))
    weight = sp.sparse.csr_array((entries, (rows, columns)), shape=size)
    bias = np.zeros(c_out) if bias is None else real_array("bias", bias, (c_out,))
    return Affine(weight, np.repeat(bias, height * width)), (c_out, height, width)


def average_pool(shape: Shape, size: int, stride: int | None = None) -> tuple[Affine, Shape]:
    """The mean over size × size windows, channel by channel, as a sparse Affine, and the shape it
    writes.
    """
    pool, out = max_pool(shape, size, stride)
    n_out, k = pool.windows.shape
    entries = np.full(n_out * k, 1 / k)
    places = (np.repeat(np.arange(n_out), k), pool.windows.ravel())
    weight = sp.sparse.csr_array((entries, places), shape=(n_out, pool.n_in))
    return Affine(weight), out


def max_pool(shape: Shape, size: int, stride: int | None = None) -> tuple[MaxPool, Shape]:
    """The maximum over size × size windows, channel by channel, and the shape it writes; stride
    defaults to size.
    """
    channels, H, W = _image(shape)
    size = whole("size", size)
    windows, (height, width) = _windows(
        "size", (1, H, W), (size, size), size if stride is None else stride, 0
    )
    windows = windows.reshape(height * width, -1)
    offsets = np.arange(channels)[:, None, None] * H * W
    return MaxPool((offsets + windows).reshape(channels * height * width, -1), channels * H * W), (
        channels,
        height,
        width,
    )


def batch_norm(
    scale: ArrayLike,
    shift: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    eps: float = 1e-5,
    pixels: int = 1,
) -> Affine:
    """Batch normalisation in inference, scale·(a − mean)/√(variance + eps) + shift, as a diagonal
    Affine.

    scale, shift, mean, variance: (channels,); `pixels` = height · width repeats each channel over
    its image.
    """
    scale = real_array("scale", scale, (None,))
    if len(scale) == 0:
        raise ValueError("scale is empty, expected one number a channel")
    shift, mean, variance = (
        real_array(name, value, scale.shape)
        for name, value in (("shift", shift), ("mean", mean), ("variance", variance))
    )
    if (variance < 0).any():
        raise ValueError(f"variance must be ≥ 0, got {variance.min():g}")
    with np.errstate(over="ignore", invalid="ignore"):
        gain = scale / np.sqrt(variance + positive("eps", eps))
        bias = shift - gain * mean
    large = ~(np.isfinite(gain) & np.isfinite(bias))
    if large.any():
        raise ValueError(
            "scale/√(variance + eps), or its product with mean, is too large for float64 in"
            f" channel {large.argmax()}"
        )
    pixels = whole("pixels", pixels)
    room("pixels", pixels, len(gain) * pixels)
    return Affine(sp.sparse.diags_array(np.repeat(gain, pixels)).tocsr(), np.repeat(bias, pixels))


def add(n: int, parts: int = 2) -> Affine:
    """The sum of `parts` stacked vectors of width n, [I … I]: what follows a Stack in a residual
    block.
    """
    n, parts = whole("n", n), whole("parts", parts, 2)
    room("n", n, n)
    room("parts", parts, n * parts)
    return Affine(sp.sparse.hstack([sp.sparse.eye_array(n)] * parts).tocsr())


def _image(shape: Sequence[int]) -> Shape:
    """(channels, height, width), checked."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"shape={brief(shape)}, expected (channels, height, width)")
    channels, height, width = (whole("shape", n) for n in shape)
    room("shape", shape, channels * height * width)
    return channels, height, width


def _kernel(kernel: ArrayLike, c_in: int) -> np.ndarray:
    """The kernel as an array (c_out, c_in, h, w)."""
    kernel = real_array("kernel", kernel, (None,) * 4)
    c_out, read, h, w = kernel.shape
    if read != c_in or 0 in kernel.shape:
        hint = ", all ≥ 1" if 0 in kernel.shape else ""
        if 0 < read < c_in and c_in % read == 0:
            hint = (
                ": groups are not supported, write the kernel of"
                f" {c_in // read} groups as one of shape ({c_out}, {c_in}, {h}, {w}) that is 0"
                " between them"
            )
        raise ValueError(f"kernel has shape {kernel.shape}, expected (any, {c_in}, any, any){hint}")
    return kernel


def _windows(
    name: str, shape: Shape, size: tuple[int, int], stride: int, padding: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Input indices (height, width, c, h, w) of every window, −1 in the padding, and (height,
    width); the windows come from the argument `name`.
    """
    channels, H, W = shape
    stride, padding = whole("stride", stride), whole("padding", padding, 0)
    room("padding", padding, channels * (H + 2 * padding) * (W + 2 * padding))
    index = np.full((channels, H + 2 * padding, W + 2 * padding), -1, dtype=np.int64)
    index[:, padding : padding + H, padding : padding + W] = np.arange(channels * H * W).reshape(
        channels, H, W
    )
    if size[0] > index.shape[1] or size[1] > index.shape[2]:
        raise ValueError(
            f"{name}: the window {brief(size)} does not fit into an image of shape {shape}"
            f" with padding {padding}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(index, size, axis=(1, 2))[
        :, ::stride, ::stride
    ]
    return windows.transpose(1, 2, 0, 3, 4), windows.shape[1:3]
