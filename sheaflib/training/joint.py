"""One Euler step of the joint stalk–weight flow for any feedforward network: the NumPy oracle
(§5.2).

E(ω, θ) = Σ_i { ½ Σ_e w_e ‖r_e‖² + Φ(z_i^{k+1}, y_i) }; stalks move by −α ∂E/∂ω, weights by −β
∂E/∂θ, every force from old values. The output edge of training ties z^{k+1} itself to the label
(weight 1, or the weight of the sheaf's output edge): no a_out.
"""

from __future__ import annotations

from typing import NoReturn, Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.linear import spectrum
from sheaflib.networks.graph import INPUT, Network, Parameters
from sheaflib.networks.operations import Parameter
from sheaflib.sheaves.forces import force, parameter_gradient
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pins
from sheaflib.support.checks import batch
from sheaflib.training.objective import error, output_energy

RUNAWAY = 1e6  # times the energy of the start, or of zero stalks


class TrainingDiverged(ArithmeticError):
    """The error of a training that ran away.

    Its message names the step, the edge, the energy, and what to lower.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from itertools import islice
    >>> from sheaflib import Network, NeuralSheaf, TrainingDiverged, gradient_descent
    >>> line = NeuralSheaf(Network.mlp([[[0.0]]]))
    >>> try:
    ...     list(islice(gradient_descent(line, [[1.0]], [[2.0]], lr=10.0), 2))
    ... except TrainingDiverged as error:
    ...     print(str(error).split(":")[0])
    gradient descent diverged at step 2
    """


def descend(network: Network, gradient: Parameters, step: float) -> Network | None:
    """The network with θ − step · gradient, θ all its parameters; None when that leaves float64."""
    moved = {
        name: {part: _moved(value, step * gradient[name][part]) for part, value in own.items()}
        for name, own in network.parameters.items()
        if name in gradient
    }
    finite = all(
        np.isfinite(value.data if sp.sparse.issparse(value) else value).all()
        for own in moved.values()
        for value in own.values()
    )
    return network.with_parameters(moved) if finite else None


def _moved(value: Parameter, change: Parameter) -> Parameter:
    """value − change; of a sparse weight all stored entries stay stored, also those that are 0."""
    if not sp.sparse.issparse(value):
        return value - change
    moved = value.copy()
    moved.data = value.data - change.data
    return moved


def runaway_limit(energies: Sequence[float], x: np.ndarray, y: np.ndarray) -> float:
    """The energy above which training has run away; ValueError when it begins beyond float64.

    energies: those of the start and of a state of zeros.
    """
    if not np.isfinite(energies).all():
        raise ValueError(
            "the energy at the start is too large for float64: x and y hold numbers up to "
            f"{np.abs(x).max():.3g} and {np.abs(y).max():.3g} in size; rescale them, or the weights"
        )
    return min(RUNAWAY * max(energies), np.finfo(np.float64).max)


def output_weight(sheaf: NeuralSheaf) -> float:
    """The weight of the edge that ties the output to the label: that of the sheaf's output edge, 1
    without one.
    """
    return sheaf.edge_weights.get("output", 1.0)


def edge_energies(
    sheaf: NeuralSheaf, x: ArrayLike, y: np.ndarray, w: np.ndarray
) -> dict[str, float]:
    """E(ω, θ) edge by edge, summed over the batch; "output" is the edge to the label, w_out Φ."""
    squares = sheaf.row_weights[: sheaf.N] * sheaf.discrepancy(w, x) ** 2
    energies = {
        e.name: float(0.5 * squares[:, e.rows].sum()) for e in sheaf.edges if e.rows.stop <= sheaf.N
    }
    z = w[:, sheaf.layout[sheaf.network.output_name]]
    return {
        **energies,
        "output": float(output_weight(sheaf) * output_energy(sheaf.network.output, z, y).sum()),
    }


def weight_gradient(sheaf: NeuralSheaf, x: ArrayLike, w: ArrayLike) -> Parameters:
    """Compute the gradient of the training energy by the parameters, at any stalks.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    w : array_like of shape (B, N)
        The stalks.

    Returns
    -------
    dict of str to dict of str to ndarray
        Node -> parameter -> array. For an affine node with r = Wa + b − z they are "weight", Σ_i
        w_e r_i a_iᵀ, and "bias", Σ_i w_e r_i, with w_e the weight of its edge.

    Raises
    ------
    TypeError
        When an affine map is matrix-free, whose node the message names.
    ValueError
        For arrays of another shape.

    Notes
    -----
    In the paper: §5.2.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.training.joint import weight_gradient
    >>> sheaf = NeuralSheaf(Network.mlp([[[2.0]]]))
    >>> found = weight_gradient(sheaf, [[3.0]], [[5.0]])  # r = 2 · 3 − 5
    >>> {name: float(part.sum()) for name, part in found["z1"].items()}
    {'weight': 3.0, 'bias': 1.0}
    """
    x, w = batch(INPUT, x, check_sheaf(sheaf).network.n_in), batch("w", w, sheaf.N)
    return _weight_gradient(sheaf, x, w)


def _weight_gradient(sheaf: NeuralSheaf, x: np.ndarray, w: np.ndarray) -> Parameters:
    stress = sheaf.row_weights[: sheaf.N] * sheaf.discrepancy(w, x)
    return parameter_gradient(sheaf, x, w, -stress)


class JointStepper:
    """The state of a joint flow: sheaf (with the present weights), stalks w (B, N), steps taken.

    A subclass may keep them in another form; it overrides `put`, `state` and `advance`.
    """

    def __init__(
        self,
        sheaf: NeuralSheaf,
        x: np.ndarray,
        y: np.ndarray,
        w: np.ndarray,
        beta: float,
        dt: float,
        alpha: float,
        pins: Pins,
    ):
        self.x = x
        self.y = y
        self.pins = pins
        self.beta = beta
        self.dt = dt
        self.alpha = alpha
        self.step = 0
        with np.errstate(over="ignore", invalid="ignore"):
            energies = [
                sum(edge_energies(sheaf, x, y, pins.impose(stalks)).values())
                for stalks in (w, np.zeros_like(w))
            ]
        self.limit = runaway_limit(energies, x, y)
        self.safe = 2 / (alpha * (spectrum.bound(sheaf, pins=pins) + 1))
        self.sheaf = sheaf
        self.put(sheaf, w)

    def put(self, sheaf: NeuralSheaf, w: np.ndarray) -> None:
        """Make this the state; hard pins are imposed."""
        self.sheaf, self.w = sheaf, self.pins.impose(w)

    def state(self) -> tuple[NeuralSheaf, np.ndarray]:
        """The sheaf of the present weights, and a copy of the stalks; TrainingDiverged when they
        are not numbers.
        """
        return self.sheaf, self.w.copy()

    def checked_state(self) -> tuple[NeuralSheaf, np.ndarray]:
        """The state; TrainingDiverged when its energy is above the limit."""
        with np.errstate(over="ignore", invalid="ignore"):
            sheaf, w = self.state()
            self.check(edge_energies(sheaf, self.x, self.y, w))
        return sheaf, w

    def reset(self) -> None:
        """Put the stalks at the forward pass; TrainingDiverged when that leaves float64."""
        sheaf, _ = self.state()
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                self.put(sheaf, sheaf.forward(self.x))
        except OverflowError as error:
            self.diverged(np.nan, f"at a reset: {error}")

    def advance(self, n: int) -> None:
        """Take n steps; TrainingDiverged when the energy is above its limit or not a number."""
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(n):
                self.check(edge_energies(self.sheaf, self.x, self.y, self.w))
                self._step()
                self.step += 1

    def _step(self) -> None:
        sheaf, w, last = self.sheaf, self.w, self.sheaf.layout[self.sheaf.network.output_name]
        f = force(sheaf, w, self.x, pins=self.pins)
        off = error(sheaf.network.output, w[:, last], self.y)
        f[:, last] -= output_weight(sheaf) * self.pins.free[last] * off
        network = descend(sheaf.network, _weight_gradient(sheaf, self.x, w), self.dt * self.beta)
        w = w + self.dt * self.alpha * f
        if network is None or not np.isfinite(w).all():
            self.overflowed(sheaf, w)
        self.put(NeuralSheaf(network, sheaf.edge_weights), w)

    def check(self, energies: dict[str, float]) -> None:
        """Raise TrainingDiverged unless the energies, edge by edge, sum to less than the limit."""
        energy = sum(energies.values())
        if not energy <= self.limit:
            worst = max(energies, key=lambda e: np.inf if np.isnan(energies[e]) else energies[e])
            self.diverged(energy, f"most of it on edge {worst}")

    def overflowed(self, sheaf: NeuralSheaf, w: np.ndarray) -> NoReturn:
        """Raise TrainingDiverged for stalks w (B, N) or weights that are no longer numbers."""
        bad = ~np.isfinite(w).all(axis=0)
        self.diverged(
            np.inf,
            (
                f"stalk {sheaf.layout.locate(int(np.argmax(bad)))[0]} is no longer finite"
                if bad.any()
                else "weights are no longer finite"
            ),
        )

    def diverged(self, energy: float, where: str) -> NoReturn:
        """Raise TrainingDiverged: what ran away, where, and what to lower."""
        raise TrainingDiverged(
            f"the joint flow diverged at step {self.step}: energy {energy:.3g} (limit"
            f" {self.limit:.3g}, a million times the energy at the start), {where}; lower"
            f" beta={self.beta:.3g} (β·n = {self.beta * len(self.x):.3g}) or dt={self.dt:g} (below"
            f" {self.safe:.2g} the stalks alone are safe at the initial weights)"
        )
