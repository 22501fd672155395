"""The heat equation of [2,6,4,4,1] as a loop over PyTorch tensors, timed; prints one JSON line (only `make bench` runs it; needs NumPy and PyTorch)."""

import json
import statistics
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from tools.bench import numpy_loop

INPUTS = Path(__file__).resolve().parents[1] / "sheaflib" / "data" / "paper_inputs.npz"
RUN, WEIGHTS, STEPS, DT = "heat/nb_2x6x4x4x1_seed123/", "weights/2x6x4x4x1/seed123/", 5000, 0.01


def arrays():
    """The recorded run's arrays by name."""
    with zipfile.ZipFile(INPUTS) as file:
        return {name[:-4]: np.load(BytesIO(file.read(name))) for name in file.namelist() if name.startswith((RUN, WEIGHTS))}


def relax(weights, x, z, a, steps):
    """`steps` Euler steps with lists of tensors, biases zero; returns z^{k+1}."""
    z, a, k = [t.clone() for t in z], [t.clone() for t in a], len(weights) - 1
    for _ in range(steps):
        r = [torch.mm(a[i - 1] if i else x, weights[i].T) - z[i] for i in range(k + 1)]
        mask = [(z[i] >= 0).to(z[i].dtype) for i in range(k)]
        dz = [r[i] - mask[i] * (mask[i] * z[i] - a[i]) for i in range(k)] + [r[k]]
        da = [mask[i] * z[i] - a[i] - torch.mm(r[i + 1], weights[i + 1]) for i in range(k)]
        for state, force in zip(z + a, dz + da):
            state.add_(force, alpha=DT)
    return z[k]


def main():
    """Time the loop five times and print the median."""
    torch.set_num_threads(1)
    data = arrays()
    tensors = {name: torch.from_numpy(value) for name, value in data.items()}
    weights = [tensors[f"{WEIGHTS}W{i}"] for i in range(1, 5)]
    start = [tensors[f"{RUN}z{i}"] for i in range(1, 5)], [tensors[f"{RUN}a{i}"] for i in range(1, 4)]
    times = []
    with torch.no_grad():
        for _ in range(5):
            begin = time.perf_counter()
            end = relax(weights, tensors[f"{RUN}x"], *start, STEPS)
            times.append((time.perf_counter() - begin) / STEPS)
    parts = {name.removeprefix(RUN): value for name, value in data.items() if name.startswith(RUN)}
    same = numpy_loop([data[f"{WEIGHTS}W{i}"] for i in range(1, 5)], parts["x"], parts, STEPS, DT)
    difference = float(np.abs(end.numpy() - same).max())
    print(json.dumps({"seconds_a_step": statistics.median(times), "difference": difference, "steps": STEPS, "version": torch.__version__.split("+")[0]}))


if __name__ == "__main__":
    main()
