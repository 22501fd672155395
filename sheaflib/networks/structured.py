"""Affine maps that fewer numbers say than their matrix has: what they share, and sums, batch
normalisation, and maps of images that treat rows and columns alike.
"""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from functools import cached_property
from typing import Any, Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.affine import Affine
from sheaflib.networks.operations import NO_PATTERN, Parameter, check_parameters
from sheaflib.networks.windows import Shape, image, like
from sheaflib.support.checks import positive, read_only, real_array, room, sparse_matrix, whole

DENSE = 2**16  # entries of a matrix that is multiplied by as a dense one


class Structured(Affine):
    """An affine map whose matrix need not be stored. A subclass says its widths, its `entries` (how
    many the matrix has), its `matrix`, and how to apply it, its adjoint and their absolute values.

    Below STORED entries the matrix is stored, and used as that of a sparse `Affine` is; from there
    on nothing is. Both are one map, except for rounding.
    """

    STORED = 2**17

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to {name!r} of {self!r}")

    @property
    def entries(self) -> int:
        """How many entries the matrix has, or a few more."""
        raise NotImplementedError

    def matrix(self) -> sp.sparse.csr_array:
        """The matrix W (n_out, n_in)."""
        raise NotImplementedError

    def _apply(self, a: np.ndarray, absolute: bool = False) -> np.ndarray:
        """W a, or |W| a."""
        raise NotImplementedError

    def _apply_adjoint(self, e: np.ndarray, absolute: bool = False) -> np.ndarray:
        """Wᵀ e, or |W|ᵀ e."""
        raise NotImplementedError

    def _norm_bound(self) -> float:
        """An upper bound of ‖W‖₂ that takes no matrix."""
        raise NotImplementedError

    @cached_property
    def stored(self) -> bool:
        """Whether the matrix is stored."""
        return self.entries < self.STORED

    @cached_property
    def weight(self) -> sp.sparse.csr_array | sp.sparse.linalg.LinearOperator:
        """W, as a sparse matrix where it is stored, and as a LinearOperator else."""
        if self.stored:
            return read_only(self.matrix())
        return sp.sparse.linalg.LinearOperator(
            (self.n_out, self.n_in),
            dtype=np.float64,
            matvec=lambda a: self._apply(a.reshape(1, -1))[0],
            rmatvec=lambda e: self._apply_adjoint(e.reshape(1, -1))[0],
            matmat=lambda a: self._apply(a.T).T,
            rmatmat=lambda e: self._apply_adjoint(e.T).T,
        )

    @cached_property
    def bias(self) -> np.ndarray:
        return read_only(np.zeros(self.n_out))

    def linear(self, a: np.ndarray, s: np.ndarray = NO_PATTERN) -> np.ndarray:
        return super().linear(a) if self.stored else self._apply(a)

    def adjoint(self, e: np.ndarray, s: np.ndarray = NO_PATTERN) -> np.ndarray:
        return super().adjoint(e) if self.stored else self._apply_adjoint(e)

    def _absolute_product(self, v: np.ndarray, transposed: bool) -> np.ndarray:
        if self.stored:
            return super()._absolute_product(v, transposed)
        return (self._apply_adjoint if transposed else self._apply)(v, absolute=True)

    def triplets(self, s: np.ndarray = NO_PATTERN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weight = (self.weight if self.stored else self.matrix()).tocoo()
        return weight.coords[0], weight.coords[1], weight.data

    @cached_property
    def norm(self) -> float:
        """An upper bound of the spectral norm ‖W‖₂; within 1e-6 of it where the matrix is
        stored.
        """
        return float(super().norm if self.stored else self._norm_bound())

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {}

    def with_parameters(self, **parameters: Parameter) -> Structured:
        check_parameters(self, parameters)
        return self

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        return {}

    def __reduce__(self) -> tuple:
        return _made, (type(self), self._arguments())

    def _arguments(self) -> dict:
        """What makes the operation anew, by the names of its arguments."""
        raise NotImplementedError


def _made(kind: type[Structured], arguments: dict) -> Structured:
    """The operation that such arguments make."""
    return kind(**arguments)


class Sum(Structured):
    """The sum of `parts` stacked vectors of width n, [I … I].

    >>> Sum(2, parts=2).value(np.array([[1.0, 2.0, 10.0, 20.0]]))
    array([[11., 22.]])
    """

    n: int
    parts: int
    STORED = 2**12

    def __init__(self, n: int, parts: int = 2):
        n, parts = whole("n", n), whole("parts", parts, 2)
        room("n", n, n)
        room("parts", parts, n * parts)
        object.__setattr__(self, "n", n)
        object.__setattr__(self, "parts", parts)

    @property
    def n_in(self) -> int:
        return self.n * self.parts

    @property
    def n_out(self) -> int:
        return self.n

    @property
    def entries(self) -> int:
        return self.n_in

    def matrix(self) -> sp.sparse.csr_array:
        return sp.sparse.hstack([sp.sparse.eye_array(self.n)] * self.parts).tocsr()

    def _apply(self, a: np.ndarray, absolute: bool = False) -> np.ndarray:
        total = a[:, : self.n] + a[:, self.n : 2 * self.n]
        for part in range(2, self.parts):
            total += a[:, part * self.n : (part + 1) * self.n]
        return total

    def _apply_adjoint(self, e: np.ndarray, absolute: bool = False) -> np.ndarray:
        return np.tile(e, (1, self.parts))

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        return super().value(a) if self.stored else self._apply(a)

    def _norm_bound(self) -> float:
        return math.sqrt(self.parts) * (1 + 1e-15)

    def out_shape(self, reads: Sequence[Shape | None]) -> Shape | None:
        if len(reads) == 1 and reads[0] is not None and reads[0][0] % self.parts == 0:
            return (reads[0][0] // self.parts, *reads[0][1:])
        return None

    def _arguments(self) -> dict:
        return {"n": self.n, "parts": self.parts}

    def __repr__(self) -> str:
        return f"Sum({self.parts} of {self.n})"


class BatchNorm(Structured):
    """Batch normalisation in inference, scale · (a − mean)/√(variance + eps) + shift, a diagonal
    map; training may change scale and shift.

    scale, shift, mean, variance: (channels,); each channel has `pixels` = height · width
    neighbouring coordinates. Raises ValueError for a negative variance, and where a number leaves
    float64.

    >>> norm = BatchNorm([2.0], [1.0], [3.0], [4.0], eps=0.0, pixels=2)
    >>> norm.value(np.array([[3.0, 5.0]]))
    array([[1., 3.]])
    """

    scale: np.ndarray
    shift: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    eps: float
    pixels: int
    STORED = 0

    def __init__(
        self,
        scale: ArrayLike,
        shift: ArrayLike,
        mean: ArrayLike,
        variance: ArrayLike,
        eps: float = 1e-5,
        pixels: int = 1,
    ):
        scale = real_array("scale", scale, (None,))
        if len(scale) == 0:
            raise ValueError("scale is empty, expected one number a channel")
        shift, mean, variance = (
            real_array(name, value, scale.shape)
            for name, value in (("shift", shift), ("mean", mean), ("variance", variance))
        )
        if (variance < 0).any():
            raise ValueError(f"variance must be ≥ 0, got {variance.min():g}")
        eps, pixels = positive("eps", eps, zero=True), whole("pixels", pixels)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            gain = scale / np.sqrt(variance + eps)
            offset = shift - gain * mean
        large = ~(np.isfinite(gain) & np.isfinite(offset))
        if large.any():
            raise ValueError(
                "scale/√(variance + eps), or its product with mean, is too large for float64 in"
                f" channel {large.argmax()}"
            )
        room("pixels", pixels, len(gain) * pixels)
        given = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
        for name, value in (given | {"_gain": gain, "_offset": offset}).items():
            object.__setattr__(self, name, read_only(value))
        object.__setattr__(self, "eps", eps)
        object.__setattr__(self, "pixels", pixels)

    @property
    def n_in(self) -> int:
        return len(self.scale) * self.pixels

    @property
    def n_out(self) -> int:
        return self.n_in

    @property
    def entries(self) -> int:
        return self.n_in

    @cached_property
    def bias(self) -> np.ndarray:
        return read_only(np.repeat(self._offset, self.pixels))

    def matrix(self) -> sp.sparse.csr_array:
        return sp.sparse.diags_array(np.repeat(self._gain, self.pixels)).tocsr()

    def _channels(self, a: np.ndarray) -> np.ndarray:
        return a.reshape(len(a), -1, self.pixels)

    def _apply(self, a: np.ndarray, absolute: bool = False) -> np.ndarray:
        gain = np.abs(self._gain) if absolute else self._gain
        return (self._channels(a) * gain[:, None]).reshape(len(a), -1)

    def _apply_adjoint(self, e: np.ndarray, absolute: bool = False) -> np.ndarray:
        return self._apply(e, absolute)

    def _norm_bound(self) -> float:
        return float(np.abs(self._gain).max())

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"scale": self.scale, "shift": self.shift}

    def with_parameters(self, **parameters: Parameter) -> BatchNorm:
        return BatchNorm(**(self._arguments() | check_parameters(self, parameters)))

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        """The gradient of Σ_i ⟨e_i, F(a_i)⟩ by "scale" and "shift", (channels,) each."""
        centred = self._channels(a) - self.mean[:, None]
        slope = (self._channels(e) * centred).sum(axis=(0, 2)) / np.sqrt(self.variance + self.eps)
        return {"scale": slope, "shift": self._channels(e).sum(axis=(0, 2))}

    def out_shape(self, reads: Sequence[Shape | None]) -> Shape | None:
        return reads[0] if len(reads) == 1 else None

    def _arguments(self) -> dict:
        names = ("scale", "shift", "mean", "variance", "eps", "pixels")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"BatchNorm({len(self.scale)} channels of {self.pixels})"


class Separable(Structured):
    """a ↦ R a Cᵀ for the image a of every channel: average pooling, padding, upsampling.

    shape (channels, height, width) of what it reads; rows R (height of what it writes, height) and
    columns C (width of what it writes, width), dense or sparse. Of a signal (channels, length) rows
    is [[1]]. Raises ValueError where they do not fit.

    >>> mean = Separable((1, 2, 2), [[0.5, 0.5]], [[0.5, 0.5]])
    >>> mean.value(np.array([[1.0, 2.0, 3.0, 6.0]]))
    array([[3.]])
    """

    shape: Shape
    rows: sp.sparse.csr_array
    columns: sp.sparse.csr_array
    STORED = 0

    def __init__(self, shape: Sequence[int], rows: ArrayLike, columns: ArrayLike):
        channels, height, width = image(shape)
        parts = {}
        for name, value, n in (("rows", rows, height), ("columns", columns, width)):
            if not isinstance(value, (sp.sparse.sparray, sp.sparse.spmatrix)):
                value = sp.sparse.csr_array(real_array(name, value, (None, None)))
            parts[name] = read_only(sparse_matrix(name, value))
            if parts[name].shape[1] != n or parts[name].shape[0] == 0:
                raise ValueError(
                    f"{name} has shape {parts[name].shape}, expected (any, {n}) for an image of"
                    f" shape {tuple(shape)}"
                )
        sides = parts["rows"].shape[0], parts["columns"].shape[0]
        room("rows", sides, channels * math.prod(sides))
        if len(shape) == 2 and (sides[0] != 1 or parts["rows"].sum() != 1):
            raise ValueError("rows must be [[1]] for a signal (channels, length)")
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "rows", parts["rows"])
        object.__setattr__(self, "columns", parts["columns"])

    @property
    def n_in(self) -> int:
        return math.prod(self.shape)

    @property
    def written(self) -> Shape:
        """The shape of the image that it writes."""
        return like(self.shape, self.shape[0], (self.rows.shape[0], self.columns.shape[0]))

    @property
    def n_out(self) -> int:
        return math.prod(self.written)

    @property
    def entries(self) -> int:
        return self.shape[0] * self.rows.nnz * self.columns.nnz

    def matrix(self) -> sp.sparse.csr_array:
        one = sp.sparse.kron(self.rows, self.columns, format="csr")
        return sp.sparse.kron(sp.sparse.eye_array(self.shape[0]), one, format="csr")

    def _apply(self, a: np.ndarray, absolute: bool = False) -> np.ndarray:
        rows, columns = self._sides(absolute)
        return _both(a, rows, columns)

    def _apply_adjoint(self, e: np.ndarray, absolute: bool = False) -> np.ndarray:
        rows, columns = self._sides(absolute)
        return _both(e, rows.T, columns.T)

    def _sides(self, absolute: bool) -> tuple:
        sides = [np.abs(side) if absolute else side for side in (self.rows, self.columns)]
        return tuple(s.toarray() if math.prod(s.shape) <= DENSE else s for s in sides)

    def _norm_bound(self) -> float:
        return Affine(self.rows).norm * Affine(self.columns).norm * (1 + 1e-14)

    def out_shape(self, reads: Sequence[Shape | None]) -> Shape | None:
        return self.written

    @property
    def reads(self) -> Shape:
        return self.shape

    def _arguments(self) -> dict:
        return {"shape": self.shape, "rows": self.rows, "columns": self.columns}

    def __repr__(self) -> str:
        return f"Separable({self.shape} -> {self.written})"


def means(grid: np.ndarray, n: int, count: np.ndarray) -> sp.sparse.csr_array:
    """The matrix (windows, n) that sums the taps of each window along an axis of n pixels, and
    divides by its count; a tap of −1 is in the padding.

    >>> means(np.array([[-1, 0], [1, 2]]), 3, np.array([1, 2])).toarray()
    array([[1. , 0. , 0. ],
           [0. , 0.5, 0.5]])
    """
    inside = grid >= 0
    places = (np.nonzero(inside)[0], grid[inside])
    return sp.sparse.csr_array(((1 / count)[places[0]], places), shape=(len(grid), n))


def _both(a: np.ndarray, rows: Any, columns: Any) -> np.ndarray:
    """R x Cᵀ for the images x of a batch (B, channels · height · width)."""
    height, width = rows.shape[1], columns.shape[1]
    across = _times(columns, a.reshape(-1, width)).reshape(-1, height, columns.shape[0])
    if rows.shape == (1, 1):
        return (across * rows[0, 0]).reshape(len(a), -1)
    if isinstance(rows, np.ndarray):
        return np.matmul(rows, across).reshape(len(a), -1)
    turned = across.transpose(0, 2, 1).reshape(-1, height)
    found = _times(rows, turned).reshape(len(across), -1, rows.shape[0])
    return found.transpose(0, 2, 1).reshape(len(a), -1)


def _times(matrix: Any, v: np.ndarray) -> np.ndarray:
    """The rows of v (n, m) multiplied by a matrix (k, m), dense or sparse: (n, k)."""
    return (
        v @ matrix.T if isinstance(matrix, np.ndarray) else np.ascontiguousarray((matrix @ v.T).T)
    )
