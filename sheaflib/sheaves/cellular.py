"""A cellular sheaf on a graph: the general definition, of which a network with a frozen pattern is
an instance (the paper's construction).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Mapping, Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.sheaves.layout import Layout
from sheaflib.support.checks import (
    brief,
    instance,
    items,
    positive,
    real_array,
    room,
    sparse_matrix,
    whole,
)


@dataclass(frozen=True, eq=False)
class SheafEdge:
    """An oriented edge tail → head with its two restriction maps into the edge stalk (d, n_tail)
    and (d, n_head).
    """

    name: str
    tail: str
    head: str
    from_tail: sp.sparse.csr_array
    from_head: sp.sparse.csr_array
    weight: float = 1.0


class CellularSheaf:
    """Stalks on vertices and edges, and restriction maps; the coboundary is (δω)_e = F_{head→e}
    ω_head − F_{tail→e} ω_tail.

    vertices: name -> dimension of its stalk. edges: tuples (tail, head, from_tail, from_head[,
    weight]), or SheafEdge objects. Dense matrices of all coordinates are formed only by the
    cohomology methods.

    >>> edges = [("a", "b", [[1]], [[1]]), ("b", "c", [[1]], [[1]])]
    >>> path = CellularSheaf({"a": 1, "b": 1, "c": 1}, edges)
    >>> path.harmonic_extension({"a": [0.0], "c": [1.0]})["b"]
    array([0.5])
    """

    def __init__(self, vertices: Mapping[str, int], edges: Sequence):
        instance("vertices", vertices, Mapping, "{name: dimension}")
        self.layout = Layout(
            tuple(vertices),
            tuple(whole(f"vertices[{brief(v)}]", n, 0) for v, n in vertices.items()),
        )
        room("vertices", vertices, self.layout.size)
        self.edges = tuple(self._edge(edge) for edge in items("edges", edges))
        self.edge_layout = Layout(
            tuple(e.name for e in self.edges), tuple(e.from_tail.shape[0] for e in self.edges)
        )
        if len(set(self.edge_layout.names)) < len(self.edges):
            raise ValueError(
                "edges repeat a name; give parallel edges names of their own with SheafEdge"
            )

    def _edge(self, edge: SheafEdge | Sequence) -> SheafEdge:
        if not isinstance(edge, SheafEdge):
            entries = items(f"an entry of edges, {brief(edge)},", edge)
            if len(entries) not in (4, 5):
                raise ValueError(
                    f"edges holds {len(entries)} entries in {brief(edge)}, "
                    "expected (tail, head, from_tail, from_head[, weight])"
                )
            tail, head, from_tail, from_head, *weight = entries
            name = f"{self._vertex('edges', tail)}-{self._vertex('edges', head)}"
            maps = (self._matrix(name, given) for given in (from_tail, from_head))
            edge = SheafEdge(name, tail, head, *maps, *weight)
        if not isinstance(edge.name, str):
            raise TypeError(f"edges holds one with name={brief(edge.name)}, expected text")
        edge = replace(
            edge,
            from_tail=self._restriction(edge, "from_tail"),
            from_head=self._restriction(edge, "from_head"),
            weight=positive(f"weight of edge {edge.name!r}", edge.weight),
        )
        for end in ("tail", "head"):
            vertex, restriction = getattr(edge, end), getattr(edge, f"from_{end}")
            s = self.layout[self._vertex(f"edge {edge.name!r}: {end}", vertex)]
            if restriction.shape != (edge.from_tail.shape[0], s.stop - s.start):
                raise ValueError(
                    f"from_{end}, the restriction map from {vertex!r} to edge {edge.name!r} has"
                    f" shape {restriction.shape}, expected ({edge.from_tail.shape[0]},"
                    f" {s.stop - s.start})"
                )
        return edge

    def _vertex(self, what: str, vertex: str) -> str:
        """`vertex`, one of the sheaf's; ValueError for any other."""
        if vertex not in self.layout:
            raise ValueError(
                f"{what} names the vertex {brief(vertex)}, expected one of vertices:"
                f" {', '.join(map(str, self.layout.names))}"
            )
        return vertex

    @staticmethod
    def _matrix(edge: str, given: ArrayLike) -> sp.sparse.csr_array:
        name = f"edges: restriction map of {edge}"
        matrix = np.atleast_2d(real_array(name, given))
        if matrix.ndim != 2:
            raise ValueError(f"{name} has shape {matrix.shape}, expected two dimensions")
        return sp.sparse.csr_array(matrix)

    @staticmethod
    def _restriction(edge: SheafEdge, end: str) -> sp.sparse.csr_array:
        given = getattr(edge, end)
        if not sp.sparse.issparse(given):
            raise TypeError(
                f"{end}, a restriction map of edge {edge.name!r}, is a {type(given).__name__},"
                " expected a sparse matrix"
            )
        return sparse_matrix(f"{end} of edge {edge.name!r}", given)

    @cached_property
    def coboundary(self) -> sp.sparse.csr_array:
        """δ: C⁰ -> C¹, sparse (dim C¹, dim C⁰), rows and columns in the order of edges and
        vertices.
        """
        parts = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
        for edge in self.edges:
            row = self.edge_layout[edge.name].start
            for vertex, sign, restriction in (
                (edge.tail, -1, edge.from_tail),
                (edge.head, 1, edge.from_head),
            ):
                entries = restriction.tocoo()
                column = self.layout[vertex].start
                parts.append(
                    (entries.coords[0] + row, entries.coords[1] + column, sign * entries.data)
                )
        rows, columns, entries = (np.concatenate(part) for part in zip(*parts))
        shape = (self.edge_layout.size, self.layout.size)
        return sp.sparse.csr_array((entries, (rows, columns)), shape=shape)

    @cached_property
    def weights(self) -> np.ndarray:
        """The edge weights, one a row of δ: (dim C¹,)."""
        return np.repeat([e.weight for e in self.edges], self.edge_layout.dims).astype(float)

    @cached_property
    def laplacian(self) -> sp.sparse.csr_array:
        """L = δᵀ diag(w) δ, sparse (dim C⁰, dim C⁰)."""
        weights = sp.sparse.diags_array(self.weights)
        return sp.sparse.csr_array(self.coboundary.T @ weights @ self.coboundary)

    def global_sections(self) -> np.ndarray:
        """An orthonormal basis of H⁰ = ker δ, one section a column: (dim C⁰, dim H⁰)."""
        return sp.linalg.null_space(self.coboundary.toarray())

    @property
    def dim_h0(self) -> int:
        """dim H⁰(G; F)."""
        return self.layout.size - self._rank(self.coboundary)

    @property
    def dim_h1(self) -> int:
        """dim H¹(G; F) = dim coker δ."""
        return self.edge_layout.size - self._rank(self.coboundary)

    def relative_dims(self, boundary: np.ndarray) -> tuple[int, int]:
        """(dim H⁰(G, U; F), dim H¹(G, U; F)) for the boundary U given as indices into C⁰."""
        most = self.layout.size - 1
        index = [whole("boundary", i, least=0, most=most) for i in items("boundary", boundary)]
        return self._relative_dims(np.array(index, dtype=int))

    def _relative_dims(self, boundary: np.ndarray) -> tuple[int, int]:
        free = self._free(boundary)
        rank = self._rank(self.coboundary[:, free])
        return len(free) - rank, self.edge_layout.size - rank

    def harmonic_extension(self, boundary: Mapping[str, object]) -> dict[str, np.ndarray]:
        """The cochain that minimises ½ωᵀLω with ω fixed on the boundary, by vertex.

        boundary: vertex -> value of its whole stalk (n,), or vertex -> (coordinates, values).
        Raises ValueError when the extension is not unique, that is when H⁰(G, U; F) ≠ 0.
        """
        index, value = self._boundary(boundary)
        free = self._free(index)
        missing = self._relative_dims(index)[0]
        if missing:
            raise ValueError(
                "the harmonic extension is not unique: dim H⁰(G, U; F) ="
                f" {missing} for the boundary {', '.join(map(str, boundary))}"
            )
        w = np.zeros(self.layout.size)
        w[index] = value
        if len(free):
            L = self.laplacian
            load = -(L[free][:, index] @ value)
            w[free] = sp.sparse.linalg.spsolve(L[free][:, free].tocsc(), load)
        return self.layout.split(w)

    def _boundary(self, boundary: Mapping[str, object]) -> tuple[np.ndarray, np.ndarray]:
        index, value = [], []
        instance("boundary", boundary, Mapping, "a mapping vertex -> values")
        for vertex, given in boundary.items():
            name, s = f"boundary[{vertex!r}]", self.layout[self._vertex("boundary", vertex)]
            places, numbers = list(range(s.stop - s.start)), given
            if isinstance(given, tuple):
                if len(given) != 2:
                    raise ValueError(
                        f"{name} holds {len(given)} entries, expected (coordinates, values)"
                    )
                places, numbers = items(f"the coordinates of {name}", given[0]), given[1]
                most = s.stop - s.start - 1
                places = [whole(f"{name} names a coordinate", i, 0, most) for i in places]
            if len(set(places)) < len(places):
                raise ValueError(f"{name} names a coordinate twice: {places}")
            index += [s.start + i for i in places]
            value.append(real_array(name, numbers, (len(places),)))
        return np.array(index, dtype=int), np.concatenate(value) if value else np.zeros(0)

    def _free(self, boundary: np.ndarray) -> np.ndarray:
        return np.setdiff1d(np.arange(self.layout.size), boundary)

    @staticmethod
    def _rank(matrix: sp.sparse.csr_array) -> int:
        return int(np.linalg.matrix_rank(matrix.toarray())) if min(matrix.shape) else 0

    def __repr__(self) -> str:
        return (
            f"CellularSheaf({len(self.layout.names)} vertices, {len(self.edges)} edges, dim C⁰ ="
            f" {self.layout.size}, dim C¹ = {self.edge_layout.size})"
        )
