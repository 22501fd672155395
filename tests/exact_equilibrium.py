"""The equilibrium on one face of a small pinned chain in exact rational arithmetic: every float64
number is a rational one.

Written from the definition of V alone: ½ Σ w_e (δw − c)_e² + ½ Σ γ (w − v)², of which the
stationarity equations are solved exactly.
"""

from fractions import Fraction

import numpy as np


def rational(values):
    """The exact numbers that an array of floats holds."""
    return [Fraction(float(v)) for v in values]


def eliminate(matrix, load):
    """The solution of a regular linear system in rational numbers."""
    n, rows = len(load), [row + [right] for row, right in zip(matrix, load)]
    for k in range(n):
        pivot = next(i for i in range(k, n) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        for row in rows[k + 1 :]:
            if row[k]:
                factor = row[k] / rows[k][k]
                row[k:] = [a - factor * b for a, b in zip(row[k:], rows[k][k:])]
    found = [Fraction(0)] * n
    for k in reversed(range(n)):
        known = sum((rows[k][j] * found[j] for j in range(k + 1, n)), Fraction(0))
        found[k] = (rows[k][n] - known) / rows[k][k]
    return found


def layers(network):
    """The weights and biases of a chain, as rational numbers."""
    affine = [node.operation for node in network.affine_nodes]
    return [([rational(row) for row in op.weight], rational(op.bias)) for op in affine]


def edges(sheaf, x, active):
    """The rows of δw − c as ({coordinate: coefficient}, constant), one an edge coordinate; `active`
    (N,): the side of every z."""
    rows, below = [], None
    for weights, bias in layers(sheaf.network):
        z = len(rows)
        for k, (row, b) in enumerate(zip(weights, bias)):
            reads = {} if below is None else {below + j: -value for j, value in enumerate(row)}
            constant = (
                b
                if below is not None
                else b + sum((v * xi for v, xi in zip(row, rational(x))), Fraction(0))
            )
            rows.append(({z + k: Fraction(1)} | reads, -constant))
        if len(rows) < sheaf.N:
            below = len(rows)
            for k in range(len(weights)):
                rows.append(
                    ({below + k: Fraction(1), z + k: Fraction(-int(active[z + k]))}, Fraction(0))
                )
    return rows


def face(sheaf, x, pinned, soft, w):
    """The stationary point of the face of w (N,): sides as the signs of its z, a free z = 0 held
    there.

    pinned {coordinate: value}, soft {coordinate: (γ, value)}. Returns the point (N,) as rationals,
    and whether it lies on that face and is a strict local minimum: each z on its side, and at z = 0
    the force from the left ≥ 0, from the right ≤ 0.
    """
    kinks = [
        i
        for name in sheaf.layout.names[:-1]
        if name.startswith("z")
        for i in range(*sheaf.layout[name].indices(sheaf.N))
    ]
    corners = [i for i in kinks if w[i] == 0 and i not in pinned]
    rows, weights = edges(sheaf, x, w >= 0), rational(sheaf.row_weights[: sheaf.N])
    held = {i: Fraction(0) for i in corners} | {i: Fraction(float(v)) for i, v in pinned.items()}
    free = [i for i in range(sheaf.N) if i not in held]
    place = {i: k for k, i in enumerate(free)}
    matrix, load = [[Fraction(0)] * len(free) for _ in free], [Fraction(0)] * len(free)
    for (coefficients, constant), weight in zip(rows, weights):
        fixed = constant + sum(
            (c * held[i] for i, c in coefficients.items() if i in held), Fraction(0)
        )
        inside = [(place[i], c) for i, c in coefficients.items() if i in place]
        for a, c in inside:
            load[a] -= weight * c * fixed
            for b, d in inside:
                matrix[a][b] += weight * c * d
    for i, (gamma, value) in soft.items():
        if i in place:
            matrix[place[i]][place[i]] += Fraction(gamma)
            load[place[i]] += Fraction(gamma) * Fraction(value)
    found = held | dict(zip(free, eliminate(matrix, load)))
    right = all((found[i] > 0) == (w[i] > 0) and found[i] != 0 for i in kinks if i not in held)
    for i in corners:
        left_rows, both = edges(sheaf, x, np.arange(sheaf.N) != i), []
        for side in (left_rows, edges(sheaf, x, np.ones(sheaf.N, bool))):
            force = Fraction(0)
            for (coefficients, constant), weight in zip(side, weights):
                if i in coefficients:
                    force -= (
                        weight
                        * coefficients[i]
                        * (
                            constant
                            + sum((c * found[j] for j, c in coefficients.items()), Fraction(0))
                        )
                    )
            gamma, value = soft.get(i, (0, 0))
            both.append(force + Fraction(gamma) * Fraction(value))
        right &= both[0] >= 0 >= both[1]
    return [found[i] for i in range(sheaf.N)], right


def energy(sheaf, x, w):
    """V of a point of rationals, each z with the side that it has, without springs."""
    total = Fraction(0)
    for (coefficients, constant), weight in zip(
        edges(sheaf, x, np.array([v >= 0 for v in w])), rational(sheaf.row_weights[: sheaf.N])
    ):
        total += (
            weight * (constant + sum((c * w[i] for i, c in coefficients.items()), Fraction(0))) ** 2
        )
    return total / 2
