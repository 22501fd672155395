"""A saved network comes back whole: every operation, every name, to the last bit."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse
from hypothesis import given
from hypothesis import strategies as st
from network_files import LAYERS, NET, OLD, X, bytes_of, file_of, parts_of
from strategies import KINDS, networks

from sheaflib import Affine, Clamp, MaxPool, Network, PReLU, ReLU, Stack
from sheaflib.layers import convolution

STATED = (MaxPool, ReLU, PReLU, Clamp, Stack)  # their repr, or the values, say all
SAVED = tuple(kind for kind in KINDS if kind != "matrix-free")
ODD_NAMES = ["a/b", "/", "..", "../../a", "C:\\a", "a\0b", "\0", "", " ", "\n", "π∘é", "\ud800"]
ODD_NAMES += ["network", "network.npy", "0", "1", "z1.weight", "arrays", "file"]
PARAMETERS = ("weight", "bias", "data", "indices", "indptr", "shape")
PARAMETERS += ("windows", "slope", "dims", "n_in", "n_out")
# every character, halves of surrogate pairs too
NAMES = st.one_of(st.sampled_from(ODD_NAMES), st.text(st.characters()))


def again(network):
    """The network, saved and loaded."""
    return Network.load(io.BytesIO(bytes_of(network)))


def parameters(network):
    """Every parameter of a network, by node and name, with its dtype, its shape and its bits."""
    found = {}
    for node in network.nodes:
        owners = [node.operation, getattr(node.operation, "weight", None)]
        for owner in owners if sparse.issparse(owners[1]) else owners[:1]:
            for name in PARAMETERS:
                if hasattr(owner, name) and not sparse.issparse(getattr(owner, name)):
                    value = np.asarray(getattr(owner, name))
                    found[node.name, name] = value.dtype, value.shape, value.tobytes()
    return found


@st.composite
def named(draw):
    """A network of every operation and output whose nodes have any names."""
    network = draw(networks(outputs=("identity", "sigmoid", "softmax"), kinds=SAVED))
    n = len(network.nodes)
    free = NAMES.filter(lambda name: name not in ("x", "a_out"))
    names = draw(st.lists(free, min_size=n, max_size=n, unique=True))
    new = {"x": "x"} | {node.name: name for node, name in zip(network.nodes, names)}
    nodes = [
        (new[node.name], node.operation, [new[read] for read in node.inputs])
        for node in network.nodes
    ]
    return Network(network.n_in, nodes, network.output)


@given(named())
def test_every_network_comes_back_to_the_last_bit(network):
    loaded = again(network)
    assert repr(loaded) == repr(network) and loaded.output == network.output
    assert [(n.name, n.inputs, repr(n.operation)) for n in loaded.nodes] == [
        (n.name, n.inputs, repr(n.operation)) for n in network.nodes
    ]
    assert parameters(loaded) == parameters(network)
    x = np.random.default_rng(0).standard_normal((3, network.n_in))
    assert loaded(x).tobytes() == network(x).tobytes()


def test_the_parameters_that_are_compared_are_all_of_them():
    sizes = {(node.name, name) for node in NET.nodes for name in ("n_in", "n_out")}
    assert parameters(NET).keys() - sizes == {
        ("z1", "weight"),
        ("z1", "bias"),
        ("a1", "slope"),
        ("m", "windows"),
        ("p", "dims"),
        *(("z2", part) for part in ("data", "indices", "indptr", "shape", "bias")),
    }
    assert parameters(NET)["a1", "slope"][2] == np.float64(0.1).tobytes()


def test_names_stand_in_the_header_alone():
    header, arrays = parts_of(
        bytes_of(Network(1, [(name, Affine([[k]])) for k, name in enumerate(ODD_NAMES)]))
    )
    assert [node["name"] for node in header["nodes"]] == ODD_NAMES
    assert set(arrays) == {str(k) for k in range(2 * len(ODD_NAMES))}
    for k, node in enumerate(header["nodes"]):
        np.testing.assert_array_equal(arrays[str(node["arrays"]["weight"])], [[k]])
        np.testing.assert_array_equal(arrays[str(node["arrays"]["bias"])], [0])


def test_a_file_of_version_01_still_loads():
    header, arrays = parts_of(OLD)
    assert "version" not in header and "z1.weight" in arrays
    loaded = Network.load(io.BytesIO(OLD))
    assert repr(loaded) == repr(NET) and parameters(loaded) == parameters(NET)
    assert loaded(X).tobytes() == NET(X).tobytes()


def test_a_file_of_version_2_still_loads():
    """It is one of version 3 that has no kinds of later."""
    header, arrays = parts_of(bytes_of(NET))
    loaded = Network.load(io.BytesIO(file_of(header | {"version": 2}, arrays)))
    assert repr(loaded) == repr(NET) and parameters(loaded) == parameters(NET)


def test_layers_of_images_come_back_by_what_made_them():
    loaded = again(LAYERS)
    for node, other in zip(LAYERS.nodes, loaded.nodes):
        assert repr(node.operation) == repr(other.operation)
        given = {} if isinstance(node.operation, STATED) else node.operation._arguments()
        for name, value in given.items():
            same = getattr(other.operation, name) if name != "bias" else other.operation.parameters
            same = same["bias"] if name == "bias" and "bias" in same else same
            if sparse.issparse(value):
                assert (value != same).nnz == 0
            else:
                np.testing.assert_array_equal(value, same)
    x = np.random.default_rng(0).standard_normal((3, LAYERS.n_in))
    assert loaded(x).tobytes() == LAYERS(x).tobytes() and loaded.shapes == LAYERS.shapes


def test_a_file_of_a_convolution_is_as_large_as_its_kernel():
    """Two convolutions of 32 × 32 images, whose matrices have more than a million entries."""
    rng = np.random.default_rng(0)
    first, shape = convolution(rng.standard_normal((16, 3, 3, 3)), (3, 32, 32), padding=1)
    second, _ = convolution(rng.standard_normal((16, 16, 3, 3)), shape, padding=1)
    network = Network(3072, [("z1", first), ("a1", ReLU(first.n_out)), ("z2", second)])
    numbers = sum(array.size for node in (first, second) for array in node.parameters.values())
    assert len(bytes_of(network)) < 8 * numbers + 4000


def test_a_file_says_its_version_and_holds_numbers_and_one_text():
    header, arrays = parts_of(bytes_of(NET))
    assert header["version"] == 3
    assert {array.dtype.kind for array in arrays.values()} == {"f", "i"}


def test_numbers_of_numpy_and_unsorted_columns_come_back():
    network = Network(
        np.int64(3), [("a", ReLU(np.int64(3))), ("m", MaxPool([[0, 2]], np.int64(3)))]
    )
    np.testing.assert_array_equal(again(network)(X), [[1.0], [2.0]])
    header, arrays = parts_of(bytes_of(NET))
    numbers = header["nodes"][4]["arrays"]
    for part, order in (("indices", [1, 0, 3, 2]), ("data", [1, 0, 3, 2])):
        arrays[str(numbers[part])] = arrays[str(numbers[part])][order]
    loaded = Network.load(io.BytesIO(file_of(header, arrays)))
    assert parameters(loaded) == parameters(NET)


def test_other_orders_of_bytes_and_of_entries_load():
    header, arrays = parts_of(bytes_of(NET))
    text = np.array(json.dumps(header))
    swapped = {
        name: np.asfortranarray(array).astype(array.dtype.newbyteorder())
        for name, array in arrays.items()
    }
    content = file_of(text.astype(text.dtype.newbyteorder()), swapped)
    assert parameters(Network.load(io.BytesIO(content))) == parameters(NET)


# where a file goes --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", ["plain", "net.npz", "net.NPZ", "net.bin", "a b.c"])
def test_the_file_has_the_name_that_was_given(tmp_path, kind, name):
    NET.save(kind(tmp_path / name))
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert repr(Network.load(kind(tmp_path / name))) == repr(NET)


def test_an_open_stream_is_written_and_read_and_left_open(tmp_path):
    with open(tmp_path / "net", "w+b") as stream:
        NET.save(stream)
        stream.seek(0)
        assert repr(Network.load(stream)) == repr(NET)
        assert not stream.closed
    assert (tmp_path / "net").read_bytes() == bytes_of(NET)


def test_a_write_that_fails_leaves_the_whole_file_that_was_there(tmp_path, monkeypatch):
    NET.save(tmp_path / "net")

    def full(stream, **arrays):
        stream.write(b"PK")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        Network.he([2, 1], np.random.default_rng(0)).save(tmp_path / "net")
    assert os.listdir(tmp_path) == ["net"]
    assert repr(Network.load(tmp_path / "net")) == repr(NET)


def test_a_matrix_free_network_is_refused_and_nothing_is_written(tmp_path):
    network = Network(1, [("z1", Affine.from_maps(lambda a: 2 * a, lambda e: 2 * e, (1, 1)))])
    with pytest.raises(TypeError, match="node 'z1' is matrix-free"):
        network.save(tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "file", [None, 3, ["net"], b"net", io.StringIO()], ids=lambda file: type(file).__name__
)
def test_what_is_no_file_is_refused(file):
    for act in (NET.save, Network.load):
        with pytest.raises(TypeError, match="^file=.*, expected a path or an open binary file$"):
            act(file)
