"""The grid of the range tests: small networks whose weights, biases, inputs and edge weights have
scales from 1e-8 to 1e8.

"weights 1e+04": all weights times 1e4, the rest of size one; likewise biases, inputs and edge
weights. "layers 3": every matrix, bias, input and edge weight draws a scale of its own; "units 3":
every row of a matrix does.
"""

from typing import NamedTuple

import numpy as np
from rational import Problem, floats

from sheaflib import Network, NeuralSheaf, hard, soft

SCALES = (1e-8, 1e-4, 1.0, 1e4, 1e8)
WIDTHS = ((2, 3, 1), (1, 2, 2, 1), (2, 3, 2))
MIXED = 5
KINDS = tuple(
    f"{kind} {scale:.0e}"
    for kind in ("weights", "biases", "inputs", "edges")
    for scale in SCALES
    if scale != 1
)
GRID = (
    "all 1e+00",
    *KINDS,
    *(f"{kind} {seed}" for kind in ("layers", "units") for seed in range(MIXED)),
)


class Pins(NamedTuple):
    """Pins in flat coordinates, hard {i: value} and soft {i: (γ, rest)}, and as the library takes
    them."""

    hard: dict
    soft: dict

    def given(self, sheaf):
        """The pins made by hard(…) and soft(…)."""
        return [
            *(hard(*_place(sheaf, i, v)) for i, v in self.hard.items()),
            *(
                soft(
                    *_place(sheaf, i, t)[:2],
                    gamma,
                    i - sheaf.layout[sheaf.layout.locate(i)[0]].start,
                )
                for i, (gamma, t) in self.soft.items()
            ),
        ]


def _place(sheaf, i, value):
    name, at = sheaf.layout.locate(i)
    return name, value, at


class Case:
    """One network of the grid with an input x (1, n_0), a cochain w (1, N), a frozen pattern, and
    pins of several kinds."""

    def __init__(self, widths, name, output="identity"):
        self.name, self.widths = name, widths
        rng = np.random.default_rng([*widths, 7])
        scale = _scales(name)
        weights, biases = [], []
        for layer, (m, n) in enumerate(zip(widths, widths[1:])):
            weights.append(
                rng.standard_normal((n, m)) * np.sqrt(2 / m) * scale("weights", layer, n)[:, None]
            )
            biases.append(rng.standard_normal(n) * scale("biases", layer, n))
        network = Network.mlp(weights, biases, output)
        names = [e.name for e in NeuralSheaf(network).edges]
        self.sheaf = NeuralSheaf(
            network, {e: rng.uniform(0.5, 2) * scale("edges", k, 1)[0] for k, e in enumerate(names)}
        )
        self.x = rng.standard_normal((1, widths[0])) * scale("inputs", 0, 1)
        self.rng = rng
        problem = self.problem()
        passed, spread = problem.forward(), [float(v) for v in self._spread(problem)]
        self.w = (
            floats(passed) * rng.uniform(-2, 2, self.sheaf.N)
            + rng.standard_normal(self.sheaf.N) * spread
        )[None]
        self.frozen = rng.integers(0, 2, self.sheaf.M).astype(bool)
        last = self.sheaf.layout[self.sheaf.layout.names[-1]]
        target = {
            i: float(passed[i]) + spread[i] * rng.uniform(-2, 2)
            for i in range(last.start, last.stop)
        }
        first = self.sheaf.layout["a1"].start
        stiff = [float(s) for s in rng.choice(SCALES, size=4)]
        self.label = np.array([list(target.values())])
        self.pins = {
            "output": Pins(target, {}),
            "spring": Pins({}, {i: (stiff[0], v) for i, v in target.items()}),
            "inside": Pins(
                {first: spread[first] * rng.uniform(-1, 2)},
                {
                    0: (stiff[1], spread[0] * rng.uniform(-2, 2)),
                    **{i: (stiff[2], v) for i, v in target.items()},
                },
            ),
            "graded": Pins(
                {**target, first: spread[first] * rng.uniform(0, 2)}, {first + 1: (stiff[3], 0.0)}
            ),
        }

    def _spread(self, problem):
        """The sizes of the terms that every coordinate of the forward pass is a sum of."""
        return [
            p - abs(q) for p, q in zip(problem.edge_terms(problem.forward()), problem.forward())
        ]

    def problem(self, pins=None):
        """The same in exact arithmetic."""
        return Problem(self.sheaf, self.x[0], *(pins or ()))

    def __repr__(self):
        return f"{'-'.join(map(str, self.widths))} {self.name}"


def _scales(name):
    """What multiplies the numbers of one kind in one layer: a function (kind, layer, rows) ->
    (rows,)."""
    kind, what = name.split()
    if kind not in ("layers", "units"):
        return lambda which, layer, rows: np.full(rows, float(what) if which == kind else 1.0)
    rng = np.random.default_rng([int(what), kind == "units"])
    return lambda which, layer, rows: (
        rng.choice(SCALES, size=rows) if kind == "units" else np.full(rows, rng.choice(SCALES))
    )


def grid(widths=WIDTHS, output="identity"):
    """Every case."""
    return [Case(w, name, output) for w in widths for name in GRID]
