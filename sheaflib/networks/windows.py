"""Where the windows of a convolution or of a pooling lie in an image, and what arguments say it.

An image has the shape (channels, height, width), a signal (channels, length): a signal is computed
with as an image of height 1. The windows lie on a grid: a row of it and a column of it say where a
window lies, so everything here is said of one axis at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np

from sheaflib.support.checks import MOST, brief, room, whole

Shape = tuple[int, ...]
Pair = tuple[int, int]


def image(shape: Sequence[int], name: str = "shape") -> tuple[int, int, int]:
    """(channels, height, width) of an image, or of a signal (channels, length) as one of height 1.

    Raises ValueError for anything else.
    """
    if not isinstance(shape, (tuple, list)) or len(shape) not in (2, 3):
        raise ValueError(
            f"{name}={brief(shape)}, expected (channels, height, width), or (channels, length)"
        )
    channels, *sides = (whole(name, n) for n in shape)
    room(name, shape, channels * math.prod(sides))
    height, width = sides if len(sides) == 2 else (1, sides[0])
    return channels, height, width


def like(shape: Sequence[int], channels: int, sides: Pair) -> Shape:
    """The shape of an image of such sides, or of a signal where `shape` is one."""
    return (channels, *sides) if len(shape) == 3 else (channels, sides[1])


def pair(name: str, value: Any, axes: int, least: int = 1, other: int = 1) -> Pair:
    """An argument that is one whole number, or one an axis: as (of height, of width).

    A signal has one axis, its width; `other` is then said of the height.
    """
    values = value if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes:
        expected = "(height, width)" if axes == 2 else "one in a tuple, as shape has one axis"
        raise ValueError(f"{name}={brief(value)}, expected one whole number or {expected}")
    numbers = [whole(name, n, least, MOST) for n in values]
    return (numbers[0], numbers[1]) if axes == 2 else (other, numbers[0])


def padding_of(
    value: Any, axes: int, size: Pair = (1, 1), stride: Pair = (1, 1), dilation: Pair = (1, 1)
) -> tuple[Pair, Pair]:
    """The argument `padding` as ((top, bottom), (left, right)).

    It is one number for all sides, one an axis, or (before, after) for an axis; or "valid", which
    means none, or "same", with which a convolution of stride 1 keeps the sides of the image.
    """
    if isinstance(value, str):
        if value == "valid":
            return (0, 0), (0, 0)
        if value != "same":
            raise ValueError(f"padding={brief(value)} is unknown, expected numbers, valid, same")
        if stride != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, got stride={stride}")
        more = [d * (k - 1) for d, k in zip(dilation, size)]
        return (more[0] // 2, more[0] - more[0] // 2), (more[1] // 2, more[1] - more[1] // 2)
    values = value if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes:
        raise ValueError(
            f"padding={brief(value)}, expected one whole number, or"
            + (
                " (height, width), or ((top, bottom), (left, right))"
                if axes == 2
                else " one in a tuple, or ((left, right),)"
            )
        )
    sides = []
    for side in values:
        ends = side if isinstance(side, (tuple, list)) else (side, side)
        if len(ends) != 2:
            raise ValueError(f"padding={brief(value)} holds {brief(side)}, expected two numbers")
        sides.append((whole("padding", ends[0], 0, MOST), whole("padding", ends[1], 0, MOST)))
    return (sides[0], sides[1]) if axes == 2 else ((0, 0), sides[0])


def positions(n: int, k: int, stride: int, padding: Pair, dilation: int, ceil: bool = False) -> int:
    """How many windows of k taps lie along an axis of n pixels; below 1 where none fits.

    With `ceil` the last one may reach beyond the padding, but begins inside the axis or before it.
    """
    left = n + sum(padding) - dilation * (k - 1) - 1
    if left < 0 and not ceil:
        return 0
    count = (-(-left // stride) if ceil else left // stride) + 1
    if ceil and (count - 1) * stride >= n + padding[0]:
        count -= 1
    return count


def taps(n: int, k: int, stride: int, before: int, dilation: int, count: int) -> np.ndarray:
    """The pixel (count, k) of each tap of `count` windows along an axis; −1 in the padding."""
    at = np.arange(count)[:, None] * stride - before + np.arange(k) * dilation
    return np.where((at >= 0) & (at < n), at, -1)


def grids(
    sides: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    ceil: bool,
) -> list[np.ndarray]:
    """Of each axis the pixels (windows, taps) of the windows of a pooling, −1 in the padding.

    Each argument has one entry an axis. Raises ValueError where no window fits, and where one lies
    in the padding alone.
    """
    found = []
    for n, k, s, p, d in zip(sides, size, stride, padding, dilation):
        count = max(positions(n, k, s, p, d, ceil), 0)
        grid = taps(n, k if count else 1, s, p[0], d, count)
        if count < 1 or (grid < 0).all(axis=1).any():
            raise ValueError(
                f"size: the window {brief(tuple(size))} does not fit into an image of sides"
                f" {tuple(sides)} with padding {tuple(padding)} and dilation {tuple(dilation)}"
            )
        found.append(grid)
    return found


@dataclass(frozen=True)
class Windows:
    """The windows of a convolution: of `size` taps, `count` of them, in an image of `sides`; each
    pair is (of height, of width), `before` is the padding above and on the left.
    """

    sides: Pair
    size: Pair
    stride: Pair
    before: Pair
    dilation: Pair
    count: Pair

    @classmethod
    def fit(
        cls,
        name: str,
        shape: Sequence[int],
        size: Pair,
        stride: Pair,
        padding: tuple[Pair, Pair],
        dilation: Pair,
    ) -> Windows:
        """All windows that fit into a padded image; ValueError where none does, which names the
        argument that says their size.
        """
        channels, *sides = image(shape)
        whole_sides = [n + sum(more) for n, more in zip(sides, padding)]
        room("padding", padding, channels * math.prod(whole_sides))
        room("dilation", dilation, math.prod(d * k for d, k in zip(dilation, size)))
        count = [
            positions(n, k, s, p, d)
            for n, k, s, p, d in zip(sides, size, stride, padding, dilation)
        ]
        if min(count) < 1:
            raise ValueError(
                f"{name}: the window {brief(size)} does not fit into an image of shape {shape}"
                f" with padding {padding} and dilation {dilation}"
            )
        before = (padding[0][0], padding[1][0])
        return cls((sides[0], sides[1]), size, stride, before, dilation, (count[0], count[1]))

    @property
    def extent(self) -> Pair:
        """The sides of the padded image as far as a window reads it."""
        height, width = (
            (m - 1) * s + (k - 1) * d + 1
            for m, k, s, d in zip(self.count, self.size, self.stride, self.dilation)
        )
        return height, width

    @property
    def inner(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Which part of the image is read, and where it lies in the padded image."""
        ends = [
            min(n, max(0, whole_side - p))
            for n, whole_side, p in zip(self.sides, self.extent, self.before)
        ]
        (h, w), (top, left) = ends, self.before
        return (slice(h), slice(w)), (slice(top, top + h), slice(left, left + w))

    def pixels(self) -> np.ndarray:
        """The pixel of every tap of every window, (windows, taps); −1 in the padding."""
        rows, columns = (
            taps(n, k, s, p, d, m)
            for n, k, s, p, d, m in zip(
                self.sides, self.size, self.stride, self.before, self.dilation, self.count
            )
        )
        at = rows[:, None, :, None] * self.sides[1] + columns[None, :, None, :]
        inside = (rows >= 0)[:, None, :, None] & (columns >= 0)[None, :, None, :]
        return np.where(inside, at, -1).reshape(math.prod(self.count), math.prod(self.size))
