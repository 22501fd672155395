"""Functions for the tests of the sweep, which workers import; `folder` gets a file for every call
of a case.
"""

import os
import sys
import threading
import time
import warnings
from pathlib import Path
from uuid import uuid4

import numpy as np

TWO = threading.Barrier(2)


def called(folder, name):
    """Leave the mark of one call of a case, with the process that made it."""
    (Path(folder) / f"{name}.{uuid4().hex}").write_text(str(os.getpid()))


def calls(folder, by=None):
    """Return {case: number of calls}, of those that some processes made when `by` says which."""
    names = [
        path.name.split(".")[0]
        for path in Path(folder).iterdir()
        if by is None or int(path.read_text()) in by
    ]
    return {name: names.count(name) for name in sorted(set(names))}


def processes(folder):
    """Return the processes that computed."""
    return {int(path.read_text()) for path in Path(folder).iterdir()}


def spectrum(folder, seed, seconds=0):
    """Return the eigenvalues of a random symmetric matrix, after a while."""
    time.sleep(seconds)
    called(folder, f"seed{seed}")
    matrix = np.random.default_rng(seed).standard_normal((3, 3))
    return {"seed": seed, "eigenvalues": np.linalg.eigvalsh(matrix + matrix.T)}


def inverse(folder, x):
    """Return 1 / x."""
    called(folder, f"x{x}")
    return 1 / x


def slow(folder, k):
    """Return k²; for odd k only once the file `hold` beside the folder is gone."""
    while k % 2 and (Path(folder).parent / "hold").exists():
        time.sleep(0.02)
    called(folder, f"k{k}")
    return k**2


def shared(folder, file, k):
    """Return k; case 1 allows two workers from then on."""
    called(folder, f"k{k}")
    if k == 1:
        Path(file).write_text("2")
    return k


def together(k):
    """Return k once two threads are here."""
    TWO.wait(timeout=60)
    return k


def threads(k):
    """Return how many threads a worker's numerical libraries may use."""
    return [os.environ.get(f"{name}_NUM_THREADS") for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")]


def given(**parameters):
    """Return what it is called with."""
    return parameters


def noisy(k):
    """Return k with a text on both streams and a warning."""
    print("out", k)
    print("err", k, file=sys.stderr)
    warnings.warn("careful", RuntimeWarning, stacklevel=1)
    return k


def unwritable(k):
    """Return what no file holds."""
    return lambda: k
