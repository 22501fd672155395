"""The kinks of V in the coordinates z_j that a ReLU, PReLU or clamp reads: where the gradient of V
jumps (derived). Those before a max-pool are in `windows`.

Between two breaks t of its readers, on a side s, V is a parabola in z_j, all else given. Its force
is Q_s − P_s z_j: P_s = w + Σ_r w_r m_s² + Σ_p w_p + γ and Q_s = w u + Σ_r w_r m_s (a_r − c_s) + Σ_p
w_p p + γ v, u what the edge into z_j carries, r the selections that read z_j (m_s z + c_s on side
s: of a ReLU m_+ = 1, m_− its slope), p the stacks that do, γ a soft pin. A side's minimum is
Q_s/P_s where that lies on the side, else a corner: z_j is a break. A corner between the sides − and
+ is a strict local minimum when the forces there are Q_− − P_− t ≥ 0 ≥ Q_+ − P_+ t; the break of a
ReLU is t = 0, so that they are Q_− and Q_+ themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Sequence

import numpy as np

from sheaflib.equilibria.sides import Rule, Settled
from sheaflib.equilibria.windows import Windows
from sheaflib.linear.rest import ROUNDING
from sheaflib.networks.operations import Operation, Stack
from sheaflib.networks.selection import Elementwise, MaxPool
from sheaflib.networks.separation import check_separate, kinked_stalks
from sheaflib.sheaves.neural import NeuralSheaf

CERTAIN = 1e-10  # of the terms of a force: beyond, rounding has not made it


class Reader(NamedTuple):
    """An edge that reads a kinked stalk: its rows in Ω, its weight w_r, and its slopes m_s and
    offsets c_s on the sides of the stalk's kinks."""

    rows: slice
    weight: float
    slopes: tuple
    offsets: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Kink:
    """The kinks of one stalk, `here` in Ω: its breaks t in rising order, its readers, the weight w
    of its own edge and the stiffness P_s of each side, (n,) each.

    A side s is a number: how many breaks z_j has reached.
    """

    stalk: str
    here: slice
    weight: np.ndarray
    breaks: tuple[float, ...]
    readers: tuple[Reader, ...]
    stiffness: tuple[np.ndarray, ...]

    @property
    def rectifies(self) -> bool:
        """Whether the readers are ReLUs or PReLUs alone, and stacks: one break at 0, no offsets."""
        return self.breaks == (0.0,) and not any(any(r.offsets) for r in self.readers)

    @property
    def halves(self) -> bool:
        """Whether one ReLU of slope 0 reads the stalk, and nothing else."""
        one = self.rectifies and len(self.readers) == 1
        return one and not np.any(self.readers[0].slopes[0])

    def reader_terms(self, reader: Reader, w: np.ndarray) -> np.ndarray:
        """The largest size of what a reader adds to a force, on any side: (B, n)."""
        steepest = max(1.0, *(np.abs(slope).max() for slope in reader.slopes))
        offset = max(abs(c) for c in reader.offsets)
        return reader.weight * steepest * (np.abs(w[:, reader.rows]) + offset)

    def forces(self, u: np.ndarray, w: np.ndarray, spring: np.ndarray) -> list[np.ndarray]:
        """Q_s of every side, (B, n) each: u (B, n) carried into the stalk, w (B, N), spring = γ v
        (B, n).
        """
        found = []
        for s in range(len(self.stiffness)):
            force = self.weight * u + spring
            for reader in self.readers:
                above, offset = w[:, reader.rows], reader.offsets[s]
                above = above - offset if offset else above
                force += reader.weight * reader.slopes[s] * above
            found.append(force)
        return found

    def sides(self, z: np.ndarray) -> np.ndarray:
        """The side of every z_j: (B, n) of int8."""
        return sum((z >= t for t in self.breaks), np.zeros(z.shape, dtype=np.int8))

    def pattern(self, operation: Operation, side: np.ndarray) -> np.ndarray:
        """The pattern of one reader on these sides (B, n)."""
        if operation.breaks == self.breaks:
            return side > 0 if len(self.breaks) == 1 else side
        reached = [sum(b <= t for b in operation.breaks) for t in (-np.inf, *self.breaks)]
        found = np.array(reached, dtype=np.int8)[side]
        return found > 0 if len(operation.breaks) == 1 else found

    def minimum(self, forces: Sequence[np.ndarray], side: np.ndarray) -> np.ndarray:
        """The minimum over z_j on the chosen side of each unit; a break exactly at a corner."""
        breaks = self.breaks
        parts = []
        for s, (force, stiffness) in enumerate(zip(forces, self.stiffness)):
            z = force / stiffness
            z = z if s == 0 else np.maximum(z, breaks[s - 1])
            parts.append(z if s == len(breaks) else np.minimum(z, breaks[s]))
        return pick(parts, side)

    def corner_forces(
        self, forces: Sequence[np.ndarray]
    ) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """Of every break t: t, and the forces there from the left and from the right."""
        return [
            (
                t,
                forces[b] - self.stiffness[b] * t if t else forces[b],
                forces[b + 1] - self.stiffness[b + 1] * t if t else forces[b + 1],
            )
            for b, t in enumerate(self.breaks)
        ]

    def better_side(
        self, forces: Sequence[np.ndarray], side: np.ndarray, nothing: np.ndarray
    ) -> np.ndarray:
        """The next side where a unit is at a corner and the next side lies lower: V falls
        strictly. A force below `nothing` (B, 1) is none.
        """
        moved = side.copy()
        for b, (_, left, right) in enumerate(self.corner_forces(forces)):
            moved[(side == b) & (left >= -nothing) & (right > nothing)] = b + 1
            moved[(side == b + 1) & (right <= nothing) & (left < -nothing)] = b
        return moved

    def beyond(
        self, forces: Sequence[np.ndarray], size: np.ndarray, side: np.ndarray
    ) -> np.ndarray:
        """The side of every unit: the next one where the minimum on its own side is the break
        between them up to rounding, and V falls beyond it for certain. size (B, n): the terms of
        the forces.
        """
        moved = side.copy()
        for b, (_, left, right) in enumerate(self.corner_forces(forces)):
            falls, rises = right > CERTAIN * size, left < -CERTAIN * size
            moved[(side == b) & (np.abs(left) <= ROUNDING * size) & falls] = b + 1
            moved[(side == b + 1) & (np.abs(right) <= ROUNDING * size) & rises] = b
        return moved

    def lowest_side(
        self, forces: Sequence[np.ndarray], side: np.ndarray, w: np.ndarray
    ) -> np.ndarray:
        """The side with the lowest minimum; the present one where that is as low."""
        if self.rectifies:
            minus, plus = forces
            gain = np.maximum(plus, 0) / np.sqrt(self.stiffness[1])
            gain += np.minimum(minus, 0) / np.sqrt(self.stiffness[0])
            # no squares, which would vanish for small forces
            return np.where(gain == 0, side, gain > 0).astype(np.int8)
        energies, terms = [], np.zeros(side.shape)
        for s, (force, stiffness) in enumerate(zip(forces, self.stiffness)):
            z = self.minimum(forces, np.full(side.shape, s, dtype=np.int8))
            parts = [0.5 * stiffness * z**2, -force * z]
            for reader in self.readers:
                parts.append(0.5 * reader.weight * (w[:, reader.rows] - reader.offsets[s]) ** 2)
            energies.append(sum(parts))
            terms = np.maximum(terms, sum(np.abs(part) for part in parts))
        lowest = np.argmin(energies, axis=0).astype(np.int8)
        gain = pick(energies, side) - np.min(energies, axis=0)
        return np.where(gain > ROUNDING * terms, lowest, side)

    def settle(
        self,
        u: np.ndarray,
        w: np.ndarray,
        spring: np.ndarray,
        side: np.ndarray,
        clamped: np.ndarray,
        rule: Rule | None,
    ) -> Settled:
        """The free units at their minimum on their side, which `rule` may change first; those at a
        corner are held.

        u, spring, side (B, n) and clamped (n,) belong to the stalk, w (B, N) is the cochain.
        """
        z, forces = w[:, self.here], self.forces(u, w, spring)
        if rule is not None:
            # a force that is less than this beside the others has no sign
            nothing = ROUNDING**2 * np.abs(w).max(axis=1, keepdims=True) * self.weight.max()
            better = (
                self.lowest_side(forces, side, w)
                if rule.lowest
                else self.better_side(forces, side, nothing)
            )
            side = np.where(rule.settled, better, side)
        side = np.where(clamped, self.sides(z), side)
        z = np.where(clamped, z, self.minimum(forces, side))
        return Settled(z, side, ~clamped & self.at_corner(z), None)

    def at_corner(self, z: np.ndarray) -> np.ndarray:
        """Whether z_j is a break exactly: (B, n) of bool."""
        return np.any([z == t for t in self.breaks], axis=0)

    def distance(self, z: np.ndarray) -> np.ndarray:
        """How far every z_j is from the nearest break: (B, n)."""
        return np.min([np.abs(z - t) if t else np.abs(z) for t in self.breaks], axis=0)

    def apart(self, pair: np.ndarray, room: np.ndarray) -> bool:
        """Whether two values (2, n) of the stalk lie on no common side, a side being `room` (2, n)
        wider than it is."""
        ends = (-np.inf, *self.breaks, np.inf)
        common = np.zeros(pair.shape[1], dtype=bool)
        for low, high in zip(ends, ends[1:]):
            common |= ((pair >= low - room) & (pair <= high + room)).all(axis=0)
        return not common.all()

    def judge(
        self,
        z: np.ndarray,
        forces: Sequence[np.ndarray],
        size: np.ndarray,
        floor: np.ndarray,
        clamped: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which free units are at no minimum, and for which rounding decides whether they are: (B,
        n) of bool each.

        size (B, n): the terms of the forces; floor (B, N): the rounding error of the gradient. The
        rounding error of a force is that of its terms, and that of the coordinates a_r that it
        reads, which are at rest up to theirs. A kink at which both forces may vanish may be a
        maximum; one that is pushed back from one side for certain is none.
        """
        shared = ROUNDING * size + sum(floor[:, reader.rows] for reader in self.readers)
        broken, doubtful = np.zeros((2, *z.shape), dtype=bool)
        side = self.sides(z)
        for b, (t, left, right) in enumerate(self.corner_forces(forces)):
            here, error = z == t, shared
            if t:
                error = shared + ROUNDING * abs(t) * np.maximum(*self.stiffness[b : b + 2])
            wrong = here & ((left < -error) | (right > error))
            from_left, from_right = left >= error, right <= -error
            sure = (from_left & (right <= error)) | (from_right & (left >= -error))
            beside = np.where(z > t, (right >= error) | from_left, (left <= -error) | from_right)
            near = (side == b) | (side == b + 1)
            broken |= wrong
            doubtful |= near & ~np.where(here, sure | wrong, beside)
        return ~clamped & broken, ~clamped & doubtful

    def slacks(self, z: np.ndarray, forces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """How strongly each side pushes back to the corner that a unit is at, ≥ 0 at a minimum, 0
        where it is at none: (B, n) each."""
        minus, plus = np.zeros((2, *z.shape))
        for t, left, right in self.corner_forces(forces):
            minus, plus = np.where(z == t, left, minus), np.where(z == t, -right, plus)
        return minus, plus

    def steepness(self, z: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Upper bounds of the norms of the gradients of both slacks, (B, n) each; rows (n,): those
        of what the edge into the stalk pushes.

        What is read and the readers are different coordinates.
        """
        slopes = []
        for s in range(len(self.stiffness)):
            squares = sum((reader.weight * reader.slopes[s]) ** 2 for reader in self.readers)
            slopes.append(np.broadcast_to(np.sqrt(rows**2 + squares), z.shape))
        minus, plus = slopes[0], slopes[1]
        for b, t in enumerate(self.breaks):
            minus = np.where(z == t, slopes[b], minus)
            plus = np.where(z == t, slopes[b + 1], plus)
        return minus, plus


def pick(values: Sequence[np.ndarray], side: np.ndarray) -> np.ndarray:
    """values[s] where the side is s: (B, n) each."""
    if len(values) == 2:
        return np.where(side, values[1], values[0])
    return np.select([side == s for s in range(len(values))], list(values))


def kinks(sheaf: NeuralSheaf, gamma: np.ndarray) -> dict[str, Kink | Windows]:
    """The kinked stalks by name; gamma (N,): the soft pins. ValueError for a network whose kinks do
    not separate (`Network.separated`).
    """
    check_separate(sheaf.network)
    kinked = kinked_stalks(sheaf.network)
    return {name: _kink(sheaf, name, gamma) for name in sheaf.layout.names if name in kinked}


def _kink(sheaf: NeuralSheaf, name: str, gamma: np.ndarray) -> Kink | Windows:
    here, edges = sheaf.layout[name], [edge for edge in sheaf.edges if edge.tail == name]
    operations = {node.name: node.operation for node in sheaf.network.nodes}
    weights = sheaf.row_weights[here]
    reading = [
        (edge.rows, operations[edge.head], sheaf.edge_weights[edge.name])
        for edge in edges
        if edge.head in operations
    ]
    rows, pool, pull = reading[0]
    if isinstance(pool, MaxPool):
        return Windows.of(name, here, weights, weights + gamma[here], pool, rows, pull)
    selections = [op for _, op, _ in reading if isinstance(op, Elementwise)]
    breaks = tuple(sorted({t for operation in selections for t in operation.breaks}))
    readers = tuple(_reader(rows, weight, op, breaks) for rows, op, weight in reading)
    stacked = [isinstance(op, Stack) for _, op, _ in reading]
    common = weights + gamma[here]
    common = common + sum(reader.weight for reader, whole in zip(readers, stacked) if whole)
    selecting = [reader for reader, whole in zip(readers, stacked) if not whole]
    stiffness = [
        common + sum(reader.weight * reader.slopes[s] ** 2 for reader in selecting)
        for s in range(len(breaks) + 1)
    ]
    return Kink(name, here, weights, breaks, readers, tuple(stiffness))


def _reader(rows: slice, weight: float, operation: Operation, breaks: tuple) -> Reader:
    """What reads a stalk, its slopes and offsets on the sides between these breaks."""
    if isinstance(operation, Stack):
        return Reader(rows, weight, (1.0,) * (len(breaks) + 1), (0.0,) * (len(breaks) + 1))
    own = [sum(b <= t for b in operation.breaks) for t in (-np.inf, *breaks)]
    return Reader(
        rows,
        weight,
        tuple(operation.slopes[s] for s in own),
        tuple(operation.offsets[s] for s in own),
    )
