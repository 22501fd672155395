"""`make torch`: PyTorch in an environment of its own, for the tests and benchmarks that compare.

It stays out of the lock, since most registries hand out its build for CUDA, with several GB of
libraries; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu leads to the one for processors.
"""

import os
import shutil
import subprocess
import sys

from tools.project import Project

WANTED = ("torch==2.13.0", "numpy")


def main(_):
    """Make build/torch where it is missing and install; returns pip's exit status."""
    folder = Project().build / "torch"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    status = None
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        status = subprocess.call([str(python), "-m", "pip", "install", "--quiet", *WANTED])
    finally:
        if status != 0:  # else it would be taken for PyTorch's
            shutil.rmtree(folder, ignore_errors=True)
    return status
