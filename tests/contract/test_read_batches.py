"""What `read` makes of the batch axis of a model, and of an example."""

import warnings

import numpy as np
import pytest
from onnx import helper
from onnx_files import model
from pandas import DataFrame
from sklearn.neural_network import MLPRegressor

from sheaflib import Network, read
from sheaflib.networks.readers.original import Reading

WEIGHT = np.ones((4, 2), dtype=np.float32)
VECTOR = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT}, [4])
DENSE = Network.mlp([[[1.0]]])


def fitted(X):
    with warnings.catch_warnings(action="ignore"):
        mlp = MLPRegressor(hidden_layer_sizes=[3], solver="lbfgs", max_iter=2)
        return mlp.fit(X, np.arange(5.0))


def test_the_example_of_a_model_of_one_vector_is_a_vector():
    assert read(VECTOR, np.ones(4)).difference < 1e-5


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 1), (2,)])
def test_an_example_of_another_shape_is_refused_by_its_shape(shape):
    mlp = fitted(np.eye(5, 2))
    said = rf"example has shape \({', '.join(map(str, shape))},?\), expected \(B, 2\)"
    with pytest.raises(ValueError, match=said):
        read(mlp, np.ones(shape))


@pytest.mark.parametrize("rows", [None, 1, 3])
def test_every_sample_of_the_example_is_tried(rows):
    """A model that differs from the network for the second sample of the example alone."""
    reading = Reading(DENSE, lambda x: np.minimum(x, 50.0), (1,), rows, np.dtype(float))
    assert reading.checked(np.array([[1.0], [2.0]])).difference == 0
    with pytest.raises(ValueError, match="differs from the model"):
        reading.checked(np.array([[1.0], [200.0]]))


@pytest.mark.parametrize("batch", ["N", 2])
def test_a_softmax_along_the_batch_axis_is_named(batch):
    node = helper.make_node("Softmax", ["x"], ["y"], axis=0, name="last")
    with pytest.raises(ValueError, match="Softmax 'last': it acts along the batch axis"):
        read(model([node], {}, [batch, 2]))


def test_a_model_that_was_fitted_to_a_table_is_read_without_a_warning():
    table = DataFrame(np.eye(5, 2), columns=["a", "b"])
    mlp = fitted(table)
    with warnings.catch_warnings(action="error"):
        assert read(mlp).difference < 1e-12
