"""The authors' exact inputs, packaged as data: datasets, initial weights, starts of the recorded
runs (data/README.md).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf

HEAT_RUNS = {
    "2x4x1": ("heat/nb_2x4x1_seed42", 42, "identity"),
    "2x6x4x4x1": ("heat/nb_2x6x4x4x1_seed123", 123, "identity"),
    "sigmoid": ("heat/figE1_2x6x4x4x1_seed0_sigmoid", 0, "sigmoid"),
    "fig6": ("heat/fig6_2x4x1_seed7", 7, "identity"),
}


class HeatRun(NamedTuple):
    """A recorded run: the sheaf, its input x (1, n_0) and its start (1, N), or (1, N + n_out) with
    a_out.
    """

    sheaf: NeuralSheaf
    x: np.ndarray
    start: np.ndarray


class Task(NamedTuple):
    """A dataset: X_train (300, 2), Y_train (300, n_out), X_test (100, 2), Y_test (100, n_out)."""

    X_train: np.ndarray
    Y_train: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray


@cache
def paper_inputs() -> dict[str, np.ndarray]:
    """Every array of data/paper_inputs.npz by its name, read-only."""
    with (
        files("sheaflib.companion").joinpath("data/paper_inputs.npz").open("rb") as file,
        np.load(file) as arrays,
    ):
        inputs = {name: arrays[name] for name in arrays.files}
    for array in inputs.values():
        array.flags.writeable = False
    return inputs


def paper_network(widths: str, seed: int, output: str = "identity") -> Network:
    """The authors' network at initialisation, e.g. paper_network("2x4x1", seed=42); biases are
    zero.

    >>> paper_network("2x4x1", seed=42)
    Network(x(2) -> z1(4) -> a1(4) -> z2(1), identity)
    """
    prefix = f"weights/{widths}/seed{seed}/W"
    weights = [
        paper_inputs()[f"{prefix}{layer}"]
        for layer in range(1, widths.count("x") + 1)
        if f"{prefix}{layer}" in paper_inputs()
    ]
    if not weights:
        known = sorted(
            {
                "/".join(name.split("/")[1:3])
                for name in paper_inputs()
                if name.startswith("weights/")
            }
        )
        raise ValueError(
            f"no recorded weights for widths={widths!r}, seed={seed}; expected one of"
            f" {', '.join(known)}"
        )
    return Network.mlp(weights, output=output)


def heat_run(name: str) -> HeatRun:
    """One of the four recorded runs of the heat equation: "2x4x1", "2x6x4x4x1", "sigmoid" (Fig.
    E.1), "fig6".
    """
    if name not in HEAT_RUNS:
        raise ValueError(f"heat run {name!r} is unknown, expected one of {', '.join(HEAT_RUNS)}")
    group, seed, output = HEAT_RUNS[name]
    widths = group.split("_")[1]
    sheaf, inputs = NeuralSheaf(paper_network(widths, seed, output)), paper_inputs()
    start = np.concatenate(
        [inputs[f"{group}/{stalk}"] for stalk in sheaf.augmented_layout.names], axis=1
    )
    return HeatRun(sheaf, inputs[f"{group}/x"], start)


def task(name: str) -> Task:
    """One of the authors' four datasets: "paraboloid", "saddle", "circular", "blobs"."""
    if f"{name}/X_train" not in paper_inputs():
        raise ValueError(
            f"task {name!r} is unknown, expected paraboloid, saddle, circular or blobs"
        )
    return Task(*(paper_inputs()[f"{name}/{part}"] for part in Task._fields))
