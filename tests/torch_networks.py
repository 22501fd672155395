"""What PyTorch's autograd finds of networks: `ask` calls parity/torch_dags.py in the environment
that `python -m tools torch` makes; `gradient_difference` compares the gradients of random networks.
"""

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from random_dags import described, random_dag, written_out
from training_cases import labels

from sheaflib import NeuralSheaf
from sheaflib.training.drivers import gradient, weight_gradient
from sheaflib.training.joint import output_weight

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "torch"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SIDE = Path(__file__).with_name("parity") / "torch_dags.py"
NO_PYTORCH = "no PyTorch in build/torch: python -m tools torch installs it"


def problem(kind, sheaf, x, y, stalks, **more):
    """A question about the network of a sheaf: arrays and a header."""
    steps, arrays = described(sheaf.network)
    header = {"kind": kind, "output": sheaf.network.output.name, "steps": steps}
    return {
        "header": np.array(json.dumps(header)),
        "x": x,
        "y": y,
        "stalks": stalks,
        "weights": sheaf.row_weights[: sheaf.N],
        "weight": output_weight(sheaf),
        **arrays,
        **more,
    }


def ask(problems):
    """PyTorch's answers to all problems, name -> arrays by name, by one call."""
    with TemporaryDirectory() as folder:
        given, taken = Path(folder) / "given.npz", Path(folder) / "found.npz"
        asked = {f"{p}/{key}": v for p, arrays in problems.items() for key, v in arrays.items()}
        np.savez(given, **asked)
        subprocess.run([PYTHON, "-I", SIDE, given, taken], check=True)
        found = {}
        with np.load(taken) as arrays:
            for name in arrays:
                asked, _, key = name.partition("/")
                found.setdefault(asked, {})[key] = arrays[name]
    return found


def posed(seed):
    """A random network as a sheaf with edge weights, inputs, labels, and stalks of any value."""
    rng = np.random.default_rng(seed)
    network = random_dag(rng)
    edges = NeuralSheaf(network).edges
    sheaf = NeuralSheaf(network, {e.name: float(rng.uniform(0.5, 2)) for e in edges})
    x = rng.standard_normal((3, network.n_in))
    y = labels(network.output.name, rng, 3, network.n_out)
    return sheaf, x, y, rng.standard_normal((3, sheaf.N))


@cache
def answers(seeds):
    """PyTorch's gradients of random networks, seed -> arrays by name; one call for a range."""
    found = ask({f"{seed}": problem("gradients", *posed(seed)) for seed in seeds})
    return {seed: found[f"{seed}"] for seed in seeds}


def gradient_differences(seeds):
    """Of each random network, how far its gradients by `gradient` and `weight_gradient` are from
    PyTorch's, relative to the largest entry of a parameter's gradient: seed -> number.

    Where PyTorch's is zero throughout, as behind a dead ReLU, ours has to be, too.
    """
    worst = {}
    for seed, found in answers(seeds).items():
        sheaf, x, y, w = posed(seed)
        own = sheaf.network.parameters
        ours = {"of loss": gradient(sheaf.network, x, y), "of energy": weight_gradient(sheaf, x, w)}
        names = {f"{node}.{name}" for node in own for name in own[node]}
        worst[seed] = 0.0
        for what, gradients in ours.items():
            assert names == {key.partition("/")[2] for key in found if key.startswith(what)}
            for node, parts in gradients.items():
                for name, part in parts.items():
                    expected = written_out(found[f"{what}/{node}.{name}"], own[node][name])
                    off = np.abs(written_out(part, own[node][name]) - expected).max()
                    scale = np.abs(expected).max()
                    worst[seed] = max(worst[seed], off / scale if scale else float(off > 0))
    return worst


def gradient_difference(networks=500):
    """The claim networks.gradients: the largest of `gradient_differences` over random networks."""
    return max(gradient_differences(range(networks)).values())
