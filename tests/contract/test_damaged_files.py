"""A damaged file of a network is loaded as one that computes, or refused with what is wrong."""

import copy
import io
import json
import zipfile

import numpy as np
import pytest
import scipy.sparse as sparse
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import Affine, MaxPool, Network, NeuralSheaf, ReLU, Stack, relax

W = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 1.0, -1.0], [0.5, 0.0, 1.0]])
NET = Network(
    3,
    [
        ("z1", Affine(W, [0.0, 1.0, -1.0, 0.5])),
        ("a1", ReLU(4, 0.1)),
        ("m", MaxPool([[0, 1], [2, 3]], 4)),
        ("p", Stack(2, 3), ("m", "x")),
        ("z2", Affine(sparse.csr_array([[1.0, 0, 2, 0, 0], [0, 0, 0, 3, 4]]))),
    ],
    "softmax",
)
X = np.array([[1.0, 2.0, -1.0], [0.5, -3.0, 2.0]])
NAN = float("nan")


def parts_of(network):
    """The header and the arrays of a saved network."""
    file = io.BytesIO()
    network.save(file)
    file.seek(0)
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("network"))), arrays


def file_of(header, arrays):
    """An open file that holds them; a header that is an array is written as it is."""
    file = io.BytesIO()
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if header is not None:
        arrays["network"] = (
            header if isinstance(header, np.ndarray) else np.array(json.dumps(header))
        )
    np.savez(file, **arrays)
    file.seek(0)
    return file


HEADER, ARRAYS = parts_of(NET)
BYTES = file_of(HEADER, ARRAYS).getvalue()


def changed(*path, to=None, drop=False):
    """The header with one entry changed or left out."""
    header = copy.deepcopy(HEADER)
    *way, last = path
    inner = header
    for key in way:
        inner = inner[key]
    if drop:
        del inner[last]
    else:
        inner[last] = to
    return header


def with_array(name, array):
    return lambda: file_of(HEADER, ARRAYS | {name: array})


def with_header(*path, **how):
    return lambda: file_of(changed(*path, **how), ARRAYS)


def one_array():
    file = io.BytesIO()
    np.save(file, np.ones(3))
    file.seek(0)
    return file


def a_part_that_is_text():
    file = io.BytesIO(BYTES)
    with zipfile.ZipFile(file) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as new:
        for name, content in parts.items():
            text = b"not an array" if name == "z1.bias.npy" else content
            new.writestr(zipfile.ZipInfo(name), text)  # of 1980: zip knows no year before
    file.seek(0)
    return file


def of_size(shape):
    """A part whose first lines promise an array of this shape, which is not there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    promise = file.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(BYTES)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            part = promise if name == "z1.weight.npy" else old.read(name)
            new.writestr(zipfile.ZipInfo(name), part)
    file.seek(0)
    return file


DAMAGED = {
    # the file as a whole
    "nothing": (lambda: io.BytesIO(b""), r"it begins with b'', expected an \.npz file"),
    "text": (
        lambda: io.BytesIO(b"weights: 1 2 3"),
        r"it begins with b'weig', expected an \.npz file",
    ),
    "half a file": (
        lambda: io.BytesIO(BYTES[: len(BYTES) // 2]),
        r"cannot be read as an \.npz file",
    ),
    "one array": (one_array, r"it begins with b'\\x93NUM', expected an \.npz file"),
    "an empty archive": (lambda: file_of(None, {}), r"part 'network' is missing: it holds nothing"),
    "other arrays": (
        lambda: file_of(None, {"a": np.ones(2)}),
        r"part 'network' is missing: it holds a, expected a file written by Network\.save",
    ),
    # the header
    "a header of numbers": (
        lambda: file_of(np.ones(2), ARRAYS),
        r"part 'network' has shape \(2,\) and dtype float64, expected text",
    ),
    "a pickled header": (
        lambda: file_of(np.array({"n_in": 1}, dtype=object), ARRAYS),
        r"part 'network' cannot be read .*allow_pickle=False",
    ),
    "no JSON": (lambda: file_of(np.array("{n_in: 3}"), ARRAYS), r"part 'network' is no JSON"),
    "deep JSON": (lambda: file_of(np.array("[" * 10**5), ARRAYS), r"part 'network' is no JSON"),
    "JSON of a list": (lambda: file_of([1, 2], ARRAYS), r"part 'network' lacks 'nodes'"),
    **{
        f"no {key}": (with_header(key, drop=True), rf"part 'network' lacks '{key}'")
        for key in ("n_in", "output", "nodes")
    },
    "nodes as text": (with_header("nodes", to="z1"), r"nodes='z1', expected a list"),
    "no nodes": (with_header("nodes", to=[]), r"nodes is \[\], expected a list of at least one"),
    "a node of text": (
        with_header("nodes", 0, to="z1"),
        r"node 0 of its part 'network' lacks 'name'",
    ),
    "inputs of three halves": (with_header("n_in", to=1.5), r"n_in=1\.5, expected a whole number"),
    "negative inputs": (with_header("n_in", to=-3), r"n_in=-3 must be ≥ 1"),
    "other inputs": (with_header("n_in", to=4), r"node 'z1' .*but x has \(4,\)"),
    "unknown output": (with_header("output", to="tanh"), r"output='tanh' is unknown"),
    "output of numbers": (with_header("output", to=3), r"output=3, expected text"),
    # nodes
    **{
        f"node without {key}": (
            with_header("nodes", 1, key, drop=True),
            rf"(node 1 of its part 'network'|node 'a1': .*) lacks '{key}'",
        )
        for key in ("name", "kind", "inputs", "n", "slope")
    },
    "unknown kind": (
        with_header("nodes", 1, "kind", to="tanh"),
        r"node 1 .*kind='tanh', expected one of relu, stack, maxpool, affine, sparse",
    ),
    "a kind of lists": (
        with_header("nodes", 1, "kind", to=["relu"]),
        r"kind=\['relu'\], expected text",
    ),
    "unknown input": (
        with_header("nodes", 1, "inputs", to=["z9"]),
        r"node 'a1' reads 'z9', expected one of .*: x, z1",
    ),
    "a later input": (with_header("nodes", 1, "inputs", to=["p"]), r"node 'a1' reads 'p'"),
    "inputs as text": (with_header("nodes", 1, "inputs", to="z1"), r"inputs='z1', expected a list"),
    "inputs of numbers": (
        with_header("nodes", 1, "inputs", to=[0]),
        r"inputs=\[0\], expected names as text",
    ),
    "a name twice": (with_header("nodes", 1, "name", to="z1"), r"node name 'z1' is taken"),
    "a name with no arrays": (
        with_header("nodes", 0, "name", to="y1"),
        r"part 'y1\.weight' is missing",
    ),
    "a ReLU of no width": (with_header("nodes", 1, "n", to=0), r"node 'a1': n=0 must be ≥ 1"),
    "a ReLU of another width": (
        with_header("nodes", 1, "n", to=10**18),
        r"node 'a1' .*10{18},\), but z1 has \(4,\)",
    ),
    "a ReLU as wide as true": (
        with_header("nodes", 1, "n", to=True),
        r"node 'a1': n=True must be a whole number",
    ),
    "a slope of NaN": (
        with_header("nodes", 1, "slope", to=NAN),
        r"node 'a1': slope must be finite, got nan",
    ),
    "a slope beyond float64": (
        with_header("nodes", 1, "slope", to=10**400),
        r"node 'a1': slope has dtype object",
    ),
    "a slope of text": (
        with_header("nodes", 1, "slope", to="0"),
        r"node 'a1': .*slope='0', expected a number",
    ),
    "a stack of one": (
        with_header("nodes", 3, "dims", to=[5]),
        r"node 'p': a stack merges at least two parts",
    ),
    "a stack of text": (
        with_header("nodes", 3, "dims", to="23"),
        r"node 'p': .*dims='23', expected a list",
    ),
    "a stack of halves": (
        with_header("nodes", 3, "dims", to=[2.5, 2.5]),
        r"node 'p': dims=2\.5 must be a whole number",
    ),
    # arrays
    **{f"no {name}": (with_array(name, None), rf"part '{name}' is missing") for name in ARRAYS},
    **{
        f"{name} of objects": (
            with_array(name, np.array([None, 1], dtype=object)),
            rf"part '{name}' cannot be read .*allow_pickle=False",
        )
        for name in ARRAYS
    },
    **{
        f"{name} of complex numbers": (
            with_array(name, 1j * ARRAYS[name]),
            r"(complex128|expected \(n_out, k\) integers)",
        )
        for name in ARRAYS
    },
    **{
        f"{name} of text": (
            with_array(name, np.array(["a", "b"])),
            r"(dtype <U1|expected whole numbers)",
        )
        for name in ARRAYS
    },
    **{
        f"{name} without numbers": (
            with_array(name, ARRAYS[name][:0]),
            r"node '(z1|z2|m)': .*(shape|holds)",
        )
        for name in ARRAYS
    },
    "a part that is no array": (
        a_part_that_is_text,
        r"part 'z1\.bias' (is no array|cannot be read)",
    ),
    "a weight of 10¹⁵ numbers": (lambda: of_size((10**15,)), r"part 'z1\.weight' cannot be read"),
    "a weight of 10³⁰ numbers": (
        lambda: of_size((10**15, 10**15)),
        r"part 'z1\.weight' cannot be read",
    ),
    "a weight of −1 numbers": (lambda: of_size((-1,)), r"part 'z1\.weight' cannot be read"),
    "a weight that is not there": (lambda: of_size((4, 3)), r"part 'z1\.weight' cannot be read"),
    "a NaN weight": (
        with_array("z1.weight", W * NAN),
        r"node 'z1': weight must be finite, got nan at index \(0, 0\)",
    ),
    "a weight of another shape": (
        with_array("z1.weight", W.T),
        r"node 'z1': bias has shape \(4,\), expected \(3,\)",
    ),
    "windows below": (
        with_array("m.windows", np.array([[0, -1], [2, 3]])),
        r"node 'm': windows holds -1 … 3, expected indices in 0 … 3",
    ),
    "windows outside": (
        with_array("m.windows", np.array([[0, 1], [2, 4]])),
        r"node 'm': windows holds 0 … 4",
    ),
    "huge unsigned windows": (
        with_array("m.windows", np.array([[0, 1], [2, 2**64 - 1]], np.uint64)),
        r"node 'm': windows holds 0 … 18446744073709551615",
    ),
    "fractional windows": (
        with_array("m.windows", np.array([[0, 1.0], [2, 3]])),
        r"node 'm': windows has shape \(2, 2\) and dtype float64",
    ),
    "pooled inputs missing": (
        with_header("nodes", 2, "n", to=3),
        r"node 'm': windows holds 0 … 3, expected indices in 0 … 2",
    ),
    "a column far below": (
        with_array("z2.indices", np.array([0, -5_000_000, 3, 4])),
        r"node 'z2': weight\.indices holds -5000000",
    ),
    "a column outside": (
        with_array("z2.indices", np.array([0, 2, 3, 5])),
        r"node 'z2': weight\.indices holds 5 .*expected 0 … 4",
    ),
    "fractional columns": (
        with_array("z2.indices", np.array([0.0, 2, 3, 4])),
        r"node 'z2': weight\.indices has dtype float64",
    ),
    "rows that fall": (
        with_array("z2.indptr", np.array([0, 4, 2])),
        r"node 'z2': weight\.indptr .*never fall",
    ),
    "a row beyond the entries": (
        with_array("z2.indptr", np.array([0, 2, 10**9])),
        r"node 'z2': weight\.indptr holds 1000000000",
    ),
    "too few entries": (
        with_array("z2.data", np.ones(3)),
        r"node 'z2': weight\.indptr holds 4|node 'z2': weight\.indices has shape",
    ),
    "an infinite entry": (
        with_array("z2.data", np.array([1, 2, 3, np.inf])),
        r"node 'z2': weight\.data must be finite, got inf at index \(3,\)",
    ),
    "a sparse shape of one": (
        with_header("nodes", 4, "shape", to=[2]),
        r"node 'z2': shape=\[2\], expected \(n_out, n_in\)",
    ),
    "a negative sparse shape": (
        with_header("nodes", 4, "shape", to=[2, -5]),
        r"node 'z2': shape=-5 must be ≥ 1",
    ),
    "a sparse shape of text": (
        with_header("nodes", 4, "shape", to="25"),
        r"node 'z2': .*shape='25', expected a list",
    ),
    "a huge sparse shape": (
        with_header("nodes", 4, "shape", to=[10**18, 5]),
        (
            r"node 'z2': weight\.indptr has shape \(3,\), expected \(10{18}1,\)|node 'z2':"
            r" weight\.indptr has shape"
        ),
    ),
    "a sparse shape beyond memory": (with_header("nodes", 4, "shape", to=[2, 10**30]), r"z2"),
    "a narrow sparse shape": (
        with_header("nodes", 4, "shape", to=[2, 4]),
        r"node 'z2': weight\.indices holds 4 .*expected 0 … 3",
    ),
}


@pytest.mark.parametrize("make, message", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_named_with_the_part_that_is_wrong(make, message, tmp_path):
    file = tmp_path / "net.npz"
    file.write_bytes(make().getvalue())
    with pytest.raises(
        ValueError, match=f"(?s)^.*net.npz is no network that Network.save wrote: .*({message})"
    ):
        Network.load(file)
    with pytest.raises(ValueError, match=f"(?s)({message})"):
        Network.load(make())


def test_a_file_that_is_not_there_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "none.npz")
    with pytest.raises(OSError):
        Network.load(tmp_path)


def test_what_was_saved_is_what_is_loaded():
    np.testing.assert_array_equal(Network.load(file_of(HEADER, ARRAYS))(X), NET(X))
    header, arrays = parts_of(
        Network(np.int64(3), [("a", ReLU(np.int64(3))), ("m", MaxPool([[0, 2]], np.int64(3)))])
    )
    np.testing.assert_array_equal(Network.load(file_of(header, arrays))(X), [[1.0], [2.0]])
    unsorted = ARRAYS | {
        "z2.indices": np.array([2, 0, 4, 3]),
        "z2.data": ARRAYS["z2.data"][[1, 0, 3, 2]],
    }
    np.testing.assert_allclose(Network.load(file_of(HEADER, unsorted))(X), NET(X), rtol=1e-14)


# any change ---------------------------------------------------------------------------------------


def loads_or_says_why(file):
    """The file is refused by a ValueError, or its network computes, in compiled loops too."""
    try:
        network = Network.load(file)
    except ValueError as error:
        assert "is no network that Network.save wrote" in str(error)
        return
    if network.n_in > 1000:
        return
    x = np.ones((2, network.n_in))
    try:
        network(x)
        sheaf = NeuralSheaf(network)
        relax(sheaf, x, sheaf.forward(x), dt=1e-3, max_steps=2)
    except (ArithmeticError, ValueError):  # numbers too large for a flow, or its step
        pass


@given(
    st.lists(
        st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 255)), min_size=1, max_size=4
    ),
    st.integers(len(BYTES) // 2, 2 * len(BYTES)),
)
def test_any_bytes_changed_and_any_length(changes, length):
    content = bytearray(BYTES)
    for place, byte in changes:
        content[place] = byte
    loads_or_says_why(io.BytesIO(bytes(content[:length])))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 6),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["x", "z1", "a1", "relu", "sparse"]),
    st.lists(st.one_of(st.integers(-1, 5), st.sampled_from(["x", "m", "z1"])), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)
PLACES = (
    [(key,) for key in HEADER]
    + [("nodes", i) for i in range(5)]
    + [("nodes", i, key) for i, node in enumerate(HEADER["nodes"]) for key in node]
)


@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=2))
def test_any_entry_of_the_header_changed(changes):
    header = copy.deepcopy(HEADER)
    for path, junk in changes:
        *way, last = path
        inner = header
        try:
            for key in way:
                inner = inner[key]
            inner[last] = junk
        except (TypeError, KeyError, IndexError):  # an earlier change took it away
            pass
    loads_or_says_why(file_of(header, ARRAYS))


@pytest.mark.filterwarnings("ignore:overflow encountered")
@given(st.sampled_from(sorted(ARRAYS)), st.data())
def test_any_entry_of_an_array_changed(name, data):
    """Behind the checksum of the archive: the file is written anew."""
    array = ARRAYS[name].copy()
    whole = st.one_of(st.integers(-3, 8), st.integers(-(2**31), 2**31 - 1))
    array.flat[data.draw(st.integers(0, array.size - 1))] = data.draw(
        whole if array.dtype.kind == "i" else st.floats(width=64)
    )
    loads_or_says_why(file_of(HEADER, ARRAYS | {name: array}))


@given(
    st.sampled_from(sorted(ARRAYS)),
    st.sampled_from(
        [
            "float64",
            "int32",
            "uint64",
            "int8",
            "bool",
            "float16",
            "complex64",
            "U2",
            "S2",
            "M8[s]",
            "f8,i4",
        ]
    ),
    st.lists(st.integers(0, 4), max_size=3),
    st.integers(0, 5),
)
def test_any_other_array(name, dtype, shape, value):
    loads_or_says_why(file_of(HEADER, ARRAYS | {name: np.full(shape, value).astype(dtype)}))
