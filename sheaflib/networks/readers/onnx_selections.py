"""Operators of ONNX with kinks, and the maps that may stand last."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sheaflib.networks.pooling import ImagePool, repeated
from sheaflib.networks.readers.onnx_affine import one_sample, reduced
from sheaflib.networks.readers.onnx_call import Call
from sheaflib.networks.readers.onnx_windows import axes, check_windows, padding, trimmed
from sheaflib.networks.readers.tracing import broadcast, image, stacked
from sheaflib.networks.readers.views import View
from sheaflib.networks.selection import Clamp, PReLU, ReLU
from sheaflib.networks.windows import grids


def relu(call: Call) -> View:
    """Relu."""
    return call.tracer.selection(call.label, call.view(), lambda view: ReLU(view.total))


def leaky(call: Call) -> View:
    """LeakyRelu."""
    slope = float(call.attribute("alpha", 0.01))
    return call.tracer.selection(call.label, call.view(), lambda view: ReLU(view.total, slope))


def absolute(call: Call) -> View:
    """Abs, a leaky ReLU of slope −1."""
    return call.tracer.selection(call.label, call.view(), lambda view: ReLU(view.total, -1.0))


def prelu(call: Call) -> View:
    """PRelu with a slope a channel, an entry, or one for all."""
    slope = one_sample([call.view()], call.constant(1), 1)

    def made(view: View) -> PReLU:
        slopes = view.in_order(slope)
        channels = view.one.shape[0] if view.one.ndim > 1 else len(slopes)
        parts = slopes.reshape(channels, -1)
        if (slopes == slopes[0]).all():
            return PReLU(view.total, slopes[0])
        shared = (parts == parts[:, :1]).all()
        return PReLU(view.total, parts[:, 0] if shared else slopes)

    return call.tracer.selection(call.label, call.view(), made)


def clip(call: Call) -> View:
    """Clip between two numbers, or on one side."""
    low = float(np.ravel(call.numbers("min", 1, -math.inf))[0])
    high = float(np.ravel(call.numbers("max", 2, math.inf))[0])
    low = -math.inf if low <= np.finfo(np.float32).min else low
    high = math.inf if high >= np.finfo(np.float32).max else high
    return clamped(call, call.view(), low, high)


def clamped(call: Call, view: View, low: float, high: float) -> View:
    """The entries between two bounds."""
    if low == -math.inf and high == math.inf:
        return view
    if not low < high:
        raise ValueError(f"its bounds are {low:g} and {high:g}, expected the first to be lower")
    return call.tracer.selection(call.label, view, lambda whole: Clamp(whole.total, low, high))


def hard_sigmoid(call: Call) -> View:
    """HardSigmoid, max(0, min(1, alpha a + beta))."""
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    inner = call.tracer.scaled(f"{call.label}.affine", call.view(), alpha, beta)
    return clamped(call, inner, 0.0, 1.0)


def maximum(call: Call, sign: float = 1.0) -> View:
    """Max of tensors and constants, entry by entry."""
    views = [tensor for tensor in call.inputs if isinstance(tensor, View)]
    constants = [
        one_sample(views, call.constant(place), place)
        for place, tensor in enumerate(call.inputs)
        if not isinstance(tensor, View)
    ]
    if not constants and len(views) == 1:
        return views[0]
    if len(views) == 1:
        return _above(call, views[0], np.asarray(_largest(constants, sign)), sign)
    shape = np.broadcast_shapes(*(view.one.shape for view in views))
    parts = [broadcast(_signed(call, view, sign), shape) for view in views]
    largest = _windowed(call, stacked(parts))
    if constants:
        largest = _above(call, largest, sign * np.asarray(_largest(constants, sign)), 1.0)
    return _signed(call, largest, sign)


def minimum(call: Call) -> View:
    """Min of tensors and constants, entry by entry."""
    return maximum(call, -1.0)


def _largest(constants: list[np.ndarray], sign: float) -> np.ndarray:
    """The largest of some constants, or the smallest for the sign −1."""
    found = constants[0]
    for other in constants[1:]:
        found = np.maximum(found, other) if sign > 0 else np.minimum(found, other)
    return found


def _signed(call: Call, view: View, sign: float) -> View:
    """sign · a."""
    if sign == 1:
        return view
    return call.tracer.scaled(f"{call.label}.negative", view, sign, 0.0)


def _above(call: Call, view: View, bound: np.ndarray, sign: float) -> View:
    """The larger of the entries and a constant, or the smaller for the sign −1."""
    if (bound == bound.ravel()[0]).all() and np.broadcast_shapes(
        bound.shape, view.one.shape
    ) == view.one.shape:
        one = float(bound.ravel()[0])
        return clamped(call, view, *((one, math.inf) if sign > 0 else (-math.inf, one)))
    moved = call.tracer.scaled(f"{call.label}.below", view, sign, -sign * bound)
    kinked = call.tracer.selection(call.label, moved, lambda whole: ReLU(whole.total))
    return call.tracer.scaled(f"{call.label}.above", kinked, sign, bound)


def _windowed(call: Call, view: View) -> View:
    """The largest entry along the last axis of a tensor."""
    one = view.one
    windows = np.arange(one.size).reshape(one.shape)
    return call.tracer.maximum(call.label, view, windows)


def max_pool(call: Call) -> View:
    """MaxPool in one or two dimensions. The padding never is the largest."""
    if len([name for name in call.node.output if name]) > 1:
        raise ValueError("it writes the places of the largest entries too")
    sizes = [int(n) for n in call.attribute("kernel_shape")]
    count = len(sizes)
    strides, dilations = axes(call, "strides", count), axes(call, "dilations", count)
    whole = call.view()
    sides = [int(n) for n in whole.one.shape[1:]]
    pads = padding(call, sides, sizes, strides, dilations)
    view, more = trimmed(whole, -math.inf)
    pads = [(p + before, q + after) for (p, q), (before, after) in zip(pads, more)]
    shape = image(view)
    check_windows(list(shape[1:]), sizes, pads)
    ceil = bool(call.attribute("ceil_mode", 0))
    found = grids(list(shape[1:]), sizes, strides, pads, dilations, ceil)
    made = ImagePool(shape, *([[[0]]] if count == 1 else []), *map(repeated, found))
    return call.tracer.written(call.label, made, view, made.written)


def global_max(call: Call) -> View:
    """GlobalMaxPool."""
    view = call.view()
    channels, *sides = view.one.shape
    flat = view.rearranged(None, (channels, math.prod(sides)))
    return _windowed(call, flat).rearranged(None, (channels, *[1] * len(sides)))


def reduce_max(call: Call, sign: float = 1.0) -> View:
    """ReduceMax over some axes or all."""
    ordered, _, shape = reduced(call)
    if ordered is None:
        return call.view()
    found = _windowed(call, _signed(call, ordered, sign)).rearranged(None, shape)
    return _signed(call, found, sign)


def reduce_min(call: Call) -> View:
    """ReduceMin over some axes or all."""
    return reduce_max(call, -1.0)


def softmax(call: Call) -> View:
    """Softmax or LogSoftmax over all numbers of a sample, as the last map of all."""
    view = call.view()
    rank = len(view.shape)
    axis = call.attribute("axis", 1 if call.opset < 13 else -1) % rank
    if axis < len(view.lead) and view.batch > 1:
        raise ValueError("it acts along the batch axis, which mixes the samples")
    rest = view.shape[axis:] if call.opset < 13 else (view.shape[axis],)
    if math.prod(rest) != view.one.size:
        raise ValueError(
            f"it acts on axis {axis} of a tensor of shape {view.shape}, expected all numbers of a"
            " sample: inside a network it is not piecewise affine"
        )
    log = call.node.op_type == "LogSoftmax"
    return replace(view, head="log-softmax" if log else "softmax")


def sigmoid(call: Call) -> View:
    """Sigmoid, as the last map of all."""
    return replace(call.view(), head="sigmoid")
