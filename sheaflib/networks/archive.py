"""Reading an .npz file that need not be trusted: its parts, and the entries of its header, each
checked before it is used.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from numbers import Real
from typing import IO, Any

import numpy as np

from sheaflib.support.checks import brief

_OTHER_FORMATS = {
    b"\x80": "is a pickle, which is never opened",
    b"\x93NUMPY": "is one array in the .npy format",
}


class Archive:
    """The parts of an .npz file, each of which is taken once; `parts` has them by file name."""

    def __init__(self, stream: IO[bytes]):
        place = stream.tell()
        begin = stream.read(6)
        # how many bytes the parts that are not taken yet can have together
        self.left = stream.seek(0, os.SEEK_END) - place
        if not begin:
            raise ValueError("it is empty, expected an .npz file")
        if not begin.startswith(b"PK"):
            known = (said for start, said in _OTHER_FORMATS.items() if begin.startswith(start))
            said = next(known, f"begins with {begin!r}")
            raise ValueError(f"it {said}, expected an .npz file")
        try:
            self.zip = zipfile.ZipFile(stream)
        except Exception as error:  # zipfile raises many kinds
            raise ValueError(
                f"it begins as an .npz file, but the list of its parts, which stands at its end,"
                f" is cut off or damaged ({error})"
            ) from error
        self.parts = {info.filename: info for info in self.zip.infolist()}
        if len(self.parts) < len(self.zip.infolist()):
            raise ValueError("it holds several parts of one name")
        self.taken: set[str] = set()

    def take(self, name: str, where: str, kinds: str = "iuf") -> np.ndarray:
        """The array in one part, whose dtype is of these kinds; an error begins with `where`."""
        file = f"{name}.npy"
        if file not in self.parts:
            raise ValueError(
                f"{where} is missing: it holds {brief([*self.parts])}, expected a file"
                " written by Network.save"
            )
        if file in self.taken:
            raise ValueError(f"{where} belongs to something else already")
        self.taken.add(file)
        info = self.parts[file]
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError(f"{where} is compressed, expected all its bytes as they are")
        self.left -= info.file_size
        if self.left < 0:
            raise ValueError(f"{where} claims {info.file_size} bytes, more than the file has left")
        try:
            content = self.zip.read(info)
        except Exception as error:  # zipfile raises many kinds
            raise ValueError(f"{where} cannot be read ({error})") from error
        return _array(where, content, kinds)


def _array(where: str, content: bytes, kinds: str) -> np.ndarray:
    """The array in the bytes of an .npy file, whose size is checked before it is made."""
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("Network.save writes version 1.0 of the format")
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception:  # NumPy raises many kinds, and may advise to allow pickles
        raise ValueError(f"{where} does not begin as an array in the .npy format") from None
    if dtype.kind not in kinds:
        expected = "text" if kinds == "U" else "real numbers"
        raise ValueError(f"{where} has dtype {dtype}, expected {expected}")
    place = stream.tell()
    size = len(content) - place
    # NumPy makes no array of a longer side, even where another side is 0
    possible = dtype.itemsize > 0 and all(0 <= n <= len(content) for n in shape)
    if not possible or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{where} claims shape {shape} and dtype {dtype}, but {size} bytes follow")
    array = np.frombuffer(content, dtype, offset=place)
    return array.reshape(shape, order="F" if by_column else "C")


def field_of(where: str, described: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    """An entry of a JSON object, which must be of one kind; ValueError says where it stands."""
    if not isinstance(described, dict) or key not in described:
        raise ValueError(f"{where} lacks {key!r}")
    value = described[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        names = {
            dict: "an object",
            list: "a list",
            str: "text",
            int: "a whole number",
            Real: "a number",
            (Real, type(None)): "a number or null",
        }
        raise ValueError(f"{where} has {key}={brief(value)}, expected {names[kind]}")
    return value
