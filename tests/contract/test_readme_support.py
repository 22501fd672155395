"""The README's table of what is supported says what the library does: where it says yes the verbs
of a column run on such a network, or a file of ONNX that holds it is read, and where it says no
they refuse it.
"""

import re
from itertools import islice

import numpy as np
import pytest
import scipy as sp
from onnx import TensorProto, helper, numpy_helper

from sheaflib import (
    Affine,
    Clamp,
    Network,
    NeuralSheaf,
    Output,
    PReLU,
    ReLU,
    Stack,
    equilibrium,
    gradient_descent,
    hard,
    harmonic_extension,
    joint_flow,
    read,
    relax,
    report,
)
from sheaflib.layers import add, average_pool, batch_norm, convolution, max_pool
from sheaflib.linear import spectrum
from tools.project import REPOSITORY

RNG = np.random.default_rng(0)
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
TABLE = README.split("| in the network |")[1].split("\n\n")[0]
# columns
READ, USED, TRAINED, AT_REST = range(4)


def matrix(n, m):
    """A random matrix (n, m) whose products do not grow."""
    return RNG.standard_normal((n, m)) / np.sqrt(m)


def affine(n, m):
    """A dense layer with a bias."""
    return Affine(matrix(n, m), 0.1 * RNG.standard_normal(n))


def chain(first, activation=None, output="identity"):
    """A network 4 -> 5 -> 2 with a given first layer and activation."""
    nodes = [("z1", first), ("a1", activation or ReLU(5)), ("z2", affine(2, 5))]
    return Network(4, nodes, output)


def image(pool, shape):
    """A convolution with batch normalisation and a pooling, on images of 4 × 4."""
    kernel = RNG.standard_normal((1, 1, 3, 3)) / 3
    norm = batch_norm([1.2], [0.1], [0.2], [0.9], pixels=16)
    first = [("z1", convolution(kernel, shape, padding=1)[0]), ("n1", norm), ("a1", ReLU(16))]
    return Network(16, [*first, ("m", pool), ("z2", affine(2, 4))])


def matrix_free():
    """A layer that is given by a function and its transpose."""
    weight = matrix(5, 4)
    return Affine.from_maps(lambda a: a @ weight.T, lambda e: e @ weight, (5, 4))


def sum_of_branches():
    """A residual block."""
    nodes = [("z1", affine(4, 4)), ("a1", ReLU(4)), ("p", Stack(4, 4), ("a1", "x")), ("s", add(4))]
    return Network(4, [*nodes, ("z2", affine(2, 4))])


def concatenation():
    """Two branches, read side by side."""
    one, other = [("z1", affine(5, 4)), ("a1", ReLU(5))], [("z2", affine(3, 4), "x")]
    both = [("a2", ReLU(3)), ("p", Stack(5, 3), ("a1", "a2")), ("z3", affine(2, 8))]
    return Network(4, one + other + both)


def read_twice(*between):
    """A value that an affine map and a ReLU read, the ReLU through the nodes `between`."""
    reads = between[-1][0] if between else "z1"
    nodes = [("z1", affine(4, 4)), *between, ("a1", ReLU(4), reads), ("z2", affine(4, 4), "z1")]
    return Network(4, [*nodes, ("p", Stack(4, 4), ("a1", "z2")), ("z3", affine(2, 8))])


SHAPE = (1, 4, 4)
NETWORKS = {
    "affine layers, dense or sparse; convolution, average pooling, batch norm in inference": [
        chain(affine(5, 4)),
        chain(Affine(sp.sparse.csr_array(matrix(5, 4)))),
        image(average_pool(SHAPE, 2)[0], SHAPE),
    ],
    "affine layers given as functions": [chain(matrix_free())],
    "ReLU, leaky ReLU, absolute value, PReLU, clamp": [
        *(chain(affine(5, 4), ReLU(5, slope)) for slope in (0.0, 0.1, -1.0)),
        chain(affine(5, 4), PReLU(5, [0.1, 0.2, -0.3, 0.0, 0.5])),
        chain(affine(5, 4), Clamp(5, -0.5, 1.0)),
    ],
    "max-pooling": [image(max_pool(SHAPE, 2)[0], SHAPE)],
    "skip connections: sums and concatenation": [sum_of_branches(), concatenation()],
    "identity, sigmoid or softmax at the output": [
        chain(affine(5, 4), output=output) for output in ("identity", "sigmoid", "softmax")
    ],
}


def rows():
    """The rows of the README's table, as lists of their cells."""
    lines = TABLE.split("\n")[2:]
    return [[cell.strip() for cell in re.split(r"\|", line)[1:-1]] for line in lines]


def use(sheaf, x, y):
    """The forward pass by a solve and by heat, and the ends of the spectrum."""
    output, start = sheaf.network(x), np.zeros((len(x), sheaf.N))
    for found in (harmonic_extension(sheaf, x), relax(sheaf, x, start, tol=1e-9, rest="step")):
        np.testing.assert_allclose(found.output, output, atol=1e-6)
    assert (spectrum.extremes(sheaf, sheaf.forward_pattern(x)).smallest > 0).all()


def train(sheaf, x, y):
    """A step of both ways of training."""
    for states in (
        gradient_descent(sheaf, x, y, lr=1e-3, every=1),
        joint_flow(sheaf, x, y, every=1),
    ):
        first, second = islice(states, 2)
        assert first.network != second.network and np.isfinite(second.record.loss)


def rest(sheaf, x, y):
    """The equilibrium with the labels pinned, and the report on it."""
    network = sheaf.network
    name = network.output_name if network.output.is_identity else "a_out"
    assert equilibrium(sheaf, x, pins=hard(name, y)).converged.all()
    assert np.isfinite(report(sheaf, x, y, progress=False).discord).all()


def given(network):
    """A network's sheaf, four inputs, and labels that its output can have."""
    x = np.random.default_rng(1).standard_normal((4, network.n_in))
    y = np.tile(np.eye(network.n_out), (2, 1))
    return NeuralSheaf(network), x, y


def test_the_table_has_the_rows_that_are_tried_here():
    names = [name for name, *_ in rows()]
    assert names[:-1] == list(NETWORKS)
    assert names[-1].startswith("other activations") and rows()[-1][1:] == ["no"] * 4
    assert {re.split("[,;]", cell)[0] for _, *cells in rows() for cell in cells} == {"yes", "no"}


@pytest.mark.parametrize("verb, column", [(use, USED), (train, TRAINED), (rest, AT_REST)])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_cell_of_the_table_says_what_happens(name, verb, column):
    said = {row[0]: row[1:] for row in rows()}[name][column]
    for network in NETWORKS[name]:
        if said == "yes, of `network.separated()`":
            with pytest.raises(ValueError, match=r"network\.separated\(\)"):
                verb(*given(network))
            network = network.separated()
        if said == "no":
            with pytest.raises((TypeError, ValueError)):
                verb(*given(network))
        else:
            verb(*given(network))


def test_a_value_that_an_affine_map_and_a_relu_read_is_refused_with_a_remedy():
    said = "yes; where an affine map and a ReLU read the same value, of `network.separated()`"
    assert said in [row[4] for row in rows() if row[0].startswith("skip")]
    use(*given(read_twice()))
    train(*given(read_twice()))
    sheaf, x, y = given(read_twice())
    remedy = r"which the affine node 'z2' reads too, .*: take the sheaf of network\.separated\(\)"
    for verb in (equilibrium, report):
        with pytest.raises(ValueError, match=remedy):
            verb(sheaf, x, **({"pins": hard("z3", y)} if verb is equilibrium else {"y": y}))
    rest(*given(read_twice().separated()))
    rest(*given(read_twice(("i", Affine(np.eye(4)), "z1"))))


def file_of(*nodes, shape=(4,), n_out=2, **constants):
    """The bytes of a file of ONNX: nodes (operator, inputs, outputs, attributes), from the input
    "x", whose batch axis is free, to "y".
    """
    made = [
        helper.make_node(operator, reads.split(), writes.split(), name=f"layer_{i}", **attributes)
        for i, (operator, reads, writes, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "made here",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["batch", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["batch", n_out])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def layers_of(*between, shape=(4,), width=5, **constants):
    """A file whose nodes `between` make m of z, an affine layer's (B, width), and another affine
    layer then y.
    """
    weights = {"W": matrix(4, width), "b": np.ones(width), "V": matrix(width, 2)}
    first, last = ("Gemm", "x W b", "z", {}), ("MatMul", "m V", "y", {})
    return file_of(first, *between, last, shape=shape, **weights, **constants)


def images_of(*between, pixels=4, **constants):
    """A file whose nodes `between` make m of a convolution's images z (B, 1, 4, 4)."""
    first = ("Conv", "x K", "z", {"pads": [1, 1, 1, 1]})
    last = [("Flatten", "m", "f", {}), ("MatMul", "f V", "y", {})]
    weights = {"K": RNG.standard_normal((1, 1, 3, 3)), "V": matrix(pixels, 2)}
    return file_of(first, *between, *last, shape=SHAPE, **weights, **constants)


NORM = {name: np.ones(1) for name in ("scale", "shift", "mean", "variance")}
POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
RELU = ("Relu", "z", "a", {})
FILES = {
    "affine layers, dense or sparse; convolution, average pooling, batch norm in inference": [
        layers_of(("Relu", "z", "m", {})),
        images_of(
            ("BatchNormalization", "z scale shift mean variance", "n", {}),
            ("Relu", "n", "a", {}),
            ("AveragePool", "a", "m", POOL),
            **NORM,
        ),
    ],
    "ReLU, leaky ReLU, absolute value, PReLU, clamp": [
        layers_of(("Relu", "z", "m", {})),
        layers_of(("LeakyRelu", "z", "m", {"alpha": 0.1})),
        layers_of(("Abs", "z", "m", {})),
        layers_of(("PRelu", "z slope", "m", {}), slope=np.array([0.1, 0.2, 0.3, 0.0, 0.5])),
        layers_of(("Clip", "z low high", "m", {}), low=np.array(-0.5), high=np.array(1.0)),
    ],
    "max-pooling": [images_of(("MaxPool", "z", "m", POOL))],
    "skip connections: sums and concatenation": [
        layers_of(RELU, ("Add", "a x", "m", {}), width=4),
        file_of(
            ("Gemm", "x W b", "z", {}),
            RELU,
            ("Concat", "a x", "m", {"axis": 1}),
            ("MatMul", "m V", "y", {}),
            W=matrix(4, 5),
            b=np.ones(5),
            V=matrix(9, 2),
        ),
    ],
    "identity, sigmoid or softmax at the output": [
        file_of(("MatMul", "x W", "y", {}), W=matrix(4, 2)),
        file_of(("MatMul", "x W", "z", {}), ("Sigmoid", "z", "y", {}), W=matrix(4, 2)),
        file_of(("MatMul", "x W", "z", {}), ("Softmax", "z", "y", {}), W=matrix(4, 2)),
    ],
}
OTHERS = {
    "Tanh": layers_of(("Tanh", "z", "m", {})),
    "Gelu": layers_of(("Sigmoid", "z", "s", {}), ("Mul", "s z", "m", {})),
    "LSTM": layers_of(
        ("Unsqueeze", "z first", "u", {}),
        ("LSTM", "u P R", "t", {"hidden_size": 5}),
        ("Squeeze", "t both", "m", {}),
        first=np.array([0]),
        both=np.array([0, 1]),
        P=np.ones((1, 20, 5)),
        R=np.ones((1, 20, 5)),
    ),
    "attention": layers_of(
        ("Transpose", "z", "t", {}), ("MatMul", "z t", "q", {}), ("MatMul", "q z", "m", {})
    ),
    "BatchNormalization": images_of(
        ("BatchNormalization", "z scale shift mean variance", "m m1 m2", {"training_mode": 1}),
        pixels=16,
        **NORM,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_read_from_a_file_where_the_table_says_so(name):
    said = {row[0]: row[1:] for row in rows()}[name][READ]
    if said == "no":
        assert name not in FILES
        with pytest.raises(TypeError, match="model is a function, expected a path or the bytes"):
            read(lambda x: x)
        return
    for file in FILES[name]:
        network = read(file)
        assert network.difference < 1e-12
        use(*given(network))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_piecewise_affine_is_refused_by_its_layer(name):
    with pytest.raises(ValueError, match=r"'?layer_\d"):
        read(OTHERS[name])


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_another_output_is_refused(name):
    with pytest.raises(ValueError, match="expected one of identity, sigmoid, softmax"):
        Output(name)
