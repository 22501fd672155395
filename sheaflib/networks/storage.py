"""The file of a network: an .npz file that holds arrays and a header, one JSON object, which says
what they are.

The header is the part "network". A network with one node is described like this, and its weight and
bias are the parts "0" and "1":

    {"version": 3, "n_in": 3, "output": "identity", "nodes": [
        {"name": "z1", "inputs": ["x"], "kind": "affine", "arrays": {"weight": 0, "bias": 1}}]}

The names of nodes stand in the header alone, so that they can be any text. Layers of images are
held by what makes them, a convolution by its kernel; version 2 knew no such kinds. In version 1,
which sheaflib 0.1 wrote, the header says no version and no numbers of arrays, and the same parts
are called "z1.weight" and "z1.bias".

A file need not be trusted. Only arrays of numbers and the text of the header are read: an array of
objects, which would be a pickle, is refused by its dtype. `save` does not compress, and a
compressed part is refused, so that nothing read is larger than the file itself.
"""

from __future__ import annotations

import io
import json
import math
import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from numbers import Real
from typing import IO, TYPE_CHECKING, Any, Callable

import numpy as np
import scipy as sp

from sheaflib.networks.affine import Affine
from sheaflib.networks.archive import Archive, field_of
from sheaflib.networks.convolution import Convolution, TransposedConvolution
from sheaflib.networks.gather import Gather, Scatter
from sheaflib.networks.operations import Operation, Stack
from sheaflib.networks.pooling import ImagePool
from sheaflib.networks.selection import Clamp, MaxPool, PReLU, ReLU
from sheaflib.networks.structured import BatchNorm, Separable, Sum
from sheaflib.networks.windows import image
from sheaflib.support.checks import brief, compressed, whole
from sheaflib.support.files import replacing

if TYPE_CHECKING:
    from sheaflib.networks.graph import Network, Node

File = str | os.PathLike[str] | IO[bytes]
VERSIONS = (1, 2, 3)
_HEADER = "its part 'network'"


def save(network: Network, file: File) -> None:
    """What `Network.save` does."""
    arrays: list[np.ndarray] = []
    nodes = []
    for node in network.nodes:
        kind, numbers, parts = _describe(node)
        places = {part: len(arrays) + place for place, part in enumerate(parts)}
        arrays += parts.values()
        nodes.append(
            {"name": node.name, "inputs": node.inputs, "kind": kind, **numbers, "arrays": places}
        )
    header = {
        "version": VERSIONS[-1],
        "n_in": network.n_in,
        "output": network.output.name,
        "nodes": nodes,
    }
    parts_of_file: dict[str, Any] = {"network": np.array(json.dumps(header))}
    parts_of_file |= {str(place): array for place, array in enumerate(arrays)}
    with _opened(file, "write", replacing) as stream:
        np.savez(stream, **parts_of_file)


def load(file: File, make: type[Network]) -> Network:
    """What `Network.load` does; `make` is the class, called with (n_in, nodes, output)."""
    with _opened(file, "read", partial(open, mode="rb")) as stream:
        try:
            return _read(stream, make)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(
                f"{getattr(stream, 'name', file)} holds no network that Network.load can read:"
                f" {error}"
            ) from error


def _opened(file: File, method: str, opener: Callable) -> AbstractContextManager[IO[bytes]]:
    """The context of a stream: what `opener` makes of a path, or `file` itself, which is left
    open.
    """
    if isinstance(file, (str, os.PathLike)):
        return opener(file)
    if not hasattr(file, method) or isinstance(file, io.TextIOBase):
        raise TypeError(f"file={brief(file)}, expected a path or an open binary file")
    return nullcontext(file)


def _describe(node: Node) -> tuple[str, dict, dict[str, np.ndarray]]:
    """An operation's kind, its numbers for the header, and its arrays by name."""
    operation = node.operation
    if isinstance(operation, ReLU):
        return "relu", {"n": operation.n, "slope": operation.slope}, {}
    if isinstance(operation, PReLU):
        return "prelu", {"n": operation.n}, {"slope": operation.slope}
    if isinstance(operation, Clamp):
        bounds = {"low": operation.low, "high": operation.high}
        finite = {name: bound if math.isfinite(bound) else None for name, bound in bounds.items()}
        return "clamp", {"n": operation.n, **finite}, {}
    if isinstance(operation, Stack):
        return "stack", {"dims": operation.dims}, {}
    if isinstance(operation, ImagePool):
        parts = {"rows": operation.rows, "columns": operation.columns}
        return "imagepool", {"shape": operation.shape}, parts
    if isinstance(operation, MaxPool):
        return "maxpool", {"n": operation.n_in}, {"windows": operation.windows}
    return _describe_affine(node)


def _describe_affine(node: Node) -> tuple[str, dict, dict[str, np.ndarray]]:
    """As `_describe`, of the affine operations."""
    operation = node.operation
    for kind, made in _MADE_OF_ARGUMENTS.items():
        if isinstance(operation, made):
            given = operation._arguments()
            arrays = {name: v for name, v in given.items() if isinstance(v, np.ndarray)}
            return kind, {name: v for name, v in given.items() if name not in arrays}, arrays
    if isinstance(operation, Separable):
        sides = {"rows": operation.rows, "columns": operation.columns}
        return (
            "separable",
            {"shape": operation.shape, "sides": [side.shape[0] for side in sides.values()]},
            {
                f"{name}.{part}": getattr(side, part)
                for name, side in sides.items()
                for part in ("data", "indices", "indptr")
            },
        )
    weight, bias = operation.weight, operation.bias
    if isinstance(weight, sp.sparse.linalg.LinearOperator):
        raise TypeError(
            f"node {node.name!r} is matrix-free: functions cannot be saved, give it a dense or"
            " sparse weight"
        )
    if isinstance(weight, np.ndarray):
        return "affine", {}, {"weight": weight, "bias": bias}
    parts = {part: getattr(weight, part) for part in ("data", "indices", "indptr")}
    return "sparse", {"shape": weight.shape}, {**parts, "bias": bias}


def _read(stream: IO[bytes], make: type[Network]) -> Network:
    """The network in an open .npz file; the error names the part that is wrong."""
    archive = Archive(stream)
    text = archive.take("network", _HEADER, "U")
    if text.shape != ():
        raise ValueError(f"{_HEADER} has shape {text.shape}, expected one text")
    try:  # NumPy's own way from numbers to letters raises SystemError for what is no letter
        little_endian = text.astype(text.dtype.newbyteorder("<")).tobytes()
        header = json.loads(little_endian.decode("utf-32-le"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_HEADER} is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise ValueError(f"{_HEADER} is {brief(header)}, expected a JSON object")
    version = field_of(_HEADER, {"version": 1, **header}, "version", int)
    if version not in VERSIONS:
        raise ValueError(
            f"{_HEADER} has version={version}, expected one of"
            f" {', '.join(map(str, VERSIONS))}: another version of sheaflib wrote it"
        )
    nodes = [
        _restore(f"node {place} of {_HEADER}", node, version, archive)
        for place, node in enumerate(field_of(_HEADER, header, "nodes", list))
    ]
    network = make(
        field_of(_HEADER, header, "n_in", int), nodes, field_of(_HEADER, header, "output", str)
    )
    more = archive.parts.keys() - archive.taken
    if more:
        raise ValueError(f"it holds {min(more)!r} too, which belongs to no node")
    return network


def _restore(where: str, node: Any, version: int, archive: Archive) -> tuple[str, Operation, list]:
    """(name, operation, inputs) from the header's entry of a node and the node's arrays."""
    field = partial(field_of, where, node)
    name, kind, inputs = field("name", str), field("kind", str), field("inputs", list)
    if not all(isinstance(read, str) for read in inputs):
        raise ValueError(f"{where} has inputs={brief(inputs)}, expected names as text")
    if kind not in _RESTORE:
        raise ValueError(f"{where} has kind={brief(kind)}, expected one of {', '.join(_RESTORE)}")
    parts, restore = _RESTORE[kind]
    places = {part: f"{name}.{part}" for part in parts}
    if version > 1:
        numbers = field("arrays", dict)
        places = {part: str(field_of(f"arrays of {where}", numbers, part, int)) for part in parts}
    arrays = [
        archive.take(place, f"its part {place!r} ({part} of node {name!r})")
        for part, place in places.items()
    ]
    try:
        return name, restore(field, *arrays), inputs
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"node {name!r}: {error}") from error


def _restore_sparse(
    field: Callable, data: np.ndarray, columns: np.ndarray, indptr: np.ndarray, bias: np.ndarray
) -> Affine:
    shape = field("shape", list)
    if len(shape) != 2:
        raise ValueError(f"shape={brief(shape)}, expected (n_out, n_in)")
    shape = tuple(whole("shape", n) for n in shape)
    return Affine(compressed("weight", "csr", data, columns, indptr, shape), bias)


def _restore_convolution(field: Callable, kernel: np.ndarray, bias: np.ndarray) -> Convolution:
    return Convolution(kernel, **_placing(field), bias=bias)


def _restore_transposed(
    field: Callable, kernel: np.ndarray, bias: np.ndarray
) -> TransposedConvolution:
    more = field("output_padding", list)
    return TransposedConvolution(kernel, **_placing(field), bias=bias, output_padding=more)


def _placing(field: Callable) -> dict[str, Any]:
    """The arguments of a convolution that stand in the header."""
    lists = {name: field(name, list) for name in ("shape", "stride", "padding", "dilation")}
    return {**lists, "groups": field("groups", int)}


def _restore_separable(field: Callable, *parts: np.ndarray) -> Separable:
    shape, heights = field("shape", list), field("sides", list)
    *_, height, width = image(shape)
    if len(heights) != 2:
        raise ValueError(f"sides={brief(heights)}, expected (height, width)")
    sides = [
        compressed(name, "csr", data, columns, indptr, (whole("sides", n_out), n_in))
        for name, n_out, n_in, (data, columns, indptr) in zip(
            ("rows", "columns"), heights, (height, width), (parts[:3], parts[3:])
        )
    ]
    return Separable(shape, *sides)


def _bound(field: Callable, name: str, infinite: float) -> float:
    """A bound of a clamp, which null says is infinite."""
    return infinite if field(name, (Real, type(None))) is None else field(name, Real)


# kinds that a file holds by the arguments which make them: arrays, and numbers in the header
_MADE_OF_ARGUMENTS = {
    "convolution": Convolution,
    "transposed": TransposedConvolution,
    "batchnorm": BatchNorm,
    "gather": Gather,
    "scatter": Scatter,
    "sum": Sum,
}
_SIDES = [
    f"{name}.{part}" for name in ("rows", "columns") for part in ("data", "indices", "indptr")
]
# kind -> the arrays that hold an operation, and what makes it of JSON fields and these arrays
_RESTORE: dict[str, tuple[tuple[str, ...], Callable]] = {
    "relu": ((), lambda field: ReLU(field("n", int), field("slope", Real))),
    "stack": ((), lambda field: Stack(*field("dims", list))),
    "maxpool": (("windows",), lambda field, windows: MaxPool(windows, field("n", int))),
    "affine": (("weight", "bias"), lambda field, weight, bias: Affine(weight, bias)),
    "sparse": (("data", "indices", "indptr", "bias"), _restore_sparse),
    "prelu": (("slope",), lambda field, slope: PReLU(field("n", int), slope)),
    "clamp": (
        (),
        lambda field: Clamp(
            field("n", int), _bound(field, "low", -math.inf), _bound(field, "high", math.inf)
        ),
    ),
    "imagepool": (
        ("rows", "columns"),
        lambda field, rows, columns: ImagePool(field("shape", list), rows, columns),
    ),
    "convolution": (("kernel", "bias"), _restore_convolution),
    "transposed": (("kernel", "bias"), _restore_transposed),
    "batchnorm": (
        ("scale", "shift", "mean", "variance"),
        lambda field, scale, shift, mean, variance: BatchNorm(
            scale, shift, mean, variance, field("eps", Real), field("pixels", int)
        ),
    ),
    "gather": (("index",), lambda field, index: Gather(index, field("n_in", int))),
    "scatter": (("places", "fill"), lambda field, places, fill: Scatter(places, fill)),
    "sum": ((), lambda field: Sum(field("n", int), field("parts", int))),
    "separable": (tuple(_SIDES), _restore_separable),
}
