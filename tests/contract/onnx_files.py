"""Files of ONNX that are sound, and changes that damage them."""

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


def model(nodes, constants, shape, functions=(), opset=18):
    """The bytes of a model with one input "x" and the output "y"."""
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    made = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
    return made.SerializeToString()


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


node = helper.make_node
BRANCHES = [
    helper.make_graph(
        [node(name, ["z"], ["v"])], name, [], [helper.make_empty_tensor_value_info("v")]
    )
    for name in ("Relu", "Abs")
]
TWICE = helper.make_function(
    *("own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])]), [helper.make_opsetid("", 18)]
)
WHOLE = {k: np.array(v, dtype=np.int64) for k, v in {"one": [1], "two": [2], "zero": [0]}.items()}
SOUND = {
    "a convolutional network": model(
        [
            node("Pad", ["x", "pads"], ["p"]),
            node(
                "Conv", ["p", "w", "b"], ["c"], strides=[1, 1], dilations=[1, 1], group=1, name="c"
            ),
            node("BatchNormalization", ["c", "g", "s", "m", "v"], ["n"], epsilon=1e-3),
            node("Clip", ["n", "low", "high"], ["k"]),
            node("MaxPool", ["k"], ["q"], kernel_shape=[2, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
            node(
                "AveragePool", ["k"], ["r"], kernel_shape=[2, 2], strides=[2, 2], pads=[1, 0, 1, 0]
            ),
            node("Concat", ["q", "r"], ["d"], axis=1),
            node("Resize", ["d", "", "scales"], ["e"], mode="nearest"),
            node("Shape", ["e"], ["f"], start=0, end=1),
            node("Concat", ["f", "minus"], ["shape"], axis=0),
            node("Reshape", ["e", "shape"], ["h"]),
            node("Gemm", ["h", "W", "B"], ["z"], transB=1),
            node("Softmax", ["z"], ["y"], axis=1),
        ],
        {
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], dtype=np.int64),
            "w": floats(2, 1, 3, 3),
            "b": floats(2),
            **{name: np.abs(floats(2)) for name in "gsmv"},
            "low": np.float32(-1),
            "high": np.float32(1),
            "scales": np.array([1, 1, 2, 1], dtype=np.float32),
            "minus": np.array([-1], dtype=np.int64),
            "W": floats(3, 4 * 6 * 2),
            "B": floats(3),
        },
        ["samples", 1, 4, 4],
    ),
    "moves": model(
        [
            node("Transpose", ["x"], ["a"], perm=[0, 2, 1]),
            node("Slice", ["a", "zero", "two", "one"], ["b"]),
            node("Split", ["x"], ["c", "c2"], axis=1, num_outputs=2),
            node("Gather", ["c", "two"], ["d"], axis=2),
            node("Expand", ["d", "wide"], ["e"]),
            node("Tile", ["e", "tiles"], ["f"]),
            node("ReduceMean", ["f", "two"], ["h"], keepdims=1),
            node("Flatten", ["b"], ["i"]),
            node("Flatten", ["h"], ["j"]),
            node("Unsqueeze", ["j", "one"], ["k"]),
            node("Squeeze", ["k", "one"], ["l"]),
            node("ConstantOfShape", ["two"], ["m"]),
            node("MatMul", ["i", "W"], ["n"]),
            node("Concat", ["n", "l"], ["o"], axis=1),
            node("Where", ["which", "o", "m0"], ["y"]),
        ],
        {
            **WHOLE,
            "wide": np.array([2, 1, 3], dtype=np.int64),
            "tiles": np.array([1, 2, 1], dtype=np.int64),
            "W": floats(4, 2),
            "which": np.array([True, False, True, True]),
            "m0": np.float32(0.5),
        },
        [2, 2, 4],
    ),
    "branches": model(
        [
            node("Gemm", ["x", "W"], ["z"], name="first"),
            node("If", ["yes"], ["u"], then_branch=BRANCHES[0], else_branch=BRANCHES[1]),
            node("Twice", ["u"], ["t"], domain="own"),
            node("PRelu", ["t", "slope"], ["s"]),
            node("Constant", [], ["c"], value=numpy_helper.from_array(floats(1, 3))),
            node("Mul", ["s", "c"], ["m"]),
            node("Sub", ["m", "z"], ["r"]),
            node("LeakyRelu", ["r"], ["q"], alpha=0.1),
            node("Max", ["q", "m"], ["y"]),
        ],
        {"W": floats(4, 3), "yes": np.array(True), "slope": floats(3)},
        ["samples", 4],
        [TWICE],
    ),
}


# changes of a file's bytes, and of what they mean
# --------------------------------------------------------------------------------------------------

NUMBERS = (0, 1, 2, 3, 5, -1, -2, -7, 7, 100, 2**16, 2**31 - 1, 2**40, 2**62, -(2**63))
REALS = (0.0, -1.0, 1e38, -1e38, float("nan"), float("inf"), 1e-45)


def bytes_changed(rng, content):
    """A file with bytes flipped, cut off, left out, or taken from another file."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        kind, place = rng.choice(["flip", "flip", "cut", "leave out", "splice"]), 0
        if content:
            place = rng.randrange(len(content))
        if kind == "flip" and content:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del content[place:]
        elif kind == "leave out":
            del content[place : place + rng.randint(1, 9)]
        elif kind == "splice":
            other = rng.choice(list(SOUND.values()))
            start = rng.randrange(len(other))
            content[place:place] = other[start : start + rng.randint(1, 40)]
    return bytes(content)


def messages(message):
    """A message of protobuf and all that stand in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if not is_list(field) else value:
                yield from messages(inner)


def is_list(field):
    return hasattr(field, "is_repeated") and field.is_repeated


def meaning_changed(rng, proto):
    """Change a few fields of a model: a number, a name, an array, an entry of a list."""
    for _ in range(rng.randint(1, 2)):
        held = list(messages(proto))
        names = [name for node in proto.graph.node for name in (*node.input, *node.output)]
        message = rng.choice(held)
        fields = [field for field, _ in message.ListFields()] or list(message.DESCRIPTOR.fields)
        if rng.random() < 0.2:
            fields = list(message.DESCRIPTOR.fields)
        field = rng.choice(fields)
        if is_list(field):
            change_list(rng, getattr(message, field.name), field, names)
        elif field.message_type is not None:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, junk(rng, field, getattr(message, field.name), names))


def change_list(rng, entries, field, names):
    """Leave out, repeat, exchange or change an entry."""
    kind = rng.choice(["leave out", "repeat", "exchange", "change", "change"])
    if not entries:
        if field.message_type is None:
            entries.append(junk(rng, field, None, names))
        return
    place, other = rng.randrange(len(entries)), rng.randrange(len(entries))
    if kind == "leave out":
        del entries[place]
    elif field.message_type is not None:
        copy = type(entries[place])()
        copy.CopyFrom(entries[place])
        if kind == "exchange":  # also an order in which a node reads what a later one writes
            entries[place].CopyFrom(entries[other])
            entries[other].CopyFrom(copy)
        else:
            entries.append(copy)
    elif kind == "repeat":
        entries.append(entries[place])
    else:
        entries[place] = junk(rng, field, entries[place], names)


def junk(rng, field, value, names):
    """Another value for a field of numbers, text or bytes."""
    kind = field.cpp_type
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(REALS)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice([number.number for number in field.enum_type.values])
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            given = value or b""
            nans = np.full(len(given) // 4, np.nan, dtype=np.float32).tobytes()
            return rng.choice([b"", given[:-1], given + b"1234", nans, b"SAME_UPPER", b"linear"])
        other = ["", "x", "y", "Relu", "Tanh", "Concat", "Tile", "Expand", "Loop", "location", "/"]
        return rng.choice([*other, *names])
    if kind == FieldDescriptor.CPPTYPE_INT32:
        return rng.choice([n for n in NUMBERS if abs(n) < 2**31])
    if kind == FieldDescriptor.CPPTYPE_UINT64:
        return abs(rng.choice(NUMBERS))
    return rng.choice(NUMBERS)
