"""Small ReLU networks with pins in exact arithmetic, from the definition of V alone: the
independent side of the range tests.

A float is a rational number, so every quantity here is what the library's floating-point numbers
should be, without rounding. `Problem` is one sample of a network of dense affine maps and ReLUs on
them; pins are given as hard {i: value} and soft {i: (γ, rest)} in flat coordinates.
"""

from fractions import Fraction
from itertools import product
from math import lcm
from typing import NamedTuple

import numpy as np

from sheaflib import ReLU


def exact(values):
    """An array of floats as nested lists of Fractions."""
    array = np.asarray(values, dtype=float)
    return Fraction(float(array)) if array.ndim == 0 else [exact(part) for part in array]


def floats(values):
    """Nested lists of Fractions as an array of floats, each correctly rounded."""
    return np.array([floats(v) if isinstance(v, list) else float(v) for v in values])


def solve(matrix, right):
    """X with matrix X = right, (n, n) and (n, k), by fraction-free Gauss–Jordan elimination over
    the integers (Bareiss)."""
    n, rows = len(matrix), []
    for left, other in zip(matrix, right):
        row = [Fraction(v) for v in [*left, *other]]
        common = lcm(*(v.denominator for v in row))
        rows.append([v.numerator * (common // v.denominator) for v in row])
    before = 1
    for k in range(n):
        pivot = next(i for i in range(k, n) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        top, head = rows[k], rows[k][k]
        for i in range(n):
            if i != k:
                factor = rows[i][k]
                rows[i] = [(head * v - factor * t) // before for v, t in zip(rows[i], top)]
        before = head
    return [[Fraction(v, rows[i][i]) for v in rows[i][n:]] for i in range(n)]


def inverse(matrix):
    """The inverse of an (n, n) matrix."""
    n = len(matrix)
    return solve(matrix, [[Fraction(int(i == j)) for j in range(n)] for i in range(n)])


def times(matrix, vector):
    """matrix @ vector."""
    return [row[0] for row in multiply(matrix, [[v] for v in vector])]


def multiply(a, b):
    """a @ b, over the integers once the common denominators are taken out."""
    (left, p), (right, q) = _whole(a), _whole(transposed(b))
    return [
        [Fraction(sum(u * v for u, v in zip(row, column) if u and v), p * q) for column in right]
        for row in left
    ]


def _whole(matrix):
    """A matrix as integers over one common denominator."""
    common = lcm(*(v.denominator for row in matrix for v in row))
    return [[v.numerator * (common // v.denominator) for v in row] for row in matrix], common


def dot(a, b):
    """⟨a, b⟩."""
    return sum((p * q for p, q in zip(a, b) if p and q), Fraction(0))


def transposed(matrix):
    """The transposed matrix."""
    return [list(column) for column in zip(*matrix)]


def sizes(values):
    """Absolute values, entry by entry."""
    return [sizes(v) if isinstance(v, list) else abs(v) for v in values]


def below(matrix, shift):
    """How many eigenvalues of a symmetric matrix are smaller than `shift`, by the signs of the
    pivots (Sylvester); None at a zero one."""
    rows = [[v - shift * (i == j) for j, v in enumerate(row)] for i, row in enumerate(matrix)]
    common = lcm(*(v.denominator for row in rows for v in row))
    rows, before, count = [[int(v * common) for v in row] for row in rows], 1, 0
    for k in range(len(rows)):
        head = rows[k][k]
        if head == 0:
            return None
        count += (head < 0) != (before < 0)  # pivots are ratios of leading minors
        for i in range(k + 1, len(rows)):
            factor = rows[i][k]
            rows[i] = [(head * v - factor * t) // before for v, t in zip(rows[i], rows[k])]
        before = head
    return count


def eigenvalue_error(matrix, k, value):
    """A power of 4 that bounds the relative error of `value` as the k-th eigenvalue, from 0 and
    ascending; 1 when it is worse than that."""

    def lies_below(shift):
        count = below(matrix, shift)
        return lies_below(shift * (1 + Fraction(1, 2**90))) if count is None else count > k

    value, error = Fraction(value), Fraction(1, 4**26)
    while error < 1 and (lies_below(value * (1 - error)) or not lies_below(value * (1 + error))):
        error *= 4
    return float(error)


class Point(NamedTuple):
    """A stationary point: w (N,), the sign of every kink, how many corners are maxima."""

    w: list
    sides: tuple
    concave: int


class Problem:
    """V(w) = ½ Σ w_e (δw − c)_e² + ½ Σ γ (w_i − rest)² of one sample x (n_0,), with w_i = value on
    the hard pins."""

    def __init__(self, sheaf, x, hard=(), soft=()):
        network = sheaf.network
        self.sheaf, self.x, self.network, self.N = sheaf, exact(x), network, sheaf.N
        self.inverses = {}
        self.hard = {i: Fraction(v) for i, v in dict(hard).items()}
        self.soft = {
            i: (Fraction(g), Fraction(t)) for i, (g, t) in dict(soft).items() if i not in self.hard
        }
        self.weights = [
            Fraction(v)
            for e in sheaf.edges
            if e.name != "output"
            for v in [sheaf.edge_weights[e.name]] * e.dim
        ]
        starts, start, self.units = {}, 0, []  # units: (coordinate z, coordinate a, slope)
        for node in network.nodes:
            starts[node.name] = start
            if isinstance(node.operation, ReLU):
                tail = starts[node.inputs[0]]
                self.units += [
                    (tail + k, start + k, Fraction(node.operation.slope))
                    for k in range(node.operation.n)
                ]
            start += node.operation.n_out
        self.starts = starts
        self.kinks = sorted({z for z, _, _ in self.units})
        base = [[Fraction(int(i == j)) for j in range(self.N)] for i in range(self.N)]
        self.c = [Fraction(0)] * self.N
        for node in network.nodes:
            if isinstance(node.operation, ReLU):
                continue
            W, b, row = exact(node.operation.weight), exact(node.operation.bias), starts[node.name]
            for i, (entries, shift) in enumerate(zip(W, b)):
                self.c[row + i] = shift + (dot(entries, self.x) if node.inputs == ("x",) else 0)
                if node.inputs != ("x",):
                    for j, entry in enumerate(entries):
                        base[row + i][starts[node.inputs[0]] + j] -= entry
        self.base = base
        self.constant_terms = [abs(v) for v in self.c]
        for node in network.nodes:
            if node.inputs == ("x",):
                for i, entries in enumerate(exact(node.operation.weight)):
                    self.constant_terms[starts[node.name] + i] = dot(
                        sizes(entries), sizes(self.x)
                    ) + abs(exact(node.operation.bias)[i])

    def delta(self, pattern):
        """δ for one pattern, a truth value (or a coefficient in [0, 1]) for every unit."""
        delta = [list(row) for row in self.base]
        for (z, a, slope), s in zip(self.units, pattern):
            delta[a][z] -= slope + (1 - slope) * Fraction(float(s))
        return delta

    def pattern(self, w):
        """True where z ≥ 0."""
        return [w[z] >= 0 for z, _, _ in self.units]

    def forward(self, pattern=None):
        """The forward pass (N,), masked by `pattern` if given."""
        w, active = list(self.c), {a: (z, slope, k) for k, (z, a, slope) in enumerate(self.units)}
        for i in range(self.N):
            if i in active:
                z, slope, k = active[i]
                s = Fraction(float(w[z] >= 0 if pattern is None else pattern[k]))
                w[i] = (slope + (1 - slope) * s) * w[z]
            else:
                w[i] = self.c[i] - sum(self.base[i][j] * w[j] for j in range(i) if self.base[i][j])
        return w

    def discrepancy(self, w, pattern=None):
        """δw − c."""
        return [
            p - q
            for p, q in zip(
                times(self.delta(self.pattern(w) if pattern is None else pattern), w), self.c
            )
        ]

    def edge_terms(self, w, pattern=None):
        """|δ||w| and the sizes of the terms of c: what the discrepancy is a sum of."""
        delta = sizes(self.delta(self.pattern(w) if pattern is None else pattern))
        return [p + q for p, q in zip(times(delta, sizes(w)), self.constant_terms)]

    def energy(self, w, pattern=None):
        """V."""
        springs = sum((g * (w[i] - t) ** 2 for i, (g, t) in self.soft.items()), Fraction(0))
        return (
            sum(p * r * r for p, r in zip(self.weights, self.discrepancy(w, pattern))) + springs
        ) / 2

    def gradient(self, w, pattern):
        """∂V/∂w (N,), hard pins included."""
        stress = [p * r for p, r in zip(self.weights, self.discrepancy(w, pattern))]
        g = times(transposed(self.delta(pattern)), stress)
        for i, (gamma, t) in self.soft.items():
            g[i] += gamma * (w[i] - t)
        return g

    def hessian(self, pattern, free):
        """L + Γ on the free coordinates."""
        rows = [[row[j] for j in free] for row in self.delta(pattern)]
        H = multiply(transposed(rows), [[p * v for v in row] for p, row in zip(self.weights, rows)])
        for place, i in enumerate(free):
            if i in self.soft:
                H[place][place] += self.soft[i][0]
        return H

    def inverse_hessian(self, pattern, free):
        """The inverse of `hessian`, kept: a condition is asked for in two ways."""
        key = pattern, free
        if key not in self.inverses:
            self.inverses[key] = inverse(self.hessian(pattern, free))
        return self.inverses[key]

    def minimum(self, pattern, corners=()):
        """The minimum of V for one pattern, with some kinks held at 0."""
        w = [Fraction(0)] * self.N
        for i, v in self.hard.items():
            w[i] = v
        free = self.free(corners)
        if free:
            g = self.gradient(w, pattern)
            for i, (step,) in zip(
                free, solve(self.hessian(pattern, free), [[-g[i]] for i in free])
            ):
                w[i] = step
        return w

    def free(self, corners=()):
        """The coordinates neither clamped nor in `corners`."""
        return [i for i in range(self.N) if i not in self.hard and i not in corners]

    def condition(self, w, pattern, corners=(), by_stalks=False):
        """How far w (N,) and δw − c (N,) move, at most, when all data move by one, relative, entry
        by entry; corners stay.

        The equations are δw − c = λ/w_e and δᵀλ + γ(w − rest) = 0 on the free coordinates; in each
        of them every term may change. With `by_stalks` the equation is δᵀ w_e (δw − c) + γ(w −
        rest) = 0, as a method sees it that keeps stalks alone: its terms, all of w_e δw and w_e c,
        are those of `NeuralSheaf.gradient_terms`.
        """
        free, delta = self.free(corners), self.delta(pattern)
        r = self.discrepancy(w, pattern)
        stress = [p * v for p, v in zip(self.weights, r)]
        first = [t + abs(v) for t, v in zip(self.edge_terms(w, pattern), r)]
        felt = [p * t for p, t in zip(self.weights, first)] if by_stalks else sizes(stress)
        second = times(transposed(sizes(delta)), felt)
        for i, (gamma, t) in self.soft.items():
            second[i] += gamma * (abs(w[i]) + abs(t))
        move, bend = [Fraction(0)] * self.N, list(first)
        if free:
            columns = [[row[j] for j in free] for row in delta]
            H = self.inverse_hessian(tuple(pattern), tuple(free))
            by_edges = [
                [v * p for v, p in zip(row, self.weights)]
                for row in multiply(H, transposed(columns))
            ]
            second = [second[i] for i in free]
            for i, from_edges, from_forces in zip(free, by_edges, H):
                move[i] = dot(sizes(from_edges), first) + dot(sizes(from_forces), second)
            for i, v in self.hard.items():
                move[i] = Fraction(0)
            passed = multiply(columns, by_edges)
            for i, row in enumerate(multiply(columns, H)):
                passed[i][i] -= 1
                bend[i] = dot(sizes(passed[i]), first) + dot(sizes(row), second)
        return move, bend

    def stationary(self):
        """Every point where 0 lies in Clarke's gradient, all 3^K faces taken one by one."""
        kinks, found = [z for z in self.kinks if z not in self.hard], []
        for sides in product((-1, 0, 1), repeat=len(kinks)):
            side = dict(zip(kinks, sides))
            corners = [z for z in kinks if side[z] == 0]
            state = [side[z] if z in side else self.hard[z] for z, _, _ in self.units]
            w = self.minimum(
                [s > 0 or (s == 0 and z not in side) for (z, _, _), s in zip(self.units, state)],
                corners,
            )
            if any((w[z] > 0) - (w[z] < 0) != s for z, s in side.items()):
                continue
            left = self.gradient(
                w, [s >= 0 and z not in corners for (z, _, _), s in zip(self.units, state)]
            )
            right = self.gradient(w, [s >= 0 for s in state])
            convex = [left[z] <= 0 <= right[z] for z in corners]
            concave = [left[z] > 0 > right[z] for z in corners]
            if all(a or b for a, b in zip(convex, concave)):
                found.append(Point(w, sides, sum(concave)))
        return found

    def minima(self):
        """The strict local minima, each with its kinks at corners."""
        free = [z for z in self.kinks if z not in self.hard]
        return [
            (p.w, [z for z, s in zip(free, p.sides) if s == 0])
            for p in self.stationary()
            if not p.concave
        ]

    def inverse_rows(self, pattern, index):
        """The rows of δ⁻¹ at some coordinates, and their sizes where nothing cancels, those of (2I
        − |δ|)⁻¹."""
        delta = self.delta(pattern)
        clash = [
            [abs(v) if i == j else -abs(v) for j, v in enumerate(row)]
            for i, row in enumerate(delta)
        ]
        rows, paths = inverse(delta), inverse(clash)
        return [rows[i] for i in index], [paths[i] for i in index]
