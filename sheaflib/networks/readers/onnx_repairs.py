"""Operators of ONNX for its reference evaluator, in place of those that it computes wrongly or one
window after the other.

In version 1.23 of the onnx package batch normalisations of opset 9 to 13 take the mean of the
batch; pools shift their windows with ceil_mode and SAME_LOWER, leave out dilations with VALID, and
take no signals; transposed convolutions have one channel a group; Resize multiplies by its scales
in float64; a padding takes nothing away; a softmax of opset 9 to 12 is over one axis; Resize of
opset 10 and Upsample of opset 7 are missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sheaflib.networks.readers.onnx_scales import one_axis_each, pixels
from sheaflib.networks.readers.views import check_size
from sheaflib.support.extras import needs

with needs("reading an ONNX file", "onnx"):
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun
    from onnx.reference.ops import op_conv_transpose, op_resize


class BatchNormalization(OpRun):
    """In inference, whatever the momentum is; a model in training mode is refused."""

    op_domain = ""

    def _run(
        self,
        x: np.ndarray,
        scale: np.ndarray,
        shift: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        **attributes: Any,
    ) -> tuple:
        sides = (-1, *[1] * (x.ndim - 2))
        gain = scale / np.sqrt(variance + attributes["epsilon"])
        found = (x - mean.reshape(sides)) * gain.reshape(sides) + shift.reshape(sides)
        return (found.astype(x.dtype),)


class ConvTranspose(op_conv_transpose.ConvTranspose):
    """The groups one after the other."""

    op_domain = ""

    def _run(self, *inputs: Any, **attributes: Any) -> tuple:
        images, weight, bias = (*inputs, None)[:3]
        groups = attributes.pop("group", None) or 1
        biases = [None] * groups if bias is None else np.split(bias, groups)
        parts = [
            super(ConvTranspose, self)._run(x, w, b, group=1, **attributes)[0]
            for x, w, b in zip(np.split(images, groups, axis=1), np.split(weight, groups), biases)
        ]
        return (np.concatenate(parts, axis=1),)


class MaxPool(OpRun):
    """All windows at once; what lies outside the image is below everything in it."""

    op_domain = ""

    def _run(self, x: np.ndarray, **attributes: Any) -> tuple:
        taken = _windows(x, -np.inf, -np.inf, attributes)
        return (taken.max(axis=tuple(range(x.ndim, taken.ndim))),)


class AveragePool(OpRun):
    """All windows at once; what lies beyond the padding counts in no mean."""

    op_domain = ""

    def _run(self, x: np.ndarray, **attributes: Any) -> tuple:
        rim = 1.0 if attributes.get("count_include_pad") else 0.0
        counted = _windows(np.ones((1, 1, *x.shape[2:])), rim, 0.0, attributes)
        taken = _windows(x, 0.0, 0.0, attributes)
        inner = tuple(range(x.ndim, taken.ndim))
        return ((taken.sum(axis=inner) / counted.sum(axis=inner)).astype(x.dtype),)


class GlobalMaxPool(OpRun):
    """The largest number of every channel."""

    op_domain = ""

    def _run(self, x: np.ndarray) -> tuple:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class Pad(OpRun):
    """With pads below 0 too, which take a rim away."""

    op_domain = ""

    def _run(
        self,
        x: np.ndarray,
        pads: Any = None,
        value: Any = None,
        axes: Any = None,
        **attributes: Any,
    ) -> tuple:
        return (padded(x, pads, attributes.get("mode") or "constant", value, axes),)


class Resize(op_resize.Resize):
    """That of opset 10 too, which has no roi: to the nearest pixel, rounded down."""

    op_domain = ""

    def _run(self, *inputs: Any, **attributes: Any) -> tuple:
        images, second, *more = inputs
        if all(given is None for given in more):
            return (_enlarged(images, second),)
        scales, sizes = (*more, None)[:2]
        if scales is None or not len(scales):
            return super()._run(images, second, None, sizes, **attributes)
        aligned = attributes.get("coordinate_transformation_mode") == "align_corners"
        rank = images.ndim
        axes = [axis % rank for axis in attributes.pop("axes", None) or range(rank)]
        for by, to in one_axis_each(images.shape, scales, axes, aligned):
            (images,) = super()._run(images, second, by, to, **attributes)
        return (images,)


class Softmax(OpRun):
    """Before opset 13 over all axes from its axis on."""

    op_domain = ""

    def _run(self, x: np.ndarray, **_: Any) -> tuple:
        old = self.run_params["opsets"][""] < 13
        told = [entry.i for entry in self.onnx_node.attribute if entry.name == "axis"]
        first = (told or [1 if old else -1])[0] % x.ndim
        axes = tuple(range(first, x.ndim)) if old else first
        exponents = np.exp(x - x.max(axis=axes, keepdims=True))
        return (exponents / exponents.sum(axis=axes, keepdims=True),)


class LogSoftmax(Softmax):
    """The logarithm of it."""

    op_domain = ""

    def _run(self, x: np.ndarray, **_: Any) -> tuple:
        return (np.log(super()._run(x)[0]),)


class Upsample(OpRun):
    """To the nearest pixel, rounded down; in opset 7 its scales are an attribute."""

    op_domain = ""

    def _run(self, x: np.ndarray, scales: Any = None, **attributes: Any) -> tuple:
        return (_enlarged(x, scales),)


def padded(x: np.ndarray, pads: Any, mode: Any, value: Any, axes: Any) -> np.ndarray:
    """x with a rim of so many entries at both ends of each of the axes; what a pad below 0 says is
    taken away first.
    """
    count, cut, rim = 1.0, [slice(None)] * x.ndim, [(0, 0)] * x.ndim
    axes = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
    for axis, low, high in zip(axes, *np.array(pads, dtype=int).reshape(2, -1).tolist()):
        side = x.shape[axis]
        if min(low, 0) + min(high, 0) < -side or mode != "constant" and min(low, high) < 0:
            raise ValueError(
                f"its pads {(low, high)} at axis {axis} take away some of {side} entries, expected"
                " no more than there are, and mode='constant'"
            )
        cut[axis] = slice(max(0, -low), side + min(high, 0))
        rim[axis] = (max(low, 0), max(high, 0))
    x = x[tuple(cut)]
    for side, ends in zip(x.shape, rim):
        count *= side + sum(ends)
    check_size(count)
    if mode != "constant":
        return np.pad(x, rim, mode=mode)
    value = 0 if value is None else np.ravel(value)[0]
    return np.pad(x, rim, constant_values=value).astype(x.dtype)


def _enlarged(x: np.ndarray, scales: Any) -> np.ndarray:
    """Every axis times its scale."""
    for axis, scale in enumerate(scales):
        count, whole = pixels(x.shape[axis], scale)
        places = np.arange(count) * x.shape[axis] / count if whole else np.arange(count) / scale
        x = np.take(x, np.floor(places).astype(int), axis)
    return x


def _windows(x: np.ndarray, rim: float, beyond: float, attributes: dict) -> np.ndarray:
    """The windows of images (samples, channels, *sides): (samples, channels, *places, *taps).

    rim stands in the padding, beyond where a window reaches beyond it.
    """
    size, sides = attributes["kernel_shape"], x.shape[2:]
    count, auto = len(sides), attributes.get("auto_pad") or "NOTSET"
    given = [attributes.get(name) or [1] * count for name in ("strides", "dilations")]
    pads = attributes.get("pads") or [0] * (2 * count)
    inner, outer, places, steps = [(0, 0)] * 2, [(0, 0)] * 2, [], []
    for axis, (n, k, stride, dilation) in enumerate(zip(sides, size, *given)):
        span = dilation * (k - 1) + 1
        if auto.startswith("SAME"):
            windows = -(-n // stride)
            more = max(0, (windows - 1) * stride + span - n)
            before = more // 2 if auto == "SAME_UPPER" else more - more // 2
            after = more - before
        else:
            before, after = (0, 0) if auto == "VALID" else (pads[axis], pads[axis + count])
            free = n + before + after - span
            windows = (-(-free // stride) if attributes.get("ceil_mode") else free // stride) + 1
            windows -= (windows - 1) * stride >= n + before
        inner.append((before, after))
        outer.append((0, max(0, (windows - 1) * stride + span - n - before - after)))
        places.append(slice(None, windows * stride, stride))
        steps.append(slice(None, None, dilation))
    padded = np.pad(np.pad(x, inner, constant_values=rim), outer, constant_values=beyond)
    spans = [d * (k - 1) + 1 for k, d in zip(size, given[1])]
    taken = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, x.ndim)))
    found = taken[(slice(None), slice(None), *places, *steps)]
    check_size(found.size)
    return found


REPAIRED = [
    AveragePool,
    BatchNormalization,
    ConvTranspose,
    GlobalMaxPool,
    MaxPool,
    Pad,
    Resize,
    Softmax,
    LogSoftmax,
    Upsample,
]


def evaluator(model: onnx.ModelProto) -> ReferenceEvaluator:
    """The reference evaluator of a model."""
    return ReferenceEvaluator(model, new_ops=REPAIRED)
