"""A small residual network for images of digits, its kinks lying apart or not, and what moves in it
when a channel is pinned (derived).
"""

from __future__ import annotations

import numpy as np

from sheaflib.layers import add, batch_norm, convolution, global_average_pool, max_pool
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import Network
from sheaflib.networks.operations import Operation, Stack
from sheaflib.networks.selection import ReLU
from sheaflib.sheaves.neural import NeuralSheaf

PIXELS = (1, 8, 8)  # of an image of scikit-learn's digits
CLASSES = 10


def residual_cnn(rng: np.random.Generator, channels: int = 4) -> Network:
    """The first layers of a ResNet, with random weights: a convolution, a max-pool of 3×3 windows
    that overlap, one residual block of two convolutions, and a mean over each channel before the
    logits.

    >>> network = residual_cnn(np.random.default_rng(0))
    >>> network.shapes["conv1"], network.shapes["pool"], network.n_out
    ((4, 8, 8), (4, 4, 4), 10)
    """

    def kernel(reads: int) -> np.ndarray:
        return rng.normal(size=(channels, reads, 3, 3)) * np.sqrt(2 / (9 * reads))

    def norm(shape: tuple[int, ...]) -> Operation:
        shift, mean = rng.normal(size=(2, channels)) / 10
        scale, variance = rng.uniform(0.8, 1.2, size=(2, channels))
        return batch_norm(scale, shift, mean, variance, pixels=shape[1] * shape[2])

    conv1, full = convolution(kernel(1), PIXELS, padding=1)
    pool, half = max_pool(full, 3, stride=2, padding=1)
    conv2, _ = convolution(kernel(channels), half, padding=1)
    conv3, _ = convolution(kernel(channels), half, padding=1)
    mean, _ = global_average_pool(half)
    large, small = conv1.n_out, pool.n_out
    last = Affine(rng.normal(size=(CLASSES, channels)) * np.sqrt(2 / channels), np.zeros(CLASSES))
    before = [("conv1", conv1), ("norm1", norm(full)), ("relu1", ReLU(large)), ("pool", pool)]
    branch = [("conv2", conv2), ("norm2", norm(half)), ("relu2", ReLU(small)), ("conv3", conv3)]
    merge = [("norm3", norm(half)), ("stack", Stack(small, small), ("norm3", "pool"))]
    after = [("add", add(small)), ("relu3", ReLU(small)), ("mean", mean), ("fc", last)]
    return Network(64, [*before, *branch, *merge, *after])


def shape(network: Network, stalk: str) -> tuple[int, ...]:
    """(channels, height, width) of a stalk of images, "x" included; of any other one (n,).

    >>> network = residual_cnn(np.random.default_rng(0)).separated()
    >>> shape(network, "stack"), shape(network, "pool.window")
    ((8, 4, 4), (484,))
    """
    if stalk in network.shapes:
        return network.shapes[stalk]
    return (next(node for node in network.nodes if node.name == stalk).operation.n_out,)


def channel(network: Network, stalk: str, number: int) -> list[int]:
    """The places in a stalk of all pixels of one channel.

    >>> channel(residual_cnn(np.random.default_rng(0)), "pool", 1)[:3]
    [16, 17, 18]
    """
    _, height, width = shape(network, stalk)
    first = number * height * width
    return list(range(first, first + height * width))


def as_images(sheaf: NeuralSheaf, cochain: np.ndarray) -> dict[str, np.ndarray]:
    """One cochain (N,) by stalks, those of images as (channels, height, width)."""
    parts = sheaf.layout.split(cochain)
    return {name: part.reshape(shape(sheaf.network, name)) for name, part in parts.items()}
