"""How a module of PyTorch may be passed, for test_readers.py: each function asserts."""

import copy

import numpy as np
import torch
from torch import nn

from sheaflib.networks.readers.read import read

CALLS = {}


def call(function):
    """Mark a function that asserts something of reading a module."""
    CALLS[function.__name__] = function
    return function


def perceptron():
    """A small module in training mode, of float32."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2))


def agree(network, module):
    """Assert that a network computes what a module does in float64 and in evaluation mode."""
    x = torch.randn(9, network.n_in, dtype=torch.float64)
    with torch.no_grad():
        expected = copy.deepcopy(module).double().eval()(x).numpy()
    assert np.abs(network(x.numpy()) - expected).max() < 1e-12
    assert network.difference < 1e-12


def said(function, kind=ValueError):
    """The message with which a call is refused."""
    try:
        function()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised")


@call
def one_sample():
    module = perceptron()
    agree(read(module, example=torch.randn(1, 4)), module)


@call
def an_array():
    module = perceptron()
    agree(read(module, example=np.zeros((2, 4))), module)


@call
def a_list():
    module = perceptron()
    agree(read(module, [[0.0, 1.0, 2.0, 3.0]]), module)


@call
def an_example_with_gradients():
    module, x = perceptron(), torch.randn(3, 4, requires_grad=True)
    agree(read(module, x), module)
    assert x.requires_grad and x.grad is None and x.dtype == torch.float32


@call
def a_compiled_module():
    module = perceptron()
    agree(read(torch.compile(module), torch.randn(3, 4)), module)


@call
def an_old_weight_norm():
    """It keeps a tensor that was computed with gradients, which PyTorch refuses to copy."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)), nn.ReLU())
    x = torch.randn(3, 4)
    module(x)
    network = read(module, x)
    with torch.no_grad():
        assert np.abs(network(x.double().numpy()) - module(x).numpy()).max() < 1e-6


@call
def gradients_of_the_module_stay():
    module = perceptron()
    module(torch.randn(3, 4)).sum().backward()
    before = [p.grad.clone() for p in module.parameters()]
    agree(read(module, torch.randn(3, 4)), module)
    assert all(torch.equal(p.grad, g) for p, g in zip(module.parameters(), before))


@call
def settings_of_pytorch_stay():
    before = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
    read(perceptron(), torch.randn(3, 4))
    assert before == (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())


@call
def what_is_read_can_be_saved():
    from tempfile import TemporaryDirectory

    from sheaflib import Network

    network, x = read(perceptron(), torch.randn(3, 4)), np.random.default_rng(0).random((5, 4))
    with TemporaryDirectory() as folder:
        network.save(f"{folder}/network")
        again = Network.load(f"{folder}/network")
    assert (again(x) == network(x)).all()
    assert list(again.parameters) == ["0", "3"]


@call
def no_example():
    message = said(lambda: read(perceptron()))
    assert "the Sequential of PyTorch does not say which shape" in message and "example=" in message


@call
def no_batch():
    message = said(lambda: read(perceptron(), torch.randn(4)))
    assert "example has shape (4,), expected a batch of inputs, (batch, …)" in message


@call
def an_example_of_another_width():
    message = said(lambda: read(perceptron(), torch.randn(3, 5)))
    assert "the Sequential of PyTorch fails in float64 at an example of shape (3, 5)" in message


@call
def weights_without_their_module():
    message = said(lambda: read(perceptron().state_dict()), TypeError)
    assert "OrderedDict" in message and "a module of PyTorch" in message


@call
def a_checkpoint():
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for name in ("model.pt", "model.onnx"):
            torch.save(perceptron(), f"{folder}/{name}")
            message = said(lambda: read(f"{folder}/{name}"))
            assert "ONNX" in message, message


@call
def a_lazy_module_that_has_seen_no_inputs():
    message = said(lambda: read(nn.Sequential(nn.LazyLinear(3)), torch.randn(3, 4)))
    assert "Sequential of PyTorch" in message, message


@call
def a_branch_that_depends_on_the_numbers():
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    message = said(lambda: read(Branch(), torch.randn(3, 4)))
    assert "PyTorch cannot export the Branch to ONNX" in message, message
