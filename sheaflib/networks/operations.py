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
    """The map of one vertex of a network, ``F(a) = F_s a + b_s``.

    It says how wide what it reads is (`n_in`), how wide what it writes is (`n_out`), which kind of
    edges it gives the sheaf (`kind`), and how long its pattern is (`n_pattern`).

    Notes
    -----
    In the paper: section 3.1, where each step of the computation is an edge.
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
        """The length of the pattern of one sample: 0 for an operation that has none."""
        return 0

    def pattern(self, a: np.ndarray) -> np.ndarray:
        """Return the pattern at an input.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_pattern)
            The pattern s of every sample; it has no columns where the operation has no pattern.
        """
        return np.broadcast_to(NO_PATTERN, (len(a), 0))

    def linear(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return ``F_s a``, the linear part of the operation.

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
        raise NotImplementedError

    def adjoint(self, e: np.ndarray, /, s: np.ndarray) -> np.ndarray:
        """Return ``F_sᵀ e``, the transposed linear part.

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
        raise NotImplementedError

    def absolute(self, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return ``|F_s| a + |b|``, with the absolute values of all entries.

        At ``|a|`` it is the size of the terms that ``F_s a + b`` is a sum of, hence of its rounding
        error.

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
        raise NotImplementedError

    def absolute_adjoint(self, e: np.ndarray, /, s: np.ndarray) -> np.ndarray:
        """Return ``|F_s|ᵀ e``, with the absolute values of all entries.

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
        raise NotImplementedError

    def triplets(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries of the matrix ``F_s`` (n_out, n_in) for one pattern.

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
        raise NotImplementedError

    @property
    def norm(self) -> float:
        """An upper bound of the spectral norm ``‖F_s‖`` that holds for every pattern s."""
        raise NotImplementedError

    def value(self, a: np.ndarray, s: np.ndarray | None = None) -> np.ndarray:
        """Return ``F(a)``, the value of the operation.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        s : ndarray, shape (B, n_pattern), optional
            The pattern that is used; by default the pattern at `a`.

        Returns
        -------
        ndarray, shape (B, n_out)
            One row a sample.
        """
        return self.linear(a, self.pattern(a) if s is None else s)

    def constant(self, s: np.ndarray) -> np.ndarray:
        """Return ``b_s``, what the operation adds to ``F_s a``.

        Parameters
        ----------
        s : ndarray, shape (B, n_pattern)
            The pattern, one row a sample.

        Returns
        -------
        ndarray, shape (B, n_out) or (1, n_out)
            One row a sample, or one row that holds for all samples; zeros where nothing is added.
        """
        return np.zeros((1, self.n_out))

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
            If it is none.
        """

    @property
    def reads(self) -> tuple[int, ...] | None:
        """The shape of the image or signal that is read, or None.

        It is (channels, height, width) for an image and (channels, length) for a signal. It is None
        where the operation knows of none.
        """
        return None

    def out_shape(self, reads: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
        """Return the shape of the image or signal that is written, or None.

        Parameters
        ----------
        reads : sequence of tuple of int or None
            The shapes of what is read, one for each input; None for a vector.

        Returns
        -------
        tuple of int or None
            The shape, or None where a vector is written.
        """
        return None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What training may change, by name.

        Each parameter is an array, or a sparse matrix where it is stored as one. The mapping is
        empty for an operation that has none.
        """
        return {}

    def with_parameters(self, **parameters: Parameter) -> Operation:
        """Make the same operation with other numbers for some of its parameters.

        Parameters
        ----------
        **parameters : array_like or sparse matrix
            New values by name, each of the shape that it has in `parameters`.

        Returns
        -------
        Operation
            A new operation, or this one where it has no parameters.

        Raises
        ------
        ValueError
            If a name is none of `parameters`, or an array has another shape.
        """
        check_parameters(self, parameters)
        return self

    def gradient(
        self, a: np.ndarray, e: np.ndarray, s: np.ndarray = NO_PATTERN
    ) -> dict[str, Parameter]:
        """Return the gradient of ``Σ_i ⟨e_i, F_s a_i + b_s⟩`` by each parameter.

        The sum is over the samples i of the batch.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            What is read, one row a sample.
        e : ndarray, shape (B, n_out)
            One vector for each sample, as wide as what is written.
        s : ndarray, shape (B, n_pattern), optional
            The pattern; an operation without a pattern does not use it.

        Returns
        -------
        dict
            Name of the parameter -> an array of the parameter's shape; empty without parameters.
        """
        return {}


@dataclass(frozen=True)
class Stack(Operation):
    """Several vectors side by side, ``p = (u, v, …)``, where branches of a network merge.

    It is the vertex at which a skip connection or a concatenation ends. The sheaf has one
    projection edge for each part.

    Parameters
    ----------
    *dims : int
        The width of each part, in order; at least two.

    Attributes
    ----------
    dims : tuple of int
        The widths of the parts.
    kind : str
        The kind of its edges, ``"projection"``.
    norm : float
        The spectral norm of the map, which is 1.

    Raises
    ------
    ValueError
        If there are fewer than two parts, or a width is no positive whole number.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Affine, Network, Stack
    >>> Stack(2, 1).n_out
    3
    >>> skip = ("p", Stack(1, 1), ("z1", "x"))
    >>> network = Network(1, [("z1", Affine([[2.0]])), skip, ("z2", Affine([[1.0, 1.0]]))])
    >>> network([[5.0]])
    array([[15.]])
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
        """The width of the stack, the sum of the widths of its parts; `n_out` is the same."""
        return sum(self.dims)

    n_out = n_in

    def linear(self, a: np.ndarray, s: np.ndarray = NO_PATTERN) -> np.ndarray:
        """Return what is given, as the map is the identity.

        The adjoint and the maps of absolute values (`adjoint`, `absolute` and `absolute_adjoint`)
        are this same method.

        Parameters
        ----------
        a : ndarray, shape (B, n_in)
            The parts side by side, one row a sample.
        s : ndarray, optional
            Not used: the operation has no pattern.

        Returns
        -------
        ndarray, shape (B, n_in)
            `a` itself.
        """
        return a

    adjoint = absolute = absolute_adjoint = linear

    def out_shape(self, reads: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
        """Return the shape of the stacked image, or None.

        Images of the same height and width are stacked channel on channel, and signals of the same
        length likewise.

        Parameters
        ----------
        reads : sequence of tuple of int or None
            The shapes of what is read, one for each input; None for a vector.

        Returns
        -------
        tuple of int or None
            The shape, or None where a vector is written.
        """
        images = [shape for shape in reads if shape is not None]
        if len(images) < len(reads) or len({shape[1:] for shape in images}) != 1:
            return None
        return (sum(shape[0] for shape in images), *images[0][1:])

    def triplets(self, s: np.ndarray = NO_PATTERN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries of the identity matrix.

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
