"""Mini-batch training of a chain by the currents of training's sheaf, with SGD, Adam or local least
squares (derived).

The edge to the label has weight 1, all others `stiffness`. Rules differ in the current that the
label drives:

* "backprop": the error itself, as if all edges were rigid, so that ρ = 0. One sweep over the
  weights.
* "circuit": Ohm's law, solved. One sweep with one output, m + 1 sweeps with m outputs.
* "rayleigh": Ohm's law along the error, with ρ its Rayleigh quotient. With one output this is the
  same as "circuit". One sweep.
* "prox": as "rayleigh", with affine edges of compliance lr (1 + |a|²)/batch. For batches of one
  this is implicit SGD to first order. One sweep.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.circuits.kernels import ADAM, BACKPROP, EXACT, PROX, RAYLEIGH, REGRESSION, SGD, steps
from sheaflib.networks.graph import INPUT, Network, check_network
from sheaflib.support.checks import (
    MOST,
    batch,
    choice,
    even,
    flag,
    positive,
    real_array,
    unmasked,
    whole,
)
from sheaflib.training.chains import Chain, can_fuse, why_no_chain
from sheaflib.training.objective import check_labels

RULES = {"backprop": BACKPROP, "circuit": EXACT, "rayleigh": RAYLEIGH, "prox": PROX}
OPTIMISERS = {"adam": ADAM, "sgd": SGD, "least-squares": REGRESSION}
HOLD = 0.3  # of the updates have the full learning rate; then it falls linearly to 0


class MiniBatches:
    """A chain in training by mini-batches, along the currents of training's sheaf.

    Every update averages over its batch. The chain is of dense affine maps and ReLUs of slope 0:
    kernels, PReLUs and clamps are trained by ``joint_flow`` and ``gradient_descent``.

    Parameters
    ----------
    network : Network
        The chain to train.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    y : array_like of shape (B, n_out)
        The labels: 0 or 1 for a sigmoid, one-hot for a softmax.
    rule : {"backprop", "circuit", "rayleigh", "prox"}, default: "circuit"
        How the current is found that the label drives; see the notes.
    kappa : float, default: 0.0
        Which activity a weight feels with the rules "circuit" and "rayleigh", as in
        ``Currents.gradient``.
    stiffness : float, default: 1.0
        The weight of all edges but that to the label, which is 1.
    optimiser : {"adam", "sgd", "least-squares"}, default: "adam"
        What makes steps of the currents. With "least-squares" each affine edge is a regression of
        its current on [a, 1], with the activity that κ chooses for a: the averaged force times the
        inverse of the averaged [a, 1][a, 1]ᵀ with the damping added.
    beta1 : float, default: 0.9
        How slowly currents are averaged.
    beta2 : float, default: 0.99
        How slowly squares, or the products of "least-squares", are averaged.
    damping : float, default: 0.1
        The damping of "least-squares".
    decay : float, default: 0.0
        Each update takes lr · decay · θ from every parameter θ, biases too (decoupled weight
        decay).

    Raises
    ------
    ValueError
        For any other network, an unknown rule or optimiser, options that do not go together, and
        labels that do not fit.

    Notes
    -----
    In the paper: not there; derived from §5.2.

    The rules differ in the current. "backprop" takes the error itself, as if all edges were rigid.
    "circuit" solves Ohm's law, in one sweep over the weights with one output and in m + 1 with m.
    "rayleigh" solves it along the error, with the Rayleigh quotient of the resistance, in one
    sweep; with one output it is the same. "prox" does so with affine edges of compliance ``lr (1 +
    |a|²)/batch``; for batches of one it is implicit SGD to first order.

    Examples
    --------
    >>> from sheaflib import Network
    >>> from sheaflib.circuits.minibatch import MiniBatches
    >>> zero = Network.mlp([[[0.0]]])
    >>> line = MiniBatches(zero, [[1.0]], [[2.0]], rule="backprop", optimiser="sgd")
    >>> line.advance([[0]], [0.5])
    >>> line.network.nodes[0].operation.weight
    array([[1.]])
    """

    def __init__(
        self,
        network: Network,
        x: ArrayLike,
        y: ArrayLike,
        *,
        rule: str = "circuit",
        kappa: float = 0.0,
        stiffness: float = 1.0,
        optimiser: str = "adam",
        beta1: float = 0.9,
        beta2: float = 0.99,
        damping: float = 0.1,
        decay: float = 0.0,
    ):
        if not can_fuse(check_network(network)):
            why = why_no_chain(network)
            raise ValueError(
                f"network is {network!r}, expected a chain of dense affine maps and ReLUs with at"
                f" most 50 000 weights, and numba{why and f', but {why}'}"
            )
        choice("rule", rule, RULES)
        choice("optimiser", optimiser, OPTIMISERS)
        if any(node.operation.slope for node in network.nodes[1::2]):
            raise ValueError("network has leaky ReLUs, expected slope 0")
        self.kappa = float(real_array("kappa", kappa, ()))
        if rule in ("backprop", "prox") and self.kappa:
            raise ValueError(
                f"kappa={self.kappa:g} with rule={rule!r}, expected 0: no activity is relaxed"
            )
        if rule == "prox" and optimiser != "sgd":
            raise ValueError(
                f"optimiser={optimiser!r} with rule='prox', expected 'sgd': its edge weights hold"
                " the step of SGD"
            )
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if positive(name, beta, zero=True) >= 1:
                raise ValueError(f"{name}={beta:g}, expected a number in [0, 1)")
        # copies: to numba a read-only array is another type, which would compile everything once
        # more
        self.x = np.array(batch(INPUT, x, network.n_in), order="C")
        self.y = np.array(check_labels(network.output, y, network.n_out, len(self.x)), order="C")
        self.chain, self.updates = Chain(network), 0
        self.theta = self.chain.flat(network)
        self.moments = np.zeros((2, len(self.theta)))
        edge = self.chain.dims[:-1].max() + 1 if optimiser == "least-squares" else 0
        self.second = np.zeros((len(self.chain.dims), edge, edge))
        self.rule, self.optimiser = RULES[rule], OPTIMISERS[optimiser]
        self.stiffness = positive("stiffness", stiffness)
        self.damping, self.decay = positive("damping", damping), positive("decay", decay, zero=True)
        self.betas = float(beta1), float(beta2)

    def __repr__(self) -> str:
        return f"MiniBatches({self.chain.network!r}, {len(self.x)} samples, {self.updates} updates)"

    @property
    def network(self) -> Network:
        """The network with the present weights."""
        return self.chain.unflat(self.theta.copy())

    def advance(self, order: ArrayLike, lr: ArrayLike) -> None:
        """Take some updates.

        In ``sheaflib.companion.race``, ``batches`` draws an order; here ``rates`` lays out learning
        rates.

        Parameters
        ----------
        order : array_like of int of shape (updates, batch)
            Which samples each update averages over.
        lr : array_like of shape (updates,)
            The learning rate of each update, not negative.

        Raises
        ------
        ValueError
            For other shapes, for a batch of none, and for samples that there are not.
        """
        unmasked("order", order)
        given, lr = even("order", order), np.array(real_array("lr", lr), order="C")
        if given.ndim != 2 or lr.shape != (len(given),) or len(given) and not given.shape[1]:
            raise ValueError(
                f"order has shape {given.shape} and lr {lr.shape}, expected (updates, batch) and"
                " (updates,), a batch of one or more"
            )
        if given.size and given.dtype.kind not in "iu":
            raise ValueError(
                f"order holds {given.dtype} numbers, expected whole ones: which samples"
            )
        if (lr < 0).any():
            raise ValueError(
                f"lr holds {lr.min():g}, expected learning rates that are not negative"
            )
        order = np.array(given, dtype=np.int64, order="C")
        if order.size and not 0 <= order.min() <= order.max() < len(self.x):
            raise ValueError(
                f"order names samples {order.min()} to {order.max()}, expected 0 to"
                f" {len(self.x) - 1}"
            )
        steps(
            self.theta,
            (*self.moments, self.second),
            self.chain.dims,
            self.chain.output,
            (self.x, self.y),
            order,
            lr,
            self.rule,
            (self.kappa, self.stiffness),
            self.optimiser,
            (*self.betas, self.damping, self.decay),
            self.updates,
        )
        self.updates += len(order)


def rates(lr: float, updates: int, constant: bool) -> np.ndarray:
    """The learning rate of every update: constant, or linear to 0 after `HOLD` of them."""
    lr, updates = positive("lr", lr, zero=True), whole("updates", updates, least=0, most=MOST)
    left = 1 - np.arange(updates) / updates
    return (
        np.full(updates, lr)
        if flag("constant", constant)
        else lr * np.minimum(1, left / (1 - HOLD))
    )
