"""The environment of every command: the active one where it will do, else `.venv` from the lock.

Needs the standard library only. `uv sync` would make it too, where uv is installed: a newcomer has
Python alone, so it is `python -m venv` and pip, and uv where it is there in pip's place.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.project import REPOSITORY, Refusal, file_digest

# The extras of pyproject.toml that commands need: all of them, and those that run the tests.
NOTEBOOKS = ("notebooks",)
TESTS = ("test",)  # brings those too
STAMP = "sheaflib.stamp"  # stands in a .venv made here, and holds the hash of its lock once whole


def check_python(version=sys.version_info[:2], root=REPOSITORY):
    """Raise Refusal when this Python cannot be used."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    low, high = re.findall(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', text)[0]
    if not (3, int(low)) <= version < (3, int(high)):
        raise Refusal(
            f"sheaflib runs on Python 3.{low} to 3.{int(high) - 1}, and this is "
            f"{version[0]}.{version[1]}; name another one, e.g. "
            f"`make figures PYTHON=python3.{low}`"
        )


def interpreter(folder):
    """Return the path of the interpreter in the folder of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def requirements(root=REPOSITORY, extras=()):
    """Return what pyproject.toml requires with these extras, and those that they name in turn.

    ImportError without packaging.
    """
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found, lines = [], [*project["dependencies"], f"{project['name']}[{','.join(extras)}]"]
    for requirement in map(Requirement, lines):
        if requirement.name == project["name"]:
            for extra in sorted(requirement.extras):
                lines += project["optional-dependencies"][extra]
        else:
            found.append(requirement)
    return found


def shortcomings(root=REPOSITORY, extras=()):
    """Return every way in which the running environment does not meet the requirements."""
    try:
        needed = requirements(root, extras)
    except ImportError:
        return ["packaging is missing"]
    said = []
    for requirement in needed:
        found = [d.version for d in importlib.metadata.distributions(name=requirement.name)]
        if not found:
            said.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(found[0], prereleases=True):
            said.append(f"{requirement.name} {found[0]} is not {requirement.specifier}")
    return said


def ensure(root=REPOSITORY, extras=()):
    """Return the interpreter to use, making or finishing `.venv` when the active one will not do.

    Refusal when there is a `.venv` that was not made here.
    """
    folder, reason = root / ".venv", "there is no active environment"
    stamp = folder / STAMP
    python = interpreter(folder)
    inside = os.path.realpath(sys.prefix) == os.path.realpath(folder) and stamp.exists()
    if (sys.prefix != sys.base_prefix or Path(sys.prefix, "conda-meta").is_dir()) and not inside:
        missing = shortcomings(root, extras)
        if not missing:
            return sys.executable
        more = " and more" if len(missing) > 3 else ""
        reason = f"in the active environment {'; '.join(missing[:3])}{more}"
    if not stamp.exists() and (folder / "pyvenv.cfg").exists():
        raise Refusal(
            f"{reason}, and .venv was not made by this command: activate it with the "
            "requirements installed, or delete it and run again"
        )
    made_from = stamp.read_text() if stamp.exists() and python.exists() else ""
    if made_from != file_digest(root / "requirements.lock"):
        build(root, folder, python, reason, fresh=not made_from)
    return sys.executable if inside else str(python)


def build(root, folder, python, reason, fresh):
    """Make or update `.venv`; its stamp is empty until all is installed."""
    uv = shutil.which("uv")
    print(
        f"{reason}: {'making' if fresh else 'updating'} .venv from requirements.lock with "
        f"{'uv' if uv else 'pip (a minute or two)'} ...",
        file=sys.stderr,
        flush=True,
    )
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if uv:
        pip = [uv, "pip", "install", "--python", python, "--quiet", "--compile-bytecode"]
    commands = [
        [*pip, "--require-hashes", "-r", "requirements.lock"],
        [*pip, "--no-deps", "--no-build-isolation", "-e", "."],
    ]
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
        without = ["--without-pip"] if uv else []
        base = getattr(sys, "_base_executable", sys.executable)  # a .venv may be what goes
        commands.insert(0, [base, "-m", "venv", *without, folder])
    folder.mkdir(exist_ok=True)
    (folder / STAMP).write_text("")
    for command in commands:
        if subprocess.call(command, cwd=root):
            raise Refusal(
                f"failed: {' '.join(map(str, command))}\n"
                ".venv is unfinished; run again to finish it"
            )
    (folder / STAMP).write_text(file_digest(root / "requirements.lock"))
