"""What a report costs, said before it is spent: first samples, which are kept, an estimate from
them, and equilibria within a number of passes over the weights.

A pass touches every weight once, forward or transposed. A report takes ALLOWED of them a sample on
average: EQUILIBRIA for the equilibria, one for the forward pass, and the rest for resistances and
spectra, of as many samples as that allows. Samples of small loss come to rest in a few dozen
passes; what they leave goes to those of large loss, which come last. Equilibria that the homotopy
finds may take DEARER times as many.
"""

from __future__ import annotations

from time import perf_counter
from typing import Callable, NamedTuple

import numpy as np

from sheaflib.diagnosis import frozen, measures
from sheaflib.diagnosis.measures import NOBODY, Mode, Solved, Spectra
from sheaflib.linear.lanczos import EVERY
from sheaflib.sheaves.neural import NeuralSheaf

ALLOWED = 300  # passes a sample, of everything but the null that is solved again
EQUILIBRIA = 240  # of these for equilibria
DEARER = 4  # times as many passes the homotopy may take
FIRST = (8, 128)  # samples that are solved first: at least, and at most
SMALL = 2**16  # coordinates that are solved for in no time
ROWS = 2**13  # the same, where resistances and spectra are found
BESIDE = 0.5  # seconds that everything else may take
MARGIN = 1.25  # by how many more passes than the first samples the others may take
SLOWER = 1.5  # by how much longer a pass of theirs may take
LONGER = 1.5  # the same of a spectrum
RESERVE = 60  # passes of a sample that no other one takes
GROUPS = 8  # at least so many groups of samples, those of large loss last
FEWEST = 16  # samples in a group that is not cut into smaller ones


class Estimate(NamedTuple):
    """What a report is expected to take at most, the first samples included.

    Parameters
    ----------
    seconds : float
        How long it takes.
    passes : float
        How many passes over the weights a sample takes on average.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, report
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> found = report(chain, [[1.0], [2.0]], [4.0, 2.0], progress=False)
    >>> sum(found.passes.values()) / 2 <= found.estimate.passes
    True
    """

    seconds: float
    passes: float


class First(NamedTuple):
    """The first samples, by rising loss, the one of the largest loss last; what was found, the
    seconds that a pass of a sample among others took, and the passes that all others may take.
    """

    at: np.ndarray
    found: Solved
    pace: float
    left: int


def first_of(sheaf: NeuralSheaf, loss: np.ndarray) -> np.ndarray:
    """Samples at the middles of as many parts of the order by loss, and the one of the largest."""
    room = max(2, measures.ROOM // sheaf.N)
    count = min(len(loss), room, int(np.clip(SMALL // sheaf.N, *FIRST)))
    order = np.argsort(loss, kind="stable")
    middles = (np.arange(count - 1) + 0.5) * (len(loss) - 1) / max(1, count - 1)
    return np.append(order[middles.astype(int)], order[-1])


def each_equilibrium(mode: Mode) -> int:
    """How many passes the equilibria of a mode may take, a sample on average."""
    return EQUILIBRIA * (DEARER if mode == "homotopy" else 1)


def first(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    y: np.ndarray,
    loss: np.ndarray,
    done: Callable = NOBODY,
    mode: Mode = "track",
) -> First:
    """Solve the first samples: all but the last within a quarter of all passes that equilibria may
    take, but with the mean of all each at least; the last within a quarter of what is left.
    """
    at, start, each = first_of(sheaf, loss), perf_counter(), each_equilibrium(mode)
    left, last = each * len(loss), at[-1:]
    parts, pace = [], 0.0
    if len(at) > 1:
        most = min(measures.MOST, max(each, left // 4 // (len(at) - 1)))
        parts.append(measures.pinned(sheaf, x, y, at[:-1], at[:-1], most, done, mode))
        left -= int(parts[0].passes.sum())
        pace = (perf_counter() - start) / int(parts[0].passes.sum())
    most = min(measures.MOST, max(each, left // 4))
    parts.append(measures.pinned(sheaf, x, y, last, last, most, done, mode))
    left -= int(parts[-1].passes.sum())
    found = parts[0] if len(parts) == 1 else parts[0].joined(parts[1])
    return First(at, found, pace, left)


def most_passes(loss: np.ndarray, begun: First) -> int:
    """What the other samples are expected to take at most: as the first ones that have no less
    loss, and a margin, within what is left.
    """
    rank = np.empty(len(loss), dtype=int)
    rank[np.argsort(loss, kind="stable")] = np.arange(len(loss))
    others = np.setdiff1d(np.arange(len(loss)), begun.at)
    above = np.searchsorted(rank[begun.at], rank[others])
    envelope = np.maximum.accumulate(begun.found.passes)
    return min(begun.left, int(MARGIN * envelope[above].sum()))


def others(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    y: np.ndarray,
    loss: np.ndarray,
    begun: First,
    done: Callable = NOBODY,
    mode: Mode = "track",
) -> Solved:
    """All samples: the first ones as they are, the others by rising loss, each with its part of
    the passes that are left then, and what those before it did not need. Where the first ones say
    that not all will be needed, it may take more, but for RESERVE that each later one keeps.
    """
    rest = np.setdiff1d(np.arange(len(loss)), begun.at)
    rest = rest[np.argsort(loss[rest], kind="stable")]
    left, found, at = begun.left, begun.found, begun.at
    size = max(FEWEST, len(rest) // GROUPS)
    slack = begun.left / max(1, most_passes(loss, begun))
    for start in range(0, len(rest), size):
        for rows in measures.chunks(len(rest[start : start + size]), sheaf.N):
            part = rest[start : start + size][rows]
            later = len(rest) - start - rows.stop
            share = int(slack * left / (later + len(part)))
            kept = min(RESERVE, left // (later + len(part)))
            limit = min(measures.MOST, share, (left - later * kept) // len(part))
            solved = measures.pinned(sheaf, x, y, part, part, limit, done, mode)
            left -= int(solved.passes.sum())
            at = np.append(at, part)
            found = found.joined(solved)
    return found.rows(np.argsort(at, kind="stable"))


class Plan(NamedTuple):
    """Of which samples resistances and spectra are found, and the first of them, which are kept;
    and what all are expected to take at most.
    """

    subset: np.ndarray
    spectral: np.ndarray
    labels: np.ndarray
    own: np.ndarray
    estimate: Estimate
    spectrum: Spectra
    resistance: frozen.Costs


def plan(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    y: np.ndarray,
    loss: np.ndarray,
    drawn: np.ndarray,
    begun: First,
    budget: int,
    elapsed: float = 0.0,
) -> Plan:
    """How many of the samples `drawn` resistances and spectra are found of; both are found of the
    first ones, to see what they take. elapsed: seconds that have passed.
    """
    n_batch, n, each = len(x), sheaf.network.n_out, frozen.passes_of(sheaf)
    left = (ALLOWED - EQUILIBRIA - 1) * n_batch
    work = frozen.WORK // (len(sheaf.edges) * n * n)
    m = max(1, min(len(drawn), left // each, int(np.sqrt(work))))
    labels, own = np.unique(y[drawn[:m]], axis=0, return_inverse=True)
    few = int(np.clip(ROWS // sheaf.N, 1, FIRST[0]))
    start = perf_counter()
    resistance = frozen.costs(sheaf, x[drawn[: min(m, few)]], labels)
    of_resistance = (perf_counter() - start) / len(resistance.norm)
    start = perf_counter()
    spectrum = measures.spectra(sheaf, x, drawn[:1])
    of_spectrum = perf_counter() - start
    dearest = int(LONGER * spectrum.passes[0]) + 4 * EVERY
    k = max(1, min(m, (left - m * each) // dearest))
    if few > 1 and k > 1:  # several at once take less time each
        start = perf_counter()
        more = measures.spectra(sheaf, x, drawn[1 : min(k, few)])
        of_spectrum = (perf_counter() - start) / len(more.passes)
        spectrum = joined(spectrum, more)
    spent, equilibria = int(begun.found.passes.sum()), most_passes(loss, begun)
    again = min(budget, measures.PERMUTED * m * measures.MOST) if len(labels) > 1 else 0
    seconds = BESIDE + elapsed + SLOWER * begun.pace * (equilibria + again)
    seconds += SLOWER * (m * of_resistance + k * of_spectrum)
    passes = n_batch + spent + equilibria + m * each + k * dearest + again
    estimate = Estimate(seconds, passes / n_batch)
    return Plan(drawn[:m], drawn[:k], labels, own.reshape(-1), estimate, spectrum, resistance)


def said(estimate: Estimate, n_batch: int) -> str:
    """The estimate in words.

    >>> said(Estimate(12.3, 250.4), 80)
    'report: about 12 s for 80 samples (at most 250 passes over the weights a sample)'
    """
    return (
        f"report: about {estimate.seconds:.2g} s for {n_batch} samples (at most"
        f" {estimate.passes:.0f} passes over the weights a sample)"
    )


def resistances(
    sheaf: NeuralSheaf, x: np.ndarray, plan: Plan, done: Callable = NOBODY
) -> frozen.Costs:
    """What labels cost at the frozen patterns of the planned samples, the first ones known."""
    parts, rest = [plan.resistance], plan.subset[len(plan.resistance.norm) :]
    for rows in measures.chunks(len(rest), sheaf.N * sheaf.network.n_out):
        parts.append(frozen.costs(sheaf, x[rest[rows]], plan.labels))
        done(rows.stop - rows.start)
    return frozen.together(parts)


def spectra(sheaf: NeuralSheaf, x: np.ndarray, plan: Plan, done: Callable = NOBODY) -> Spectra:
    """The spectra of the planned samples, the first ones known."""
    rest = plan.spectral[len(plan.spectrum.passes) :]
    if not len(rest):
        return plan.spectrum
    return joined(plan.spectrum, measures.spectra(sheaf, x, rest, done))


def joined(first: Spectra, rest: Spectra) -> Spectra:
    """The spectra of some samples and then of others."""
    return Spectra(*(np.concatenate(columns) for columns in zip(first, rest)))
