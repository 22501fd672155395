"""Convolution, pooling and batch norm against direct loops and scipy.signal."""

import numpy as np
import pytest
from scipy.signal import correlate2d

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack
from sheaflib.layers import add, average_pool, batch_norm, convolution, max_pool

RNG = np.random.default_rng(9)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 3)])
def test_convolution(size, padding, stride):
    kernel, bias = RNG.standard_normal((2, 3, *size)), RNG.standard_normal(2)
    images = RNG.standard_normal((4, 3, 6, 5))
    affine, shape = convolution(kernel, (3, 6, 5), bias, stride, padding)
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    expected = np.array(
        [
            [
                sum(correlate2d(image[c], kernel[o, c], "valid") for c in range(3))[
                    ::stride, ::stride
                ]
                + bias[o]
                for o in range(2)
            ]
            for image in padded
        ]
    )
    assert shape == expected.shape[1:]
    np.testing.assert_allclose(
        affine.value(images.reshape(4, -1)), expected.reshape(4, -1), rtol=0, atol=1e-13
    )


def loop_pool(images, size, stride, pool):
    B, C, H, W = images.shape
    rows, columns = range(0, H - size + 1, stride), range(0, W - size + 1, stride)
    return np.array(
        [
            [
                [[pool(images[b, c, i : i + size, j : j + size]) for j in columns] for i in rows]
                for c in range(C)
            ]
            for b in range(B)
        ]
    )


@pytest.mark.parametrize("make, pool", [(max_pool, np.max), (average_pool, np.mean)])
@pytest.mark.parametrize("size, stride", [(2, None), (2, 1), (3, 2), (3, 1), (1, 1), (2, 3)])
def test_pooling_with_and_without_overlap(make, pool, size, stride):
    images = RNG.standard_normal((3, 2, 6, 5))
    operation, shape = make((2, 6, 5), size, stride)
    expected = loop_pool(images, size, stride or size, pool)
    assert shape == expected.shape[1:]
    np.testing.assert_allclose(
        operation.value(images.reshape(3, -1)), expected.reshape(3, -1), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("size, stride", [(2, 2), (2, 1), (3, 1)])
def test_adjoint_of_max_pool_sums_over_the_windows_that_chose_a_pixel(size, stride):
    images = RNG.standard_normal((3, 2, 4, 4))
    pool, shape = max_pool((2, 4, 4), size, stride)
    e = RNG.standard_normal((3, *shape))
    expected = np.zeros_like(images)
    for b, c, i, j in np.ndindex(3, *shape):
        window = images[b, c, i * stride : i * stride + size, j * stride : j * stride + size]
        k, l = np.unravel_index(window.argmax(), window.shape)
        expected[b, c, i * stride + k, j * stride + l] += e[b, c, i, j]
    a = images.reshape(3, -1)
    np.testing.assert_allclose(
        pool.adjoint(e.reshape(3, -1), pool.pattern(a)), expected.reshape(3, -1), rtol=0, atol=1e-14
    )
    assert max(np.linalg.norm(expected) ** 2 / np.linalg.norm(e) ** 2, 0) <= pool.norm**2 * (
        1 + 1e-12
    )


@pytest.mark.parametrize("size, stride, expected", [(2, 2, 1.0), (2, 1, 2.0), (3, 1, 3.0)])
def test_max_pool_norm_is_attained_by_one_large_pixel(size, stride, expected):
    """A pixel in the middle of k² windows can be chosen by all of them: ‖F‖ = k."""
    pool, _ = max_pool((1, 5, 5), size, stride)
    image = np.zeros((1, 25))
    image[0, 12] = 1.0
    assert pool.norm == pytest.approx(expected)
    assert np.linalg.norm(pool.value(image)) == pytest.approx(expected)


def test_batch_norm():
    scale, shift, mean, variance = RNG.standard_normal((4, 3))
    variance = variance**2
    images = RNG.standard_normal((5, 3, 2, 2))
    expected = (images - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-3) * scale[
        :, None, None
    ] + shift[:, None, None]
    affine = batch_norm(scale, shift, mean, variance, eps=1e-3, pixels=4)
    np.testing.assert_allclose(
        affine.value(images.reshape(5, -1)), expected.reshape(5, -1), rtol=1e-12, atol=1e-13
    )


def test_add():
    parts = RNG.standard_normal((3, 4, 2))
    np.testing.assert_allclose(
        add(2, 3).value(np.hstack(parts)), parts.sum(axis=0), rtol=1e-15, atol=1e-15
    )


def test_what_a_network_says_of_itself():
    """The last node, the nodes with weights, and the pattern of the forward pass, on a network
    that merges and pools, against its definition."""
    rng = np.random.default_rng(5)
    nodes = [
        ("first", Affine(rng.standard_normal((4, 3)))),
        ("bent", ReLU(4)),
        ("both", Stack(4, 4), ["first", "bent"]),
        ("merged", add(4)),
        ("pooled", max_pool((1, 2, 2), 2)[0]),
        ("last", Affine(rng.standard_normal((2, 1)))),
    ]
    network = Network(3, nodes)
    sheaf, x = NeuralSheaf(network), rng.standard_normal((5, 3))
    assert network.output_name == "last" and network.n_out == 2
    assert [node.name for node in network.affine_nodes] == ["first", "merged", "last"]
    pattern = sheaf.forward_pattern(x)
    z = x @ nodes[0][1].weight.T
    merged = z + np.maximum(z, 0)
    np.testing.assert_array_equal(pattern[:, :4], z >= 0)
    np.testing.assert_array_equal(pattern[:, 4], merged.argmax(axis=1))
