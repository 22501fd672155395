"""Training's sheaf on a chain relaxed by messages: exact after twice as many rounds as there are edges, whatever the weights (derived).

Up go forward value and resistance so far, (m, P) ← (F m + b, F P Fᵀ + I/w): the Kalman filter's prediction, P_v = (L⁻¹)_vv of the sheaf
without its label. Down goes the current, c ← Fᵀ c: the adjoint of Bryson & Frazier's smoother, and back-propagation's recursion. The
output closes Ohm's law, c = −w_out ∇Φ(m + P c), for any loss; each stalk is ω_v = m_v + P_v c_v. Once all have arrived nothing moves any
more: no κ, no bound of a spectrum, no step size. On the way the error may be larger than at the start.
"""

from __future__ import annotations

from typing import Iterator

import numpy as np

from sheaflib.currents import ohm
from sheaflib.network import INPUT
from sheaflib.sheaf import NeuralSheaf, check_sheaf
from sheaflib.vertices import Link, begin, links


def send_up(link: Link, mean: np.ndarray, P: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(F m + b, F P Fᵀ + I/w) over one edge: mean (B, n), P (B, n, n), or None for x, which nothing moves."""
    predicted = link.operation.value(mean, link.s)
    n_batch, n_out = predicted.shape
    own = np.broadcast_to(np.eye(n_out) / link.weight, (n_batch, n_out, n_out))
    return predicted, own if P is None else own + _through(link, _through(link, P).swapaxes(1, 2))


def send_down(link: Link, current: np.ndarray) -> np.ndarray:
    """Fᵀ c over one edge: (B, n_out) -> (B, n)."""
    return link.back(current)


def _through(link: Link, rows: np.ndarray) -> np.ndarray:
    """rows Fᵀ: (B, m, n) -> (B, m, n_out)."""
    n_batch, m, n = rows.shape
    return link.operation.linear(rows.reshape(-1, n), np.repeat(link.s, m, axis=0)).reshape(n_batch, m, -1)


def exact_after(sheaf: NeuralSheaf) -> int:
    """The rounds after which `messages` is exact: 2K − 1 on a chain of K edges, 4k + 1 with k hidden layers; ValueError off a chain."""
    return 2 * len(_chain(sheaf)) - 1


def messages(sheaf: NeuralSheaf, x, y, start=None, pattern=None) -> Iterator[np.ndarray]:
    """Yield the stalks (B, N): the start, then after each round, in which every vertex sends one message to either side, all at once.

    K edges are K rounds up, from x to the output, and K − 1 down, from the output to the first stalk: exact after 2K − 1 from any start,
    with no error but rounding. P does not depend on labels: a new y finds it there. For the square loss matrices could go down too, in
    information form, at the same time as those that go up: K rounds would do.
    A sample and round, n wide: n(n + 1)/2 + 2n numbers over an edge and about 4n³ operations at its head, where vertex sweeps move 2n
    numbers and take some 6n² operations. Arguments as in `relaxation.gauss_seidel`; ValueError for a network that is not a chain:
    around a loop a message would come back to its sender and be counted again.

    >>> from itertools import islice
    >>> from sheaflib.network import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> next(islice(messages(chain, [[1.0]], [[5.0]]), exact_after(chain), None))       # 4 over three resistors and the label's
    array([[2., 3., 4.]])
    """
    edges = _chain(sheaf)
    x, y, w, pattern = begin(sheaf, x, y, start, pattern)
    found = links(sheaf, x, pattern)
    return _rounds(sheaf, [found[edge] for edge in edges], x, y, w)


def _chain(sheaf: NeuralSheaf) -> list[tuple[str, str, int]]:
    """The edges from x to the output, as `links` names them."""
    before, edges = INPUT, []
    for node in check_sheaf(sheaf).network.nodes:
        if node.inputs != (before,):
            raise ValueError(f"sheaf is no chain: node {node.name!r} reads {', '.join(node.inputs)}, expected {before} alone. Around a "
                             "loop messages count an edge more than once and are not exact; use currents, or the sweeps of relaxation")
        edges.append((before, node.name, sheaf.layout[node.name].start))
        before = node.name
    return edges


def _rounds(sheaf: NeuralSheaf, edges: list[Link], x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Iterator[np.ndarray]:
    up = [(w[:, link.rows], np.zeros((len(w), link.operation.n_out, link.operation.n_out))) for link in edges]
    down = [np.zeros_like(mean) for mean, _ in up]
    while True:
        yield np.concatenate([mean + (P @ c[:, :, None])[:, :, 0] for (mean, P), c in zip(up, down)], axis=1)
        up = [send_up(link, *message) for link, message in zip(edges, [(x, None), *up[:-1]])]
        down = [send_down(link, c) for link, c in zip(edges[1:], down[1:])]
        mean, P = up[-1]
        down.append(ohm(sheaf, P, mean, y))
