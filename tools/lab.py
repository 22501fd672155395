"""`make lab`: the notebooks in JupyterLab, with the checkout's sheaflib."""

import subprocess
import sys

from tools.project import Project
from tools.surroundings import process_environment, python_path, target


def main(arguments):
    """Start JupyterLab in notebooks/, passing further arguments on; returns its exit status."""
    project = Project()
    changes = {**target(), "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": python_path(project)}
    environment = process_environment(changes)
    return subprocess.call([sys.executable, "-m", "jupyterlab", *arguments[1:]], cwd=project.notebooks, env=environment)
