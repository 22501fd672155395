"""Modules of PyTorch: exported to ONNX from a copy in float64, which is read in turn."""

from __future__ import annotations

import copy
import logging
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from sheaflib.networks.readers.onnx_file import reading as onnx_reading
from sheaflib.networks.readers.original import Reading
from sheaflib.support.checks import real_array
from sheaflib.support.extras import needs

ROWS = 3  # of the example that a module is exported with: one row would fix the batch at 1


def reading(module: Any, example: Any) -> Reading:
    """A module as a network, beside the module's own values.

    The module itself is left as it was: all is done with a copy, in evaluation mode, in float64, on
    the processor. Raises ValueError where PyTorch cannot export it, and for what is not covered.
    """
    with needs("reading a module of PyTorch", "torch"):
        import torch

    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    x = _example(module, example)
    double = _copied(module, torch)
    _check_outcome(module, double, torch.from_numpy(x), torch)
    program = _exported(module, double, torch.from_numpy(x), torch)
    exact = _exact_numbers(program, torch)
    _restore(program.model, exact)
    program.optimize()
    found = onnx_reading(program.model_proto, x, None, exact)

    def original(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return double(torch.from_numpy(np.array(x))).numpy()

    return replace(found, original=original, precision=np.dtype(np.float64))


def _example(module: Any, example: Any) -> np.ndarray:
    """The example as an array of at least two rows."""
    what = f"the {type(module).__name__} of PyTorch"
    if example is None:
        raise ValueError(
            f"{what} does not say which shape its inputs have: pass some, as in read(module,"
            " example=x) with x of the shape (batch, …)"
        )
    x = real_array("example", example)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"example has shape {x.shape}, expected a batch of inputs, (batch, …)")
    return np.array(x) if len(x) > 1 else np.repeat(x, ROWS, axis=0)


def _copied(module: Any, torch: Any) -> Any:
    """A copy of a module in evaluation mode, in float64, on the processor, without gradients.

    PyTorch refuses to copy tensors that it has computed with gradients, as an old weight
    normalisation keeps one.
    """
    computed: dict[int, Any] = {}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                computed[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(module, computed).eval().double().cpu().requires_grad_(False)
    except Exception as error:
        raise ValueError(
            f"the {type(module).__name__} of PyTorch cannot be copied: {_first_line(error)}"
        ) from error


def _check_outcome(module: Any, double: Any, x: Any, torch: Any) -> None:
    """Raise ValueError unless the copy writes one tensor with a row for each sample, and the same
    one again.
    """
    name = type(module).__name__
    try:
        with torch.no_grad():
            found, again = double(x), double(x)
    except Exception as error:
        raise ValueError(
            f"the {name} of PyTorch fails in float64 at an example of shape {tuple(x.shape)}:"
            f" {_first_line(error)}"
        ) from error
    if not isinstance(found, torch.Tensor):
        count = len(found) if isinstance(found, (tuple, list, dict)) else "no"
        raise ValueError(
            f"the {name} of PyTorch has {count} outputs, expected one: wrap it in a module that"
            " returns a single tensor"
        )
    if found.ndim == 0 or len(found) != len(x) or not found.is_floating_point():
        raise ValueError(
            f"the {name} of PyTorch writes {found.dtype} of shape {tuple(found.shape)} for"
            f" {len(x)} samples, expected numbers, a row for each sample"
        )
    if not torch.equal(found, again):
        raise ValueError(
            f"the {name} of PyTorch writes other numbers when it is called again: dropout or noise"
            " goes on in evaluation mode"
        )


def _exported(module: Any, double: Any, x: Any, torch: Any) -> Any:
    """What PyTorch exports the copy to, with a free batch axis."""
    with needs("reading a module of PyTorch", "onnx"):
        import onnx  # noqa: F401  (torch.onnx would fail in the midst of it)
        import onnxscript  # noqa: F401

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it tells of its own versions
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            free = ({0: torch.export.Dim.DYNAMIC},)
            return torch.onnx.export(
                double, (x,), dynamo=True, dynamic_shapes=free, verbose=False, optimize=False
            )
    except Exception as error:
        raise ValueError(
            f"PyTorch cannot export the {type(module).__name__} to ONNX: {_reason(error)}"
        ) from error
    finally:
        logging.disable(level)


def _exact_numbers(program: Any, torch: Any) -> dict[float, float]:
    """The numbers in the code of a module, as the slope of a leaky ReLU: float32, as ONNX has them
    beside its operators, to float64, as they stand in the code.
    """
    found: dict[float, set[float]] = {float(np.float32(1 / 6)): {1 / 6}}  # a hard sigmoid's slope
    for node in program.exported_program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        defaults = [] if schema is None else [one.default_value for one in schema.arguments]
        for leaf in torch.utils._pytree.tree_leaves((node.args, node.kwargs, defaults)):
            if isinstance(leaf, float) and abs(leaf) < np.finfo(np.float32).max:
                found.setdefault(float(np.float32(leaf)), set()).add(leaf)
    return {rounded: meant.pop() for rounded, meant in found.items() if len(meant) == 1}


def _restore(model: Any, exact: dict[float, float]) -> None:
    """Put the exact numbers in place of constants that the exporter has rounded to float32, where
    all that reads them makes another type of them.
    """
    import onnx_ir as ir

    for node in model.graph:
        if node.op_type == "Constant":
            (written,) = node.outputs
            (told,) = node.attributes.values()
            value = told.value.numpy() if told.name == "value" else np.array(told.value)
            casts = all(use.node.op_type in ("Cast", "CastLike") for use in written.uses())
            if value.dtype.kind != "f" or value.size != 1:
                continue
            meant = exact.get(float(np.float32(value.ravel()[0])))
            if casts and meant is not None:
                array = np.full(value.shape, meant)
                node.attributes.clear()
                node.attributes["value"] = ir.AttrTensor("value", ir.tensor(array))
                written.dtype = ir.DataType.DOUBLE


def _reason(error: BaseException) -> str:
    """The innermost cause of an error of the exporter, which wraps it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
