"""A file of ONNX as a network: its operators one after the other, without a runtime.

Every operator is either in the table below, or refused by name. Numbers that do not depend on the
input are computed by the reference evaluator of ONNX.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from sheaflib.networks.graph import Network
from sheaflib.networks.readers import onnx_affine as affine
from sheaflib.networks.readers import onnx_linear as linear
from sheaflib.networks.readers import onnx_moves as moves
from sheaflib.networks.readers import onnx_selections as selections
from sheaflib.networks.readers.folding import folded
from sheaflib.networks.readers.onnx_call import Call, Tensor
from sheaflib.networks.readers.onnx_names import layer_name
from sheaflib.networks.readers.onnx_reference import check_room, evaluate
from sheaflib.networks.readers.original import Reading
from sheaflib.networks.readers.tracing import Tracer
from sheaflib.networks.readers.views import View, size
from sheaflib.support.checks import MOST, brief, real_array
from sheaflib.support.extras import needs

with needs("reading an ONNX file", "onnx"):
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import helper, inliner, numpy_helper
    from onnx.reference import ReferenceEvaluator

OPERATORS: dict[str, Callable[[Call], View | list[View]]] = {
    **dict.fromkeys(moves.MOVES, moves.move),
    "Cast": moves.cast,
    "CastLike": moves.cast,
    "Concat": moves.concat,
    "Dropout": moves.dropout,
    "Pad": moves.pad,
    "Resize": linear.resize,
    "Upsample": moves.upsample,
    "Add": affine.add,
    "AveragePool": affine.average_pool,
    "BatchNormalization": affine.batch_norm,
    "Conv": affine.convolution,
    "ConvTranspose": affine.transposed,
    "Div": affine.divide,
    "Einsum": linear.einsum,
    "Gemm": affine.gemm,
    "GlobalAveragePool": affine.global_average,
    "MatMul": affine.matmul,
    "Mean": affine.mean,
    "Mul": affine.multiply,
    "Neg": affine.negative,
    "ReduceMean": affine.reduce_mean,
    "ReduceSum": affine.reduce_sum,
    "Sub": affine.subtract,
    "Sum": affine.add,
    "Abs": selections.absolute,
    "Clip": selections.clip,
    "GlobalMaxPool": selections.global_max,
    "HardSigmoid": selections.hard_sigmoid,
    "LeakyRelu": selections.leaky,
    "LogSoftmax": selections.softmax,
    "Max": selections.maximum,
    "MaxPool": selections.max_pool,
    "Min": selections.minimum,
    "PRelu": selections.prelu,
    "ReduceMax": selections.reduce_max,
    "ReduceMin": selections.reduce_min,
    "Relu": selections.relu,
    "Scaler": linear.scaler,
    "Sigmoid": selections.sigmoid,
    "Softmax": selections.softmax,
}
# operators that only the last map may be, and what a head lets pass
AFTER_A_HEAD = (*moves.MOVES, "Cast", "CastLike", "Dropout")
OTHER = "it is not piecewise affine, or not covered"
NOT_AFFINE = (
    "Attention Celu Elu Erf Exp Gelu GRU GroupNormalization HardSwish InstanceNormalization"
    " LayerNormalization Log LRN LSTM Mish Pow Reciprocal RMSNormalization RNN Selu Softplus"
    " Softsign Sqrt Swish Tanh"
).split()


class Model:
    """A file of ONNX that was opened: its graph, its one input, and the output that is read.

    model: a path, the bytes of a file, or an onnx.ModelProto; shape: of the example that came with
    it, or None; output: the name of one of several outputs, or None; exact: a number that a file
    can hold as an attribute, in float32, to the number that was meant.
    """

    def __init__(
        self,
        model: Any,
        shape: tuple[int, ...] | None,
        output: str | None,
        exact: Mapping[float, float],
    ):
        self.proto, self.exact = opened(model), exact
        graph = self.proto.graph
        self.opset = next(
            (entry.version for entry in self.proto.opset_import if entry.domain in ("", "ai.onnx")),
            1,
        )
        if self.opset < 7:
            raise ValueError(f"the file is of opset {self.opset}, expected 9 or newer")
        self.constants = {tensor.name: array(tensor) for tensor in graph.initializer}
        if graph.sparse_initializer:
            raise ValueError("the file holds sparse constants, which are not read")
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            names = ", ".join(value.name for value in inputs) or "none"
            raise ValueError(f"the model has the inputs {names}, expected one")
        self.input = inputs[0].name
        self.type = helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type)
        if self.type.kind != "f":
            raise ValueError(f"the input {self.input!r} is of {self.type}, expected float numbers")
        self.shape, self.free = input_shape(inputs[0], shape)
        # a vector without a batch axis is one sample
        self.batch = self.shape[0] if len(self.shape) > 1 or self.free else 0
        self.inner = self.shape[1:] if self.batch else self.shape
        names = [value.name for value in graph.output]
        if output is None and len(names) != 1:
            raise ValueError(
                f"the model has the outputs {', '.join(names)}, expected one: pass output=, the"
                " name of one of them"
            )
        if output is not None and output not in names:
            raise ValueError(f"output={brief(output)}, expected one of {', '.join(names)}")
        self.output = names[0] if output is None else output

    def network(self) -> tuple[Network, str]:
        """The network, and what the model applies last: "", softmax, log-softmax or sigmoid."""
        tracer = Tracer(size(self.inner), self.batch)
        views: dict[str, View] = {self.input: tracer.input(self.shape)}
        for node in needed(self.proto.graph.node, self.output):
            self._read(node, views, tracer)
        if self.output not in views:
            raise ValueError(f"the output {self.output!r} does not depend on the input")
        view = views[self.output]
        last = tracer.stalk("output", view)
        nodes = folded(tracer.nodes, last)
        output = view.head.removeprefix("log-") or "identity"
        return Network(size(self.inner), nodes, output), view.head

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What the file itself writes for a batch, by the reference evaluator."""
        evaluator = ReferenceEvaluator(self.proto)
        fed = (x if self.batch else x[0]).astype(self.type)
        return np.asarray(evaluator.run([self.output], {self.input: fed})[0])

    def _read(self, node: Any, views: dict[str, View], tracer: Tracer) -> None:
        """One node: constants are computed, what depends on the input becomes views."""
        label = layer_name(node, self.constants)
        try:
            machine_learning = node.domain == "ai.onnx.ml" and node.op_type == "Scaler"
            if node.domain not in ("", "ai.onnx") and not machine_learning:
                raise ValueError(f"it is of the domain {node.domain!r}, which is not read")
            attributes = {
                a.name: self._meant(helper.get_attribute_value(a)) for a in node.attribute
            }
            inputs = [self._tensor(name, views) for name in node.input]
            computed = [tensor for tensor in inputs if isinstance(tensor, View)]
            if node.op_type in ("Shape", "Size") and computed:
                self._measure(node, attributes, computed[0])
            elif not computed:
                self._compute(node, attributes, inputs)
            else:
                call = Call(label, node, attributes, inputs, self.opset, tracer)
                found = self._called(call, computed)
                views.update(zip(node.output, found if isinstance(found, list) else [found]))
        except (ArithmeticError, AttributeError, LookupError, MemoryError) as error:
            raise ValueError(f"{node.op_type} {label!r}: {error!r}") from error
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{node.op_type} {label!r}: {error}") from error

    def _tensor(self, name: str, views: dict[str, View]) -> Tensor | None:
        """The tensor of a name, None for an input that is left out."""
        if not name:
            return None
        if name in views:
            return views[name]
        if name in self.constants:
            return self.constants[name]
        raise ValueError(f"it reads {name!r}, which no node before it writes")

    def _meant(self, value: Any) -> Any:
        """An attribute, with the number that was meant where it is a float."""
        return self.exact.get(value, value) if isinstance(value, float) else value

    def _measure(self, node: Any, attributes: dict, view: View) -> None:
        """Shape and Size of a computed tensor are constants."""
        shape = np.array(view.shape, dtype=np.int64)
        if node.op_type == "Size":
            shape = np.array(shape.prod())
        else:
            shape = shape[attributes.get("start", 0) : attributes.get("end", len(shape))]
        self.constants[node.output[0]] = shape

    def _compute(self, node: Any, attributes: dict, inputs: list) -> None:
        """What does not depend on the input is a constant."""
        if any(a.type in (5, 10) for a in node.attribute):
            raise ValueError("it holds a graph of its own, which is not read")
        found = evaluate(node.op_type, attributes, inputs, len(node.output), self.opset)
        for name, value in zip(node.output, found):
            self.constants[name] = np.asarray(value)

    def _called(self, call: Call, computed: list[View]) -> View | list[View]:
        """What an operator of the table writes; ValueError for any other."""
        operator = call.node.op_type
        head = next((view.head for view in computed if view.head), "")
        if operator not in OPERATORS:
            raise ValueError("it is not piecewise affine" if operator in NOT_AFFINE else OTHER)
        if head and operator not in AFTER_A_HEAD:
            raise ValueError(
                f"it reads what a {head} writes, expected the {head} to be last: inside a network"
                " it is not piecewise affine"
            )
        arrays = [t.places if isinstance(t, View) else t for t in call.inputs]
        check_room(operator, arrays)
        return OPERATORS[operator](call)


def opened(model: Any) -> Any:
    """The onnx.ModelProto of a path, of bytes, or of itself, with its functions written out."""
    if isinstance(model, (str, os.PathLike)):
        model = onnx.load(os.fspath(model))
    elif isinstance(model, (bytes, bytearray, memoryview)):
        model = onnx.load_model_from_string(bytes(model))
    if not isinstance(model, onnx.ModelProto) or not model.HasField("graph"):
        raise ValueError("it holds no model of ONNX")
    return inliner.inline_local_functions(model) if model.functions else model


def needed(nodes: Sequence[Any], output: str) -> list[Any]:
    """The nodes that an output depends on, in order; a classifier's label is not read, say."""
    wanted, found = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(name for name in node.input if name)
            found.append(node)
    return found[::-1]


def array(tensor: Any) -> np.ndarray:
    """A constant of the file, its numbers checked."""
    value = numpy_helper.to_array(tensor)
    return real_array(tensor.name, value).astype(value.dtype) if value.dtype.kind == "f" else value


def input_shape(value: Any, example: tuple[int, ...] | None) -> tuple[tuple[int, ...], bool]:
    """The shape of the input with which the model is traced, and whether the number of samples is
    free. The first axis is that of the samples. Where it is free the model is traced with two.

    Raises ValueError for a size that neither the file nor an example says.
    """
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise ValueError(f"the file does not say the shape of the input {value.name!r}")
    sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if not sides:
        raise ValueError(f"the input {value.name!r} is a single number, expected (samples, …)")
    if example is not None and len(example) != len(sides):
        raise ValueError(
            f"example has shape {example}, expected {len(sides)} axes as the model's input has"
        )
    free = sides[0] <= 0
    whole = [2 if free else sides[0]]
    for axis, side in enumerate(sides[1:], start=1):
        if side <= 0 and example is None:
            raise ValueError(
                f"the file leaves axis {axis} of the input {value.name!r} open: pass example=, an"
                " array of a batch of inputs"
            )
        if side > 0 and example is not None and example[axis] != side:
            raise ValueError(f"example has shape {example}, expected {side} at axis {axis}")
        whole.append(side if side > 0 else example[axis])
    if min(whole) < 1 or size(tuple(whole)) > MOST // 8:
        raise ValueError(f"the input {value.name!r} has the shape {tuple(whole)}")
    return tuple(whole), free


def reading(
    model: Any,
    example: np.ndarray | None,
    output: str | None,
    exact: Mapping[float, float] = MappingProxyType({}),
) -> Reading:
    """A path, bytes or onnx.ModelProto as a network, beside the file's own values; exact as Model
    takes it.

    Raises ValueError for what is no file of ONNX and for a model that is not covered, by name.
    """
    try:
        opened_model = Model(model, None if example is None else example.shape, output, exact)
        network, head = opened_model.network()
    except (DecodeError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"the file is damaged, or no file of ONNX: {error}") from error
    rows = None if opened_model.free else max(opened_model.batch, 1)
    return Reading(network, opened_model, opened_model.inner, rows, opened_model.type, head)
