"""Models of Keras, by their own export to ONNX, whatever backend they run on."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sheaflib.networks.readers.onnx_file import reading as onnx_reading
from sheaflib.networks.readers.original import Reading
from sheaflib.support.extras import needs

ROWS = 2  # of the batch that a model is exported with


def reading(model: Any, example: Any) -> Reading:
    """A model of Keras as a network, beside the model's own values in inference.

    Raises ValueError where Keras cannot export it, and for what is not covered.
    """
    with needs("reading a model of Keras", "onnx"):
        import keras
        import onnx

    shape = _shape(model, example)
    proto = onnx.load_model_from_string(_exported(model, shape, keras))
    _name_layers(proto, model)
    found = onnx_reading(proto, np.zeros((ROWS, *shape)), None)

    def original(x: np.ndarray) -> np.ndarray:
        tensor = keras.ops.convert_to_tensor(x.astype(found.precision))
        return np.asarray(keras.ops.convert_to_numpy(model(tensor, training=False)))

    # in a model of float64 too the export rounds numbers of the code to float32
    return replace(found, original=original, rows=None, precision=np.dtype(np.float32))


def _shape(model: Any, example: Any) -> tuple[int, ...]:
    """The shape of one sample, by the model or, where it leaves that open, by the example."""
    what = f"the {type(model).__name__} of Keras"
    told = getattr(model, "input_shape", None) if getattr(model, "built", False) else None
    if isinstance(told, (list, dict)):
        raise ValueError(f"{what} has {len(told)} inputs, expected one")
    if isinstance(getattr(model, "output_shape", None) if told else None, (list, dict)):
        raise ValueError(f"{what} has {len(model.output_shape)} outputs, expected one")
    shape = (None,) if told is None else tuple(told[1:])
    if example is not None:
        own = tuple(np.shape(example)[1:])
        fits = told is None or len(own) == len(shape)
        if not fits or told is not None and any(n not in (None, m) for n, m in zip(shape, own)):
            raise ValueError(f"example has shape {np.shape(example)}, expected {(None, *shape)}")
        return own
    if None in shape:
        raise ValueError(
            f"{what} leaves the shape of its inputs open: pass some, as in read(model, example=x)"
            " with x of the shape (batch, …)"
        )
    return tuple(int(n) for n in shape)


def _exported(model: Any, shape: tuple[int, ...], keras: Any) -> bytes:
    """The bytes of the ONNX file that Keras writes, for a batch of ROWS."""
    told = getattr(model, "inputs", None)
    dtype = told[0].dtype if told else keras.config.floatx()
    signature = [keras.InputSpec(shape=(ROWS, *shape), dtype=dtype, name="input")]
    with TemporaryDirectory() as folder, _quietly(), _modes_kept(model):
        file = Path(folder) / "model.onnx"
        try:
            model(np.zeros((1, *shape), dtype), training=False)  # a model that has not been called
            model.export(str(file), format="onnx", verbose=False, input_signature=signature)
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ValueError(
                f"Keras cannot export the {type(model).__name__} to ONNX:"
                f" {type(error).__name__}: {lines[0] if lines else ''}"
            ) from error
        return file.read_bytes()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what exporters tell of themselves on the way."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _modes_kept(model: Any) -> Iterator[None]:
    """With the backend PyTorch a model is a module, which the export puts in evaluation mode."""
    modules = list(model.modules()) if hasattr(model, "modules") else []
    modes = [module.training for module in modules]
    try:
        yield
    finally:
        for module, mode in zip(modules, modes):
            module.training = mode


def _name_layers(proto: Any, model: Any) -> None:
    """Call the nodes of an exported model after the layers whose weights they hold, and those
    without weights after the layer before them and what they do.

    The exporters keep no names of layers, but the weights are the same numbers, in some order.
    """
    from onnx import numpy_helper

    names = {}
    for weight in model.weights:
        parts = weight.path.split("/")[:-1]
        path = ".".join(parts[1:] if parts[:1] == [model.name] else parts)
        names[_numbers(weight)] = path or weight.name
    names.pop(b"", None)
    known = {}
    for tensor in proto.graph.initializer:
        layer = names.get(_numbers(numpy_helper.to_array(tensor)))
        if layer is not None:
            known[tensor.name] = layer
    last = ""
    for node in proto.graph.node:
        own = next((known[name] for name in node.input if name in known), None)
        operator = node.op_type.lower()
        del node.metadata_props[:]
        node.name = own if own is not None else f"{last}.{operator}".lstrip(".")
        if own is not None:
            last = own


def _numbers(weight: Any) -> bytes:
    """The numbers of an array in rising order; b"" where all are the same, which tells nothing."""
    import keras

    array = np.sort(np.asarray(keras.ops.convert_to_numpy(weight)), axis=None)
    return array.tobytes() if array.size and array[0] != array[-1] else b""
