"""z = W a + b with a dense, sparse or matrix-free W: one affine edge of the sheaf (the paper's
construction).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Callable

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.operations import NO_PATTERN, Operation, Parameter, check_parameters
from sheaflib.support.checks import brief, read_only, real_array, room, sparse_matrix, whole

# of a matrix-free map: up to so many are asked for where their absolute values are needed
ENTRIES = 2**22
EXACT = 2**17  # up to so many entries of a sparse map its norm is computed, beyond it is bounded
STEPS = 10  # of either bound: passes forward, and as many backward


@dataclass(frozen=True, eq=False)
class Affine(Operation):
    """An affine map ``z = W a + b``, whose W is dense, sparse or matrix-free.

    It reads a batch of shape (B, n_in) and writes a batch of shape (B, n_out). In the sheaf of a
    network it is one affine edge.

    Parameters
    ----------
    weight : array_like, sparse matrix or LinearOperator, shape (n_out, n_in)
        The matrix W: an array, a matrix of `scipy.sparse`, or a
        `scipy.sparse.linalg.LinearOperator`, of which only the products are known ("matrix-free").
    bias : array_like, shape (n_out,), optional
        The vector b; zeros by default.

    Attributes
    ----------
    weight : ndarray, csr_array or LinearOperator, shape (n_out, n_in)
        W in float64; a sparse matrix is stored in the form CSR. It cannot be written to.
    bias : ndarray, shape (n_out,)
        b in float64. It cannot be written to.
    kind : str
        The kind of its edge, ``"affine"``.

    Raises
    ------
    ValueError
        If the weight does not have two dimensions, both at least 1, or the bias does not have one
        number for each row of the weight.
    TypeError
        If one of them does not hold real numbers.

    See Also
    --------
    Affine.from_maps : Makes a matrix-free map of two functions.

    Notes
    -----
    In the paper: section 3.1, the affine edges.

    Examples
    --------
    >>> from sheaflib import Affine
    >>> Affine([[1, 2], [0, 1]], [0, 3]).value(np.array([[1.0, 1.0]]))
    array([[3., 4.]])
    """

    weight: np.ndarray | sp.sparse.csr_array | sp.sparse.linalg.LinearOperator
    bias: np.ndarray
    kind = "affine"

    def __init__(
        self,
        weight: ArrayLike | sp.sparse.sparray | sp.sparse.linalg.LinearOperator,
        bias: ArrayLike | None = None,
    ):
        weight = _weight(weight)
        bias = np.zeros(weight.shape[0]) if bias is None else real_array("bias", bias)
        if bias.shape != weight.shape[:1]:
            raise ValueError(
                f"bias has shape {bias.shape}, expected ({weight.shape[0]},): "
                f"one number a row of the weight {weight.shape}"
            )
        object.__setattr__(self, "weight", read_only(weight))
        object.__setattr__(self, "bias", read_only(bias))

    @classmethod
    def from_maps(
        cls,
        apply: Callable[[np.ndarray], np.ndarray],
        adjoint: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, int],
        bias: ArrayLike | None = None,
    ) -> Affine:
        """Make a matrix-free affine map of two functions on batches.

        Parameters
        ----------
        apply : callable
            The function (B, n_in) -> (B, n_out) that multiplies every row by W.
        adjoint : callable
            Its adjoint, the function (B, n_out) -> (B, n_in) that multiplies every row by Wᵀ.
        shape : tuple of int
            The shape (n_out, n_in) of W.
        bias : array_like, shape (n_out,), optional
            The vector b; zeros by default.

        Returns
        -------
        Affine
            The map; its weight is a `scipy.sparse.linalg.LinearOperator`.

        Raises
        ------
        ValueError
            If ``⟨apply(a), e⟩`` differs from ``⟨a, adjoint(e)⟩`` on a random pair, or a result has
            the wrong shape.
        TypeError
            If one of the two is no function.

        Examples
        --------
        >>> from sheaflib import Affine
        >>> twice = Affine.from_maps(lambda a: 2 * a, lambda e: 2 * e, (3, 3))
        >>> twice.value(np.array([[1.0, 2.0, 3.0]]))
        array([[2., 4., 6.]])
        """
        if not isinstance(shape, (tuple, list)) or len(shape) != 2:
            raise ValueError(f"shape={brief(shape)}, expected (n_out, n_in)")
        n_out, n_in = (whole("shape", n) for n in shape)
        room("shape", shape, 2 * max(n_out, n_in))  # of the pair that is tried
        for name, function in (("apply", apply), ("adjoint", adjoint)):
            if not callable(function):
                raise TypeError(f"{name}={brief(function)}, expected a function on batches")
        _check_adjoint(apply, adjoint, n_in, n_out)
        return cls(
            sp.sparse.linalg.LinearOperator(
                (n_out, n_in),
                dtype=np.float64,
                matvec=lambda a: apply(a.reshape(1, -1))[0],
                rmatvec=lambda e: adjoint(e.reshape(1, -1))[0],
                matmat=lambda a: apply(a.T).T,
                rmatmat=lambda e: adjoint(e.T).T,
            ),
            bias,
        )

    @property
    def n_in(self) -> int:
        """The width of what is read."""
        return self.weight.shape[1]

    @property
    def n_out(self) -> int:
        """The width of what is written."""
        return self.weight.shape[0]

    def linear(self, a: np.ndarray, s: np.ndarray = NO_PATTERN) -> np.ndarray:
        """Return ``W a``.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        s : ndarray, optional
            Not used: the operation has no pattern.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        return a @ self.weight.T if isinstance(self.weight, np.ndarray) else (self.weight @ a.T).T

    def adjoint(self, e: np.ndarray, s: np.ndarray = NO_PATTERN) -> np.ndarray:
        """Return ``Wᵀ e``.

        Parameters
        ----------
        e : ndarray, shape (B, n_out)
            One vector for each sample, as wide as what is written.
        s : ndarray, optional
            Not used: the operation has no pattern.

        Returns
        -------
        ndarray, shape (B, n_in)
            One row a sample.
        """
        if isinstance(self.weight, sp.sparse.linalg.LinearOperator):
            return self.weight.rmatmat(e.T).T
        return e @ self.weight if isinstance(self.weight, np.ndarray) else (self.weight.T @ e.T).T

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        """Return ``W a + b``.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        s : ndarray, optional
            Not used: the operation has no pattern.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        z = self.linear(a)
        foreign = isinstance(self.weight, sp.sparse.linalg.LinearOperator)
        return np.add(z, self.bias, out=None if foreign else z)

    def absolute(self, a: np.ndarray, s: np.ndarray = NO_PATTERN) -> np.ndarray:
        """Return ``|W| a + |b|``, with the absolute values of all entries.

        Of a matrix-free W with more than 4 194 304 entries the spectral norm of W times the length
        of a row stands in every coordinate, an upper bound, in place of ``|W| a``.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            Numbers that are not negative, one row a sample.
        s : ndarray, optional
            Not used: the operation has no pattern.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        return self._absolute_product(a, transposed=False) + np.abs(self.bias)

    def absolute_adjoint(self, e: np.ndarray, s: np.ndarray = NO_PATTERN) -> np.ndarray:
        """Return ``|W|ᵀ e``, with the absolute values of all entries.

        Of a matrix-free W with more than 4 194 304 entries the spectral norm of W times the length
        of a row stands in every coordinate, an upper bound.

        Parameters
        ----------
        e : ndarray, shape (B, n_out)
            Numbers that are not negative, one row a sample.
        s : ndarray, optional
            Not used: the operation has no pattern.

        Returns
        -------
        ndarray, shape (B, n_in)
            One row a sample.
        """
        return self._absolute_product(e, transposed=True)

    def _absolute_product(self, v: np.ndarray, transposed: bool) -> np.ndarray:
        """|W| v, or |W|ᵀ v; of a matrix-free W beyond ENTRIES the bound ‖W‖₂ ‖v‖₂ in every
        coordinate."""
        if self._sizes is None:
            bound = self.norm * np.linalg.norm(v, axis=1, keepdims=True)
            return np.repeat(bound, self.n_in if transposed else self.n_out, axis=1)
        if isinstance(self._sizes, np.ndarray):
            return v @ (self._sizes if transposed else self._sizes.T)
        return ((self._sizes.T if transposed else self._sizes) @ v.T).T

    @cached_property
    def _sizes(self) -> np.ndarray | sp.sparse.csr_array | None:
        """|W|, entry by entry; None for a matrix-free W that is too large to ask for its
        entries."""
        if not isinstance(self.weight, sp.sparse.linalg.LinearOperator):
            return np.abs(self.weight)
        return abs(self._entries()).toarray() if self.n_in * self.n_out <= ENTRIES else None

    def _entries(self) -> sp.sparse.csr_array:
        """A matrix-free W entry by entry, found by unit vectors of its narrow side, some at a time:
        the dense arrays that stand meanwhile have ENTRIES entries, or one vector."""
        side = self.weight if self.n_in <= self.n_out else self.weight.T
        n, parts = side.shape[1], []
        step = max(1, ENTRIES // max(side.shape))
        for start in range(0, n, step):
            unit = np.zeros((n, min(step, n - start)))
            unit[np.arange(start, start + unit.shape[1]), np.arange(unit.shape[1])] = 1
            parts.append(sp.sparse.csc_array(side @ unit))
        whole = sp.sparse.hstack(parts, format="csc")
        return (whole if side is self.weight else whole.T).tocsr()

    def triplets(self, s: np.ndarray = NO_PATTERN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries of W; of a sparse one those that it stores.

        The entries of a matrix-free W are found by multiplying it with unit vectors.

        Parameters
        ----------
        s : ndarray, optional
            Not used: the operation has no pattern.

        Returns
        -------
        rows : ndarray
            The row of each entry.
        columns : ndarray
            The column of each entry.
        entries : ndarray
            The entries themselves.
        """
        if isinstance(self.weight, np.ndarray):
            rows = np.repeat(np.arange(self.n_out, dtype=np.int32), self.n_in)
            return (
                rows,
                np.tile(np.arange(self.n_in, dtype=np.int32), self.n_out),
                self.weight.ravel(),
            )
        weight = self.weight
        if isinstance(weight, sp.sparse.linalg.LinearOperator):
            weight = self._entries()
        weight = weight.tocoo()
        return weight.coords[0], weight.coords[1], weight.data

    @cached_property
    def norm(self) -> float:
        """An upper bound of the spectral norm ``‖W‖₂``.

        Of a dense W it is the norm itself. Of a sparse one with up to 131 072 stored entries, and
        of a matrix-free one with up to 4 194 304 entries, it is the value that Lanczos' method
        finds, raised by 1e-6 of itself; where one side of W is at most 32 it is the norm itself
        too. A larger sparse W has a bound by the matrix of its absolute values
        (`sheaflib.networks.affine.absolute_bound`), and a larger matrix-free one a bound that fails
        with a probability below 1e-3 (`sheaflib.networks.affine.random_bound`). Either takes about
        ten passes forward and ten backward.
        """
        W = self.weight
        if isinstance(W, np.ndarray):
            return float(np.linalg.norm(W, 2))
        if min(W.shape) <= 32:  # the columns of the flat or narrow side, one by one
            side = W if W.shape[1] <= W.shape[0] else W.T
            return float(np.linalg.norm(side @ np.eye(side.shape[1]), 2))
        if sp.sparse.issparse(W) and W.nnz > EXACT:
            return absolute_bound(W)
        if not sp.sparse.issparse(W) and W.shape[0] * W.shape[1] > ENTRIES:
            return random_bound(W)
        start = np.random.default_rng(0).standard_normal(min(W.shape))
        if not (W @ (W.T @ start) if W.shape[0] <= W.shape[1] else W.T @ (W @ start)).any():
            return 0.0
        largest = sp.sparse.linalg.svds(W, k=1, v0=start, return_singular_vectors=False)[0]
        return float(largest * (1 + 1e-6))

    def constant(self, s: np.ndarray) -> np.ndarray:
        """Return b.

        Parameters
        ----------
        s : ndarray
            Not used: the operation has no pattern.

        Returns
        -------
        ndarray, shape (1, n_out)
            One row, which holds for all samples.
        """
        return self.bias[None]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The weight, as it is stored, and the bias, under ``"weight"`` and ``"bias"``.

        Raises TypeError where the weight is matrix-free, as it has no entries that could be
        changed.
        """
        if isinstance(self.weight, sp.sparse.linalg.LinearOperator):
            raise TypeError("weight is matrix-free: it has no entries that could be changed")
        return {"weight": self.weight, "bias": self.bias}

    def with_parameters(self, **parameters: Parameter) -> Affine:
        """Make the affine map with another weight or another bias.

        Parameters
        ----------
        **parameters : array_like or sparse matrix
            Values for ``weight`` and ``bias``, of the shapes that they have; what is not given
            stays as it is.

        Returns
        -------
        Affine
            The new map.

        Raises
        ------
        ValueError
            If a name is another one, or an array has another shape.
        TypeError
            If the weight is matrix-free, or is sparse while the one that is given is not.
        """
        return Affine(**check_parameters(self, parameters))

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        """Return the gradient of ``Σ_i ⟨e_i, W a_i + b⟩`` by the weight and the bias.

        The sum is over the samples i of the batch. Of a sparse W only the stored entries get a
        gradient.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        e : ndarray, shape (B, n_out)
            One vector for each sample, as wide as what is written.
        s : ndarray, optional
            Not used: the operation has no pattern.

        Returns
        -------
        dict
            The gradients under ``"weight"``, stored as W is, and ``"bias"``.

        Raises
        ------
        TypeError
            If the weight is matrix-free.
        """
        if isinstance(self.weight, sp.sparse.linalg.LinearOperator):
            raise TypeError("weight is matrix-free: it has no entries to differentiate")
        bias = e.sum(axis=0)
        if isinstance(self.weight, np.ndarray):
            return {"weight": e.T @ a, "bias": bias}
        rows, columns, _ = self.triplets()
        data = np.einsum("bk,bk->k", e[:, rows], a[:, columns])
        weight = sp.sparse.csr_array((data, (rows, columns)), shape=self.weight.shape)
        return {"weight": weight, "bias": bias}

    def __repr__(self) -> str:
        other = ", sparse" if sp.sparse.issparse(self.weight) else ", matrix-free"
        form = "" if isinstance(self.weight, np.ndarray) else other
        return f"Affine({self.n_in} -> {self.n_out}{form})"


def _weight(
    weight: ArrayLike | sp.sparse.sparray | sp.sparse.linalg.LinearOperator,
) -> np.ndarray | sp.sparse.csr_array | sp.sparse.linalg.LinearOperator:
    """The three forms a weight may take, checked: dense float64, CSR float64, LinearOperator."""
    if isinstance(weight, sp.sparse.linalg.LinearOperator):
        real_array("weight", np.zeros(0, weight.dtype))
    elif not isinstance(weight, (sp.sparse.sparray, sp.sparse.spmatrix)):
        weight = real_array("weight", weight)
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(f"weight has shape {weight.shape}, expected (n_out, n_in) with both ≥ 1")
    return sparse_matrix("weight", weight) if sp.sparse.issparse(weight) else weight


def absolute_bound(W: sp.sparse.csr_array) -> float:
    """An upper bound of ‖W‖₂ by the norm of |W|, which is sharp where W has one sign.

    For any x > 0 the largest eigenvalue of |W|ᵀ|W| is at most the largest ratio of (|W|ᵀ|W| x)_i to
    x_i (Collatz and Wielandt); the vectors x of the power method let it fall. The first of them,
    x = 1, gives √(‖W‖₁ ‖W‖_∞) or less.
    """
    scale = float(np.abs(W.data).max(initial=0.0))
    if scale == 0:
        return 0.0
    size, x, least = np.abs(W) / scale, np.ones(W.shape[1]), np.inf
    for _ in range(STEPS):
        product = size.T @ (size @ x)
        least = min(least, float((product / x).max()))
        x = product / product.max() + 1e-9
    return scale * float(np.sqrt(least)) * (1 + 1e-9)  # more than the rounding of the sums


def random_bound(W: sp.sparse.linalg.LinearOperator) -> float:
    """An upper bound of ‖W‖₂ for a W that can only be applied; it fails with a probability below
    1e-3 over the start, which is random.

    After k steps from a random start Lanczos' largest value θ of WᵀW, λ its largest eigenvalue and
    n its size, λ > θ/(1 − ε) has at most the probability 1.648 √n exp(−√ε (2k − 1)) (Kuczyński and
    Woźniakowski, 1992).
    """
    n = W.shape[1]
    v = np.random.default_rng(0).standard_normal(n)
    basis, alphas, betas = [v / np.linalg.norm(v)], [], []
    distrust = np.log(1.648 * np.sqrt(n) / 1e-3)  # √ε (2k − 1)
    for _ in range(max(STEPS, int(distrust / 1.5) + 1)):  # so many that ε is below ⅔
        u = W.rmatvec(W.matvec(basis[-1]))
        alphas.append(float(basis[-1] @ u))
        for _ in range(2):  # orthogonal to all before, to rounding
            for q in basis:
                u = u - (q @ u) * q
        betas.append(float(np.linalg.norm(u)))
        if betas[-1] <= 1e-12 * max(alphas):
            break
        basis.append(u / betas[-1])
    steps = len(alphas)
    theta = sp.linalg.eigvalsh_tridiagonal(alphas, betas[: steps - 1])[-1]
    if betas[-1] <= 1e-12 * max(alphas):  # the start's Krylov space has been exhausted
        return float(np.sqrt(max(theta, 0.0)) * (1 + 1e-6))
    root = distrust / (2 * steps - 1)
    return float(np.sqrt(theta / (1 - root**2)))


def _check_adjoint(
    apply: Callable[[np.ndarray], np.ndarray],
    adjoint: Callable[[np.ndarray], np.ndarray],
    n_in: int,
    n_out: int,
) -> None:
    rng = np.random.default_rng(0)
    a, e = rng.standard_normal((2, n_in)), rng.standard_normal((2, n_out))
    forward = real_array("apply(a)", apply(a), (2, n_out))
    back = real_array("adjoint(e)", adjoint(e), (2, n_in))
    left, right = (forward * e).sum(axis=1), (a * back).sum(axis=1)
    scale = np.linalg.norm(forward, axis=1) * np.linalg.norm(e, axis=1) + 1e-300
    if (np.abs(left - right) > 1e-10 * scale).any():
        raise ValueError(
            f"adjoint is not the adjoint of apply: ⟨apply(a), e⟩ = {left[0]:g} but ⟨a, adjoint(e)⟩"
            f" = {right[0]:g}"
        )
