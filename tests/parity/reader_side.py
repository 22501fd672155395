"""What comes of models of other libraries when they are read, for test_readers.py and readers.py:
`python reader_side.py found.json LIBRARY [NAME …]` in the environment of build/torch.
"""

import json
import pickle
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from sheaflib.networks.readers.read import read  # noqa: E402


def difference(found, expected):
    """The largest difference, relative to the largest number expected."""
    found, expected = (np.asarray(v, dtype=float).reshape(len(v), -1) for v in (found, expected))
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def state_of(module):
    """All that reading must leave as it is: numbers, types, modes, gradients, hooks."""
    import torch

    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        **{
            name: (t.detach().double().numpy().tolist(), str(t.dtype), t.device.type, id(t))
            for name, t in tensors.items()
        },
        "strides": [t.stride() for t in tensors.values()],
        "gradients": [t.requires_grad for t in tensors.values()],
        "modes": [part.training for part in module.modules()],
        "hooks": [len(part._forward_hooks) for part in module.modules()],
        "generator": torch.get_rng_state().tolist(),
    }


def modules():
    import torch_modules

    return torch_modules


def read_module(case):
    """How far the network is from the module in float64, by samples of its own."""
    import torch

    torch.manual_seed(0)
    module = modules().randomised(case.make())
    x = torch.randn(3, *case.shape)
    before = state_of(module)
    network = read(module, example=x)
    after = state_of(module)
    double = module.eval().double()
    samples = torch.randn(7, *case.shape, dtype=torch.float64) * 2
    with torch.no_grad():
        expected = double(samples).numpy()
    if (expected <= 0).all() and network.output.name == "softmax":
        expected = np.exp(expected)  # of a log-softmax
    return {
        "difference": difference(network(samples.numpy().reshape(7, -1)), expected),
        "told": network.difference,
        "output": network.output.name,
        "left": after == before,
        "nodes": {node.name: type(node.operation).__name__ for node in network.nodes},
    }


def refuse_module(case):
    """What is said of a module that is refused."""
    import torch

    torch.manual_seed(0)
    return {"network": repr(read(case.make(), example=torch.randn(3, *case.shape)))}


def tried(function, case):
    """What a function finds, or the error it raises, and how long it took."""
    start = time.perf_counter()
    try:
        found = function(case)
    except Exception as error:
        found = {"error": type(error).__name__, "said": str(error)}
        says = getattr(case, "says", ())
        found |= {
            "says": says,
            "fits": {words: bool(re.search(words, str(error))) for words in says},
        }
    return found | {"seconds": time.perf_counter() - start, "expected": getattr(case, "output", "")}


def read_perceptron(case):
    """How far the network is from a model of scikit-learn, by samples that it was not fitted to."""
    import sklearn_models

    model = case.make()
    x = sklearn_models.inputs(50, seed=1)
    before = pickle.dumps(model)
    network = read(model)
    left = pickle.dumps(model) == before
    if case.output == "identity":
        expected = model.predict(x).reshape(len(x), -1)
    else:
        expected = model.predict_proba(x)
        expected = expected[:, -network.n_out :]  # of two classes the second one
    return {
        "difference": difference(network(x), expected),
        "told": network.difference,
        "output": network.output.name,
        "left": left,
        "nodes": {node.name: type(node.operation).__name__ for node in network.nodes},
    }


def refuse_perceptron(case):
    """What is said of a model that is refused."""
    return {"network": repr(read(case.make()))}


def weights_of(model):
    """All numbers of a model of Keras."""
    return [np.array(value).tolist() for value in model.get_weights()]


def read_keras(case):
    """How far the network is from a model of Keras, by samples of its own."""
    import keras
    import keras_models

    keras.utils.set_random_seed(0)
    model = keras_models.randomised(case.make())
    before = weights_of(model), [part.training for part in model.modules()]
    network = read(model)
    left = before == (weights_of(model), [part.training for part in model.modules()])
    x = np.random.default_rng(1).standard_normal((9, *model.input_shape[1:]))
    expected = np.asarray(model.predict(x, verbose=0))
    return {
        "difference": difference(network(x.reshape(9, -1)), expected),
        "told": network.difference,
        "output": network.output.name,
        "left": left,
        "nodes": {node.name: type(node.operation).__name__ for node in network.nodes},
    }


def refuse_keras(case):
    """What is said of a model that is refused."""
    return {"network": repr(read(case.make()))}


def _called(function):
    """A function that asserts."""
    function()
    return {}


def read_file(case):
    """How far the network is from what onnxruntime makes of the file."""
    import model_files

    file = case.make()
    network = read(file.content, output=file.output)
    return {
        "difference": difference(network(file.x.reshape(len(file.x), -1)), model_files.run(file)),
        "told": network.difference,
        "output": network.output.name,
        "left": True,
        "nodes": {node.name: type(node.operation).__name__ for node in network.nodes},
    }


def refuse_file(case):
    """What is said of a file that is refused."""
    file = case.make()
    return {"network": repr(read(file.content, output=file.output))}


def of_library(library):
    """The functions that read and refuse its models, and their module."""
    if library == "torch-calls":
        import torch_calls

        return _called, _called, SimpleNamespace(READ=torch_calls.CALLS, REFUSED={})
    if library == "torch":
        return read_module, refuse_module, modules()
    if library == "sklearn":
        import sklearn_models

        return read_perceptron, refuse_perceptron, sklearn_models
    if library == "keras":
        import keras_models

        return read_keras, refuse_keras, keras_models
    import model_files

    return read_file, refuse_file, model_files


def main():
    target, library, *names = sys.argv[1:]
    reads, refuses, kept = of_library(library)
    found = {}
    for cases, function in ((kept.READ, reads), (kept.REFUSED, refuses)):
        found |= {
            name: tried(function, case) for name, case in cases.items() if name in (names or cases)
        }
    Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
