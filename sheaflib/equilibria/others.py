"""What other starts of the Newton iteration lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Others:
    """Distinct equilibria that other starts led to, the first answer included, by rising energy:
    arrays (count,) and (count, N) a sample.
    """

    starts: int
    energies: list
    cochains: list

    @property
    def count(self) -> np.ndarray:
        """How many were found for each sample: (B,)."""
        return np.array([len(V) for V in self.energies])

    @property
    def lowest(self) -> np.ndarray:
        """The cochain of lowest energy that was found for each sample: (B, N). ValueError names a
        sample for which nothing converged.
        """
        nothing = np.flatnonzero(self.count == 0)
        if len(nothing):
            raise ValueError(
                f"sample {nothing[0]} has no equilibrium: none of its {self.starts + 1} starts"
                " converged"
            )
        return np.array([w[0] for w in self.cochains])

    def __repr__(self) -> str:
        low, high = self.count.min(), self.count.max()
        return (
            f"Others({self.starts} starts: {low if low == high else f'{low} to {high}'} distinct"
            " equilibria a sample)"
        )
