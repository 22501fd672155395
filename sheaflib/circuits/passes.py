"""What the estimators do with their samples: read them, hold some back to validate on, pass over
the others in mini-batches, and take the loss over all.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.support.checks import even, unmasked
from sheaflib.training.joint import TrainingDiverged
from sheaflib.training.objective import loss

CHUNK = 10_000  # samples whose loss is taken at once


def readable(**given: object) -> None:
    """Raise ValueError or TypeError for an argument that is masked or that NumPy cannot read, where
    scikit-learn would drop the mask or fail without naming it.
    """
    for name, value in given.items():
        unmasked(name, value)
        array = even(name, value)
        if value is not None and array.ndim == 0 and array.dtype == object:
            raise TypeError(f"{name} is a {type(value).__name__}, expected a list or an array")


@contextmanager
def naming(X: ArrayLike, *y: ArrayLike) -> Iterator[None]:
    """A block in which scikit-learn reads X and y: errors in which it does not say what came are
    replaced by ours.
    """
    try:
        yield
    except OverflowError as error:
        raise ValueError(f"X or y holds a number that is too large for float64: {error}") from None
    except RuntimeError as error:
        for name, value in zip(("X", "y"), (X, *y)):
            even(name, value)  # TypeError for a tensor that wants gradients
        raise TypeError(f"X or y cannot be read as numbers: {error}") from None


def split(
    X: np.ndarray,
    rows: np.ndarray,
    rng: np.random.Generator,
    share: float,
    classes: np.ndarray | None,
) -> list[np.ndarray]:
    """Samples to train on, samples to validate on, their rows in the same order.

    share: the part to validate on. classes: the names of the classes, which are held back in equal
    proportions, or None where the rows are no labels. ValueError where a part would be left empty,
    or without a class.
    """
    from sklearn.model_selection import train_test_split

    n = len(X)
    held = int(np.ceil(share * n)) if share < 1 else n
    if not 2 <= held < n:
        raise ValueError(
            f"validation_fraction={share:g} of n_samples={n}, expected a share of at least two"
            " samples that leaves at least one to train on"
        )
    kinds, stratify = np.zeros(n, dtype=int), None
    if classes is not None:
        kinds = stratify = rows.argmax(axis=1) if rows.shape[1] > 1 else rows[:, 0].astype(int)
        counts, several = np.bincount(kinds), len(classes)
        if counts.min() < 2:
            raise ValueError(
                f"y holds the class {classes[counts.argmin()]!s} once, expected every"
                " class twice or more with early_stopping=True, to train on and to validate"
                " on: add samples of it, leave it out, or pass early_stopping=False"
            )
        if not several <= held <= n - several:
            raise ValueError(
                f"validation_fraction={share:g} of n_samples={n} holds back {held}, expected"
                f" {several} to {n - several}: as many as there are classes, or more, on both"
                " sides"
            )
    *parts, trained, _ = train_test_split(
        X, rows, kinds, test_size=share, random_state=int(rng.integers(2**31)), stratify=stratify
    )
    missing = np.setdiff1d(kinds, trained)
    if classes is not None and len(missing):
        raise ValueError(
            f"validation_fraction={share:g} holds back every sample of the class "
            f"{classes[missing[0]]!s}, expected a share that leaves some to train on"
        )
    return parts


def mean_loss(engine: MiniBatches) -> float:
    """The loss over all samples; infinite where it, or the forward pass, leaves float64."""
    if not np.isfinite(engine.theta).all():
        return np.inf
    network = engine.network
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            total = 0.0
            for first in range(0, len(engine.x), CHUNK):
                part = slice(first, first + CHUNK)
                x, y = engine.x[part], engine.y[part]
                total += loss(network, x, y) * len(x)
    except OverflowError:
        return np.inf
    return total / len(engine.x) if np.isfinite(total) else np.inf


def one_pass(
    engine: MiniBatches, speeds: np.ndarray, rng: np.random.Generator, start: float
) -> float:
    """Take every sample once, in as many batches as there are rates, and return the loss after it.

    start: the loss at the start, for the message of TrainingDiverged where the loss is not finite.
    """
    order = rng.permutation(len(engine.x))
    size, more = divmod(len(order), len(speeds))
    cut = more * (size + 1)
    engine.advance(order[:cut].reshape(more, size + 1), speeds[:more])
    engine.advance(order[cut:].reshape(-1, size), speeds[more:])
    reached = mean_loss(engine)
    if not np.isfinite(reached):
        raise TrainingDiverged(
            f"training diverged within {engine.updates} updates: the loss is not finite,"
            f" {start:.4g} at the start: lower learning_rate_init, {speeds[0]:g} at present"
        )
    return reached
