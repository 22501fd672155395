"""A feedforward network as a topologically ordered graph of operations (the paper's construction; merges are derived)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Sequence

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import LinearOperator

from sheaflib.affine import Affine
from sheaflib.checks import batch, real_array, whole
from sheaflib.operations import Operation, Stack
from sheaflib.output import Output
from sheaflib.selection import MaxPool, ReLU

INPUT = "x"
A_OUT = "a_out"


@dataclass(frozen=True)
class Node:
    """One intermediate quantity: its name, the operation that computes it, the names it reads."""

    name: str
    operation: Operation
    inputs: tuple[str, ...]

    def __post_init__(self):
        inputs = (self.inputs,) if isinstance(self.inputs, str) else self.inputs
        if not isinstance(self.name, str) or not isinstance(inputs, (list, tuple)):
            raise TypeError(f"node {self.name!r} reads {self.inputs!r}, expected names as text, and one name or several to read")
        object.__setattr__(self, "inputs", tuple(inputs))


@dataclass(frozen=True)
class Network:
    """A frozen feedforward network: n_in inputs "x", nodes in topological order, an output map φ on the last node.

    `nodes` holds Node objects, or tuples (name, operation[, inputs]); a node without inputs reads the node before it.
    Raises ValueError for an unknown or repeated name, a node that reads a later one, and widths that do not fit.

    >>> net = Network(1, [("z1", Affine([[1]], [0.5])), ("a1", ReLU(1)), ("p", Stack(1, 1), ("a1", "x")), ("z2", Affine([[2, 1]]))])
    >>> net([[1.0], [-1.0]])
    array([[ 4.],
           [-1.]])
    """

    n_in: int
    nodes: tuple[Node, ...]
    output: Output

    def __init__(self, n_in: int, nodes: Sequence, output: str | Output = "identity"):
        object.__setattr__(self, "n_in", whole("n_in", n_in))
        object.__setattr__(self, "nodes", _nodes(self.n_in, nodes))
        object.__setattr__(self, "output", output if isinstance(output, Output) else Output(output))

    @classmethod
    def mlp(cls, weights: Sequence, biases: Sequence | None = None, output: str | Output = "identity") -> Network:
        """The chain z^ℓ = W^ℓ a^{ℓ-1} + b^ℓ, a^ℓ = ReLU(z^ℓ), φ(z^{k+1}); weights[ℓ-1] is (n_ℓ, n_{ℓ-1}), biases default to 0."""
        weights = list(weights)
        biases = [None] * len(weights) if biases is None else list(biases)
        if not weights or len(biases) != len(weights):
            raise ValueError(f"got {len(weights)} weights and {len(biases)} biases, expected one of each a layer, at least one")
        nodes = []
        for layer, (weight, bias) in enumerate(zip(weights, biases), start=1):
            affine = _layer(layer, weight, bias, nodes[-1][1].n_out if nodes else None)
            nodes += [(f"z{layer}", affine), (f"a{layer}", ReLU(affine.n_out))]
        return cls(nodes[0][1].n_in, nodes[:-1], output)

    @classmethod
    def he(cls, dims: Sequence[int], rng: np.random.Generator, output: str | Output = "identity") -> Network:
        """The chain with widths dims = [n_0, …, n_{k+1}], He weights N(0, 2/n_{ℓ-1}) and zero biases (the paper's construction)."""
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng={rng!r} must be a numpy.random.Generator: use np.random.default_rng(42)")
        dims = [whole("dims", n) for n in dims]
        if len(dims) < 2:
            raise ValueError(f"dims={dims} must hold at least the input and the output width")
        return cls.mlp([rng.standard_normal((n, m)) * np.sqrt(2 / m) for m, n in zip(dims, dims[1:])], None, output)

    @property
    def n_out(self) -> int:
        return self.nodes[-1].operation.n_out

    def __call__(self, x) -> np.ndarray:
        """φ(z^{k+1}) for a batch: (B, n_in) -> (B, n_out); OverflowError when the pass leaves float64."""
        x = batch(INPUT, x, self.n_in)
        values = {INPUT: x}
        for node in self.nodes:
            values[node.name] = node.operation.value(gather(values, node))
        check_overflow(values)
        return self.output.value(values[self.nodes[-1].name])

    def save(self, file) -> None:
        """Write the network to a .npz file (plain arrays and one JSON string, no pickle); TypeError when matrix-free."""
        arrays, described = {}, []
        for node in self.nodes:
            kind, numbers = _describe(node, arrays)
            described.append({"name": node.name, "inputs": node.inputs, "kind": kind, **numbers})
        header = {"n_in": self.n_in, "output": self.output.name, "nodes": described}
        np.savez(file, network=np.array(json.dumps(header)), **arrays)

    @classmethod
    def load(cls, file) -> Network:
        """Read a network written by `save`."""
        with np.load(file, allow_pickle=False) as arrays:
            if "network" not in arrays:
                raise ValueError(f"{file} holds {', '.join(arrays.files)}, expected a file written by Network.save")
            header = json.loads(str(arrays["network"]))
            nodes = [(node["name"], _restore(node, arrays), tuple(node["inputs"])) for node in header["nodes"]]
        return cls(header["n_in"], nodes, header["output"])

    def __repr__(self):
        chain = " -> ".join(f"{node.name}({node.operation.n_out})" for node in self.nodes[:8])
        return f"Network(x({self.n_in}) -> {chain}{' -> …' if len(self.nodes) > 8 else ''}, {self.output.name})"


def gather(values: dict[str, np.ndarray], node: Node) -> np.ndarray:
    """What a node reads: its one input, or its inputs side by side."""
    parts = [values[name] for name in node.inputs]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def check_overflow(values: dict[str, np.ndarray]) -> None:
    """Raise OverflowError naming the first quantity of a forward pass that is not finite."""
    if np.isfinite(values[next(reversed(values))]).all():
        return
    first = next(name for name, value in values.items() if not np.isfinite(value).all())
    raise OverflowError(f"the forward pass overflows at {first!r}: weights or inputs are too large for float64")


def _nodes(n_in: int, nodes: Sequence) -> tuple[Node, ...]:
    """Normalise and check the nodes of a network."""
    if not isinstance(nodes, (list, tuple)) or not nodes:
        raise ValueError(f"nodes is {nodes!r}, expected a list of at least one (name, operation[, inputs])")
    dims, checked = {INPUT: n_in}, []
    for entry in nodes:
        node = entry if isinstance(entry, Node) else _as_node(entry, previous=next(reversed(dims)))
        _check_node(node, dims)
        dims[node.name] = node.operation.n_out
        checked.append(node)
    return tuple(checked)


def _as_node(entry: Sequence, previous: str) -> Node:
    """A Node from (name, operation) or (name, operation, inputs)."""
    if len(entry) not in (2, 3):
        raise ValueError(f"nodes holds {entry!r}, expected (name, operation) or (name, operation, inputs)")
    return Node(entry[0], entry[1], entry[2] if len(entry) == 3 else previous)


def _check_node(node: Node, dims: dict[str, int]) -> None:
    if not isinstance(node.operation, Operation):
        raise TypeError(f"node {node.name!r} holds {type(node.operation).__name__}, expected Affine, ReLU, MaxPool or Stack")
    if node.name in dims or node.name == A_OUT:
        raise ValueError(f"node name {node.name!r} is taken, expected a new name")
    unknown = [name for name in node.inputs if name not in dims]
    if unknown:
        raise ValueError(f"node {node.name!r} reads {unknown[0]!r}, expected one of the nodes before it: {', '.join(dims)}")
    widths = tuple(dims[name] for name in node.inputs)
    expected = node.operation.dims if isinstance(node.operation, Stack) else (node.operation.n_in,)
    if widths != expected:
        raise ValueError(f"node {node.name!r} is {node.operation!r} and reads widths {expected}, "
                         f"but {', '.join(node.inputs)} has {widths}")


def _layer(layer: int, weight, bias, n_in: int | None) -> Affine:
    """One affine layer of a chain, with errors that name it and notice a transposed weight."""
    if isinstance(weight, Affine) and bias is not None:
        raise ValueError(f"layer {layer}: bias is given beside an Affine, which has one already; pass None for it")
    try:
        affine = weight if isinstance(weight, Affine) else Affine(weight, bias)
    except (ValueError, TypeError) as error:
        raise type(error)(f"layer {layer}: {error}") from None
    if n_in is not None and affine.n_in != n_in:
        hint = " (it looks transposed: pass weight.T)" if affine.n_out == n_in else ""
        raise ValueError(f"layer {layer}: weight has shape {affine.weight.shape}, expected (any, {n_in}): "
                         f"layer {layer - 1} is {n_in} wide{hint}")
    return affine


def _describe(node: Node, arrays: dict) -> tuple[str, dict]:
    """An operation's kind and numbers for the JSON header; its arrays go into `arrays`."""
    operation, name = node.operation, node.name
    if isinstance(operation, ReLU):
        return "relu", {"n": operation.n, "slope": operation.slope}
    if isinstance(operation, Stack):
        return "stack", {"dims": operation.dims}
    if isinstance(operation, MaxPool):
        arrays[f"{name}.windows"] = operation.windows
        return "maxpool", {"n": operation.n_in}
    if isinstance(operation.weight, LinearOperator):
        raise TypeError(f"node {name!r} is matrix-free: functions cannot be saved, give it a dense or sparse weight")
    arrays[f"{name}.bias"] = operation.bias
    if isinstance(operation.weight, np.ndarray):
        arrays[f"{name}.weight"] = operation.weight
        return "affine", {}
    for part in ("data", "indices", "indptr"):
        arrays[f"{name}.{part}"] = getattr(operation.weight, part)
    return "sparse", {"shape": operation.weight.shape}


def _restore(node: dict, arrays) -> Operation:
    name = node["name"]
    if node["kind"] == "relu":
        return ReLU(node["n"], node["slope"])
    if node["kind"] == "stack":
        return Stack(*node["dims"])
    if node["kind"] == "maxpool":
        return MaxPool(arrays[f"{name}.windows"], node["n"])
    if node["kind"] == "affine":
        return Affine(arrays[f"{name}.weight"], arrays[f"{name}.bias"])
    weight = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    return Affine(sparse.csr_array(weight, shape=tuple(node["shape"])), arrays[f"{name}.bias"])
