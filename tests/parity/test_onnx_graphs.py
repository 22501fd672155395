"""Random models of ONNX are read as networks that give what the reference evaluator gives."""

import numpy as np
from effort import examples
from hypothesis import given, reject
from hypothesis import strategies as st
from onnx_graphs import models

from sheaflib import read
from sheaflib.networks.readers.onnx_repairs import evaluator

# A window that lies in the padding alone is refused, and a model that writes constants alone
REFUSED = ("does not fit into an image", "it reads nothing but constants")


@examples(250)
@given(models(), st.integers(0, 2**32 - 1), st.booleans())
def test_a_model_is_read_as_the_function_that_it_is(model, seed, rounded):
    try:
        network = read(model)
    except ValueError as error:
        if not any(words in str(error) for words in REFUSED):
            raise
        reject()
    value = model.graph.input[0].type.tensor_type.shape.dim
    sides = [dim.dim_value for dim in value]
    rows = sides[0] or 5
    x = 2 * np.random.default_rng(seed).standard_normal((rows, *sides[1:]))
    x = np.round(x) if rounded else x  # ties
    (expected,) = evaluator(model).run(None, {"input": x})
    found = network(x.reshape(len(x) if len(sides) > 1 else 1, -1))
    expected = expected.reshape(found.shape)
    scale = max(np.abs(expected).max(), 1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale)
