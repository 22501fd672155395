"""Central difference quotients of a squared error, weight by weight, to judge gradients by.

While no pattern changes, z^{k+1} is affine in each single weight. Then the loss is a parabola in
it, and a central quotient has no truncation error: rounding, about ε V/h, is the only one.
"""

from __future__ import annotations

import numpy as np
import scipy as sp

from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf


def shifted(network: Network, name: str, place: int, h: float) -> Network:
    """The network with one stored number of an affine node moved by h: an entry of its weight (for
    a sparse one, a stored entry) or, after these, of its bias.
    """
    nodes = {node.name: (node.name, node.operation, node.inputs) for node in network.nodes}
    weight, bias = (array.copy() for array in (nodes[name][1].weight, nodes[name][1].bias))
    stored = weight.data if sp.sparse.issparse(weight) else weight.reshape(-1)
    if place < stored.size:
        stored[place] += h
    else:
        bias[place - stored.size] += h
    nodes[name] = (name, Affine(weight, bias), nodes[name][2])
    return Network(network.n_in, list(nodes.values()), network.output)


def loss_and_pattern(network: Network, x, y) -> tuple[float, np.ndarray]:
    """½ Σ |φ(z) − y|² and the activation patterns of the forward pass (B, M)."""
    return 0.5 * ((network(x) - y) ** 2).sum(), NeuralSheaf(network).forward_pattern(x)


def quotient(network: Network, x, y, name: str, place: int, h: float) -> float | None:
    """The central difference quotient for one stored number; None where a pattern changes."""
    up, s = loss_and_pattern(shifted(network, name, place, h), x, y)
    down, t = loss_and_pattern(shifted(network, name, place, -h), x, y)
    return (up - down) / (2 * h) if (s == t).all() else None


def compare(gradients: dict, network: Network, x, y, most: int, h: float, rng) -> np.ndarray:
    """Gradients (node -> (dW, db)) beside quotients, for at most `most` entries of each affine map
    drawn at random: (2, entries), those aside where a pattern changes.
    """
    pairs = []
    for name, (dW, db) in gradients.items():
        flat = np.concatenate([dW.data if sp.sparse.issparse(dW) else dW.ravel(), db])
        for place in rng.permutation(flat.size)[:most]:
            pairs.append((flat[place], quotient(network, x, y, name, place, h)))
    return np.array([pair for pair in pairs if pair[1] is not None]).T
