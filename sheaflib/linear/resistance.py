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
    """The effective resistance ρ of one stalk: what ``effective_resistance`` returns.

    B is the number of samples, m the dimension of the stalk, N the number of free coordinates. An
    edge has the resistance G_e G_eᵀ/w_e; edges beyond the stalk have none.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    pattern : ndarray of shape (B, M)
        The frozen activation patterns.
    place : slice
        Where the stalk lies among the free coordinates.

    Notes
    -----
    In the paper: not there; derived.

    What is solved is solved by G diag(w)^-½ itself, whose condition number is the root of that of
    ρ. G has B·m·N entries and is held where these are at most 2²⁵, 256 MiB. Beyond that it is
    ``streamed``: up to 50 vectors at a time go through the network, so that ``total`` costs m
    passes each way, ``shares`` m back, ``norm`` a few dozen each way, and ``currents`` one back.
    ``edges``, ``injections`` and ``discord`` hold some columns of G at a time, at most as many
    entries, and repeat the m passes for each part. All of it is exact up to rounding, but ``norm``
    up to a relative 1e-12.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.linear.resistance import effective_resistance
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[2.0]]]))
    >>> law = effective_resistance(chain, [True])
    >>> law.edges["affine_1"], law.norm.round(9)  # 4 + 4 + 1
    (array([[[4.]]]), array([9.]))
    >>> law.discord([[9.0]])["affine_2"].round(9)  # of an error of 9 at the output
    array([1.])
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
        """The stalk's rows of the inverse coboundary δ_Ω⁻¹, shape (B, m, N).

        Raises
        ------
        ValueError
            Where they are streamed and not held.
        """
        if self.streamed:
            raise ValueError(
                f"G of {len(self.pattern)} × {self.m} × {self.sheaf.N} entries is streamed and not"
                f" held, expected at most {ENTRIES}: take fewer samples, or what is computed from"
                " it, like currents(pull) for Gᵀ pull"
            )
        return self._frozen.rows(np.arange(self.place.start, self.place.stop))

    @cached_property
    def edges(self) -> dict[str, np.ndarray]:
        """The resistance of every edge by name, shape (B, m, m) each; their sum is ``total``."""
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
        """The resistance ρ, shape (B, m, m), symmetric and positive definite."""
        if not self.streamed:
            return sum(self.edges.values(), np.zeros((self.m, self.m)))
        rho = self._blocks(lambda part, v: self._give(part, part.backward(v)))
        return 0.5 * (rho + rho.swapaxes(1, 2))

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """The share of each edge in the resistance by name, shape (B,) each; their sum is 1.

        It is tr ρ_e/tr ρ.

        Examples
        --------
        >>> from sheaflib import Network, NeuralSheaf
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
        """The largest eigenvalue λ_max(ρ), shape (B,); for one output ρ itself.

        It bounds the smallest eigenvalue of the Laplacian: λ₁ ≤ 1/λ_max(ρ).
        """
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
        """Compute the current of every edge where a pull acts on the stalk.

        Parameters
        ----------
        pull : array_like of shape (B, m)
            The pull c.

        Returns
        -------
        ndarray of shape (B, N)
            The currents Gᵀc.

        Raises
        ------
        ValueError
            For another shape.

        Examples
        --------
        >>> from sheaflib import Network, NeuralSheaf
        >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[2.0]]]))
        >>> effective_resistance(chain, [True]).currents([[3.0]])
        array([[6., 6., 3.]])
        """
        pull = self._one_a_sample("pull", pull)
        if self.streamed:
            return self._frozen.backward(self._at(pull))
        return (self.G.swapaxes(1, 2) @ pull[:, :, None])[:, :, 0]

    def injections(self, error: ArrayLike, spring: float = np.inf) -> np.ndarray:
        """Compute what every edge is off by at equilibrium, when the stalk is moved.

        Parameters
        ----------
        error : array_like of shape (B, m)
            By how much the stalk is moved and pinned, or pulled by a spring.
        spring : float, default: inf
            The stiffness γ of the spring; infinite for a pin.

        Returns
        -------
        ndarray of shape (B, N)
            The discrepancies η = δω − c.

        Raises
        ------
        ValueError
            For another shape, and for a spring that is not positive.

        Examples
        --------
        >>> from sheaflib import Network, NeuralSheaf
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
        """Predict the discord of every edge at that equilibrium, without solving for it.

        It follows from weights, pattern and error alone.

        Parameters
        ----------
        error : array_like of shape (B, m)
            By how much the stalk is moved. For a sigmoid or softmax it is an error of the logits,
            not of the output.
        spring : float, default: inf
            The stiffness γ of the spring; infinite for a pin.

        Returns
        -------
        dict of str to ndarray of shape (B,)
            The discord ‖η_e‖² of each sample by edge.

        Raises
        ------
        ValueError
            For another shape, and for a spring that is not positive.
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
    """Compute how stiffly a stalk resists being moved, at a frozen activation pattern.

    It takes one backward substitution a coordinate of the stalk.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    pattern : array_like of shape (M,) or (B, M)
        The activation patterns, for instance ``sheaf.forward_pattern(x)``.
    stalk : str, optional
        The name of the stalk, by default the last one before the output map.

    Returns
    -------
    Resistance
        The effective resistance ρ, and what follows from it.

    Raises
    ------
    ValueError
        For an unknown stalk or a pattern of the wrong shape.

    Notes
    -----
    In the paper: not there; derived.

    For a frozen pattern let G hold the Jacobians of the stalk by what is injected into each edge.
    Then ρ = G diag(w)⁻¹ Gᵀ is a sum over edges, as of resistors in series. A stalk that is moved by
    e and pinned there has the energy ½ eᵀρ⁻¹e.

    Examples
    --------
    Three edges of 1 in series have the resistance 3.

    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.linear.resistance import effective_resistance
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> effective_resistance(chain, [True]).total
    array([[[3.]]])
    """
    names = check_sheaf(sheaf).layout.names
    stalk = sheaf.network.output_name if stalk is None else choice("stalk", stalk, names)
    law = Resistance(sheaf, sheaf.check_pattern(pattern), sheaf.layout[stalk])
    if not law.streamed:
        law.G  # found here, and held
    return law
