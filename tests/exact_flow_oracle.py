"""The first events of the heat flow in exact arithmetic of 400 binary digits: an oracle for flows
with a huge condition number.

Numbers are whole multiples of 2^−400 in Python integers. Between events ẇ = b − Aw is followed by
e^{−hA} for h = 2^k, k from −60 on, each the square of the one before; the first sign change is
looked for on a grid with 32 points to each doubling of the time, and then halved.
"""

import numpy as np
from oracles import dense_system

DIGITS = 400
ONE = 1 << DIGITS


def fixed(values):
    """float64 numbers as multiples of 2^−DIGITS, exactly."""

    def one(value):
        p, q = float(value).as_integer_ratio()
        return p * ONE // q

    return np.vectorize(one, otypes=[object])(np.asarray(values, dtype=float))


def times(A, B):
    """The product of two fixed-point arrays, rounded down."""
    return (A @ B) >> DIGITS


class Clock:
    """The flow of one frozen system, v(t + 2^k) = E_k v(t) for v = (w, 1)."""

    def __init__(self, A, b, first, last):
        n = len(b)
        G = np.zeros((n + 1, n + 1), dtype=object)
        G[:n, :n], G[:n, n] = -A, b
        eye = np.diag([ONE] * (n + 1)).astype(object)
        term, E = eye.copy(), eye.copy()
        for i in range(1, 40):
            term = (times(term, G) >> -first) // i
            E = E + term
        self.first, self.powers = first, {first: E}
        for k in range(first + 1, last + 1):
            E = times(E, E)
            self.powers[k] = E

    def step(self, v, k):
        return times(self.powers[k], v)


def first_events(sheaf, x, start, count, last=40):
    """(time, unit, kind) of the first `count` events of an unpinned chain with unit edge
    weights; 2^`last` bounds their times.
    """
    kinked = [
        i
        for name in sheaf.layout.names[:-1:2]
        for i in range(sheaf.layout[name].start, sheaf.layout[name].stop)
    ]
    N = sheaf.N

    def system(side, slide):
        delta, c = dense_system(sheaf.network, side[kinked].astype(float), x[0])
        D, C = fixed(delta), fixed(c)
        A, b = times(D.T, D), times(D.T, C)
        A[slide], b[slide] = 0, 0
        return A, b

    def force(side, j, upper):
        A, b = system(np.where(np.arange(N) == j, upper, side), np.zeros(N, bool))
        return np.append(-A[j], b[j])

    v = np.append(fixed(start[0]), ONE)
    side, slide, now, events = start[0] >= 0, np.zeros(N, bool), 0, []
    while len(events) < count:
        clock = Clock(*system(side, slide), -60, last)
        goals, rows = [], []
        for j in kinked:
            if slide[j]:
                for upper in (False, True):
                    goals.append((j, upper))
                    rows.append(force(side, j, upper) * (-1 if upper else 1))
            else:
                goals.append((j, not side[j]))
                row = np.zeros(N + 1, dtype=object)
                row[j] = ONE if side[j] else -ONE
                rows.append(row)
        rows = np.array(rows)

        def negative(u):
            values = times(rows, u)
            return [g for g, value in zip(goals, values) if value < -(1 << (DIGITS // 4))]

        t, k, u = 0, clock.first, v
        while True:  # 32 steps of each size, then twice as large ones
            for _ in range(32):
                after = clock.step(u, k)
                if negative(after):
                    break
                t, u = t + (1 << (k + 60)), after
            else:
                k += 1
                continue
            break
        for finer in range(k - 1, clock.first - 1, -1):
            after = clock.step(u, finer)
            if not negative(after):
                t, u = t + (1 << (finer + 60)), after
        (j, upper), v, now = negative(clock.step(u, clock.first))[0], u.copy(), now + t
        v[j] = 0
        onwards = (times(force(side, j, upper)[None], v)[0]) * (1 if upper else -1)
        kind = "leaves" if slide[j] else "crosses" if onwards > 0 else "slides"
        slide[j] = kind == "slides"
        side[j] = side[j] if slide[j] else upper
        name = kind if slide[j] else f"{kind} {'up' if upper else 'down'}"
        events.append((now / 2**60, sheaf.layout.label(j), name))
    return events
