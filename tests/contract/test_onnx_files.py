"""What a file of ONNX may say besides its operators: names, other files, functions, branches, and
the number of samples.
"""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import SOUND, model

from sheaflib import read

node = helper.make_node
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((3, 3)).astype(np.float32)
SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"


def dense(weight="W", name="", **metadata):
    """A model of one dense layer and a ReLU, whose weight and node bear these names."""
    first, last = node("MatMul", ["x", weight], ["z"], name=name), node("Relu", ["z"], ["y"])
    proto = onnx.load_model_from_string(model([first, last], {weight: WEIGHT}, ["n", 3]))
    for key, value in metadata.items():
        key = {"scopes": SCOPES, "classes": CLASSES}[key]
        proto.graph.node[0].metadata_props.add(key=key, value=value)
    return proto


@pytest.mark.parametrize(
    "proto, name",
    [
        (dense("block1.conv1.weight", "any"), "block1.conv1"),
        (dense(name="/layer1/layer1.0/conv1/MatMul"), "layer1.0.conv1"),
        (dense(name="/head/MatMul_3"), "head"),
        (dense(name="plain"), "plain"),
        (dense(), "matmul_z"),
        (
            dense(scopes="['', 'stem', 'linear']", classes="['M', 'torch.nn.modules.Linear', 'a']"),
            "stem",
        ),
        (
            dense(scopes="['', 'stem', 'linear']", classes="['M', 'Own', 'aten.linear']"),
            "stem.matmul",
        ),
        (dense(scopes="__import__('os')", classes="[", name="plain"), "plain"),
        (dense(scopes="[" * 10**5, classes="[]", name="plain"), "plain"),
    ],
)
def test_a_node_bears_the_name_that_its_author_knows(proto, name):
    assert read(proto).nodes[0].name == name


@pytest.mark.parametrize("samples", ["n", 1, 3, None])
def test_the_number_of_samples_may_be_free_one_fixed_or_none(samples):
    content = model(
        [node("MatMul", ["x", "W"], ["z"]), node("Relu", ["z"], ["y"])],
        {"W": WEIGHT},
        [3] if samples is None else [samples, 3],
    )
    x = RNG.standard_normal((5, 3))
    np.testing.assert_allclose(read(content)(x), np.maximum(x @ WEIGHT, 0), atol=1e-12)


def test_a_model_that_is_read_is_left_as_it_was():
    proto = onnx.load_model_from_string(SOUND["branches"])
    read(proto)
    assert proto.SerializeToString() == SOUND["branches"]


@pytest.mark.parametrize("yes, expected", [(True, [0.0, 2.0]), (False, [1.0, 2.0])])
def test_a_branch_is_chosen_by_a_constant(yes, expected):
    branches = [
        helper.make_graph([node(name, ["x"], ["v"])], name, [], [onnx.ValueInfoProto(name="v")])
        for name in ("Relu", "Abs")
    ]
    chosen = node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])
    content = model([chosen], {"yes": np.array(yes)}, ["n", 2])
    np.testing.assert_array_equal(read(content)([[-1.0, 2.0]]), [expected])


def test_a_branch_that_is_not_read_may_hold_anything():
    content = model([node("Tanh", ["x"], ["other"]), node("Relu", ["x"], ["y"])], {}, ["n", 2])
    proto = onnx.load_model_from_string(content)
    proto.graph.output.append(onnx.ValueInfoProto(name="other"))
    np.testing.assert_array_equal(read(proto, output="y")([[-1.0, 2.0]]), [[0.0, 2.0]])
    with pytest.raises(ValueError, match=r"Tanh 'tanh_other': it is not piecewise affine"):
        read(proto, output="other")
    with pytest.raises(ValueError, match=r"has the outputs y, other, expected one: pass output="):
        read(proto)


def outside(location):
    """A model whose weight lies in another file."""
    proto = dense()
    (tensor,) = [tensor for tensor in proto.graph.initializer if tensor.name == "W"]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return proto


def test_constants_may_lie_in_a_file_beside_the_model(tmp_path):
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(outside("weights.bin").SerializeToString())
    np.testing.assert_allclose(read(path)(np.eye(3)), np.maximum(WEIGHT, 0), atol=1e-12)


@pytest.mark.parametrize("location", ["none.bin", "../secret.bin", "/dev/zero", "", "."])
def test_no_other_file_is_read(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "model.onnx"
    path.write_bytes(outside(location).SerializeToString())
    with pytest.raises(ValueError, match="constants that lie in another file cannot be read"):
        read(path)


def test_bytes_have_no_other_file():
    with pytest.raises(ValueError, match="constant 'W' lie in another file: pass the path"):
        read(outside("weights.bin").SerializeToString())


def functions(*bodies):
    """A model that calls "f0" of these functions, each the calls that it makes."""
    made = [
        helper.make_function(
            *("own", f"f{k}", ["a"], ["b"]),
            [
                node(
                    name,
                    ["a" if n == 0 else f"v{n}"],
                    ["b" if n == len(body) - 1 else f"v{n + 1}"],
                    domain="own" if name != "Relu" else "",
                )
                for n, name in enumerate(body)
            ],
            [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)],
        )
        for k, body in enumerate(bodies)
    ]
    return model([node("f0", ["x"], ["y"], domain="own")], {}, ["n", 2], made)


def test_functions_are_written_out():
    network = read(functions(["f1", "f1"], ["Relu"]))
    np.testing.assert_array_equal(network([[-1.0, 2.0]]), [[0.0, 2.0]])


@pytest.mark.parametrize(
    "content, said",
    [
        (functions(["f0"]), "its function 'f0' calls itself"),
        (functions(["f1"], ["f0"]), "its function 'f0' calls itself"),
        (functions(*[[f"f{k + 1}"] * 2 for k in range(40)], ["Relu"]), "more than 100000 nodes"),
    ],
)
def test_functions_without_an_end_are_refused(content, said):
    with pytest.raises(ValueError, match=said):
        read(content)


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.onnx")


@pytest.mark.parametrize("operator", ["Expand", "Tile", "Concat", "Resize", "Pad"])
def test_no_memory_is_taken_for_what_a_file_only_claims(operator):
    """Each would make 10¹² numbers of a few."""
    steps = 40 if operator == "Concat" else 1
    nodes, given = [], ["c"]
    constants = {
        "Expand": np.array([10**6, 10**6, 1], dtype=np.int64),
        "Tile": np.array([1, 10**12], dtype=np.int64),
        "Resize": np.array([1, 1e12], dtype=np.float32),
        "Pad": np.array([0, 0, 0, 10**12], dtype=np.int64),
        "Concat": np.float32(0),
    }
    for step in range(steps):
        read_from, written = f"t{step}" if step else "x", f"t{step + 1}"
        if operator == "Concat":
            nodes.append(node("Concat", [read_from, read_from], [written], axis=1))
        else:
            more = ["", "c"] if operator == "Resize" else given
            nodes.append(node(operator, [read_from, *more], [written]))
    nodes.append(node("Relu", [f"t{steps}"], ["y"]))
    content = model(nodes, {"c": constants[operator]}, ["n", 2])
    with pytest.raises(ValueError, match=f"{operator} .*it makes a tensor of .* numbers"):
        read(content)


def test_a_constant_of_no_number_is_refused_by_name():
    proto = dense()
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHT * np.nan, "W"))
    with pytest.raises(ValueError, match="the constant 'W' holds NaN"):
        read(proto)
