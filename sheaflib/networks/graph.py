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
    """One intermediate quantity of a network, with the operation that computes it.

    Parameters
    ----------
    name : str
        The name of the quantity, such as ``"z1"``. In the sheaf it is the name of a stalk.
    operation : Operation
        What computes it: an `Affine`, a `ReLU`, a `Stack`, or what `sheaflib.layers` makes.
    inputs : str or sequence of str
        The name of the quantity that it reads, or several names for a `Stack`; ``"x"`` is the input
        of the network.

    Attributes
    ----------
    name : str
        The name of the quantity.
    operation : Operation
        What computes it.
    inputs : tuple of str
        The names of what it reads.

    Raises
    ------
    TypeError
        If the name is no text, or the inputs are neither text nor several texts.

    Notes
    -----
    In the paper: section 2, where each node is one step of the composition.

    Examples
    --------
    >>> from sheaflib import Network, Node, ReLU
    >>> Network(2, [Node("a", ReLU(2), "x")])
    Network(x(2) -> a(2), identity)
    """

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
    """A feedforward network, as a graph of operations that cannot be changed.

    It reads the input ``"x"``, computes its nodes one after another, and applies an output map φ to
    the last of them. `Network.mlp` and `Network.he` make chains, and `read` makes networks of
    models of other libraries.

    Parameters
    ----------
    n_in : int
        The width of the input ``"x"``.
    nodes : sequence of Node or tuple
        The nodes in topological order, so that each reads only the input and nodes before it. A
        tuple is (name, operation, inputs) or (name, operation), which reads the node before it.
    output : {"identity", "sigmoid", "softmax"} or Output, default "identity"
        The output map φ.
    difference : float, optional
        For `read`, which gives it; None otherwise.

    Attributes
    ----------
    n_in : int
        The width of the input.
    nodes : tuple of Node
        The nodes in topological order.
    output : Output
        The output map φ.
    difference : float or None
        Of a network that `read` made, its largest difference to the original, relative to the
        largest output; None for others.

    Raises
    ------
    ValueError
        If a name is unknown or repeated, a node reads a later one, or widths do not fit.
    TypeError
        If an entry of `nodes` holds no operation, or a model of another library is given.

    Notes
    -----
    In the paper: section 2, for chains of affine maps and ReLUs; merges are derived.

    Examples
    --------
    >>> from sheaflib import Affine, Network, ReLU, Stack
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
        """Make a chain of affine layers with ReLUs between them.

        Layer ℓ is ``z^ℓ = W^ℓ a^(ℓ−1) + b^ℓ``, followed by ``a^ℓ = ReLU(z^ℓ)`` except after the
        last one, whose value ``z^(k+1)`` the output map φ is applied to. Its nodes are named
        ``z1``, ``a1``, ``z2``, and so on.

        Parameters
        ----------
        weights : sequence of array_like, sparse matrix or Affine
            The weights of the layers, of shapes (n_ℓ, n_(ℓ−1)). An `Affine` stands for a weight and
            a bias.
        biases : sequence of array_like or None, optional
            The biases of the layers, of shapes (n_ℓ,); zeros by default, and where an entry is
            None.
        output : {"identity", "sigmoid", "softmax"} or Output, default "identity"
            The output map φ.

        Returns
        -------
        Network
            The chain.

        Raises
        ------
        ValueError
            If a weight does not fit the layer before it, or there are not as many biases as
            weights.

        Examples
        --------
        >>> from sheaflib import Network
        >>> Network.mlp([[[2.0]], [[3.0]]], [[1.0], [0.0]])([[1.0]])
        array([[9.]])
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
        """Make a chain with random weights.

        The weights of a layer that reads n values are normal with mean zero and variance 2/n (He
        initialisation); the biases are zero.

        Parameters
        ----------
        dims : sequence of int
            The widths of the layers, ``[n_0, …, n_(k+1)]``, from the input to the output.
        rng : numpy.random.Generator
            The source of randomness, such as ``np.random.default_rng(42)``.
        output : {"identity", "sigmoid", "softmax"} or Output, default "identity"
            The output map φ.

        Returns
        -------
        Network
            The chain.

        Raises
        ------
        ValueError
            If there are fewer than two widths.
        TypeError
            If `rng` is no generator of NumPy.

        Examples
        --------
        >>> from sheaflib import Network
        >>> Network.he([2, 4, 1], np.random.default_rng(42))
        Network(x(2) -> z1(4) -> a1(4) -> z2(1), identity)
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
        """The name of the last node, whose value the output map φ is applied to.

        Examples
        --------
        >>> Network.mlp([[[1.0]], [[2.0]]]).output_name
        'z2'
        """
        return self.nodes[-1].name

    @property
    def affine_nodes(self) -> list[Node]:
        """The nodes whose edges are affine, in order.

        Examples
        --------
        >>> [node.name for node in Network.mlp([[[1.0]], [[2.0]]]).affine_nodes]
        ['z1', 'z2']
        """
        return [node for node in self.nodes if node.operation.kind == "affine"]

    @property
    def parameters(self) -> Parameters:
        """What training may change: node -> name of the parameter -> its numbers.

        The numbers are an array, or a sparse matrix as it is stored. Nodes without parameters are
        left out. TypeError, which names the node, is raised where an affine map is matrix-free.

        Examples
        --------
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
        """Make the network with other numbers for some of its parameters.

        Parameters
        ----------
        parameters : mapping
            Node -> name of the parameter -> an array of the shape that it has in
            `Network.parameters`. What is not named stays as it is.

        Returns
        -------
        Network
            The new network.

        Raises
        ------
        ValueError
            If a node or a parameter is unknown, an array has another shape, or a number is not
            finite.
        TypeError
            If the affine map of a node that is named is matrix-free.

        Examples
        --------
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
        """Make the network with another output map on the same last node.

        A classifier that was read with its logits, say, is given a softmax so.

        Parameters
        ----------
        output : {"identity", "sigmoid", "softmax"} or Output
            The output map φ.

        Returns
        -------
        Network
            The new network.

        Raises
        ------
        ValueError
            If the output map is unknown.

        Examples
        --------
        >>> Network.mlp([[[1.0]]]).with_output("sigmoid")([[0.0]])
        array([[0.5]])
        """
        return Network(self.n_in, self.nodes, output, difference=self.difference)

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the stalks that hold images or signals, by name, ``"x"`` included.

        The shape of an image is (channels, height, width), that of a signal (channels, length).
        Stalks that hold plain vectors are left out. What writes an image says its shape;
        element-wise selections, stacks and sums pass it on. A stalk of which nothing is known in
        this way, first of all the input, has the shape in which it is read.

        Examples
        --------
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
        """Compute the output for a batch of inputs.

        Parameters
        ----------
        x : array_like, shape (B, n_in)
            The inputs, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_out)
            The outputs ``φ(z^(k+1))``, one row a sample.

        Raises
        ------
        OverflowError
            If a value of the forward pass leaves the range of float64.
        """
        x = batch(INPUT, x, self.n_in)
        found = [values[self.output_name] for _, values in forward_values(self, x)]
        return self.output.value(found[0] if len(found) == 1 else np.concatenate(found))

    def separated(self) -> Network:
        """Make the same function as a network whose kinks lie apart.

        `equilibrium` and `sheaflib.equilibria.enumeration.enumerate_equilibria` need such a
        network. A ReLU, PReLU or clamp whose stalk something else reads as well gets an identity
        copy of that stalk, named after it with ``.copy``. A max-pool gets a window vertex,
        ``.window``, with one copy of each entry for each window that it is in. Each new vertex has
        stalks and an edge of its own: N grows, λ₁ falls, and part of the discord lies on the new
        edges (derived).

        Returns
        -------
        Network
            The separated network; this one itself where its kinks lie apart already.

        Examples
        --------
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
        """Write the network to a file.

        The file has the format .npz, whatever its name: plain arrays and a header in JSON, no
        pickle. A file that was there stays as it is until the new one is whole.

        Parameters
        ----------
        file : str, path or binary file
            The path of the file, whose name is used just as it is given, or a binary stream that is
            open for writing.

        Raises
        ------
        TypeError
            If a node is matrix-free, since no file can hold its functions.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Network.mlp([[[2.0]], [[1.0]]]).save(f"{folder}/plain")
        ...     Network.load(f"{folder}/plain")
        Network(x(1) -> z1(1) -> a1(1) -> z2(1), identity)
        """
        storage.save(self, file)

    @classmethod
    def load(cls, file: str | PathLike[str] | IO[bytes]) -> Network:
        """Read a network from a file that `Network.save` wrote.

        It may have been written by this version of sheaflib or by 0.1. The file need not be
        trusted: nothing in it is unpickled or run, and every number is checked before it is used.

        Parameters
        ----------
        file : str, path or binary file
            The path of the file, or a binary stream that is open for reading.

        Returns
        -------
        Network
            The network.

        Raises
        ------
        ValueError
            If the file is damaged or was not written by `Network.save`; the message names the file
            and the part of it that is wrong.
        OSError
            If the file cannot be opened.
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
