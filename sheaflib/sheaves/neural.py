"""The cellular sheaf of a network: one vertex per quantity, one edge per computational step (Lemma
3.2).

A cochain on the free coordinates Ω is one flat array w (B, N), N = Σ widths, in topological order.
The sheaf never sees layers: block i of the forward pass is F_i(blocks before i), so δ_Ω = I −
(strictly lower triangular) and det δ_Ω = 1. A sigmoid or softmax output adds one block "a_out";
cochains of that augmented width are accepted where it says so.
"""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import Mapping

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.foreign import way_from
from sheaflib.networks.graph import (
    A_OUT,
    INPUT,
    Network,
    Node,
    check_network,
    forward_values,
    gather,
)
from sheaflib.networks.selection import Selection
from sheaflib.sheaves.edges import edge_weights_of, edges_of
from sheaflib.sheaves.extended import ExtendedStalks
from sheaflib.sheaves.layout import Layout
from sheaflib.support.checks import batch, brief, flag, real_array, whole


def check_sheaf(sheaf: object) -> NeuralSheaf:
    """Raise TypeError unless `sheaf` is a NeuralSheaf, and say what to make of what came."""
    if not isinstance(sheaf, NeuralSheaf):
        raise TypeError(
            f"sheaf is a {type(sheaf).__name__}, expected NeuralSheaf(network){way_from(sheaf)}"
        )
    return sheaf


class NeuralSheaf:
    """The cellular sheaf of a network: a vertex for every quantity, an edge for every step.

    A state of it, a cochain, holds a value of every quantity but the input; they are the free
    coordinates Ω. It is an array w of shape (B, N) with one row a sample, where the stalks stand
    side by side in topological order and N is the sum of their widths. What every edge disagrees by
    is ``δw − c``, where c comes from the input and the biases. As each quantity is computed from
    earlier ones, δ on the free coordinates is the identity minus a strictly lower triangular
    matrix, so its determinant is 1.

    A sigmoid or softmax output adds one more block, ``"a_out"``, and one more edge. A cochain with
    this block, of N + n_out columns, is called augmented, and is taken where it says so. An
    activation pattern is an array of shape (B, M), or (M,) for one sample.

    The edges are named by kind and number, ``"affine_1"``, ``"activation_1"``, …,
    ``"projection_1"``, …, ``"output"``.

    Parameters
    ----------
    network : Network
        The network.
    edge_weights : float or mapping of str to float, default 1.0
        One positive number for every edge, or a mapping from names of edges to numbers, 1 where it
        names none. With the weights w_e the energy is ``V(w) = ½ Σ_e w_e ‖(δw − c)_e‖²`` and the
        Laplacian is ``L = δᵀ diag(w_e) δ``.

    Attributes
    ----------
    network : Network
        The network.
    edge_weights : mapping of str to float
        The weight of every edge by its name.
    edges : tuple of Edge
        The edges, with name, kind, tail, head, and the rows of δ that belong to each.
    layout : Layout
        Which columns of a cochain belong to which stalk, ``sheaf.layout["z1"]`` being a slice.
    pattern_layout : Layout
        Which columns of a pattern belong to which node.

    Raises
    ------
    ValueError
        If an edge is unknown or a weight is not positive.
    TypeError
        If `network` is no `Network`.

    Notes
    -----
    In the paper: section 3.1 and Lemma 3.2; edge weights are derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> sheaf = NeuralSheaf(Network.mlp([[[2.0]], [[3.0]]], [[1.0], [0.0]]))
    >>> sheaf.forward([[1.0]])
    array([[3., 3., 9.]])
    >>> sheaf.coboundary([True]).toarray()
    array([[ 1.,  0.,  0.],
           [-1.,  1.,  0.],
           [ 0., -3.,  1.]])
    """

    def __init__(self, network: Network, edge_weights: float | Mapping[str, float] = 1.0):
        self.network = check_network(network)
        self.layout = Layout(
            tuple(n.name for n in network.nodes),
            tuple(n.operation.n_out for n in network.nodes),
            tuple(network.shapes.get(n.name) for n in network.nodes),
        )
        selections = [n for n in network.nodes if isinstance(n.operation, Selection)]
        self.pattern_layout = Layout(
            tuple(n.name for n in selections), tuple(n.operation.n_pattern for n in selections)
        )
        self.edges = edges_of(network, self.augmented_layout)
        self.edge_weights = MappingProxyType(edge_weights_of(edge_weights, self.edges))

    def __reduce__(self) -> tuple[type[NeuralSheaf], tuple[Network, dict[str, float]]]:
        return NeuralSheaf, (self.network, dict(self.edge_weights))

    @property
    def N(self) -> int:
        """The number of free coordinates, dim Ω = dim C¹; ``a_out`` is not counted."""
        return self.layout.size

    @property
    def M(self) -> int:
        """The length of an activation pattern, so that a ReLU network has ``2^M`` patterns."""
        return self.pattern_layout.size

    @cached_property
    def augmented_layout(self) -> Layout:
        """The layout with ``a_out`` at the end.

        For an identity output, which has no such block, it is the plain layout.
        """
        if self.network.output.is_identity:
            return self.layout
        last = self.network.shapes.get(self.network.output_name)
        return Layout(
            self.layout.names + (A_OUT,),
            self.layout.dims + (self.network.n_out,),
            self.layout.shapes + (last,),
        )

    @cached_property
    def row_weights(self) -> np.ndarray:
        """The edge weights, one for each coordinate of the (augmented) cochain."""
        return np.concatenate([np.full(e.dim, self.edge_weights[e.name]) for e in self.edges])

    # cochains
    # ----------------------------------------------------------------------------------------------

    def cochain(self, name: str, w: ArrayLike) -> np.ndarray:
        """Check a cochain and return it as float64.

        Parameters
        ----------
        name : str
            The name of the argument, which the message of an error says.
        w : array_like, shape (B, N) or (B, N + n_out)
            The cochain, one row a sample; with n_out columns more it is augmented.

        Returns
        -------
        ndarray, shape (B, N) or (B, N + n_out)
            The cochain.

        Raises
        ------
        ValueError
            If it has another shape or holds numbers that are not finite.
        TypeError
            If it is no array of real numbers, such as a `Solution` in place of its cochain.
        """
        if hasattr(w, "cochain"):
            raise TypeError(f"{name} is a {type(w).__name__}, expected its array: use .cochain")
        w = real_array(name, w)
        width = (
            self.augmented_layout.size
            if w.ndim and w.shape[-1] == self.augmented_layout.size
            else self.N
        )
        return batch(name, w, width)

    def forward(self, x: ArrayLike, augmented: bool = False) -> np.ndarray:
        """Compute the forward pass as a cochain.

        It may be asked for in any range: every entry is exact for weights, biases and inputs that
        differ from the given ones by a relative 1e-14 at most.

        Parameters
        ----------
        x : array_like, shape (B, n_0)
            The inputs, one row a sample.
        augmented : bool, default False
            Whether ``a_out = φ(z^(k+1))`` is appended.

        Returns
        -------
        ndarray, shape (B, N) or (B, N + n_out)
            The values of all stalks, one row a sample.

        Raises
        ------
        OverflowError
            If a value leaves the range of float64.
        """
        x = batch(INPUT, x, self.network.n_in)
        augmented = flag("augmented", augmented)
        w = np.empty((len(x), self.augmented_layout.size if augmented else self.N))
        with np.errstate(over="ignore", invalid="ignore"):
            for rows, values in forward_values(self.network, x):
                for name, place in self.layout.slices.items():
                    w[rows, place] = values[name]
                if augmented and not self.network.output.is_identity:
                    w[rows, self.N :] = self.network.output.value(values[self.network.output_name])
        return w

    def pattern(self, w: ArrayLike, x: ArrayLike) -> np.ndarray:
        """Return the activation pattern of a cochain.

        Parameters
        ----------
        w : array_like, shape (B, N) or (B, N + n_out)
            The cochain, one row a sample; with n_out columns more it is augmented.
        x : array_like, shape (B, n_0)
            The inputs, one row a sample.

        Returns
        -------
        ndarray, shape (B, M)
            True where a neuron is active, z ≥ 0; for a max-pool the chosen place of each window,
            and for a clamp the number of bounds that are reached.
        """
        w, x = self._state(w, x)
        values = self._values(w, x)
        parts = [
            node.operation.pattern(gather(values, node))
            for node in self.network.nodes
            if node.name in self.pattern_layout
        ]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(w), 0), dtype=bool)

    def forward_pattern(self, x: ArrayLike) -> np.ndarray:
        """Return the activation pattern of the forward pass.

        Parameters
        ----------
        x : array_like, shape (B, n_0)
            The inputs, one row a sample.

        Returns
        -------
        ndarray, shape (B, M)
            The pattern, as `NeuralSheaf.pattern` gives it.

        Raises
        ------
        OverflowError
            If the forward pass leaves the range of float64.
        """
        return self.pattern(self.forward(x), x)

    def check_pattern(self, pattern: ArrayLike, n_batch: int | None = None) -> np.ndarray:
        """Check a pattern and return it with two axes.

        Parameters
        ----------
        pattern : array_like, shape (M,) or (B, M)
            Booleans, coefficients of ReLUs in [0, 1], or the choices of max-pools.
        n_batch : int, optional
            How many samples there are; then there must be one pattern, or one for each sample.

        Returns
        -------
        ndarray, shape (B, M) or (1, M)
            The pattern.

        Raises
        ------
        ValueError
            If it has another shape, or an entry that the operation does not know.
        """
        real_array("pattern", pattern)
        s = np.asarray(pattern)
        s = s[None] if s.ndim == 1 else s
        if s.ndim != 2 or s.shape[1] != self.M:
            raise ValueError(
                f"pattern has shape {np.shape(pattern)}, expected ({self.M},) or (B, {self.M}):"
                " sheaf.forward_pattern(x) makes the patterns of inputs x"
            )
        if not len(s):
            raise ValueError(
                f"pattern is an empty batch: got (0, {self.M}), expected (B, {self.M}) with B ≥ 1"
            )
        if n_batch is not None and len(s) not in (1, whole("n_batch", n_batch)):
            raise ValueError(
                f"pattern has {len(s)} rows, expected 1 or {brief(n_batch)}: one a sample"
            )
        for node in self.network.nodes:
            if node.name in self.pattern_layout and s.size:
                node.operation.check_pattern(node.name, s[:, self.pattern_layout[node.name]])
        return s

    # δ, δᵀ, V
    # ----------------------------------------------------------------------------------------------

    def discrepancy(
        self, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None
    ) -> np.ndarray:
        """Return what every edge disagrees by, ``δw − c``.

        Block by block it is what stands in the cochain minus what the edge computes from the blocks
        before, and for an augmented cochain also ``a_out − φ(z^(k+1))``. It may be asked for in any
        range: every entry has an error of a few ε = 2⁻⁵² of the terms that it is a sum of
        (`NeuralSheaf.edge_terms`), which is all that is left of a small one.

        Parameters
        ----------
        w : array_like, shape (B, N) or (B, N + n_out)
            The cochain, one row a sample; with n_out columns more it is augmented.
        x : array_like, shape (B, n_0)
            The inputs, one row a sample.
        pattern : array_like, shape (M,) or (B, M), optional
            A pattern at which the selections are frozen; by default they follow `w`.

        Returns
        -------
        ndarray
            The disagreement of each coordinate, of the shape of `w`.
        """
        w, x = self._state(w, x)
        pattern = None if pattern is None else self.check_pattern(pattern, len(w))
        values, e = self._values(w, x), w.copy()
        for node in self.network.nodes:
            s = None if pattern is None else self.own(node, pattern)
            e[:, self.layout[node.name]] -= node.operation.value(gather(values, node), s)
        if w.shape[1] > self.N:
            e[:, self.N :] -= self.network.output.value(values[self.network.output_name])
        return e

    def push(self, v: ArrayLike, pattern: ArrayLike) -> np.ndarray:
        """Multiply by the coboundary ``δ_Ω`` at a frozen pattern.

        Every entry has an error of a few ε = 2⁻⁵² of its terms ``|δ_Ω||v|``, whatever the scales.

        Parameters
        ----------
        v : array_like, shape (B, N)
            The vectors, one row a sample.
        pattern : array_like, shape (M,) or (B, M)
            The frozen pattern.

        Returns
        -------
        ndarray, shape (B, N)
            The products ``δ_Ω v``.
        """
        v = batch("v", v, self.N)
        return self.delta(v, self.check_pattern(pattern, len(v)))

    def delta(self, v: np.ndarray, pattern: np.ndarray) -> np.ndarray:
        """Multiply by the coboundary as `NeuralSheaf.push` does, but check nothing.

        Parameters
        ----------
        v : ndarray, shape (B, N)
            The vectors, one row a sample.
        pattern : ndarray, shape (B, M)
            The frozen pattern.

        Returns
        -------
        ndarray, shape (B, N)
            The products ``δ_Ω v``.
        """
        values, out = self._values(v, np.zeros((len(v), self.network.n_in))), v.copy()
        for node in self.network.nodes:
            out[:, self.layout[node.name]] -= node.operation.linear(
                gather(values, node), self.own(node, pattern)
            )
        return out

    def pull(self, e: ArrayLike, pattern: ArrayLike) -> np.ndarray:
        """Multiply by the transposed coboundary ``δ_Ωᵀ`` at a frozen pattern.

        Every entry has an error of a few ε = 2⁻⁵² of its terms ``|δ_Ω|ᵀ|e|``, whatever the scales.

        Parameters
        ----------
        e : array_like, shape (B, N)
            The vectors over the edges, one row a sample.
        pattern : array_like, shape (M,) or (B, M)
            The frozen pattern.

        Returns
        -------
        ndarray, shape (B, N)
            The products ``δ_Ωᵀ e``.
        """
        e = batch("e", e, self.N)
        return self.delta_transposed(e, self.check_pattern(pattern, len(e)))

    def delta_transposed(
        self, e: np.ndarray, pattern: np.ndarray, sizes: bool = False
    ) -> np.ndarray:
        """Multiply by the transposed coboundary as `NeuralSheaf.pull` does, but check nothing.

        Parameters
        ----------
        e : ndarray, shape (B, N)
            The vectors over the edges, one row a sample.
        pattern : ndarray, shape (B, M)
            The frozen pattern.
        sizes : bool, default False
            Whether the absolute values ``|δ_Ω|ᵀ`` take the place of ``δ_Ωᵀ``.

        Returns
        -------
        ndarray, shape (B, N)
            The products.
        """
        out = e.copy()
        for node in self.network.nodes:
            self.scatter(
                node, e[:, self.layout[node.name]], pattern, out, 1.0 if sizes else -1.0, sizes
            )
        return out

    def scatter(
        self,
        node: Node,
        e: np.ndarray,
        pattern: np.ndarray,
        out: np.ndarray,
        sign: float = 1.0,
        sizes: bool = False,
    ) -> None:
        """Add or subtract ``Fᵀ e``, F the map of one node, where the node reads.

        It is added in place to the blocks of `out` that the node reads. The input x belongs to the
        boundary and is left out.

        Parameters
        ----------
        node : Node
            The node.
        e : ndarray, shape (B, n)
            One vector for each sample, as wide as the node.
        pattern : ndarray, shape (B, M)
            The frozen pattern.
        out : ndarray, shape (B, N)
            What is added to.
        sign : float, default 1.0
            1 to add, −1 to subtract.
        sizes : bool, default False
            Whether the absolute values ``|F|ᵀ`` take the place of ``Fᵀ``.
        """
        if node.inputs == (INPUT,):
            return
        adjoint = node.operation.absolute_adjoint if sizes else node.operation.adjoint
        back, start = adjoint(e, self.own(node, pattern)), 0
        for name in node.inputs:
            width = (
                self.network.n_in
                if name == INPUT
                else self.layout[name].stop - self.layout[name].start
            )
            if name != INPUT:
                here, part = self.layout[name], back[:, start : start + width]
                (np.add if sign > 0 else np.subtract)(out[:, here], part, out=out[:, here])
            start += width

    def edge_terms(
        self, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None
    ) -> np.ndarray:
        """Return ``|δ||w| + |c|``, the sizes of the terms of the discrepancy.

        Up to a factor of some ε = 2⁻⁵² they are the rounding errors of `NeuralSheaf.discrepancy`.

        Parameters
        ----------
        w : array_like, shape (B, N) or (B, N + n_out)
            The cochain, one row a sample; with n_out columns more it is augmented.
        x : array_like, shape (B, n_0)
            The inputs, one row a sample.
        pattern : array_like, shape (M,) or (B, M), optional
            A pattern at which the selections are frozen; by default they follow `w`.

        Returns
        -------
        ndarray
            The size for each coordinate, of the shape of `w`.
        """
        w, x = self._state(w, x)
        s = (
            self.pattern(w[:, : self.N], x)
            if pattern is None
            else self.check_pattern(pattern, len(w))
        )
        sizes, terms = self._values(np.abs(w), np.abs(x)), np.abs(w)
        for node in self.network.nodes:
            terms[:, self.layout[node.name]] += node.operation.absolute(
                gather(sizes, node), self.own(node, s)
            )
        if w.shape[1] > self.N:
            terms[:, self.N :] += np.abs(
                self.network.output.value(w[:, self.layout[self.network.output_name]])
            )
        return terms

    def gradient_terms(
        self, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None
    ) -> np.ndarray:
        """Return ``|δ|ᵀ diag(w_e) (|δ||w| + |c|)``, the sizes of the terms of ``∂V/∂w``.

        A coordinate is at rest, as far as double precision can tell, where ``|∂V/∂w|`` is at most
        some ε = 2⁻⁵² times these terms of its own. Then the equation of that coordinate holds for
        entries of δ and δᵀ, and products of them, that each differ by so much, relative. What an
        edge carries may yet be far from its minimum, where a stiff direction hides a soft one
        (`sheaflib.equilibria.newton_steps`).

        Parameters
        ----------
        w : array_like, shape (B, N) or (B, N + n_out)
            The cochain, one row a sample; with n_out columns more it is augmented.
        x : array_like, shape (B, n_0)
            The inputs, one row a sample.
        pattern : array_like, shape (M,) or (B, M), optional
            A pattern at which the selections are frozen; by default they follow `w`.

        Returns
        -------
        ndarray
            The size for each coordinate, of the shape of `w`.
        """
        w = self.cochain("w", w)
        s = (
            self.pattern(w[:, : self.N], x)
            if pattern is None
            else self.check_pattern(pattern, len(w))
        )
        stress = self.row_weights[: w.shape[1]] * self.edge_terms(w, x, s)
        terms = np.hstack(
            [self.delta_transposed(stress[:, : self.N], s, sizes=True), stress[:, self.N :]]
        )
        # ‖J_φ‖ ≤ 1 in every norm that counts here
        if w.shape[1] > self.N:
            terms[:, self.layout[self.network.output_name]] += stress[:, self.N :].sum(
                axis=1, keepdims=True
            )
        return terms

    def energy(self, w: ArrayLike, x: ArrayLike, pattern: ArrayLike | None = None) -> np.ndarray:
        """Return the energy ``V = ½ Σ_e w_e ‖(δw − c)_e‖²`` of every sample.

        It is exact, up to rounding, for a discrepancy that has the error which
        `NeuralSheaf.discrepancy` names. It is infinite where V or a square in it is above 1.8e308;
        squares below 1e-308 are lost.

        Parameters
        ----------
        w : array_like, shape (B, N) or (B, N + n_out)
            The cochain, one row a sample; with n_out columns more it is augmented.
        x : array_like, shape (B, n_0)
            The inputs, one row a sample.
        pattern : array_like, shape (M,) or (B, M), optional
            A pattern at which the selections are frozen; by default they follow `w`.

        Returns
        -------
        ndarray, shape (B,)
            One number a sample.
        """
        e = self.discrepancy(w, x, pattern)
        with np.errstate(over="ignore"):
            return 0.5 * (self.row_weights[: e.shape[1]] * e**2).sum(axis=1)

    # matrices for one frozen pattern
    # ---------------------------------------------------------------------------------

    def coboundary(self, pattern: ArrayLike) -> sp.sparse.csr_array:
        """Return the coboundary ``δ_Ω`` of one frozen pattern as a sparse matrix.

        It is lower triangular with ones on its diagonal (Lemma 3.2), and its entries are the given
        weights themselves.

        Parameters
        ----------
        pattern : array_like, shape (M,)
            The pattern.

        Returns
        -------
        csr_array, shape (N, N)
            The matrix.
        """
        s = self.one_pattern(pattern)
        parts = [(np.arange(self.N, dtype=np.int32),) * 2 + (np.ones(self.N),)]
        for node in self.network.nodes:
            rows, columns, entries = node.operation.triplets(self.own(node, s)[0])
            target = self.columns(node)[columns]
            free = slice(None) if INPUT not in node.inputs else target >= 0
            parts.append(
                (rows[free] + np.int32(self.layout[node.name].start), target[free], -entries[free])
            )
        rows, columns, entries = (np.concatenate(part) for part in zip(*parts))
        return sp.sparse.csr_array((entries, (rows, columns)), shape=(self.N, self.N))

    def laplacian(self, pattern: ArrayLike) -> sp.sparse.csr_array:
        """Return the Laplacian ``L[Ω,Ω] = δ_Ωᵀ diag(w_e) δ_Ω`` of one frozen pattern.

        Parameters
        ----------
        pattern : array_like, shape (M,)
            The pattern.

        Returns
        -------
        csr_array, shape (N, N)
            The matrix.
        """
        delta = self.coboundary(pattern)
        weights = sp.sparse.diags_array(self.row_weights[: self.N])
        return sp.sparse.csr_array(delta.T @ weights @ delta)

    @cached_property
    def extended(self) -> ExtendedStalks:
        """The paper's stalks and boundary, as an `ExtendedStalks`.

        Its method ``cellular`` makes the sheaf of one frozen pattern as a `CellularSheaf`.
        """
        return ExtendedStalks(self)

    # helpers
    # ----------------------------------------------------------------------------------------------

    def _state(self, w: ArrayLike, x: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """A cochain and its inputs, checked to have as many rows."""
        w, x = self.cochain("w", w), batch(INPUT, x, self.network.n_in)
        if len(w) != len(x):
            raise ValueError(
                f"w has {len(w)} rows and x has {len(x)}, expected as many: one a sample"
            )
        return w, x

    def _values(self, w: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
        return {INPUT: x, **self.layout.split(w)}

    def own(self, node: Node, pattern: np.ndarray) -> np.ndarray:
        """Return the part of a pattern that belongs to one node.

        Parameters
        ----------
        node : Node
            The node.
        pattern : ndarray, shape (B, M)
            The pattern.

        Returns
        -------
        ndarray, shape (B, n_pattern)
            Its columns that belong to the node; none for a node without a pattern.
        """
        return (
            pattern[:, self.pattern_layout[node.name]]
            if node.name in self.pattern_layout
            else pattern[:, :0]
        )

    def one_pattern(self, pattern: ArrayLike) -> np.ndarray:
        """Check that a pattern is a single one.

        Parameters
        ----------
        pattern : array_like, shape (M,) or (1, M)
            The pattern.

        Returns
        -------
        ndarray, shape (1, M)
            The pattern.

        Raises
        ------
        ValueError
            If there are several, or it is no pattern of this sheaf.
        """
        s = self.check_pattern(pattern)
        if len(s) != 1:
            raise ValueError(
                f"pattern has shape {s.shape}, expected one pattern ({self.M},): a matrix belongs"
                " to one sample"
            )
        return s

    def columns(self, node: Node) -> np.ndarray:
        """Return where each coordinate that a node reads lies among the free ones.

        Parameters
        ----------
        node : Node
            The node.

        Returns
        -------
        ndarray of int, shape (n_in,)
            Columns of a cochain; −1 for a coordinate of x.
        """
        parts = [
            (
                np.full(self.network.n_in, -1, np.int32)
                if name == INPUT
                else np.arange(self.layout[name].start, self.layout[name].stop, dtype=np.int32)
            )
            for name in node.inputs
        ]
        return np.concatenate(parts)

    def __repr__(self) -> str:
        return (
            f"NeuralSheaf({len(self.edges)} edges, N = {self.N}, M = {self.M}, output"
            f" {self.network.output.name})"
        )
