"""How many pixels the scales of Resize and Upsample make.

A scale is a float32, and so runtimes multiply by it: 0.7 makes 7 pixels of 10, though the float32
nearest to 0.7 lies below it. With align_corners the pixels alone count, and no scale. The reference
evaluator of ONNX computes both in float64.
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

    aligned: whether the corners are, so that sizes say all.
    """
    sides = list(shape)
    for axis, scale in zip(axes, scales):
        count, whole = pixels(sides[axis], scale)
        before, sides[axis] = sides[axis], count
        if whole or aligned:
            if count != before:
                yield None, np.array(sides)
        else:
            given = np.ones(len(sides))
            given[axis] = scale
            yield given, None
