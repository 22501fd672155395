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
from onnx import TensorProto, helper, numpy_helper

from sheaflib import read
from sheaflib.networks.readers.onnx_file import OPERATORS
from sheaflib.networks.readers.original import COARSE

FLOATS = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12, np.dtype(np.float16): COARSE}
# One reading of a case: what became of it, and the words of the refusal
Read = namedtuple("Read", "case operators outcome said")


@functools.cache
def cases():
    """The cases that hold an operator which the reader claims."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(action="ignore"):
        found = collect_testcases(None)
    return [case for case in found if operators(case)]


def operators(case):
    """The operators of a case that the reader claims."""
    return sorted({node.op_type for node in case.model.graph.node} & set(OPERATORS))


def models(case):
    """Pairs (model, input, output): every float input in turn, every output, in both ways."""
    inputs, outputs = case.data_sets[0]
    graph = case.model.graph
    if not all(isinstance(array, np.ndarray) for array in inputs):
        return
    for place, live in enumerate(inputs):
        if live.dtype not in FLOATS or live.size == 0:
            continue
        for wanted, value in zip(graph.output, outputs):
            if isinstance(value, np.ndarray) and value.dtype in FLOATS:
                for whole in (False, True):
                    yield alone(case, place, wanted.name, whole), live, value, whole


def alone(case, place, output, whole):
    """The model with this input alone and this output alone; the others become constants."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph, inputs = model.graph, case.data_sets[0][0]
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


def outcome(model, live, value, whole):
    """("passed", "") where the network gives the case's own output, ("refused", why), or ("wrong",
    how).
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            network = read(model)
    except ValueError as error:
        return ("wrong" if "fault of the reader" in str(error) else "refused"), str(error)
    batched = live.ndim > 1 and not whole
    x = live.reshape(len(live) if batched else 1, -1).astype(float)
    found = network(x)
    expected = np.asarray(value, dtype=float).reshape(len(x), -1)
    if any(node.op_type == "LogSoftmax" for node in model.graph.node):
        expected = np.exp(expected)
    if found.shape != expected.shape:
        return "wrong", f"{found.shape} for {expected.shape}"
    scale = np.abs(expected).max() or 1.0
    difference = float(np.abs(found - expected).max() / scale)
    # the file's own output comes of float32, whatever the reference evaluator has
    allowed = max(FLOATS[live.dtype], FLOATS[value.dtype], 1e-5)
    return ("passed", "") if difference <= allowed else ("wrong", f"differs by {difference:.1e}")


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
