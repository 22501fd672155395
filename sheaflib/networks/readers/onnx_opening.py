"""A file of ONNX opened: its model, the constants in it, and what it says of its input."""

from __future__ import annotations

import os
from typing import Any, Iterable

import numpy as np

from sheaflib.networks.readers.views import check_size, size
from sheaflib.support.extras import needs

with needs("reading an ONNX file", "onnx"):
    import onnx
    from onnx import external_data_helper, helper, inliner, numpy_helper

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
KINDS = onnx.TensorProto.DataType.values()
MOST_NODES = 100_000  # that functions of a file may become


def opened(model: Any) -> Any:
    """An onnx.ModelProto of one's own, of a path, of bytes, or of another one, with its functions
    written out.
    """
    if isinstance(model, (str, os.PathLike)):
        path = os.fspath(model)
        model = onnx.load(path, format="protobuf", load_external_data=False)
        try:
            external_data_helper.load_external_data_for_model(model, os.path.dirname(path) or ".")
        except Exception as error:  # of the file system, of the onnx package, of NumPy
            raise ValueError(
                f"constants that lie in another file cannot be read: {error}"
            ) from error
    elif isinstance(model, (bytes, bytearray, memoryview)):
        model = onnx.load_model_from_string(bytes(model))
    elif isinstance(model, onnx.ModelProto):
        given, model = model, onnx.ModelProto()
        model.CopyFrom(given)
    if not isinstance(model, onnx.ModelProto) or not model.HasField("graph"):
        raise ValueError("it holds no model of ONNX")
    if not model.functions:
        return model
    check_functions(model)
    return inliner.inline_local_functions(model)


def check_functions(model: Any) -> None:
    """Raise ValueError where the functions of a model call themselves, or become too many nodes."""
    bodies = {(body.domain, body.name): body for body in model.functions}
    counts: dict[tuple[str, str], float] = {}

    def count(nodes: Iterable, within: tuple) -> float:
        total = 0.0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in within:
                raise ValueError(f"its function {node.op_type!r} calls itself")
            if key in bodies and key not in counts:
                if len(within) > 100:
                    raise ValueError("its functions call one another more than 100 deep")
                counts[key] = count(bodies[key].node, (*within, key))
            total += counts.get(key, 1.0)
            total += sum(count(a.g.node, within) for a in node.attribute if a.HasField("g"))
        return total

    if count(model.graph.node, ()) > MOST_NODES:
        raise ValueError(f"its functions make more than {MOST_NODES} nodes")


def attribute(entry: Any) -> Any:
    """The value of an attribute; ValueError for a graph, and for a constant in another file."""
    if entry.type in (entry.GRAPH, entry.GRAPHS):
        raise ValueError("it holds a graph of its own, which is not read")
    if entry.type == entry.TENSOR:
        check_inside(entry.t)
    return helper.get_attribute_value(entry)


def array(tensor: Any) -> np.ndarray:
    """A constant of the file, which holds no NaN."""
    check_inside(tensor)
    try:
        value = numpy_helper.to_array(tensor)
    except Exception as error:  # of a type or a shape that does not fit
        raise ValueError(f"the constant {tensor.name!r} cannot be read: {error}") from error
    if value.dtype.kind == "f" and np.isnan(value).any():
        raise ValueError(f"the constant {tensor.name!r} holds NaN")
    return value


def check_inside(tensor: Any) -> None:
    """Raise ValueError for a constant whose numbers lie in another file."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(
            f"the numbers of the constant {tensor.name!r} lie in another file: pass the path of the"
            " model"
        )


def float_type(value: Any) -> np.dtype:
    """The type of the numbers of an input; ValueError where they are no floats."""
    kind = value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else 0
    if kind not in FLOATS:
        names = ", ".join(onnx.TensorProto.DataType.Name(one).lower() for one in FLOATS)
        found = onnx.TensorProto.DataType.Name(kind).lower() if kind in KINDS else "unknown"
        raise ValueError(
            f"the input {value.name!r} is of type {found}, expected a tensor of {names}"
        )
    return helper.tensor_dtype_to_np_dtype(kind)


def input_shape(value: Any, example: tuple[int, ...] | None) -> tuple[tuple[int, ...], bool]:
    """The shape of the input with which the model is traced, and whether the number of samples is
    free. The first axis is that of the samples. Where it is free the model is traced with two.

    Raises ValueError for a size that neither the file nor an example says.
    """
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise ValueError(f"the file does not say the shape of the input {value.name!r}")
    sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if not sides:
        raise ValueError(f"the input {value.name!r} is a single number, expected (samples, …)")
    if example is not None and len(example) != len(sides):
        raise ValueError(
            f"example has shape {example}, expected {len(sides)} axes as the model's input has"
        )
    free = sides[0] <= 0
    whole = [2 if free else sides[0]]
    for axis, side in enumerate(sides[1:], start=1):
        if side <= 0 and example is None:
            raise ValueError(
                f"the file leaves axis {axis} of the input {value.name!r} open: pass example=, an"
                " array of a batch of inputs"
            )
        if side > 0 and example is not None and example[axis] != side:
            raise ValueError(f"example has shape {example}, expected {side} at axis {axis}")
        whole.append(side if side > 0 or example is None else example[axis])
    if min(whole) < 1:
        raise ValueError(f"the input {value.name!r} has the shape {tuple(whole)}")
    check_size(size(tuple(whole)))
    return tuple(whole), free
