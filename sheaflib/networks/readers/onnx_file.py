"""A file of ONNX as a network: its operators one after the other, without a runtime.

Every operator is either in the table below, or refused by name. Numbers that do not depend on the
input are computed by the reference evaluator of ONNX.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from types import MappingProxyType
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from sheaflib.networks.gather import Gather
from sheaflib.networks.graph import Network
from sheaflib.networks.readers import onnx_affine as affine
from sheaflib.networks.readers import onnx_linear as linear
from sheaflib.networks.readers import onnx_moves as moves
from sheaflib.networks.readers import onnx_selections as selections
from sheaflib.networks.readers.folding import folded
from sheaflib.networks.readers.onnx_call import Call, Tensor
from sheaflib.networks.readers.onnx_names import layer_name
from sheaflib.networks.readers.onnx_opening import array, attribute, float_type, input_shape, opened
from sheaflib.networks.readers.onnx_reference import check_room, evaluate
from sheaflib.networks.readers.onnx_repairs import evaluator
from sheaflib.networks.readers.original import Reading
from sheaflib.networks.readers.tracing import Tracer
from sheaflib.networks.readers.views import View, size
from sheaflib.support.checks import brief

OPERATORS: dict[str, Callable[[Call], View | list[View]]] = {
    **dict.fromkeys(moves.MOVES, moves.move),
    "Cast": moves.cast,
    "CastLike": moves.cast,
    "Concat": moves.concat,
    "Dropout": moves.dropout,
    "Pad": moves.pad,
    "Trilu": moves.trilu,
    "Where": moves.where,
    "Resize": linear.resize,
    "Upsample": moves.upsample,
    "Add": affine.add,
    "AveragePool": affine.average_pool,
    "BatchNormalization": affine.batch_norm,
    "Conv": affine.convolution,
    "ConvTranspose": affine.transposed,
    "CumSum": affine.cumulated,
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
NOT_CONTINUOUS = (
    "And ArgMax ArgMin Ceil Equal Floor Greater GreaterOrEqual Hardmax IsInf IsNaN Less LessOrEqual"
    " Mod NonZero Not Or QuantizeLinear Round Shrink Sign ThresholdedRelu TopK Xor"
).split()
RANDOM = (
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
).split()
NOT_AFFINE = (
    "Attention Celu Elu Erf Exp Gelu GRU GroupNormalization HardSwish InstanceNormalization"
    " LayerNormalization Log LRN LSTM Mish Pow Reciprocal RMSNormalization RNN Selu Softplus"
    " Softsign Sqrt Swish Tanh"
).split()


class Model:
    """A file of ONNX that was opened: its graph, its one input, and the output that is read.

    model: a path, the bytes of a file, or an onnx.ModelProto; shape: of the example that came with
    it, or None; output: the name of one of several outputs, or None; precision: the type with the
    fewest digits that it computes with; exact: a number that a file
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
            raise ValueError(f"the file is of opset {self.opset}, expected 7 or newer")
        self.constants: dict[str, Any] = {}
        self._keep(graph)
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            names = ", ".join(value.name for value in inputs) or "none"
            raise ValueError(f"the model has the inputs {names}, expected one")
        self.input = inputs[0].name
        self.type = self.precision = float_type(inputs[0])
        self.shape, self.free = input_shape(inputs[0], shape)
        # a vector without a batch axis is one sample
        self.vector = len(self.shape) == 1 and not self.free
        self.batch = 1 if self.vector else self.shape[0]
        self.inner = self.shape if self.vector else self.shape[1:]
        outputs = [value.name for value in graph.output]
        if output is None and len(outputs) != 1:
            raise ValueError(
                f"the model has the outputs {', '.join(outputs)}, expected one: pass output=, the"
                " name of one of them"
            )
        if output is not None and output not in outputs:
            raise ValueError(f"output={brief(output)}, expected one of {', '.join(outputs)}")
        self.output = outputs[0] if output is None else output

    def network(self) -> tuple[Network, str]:
        """The network, and what the model applies last: "", softmax, log-softmax or sigmoid."""
        tracer = Tracer(size(self.inner), self.batch)
        views: dict[str, View] = {self.input: tracer.input(self.shape)}
        nodes = self._needed()
        del self.proto.graph.node[:]
        self.proto.graph.node.extend(nodes)
        self._read_all(nodes, views, tracer)
        if self.output not in views:
            raise ValueError(f"the output {self.output!r} does not depend on the input")
        view = views[self.output]
        try:
            last = tracer.stalk("output", view)
        except ValueError as error:
            raise ValueError(f"the output {self.output!r}: {error}") from error
        if not tracer.nodes:  # the model gives back its input
            width = size(self.inner)
            last = tracer.add(self.output, Gather(np.arange(width), width), (last,))
        nodes = folded(tracer.nodes, last)
        output = view.head.removeprefix("log-") or "identity"
        return Network(size(self.inner), nodes, output), view.head

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What the file itself writes for a batch, by the reference evaluator."""
        fed = (x[0] if self.vector else x).astype(self.type)
        try:
            (found,) = self._evaluator.run([self.output], {self.input: fed})
            return np.asarray(found)
        except Exception as error:  # whatever the operators of a file raise that contradicts itself
            raise ValueError(f"ONNX itself cannot compute the model: {error!r}") from error

    @cached_property
    def _evaluator(self) -> Any:
        return evaluator(self.proto)

    def _keep(self, graph: Any) -> None:
        """Keep the constants of a graph."""
        if graph.sparse_initializer:
            raise ValueError("the file holds sparse constants, which are not read")
        for tensor in graph.initializer:
            self.constants[tensor.name] = array(tensor)

    def _needed(self) -> list:
        """The nodes that the output depends on; ValueError for one of them that is not read.

        This looks at names alone, before anything is computed.
        """
        names, nodes = {self.output}, []
        for node in reversed(self.proto.graph.node):
            if names.intersection(node.output):
                names.update(read_by(node))
                nodes.append(node)
        nodes.reverse()
        computed = {self.input}
        for node in nodes:
            if node.op_type in ("Shape", "Size") or computed.isdisjoint(read_by(node)):
                continue
            computed.update(node.output)
            if node.domain in ("", "ai.onnx") and node.op_type not in (*OPERATORS, "If"):
                label = layer_name(node, self.constants)
                raise ValueError(f"{node.op_type} {label!r}: {refusal(node.op_type)}")
        return nodes

    def _read_all(self, nodes: Sequence, views: dict[str, View], tracer: Tracer) -> None:
        """Nodes one after the other. A tensor that no later one reads is dropped."""
        readers = Counter(name for node in nodes for name in read_by(node))
        for node in nodes:
            self._read(node, views, tracer)
            for name in node.input:
                readers[name] -= 1
                if readers[name] == 0 and name != self.output:
                    views.pop(name, None)

    def _read(self, node: Any, views: dict[str, View], tracer: Tracer) -> None:
        """One node: constants are computed, what depends on the input becomes views."""
        label = layer_name(node, self.constants)
        try:
            machine_learning = node.domain == "ai.onnx.ml" and node.op_type == "Scaler"
            if node.domain not in ("", "ai.onnx") and not machine_learning:
                raise ValueError(f"it is of the domain {node.domain!r}, which is not read")
            inputs = [self._tensor(name, views) for name in node.input]
            computed = [tensor for tensor in inputs if isinstance(tensor, View)]
            if node.op_type == "If":
                return self._choose(node, inputs, views, tracer)
            attributes = {a.name: self._meant(attribute(a)) for a in node.attribute}
            if node.op_type in ("Shape", "Size") and computed:
                self._measure(node, attributes, computed[0])
            elif not computed or (node.op_type == "CastLike" and inputs[0] is not computed[0]):
                self._compute(node, attributes, inputs)
            else:
                call = Call(label, node, attributes, inputs, self.opset, tracer)
                found = self._called(call, computed)
                views.update(zip(node.output, found if isinstance(found, list) else [found]))
        except ValueError as error:
            raise ValueError(f"{node.op_type} {label!r}: {error}") from error
        except Exception as error:  # whatever comes of attributes and shapes that do not fit
            raise ValueError(f"{node.op_type} {label!r}: {error!r}") from error
        return None

    def _choose(self, node: Any, inputs: list, views: dict[str, View], tracer: Tracer) -> None:
        """If, for a constant condition: the nodes of one of its two graphs."""
        if isinstance(inputs[0], View) or inputs[0] is None:
            raise ValueError("it chooses by a computed number, which is not continuous")
        wanted = "then_branch" if bool(np.ravel(inputs[0])[0]) else "else_branch"
        (graph,) = [a.g for a in node.attribute if a.name == wanted]
        self._keep(graph)
        for inner in graph.node:
            self._read(inner, views, tracer)
        for name, value in zip(node.output, graph.output):
            tensor = self._tensor(value.name, views)
            if isinstance(tensor, View):
                views[name] = tensor
            elif tensor is not None:
                self.constants[name] = tensor

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
        operator = node.op_type
        if operator in RANDOM:
            raise ValueError("it is random")
        given = [array for array in inputs if array is not None]
        if operator == "CastLike":  # of a constant, into the type of a computed tensor
            given = [array for array in given if not isinstance(array, View)]
            self.constants[node.output[0]] = given[0].astype(self.type)
            return
        found = evaluate(operator, attributes, inputs, len(node.output), self.opset)
        for name, value in zip(node.output, found):
            self.constants[name] = np.asarray(value)

    def _called(self, call: Call, computed: list[View]) -> View | list[View]:
        """What an operator of the table writes; ValueError for any other."""
        operator = call.node.op_type
        head = next((view.head for view in computed if view.head), "")
        if operator not in OPERATORS:  # in a graph of If
            raise ValueError(refusal(operator))
        if head and operator not in AFTER_A_HEAD:
            raise ValueError(
                f"it reads what a {head} writes, expected the {head} to be last: inside a network"
                " it is not piecewise affine"
            )
        arrays = [t.places if isinstance(t, View) else t for t in call.inputs]
        check_room(operator, arrays, call.attributes)
        if operator in ("Cast", "CastLike"):
            kinds = (self.precision, moves.cast_type(call))
            self.precision = max(kinds, key=lambda kind: np.finfo(kind).eps)
        return OPERATORS[operator](call)


def refusal(operator: str) -> str:
    """Why an operator that is not in the table is not read."""
    if operator in NOT_AFFINE:
        return "it is not piecewise affine"
    if operator in NOT_CONTINUOUS:
        return "it is not continuous"
    return "it is random" if operator in RANDOM else OTHER


def read_by(node: Any) -> list[str]:
    """The names of the tensors that a node reads, and those that graphs inside it read."""
    inner = [name for a in node.attribute for other in a.g.node for name in read_by(other)]
    return [*node.input, *inner]


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
    except ValueError:
        raise
    except OSError:
        raise
    except Exception as error:  # of protobuf, or of what a damaged file says of itself
        raise ValueError(f"model is no file of ONNX, or a damaged one: {error}") from error
    rows = None if opened_model.free else opened_model.batch
    return Reading(network, opened_model, opened_model.inner, rows, opened_model.precision, head)
