"""How a report tells a layer: by the node that it writes, which has the user's name, and its
type.
"""

from __future__ import annotations

from sheaflib.networks.convolution import Kernelled
from sheaflib.networks.graph import A_OUT, Network
from sheaflib.networks.operations import Operation, Stack
from sheaflib.networks.pooling import ImagePool
from sheaflib.sheaves.edges import Edge

LONGEST = 42  # characters that a table has room for


def layer(network: Network, edge: Edge) -> str:
    """The node that an edge writes and the type of its operation, of a stack also what is stacked.

    >>> from sheaflib.sheaves.neural import NeuralSheaf
    >>> network = Network.mlp([[[1.0]], [[1.0]]], output="softmax")
    >>> [layer(network, edge) for edge in NeuralSheaf(network).edges]
    ['z1 · Affine', 'a1 · ReLU', 'z2 · Affine', 'a_out · softmax']
    """
    if edge.head == A_OUT:
        return f"{A_OUT} · {network.output.name}"
    operation = next(node.operation for node in network.nodes if node.name == edge.head)
    source = f" from {edge.tail}" if isinstance(operation, Stack) else ""
    return f"{edge.head} · {type_of(operation)}{source}"


def type_of(operation: Operation) -> str:
    """The type of an operation, with the size of its kernel or window where it has one.

    >>> import numpy as np
    >>> from sheaflib.layers import convolution
    >>> type_of(convolution(np.ones((2, 1, 3, 3)), (1, 4, 4))[0])
    'Convolution 3×3'
    """
    if isinstance(operation, Kernelled):
        return f"{type(operation).__name__} {'×'.join(map(str, operation.kernel.shape[2:]))}"
    if isinstance(operation, ImagePool):
        taps = (operation.rows.shape[1], operation.columns.shape[1])
        return f"MaxPool {'×'.join(map(str, taps[3 - len(operation.shape) :]))}"
    return type(operation).__name__


def short(name: str, longest: int = LONGEST) -> str:
    """A name with its beginning left out, where it is too long for a table.

    >>> short("encoder.layers.0.conv", 12)
    '…ayers.0.conv'
    """
    return name if len(name) <= longest else f"…{name[-longest:]}"
