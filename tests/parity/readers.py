"""What `python -m tools readers` runs, with two outcomes to commit: every operation, and every
gradient by its parameters, against PyTorch's, to figures/01/operations.json, which notebook 01
reads; and models of other libraries as networks, to figures/14/readers.json, which 14 reads.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "parity")]

import layer_cases  # noqa: E402
import model_cases  # noqa: E402
import torch_networks  # noqa: E402

from sheaflib.support.files import replacing  # noqa: E402

FILE = ROOT / "figures" / "01" / "operations.json"
CALLS, NETWORKS = 2000, 500


def calls(count):
    """How many of the first random calls are of each layer."""
    rng = np.random.default_rng(0)
    return dict(sorted(Counter(layer_cases.draw(rng).layer for _ in range(count)).items()))


def compared():
    """What the file holds: PyTorch's version, and of each layer and of the gradients how many were
    tried and the largest relative difference, to two digits.
    """
    version = [torch_networks.PYTHON, "-c", "import torch; print(torch.__version__)"]
    found = subprocess.run(version, check=True, capture_output=True, text=True).stdout
    largest = layer_cases.largest_difference(torch_networks.PYTHON, CALLS)
    gradients = torch_networks.gradient_difference(NETWORKS)
    return {
        "pytorch": found.strip().partition("+")[0],
        "layers": {
            layer: {"calls": n, "difference": two_digits(largest[layer])}
            for layer, n in calls(CALLS).items()
        },
        "gradients": {"networks": NETWORKS, "difference": two_digits(gradients)},
    }


def two_digits(number):
    """A difference as it is committed: what lies below is another machine's rounding."""
    return float(f"{number:.1e}")


def main():
    """Write the files, each whole or not at all."""
    for file, found in ((FILE, compared()), (model_cases.FILE, model_cases.compared())):
        text = json.dumps(found, indent=1) + "\n"
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            stream.write(text.encode())
        print(text, end="")


if __name__ == "__main__":
    main()
