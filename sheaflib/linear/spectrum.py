"""Eigenvalues of the restricted Laplacian, and a bound of the largest one that needs no pattern
(Lemma 3.2, App.).

λ₁ = 1/‖δ⁻¹‖² and δ⁻¹ is a forward pass with injections, δ⁻ᵀ back-propagation: both ends of the
spectrum cost a few dozen passes over the weights (derived). The paper calls λ₁ of this Dirichlet
problem "Fiedler". With an output φ ≠ identity the augmented Laplacian adds the block a_out and the
edge a_out − J_φ z^{k+1}, linearised at a state.

Let A have the rows √w δ and √γ, so that L = AᵀA. Everything small is found by L⁻¹, which is formed
from A and never from L. The quotient vᵀLv of a computed v is of no use for λ₁ on a stiff network: a
residual r of L⁻¹ may put κ(L) |r|² into it, and rounding 1e-16 κ(L).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Callable, NamedTuple, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.linear.fixed_pattern import AT_ONCE, Frozen, check_output_pins
from sheaflib.linear.lanczos import BASIS, MOST, largest
from sheaflib.sheaves.forces import check_output_force
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, Pins, resolve_places
from sheaflib.support.checks import positive, whole

DENSE = 400  # up to this many free coordinates a dense symmetric eigensolver is used
UNIT = 8 * np.finfo(float).eps  # what rounding does in a few passes, relative to each entry
SURE = 1e-12  # the error of λ₁ that dense solvers do not try to lower
REFINEMENTS = 2  # of L⁻¹, where pins cut a gain and a projection cancels
NOISE = 1e10  # by how much what pins cut may exceed a singular value of A⁺
SMALL = 2000  # free coordinates up to which singular values help where no refinement does
TINY = np.finfo(float).tiny
SAID = 1e-3  # relative errors from here on are shown: those of the digits that are
# entries that the Lanczos vectors of the samples treated at once may have: a cache's size
ROOM = 2**21


def bound(
    sheaf: NeuralSheaf,
    *,
    pins: Pin | Sequence[Pin] | Pins = (),
    augmented: bool = False,
    output_force: str = "jacobian",
) -> float:
    """Bound the largest eigenvalue of the Laplacian for every activation pattern.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    pins : Pin, sequence of Pin or Pins, optional
        Hard and soft pins. Soft ones raise the bound.
    augmented : bool, default: False
        Whether the output edge of a sigmoid or softmax takes part.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits.

    Returns
    -------
    float
        The bound.

    Raises
    ------
    ValueError
        For bad pins and an unknown force.
    OverflowError
        Where the bound is no float64.

    Notes
    -----
    In the paper: not there; derived.

    The bound is λ_max ≤ max_e w_e · (1 + max_u (Σ_e ‖F_e‖²)^½)² + max γ, where the sum is over the
    edges e that leave the vertex u, and F_e is the map of e.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.linear.spectrum import bound
    >>> round(bound(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))), 12)
    4.0
    """
    pins = resolve_places(sheaf, pins, 1, augmented)
    check_output_force(output_force)
    if augmented:
        check_output_pins(sheaf, pins, output_force)
    norms = dict.fromkeys(sheaf.layout.names, 0.0)  # hypot: squares could leave float64
    for node in sheaf.network.nodes:
        for name in node.inputs:
            if name in norms:
                norms[name] = math.hypot(norms[name], node.operation.norm)
    if augmented and not sheaf.network.output.is_identity:
        norm, last = sheaf.network.output.norm, sheaf.network.output_name
        norm = norm if output_force == "jacobian" else math.sqrt(norm)
        norms[last] = math.hypot(norms[last], norm)
    weight = max(w for e, w in sheaf.edge_weights.items() if augmented or e != "output")
    stiffness = pins.gamma.max(initial=0.0)
    with np.errstate(over="ignore"):
        found = float(np.square(np.sqrt(weight) * (1 + max(norms.values()))) + stiffness)
    if found == np.inf:
        raise OverflowError(
            "the bound of λ_max leaves float64: the largest edge weight is "
            f"{weight:.3g}, the largest norm of the maps that leave a stalk "
            f"{max(norms.values()):.3g}"
        )
    return found


def eigenvalues(
    sheaf: NeuralSheaf,
    pattern: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] | Pins = (),
    z: ArrayLike | None = None,
    output_force: str = "jacobian",
) -> np.ndarray:
    """Compute all eigenvalues of the Laplacian for one activation pattern, by dense solvers.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    pattern : array_like of shape (M,) or (1, M)
        The activation pattern.
    pins : Pin, sequence of Pin or Pins, optional
        Hard and soft pins.
    z : array_like of shape (n_out,) or (1, n_out), optional
        The logits, with which ``a_out`` is included.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits.

    Returns
    -------
    ndarray
        The eigenvalues in rising order, as many as there are free coordinates.

    Raises
    ------
    ValueError
        For bad input.
    OverflowError
        When L or L⁻¹ leaves float64.

    Notes
    -----
    In the paper: Lemma 3.2.

    They are squares of the singular values s of A, where L = AᵀA, which have an absolute error of
    some 1e-16 s_max, or of the inverse ones of A⁺, with a relative error of some 1e-16 s
    max(1/s_min, cut), with cut the gain that pins cut: whichever is smaller. Without pins no
    eigenvalue has a relative error of much more than 1e-16 κ(L)^¼, where a solver for L itself
    would leave 1e-16 κ(L).

    Examples
    --------
    Their product is the determinant, which is 1.

    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.linear.spectrum import eigenvalues
    >>> found = eigenvalues(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])), [True])
    >>> found.round(4), round(float(found.prod()), 12)
    (array([0.1981, 1.555 , 3.247 ]), 1.0)
    """
    frozen = Frozen(
        sheaf, check_sheaf(sheaf).one_pattern(pattern), pins=pins, z=z, output_force=output_force
    )
    if not frozen.n:
        return np.zeros(0)
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.linalg.svd(_finite(frozen.root(), "L")[0], compute_uv=False)[::-1]
        give = np.linalg.svd(_finite(frozen.stresses(), "L⁻¹")[0], compute_uv=False)
        cut = np.linalg.norm(frozen.cuts()[0])
        by_inverse = np.maximum(cut, give[0]) < give * np.minimum(sizes[-1] * give, NOISE)
        _finite(give**2, "L⁻¹")
        return _finite(np.sort(np.where(by_inverse, 1 / np.maximum(give, TINY), sizes) ** 2), "L")


@dataclass(frozen=True, eq=False)
class Extremes:
    """Both ends of the Laplacian's spectrum for every sample: what ``extremes`` returns.

    B is the number of samples. Where everything is clamped nothing is left, and then λ₁ = ∞ and
    λ_max = 0.

    Parameters
    ----------
    smallest : ndarray of shape (B,)
        The smallest eigenvalue λ₁.
    largest : ndarray of shape (B,)
        The largest eigenvalue λ_max.
    bottom : ndarray of shape (B, N) or (B, N + n_out)
        The unit eigenvector of λ₁, 0 where clamped.
    top : ndarray of shape (B, N) or (B, N + n_out)
        The unit eigenvector of λ_max, 0 where clamped.
    residual_low : ndarray of shape (B,)
        The residual ``|λ₁L⁻¹v − v|`` of the first.
    residual_high : ndarray of shape (B,)
        The residual ``|Lv/λ_max − v|`` of the second.
    steps : tuple of int
        How often L⁻¹ and L were applied, each time one pass over the weights each way; (0, 0) for a
        dense solver.
    free : int
        How many coordinates are free.
    fewest : int
        How often L⁻¹ was applied to the samples that took fewest steps.
    error_low : ndarray of shape (B,)
        The relative error of λ₁, rounding included; infinite where λ₁ is below rounding, so that
        double precision cannot tell it and ``smallest`` means nothing.
    error_high : ndarray of shape (B,)
        The relative error of λ_max.

    Notes
    -----
    In the paper: Lemma 3.2 and Fig. E.5; the errors are derived.

    From a dense solver, λ₁ and λ_max lie within their errors. From Lanczos some eigenvalue does,
    which is λ₁ or λ_max unless the end of the spectrum is a cluster about as narrow; in any case λ₁
    is not above, nor λ_max below (how far λ₁ may be below, ``lower`` says). Of Lanczos the errors
    count the whole residual, though an end apart from the rest is known to its square. Of rounding
    they are an estimate, to first order: 2e-15 times what λ changes, relatively, if each entry of
    A, with L = AᵀA, changes by its own size, as far as a few random passes tell; with pins, also
    what the projection in L⁻¹ cancelled.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.linear.spectrum import extremes
    >>> found = extremes(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])), [True])
    >>> found
    Extremes(λ₁ 0.198, λ_max 3.25 over 1 samples, dense)
    >>> found.condition.round(3), found.below_rounding
    (array([16.394]), array([False]))
    """

    smallest: np.ndarray
    largest: np.ndarray
    bottom: np.ndarray
    top: np.ndarray
    residual_low: np.ndarray
    residual_high: np.ndarray
    steps: tuple[int, int]
    free: int
    fewest: int
    error_low: np.ndarray
    error_high: np.ndarray

    @property
    def condition(self) -> np.ndarray:
        """The condition number κ = λ_max/λ₁, shape (B,)."""
        return self.largest / self.smallest

    @property
    def below_rounding(self) -> np.ndarray:
        """Whether λ₁ is below rounding, its relative error being 1 or more, shape (B,) of bool."""
        return np.broadcast_to(~(self.error_low < 1), self.smallest.shape)

    def lower(self, failure: float = 1e-9) -> np.ndarray:
        """Bound λ₁ from below.

        It is ``smallest`` less its error and what Lanczos may have missed.

        Parameters
        ----------
        failure : float, default: 1e-9
            With what probability at most the bound of one sample may be wrong, over Lanczos's
            random start.

        Returns
        -------
        ndarray of shape (B,)
            The bound: 0 where there were too few steps to say, and where λ₁ is below rounding.

        Raises
        ------
        ValueError
            For a probability that is not between 0 and 1.

        Notes
        -----
        With k steps P(θ < (1 − ε)λ_max(L⁻¹)) ≤ 1.648 √n exp(−√ε(2k − 1)), by Kuczyński and
        Woźniakowski (1992).
        """
        if not 0 < positive("failure", failure) < 1:
            raise ValueError(f"failure={failure:g}, expected a probability below 1")
        sure = self.smallest * (1 - np.minimum(self.error_low, 1))
        sure = np.where(self.below_rounding, 0.0, sure)
        if self.steps == (0, 0) or self.fewest >= self.free:
            return sure
        k = min(self.fewest, BASIS)  # restarts only add to the first cycle's Ritz value
        epsilon = (np.log(1.648 * np.sqrt(self.free) / failure) / (2 * k - 1)) ** 2
        return sure * max(0.0, 1 - epsilon)

    def __repr__(self) -> str:
        lost = self.below_rounding
        low = f"λ₁ {_range(self.smallest[~lost])}" if not lost.all() else "λ₁ below rounding"
        worst = np.max(np.broadcast_to(self.error_low, lost.shape)[~lost], initial=0.0)
        said = f" to a relative {worst:.0e}" if worst > SAID else ""
        if lost.any() and not lost.all():
            said += f" and below rounding in {lost.sum()} samples"
        steps = f"{self.steps[0]} + {self.steps[1]} Lanczos steps"
        return (
            f"Extremes({low}{said}, λ_max {_range(self.largest)} over {len(lost)} samples, "
            f"{'dense' if self.steps == (0, 0) else steps})"
        )


def extremes(
    sheaf: NeuralSheaf,
    pattern: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] | Pins = (),
    z: ArrayLike | None = None,
    output_force: str = "jacobian",
    tol: float = 1e-9,
    dense: int = DENSE,
    least: int = 0,
    seed: int = 0,
) -> Extremes:
    """Find the smallest and the largest eigenvalue of the Laplacian, and their eigenvectors.

    All samples are treated at once. With up to ``dense`` free coordinates a dense solver finds
    them. Beyond, λ_max comes by Lanczos on L and λ₁ by Lanczos on L⁻¹, and no matrix is formed:
    some 40 vectors a sample are held, and one more a pinned coordinate.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    pattern : array_like of shape (M,) or (B, M)
        The activation patterns.
    pins : Pin, sequence of Pin or Pins, optional
        Hard and soft pins.
    z : array_like of shape (B, n_out), optional
        The logits, with which ``a_out`` is included.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits.
    tol : float, default: 1e-9
        About the relative accuracy of the values, clusters aside that Lanczos has not resolved.
        That of a vector is its residual over the distance of the next eigenvalue.
    dense : int, default: 400
        With how many free coordinates at most a dense solver is used.
    least : int, default: 0
        How many steps Lanczos takes on L⁻¹ at least, for a better ``Extremes.lower``.
    seed : int, default: 0
        The seed of Lanczos's random start.

    Returns
    -------
    Extremes
        Both ends of each sample's spectrum, with their errors, rounding included. A λ₁ below
        rounding is said there and raises nothing.

    Raises
    ------
    ValueError
        For bad input.
    ArithmeticError
        When Lanczos does not arrive.
    OverflowError
        When L or L⁻¹ leaves float64.

    Notes
    -----
    In the paper: Lemma 3.2 and Fig. E.5; that a few dozen passes are enough is derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.linear.spectrum import extremes
    >>> found = extremes(NeuralSheaf(Network.mlp([[[1.0]]])), [[]])
    >>> float(found.smallest[0]), float(found.largest[0])
    (1.0, 1.0)
    """
    frozen = Frozen(sheaf, pattern, pins=pins, z=z, output_force=output_force)
    tol, dense = positive("tol", tol), whole("dense", dense, least=0)
    least = whole("least", least, least=0, most=MOST)
    if not frozen.n:
        nothing, zero = np.zeros((len(frozen), frozen.width)), np.zeros(len(frozen))
        infinite = np.full(len(frozen), np.inf)
        return Extremes(infinite, zero, nothing, nothing, zero, zero, (0, 0), 0, 0, zero, zero)
    by_matrix = frozen.n <= dense
    solver = partial(_dense if by_matrix else _lanczos, tol=tol, seed=whole("seed", seed, least=0))
    find = partial(_low, solver=partial(solver, least=least), enough=SURE if by_matrix else tol)
    low = _in_parts(frozen, find, by_matrix)
    high = _in_parts(frozen, partial(_high, solver=solver), by_matrix)
    return Extremes(
        low.value,
        high.value,
        frozen.embed(low.vector),
        frozen.embed(high.vector),
        low.residual,
        high.residual,
        (low.steps, high.steps),
        frozen.n,
        frozen.n if by_matrix else low.fewest,
        low.error,
        high.error,
    )


def smallest(
    sheaf: NeuralSheaf,
    pattern: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] | Pins = (),
    z: ArrayLike | None = None,
    output_force: str = "jacobian",
    tol: float = 1e-9,
    seed: int = 0,
) -> np.ndarray:
    """Find the smallest eigenvalue λ₁ of the Laplacian alone.

    It works as ``extremes``, but by Lanczos on L⁻¹ from 25 free coordinates on.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    pattern : array_like of shape (M,) or (B, M)
        The activation patterns.
    pins : Pin, sequence of Pin or Pins, optional
        Hard and soft pins.
    z : array_like of shape (B, n_out), optional
        The logits, with which ``a_out`` is included.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits.
    tol : float, default: 1e-9
        About the relative accuracy.
    seed : int, default: 0
        The seed of Lanczos's random start.

    Returns
    -------
    ndarray of shape (B,)
        The smallest eigenvalue of each sample, infinite where everything is clamped.

    Raises
    ------
    ValueError
        For bad input.
    ArithmeticError
        When Lanczos does not arrive, and where a λ₁ is below rounding.
    OverflowError
        When L⁻¹ leaves float64.

    Notes
    -----
    In the paper: Lemma 3.2, and Fig. E.4 for λ₁ by depth; the way to it is derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.linear.spectrum import smallest
    >>> smallest(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])), [[True], [False]]).round(4)
    array([0.1981, 0.382 ])
    """
    frozen, tol = (
        Frozen(sheaf, pattern, pins=pins, z=z, output_force=output_force),
        positive("tol", tol),
    )
    if not frozen.n:
        return np.full(len(frozen), np.inf)
    by_matrix = frozen.n <= BASIS  # Lanczos would have to go all the way
    solver = partial(_dense if by_matrix else _lanczos, tol=tol, seed=whole("seed", seed, least=0))
    enough = SURE if by_matrix else tol
    low = _in_parts(frozen, partial(_low, solver=solver, enough=enough), by_matrix)
    return _known(low.value, low.error)


def extreme(
    sheaf: NeuralSheaf,
    pattern: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] | Pins = (),
    z: ArrayLike | None = None,
    output_force: str = "jacobian",
) -> tuple[float, float]:
    """Find the smallest and the largest eigenvalue of the Laplacian for one activation pattern.

    It works as ``extremes``.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    pattern : array_like of shape (M,) or (1, M)
        The activation pattern.
    pins : Pin, sequence of Pin or Pins, optional
        Hard and soft pins.
    z : array_like of shape (n_out,) or (1, n_out), optional
        The logits, with which ``a_out`` is included.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits.

    Returns
    -------
    smallest : float
        The smallest eigenvalue λ₁, infinite where everything is clamped.
    largest : float
        The largest eigenvalue λ_max, 0 where everything is clamped.

    Raises
    ------
    ValueError
        For bad input.
    ArithmeticError
        When Lanczos does not arrive, and where λ₁ is below rounding.
    OverflowError
        When L or L⁻¹ leaves float64.

    Notes
    -----
    In the paper: Lemma 3.2 and Fig. E.5.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.linear.spectrum import extreme
    >>> low, high = extreme(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])), [True])
    >>> round(low, 4), round(high, 4)
    (0.1981, 3.247)
    """
    pattern = check_sheaf(sheaf).one_pattern(pattern)
    found = extremes(sheaf, pattern, pins=pins, z=z, output_force=output_force)
    return float(_known(found.smallest, found.error_low)[0]), float(found.largest[0])


class _Found(NamedTuple):
    """The largest eigenvalue of L or L⁻¹ and its unit vector for every sample, and the steps taken.

    apart: the relative distance of the next eigenvalue, the smallest positive number where unknown.
    """

    value: np.ndarray
    vector: np.ndarray
    residual: np.ndarray
    apart: np.ndarray | float
    steps: int


class _End(NamedTuple):
    """One end of the spectrum of L, as `Extremes` has it; left: the relative residual that the
    solver itself left, before what rounding adds to it."""

    value: np.ndarray
    vector: np.ndarray
    residual: np.ndarray
    error: np.ndarray
    left: np.ndarray
    steps: int
    fewest: int


def _in_parts(frozen: Frozen, find: Callable, by_matrix: bool) -> _End:
    """What `find` finds, for as many samples at once as a cache or, with matrices, memory holds."""
    vectors = max(BASIS * frozen.n, frozen.width * (1 + len(frozen.held)))
    together = max(1, AT_ONCE // (8 * frozen.n**2) if by_matrix else ROOM // vectors)
    parts = [slice(i, i + together) for i in range(0, len(frozen), together)]
    with np.errstate(over="ignore", invalid="ignore"):
        found = [find(frozen.samples(part)) for part in parts]
    steps, fewest = max(part.steps for part in found), min(part.fewest for part in found)
    value, vector, residual, error, left = (
        np.concatenate(column) for column in list(zip(*found))[:5]
    )
    return _End(value, vector, residual, error, left, steps, fewest)


def _low(frozen: Frozen, solver: Callable, enough: float) -> _End:
    """λ₁ by L⁻¹; where pins cut a gain and more than `enough` is lost, by a refined L⁻¹; where that
    does not help, by singular values, up to `SMALL` coordinates."""
    low = _settled(frozen, solver(frozen, Frozen.inverse), 0)
    if not len(frozen.held):
        return low
    for refinements in (REFINEMENTS, None):
        again = np.flatnonzero(~(low.error <= np.maximum(enough, 2 * low.left)))
        if not len(again) or refinements is None and frozen.n > SMALL:
            return low
        part = frozen.samples(again)
        if refinements is None:
            found = _by_root(part)
        else:
            refined = partial(Frozen.inverse, refinements=refinements)
            found = _settled(part, solver(part, refined), refinements)
        better = (found.error < low.error[again]) & (found.error < 1)
        for mine, theirs in zip(low[:5], found[:5]):
            mine[again[better]] = theirs[better]
        fewest = min(low.fewest, found.fewest or low.fewest)
        low = low._replace(steps=low.steps + found.steps, fewest=fewest)
    return low


def _settled(frozen: Frozen, found: _Found, refinements: int) -> _End:
    """λ₁ = 1/|r|² of the stresses r = A y, y = L⁻¹v, with its error.

    Rounding acts through the entries of A, and with pins through the projection in L⁻¹. Where that
    was refined, it is seen in what y and r solve: with f = r − A y and g = v − Aᵀr, vᵀL⁻¹v differs
    from vᵀy by yᵀg + rᵀf, up to |r|² (|g| + |f|/|r|)².
    """
    v = found.vector
    y, r = frozen.solve(v, refinements)
    size, force = _norm(y), _norm(r)
    if not (np.isfinite(size) & np.isfinite(force**2)).all():
        raise OverflowError("L⁻¹ leaves float64: 1/λ₁ is beyond 1e308")
    y, r = y / size[:, None], r / force[:, None]
    rounding = UNIT * (1 + 2 * frozen.leverage(y, r) * (size / force))
    if refinements:
        f = r - frozen.stress(y) * (size / force)[:, None]
        g = v - frozen.load(r) * force[:, None]
        lost = np.abs((y * g).sum(axis=1)) * size / force**2 + np.abs((r * f).sum(axis=1))
        lost += (_norm(g) + _norm(f)) ** 2 + np.abs((v * y).sum(axis=1) * size / force**2 - 1)
    else:
        lost = 2 * UNIT * frozen.cut(v, r * force[:, None]) / force
        lost += lost**2
    residual = _norm(y * (size / force**2)[:, None] - v)
    error = residual * residual / np.maximum(residual, found.apart) + rounding + lost
    error, left = np.where(error < 1, error, np.inf), found.residual / found.value
    return _End(1 / force**2, v, residual, error, left, found.steps, found.steps)


def _by_root(frozen: Frozen) -> _End:
    """λ₁ as the square of a singular value s of A, whose error is rounding · s_max.

    With its vectors u and v, a singular value lies within |(Av − su, Aᵀu − sv)| of s.
    """
    left, sizes, right = np.linalg.svd(frozen.root(), full_matrices=False)
    u, v, s = left[:, :, -1], right[:, -1].copy(), sizes[:, -1]
    off_u, off_v = frozen.stress(v) - s[:, None] * u, frozen.load(u) - s[:, None] * v
    residual = np.hypot(_norm(off_u), _norm(off_v)) / s
    return _End(s**2, v, residual, 2 * (residual + UNIT * sizes[:, 0] / s), residual, 0, 0)


def _high(frozen: Frozen, solver: Callable) -> _End:
    """λ_max = |A v|², v by L, with its error."""
    found = solver(frozen, Frozen.laplacian)
    v, r = found.vector, frozen.stress(found.vector)
    force, residual = _norm(r), found.residual / found.value
    rounding = UNIT * (1 + 2 * frozen.leverage(v, r / force[:, None]) / force)
    error = residual * residual / np.maximum(residual, found.apart) + rounding
    return _End(force**2, v, residual, error, residual, found.steps, found.steps)


def _dense(frozen: Frozen, operator: Callable, **_: object) -> _Found:
    """The largest eigenpair of L or L⁻¹ by a dense solver, which has an error of rounding · λ_max
    of the matrix: hence L⁻¹ for λ₁."""
    if operator is Frozen.laplacian:
        matrix = _finite(frozen.matrix(), "L")
    else:
        matrix = _finite(frozen.each_free(operator), "L⁻¹")
    values, vectors = np.linalg.eigh(matrix)
    value, vector = values[:, -1], vectors[:, :, -1].copy()
    apart = 1 - values[:, -2] / value if frozen.n > 1 else np.ones(len(frozen))
    residual = _norm((matrix @ vector[:, :, None])[:, :, 0] / value[:, None] - vector) * value
    return _Found(value, vector, residual, np.maximum(apart, TINY), 0)


def _lanczos(frozen: Frozen, operator: Callable, tol: float, seed: int, least: int = 0) -> _Found:
    """The largest eigenpair of L or L⁻¹ by Lanczos, which cannot know how far the next one is."""
    start = np.random.default_rng(seed).standard_normal((1, frozen.n))
    start = np.broadcast_to(start, (len(frozen), frozen.n))
    found = largest(partial(operator, frozen), start, tol, least=least)
    return _Found(*found[:3], TINY, found.steps)


def _known(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The values; ArithmeticError where one is below rounding."""
    lost = ~(errors < 1)
    if lost.any():
        i = int(np.argmax(lost))
        raise ArithmeticError(
            f"λ₁ of sample {i} is below rounding: {values[i]:.3g} was found, with a relative error "
            f"of {errors[i]:.1g}, expected one below 1; either the sheaf is too stiff for double "
            "precision, or pins cut too large a gain"
        )
    return values


def _finite(matrix: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(matrix).all():
        raise OverflowError(f"{name} leaves float64: one of its entries is beyond 1e308")
    return matrix


def _norm(v: np.ndarray) -> np.ndarray:
    """|v| of every row, (B,), whose squares may leave float64."""
    size = np.abs(v).max(axis=1, initial=TINY)
    return size * np.linalg.norm(v / size[:, None], axis=1)


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
