"""The faces that the kinks of a small separated network cut Ω into, and V on them, in exact
rational arithmetic (derived).

A kink is a coordinate z that elementwise selections read, or a window of a max-pool. In V it meets
no other kink, so that on a face it leaves in closed form. What follows for the other coordinates y,
and what says whether a point lies on the face and is stationary, are linear forms in y.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import compress
from math import prod
from typing import Iterable, Sequence

import numpy as np

from sheaflib.linear.rational import solve
from sheaflib.networks.graph import INPUT, Node
from sheaflib.networks.operations import NO_PATTERN
from sheaflib.networks.selection import Elementwise, MaxPool, Selection
from sheaflib.networks.separation import check_separate
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pins

MOST = 3**12  # faces, which take seconds
WIDEST = 12  # entries of a window that are not clamped: 2^12 of its faces are tabulated
ZERO = Fraction(0)

Vector = list[Fraction]  # one number for each coordinate of y
Form = tuple[Fraction, Vector]  # α + βᵀy


@dataclass(frozen=True, eq=False)
class Parabola:
    """½ P t² − (q + cᵀy) t, what V has of t, the common value of the coordinates `at` in Ω."""

    at: tuple[int, ...]
    P: Fraction
    q: Fraction
    c: Vector

    def minimum(self, y: Sequence[Fraction]) -> Fraction:
        """Where the parabola is least."""
        return value((self.q, self.c), y) / self.P

    def force(self, t: Fraction) -> Form:
        """The force −∂V/∂t at a number t: > 0 exactly where the minimum lies above it."""
        return self.q - self.P * t, self.c

    def force_at_minimum(self, other: Parabola) -> Form:
        """The force at the minimum of another parabola."""
        share = self.P / other.P
        return self.q - share * other.q, [u - share * v for u, v in zip(self.c, other.c)]

    def reading(self, reader: Reader, slope: Fraction, offset: Fraction) -> Parabola:
        """With the edge of a reader added, which carries slope · t + offset."""
        pull = reader.weight * slope
        c = self.c.copy()
        if reader.place is not None:
            c[reader.place] += pull
        q = self.q + pull * (reader.clamped - offset)
        return Parabola(self.at, self.P + pull * slope, q, c)


@dataclass(frozen=True)
class Reader:
    """The edge ½ w (m − F(z))² of a selection: its weight w, and m, a coordinate of y (`place`
    there), or clamped to a number.
    """

    weight: Fraction
    place: int | None
    clamped: Fraction  # 0 where m is free

    def constant(self, offset: Fraction, m: int) -> tuple[Vector, Fraction]:
        """What a constant in F adds to V besides its share in the parabola, −dᵀy + e: d (m,) and e.

        The term ½ w m² is not in it: the selection has it on all sides.
        """
        load = [ZERO] * m
        if self.place is not None:
            load[self.place] = self.weight * offset
        return load, self.weight * (self.clamped - offset) ** 2 / 2


@dataclass(frozen=True, eq=False)
class Face:
    """One of the ways in which a face of Ω has one kink.

    parabolas: of what is free there; held: (coordinate, number) of what is not. load and energy:
    V has −loadᵀy + energy more. inside: forms that are > 0 on the face. balance: forms that are all
    ≥ 0 at a minimum across the kink and all < 0 at a maximum, one more than the face loses
    dimensions; none for a smooth side.
    """

    side: int
    parabolas: tuple[Parabola, ...]
    held: tuple[tuple[int, Fraction], ...]
    load: Vector
    energy: Fraction
    inside: tuple[Form, ...]
    balance: tuple[Form, ...]

    @cached_property
    def share(self) -> list[Vector] | None:
        """Σ c cᵀ/P, which the matrix of y loses as the parabolas leave."""
        return total([[[u * v / p.P for v in p.c] for u in p.c] for p in self.parabolas])

    @cached_property
    def pull(self) -> Vector:
        """What the load of y wins: `load` and Σ q c/P."""
        parts = [[v * p.q / p.P for v in p.c] for p in self.parabolas]
        return [sum(column, ZERO) for column in zip(self.load, *parts)]

    @cached_property
    def level(self) -> Fraction:
        """What is left of V for y = 0: `energy` − Σ q²/(2P)."""
        return self.energy - sum((p.q**2 / (2 * p.P) for p in self.parabolas), ZERO)


@dataclass(frozen=True, eq=False)
class Kink:
    """A kinked coordinate, or the entries of a window that may be tied; and its faces."""

    places: tuple[int, ...]
    faces: list[Face]


def value(form: Form, y: Sequence[Fraction]) -> Fraction:
    """α + βᵀy."""
    return form[0] + sum((u * v for u, v in zip(form[1], y) if u), ZERO)


def minus(form: Form) -> Form:
    """A form with the other sign."""
    return -form[0], [-u for u in form[1]]


def total(matrices: list[list[Vector]]) -> list[Vector] | None:
    """The sum of matrices; None for none."""
    if not matrices:
        return None
    return [[sum(entries, ZERO) for entries in zip(*rows)] for rows in zip(*matrices)]


def exact_numbers(vector: Iterable[float]) -> Vector:
    """Floats as the rational numbers that they are."""
    return [Fraction(float(v)) for v in vector]


# the faces of one kink
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Piecewise:
    """An elementwise selection of one coordinate, exactly: its breaks, and (slope, offset) on each
    side.
    """

    breaks: tuple[Fraction, ...]
    sides: tuple[tuple[Fraction, Fraction], ...]

    @classmethod
    def of(cls, operation: Elementwise, i: int) -> Piecewise:
        """Coordinate i of a selection."""
        slopes = [np.broadcast_to(slope, operation.n)[i] for slope in operation.slopes]
        sides = zip(exact_numbers(slopes), exact_numbers(operation.offsets))
        return cls(tuple(exact_numbers(operation.breaks)), tuple(sides))

    def above(self, b: Fraction | None) -> tuple[Fraction, Fraction]:
        """(slope, offset) next above b; None: below all breaks."""
        return self.sides[0 if b is None else sum(point <= b for point in self.breaks)]

    def __call__(self, z: Fraction) -> Fraction:
        slope, offset = self.above(z)
        return slope * z + offset


def coordinate_faces(z: Parabola, readers: list[tuple[Reader, Piecewise]]) -> list[Face]:
    """The faces of a coordinate that elementwise selections read, from below: a side −1, the corner
    0 at the first break, a side 1, the corner 2 at the second break, …
    """
    breaks = sorted({b for _, piecewise in readers for b in piecewise.breaks})
    sides: list[Parabola] = []
    found: list[Face] = []
    for low, high in zip([None, *breaks], [*breaks, None]):
        parabola, load, energy = z, [ZERO] * len(z.c), ZERO
        for reader, piecewise in readers:
            slope, offset = piecewise.above(low)
            parabola = parabola.reading(reader, slope, offset)
            more, constant = reader.constant(offset, len(z.c))
            load, energy = [u + v for u, v in zip(load, more)], energy + constant
        inside = [] if low is None else [parabola.force(low)]
        inside += [] if high is None else [minus(parabola.force(high))]
        side = 2 * len(sides) - 1
        sides.append(parabola)
        found.append(Face(side, (parabola,), (), load, energy, tuple(inside), ()))
    corners = []
    for k, b in enumerate(breaks):
        left, right = sides[k], sides[k + 1]
        load = [u + b * v for u, v in zip(found[k].load, left.c)]
        energy = found[k].energy + left.P * b**2 / 2 - left.q * b
        balance = left.force(b), minus(right.force(b))
        corners.append(Face(2 * k, (), ((z.at[0], b),), load, energy, (), balance))
    return sorted(found + corners, key=lambda face: face.side)


def window_faces(entries: list[Parabola], level: Fraction | None, reader: Reader) -> list[Face]:
    """The faces of a window with free entries and, where some are clamped, the highest of these,
    its `level`: side Σ 2^k over the places k that are tied at the maximum, the level being last.
    """
    many, found = len(entries), []
    for side in range(1, 2 ** (many + (level is not None))):
        tied = [bool(side >> k & 1) for k in range(many)]
        top = list(compress(entries, tied))
        low = [entry for entry, yes in zip(entries, tied) if not yes]
        if level is not None and side >> many:
            found.append(_at_the_level(side, top, low, level, reader))
        else:
            found.append(_above_the_level(side, top, low, level, reader))
    return found


def _above_the_level(
    side: int, top: list[Parabola], low: list[Parabola], level: Fraction | None, reader: Reader
) -> Face:
    """The entries `top` are tied at a free maximum, above the clamped entries."""
    at = tuple(i for entry in top for i in entry.at)
    c = [sum(column, ZERO) for column in zip(*(entry.c for entry in top))]
    P, q = sum((entry.P for entry in top), ZERO), sum((entry.q for entry in top), ZERO)
    tie = Parabola(at, P, q, c).reading(reader, Fraction(1), ZERO)
    load, energy = reader.constant(ZERO, len(c))
    inside = [minus(entry.force_at_minimum(tie)) for entry in low]
    inside += [] if level is None else [tie.force(level)]
    balance = [entry.force_at_minimum(tie) for entry in top] if len(top) > 1 else []
    return Face(side, (tie, *low), (), load, energy, tuple(inside), tuple(balance))


def _at_the_level(
    side: int, top: list[Parabola], low: list[Parabola], level: Fraction, reader: Reader
) -> Face:
    """The entries `top` are tied with the highest clamped one, whose own share of the pooling
    edge's force is the last of the balance.
    """
    m = len((top + low)[0].c)
    load, energy = reader.constant(level, m)
    rest = [ZERO] * m
    if reader.place is not None:
        rest[reader.place] = -reader.weight
    share: Form = reader.weight * (level - reader.clamped), rest
    for entry in top:
        load = [u + level * v for u, v in zip(load, entry.c)]
        energy += entry.P * level**2 / 2 - entry.q * level
        alpha, beta = entry.force(level)
        share = share[0] - alpha, [u - v for u, v in zip(share[1], beta)]
    held = tuple((entry.at[0], level) for entry in top)
    inside = tuple(minus(entry.force(level)) for entry in low)
    balance = (*(entry.force(level) for entry in top), share) if top else ()
    return Face(side, tuple(low), held, load, energy, inside, balance)


# all of V
# --------------------------------------------------------------------------------------------------


class Faces:
    """V of one sample, V(y, z) = V_0 + ½ yᵀAy − bᵀy + what each kink adds on its faces, y the free
    coordinates without a kink.

    `kinks` by rising coordinate; a face of Ω is a number whose digits, to the base of how many
    faces each kink has, say which of them it has. All are exact rational numbers, as the given
    floats are, and so are the points of the faces.
    """

    def __init__(self, sheaf: NeuralSheaf, x: np.ndarray, pins: Pins):
        check_separate(sheaf.network)
        self.sheaf, self.free = sheaf, pins.free
        self.fixed = pins.impose(np.zeros((1, sheaf.N)))[0]
        self.clamped, self.inputs = exact_numbers(self.fixed), exact_numbers(x[0])
        self.weights = exact_numbers(sheaf.row_weights[: sheaf.N])
        self.rows: list[tuple[Fraction, dict[int, Fraction], Fraction]] = []
        scalars: dict[int, list[tuple[int, Piecewise]]] = {}
        windows: dict[int, list[int]] = {}
        for node in sheaf.network.nodes:
            self._read(node, scalars, windows)
        kinked = {*scalars, *(i for window in windows.values() for i in window)}
        self.rest = np.array(
            [i for i in np.flatnonzero(self.free).tolist() if i not in kinked], dtype=int
        )
        self.place = {i: k for k, i in enumerate(self.rest.tolist())}
        sizes = [1 + 2 * len({b for _, p in found for b in p.breaks}) for found in scalars.values()]
        for window in windows.values():
            free = [i for i in window if self.free[i]]
            if len(free) > WIDEST:
                raise ValueError(
                    f"sheaf has a window of {len(free)} entries that are not clamped, expected at"
                    f" most {WIDEST}: 2^{len(free)} sets of them may be tied"
                )
            sizes.append(2 ** (len(free) + (len(free) < len(window))) - 1)
        self.count = prod(sizes)
        if self.count > MOST:
            raise ValueError(
                f"sheaf has {len(sizes)} free kinks, which make {self.count} faces, expected at"
                f" most {MOST}, those of 12 ReLUs"
            )
        self._add_springs(pins)
        self._add_kinks(scalars, windows)

    def _read(
        self,
        node: Node,
        scalars: dict[int, list[tuple[int, Piecewise]]],
        windows: dict[int, list[int]],
    ) -> None:
        """Sort the rows of one node: linear ones as Σ F_ij w_j + b_i into `rows`, those with a kink
        by the coordinate z that they read or by their own number.
        """
        start, columns = self.sheaf.layout[node.name].start, self.sheaf.columns(node).tolist()
        operation = node.operation
        if not isinstance(operation, Selection):
            reads: list[dict[int, Fraction]] = [{} for _ in range(operation.n_out)]
            constant = exact_numbers(
                np.broadcast_to(operation.constant(NO_PATTERN), (1, operation.n_out))[0]
            )
            boundary = [
                j
                for name in node.inputs
                for j in range(self.sheaf.network.n_in if name == INPUT else self._width(name))
            ]
            for i, j, entry in zip(*operation.triplets(NO_PATTERN[0])):
                F = Fraction(float(entry))
                if columns[j] < 0:
                    constant[i] += F * self.inputs[boundary[j]]
                elif F:
                    reads[i][columns[j]] = reads[i].get(columns[j], ZERO) + F
            for i, (read, b) in enumerate(zip(reads, constant)):
                self._add_row(start + i, read, b)
        elif isinstance(operation, MaxPool):
            for i, window in enumerate(operation.windows.tolist()):
                self._read_window(start + i, [(columns[j], j) for j in window], windows)
        elif isinstance(operation, Elementwise):
            for i, z in enumerate(columns):
                piecewise = Piecewise.of(operation, i)
                if z < 0 or not self.free[z]:
                    given = self.inputs[i] if z < 0 else self.clamped[z]
                    self._add_row(start + i, {}, piecewise(given))
                else:
                    scalars.setdefault(z, []).append((start + i, piecewise))
        else:
            raise ValueError(
                f"node {node.name!r} is {operation!r}, expected a selection of coordinates or a"
                " max-pool"
            )

    def _read_window(
        self, row: int, entries: list[tuple[int, int]], windows: dict[int, list[int]]
    ) -> None:
        """A window of a max-pool: of each entry its place in Ω, −1 in x, and in what is read."""
        if entries[0][0] < 0:
            self._add_row(row, {}, max(self.inputs[j] for _, j in entries))
            return
        window = list(dict.fromkeys(i for i, _ in entries))
        if len(window) == 1:
            self._add_row(row, {window[0]: Fraction(1)}, ZERO)
        elif not self.free[window].any():
            self._add_row(row, {}, max(self.clamped[i] for i in window))
        else:
            windows[row] = window

    def _width(self, name: str) -> int:
        here = self.sheaf.layout[name]
        return here.stop - here.start

    def _add_row(self, i: int, reads: dict[int, Fraction], constant: Fraction) -> None:
        """The edge ½ w_i (w_i − Σ F_ij w_j − constant)²."""
        row = {j: -F for j, F in reads.items()} | {i: Fraction(1)}
        self.rows.append((self.weights[i], row, constant))

    def _add_springs(self, pins: Pins) -> None:
        """The rows and the springs as a quadratic form in all coordinates: its matrix, the force at
        the clamped values and 0 elsewhere, and V there.
        """
        N = self.sheaf.N
        self.L = [[ZERO] * N for _ in range(N)]
        self.force, self.least = [ZERO] * N, Fraction(float(pins.offset[0]))
        for weight, row, constant in self.rows:
            lack = sum((v * self.clamped[j] for j, v in row.items()), -constant)
            self.least += weight * lack**2 / 2
            for i, v in row.items():
                self.force[i] -= v * weight * lack
                for j, u in row.items():
                    self.L[i][j] += weight * v * u
        springs = zip(pins.soft_index, exact_numbers(pins.gamma), pins.soft_value[0])
        for i, gamma, target in springs:
            stretch = self.clamped[i] - Fraction(float(target))
            self.L[i][i] += gamma
            self.force[i] -= gamma * stretch
            self.least += gamma * stretch**2 / 2

    def _add_kinks(
        self, scalars: dict[int, list[tuple[int, Piecewise]]], windows: dict[int, list[int]]
    ) -> None:
        """The faces of every kink, and A, b of the other coordinates."""
        kinks = []
        for z, found in scalars.items():
            readers = [(self._reader(row), piecewise) for row, piecewise in found]
            kinks.append(Kink((z,), coordinate_faces(self._alone(z), readers)))
        for row, window in windows.items():
            free = [i for i in window if self.free[i]]
            clamped = [i for i in window if not self.free[i]]
            highest = sorted(clamped, key=lambda i: -self.clamped[i])[:1]
            level = self.clamped[highest[0]] if highest else None
            entries = [self._alone(i) for i in free]
            faces = window_faces(entries, level, self._reader(row))
            kinks.append(Kink((*free, *highest), faces))
        self.kinks = sorted(kinks, key=lambda kink: kink.places[0])
        self.matrix = [[self.L[i][j] for j in self.rest] for i in self.rest]
        self.load = [self.force[i] for i in self.rest]

    def _reader(self, row: int) -> Reader:
        """The edge of one row with a kink; its ½ w m² goes into the matrix of y."""
        if not self.free[row]:
            return Reader(self.weights[row], None, self.clamped[row])
        self.L[row][row] += self.weights[row]
        return Reader(self.weights[row], self.place[row], ZERO)

    def _alone(self, z: int) -> Parabola:
        """What V has of a kinked coordinate besides its kinks."""
        c = [-self.L[z][y] for y in self.rest]
        return Parabola((z,), self.L[z][z], self.force[z], c)

    def digits(self, numbers: np.ndarray) -> np.ndarray:
        """Which of its faces each kink has on the faces `numbers` (n,) of Ω: (n, K)."""
        found = np.empty((len(numbers), len(self.kinks)), dtype=np.int32)
        for k, kink in enumerate(self.kinks):
            numbers, found[:, k] = np.divmod(numbers, len(kink.faces))
        return found

    def sides(self, digits: np.ndarray) -> list[int]:
        """The sides of the kinks on one face (K,)."""
        return [kink.faces[digit].side for kink, digit in zip(self.kinks, digits)]

    def point(self, digits: np.ndarray) -> tuple[list[Fraction], Fraction, int] | None:
        """The minimum of one face (K,) if it is stationary: w (N,), V, and in how many directions
        it is a maximum.
        """
        faces = [kink.faces[digit] for kink, digit in zip(self.kinks, digits)]
        matrix, load, level = self.matrix, self.load, self.least
        for face in faces:
            if face.share is not None:
                matrix = [[a - b for a, b in zip(*rows)] for rows in zip(matrix, face.share)]
            load = [a + b for a, b in zip(load, face.pull)]
            level += face.level
        y, w, concave = solve(matrix, load), self.clamped.copy(), 0
        for i, v in zip(self.rest, y):
            w[i] = v
        for face in faces:
            if any(value(form, y) <= 0 for form in face.inside):
                return None
            balance = [value(form, y) for form in face.balance]
            if any(v < 0 for v in balance):
                if any(v >= 0 for v in balance):
                    return None
                concave += len(balance) - 1
            for i, number in face.held:
                w[i] = number
            for parabola in face.parabolas:
                t = parabola.minimum(y)
                for i in parabola.at:
                    w[i] = t
        drop = sum((b * v for b, v in zip(load, y)), ZERO)
        return w, level - drop / 2, concave
