"""One line for a reader's own network: `read` finds out what it is given."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from sheaflib.networks.graph import Network
from sheaflib.networks.readers.original import Reading
from sheaflib.support.checks import brief, real_array

KINDS = (
    "a path or the bytes of an ONNX file, an onnx.ModelProto, a module of PyTorch, a model of"
    " Keras, or an MLP or pipeline of scikit-learn"
)
OTHER_FILES = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".h5", ".keras", ".ckpt", ".npz")


def read(model: Any, example: Any = None, *, output: str | None = None) -> Network:
    """Make a `Network` of a trained model of another library, and compare the two.

    Each layer becomes an operation of sheaflib with its own parameters, under the name that it has
    in the model. Batch normalisation in inference, and constant factors and terms, go into the
    layer before them. A last softmax, log-softmax or sigmoid becomes the network's output map; for
    a log-softmax the network gives the softmax. The model is left as it was, and is read as it is
    in inference. The first axis of its input numbers the samples; the network reads every sample
    flattened in C order.

    The network is then compared with the model on random inputs and on the example. Its attribute
    `difference` is the largest difference between the two outputs, relative to the largest output.

    Parameters
    ----------
    model : str, path, bytes or model
        The path or the bytes of an ONNX file, an ``onnx.ModelProto``, a module of PyTorch, a model
        of Keras, or a multi-layer perceptron of scikit-learn, alone or as the last step of a
        pipeline.
    example : array_like, shape (B, ...), optional
        A batch of inputs in the model's own shape. A module of PyTorch needs it, and so does an
        ONNX file that leaves sizes open.
    output : str, optional
        Which one of several outputs of an ONNX file is read, by its name.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    TypeError
        If the model is none of these kinds.
    ModuleNotFoundError
        If a package that is needed to read it is missing.
    ValueError
        If the model is no network of affine maps, ReLUs and their kind (it has a tanh inside, or an
        attention; the message names layer and operation), if a file is damaged, or if network and
        model differ by more than the model's precision explains.

    Notes
    -----
    In the paper: not there; section 2 constructs the sheaf of ReLU networks, the rest is derived.

    Examples
    --------
    >>> from sheaflib import read
    >>> from sklearn.neural_network import MLPRegressor
    >>> X, y = np.arange(8.0).reshape(4, 2), np.arange(4.0)
    >>> mlp = MLPRegressor(hidden_layer_sizes=[3], solver="lbfgs").fit(X, y)
    >>> network = read(mlp)
    >>> bool(np.allclose(network(X)[:, 0], mlp.predict(X)))
    True
    """
    if type(example).__module__ == "torch":  # a tensor may have gradients, or lie on a GPU
        example = example.detach().cpu().double().numpy()
    given = None if example is None else real_array("example", example)
    if given is not None and (given.ndim < 1 or given.size == 0):
        raise ValueError(f"example has shape {given.shape}, expected a batch of inputs (B, …)")
    if output is not None and not isinstance(output, str):
        raise TypeError(f"output={brief(output)}, expected the name of an output as text")
    return _reading(model, given, output).checked(given)


def _reading(model: Any, example: np.ndarray | None, output: str | None) -> Reading:
    """The network of a model, by what the model is."""
    if isinstance(model, (str, os.PathLike)) and os.fspath(model).endswith(OTHER_FILES):
        raise ValueError(
            f"model={brief(model)} is no ONNX file: load the model with its own library and pass"
            " it, or export it to ONNX"
        )
    libraries = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    file = isinstance(model, (str, os.PathLike, bytes, bytearray, memoryview))
    if file or "onnx" in libraries:
        from sheaflib.networks.readers.onnx_file import reading

        return reading(model, example, output)
    if not libraries & {"keras", "torch", "sklearn"}:
        raise TypeError(f"model is a {type(model).__name__}, expected {KINDS}")
    if output is not None:
        raise ValueError(f"output={output!r} is for ONNX files, expected None")
    if "keras" in libraries:
        from sheaflib.networks.readers import keras_model

        return keras_model.reading(model, example)
    if "torch" in libraries:
        from sheaflib.networks.readers import torch_module

        return torch_module.reading(model, example)
    from sheaflib.networks.readers import sklearn_model

    return sklearn_model.reading(model)
