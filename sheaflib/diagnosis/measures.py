"""The numbers of a report, some samples at a time: discord with labels pinned, a null of permuted
ones, spectrum, resistance.
"""

from __future__ import annotations

from typing import Callable, Iterator, Mapping, NamedTuple

import numpy as np

from sheaflib.equilibria.certificate import UNDECIDED
from sheaflib.equilibria.newton import equilibrium
from sheaflib.linear.resistance import effective_resistance
from sheaflib.linear.spectrum import extremes
from sheaflib.networks.graph import A_OUT
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard
from sheaflib.training.objective import output_energy

ROOM = 2**18  # coordinates that are solved for at once: a hundred megabytes at work
MOST = 1e150  # beyond this a square leaves float64
DENSE = 100  # up to this many coordinates the spectrum is taken by a dense solver
NOBODY = float  # whom to tell how many more samples are done: none


class EdgeRow(NamedTuple):
    """One edge: mean discord, its shares of discord and of resistance, the null's 5 % point,
    median, 95 % point; NaN: none.

    same: mean discord of the samples that the null is of, which need not be all.
    """

    name: str
    kind: str
    size: int
    discord: float
    share: float = np.nan
    resistance: float = np.nan
    low: float = np.nan
    median: float = np.nan
    high: float = np.nan
    same: float = np.nan

    @property
    def ratio(self) -> float:
        """Discord over the null's median, of the same samples: at 1 the network knows no more of
        these labels than of permuted ones.
        """
        return self.same / self.median if self.median else np.nan


class Neuron(NamedTuple):
    """One coordinate of an edge, "a1[17]", and its mean squared discrepancy."""

    name: str
    edge: str
    discord: float


class Stiffness(NamedTuple):
    """λ₁, λ_max and λ_max(ρ), (m,) each; and by edge the mean of tr ρ_e/tr ρ, its share of the
    resistance.
    """

    smallest: np.ndarray
    largest: np.ndarray
    resistance: np.ndarray
    shares: dict[str, float]


class Solved(NamedTuple):
    """Discord by edge, name -> (n,), mean by coordinate, (N,) or with a_out (N + n_out,); and of
    the samples, (n,) each, which converged, and the certificate's verdict.
    """

    per_edge: dict[str, np.ndarray]
    neurons: np.ndarray
    converged: np.ndarray
    verdict: np.ndarray


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
        wild = ~(np.abs(w) < MOST)
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
    done: Callable = NOBODY,
) -> Solved:
    """The samples `at` with the labels of the samples `of` pinned: z^{k+1} itself, or a_out, from
    the forward pass.
    """
    stalk = sheaf.network.output_name if sheaf.network.output.is_identity else A_OUT
    per_edge = {edge.name: np.empty(len(at)) for edge in sheaf.edges}
    neurons, converged = np.zeros(sheaf.augmented_layout.size), np.empty(len(at), dtype=bool)
    verdict = np.empty(len(at), dtype=f"U{len(UNDECIDED)}")
    for rows in chunks(len(at), sheaf.N):
        found = equilibrium(sheaf, x[at[rows]], pins=hard(stalk, y[of[rows]]))
        squares = sheaf.discrepancy(found.cochain, found.x) ** 2
        neurons += squares.sum(axis=0) / len(at)
        converged[rows], verdict[rows] = found.converged, found.certificate.verdict
        for edge in sheaf.edges:
            per_edge[edge.name][rows] = squares[:, edge.rows].sum(axis=1)
        done(rows.stop - rows.start)
    return Solved(per_edge, neurons, converged, verdict)


def null(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    y: np.ndarray,
    subset: np.ndarray,
    permutations: int,
    rng: np.random.Generator,
    done: Callable = NOBODY,
) -> tuple[dict[str, np.ndarray], int]:
    """Mean discord by edge over the samples `subset` with their labels permuted: edge name ->
    (permutations,); {} without any.

    And how many of these equilibria did not converge.
    """
    if not permutations:
        return {}, 0
    shuffled = np.concatenate([rng.permutation(subset) for _ in range(permutations)])
    found = pinned(sheaf, x, y, np.tile(subset, permutations), shuffled, done)
    means = {
        name: values.reshape(permutations, -1).mean(axis=1)
        for name, values in found.per_edge.items()
    }
    return means, int((~found.converged).sum())


def stiffness(
    sheaf: NeuralSheaf, x: np.ndarray, at: np.ndarray, done: Callable = NOBODY
) -> Stiffness:
    """Spectrum and resistance of the samples `at` for the pattern of the forward pass, nothing
    pinned.
    """
    found, shares = [], {edge.name: 0.0 for edge in sheaf.edges if edge.kind != "output"}
    for rows in chunks(len(at), sheaf.N * sheaf.network.n_out):
        here = x[at[rows]]
        pattern = sheaf.forward_pattern(here)
        ends, rho = extremes(sheaf, pattern, dense=DENSE), effective_resistance(sheaf, pattern)
        found.append((ends.smallest, ends.largest, rho.norm))
        for name, share in rho.shares.items():
            shares[name] += float(share.sum() / len(at))
        done(rows.stop - rows.start)
    smallest, largest, resistance = (np.concatenate(column) for column in zip(*found))
    return Stiffness(smallest, largest, resistance, shares)


def edge_rows(
    sheaf: NeuralSheaf, per_edge: Mapping, subset: np.ndarray, permuted: Mapping, shares: Mapping
) -> tuple[EdgeRow, ...]:
    """One row an edge, the last one of all together; shares are of all edges but the output's,
    which has no resistance.
    """
    inner = sum(per_edge[name].mean() for name in shares)
    rows = []
    for edge in sheaf.edges:
        mean = float(per_edge[edge.name].mean())
        share = float(mean / inner) if inner and edge.name in shares else np.nan
        resistance, around = shares.get(edge.name, np.nan), band(permuted.get(edge.name))
        rows.append(
            EdgeRow(
                edge.name,
                edge.kind,
                edge.dim,
                mean,
                share,
                resistance,
                *around,
                float(per_edge[edge.name][subset].mean()),
            )
        )
    discord, same = (sum(getattr(row, name) for row in rows) for name in ("discord", "same"))
    around = band(sum(permuted.values()) if permuted else None)
    return *rows, EdgeRow(
        "total", "", sum(row.size for row in rows), discord, np.nan, np.nan, *around, same
    )


def band(values: np.ndarray | None) -> tuple[float, float, float]:
    """5 % point, median and 95 % point, NaN without values."""
    if values is None:
        return np.nan, np.nan, np.nan
    low, median, high = (float(v) for v in np.quantile(values, (0.05, 0.5, 0.95)))
    return low, median, high


def worst_neurons(sheaf: NeuralSheaf, neurons: np.ndarray, most: int) -> tuple[Neuron, ...]:
    """The coordinates with most discord on average, those of the output edge aside."""
    falling = -neurons[: sheaf.N]
    # all that are as large as the last one that is listed, NaN last: few, to be put in order
    last = min(most, sheaf.N) - 1
    first = np.flatnonzero(~(falling > np.partition(falling, last)[last]))
    order = first[np.argsort(falling[first], kind="stable")][:most].tolist()
    edges = [e for e in sheaf.edges if e.rows.stop <= sheaf.N]
    into = [next(e.name for e in edges if e.rows.start <= i < e.rows.stop) for i in order]
    return tuple(
        Neuron(sheaf.layout.label(i), name, float(neurons[i])) for i, name in zip(order, into)
    )
