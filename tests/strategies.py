"""Hypothesis strategies: feedforward DAGs of every operation, patterns, and cochains on their
sheaves.

The shape of a network is drawn by hypothesis, its numbers by a seeded generator. "integer" networks
have small whole weights, so that float64 arithmetic is exact and tests can ask for equality; "real"
ones have weights from 1e-6 to 1e6, often of low rank.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from hypothesis import strategies as st

from sheaflib import Affine, Clamp, MaxPool, Network, NeuralSheaf, PReLU, ReLU, Stack
from sheaflib.layers import convolution

SCALES = (1e-6, 1e-2, 0.5, 1.0, 1.0, 3.0, 1e2, 1e6)
MODERATE = (0.1, 0.5, 1.0, 1.0, 1.5)
KINDS = (
    "dense",
    "dense",
    "dense",
    "sparse",
    "convolution",
    "matrix-free",
    "relu",
    "relu",
    "relu",
    "leaky",
    "abs",
    "prelu",
    "clamp",
    "pool",
    "stack",
    "stack",
)
WIDEST = 8


class Case(NamedTuple):
    """A sheaf over inputs x (B, n_0) with any cochain w (B, N) and any frozen pattern (B, M)."""

    sheaf: NeuralSheaf
    x: np.ndarray
    w: np.ndarray
    pattern: np.ndarray


@st.composite
def networks(draw, integer=False, scales=SCALES, outputs=("identity",), most=8, kinds=KINDS):
    """A network of 1 … `most` nodes, each reading the node before it, any earlier one, or x."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths, nodes = {"x": draw(st.integers(1, 4))}, []
    for k in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(kinds))
        latest, names = next(reversed(widths)), list(widths)
        tail = draw(st.sampled_from([latest, latest, *names]))
        tails = [tail, draw(st.sampled_from(names))] if kind == "stack" else [tail]
        scale = 1 if integer else draw(st.sampled_from(scales))
        operation = build(kind, [widths[t] for t in tails], rng, integer, scale)
        selects = kind in ("relu", "leaky", "abs", "prelu", "clamp", "pool")
        letter = "p" if kind == "stack" else "a" if selects else "z"
        name = f"{letter}{k}"
        nodes.append((name, operation, tails))
        widths[name] = operation.n_out
    return Network(widths["x"], nodes, draw(st.sampled_from(outputs)))


def build(kind, widths, rng, integer, scale):
    """One operation on inputs of the given widths."""
    n = sum(widths)
    if kind == "stack":
        return Stack(*widths)
    if kind in ("relu", "leaky", "abs"):
        return ReLU(n, {"relu": 0.0, "leaky": 0.25, "abs": -1.0}[kind])
    if kind == "prelu":  # a slope a channel, of as many pixels as there may be
        channels = rng.choice([k for k in range(1, n + 1) if n % k == 0])
        return PReLU(n, rng.choice([-1.0, 0.0, 0.25, 0.5, 2.0], size=channels))
    if kind == "clamp":  # one bound may be missing
        low = rng.choice([-np.inf, -2.0, -1.0, 0.0, 0.5])
        high = low + rng.choice([1.0, 3.0]) if low > -np.inf else rng.choice([-1.0, 0.0, 1.0])
        return Clamp(n, float(low), np.inf if low > -np.inf and rng.random() < 0.3 else float(high))
    if kind == "pool":
        return MaxPool(rng.integers(0, n, size=(rng.integers(1, 4), rng.integers(1, 4))), n)
    if kind == "convolution":
        kernel = numbers((int(rng.integers(1, 3)), 1, 1, min(2, n)), rng, integer, scale)
        if len(kernel) * (n - kernel.shape[3] + 1) <= WIDEST:
            return convolution(kernel, (1, 1, n), bias=numbers(len(kernel), rng, integer, scale))[0]
    weight = numbers((int(rng.integers(1, 5)), n), rng, integer, scale)
    bias = numbers(len(weight), rng, integer, scale) if rng.random() < 0.7 else None
    if kind == "sparse":
        return Affine(sparse.csr_array(np.where(rng.random(weight.shape) < 0.5, weight, 0)), bias)
    if kind == "matrix-free":
        return Affine.from_maps(lambda a: a @ weight.T, lambda e: e @ weight, weight.shape, bias)
    return Affine(weight, bias)


def numbers(shape, rng, integer, scale):
    """Random entries: whole numbers −2 … 2, or normal ones times `scale`, a third of the matrices
    of rank ≤ 1.
    """
    if integer:
        return rng.integers(-2, 3, size=shape).astype(float)
    array = rng.standard_normal(shape) * scale
    if array.ndim == 2 and rng.random() < 1 / 3:
        array = np.outer(array[:, 0], rng.integers(-1, 2, size=array.shape[1]))
    return array


def any_pattern(sheaf, rng, n=1, cube=False):
    """`n` patterns that need not belong to any state; with `cube` ReLU coefficients anywhere in [0,
    1].
    """
    parts = [np.zeros((n, 0), dtype=np.int64)]
    for node in sheaf.network.nodes:
        if isinstance(node.operation, MaxPool):
            parts.append(
                rng.integers(0, node.operation.windows.shape[1], size=(n, node.operation.n_out))
            )
        elif isinstance(node.operation, Clamp):
            sides = len(node.operation.breaks) + 1
            parts.append(rng.integers(0, sides, size=(n, node.operation.n_out)))
        elif isinstance(node.operation, (ReLU, PReLU)):
            shape = (n, node.operation.n_out)
            parts.append(rng.random(shape) if cube else rng.integers(0, 2, size=shape))
    return np.concatenate(parts, axis=1)


@st.composite
def cases(draw, integer=False, cube=False, weighted=True, batch=2, **options):
    """A Case; edge weights are powers of two, so that they keep the integer cases exact."""
    network = draw(networks(integer=integer, **options))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sheaf = NeuralSheaf(network)
    if weighted and draw(st.booleans()):
        sheaf = NeuralSheaf(network, {e.name: 2.0 ** rng.integers(-2, 3) for e in sheaf.edges})
    x = numbers((batch, network.n_in), rng, integer, 1.0)
    w = (
        rng.integers(-4, 5, size=(batch, sheaf.N)).astype(float)
        if integer
        else rng.standard_normal((batch, sheaf.N))
    )
    return Case(sheaf, x, w, any_pattern(sheaf, rng, batch, cube))
