"""A diagnosis of a network on labelled data: who disagrees once the labels are pinned, beside a
null of permuted ones (§6.3).

The law of effective resistance (derived) says what not to read into it: for one output at a frozen
pattern, each edge's share of a sample's discord is its share of the resistance, whatever the label.
The label shows in the amount, the weights in the shares.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.diagnosis import cost, frozen, measures, page, text
from sheaflib.diagnosis.cost import Estimate
from sheaflib.diagnosis.inputs import check_pinnable, how_many, input_rows, label_rows
from sheaflib.diagnosis.measures import EdgeRow, Mode, Neuron
from sheaflib.networks.graph import INPUT, Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.checks import choice, flag, read_only, whole
from sheaflib.support.progress import bar, watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LARGEST = 2**62  # passes
NEURONS = 10  # how many of the worst are listed
IMAGES = 10  # of the worst samples that are kept to be shown


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What ``report`` found about a network on B labelled samples.

    It prints as tables, and a notebook shows it as tables and one figure.

    Parameters
    ----------
    network : Network
        The network.
    edges : tuple of EdgeRow
        What was found about each edge.
    total : EdgeRow
        The same of all edges together.
    discord : ndarray of shape (B,)
        The total pinned discord of each sample.
    loss : ndarray of shape (B,)
        The loss of each sample's forward pass.
    per_edge : dict of str to ndarray of shape (B,)
        The pinned discord of each sample by edge.
    frozen : dict of str to ndarray of shape (1000,)
        By edge, the mean discord of the samples ``subset`` with their labels permuted, at the
        frozen pattern of the forward pass; empty where there is no such null.
    null : dict of str to ndarray of shape (permutations,)
        The same with equilibria solved again; empty without a budget.
    subset : ndarray of int of shape (m,)
        The samples that nulls and resistances are of.
    spectral : ndarray of int
        The samples, some of ``subset``, whose spectra were found.
    smallest : ndarray
        The smallest eigenvalue λ₁ of the samples ``spectral``, for the pattern of the forward pass
        and with nothing pinned.
    largest : ndarray
        Their largest eigenvalue λ_max.
    resistance : ndarray of shape (m,)
        The largest eigenvalue λ_max(ρ) of the effective resistance of the samples ``subset``.
    worst : ndarray of int
        The samples of the largest discord, the worst first.
    neurons : tuple of Neuron
        The worst neurons, the worst first.
    converged : ndarray of bool of shape (B,)
        Whether the solver arrived at each sample, or is there to more than three digits where
        rounding keeps it from rest; else the discord is that of the point which it reached.
    verdict : ndarray of str of shape (B,)
        The certificate's verdict: "minimum", "no minimum" or "undecided by rounding".
    unsettled : int
        How many equilibria of the null did not converge.
    labels : ndarray of shape (B, n_out)
        The labels.
    output : ndarray of shape (B, n_out)
        What the network says.
    pinned : str
        Where the labels were pinned.
    start : str
        Where the solver started.
    solver : str
        By what equilibria were found.
    passes : dict of str to int
        How many passes over the weights each part took, all samples together.
    estimate : Estimate
        What was expected after the first samples.
    seconds : float
        How long it took.
    budget : int
        How many passes were to be spent on the null.
    needed : int
        How many passes one permutation of the null takes at most.
    images : ndarray of shape (n, channels, height, width) or None
        The inputs of the worst samples, where they are images of 1 or 3 channels.

    Notes
    -----
    In the paper: §6.3 and Table E.2, for the discord of pinned outputs; the rest is derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, report
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> found = report(chain, [[1.0], [2.0]], [4.0, 2.0], progress=False)
    >>> found.discord.round(9), found.worst, found.pinned
    (array([3., 0.]), array([0, 1]), 'z2')
    """

    network: Network
    edges: tuple[EdgeRow, ...]
    total: EdgeRow
    discord: np.ndarray
    loss: np.ndarray
    per_edge: dict[str, np.ndarray]
    frozen: dict[str, np.ndarray]
    null: dict[str, np.ndarray]
    subset: np.ndarray
    spectral: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray
    resistance: np.ndarray
    worst: np.ndarray
    neurons: tuple[Neuron, ...]
    converged: np.ndarray
    verdict: np.ndarray
    unsettled: int
    labels: np.ndarray
    output: np.ndarray
    pinned: str
    start: str
    solver: str
    passes: dict[str, int]
    estimate: Estimate
    seconds: float
    budget: int
    needed: int
    images: np.ndarray | None

    @property
    def permutations(self) -> int:
        """How often labels were permuted and equilibria solved again; 0 without such a null."""
        return len(next(iter(self.null.values()), ()))

    @property
    def inner(self) -> tuple[EdgeRow, ...]:
        """The edges between the network's own stalks: all but the output's."""
        return tuple(row for row in self.edges if row.kind != "output")

    __repr__, __str__, _repr_html_ = text.line, text.terminal, page.html

    def figure(self) -> Figure:
        """Draw the report.

        It shows discord by edge beside the null, the worst neurons, discord against loss, and
        discord along the network's graph. It needs the extra ``plots``.

        Returns
        -------
        matplotlib.figure.Figure
            The picture.
        """
        from sheaflib.diagnosis.picture import overview

        return overview(self)

    def to_frame(self, of: str = "edges") -> DataFrame:
        """Make a table of pandas.

        Parameters
        ----------
        of : {"edges", "samples"}, default: "edges"
            What has a row each.

        Returns
        -------
        pandas.DataFrame
            The table.

        Raises
        ------
        ValueError
            For another table.
        """
        from sheaflib.diagnosis import frame

        choice("of", of, ("edges", "samples"))
        return frame.edges(self) if of == "edges" else frame.samples(self)


def report(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    *,
    budget: int = 0,
    samples: int = 200,
    worst: int | None = None,
    seed: int = 0,
    mode: Mode = "track",
    progress: bool | None = None,
) -> Report:
    """Diagnose a network on labelled data: which edges and samples disagree with the labels.

    The labels are pinned: on the last stalk itself for an identity output, and on ``a_out``, hence
    by the cross-entropy, for a sigmoid or softmax. Newton's method finds the equilibrium from the
    forward pass; another start may lead elsewhere, and so may another ``mode``. The null says what
    permuted labels cost.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network that ``equilibrium`` covers.
    x : array_like of shape (B, n_in) or (B, channels, height, width)
        The inputs; images where the network reads images. They may be a pandas table.
    y : array_like of shape (B, n_out) or (B,)
        The labels: a column for each output, or one number a sample for one output, or classes 0,
        1, … for a softmax. They may be a pandas table.
    budget : int, default: 0
        How many passes over the weights to spend on a null of which every equilibrium is solved
        again: as many permutations as fit, at most 1000.
    samples : int, default: 200
        How many random samples the null is of at most.
    worst : int, optional
        How many samples to list; by default 5 %, and at least 5.
    seed : int, default: 0
        The seed of the random samples and permutations.
    mode : {"track", "global", "homotopy"}, default: "track"
        How ``equilibrium`` searches.
    progress : bool, optional
        Whether an estimate of the time and a bar are shown; by default where a person sees them.

    Returns
    -------
    Report
        What was found.

    Raises
    ------
    TypeError or ValueError
        For bad input, for a network that ``equilibrium`` does not cover, and for a forward pass
        that leaves float64.

    Notes
    -----
    In the paper: §6.3 and Table E.2, for the discord of pinned outputs; the null is derived.

    **The null** is taken at the frozen pattern of the forward pass. There the discord of a label
    follows from the effective resistance, and nothing is solved; the samples' own labels are
    compared at the same pattern.

    **The cost** beside the budget is at most 300 passes over the weights a sample on average, of
    which equilibria take 240: what samples of small loss leave goes to those of large loss. A
    sample that is not at rest by then is not ``converged``. With the mode "homotopy" equilibria may
    take four times as many. Resistances and spectra are of as many of the samples as the rest
    allows, but of one at least, so that a report of very few samples may cost more. Spectra are
    found to three digits.

    Examples
    --------
    Three resistors of 1 share an error of 3.

    >>> from sheaflib import Network, NeuralSheaf, report
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> found = report(chain, [[1.0], [2.0]], [4.0, 2.0], progress=False)
    >>> found.discord.round(9)
    array([3., 0.])
    >>> [edge.name for edge in found.edges]
    ['affine_1', 'activation_1', 'affine_2']
    >>> [(round(edge.share, 3), round(edge.resistance, 3)) for edge in found.edges]
    [(0.333, 0.333), (0.333, 0.333), (0.333, 0.333)]
    """
    begin, network = perf_counter(), check_pinnable(sheaf).network
    x = input_rows(network, x)
    y = read_only(label_rows(network, y, len(x)))
    rng = np.random.default_rng(whole("seed", seed, least=0))
    shown = watched() if progress is None else flag("progress", progress)
    m, listed = min(whole("samples", samples), len(x)), how_many(worst, len(x))
    budget = whole("budget", budget, least=0, most=LARGEST)
    choice("mode", mode, get_args(Mode))
    drawn = rng.choice(len(x), m, replace=False)
    output, loss = measures.forward(sheaf, x, y)
    with bar(len(cost.first_of(sheaf, loss)), "report, first samples", shown, leave=False) as told:
        begun = cost.first(sheaf, x, y, loss, told.update, mode)
    plan = cost.plan(sheaf, x, y, loss, drawn, begun, budget, perf_counter() - begin)
    if shown:
        print(cost.said(plan.estimate, len(x)), file=sys.stderr)
    left = len(x) - len(begun.at) + len(plan.subset) - len(plan.resistance.norm)
    left += len(plan.spectral) - len(plan.spectrum.passes)
    with bar(left, "report", shown, leave=False) as told:
        found = cost.others(sheaf, x, y, loss, begun, told.update, mode)
        law = cost.resistances(sheaf, x, plan, told.update)
        spectra = cost.spectra(sheaf, x, plan, told.update)
    subset, differ = plan.subset, len(plan.labels) > 1
    same, permuted = frozen.permuted(law.discord, plan.own, rng) if differ else ({}, {})
    again = measures.NONE
    if differ and budget:
        guess = 2 * int(found.passes[subset].sum())
        with bar(budget, "null", shown, leave=False) as told:
            again = measures.resolved(sheaf, x, y, subset, budget, guess, rng, told.update, mode)
    *edges, total = measures.edge_rows(
        sheaf, found.per_edge, law.shares, same, permuted, subset, again.means
    )
    discord = sum(found.per_edge.values(), np.zeros(len(x)))
    pin = (
        network.output_name
        if network.output.is_identity
        else f"a_out ({network.output.name}, cross-entropy)"
    )
    first = np.argsort(-discord, kind="stable")[:listed]
    shape = network.shapes.get(INPUT, ())
    passes = {
        "forward": len(x),
        "equilibria": int(found.passes.sum()),
        "resistance": law.passes,
        "spectra": int(spectra.passes.sum()),
        "null": again.passes,
    }
    return Report(
        network,
        tuple(edges),
        total,
        discord,
        loss,
        found.per_edge,
        permuted,
        again.means,
        subset,
        plan.spectral,
        spectra.smallest,
        spectra.largest,
        law.norm,
        first,
        measures.worst_neurons(sheaf, found.neurons, NEURONS),
        found.converged,
        found.verdict,
        again.unsettled,
        y,
        output,
        pin,
        "the forward pass",
        "a homotopy and Newton" if mode == "homotopy" else "Newton",
        passes,
        plan.estimate,
        perf_counter() - begin,
        budget,
        len(subset) * measures.MOST,
        x[first[:IMAGES]].reshape(-1, *shape) if len(shape) == 3 and shape[0] in (1, 3) else None,
    )
