"""A small file of ONNX that asks for much is refused before the memory is taken."""

import resource
import tracemalloc

import numpy as np
import pytest
from onnx import helper
from onnx_files import model

from sheaflib import read

BYTES = 2**29
ONE = np.ones((1, 1, 1, 1), dtype=np.float32)
ROW = np.ones((1, 2**14), dtype=np.float32)
node = helper.make_node


def constant(*nodes, **constants):
    """A file that adds to its input the sum of the constant c that these nodes write."""
    rest = [node("ReduceSum", ["c"], ["s"], keepdims=0), node("Add", ["x", "s"], ["y"])]
    return model([*nodes, *rest], constants, ["N", 4])


def on_images(*inputs, operator, **attributes):
    return model([node(operator, ["x", *inputs], ["y"], **attributes)], {"o": ONE}, ["N", 1, 3, 3])


DOUBLED = [node("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(40)]
FAR = [29_999] * 4
FILES = {
    "doubled": constant(*DOUBLED, node("Identity", ["c40"], ["c"]), c0=ROW),
    "gemm": constant(node("Gemm", ["r", "r"], ["c"], transA=1), r=ROW),
    "einsum": constant(node("Einsum", ["r", "r"], ["c"], equation="ai,bj->ij"), r=ROW),
    "conv": constant(node("Conv", ["o", "o"], ["c"], pads=FAR), o=ONE),
    "transposed": constant(node("ConvTranspose", ["o", "o"], ["c"], output_padding=FAR[:2]), o=ONE),
    "pool": constant(node("MaxPool", ["o"], ["c"], kernel_shape=[9, 9], pads=FAR), o=ONE),
    "resize": constant(
        node("Resize", ["o", "", "v"], ["c"]), o=ONE, v=np.array([1, 1, 2e4, 2e4], np.float32)
    ),
    "crop": constant(
        node("CenterCropPad", ["o", "v"], ["c"]), o=ONE, v=np.array([1, 1, 2**16, 2**16])
    ),
    "images conv": on_images("o", operator="Conv", pads=FAR),
    "images max": on_images(operator="MaxPool", kernel_shape=[30_000, 30_000], pads=FAR),
    "images mean": on_images(operator="AveragePool", kernel_shape=[30_000, 30_000], pads=FAR),
}


@pytest.fixture(autouse=True)
def little_memory():
    """So that a file that is not refused raises a MemoryError, and takes nobody else's memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**33, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_asks_for_much_is_refused(name):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="numbers, expected at most|of any size"):
            read(FILES[name])
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()


def test_constants_may_be_computed_by_operators_on_images():
    """Two rows of ones, convolved with a one and with a rim of a zero, have a sum of 2."""
    file = constant(
        node("Conv", ["r", "o"], ["c"], pads=[1, 1, 1, 1]),
        r=np.ones((1, 1, 2, 1), np.float32),
        o=ONE,
    )
    np.testing.assert_allclose(read(file)(np.zeros((1, 4))), 2.0)
