"""Random networks on which to try a theorem: chains, merges and fan-out, plain and adversarial
weights, from one generator.
"""

from __future__ import annotations

import math
from typing import Iterator, NamedTuple, Sequence

import numpy as np

from sheaflib.layers import add, convolution, max_pool
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import INPUT, Network
from sheaflib.networks.operations import Stack
from sheaflib.networks.selection import ReLU
from sheaflib.sheaves.neural import NeuralSheaf

WEIGHTS = ("He", "rank one", "layers 1e±6", "rows 1e±6")


class Shape(NamedTuple):
    """What a network turned out to be: its widest layer, layers on the longest path (a merge's sum
    is none), its merges, and how many vertices are read more than once."""

    width: int
    depth: int
    merges: int
    fan_out: int


class Pair(NamedTuple):
    """A network's sheaf with one activation pattern (M,), the kind of its weights, its shape, and
    the pattern's number (0, 1, …).
    """

    sheaf: NeuralSheaf
    pattern: np.ndarray
    weights: str
    shape: Shape
    number: int


def random_matrix(
    rng: np.random.Generator, n_out: int, n_in: int, weights: str = "He"
) -> np.ndarray:
    """A weight (n_out, n_in): He, of rank one, or He times 1e6 or 1e-6, as a whole or row by row.

    >>> int(np.linalg.matrix_rank(random_matrix(np.random.default_rng(0), 5, 4, "rank one")))
    1
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights={weights!r} is unknown, expected one of {', '.join(WEIGHTS)}")
    matrix = rng.standard_normal((n_out, n_in)) * np.sqrt(2 / n_in)
    if weights == "rank one":
        return np.outer(matrix[:, 0], rng.standard_normal(n_in))
    if weights == "layers 1e±6":
        return matrix * rng.choice([1e-6, 1e6])
    return matrix * rng.choice([1e-6, 1e6], size=(n_out, 1)) if weights == "rows 1e±6" else matrix


def random_network(
    rng: np.random.Generator,
    widths,
    merge_rate: float = 0.0,
    weights: str = "He",
    slope: float = 0.0,
) -> Network:
    """A network through widths = [n_0, …, n_{k+1}] with random biases; before each layer, with
    probability merge_rate, the vertex it reads is stacked on any earlier one (and summed with it,
    in half of the cases where the widths agree).

    >>> random_network(np.random.default_rng(0), [2, 3, 3, 1], merge_rate=1.0).n_out
    1
    """
    nodes: list[tuple] = []
    dims = {INPUT: widths[0]}
    for layer, width in enumerate(widths[1:], start=1):
        if layer > 1:
            read = f"a{layer - 1}"
            nodes.append((read, ReLU(dims[f"z{layer - 1}"], slope), (f"z{layer - 1}",)))
            dims[read] = dims[f"z{layer - 1}"]
        else:
            read = INPUT
        if layer > 1 and rng.random() < merge_rate:
            read = _merge(rng, nodes, dims, read, layer)
        nodes.append(
            (
                f"z{layer}",
                Affine(random_matrix(rng, width, dims[read], weights), rng.standard_normal(width)),
                (read,),
            )
        )
        dims[f"z{layer}"] = width
    return Network(widths[0], nodes)


def random_widths(rng: np.random.Generator, max_width: int = 200, max_depth: int = 20) -> list[int]:
    """Widths of 2 … max_depth layers, small ones oftener than large ones and rarely all large;
    equal throughout in half of the cases.
    """
    depth = _mostly_small(rng, 2, max_depth)
    often = max_width if rng.random() < 0.1 else min(max_width, int(np.sqrt(40_000 / depth)))
    widest = _mostly_small(rng, 1, often)
    if rng.random() < 0.5:
        return [widest] * (depth + 1)
    return [int(n) for n in rng.integers(widest // 2 + 1, widest + 1, size=depth + 1)]


def draw(
    rng: np.random.Generator, count: int, max_width: int = 200, max_depth: int = 20
) -> Iterator[tuple[Network, str]]:
    """Yield `count` networks with the kind of their weights; two in three may merge, one in five
    has leaky ReLUs or |·|.
    """
    for i in range(count):
        weights = WEIGHTS[i % len(WEIGHTS)]
        merge_rate = rng.choice([0.0, 0.4, 0.8])
        slope = rng.choice([0.0, 0.1, -1.0], p=[0.8, 0.1, 0.1])
        yield (
            random_network(
                rng, random_widths(rng, max_width, max_depth), merge_rate, weights, slope
            ),
            weights,
        )


def pairs(
    rng: np.random.Generator,
    networks: int,
    patterns: int,
    max_width: int = 200,
    max_depth: int = 20,
) -> Iterator[Pair]:
    """Yield networks · patterns pairs: `patterns` random patterns of each of `networks` random
    networks, one after the other.
    """
    for network, weights in draw(rng, networks, max_width, max_depth):
        sheaf, shape = NeuralSheaf(network), measure(network)
        for number, pattern in enumerate(random_patterns(rng, patterns, sheaf.M)):
            yield Pair(sheaf, pattern, weights, shape, number)


def small_cnn(rng: np.random.Generator, side: int, channels: int = 3, n_out: int = 4) -> Network:
    """A convolutional network on side × side images: 3 × 3 kernels, ReLU, 2 × 2 max-pool, one dense
    layer.

    >>> small_cnn(np.random.default_rng(0), 6)
    Network(x(36) -> z1(48) -> a1(48) -> p1(12) -> z2(4), identity)
    """
    conv, shape = convolution(
        rng.standard_normal((channels, 1, 3, 3)) / 3, (1, side, side), rng.standard_normal(channels)
    )
    pool, _ = max_pool(shape, 2)
    dense = Affine(
        rng.standard_normal((n_out, pool.n_out)) / np.sqrt(pool.n_out), rng.standard_normal(n_out)
    )
    return Network(side**2, [("z1", conv), ("a1", ReLU(conv.n_out)), ("p1", pool), ("z2", dense)])


def deep_cnn(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    channels: Sequence[int],
    strides: Sequence[int],
    output: str = "identity",
) -> Network:
    """A chain of 3 × 3 convolutions with ReLUs on images of this shape, one convolution for each
    number of channels and stride, and ten outputs: He weights, biases N(0, 0.01).

    >>> deep_cnn(np.random.default_rng(0), (1, 4, 4), [2, 3], [1, 2])
    Network(x(16) -> z1(32) -> a1(32) -> z2(12) -> a2(12) -> z3(10), identity)
    """
    nodes: list[tuple] = []
    n_in = math.prod(shape)
    for layer, (count, stride) in enumerate(zip(channels, strides, strict=True), start=1):
        kernel = random_matrix(rng, count, 9 * shape[0]).reshape(count, shape[0], 3, 3)
        bias = 0.1 * rng.standard_normal(count)
        conv, shape = convolution(kernel, shape, bias, stride=stride, padding=1)
        nodes += [(f"z{layer}", conv), (f"a{layer}", ReLU(conv.n_out))]
    dense = Affine(random_matrix(rng, 10, math.prod(shape)), 0.1 * rng.standard_normal(10))
    return Network(n_in, [*nodes, (f"z{len(channels) + 1}", dense)], output)


def cube_points(rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
    """Random points s of the cube [0, 1]^length: at its "vertices", on its "edges" and "inside",
    (count, length) each.
    """
    vertices = rng.integers(0, 2, (count, length)).astype(float)
    edges = vertices.copy()
    edges[np.arange(count), rng.integers(0, length, count)] = rng.random(count)
    return {"vertices": vertices, "edges": edges, "inside": rng.random((count, length))}


def random_patterns(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Boolean patterns (count, length), each with its own share of active units."""
    return rng.random((count, length)) < rng.random((count, 1))


def measure(network: Network) -> Shape:
    """The shape of a network, read off its nodes.

    >>> measure(Network.he([2, 5, 1], np.random.default_rng(0)))
    Shape(width=5, depth=2, merges=0, fan_out=0)
    """
    depth = {INPUT: 1}
    reads: dict[str, int] = {}
    for node in network.nodes:
        depth[node.name] = max(depth[name] for name in node.inputs) + (
            node.operation.kind == "activation"
        )
        for name in node.inputs:
            reads[name] = reads.get(name, 0) + 1
    merges = sum(isinstance(node.operation, Stack) for node in network.nodes)
    width = max(node.operation.n_out for node in network.affine_nodes)
    return Shape(
        width, max(depth.values()), merges, sum(n > 1 for name, n in reads.items() if name != INPUT)
    )


def _merge(rng, nodes: list, dims: dict[str, int], read: str, layer: int) -> str:
    """Append the stack of `read` on an earlier vertex, perhaps their sum; returns the vertex to
    read instead.
    """
    other = str(rng.choice([name for name in dims if name != read]))
    stack = Stack(dims[read], dims[other])
    nodes.append((f"p{layer}", stack, (read, other)))
    dims[f"p{layer}"] = stack.n_out
    if dims[read] != dims[other] or rng.random() < 0.5:
        return f"p{layer}"
    nodes.append((f"s{layer}", add(dims[read]), (f"p{layer}",)))
    dims[f"s{layer}"] = dims[read]
    return f"s{layer}"


def _mostly_small(rng: np.random.Generator, least: int, largest: int) -> int:
    """A number in least … largest, log-uniform, with some weight on `largest` itself."""
    return min(largest, int(np.exp(rng.uniform(np.log(least), np.log(1.1 * largest + 1)))))
