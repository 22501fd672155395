"""Operators of ONNX that move numbers and change none: the reference evaluator of ONNX itself does
the move, to an array of places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sheaflib.networks.readers.onnx_call import Call
from sheaflib.networks.readers.onnx_reference import evaluate
from sheaflib.networks.readers.views import CONSTANT, View, side_by_side

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
    """Pad: with a constant, by reflection, by the edge, or around."""
    view = call.view()
    mode = call.attribute("mode", "constant")
    pads = np.array(call.numbers("pads", 1), dtype=np.int64)
    value = call.numbers("value", 2, 0.0)
    value = float(np.ravel(value)[0])
    axes = call.constant(3)

    def done(array: np.ndarray, filling: np.ndarray) -> np.ndarray:
        inputs = [array, pads, filling if mode == "constant" else None, axes]
        return evaluate("Pad", {"mode": mode}, inputs, 1, 21)[0]

    places = done(view.places, np.array(CONSTANT))
    if value == 0 and view.fill is None:
        return moved(view, places, None)
    fill = np.zeros(view.shape) if view.fill is None else view.fill
    return moved(view, places, done(fill, np.array(value)))


def concat(call: Call) -> View:
    """Concat, of constants too."""
    tensors = [tensor for tensor in call.inputs if tensor is not None]
    views = [tensor for tensor in tensors if isinstance(tensor, View)]
    if any(view.head for view in views):
        raise ValueError(f"it reads what a {views[0].head} writes, expected that to be last")
    sources, widths, placed = side_by_side(views)
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
    axis = call.attribute("axis", 1)
    fill = np.concatenate(fills, axis) if filled else None
    return View(sources, widths, np.concatenate(places, axis), views[0].batch, fill)


def upsample(call: Call) -> View:
    """Upsample and Resize to the nearest pixel. Other modes compute, and are refused."""
    mode = call.attribute("mode", "nearest")
    if mode != "nearest":
        raise ValueError(f"its mode is {mode!r}, expected 'nearest'")
    view = call.view()
    attributes: dict = {"mode": "nearest"}
    inputs: list[Any]
    scales: Any
    if call.node.op_type == "Upsample" or call.opset < 11:  # both rounded down in old versions
        scales = np.array(call.numbers("scales", 1), dtype=np.float32)
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        sizes = np.floor(np.array(view.shape) * scales.astype(float))
        inputs = [None, scales, None]
    else:
        attributes |= call.attributes
        inputs = [None, call.given(2), call.given(3)]
        scales = np.ones(1) if inputs[1] is None else np.asarray(inputs[1], dtype=float)
        sizes = np.ones(1) if inputs[2] is None else np.asarray(inputs[2], dtype=float)
        sizes = sizes if inputs[2] is not None else np.floor(scales * view.shape[-len(scales) :])
    if sizes.prod() * max(1, view.batch) > 2**28:
        raise ValueError(f"it asks for {sizes.prod():g} numbers")

    def done(array: np.ndarray) -> np.ndarray:
        return evaluate("Resize", attributes, [array, *inputs], 1, 19)[0]

    return moved(view, np.rint(done(view.places)), None if view.fill is None else done(view.fill))


def cast(call: Call) -> View:
    """Cast and CastLike between float types: nothing changes but the rounding."""
    view = call.view()
    if call.node.op_type == "Cast" and call.attribute("to") not in (1, 10, 11, 16):
        raise ValueError("it turns numbers into another type than a float, which rounds them")
    return view


def dropout(call: Call) -> View:
    """Dropout in inference, which changes nothing."""
    training = call.constant(2)
    if training is not None and bool(np.ravel(training)[0]):
        raise ValueError("it is in training mode, where it is random: export in evaluation mode")
    return call.view()
