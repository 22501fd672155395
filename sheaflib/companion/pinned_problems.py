"""Networks of several kinds with one input and a label that they do not expect, as functions of
plain parameters: what methods that minimise V are compared on (derived).

Every problem pins a_out to the class that the network holds for least likely. Random weights are
He's; those of the last map of a residual block are smaller by the root of the number of blocks, so
that values do not grow with depth.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from sheaflib.companion.digits import digits
from sheaflib.layers import add, convolution, global_average_pool
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import Network
from sheaflib.networks.operations import Stack
from sheaflib.networks.selection import ReLU
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pin, hard
from sheaflib.support.checks import choice
from sheaflib.training.drivers import gradient_descent

SMALL = ("chain 10 × 50", "64-512-512-10", "residual 8 × 50", "digits CNN", "random CNN")
DEEP = ("chain 50 × 50", "residual 64 × 50")
RESNET = "random ResNet-20"
FAMILIES = (*SMALL, *DEEP, RESNET)
IMAGES = 300  # digits that the CNN is trained on
CONFIDENCE = 0.25  # the size of the last map of a ResNet, so that its softmax is not saturated


class Problem(NamedTuple):
    """A sheaf, one input (1, n_0) and the pin of its label."""

    sheaf: NeuralSheaf
    x: np.ndarray
    pins: Pin


def problem(family: str, seed: int) -> Problem:
    """A problem of a family; those of one seed are the same everywhere.

    >>> problem("chain 10 × 50", 0).sheaf.N
    1005
    """
    rng = np.random.default_rng(seed)
    choice("family", family, FAMILIES)
    if family == "digits CNN":
        network, x = trained(), digits(IMAGES + 200)[0][[IMAGES + seed]]
    else:
        network = drawn(family, rng)
        x = rng.standard_normal((1, network.n_in))
    label = np.eye(network.n_out)[[network(x)[0].argmin()]]
    return Problem(NeuralSheaf(network), x, hard("a_out", label))


def drawn(family: str, rng: np.random.Generator) -> Network:
    """A network of a family with random weights."""
    if family.startswith("chain"):
        return Network.he([10, *[50] * int(family.split()[1]), 5], rng, "softmax")
    if family == "64-512-512-10":
        return Network.he([64, 512, 512, 10], rng, "softmax")
    if family == "random CNN":
        return cnn(rng, blocks=2)
    if family == RESNET:
        return resnet(rng)
    layers = int(family.split()[1])
    return residual_chain(rng, blocks=layers // 2 if layers > 8 else layers)


def residual_chain(rng: np.random.Generator, blocks: int, width: int = 50) -> Network:
    """Blocks a ← ReLU(a + W₂ ReLU(W₁ a)) between a first and a last affine map."""

    def weights(reads: int, gain: float, rows: int = width) -> np.ndarray:
        return rng.standard_normal((rows, reads)) * np.sqrt(gain / reads)

    nodes: list = [("z0", Affine(weights(10, 2))), ("a0", ReLU(width))]
    last = "a0"
    for i in range(1, blocks + 1):
        inner, outer = weights(width, 2), weights(width, 2 / blocks)
        merged = Affine(np.hstack([outer, np.eye(width)]))
        nodes += [(f"u{i}", Affine(inner), last), (f"v{i}", ReLU(width))]
        nodes += [(f"p{i}", Stack(width, width), (f"v{i}", last)), (f"s{i}", merged)]
        nodes += [(f"a{i}", ReLU(width))]
        last = f"a{i}"
    return Network(10, [*nodes, ("out", Affine(weights(width, 1, rows=5)))], "softmax")


def cnn(rng: np.random.Generator, blocks: int = 1, channels: int = 4) -> Network:
    """A convolution of images of digits, residual blocks of two convolutions, and a last affine
    map.
    """
    shape: tuple = (1, 8, 8)

    def conv(gain: float):
        kernel = rng.standard_normal((channels, shape[0], 3, 3)) * np.sqrt(gain / (9 * shape[0]))
        return convolution(kernel, shape, padding=1)

    first, shape = conv(2)
    n = first.n_out
    nodes: list = [("conv0", first), ("a0", ReLU(n))]
    last = "a0"
    for i in range(1, blocks + 1):
        inner, outer = conv(2)[0], conv(1 / blocks)[0]
        nodes += [(f"u{i}", inner, last), (f"v{i}", ReLU(n)), (f"w{i}", outer)]
        nodes += [(f"p{i}", Stack(n, n), (f"w{i}", last)), (f"s{i}", add(n)), (f"a{i}", ReLU(n))]
        last = f"a{i}"
    fc = Affine(rng.standard_normal((10, n)) / np.sqrt(n), np.zeros(10))
    return Network(64, [*nodes, ("fc", fc)], "softmax")


@cache
def trained(steps: int = 120, lr: float = 0.3) -> Network:
    """The CNN of one block after gradient descent on digits."""
    images, labels = digits(IMAGES)
    sheaf = NeuralSheaf(cnn(np.random.default_rng(0)))
    states = gradient_descent(sheaf, images, np.eye(10)[labels], lr=lr, every=steps)
    return list(islice(states, 2))[-1].network


def resnet(rng: np.random.Generator, blocks: int = 3, width: int = 16, side: int = 32) -> Network:
    """ResNet-20 for images of 32 × 32 pixels in three colours: a convolution, three groups of three
    blocks of two convolutions, the mean of every channel and an affine map.
    """
    nodes: list = []

    def conv(name: str, out: int, k: int, shape, source, stride: int = 1, gain: float = 2.0):
        kernel = rng.standard_normal((out, shape[0], k, k)) * np.sqrt(gain / (shape[0] * k * k))
        operation, after = convolution(kernel, shape, stride=stride, padding=k // 2)
        nodes.append((name, operation, source))
        return after

    shape = conv("stem", width, 3, (3, side, side), "x")
    nodes.append(("relu", ReLU(int(np.prod(shape)))))
    last = "relu"
    for group in range(3):
        for block in range(blocks):
            name, out = f"group{group}.block{block}", width * 2**group
            stride = 2 if group and not block else 1
            inside = conv(f"{name}.conv1", out, 3, shape, last, stride)
            n = int(np.prod(inside))
            nodes.append((f"{name}.relu1", ReLU(n)))
            conv(f"{name}.conv2", out, 3, inside, f"{name}.relu1", 1, 1.0)
            if shape != inside:
                conv(f"{name}.skip", out, 1, shape, last, stride, 1.0)
                last = f"{name}.skip"
            nodes.append((f"{name}.stack", Stack(n, n), (f"{name}.conv2", last)))
            nodes += [(f"{name}.sum", add(n)), (f"{name}.relu2", ReLU(n))]
            last, shape = f"{name}.relu2", inside
    pool, shape = global_average_pool(shape)
    head = rng.standard_normal((10, shape[0])) / np.sqrt(shape[0]) * CONFIDENCE
    nodes += [("pool", pool), ("fc", Affine(head))]
    return Network(3 * side * side, nodes, "softmax")


def start(of: Problem, number: int, seed: int) -> np.ndarray:
    """A start (1, N): number 0 is the forward pass, the others are drawn, standard normal."""
    if number == 0:
        return of.sheaf.forward(of.x)
    return np.random.default_rng([seed, number]).standard_normal((1, of.sheaf.N))
