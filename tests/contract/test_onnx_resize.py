"""Resize, Pad and Softmax of ONNX against numbers that are found by hand, where ONNX's own
reference evaluator gives others, or none.
"""

import numpy as np
import pytest
from onnx import helper
from onnx_files import model

from sheaflib import read


def resized(shape, value, kind, opset=18, batch="N", **attributes):
    """The network of a file that resizes images of a shape (channels, …)."""
    inputs = (
        ["x", "v"] if opset < 11 else ["x", "", "v"] if kind == "scales" else ["x", "", "", "v"]
    )
    array = np.array(value, dtype=np.float32 if kind == "scales" else np.int64)
    node = helper.make_node("Resize", inputs, ["y"], **attributes)
    return read(model([node], {"v": array}, [batch, *shape], opset=opset))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("n, scale, count", [(10, 0.7, 7), (100, 0.29, 29), (9, 0.7, 6)])
def test_a_scale_is_multiplied_by_in_float32(mode, n, scale, count):
    found = resized((1, n), [1, 1, scale], "scales", mode=mode)
    assert found.n_out == count


def test_a_tie_that_float32_makes_is_one():
    """0.6 of 5 pixels: their middles lie at (i + ½) / 0.6 − ½ = 1/3, 2, 11/3."""
    at = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor"}
    found = resized((1, 5), [1, 1, 0.6], "scales", **at)
    np.testing.assert_array_equal(found(np.arange(5.0)[None]), [[0, 2, 3]])


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_aligned_corners_are_aligned_or_refused(mode):
    """0.6 of 5 pixels are the first one, the middle one and the last one; half of 5 are refused,
    since ONNX's own tests and runtimes differ on them.
    """
    at = {"mode": mode, "coordinate_transformation_mode": "align_corners"}
    found = resized((1, 5), [1, 1, 0.6], "scales", **at)
    np.testing.assert_array_equal(found(np.arange(5.0)[None]), [[0, 2, 4]])
    with pytest.raises(ValueError, match=r"scale 0\.5 makes no whole number of pixels of 5"):
        resized((1, 5), [1, 1, 0.5], "scales", **at)


def test_signals_are_resized_to_a_size():
    found = resized((1, 3), [2, 1, 6], "sizes", batch=2)
    np.testing.assert_array_equal(found(np.arange(3.0)[None]), [[0, 0, 1, 1, 2, 2]])


def test_what_an_old_version_leaves_open_is_refused():
    with pytest.raises(ValueError, match="expected none below 1"):
        resized((1, 5), [1, 1, 0.6], "scales", opset=10)


@pytest.mark.parametrize("opset", [10, 11, 18])
def test_a_padding_below_zero_takes_a_rim_away(opset):
    """Of 0, 1, 2, 3 the first one goes, and two sevens come after the last one."""
    pads = [0, 0, -1, 0, 0, 2]
    given = {"pads": pads, "value": 7.0} if opset < 11 else {}
    inputs = ["x"] if opset < 11 else ["x", "p", "v"]
    constants = {"p": np.array(pads), "v": np.array(7, np.float32)} if opset > 10 else {}
    node = helper.make_node("Pad", inputs, ["y"], **given)
    found = read(model([node], constants, ["N", 1, 4], opset=opset))
    np.testing.assert_array_equal(found(np.arange(4.0)[None]), [[1, 2, 3, 7, 7]])


@pytest.mark.parametrize("mode, pads", [("constant", [-3, -3]), ("reflect", [-1, 1])])
def test_a_padding_that_cannot_be_is_refused(mode, pads):
    node = helper.make_node("Pad", ["x", "p"], ["y"], mode=mode, name="rim")
    constants = {"p": np.array([0, 0, pads[0], 0, 0, pads[1]])}
    with pytest.raises(ValueError, match=r"Pad 'rim': its pads .* at axis 2 take away some of 4"):
        read(model([node], constants, ["N", 1, 4]))


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [{}, {"axis": 1}, {"axis": -2}])
def test_a_softmax_of_an_old_version_is_over_all_axes_from_its_axis_on(operator, axis):
    node = helper.make_node(operator, ["x"], ["y"], **axis)
    network = read(model([node], {}, ["N", 2, 3], opset=11))
    np.testing.assert_allclose(network(np.zeros((1, 6))), 1 / 6)
