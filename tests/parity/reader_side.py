"""What comes of models of other libraries when they are read, for test_readers.py and readers.py:
`python reader_side.py found.json LIBRARY [NAME …]` in the environment of build/torch.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import torch_modules  # noqa: E402

from sheaflib.networks.readers.read import read  # noqa: E402


def difference(found, expected):
    """The largest difference, relative to the largest number expected."""
    found, expected = (np.asarray(v, dtype=float).reshape(len(v), -1) for v in (found, expected))
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def state_of(module):
    """All that reading must leave as it is: numbers, types, modes, gradients, hooks."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        **{
            name: (t.detach().double().numpy().tolist(), str(t.dtype), t.device.type, id(t))
            for name, t in tensors.items()
        },
        "strides": [t.stride() for t in tensors.values()],
        "gradients": [t.requires_grad for t in tensors.values()],
        "modes": [part.training for part in module.modules()],
        "hooks": [len(part._forward_hooks) for part in module.modules()],
        "generator": torch.get_rng_state().tolist(),
    }


def read_module(case):
    """How far the network is from the module in float64, by samples of its own."""
    torch.manual_seed(0)
    module = torch_modules.randomised(case.make())
    x = torch.randn(3, *case.shape)
    before = state_of(module)
    network = read(module, example=x)
    after = state_of(module)
    double = module.eval().double()
    samples = torch.randn(7, *case.shape, dtype=torch.float64) * 2
    with torch.no_grad():
        expected = double(samples).numpy()
    if (expected <= 0).all() and network.output.name == "softmax":
        expected = np.exp(expected)  # of a log-softmax
    return {
        "difference": difference(network(samples.numpy().reshape(7, -1)), expected),
        "told": network.difference,
        "output": network.output.name,
        "left": after == before,
        "nodes": {node.name: type(node.operation).__name__ for node in network.nodes},
    }


def refuse_module(case):
    """What is said of a module that is refused."""
    torch.manual_seed(0)
    return {"network": repr(read(case.make(), example=torch.randn(3, *case.shape)))}


def tried(function, case):
    """What a function finds, or the error it raises, and how long it took."""
    start = time.perf_counter()
    try:
        found = function(case)
    except Exception as error:
        found = {"error": type(error).__name__, "said": str(error)}
    return found | {"seconds": time.perf_counter() - start}


LIBRARIES = {
    "torch": (read_module, torch_modules.READ),
    "torch-refused": (refuse_module, torch_modules.REFUSED),
}


def main():
    torch.set_num_threads(1)
    target, library, *names = sys.argv[1:]
    function, cases = LIBRARIES[library]
    found = {name: tried(function, cases[name]) for name in names or cases}
    Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
