"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a stream for bytes that become the file `path` when the block ends without an error.

    The bytes are written to another file beside it first. So a reader sees the old file or the new
    one, never a part, however many write at once, and after an error the old file is left as it
    was. Missing folders are not made. A link is followed, and the permissions of an old file are
    kept. What is no file, like a pipe, is written directly.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "greeting")) as stream:
    ...         _ = stream.write(b"Hello")
    ...     Path(folder, "greeting").read_bytes()
    b'Hello'
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    path.parent.stat()  # the error for a missing folder names it, and no temporary file
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
        with suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
