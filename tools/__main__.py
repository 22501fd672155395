"""Command line: hold the checkout, make sure of the environment, then run the command inside it.

Needs the standard library only, until the environment is there.
"""

import argparse
import errno
import importlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tools import environment
from tools.project import REPOSITORY, Project, Refusal, alone

COMMANDS = {  # name: (the module that holds it, what it does)
    "help": ("", "list the commands"),
    "env": ("", "make or bring up to date the environment, nothing else"),
    "figures": (
        "runs",
        "run the notebooks that changed: all figures and the ledger (NB=00 P='dt=0.02' for one)",
    ),
    "quick": ("runs", "run every notebook at small size into build/quick"),
    "batch": ("runs", "run the parameter sets of notebooks/index.toml into build/batch"),
    "check": ("commands", "lint, types and one test of each kind: a minute, at every save"),
    "test": (
        "commands",
        (
            "unit tests and every notebook again, in one pytest call "
            "(ARGS=tests for the unit tests alone; `make fuzz`: every bad value for every argument)"
        ),
    ),
    "verify": ("runs", "run everything from empty caches and compare with what is committed"),
    "lab": ("commands", "open the notebooks in JupyterLab"),
    "bench": ("bench", "measure speed and memory"),
    "mutants": ("mutants", "plant one-line defects and see the tests catch each"),
    "torch": ("commands", "put PyTorch, Keras and more into build/torch, for tests and bench"),
    "readers": (
        "commands",
        "compare every operation and gradient with PyTorch's, into figures/01/operations.json",
    ),
    "book": ("book", "build the web page of all this into build/book, from stored outputs"),
    "browser": ("book", "build the book and try it in a browser without a screen (Chromium)"),
    "clean": ("", "remove build/ and caches (ARGS=--all: .venv too)"),
}
WITH_TESTS = ("check", "test", "bench", "mutants", "readers")
PASSING_ON = ("test", "lab", "bench", "browser")  # their further arguments are for what they start
CACHES = ("__pycache__", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints")
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def parsed(arguments):
    """Return the parsed command line; SystemExit when it holds what no command knows."""
    parser = argparse.ArgumentParser(
        prog="python -m tools",
        allow_abbrev=False,
        description="sheaflib: `make COMMAND`, or `python -m tools COMMAND` where there is no make",
    )
    parser.add_argument("--root", type=Path, default=REPOSITORY, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    made = {
        name: commands.add_parser(
            name, help=text, description=text, allow_abbrev=False, add_help=name not in PASSING_ON
        )
        for name, (_, text) in COMMANDS.items()
    }
    for name in ("figures", "quick", "batch"):
        made[name].add_argument("--notebook", default="", help="one notebook, by number")
    made["figures"].add_argument(
        "--parameters", default="", help="its parameters, as 'dt=0.02 tol=1e-10'; into build/runs"
    )
    made["figures"].add_argument("--force", action="store_true", help="run also what is not stale")
    made["clean"].add_argument("--all", action="store_true", help="remove .venv too")
    made["mutants"].add_argument("--dry", action="store_true", help="only look for the texts")
    made["mutants"].add_argument("words", nargs="*", help="only those in which one of these stands")
    options, options.arguments = (  # type: ignore[has-type]  # it is assigned before its attribute
        parser.parse_known_args(arguments or ["help"])
    )
    if options.arguments and options.command not in PASSING_ON:
        made[options.command].error(f"unrecognized arguments: {' '.join(options.arguments)}")
    if options.command == "help":
        parser.parse_args(["--help"])  # prints and ends
    return options


def clean(root, everything):
    """Remove build/ and the caches, with `everything` the environment `.venv` too.

    The inside of .git and of .venv is left alone, and so is figures/.
    """
    kept = {".git", ".venv", "build"}
    caches = [
        path
        for name in CACHES
        for path in root.rglob(name)
        if not kept & set(path.relative_to(root).parts)
    ]
    for folder in [root / "build", *[root / ".venv"][:everything], *caches]:
        if folder.is_dir():
            print(f"removing {folder.relative_to(root).as_posix()}/")
            shutil.rmtree(folder)
    return 0


def perform(options, arguments, held):
    """Run a command in its environment; returns the exit status."""
    project = Project(options.root.resolve())
    if options.command == "clean":
        return clean(project.root, options.all)
    extras = environment.TESTS if options.command in WITH_TESTS else environment.NOTEBOOKS
    python = environment.ensure(extras=extras)
    if options.command == "lab" or python != sys.executable:
        held.close()  # other commands may run while the lab is open; another Python holds it again
    if python != sys.executable:
        again = [python, "-m", "tools", *arguments]
        return subprocess.call(again) if os.name == "nt" else os.execv(python, again)
    if options.command == "env":
        return 0
    module = importlib.import_module(f"tools.{COMMANDS[options.command][0]}")
    return getattr(module, options.command)(project, options)


def main(arguments):
    """Run one command; returns the exit status (2: it was refused, 130: it was interrupted)."""
    options = parsed(arguments)
    try:
        environment.check_python()
        with alone(options.root, options.command) as held:
            return perform(options, arguments, held)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        print(
            f"{options.command} cannot write {error.filename} ({error.strerror}): copy the "
            "repository to a folder that you may write, and run it there",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print(f"\n{options.command} was interrupted: what is finished is kept", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    # a pipe on Windows may not know ✓
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # Python's own has it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
