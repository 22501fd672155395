"""Training: the joint stalk–weight flow, and gradient descent by the transposed substitution, as
generators (§5.2).

The joint flow is gradient flow on one energy, E(ω, θ) = Σ_i { ½ Σ_e w_e ‖r_e‖² + Φ(z_i^{k+1}, y_i)
}: each stalk and each weight looks at the edges it touches, and nothing is propagated backwards.
Gradient descent is the other extreme, stalks always harmonic.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.networks.graph import INPUT, Network
from sheaflib.networks.operations import Operation
from sheaflib.sheaves import discord
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, resolve
from sheaflib.support.checks import batch, positive, read_only, subclass, whole
from sheaflib.training.descent import DescentStepper, gradient
from sheaflib.training.joint import JointStepper, TrainingDiverged, edge_energies, weight_gradient
from sheaflib.training.objective import check_labels, loss

__all__ = [
    "Record",
    "TrainingDiverged",
    "TrainingState",
    "gradient",
    "gradient_descent",
    "joint_flow",
    "loss",
    "weight_gradient",
]


@dataclass(frozen=True, eq=False)
class Record:
    """What is known of one state of a training; what costs work is computed when asked for.

    Parameters
    ----------
    step : int
        How many steps were taken.
    time : float
        The time: step times dt, and for gradient descent step times the learning rate.
    sheaf : NeuralSheaf
        The sheaf of the network at that moment.
    stalks : ndarray of shape (B, N)
        The stalks of all samples.
    x : ndarray of shape (B, n_0)
        The inputs that are trained on.
    y : ndarray of shape (B, n_out)
        Their labels.

    Notes
    -----
    In the paper: §5.2.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, joint_flow
    >>> line = NeuralSheaf(Network.mlp([[[0.0]]]))
    >>> record = next(joint_flow(line, [[1.0]], [[2.0]])).record
    >>> record.loss, record.energies  # the label 2 against the output 0
    (4.0, {'affine_1': 0.0, 'output': 2.0})
    """

    step: int
    time: float
    sheaf: NeuralSheaf = field(repr=False)
    stalks: np.ndarray = field(repr=False)
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)

    @cached_property
    def loss(self) -> float:
        """The loss of the forward pass on the training data, as ``loss`` has it."""
        return loss(self.sheaf.network, self.x, self.y)

    @cached_property
    def energies(self) -> dict[str, float]:
        """The energy E of each edge, summed over the batch; "output" is the edge to the label."""
        return edge_energies(self.sheaf, self.x, self.y, self.stalks)

    @property
    def energy(self) -> float:
        """The energy E(ω, θ) that the joint flow descends, summed over the batch.

        The energy of soft pins is not part of it.
        """
        return sum(self.energies.values())

    @cached_property
    def discord(self) -> dict[str, float]:
        """The mean discord ‖r_e‖² of every edge but the one to the label."""
        return {
            edge: float(values.mean())
            for edge, values in discord.per_edge(self.sheaf, self.stalks, self.x).items()
        }


class TrainingState(NamedTuple):
    """A frozen moment of a training: what ``joint_flow`` and ``gradient_descent`` yield.

    Parameters
    ----------
    network : Network
        The network with its present parameters.
    stalks : ndarray of shape (B, N)
        The stalks of all samples.
    record : Record
        What is known of the state: step, time, loss, energies and discord.

    Notes
    -----
    In the paper: §5.2.

    Examples
    --------
    >>> from itertools import islice
    >>> from sheaflib import Network, NeuralSheaf, gradient_descent
    >>> line = NeuralSheaf(Network.mlp([[[0.0]]]))
    >>> states = gradient_descent(line, [[1.0]], [[2.0]], lr=0.25, every=1)
    >>> for state in islice(states, 2):
    ...     print(state)
    TrainingState(step 0, t = 0, loss 4)
    TrainingState(step 1, t = 0.25, loss 0)
    """

    network: Network
    stalks: np.ndarray
    record: Record

    def __repr__(self) -> str:
        return (
            f"TrainingState(step {self.record.step}, t = {self.record.time:g}, loss"
            f" {self.record.loss:.4g})"
        )


def joint_flow(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    *,
    start: ArrayLike | TrainingState | None = None,
    beta: float | None = None,
    dt: float = 0.005,
    alpha: float = 1.0,
    cold: int = 0,
    pins: Pin | Sequence[Pin] = (),
    every: int = 1000,
    stepper: type[JointStepper] | None = None,
) -> Iterator[TrainingState]:
    """Yield the joint flow of stalks and weights, which trains a network without a backward pass.

    It is explicit Euler on one energy, E(ω, θ) = Σ_i { ½ Σ_e w_e ‖r_e‖² + Φ(z_i, y_i) }. The first
    state is the start, the next ones follow every ``every`` steps, and it never ends: use
    ``itertools.islice``, or break.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of the network to train; its edge weights are the w_e.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    y : array_like of shape (B, n_out)
        The labels: 0 or 1 for a sigmoid, one-hot for a softmax.
    start : array_like of shape (B, N) or TrainingState, optional
        The stalks to start from, by default the forward pass. A state goes on where it stopped, to
        the same bits, with its own network and the edge weights of the sheaf. Stalks alone do not
        bring their weights.
    beta : float, optional
        The rate β of the parameters, by default 1/B, with which their sums over the batch are
        means.
    dt : float, default: 0.005
        The time of one step.
    alpha : float, default: 1.0
        The rate α of the stalks.
    cold : int, default: 0
        After every so many steps the stalks are the forward pass again; with 0 never ("warm").
    pins : Pin or sequence of Pin, optional
        Hard and soft pins, which hold as in ``heat``.
    every : int, default: 1000
        How many steps lie between two states that are yielded.
    stepper : type of JointStepper, optional
        How steps are taken; by default the fastest way that the network allows.

    Returns
    -------
    Iterator of TrainingState
        The states, the start first, for ever.

    Raises
    ------
    ValueError or TypeError
        For bad input, among it a matrix-free affine map.
    TrainingDiverged
        When the energy is not a number, or a million times that of the start.

    Notes
    -----
    In the paper: §5.2.

    The rules are ω̇ = −α ∂E/∂ω for stalks, Ẇ = −β Σ_i r_i a_iᵀ and ḃ = −β Σ_i r_i for an affine
    edge with the discrepancy r and the input a, and θ̇ = −β ∂E/∂θ for every other of
    ``Network.parameters``.

    Examples
    --------
    >>> from itertools import islice
    >>> from sheaflib import Network, NeuralSheaf, joint_flow
    >>> line = NeuralSheaf(Network.mlp([[[0.0]]]))
    >>> states = islice(joint_flow(line, [[1.0]], [[2.0]], every=4000), 3)
    >>> weights = [state.network.nodes[0].operation.weight[0, 0] for state in states]
    >>> [round(float(weight), 3) for weight in weights]
    [0.0, 1.0, 1.0]
    """
    sheaf, x, y, step = _problem(check_sheaf(sheaf), x, y, start)
    pinned = resolve(sheaf, pins, len(x))
    if start is None:
        w = sheaf.forward(x)
    else:
        w = batch("start", start.stalks if isinstance(start, TrainingState) else start, sheaf.N)
    if len(w) != len(x):
        raise ValueError(f"start has {len(w)} rows, expected {len(x)}: one a row of x")
    beta = 1 / len(x) if beta is None else positive("beta", beta, zero=True)
    dt, alpha, cold, every = (
        positive("dt", dt),
        positive("alpha", alpha),
        whole("cold", cold, least=0),
        whole("every", every),
    )
    if stepper is None:
        from sheaflib.training import chains

        stepper = chains.FusedJointStepper if chains.can_fuse(sheaf.network) else JointStepper
    flow = subclass("stepper", stepper, JointStepper)(sheaf, x, y, w, beta, dt, alpha, pinned)
    flow.step = step
    return _flow_states(flow, every, cold)


def _flow_states(flow: JointStepper, every: int, cold: int) -> Iterator[TrainingState]:
    while True:
        sheaf, w = flow.checked_state()
        yield _state(flow, sheaf, w, flow.dt)
        goal = flow.step + every
        while flow.step < goal:
            flow.advance(min(goal, _next(flow.step, cold, goal)) - flow.step)
            if cold and flow.step % cold == 0:
                flow.reset()


def _next(step: int, cold: int, goal: int) -> int:
    """The next step at which the stalks are reset."""
    return (step // cold + 1) * cold if cold else goal


def gradient_descent(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    y: ArrayLike,
    *,
    lr: float,
    every: int = 1000,
    start: TrainingState | None = None,
    stepper: type[DescentStepper] | None = None,
) -> Iterator[TrainingState]:
    """Yield full-batch gradient descent on the mean squared error or the cross-entropy.

    The first state is the start, the next ones follow every ``every`` steps, and it never ends. The
    gradient is one backward substitution in the transposed coboundary, which is backpropagation and
    which no edge weight changes. The stalks of a state are its forward pass.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of the network to train.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    y : array_like of shape (B, n_out)
        The labels: 0 or 1 for a sigmoid, one-hot for a softmax.
    lr : float
        The learning rate, the step of all parameters.
    every : int, default: 1000
        How many steps lie between two states that are yielded.
    start : TrainingState, optional
        A state to go on from, with its own network, to the same bits.
    stepper : type of DescentStepper, optional
        How steps are taken; by default the fastest way that the network allows.

    Returns
    -------
    Iterator of TrainingState
        The states, the start first, for ever.

    Raises
    ------
    ValueError or TypeError
        For bad input, among it a matrix-free affine map.
    TrainingDiverged
        When the loss is not a number, or a million times that of the start.

    Notes
    -----
    In the paper: §5.2 and Appendix E, where it is the baseline named SGD.

    Examples
    --------
    The loss (w + b − 2)² has the gradient −4 for both at 0: one step of ¼ reaches w + b = 2.

    >>> from itertools import islice
    >>> from sheaflib import Network, NeuralSheaf, gradient_descent
    >>> line = NeuralSheaf(Network.mlp([[[0.0]]]))
    >>> states = islice(gradient_descent(line, [[1.0]], [[2.0]], lr=0.25, every=1), 3)
    >>> [float(state.network.nodes[0].operation.weight[0, 0]) for state in states]
    [0.0, 1.0, 1.0]
    """
    check_sheaf(sheaf)
    if not isinstance(start, (TrainingState, type(None))):
        raise TypeError(
            f"start is a {type(start).__name__}, expected a TrainingState or None: gradient descent"
            " has no stalks of its own"
        )
    sheaf, x, y, step = _problem(sheaf, x, y, start)
    if stepper is None:
        from sheaflib.training import chains

        stepper = chains.FusedDescentStepper if chains.can_fuse(sheaf.network) else DescentStepper
    descent = subclass("stepper", stepper, DescentStepper)(sheaf.network, x, y, positive("lr", lr))
    descent.step = step
    return _descent_states(descent, sheaf.edge_weights, whole("every", every))


def _descent_states(
    descent: DescentStepper, edge_weights: Mapping[str, float], every: int
) -> Iterator[TrainingState]:
    while True:
        sheaf = NeuralSheaf(descent.checked_state(), edge_weights)
        yield _state(descent, sheaf, sheaf.forward(descent.x), descent.lr)
        descent.advance(every)


def _problem(
    sheaf: NeuralSheaf, x: ArrayLike, y: ArrayLike, start: ArrayLike | TrainingState | None
) -> tuple[NeuralSheaf, np.ndarray, np.ndarray, int]:
    """The sheaf to begin with, x and y checked, the steps already taken."""
    network = sheaf.network
    x = read_only(batch(INPUT, x, network.n_in))
    y = read_only(check_labels(network.output, y, network.n_out, len(x)))
    if not isinstance(start, TrainingState):
        return sheaf, x, y, 0
    if not _alike(start.network, network):
        raise ValueError(
            f"start is a state of {start.network!r}, expected one of {network!r}: the same nodes"
            " but for the weights"
        )
    return NeuralSheaf(start.network, sheaf.edge_weights), x, y, start.record.step


def _alike(one: Network, other: Network) -> bool:
    """Whether two networks differ in their parameters at most, and not in the shapes of them."""
    pairs = list(zip(one.nodes, other.nodes))
    return (
        (one.n_in, one.output, len(one.nodes)) == (other.n_in, other.output, len(other.nodes))
        and all((node.name, node.inputs) == (mate.name, mate.inputs) for node, mate in pairs)
        and all(_alike_operations(node.operation, mate.operation) for node, mate in pairs)
    )


def _alike_operations(one: Operation, other: Operation) -> bool:
    """Whether one operation with the parameters of the other is the other."""
    mine, theirs = one.parameters, other.parameters
    shapes = [{name: value.shape for name, value in own.items()} for own in (mine, theirs)]
    if type(one) is not type(other) or shapes[0] != shapes[1]:
        return False
    moved, kind = one.with_parameters(**theirs), type(one)
    stored = [
        part.name
        for part in fields(one)  # type: ignore[arg-type]
        if not isinstance(getattr(kind, part.name, None), cached_property)
    ]
    return all(_same(getattr(moved, name), getattr(other, name)) for name in stored)


def _same(one: Any, other: Any) -> bool:
    """Whether two attributes of operations are equal."""
    if sp.sparse.issparse(one):
        return sp.sparse.issparse(other) and one.shape == other.shape and (one != other).nnz == 0
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


def _state(
    stepper: JointStepper | DescentStepper, sheaf: NeuralSheaf, w: np.ndarray, unit: float
) -> TrainingState:
    w.flags.writeable = False
    return TrainingState(
        sheaf.network, w, Record(stepper.step, stepper.step * unit, sheaf, w, stepper.x, stepper.y)
    )
