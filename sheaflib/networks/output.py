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
    """The output map φ: identity, sigmoid or softmax, with its potential ψ (∇ψ = φ) and its
    symmetric Jacobian J_φ.

    >>> Output("sigmoid").value(np.zeros((1, 1)))
    array([[0.5]])
    """

    name: str = "identity"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in _OUTPUTS:
            raise ValueError(
                f"output={brief(self.name)} is unknown, expected one of {', '.join(_OUTPUTS)}"
            )

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
        """ψ(z) with ∇ψ = φ: (B, n) -> (B,); ψ(z) − yᵀz is the square loss or cross-entropy up to a
        constant in y.
        """
        return _OUTPUTS[self.name][1](z)

    def jacobian_product(self, z: np.ndarray, v: np.ndarray) -> np.ndarray:
        """J_φ(z) v = J_φ(z)ᵀ v: (B, n), (B, n) -> (B, n)."""
        if self.is_identity:
            return v
        p = self.value(z)
        if self.name == "sigmoid":
            return p * sp.special.expit(-z) * v
        # J_φ 1 = 0: where p is nearly 1 nothing cancels
        v = v - np.take_along_axis(v, p.argmax(axis=1, keepdims=True), axis=1)
        return p * (v - (p * v).sum(axis=1, keepdims=True))

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """J_φ at one point z (n,) as a dense (n, n) matrix."""
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
