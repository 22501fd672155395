"""What a solver returns: the cochain, why it stopped, and how far it is from the truth, computed when first asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sheaflib.forces import force
from sheaflib.pins import ResolvedPins
from sheaflib.sheaf import NeuralSheaf
from sheaflib.substitution import forward_substitution, pinned_solve

NOISE = 1e-12          # below this a repr shows only the bound, never rounding noise


@dataclass(frozen=True, eq=False)
class Solution:
    """A cochain (B, N) in `sheaf` over inputs x (B, n_0), with the pattern (B, M) it belongs to.

    For a frozen pattern `pattern` is the frozen one; `frozen` says so. `history` holds what a flow recorded.
    """

    sheaf: NeuralSheaf
    x: np.ndarray
    cochain: np.ndarray
    pattern: np.ndarray
    pins: ResolvedPins
    method: str
    reason: str
    frozen: bool = False
    output_force: str = "jacobian"
    history: object = field(default=None, repr=False)

    def __getitem__(self, stalk: str) -> np.ndarray:
        """The value of one stalk: (B, n)."""
        return self.cochain[:, self.sheaf.augmented_layout[stalk]]

    @property
    def output(self) -> np.ndarray:
        """φ(z^{k+1}): (B, n_out)."""
        return self.sheaf.network.output.value(self[self.sheaf.network.nodes[-1].name])

    @cached_property
    def own_pattern(self) -> np.ndarray:
        """The activation pattern of the cochain itself (B, M)."""
        return self.sheaf.pattern(self.cochain, self.x)

    @cached_property
    def pattern_changes(self) -> int:
        """In how many units, over the batch, the cochain's own pattern differs from the frozen one (0: self-consistent)."""
        return int((self.own_pattern != self.pattern).sum())

    @cached_property
    def energy(self) -> np.ndarray:
        """V = ½ Σ_e w_e ‖(δw − c)_e‖² in the state-dependent sheaf, penalty edges of soft pins included: (B,)."""
        return self.sheaf.energy(self.cochain, self.x) + self.pins.energy(self.cochain)

    @cached_property
    def residual(self) -> float:
        """Unpinned: max|δw − c|. With pins or a_out: max|∂V/∂w| over the coordinates that are not clamped."""
        if self.pins or self._augmented:
            pattern = self.pattern if self.frozen else None
            return float(np.abs(force(self.sheaf, self.cochain, self.x, self.pins, pattern, self.output_force)).max())
        return float(np.abs(self.sheaf.discrepancy(self.cochain, self.x, self.pattern)).max())

    @cached_property
    def error(self) -> float:
        """max|w − w*| to the exact solution w* for this pattern: δ_Ω⁻¹ of the residual, one more substitution.

        With pins: one more pinned solve, loaded with the residual. ValueError for a cochain with a_out (its edge is not linear).
        """
        if self._augmented:
            raise ValueError("error is not defined for a cochain with a_out: its output edge is not linear")
        sheaf, w, s = self.sheaf, self.cochain, self.pattern
        if not self.pins:
            return float(np.abs(forward_substitution(sheaf, sheaf.discrepancy(w, self.x, s), s)).max())
        load = force(sheaf, w, self.x, self.pins, s)
        gap = np.zeros((len(w), len(self.pins.hard_index) + len(self.pins.soft_index)))
        return float(np.abs(pinned_solve(sheaf, s, self.pins, gap, load)).max())

    @property
    def _augmented(self) -> bool:
        return self.cochain.shape[1] > self.sheaf.N

    def __repr__(self):
        parts = [self.method, self.reason] if self.reason else [self.method]
        parts += [f"residual {_size(self.residual)}"]
        if not self._augmented:
            parts += [f"error {_size(self.error)}"]
        if self.frozen:
            parts += [f"{self.pattern_changes} pattern changes{': not self-consistent' if self.pattern_changes else ''}"]
        return f"Solution({', '.join(parts)})"


def _size(number: float) -> str:
    return f"< {NOISE:.0e}" if number < NOISE else f"{number:.1e}"
