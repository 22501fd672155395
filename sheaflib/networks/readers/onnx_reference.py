"""The reference evaluator of ONNX: it computes constants, and moves arrays of places."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks.readers.views import check_size
from sheaflib.support.extras import needs

with needs("reading an ONNX file", "onnx"):
    import onnx
    from onnx import helper
    from onnx.reference import ReferenceEvaluator


# operators on images with windows, whose padding and strides say how much they write
WINDOWS = ("AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool")
# operators that numbers other than shapes tell how much to write, which no network makes weights by
UNBOUNDED = (
    "AffineGrid CenterCropPad Col2Im DFT ImageDecoder MaxRoiPool MaxUnpool MelWeightMatrix RoiAlign"
    " STFT TfIdfVectorizer"
).split()


def evaluate(
    operator: str,
    attributes: dict[str, Any],
    inputs: Sequence[np.ndarray | None],
    outputs: int,
    opset: int,
) -> list[np.ndarray]:
    """What one operator of ONNX writes for arrays; None stands for an input that is left out.

    Raises ValueError where it asks for an array that is too large to be held.
    """
    given = {id(array): array for array in inputs if array is not None}
    total = sum(array.size for array in given.values())
    check_room(operator, inputs, attributes)
    if operator in UNBOUNDED:
        raise ValueError("it is not covered for constants, since it may make them of any size")
    if (count := _grown(operator, inputs, attributes)) > total:
        check_size(count)
    names = ["" if array is None else f"in{place}" for place, array in enumerate(inputs)]
    feeds = {name: array for name, array in zip(names, inputs) if array is not None}
    node = helper.make_node(operator, names, [f"out{k}" for k in range(outputs)], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [onnx.ValueInfoProto(name=name) for name in feeds],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    found = list(ReferenceEvaluator(model).run(None, feeds))
    for value in found:
        if np.size(value) > total:
            check_size(np.size(value))
    return found


def check_room(
    operator: str, inputs: Sequence[np.ndarray | None], attributes: dict[str, Any]
) -> None:
    """Raise ValueError where an operator makes more numbers than a tensor may hold."""
    first, second = (*inputs, None, None)[:2]
    count = 0.0
    if operator == "ConstantOfShape" and first is not None:
        count = _product(first)
    elif operator == "Expand" and second is not None:
        count = _product(np.maximum(second, 1)) * (1 if first is None else first.size)
    elif operator == "Tile" and first is not None and second is not None:
        count = first.size * _product(second)
    elif operator == "Pad" and first is not None and second is not None:
        ends = np.asarray(second, dtype=float).reshape(2, -1)
        sides = np.array(first.shape, dtype=float)
        grown = ends.sum(axis=0) if len(ends[0]) == first.ndim else np.abs(ends).sum()
        count = float(np.abs(sides + grown).prod())
    elif operator == "Gather" and first is not None and second is not None:
        side = first.shape[attributes.get("axis", 0)] if first.ndim else 1
        count = first.size / max(side, 1) * second.size
    elif operator == "MatMul" and first is not None and second is not None:
        count = first.size / max(first.shape[-1:] or (1,)) * second.size
        count /= max(*second.shape[-2:-1], 1, 1)
    elif operator in ("Range", "OneHot", "HannWindow", "HammingWindow", "BlackmanWindow"):
        count = _told(operator, inputs)
    else:
        try:
            shapes = [array.shape for array in inputs if array is not None]
            count = float(np.prod(np.broadcast_shapes(*shapes), dtype=float))
        except ValueError:  # no operator that takes its inputs entry by entry
            count = 0.0
    if count > sum(array.size for array in inputs if array is not None):
        check_size(count)


def _grown(operator: str, inputs: Sequence[np.ndarray | None], attributes: dict[str, Any]) -> float:
    """How many numbers an operator holds at a time, where attributes or several inputs say so
    together; 0 for any other.
    """
    given = [array for array in inputs if array is not None]
    first, second = (*given, None, None)[:2]
    if operator == "Concat":
        return float(sum(array.size for array in given))
    if operator == "Gemm" and first is not None and second is not None:
        rows, columns = bool(attributes.get("transA")), not attributes.get("transB")
        return float(first.shape[rows]) * second.shape[columns]
    if operator == "Einsum":
        return _summed(attributes.get("equation", b""), given)
    if operator in WINDOWS and first is not None:
        return _windowed(operator, first, second, attributes)
    if operator in ("Resize", "Upsample") and first is not None:
        scales = [np.maximum(v, 1) for v in given[1:] if v.dtype.kind == "f" and v.size]
        sizes = [v for v in given[1:] if v.dtype.kind == "i"]
        grown = first.size * max(map(_product, scales), default=1.0)
        return max(grown, *map(_product, sizes)) if sizes else grown
    return 0.0


def _summed(equation: Any, given: Sequence[np.ndarray]) -> float:
    """How many numbers an Einsum writes."""
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    terms, arrow, written = text.replace(" ", "").partition("->")
    if "." in text:  # at most each number of an input by each one of the others
        return _product([array.size for array in given])
    sides = {
        letter: side
        for term, array in zip(terms.split(","), given)
        for letter, side in zip(term, array.shape)
    }
    return _product([sides.get(letter, 1) for letter in (written if arrow else sides)])


def _windowed(
    operator: str, first: np.ndarray, kernel: np.ndarray | None, attributes: dict[str, Any]
) -> float:
    """How many numbers the windows hold that an operator on images lays into them."""
    sides = np.array(first.shape[2:], dtype=float)
    shape = () if kernel is None else kernel.shape
    size = np.array(attributes.get("kernel_shape") or shape[2:], dtype=float)
    steps = attributes.get("strides") if operator == "ConvTranspose" else None
    ends = np.array(attributes.get("pads") or np.zeros(2 * len(sides)), dtype=float)
    grown = sides * np.array(steps or 1.0) + np.abs(ends).reshape(2, -1).sum(axis=0)
    if operator == "ConvTranspose":
        grown += size * np.array(attributes.get("dilations") or 1.0)
        grown += np.array(attributes.get("output_padding") or 0.0)
    channels = max(*first.shape[1:2], *shape[:2], 1)
    return len(first) * channels * float(grown.prod() * size.prod())


def _told(operator: str, inputs: Sequence[np.ndarray | None]) -> float:
    """How many numbers an operator writes that says so by another number than a shape."""
    given = [np.asarray(v, dtype=float) for v in inputs if v is not None and v.dtype.kind in "iuf"]
    if operator == "Range" and len(given) == 3:
        start, stop, step = (float(v.ravel()[0]) for v in given)
        return abs(stop - start) / abs(step) if step else float("inf")
    if operator == "OneHot" and len(given) > 1:
        return given[0].size * float(given[1].max(initial=0))
    return float(given[0].ravel()[0]) if given and given[0].size else 0.0


def _product(values: ArrayLike) -> float:
    return float(np.abs(np.asarray(values, dtype=float)).prod())
