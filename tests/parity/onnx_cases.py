"""The node tests that the onnx package brings along, each read by `sheaflib.read`: one of its float
inputs stays the input of the network and the others become constants, each input in turn.

Every case is read in two ways. As it stands, the first axis of the input numbers the samples.
As a whole, the input is one sample, which the model is given as a vector and brings into shape
itself, so that an operator may act along every axis.
"""

import functools
import warnings
from collections import Counter, namedtuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sheaflib import read
from sheaflib.networks.readers.onnx_file import OPERATORS

FLOATS = (np.float16, np.float32, np.float64)
# One reading of a case: what became of it, and the words of the refusal
Read = namedtuple("Read", "case operators outcome said")


@functools.cache
def cases():
    """The cases that hold an operator which the reader claims. A function that is written out as
    other operators is left out where the function itself is not claimed, as attention.
    """
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(action="ignore"):
        found = collect_testcases(None)
    claimed = {case.name for case in found if operators(case)}
    return [case for case in found if {case.name, case.name.partition("_expanded")[0]} <= claimed]


def operators(case):
    """The operators of a case that the reader claims."""
    return sorted({node.op_type for node in case.model.graph.node} & set(OPERATORS))


def models(case):
    """Pairs (model, input, output): every float input in turn, every output, in both ways."""
    inputs, outputs = (list(map(array_of, values)) for values in case.data_sets[0])
    graph = case.model.graph
    if any(array is None for array in inputs):
        return  # lists of tensors, and tensors that may be missing
    for place, live in enumerate(inputs):
        if live.dtype not in FLOATS or live.size == 0:
            continue
        for wanted, value in zip(graph.output, outputs):
            if value is not None and value.dtype in FLOATS:
                for whole in (False, True):
                    model = alone(case.model, inputs, place, wanted.name, whole)
                    yield model, live, value, whole, (case.rtol, case.atol)


def array_of(value):
    """The array that a case gives as one, as a number, or in ONNX's own form; None for a list."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else None


def alone(given, inputs, place, output, whole):
    """The model with this input alone and this output alone; the others become constants."""
    model = onnx.ModelProto()
    model.CopyFrom(given)
    graph = model.graph
    live = graph.input[place]
    for value, array in zip(graph.input, inputs):
        if value.name != live.name:
            graph.initializer.append(numpy_helper.from_array(array, value.name))
    name, kind = live.name, live.type.tensor_type.elem_type
    shape = [int(n) for n in inputs[place].shape]
    del graph.input[:]
    if whole:
        graph.input.append(helper.make_tensor_value_info("whole", kind, [inputs[place].size]))
        shaped = helper.make_node("Reshape", ["whole", "whole.shape"], [name], name="whole")
        graph.node.insert(0, shaped)
        sides = np.array(shape, dtype=np.int64)
        graph.initializer.append(numpy_helper.from_array(sides, "whole.shape"))
    else:
        graph.input.append(helper.make_tensor_value_info(name, kind, shape))
    kept = [value for value in graph.output if value.name == output]
    del graph.output[:]
    graph.output.extend(kept)
    return model


def outcome(model, live, value, whole, close):
    """("passed", "") where the network gives the case's own output, as closely as the case asks
    for, ("refused", why), or ("wrong", how). `read` itself compares with the reference evaluator.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            network = read(model)
    except ValueError as error:
        return ("wrong" if "fault of the reader" in str(error) else "refused"), str(error)
    batched = live.ndim > 1 and not whole
    x = live.reshape(len(live) if batched else 1, -1).astype(float)
    expected = np.asarray(value, dtype=float).reshape(len(x), -1)
    finite = np.isfinite(x).all(axis=1) & np.isfinite(expected).all(axis=1)
    if not finite.any():  # a cast of infinities: `read` has tried other numbers
        return "passed", ""
    expected, found = expected[finite], network(x[finite])
    if any(node.op_type == "LogSoftmax" for node in model.graph.node):
        expected = np.exp(expected)
    if found.shape != expected.shape:
        return "wrong", f"{found.shape} for {expected.shape}"
    rtol, atol = close
    if np.allclose(found, expected, rtol, max(atol, rtol * np.abs(expected).max())):
        return "passed", ""
    return "wrong", f"differs by {np.abs(found - expected).max():.1e}"


@functools.cache
def readings():
    """Every reading of every case."""
    return [
        Read(case.name, operators(case), *outcome(*model))
        for case in cases()
        for model in models(case)
    ]


def node_tests():
    """How many readings passed, were refused by name, and were wrong; of how many cases; and the
    number of readings that passed of each operator which the reader claims.
    """
    counts = Counter(found.outcome for found in readings())
    passed = Counter(
        operator
        for found in readings()
        if found.outcome == "passed"
        for operator in found.operators
    )
    return {
        "cases": len({found.case for found in readings()}),
        "passed": counts["passed"],
        "refused": counts["refused"],
        "wrong": counts["wrong"],
        "operators": {operator: passed[operator] for operator in sorted(OPERATORS)},
    }
