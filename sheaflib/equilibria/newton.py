"""Equilibria under any pins by damped semismooth Newton, a batch at once (derived; the paper runs
10⁴–10⁵ Euler steps).

Fix a side β_j of every kink: on the cell {β_j z_j ≥ 0} V is one strictly convex quadratic, and so
is, piece by piece, V_β, its minimum over the kinked coordinates, which closed forms give (`kinks`).
A step solves the quadratic of the present pieces by CG in the injections ε = δ_FF v, where the
Hessian is W + AᵀDA with few rows A: held edges, springs, the output. So CG ends in that many steps,
each one forward and one backward substitution, and no matrix is formed. After a step a unit at a
wrong corner changes its side, which lowers V strictly: were each V_β minimised before, none would
be minimised twice, so the iteration ends, at a strict local minimum. Here the sides move on
earlier, at first even after damped steps, which takes a third of the passes on large networks: that
runs end is what tests find, and where rounding decides on a side they need not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.equilibria.arrival import Before, arrived, same_pieces, why_not, with_zeros
from sheaflib.equilibria.certificate import NO_MINIMUM, ROUNDING, UNDECIDED, Certificate, certify
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.homotopy import lowered
from sheaflib.equilibria.newton_steps import line_search, newton_step
from sheaflib.equilibria.others import Others
from sheaflib.equilibria.sides import Rule
from sheaflib.linear.solution import Solution, shown
from sheaflib.networks.graph import INPUT
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, Pins
from sheaflib.support.checks import batch, brief, choice, flag, positive, whole
from sheaflib.support.progress import bar

MOST = 300  # iterations
# passes that an iteration takes beside the steps of CG, and those that end a run
REST = 12
FEWEST = 2 * REST + 2  # passes of a run with one step of CG
FREE = 100  # iterations after which sides change only where the last step was a full one
# a kink this near, relative to the terms that z_j is a sum of, may lie on either side
SAME = 1e-10
# a gradient this small, relative to the terms of all coordinates, is looked at coordinate by
# coordinate
NEAR = 1e-9
# the same, where a label makes V more than quadratic: a gradient above is not yet one that only
# rounding keeps up
SMALL = 1e-7
LARGEST_TOL = 1e-3  # of the terms of a coordinate: beyond, no answer would be one
STALLS = 6  # full steps on the same pieces, after which nothing is gained
FLAT_STEPS = 30  # full steps by which V cannot fall but by its rounding, after which none will


def equilibrium(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] | Pins = (),
    start: ArrayLike | None = None,
    tol: float = ROUNDING,
    mode: Literal["track", "global", "homotopy"] = "track",
    max_iterations: int = MOST,
    budget: int | None = None,
    progress: bool | None = None,
) -> Equilibrium:
    """Find an equilibrium of a pinned sheaf, by Newton's method.

    Every answer that converged with the default ``tol`` is a strict local minimum of the energy V
    with the pins, unless its certificate says that rounding does not let us decide. Which one it is
    depends on the start, and it need not be the limit of the heat flow: for that use ``relax`` or
    ``exact_flow``.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network whose kinks lie apart. Every selection is covered: ReLU, PReLU, clamp
        and max-pool. Where kinks do not lie apart, take the sheaf of ``Network.separated()``.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    pins : Pin, sequence of Pin or Pins, optional
        Hard and soft pins on any coordinates. Pins on the ``a_out`` of a sigmoid or softmax add its
        cross-entropy κ(ψ(z) − yᵀz), with κ the weight of the output edge, or κ = γw/(γ + w) of that
        weight w and a spring γ: any pins on a sigmoid's; on a softmax's a clamp of all of it, or
        one spring on all. Without pins there the output edge is left out.
    start : array_like of shape (B, N), optional
        Where to start, by default the forward pass. Only the coordinates without a kink count, and
        the sign of those with one.
    tol : float, optional
        A sample has converged where every coordinate is at rest: ``|∂V/∂w_i|`` is at most ``tol``
        times the terms that it is a sum of, its own and not those of other coordinates
        (``NeuralSheaf.gradient_terms``). It is raised to 256 ε, the default, below which double
        precision cannot tell.
    mode : {"track", "global", "homotopy"}, default: "track"
        How units change sides; see the notes.
    max_iterations : int, default: 300
        How many Newton steps are taken at most.
    budget : int, optional
        How many passes over the weights a sample may take. One that is not at rest by then has the
        point that was reached, is not ``converged``, and its ``gap`` says how much lower V may lie
        on its pieces.
    progress : bool, optional
        Whether the mode "homotopy" shows a bar; by default where a person sees it.

    Returns
    -------
    Equilibrium
        The answer for each sample, with its certificate.

    Raises
    ------
    ValueError
        For kinks that do not lie apart, for an unknown mode, for a softmax pinned in part or by
        unequal springs, and for a ``tol`` above 1e-3.

    Notes
    -----
    In the paper: not there; derived. The paper reaches such states by the flow (§5.1).

    **Modes.** "track" leaves a side of a kink only where the minimum is a wrong corner. "global"
    takes the lower of both sides in every unit, which finds lower energies more often, and need not
    find the lowest. "homotopy" first goes down with kinks rounded off by a width that shrinks, one
    sample after the other, and Newton's iteration ends it by the rule of "global". It is for large
    networks, where Newton alone may make small steps for ever, and for low energies; V is never
    higher than at the start. It holds some 35 vectors of length N, and does not cover max-pools.

    **Rest.** With the default ``tol`` a Newton step must also change what no edge carries by more
    than 1e-10 of the edge's terms. Weights, inputs and edge weights may have any scale at which V
    is a float64 number; a sample for which it is not, or that rounding keeps from rest, is not
    ``converged``, and ``reason`` says so.

    Examples
    --------
    Two equilibria meet the same pin, and the start decides.

    >>> from sheaflib import Network, NeuralSheaf, equilibrium, hard
    >>> sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[-0.5], [0.0]]))
    >>> found = equilibrium(sheaf, [[0.0]], pins=hard("z2", 2.0))
    >>> found.cochain, found.energy
    (array([[-0.5,  1. ,  2. ]]), array([1.]))
    >>> other = equilibrium(sheaf, [[0.0]], pins=hard("z2", 2.0), start=[[1.0, 1.0, 2.0]])
    >>> other.cochain.round(4), other.energy.round(4)
    (array([[0.3333, 1.1667, 2.    ]]), array([1.0417]))
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in).copy()
    problem = PinnedEnergy(sheaf, x, pins)
    choice("mode", mode, ("track", "global", "homotopy"))
    tol, max_iterations = positive("tol", tol), whole("max_iterations", max_iterations)
    progress = None if progress is None else flag("progress", progress)
    if budget is not None:
        budget = whole("budget", budget, least=FEWEST, most=np.iinfo(np.int64).max)
    if tol > LARGEST_TOL:
        raise ValueError(
            f"tol={tol:g} is relative to the terms of each coordinate's gradient, expected at most"
            f" {LARGEST_TOL:g}"
        )
    w = sheaf.forward(x) if start is None else sheaf.cochain("start", start)[:, : sheaf.N]
    if len(w) != len(x):
        raise ValueError(f"start has {len(w)} rows, expected {len(x)}: one a row of x")
    with np.errstate(over="ignore", invalid="ignore"):  # what leaves float64 is told in `reason`
        w = problem.impose(w)
        return solve(problem, w, tol, mode, max_iterations, budget, progress)


@dataclass(frozen=True, eq=False, repr=False)
class Equilibrium(Solution):
    """The equilibria that ``equilibrium`` found, one for each sample that converged.

    Each is the one, of possibly several, that its start led to. It is a strict local minimum of V,
    unless the certificate's verdict is that rounding does not let us decide. B is the number of
    samples.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf that the answer is a cochain of.
    x : ndarray of shape (B, n_0)
        The inputs.
    cochain : ndarray of shape (B, N) or (B, N + n_out)
        The values at all vertices; with ``a_out`` where it is pinned.
    pattern : ndarray of shape (B, M)
        The activation pattern of the cochain.
    pins : Pins
        What is pinned.
    method : str
        By what it was found.
    reason : str
        Why samples did not converge, empty where all did.
    converged : ndarray of bool of shape (B,)
        Which samples are at rest.
    frozen : bool, default: False
        Whether the pattern was held fast; here it never is.
    output_force : {"jacobian", "identity"}, default: "jacobian"
        How the output edge pulls at the logits.
    history : None
        What a flow recorded; here nothing.
    problem : PinnedEnergy
        The energy that was minimised.
    mode : {"track", "global", "homotopy"}
        How units changed sides.
    tol : float
        The tolerance that held.
    iterations : ndarray of int of shape (B,)
        How many Newton steps each sample took.
    cg : ndarray of int of shape (B,)
        How many steps of conjugate gradients each sample took.
    passes : ndarray of int of shape (B,)
        How often every weight was touched, forward or transposed: 2 at the start, 2 an iteration, 2
        a step of conjugate gradients, one a row of a direct step, and 1 to 5 to see whether a
        sample has arrived.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, equilibrium, hard
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> found = equilibrium(chain, [[1.0]], pins=hard("z2", 4.0))
    >>> found
    Equilibrium(strict local minima, 1.0 iterations, 8.0 passes on average, residual < 1e-12)
    >>> found.cochain, found.energy  # an error of 3 is shared by three edges
    (array([[2., 3., 4.]]), array([1.5]))
    """

    problem: PinnedEnergy = field(kw_only=True)
    mode: str = field(kw_only=True)
    tol: float = field(kw_only=True)
    iterations: np.ndarray = field(kw_only=True)
    cg: np.ndarray = field(kw_only=True)
    passes: np.ndarray = field(kw_only=True)

    @cached_property
    def certificate(self) -> Certificate:
        """What can be said of the answer, from the cochain alone: a ``Certificate``."""
        return certify(self.problem, self.cochain[:, : self.sheaf.N])

    @cached_property
    def energy(self) -> np.ndarray:
        """The energy V of each sample, shape (B,).

        Springs are included, and with ``a_out`` pinned the cross-entropy ψ(z) − a_outᵀz stands in
        place of the output edge.
        """
        w = self.cochain[:, : self.sheaf.N]
        return self.problem.energy(w, w - self.sheaf.discrepancy(w, self.x))

    @cached_property
    def gap(self) -> np.ndarray:
        """A bound of how much lower V gets on the pieces where each sample stands, shape (B,).

        It is half of Σ g²/w, with g = ∂V/∂ε the gradient in the injections and w the edge weights.
        It says nothing about other pieces.
        """
        w = self.cochain[:, : self.sheaf.N]
        at = self.problem.pieces(w, self.problem.sides(w))
        return 0.5 * self.problem.size(self.problem.gradient(at)) ** 2

    @cached_property
    def residual(self) -> float:
        """The largest ``|∂V/∂w|`` of the batch, where neither clamped nor at a corner."""
        return float(self.certificate.residual.max())

    @cached_property
    def error(self) -> float:
        """The largest bound of the distance to the exact minimum, ``|w − w*|``, over the batch."""
        return float(self.certificate.distance.max())

    def others(self, starts: int = 10, seed: int = 0, scale: float = 3.0) -> Others:
        """Search for further equilibria, from random starts.

        The same pins, mode and tolerance hold. What is found is a lower bound of how many there
        are.

        Parameters
        ----------
        starts : int, default: 10
            From how many starts to search, for each sample.
        seed : int, default: 0
            The seed of the starts.
        scale : float, default: 3.0
            The deviation of each coordinate of a start, which is normal with mean 0.

        Returns
        -------
        Others
            The distinct equilibria, the first answer among them.

        Raises
        ------
        ValueError
            For a scale whose starts are too large for float64, and for bad counts.
        """
        starts, scale = whole("starts", starts), positive("scale", scale, zero=True)
        rng = np.random.default_rng(whole("seed", seed, least=0))
        sheaf, n_batch = self.sheaf, len(self.x)
        kept = [
            [(self.energy[i], w)] if self.converged[i] else []
            for i, w in enumerate(self.cochain[:, : sheaf.N])
        ]
        for _ in range(starts):
            w = scale * rng.standard_normal((n_batch, sheaf.N))
            if not np.isfinite(w).all():
                raise ValueError(f"scale={scale:g} draws starts that are too large for float64")
            with np.errstate(over="ignore", invalid="ignore"):  # no answer that converged has it
                w = self.problem.impose(w)
                found = solve(self.problem, w, self.tol, self.mode, MOST)
            for i in np.flatnonzero(found.converged).tolist():
                here = found.cochain[i, : sheaf.N]
                if all(self._apart(i, here, other) for _, other in kept[i]):
                    kept[i].append((found.energy[i], here))
        kept = [sorted(k, key=lambda pair: pair[0]) for k in kept]
        return Others(
            starts,
            [np.array([V for V, _ in k]) for k in kept],
            [np.array([w for _, w in k]) for k in kept],
        )

    def _apart(self, i: int, w: np.ndarray, other: np.ndarray) -> bool:
        """Whether two equilibria (N,) of sample i lie in no common closed cell, which holds one at
        most: a kink lies on both sides."""
        pair = np.array([w, other])
        room = SAME * self.sheaf.edge_terms(pair, np.repeat(self.x[[i]], 2, axis=0))
        kinks = self.problem.kinks.values()
        return any(kink.apart(pair[:, kink.here], room[:, kink.here]) for kink in kinks)

    def __repr__(self) -> str:
        verdict = self.certificate.verdict
        counts = {
            "not converged": int((~self.converged).sum()),
            UNDECIDED: int((self.converged & (verdict == UNDECIDED)).sum()),
            "no minimum to rounding": int((self.converged & (verdict == NO_MINIMUM)).sum()),
        }
        told = [f"{n} of {len(verdict)} samples {what}" for what, n in counts.items() if n]
        state = ", ".join(told) or "strict local minima"
        return (
            f"Equilibrium({state}, {self.iterations.mean():.1f} iterations,"
            f" {self.passes.mean():.1f} passes on average, residual {shown(self.residual)})"
        )


def solve(
    problem: PinnedEnergy,
    w: np.ndarray,
    tol: float,
    mode: str,
    max_iterations: int,
    budget: int | None = None,
    progress: bool | None = False,
) -> Equilibrium:
    """Newton's iteration from w (B, N), or from where the homotopy leads from there."""
    if mode != "homotopy":
        return newton(problem, w, tol, mode, max_iterations, budget)
    w, passes = w.copy(), np.zeros(len(w), dtype=np.int64)
    most = np.inf if budget is None else budget - FEWEST
    with bar(len(w), "homotopy", progress, leave=False) as shown:
        for i in range(len(w)):

            def tell(width: float, energy: float, gradient: float) -> None:
                shown.set_postfix(
                    width=f"{width:.1e}", V=f"{energy:.6g}", gradient=f"{gradient:.1e}"
                )

            w[[i]], passes[i] = lowered(problem.rows([i]), w[[i]], most, tell)
            shown.update()
    return newton(problem, w, tol, mode, max_iterations, budget, passes)


def newton(
    problem: PinnedEnergy,
    w: np.ndarray,
    tol: float,
    mode: str,
    max_iterations: int,
    budget: int | None = None,
    passes: np.ndarray | None = None,
) -> Equilibrium:
    """Run the iteration from w (B, N); samples that are done leave the batch. passes (B,): those
    that led to w.
    """
    most = budget or np.iinfo(np.int64).max
    n_batch, active, tol = len(w), np.arange(len(w)), max(tol, ROUNDING)
    w, side = w.copy(), problem.sides(w)
    count = {name: np.zeros(n_batch, dtype=np.int64) for name in ("iterations", "cg", "passes")}
    if passes is not None:
        count["passes"] += passes
    converged, lost, stiff, level, stalls, flats = (
        np.zeros(n_batch, dtype=kind) for kind in (bool, bool, bool, bool, np.int64, np.int64)
    )
    before = None
    for iteration in range(max_iterations + 1):
        part, settled = problem.rows(active), before is None or before.full
        free = np.reshape(settled, (-1, 1)) | (iteration < FREE)
        at = part.pieces(w[active], side[active], Rule(mode, free))
        gradient = part.gradient(at)
        size, (edges, springs) = part.size(gradient), part.terms(at)
        count["passes"][active] += 2
        # a full step has led to the pieces that it was taken on
        again = np.zeros(len(active), dtype=bool)
        look = settled & (size <= NEAR * (edges + springs))
        if before is not None:
            again = before.full & same_pieces(part, at, before, stiff[active])
            look |= settled & (again | before.flat)
        rows = np.flatnonzero(look)
        if len(rows):
            converged[active[rows]], more = arrived(
                part.rows(rows),
                at.rows(rows),
                gradient[rows],
                tol,
                most - count["passes"][active[rows]],
            )
            count["passes"][active[rows]] += more
            # where V falls beyond a break that rounding hides, the run goes on there
            beyond = part.rows(rows).sides_beyond(at.rows(rows))
            back = converged[active[rows]] & (beyond != at.side[rows]).any(axis=1)
            if back.any():
                w[active], side[active] = at.w, at.side
                side[active[rows[back]]] = beyond[back]
                converged[active[rows[back]]], before = False, None
                continue
        # the quadratic was solved, and rounding is what is left
        idle = again & ~converged[active]
        if before is not None and problem.output is not None:
            idle &= (size > 0.5 * before.size) & (size <= SMALL * (edges + springs))
        stalls[active] = np.where(idle, stalls[active] + 1, 0)
        stiff[active] |= stalls[active] > 0
        w[active], side[active] = at.w, at.side
        lost[active] = ~np.isfinite(at.energy) | ~np.isfinite(size)
        idle_for_good = (stalls >= STALLS) | (flats >= FLAT_STEPS)
        spent = count["passes"] > most - REST - 2
        done = converged | lost | idle_for_good | spent | (count["iterations"] >= max_iterations)
        left = ~done[active]
        if not left.any():
            break
        active, part, at, size = active[left], part.rows(left), at.rows(left), size[left]
        relative = np.divide(size, edges[left], out=np.ones_like(size), where=edges[left] > 0)
        step = newton_step(
            part,
            at,
            gradient[left],
            np.clip(relative, 1e-12, 0.1),
            stiff[active],
            stalls[active] > 1,
            (most - REST - count["passes"][active]) // 2,
        )
        w[active], full = line_search(part, at, step)
        flat = np.abs(step.slope) <= part.energy_rounding(at)
        stiff[active] |= step.stiff | flat
        level[active] = flat  # V is as low as its rounding lets us tell
        flats[active] = np.where(full & flat, flats[active] + 1, 0)
        count["iterations"][active] += 1
        count["cg"][active] += step.cg
        count["passes"][active] += step.passes
        before = Before(size, full, full & flat, at.side, at.held)
    rows = np.flatnonzero(~converged & ~lost)
    if len(rows):
        w[rows], converged[rows], more = with_zeros(
            problem.rows(rows), w[rows], side[rows], tol, most - count["passes"][rows]
        )
        count["passes"][rows] += more
    augmented = w
    if problem.output is not None:
        augmented = np.hstack([w, problem.output.a_out(w[:, problem.last])])
    doubtful = np.zeros(n_batch, dtype=bool)
    if not converged.all():
        certificate = certify(problem, w)
        doubtful = (certificate.verdict == UNDECIDED) | level & certificate.doubtful.any(axis=1)
    reason = why_not(
        converged,
        {
            "where V or its gradient leaves float64": lost,
            "where rounding decides on which side of a kink they rest": doubtful,
            "where rounding keeps a coordinate from rest": idle_for_good,
            f"after {brief(budget)} passes": spent,
            f"after {brief(max_iterations)} iterations": ~converged,
        },
    )
    return Equilibrium(
        problem.sheaf,
        problem.x,
        augmented,
        problem.sheaf.pattern(w, problem.x),
        problem.pins,
        "newton",
        reason,
        converged,
        output_force="identity",
        problem=problem,
        mode=mode,
        tol=tol,
        iterations=count["iterations"],
        cg=count["cg"],
        passes=count["passes"],
    )
