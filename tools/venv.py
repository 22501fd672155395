"""The environment `.venv`: made from requirements.lock, finished when interrupted, left alone while the lock stands (standard library only)."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time

UNFINISHED = "unfinished-by-sheaflib"
STAMP = "sheaflib.stamp"


def interpreter(folder):
    """Return the path of the environment's interpreter."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def running_in(root):
    """Return whether this process runs in a `.venv` that this module made."""
    return os.path.realpath(sys.prefix) == os.path.realpath(root / ".venv") and state(root) != "foreign"


def stamp(root):
    """Return what the environment was made from: the hash of the lock."""
    return hashlib.sha256((root / "requirements.lock").read_bytes()).hexdigest()


def state(root):
    """Return "ready", "outdated" (the lock changed), "unfinished", "missing", or "foreign" (not made here)."""
    folder = root / ".venv"
    if not folder.exists():
        return "missing"
    if (folder / UNFINISHED).exists():
        return "unfinished"
    if not (folder / STAMP).exists():
        return "foreign" if (folder / "pyvenv.cfg").exists() else "unfinished"
    if not interpreter(folder).exists():
        return "unfinished"
    return "ready" if (folder / STAMP).read_text() == stamp(root) else "outdated"


def ensure(root, reason):
    """Return the interpreter of `.venv`, making what is missing of it and saying so in one line."""
    now = state(root)
    if now == "foreign":
        raise SystemExit(f"{reason}, and .venv was not made by this command: activate it with the requirements "
                         "installed, or delete it and run again")
    if now != "ready":
        uv = shutil.which("uv")
        check_tools(uv)
        verb = {"missing": "making", "unfinished": "finishing", "outdated": "updating"}[now]
        say(f"{reason}: {verb} .venv from requirements.lock with {'uv' if uv else 'pip (a minute or two)'} ...")
        start = time.monotonic()
        build(root, uv, fresh=now != "outdated")
        say(f".venv is ready after {time.monotonic() - start:.0f} s")
    return sys.executable if running_in(root) else str(interpreter(root / ".venv"))


def say(line):
    """Print one line at once, on the error stream."""
    print(line, file=sys.stderr, flush=True)


def check_tools(uv):
    """Exit with the name of the missing package when no environment can be made here."""
    needed = ["venv"] if uv else ["venv", "ensurepip"]
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        name = "python%d.%d-venv" % sys.version_info[:2]
        raise SystemExit(f"this Python has no {' and no '.join(missing)}: install the package {name} "
                         f"(Debian, Ubuntu: sudo apt install {name}) or uv, and run again")


def build(root, uv, fresh):
    """Make or update `.venv`; a marker stands in it until all is installed."""
    folder = root / ".venv"
    if fresh and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    (folder / UNFINISHED).touch()
    if fresh:
        call([sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(folder)], root)
    for command in installs(str(interpreter(folder)), uv):
        call(command, root)
    (folder / STAMP).write_text(stamp(root))
    (folder / UNFINISHED).unlink()


def installs(python, uv):
    """Return the two commands: the lock with its hashes, then sheaflib itself, editable."""
    pip = [uv, "pip", "install", "--python", python, "--quiet", "--compile-bytecode"] if uv else [
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[*pip, "--require-hashes", "-r", "requirements.lock"],
            [*pip, "--no-deps", "--no-build-isolation", "-e", "."]]


def call(command, root):
    """Run one command in the repository; exits naming it when it fails."""
    status = subprocess.call(command, cwd=root)
    if status:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}\n.venv is unfinished; run again to finish it")
