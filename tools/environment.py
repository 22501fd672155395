"""The environment of every command: the active one where it will do, else `.venv` from the lock (standard library only)."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = {"pytest-xdist": "xdist", "pillow": "PIL", "scikit-learn": "sklearn", "pyyaml": "yaml"}
NOTEBOOKS = ("notebooks",)         # the extras that running the notebooks needs,
TESTS = ("test",)                  # and those of the tests, which run the notebooks too


def versions_admitted(root=ROOT):
    """Return the lowest and the first excluded Python of pyproject.toml as pairs of integers."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    bounds = re.search(r'requires-python = ">=(\d+)\.(\d+),<(\d+)\.(\d+)"', text).groups()
    low, high = bounds[:2], bounds[2:]
    return tuple(map(int, low)), tuple(map(int, high))


def python_problem(version=sys.version_info[:2], root=ROOT):
    """Return why this Python cannot be used, "" when it can."""
    low, high = versions_admitted(root)
    if low <= tuple(version) < high:
        return ""
    return "sheaflib runs on Python %d.%d to %d.%d, and this is %d.%d; name another one, e.g. `make figures PYTHON=python%d.%d`" % (
        *low, high[0], high[1] - 1, *version, *low)


def requirements(root=ROOT, extras=()):
    """Return the requirements of pyproject.toml as pairs (name, {operator: version})."""
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *lines_of(project, extras)]
    split = (re.match(r"([A-Za-z0-9_.-]+?)\s*((?:[<>=]=?\s*[\d.]+,?\s*)*)$", line) for line in lines)
    return [(m[1], dict(re.findall(r"([<>=]=?)\s*([\d.]+)", m[2]))) for m in split]


def lines_of(project, extras):
    """Return the requirement lines of extras, and of those that they name as `sheaflib[...]`."""
    lines = []
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            named = re.fullmatch(re.escape(project["name"]) + r"\[(.+)\]", line)
            lines += lines_of(project, named[1].split(",")) if named else [line]
    return lines


def release(version):
    """Return the leading numbers of a version as a tuple: "3.11.2rc1" -> (3, 11, 2)."""
    return tuple(int(n) for n in re.match(r"\d+(?:\.\d+)*", version)[0].split("."))


def shortcoming(name, bounds):
    """Return why an installed package does not meet its bounds, "" when it does."""
    if importlib.util.find_spec(IMPORTS.get(name, name.replace("-", "_"))) is None:
        return f"{name} is missing"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is missing"
    low, high = bounds.get(">="), bounds.get("<")
    if (low and release(version) < release(low)) or (high and release(version) >= release(high)):
        return f"{name} {version} is not {','.join(op + v for op, v in bounds.items())}"
    return ""


def shortcomings(root=ROOT, extras=()):
    """Return every way in which the running environment does not meet the requirements."""
    return [text for text in (shortcoming(*r) for r in requirements(root, extras)) if text]


def active():
    """Return whether this interpreter belongs to a virtual or a conda environment."""
    return sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").is_dir()


def ensure(root=ROOT, extras=()):
    """Return the interpreter to use, making or finishing `.venv` when the active environment will not do; SystemExit when it cannot."""
    from tools import venv

    reason = "there is no active environment"
    if active() and not venv.running_in(root):
        missing = shortcomings(root, extras)
        if not missing:
            return sys.executable
        reason = "in the active environment " + "; ".join(missing[:3]) + (" and more" if len(missing) > 3 else "")
    return venv.ensure(root, reason)


def lock(root=ROOT):
    """Resolve pyproject.toml again into requirements.lock with uv, for every admitted Python; returns the exit status."""
    if not shutil.which("uv"):
        raise SystemExit("the lock is made by uv, which is not on PATH")
    low = "%d.%d" % versions_admitted(root)[0]
    extras = [word for extra in TESTS for word in ("--extra", extra)]
    command = ["uv", "pip", "compile", "pyproject.toml", *extras, "--universal", "--generate-hashes",
               "--python-version", low, "--no-emit-index-url", "--no-emit-find-links", "--quiet",
               "--custom-compile-command", "python -m tools env --lock", "--output-file", "requirements.lock"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("UV_FIND", "UV_INDEX", "PIP_"))}
    return subprocess.call(command, cwd=root, env=inherited)
