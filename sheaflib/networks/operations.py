"""What every operation of a network offers: each is affine once its pattern is frozen, F(a) = F_s a
+ b (the paper's construction).

An operation reads one batch (B, n_in) and writes one batch (B, n_out). `Affine` and `Stack` have no
pattern; a `Selection` multiplies by a matrix that depends on the sign or the order of what it
reads, written down by its pattern s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sheaflib.support.checks import whole

NO_PATTERN = np.zeros((1, 0), dtype=bool)


class Operation:
    """One vertex's map F(a) = F_s a (+ b), with n_in, n_out, the kind of its edges and the length
    of its pattern.
    """

    kind: str

    if TYPE_CHECKING:  # each kind stores its widths or computes them

        @property
        def n_in(self) -> int: ...

        @property
        def n_out(self) -> int: ...

        # and has attributes of its own, like weight, bias and slope
        def __getattr__(self, name: str) -> Any: ...

    @property
    def n_pattern(self) -> int:
        return 0

    def pattern(self, a: np.ndarray) -> np.ndarray:
        """The pattern s at the input a: (B, n_in) -> (B, n_pattern)."""
        return np.broadcast_to(NO_PATTERN, (len(a), 0))

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """F_s a: (B, n_in) -> (B, n_out)."""
        raise NotImplementedError

    def adjoint(self, e: np.ndarray, /, s: np.ndarray) -> np.ndarray:
        """F_sᵀ e: (B, n_out) -> (B, n_in)."""
        raise NotImplementedError

    def absolute(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """|F_s| a + |b| with the absolute values of all entries, for a ≥ 0: (B, n_in) -> (B,
        n_out).

        At |a| it is the size of the terms that F_s a + b is a sum of, hence of its rounding error.
        """
        raise NotImplementedError

    def absolute_adjoint(self, e: np.ndarray, /, s: np.ndarray) -> np.ndarray:
        """|F_s|ᵀ e with the absolute values of all entries, for e ≥ 0: (B, n_out) -> (B, n_in)."""
        raise NotImplementedError

    def triplets(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and entries of the matrix F_s (n_out, n_in) for one pattern s
        (n_pattern,).
        """
        raise NotImplementedError

    @property
    def norm(self) -> float:
        """An upper bound of the spectral norm ‖F_s‖ that holds for every pattern s."""
        raise NotImplementedError

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        """F(a): (B, n_in) -> (B, n_out); s defaults to the pattern at a."""
        return self.linear(a, self.pattern(a) if s is None else s)

    def check_pattern(self, name: str, s: np.ndarray) -> None:
        """Raise ValueError unless s (…, n_pattern) is a pattern of this operation."""


@dataclass(frozen=True)
class Stack(Operation):
    """p = (u, v, …): the merge vertex of a skip connection or a concatenation, one projection edge
    a part (derived).

    >>> Stack(2, 1).n_out
    3
    """

    dims: tuple[int, ...]
    kind = "projection"
    norm = 1.0

    def __init__(self, *dims: int):
        if len(dims) < 2:
            raise ValueError(f"a stack merges at least two parts, got dims {dims}")
        object.__setattr__(self, "dims", tuple(whole("dims", n) for n in dims))

    @property
    def n_in(self) -> int:
        return sum(self.dims)

    n_out = n_in

    def linear(self, a: np.ndarray, s: np.ndarray = NO_PATTERN) -> np.ndarray:
        return a

    adjoint = absolute = absolute_adjoint = linear

    def triplets(self, s: np.ndarray = NO_PATTERN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index = np.arange(self.n_in, dtype=np.int32)
        return index, index, np.ones(self.n_in)
