"""Names of layers, as the model's author knows them, from what an ONNX file says of a node."""

from __future__ import annotations

import ast
from typing import Any

SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
PARAMETERS = ("weight", "bias", "kernel", "gamma", "running_mean", "alpha")
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "PRelu")


def layer_name(node: Any, constants: Any) -> str:
    """What to call the layer that a node of ONNX is: what its weights have in common, the module's
    path in PyTorch, or the node's own name with dots between its parts.

    constants holds the names of the file's constants. The weights come first, since a convolution
    that PyTorch has exported with its batch normalisation bears the path of the latter.
    """
    found = {entry.key: entry.value for entry in node.metadata_props}
    return (
        _of_weights(node, constants)
        or _scope(found.get(SCOPES, ""), found.get(CLASSES, ""), node.op_type)
        or _path(node.name, node.op_type)
        or f"{node.op_type}_{node.output[0]}".lower()
    )


def _scope(scopes: str, classes: str, operator: str) -> str:
    """The path of the module that PyTorch's exporter writes beside a node. Where the module is no
    layer, but calls a function, the function's name follows.
    """
    try:
        paths, kinds = ast.literal_eval(scopes), ast.literal_eval(classes)
        module, kind = str(paths[-2]), str(kinds[-2])
    except (ValueError, SyntaxError, IndexError, TypeError, MemoryError, RecursionError):
        return ""
    layer = kind.startswith("torch.nn.modules.") and not kind.endswith("Sequential")
    if layer and module:
        return module
    return f"{module}.{operator.lower()}" if module else operator.lower()


def _of_weights(node: Any, constants: Any) -> str:
    """The name before ".weight" of an operator's weights."""
    if node.op_type not in WEIGHTED:
        return ""
    for name in node.input[1:]:
        path, _, last = name.rpartition(".")
        if name in constants and path and last in PARAMETERS:
            return path
    return ""


def _path(name: str, operator: str) -> str:
    """A node's name with dots: "/layer1/layer1.0/conv1/Conv" is layer1.0.conv1, and a name that is
    no path stays as it is.
    """
    parts = [part for part in name.split("/") if part]
    if len(parts) > 1 and parts[-1].rstrip("0123456789_") == operator:
        parts = parts[:-1]
    path = ""
    for part in parts:
        path = part if part.startswith(f"{path}.") or not path else f"{path}.{part}"
    return path
