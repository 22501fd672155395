"""Effective resistance: how stiffly a network's output resists being moved (derived, not known to
be in the paper).

For a frozen pattern let G = ∂z^{k+1}/∂(injection into an edge), the last block row of δ_Ω⁻¹: all
path Jacobians to the output. Then ρ = G diag(w)⁻¹ Gᵀ = (L⁻¹)_{out,out} is a sum over edges, as of
resistors in series. Output moved by e = y − ŷ and pinned: edge e feels η_e = w_e⁻¹ G_eᵀ ρ⁻¹ e, and
the energy is ½ eᵀρ⁻¹e. Behind a spring γ (training: γ = 1), ρ + I/γ in place of ρ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Callable

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.linear.fixed_pattern import AT_ONCE, Frozen
from sheaflib.linear.lanczos import largest
from sheaflib.sheaves.edges import Edge
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import batch, choice, positive

ENTRIES = 2**25  # of G that are held, 256 MiB; beyond, some of it at a time
BLOCK = 50  # vectors of one sample that go through the network together
TOL = 1e-12  # of λ_max(ρ) by Lanczos


@dataclass(frozen=True, eq=False)
class Resistance:
    """ρ of one stalk of dimension m, for every sample of patterns (B, M): `total` (B, m, m), and
    its parts by edge.

    An edge has the resistance G_e G_eᵀ/w_e; edges beyond the stalk have none. What is solved is
    solved by G diag(w)^-½ itself, whose condition number is the root of that of ρ.

    G (B, m, N) is held where it has at most ENTRIES entries. Beyond that it is `streamed`: up to
    BLOCK vectors at a time go through the network, so that `total` costs m passes each way,
    `shares` m back, `norm` a few dozen each way, and `currents` one back. `edges`, `injections`
    and `discord` hold some columns of G at a time, at most ENTRIES entries, and repeat the m
    passes for each part. All of it is exact up to rounding; `norm` is λ_max(ρ) to a relative TOL.
    """

    sheaf: NeuralSheaf
    pattern: np.ndarray
    place: slice

    @property
    def m(self) -> int:
        """The dimension of the stalk."""
        return self.place.stop - self.place.start

    @cached_property
    def streamed(self) -> bool:
        """Whether G is too large to be held."""
        return len(self.pattern) * self.m * self.sheaf.N > ENTRIES

    @cached_property
    def G(self) -> np.ndarray:
        """The stalk's rows of δ_Ω⁻¹: (B, m, N). ValueError where they are streamed."""
        if self.streamed:
            raise ValueError(
                f"G of {len(self.pattern)} × {self.m} × {self.sheaf.N} entries is streamed and not"
                f" held, expected at most {ENTRIES}: take fewer samples, or what is computed from"
                " it, like currents(pull) for Gᵀ pull"
            )
        return self._frozen.rows(np.arange(self.place.start, self.place.stop))

    @cached_property
    def edges(self) -> dict[str, np.ndarray]:
        """ρ_e of every edge: edge name -> (B, m, m); their sum is `total`."""
        if not self.streamed:
            parts = {e.name: self._root[:, :, e.rows] for e in self._edges}
            return {name: part @ part.swapaxes(1, 2) for name, part in parts.items()}
        found = {e.name: np.zeros((len(self.pattern), self.m, self.m)) for e in self._edges}
        for samples, columns, root in self._roots():
            for e in self._edges:
                low, high = max(e.rows.start, columns.start), min(e.rows.stop, columns.stop)
                if low < high:
                    part = root[:, :, low - columns.start : high - columns.start]
                    found[e.name][samples] += part @ part.swapaxes(1, 2)
        return found

    @cached_property
    def _root(self) -> np.ndarray:
        """G diag(w)^-½, with ρ = _root _rootᵀ: (B, m, N)."""
        return self.G / np.sqrt(self._weights)

    @cached_property
    def total(self) -> np.ndarray:
        """ρ: (B, m, m), symmetric positive definite."""
        if not self.streamed:
            return sum(self.edges.values(), np.zeros((self.m, self.m)))
        rho = self._blocks(lambda part, v: self._give(part, part.backward(v)))
        return 0.5 * (rho + rho.swapaxes(1, 2))

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """tr ρ_e/tr ρ, an edge's share of the resistance: edge name -> (B,); their sum is 1.

        >>> from sheaflib.networks.graph import Network
        >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]), {"affine_2": 2.0})
        >>> effective_resistance(chain, [True]).shares["affine_2"]
        array([0.2])
        """
        if not self.streamed:
            trace = np.trace(self.total, axis1=1, axis2=2)
            return {e: np.trace(rho, axis1=1, axis2=2) / trace for e, rho in self.edges.items()}

        def squares(part: Frozen, v: np.ndarray) -> np.ndarray:
            root = part.backward(v) / np.sqrt(self._weights)
            return np.array([(root[:, e.rows] ** 2).sum(axis=1) for e in self._edges]).T

        parts = self._blocks(squares).sum(axis=1)
        parts /= parts.sum(axis=1, keepdims=True)
        return {e.name: part for e, part in zip(self._edges, parts.T)}

    @cached_property
    def norm(self) -> np.ndarray:
        """λ_max(ρ), so that λ₁ ≤ 1/λ_max(ρ): (B,); for one output ρ itself."""
        if not self.streamed:
            return np.linalg.norm(self._root, 2, axis=(1, 2)) ** 2

        def apply(part: Frozen, c: np.ndarray) -> np.ndarray:
            return self._give(part, part.backward(self._at(c)))

        found, step = [], max(1, AT_ONCE // (4 * self.sheaf.N))
        for i in range(0, len(self.pattern), step):
            part = self._frozen.samples(slice(i, i + step))
            start = np.random.default_rng(0).standard_normal((1, self.m)).repeat(len(part), axis=0)
            found.append(largest(partial(apply, part), start, TOL).value)
        return np.concatenate(found)

    def currents(self, pull: ArrayLike) -> np.ndarray:
        """Gᵀ c, the current of every edge where a pull c (B, m) acts on the stalk: (B, N).

        >>> from sheaflib.networks.graph import Network
        >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[2.0]]]))
        >>> effective_resistance(chain, [True]).currents([[3.0]])
        array([[6., 6., 3.]])
        """
        pull = self._one_a_sample("pull", pull)
        if self.streamed:
            return self._frozen.backward(self._at(pull))
        return (self.G.swapaxes(1, 2) @ pull[:, :, None])[:, :, 0]

    def injections(self, error: ArrayLike, spring: float = np.inf) -> np.ndarray:
        """η = δω − c at equilibrium when the stalk is moved by `error` (B, m), or pulled so by a
        spring γ: (B, N).

        >>> from sheaflib.networks.graph import Network
        >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
        >>> effective_resistance(chain, [True]).injections([[3.0]])  # three resistors share it
        array([[1., 1., 1.]])
        """
        error = self._one_a_sample("error", error)
        n_batch, m = error.shape
        if not (isinstance(spring, float) and spring == np.inf):
            spring = positive("spring", spring)
        give = np.broadcast_to(np.eye(m) / np.sqrt(spring), (n_batch, m, m))
        if self.streamed:
            R, size = self._triangle(give)
        else:
            rows = np.concatenate([self._root, give], axis=2)
            size = np.linalg.norm(rows, axis=2, keepdims=True)  # the gains may differ much
            # ρ + I/γ = diag(size) RᵀR diag(size)
            R = np.asarray(np.linalg.qr((rows / size).swapaxes(1, 2), mode="r"))
        turned = np.swapaxes(R, 1, 2)
        current = np.linalg.solve(R, np.linalg.solve(turned, error[:, :, None] / size)) / size
        if self.streamed:
            return self.currents(current[:, :, 0]) / self._weights
        stress = (self._root.swapaxes(1, 2) @ current)[:, :, 0]
        return stress / np.sqrt(self._weights)

    def discord(self, error: ArrayLike, spring: float = np.inf) -> dict[str, np.ndarray]:
        """Discord ‖η_e‖² of every edge at that equilibrium, by weights, pattern and error alone:
        edge name -> (B,).

        The error is one of the stalk: for a sigmoid or softmax output of the logits z^{k+1}, not of
        φ(z^{k+1}).
        """
        eta = self.injections(error, spring)
        return {e.name: (eta[:, e.rows] ** 2).sum(axis=1) for e in self._edges}

    # G some columns or some rows at a time
    # ----------------------------------------------------------------------------------------------

    @cached_property
    def _frozen(self) -> Frozen:
        return Frozen(self.sheaf, self.pattern)

    @property
    def _weights(self) -> np.ndarray:
        return self.sheaf.row_weights[: self.sheaf.N]

    def _at(self, c: np.ndarray) -> np.ndarray:
        """c (B, m) on the stalk, 0 elsewhere: (B, N)."""
        v = np.zeros((len(c), self.sheaf.N))
        v[:, self.place] = c
        return v

    def _give(self, part: Frozen, current: np.ndarray) -> np.ndarray:
        """How far currents (B, N) move the stalk, G diag(w)⁻¹ of them: (B, m)."""
        return part.forward(current / self._weights)[:, self.place]

    def _blocks(
        self, apply: Callable[[Frozen, np.ndarray], np.ndarray], part: Frozen | None = None
    ) -> np.ndarray:
        """A map (B, N) -> (B, k) of every sample, or of those of `part`, on each unit vector of the
        stalk: (B, m, k).
        """
        part, found = self._frozen if part is None else part, []
        step = max(1, min(BLOCK, AT_ONCE // self.sheaf.N))
        for i in range(0, self.m, step):
            found.append(part.on_each(apply, self._at(np.eye(min(step, self.m - i), self.m, i))))
        return np.concatenate(found, axis=1)

    def _roots(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """G diag(w)^-½ in parts of at most ENTRIES entries: samples, columns and the part (b, m,
        columns); all columns of some samples come before those of the next.
        """
        N, root = self.sheaf.N, np.sqrt(self._weights)
        together = max(1, ENTRIES // (self.m * N))
        wide = max(1, min(N, ENTRIES // (together * self.m)))
        for i in range(0, len(self.pattern), together):
            samples = slice(i, min(i + together, len(self.pattern)))
            part = self._frozen.samples(samples)
            for start in range(0, N, wide):
                columns = slice(start, min(start + wide, N))
                rows = self._blocks(lambda some, v: some.backward(v)[:, columns], part)
                yield samples, columns, rows / root[columns]

    def _triangle(self, give: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R (B, m, m) and sizes (B, m, 1) with ρ + give² = diag(size) RᵀR diag(size): QR of G
        diag(w)^-½ and `give`, part by part.
        """
        R = give.copy()
        for samples, _, root in self._roots():
            tall = np.concatenate([R[samples], root.swapaxes(1, 2)], axis=1)
            R[samples] = np.linalg.qr(tall, mode="r")
        size = np.linalg.norm(R, axis=1)[:, :, None]
        return R / size.swapaxes(1, 2), size

    def _one_a_sample(self, name: str, value: ArrayLike) -> np.ndarray:
        value = batch(name, value, self.m)
        if len(value) != len(self.pattern):
            raise ValueError(
                f"{name} has {len(value)} rows, expected {len(self.pattern)}: one a sample"
            )
        return value

    @property
    def _edges(self) -> list[Edge]:
        return [e for e in self.sheaf.edges if e.rows.stop <= self.sheaf.N]

    def __repr__(self) -> str:
        norm = self.norm
        return f"Resistance({len(norm)} samples, λ_max(ρ) {norm.min():.3g} to {norm.max():.3g})"


def effective_resistance(
    sheaf: NeuralSheaf, pattern: ArrayLike, stalk: str | None = None
) -> Resistance:
    """The effective resistance of a stalk (default: z^{k+1}) at patterns (B, M): one backward
    substitution a coordinate of the stalk.

    ValueError for an unknown stalk or a pattern of the wrong shape.
    """
    names = check_sheaf(sheaf).layout.names
    stalk = sheaf.network.output_name if stalk is None else choice("stalk", stalk, names)
    law = Resistance(sheaf, sheaf.check_pattern(pattern), sheaf.layout[stalk])
    if not law.streamed:
        law.G  # found here, and held
    return law
