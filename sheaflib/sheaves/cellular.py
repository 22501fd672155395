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
    """An edge of a `CellularSheaf`, from a tail to a head, with its two restriction maps.

    A restriction map takes the value over one end of the edge to the stalk of the edge, whose
    dimension is d. Every parameter is an attribute of the same name.

    Parameters
    ----------
    name : str
        The name of the edge.
    tail : str
        The vertex at which it begins.
    head : str
        The vertex at which it ends.
    from_tail : csr_array, shape (d, n_tail)
        The restriction map from the stalk of the tail.
    from_head : csr_array, shape (d, n_head)
        The restriction map from the stalk of the head.
    weight : float, default 1.0
        How much its squared disagreement counts in the energy.

    Notes
    -----
    In the paper: section 3.1, where the edges of a network are made; weights are derived.

    Examples
    --------
    >>> import scipy as sp
    >>> from sheaflib import CellularSheaf, SheafEdge
    >>> one = sp.sparse.csr_array([[1.0]])
    >>> first = SheafEdge("first", "a", "b", one, one)
    >>> second = SheafEdge("second", "a", "b", one, 2 * one)
    >>> CellularSheaf({"a": 1, "b": 1}, [first, second]).coboundary.toarray()
    array([[-1.,  1.],
           [-1.,  2.]])
    """

    name: str
    tail: str
    head: str
    from_tail: sp.sparse.csr_array
    from_head: sp.sparse.csr_array
    weight: float = 1.0


class CellularSheaf:
    """A cellular sheaf on a graph, with vector spaces over vertices and edges.

    The space over a vertex or an edge is its stalk, and restriction maps F take the stalk of a
    vertex to the stalks of its edges. The coboundary takes values ω over the vertices to what every
    edge disagrees by, ``(δω)_e = F_(head→e) ω_head − F_(tail→e) ω_tail``. A network with a frozen
    activation pattern is such a sheaf. Dense matrices of all coordinates are formed only by the
    methods for cohomology.

    Parameters
    ----------
    vertices : mapping of str to int
        The dimension of the stalk of every vertex.
    edges : sequence of SheafEdge or tuple
        The edges. A tuple is (tail, head, from_tail, from_head) or (tail, head, from_tail,
        from_head, weight), with the two restriction maps as matrices and the weight 1 by default;
        such an edge is named ``"tail-head"``.

    Attributes
    ----------
    layout : Layout
        Which coordinates belong to which vertex.
    edges : tuple of SheafEdge
        The edges.
    edge_layout : Layout
        Which rows of the coboundary belong to which edge.

    Raises
    ------
    ValueError
        If an edge names an unknown vertex, a restriction map does not fit its stalks, a weight is
        not positive, or two edges have the same name.
    TypeError
        If `vertices` is no mapping, or the restriction maps of a `SheafEdge` are not sparse.

    Notes
    -----
    In the paper: section 3.1, whose sheaf of a network is an instance of this definition.

    Examples
    --------
    >>> from sheaflib import CellularSheaf
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
        """The coboundary δ: C⁰ -> C¹ as a sparse matrix (dim C¹, dim C⁰).

        Rows and columns stand in the order of the edges and of the vertices.
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
        """The edge weights, one for each row of the coboundary: (dim C¹,)."""
        return np.repeat([e.weight for e in self.edges], self.edge_layout.dims).astype(float)

    @cached_property
    def laplacian(self) -> sp.sparse.csr_array:
        """The Laplacian ``L = δᵀ diag(w) δ`` as a sparse matrix (dim C⁰, dim C⁰)."""
        weights = sp.sparse.diags_array(self.weights)
        return sp.sparse.csr_array(self.coboundary.T @ weights @ self.coboundary)

    def global_sections(self) -> np.ndarray:
        """Return an orthonormal basis of the global sections, ``H⁰ = ker δ``.

        Returns
        -------
        ndarray, shape (dim C⁰, dim H⁰)
            One section in each column.
        """
        return sp.linalg.null_space(self.coboundary.toarray())

    @property
    def dim_h0(self) -> int:
        """The dimension of ``H⁰(G; F)``, the space of the global sections."""
        return self.layout.size - self._rank(self.coboundary)

    @property
    def dim_h1(self) -> int:
        """The dimension of ``H¹(G; F)``, the cokernel of δ."""
        return self.edge_layout.size - self._rank(self.coboundary)

    def relative_dims(self, boundary: np.ndarray) -> tuple[int, int]:
        """Return the dimensions of the cohomology relative to a boundary U.

        Parameters
        ----------
        boundary : array_like of int
            The coordinates that belong to U, as indices into C⁰.

        Returns
        -------
        h0 : int
            The dimension of ``H⁰(G, U; F)``.
        h1 : int
            The dimension of ``H¹(G, U; F)``.
        """
        most = self.layout.size - 1
        index = [whole("boundary", i, least=0, most=most) for i in items("boundary", boundary)]
        return self._relative_dims(np.array(index, dtype=int))

    def _relative_dims(self, boundary: np.ndarray) -> tuple[int, int]:
        free = self._free(boundary)
        rank = self._rank(self.coboundary[:, free])
        return len(free) - rank, self.edge_layout.size - rank

    def harmonic_extension(self, boundary: Mapping[str, object]) -> dict[str, np.ndarray]:
        """Return the cochain of least energy ``½ ωᵀLω`` with given values on a boundary.

        Parameters
        ----------
        boundary : mapping
            Vertex -> the value of its whole stalk (n,), or vertex -> a tuple (coordinates, values)
            for some coordinates of it.

        Returns
        -------
        dict
            Vertex -> the value of its stalk, (n,).

        Raises
        ------
        ValueError
            If the extension is not unique, that is when ``H⁰(G, U; F)`` is not zero.
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
