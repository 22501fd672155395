"""Training's sheaf on a chain relaxed by messages: exact after 2 or 3 rounds an edge, whatever the
weights (derived).

With matrices (`messages`), twice as many rounds as there are edges, less one. Up go forward value
and resistance so far, (m, P) ← (F m + b, F P Fᵀ + I/w): the Kalman filter's prediction, P_v =
(L⁻¹)_vv of the sheaf without its label. Down goes the current, c ← Fᵀ c: the adjoint of Bryson &
Frazier's smoother, and back-propagation's recursion. The output closes Ohm's law, c = −w_out ∇Φ(m +
P c), for any loss; each stalk is ω_v = m_v + P_v c_v.

With vectors, one an output (`vector_messages`), three times as many rounds as there are edges, less
three: of L⁻¹ only the output's column is needed. Down go the output's derivatives, G ← G F, and the
output's own pull c, up go m and S ← F S + Gᵀ/w: S_v = (L⁻¹)_{v,out}, ρ = S_out. The output closes
Ohm's law with it; the current is G_vᵀ c and each stalk ω_v = m_v + S_v c.

Once all have arrived nothing moves any more: no κ, no bound of a spectrum, no step size. On the way
the error may be larger than at the start.
"""

from __future__ import annotations

from typing import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.circuits.currents import ohm
from sheaflib.circuits.vertices import Link, begin, links
from sheaflib.networks.graph import INPUT
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import flag


def send_up(link: Link, mean: np.ndarray, P: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(F m + b, F P Fᵀ + I/w) over one edge: mean (B, n), P (B, n, n), or None for x, which nothing
    moves.
    """
    predicted = link.operation.value(mean, link.s)
    n_batch, n_out = predicted.shape
    own = np.broadcast_to(np.eye(n_out) / link.weight, (n_batch, n_out, n_out))
    return predicted, own if P is None else own + _through(link, _through(link, P).swapaxes(1, 2))


def send_down(link: Link, current: np.ndarray) -> np.ndarray:
    """Fᵀ c over one edge: (B, n_out) -> (B, n)."""
    return link.back(current)


def _through(link: Link, rows: np.ndarray) -> np.ndarray:
    """rows Fᵀ: (B, m, n) -> (B, m, n_out)."""
    return _each(link.operation.linear, link, rows)


def _each(
    apply: Callable[[np.ndarray, np.ndarray], np.ndarray], link: Link, rows: np.ndarray
) -> np.ndarray:
    """apply, the link's F or Fᵀ, to every row: (B, m, n) -> (B, m, n')."""
    n_batch, m, n = rows.shape
    return apply(rows.reshape(-1, n), np.repeat(link.s, m, axis=0)).reshape(n_batch, m, -1)


def exact_after(sheaf: NeuralSheaf, vectors: bool = False) -> int:
    """The rounds after which `messages`, or with vectors `vector_messages`, is exact; ValueError
    off a chain.

    On a chain of K edges 2K − 1, with vectors 3K − 3 (1 for K = 1); k hidden layers make K = 2k +
    1: 4k + 1, with vectors 6k.
    """
    K = len(_chain(sheaf))
    return max(3 * K - 3, 1) if flag("vectors", vectors) else 2 * K - 1


def messages(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    start: ArrayLike | None = None,
    pattern: ArrayLike | None = None,
) -> Iterator[np.ndarray]:
    """Yield the stalks (B, N): the start, then after each round, in which every vertex sends one
    message to either side, all at once.

    K edges are K rounds up, from x to the output, and K − 1 down, from the output to the first
    stalk: exact after 2K − 1 from any start, with no error but rounding. P does not depend on
    labels: a new y finds it there. For the square loss matrices could go down too, in information
    form, at the same time as those that go up: K rounds would do. A sample and round, n wide: n(n +
    1)/2 + 2n numbers over an edge and about 4n³ operations at its head, where vertex sweeps move 2n
    numbers and take some 6n² operations. `vector_messages` needs no matrices: K − 2 rounds more,
    but cheaper ones where outputs are few. Arguments as in `relaxation.gauss_seidel`; ValueError
    for a network that is not a chain: around a loop a message would come back to its sender and be
    counted again.

    >>> from itertools import islice
    >>> from sheaflib.networks.graph import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))

    An error of 4 drops over three resistors of 1 and the label's own.

    >>> next(islice(messages(chain, [[1.0]], [[5.0]]), exact_after(chain), None))
    array([[2., 3., 4.]])
    """
    return _rounds(sheaf, *_begin(sheaf, x, y, start, pattern))


def vector_messages(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    start: ArrayLike | None = None,
    pattern: ArrayLike | None = None,
) -> Iterator[np.ndarray]:
    """Yield the stalks (B, N) as `messages` does, by messages that are vectors, one an output and
    way: no n×n matrix anywhere.

    From the output to the first stalk and back are K − 1 rounds each, for G down and S up: ρ is
    complete at the output, where m has arrived meanwhile. K − 1 more bring the pull down: exact
    after 3K − 3 from any start (after 1 for K = 1, m's way), with no error but rounding. Until then
    ρ is that of the edges next to the output, one more every other round. G and S depend on no
    label: a new y is met after K rounds, as in `messages`. Labels and loss are read at the output
    alone. A sample and round, n wide: 2 n_out n + n + n_out numbers over an edge and about (4 n_out
    + 2) n² operations, where `messages` takes n(n + 1)/2 + 2n numbers and 4n³ operations, for K − 2
    rounds fewer. Few outputs and wide layers: vectors; as many outputs as units, or rounds dearer
    than all else: matrices. Arguments and errors as in `messages`.

    >>> from itertools import islice
    >>> from sheaflib.networks.graph import Network
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> rounds = exact_after(chain, vectors=True)
    >>> states = list(islice(vector_messages(chain, [[1.0]], [[5.0]]), rounds + 1))

    At first the output feels 4 over its own resistor and the label's, in the end over all four.

    >>> states[1], states[6]
    (array([[1., 1., 3.]]), array([[2., 3., 4.]]))
    """
    return _vector_rounds(sheaf, *_begin(sheaf, x, y, start, pattern))


def _begin(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    start: ArrayLike | None,
    pattern: ArrayLike | None,
) -> tuple[list[Link], np.ndarray, np.ndarray, np.ndarray]:
    """The edges from x to the output, x, y and the start, all checked."""
    edges = _chain(sheaf)
    x, y, w, pattern = begin(sheaf, x, y, start, pattern)
    found = links(sheaf, x, pattern)
    return [found[edge] for edge in edges], x, y, w


def _chain(sheaf: NeuralSheaf) -> list[tuple[str, str, int]]:
    """The edges from x to the output, as `links` names them."""
    before, edges = INPUT, []
    for node in check_sheaf(sheaf).network.nodes:
        if node.inputs != (before,):
            raise ValueError(
                f"sheaf is no chain: node {node.name!r} reads {', '.join(node.inputs)}, expected"
                f" {before} alone. Around a loop messages count an edge more than once and are not"
                " exact; use currents, or the sweeps of relaxation"
            )
        edges.append((before, node.name, sheaf.layout[node.name].start))
        before = node.name
    return edges


def _rounds(
    sheaf: NeuralSheaf, edges: list[Link], x: np.ndarray, y: np.ndarray, w: np.ndarray
) -> Iterator[np.ndarray]:
    up = [
        (w[:, link.rows], np.zeros((len(w), link.operation.n_out, link.operation.n_out)))
        for link in edges
    ]
    down = [np.zeros_like(mean) for mean, _ in up]
    while True:
        yield np.concatenate(
            [mean + (P @ c[:, :, None])[:, :, 0] for (mean, P), c in zip(up, down)], axis=1
        )
        up = [send_up(link, *message) for link, message in zip(edges, [(x, None), *up[:-1]])]
        down = [send_down(link, c) for link, c in zip(edges[1:], down[1:])]
        mean, P = up[-1]
        down.append(ohm(sheaf, P, mean, y))


def _vector_rounds(
    sheaf: NeuralSheaf, edges: list[Link], x: np.ndarray, y: np.ndarray, w: np.ndarray
) -> Iterator[np.ndarray]:
    """S is held as G is, one row an output: Sᵀ, (B, n_out, n)."""
    n_batch, n_out = y.shape
    mean = [w[:, link.rows] for link in edges]
    S = [np.zeros((n_batch, n_out, link.operation.n_out)) for link in edges]
    G = [*S[:-1], np.broadcast_to(np.eye(n_out), (n_batch, n_out, n_out))]
    pull = [np.zeros_like(y) for _ in edges]
    while True:
        yield np.concatenate([m + (c[:, None] @ s)[:, 0] for m, s, c in zip(mean, S, pull)], axis=1)
        # F m + b
        mean = [link.operation.value(m, link.s) for link, m in zip(edges, [x, *mean[:-1]])]
        # G F, at the output I
        G = [
            *(_each(link.operation.adjoint, link, rows) for link, rows in zip(edges[1:], G[1:])),
            G[-1],
        ]
        below = [np.zeros(()), *(_through(link, rows) for link, rows in zip(edges[1:], S))]
        S = [s + own / link.weight for link, s, own in zip(edges, below, G)]  # F S + Gᵀ/w
        pull = [*pull[1:], ohm(sheaf, S[-1], mean[-1], y)]
