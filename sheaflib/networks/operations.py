"""What every operation of a network offers: each is affine once its pattern is frozen, F(a) = F_s a
+ b_s (the paper's construction).

An operation reads one batch (B, n_in) and writes one batch (B, n_out). `Affine` and `Stack` have no
pattern; a `Selection` multiplies by a matrix that depends on the sign or the order of what it
reads, written down by its pattern s. What training may change, an operation's `parameters`, belongs
to the operation: it names them, makes itself anew with others, and differentiates by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from sheaflib.support.checks import brief, whole

NO_PATTERN = np.zeros((1, 0), dtype=bool)
Parameter = Any  # an array, or a sparse matrix (CSR) where a weight is stored as one


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

    def constant(self, s: np.ndarray) -> np.ndarray:
        """b_s, what F adds to F_s a at the pattern s: (B, n_pattern) -> (B or 1, n_out)."""
        return np.zeros((1, self.n_out))

    def check_pattern(self, name: str, s: np.ndarray) -> None:
        """Raise ValueError unless s (…, n_pattern) is a pattern of this operation."""

    @property
    def reads(self) -> tuple[int, ...] | None:
        """The shape of the image that is read, (channels, height, width), or of the signal,
        (channels, length); None where the operation knows none.
        """
        return None

    def out_shape(self, reads: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
        """The shape of the image that is written, where what it reads has these shapes, one an
        input; None where it is none.
        """
        return None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What training may change, by name: arrays, or a sparse matrix as it is stored; {} for
        none.
        """
        return {}

    def with_parameters(self, **parameters: Parameter) -> Operation:
        """The same operation with other numbers for some of its parameters.

        Raises ValueError for a name that is none of `parameters`, and for an array of another
        shape.
        """
        check_parameters(self, parameters)
        return self

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        """The gradient of Σ_i ⟨e_i, F_s a_i + b_s⟩ by each of the `parameters`, summed over the
        batch: name -> an array of the parameter's shape.

        a (B, n_in) is what is read, e (B, n_out), and s (B, n_pattern) the pattern.
        """
        return {}


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

    def out_shape(self, reads: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
        """Images of the same sides are stacked channel on channel."""
        images = [shape for shape in reads if shape is not None]
        if len(images) < len(reads) or len({shape[1:] for shape in images}) != 1:
            return None
        return (sum(shape[0] for shape in images), *images[0][1:])

    def triplets(self, s: np.ndarray = NO_PATTERN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index = np.arange(self.n_in, dtype=np.int32)
        return index, index, np.ones(self.n_in)


def check_parameters(operation: Operation, given: dict[str, Parameter]) -> dict[str, Parameter]:
    """All parameters of an operation, those that are `given` in place of its own; ValueError for
    an unknown name and another shape.
    """
    known = operation.parameters
    for name, value in given.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise ValueError(f"{operation!r} has no parameter {name!r}, its parameters are {names}")
        stored = type(known[name])
        if not isinstance(known[name], np.ndarray) and not isinstance(value, stored):
            raise TypeError(
                f"{name} is {brief(value)}, expected a {stored.__name__} as in {operation!r}"
            )
        if np.shape(value) != known[name].shape:
            raise ValueError(
                f"{name} has shape {np.shape(value)}, expected {known[name].shape} as in"
                f" {operation!r}"
            )
    return {**known, **given}
