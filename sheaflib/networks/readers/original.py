"""A network that was read, held against the model itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable

import numpy as np

from sheaflib.networks.graph import Network
from sheaflib.support.checks import real_array

# how far apart two ways to compute the same may be, relative to the largest output
TOLERANCES = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}
COARSE = 1e-2  # of types with fewer digits
RANDOM, LARGE = 6, 50_000  # random samples that are tried: two of more numbers than this


@dataclass(frozen=True)
class Reading:
    """A network and the model that it was read from.

    original: takes a batch in the model's own shape, (B, *shape), and gives what the model writes,
    (B, …); rows: how many samples it takes at once, None for any number; precision: the type it
    computes with; head: what it applies last, "", softmax, log-softmax or sigmoid.
    """

    network: Network
    original: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    rows: int | None
    precision: np.dtype
    head: str = ""

    def checked(self, example: np.ndarray | None) -> Network:
        """The network with its largest difference to the original; ValueError where that is more
        than the precision explains.

        Both are given random samples, and the example.
        """
        count = RANDOM if math.prod(self.shape) <= LARGE else 2
        rows = self.rows or count
        tried = np.random.default_rng(0).standard_normal((rows * -(-count // rows), *self.shape))
        if example is not None:
            tried = np.concatenate([tried, self._whole_batches(example)])
        tried = tried.astype(self.precision).astype(np.float64)
        step = self.rows or len(tried)
        parts = [self.original(tried[i : i + step]) for i in range(0, len(tried), step)]
        expected = np.concatenate(
            [np.asarray(p, dtype=np.float64).reshape(step, -1) for p in parts]
        )
        if self.head == "log-softmax":
            expected = np.exp(expected)
        expected = real_array("the model's own output", expected)
        found = self.network(tried.reshape(len(tried), -1))
        if found.shape != expected.shape:
            raise ValueError(
                f"the network read writes {found.shape[1]} numbers, the model {expected.shape[1]}"
            )
        largest = float(np.abs(expected).max())
        difference = float(np.abs(found - expected).max()) / (largest or 1.0)
        allowed = TOLERANCES.get(np.dtype(self.precision), COARSE)
        if difference > allowed:
            raise ValueError(
                f"the network read differs from the model by {difference:.1e} of its largest"
                f" output, expected at most {allowed:.0e}: this is a fault of the reader, or the"
                " model computes with the size of its batch"
            )
        return Network(
            self.network.n_in, self.network.nodes, self.network.output, difference=difference
        )

    def _whole_batches(self, example: np.ndarray) -> np.ndarray:
        """The example, its samples repeated up to as many as the model takes at once; ValueError
        where it has another shape.
        """
        given = example[None] if example.shape == self.shape and self.rows == 1 else example
        if given.shape[1:] != self.shape:
            sides = "".join(f", {n}" for n in self.shape)
            raise ValueError(f"example has shape {example.shape}, expected (B{sides})")
        rows = self.rows or 1
        return np.resize(given, (rows * -(-len(given) // rows), *self.shape))
