"""What other starts of the Newton iteration lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Others:
    """Distinct equilibria that other starts led to: what ``Equilibrium.others`` returns.

    The first answer is among them. Each sample has its own number of equilibria.

    Parameters
    ----------
    starts : int
        From how many starts they were searched for.
    energies : list of ndarray of shape (count,)
        The energies of each sample's equilibria, rising.
    cochains : list of ndarray of shape (count, N)
        Their cochains, in the same order.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, equilibrium, hard
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    >>> found = equilibrium(sheaf, [[0.0]], pins=hard("z2", 2.0)).others(starts=20)
    >>> found.count, found.energies[0].round(4), found.lowest
    (array([2]), array([1.    , 1.0417]), array([[-0.5,  1. ,  2. ]]))
    """

    starts: int
    energies: list
    cochains: list

    @property
    def count(self) -> np.ndarray:
        """How many equilibria were found for each sample, shape (B,) of int."""
        return np.array([len(V) for V in self.energies])

    @property
    def lowest(self) -> np.ndarray:
        """The cochain of lowest energy that was found for each sample, shape (B, N).

        Raises
        ------
        ValueError
            When nothing converged for a sample, which the message names.
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
