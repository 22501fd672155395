"""The operations of a feedforward network, each affine once its pattern is frozen: F(a) = F_s a + c (paper §1).

An operation reads one batch (B, n_in) and writes one batch (B, n_out). `Affine` and `Stack` have no pattern;
a `Selection` multiplies by a matrix that depends on the sign or the order of what it reads, written down by its
pattern s. `Output` is the last map φ of the network and the only one that is not piecewise affine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Callable

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import LinearOperator, svds
from scipy.special import expit, logsumexp, softmax

from sheaflib.checks import real_array, whole

NO_PATTERN = np.zeros((1, 0), dtype=bool)


class Operation:
    """One vertex's map F(a) = F_s a (+ b), with n_in, n_out, the kind of its edges and the length of its pattern."""

    kind: str
    n_in: int
    n_out: int
    n_pattern: int = 0

    def pattern(self, a: np.ndarray) -> np.ndarray:
        """The pattern s at the input a: (B, n_in) -> (B, n_pattern)."""
        return np.broadcast_to(NO_PATTERN, (len(a), 0))

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """F_s a: (B, n_in) -> (B, n_out)."""
        raise NotImplementedError

    def adjoint(self, e: np.ndarray, s: np.ndarray) -> np.ndarray:
        """F_sᵀ e: (B, n_out) -> (B, n_in)."""
        raise NotImplementedError

    def triplets(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and entries of the matrix F_s (n_out, n_in) for one pattern s (n_pattern,)."""
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


@dataclass(frozen=True, eq=False)
class Affine(Operation):
    """z = W a + b. W is a dense (n_out, n_in) array, a scipy.sparse matrix, or a LinearOperator; b defaults to zero.

    >>> Affine([[1, 2], [0, 1]], [0, 3]).value(np.array([[1.0, 1.0]]))
    array([[3., 4.]])
    """

    weight: np.ndarray | sparse.csr_array | LinearOperator
    bias: np.ndarray | None = None
    kind = "affine"

    def __post_init__(self):
        weight = _weight(self.weight)
        bias = np.zeros(weight.shape[0]) if self.bias is None else real_array("bias", self.bias)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"bias has shape {bias.shape}, expected ({weight.shape[0]},): "
                             f"one number a row of the weight {weight.shape}")
        object.__setattr__(self, "weight", _frozen(weight))
        object.__setattr__(self, "bias", _frozen(bias))

    @classmethod
    def from_maps(cls, apply: Callable, adjoint: Callable, shape: tuple[int, int], bias=None) -> Affine:
        """A matrix-free affine map from a pair of functions on batches: apply (B, n_in) -> (B, n_out) and its adjoint.

        Raises ValueError when ⟨apply(a), e⟩ ≠ ⟨a, adjoint(e)⟩ on a random pair or a result has the wrong shape.
        """
        n_out, n_in = (whole("shape", n) for n in shape)
        _check_adjoint(apply, adjoint, n_in, n_out)
        return cls(LinearOperator(
            (n_out, n_in), dtype=np.float64,
            matvec=lambda a: apply(a.reshape(1, -1))[0], rmatvec=lambda e: adjoint(e.reshape(1, -1))[0],
            matmat=lambda a: apply(a.T).T, rmatmat=lambda e: adjoint(e.T).T), bias)

    @property
    def n_in(self) -> int:
        return self.weight.shape[1]

    @property
    def n_out(self) -> int:
        return self.weight.shape[0]

    def linear(self, a, s=NO_PATTERN):
        return a @ self.weight.T if isinstance(self.weight, np.ndarray) else (self.weight @ a.T).T

    def adjoint(self, e, s=NO_PATTERN):
        if isinstance(self.weight, LinearOperator):
            return self.weight.rmatmat(e.T).T
        return e @ self.weight if isinstance(self.weight, np.ndarray) else (self.weight.T @ e.T).T

    def value(self, a, s=None):
        z = self.linear(a)
        return np.add(z, self.bias, out=None if isinstance(self.weight, LinearOperator) else z)

    def triplets(self, s=NO_PATTERN):
        if isinstance(self.weight, np.ndarray):
            rows = np.repeat(np.arange(self.n_out, dtype=np.int32), self.n_in)
            return rows, np.tile(np.arange(self.n_in, dtype=np.int32), self.n_out), self.weight.ravel()
        weight = self.weight
        if isinstance(weight, LinearOperator):
            weight = sparse.csr_array(self.weight @ np.eye(self.n_in))
        weight = weight.tocoo()
        return weight.coords[0], weight.coords[1], weight.data

    @cached_property
    def norm(self) -> float:
        """The spectral norm ‖W‖₂ (sparse and matrix-free: Lanczos, raised by 1e-6 of itself to stay an upper bound)."""
        W = self.weight
        if isinstance(W, np.ndarray):
            return float(np.linalg.norm(W, 2))
        if min(W.shape) <= 32:                            # the columns of the flat or narrow side, one by one
            side = W if W.shape[1] <= W.shape[0] else W.T
            return float(np.linalg.norm(side @ np.eye(side.shape[1]), 2))
        start = np.random.default_rng(0).standard_normal(min(W.shape))
        if not (W @ (W.T @ start) if W.shape[0] <= W.shape[1] else W.T @ (W @ start)).any():
            return 0.0
        return float(svds(W, k=1, v0=start, return_singular_vectors=False)[0] * (1 + 1e-6))

    def gradient(self, a: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient of Σ_i ⟨e_i, W a_i + b⟩ with respect to (W, b), summed over the batch; W's as W is stored.

        a is (B, n_in), e is (B, n_out). For a sparse W only its stored entries get a gradient; TypeError when matrix-free.
        """
        if isinstance(self.weight, LinearOperator):
            raise TypeError("weight is matrix-free: it has no entries to differentiate")
        if isinstance(self.weight, np.ndarray):
            return e.T @ a, e.sum(axis=0)
        rows, columns, _ = self.triplets()
        data = np.einsum("bk,bk->k", e[:, rows], a[:, columns])
        return sparse.csr_array((data, (rows, columns)), shape=self.weight.shape), e.sum(axis=0)

    def __repr__(self):
        form = {np.ndarray: ""}.get(type(self.weight), ", sparse" if sparse.issparse(self.weight) else ", matrix-free")
        return f"Affine({self.n_in} -> {self.n_out}{form})"


class Selection(Operation):
    """A linear map with at most one entry a row, chosen by the state: ReLU, leaky ReLU, |·|, max-pool."""

    kind = "activation"

    @property
    def n_pattern(self) -> int:
        return self.n_out


@dataclass(frozen=True)
class ReLU(Selection):
    """a = R_z z, R_z = diag(1[z ≥ 0]); z = 0 counts as active (paper §1). `slope` ≠ 0: leaky ReLU; −1: |z|.

    The pattern is True where z ≥ 0; a frozen pattern may lie in [0, 1] (the sliding modes of Thm 4.1).

    >>> ReLU(3).value(np.array([[-1.0, 0.0, 2.0]])) + 0
    array([[0., 0., 2.]])
    """

    n: int
    slope: float = 0.0

    def __post_init__(self):
        whole("n", self.n)
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

    def pattern(self, a):
        return a >= 0

    def coefficient(self, s: np.ndarray) -> np.ndarray:
        """The diagonal of R: 1 where active, `slope` where not, linear in s between."""
        return s if self.slope == 0 else self.slope + (1 - self.slope) * s

    def linear(self, a, s):
        return self.coefficient(s) * a

    adjoint = linear

    def triplets(self, s):
        index = np.arange(self.n, dtype=np.int32)
        return index, index, self.coefficient(s).astype(np.float64)

    def check_pattern(self, name, s):
        if not ((s >= 0) & (s <= 1)).all():
            raise ValueError(f"pattern of {name!r} must lie in [0, 1], got {s.min():g} … {s.max():g}")


@dataclass(frozen=True, eq=False)
class MaxPool(Selection):
    """a_j = max of z over window j; the pattern is the position of the (first) largest entry in its window.

    windows: (n_out, k) indices into the n_in coordinates read.

    >>> MaxPool([[0, 1], [2, 3]], 4).value(np.array([[1.0, 5.0, 2.0, 0.0]]))
    array([[5., 2.]])
    """

    windows: np.ndarray
    n_in: int

    def __post_init__(self):
        windows = np.asarray(self.windows)
        if windows.ndim != 2 or windows.dtype.kind not in "iu" or windows.size == 0:
            raise ValueError(f"windows has shape {windows.shape} and dtype {windows.dtype}, expected (n_out, k) integers")
        if windows.min() < 0 or windows.max() >= whole("n_in", self.n_in):
            raise ValueError(f"windows holds {windows.min()} … {windows.max()}, expected indices in 0 … {self.n_in - 1}")
        object.__setattr__(self, "windows", _frozen(windows.astype(np.int64)))

    @property
    def n_out(self) -> int:
        return len(self.windows)

    @property
    def norm(self) -> float:
        """√(number of windows that share a coordinate): overlapping windows may all select the same one."""
        return float(np.sqrt(np.bincount(self.windows.ravel()).max()))

    def pattern(self, a):
        return a[:, self.windows].argmax(axis=2)

    def _chosen(self, s: np.ndarray) -> np.ndarray:
        return self.windows[np.arange(self.n_out), s.astype(np.int64, copy=False)]

    def linear(self, a, s):
        return np.take_along_axis(a, np.broadcast_to(self._chosen(s), (len(a), self.n_out)), axis=1)

    def adjoint(self, e, s):
        out = np.zeros((len(e), self.n_in))
        np.add.at(out, (np.arange(len(e))[:, None], self._chosen(s)), e)
        return out

    def triplets(self, s):
        return np.arange(self.n_out), self._chosen(s), np.ones(self.n_out)

    def check_pattern(self, name, s):
        k = self.windows.shape[1]
        if s.dtype.kind == "f" and not (s == np.round(s)).all() or s.min() < 0 or s.max() >= k:
            raise ValueError(f"pattern of {name!r} (max-pool) must hold whole numbers 0 … {k - 1}, got {s.min():g} … {s.max():g}")

    def __repr__(self):
        return f"MaxPool({self.n_in} -> {self.n_out})"


@dataclass(frozen=True)
class Stack(Operation):
    """p = (u, v, …): the merge vertex of a skip connection or a concatenation, one projection edge a part (derived).

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

    def linear(self, a, s=NO_PATTERN):
        return a

    adjoint = linear

    def triplets(self, s=NO_PATTERN):
        index = np.arange(self.n_in, dtype=np.int32)
        return index, index, np.ones(self.n_in)


@dataclass(frozen=True)
class Output:
    """The output map φ: identity, sigmoid or softmax, with its potential ψ (∇ψ = φ) and its symmetric Jacobian J_φ.

    >>> Output("sigmoid").value(np.zeros((1, 1)))
    array([[0.5]])
    """

    name: str = "identity"

    def __post_init__(self):
        if self.name not in _OUTPUTS:
            raise ValueError(f"output={self.name!r} is unknown, expected one of {', '.join(_OUTPUTS)}")

    @property
    def is_identity(self) -> bool:
        return self.name == "identity"

    @property
    def norm(self) -> float:
        """sup ‖J_φ‖: 1, 1/4 and 1/2."""
        return _OUTPUTS[self.name][2]

    def value(self, z: np.ndarray) -> np.ndarray:
        """φ(z): (B, n) -> (B, n)."""
        return _OUTPUTS[self.name][0](z)

    def potential(self, z: np.ndarray) -> np.ndarray:
        """ψ(z) with ∇ψ = φ: (B, n) -> (B,); ψ(z) − yᵀz is the square loss or cross-entropy up to a constant in y."""
        return _OUTPUTS[self.name][1](z)

    def jacobian_product(self, z: np.ndarray, v: np.ndarray) -> np.ndarray:
        """J_φ(z) v = J_φ(z)ᵀ v: (B, n), (B, n) -> (B, n)."""
        if self.is_identity:
            return v
        p = self.value(z)
        if self.name == "sigmoid":
            return p * expit(-z) * v
        return p * (v - (p * v).sum(axis=1, keepdims=True))

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """J_φ at one point z (n,) as a dense (n, n) matrix."""
        n = len(z)
        return self.jacobian_product(np.tile(z, (n, 1)), np.eye(n))


_OUTPUTS: dict[str, tuple[Callable, Callable, float]] = {
    "identity": (lambda z: z, lambda z: 0.5 * (z**2).sum(axis=1), 1.0),
    "sigmoid": (expit, lambda z: np.logaddexp(0, z).sum(axis=1), 0.25),
    "softmax": (lambda z: softmax(z, axis=1), lambda z: logsumexp(z, axis=1), 0.5),
}


def _weight(weight):
    """The three forms a weight may take, checked: dense float64, CSR float64, LinearOperator."""
    if isinstance(weight, LinearOperator):
        real_array("weight", np.zeros(0, weight.dtype))
    elif sparse.issparse(weight):
        real_array("weight.data", weight.data)
    else:
        weight = real_array("weight", weight)
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(f"weight has shape {weight.shape}, expected (n_out, n_in) with both ≥ 1")
    return sparse.csr_array(weight, dtype=np.float64) if sparse.issparse(weight) else weight


def _frozen(value):
    """A read-only copy of an array (a CSR array is copied, a LinearOperator is returned as it is)."""
    if sparse.issparse(value):
        return value.copy()
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.flags.writeable = False
    return value


def _check_adjoint(apply, adjoint, n_in, n_out):
    rng = np.random.default_rng(0)
    a, e = rng.standard_normal((2, n_in)), rng.standard_normal((2, n_out))
    forward, back = real_array("apply(a)", apply(a), (2, n_out)), real_array("adjoint(e)", adjoint(e), (2, n_in))
    left, right = (forward * e).sum(axis=1), (a * back).sum(axis=1)
    scale = np.linalg.norm(forward, axis=1) * np.linalg.norm(e, axis=1) + 1e-300
    if (np.abs(left - right) > 1e-10 * scale).any():
        raise ValueError(f"adjoint is not the adjoint of apply: ⟨apply(a), e⟩ = {left[0]:g} but ⟨a, adjoint(e)⟩ = {right[0]:g}")
