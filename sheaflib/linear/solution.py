"""What a solver returns: the cochain, why it stopped, and how far it is from the truth, computed
when first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sheaflib.linear.rest import at_kinks, left_pattern
from sheaflib.linear.substitution import forward_substitution, pinned_minimum
from sheaflib.sheaves.forces import force
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pins, Rows

NOISE = 1e-12  # below this a repr shows only the bound, never rounding noise


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver or a flow returns: a cochain, why it stopped, and how good it is.

    It is made by solvers and flows, not by hand. Every parameter below is an attribute of the same
    name. The measures, such as `residual` and `error`, are computed when they are first asked for.
    ``solution["z1"]`` is the value of the stalk z1, of shape (B, n).

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf that the cochain belongs to.
    x : ndarray, shape (B, n_0)
        The inputs, one row a sample.
    cochain : ndarray, shape (B, N) or (B, N + n_out)
        The state that was found, one row a sample.
    pattern : ndarray, shape (B, M)
        The pattern that the cochain belongs to; the frozen one, where the pattern was frozen.
    pins : Pins
        The pins, as indices into the cochain.
    method : str
        The name of the method.
    reason : str
        Why it stopped.
    converged : ndarray of bool, shape (B,)
        For which samples it had arrived.
    frozen : bool, default False
        Whether the pattern was frozen.
    output_force : {"jacobian", "identity"}, default "jacobian"
        With which force an output edge pulls at the logits z: the gradient ``J_φᵀ(φ(z) − a_out)``
        (``"jacobian"``), or ``φ(z) − a_out``, the form of cross-entropy (``"identity"``).
    history : object, optional
        What a flow recorded on its way.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, harmonic_extension
    >>> solution = harmonic_extension(NeuralSheaf(Network.mlp([[[2.0]], [[3.0]]])), [[1.0]])
    >>> solution["z1"], solution.output
    (array([[2.]]), array([[6.]]))
    >>> solution.energy
    array([0.])
    """

    sheaf: NeuralSheaf
    x: np.ndarray
    cochain: np.ndarray
    pattern: np.ndarray
    pins: Pins
    method: str
    reason: str
    converged: np.ndarray
    frozen: bool = False
    output_force: str = "jacobian"
    history: Any = field(default=None, repr=False)

    def __getitem__(self, stalk: str) -> np.ndarray:
        """Return the value of one stalk.

        Parameters
        ----------
        stalk : str
            The name of the stalk.

        Returns
        -------
        ndarray, shape (B, n)
            One row a sample.

        Raises
        ------
        ValueError
            If there is no such stalk.
        """
        return self.cochain[:, self.sheaf.augmented_layout[stalk]]

    @property
    def output(self) -> np.ndarray:
        """The output ``φ(z^(k+1))`` of the cochain, (B, n_out)."""
        return self.sheaf.network.output.value(self[self.sheaf.network.output_name])

    @cached_property
    def own_pattern(self) -> np.ndarray:
        """The activation pattern of the cochain itself, (B, M)."""
        return self.sheaf.pattern(self.cochain, self.x)

    @cached_property
    def pattern_changes(self) -> int:
        """In how many units, over the batch, the cochain's own pattern differs from the frozen one.

        It is 0 where the frozen pattern is self-consistent. It goes by the signs of the floats: a z
        whose sign is below its rounding error counts as it was computed.
        """
        return int((self.own_pattern != self.pattern).sum())

    @cached_property
    def energy(self) -> np.ndarray:
        """The energy ``V = ½ Σ_e w_e ‖(δw − c)_e‖²`` of every sample, (B,).

        It is that of the state-dependent sheaf, also where the pattern was frozen, and the penalty
        edges of soft pins are included.
        """
        return self.sheaf.energy(self.cochain, self.x) + self.pins.energy(self.cochain)

    @cached_property
    def residual(self) -> float:
        """What is left of the equations that should hold.

        Without pins it is the largest ``|δw − c|``. With pins or an augmented cochain it is the
        largest ``|∂V/∂w|`` over the coordinates that are not clamped. At a kink, where z_j is 0 or
        at a bound of a clamp, V has two slopes; a kink that both sides push back to counts as 0,
        since the state slides along it or rests at its corner.

        It is an absolute number in the units of the largest stalk: what rounding makes of it is
        some ε = 2⁻⁵² of `NeuralSheaf.edge_terms`, or of `NeuralSheaf.gradient_terms`. So it is
        small only where these are, however good the cochain is; `error` says how far that is from
        the exact one.
        """
        if self.pins or self._augmented:
            return float(np.where(self.corners, 0, np.abs(self._force(self._pattern))).max())
        return float(np.abs(self.sheaf.discrepancy(self.cochain, self.x, self.pattern)).max())

    @cached_property
    def corners(self) -> np.ndarray:
        """Where a free z_j rests at its kink, a minimum that is a corner of V; of bool.

        The shape is that of the cochain. There are no corners where the pattern is frozen.
        """
        kinks = at_kinks(self.sheaf, self.cochain)
        if self.frozen or not kinks.any():
            return np.zeros_like(kinks)
        from_left = self._force(left_pattern(self.sheaf, self.cochain, self.x))
        from_right = self._force(self.own_pattern)
        return kinks & (from_left >= 0) & (from_right <= 0) & (from_left != from_right)

    @cached_property
    def error(self) -> float:
        """The largest distance ``|w − w*|`` to the exact solution w* for this pattern.

        Corners are held. Without pins it takes one more substitution, ``δ_Ω⁻¹`` of the residual.
        With pins it is the distance to one more pinned solution, with the rounding of that; it is
        infinite where rounding decides that solution. ValueError is raised for a cochain with
        ``a_out``, whose edge is not linear.
        """
        if self._augmented:
            raise ValueError(
                "error is not defined for a cochain with a_out: its output edge is not linear"
            )
        sheaf, w, s = self.sheaf, self.cochain, self.pattern
        if not self.pins:
            return float(
                np.abs(forward_substitution(sheaf, sheaf.discrepancy(w, self.x, s), s)).max()
            )
        corners = self.corners
        if not corners.any():
            return self._distance(slice(None), self.pins)
        return max(
            self._distance([i], self.pins.rows([i]).holding(np.flatnonzero(corner), w[i, corner]))
            for i, corner in enumerate(corners)
        )

    def _distance(self, rows: Rows, pins: Pins) -> float:
        """max|w − w*| of some samples to the minimum with these pins, and its rounding."""
        try:
            exact = pinned_minimum(self.sheaf, self.x[rows], self.pattern[rows], pins).checked()
        except ArithmeticError:
            return np.inf
        return float((np.abs(self.cochain[rows] - exact.cochain) + exact.correction).max())

    @property
    def _pattern(self) -> np.ndarray | None:
        return self.pattern if self.frozen else None

    def _force(self, pattern: np.ndarray | None) -> np.ndarray:
        return force(
            self.sheaf,
            self.cochain,
            self.x,
            pins=self.pins,
            pattern=pattern,
            output_force=self.output_force,
        )

    @property
    def _augmented(self) -> bool:
        return self.cochain.shape[1] > self.sheaf.N

    def __repr__(self) -> str:
        parts = [self.method, self.reason] if self.reason else [self.method]
        parts += [f"residual {shown(self.residual)}"]
        if not self._augmented:
            parts += [f"error {shown(self.error)}"]
        if self.frozen:
            parts += [
                f"{self.pattern_changes} pattern"
                f" changes{': not self-consistent' if self.pattern_changes else ''}"
            ]
        return f"Solution({', '.join(parts)})"


def shown(number: float) -> str:
    """A residual or an error as text, never rounding noise."""
    return f"< {NOISE:.0e}" if number < NOISE else f"{number:.1e}"
