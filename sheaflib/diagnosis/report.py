"""A diagnosis of a network on labelled data: who disagrees once the labels are pinned, beside a
null of permuted ones (§6.3).

The law of effective resistance (derived) says what not to read into it: for one output at a frozen
pattern, each edge's share of a sample's discord is its share of the resistance, whatever the label.
The label shows in the amount, the weights in the shares.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.diagnosis import measures, text
from sheaflib.diagnosis.measures import EdgeRow, Neuron
from sheaflib.networks.graph import INPUT, Network
from sheaflib.networks.separation import check_separate
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import batch, brief, flag, read_only, real_array, room, whole
from sheaflib.support.progress import bar as progress_bar
from sheaflib.training.objective import check_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEURONS = 10  # how many of the worst are listed


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What `report` found for B samples. Prints as a table; in a notebook it shows itself as one
    table and one figure.

    edges: one EdgeRow each; total: all together. discord, loss (B,): total pinned discord, and the
    loss of the forward pass. per_edge: edge name -> (B,). null: edge name -> (permutations,), mean
    discord of the samples `subset` (m,) with their labels permuted; {} without a null. smallest,
    largest, resistance (m,): λ₁, λ_max, λ_max(ρ) of these samples for the pattern of the forward
    pass, nothing pinned. worst: the samples of the largest discord, the worst first. neurons: the
    worst ones. converged (B,): whether the solver arrived; verdict (B,): "minimum", "no minimum" or
    "undecided by rounding", the certificate's; unsettled: how many equilibria of the null did not
    converge. labels, output (B, n_out).
    """

    network: Network
    edges: tuple[EdgeRow, ...]
    total: EdgeRow
    discord: np.ndarray
    loss: np.ndarray
    per_edge: dict[str, np.ndarray]
    null: dict[str, np.ndarray]
    subset: np.ndarray
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

    @property
    def permutations(self) -> int:
        """How often the labels were permuted; 0: there is no null."""
        return len(next(iter(self.null.values()), ()))

    __repr__, __str__, _repr_html_ = text.line, text.terminal, text.html

    def figure(self) -> Figure:
        """The report's picture, a matplotlib figure: discord by edge beside the null, the worst
        neurons, discord against loss.
        """
        from sheaflib.diagnosis.picture import overview

        return overview(self)


def report(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    *,
    permutations: int = 20,
    samples: int = 200,
    worst: int | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Report:
    """Diagnose a network by its sheaf on inputs x (B, n_in) and labels y.

    The labels are (B, n_out), (B,) for one output, or classes 0, 1, … (B,) for a softmax.

    The labels are pinned, z^{k+1} itself for an identity output, a_out (hence the cross-entropy)
    for a sigmoid or softmax, and Newton finds the equilibrium from the forward pass; another start
    may lead elsewhere. The null is the same with the labels of `samples` random samples permuted
    among them, `permutations` times (0, or labels all alike: no null); spectrum and resistance are
    of those too. worst: how many samples to list (default: 5 %, at least 5). progress: whether a
    bar is shown (default: where a person sees it). It costs B + permutations · samples equilibria
    of 50 to 100 passes over the weights each, in chunks of some hundred megabytes. TypeError or
    ValueError for bad input, a network that `equilibrium` does not cover, and a forward pass that
    leaves float64.

    Three resistors of 1 share an error of 3.

    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> found = report(chain, [[1.0], [2.0]], [4.0, 2.0], progress=False)
    >>> found.discord.round(9)
    array([3., 0.])
    >>> [edge.name for edge in found.edges]
    ['affine_1', 'activation_1', 'affine_2']
    >>> [(round(edge.share, 3), round(edge.resistance, 3)) for edge in found.edges]
    [(0.333, 0.333), (0.333, 0.333), (0.333, 0.333)]
    """
    network = check_pinnable(sheaf).network
    x = batch(INPUT, x, network.n_in)
    y = read_only(label_rows(network, y, len(x)))
    rng = np.random.default_rng(whole("seed", seed, least=0))
    progress = None if progress is None else flag("progress", progress)
    everyone, m = np.arange(len(x)), min(whole("samples", samples), len(x))
    listed, permutations = how_many(worst, len(x)), whole("permutations", permutations, least=0)
    room("permutations", permutations, permutations * m)
    subset = np.sort(rng.choice(len(x), m, replace=False))
    permutations *= bool((y[subset] != y[subset[0]]).any())
    output, loss = measures.forward(sheaf, x, y)
    with bar(len(x) + (permutations + 1) * m, progress) as done:
        found = measures.pinned(sheaf, x, y, everyone, everyone, done)
        null, unsettled = measures.null(sheaf, x, y, subset, permutations, rng, done)
        stiff = measures.stiffness(sheaf, x, subset, done)
    *edges, total = measures.edge_rows(sheaf, found.per_edge, subset, null, stiff.shares)
    discord = sum(found.per_edge.values(), np.zeros(len(x)))
    pin = (
        network.output_name
        if network.output.is_identity
        else f"a_out ({network.output.name}, cross-entropy)"
    )
    first = np.argsort(-discord, kind="stable")[:listed]
    neurons = measures.worst_neurons(sheaf, found.neurons, NEURONS)
    return Report(
        network,
        tuple(edges),
        total,
        discord,
        loss,
        found.per_edge,
        null,
        subset,
        stiff.smallest,
        stiff.largest,
        stiff.resistance,
        first,
        neurons,
        found.converged,
        found.verdict,
        unsettled,
        y,
        output,
        pin,
        "the forward pass",
        "Newton",
    )


def check_pinnable(sheaf: NeuralSheaf) -> NeuralSheaf:
    """`sheaf`, if it is one that `equilibrium` covers; TypeError or ValueError says what else came,
    and what to do.
    """
    check_sheaf(sheaf)
    try:
        check_separate(sheaf.network)
    except ValueError as error:
        raise ValueError(f"report cannot pin this network: {error}") from None
    return sheaf


def how_many(worst: int | None, n_batch: int) -> int:
    """The length of the list of worst samples; ValueError beyond the batch."""
    listed = min(n_batch, max(5, round(n_batch / 20))) if worst is None else whole("worst", worst)
    if listed > n_batch:
        raise ValueError(
            f"worst={brief(listed)}, expected at most {n_batch}: x has no more samples"
        )
    return listed


def label_rows(network: Network, given: ArrayLike | None, n_batch: int) -> np.ndarray:
    """`given`, the argument y, as float64 labels (B, n_out): a column for one output, one-hot for
    the classes of a softmax.
    """
    n, kind = network.n_out, network.output.name
    if given is None:
        raise TypeError(f"y is None, expected {n_batch} labels: one a row of x")
    try:
        y = real_array("y", given)
    except TypeError as error:
        raise TypeError(f"{error}; np.unique(y, return_inverse=True)[1] numbers classes") from None
    if y.shape[:1] != (n_batch,):
        raise ValueError(f"y has shape {y.shape}, expected {n_batch} labels: one a row of x")
    if y.ndim == 1 and n > 1 and kind == "softmax":
        wrong = ~np.isin(y, np.arange(n))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(
                f"y holds {y[at]:g} at index {at}, expected classes 0 … {n - 1}: the output is {n}"
                " wide; np.unique(y, return_inverse=True)[1] numbers classes"
            )
        y = np.eye(n)[y.astype(int)]
    y = y[:, None] if y.ndim == 1 and n == 1 else y
    if y.shape != (n_batch, n):
        hint = (
            "; for classes use y[:, 0]"
            if kind == "softmax"
            else '; for classes make the network with output="softmax"'
        )
        hint = hint if y.ndim <= 2 and y.size == n_batch else ""
        raise ValueError(
            f"y has shape {y.shape}, expected ({n_batch}, {n}): the {kind} output is {n} wide{hint}"
        )
    if np.abs(y).max() > measures.MOST:
        raise ValueError(f"y holds {y.flat[np.abs(y).argmax()]:g}, whose square leaves float64")
    return check_labels(network.output, y, n, n_batch)


@contextmanager
def bar(total: int, progress: bool | None) -> Iterator[Callable[[int], object]]:
    """A bar of `total` samples for a person who watches, as `sweep` has: yields what to tell the
    number of samples done.
    """
    with progress_bar(total, "report", progress, leave=False) as shown:
        yield shown.update
