"""Where things are in the repository, and how files are hashed and written whole (standard library only)."""

import hashlib
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Project:
    """The folders of one checkout; the tests point `root` at a toy one."""

    root: Path = REPOSITORY

    @property
    def notebooks(self):
        """Folder of the notebooks, their index and the claims."""
        return self.root / "notebooks"

    @property
    def figures(self):
        """Folder of the committed figures and of the ledger."""
        return self.root / "figures"

    @property
    def build(self):
        """Ignored folder of everything that can be made again."""
        return self.root / "build"

    @property
    def sweeps(self):
        """Folder of the results that sweeps keep, each with what it follows from, for all runs."""
        return self.build / "sweeps"

    @property
    def compiled(self):
        """Folder of the code that numba keeps, each with its source and processor, for all runs."""
        return self.build / "numba"

    @property
    def parts(self):
        """Folder of the ledger's parts, one file for each notebook that ran here at full size."""
        return self.build / "ledger"

    def claims(self):
        """Return the claims of notebooks/claims.toml as a dict id -> entry; FileNotFoundError when there is none."""
        return tomllib.loads((self.notebooks / "claims.toml").read_text(encoding="utf-8"))


def digest(data):
    """Return the SHA-256 of bytes, or of a JSON-able object in canonical form."""
    if not isinstance(data, bytes):
        data = json.dumps(data, sort_keys=True, default=str).encode()
    return hashlib.sha256(data).hexdigest()


def file_digest(path):
    """Return the SHA-256 of a file, "" when it does not exist."""
    return digest(path.read_bytes()) if path.is_file() else ""


def write_whole(path, content):
    """Write text or bytes so that a reader sees the old file or the new, never a part; same content leaves it alone."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
