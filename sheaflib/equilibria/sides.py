"""How a stalk's kinks are asked for their minimum, and what they answer; what `kinks` and `windows`
have in common.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Rule(NamedTuple):
    """How sides may change before kinks are put at their minimum: in mode "track" only at a corner
    that is none, in modes "global" and "homotopy" to the lowest side; in the samples that are
    `settled`, (B, 1) of bool or one for all.
    """

    mode: str
    settled: np.ndarray | bool

    @property
    def lowest(self) -> bool:
        """Whether a kink takes the lowest of its sides."""
        return self.mode != "track"


class Settled(NamedTuple):
    """The coordinates of a stalk at their minimum: their values z, sides and which of them are held
    there, (B, n) each; and for windows the place of the entry that a held one follows, −1 for none.
    """

    z: np.ndarray
    side: np.ndarray
    held: np.ndarray
    leader: np.ndarray | None
