"""The faces of one kink, and V on them, in exact rational arithmetic (derived).

A kink is a coordinate z that elementwise selections read, or a window of a max-pool. In V it meets
no other kink, so that on a face it leaves in closed form. What follows for the other coordinates y,
and what says whether a point lies on the face and is stationary, are linear forms in y.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import compress
from typing import Iterable, Sequence

import numpy as np

from sheaflib.networks.selection import Elementwise

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
