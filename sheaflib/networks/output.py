"""The output map φ, the only one of a network that is not piecewise affine (the paper's
construction).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np
import scipy as sp

from sheaflib.support.checks import brief


@dataclass(frozen=True)
class Output:
    """The output map φ of a network: identity, sigmoid or softmax.

    It is the only part of a network that need not be piecewise affine. It has a potential ψ, whose
    gradient is φ, and so a symmetric Jacobian.

    Parameters
    ----------
    name : {"identity", "sigmoid", "softmax"}, default "identity"
        Which map it is. It is kept as the attribute `name`.

    Raises
    ------
    ValueError
        If the name is none of the three.

    Notes
    -----
    In the paper: section 3.1, the output edge, and Thm 4.2, as reported, for its Jacobian.

    Examples
    --------
    >>> from sheaflib import Output
    >>> Output("sigmoid").value(np.zeros((1, 1)))
    array([[0.5]])
    >>> Output("softmax").value(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    name: str = "identity"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in _OUTPUTS:
            raise ValueError(
                f"output={brief(self.name)} is unknown, expected one of {', '.join(_OUTPUTS)}"
            )

    @property
    def is_identity(self) -> bool:
        """Whether the map is the identity."""
        return self.name == "identity"

    @property
    def norm(self) -> float:
        """The largest norm that the Jacobian has anywhere.

        It is 1 for the identity, 1/4 for the sigmoid and 1/2 for the softmax.
        """
        return _OUTPUTS[self.name][2]

    def value(self, z: np.ndarray) -> np.ndarray:
        """Return φ(z).

        Parameters
        ----------
        z : ndarray, shape (B, n)
            The values before the map, one row a sample.

        Returns
        -------
        ndarray, shape (B, n)
            The output, one row a sample.
        """
        return _OUTPUTS[self.name][0](z)

    def potential(self, z: np.ndarray) -> np.ndarray:
        """Return ψ(z), the potential, whose gradient is φ.

        For labels y the number ``ψ(z) − yᵀz`` is, up to a constant that depends on y alone, the
        squared loss of the identity, ``½‖z − y‖²``, and the cross-entropy of the other two.

        Parameters
        ----------
        z : ndarray, shape (B, n)
            The values before the map, one row a sample.

        Returns
        -------
        ndarray, shape (B,)
            One number a sample.
        """
        return _OUTPUTS[self.name][1](z)

    def jacobian_product(self, z: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return the Jacobian of φ at z times a vector.

        The Jacobian is symmetric, so this is also the product with its transpose.

        Parameters
        ----------
        z : ndarray, shape (B, n)
            The values before the map, one row a sample.
        v : ndarray, shape (B, n)
            The vectors, one row a sample.

        Returns
        -------
        ndarray, shape (B, n)
            The products, one row a sample.
        """
        if self.is_identity:
            return v
        p = self.value(z)
        if self.name == "sigmoid":
            return p * sp.special.expit(-z) * v
        # J_φ 1 = 0: where p is nearly 1 nothing cancels
        v = v - np.take_along_axis(v, p.argmax(axis=1, keepdims=True), axis=1)
        return p * (v - (p * v).sum(axis=1, keepdims=True))

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """Return the Jacobian of φ at one point as a dense matrix.

        Parameters
        ----------
        z : ndarray, shape (n,)
            The point.

        Returns
        -------
        ndarray, shape (n, n)
            The matrix, which is symmetric.
        """
        n = len(z)
        return self.jacobian_product(np.tile(z, (n, 1)), np.eye(n))


_OUTPUTS: dict[str, tuple[Callable, Callable, float]] = {
    "identity": (lambda z: z, lambda z: 0.5 * (z**2).sum(axis=1), 1.0),
    "sigmoid": (lambda z: sp.special.expit(z), lambda z: np.logaddexp(0, z).sum(axis=1), 0.25),
    "softmax": (
        lambda z: sp.special.softmax(z, axis=1),
        lambda z: sp.special.logsumexp(z, axis=1),
        0.5,
    ),
}
