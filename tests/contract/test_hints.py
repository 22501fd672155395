"""Errors that meet a person who comes from another library, or who mistakes one thing for another:
they say what to pass instead.
"""

import numpy as np
import pytest
from bad_values import Module, Parameter, Pipeline

from sheaflib import (
    Affine,
    Network,
    NeuralSheaf,
    equilibrium,
    gradient_descent,
    hard,
    harmonic_extension,
    report,
)
from sheaflib.circuits.estimators import SheafRegressor
from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.layers import convolution
from sheaflib.linear.resistance import effective_resistance
from sheaflib.support.checks import batch
from sheaflib.training.drivers import loss

RNG = np.random.default_rng(0)
NETWORK = Network.he([2, 3, 1], RNG)
CLASSES = NeuralSheaf(Network.he([2, 4, 3], RNG, "softmax"))
SHEAF, X = NeuralSheaf(NETWORK), RNG.standard_normal((4, 2))
LABELS = np.array([0, 2, 1, 0])
IMAGES = np.ones((2, 1, 4, 4))
DETACH = r"pass \.detach\(\)\.numpy\(\) of it"
MODULE = r"sheaflib\.read\(module, example\) makes a Network of a module of PyTorch"
FOLD = r"sheaflib\.read\(pipeline\) makes a Network of an MLP of scikit-learn and the scalers"
HOLDS = "its attribute network is a Network$"
FLATTEN = r"got \(2, 1, 4, 4\), expected \(B, 2\): flatten to \(n_samples, n_features\)"
PATTERN = r"sheaf\.forward_pattern\(x\) makes the patterns of inputs x"
ONE_HOT = r"classes are pinned as one-hot rows, np\.eye\(3\)\[y\] for integers y"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Affine(Parameter(3, 2)), rf"weight is or holds a Parameter .*{DETACH}"),
        (lambda: Affine(np.ones((1, 2)), Parameter(1)), rf"bias is or holds .*{DETACH}"),
        (lambda: Network.mlp([Parameter(3, 2)]), rf"layer 1: weight is or .*{DETACH}"),
        (lambda: NETWORK([Parameter(2)]), rf"x is or holds a Parameter .*{DETACH}"),
        (lambda: Network(Module()), rf"n_in is a Module, .*: {MODULE}"),
        (lambda: Network.mlp(Module()), rf"weights is a Module, .*: {MODULE}"),
        (lambda: NeuralSheaf(Module()), rf"network is a Module, .*: {MODULE}"),
        (lambda: report(Module(), X, X), rf"sheaf is a Module, .*: {MODULE}"),
        (lambda: loss(Module(), X, X), rf"network is a Module, .*: {MODULE}"),
        (lambda: report(Pipeline(), X, X), rf"sheaf is a Pipeline, .*: {FOLD}"),
        (lambda: Network(Pipeline()), rf"n_in is a Pipeline, .*: {FOLD}"),
        (lambda: gradient_descent(Pipeline(), X, X, lr=0.1), rf"sheaf is a Pipeline, .*: {FOLD}"),
        (lambda: report(NETWORK, X, X), r"sheaf is a Network, expected NeuralSheaf\(network\)$"),
        (lambda: MiniBatches(SHEAF, X, X), rf"network is a NeuralSheaf, .*: {HOLDS}"),
        (lambda: NETWORK(IMAGES), rf"x .*{FLATTEN}, x\.reshape\(len\(x\), -1\)"),
        (lambda: harmonic_extension(SHEAF, IMAGES), f"x .*{FLATTEN}"),
        (lambda: report(SHEAF, IMAGES, [0, 1]), f"x .*{FLATTEN}"),
        (lambda: effective_resistance(SHEAF, X), rf"pattern has shape \(4, 2\), .*{PATTERN}"),
        (lambda: SHEAF.laplacian([-1.0, 0.5, 2.0]), rf"pattern of 'a1' must lie .*{PATTERN}"),
        (
            lambda: equilibrium(CLASSES, X, pins=hard("a_out", LABELS)),
            rf"pin value on 'a_out' has shape \(4,\), .* \(4, 3\): {ONE_HOT}",
        ),
        (
            lambda: harmonic_extension(CLASSES, X, pins=hard("z2", LABELS[:, None])),
            rf"pin value on 'z2' has shape \(4, 1\), .* \(4, 3\): {ONE_HOT}",
        ),
        (
            lambda: convolution(np.ones((4, 1, 3, 3)), (2, 8, 8)),
            r"kernel has shape \(4, 1, 3, 3\), expected \(any, 2, any, any\): pass groups=2,"
            r" or a kernel that reads all channels",
        ),
    ],
)
def test_the_error_says_what_to_pass_instead(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_what_is_said_of_groups_is_so():
    """With groups=2 each group gives what it gives by itself."""
    kernel, images = RNG.standard_normal((4, 1, 3, 3)), RNG.standard_normal((5, 2, 8, 8))
    whole, shape = convolution(kernel, (2, 8, 8), groups=2)
    parts = [
        convolution(kernel[2 * group : 2 * group + 2], (1, 8, 8))[0].value(
            images[:, group].reshape(5, -1)
        )
        for group in (0, 1)
    ]
    assert shape == (4, 6, 6)
    found = whole.value(images.reshape(5, -1))
    np.testing.assert_allclose(found, np.hstack(parts), rtol=1e-13, atol=1e-13)


def test_an_estimator_holds_the_network_that_is_asked_for():
    fitted = SheafRegressor((3,), max_iter=1, random_state=0).fit(X, X[:, 0])
    holds = "sheaf is a SheafRegressor, .*: its attribute network_ is a Network$"
    with pytest.raises(TypeError, match=holds):
        report(fitted, X, X[:, 0])
    found = report(NeuralSheaf(fitted.network_), X, X[:, 0], progress=False)
    assert found.loss.shape == (4,)


def test_rows_that_are_no_images_get_no_word_of_flattening():
    with pytest.raises(ValueError) as said:
        batch("x", np.ones((2, 3)), 2)
    assert "flatten" not in str(said.value)


def test_values_of_another_shape_are_not_taken_for_classes():
    """Neither halves nor a wrong number of rows."""
    for value in (LABELS + 0.5, np.arange(5.0)):
        with pytest.raises(ValueError, match="pin value on 'z2' has shape") as said:
            harmonic_extension(CLASSES, X, pins=hard("z2", value))
        assert "one-hot" not in str(said.value)
