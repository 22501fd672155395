"""`make test`: one pytest call, unit tests and strict nbval over the notebooks, on the cores there are."""

import subprocess
import sys

from tools import index
from tools.project import Project
from tools.surroundings import cores, process_environment, variables


def main(arguments):
    """Run pytest, passing further arguments on; returns its exit status."""
    project = Project()
    environment = process_environment(variables(project, "full", project.build / "test"))
    command = [sys.executable, "-m", "pytest", *pytest_arguments(index.load(project)), *arguments[1:]]
    return subprocess.call(command, cwd=project.root, env=environment)


def pytest_arguments(every):
    """Return the arguments of the one call; a cell may take 300 s, or the longest limit of the index."""
    limit = max([300, *(notebook.timeout for notebook in every)])
    return ["tests", "notebooks", "-n", str(cores()), "--dist", "loadfile", "--nbval", "--nbval-current-env",
            "--nbval-sanitize-with", "tests/sanitize.cfg", "--nbval-cell-timeout", str(limit), "-q"]
