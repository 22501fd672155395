"""How many pixels the scales of Resize and Upsample make.

A scale is a float32, and so runtimes multiply by it: 0.7 makes 7 pixels of 10, though the float32
nearest to 0.7 lies below it. The reference evaluator of ONNX multiplies in float64. With
align_corners the pixels alone count where the scale makes a whole number of them. Where it does
not, ONNX says one thing and its own tests another, and runtimes differ.
"""

from __future__ import annotations

import math
from typing import Iterable, Iterator, Sequence

import numpy as np


def pixels(n: int, scale: float) -> tuple[int, bool]:
    """How many pixels a scale makes of n, rounded down, and whether it makes a whole number of them
    up to the rounding of float32.

    >>> pixels(10, np.float32(0.7)), pixels(9, np.float32(0.7))
    ((7, True), (6, False))
    """
    many = n * float(scale)
    if not math.isfinite(many) or many < 0:
        raise ValueError(f"it has the scale {scale}, expected a positive number")
    near = round(many)
    whole = abs(many - near) <= np.finfo(np.float32).eps * near
    return (near, True) if whole else (math.floor(many), False)


def one_axis_each(
    shape: Sequence[int], scales: Iterable[float], axes: Iterable[int], aligned: bool
) -> Iterator[tuple[np.ndarray | None, np.ndarray | None]]:
    """The inputs (scales, sizes) of a Resize of each axis after the other, one of the two None.

    aligned: whether the corners are.
    """
    sides = list(shape)
    for axis, scale in zip(axes, scales):
        count, whole = pixels(sides[axis], scale)
        check_aligned(sides[axis], scale, whole, aligned)
        before, sides[axis] = sides[axis], count
        if not whole:
            given = np.ones(len(sides))
            given[axis] = scale
            yield given, None
        elif count != before:
            yield None, np.array(sides)


def check_aligned(n: int, scale: float, whole: bool, aligned: bool) -> None:
    """Raise ValueError where aligned corners do not say which pixels are meant."""
    if aligned and not whole:
        raise ValueError(
            f"with align_corners its scale {scale:g} makes no whole number of pixels of {n}, for"
            " which runtimes differ: expected sizes"
        )
