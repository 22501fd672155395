"""V of a small separated network on all faces that its kinks cut Ω into, in exact rational
arithmetic (derived).
"""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np

from sheaflib.equilibria.kink_faces import (
    ZERO,
    Kink,
    Parabola,
    Piecewise,
    Reader,
    coordinate_faces,
    exact_numbers,
    value,
    window_faces,
)
from sheaflib.linear.rational import solve
from sheaflib.networks.graph import INPUT, Node
from sheaflib.networks.operations import NO_PATTERN
from sheaflib.networks.selection import Elementwise, MaxPool, Selection
from sheaflib.networks.separation import check_separate
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pins

MOST = 3**12  # faces, which take seconds
WIDEST = 12  # entries of a window that are not clamped: 2^12 of its faces are tabulated


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
        affine = []
        for node in sheaf.network.nodes:
            if isinstance(node.operation, Selection):
                self._read_selection(node, scalars, windows)
            else:
                affine.append(node)
        self.count = count(scalars, windows, self.free)
        for node in affine:
            self._read_affine(node)
        kinked = {*scalars, *(i for window in windows.values() for i in window)}
        self.rest = np.array(
            [i for i in np.flatnonzero(self.free).tolist() if i not in kinked], dtype=int
        )
        self.place = {i: k for k, i in enumerate(self.rest.tolist())}
        self._add_springs(pins)
        self._add_kinks(scalars, windows)

    def _read_affine(self, node: Node) -> None:
        """The rows of an affine map or a stack, Σ F_ij w_j + b_i."""
        operation, columns = node.operation, self.sheaf.columns(node).tolist()
        reads: list[dict[int, Fraction]] = [{} for _ in range(operation.n_out)]
        b = np.broadcast_to(operation.constant(NO_PATTERN), (1, operation.n_out))
        constant, inputs = exact_numbers(b[0]), self._inputs(node)
        for i, j, entry in zip(*operation.triplets(NO_PATTERN[0])):
            F = Fraction(float(entry))
            if columns[j] < 0:
                constant[i] += F * inputs[j]
            elif F:
                reads[i][columns[j]] = reads[i].get(columns[j], ZERO) + F
        start = self.sheaf.layout[node.name].start
        for i, (read, value_at_0) in enumerate(zip(reads, constant)):
            self._add_row(start + i, read, value_at_0)

    def _inputs(self, node: Node) -> dict[int, Fraction]:
        """Of what a node reads the coordinates that are inputs: place -> number."""
        found: dict[int, Fraction] = {}
        start = 0
        for name in node.inputs:
            if name == INPUT:
                found.update(enumerate(self.inputs, start))
                start += len(self.inputs)
            else:
                start += self.sheaf.layout[name].stop - self.sheaf.layout[name].start
        return found

    def _read_selection(
        self,
        node: Node,
        scalars: dict[int, list[tuple[int, Piecewise]]],
        windows: dict[int, list[int]],
    ) -> None:
        """The rows of a selection: those with a kink by the coordinate z that they read, or by
        their own number where it is a window; the others are constant.
        """
        start, columns = self.sheaf.layout[node.name].start, self.sheaf.columns(node).tolist()
        operation = node.operation
        if isinstance(operation, MaxPool):
            for row, window in enumerate(operation.windows.tolist(), start):
                self._read_window(row, [(columns[j], j) for j in window], windows)
            return
        if not isinstance(operation, Elementwise):
            raise ValueError(
                f"node {node.name!r} is {operation!r}, expected a selection of single coordinates"
                " or a max-pool"
            )
        for i, z in enumerate(columns):
            piecewise = Piecewise.of(operation, i)
            if z < 0 or not self.free[z]:
                given = self.inputs[i] if z < 0 else self.clamped[z]
                self._add_row(start + i, {}, piecewise(given))
            else:
                scalars.setdefault(z, []).append((start + i, piecewise))

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


def count(
    scalars: dict[int, list[tuple[int, Piecewise]]], windows: dict[int, list[int]], free: np.ndarray
) -> int:
    """How many faces there are; ValueError for too many."""
    sizes = [1 + 2 * len({b for _, p in found for b in p.breaks}) for found in scalars.values()]
    for window in windows.values():
        many = int(free[window].sum())
        if many > WIDEST:
            raise ValueError(
                f"sheaf has a window of {many} entries that are not clamped, expected at most"
                f" {WIDEST}: 2^{many} sets of them may be tied"
            )
        sizes.append(2 ** (many + (many < len(window))) - 1)
    if prod(sizes) > MOST:
        raise ValueError(
            f"sheaf has {len(sizes)} free kinks, which make {prod(sizes)} faces, expected at most"
            f" {MOST}, those of 12 ReLUs"
        )
    return prod(sizes)
