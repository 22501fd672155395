"""What ONNX says of the windows of convolutions and pools, as the operations here say it."""

from __future__ import annotations

import numpy as np

from sheaflib.networks.readers.onnx_call import Call
from sheaflib.networks.readers.views import CONSTANT, View, check_size
from sheaflib.networks.windows import Pair


def axes(call: Call, name: str, count: int, default: int = 1) -> list[int]:
    """An attribute that holds one whole number an axis."""
    found = call.attribute(name) or [default] * count
    if len(found) != count:
        raise ValueError(f"{name}={found}, expected {count} numbers: one an axis of its images")
    return [int(number) for number in found]


def padding(
    call: Call, sides: list[int], size: list[int], strides: list[int], dilations: list[int]
) -> list[Pair]:
    """(before, after) of every axis, from `pads` or `auto_pad`."""
    count, auto = len(sides), call.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = [0] * (2 * count) if auto == "VALID" else axes(call, "pads", 2 * count, 0)
        return [(pads[i], pads[i + count]) for i in range(count)]
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad={auto!r} is unknown")
    found = []
    for n, k, s, d in zip(sides, size, strides, dilations):
        more = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
        ends = (more // 2, more - more // 2)
        found.append(ends if auto == "SAME_UPPER" else ends[::-1])
    return found


def check_windows(sides: list[int], size: list[int], pads: list[Pair]) -> None:
    """Raise ValueError where the taps of a pooling along an axis are more than this reader
    traces.
    """
    for n, k, ends in zip(sides, size, pads):
        check_size(float(n + sum(ends)) * k)


def trimmed(view: View, filling: float) -> tuple[View, list[Pair]]:
    """A tensor of images without rows and columns at its rim that hold this constant alone, and how
    many these are (before, after) on every axis: a padding of its own that a window reads.
    """
    one, constants = view.one, view.constants
    rim = one == CONSTANT
    if constants is not None:
        rim &= constants == filling
    elif filling != 0:
        rim = np.zeros(one.shape, dtype=bool)
    cut, pads = [slice(None)] * view.places.ndim, []
    for axis in range(1, one.ndim):
        others = tuple(k for k in range(one.ndim) if k != axis)
        inside = np.flatnonzero(~rim.all(axis=others))
        if len(inside) == 0:
            return view, [(0, 0)] * (one.ndim - 1)
        low, high = int(inside[0]), int(inside[-1]) + 1
        pads.append((low, one.shape[axis] - high))
        cut[view.places.ndim - one.ndim + axis] = slice(low, high)
    if not any(map(any, pads)):
        return view, pads
    fill = None if view.fill is None else view.fill[tuple(cut)]
    return View(view.sources, view.widths, view.places[tuple(cut)], view.batch, fill), pads
