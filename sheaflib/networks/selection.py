"""State-dependent affine maps: ReLU, leaky ReLU, PReLU, |·|, clamp and max-pool, one activation
edge of the sheaf (the paper's construction has the ReLU; the others are derived).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks.operations import NO_PATTERN, Operation, Parameter, check_parameters
from sheaflib.networks.windows import Shape
from sheaflib.support.checks import even, read_only, real_array, unmasked, whole
from sheaflib.support.sums import sums


class Selection(Operation):
    """An affine map with at most one entry a row, chosen by the state: ReLU, leaky ReLU, PReLU,
    |·|, clamp, max-pool.
    """

    kind = "activation"

    @property
    def n_pattern(self) -> int:
        return self.n_out


class Elementwise(Selection):
    """A continuous function that is affine between its `breaks`, coordinate by coordinate: ReLU,
    PReLU, Clamp.

    On side k, between the breaks k − 1 and k, it is slopes[k] a + offsets[k]; each slope is one
    number or one a coordinate, (n,). The pattern says the side: how many breaks a has reached. With
    one break it is of bool, True where a ≥ the break.
    """

    n: int

    @property
    def n_in(self) -> int:
        return self.n

    @property
    def n_out(self) -> int:
        return self.n

    @property
    def breaks(self) -> tuple[float, ...]:
        """Where the function has its kinks, in rising order."""
        raise NotImplementedError

    @property
    def slopes(self) -> tuple[float | np.ndarray, ...]:
        """The slope on each side, one more than there are breaks."""
        raise NotImplementedError

    @property
    def offsets(self) -> tuple[float, ...]:
        """What is added on each side."""
        return (0.0,) * (len(self.breaks) + 1)

    def out_shape(self, reads: Sequence[Shape | None]) -> Shape | None:
        return reads[0] if len(reads) == 1 else None

    @property
    def norm(self) -> float:
        return max(float(np.abs(slope).max()) for slope in self.slopes)

    def pattern(self, a: np.ndarray) -> np.ndarray:
        if len(self.breaks) == 1:
            return a >= self.breaks[0]
        return np.array([a >= point for point in self.breaks]).sum(axis=0, dtype=np.int8)

    def coefficient(self, s: np.ndarray) -> np.ndarray:
        """The diagonal of F_s, (B, n): the slope on the side s, with one break linear in s
        between.
        """
        return self._on(s, self.slopes)

    def constant(self, s: np.ndarray) -> np.ndarray:
        return self._on(s, self.offsets) if any(self.offsets) else np.zeros((1, self.n))

    def _on(self, s: np.ndarray, sides: tuple[float | np.ndarray, ...]) -> np.ndarray:
        """The one of `sides` that the pattern names, (B, n)."""
        if len(sides) == 2 and s.dtype == bool:
            return np.where(s, sides[1], sides[0])
        if len(sides) == 2:
            return sides[0] + (sides[1] - sides[0]) * s
        at = s.astype(np.int64, copy=False)
        return np.select([at == side for side in range(len(sides))], list(sides))

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        return self.coefficient(s) * a

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        s = self.pattern(a) if s is None else s
        return self.linear(a, s) + self.constant(s) if any(self.offsets) else self.linear(a, s)

    def adjoint(self, e: np.ndarray, /, s: np.ndarray) -> np.ndarray:
        return self.linear(e, s)

    def absolute(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        return self.absolute_adjoint(a, s) + np.abs(self.constant(s))

    def absolute_adjoint(self, e: np.ndarray, /, s: np.ndarray) -> np.ndarray:
        return np.abs(self.coefficient(s)) * e

    def triplets(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index = np.arange(self.n, dtype=np.int32)
        return index, index, self.coefficient(s).astype(np.float64)

    def check_pattern(self, name: str, s: np.ndarray) -> None:
        most, whole_numbers = len(self.breaks), len(self.breaks) > 1
        if not ((s >= 0) & (s <= most)).all() or whole_numbers and (s != np.round(s)).any():
            expected = f"hold whole numbers 0 … {most}" if whole_numbers else "lie in [0, 1]"
            raise ValueError(
                f"pattern of {name!r} must {expected}, got {s.min():g} … {s.max():g}:"
                " sheaf.forward_pattern(x) makes the patterns of inputs x"
            )


@dataclass(frozen=True)
class ReLU(Elementwise):
    """a = R_z z, R_z = diag(1[z ≥ 0]); z = 0 counts as active (the paper's construction). `slope` ≠
    0: leaky ReLU; −1: |z|.

    The pattern is True where z ≥ 0; a frozen pattern may lie in [0, 1] (the sliding modes of Thm
    4.1).

    >>> ReLU(3).value(np.array([[-1.0, 0.0, 2.0]])) + 0
    array([[0., 0., 2.]])
    """

    n: int
    slope: float = 0.0
    breaks = (0.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", whole("n", self.n))
        object.__setattr__(self, "slope", float(real_array("slope", self.slope, ())))

    @property
    def slopes(self) -> tuple[float, float]:
        return self.slope, 1.0

    def coefficient(self, s: np.ndarray) -> np.ndarray:
        return s if self.slope == 0 else super().coefficient(s)

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        return np.where(s, a, 0.0) if self.slope == 0 and s.dtype == bool else super().linear(a, s)


@dataclass(frozen=True, eq=False)
class PReLU(Elementwise):
    """A leaky ReLU with a slope a channel, which training may change: a where a ≥ 0, slope · a
    elsewhere.

    slope: (channels,) numbers, each for n / channels neighbouring coordinates, the pixels of its
    channel; or one number for all. Raises ValueError where n is no multiple of the channels.

    >>> PReLU(4, [0.5, 0.0]).value(np.array([[-2.0, 3.0, -2.0, 3.0]])) + 0
    array([[-1.,  3.,  0.,  3.]])
    """

    n: int
    slope: np.ndarray
    breaks = (0.0,)

    def __init__(self, n: int, slope: ArrayLike):
        object.__setattr__(self, "n", whole("n", n))
        slope = np.atleast_1d(real_array("slope", slope))
        if slope.ndim != 1 or len(slope) == 0 or self.n % len(slope):
            raise ValueError(
                f"slope has shape {slope.shape}, expected one number, or (channels,) numbers where"
                f" n={self.n} is a multiple of the channels"
            )
        object.__setattr__(self, "slope", read_only(slope))

    @cached_property
    def slopes(self) -> tuple[np.ndarray, float]:
        return np.repeat(self.slope, self.n // len(self.slope)), 1.0

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"slope": self.slope}

    def with_parameters(self, **parameters: Parameter) -> PReLU:
        given = check_parameters(self, parameters)
        return PReLU(self.n, given["slope"])

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        s = self.pattern(a) if s is NO_PATTERN else s
        per_coordinate = (e * a * (1.0 - s)).sum(axis=0)
        return {"slope": per_coordinate.reshape(len(self.slope), -1).sum(axis=1)}

    def __repr__(self) -> str:
        return f"PReLU({self.n}, {len(self.slope)} slopes)"


@dataclass(frozen=True)
class Clamp(Elementwise):
    """min(max(a, low), high), also called hard tanh or, with the bounds 0 and 6, ReLU6.

    Its two outer sides are constant, so F_s is 0 there and the bound is in b_s. One of the bounds
    may be infinite. Raises ValueError unless low < high, and where both are infinite.

    >>> Clamp(3, 0.0, 6.0).value(np.array([[-1.0, 5.0, 9.0]])) + 0
    array([[0., 5., 6.]])
    """

    n: int
    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", whole("n", self.n))
        for name in ("low", "high"):
            bound = getattr(self, name)
            infinite = isinstance(bound, float) and np.isinf(bound)
            bound = bound if infinite else float(real_array(name, bound, ()))
            object.__setattr__(self, name, bound)
        if not self.low < self.high or not self.breaks:
            raise ValueError(
                f"low={self.low:g} and high={self.high:g}, expected low < high, one of them finite"
                " at least"
            )

    @property
    def breaks(self) -> tuple[float, ...]:
        return tuple(bound for bound in (self.low, self.high) if np.isfinite(bound))

    @property
    def slopes(self) -> tuple[float, ...]:
        return self._sides(0.0, 1.0, 0.0)

    @property
    def offsets(self) -> tuple[float, ...]:
        return self._sides(self.low, 0.0, self.high)

    def _sides(self, *sides: float) -> tuple[float, ...]:
        """Of what holds below, between and above the bounds, the part for finite bounds."""
        return sides[not np.isfinite(self.low) : 3 - (not np.isfinite(self.high))]


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
        return sums(self._chosen(s), e, self.n_in)

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
