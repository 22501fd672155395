"""State-dependent linear maps: ReLU, leaky ReLU, |·| and max-pool, one activation edge of the sheaf
(the paper's construction).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks.operations import Operation
from sheaflib.support.checks import even, read_only, real_array, unmasked, whole


class Selection(Operation):
    """A linear map with at most one entry a row, chosen by the state: ReLU, leaky ReLU, |·|,
    max-pool.
    """

    kind = "activation"

    @property
    def n_pattern(self) -> int:
        return self.n_out


@dataclass(frozen=True)
class ReLU(Selection):
    """a = R_z z, R_z = diag(1[z ≥ 0]); z = 0 counts as active (the paper's construction). `slope` ≠
    0: leaky ReLU; −1: |z|.

    The pattern is True where z ≥ 0; a frozen pattern may lie in [0, 1] (the sliding modes of Thm
    4.1).

    >>> ReLU(3).value(np.array([[-1.0, 0.0, 2.0]])) + 0
    array([[0., 0., 2.]])
    """

    n: int
    slope: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", whole("n", self.n))
        object.__setattr__(self, "slope", float(real_array("slope", self.slope, ())))

    @property
    def n_in(self) -> int:
        return self.n

    @property
    def n_out(self) -> int:
        return self.n

    @property
    def norm(self) -> float:
        return max(1.0, abs(self.slope))

    def pattern(self, a: np.ndarray) -> np.ndarray:
        return a >= 0

    def coefficient(self, s: np.ndarray) -> np.ndarray:
        """The diagonal of R: 1 where active, `slope` where not, linear in s between."""
        return s if self.slope == 0 else self.slope + (1 - self.slope) * s

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        return (
            np.where(s, a, 0.0) if self.slope == 0 and s.dtype == bool else self.coefficient(s) * a
        )

    adjoint = linear

    def absolute(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        return np.abs(self.coefficient(s)) * a

    absolute_adjoint = absolute

    def triplets(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index = np.arange(self.n, dtype=np.int32)
        return index, index, self.coefficient(s).astype(np.float64)

    def check_pattern(self, name: str, s: np.ndarray) -> None:
        if not ((s >= 0) & (s <= 1)).all():
            raise ValueError(
                f"pattern of {name!r} must lie in [0, 1], got {s.min():g} … {s.max():g}:"
                " sheaf.forward_pattern(x) makes the patterns of inputs x"
            )


@dataclass(frozen=True, eq=False)
class MaxPool(Selection):
    """a_j = max of z over window j; the pattern is the position of the (first) largest entry in its
    window.

    windows: (n_out, k) indices into the n_in coordinates read.

    >>> MaxPool([[0, 1], [2, 3]], 4).value(np.array([[1.0, 5.0, 2.0, 0.0]]))
    array([[5., 2.]])
    """

    windows: np.ndarray
    n_in: int

    def __init__(self, windows: ArrayLike, n_in: int):
        unmasked("windows", windows)
        windows = even("windows", windows)
        object.__setattr__(self, "n_in", whole("n_in", n_in))
        if windows.ndim != 2 or windows.dtype.kind not in "iu" or windows.size == 0:
            raise ValueError(
                f"windows has shape {windows.shape} and dtype {windows.dtype}, expected (n_out, k)"
                " integers"
            )
        if windows.min() < 0 or windows.max() >= self.n_in:
            raise ValueError(
                f"windows holds {windows.min()} … {windows.max()}, expected indices in 0 …"
                f" {self.n_in - 1}"
            )
        object.__setattr__(self, "windows", read_only(windows.astype(np.int64)))

    @property
    def n_out(self) -> int:
        return len(self.windows)

    @property
    def norm(self) -> float:
        """√(number of windows that share a coordinate): overlapping windows may all select the same
        one.
        """
        return float(np.sqrt(np.bincount(self.windows.ravel()).max()))

    def pattern(self, a: np.ndarray) -> np.ndarray:
        return a[:, self.windows].argmax(axis=2)

    def _chosen(self, s: np.ndarray) -> np.ndarray:
        return self.windows[np.arange(self.n_out), s.astype(np.int64, copy=False)]

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        return np.take_along_axis(a, np.broadcast_to(self._chosen(s), (len(a), self.n_out)), axis=1)

    def adjoint(self, e: np.ndarray, s: np.ndarray) -> np.ndarray:
        out = np.zeros((len(e), self.n_in))
        np.add.at(out, (np.arange(len(e))[:, None], self._chosen(s)), e)
        return out

    absolute, absolute_adjoint = linear, adjoint

    def triplets(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.arange(self.n_out), self._chosen(s), np.ones(self.n_out)

    def check_pattern(self, name: str, s: np.ndarray) -> None:
        k = self.windows.shape[1]
        if s.dtype.kind == "f" and not (s == np.round(s)).all() or s.min() < 0 or s.max() >= k:
            raise ValueError(
                f"pattern of {name!r} (max-pool) must hold whole numbers 0 … {k - 1}, got"
                f" {s.min():g} … {s.max():g}"
            )

    def __repr__(self) -> str:
        return f"MaxPool({self.n_in} -> {self.n_out})"
