"""Where things are in the repository, how files are written whole, and one command at a time.

Needs the standard library only: this runs before the environment exists.
"""

import hashlib
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


class Refusal(ValueError):
    """A request that cannot be carried out; its text is one line for the person who asked."""


class Project:
    """The folders of one checkout; the tests point `root` at a toy one.

    Committed are `notebooks`, with their index and the claims, and `figures`, with the ledger.
    `build` is ignored, and all in it can be made again: `sweeps` are the results that sweeps keep,
    `compiled` the code that numba keeps, each with what it follows from.
    """

    def __init__(self, root=REPOSITORY):
        self.root = Path(root)
        self.notebooks, self.figures = self.root / "notebooks", self.root / "figures"
        self.build = self.root / "build"
        self.sweeps, self.compiled = self.build / "sweeps", self.build / "numba"


def digest(data):
    """Return the SHA-256 of bytes, or of a JSON-able object in canonical form."""
    if not isinstance(data, bytes):
        data = json.dumps(data, sort_keys=True, default=str).encode()
    return hashlib.sha256(data).hexdigest()


def file_digest(path):
    """Return the SHA-256 of a file, "" when it does not exist."""
    return digest(path.read_bytes()) if path.is_file() else ""


def read_toml(path):
    """Return what a TOML file holds; Refusal names the file that is none."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path.name}: {error}") from None


def write_whole(path, content):
    """Write text or bytes so that a reader sees the old file or the new, never a part.

    A file that has this content already is left alone.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


@contextmanager
def alone(root, command):
    """Hold the checkout for one command, until the file that this yields is closed.

    Refusal names the command that holds it. The operating system frees it when the process ends,
    however it ends.
    """
    with open(root / ".command.lock", "a+", encoding="utf-8") as file:
        if not locked(file):
            file.seek(0)
            holder, _, process = file.read().partition(" ")
            raise Refusal(
                f"{command} did not start: {holder or 'another command'} runs in "
                f"this checkout (process {process or 'just started'})"
            )
        file.truncate(0)
        file.write(f"{command} {os.getpid()}")
        file.flush()
        yield file


def locked(file):
    """Lock an open file for this process without waiting; returns False when another has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 20)  # beyond the text, which others read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
