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
    """The sheaf of a network. Edges are named as in the paper: affine_1, activation_1, …,
    projection_1, …, output.

    edge_weights: one positive number for every edge, or a mapping edge name -> number (default 1):
    V(w) = ½ Σ_e w_e ‖(δw − c)_e‖² and L = δᵀ diag(w_e) δ. ValueError for an unknown edge or a
    weight that is not positive.

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
        """The number of free coordinates, dim Ω = dim C¹ (a_out excluded)."""
        return self.layout.size

    @property
    def M(self) -> int:
        """The length of an activation pattern: 2^M patterns for a ReLU network."""
        return self.pattern_layout.size

    @cached_property
    def augmented_layout(self) -> Layout:
        """The layout with a_out at the end for a sigmoid or softmax output; the plain layout
        otherwise.
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
        """Edge weights, one a coordinate of the (augmented) cochain."""
        return np.concatenate([np.full(e.dim, self.edge_weights[e.name]) for e in self.edges])

    # cochains
    # ----------------------------------------------------------------------------------------------

    def cochain(self, name: str, w: ArrayLike) -> np.ndarray:
        """`w` checked: a finite float64 cochain (B, N), or (B, N + n_out) when the output adds
        a_out.
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
        """The forward pass as a cochain: (B, n_0) -> (B, N); with `augmented`, a_out = φ(z^{k+1})
        is appended.

        Range: any; every entry is exact for weights, biases and inputs that differ by a relative
        1e-14 at most. Raises OverflowError when it leaves float64.
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
        """The activation pattern σ(w) (B, M): True where z ≥ 0, the chosen place for max-pool."""
        w, x = self._state(w, x)
        values = self._values(w, x)
        parts = [
            node.operation.pattern(gather(values, node))
            for node in self.network.nodes
            if node.name in self.pattern_layout
        ]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(w), 0), dtype=bool)

    def forward_pattern(self, x: ArrayLike) -> np.ndarray:
        """The activation pattern of the forward pass (B, M), as `pattern` gives it.

        Raises OverflowError when the forward pass leaves float64.
        """
        return self.pattern(self.forward(x), x)

    def check_pattern(self, pattern: ArrayLike, n_batch: int | None = None) -> np.ndarray:
        """`pattern` checked, as (B, M) or (1, M): booleans, ReLU coefficients in [0, 1] or max-pool
        choices.

        With n_batch, ValueError unless it holds one pattern, or one a sample.
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
        """δw − c, edge by edge: w_i − F_i(blocks before i), shape of w.

        With `pattern` the selections are frozen; by default they follow w. An augmented w adds
        a_out − φ(z^{k+1}). Range: any; every entry to a few ε = 2⁻⁵² of the terms that it is a sum
        of (`edge_terms`), which is all that is left of a small one.
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
        """δ_Ω v for a frozen pattern: (B, N) -> (B, N); every entry to a few ε = 2⁻⁵² of its terms
        |δ_Ω||v|, whatever the scales."""
        v = batch("v", v, self.N)
        return self.delta(v, self.check_pattern(pattern, len(v)))

    def delta(self, v: np.ndarray, pattern: np.ndarray) -> np.ndarray:
        """`push`, nothing checked."""
        values, out = self._values(v, np.zeros((len(v), self.network.n_in))), v.copy()
        for node in self.network.nodes:
            out[:, self.layout[node.name]] -= node.operation.linear(
                gather(values, node), self.own(node, pattern)
            )
        return out

    def pull(self, e: ArrayLike, pattern: ArrayLike) -> np.ndarray:
        """δ_Ωᵀ e for a frozen pattern: (B, N) -> (B, N); every entry to a few ε = 2⁻⁵² of its terms
        |δ_Ω|ᵀ|e|, whatever the scales."""
        e = batch("e", e, self.N)
        return self.delta_transposed(e, self.check_pattern(pattern, len(e)))

    def delta_transposed(
        self, e: np.ndarray, pattern: np.ndarray, sizes: bool = False
    ) -> np.ndarray:
        """`pull`, nothing checked; with `sizes`, |δ_Ω|ᵀ in place of δ_Ωᵀ."""
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
        """Add sign · F_nodeᵀ e, sign 1 or −1, to the blocks of `out` that the node reads (in place;
        inputs x are boundary and skipped).

        With `sizes`, |F_node|ᵀ in place of F_nodeᵀ.
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
        """|δ||w| + |c|, the sizes of the terms that δw − c is a sum of, edge by edge: shape of w.

        Up to a factor of some ε = 2⁻⁵² they are the rounding errors of the discrepancy. `pattern`
        as in `discrepancy`.
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
        """|δ|ᵀ diag(w_e)(|δ||w| + |c|), the sizes of the terms that ∂V/∂w is a sum of: shape of w.

        A coordinate is at rest, as far as double precision can tell, where |∂V/∂w| is at most some
        ε = 2⁻⁵² times these, its own, terms: then the equation of that coordinate holds for entries
        of δ and δᵀ, and products of them, that each differ by so much, relative. What an edge
        carries may yet be far from its minimum, where a stiff direction hides a soft one
        (`newton_steps`). `pattern` as in `discrepancy`.
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
        """V = ½ Σ_e w_e ‖(δw − c)_e‖², one number a sample: (B,).

        Range: exact up to rounding for a discrepancy that has the error which `discrepancy` names.
        ∞ where V, or a square in it, is above 1.8e308; squares below 1e-308 are lost.
        """
        e = self.discrepancy(w, x, pattern)
        with np.errstate(over="ignore"):
            return 0.5 * (self.row_weights[: e.shape[1]] * e**2).sum(axis=1)

    # matrices for one frozen pattern
    # ---------------------------------------------------------------------------------

    def coboundary(self, pattern: ArrayLike) -> sp.sparse.csr_array:
        """δ_Ω for one pattern, sparse (N, N), lower triangular with unit diagonal, its entries
        those given (Lemma 3.2)."""
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
        """L[Ω,Ω] = δ_Ωᵀ diag(w_e) δ_Ω for one pattern, sparse (N, N)."""
        delta = self.coboundary(pattern)
        weights = sp.sparse.diags_array(self.row_weights[: self.N])
        return sp.sparse.csr_array(delta.T @ weights @ delta)

    @cached_property
    def extended(self) -> ExtendedStalks:
        """The paper's stalks and boundary, with the sheaf of one pattern as a `CellularSheaf`."""
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
        """The part of a pattern (B, M) that belongs to one node: (B, n_pattern)."""
        return (
            pattern[:, self.pattern_layout[node.name]]
            if node.name in self.pattern_layout
            else pattern[:, :0]
        )

    def one_pattern(self, pattern: ArrayLike) -> np.ndarray:
        """`pattern` checked to be one, as (1, M); ValueError for several."""
        s = self.check_pattern(pattern)
        if len(s) != 1:
            raise ValueError(
                f"pattern has shape {s.shape}, expected one pattern ({self.M},): a matrix belongs"
                " to one sample"
            )
        return s

    def columns(self, node: Node) -> np.ndarray:
        """Where each coordinate that a node reads lies in Ω; −1 for x."""
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
