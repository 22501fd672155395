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
    """An affine map whose matrix is chosen by the state, with at most one entry a row.

    ReLU, leaky ReLU, PReLU, absolute value, clamp and max-pool are such maps.
    """

    kind = "activation"

    @property
    def n_pattern(self) -> int:
        """The length of the pattern of one sample, which is `n_out`."""
        return self.n_out


class Elementwise(Selection):
    """A continuous function of one number that is affine between its breaks, for every coordinate.

    On side k, between the breaks k − 1 and k, it is ``slopes[k] a + offsets[k]``; each slope is one
    number or one for each coordinate, (n,). The pattern says the side: how many breaks a has
    reached. With one break it is of bool, True where a ≥ the break.
    """

    n: int

    @property
    def n_in(self) -> int:
        """The width of what is read, n."""
        return self.n

    @property
    def n_out(self) -> int:
        """The width of what is written, n."""
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
        """What is added on each side, one number more than there are breaks."""
        return (0.0,) * (len(self.breaks) + 1)

    def out_shape(self, reads: Sequence[Shape | None]) -> Shape | None:
        """Return the shape of what is read, which is also the shape of what is written.

        Parameters
        ----------
        reads : sequence of tuple of int or None
            The shapes of what is read, one for each input; None for a vector.

        Returns
        -------
        tuple of int or None
            The shape, or None where a vector is written.
        """
        return reads[0] if len(reads) == 1 else None

    @property
    def norm(self) -> float:
        """The spectral norm for the worst pattern, the largest absolute slope."""
        return max(float(np.abs(slope).max()) for slope in self.slopes)

    def pattern(self, a: np.ndarray) -> np.ndarray:
        """Return the side on which each coordinate lies.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.

        Returns
        -------
        ndarray, shape (B, n)
            How many breaks a coordinate has reached; with one break of bool, True where it lies at
            the break or above.
        """
        if len(self.breaks) == 1:
            return a >= self.breaks[0]
        return np.array([a >= point for point in self.breaks]).sum(axis=0, dtype=np.int8)

    def coefficient(self, s: np.ndarray) -> np.ndarray:
        """Return the diagonal of ``F_s``, the slope of every coordinate.

        Parameters
        ----------
        s : ndarray, shape (B, n)
            The pattern. With one break it may lie between 0 and 1; then the slope is as far between
            those of the two sides.

        Returns
        -------
        ndarray, shape (B, n)
            The slopes, one row a sample.
        """
        return self._on(s, self.slopes)

    def constant(self, s: np.ndarray) -> np.ndarray:
        """Return ``b_s``, the offset of every coordinate.

        Parameters
        ----------
        s : ndarray, shape (B, n)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n) or (1, n)
            The offsets; one row of zeros where no side has any.
        """
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
        """Return ``F_s a``, every coordinate times its slope.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        s : ndarray, shape (B, n_pattern)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        return self.coefficient(s) * a

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        """Return the function of every coordinate.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        s : ndarray, shape (B, n), optional
            The pattern that is used; by default the pattern at `a`.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        s = self.pattern(a) if s is None else s
        return self.linear(a, s) + self.constant(s) if any(self.offsets) else self.linear(a, s)

    def adjoint(self, e: np.ndarray, /, s: np.ndarray) -> np.ndarray:
        """Return ``F_sᵀ e``, every coordinate times its slope.

        Parameters
        ----------
        e : ndarray, shape (B, n_out)
            One vector for each sample, as wide as what is written.
        s : ndarray, shape (B, n_pattern)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_in)
            One row a sample.
        """
        return self.linear(e, s)

    def absolute(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return ``|F_s| a + |b_s|``, with the absolute values of slopes and offsets.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            Numbers that are not negative, one row a sample.
        s : ndarray, shape (B, n_pattern)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        return self.absolute_adjoint(a, s) + np.abs(self.constant(s))

    def absolute_adjoint(self, e: np.ndarray, /, s: np.ndarray) -> np.ndarray:
        """Return ``|F_s|ᵀ e``, with the absolute values of the slopes.

        Parameters
        ----------
        e : ndarray, shape (B, n_out)
            Numbers that are not negative, one row a sample.
        s : ndarray, shape (B, n_pattern)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_in)
            One row a sample.
        """
        return np.abs(self.coefficient(s)) * e

    def triplets(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries of the diagonal matrix ``F_s`` for one pattern.

        Parameters
        ----------
        s : ndarray, shape (n_pattern,)
            One pattern.

        Returns
        -------
        rows : ndarray
            The row of each entry.
        columns : ndarray
            The column of each entry.
        entries : ndarray
            The entries themselves.
        """
        index = np.arange(self.n, dtype=np.int32)
        return index, index, self.coefficient(s).astype(np.float64)

    def check_pattern(self, name: str, s: np.ndarray) -> None:
        """Check that `s` is a pattern of this operation.

        Parameters
        ----------
        name : str
            The name of the node, which the message of an error says.
        s : ndarray, shape (..., n_pattern)
            What is checked.

        Raises
        ------
        ValueError
            If an entry of it is no whole number between 0 and the number of breaks; with one break,
            if an entry does not lie between 0 and 1.
        """
        most, whole_numbers = len(self.breaks), len(self.breaks) > 1
        if not ((s >= 0) & (s <= most)).all() or whole_numbers and (s != np.round(s)).any():
            expected = f"hold whole numbers 0 … {most}" if whole_numbers else "lie in [0, 1]"
            raise ValueError(
                f"pattern of {name!r} must {expected}, got {s.min():g} … {s.max():g}:"
                " sheaf.forward_pattern(x) makes the patterns of inputs x"
            )


@dataclass(frozen=True)
class ReLU(Elementwise):
    """The rectifier ``a = max(z, 0)`` of every coordinate, or a leaky one.

    As a matrix it is ``a = R_z z`` with ``R_z = diag(1[z ≥ 0])``: a coordinate that is exactly 0
    counts as active. The pattern is True where z ≥ 0. A frozen pattern may lie in [0, 1], which
    describes a neuron that slides along its kink.

    Parameters
    ----------
    n : int
        The number of coordinates.
    slope : float, default 0.0
        The factor of negative numbers: another number than 0 makes a leaky ReLU, and −1 makes the
        absolute value.

    Attributes
    ----------
    n : int
        The number of coordinates.
    slope : float
        The factor of negative numbers.
    breaks : tuple of float
        The place of the kink, ``(0.0,)``.
    kind : str
        The kind of its edge, ``"activation"``.

    Raises
    ------
    ValueError
        If n is no positive whole number, or the slope is not finite.

    See Also
    --------
    PReLU : Has a slope for each channel, which training may change.

    Notes
    -----
    In the paper: section 3.1, and Thm 4.1 for sliding; slopes other than 0 are derived.

    Examples
    --------
    >>> from sheaflib import ReLU
    >>> ReLU(3).value(np.array([[-1.0, 0.0, 2.0]])) + 0
    array([[0., 0., 2.]])
    >>> ReLU(3).pattern(np.array([[-1.0, 0.0, 2.0]]))
    array([[False,  True,  True]])
    """

    n: int
    slope: float = 0.0
    breaks = (0.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", whole("n", self.n))
        object.__setattr__(self, "slope", float(real_array("slope", self.slope, ())))

    @property
    def slopes(self) -> tuple[float, float]:
        """The slope below 0 and the slope above it, which is 1."""
        return self.slope, 1.0

    def coefficient(self, s: np.ndarray) -> np.ndarray:
        """Return the diagonal of ``R_z``, the slope of every coordinate.

        Parameters
        ----------
        s : ndarray, shape (B, n)
            The pattern, of bool or between 0 and 1.

        Returns
        -------
        ndarray, shape (B, n)
            The slopes, one row a sample; `s` itself where the slope below 0 is 0.
        """
        return s if self.slope == 0 else super().coefficient(s)

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return ``R_z a``, every coordinate times its slope.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        s : ndarray, shape (B, n_pattern)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        return np.where(s, a, 0.0) if self.slope == 0 and s.dtype == bool else super().linear(a, s)


@dataclass(frozen=True, eq=False)
class PReLU(Elementwise):
    """A leaky ReLU with a slope for each channel, which training may change.

    It is a where a ≥ 0, and slope · a elsewhere.

    Parameters
    ----------
    n : int
        The number of coordinates.
    slope : array_like, shape (channels,)
        The factor of negative numbers for each channel, whose pixels are n / channels neighbouring
        coordinates; or one number for all.

    Attributes
    ----------
    n : int
        The number of coordinates.
    slope : ndarray, shape (channels,)
        The factors of negative numbers.
    breaks : tuple of float
        The place of the kink, ``(0.0,)``.
    kind : str
        The kind of its edge, ``"activation"``.

    Raises
    ------
    ValueError
        If n is no multiple of the number of channels.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import PReLU
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
        """The slopes below 0, one for each coordinate (n,), and the slope above it, which is 1."""
        return np.repeat(self.slope, self.n // len(self.slope)), 1.0

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The slopes, under ``"slope"``."""
        return {"slope": self.slope}

    def with_parameters(self, **parameters: Parameter) -> PReLU:
        """Make the same operation with other slopes.

        Parameters
        ----------
        **parameters : array_like
            A value for ``slope``, of the shape that it has.

        Returns
        -------
        PReLU
            The new operation.

        Raises
        ------
        ValueError
            If a name is another one, or the array has another shape.
        """
        given = check_parameters(self, parameters)
        return PReLU(self.n, given["slope"])

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        """Return the gradient of ``Σ_i ⟨e_i, F_s a_i⟩`` by the slopes.

        The sum is over the samples i of the batch.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        e : ndarray, shape (B, n_out)
            One vector for each sample, as wide as what is written.
        s : ndarray, shape (B, n), optional
            The pattern; by default the pattern at `a`.

        Returns
        -------
        dict
            The gradient under ``"slope"``, of the shape (channels,).
        """
        s = self.pattern(a) if s is NO_PATTERN else s
        per_coordinate = (e * a * (1.0 - s)).sum(axis=0)
        return {"slope": per_coordinate.reshape(len(self.slope), -1).sum(axis=1)}

    def __repr__(self) -> str:
        return f"PReLU({self.n}, {len(self.slope)} slopes)"


@dataclass(frozen=True)
class Clamp(Elementwise):
    """The function ``min(max(a, low), high)`` of every coordinate.

    It is also called hard tanh or, with the bounds 0 and 6, ReLU6. Its two outer sides are
    constant: there the matrix ``F_s`` is 0, and the bound is in the constant ``b_s``.

    Parameters
    ----------
    n : int
        The number of coordinates.
    low : float
        The lower bound; it may be minus infinity.
    high : float
        The upper bound; it may be infinity, but not both may be infinite.

    Attributes
    ----------
    n : int
        The number of coordinates.
    low, high : float
        The bounds.
    kind : str
        The kind of its edge, ``"activation"``.

    Raises
    ------
    ValueError
        If low is not below high, or both are infinite.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Clamp
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
        """The places of the kinks, which are the finite ones of the bounds."""
        return tuple(bound for bound in (self.low, self.high) if np.isfinite(bound))

    @property
    def slopes(self) -> tuple[float, ...]:
        """The slope on each side: 0 beyond a bound, 1 between them."""
        return self._sides(0.0, 1.0, 0.0)

    @property
    def offsets(self) -> tuple[float, ...]:
        """What is added on each side: the bound beyond it, 0 between them."""
        return self._sides(self.low, 0.0, self.high)

    def _sides(self, *sides: float) -> tuple[float, ...]:
        """Of what holds below, between and above the bounds, the part for finite bounds."""
        return sides[not np.isfinite(self.low) : 3 - (not np.isfinite(self.high))]


@dataclass(frozen=True, eq=False)
class MaxPool(Selection):
    """The largest entry of each of several windows.

    The pattern says for each window the position of its largest entry, of the first one where
    several are as large.

    Parameters
    ----------
    windows : array_like of int, shape (n_out, k)
        The coordinates that each window holds, as indices into what is read. Windows may overlap.
    n_in : int
        The width of what is read.

    Attributes
    ----------
    windows : ndarray of int, shape (n_out, k)
        The windows.
    n_in : int
        The width of what is read.
    kind : str
        The kind of its edge, ``"activation"``.

    Raises
    ------
    ValueError
        If `windows` is no matrix of whole numbers between 0 and n_in − 1.

    See Also
    --------
    sheaflib.layers.max_pool : Makes the windows of an image.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import MaxPool
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
        """The width of what is written, the number of windows."""
        return len(self.windows)

    @property
    def norm(self) -> float:
        """The spectral norm for the worst pattern.

        It is the square root of the largest number of windows that share a coordinate, since
        overlapping windows may all choose the same one.
        """
        return float(np.sqrt(np.bincount(self.windows.ravel()).max()))

    def pattern(self, a: np.ndarray) -> np.ndarray:
        """Return the position of the first largest entry of each window.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.

        Returns
        -------
        ndarray of int, shape (B, n_out)
            Positions in the windows, between 0 and k − 1.
        """
        return a[:, self.windows].argmax(axis=2)

    def _chosen(self, s: np.ndarray) -> np.ndarray:
        return self.windows[np.arange(self.n_out), s.astype(np.int64, copy=False)]

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return the chosen entry of each window.

        `absolute` is this same method.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        s : ndarray, shape (B, n_pattern)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        return np.take_along_axis(a, np.broadcast_to(self._chosen(s), (len(a), self.n_out)), axis=1)

    def adjoint(self, e: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return each number of `e` at the place that its window chose, sums where they coincide.

        `absolute_adjoint` is this same method.

        Parameters
        ----------
        e : ndarray, shape (B, n_out)
            One vector for each sample, as wide as what is written.
        s : ndarray, shape (B, n_pattern)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_in)
            One row a sample.
        """
        return sums(self._chosen(s), e, self.n_in)

    absolute, absolute_adjoint = linear, adjoint

    def triplets(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries of the matrix of choices for one pattern: a one in every row.

        Parameters
        ----------
        s : ndarray, shape (n_pattern,)
            One pattern.

        Returns
        -------
        rows : ndarray
            The row of each entry.
        columns : ndarray
            The column of each entry.
        entries : ndarray
            The entries themselves.
        """
        return np.arange(self.n_out), self._chosen(s), np.ones(self.n_out)

    def check_pattern(self, name: str, s: np.ndarray) -> None:
        """Check that `s` is a pattern of this operation.

        Parameters
        ----------
        name : str
            The name of the node, which the message of an error says.
        s : ndarray, shape (..., n_pattern)
            What is checked.

        Raises
        ------
        ValueError
            If an entry of it is no whole number between 0 and k − 1, k being the width of a window.
        """
        k = self.windows.shape[1]
        if s.dtype.kind == "f" and not (s == np.round(s)).all() or s.min() < 0 or s.max() >= k:
            raise ValueError(
                f"pattern of {name!r} (max-pool) must hold whole numbers 0 … {k - 1}, got"
                f" {s.min():g} … {s.max():g}"
            )

    def __repr__(self) -> str:
        return f"MaxPool({self.n_in} -> {self.n_out})"
