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
    """A cochain (B, N) in `sheaf` over inputs x (B, n_0), with the pattern (B, M) it belongs to.

    `reason` says why the solver stopped, `converged` (B,) for which samples it had arrived. For a
    frozen pattern `pattern` is the frozen one; `frozen` says so. `history` holds what a flow
    recorded.
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
        """The value of one stalk: (B, n)."""
        return self.cochain[:, self.sheaf.augmented_layout[stalk]]

    @property
    def output(self) -> np.ndarray:
        """φ(z^{k+1}): (B, n_out)."""
        return self.sheaf.network.output.value(self[self.sheaf.network.output_name])

    @cached_property
    def own_pattern(self) -> np.ndarray:
        """The activation pattern of the cochain itself (B, M)."""
        return self.sheaf.pattern(self.cochain, self.x)

    @cached_property
    def pattern_changes(self) -> int:
        """In how many units, over the batch, the cochain's own pattern differs from the frozen one
        (0: self-consistent).

        By the signs of the floats: a z whose sign is below its rounding error counts as it was
        computed.
        """
        return int((self.own_pattern != self.pattern).sum())

    @cached_property
    def energy(self) -> np.ndarray:
        """V = ½ Σ_e w_e ‖(δw − c)_e‖² in the state-dependent sheaf, penalty edges of soft pins
        included: (B,).
        """
        return self.sheaf.energy(self.cochain, self.x) + self.pins.energy(self.cochain)

    @cached_property
    def residual(self) -> float:
        """Unpinned: max|δw − c|. With pins or a_out: max|∂V/∂w| over the coordinates that are not
        clamped.

        An absolute number in the units of the largest stalk: what rounding makes of it is some ε =
        2⁻⁵² of `NeuralSheaf.edge_terms`, or of `gradient_terms`, so it is small only where these
        are, however good the cochain; `error` says how far that is from the exact one.

        At a kink, z_j = 0 or at a bound of a clamp, V has two slopes; one that both sides push back
        to counts as 0 (it slides, or rests at its corner).
        """
        if self.pins or self._augmented:
            return float(np.where(self.corners, 0, np.abs(self._force(self._pattern))).max())
        return float(np.abs(self.sheaf.discrepancy(self.cochain, self.x, self.pattern)).max())

    @cached_property
    def corners(self) -> np.ndarray:
        """Where a free z_j at its kink lies at a minimum that is a corner of V, shape of the
        cochain: never where the pattern is frozen.
        """
        kinks = at_kinks(self.sheaf, self.cochain)
        if self.frozen or not kinks.any():
            return np.zeros_like(kinks)
        from_left = self._force(left_pattern(self.sheaf, self.cochain, self.x))
        from_right = self._force(self.own_pattern)
        return kinks & (from_left >= 0) & (from_right <= 0) & (from_left != from_right)

    @cached_property
    def error(self) -> float:
        """max|w − w*| to the exact solution w* for this pattern, corners held: δ_Ω⁻¹ of the
        residual, one more substitution.

        With pins: the distance to one more pinned solve, and the rounding of that; ∞ where rounding
        decides it. ValueError for a cochain with a_out (its edge is not linear).
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
