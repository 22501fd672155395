"""ONNX's own node tests, and the same model in every version of the operators."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, defs, helper, numpy_helper, version_converter
from onnx_cases import node_tests, readings

from sheaflib import read
from sheaflib.networks.readers.onnx_file import OPERATORS

NEWEST = defs.onnx_opset_version()
# What a refusal begins with: an operator and its layer, or what of the model is meant
NAMED = r"[A-Z]\w+ '.*': |the (input|output|constant|model|network) |ONNX itself cannot compute "


def test_no_reading_is_wrong_and_every_operator_passes():
    counts = node_tests()
    assert [found for found in readings() if found.outcome == "wrong"] == []
    assert counts["wrong"] == 0 and counts["passed"] >= 650
    # the cases of Trilu are of whole numbers; Scaler is of another domain
    assert [name for name, passed in counts["operators"].items() if not passed] == [
        "Scaler",
        "Trilu",
    ]


def test_a_refusal_says_of_what():
    said = {found.said for found in readings() if found.outcome == "refused"}
    assert [text for text in said if not re.match(NAMED, text)] == []
    python = "NameError|UnboundLocalError|AttributeError|KeyError|IndexError|AssertionError"
    assert [text for text in said if re.search(python, text)] == []


def model_of(nodes, constants, shape, opset):
    """A model of one input and the output "y"."""
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


RNG = np.random.default_rng(0)
# Operators that have changed since opset 9, as they were then: attributes became inputs
CHAIN = model_of(
    [
        helper.make_node("Pad", ["input"], ["padded"], pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.5),
        helper.make_node("Conv", ["padded", "kernel"], ["drawn"], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["drawn", "g", "s", "m", "v"], ["normal"]),
        helper.make_node("Clip", ["normal"], ["clipped"], min=-0.5, max=1.0),
        helper.make_node("Dropout", ["clipped"], ["kept"], ratio=0.5),
        helper.make_node("MaxPool", ["kept"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("AveragePool", ["kept"], ["mean"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Split", ["pooled"], ["one", "other"], axis=1, split=[1, 1]),
        helper.make_node("Slice", ["mean"], ["sliced"], axes=[1], starts=[0], ends=[1]),
        helper.make_node("Sum", ["one", "other", "sliced"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum"], ["longer"], axes=[2]),
        helper.make_node("Squeeze", ["longer"], ["shorter"], axes=[2]),
        helper.make_node("ReduceSum", ["shorter"], ["rows"], axes=[2], keepdims=0),
        helper.make_node("ReduceMean", ["shorter"], ["columns"], axes=[3], keepdims=0),
        helper.make_node("ReduceMax", ["shorter"], ["most"], axes=[3], keepdims=0),
        helper.make_node("Concat", ["rows", "columns", "most"], ["all"], axis=2),
        helper.make_node("Flatten", ["all"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W", "b"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ],
    {
        "kernel": RNG.standard_normal((2, 1, 3, 3)),
        "g": [1.0, 0.5],
        "s": [0.1, 0.2],
        "m": [0.3, -0.2],
        "v": [1.5, 0.8],
        "W": RNG.standard_normal((3, 6)),
        "b": [0.1, 0.2, 0.3],
    },
    ["samples", 1, 4, 4],
    9,
)


@pytest.mark.parametrize("opset", range(9, NEWEST + 1))
def test_every_version_of_the_operators_is_read_alike(opset):
    model = CHAIN if opset == 9 else version_converter.convert_version(CHAIN, opset)
    assert model.opset_import[0].version == opset
    network, x = read(model), np.random.default_rng(1).standard_normal((20, 16))
    assert network.output.name == "softmax"
    np.testing.assert_allclose(network(x), read(CHAIN)(x), rtol=1e-12, atol=0)


@pytest.mark.parametrize("opset", (7, 9, 10))
def test_old_operators_that_enlarge_images_round_down(opset):
    scales = {"attribute": [1.0, 1.0, 2.0, 3.0]} if opset < 9 else {}
    more = {"scales": scales["attribute"]} if scales else {}
    inputs = ["input"] if scales else ["input", "scales"]
    name = "Upsample" if opset < 10 else "Resize"
    node = helper.make_node(name, inputs, ["y"], mode="nearest", **more)
    model = model_of([node], {"scales": [1.0, 1.0, 2.0, 3.0]}, ["samples", 1, 2, 2], opset)
    found = read(model)(np.arange(4.0)[None]).reshape(4, 6)
    np.testing.assert_array_equal(found, np.kron(np.arange(4.0).reshape(2, 2), np.ones((2, 3))))


def test_the_table_holds_operators_of_onnx_alone():
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    assert set(OPERATORS) <= known
