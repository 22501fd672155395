"""Central difference quotients of a squared error, weight by weight, to judge gradients by.

While no pattern changes, z^{k+1} is affine in each single weight. Then the loss is a parabola in
it, and a central quotient has no truncation error: rounding, about ε V/h, is the only one.
"""

from __future__ import annotations

import numpy as np
import scipy as sp

from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf


def shifted(network: Network, name: str, place: int, h: float) -> Network:
    """The network with one stored number of a node's parameters moved by h: they count in the order
    of `flat`.
    """
    own = {part: value.copy() for part, value in network.parameters[name].items()}
    for value in own.values():
        stored = value.data if sp.sparse.issparse(value) else value.reshape(-1)
        if place < stored.size:
            stored[place] += h
            break
        place -= stored.size
    return network.with_parameters({name: own})


def flat(own: dict) -> np.ndarray:
    """The parameters of one node, or what is like them, as one vector; of a sparse matrix the
    stored entries.
    """
    return np.concatenate(
        [part.data if sp.sparse.issparse(part) else part.ravel() for part in own.values()]
    )


def loss_and_pattern(network: Network, x, y) -> tuple[float, np.ndarray]:
    """½ Σ |φ(z) − y|² and the activation patterns of the forward pass (B, M)."""
    return 0.5 * ((network(x) - y) ** 2).sum(), NeuralSheaf(network).forward_pattern(x)


def quotient(network: Network, x, y, name: str, place: int, h: float) -> float | None:
    """The central difference quotient for one stored number; None where a pattern changes."""
    up, s = loss_and_pattern(shifted(network, name, place, h), x, y)
    down, t = loss_and_pattern(shifted(network, name, place, -h), x, y)
    return (up - down) / (2 * h) if (s == t).all() else None


def compare(gradients: dict, network: Network, x, y, most: int, h: float, rng) -> np.ndarray:
    """Gradients (node -> parameter -> array) beside quotients, for at most `most` entries of each
    node drawn at random: (2, entries), those aside where a pattern changes.
    """
    pairs = []
    for name, own in gradients.items():
        entries = flat(own)
        for place in rng.permutation(entries.size)[:most]:
            pairs.append((entries[place], quotient(network, x, y, name, place, h)))
    return np.array([pair for pair in pairs if pair[1] is not None]).T
