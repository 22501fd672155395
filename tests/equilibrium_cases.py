"""Pinned problems for the equilibrium solver: toy nets, small DAGs whose faces can be enumerated,
stress; and dense sides of tests.
"""

from typing import NamedTuple

import numpy as np
from oracles import dense_system, row_weights
from training_cases import chain, random_pins

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack, hard, soft

SLOPES = (0.0, 0.0, 0.2, 1.0, -0.5, -1.0, 2.0)
MODES = ("track", "global")
DAGS = (
    "chain",
    "skip",
    "two readers",
    "carried on",
    "stacked kinks",
    "ReLU of x",
    "ReLU last",
    "ReLU twice",
)


class Problem(NamedTuple):
    """What `equilibrium` takes: a sheaf, inputs (B, n_0), pins, a start (B, N)."""

    sheaf: NeuralSheaf
    x: np.ndarray
    pins: list
    start: np.ndarray


def toy(seed, dims=(2, 6, 1)):
    """A He net over one random input, its output clamped to within 3 of the forward pass, a random
    start.
    """
    rng = np.random.default_rng(seed)
    sheaf, x = NeuralSheaf(Network.he(dims, rng)), rng.standard_normal((1, dims[0]))
    return Problem(
        sheaf,
        x,
        [hard(sheaf.layout.names[-1], sheaf.network(x) + rng.uniform(-3, 3, dims[-1]))],
        rng.standard_normal((1, sheaf.N)),
    )


def dag(kind, rng, slopes=SLOPES):
    """A small network of at most seven kinks with random numbers, one of DAGS."""

    def affine(n, m):
        return Affine(rng.standard_normal((n, m)) * np.sqrt(2 / m), 0.3 * rng.standard_normal(n))

    def relu(n):
        return ReLU(n, float(rng.choice(slopes)))

    tails = {
        "skip": [
            ("z1", affine(3, 2)),
            ("a1", relu(3)),
            ("p", Stack(3, 2), ("a1", "x")),
            ("z2", affine(2, 5)),
            ("a2", relu(2)),
            ("q", Stack(2, 3), ("a2", "a1")),
            ("z3", affine(1, 5)),
        ],
        "two readers": [
            ("z1", affine(3, 2)),
            ("a1", relu(3)),
            ("b1", relu(3), "z1"),
            ("p", Stack(3, 3), ("b1", "a1")),
            ("z2", affine(2, 6)),
            ("a2", relu(2)),
            ("z3", affine(2, 2)),
        ],
        "carried on": [
            ("z1", affine(3, 2)),
            ("a1", relu(3)),
            ("p", Stack(3, 3), ("z1", "a1")),
            ("z2", affine(2, 6)),
            ("a2", relu(2)),
            ("z3", affine(1, 2)),
        ],
        "stacked kinks": [
            ("u", affine(2, 2)),
            ("v", affine(3, 2), "x"),
            ("p", Stack(2, 3), ("u", "v")),
            ("a1", relu(5)),
            ("z2", affine(2, 5)),
        ],
        "ReLU of x": [("a0", relu(2)), ("z1", affine(4, 2)), ("a1", relu(4)), ("z2", affine(2, 4))],
        "ReLU last": [("z1", affine(3, 2)), ("a1", relu(3)), ("z2", affine(2, 3)), ("a2", relu(2))],
        "ReLU twice": [
            ("a0", relu(2)),
            ("b0", relu(2)),
            ("z1", affine(3, 2)),
            ("a1", relu(3)),
            ("z2", affine(1, 3)),
        ],
    }
    if kind == "chain":
        return chain([2, 3, 3, 2], rng, slopes=[float(rng.choice(slopes)) for _ in range(2)])
    return Network(2, tails[kind])


def small(kind, rng, n_batch=1, weighted=True):
    """A problem on one of DAGS: edge weights ½ … 2, up to three hard or soft pins anywhere and a
    clamped end, a random start.
    """
    sheaf = NeuralSheaf(dag(kind, rng))
    if weighted:
        sheaf = NeuralSheaf(sheaf.network, {e.name: rng.uniform(0.5, 2) for e in sheaf.edges})
    x, last = rng.standard_normal((n_batch, 2)), sheaf.layout.names[-1]
    problem = Problem(sheaf, x, [], 2 * rng.standard_normal((n_batch, sheaf.N)))
    pins = random_pins(problem, rng)
    if last not in {pin.stalk for pin in pins}:
        pins.append(
            hard(last, sheaf.network(x) + rng.uniform(-3, 3, (n_batch, sheaf.network.n_out)))
        )
    return problem._replace(pins=pins)


def stress(seed):
    """Depth 1 … 8, width 1 … 40, weights ½ … 3 times He, up to three pins with γ from .1 to 1e4 or
    hard, targets up to 30.
    """
    rng = np.random.default_rng(seed)
    dims = [int(n) for n in rng.integers(1, 41, size=rng.integers(1, 9) + 1)]
    sheaf = NeuralSheaf(chain(dims, rng, scale=rng.uniform(0.5, 3)))
    x = rng.standard_normal((1, dims[0])) * (rng.random() > 0.1)
    pins = []
    for name in rng.choice(
        sheaf.layout.names, size=min(rng.integers(0, 4), len(sheaf.layout.names)), replace=False
    ):
        width = sheaf.layout[name].stop - sheaf.layout[name].start
        at = None if rng.random() < 0.5 else int(rng.integers(width))
        value = rng.uniform(-30, 30, width if at is None else 1)
        pins.append(
            hard(name, value, at)
            if rng.random() < 0.4
            else soft(name, value, 10.0 ** rng.uniform(-1, 4), at)
        )
    return Problem(sheaf, x, pins, 10.0 ** rng.uniform(-1, 1) * rng.standard_normal((1, sheaf.N)))


def nearest(points, w):
    """The largest difference of w (N,) to the nearest of the points (n, N)."""
    return abs(points - w).max(axis=1).min()


def dense_piece(problem, i, pattern, held):
    """H_FF, ∂V/∂w on F and F itself for sample i of a `PinnedEnergy` at one pattern, dense:
    ½ Σ w (δw − c)² + ½ Σ γ (w − v)².
    """
    sheaf = problem.sheaf
    delta, c = dense_system(sheaf.network, pattern, problem.x[i])
    weights, free = row_weights(sheaf), np.flatnonzero(~held)
    H = delta.T @ (weights[:, None] * delta) + np.diag(problem.gamma)

    def gradient(w):
        return delta.T @ (weights * (delta @ w - c)) + problem.gamma * (w - problem.rest[i])

    return H, gradient, free, delta


def residual_scale(sheaf, x, w, pattern, gamma, rest):
    """What ∂V/∂w (N,) is a sum of: |δ|ᵀ W (|δ||w| + |c|) + γ (|w| + |v|), its largest entry."""
    delta, c = dense_system(sheaf.network, pattern, x)
    terms = abs(delta).T @ (row_weights(sheaf) * (abs(delta) @ abs(w) + abs(c))) + gamma * (
        abs(w) + abs(rest)
    )
    return terms.max()
