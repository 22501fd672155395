"""The sheaf at frozen patterns as linear maps on the free coordinates, a batch of samples at once
(Lemma 3.2).

δ, δᵀ, L = δᵀ diag(w) δ + Γ and L⁻¹, each by passes over the weights: forward substitution is a
forward pass with injections, backward substitution is back-propagation. With a_out the output edge
is linearised, a_out − J_φ z^{k+1}, one more pair of passes' last step.

L = AᵀA, the rows of A being √w δ and √γ, its columns the free coordinates. L⁻¹ is computed without
the product AᵀA: its error is a few roundings times what the entries of A weigh in the answer
(`leverage`), not times the condition number of L.
"""

from __future__ import annotations

from copy import copy
from typing import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.linear.substitution import held_backward, held_forward, inject, send_back
from sheaflib.sheaves.forces import check_output_force
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, Pins, Rows, resolve_places
from sheaflib.support.checks import real_array

AT_ONCE = 2**24  # entries of a dense array that are made in one go
PROBES = 4  # passes that estimate what rounding does


class Frozen:
    """δ at `pattern` (B, M) or (M,), over the coordinates that `pins` leave free; with the logits z
    (B, n_out), a_out too.

    n is the number of free coordinates; vectors are (B, n). ValueError for a pattern or z of the
    wrong shape, and for pins on a softmax's a_out that the "identity" force does not allow.
    """

    def __init__(
        self,
        sheaf: NeuralSheaf,
        pattern: ArrayLike,
        *,
        pins: Pin | Sequence[Pin] | Pins = (),
        z: ArrayLike | None = None,
        output_force: str = "jacobian",
    ):
        self.sheaf, self.pattern = check_sheaf(sheaf), sheaf.check_pattern(pattern)
        check_output_force(output_force)
        pins = resolve_places(sheaf, pins, len(self.pattern), z is not None)
        self.J = None if z is None else output_maps(sheaf, z, len(self.pattern), output_force)
        if z is not None:
            check_output_pins(sheaf, pins, output_force)
        self.last = sheaf.layout[sheaf.network.output_name]
        self.width = sheaf.N if z is None else sheaf.augmented_layout.size
        self.weights = sheaf.row_weights[: self.width]
        self.free = pins.free
        self.springs = np.zeros(self.width)
        self.springs[pins.soft_index] = pins.gamma
        self.held = np.flatnonzero(~self.free | (self.springs > 0))
        self.springy = np.flatnonzero(self.springs)
        self.n = int(self.free.sum())

    def __len__(self) -> int:
        return len(self.pattern)

    def __repr__(self) -> str:
        return f"Frozen({len(self)} patterns, {self.n} free coordinates of {self.width})"

    def samples(self, rows: Rows) -> Frozen:
        """The same for some of the samples, a slice or indices."""
        part = copy(self)
        part.pattern, part.J = self.pattern[rows], None if self.J is None else self.J[rows]
        if "_kept" in self.__dict__:
            part._kept, part._sizes = self._kept[rows], self._sizes[rows]
        return part

    # δ, δᵀ and their inverses on all coordinates, those that are held included: (B, width) -> (B,
    # width) -------------------------

    def push(self, v: np.ndarray) -> np.ndarray:
        """δ v."""
        out = self.sheaf.delta(v[:, : self.sheaf.N], self.pattern)
        return (
            out
            if self.J is None
            else np.hstack([out, v[:, self.sheaf.N :] - self._output(v[:, self.last])])
        )

    def pull(self, e: np.ndarray) -> np.ndarray:
        """δᵀ e."""
        out = self.sheaf.delta_transposed(e[:, : self.sheaf.N], self.pattern)
        if self.J is None:
            return out
        out[:, self.last] -= self._output(e[:, self.sheaf.N :])
        return np.hstack([out, e[:, self.sheaf.N :]])

    def forward(self, f: np.ndarray) -> np.ndarray:
        """δ⁻¹ f."""
        v = inject(self.sheaf, f[:, : self.sheaf.N].copy(), self.pattern)
        return (
            v
            if self.J is None
            else np.hstack([v, f[:, self.sheaf.N :] + self._output(v[:, self.last])])
        )

    def backward(self, g: np.ndarray) -> np.ndarray:
        """δ⁻ᵀ g."""
        if self.J is None:
            return send_back(self.sheaf, g.copy(), self.pattern)
        own = g[:, : self.sheaf.N].copy()
        own[:, self.last] += self._output(g[:, self.sheaf.N :])
        return np.hstack([send_back(self.sheaf, own, self.pattern), g[:, self.sheaf.N :]])

    def _output(self, v: np.ndarray) -> np.ndarray:
        return (self.J @ v[:, :, None])[:, :, 0]  # J is symmetric

    # L and L⁻¹ on the free coordinates: (B, n) -> (B, n)
    # ----------------------------------------------------------------------

    def laplacian(self, v: np.ndarray) -> np.ndarray:
        """L v: one pass each way."""
        full = self.embed(v)
        e = self.push(full)
        e *= self.weights
        out = self.pull(e)
        if len(self.held):
            out += self.springs * full
        return out if self.n == self.width else out[:, self.free]

    def inverse(self, v: np.ndarray, refinements: int = 0) -> np.ndarray:
        """L⁻¹ v, as `solve` finds it."""
        return self.solve(v, refinements)[0]

    def solve(self, v: np.ndarray, refinements: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """y = L⁻¹ v (B, n) and its stresses A y (B, width + springs), by one pass each way.

        Clamped coordinates are left out of both passes, which so meet no gain that they cut. What
        the edges into them and the springs take is a projection of rank h, with h vectors kept a
        sample. It may cancel: each refinement, of two more passes each way, makes y and the
        stresses r better together, from r − A y and v − Aᵀr.
        """
        y, r = self._project(self.embed(v))
        for _ in range(refinements if len(self.held) else 0):
            more, stress = self._project(self.embed(v - self.load(r)), self.stress(y) - r)
            y, r = y + more, r + stress
        return y, r

    def _project(self, v: np.ndarray, p: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """y and r with r − A y = p and Aᵀr = v, v (B, width) being 0 where clamped."""
        root = np.sqrt(self.weights)
        r = self._backward_free(v) / root
        if not len(self.held):
            return self.forward(r / root), r
        r = np.hstack([r, np.zeros((len(r), len(self.springy)))])
        if p is not None:
            r -= p
        for _ in range(2):  # twice: what is left may be small
            r -= (self._balanced @ (r[:, None] @ self._balanced).swapaxes(1, 2))[:, :, 0]
        y = self._forward_free(r[:, : self.width] / root)
        return y if self.n == self.width else y[:, self.free], r if p is None else r + p

    @property
    def _balanced(self) -> np.ndarray:
        """An orthonormal basis of the stresses that balance, Aᵀr = 0: (B, width + springs, h).

        There is one for each clamped coordinate and each spring: a stress of 1 in the edge into
        the one, or in the other, is balanced by those that back-propagation finds.
        """
        if "_kept" not in self.__dict__:
            clamped, root = np.flatnonzero(~self.free), np.sqrt(self.weights)
            unit = np.zeros((len(clamped) + len(self.springy), self.width))
            unit[np.arange(len(clamped)), clamped] = root[clamped]
            pulls = np.arange(len(clamped), len(unit))
            unit[pulls, self.springy] = -np.sqrt(self.springs[self.springy])
            edges = self.on_each(Frozen._backward_free, unit) / root
            springs = np.eye(len(unit))[:, len(clamped) :]
            springs = np.broadcast_to(springs, (len(self), *springs.shape))
            rows = np.concatenate([edges, springs], axis=2)
            self._sizes = np.linalg.norm(rows, axis=2)
            self._kept = np.linalg.qr(rows.swapaxes(1, 2)).Q
        return self._kept

    def cut(self, v: np.ndarray, r: np.ndarray) -> np.ndarray:
        """How much r = A L⁻¹v may change per relative change of what the projection is made of:
        (B,).

        That is the vector that is projected, and those that span where.
        """
        if not len(self.held):
            return np.zeros(len(v))
        whole = np.linalg.norm(self._backward_free(self.embed(v)) / np.sqrt(self.weights), axis=1)
        ends = np.hstack([r[:, : self.width][:, ~self.free], r[:, self.width :]])
        return whole + (self._sizes * np.abs(ends)).sum(axis=1)

    def _forward_free(self, f: np.ndarray) -> np.ndarray:
        """δ_FF⁻¹ f on the free coordinates F, 0 on the clamped ones: (B, width) -> (B, width)."""
        if self.n == self.width:
            return self.forward(f)
        N = self.sheaf.N
        v, _ = held_forward(self.sheaf, f[:, :N], self.pattern, ~self.free[None, :N])
        if self.J is None:
            return v
        out = f[:, N:] + self._output(v[:, self.last])
        return np.hstack([v, np.where(self.free[N:], out, 0.0)])

    def _backward_free(self, g: np.ndarray) -> np.ndarray:
        """δ_FF⁻ᵀ(g_F − δ_CFᵀ g_C) on the free coordinates F, g_C on the others: (B, width)."""
        if self.n == self.width:
            return self.backward(g)
        N = self.sheaf.N
        own = g[:, :N].copy()
        if self.J is not None:
            own[:, self.last] += np.where(self.free[self.last], self._output(g[:, N:]), 0.0)
        own = held_backward(self.sheaf, own, self.pattern, ~self.free[None, :N])
        return own if self.J is None else np.hstack([own, g[:, N:]])

    # A and Aᵀ: (B, n) -> (B, width + springs) and back --------------------------------------------

    def stress(self, v: np.ndarray) -> np.ndarray:
        """A v: √w δv of every edge, then √γ v of every spring."""
        full = self.embed(v)
        edges = self.push(full) * np.sqrt(self.weights)
        return np.hstack([edges, np.sqrt(self.springs[self.springy]) * full[:, self.springy]])

    def load(self, r: np.ndarray) -> np.ndarray:
        """Aᵀ r."""
        out = self.pull(np.sqrt(self.weights) * r[:, : self.width])
        out[:, self.springy] += np.sqrt(self.springs[self.springy]) * r[:, self.width :]
        return out if self.n == self.width else out[:, self.free]

    def leverage(self, v: np.ndarray, r: np.ndarray, seed: int = 0) -> np.ndarray:
        """How much rᵀA v changes per relative change of A's entries: (B,).

        That is Σ_i |r_i| (Σ_j A_ij² v_j²)^½, about: the diagonal of √w δ is added to the root, and
        what the maps F have in it is estimated by `PROBES` passes with random multiples of v, so
        that no entry need be known.
        """
        full, rng = self.embed(v), np.random.default_rng(seed)
        squares = np.zeros_like(full)
        for _ in range(PROBES):
            some = rng.standard_normal((1, self.width)) * full
            squares += (self.push(some) - some) ** 2
        stress = np.sqrt(self.weights) * (np.abs(full) + np.sqrt(squares / PROBES))
        springs = np.sqrt(self.springs[self.springy]) * np.abs(full[:, self.springy])
        return (np.abs(r) * np.hstack([stress, springs])).sum(axis=1)

    def embed(self, v: np.ndarray) -> np.ndarray:
        """v (B, n) among all coordinates, 0 where clamped: (B, width)."""
        if self.n == self.width:
            return v
        full = np.zeros((len(v), self.width))
        full[:, self.free] = v
        return full

    # matrices
    # ----------------------------------------------------------------------------------------------

    def rows(self, index: Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows of δ⁻¹ at some coordinates, by backward substitution: (B, len(index), width)."""
        unit = np.zeros((len(index), self.width))
        unit[np.arange(len(index)), index] = 1
        return self.on_each(Frozen.backward, unit)

    def matrix(self) -> np.ndarray:
        """L as dense matrices: (B, n, n)."""
        return self.on_each(Frozen.laplacian, np.eye(self.n))

    def stresses(self) -> np.ndarray:
        """A (AᵀA)⁻¹, A's pseudo-inverse transposed, row by row: (B, n, width + springs)."""
        return self.each_free(lambda part, v: part.solve(v)[1])

    def each_free(self, apply: Callable[[Frozen, np.ndarray], np.ndarray]) -> np.ndarray:
        """A map of every sample, (B, n) -> (B, m), on each free unit vector: (B, n, m)."""
        if len(self.held):
            self._balanced  # found once a sample, and kept
        return self.on_each(apply, np.eye(self.n))

    def cuts(self) -> np.ndarray:
        """`cut` of each row of `stresses`: (B, n, 1)."""
        return self.each_free(lambda part, v: part.cut(v, part.solve(v)[1])[:, None])

    def root(self) -> np.ndarray:
        """A with L = AᵀA, the rows √w δ and √γ, the columns of the free coordinates: (B, rows,
        n).
        """
        columns = self.on_each(Frozen.push, self.embed(np.eye(self.n))) * np.sqrt(self.weights)
        springs = np.broadcast_to(
            np.diag(np.sqrt(self.springs))[self.free], (len(self), self.n, self.width)
        )
        return np.concatenate([columns, springs[:, :, self.springs > 0]], axis=2).swapaxes(1, 2)

    def on_each(
        self, apply: Callable[[Frozen, np.ndarray], np.ndarray], vectors: np.ndarray
    ) -> np.ndarray:
        """A map of every sample on all of `vectors` (m, k): (B, m, …), some samples at a time."""
        m, out = len(vectors), []
        step = 1 if "_kept" in self.__dict__ else max(1, AT_ONCE // max(1, m * self.width))
        for start in range(0, len(self), step):
            part = self.samples(slice(start, start + step))
            count = len(part)
            part.pattern = np.repeat(part.pattern, m, axis=0)
            part.J = None if part.J is None else np.repeat(part.J, m, axis=0)
            found = apply(part, np.tile(vectors, (count, 1)))
            out.append(found.reshape(count, m, found.shape[1]))
        return np.concatenate(out)


def output_maps(sheaf: NeuralSheaf, z: ArrayLike, n_batch: int, output_force: str) -> np.ndarray:
    """J_φ at logits z (B, n_out) or (n_out,), or J_φ^½ for the "identity" force: (B, n_out, n_out),
    symmetric.
    """
    output, n = sheaf.network.output, sheaf.network.n_out
    if output.is_identity:
        raise ValueError("z is given, but the output is the identity: it has no a_out")
    z = real_array("z", z)
    if z.shape not in ((n,), (n_batch, n)):
        raise ValueError(
            f"z has shape {z.shape}, expected ({n_batch}, {n}): the logits of every sample"
        )
    z = np.broadcast_to(z, (n_batch, n))
    J = output.jacobian_product(np.repeat(z, n, axis=0), np.tile(np.eye(n), (n_batch, 1))).reshape(
        n_batch, n, n
    )
    if output_force == "jacobian":
        return J
    if output.name == "sigmoid":
        return np.sqrt(J)  # J is diagonal
    half = np.sqrt(output.value(z))  # J = CᵀC, C = (I − hhᵀ) diag(h)
    C = (np.eye(n) - half[:, :, None] * half[:, None]) * half[:, None]
    _, sizes, vectors = np.linalg.svd(C)  # the root of rounding is not small
    return (vectors.swapaxes(1, 2) * sizes[:, None]) @ vectors


def check_output_pins(sheaf: NeuralSheaf, pins: Pins, output_force: str) -> None:
    """The "identity" force of a softmax is similar to a symmetric one only if a_out is free,
    clamped whole, or held by equal springs.
    """
    if not pins or output_force == "jacobian" or sheaf.network.output.name != "softmax":
        return
    n, hard = sheaf.network.n_out, int((pins.hard_index >= sheaf.N).sum())
    gamma = pins.gamma[pins.soft_index >= sheaf.N]
    if not (hard == n or hard == 0 and (len(gamma) == 0 or len(gamma) == n and np.ptp(gamma) == 0)):
        raise ValueError(
            f"pins hold {hard + len(gamma)} of {n} coordinates of a_out unevenly: with"
            ' output_force="identity" and a softmax pin all of them alike, or none'
        )
