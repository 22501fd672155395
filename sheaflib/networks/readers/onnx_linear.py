"""Linear operators of ONNX whose matrices are found by what they make of unit vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy as sp

from sheaflib.networks.readers.onnx_call import Call
from sheaflib.networks.readers.onnx_moves import upsample
from sheaflib.networks.readers.onnx_reference import evaluate
from sheaflib.networks.readers.tracing import image
from sheaflib.networks.readers.views import View, size
from sheaflib.networks.structured import Separable

MOST_ENTRIES = 2**22  # of a dense matrix
SHARED = ("mode", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside", "antialias")


def resize(call: Call) -> View:
    """Resize: to the nearest pixel it moves numbers, else it interpolates axis by axis."""
    if call.attribute("mode", "nearest") == "nearest":
        return upsample(call)
    if call.opset < 11:
        raise ValueError("its mode is linear in an opset before 11, expected 'nearest'")
    given = {name: call.attributes[name] for name in SHARED if name in call.attributes}
    if call.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise ValueError("it crops (tf_crop_and_resize), which is not read")
    if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("it keeps the ratio of the sides, which is not read")
    view = call.view()
    asked, told = _asked(call, len(view.shape))
    if any(told(axis, view.shape[axis]) != view.shape[axis] for axis in (0, 1)):
        raise ValueError("it changes the number of samples or of channels")
    shape = image(view)
    matrices = [_interpolation(n, asked(axis), given) for axis, n in enumerate(shape[1:], start=2)]
    made = Separable(shape, *([[[1.0]]] if len(matrices) == 1 else []), *matrices)
    return call.tracer.written(call.label, made, view, made.written)


def _asked(call: Call, rank: int) -> tuple[Any, Any]:
    """Functions of an axis: which scale or size it is asked for, as inputs of Resize, and which
    size that is.
    """
    scales, sizes = call.constant(2), call.constant(3)
    axes = [axis % rank for axis in call.attribute("axes", range(rank))]
    if scales is not None and scales.size:
        found = dict(zip(axes, np.asarray(scales, dtype=np.float32)))
        return (
            lambda axis: (np.array([found.get(axis, 1.0)], dtype=np.float32), None),
            lambda axis, n: math.floor(n * found.get(axis, 1.0)),
        )
    wanted = dict(zip(axes, np.asarray(sizes, dtype=np.int64)))
    return (lambda axis: (None, wanted.get(axis)), lambda axis, n: wanted.get(axis, n))


def _interpolation(n: int, asked: tuple[Any, Any], attributes: dict) -> sp.sparse.csr_array:
    """The matrix that interpolates along an axis of n pixels, asked for by a scale or a size."""
    scale, wanted = asked
    if scale is None and wanted is None:
        return sp.sparse.eye_array(n, format="csr")
    count = math.floor(n * float(scale[0])) if scale is not None else int(wanted)
    if count < 1 or n * count > MOST_ENTRIES:
        raise ValueError(f"it makes {count} pixels of {n}")
    sizes = None if wanted is None else np.array([wanted], dtype=np.int64)
    columns = [
        evaluate("Resize", attributes, [unit, None, scale, sizes], 1, 19)[0] for unit in np.eye(n)
    ]
    return sp.sparse.csr_array(np.stack(columns, axis=1))


def einsum(call: Call) -> View:
    """Einsum of one computed tensor and constants."""
    places = [k for k, tensor in enumerate(call.inputs) if isinstance(tensor, View)]
    if len(places) > 1:
        raise ValueError("it multiplies several computed tensors, as attention does")
    equation = call.attribute("equation").replace(" ", "")
    terms, arrow, written = equation.partition("->")
    sample, view = terms.split(",")[places[0]][:1], call.view(places[0])
    alone = arrow and sample.isalpha() and "." not in equation and terms.count(sample) == 1
    if not alone or written[:1] != sample or written.count(sample) > 1:
        raise ValueError(f"its equation {equation!r} does not keep the samples as first axis")
    shape = view.one.shape
    n = size(shape)
    operands: list[Any] = [
        call.constant(k) if k != places[0] else None for k in range(len(call.inputs))
    ]
    if n * n > MOST_ENTRIES:
        raise ValueError(f"it reads {n} numbers of a sample, expected at most 2048")
    operands[places[0]] = np.eye(n).reshape(n, *shape)
    found = np.einsum(equation, *operands)
    if found.size > MOST_ENTRIES:
        raise ValueError(f"its matrix has {found.size} entries")
    wide = call.tracer.affine(call.label, view, found.reshape(n, -1).T, None)
    reshaped = wide.places.reshape(view.batch, *found.shape[1:])
    return View(wide.sources, wide.widths, reshaped, view.batch)


def scaler(call: Call) -> View:
    """Scaler, of the domain ai.onnx.ml: (a − offset) scale for each feature."""
    scale = np.array(call.attribute("scale", [1.0]), dtype=float)
    offset = np.array(call.attribute("offset", [0.0]), dtype=float)
    return call.tracer.scaled(call.label, call.view(), scale, -offset * scale)
