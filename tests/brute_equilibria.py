"""Every minimum of V of a small separated network by brute force, and small random networks of
every kind of kink.

Written from the definition V = ½ Σ w_e (w_i − F_i(w))² + ½ Σ γ (w_i − v_i)² alone: V is quadratic
on every face that the kinks cut Ω into, so that dense linear algebra finds the one point of each
face where V is stationary along it. A point is a minimum when it is one in every cell that touches
it, where V is strictly convex: then no direction of the cell's tangent cone goes down (Farkas).
"""

from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from oracles import row_weights
from scipy.optimize import nnls

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack, hard, soft
from sheaflib.networks.selection import Clamp, MaxPool, PReLU, Selection

NEAR = 1e-9  # what counts as equal, relative
MOST_FACES = 4000


# V
# --------------------------------------------------------------------------------------------------


def pieces(operation, i):
    """The breaks of coordinate i of an elementwise selection and (slope, offset) on each side."""
    if isinstance(operation, ReLU):
        return [0.0], [(operation.slope, 0.0), (1.0, 0.0)]
    if isinstance(operation, PReLU):
        channel = i * len(operation.slope) // operation.n
        return [0.0], [(operation.slope[channel], 0.0), (1.0, 0.0)]
    assert isinstance(operation, Clamp)
    breaks, sides = [], [(1.0, 0.0)]
    if np.isfinite(operation.low):
        breaks, sides = [operation.low], [(0.0, operation.low), *sides]
    if np.isfinite(operation.high):
        breaks, sides = [*breaks, operation.high], [*sides, (0.0, operation.high)]
    return breaks, sides


class Scalar:
    """A coordinate z that elementwise selections read: their rows and pieces, all their breaks."""

    def __init__(self, z, readers):
        self.z, self.readers = z, readers
        self.breaks = sorted({b for _, breaks, _ in readers for b in breaks})

    def inside(self, k):
        """A number on side k."""
        ends = [self.breaks[0] - 1, *self.breaks, self.breaks[-1] + 1]
        return (ends[k] + ends[k + 1]) / 2

    def rows(self, z):
        """(row, slope, offset) of each reader around the number z."""
        return [(row, *sides[sum(b <= z for b in breaks)]) for row, breaks, sides in self.readers]


class Window:
    """The different entries of one window and the row of its maximum."""

    def __init__(self, entries, row):
        self.entries, self.row = list(dict.fromkeys(entries)), row


class Energy:
    """V of one sample: constant rows of δ and c, and the kinks that fill in the others."""

    def __init__(self, sheaf, x, pins):
        self.x = np.asarray(x, float).reshape(-1)
        self.place, end = {}, 0
        for node in sheaf.network.nodes:
            self.place[node.name] = np.arange(end, end + node.operation.n_out)
            end += node.operation.n_out
        self.N, self.weights = end, row_weights(sheaf)
        self.delta, self.c = np.eye(end), np.zeros(end)
        self.scalars, self.windows, readers = [], [], {}
        for node in sheaf.network.nodes:
            rows, operation = self.place[node.name], node.operation
            if not isinstance(operation, Selection):
                self.add_affine(rows, operation, node.inputs)
            elif node.inputs == ("x",):
                self.c[rows] = operation.value(self.x[None])[0]
            elif isinstance(operation, MaxPool):
                reads = self.place[node.inputs[0]]
                self.windows += [Window(reads[w], r) for w, r in zip(operation.windows, rows)]
            else:
                for i, (z, row) in enumerate(zip(self.place[node.inputs[0]], rows)):
                    readers.setdefault(z, []).append((row, *pieces(operation, i)))
        self.scalars = [Scalar(z, which) for z, which in readers.items()]
        self.hard, self.springs = {}, []
        for pin in pins:
            where = self.place[pin.stalk]
            at = where if pin.at is None else where[list(pin.at)]
            for i, value in zip(at, np.broadcast_to(np.atleast_2d(pin.value)[0], len(at))):
                if np.isinf(pin.gamma):
                    self.hard[int(i)] = float(value)
                else:
                    self.springs.append((int(i), pin.gamma, float(value)))
        self.springs = [spring for spring in self.springs if spring[0] not in self.hard]
        uses = [i for window in self.windows for i in window.entries]
        uses += [scalar.z for scalar in self.scalars]
        assert len(uses) == len(set(uses)), "the network is not separated"

    def add_affine(self, rows, operation, inputs):
        """The rows of an affine map or a stack, from its values at 0 and at the unit vectors."""
        widths = [len(self.x) if name == "x" else len(self.place[name]) for name in inputs]
        zero = operation.value(np.zeros((1, sum(widths))))[0]
        matrix = (operation.value(np.eye(sum(widths))) - zero).T
        self.c[rows] += zero
        for name, part in zip(inputs, np.split(matrix, np.cumsum(widths)[:-1], axis=1)):
            if name == "x":
                self.c[rows] += part @ self.x
            else:
                for k, i in enumerate(self.place[name]):
                    self.delta[rows, i] -= part[:, k]

    def __call__(self, w):
        """V of cochains w (n, N)."""
        residual = w @ self.delta.T - self.c
        for scalar in self.scalars:
            for row, breaks, sides in scalar.readers:
                z = w[:, scalar.z]
                side = np.searchsorted(breaks, z, side="right")
                slope, offset = np.array(sides)[side].T
                residual[:, row] -= slope * z + offset
        for window in self.windows:
            residual[:, window.row] -= w[:, window.entries].max(axis=1)
        V = 0.5 * residual**2 @ self.weights
        return V + sum(0.5 * g * (w[:, i] - v) ** 2 for i, g, v in self.springs)

    # the faces
    # ----------------------------------------------------------------------------------------------

    def options(self):
        """For each kink the ways that a face may have it: a list of lists of `Option`."""
        found = []
        for scalar in self.scalars:
            z = scalar.z
            if z in self.hard:
                found.append([Option(reads=[(z, scalar.rows(self.hard[z]))])])
                continue
            sides = [scalar.inside(k) for k in range(len(scalar.breaks) + 1)]
            found.append(
                [Option(reads=[(z, scalar.rows(inside))]) for inside in sides]
                + [Option(reads=[(z, scalar.rows(b))], held={z: b}) for b in scalar.breaks]
            )
        for window in self.windows:
            found.append([])
            for chosen in product((False, True), repeat=len(window.entries)):
                tied = [i for i, yes in zip(window.entries, chosen) if yes]
                levels = {self.hard[i] for i in tied if i in self.hard}
                if not tied or len(levels) > 1:
                    continue
                free = [i for i in tied if i not in self.hard]
                reads = [(tied[0], [(window.row, 1.0, 0.0)])]
                if levels:
                    option = Option(reads=reads, held=dict.fromkeys(free, levels.pop()))
                else:
                    option = Option(reads=reads, tied={i: free[0] for i in free[1:]})
                found[-1].append(option)
        return found

    def faces(self):
        """How many faces there are."""
        return int(np.prod([float(len(options)) for options in self.options()]))

    def stationary_along_faces(self):
        """The stationary point of V on each face, and beyond it: (faces, N)."""
        options = self.options()
        shape = [len(choice) for choice in options]
        n = self.faces()
        digits = np.unravel_index(np.arange(n), shape) if shape else []
        delta, c = np.repeat(self.delta[None], n, axis=0), np.repeat(self.c[None], n, axis=0)
        spread = np.repeat(np.eye(self.N)[None], n, axis=0)  # w = spread p + fixed
        fixed = np.zeros((n, self.N))
        for i, value in self.hard.items():
            spread[:, i], fixed[:, i] = 0, value
        for choice, digit in zip(options, digits):
            for k, option in enumerate(choice):
                faces = np.flatnonzero(digit == k)
                for i, rows in option.reads:
                    for row, slope, offset in rows:
                        delta[faces, row, i] -= slope
                        c[faces, row] += offset
                for i, value in option.held.items():
                    spread[faces, i], fixed[faces, i] = 0, value
                for i, leader in option.tied.items():
                    spread[faces, i] = spread[faces, leader]
        gamma, pull = np.zeros(self.N), np.zeros(self.N)
        for i, g, v in self.springs:
            gamma[i] += g
            pull[i] += g * v
        weighted = delta.transpose(0, 2, 1) * self.weights
        H, load = weighted @ delta + np.diag(gamma), times(weighted, c) + pull
        load -= times(H, fixed)
        reduced = spread.transpose(0, 2, 1) @ H @ spread
        idle = ~spread.any(axis=1)  # coordinates of p that move nothing
        reduced[:, np.arange(self.N), np.arange(self.N)] += idle
        p = np.linalg.solve(reduced, times(spread.transpose(0, 2, 1), load)[:, :, None])[:, :, 0]
        w = times(spread, p) + fixed
        return w[self.on_their_face(w, options, digits)]

    def on_their_face(self, w, options, digits):
        """Which points lie in the closure of their face, up to rounding: (faces,) of bool."""
        near, here = NEAR * (1 + abs(w).max(axis=1)), np.ones(len(w), dtype=bool)
        for scalar, choice, digit in zip(self.scalars, options, digits):
            if len(choice) > 1:
                ends = np.array([-np.inf, *scalar.breaks, np.inf])
                side = np.minimum(digit, len(scalar.breaks))
                z, smooth = w[:, scalar.z], digit <= len(scalar.breaks)
                here &= ~smooth | (z >= ends[side] - near) & (z <= ends[side + 1] + near)
        first = len(self.scalars)
        for window, choice, digit in zip(self.windows, options[first:], digits[first:]):
            leaders = np.array([option.reads[0][0] for option in choice])
            level = w[np.arange(len(w)), leaders[digit]]
            here &= w[:, window.entries].max(axis=1) <= level + near
        return here

    # what makes a minimum
    # ----------------------------------------------------------------------------------------------

    def cells(self, w):
        """The cells that touch w (N,): pairs of V's gradient there (N,) and the rows (k, N) of the
        tangent cone {d: rows d ≥ 0}."""
        near, unit, touching = NEAR * (1 + abs(w).max()), np.eye(self.N), []
        for scalar in self.scalars:
            z, cone = w[scalar.z], unit[scalar.z]
            here = [b for b in scalar.breaks if abs(z - b) <= near]
            if here and scalar.z not in self.hard:
                assert len(here) == 1
                k = scalar.breaks.index(here[0])
                both = [(scalar.inside(k), [-cone]), (scalar.inside(k + 1), [cone])]
            else:
                both = [(z, [])]
            touching.append([((scalar.z, scalar.rows(inside)), rows) for inside, rows in both])
        for window in self.windows:
            level = w[window.entries].max()
            top = [i for i in window.entries if w[i] >= level - near]
            touching.append(
                [
                    ((i, [(window.row, 1.0, 0.0)]), [unit[i] - unit[j] for j in top if j != i])
                    for i in top
                ]
            )
        for cell in product(*touching):
            delta, c, cone = self.delta.copy(), self.c.copy(), []
            for (i, rows), sides in cell:
                for row, slope, offset in rows:
                    delta[row, i] -= slope
                    c[row] += offset
                cone += sides
            gradient = delta.T @ (self.weights * (delta @ w - c))
            terms = abs(delta).T @ (self.weights * (abs(delta) @ abs(w) + abs(c)))
            for i, g, v in self.springs:
                gradient[i] += g * (w[i] - v)
                terms[i] += g * (abs(w[i]) + abs(v))
            free = [i for i in range(self.N) if i not in self.hard]
            cone = np.reshape(cone, (len(cone), self.N))[:, free]
            yield gradient[free], cone, NEAR * (1 + terms.max())

    def room(self, w):
        """How far every coordinate of w (N,) may move without reaching a kink that w is not on."""
        near, gaps = NEAR * (1 + abs(w).max()), [1.0]
        for scalar in self.scalars:
            gaps += [abs(w[scalar.z] - b) for b in scalar.breaks]
        for window in self.windows:
            gaps += [(w[window.entries].max() - w[i]) / 2 for i in window.entries]
        return min(gap for gap in gaps if gap > near)

    def is_minimum(self, w):
        """Whether V rises from w (N,) in every direction, up to rounding."""
        return all(
            (nnls(cone.T, g)[1] if cone.size else np.linalg.norm(g)) <= small
            for g, cone, small in self.cells(w)
        )

    def is_stationary(self, w):
        """Whether 0 is a mean of the gradients of the cells that touch w (N,): Clarke's sense."""
        gradients, _, small = zip(*self.cells(w))
        system = np.vstack([np.transpose(gradients), np.ones(len(gradients))])
        return nnls(system, np.append(np.zeros(len(system) - 1), 1.0))[1] <= 10 * max(small)


class Option(NamedTuple):
    """One way a face may have a kink: what its rows read, (coordinate, (row, slope, offset) …),
    which coordinates are held at a number, and which at another coordinate."""

    reads: list
    held: dict = {}
    tied: dict = {}


def times(matrices, vectors):
    """(n, k, m) and (n, m) -> (n, k)."""
    return (matrices @ vectors[:, :, None])[:, :, 0]


def minima(sheaf, x, pins=()):
    """Every strict local minimum of V over the sample x (1, n_0), by rising energy: pairs of the
    cochain (N,) and V."""
    V = Energy(sheaf, x, pins)
    found = []
    for w in V.stationary_along_faces():
        if all(abs(w - other).max() > 1e-7 * (1 + abs(w).max()) for other in found):
            found.append(w)
    points = [w for w in found if V.is_minimum(w)]
    return sorted(((w, float(V(w[None])[0])) for w in points), key=lambda pair: pair[1])


# random networks
# --------------------------------------------------------------------------------------------------


class Draw:
    """Random numbers of one network: real ones, or small whole ones, which make ties exact."""

    def __init__(self, rng, integer):
        self.rng, self.integer = rng, integer

    def numbers(self, *shape):
        if self.integer:
            return self.rng.integers(-2, 3, shape).astype(float)
        return self.rng.standard_normal(shape)

    def affine(self, n, m):
        return Affine(self.numbers(n, m), 0.5 * self.numbers(n))

    def leaky(self, n):
        return ReLU(n, float(self.rng.choice([0.25, -0.5, -1.0, 2.0, 0.0])))

    def prelu(self, n):
        channels = int(self.rng.choice([k for k in (1, 2, n) if n % k == 0]))
        return PReLU(n, self.rng.choice([0.25, -0.5, 0.0, 1.5], channels))

    def clamp(self, n):
        low = float(self.rng.choice([-1.0, 0.0, -0.5]))
        bounds = [(low, low + 1.0), (low, low + 2.5), (low, np.inf), (-np.inf, low)]
        return Clamp(n, *bounds[self.rng.choice(4, p=[0.4, 0.4, 0.1, 0.1])])

    def kink(self, n):
        makers = [ReLU, self.leaky, self.prelu, self.clamp]
        return makers[self.rng.integers(4)](n)


def _chain(kink, d):
    return [
        ("z1", d.affine(2, 2)),
        ("a1", kink(2)),
        ("z2", d.affine(2, 2)),
        ("a2", kink(2)),
        ("z3", d.affine(1, 2)),
    ]


def _pool_after(d):
    windows = [[0, 1], [2, 3]] if d.rng.random() < 0.5 else [[0, 1, 3]]
    tail = d.affine(1, len(windows))
    return [("z1", d.affine(4, 2)), ("a1", ReLU(4)), ("m", MaxPool(windows, 4)), ("z2", tail)]


def _pool_before(d):
    pool = MaxPool([[0, 1], [2, 3]], 4)
    return [("z1", d.affine(4, 2)), ("m", pool), ("a1", d.kink(2)), ("z2", d.affine(1, 2))]


def _pool_last(d):
    return [("z1", d.affine(5, 2)), ("m", MaxPool([[0, 1, 2], [3, 4, 4]], 5))]


def _overlapping(d):
    pool = MaxPool([[0, 1], [1, 2], [0, 2]], 3)
    return [("z1", d.affine(3, 2)), ("m", pool), ("z2", d.affine(2, 3))]


def _overlapping_activation(d):
    pool = MaxPool([[0, 1, 2], [1, 2, 3]], 4)
    return [("z1", d.affine(4, 2)), ("a1", d.kink(4)), ("m", pool)]


def _padded(d):
    pool = MaxPool([[0, 0, 1], [1, 2, 1], [2, 3, 3]], 4)
    return [("z1", d.affine(4, 2)), ("m", pool), ("z2", d.affine(1, 3))]


def _two_pools(d):
    return [
        ("z1", d.affine(4, 2)),
        ("m1", MaxPool([[0, 1], [2, 3]], 4)),
        ("z2", d.affine(3, 2)),
        ("m2", MaxPool([[0, 1, 2]], 3)),
        ("a", d.leaky(1)),
        ("z3", d.affine(1, 1)),
    ]


def _pool_of_pool(d):
    return [
        ("z1", d.affine(4, 2)),
        ("m1", MaxPool([[0, 1], [1, 2], [2, 3]], 4)),
        ("m2", MaxPool([[0, 1, 2]], 3)),
    ]


def _relu_of_relu(d):
    return [("z1", d.affine(3, 2)), ("a1", d.kink(3)), ("a2", d.kink(3)), ("z2", d.affine(1, 3))]


def _shared(d):
    return [
        ("z1", d.affine(3, 2)),
        ("a1", d.kink(3)),
        ("y", d.affine(2, 3), "z1"),
        ("p", Stack(3, 2), ("a1", "y")),
        ("z2", d.affine(2, 5)),
        ("a2", ReLU(2)),
    ]


def _two_readers(d):
    return [
        ("z1", d.affine(2, 2)),
        ("a1", d.clamp(2)),
        ("b1", d.kink(2), "z1"),
        ("p", Stack(2, 2, 2), ("b1", "z1", "a1")),
        ("z2", d.affine(2, 6)),
        ("a2", d.kink(2)),
    ]


def _pool_and_relu(d):
    return [
        ("z1", d.affine(3, 2)),
        ("m", MaxPool([[0, 1], [1, 2]], 3)),
        ("a", d.kink(3), "z1"),
        ("p", Stack(2, 3), ("m", "a")),
        ("z2", d.affine(1, 5)),
    ]


def _residual(d):
    return [
        ("z1", d.affine(2, 2)),
        ("a1", d.kink(2)),
        ("z2", d.affine(2, 2)),
        ("p", Stack(2, 2), ("z2", "z1")),
        ("s", Affine(np.hstack([np.eye(2), np.eye(2)]))),
        ("a2", ReLU(2)),
        ("z3", d.affine(1, 2)),
    ]


def _stacked_kinks(d):
    return [
        ("z1", d.affine(2, 2)),
        ("a1", ReLU(2)),
        ("p", Stack(2, 2), ("z1", "a1")),
        ("b", d.kink(4)),
        ("z2", d.affine(1, 4)),
    ]


def _of_x(d):
    return [
        ("a0", d.kink(2)),
        ("m0", MaxPool([[0, 1], [1, 1]], 2), "x"),
        ("p", Stack(2, 2), ("a0", "m0")),
        ("b", d.kink(4)),
        ("m1", MaxPool([[0, 1]], 2), "a0"),
        ("q", Stack(4, 1), ("b", "m1")),
        ("z", d.affine(1, 5)),
    ]


KINDS = {
    "relu": partial(_chain, ReLU),
    "leaky": lambda d: _chain(d.leaky, d),
    "prelu": lambda d: _chain(d.prelu, d),
    "clamp": lambda d: _chain(d.clamp, d),
    "pool after ReLU": _pool_after,
    "pool before ReLU": _pool_before,
    "pool last": _pool_last,
    "overlapping": _overlapping,
    "overlapping activation": _overlapping_activation,
    "padded": _padded,
    "two pools": _two_pools,
    "pool of pool": _pool_of_pool,
    "ReLU of ReLU": _relu_of_relu,
    "shared": _shared,
    "two readers": _two_readers,
    "pool and ReLU": _pool_and_relu,
    "residual": _residual,
    "stacked kinks": _stacked_kinks,
    "of x": _of_x,
}


class Case(NamedTuple):
    """A sheaf of a separated network, the network before, one sample x (1, 2), and pins."""

    sheaf: NeuralSheaf
    network: Network
    x: np.ndarray
    pins: list


def case(kind, rng, integer=False):
    """A random problem of one of KINDS with at most MOST_FACES faces; `integer`: with whole numbers
    everywhere, and an input that is often constant or 0."""
    while True:
        draw = Draw(rng, integer)
        network = Network(2, KINDS[kind](draw))
        plain = network.separated()
        sheaf = NeuralSheaf(plain)
        if rng.random() < 0.7:
            choose = partial(rng.choice, [1.0, 2.0]) if integer else partial(rng.uniform, 0.5, 2)
            sheaf = NeuralSheaf(plain, {edge.name: float(choose()) for edge in sheaf.edges})
        x = draw.numbers(1, 2)
        if rng.random() < 0.3:
            x = np.full((1, 2), x[0, 0])
        pins = random_pins(sheaf, draw)
        if Energy(sheaf, x, pins).faces() <= MOST_FACES:
            return Case(sheaf, network, x, pins)


def random_pins(sheaf, draw):
    """A pin on the end, mostly, and up to three hard or soft ones on any coordinates."""
    rng, layout, pins, taken = draw.rng, sheaf.layout, [], set()
    stalks = list(rng.choice(layout.names, rng.integers(0, 4)))
    if rng.random() < 0.9:
        stalks.append(layout.names[-1])
    for name in stalks:
        width = layout[name].stop - layout[name].start
        many = width if rng.random() < 0.3 else int(rng.integers(1, width + 1))
        at = [int(i) for i in rng.choice(width, many, replace=False)]
        value = draw.numbers(many) * (2 if rng.random() < 0.7 else 1)
        if rng.random() < 0.3:
            value[:] = value[0]
        if rng.random() < 0.5:
            gamma = float(rng.choice([1.0, 2.0])) if draw.integer else rng.uniform(0.2, 3)
            pins.append(soft(str(name), value, gamma, at))
        else:
            keep = [k for k, i in enumerate(at) if (name, i) not in taken]
            taken |= {(name, i) for i in at}
            if keep:
                pins.append(hard(str(name), value[keep], [at[k] for k in keep]))
    return pins
