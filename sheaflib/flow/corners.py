"""Where V has kinks between its coordinates' own pieces, and the implicit step across them
(derived).

A selection that acts on one coordinate z_j at a time, a ReLU or a clamp, makes V piecewise
quadratic in z_j: between two neighbouring breaks of all selections that read z_j it is one
parabola, and at a break two of them meet, in value but not in slope. That is a corner of V. A ReLU
makes two pieces, which meet at 0, and a clamp three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaflib.networks.graph import INPUT, Node
from sheaflib.networks.selection import Elementwise
from sheaflib.sheaves.neural import NeuralSheaf


@dataclass(frozen=True, eq=False)
class Reader:
    """An elementwise selection φ by its edge: its `rows` in Ω, the coordinates that it `reads`, and
    the edge's weight.

    On piece q of these coordinates φ(z) = slope[q] z + constant[q], and side[q] is its pattern:
    (K + 1, n) each, as no coordinate has more than K + 1 pieces.
    """

    rows: slice
    reads: slice
    weight: float
    side: np.ndarray
    slope: np.ndarray
    constant: np.ndarray

    @property
    def shifted(self) -> bool:
        """Whether φ has a constant on any side, as a clamp has."""
        return bool(self.constant.any())


@dataclass(frozen=True, eq=False)
class Corners:
    """The breaks of every coordinate in rising order, (K, width), ∞ where it has fewer than K, and
    the selections that read them.
    """

    breaks: np.ndarray
    readers: tuple[Reader, ...]

    @property
    def kinked(self) -> np.ndarray:
        """Which coordinates have a break: (width,) of bool."""
        return np.any(self.breaks < np.inf, axis=0)

    def piece(self, w: np.ndarray) -> np.ndarray:
        """On which piece each coordinate of w (B, width) is, the number of breaks that it has
        reached: (B, width).
        """
        if len(self.breaks) == 1:
            return w >= self.breaks[0]
        return (w >= self.breaks[:, None]).sum(axis=0)

    @property
    def stiffness(self) -> np.ndarray:
        """Σ_r w_r slope_r² over the selections r that read a coordinate, by its pieces: (K + 1,
        width).
        """
        found = np.zeros((len(self.breaks) + 1, self.breaks.shape[1]))
        for reader in self.readers:
            found[:, reader.reads] += reader.slope**2 * reader.weight
        return found

    def pull(self, w: np.ndarray) -> np.ndarray:
        """Σ_r w_r slope_r (a_r − constant_r) over the selections r that read a coordinate, by its
        pieces: (K + 1, B, width) for w (B, width).
        """
        found = np.zeros((len(self.breaks) + 1, *w.shape))
        for reader in self.readers:
            gap = w[:, reader.rows] - reader.constant[:, None]
            found[:, :, reader.reads] += reader.slope[:, None] * reader.weight * gap
        return found

    def without(self, w: np.ndarray, force: np.ndarray) -> np.ndarray:
        """A force at w without what the selections do to the coordinates that they read: all
        (B, width).
        """
        rest, pieces = force.copy(), self.piece(w)
        for reader in self.readers:
            at = pieces[:, reader.reads]
            slope = chosen(reader.slope, at)
            value = slope * w[:, reader.reads]
            if reader.shifted:
                value += chosen(reader.constant, at)
            rest[:, reader.reads] -= slope * reader.weight * (w[:, reader.rows] - value)
        return rest


def chosen(table: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Of a table by pieces, (K + 1, n), the entries of the pieces of (B, n) coordinates."""
    if len(table) == 2:
        return np.where(piece, table[1], table[0])
    return np.take_along_axis(table, piece, axis=0)


def corners(sheaf: NeuralSheaf, width: int) -> Corners:
    """The corners of V in cochains of `width` coordinates; what reads x makes none, as x does not
    move.
    """
    points: dict[str, set[float]] = {}
    nodes = [
        node
        for node in sheaf.network.nodes
        if isinstance(node.operation, Elementwise) and node.inputs != (INPUT,)
    ]
    for node in nodes:
        points.setdefault(node.inputs[0], set()).update(node.operation.breaks)
    breaks = np.full((max(map(len, points.values()), default=0), width), np.inf)
    for name, own in points.items():
        breaks[: len(own), sheaf.layout[name]] = np.array(sorted(own))[:, None]
    return Corners(breaks, tuple(_reader(sheaf, node, breaks) for node in nodes))


def _reader(sheaf: NeuralSheaf, node: Node, breaks: np.ndarray) -> Reader:
    operation, rows = node.operation, sheaf.layout[node.name]
    reads = sheaf.layout[node.inputs[0]]
    own = breaks[:, reads.start]
    begins = np.concatenate([[-np.inf], np.where(own < np.inf, own, own[own < np.inf].max())])
    sides = [sum(point <= begin for point in operation.breaks) for begin in begins]
    slope, constant = (
        np.array([np.broadcast_to(given[side], operation.n) for side in sides], dtype=float)
        for given in (operation.slopes, operation.offsets)
    )
    side = np.repeat(np.array(sides)[:, None], operation.n, axis=1)
    return Reader(rows, reads, float(sheaf.row_weights[rows.start]), side, slope, constant)


def prox(
    z: np.ndarray | float,
    free: np.ndarray | float,
    h: float,
    pull: np.ndarray,
    stiffness: np.ndarray,
    breaks: np.ndarray,
) -> np.ndarray:
    """A local minimum over ζ of (ζ − free)²/(2h) + ½ Σ_r w_r (φ_r(ζ) − a_r)², one number a
    coordinate.

    pull = Σ_r w_r m_r (a_r − b_r) and stiffness = Σ_r w_r m_r², where φ_r(ζ) = m_r ζ + b_r, have a
    first axis of K + 1 pieces, and breaks one of K: the pieces meet there. The other axes are those
    of z and free, or of length 1. On each piece the minimum is (free + h pull)/(1 + h stiffness),
    or the end of the piece that is next to that. The answer is the minimum on the piece of z; if
    that is one of its ends, then the minimum on the piece beyond, and so on. A break that is the
    minimum on both of its pieces is held.
    """
    if len(breaks) == 1:  # as in networks of ReLUs alone: one break, two pieces
        least = (free + h * pull) / (1 + h * stiffness)
        minus, plus = np.minimum(least[0], breaks[0]), np.maximum(least[1], breaks[0])
        own, other = np.where(z >= breaks[0], (plus, minus), (minus, plus))
        return np.where(own != breaks[0], own, other)
    ends = np.full((1, *breaks.shape[1:]), np.inf)
    low, high = np.concatenate([-ends, breaks]), np.concatenate([breaks, ends])
    least = np.minimum(np.maximum((free + h * pull) / (1 + h * stiffness), low), high)
    low, high = np.broadcast_to(low, least.shape), np.broadcast_to(high, least.shape)

    def of(values: np.ndarray, piece: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, piece[None], axis=0)[0]

    piece = (z >= low[1:]).sum(axis=0)
    found = of(least, piece)
    way = np.where(found == of(low, piece), -1, np.where(found == of(high, piece), 1, 0))
    for _ in range(len(breaks)):
        piece = np.clip(piece + way, 0, len(breaks))
        found = of(least, piece)
        beyond = np.where(way < 0, of(low, piece), of(high, piece))
        way = np.where(found == beyond, way, 0)
    return found
