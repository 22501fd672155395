"""Where the repository of the companion is, and where results go for which nobody named a folder.

A copy of sheaflib that pip installed has no notebooks and no figures beside it: it finds them from
the working directory, and never writes into the folder of installed packages.
"""

from __future__ import annotations

import os
from pathlib import Path

INSTALLED = Path(__file__).resolve().parents[2]  # the folder in which this sheaflib lies
INDEX = Path("notebooks") / "index.toml"  # what makes a folder the repository
OUTSIDE = "sheaflib-results"


def found() -> Path | None:
    """The repository: the checkout that this sheaflib lies in, else the one that the working
    directory lies in; None where there is neither."""
    here = Path.cwd()
    for folder in (INSTALLED, here, *here.parents):
        if (folder / INDEX).is_file():
            return folder
    return None


def needed(file: str) -> Path:
    """The path of a file of the repository, named from its root; FileNotFoundError says where it
    was looked for."""
    root = found()
    if root is None:
        raise FileNotFoundError(
            f"{file} is a file of sheaflib's repository, and there is none here: neither "
            f"{INSTALLED}, where sheaflib is installed, nor {Path.cwd()} or a folder above it has "
            f"{INDEX.as_posix()}; run inside a clone of the repository"
        )
    if not (root / file).is_file():
        raise FileNotFoundError(f"there is no {file} in the repository {root}")
    return root / file


def results() -> Path:
    """The folder of what a run draws and records: SHEAFLIB_OUT, else build/lab of the repository,
    else sheaflib-results in the working directory."""
    return chosen("SHEAFLIB_OUT", "lab", "")


def sweeps() -> Path:
    """The folder of the results that sweeps keep: SHEAFLIB_CACHE, else build/sweeps of the
    repository, else sheaflib-results/sweeps in the working directory."""
    return chosen("SHEAFLIB_CACHE", "sweeps", "sweeps").absolute()


def claims() -> Path:
    """The path of the claims: SHEAFLIB_CLAIMS, else notebooks/claims.toml of the repository;
    FileNotFoundError where there is none."""
    named = os.environ.get("SHEAFLIB_CLAIMS")
    return Path(named) if named else needed("notebooks/claims.toml")


def chosen(variable: str, inside: str, outside: str) -> Path:
    """The folder that an environment variable names, else one of the repository's build/, else one
    of the working directory's sheaflib-results."""
    named, root = os.environ.get(variable), found()
    if named:
        return Path(named)
    return root / "build" / inside if root else Path.cwd() / OUTSIDE / outside
