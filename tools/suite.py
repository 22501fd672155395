"""`make test`: one pytest call, unit tests and strict nbval over the notebooks, on the cores there are."""

import subprocess
import sys

from tools import index
from tools.execute import CELL_SECONDS, KERNEL_SECONDS
from tools.project import Project
from tools.surroundings import cores, process_environment, variables


def main(arguments):
    """Run pytest, passing further arguments on; returns its exit status."""
    project = Project()
    every = index.load(project)
    environment = process_environment(surroundings(project, len(every)))
    command = [sys.executable, "-m", "pytest", *pytest_arguments(), *arguments[1:]]
    return subprocess.call(command, cwd=project.root, env=environment)


def surroundings(project, together):
    """Return the variables of the run; like all others, it uses and keeps what sweeps computed."""
    return variables(project, "full", project.build / "test", together=together)


def pytest_arguments():
    """Return the arguments of the one call."""
    return ["tests", "notebooks", "-n", str(cores()), "--dist", "loadfile", "--nbval", "--nbval-current-env",
            "--nbval-sanitize-with", "tests/sanitize.cfg",
            "--nbval-cell-timeout", str(CELL_SECONDS),
            "--nbval-kernel-startup-timeout", str(KERNEL_SECONDS), "-q"]
