"""A feedforward network as a topologically ordered graph of operations (the paper's construction;
merges are derived).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from types import MappingProxyType
from typing import IO, Any, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks import storage
from sheaflib.networks.affine import Affine
from sheaflib.networks.foreign import way_from
from sheaflib.networks.operations import Operation, Parameter, Stack
from sheaflib.networks.output import Output
from sheaflib.networks.selection import Elementwise, ReLU
from sheaflib.networks.separation import separated
from sheaflib.networks.structured import Structured
from sheaflib.support.checks import batch, brief, items, positive, whole

INPUT = "x"
A_OUT = "a_out"
Parameters = dict[str, dict[str, Parameter]]  # node -> name of the parameter -> its numbers
AT_ONCE = 2**21  # numbers in the values of a forward pass through layers of images


@dataclass(frozen=True)
class Node:
    """One intermediate quantity: its name, the operation that computes it, the names it reads."""

    name: str
    operation: Operation
    inputs: tuple[str, ...]

    def __init__(self, name: str, operation: Operation, inputs: str | Sequence[str]):
        reads = (inputs,) if isinstance(inputs, str) else inputs
        if not isinstance(name, str):
            raise TypeError(f"the name of a node is {brief(name)}, expected text")
        texts = isinstance(reads, (list, tuple)) and all(isinstance(read, str) for read in reads)
        if not texts or not reads:
            raise TypeError(
                f"node {name!r} has inputs={brief(inputs)}, expected names as text, one or several"
            )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "operation", operation)
        object.__setattr__(self, "inputs", tuple(reads))


@dataclass(frozen=True)
class Network:
    """A frozen feedforward network: n_in inputs "x", nodes in topological order, an output map φ on
    the last node.

    `nodes` holds Node objects, or tuples (name, operation[, inputs]); a node without inputs reads
    the node before it. `difference` is, of a network that `read` made, its largest difference to
    the original, relative to the largest output; None of others. Raises ValueError for an unknown
    or repeated name, a node that reads a later one, and widths that do not fit.

    >>> first, last = Affine([[1]], [0.5]), Affine([[2, 1]])
    >>> skip = ("p", Stack(1, 1), ("a1", "x"))
    >>> network = Network(1, [("z1", first), ("a1", ReLU(1)), skip, ("z2", last)])
    >>> network([[1.0], [-1.0]])
    array([[ 4.],
           [-1.]])
    """

    n_in: int
    nodes: tuple[Node, ...]
    output: Output
    difference: float | None = None

    def __init__(
        self,
        n_in: int,
        nodes: Sequence = (),
        output: str | Output = "identity",
        *,
        difference: float | None = None,
    ):
        if hint := way_from(n_in):
            raise TypeError(f"n_in is a {type(n_in).__name__}, expected a whole number{hint}")
        object.__setattr__(self, "n_in", whole("n_in", n_in))
        object.__setattr__(self, "nodes", _nodes(self.n_in, nodes))
        object.__setattr__(self, "output", output if isinstance(output, Output) else Output(output))
        if difference is not None:
            difference = positive("difference", difference, zero=True)
        object.__setattr__(self, "difference", difference)

    @classmethod
    def mlp(
        cls, weights: Sequence, biases: Sequence | None = None, output: str | Output = "identity"
    ) -> Network:
        """The chain z^ℓ = W^ℓ a^{ℓ-1} + b^ℓ, a^ℓ = ReLU(z^ℓ), φ(z^{k+1}); weights[ℓ-1] is (n_ℓ,
        n_{ℓ-1}), biases default to 0.
        """
        if hint := way_from(weights):
            raise TypeError(f"weights is a {type(weights).__name__}, expected a list{hint}")
        weights = items("weights", weights)
        biases = [None] * len(weights) if biases is None else items("biases", biases)
        if not weights or len(biases) != len(weights):
            raise ValueError(
                f"got {len(weights)} weights and {len(biases)} biases, expected one of each a"
                " layer, at least one"
            )
        nodes: list[tuple[str, Operation]] = []
        for layer, (weight, bias) in enumerate(zip(weights, biases), start=1):
            affine = _layer(layer, weight, bias, nodes[-1][1].n_out if nodes else None)
            nodes += [(f"z{layer}", affine), (f"a{layer}", ReLU(affine.n_out))]
        return cls(nodes[0][1].n_in, nodes[:-1], output)

    @classmethod
    def he(
        cls, dims: Sequence[int], rng: np.random.Generator, output: str | Output = "identity"
    ) -> Network:
        """The chain with widths dims = [n_0, …, n_{k+1}], He weights N(0, 2/n_{ℓ-1}) and zero
        biases (the paper's construction).
        """
        if not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"rng={brief(rng)} must be a numpy.random.Generator: use np.random.default_rng(42)"
            )
        dims = [whole("dims", n) for n in items("dims", dims)]
        if len(dims) < 2:
            raise ValueError(f"dims={dims} must hold at least the input and the output width")
        return cls.mlp(
            [rng.standard_normal((n, m)) * np.sqrt(2 / m) for m, n in zip(dims, dims[1:])],
            None,
            output,
        )

    @property
    def n_out(self) -> int:
        """The width of the output."""
        return self.nodes[-1].operation.n_out

    @property
    def output_name(self) -> str:
        """The name of the last node, whose value the output function φ is applied to.

        >>> Network.mlp([[[1.0]], [[2.0]]]).output_name
        'z2'
        """
        return self.nodes[-1].name

    @property
    def affine_nodes(self) -> list[Node]:
        """The nodes whose edges are affine, in order.

        >>> [node.name for node in Network.mlp([[[1.0]], [[2.0]]]).affine_nodes]
        ['z1', 'z2']
        """
        return [node for node in self.nodes if node.operation.kind == "affine"]

    @property
    def parameters(self) -> Parameters:
        """What training may change: node -> name of the parameter -> an array, or a sparse matrix
        as it is stored. Nodes without parameters are left out.

        Raises TypeError, which names the node, where an affine map is matrix-free.

        >>> {name: list(own) for name, own in Network.mlp([[[1.0]], [[2.0]]]).parameters.items()}
        {'z1': ['weight', 'bias'], 'z2': ['weight', 'bias']}
        """
        found = {}
        for node in self.nodes:
            try:
                own = node.operation.parameters
            except TypeError as error:
                raise TypeError(f"node {node.name!r}: {error}") from None
            if own:
                found[node.name] = own
        return found

    def with_parameters(self, parameters: Mapping[str, Mapping[str, Parameter]]) -> Network:
        """The network with other numbers for some of its parameters: node -> name of the parameter
        -> an array of the same shape.

        Raises ValueError for an unknown node or parameter, for another shape, and for numbers that
        are not finite; TypeError where the node's affine map is matrix-free.

        >>> network = Network.mlp([[[1.0]], [[2.0]]]).with_parameters({"z2": {"bias": [3.0]}})
        >>> network([[1.0]])
        array([[5.]])
        """
        names = [node.name for node in self.nodes]
        if not isinstance(parameters, Mapping) or not all(
            isinstance(own, Mapping) for own in parameters.values()
        ):
            raise TypeError(
                f"parameters={brief(parameters)}, expected node -> name of the parameter -> array"
            )
        unknown = [name for name in parameters if name not in names]
        if unknown:
            raise ValueError(
                f"parameters names the node {brief(unknown[0])}, expected one of {', '.join(names)}"
            )
        nodes = [
            _with_parameters(node, parameters[node.name]) if node.name in parameters else node
            for node in self.nodes
        ]
        return Network(self.n_in, nodes, self.output)

    def with_output(self, output: str | Output) -> Network:
        """The network with another output map on the same last node: softmax, say, for a
        classifier that was read with its logits.

        Raises ValueError for an unknown one.

        >>> Network.mlp([[[1.0]]]).with_output("sigmoid")([[0.0]])
        array([[0.5]])
        """
        return Network(self.n_in, self.nodes, output, difference=self.difference)

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes (channels, height, width) of the stalks that hold images, and (channels,
        length) of signals, by name, "x" included; vectors have none.

        What writes an image says so; element-wise selections, stacks and sums pass it on. A stalk
        of which nothing is known so, the input first of all, has the shape in which it is read.

        >>> from sheaflib.layers import convolution
        >>> conv, shape = convolution(np.ones((2, 1, 3, 3)), (1, 4, 4))
        >>> network = Network(16, [("z1", conv), ("a1", ReLU(8)), ("z2", Affine(np.ones((1, 8))))])
        >>> dict(network.shapes)
        {'x': (1, 4, 4), 'z1': (2, 2, 2), 'a1': (2, 2, 2)}
        """
        return MappingProxyType(_shapes(self.nodes))

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: not what was computed from it."""
        names = ("n_in", "nodes", "output", "difference")
        return {name: getattr(self, name) for name in names}

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """φ(z^{k+1}) for a batch: (B, n_in) -> (B, n_out); OverflowError when the pass leaves
        float64.
        """
        x = batch(INPUT, x, self.n_in)
        found = [values[self.output_name] for _, values in forward_values(self, x)]
        return self.output.value(found[0] if len(found) == 1 else np.concatenate(found))

    def separated(self) -> Network:
        """The same function as a network whose kinks lie apart, which `equilibrium` and
        `enumerate_equilibria` need; itself where they do already.

        A ReLU (or PReLU, or clamp) whose stalk something else reads as well gets an identity copy
        of it, named after it with ".copy"; a max-pool gets a window vertex, ".window", with one
        copy of each entry for each window. Each new vertex has stalks and an edge of its own: N
        grows, λ₁ falls, and part of the discord lies on the new edges (derived).

        >>> from sheaflib import MaxPool
        >>> pool = MaxPool([[0, 1], [1, 2]], 3)
        >>> network = Network(3, [("z", Affine(np.eye(3))), ("m", pool)])
        >>> network.separated()
        Network(x(3) -> z(3) -> m.window(4) -> m(2), identity)
        """
        nodes = separated(self)
        if len(nodes) == len(self.nodes):
            return self
        return Network(self.n_in, nodes, self.output, difference=self.difference)

    def save(self, file: str | PathLike[str] | IO[bytes]) -> None:
        """Write the network to a file of just this name, or to an open binary stream.

        The file has the format .npz, whatever its name: plain arrays and a header in JSON, no
        pickle. A file that was there stays as it is until the new one is whole. Raises TypeError
        for a matrix-free node, whose functions no file can hold.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Network.mlp([[[2.0]], [[1.0]]]).save(f"{folder}/plain")
        ...     Network.load(f"{folder}/plain")
        Network(x(1) -> z1(1) -> a1(1) -> z2(1), identity)
        """
        storage.save(self, file)

    @classmethod
    def load(cls, file: str | PathLike[str] | IO[bytes]) -> Network:
        """Read a network that `save` wrote, in this version of sheaflib or in 0.1, from a path or
        an open binary stream.

        The file need not be trusted: nothing in it is unpickled or run, and every number is checked
        before it is used. Raises ValueError, naming the file and the part of it, for one that is
        damaged or was not written by `save`, OSError for one that cannot be opened.
        """
        return storage.load(file, cls)

    def __repr__(self) -> str:
        chain = " -> ".join(f"{node.name}({node.operation.n_out})" for node in self.nodes[:8])
        more = " -> …" if len(self.nodes) > 8 else ""
        read = f", read to {self.difference:.1e}" if self.difference is not None else ""
        return f"Network(x({self.n_in}) -> {chain}{more}, {self.output.name}{read})"


def check_network(network: object) -> Network:
    """Raise TypeError unless `network` is a Network, and say what to make of what came."""
    if not isinstance(network, Network):
        makes = ", as Network.mlp(weights, biases, output) makes one"
        raise TypeError(
            f"network is a {type(network).__name__}, expected a Network{way_from(network) or makes}"
        )
    return network


def gather(values: dict[str, np.ndarray], node: Node) -> np.ndarray:
    """What a node reads: its one input, or its inputs side by side."""
    parts = [values[name] for name in node.inputs]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def forward_values(
    network: Network, x: np.ndarray
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """The values of a forward pass by name, "x" included; OverflowError where one leaves float64.

    It comes in one piece, all rows of the batch together. Where a layer of images stores no matrix
    it comes in pieces of about AT_ONCE numbers, each with the slice of its rows, so that a cache
    holds what is passed on.
    """
    layers = [node.operation for node in network.nodes]
    large = any(isinstance(layer, Structured) and not layer.stored for layer in layers)
    one = sum(layer.n_out for layer in layers)
    step = max(1, AT_ONCE // one) if large else len(x)
    for start in range(0, len(x), step):
        rows = slice(start, min(start + step, len(x)))
        values = {INPUT: x[rows]}
        for node in network.nodes:
            values[node.name] = node.operation.value(gather(values, node))
        check_overflow(values)
        yield rows, values


def check_overflow(values: dict[str, np.ndarray]) -> None:
    """Raise OverflowError naming the first quantity of a forward pass that is not finite."""
    if np.isfinite(values[next(reversed(values))]).all():
        return
    first = next(name for name, value in values.items() if not np.isfinite(value).all())
    raise OverflowError(
        f"the forward pass overflows at {first!r}: weights or inputs are too large for float64"
    )


def _nodes(n_in: int, nodes: Sequence) -> tuple[Node, ...]:
    """Normalise and check the nodes of a network."""
    if not isinstance(nodes, (list, tuple)) or not nodes:
        raise ValueError(
            f"nodes is {brief(nodes)}, expected a list of at least one (name, operation[, inputs])"
        )
    dims, checked = {INPUT: n_in}, []
    for entry in nodes:
        node = entry if isinstance(entry, Node) else _as_node(entry, previous=next(reversed(dims)))
        _check_node(node, dims)
        dims[node.name] = node.operation.n_out
        checked.append(node)
    return tuple(checked)


def _shapes(nodes: Sequence[Node]) -> dict[str, tuple[int, ...]]:
    """The shapes of stalks, in order: passed on from what is read to what is written; then, where
    nothing was known, from what reads a stalk to it; then on again.
    """
    found: dict[str, tuple[int, ...] | None] = dict.fromkeys((INPUT, *(n.name for n in nodes)))
    for _ in range(2):
        for node in nodes:
            shape = node.operation.out_shape([found[name] for name in node.inputs])
            found[node.name] = found[node.name] or shape
        for node in reversed(nodes):
            if len(node.inputs) == 1 and found[node.inputs[0]] is None:
                passes = isinstance(node.operation, Elementwise)
                found[node.inputs[0]] = found[node.name] if passes else node.operation.reads
    return {name: shape for name, shape in found.items() if shape is not None}


def _as_node(entry: Sequence, previous: str) -> Node:
    """A Node from (name, operation) or (name, operation, inputs)."""
    if not isinstance(entry, (list, tuple)) or len(entry) not in (2, 3):
        raise ValueError(
            f"nodes holds {brief(entry)}, expected (name, operation) or (name, operation, inputs)"
        )
    return Node(entry[0], entry[1], entry[2] if len(entry) == 3 else previous)


def _check_node(node: Node, dims: dict[str, int]) -> None:
    if not isinstance(node.operation, Operation):
        raise TypeError(
            f"node {node.name!r} holds {type(node.operation).__name__}, expected an operation,"
            " as Affine, ReLU, MaxPool, Stack and sheaflib.layers make them"
        )
    if node.name in dims or node.name == A_OUT:
        raise ValueError(f"node name {node.name!r} is taken, expected a new name")
    unknown = [name for name in node.inputs if name not in dims]
    if unknown:
        raise ValueError(
            f"node {node.name!r} reads {unknown[0]!r}, expected one of the nodes before it:"
            f" {', '.join(dims)}"
        )
    widths = tuple(dims[name] for name in node.inputs)
    expected = node.operation.dims if isinstance(node.operation, Stack) else (node.operation.n_in,)
    if widths != expected:
        raise ValueError(
            f"node {node.name!r} is {node.operation!r} and reads widths {expected}, "
            f"but {', '.join(node.inputs)} has {brief(widths)}"
            f"{' (x is n_in wide)' if INPUT in node.inputs else ''}"
        )


def _with_parameters(node: Node, own: Mapping[str, Parameter]) -> Node:
    """The node with other parameters; errors name it."""
    try:
        return replace(node, operation=node.operation.with_parameters(**own))
    except (ValueError, TypeError) as error:
        raise type(error)(f"node {node.name!r}: {error}") from None


def _layer(
    layer: int, weight: Affine | ArrayLike, bias: ArrayLike | None, n_in: int | None
) -> Affine:
    """One affine layer of a chain, with errors that name it and notice a transposed weight."""
    if isinstance(weight, Affine) and bias is not None:
        raise ValueError(
            f"layer {layer}: bias is given beside an Affine, which has one already; pass None"
            " for it"
        )
    try:
        affine = weight if isinstance(weight, Affine) else Affine(weight, bias)
    except (ValueError, TypeError) as error:
        raise type(error)(f"layer {layer}: {error}") from None
    if n_in is not None and affine.n_in != n_in:
        hint = " (it looks transposed: pass weight.T)" if affine.n_out == n_in else ""
        raise ValueError(
            f"layer {layer}: weight has shape {affine.weight.shape}, expected (any, {n_in}): "
            f"layer {layer - 1} is {n_in} wide{hint}"
        )
    return affine
