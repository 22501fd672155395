"""The paper's extended stalks: each vertex holds a block of ones for every affine map that reads
it, on which the bias acts as diag(b). x and the blocks of ones are the boundary U (§3.1).

A clamp is affine with a constant, the bound, on its outer sides; so it has a block of ones too, on
which diag(c_z) acts, as R_z does on z: 0 between the bounds, and the bound where z is beyond one
(derived).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Iterator

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import INPUT, Node
from sheaflib.networks.operations import Operation
from sheaflib.networks.selection import Elementwise
from sheaflib.sheaves.cellular import CellularSheaf, SheafEdge
from sheaflib.sheaves.layout import Layout
from sheaflib.support.checks import batch

if TYPE_CHECKING:
    from sheaflib.sheaves.neural import NeuralSheaf


def has_constant(operation: Operation) -> bool:
    """Whether an operation adds something to F_s a: an affine map, and a clamp."""
    if isinstance(operation, Elementwise):
        return any(operation.offsets)
    return isinstance(operation, Affine)


class ExtendedStalks:
    """The stalks, the boundary and the restriction maps of a `NeuralSheaf` as the paper draws them.

    >>> from sheaflib import Network, NeuralSheaf
    >>> sheaf = NeuralSheaf(Network.mlp([[[2.0]]], [[1.0]]))
    >>> sheaf.extended.boundary_values([[3.0]])  # x, and a one for the bias
    array([[3., 1.]])
    """

    def __init__(self, sheaf: NeuralSheaf):
        self.sheaf = sheaf

    @cached_property
    def ones_blocks(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """Vertex -> its ones-blocks: (node that reads it, width), one for every affine map and
        every clamp. What the node adds acts on them as diag(b).
        """
        readers = [node for node in self.sheaf.network.nodes if has_constant(node.operation)]
        return {
            v: tuple((n.name, n.operation.n_out) for n in readers if n.inputs == (v,))
            for v in (INPUT, *self.sheaf.layout.names)
        }

    @cached_property
    def layout(self) -> Layout:
        """C⁰ with the paper's extended stalks: v_x = R^{n_0} ⊕ ones, v_zℓ, v_aℓ = R^{n_ℓ} ⊕
        ones.
        """
        dims = (self.sheaf.network.n_in, *self.sheaf.layout.dims)
        names = (INPUT, *self.sheaf.layout.names)
        return Layout(
            names,
            tuple(n + sum(width for _, width in self.ones_blocks[v]) for v, n in zip(names, dims)),
        )

    @cached_property
    def boundary_index(self) -> np.ndarray:
        """The coordinates of C⁰ that belong to the boundary U: x and every ones-block."""
        free = np.concatenate(
            [
                np.arange(self.layout[v].start, self.layout[v].start + n)
                for v, n in zip(self.sheaf.layout.names, self.sheaf.layout.dims)
            ]
        )
        return np.setdiff1d(np.arange(self.layout.size), free)

    def boundary_values(self, x: ArrayLike) -> np.ndarray:
        """The boundary data u = (x, 1, …, 1), one row a sample: (B, n_U), in the order of
        `boundary_index`.
        """
        x = batch(INPUT, x, self.sheaf.network.n_in)
        return np.hstack([x, np.ones((len(x), len(self.boundary_index) - self.sheaf.network.n_in))])

    def cellular(self, pattern: ArrayLike) -> CellularSheaf:
        """The sheaf of one frozen pattern as a `CellularSheaf` with the paper's extended stalks and
        restriction maps.
        """
        s = self.sheaf.one_pattern(pattern)
        edges = [edge for node in self.sheaf.network.nodes for edge in self._sheaf_edges(node, s)]
        return CellularSheaf(dict(zip(self.layout.names, self.layout.dims)), edges)

    def boundary_coboundary(self, pattern: ArrayLike) -> sp.sparse.csr_array:
        """δ_U for one pattern, sparse (N, n_U); columns in the order of `boundary_values`."""
        return self.cellular(pattern).coboundary[:, self.boundary_index]

    def boundary_laplacian(self, pattern: ArrayLike) -> sp.sparse.csr_array:
        """L[Ω,U] = δ_Ωᵀ diag(w_e) δ_U for one pattern, sparse (N, n_U)."""
        weights = sp.sparse.diags_array(self.sheaf.row_weights[: self.sheaf.N])
        delta = self.sheaf.coboundary(pattern)
        return sp.sparse.csr_array(delta.T @ weights @ self.boundary_coboundary(pattern))

    def _sheaf_edges(self, node: Node, s: np.ndarray) -> Iterator[SheafEdge]:
        """The edges into one node: [W | diag b] and I; R and [I | 0]; [R | diag c] and [I | 0] for
        a clamp; [I | 0] and a projection.
        """
        own_pattern = self.sheaf.own(node, s)
        rows, columns, entries = node.operation.triplets(own_pattern[0])
        size = (node.operation.n_out, node.operation.n_in)
        linear = sp.sparse.csr_array((entries, (rows, columns)), shape=size)
        for edge in (e for e in self.sheaf.edges if e.head == node.name):
            first = self.sheaf.layout[node.name].start
            local = slice(edge.rows.start - first, edge.rows.stop - first)
            tail_map = linear[local][:, local] if edge.kind == "projection" else linear
            blocks = [tail_map]
            for reader, width in self.ones_blocks[edge.tail]:
                own = reader == node.name
                blocks.append(
                    sp.sparse.diags_array(node.operation.constant(own_pattern)[0])
                    if own
                    else sp.sparse.csr_array((edge.dim, width))
                )
            from_tail = sp.sparse.csr_array(sp.sparse.hstack(blocks))
            ones = sum(width for _, width in self.ones_blocks[node.name])
            from_head = sp.sparse.eye_array(node.operation.n_out + ones, format="csr")[local]
            yield SheafEdge(
                edge.name,
                edge.tail,
                edge.head,
                from_tail,
                sp.sparse.csr_array(from_head),
                self.sheaf.edge_weights[edge.name],
            )
