"""Operators of ONNX that move numbers and change none: the reference evaluator of ONNX itself does
the move, to an array of places.
"""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from sheaflib.networks.readers.onnx_call import Call
from sheaflib.networks.readers.onnx_reference import evaluate
from sheaflib.networks.readers.onnx_repairs import padded
from sheaflib.networks.readers.onnx_scales import one_axis_each
from sheaflib.networks.readers.views import CONSTANT, View, check_size, side_by_side, size
from sheaflib.support.checks import brief

# operators that move the entries of their first input, whatever the other inputs say
MOVES = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)


# numbers of ONNX for the types of floats of NumPy
CAST_TO: dict[int, np.dtype] = {
    1: np.dtype(np.float32),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
}


def move(call: Call) -> list[View]:
    """What an operator of MOVES writes."""
    view = call.view()
    others = [call.constant(place) for place in range(1, len(call.inputs))]

    def done(array: np.ndarray) -> list[np.ndarray]:
        outputs, operator = len(call.node.output), call.node.op_type
        return evaluate(operator, call.attributes, [array, *others], outputs, call.opset)

    places = done(view.places)
    fills = [None] * len(places) if view.fill is None else done(view.fill)
    return [moved(view, at, fill) for at, fill in zip(places, fills)]


def moved(view: View, places: np.ndarray, fill: np.ndarray | None) -> View:
    """A view of the same stalks with other places. A head, as softmax, lasts only where the order
    of the entries stays.
    """
    made = View(view.sources, view.widths, places.astype(np.int64), view.batch, fill, view.head)
    if view.head and not np.array_equal(places.ravel(), view.places.ravel()):
        raise ValueError(f"it moves what a {view.head} writes, expected the {view.head} to be last")
    return made


def pad(call: Call) -> View:
    """Pad: with a constant, by reflection, by the edge, or around; pads below 0 take away."""
    view = call.view()
    mode = call.attribute("mode", "constant")
    pads = np.array(call.numbers("pads", 1), dtype=np.int64)
    value = call.numbers("value", 2, 0.0)
    value = float(np.ravel(value)[0])
    axes = call.constant(3)

    def done(array: np.ndarray, filling: float) -> np.ndarray:
        return padded(array, pads, mode, filling, axes)

    places = done(view.places, CONSTANT)
    if value == 0 and view.fill is None:
        return moved(view, places, None)
    fill = np.zeros(view.shape) if view.fill is None else view.fill
    return moved(view, places, done(fill, value))


def concat(call: Call) -> View:
    """Concat, of constants too."""
    axis = call.attribute("axis", 1)
    return _together(call.inputs, lambda arrays: np.concatenate(arrays, axis))


def where(call: Call) -> View:
    """Where, for a constant condition."""
    if isinstance(call.given(0), View):
        raise ValueError("it chooses by a computed tensor, which is not continuous")
    condition = call.constant(0)
    check_size(size(np.broadcast_shapes(*(t.shape for t in call.inputs if t is not None))))
    return _together(call.inputs[1:], lambda arrays: np.where(condition, *arrays))


def trilu(call: Call) -> View:
    """Trilu: what lies on one side of a diagonal stays, and 0 stands on the other."""
    view = call.view()
    ones = [np.ones(view.shape), call.constant(1)]
    kept = evaluate("Trilu", call.attributes, ones, 1, call.opset)[0] == 1
    return _together([view, np.zeros(())], lambda arrays: np.where(kept, *arrays))


def _together(tensors: Sequence, make: Callable[[list], np.ndarray]) -> View:
    """What a move makes of the places of several tensors, of which some may be constants."""
    views = [tensor for tensor in tensors if isinstance(tensor, View)]
    sources, widths, placed = side_by_side(views)
    check_size(sum(size(tensor.shape) for tensor in tensors))
    order = iter(placed)
    places, fills, filled = [], [], False
    for tensor in tensors:
        if isinstance(tensor, View):
            places.append(next(order))
            fills.append(np.zeros(tensor.shape) if tensor.fill is None else tensor.fill)
            filled = filled or tensor.fill is not None
        else:
            places.append(np.full(tensor.shape, CONSTANT))
            fills.append(tensor.astype(np.float64))
            filled = True
    return View(sources, widths, make(places), views[0].batch, make(fills) if filled else None)


def upsample(call: Call) -> View:
    """Upsample and Resize to the nearest pixel. Other modes compute, and are refused."""
    mode = call.attribute("mode", "nearest")
    if mode != "nearest":
        raise ValueError(f"its mode is {mode!r}, expected 'nearest'")
    if call.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise ValueError("it crops (tf_crop_and_resize), which is not read")
    view = call.view()
    rank = len(view.shape)
    attributes: dict = {"mode": "nearest"}
    scales: np.ndarray | None
    sizes: np.ndarray | None = None
    if call.node.op_type == "Upsample" or call.opset < 11:  # both rounded down in old versions
        scales = np.array(call.numbers("scales", 1), dtype=np.float32)
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if (scales < 1).any():
            raise ValueError(
                f"its scales are {brief(scales.tolist())}, expected none below 1: before opset 11"
                " ONNX does not say which pixels stay in a smaller image"
            )
    else:
        attributes |= call.attributes
        scales, sizes = call.constant(2), call.constant(3)
        scales = None if scales is None or scales.size == 0 else scales.astype(np.float32)
    given = call.attribute("axes", range(rank))
    axes = [axis % rank for axis in given if -rank <= axis < rank]
    told = scales if scales is not None else sizes
    if told is None or not len(given) == len(axes) == len(told):
        raise ValueError(
            f"it has the axes {brief(list(given))} and the scales or sizes"
            f" {brief(None if told is None else told.tolist())}, expected one an axis of {rank}"
        )
    factors = np.ones(rank)
    if scales is not None:
        factors[axes] = scales
    elif sizes is not None:
        factors[axes] = sizes / np.array(view.shape)[axes]
    if attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        factors[axes] = factors[axes].max()
    check_size(float((np.array(view.shape) * np.abs(factors)).prod()))

    steps: list = [(None, sizes)]
    if scales is not None:
        aligned = call.attribute("coordinate_transformation_mode") == "align_corners"
        steps = list(one_axis_each(view.shape, scales, axes, aligned))
        attributes.pop("axes", None)

    def done(array: np.ndarray) -> np.ndarray:
        for by, to in steps:
            array = evaluate("Resize", attributes, [array, None, by, to], 1, 19)[0]
        return array

    return moved(view, np.rint(done(view.places)), None if view.fill is None else done(view.fill))


def cast(call: Call) -> View:
    """Cast and CastLike between float types: nothing changes but the rounding."""
    return call.view()


def cast_type(call: Call) -> np.dtype:
    """The type of floats that a Cast or CastLike makes; ValueError for another type."""
    like = call.given(1)
    found: np.dtype
    if call.node.op_type == "CastLike":
        found = np.dtype(float) if isinstance(like, View) else np.asarray(like).dtype
    else:
        found = CAST_TO.get(call.attribute("to"), np.dtype(int))
    if found not in CAST_TO.values():
        raise ValueError("it turns numbers into another type than a float, which rounds them")
    return found


def dropout(call: Call) -> View:
    """Dropout in inference, which changes nothing."""
    training = call.constant(2)
    if training is not None and bool(np.ravel(training)[0]):
        raise ValueError("it is in training mode, where it is random: export in evaluation mode")
    return call.view()
