"""Command line: make sure the environment exists, then run `python -m tools COMMAND` inside it (standard library only)."""

import importlib
import os
import subprocess
import sys

COMMANDS = {
    "help": (None, "list the commands"),
    "env": (None, "make or bring up to date the environment, nothing else"),
    "figures": ("tools.figures", "run the notebooks that changed: all figures and the ledger (NB=04 P='dt=0.02' for one)"),
    "quick": ("tools.trial", "run every notebook at small size into build/quick"),
    "batch": ("tools.trial", "run the parameter sets of notebooks/index.toml into build/batch"),
    "test": ("tools.suite", "unit tests and strict nbval over the notebooks, in one pytest call"),
    "verify": ("tools.verify", "run everything again from empty caches and compare with what is committed"),
    "lab": ("tools.lab", "open the notebooks in JupyterLab"),
    "bench": ("tools.bench", "measure speed and memory"),
    "mutants": ("tools.mutants", "plant one-line defects and see the tests catch each"),
    "torch": ("tools.pytorch", "put PyTorch into build/torch, for tests and bench (CUDA: some GB)"),
    "clean": ("tools.clean", "remove build/ and caches (ARGS=--all: .venv too)"),
}


def usage():
    """Return the list of commands, one per line."""
    lines = [f"  make {name:<8} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["sheaflib: `make COMMAND`, or `python -m tools COMMAND` where there is no make", *lines])


def rerun(python, arguments):
    """Replace this process by the same command under another interpreter; returns its exit status on Windows."""
    command = [python, "-m", "tools"] + arguments
    if os.name == "nt":
        return subprocess.call(command)
    sys.stdout.flush()
    os.execv(python, command)


def dispatch(command, arguments):
    """Call the command's module, which needs the environment."""
    module = importlib.import_module(COMMANDS[command][0])
    if command in ("bench", "mutants"):
        return module.main() or 0
    return module.main([command] + arguments) or 0


def main(arguments):
    """Run one command; returns the exit status (2: unknown command)."""
    command = arguments[0] if arguments else "help"
    if command in ("help", "-h", "--help"):
        print(usage())
        return 0
    if command not in COMMANDS:
        print("unknown command %r\n%s" % (command, usage()), file=sys.stderr)
        return 2
    from tools import environment

    if environment.python_problem():
        print(environment.python_problem(), file=sys.stderr)
        return 2
    if command == "env" and "--lock" in arguments:
        return environment.lock()
    if command != "clean":
        python = environment.ensure(extras=environment.TESTS if command in ("test", "mutants") else environment.NOTEBOOKS)
        if python != sys.executable:
            return rerun(python, arguments)
    return 0 if command == "env" else dispatch(command, arguments[1:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
