"""The numbers of a report, some samples at a time: discord with labels pinned, a null of permuted
ones, spectrum.
"""

from __future__ import annotations

from typing import Callable, Iterator, Literal, Mapping, NamedTuple

import numpy as np

from sheaflib.diagnosis import names
from sheaflib.diagnosis.inputs import LARGEST
from sheaflib.equilibria.certificate import UNDECIDED
from sheaflib.equilibria.newton import FEWEST, Equilibrium, equilibrium
from sheaflib.linear.spectrum import extremes
from sheaflib.networks.graph import A_OUT
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard
from sheaflib.training.objective import output_energy

ROOM = 2**18  # coordinates that are solved for at once: a hundred megabytes at work
DENSE = 100  # up to this many coordinates the spectrum is taken by a dense solver
DIGITS = 1e-3  # the relative accuracy of a spectrum: that of the three digits that are shown
PERMUTED = 1000  # how often labels are permuted at most
TOGETHER = 50  # permutations that are solved at once at most
MOST = 2000  # passes of one equilibrium
LANCZOS = 16  # a spectrum keeps some vectors a sample
NEAR = 1e-6  # of the terms of a coordinate's gradient: a sample is as good as at rest
SHORT = 12  # passes: a sample that took so many less than the most may have been cut short
Mode = Literal["track", "global", "homotopy"]
NOBODY = float  # whom to tell how many more samples are done: none


class Null(NamedTuple):
    """What permuted labels cost on one edge, or on all: a null for the discord of own labels.

    A NaN says that there is none.

    Parameters
    ----------
    low : float
        The 5 % point over the permutations of the mean discord with labels permuted.
    median : float
        The median.
    high : float
        The 95 % point.
    same : float
        The mean discord of the same samples with their own labels, found in the same way.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib.diagnosis.measures import Null
    >>> Null(low=1.5, median=2.0, high=2.5, same=0.5).ratio
    0.25
    """

    low: float = np.nan
    median: float = np.nan
    high: float = np.nan
    same: float = np.nan

    @property
    def ratio(self) -> float:
        """Discord of the own labels over the median of permuted ones.

        At 1 the network knows no more of these labels than of permuted ones.
        """
        return self.same / self.median if self.median else np.nan


class EdgeRow(NamedTuple):
    """What a report says about one edge, or about all together.

    A NaN says that there is no such number.

    Parameters
    ----------
    name : str
        The name of the edge, or "total".
    kind : str
        The kind of the edge.
    size : int
        How many coordinates it has.
    discord : float
        Its mean pinned discord over the samples.
    share : float
        Its share of the discord of all edges but the output's.
    resistance : float
        Its share of the resistance.
    frozen : Null
        Its null at the frozen pattern of the forward pass.
    solved : Null
        Its null of equilibria that were solved again.
    layer : str
        The layer that it stands for.

    Notes
    -----
    In the paper: §6.3 and Table E.2, for the discord of pinned outputs; the rest is derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, report
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> row = report(chain, [[1.0], [2.0]], [4.0, 2.0], progress=False).edges[1]
    >>> row.name, row.layer, round(row.discord, 6), round(row.share, 3)
    ('activation_1', 'a1 · ReLU', 0.5, 0.333)
    """

    name: str
    kind: str
    size: int
    discord: float
    share: float = np.nan
    resistance: float = np.nan
    frozen: Null = Null()
    solved: Null = Null()
    layer: str = ""

    @property
    def null(self) -> Null:
        """The null that is shown.

        It is that of equilibria that were solved again, where there is one, else that at the frozen
        pattern.
        """
        return self.frozen if np.isnan(self.solved.median) else self.solved

    @property
    def ratio(self) -> float:
        """The ratio of the null that is shown."""
        return self.null.ratio


class Neuron(NamedTuple):
    """One coordinate of an edge, and how much it disagrees.

    Parameters
    ----------
    name : str
        The name of the coordinate, like "a1[17]".
    edge : str
        The name of the edge.
    discord : float
        The mean of its squared discrepancy over the samples.
    kind : str
        The kind of the edge.
    layer : str
        The layer that the edge stands for.

    Notes
    -----
    In the paper: §6.3.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, report
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[2.0]]]))  # resistances of 4, 4 and 1
    >>> least = report(chain, [[1.0]], [11.0], progress=False).neurons[-1]
    >>> least.name, least.layer, round(least.discord, 6)
    ('z2[0]', 'z2 · Affine', 1.0)
    """

    name: str
    edge: str
    discord: float
    kind: str = ""
    layer: str = ""


class Spectra(NamedTuple):
    """λ₁ and λ_max, (m,) each, and the passes of every sample, (m,)."""

    smallest: np.ndarray
    largest: np.ndarray
    passes: np.ndarray


class Solved(NamedTuple):
    """Discord by edge, name -> (n,), mean by coordinate, (N,) or with a_out (N + n_out,); and of
    the samples, (n,) each, which converged, the certificate's verdict, and the passes that they
    took.
    """

    per_edge: dict[str, np.ndarray]
    neurons: np.ndarray
    converged: np.ndarray
    verdict: np.ndarray
    passes: np.ndarray

    def rows(self, order: np.ndarray) -> Solved:
        """These samples in another order."""
        per_edge = {name: values[order] for name, values in self.per_edge.items()}
        columns = (self.converged[order], self.verdict[order], self.passes[order])
        return Solved(per_edge, self.neurons, *columns)

    def joined(self, other: Solved) -> Solved:
        """These samples and then others."""
        a, b = len(self.passes), len(other.passes)
        per_edge = {
            name: np.concatenate([values, other.per_edge[name]])
            for name, values in self.per_edge.items()
        }
        columns = [
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("converged", "verdict", "passes")
        ]
        return Solved(per_edge, (a * self.neurons + b * other.neurons) / (a + b), *columns)


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of range(count), each of as many samples as may be treated at once, `size` coordinates
    a sample.
    """
    step = max(1, ROOM // size)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def forward(sheaf: NeuralSheaf, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """φ(z^{k+1}) (B, n_out) and every sample's loss (B,), nothing clamped; ValueError names a stalk
    that leaves float64.
    """
    output = sheaf.network.output
    scale = 2 / sheaf.network.n_out if sheaf.network.output.is_identity else 1.0
    values, loss = np.empty(y.shape), np.empty(len(x))
    for rows in chunks(len(x), sheaf.N):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                w = sheaf.forward(x[rows])
        except OverflowError as error:
            raise ValueError(f"x cannot be diagnosed: {error}") from None
        wild = ~(np.abs(w) < LARGEST)
        if wild.any():
            i, j = (int(k) for k in np.argwhere(wild)[0])
            raise ValueError(
                f"x cannot be diagnosed: {sheaf.layout.label(j)} is {w[i, j]:g} in sample"
                f" {rows.start + i}, whose square leaves float64"
            )
        z = w[:, sheaf.layout[sheaf.network.output_name]]
        values[rows], loss[rows] = (
            output.value(z),
            scale * np.maximum(output_energy(output, z, y[rows]), 0),
        )
    return values, loss


def pinned(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    y: np.ndarray,
    at: np.ndarray,
    of: np.ndarray,
    limit: int,
    done: Callable = NOBODY,
    mode: Mode = "track",
) -> Solved:
    """The samples `at` with the labels of the samples `of` pinned: z^{k+1} itself, or a_out, from
    the forward pass, in at most `limit` passes each, by `equilibrium` of this mode.
    """
    stalk = sheaf.network.output_name if sheaf.network.output.is_identity else A_OUT
    per_edge = {edge.name: np.empty(len(at)) for edge in sheaf.edges}
    neurons, converged = np.zeros(sheaf.augmented_layout.size), np.empty(len(at), dtype=bool)
    verdict, passes = np.empty(len(at), dtype=f"U{len(UNDECIDED)}"), np.zeros(len(at), np.int64)
    for rows in chunks(len(at), sheaf.N):
        pins = hard(stalk, y[of[rows]])
        found = equilibrium(sheaf, x[at[rows]], pins=pins, mode=mode, budget=limit, progress=False)
        squares = sheaf.discrepancy(found.cochain, found.x) ** 2
        neurons += squares.sum(axis=0) / len(at)
        converged[rows], verdict[rows] = found.converged, found.certificate.verdict
        passes[rows] = found.passes
        near, more = nearly(found, limit)
        converged[rows] |= near
        passes[rows] += more
        for edge in sheaf.edges:
            per_edge[edge.name][rows] = squares[:, edge.rows].sum(axis=1)
        done(rows.stop - rows.start)
    return Solved(per_edge, neurons, converged, verdict, passes)


def nearly(found: Equilibrium, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Which samples that only rounding keeps from rest are there to a relative NEAR of the terms of
    their gradients, which is more than three digits need; and the passes that it took to see, (B,)
    each.
    """
    near, passes = np.zeros(len(found.x), dtype=bool), np.zeros(len(found.x), dtype=np.int64)
    rows = np.flatnonzero(~found.converged & (found.passes + FEWEST <= limit))
    if len(rows):
        start = found.cochain[rows, : found.sheaf.N]
        pins = found.pins.rows(rows)
        again = equilibrium(
            found.sheaf, found.x[rows], pins=pins, start=start, tol=NEAR, budget=FEWEST
        )
        near[rows] = again.converged & (again.iterations == 0)
        passes[rows] = again.passes
    return near, passes


class Resolved(NamedTuple):
    """Mean discord by edge of some samples with their labels permuted and their equilibria solved
    again: edge name -> (permutations,); {} without any. How many of these equilibria did not
    converge, and the passes that all took.
    """

    means: dict[str, np.ndarray]
    unsettled: int
    passes: int


NONE = Resolved({}, 0, 0)


def resolved(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    y: np.ndarray,
    subset: np.ndarray,
    budget: int,
    guess: int,
    rng: np.random.Generator,
    done: Callable = NOBODY,
    mode: Mode = "track",
) -> Resolved:
    """As many permutations of the labels of the samples `subset` as fit into `budget` passes, at
    most PERMUTED; one that the budget cuts short does not count.

    The next one is begun where as many passes are left as the dearest one so far took, `guess` for
    the first one. An equilibrium may take MOST passes.
    """
    spent, unsettled, dearest = 0, 0, min(guess, len(subset) * MOST)
    means: list[dict[str, float]] = []
    while len(means) < PERMUTED and budget - spent >= max(dearest, len(subset) * FEWEST):
        most = min(MOST, (budget - spent) // len(subset))
        # as many at once as fit for certain
        fitting = (budget - spent) // (len(subset) * MOST)
        count = max(1, min(fitting, TOGETHER, PERMUTED - len(means)))
        shuffled = np.concatenate([rng.permutation(subset) for _ in range(count)])
        found = pinned(sheaf, x, y, np.tile(subset, count), shuffled, most, NOBODY, mode)
        costs = found.passes.reshape(count, -1).sum(axis=1)
        spent += int(costs.sum())
        dearest = max(int(costs.max()), dearest if means else 0)
        done(int(costs.sum()))
        if most < MOST and (found.passes + SHORT > most).any():
            break
        unsettled += int((~found.converged).sum())
        by_edge = {name: v.reshape(count, -1) for name, v in found.per_edge.items()}
        means += [{name: v[i].mean() for name, v in by_edge.items()} for i in range(count)]
    edges = means[0] if means else {}
    columns = {name: np.array([mean[name] for mean in means]) for name in edges}
    return Resolved(columns, unsettled, spent)


def spectra(sheaf: NeuralSheaf, x: np.ndarray, at: np.ndarray, done: Callable = NOBODY) -> Spectra:
    """Spectrum of the samples `at` for the pattern of the forward pass, nothing pinned, to DIGITS.

    A dense solver takes a pass each way for each column of L and of L⁻¹.
    """
    found = []
    for rows in chunks(len(at), sheaf.N * LANCZOS):
        here = x[at[rows]]
        ends = extremes(sheaf, sheaf.forward_pattern(here), dense=DENSE, tol=DIGITS)
        steps = 2 * sheaf.N if ends.steps == (0, 0) else sum(ends.steps)
        found.append((ends.smallest, ends.largest, np.full(len(here), 1 + 2 * steps)))
        done(rows.stop - rows.start)
    return Spectra(*(np.concatenate(column) for column in zip(*found)))


def edge_rows(
    sheaf: NeuralSheaf,
    per_edge: Mapping[str, np.ndarray],
    shares: Mapping[str, float],
    same: Mapping[str, np.ndarray],
    permuted: Mapping[str, np.ndarray],
    subset: np.ndarray,
    again: Mapping[str, np.ndarray],
) -> tuple[EdgeRow, ...]:
    """One row an edge, the last one of all together; shares are of all edges but the output's,
    which has no resistance.

    same, permuted: edge name -> discord of the samples `subset` at the frozen pattern, and its mean
    with their labels permuted, {} for none; again: that mean with their equilibria solved again.
    """
    inner = sum(per_edge[name].mean() for name in shares)
    solved = {name: values[subset] for name, values in per_edge.items()}
    rows = []
    for edge in sheaf.edges:
        name, mean = edge.name, float(per_edge[edge.name].mean())
        share = float(mean / inner) if inner and name in shares else np.nan
        rows.append(
            EdgeRow(
                name,
                edge.kind,
                edge.dim,
                mean,
                share,
                shares.get(name, np.nan),
                band(permuted.get(name), same.get(name)),
                band(again.get(name), solved[name]),
                names.layer(sheaf.network, edge),
            )
        )
    at_pattern, again_all = (
        band(np.sum(list(means.values()), axis=0), np.sum([own[name] for name in means], axis=0))
        if means
        else Null()
        for means, own in ((permuted, same), (again, solved))
    )
    size, discord = sum(row.size for row in rows), sum(row.discord for row in rows)
    total = EdgeRow("total", "", size, discord, np.nan, np.nan, at_pattern, again_all, "total")
    return *rows, total


def band(means: np.ndarray | None, own: np.ndarray | None) -> Null:
    """The null of mean discords with labels permuted and the discord of samples with their own."""
    if means is None or own is None:
        return Null()
    low, median, high = (float(v) for v in np.quantile(means, (0.05, 0.5, 0.95)))
    return Null(low, median, high, float(own.mean()))


def worst_neurons(sheaf: NeuralSheaf, neurons: np.ndarray, most: int) -> tuple[Neuron, ...]:
    """The coordinates with most discord on average, those of the output edge aside."""
    falling = -neurons[: sheaf.N]
    # all that are as large as the last one that is listed, NaN last: few, to be put in order
    last = min(most, sheaf.N) - 1
    first = np.flatnonzero(~(falling > np.partition(falling, last)[last]))
    order = first[np.argsort(falling[first], kind="stable")][:most].tolist()
    edges = [e for e in sheaf.edges if e.rows.stop <= sheaf.N]
    into = [next(e for e in edges if e.rows.start <= i < e.rows.stop) for i in order]
    return tuple(
        Neuron(
            sheaf.layout.label(i),
            edge.name,
            float(neurons[i]),
            edge.kind,
            names.layer(sheaf.network, edge),
        )
        for i, edge in zip(order, into)
    )
