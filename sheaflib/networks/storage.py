"""The file of a network: what `Network.save` writes and `Network.load` reads, plain arrays and one
JSON string.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from numbers import Real

import numpy as np
import scipy as sp

from sheaflib.networks.affine import Affine
from sheaflib.networks.operations import Operation, Stack
from sheaflib.networks.selection import MaxPool, ReLU
from sheaflib.support.checks import compressed, whole


def save(network, file) -> None:
    """What `Network.save` does."""
    arrays, described = {}, []
    for node in network.nodes:
        kind, numbers = _describe(node, arrays)
        described.append({"name": node.name, "inputs": node.inputs, "kind": kind, **numbers})
    header = {"n_in": network.n_in, "output": network.output.name, "nodes": described}
    np.savez(file, network=np.array(json.dumps(header)), **arrays)


def load(file, make):
    """What `Network.load` does; `make` is the class, called with (n_in, nodes, output)."""
    with nullcontext(file) if hasattr(file, "read") else open(file, "rb") as stream:
        try:
            return _read(stream, make)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            name = getattr(file, "name", file) if stream is file else file
            raise ValueError(f"{name} is no network that Network.save wrote: {error}") from error


def _describe(node, arrays: dict) -> tuple[str, dict]:
    """An operation's kind and numbers for the JSON header; its arrays go into `arrays`."""
    operation, name = node.operation, node.name
    if isinstance(operation, ReLU):
        return "relu", {"n": operation.n, "slope": operation.slope}
    if isinstance(operation, Stack):
        return "stack", {"dims": operation.dims}
    if isinstance(operation, MaxPool):
        arrays[f"{name}.windows"] = operation.windows
        return "maxpool", {"n": operation.n_in}
    if isinstance(operation.weight, sp.sparse.linalg.LinearOperator):
        raise TypeError(
            f"node {name!r} is matrix-free: functions cannot be saved, give it a dense or sparse"
            " weight"
        )
    arrays[f"{name}.bias"] = operation.bias
    if isinstance(operation.weight, np.ndarray):
        arrays[f"{name}.weight"] = operation.weight
        return "affine", {}
    for part in ("data", "indices", "indptr"):
        arrays[f"{name}.{part}"] = getattr(operation.weight, part)
    return "sparse", {"shape": operation.weight.shape}


def _read(stream, make):
    """The network in an open .npz file; the error names the part that is wrong."""
    begin, place = stream.read(4), stream.tell()
    stream.seek(place - len(begin))
    if begin not in (b"PK\x03\x04", b"PK\x05\x06"):  # NumPy would take it for a pickle, and say so
        raise ValueError(f"it begins with {begin!r}, expected an .npz file")
    try:
        archive = np.load(stream, allow_pickle=False)
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ValueError(f"it cannot be read as an .npz file ({error})") from error
    with archive:
        text = _part(archive, "network")
        if text.shape != () or text.dtype.kind != "U":
            raise ValueError(
                f"its part 'network' has shape {text.shape} and dtype {text.dtype}, expected text"
            )
        try:
            header = json.loads(str(text))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its part 'network' is no JSON ({error})") from error
        described = _field("its part 'network'", header, "nodes", list)
        nodes = [
            _restore(f"node {place} of its part 'network'", node, archive)
            for place, node in enumerate(described)
        ]
        n_in, output = (
            _field("its part 'network'", header, key, kind)
            for key, kind in (("n_in", int), ("output", str))
        )
    return make(n_in, nodes, output)


def _part(archive, name: str) -> np.ndarray:
    """One array of an .npz file; ValueError when it is missing or cannot be read."""
    if name not in archive.files:
        held = ", ".join(archive.files) or "nothing"
        raise ValueError(
            f"its part {name!r} is missing: it holds {held}, expected a file written by"
            " Network.save"
        )
    try:
        array = archive[name]
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ValueError(f"its part {name!r} cannot be read ({error})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"its part {name!r} is no array")
    return array


def _field(where: str, described, key: str, kind: type):
    """An entry of a JSON object, which must be of one kind; ValueError says where it stands."""
    if not isinstance(described, dict) or key not in described:
        raise ValueError(f"{where} lacks {key!r}")
    value = described[key]
    if not isinstance(value, kind):
        names = {list: "a list", str: "text", int: "a whole number", Real: "a number"}
        raise ValueError(f"{where} has {key}={value!r}, expected {names[kind]}")
    return value


def _restore(where: str, node, archive) -> tuple[str, Operation, list]:
    """(name, operation, inputs) from what `_describe` made of a node."""
    name, kind, inputs = (
        _field(where, node, key, type_)
        for key, type_ in (("name", str), ("kind", str), ("inputs", list))
    )
    if not all(isinstance(read, str) for read in inputs):
        raise ValueError(f"{where} has inputs={inputs!r}, expected names as text")
    if kind not in _RESTORE:
        raise ValueError(f"{where} has kind={kind!r}, expected one of {', '.join(_RESTORE)}")
    parts, restore = _RESTORE[kind]
    arrays = [_part(archive, f"{name}.{part}") for part in parts]
    try:
        return name, restore(lambda key, type_: _field(where, node, key, type_), *arrays), inputs
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"node {name!r}: {error}") from error


def _restore_sparse(field, data, columns, indptr, bias) -> Affine:
    shape = field("shape", list)
    if len(shape) != 2:
        raise ValueError(f"shape={shape!r}, expected (n_out, n_in)")
    shape = tuple(whole("shape", n) for n in shape)
    return Affine(compressed("weight", "csr", data, columns, indptr, shape), bias)


# kind -> the arrays that hold an operation, and what makes it of JSON fields and these arrays
_RESTORE = {
    "relu": ((), lambda field: ReLU(field("n", int), field("slope", Real))),
    "stack": ((), lambda field: Stack(*field("dims", list))),
    "maxpool": (("windows",), lambda field, windows: MaxPool(windows, field("n", int))),
    "affine": (("weight", "bias"), lambda field, weight, bias: Affine(weight, bias)),
    "sparse": (("data", "indices", "indptr", "bias"), _restore_sparse),
}
