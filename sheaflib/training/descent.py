"""One step of full-batch gradient descent by the transposed substitution, for any feedforward
network: the NumPy oracle (§5.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.linear.harmonic import backpropagate
from sheaflib.networks.graph import INPUT, Network, Parameters, check_network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.checks import batch
from sheaflib.training.joint import TrainingDiverged, descend, runaway_limit
from sheaflib.training.objective import check_labels, loss_gradient, output_energy


def gradient(network: Network, x: ArrayLike, y: ArrayLike) -> Parameters:
    """Compute the gradient of the loss by the parameters of every node.

    It takes one backward substitution in the transposed coboundary δ_Ωᵀ, which is backpropagation.

    Parameters
    ----------
    network : Network
        The network.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    y : array_like of shape (B, n_out)
        The labels: 0 or 1 for a sigmoid, one-hot for a softmax.

    Returns
    -------
    dict of str to dict of str to ndarray
        Node -> parameter -> array, in the shapes of ``Network.parameters``.

    Raises
    ------
    TypeError
        When an affine map is matrix-free, whose node the message names.
    ValueError
        For inputs or labels that do not fit the network.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network
    >>> from sheaflib.training.drivers import gradient
    >>> found = gradient(Network.mlp([[[2.0]]]), [[3.0]], [[5.0]])  # of (3 w + b − 5)²
    >>> {name: float(part.sum()) for name, part in found["z1"].items()}
    {'weight': 6.0, 'bias': 2.0}
    """
    x = batch(INPUT, x, check_network(network).n_in)
    return _gradient(network, x, check_labels(network.output, y, network.n_out, len(x)))


def _gradient(network: Network, x: np.ndarray, y: np.ndarray) -> Parameters:
    sheaf = NeuralSheaf(network)
    z = sheaf.forward(x)[:, sheaf.layout[network.output_name]]
    return backpropagate(sheaf, x, loss_gradient(network.output, z, y))


class DescentStepper:
    """The state of a gradient descent: the network, steps taken. A subclass may keep the weights in
    another form.
    """

    def __init__(self, network: Network, x: np.ndarray, y: np.ndarray, lr: float):
        self.x, self.y, self.lr, self.step = x, y, lr, 0
        with np.errstate(over="ignore", invalid="ignore"):
            silent = float(output_energy(network.output, np.zeros_like(y), y).sum())
            self.limit = runaway_limit([total_energy(network, x, y), silent], x, y)
        self.put(network)

    def put(self, network: Network) -> None:
        """Make this the state."""
        self.network = network

    def state(self) -> Network:
        """The present network; TrainingDiverged when its weights are not numbers."""
        return self.network

    def checked_state(self) -> Network:
        """The state; TrainingDiverged when its loss is above the limit."""
        network = self.state()
        self.check(self.energy(network))
        return network

    def energy(self, network: Network) -> float:
        """ΣΦ, not a number when the forward pass leaves float64."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return total_energy(network, self.x, self.y)
        except OverflowError:
            return np.nan

    def advance(self, n: int) -> None:
        """Take n steps; TrainingDiverged when the loss is above its limit or not a number."""
        for _ in range(n):
            self.check(self.energy(self.network))
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    slope = _gradient(self.network, self.x, self.y)
                    network = descend(self.network, slope, self.lr)
            except ValueError:  # a sensitivity beyond float64
                network = None
            if network is None:
                self.check(np.nan)
            else:
                self.put(network)
            self.step += 1

    def check(self, energy: float) -> None:
        """Raise TrainingDiverged unless the energy of the output, ΣΦ, is below its limit."""
        if not energy <= self.limit:
            raise TrainingDiverged(
                f"gradient descent diverged at step {self.step}: ΣΦ = {energy:.3g} at the output"
                f" layer, over {self.limit:.3g}, a million times the start's; lower lr={self.lr:g}"
            )


def total_energy(network: Network, x: np.ndarray, y: np.ndarray) -> float:
    """ΣΦ of the forward pass: half the summed squares, or the summed cross-entropy."""
    sheaf = NeuralSheaf(network)
    return float(
        output_energy(
            network.output, sheaf.forward(x)[:, sheaf.layout[network.output_name]], y
        ).sum()
    )
