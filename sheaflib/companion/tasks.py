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
    """A recorded run of the heat equation: what ``heat_run`` returns, and ``heat`` takes.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of the network.
    x : ndarray of shape (1, n_0)
        The input.
    start : ndarray of shape (1, N) or (1, N + n_out)
        The start, with ``a_out`` where the output is a sigmoid.

    Notes
    -----
    In the paper: the runs of Fig. 6 and E.1, and those recorded by the authors.

    Examples
    --------
    >>> from sheaflib.companion.tasks import heat_run
    >>> heat_run("2x4x1").x
    array([[1. , 0.5]])
    """

    sheaf: NeuralSheaf
    x: np.ndarray
    start: np.ndarray


class Task(NamedTuple):
    """A dataset of the paper: what ``task`` returns.

    Parameters
    ----------
    X_train : ndarray of shape (300, 2)
        The inputs to train on.
    Y_train : ndarray of shape (300, n_out)
        Their labels.
    X_test : ndarray of shape (100, 2)
        The inputs to test on.
    Y_test : ndarray of shape (100, n_out)
        Their labels.

    Notes
    -----
    In the paper: the tasks of Table E.1.

    Examples
    --------
    >>> from sheaflib.companion.tasks import task
    >>> task("blobs").Y_test.shape  # one-hot, of four classes
    (100, 4)
    """

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
    """Make the authors' network as it is before training; biases are zero.

    Parameters
    ----------
    widths : str
        The widths, like "2x4x1".
    seed : int
        The seed of its weights.
    output : {"identity", "sigmoid", "softmax"}, default: "identity"
        The output map.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    ValueError
        Where no such weights were recorded; the message lists those that were.

    Notes
    -----
    In the paper: the networks of its experiments, drawn by the authors' code.

    Examples
    --------
    >>> from sheaflib.companion.tasks import paper_network
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
    """Return one of the four recorded runs of the heat equation.

    Parameters
    ----------
    name : {"2x4x1", "2x6x4x4x1", "sigmoid", "fig6"}
        The name of the run; "sigmoid" is that of Fig. E.1.

    Returns
    -------
    HeatRun
        The sheaf, its input and its start.

    Raises
    ------
    ValueError
        For another name.

    Notes
    -----
    In the paper: the runs of Fig. 6 and E.1, and those recorded by the authors.

    Examples
    --------
    >>> from sheaflib import exact_flow
    >>> from sheaflib.companion.tasks import heat_run
    >>> exact_flow(*heat_run("2x6x4x4x1"))
    ExactFlow(10 events to t = 202.82, settled)
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
    """Return one of the authors' four datasets.

    Parameters
    ----------
    name : {"paraboloid", "saddle", "circular", "blobs"}
        The name of the dataset.

    Returns
    -------
    Task
        Its 300 samples to train on, and its 100 samples to test on.

    Raises
    ------
    ValueError
        For another name.

    Notes
    -----
    In the paper: the tasks of Table E.1.

    Examples
    --------
    >>> from sheaflib.companion.tasks import task
    >>> data = task("paraboloid")
    >>> data.X_train.shape, data.Y_test.shape
    ((300, 2), (100, 1))
    """
    if f"{name}/X_train" not in paper_inputs():
        raise ValueError(
            f"task {name!r} is unknown, expected paraboloid, saddle, circular or blobs"
        )
    return Task(*(paper_inputs()[f"{name}/{part}"] for part in Task._fields))
