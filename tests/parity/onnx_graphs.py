"""Random small models of ONNX, made of the operators that the reader claims."""

import math
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sheaflib.networks.readers.onnx_repairs import evaluator

OPSETS = (13, 16, 17, 18, 19, 20, 21, 22)
BATCHES = ("free", 1, 3, "none")


class Tensor(NamedTuple):
    """A tensor of the graph: its name, and its shape in one sample."""

    name: str
    shape: tuple[int, ...]


class Graph:
    """A model that grows by one operator at a time. `draw` is that of hypothesis."""

    def __init__(self, draw, inner):
        self.draw, self.inner = draw, inner
        self.opset = draw(st.sampled_from(OPSETS))
        self.batch = draw(st.sampled_from(BATCHES))
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.nodes, self.constants = [], []
        self.tensors = [Tensor("input", tuple(inner))]
        if self.batch == "none":  # a vector, which the model brings into shape
            self.tensors = [self.add("Reshape", ["input", self.whole([1, *inner])], inner)]

    def whole(self, numbers):
        """The name of a constant of whole numbers."""
        return self.constant(np.array(numbers, dtype=np.int64))

    def constant(self, array):
        """The name of a constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def numbers(self, *shape):
        """The name of a constant of random numbers, which are halves, so that some are equal."""
        return self.constant(self.rng.integers(-4, 5, shape) / 2)

    def add(self, operator, inputs, shape, outputs=1, **attributes):
        """The tensor that one operator writes, or the last of several."""
        names = [f"t{len(self.nodes)}.{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return Tensor(names[-1], tuple(shape))

    def one_of(self, *options):
        return self.draw(st.sampled_from(options))

    def between(self, low, high):
        return self.draw(st.integers(low, high))

    @property
    def rows(self):
        """How many samples a batch has; 0 for any number."""
        return {"free": 0, "none": 1}.get(self.batch, self.batch)

    def model(self, last):
        """The model whose output is this tensor."""
        kind = TensorProto.DOUBLE
        shape = ["samples" if self.batch == "free" else self.rows, *self.inner]
        if self.batch == "none":
            shape = [math.prod(self.inner)]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("input", kind, shape)],
            [helper.make_tensor_value_info(last.name, kind, None)],
            self.constants,
        )
        opset = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


# operators of images and signals
# --------------------------------------------------------------------------------------------------


def placing(graph, sides, pool=False):
    """Attributes of windows on an image of these sides, and the count of windows an axis, or None
    where that is not said here.
    """
    count = len(sides)
    size = [graph.between(1, min(3, n)) for n in sides]
    strides = [graph.between(1, 2) for _ in sides]
    dilations = [graph.between(1, 2) if (n - 1) >= 2 * (k - 1) else 1 for n, k in zip(sides, size)]
    auto = graph.one_of("NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    if auto.startswith("SAME"):
        dilations = [1] * count
    found = {"kernel_shape": size, "strides": strides, "dilations": dilations, "auto_pad": auto}
    pads = [graph.between(0, k - 1) for k in (*size, *size)]
    if auto == "NOTSET":
        found["pads"] = pads
    written = []
    for k, (n, taps, s, d) in enumerate(zip(sides, size, strides, dilations)):
        more = pads[k] + pads[k + count] if auto == "NOTSET" else 0
        free = n + more - d * (taps - 1) - 1
        written.append(-(-n // s) if auto.startswith("SAME") else free // s + 1)
    if pool and auto == "NOTSET" and graph.draw(st.booleans()):
        found["ceil_mode"] = 1
        written = None
    return found, written


def convolution(graph, a):
    channels, *sides = a.shape
    groups = graph.one_of(*(g for g in (1, 2, 3, channels) if channels % g == 0))
    attributes, written = placing(graph, sides)
    out = groups * graph.between(1, 2)
    kernel = graph.numbers(out, channels // groups, *attributes["kernel_shape"])
    bias = [graph.numbers(out)] if graph.draw(st.booleans()) else []
    return graph.add("Conv", [a.name, kernel, *bias], [out, *written], group=groups, **attributes)


def transposed(graph, a):
    channels, *sides = a.shape
    groups = graph.one_of(*(g for g in (1, 2, channels) if channels % g == 0))
    size = [graph.between(1, 3) for _ in sides]
    strides = [graph.between(1, 2) for _ in sides]
    pads = [graph.between(0, (k - 1) // 2) for k in (*size, *size)]
    each = graph.between(1, 2)
    kernel = graph.numbers(channels, each, *size)
    written = [
        s * (n - 1) + k - pads[i] - pads[i + len(sides)]
        for i, (n, k, s) in enumerate(zip(sides, size, strides))
    ]
    if min(written) < 1:
        return None
    more = {"group": groups, "strides": strides, "pads": pads, "kernel_shape": size}
    return graph.add("ConvTranspose", [a.name, kernel], [groups * each, *written], **more)


def pooled(graph, a):
    operator = graph.one_of("MaxPool", "AveragePool")
    attributes, written = placing(graph, a.shape[1:], pool=True)
    if operator == "AveragePool":
        if graph.opset < 19:
            del attributes["dilations"]
            written = None
        attributes["count_include_pad"] = graph.between(0, 1)
    return graph.add(operator, [a.name], measured(graph, a, written), **attributes)


def measured(graph, a, written):
    """The shape that a pool writes: None stands for what only the model itself knows."""
    return (a.shape[0], *(written or [0] * (len(a.shape) - 1)))


def global_pool(graph, a):
    shape = (a.shape[0], *[1] * (len(a.shape) - 1))
    return graph.add(graph.one_of("GlobalAveragePool", "GlobalMaxPool"), [a.name], shape)


def channels_last(graph, a):
    """A convolution of size 1 between two transpositions, as TensorFlow's exporter writes."""
    rank = len(a.shape) + 1
    there, back = [0, *range(2, rank), 1], [0, rank - 1, *range(1, rank - 1)]
    turned = graph.add("Transpose", [a.name], (*a.shape[1:], a.shape[0]), perm=there)
    if graph.draw(st.booleans()):
        turned = graph.add("Add", [turned.name, graph.numbers(a.shape[0])], turned.shape)
    if graph.draw(st.booleans()):
        turned = graph.add("Relu", [turned.name], turned.shape)
    found = graph.add("Transpose", [turned.name], a.shape, perm=back)
    return convolution(graph, found)


def normalised(graph, a):
    n = a.shape[0]
    variance = graph.constant(graph.rng.uniform(0.5, 2.0, n))
    parts = [graph.numbers(n), graph.numbers(n), graph.numbers(n), variance]
    return graph.add("BatchNormalization", [a.name, *parts], a.shape, epsilon=1e-3)


def padded(graph, a):
    mode = graph.one_of("constant", "reflect", "edge")
    inner = [graph.between(0, min(2, n - 1)) for n in (*a.shape[1:], *a.shape[1:])]
    half = len(a.shape) - 1
    pads = [0, 0, *inner[:half], 0, 0, *inner[half:]]
    sides = [n + inner[k] + inner[k + half] for k, n in enumerate(a.shape[1:])]
    value = [graph.numbers()] if mode == "constant" else []
    inputs = [a.name, graph.whole(pads), *value]
    return graph.add("Pad", inputs, [a.shape[0], *sides], mode=mode)


def resized(graph, a):
    scales = [graph.one_of(1.0, 2.0, 3.0) for _ in a.shape[1:]]
    given = graph.constant(np.array([1.0, 1.0, *scales], dtype=np.float32))
    shape = [a.shape[0], *(int(n * s) for n, s in zip(a.shape[1:], scales))]
    mode = graph.one_of("nearest", "linear")
    where = graph.one_of("asymmetric", "half_pixel", "align_corners")
    more = {"mode": mode, "coordinate_transformation_mode": where}
    return graph.add("Resize", [a.name, "", given], shape, **more)


IMAGES = (
    *(convolution, convolution, transposed, pooled, pooled, global_pool, channels_last),
    *(normalised, padded, resized),
)


# operators of any tensor
# --------------------------------------------------------------------------------------------------


def kinked(graph, a):
    operator = graph.one_of("Relu", "LeakyRelu", "Abs", "Clip", "HardSigmoid", "PRelu")
    if operator == "Clip":
        low, high = graph.one_of((0.0, 6.0), (-1.0, 1.0), (None, 0.5), (-0.5, None))
        bounds = ["" if v is None else graph.constant(np.array(v)) for v in (low, high)]
        return graph.add("Clip", [a.name, *bounds], a.shape)
    if operator == "PRelu":
        shape = graph.one_of((1,), (a.shape[0], *[1] * (len(a.shape) - 1)), a.shape)
        return graph.add("PRelu", [a.name, graph.numbers(*shape)], a.shape)
    more = {"alpha": 0.25} if operator in ("LeakyRelu", "HardSigmoid") else {}
    return graph.add(operator, [a.name], a.shape, **more)


def with_constant(graph, a):
    operator = graph.one_of("Add", "Sub", "Mul", "Div", "Max", "Min")
    shape = graph.one_of((), (1,), a.shape[-1:], (a.shape[0], *[1] * (len(a.shape) - 1)), a.shape)
    if operator == "Div":
        return graph.add("Div", [a.name, graph.constant(graph.rng.uniform(1, 2, shape))], a.shape)
    inputs = [a.name, graph.numbers(*shape)]
    return graph.add(operator, inputs if graph.draw(st.booleans()) else inputs[::-1], a.shape)


def joined(graph, a):
    """Two tensors of one shape, entry by entry."""
    b = graph.one_of(*(b for b in graph.tensors if b.shape == a.shape))
    return graph.add(
        graph.one_of("Add", "Sub", "Max", "Min", "Mean", "Sum"), [a.name, b.name], a.shape
    )


def concatenated(graph, a):
    axis = graph.between(0, len(a.shape) - 1)
    b = graph.one_of(*(b for b in graph.tensors if b.shape == a.shape))
    shape = [2 * n if k == axis else n for k, n in enumerate(a.shape)]
    return graph.add("Concat", [a.name, b.name], shape, axis=axis + 1)


def part(graph, a):
    axis = graph.between(0, len(a.shape) - 1)
    n = a.shape[axis]
    start, step = graph.between(0, n - 1), graph.one_of(1, 1, 2)
    shape = [len(range(start, n, step)) if k == axis else m for k, m in enumerate(a.shape)]
    given = [graph.whole([v]) for v in (start, n, axis + 1, step)]
    return graph.add("Slice", [a.name, *given], shape)


def halved(graph, a):
    axis = next((k for k, n in enumerate(a.shape) if n % 2 == 0), None)
    if axis is None:
        return None
    n = a.shape[axis] // 2
    shape = [n if k == axis else m for k, m in enumerate(a.shape)]
    given = [a.name, graph.whole([n, n])]
    return graph.add("Split", given, shape, outputs=2, axis=axis + 1)


def turned(graph, a):
    order = graph.draw(st.permutations(range(len(a.shape))))
    shape = [a.shape[k] for k in order]
    return graph.add("Transpose", [a.name], shape, perm=[0, *(k + 1 for k in order)])


def flat(graph, a):
    shape = (math.prod(a.shape),)
    if graph.draw(st.booleans()):
        return graph.add("Flatten", [a.name], shape)
    return graph.add("Reshape", [a.name, graph.whole([graph.rows, -1])], shape)


def reduced(graph, a):
    operator = graph.one_of("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
    count, keep = graph.between(1, len(a.shape)), graph.between(0, 1)
    over = sorted(graph.draw(st.permutations(range(len(a.shape))))[:count])
    shape = [1 if k in over else n for k, n in enumerate(a.shape) if keep or k not in over]
    axes = [k + 1 for k in over]
    more = {"keepdims": keep}
    if graph.opset >= 18 or operator == "ReduceSum":
        return graph.add(operator, [a.name, graph.whole(axes)], shape, **more)
    return graph.add(operator, [a.name], shape, axes=axes, **more)


def chosen(graph, a):
    condition = graph.constant(graph.rng.integers(0, 2, a.shape).astype(bool))
    b = graph.one_of(*(b for b in graph.tensors if b.shape == a.shape))
    return graph.add("Where", [condition, a.name, b.name], a.shape)


def cumulated(graph, a):
    axis = graph.constant(np.array(graph.between(1, len(a.shape)), dtype=np.int64))
    more = {"reverse": graph.between(0, 1), "exclusive": graph.between(0, 1)}
    return graph.add("CumSum", [a.name, axis], a.shape, **more)


def halved_by_a_diagonal(graph, a):
    if graph.opset < 14 or len(a.shape) < 2:
        return None
    place, upper = graph.constant(np.array(graph.between(-1, 1))), graph.between(0, 1)
    return graph.add("Trilu", [a.name, place], a.shape, upper=upper)


def multiplied(graph, a):
    n = graph.between(1, 4)
    return graph.add("MatMul", [a.name, graph.numbers(a.shape[-1], n)], (*a.shape[:-1], n))


def dense(graph, a):
    a = flat(graph, a) if len(a.shape) > 1 else a
    n, turn = graph.between(1, 4), graph.between(0, 1)
    width = a.shape[0]
    weight = graph.numbers(n, width) if turn else graph.numbers(width, n)
    bias = graph.one_of([], [graph.numbers(n)], [graph.numbers(1, n)], [graph.numbers()])
    more = {"alpha": 0.5, "beta": 2.0, "transB": turn}
    return graph.add("Gemm", [a.name, weight, *bias], (n,), **more)


def unchanged(graph, a):
    operator = graph.one_of("Identity", "Dropout", "Neg")
    return graph.add(operator, [a.name], a.shape)


ANY = (
    *(kinked, kinked, with_constant, joined, joined, concatenated, part, halved, turned, flat),
    *(reduced, chosen, cumulated, halved_by_a_diagonal, multiplied, dense, unchanged),
)
LARGEST = 300  # numbers in a tensor


@st.composite
def models(draw):
    """A model of up to eight operators, on images, signals or vectors."""
    inner = draw(
        st.sampled_from([(2, 4, 5), (3, 5, 4), (4, 3, 3), (1, 6, 6), (2, 7), (3, 6), (5,)])
    )
    graph = Graph(draw, inner)
    for _ in range(draw(st.integers(1, 8))):
        a = draw(st.sampled_from(graph.tensors))
        image = len(a.shape) > 1 and len(a.shape) == len(inner) and draw(st.booleans())
        step = draw(st.sampled_from(IMAGES if image else ANY))
        kept = len(graph.nodes), len(graph.constants)
        found = step(graph, a)
        if found is not None and 0 in found.shape:
            found = Tensor(found.name, shape_of(graph.model(found), graph))
        if found is None or not found.shape or math.prod(found.shape) > LARGEST:
            del graph.nodes[kept[0] :], graph.constants[kept[1] :]
        else:
            graph.tensors.append(found)
    last = graph.tensors[-1]
    if not graph.nodes:
        last = graph.add("Identity", [last.name], last.shape)
    return graph.model(last)


def shape_of(model, graph):
    """The shape of one sample of what a model writes."""
    rows = graph.rows or 2
    shape = (rows, *graph.inner) if graph.batch != "none" else (math.prod(graph.inner),)
    (found,) = evaluator(model).run(None, {"input": np.zeros(shape)})
    return found.shape[1:]
