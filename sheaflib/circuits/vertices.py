"""A vertex of training's sheaf with its own edges, and its part of the equilibrium: what local
relaxations are made of (derived).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.circuits.currents import ohm
from sheaflib.linear.substitution import masked_forward
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import INPUT
from sheaflib.networks.operations import Operation
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import batch
from sheaflib.training.joint import output_weight
from sheaflib.training.objective import check_labels, error

ENTRIES = 2**26  # of one vertex's D⁻¹, over the batch


@dataclass(frozen=True, eq=False)
class Link:
    """One edge at a frozen pattern s, as its two ends see it: weight w, map F, its rows in Ω, and
    where its tail lies there (None: x).
    """

    weight: float
    operation: Operation
    s: np.ndarray
    rows: slice
    tail: slice | None
    x: np.ndarray | None

    def predicted(self, w: np.ndarray) -> np.ndarray:
        """F(tail): (B, N) -> (B, rows)."""
        return self.operation.value(w[:, self.tail] if self.x is None else self.x, self.s)

    def current(self, w: np.ndarray) -> np.ndarray:
        """w_e (head − F(tail)): (B, N) -> (B, rows)."""
        return self.weight * (w[:, self.rows] - self.predicted(w))

    def back(self, current: np.ndarray) -> np.ndarray:
        """Fᵀ current, as the tail feels it."""
        return self.operation.adjoint(current, self.s)


@dataclass(frozen=True, eq=False)
class Vertex:
    """One stalk with the edges into it and out of it, D⁻¹ as (B or 1, n, n), or (B or 1, n) where
    diagonal; at the output the labels.
    """

    own: slice
    incoming: tuple[Link, ...]
    outgoing: tuple[Link, ...]
    inverse: np.ndarray
    label: tuple[NeuralSheaf, np.ndarray] | None

    def force(self, w: np.ndarray) -> np.ndarray:
        """−∂E/∂v: (B, N) -> (B, n)."""
        f = -np.concatenate([link.current(w) for link in self.incoming], axis=1)
        for link in self.outgoing:
            f += link.back(link.current(w))
        if self.label:
            sheaf, y = self.label
            f -= output_weight(sheaf) * error(sheaf.network.output, w[:, self.own], y)
        return f

    def solve(self, f: np.ndarray) -> np.ndarray:
        """D⁻¹ f: (B, n) -> (B, n)."""
        if self.inverse.ndim == 2:
            return self.inverse * f
        return (
            f @ self.inverse[0]
            if len(self.inverse) == 1
            else (self.inverse @ f[:, :, None])[:, :, 0]
        )

    def update(self, w: np.ndarray) -> np.ndarray:
        """argmin_v E, all other stalks as in w: (B, N) -> (B, n). At the output Ohm's law over the
        one edge, ρ = I/w.
        """
        if not self.label:
            return w[:, self.own] + self.solve(self.force(w))
        predicted = np.concatenate([link.predicted(w) for link in self.incoming], axis=1)
        rho = np.concatenate(
            [np.full(link.rows.stop - link.rows.start, 1 / link.weight) for link in self.incoming]
        )
        sheaf, y = self.label
        return predicted + rho * ohm(sheaf, np.diag(rho), predicted, y)


def begin(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    start: ArrayLike | None,
    pattern: ArrayLike | None,
) -> tuple[np.ndarray, ...]:
    """x, y, the start and the pattern (B, M), checked and copied; by default the forward pass and
    its pattern.
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in).copy()
    y = check_labels(sheaf.network.output, y, sheaf.network.n_out, len(x)).copy()
    pattern = (
        sheaf.forward_pattern(x) if pattern is None else sheaf.check_pattern(pattern, len(x)).copy()
    )
    pattern = np.broadcast_to(pattern, (len(x), sheaf.M))
    w = (
        masked_forward(sheaf, x, pattern)
        if start is None
        else batch("start", start, sheaf.N).copy()
    )
    if len(w) != len(x):
        raise ValueError(f"start has {len(w)} rows, expected {len(x)}: one a row of x")
    return x, y, w, pattern


def links(
    sheaf: NeuralSheaf, x: np.ndarray, pattern: np.ndarray
) -> dict[tuple[str, str, int], Link]:
    """Every edge but the label's, by the names of its tail and head and its first row."""
    nodes = {node.name: node for node in sheaf.network.nodes}
    return {
        (e.tail, e.head, e.rows.start): Link(
            sheaf.edge_weights[e.name],
            nodes[e.head].operation,
            sheaf.own(nodes[e.head], pattern),
            e.rows,
            None if e.tail == INPUT else sheaf.layout[e.tail],
            x if e.tail == INPUT else None,
        )
        for e in sheaf.edges
        if e.head in sheaf.layout
    }


def vertices(
    sheaf: NeuralSheaf, x: np.ndarray, y: np.ndarray, pattern: np.ndarray
) -> dict[str, Vertex]:
    """Every vertex of Ω by name, its D_v inverted once and for all; x, y and pattern as from
    `begin`.

    ValueError for a stalk whose D_v is too large for a dense inverse.
    """
    found, edges = {}, links(sheaf, x, pattern)
    for name, own in sheaf.layout.slices.items():
        incoming = tuple(link for (_, head, _), link in edges.items() if head == name)
        outgoing = tuple(link for (tail, _, _), link in edges.items() if tail == name)
        last = name == sheaf.layout.names[-1]
        diagonal = np.concatenate(
            [np.full((1, link.rows.stop - link.rows.start), link.weight) for link in incoming],
            axis=1,
        )
        diagonal = diagonal + (output_weight(sheaf) if last else 0)
        for link in outgoing:
            # FᵀF is diagonal: a projection, or one entry a row
            if not isinstance(link.operation, Affine):
                diagonal = diagonal + link.weight * link.back(
                    link.operation.linear(np.ones((len(x), diagonal.shape[1])), link.s)
                )
        found[name] = Vertex(
            own,
            incoming,
            outgoing,
            _inverse(name, diagonal, outgoing),
            (sheaf, y) if last else None,
        )
    return found


def _inverse(name: str, diagonal: np.ndarray, outgoing: tuple[Link, ...]) -> np.ndarray:
    """D⁻¹ from its diagonal part (B or 1, n) and the affine edges that leave the vertex."""
    dense = [
        (link.weight, link.operation) for link in outgoing if isinstance(link.operation, Affine)
    ]
    if not dense:
        return 1 / diagonal
    n, size = diagonal.shape[1], diagonal.size * diagonal.shape[1]
    if size > ENTRIES:
        raise ValueError(
            f"stalk {name!r} is {n} wide and an affine edge leaves it: its vertex solves would hold"
            f" {size} numbers, at most {ENTRIES} are allowed; take fewer samples, or `currents`"
        )
    grams = sum((weight * _gram(affine) for weight, affine in dense), np.zeros((n, n)))
    return np.linalg.inv(grams + diagonal[:, :, None] * np.eye(n))


def _gram(affine: Affine) -> np.ndarray:
    """WᵀW, dense."""
    if isinstance(affine.weight, np.ndarray):
        return affine.weight.T @ affine.weight
    rows, columns, entries = affine.triplets()
    W = sp.sparse.csr_array((entries, (rows, columns)), shape=(affine.n_out, affine.n_in))
    return (W.T @ W).toarray()
