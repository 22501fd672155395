"""What a report is given: inputs as vectors, images or tables, and labels of the network's kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks.graph import INPUT, Network
from sheaflib.networks.separation import check_separate
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import batch, brief, real_array, whole
from sheaflib.training.objective import check_labels

LARGEST = 1e150  # beyond this a square leaves float64


def check_pinnable(sheaf: NeuralSheaf) -> NeuralSheaf:
    """`sheaf`, if it is one that `equilibrium` covers; TypeError or ValueError says what else came,
    and what to do.
    """
    check_sheaf(sheaf)
    try:
        check_separate(sheaf.network)
    except ValueError as error:
        raise ValueError(f"report cannot pin this network: {error}") from None
    return sheaf


def input_rows(network: Network, given: ArrayLike) -> np.ndarray:
    """`given`, the argument x, as float64 inputs (B, n_in): a table's values, and images (B,
    channels, height, width) flattened where the network reads images of that shape.

    ValueError for images of another shape says so, and where the channels seem to stand last.
    """
    shape, given = network.shapes.get(INPUT), array_of(given)
    if shape is not None and np.ndim(given) == len(shape) + 1:
        images = real_array(INPUT, given)
        if images.shape[1:] != shape:
            channels = "channels, height, width" if len(shape) == 3 else "channels, length"
            last = shape[1:] + shape[:1]
            hint = (
                f": the channels seem to stand last, use np.moveaxis({INPUT}, -1, 1)"
                if images.shape[1:] == last
                else ""
            )
            raise ValueError(
                f"{INPUT} has shape {images.shape}, expected (B, {', '.join(map(str, shape))}),"
                f" (B, {channels}){hint}"
            )
        given = images.reshape(len(images), -1)
    return batch(INPUT, given, network.n_in)


def array_of(given: ArrayLike) -> ArrayLike:
    """The values of a pandas DataFrame or Series; anything else stays what it is."""
    return np.asarray(given) if hasattr(given, "iloc") else given


def how_many(worst: int | None, n_batch: int) -> int:
    """The length of the list of worst samples; ValueError beyond the batch."""
    listed = min(n_batch, max(5, round(n_batch / 20))) if worst is None else whole("worst", worst)
    if listed > n_batch:
        raise ValueError(
            f"worst={brief(listed)}, expected at most {n_batch}: x has no more samples"
        )
    return listed


def label_rows(network: Network, given: ArrayLike | None, n_batch: int) -> np.ndarray:
    """`given`, the argument y, as float64 labels (B, n_out): a column for one output, one-hot for
    the classes of a softmax.
    """
    n, kind = network.n_out, network.output.name
    if given is None:
        raise TypeError(f"y is None, expected {n_batch} labels: one a row of x")
    column = kind == "softmax" and n > 1 and hasattr(given, "iloc") and np.shape(given)[1:] == (1,)
    # a table of one column holds the classes
    given = np.asarray(given)[:, 0] if column else array_of(given)
    try:
        y = real_array("y", given)
    except TypeError as error:
        raise TypeError(f"{error}; np.unique(y, return_inverse=True)[1] numbers classes") from None
    if y.shape[:1] != (n_batch,):
        raise ValueError(f"y has shape {y.shape}, expected {n_batch} labels: one a row of x")
    if y.ndim == 1 and n > 1 and kind == "softmax":
        wrong = ~np.isin(y, np.arange(n))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(
                f"y holds {y[at]:g} at index {at}, expected classes 0 … {n - 1}: the output is {n}"
                " wide; np.unique(y, return_inverse=True)[1] numbers classes"
            )
        y = np.eye(n)[y.astype(int)]
    y = y[:, None] if y.ndim == 1 and n == 1 else y
    if y.shape != (n_batch, n):
        hint = (
            "; for classes use y[:, 0]"
            if kind == "softmax"
            else '; for classes take network.with_output("softmax")'
        )
        hint = hint if y.ndim <= 2 and y.size == n_batch else ""
        raise ValueError(
            f"y has shape {y.shape}, expected ({n_batch}, {n}): the {kind} output is {n} wide{hint}"
        )
    if np.abs(y).max() > LARGEST:
        raise ValueError(f"y holds {y.flat[np.abs(y).argmax()]:g}, whose square leaves float64")
    return check_labels(network.output, y, n, n_batch)
