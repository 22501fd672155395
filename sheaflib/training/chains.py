"""The compiled steppers of chains, networks in which dense affine maps and ReLUs alternate: the
same steps as `JointStepper` and `DescentStepper`, with weights and stalks packed for the kernels.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sheaflib.flow.kernels import OUTPUTS, njit
from sheaflib.networks.affine import Affine
from sheaflib.networks.graph import INPUT, Network
from sheaflib.networks.selection import ReLU
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import Pins
from sheaflib.training.descent import DescentStepper
from sheaflib.training.joint import JointStepper, output_weight
from sheaflib.training.kernels import descent_steps, joint_steps
from sheaflib.training.objective import loss_scale

LANES, ROUND = 320, 16  # samples a block at most; lanes are a multiple of ROUND
MAX_WEIGHTS = 50_000  # beyond this BLAS beats loops over rows


def can_fuse(network: Network) -> bool:
    """Whether numba is there and the network is a small chain: dense affine maps with ReLUs (any
    slope) between them.
    """
    if njit is None or not is_chain(network):
        return False
    return sum(node.operation.weight.size for node in network.affine_nodes) <= MAX_WEIGHTS


def is_chain(network: Network) -> bool:
    """Whether dense affine maps and ReLUs alternate, each reading the one before, affine last."""
    return not why_no_chain(network)


def why_no_chain(network: Network) -> str:
    """What about a network is not as `is_chain` asks, with the node's name; "" where all is.

    >>> from sheaflib.networks.selection import PReLU
    >>> why_no_chain(Network(2, [("z1", Affine([[1.0, 2.0]])), ("a1", PReLU(1, 0.2))]))
    "node 'a1' is PReLU(1, 1 slopes), not a ReLU"
    """
    before = INPUT
    for i, node in enumerate(network.nodes):
        if node.inputs != (before,):
            return f"node {node.name!r} reads {', '.join(node.inputs)}, not {before} alone"
        kind, name = (ReLU, "a ReLU") if i % 2 else (Affine, "a dense Affine")
        operation, before = node.operation, node.name
        # no subclass: a convolution is an Affine, too, but its matrix is not what is trained
        if type(operation) is not kind or not (i % 2 or isinstance(operation.weight, np.ndarray)):
            return f"node {node.name!r} is {operation!r}, not {name}"
    return "" if len(network.nodes) % 2 else f"node {before!r} is the last one, and not affine"


class Chain:
    """The shape of a chain and its weights as one flat array θ = (W¹, b¹, W², b², …).

    Raises ValueError for any other network: compiled loops find a layer in θ by these widths alone.
    """

    def __init__(self, network: Network):
        if why := why_no_chain(network):
            raise ValueError(
                f"network is {network!r}, expected a chain of dense affine maps with ReLUs between"
                f" them, but {why}: leave `stepper` out for any other"
            )
        self.network = network
        affine = [node.operation for node in network.affine_nodes]
        self.dims = np.array([network.n_in, *(a.n_out for a in affine)])
        self.slopes = np.array([node.operation.slope for node in network.nodes[1::2]] + [0.0])
        self.output = OUTPUTS[network.output.name]
        self.shape = (self.dims, self.slopes, self.output)

    def flat(self, network: Network) -> np.ndarray:
        """θ of a network of this shape."""
        return np.concatenate(
            [
                part.ravel()
                for node in network.affine_nodes
                for part in (node.operation.weight, node.operation.bias)
            ]
        )

    def unflat(self, theta: np.ndarray) -> Network:
        """The network of this shape with the weights θ."""
        weights, start = {}, 0
        for node, (m, n) in zip(self.network.affine_nodes, pairwise(self.dims)):
            weights[node.name] = {
                "weight": theta[start : start + n * m].reshape(n, m),
                "bias": theta[start + n * m : start + n * m + n],
            }
            start += n * m + n
        return self.network.with_parameters(weights)


class Lanes:
    """How a batch of B samples lies in blocks of L lanes."""

    def __init__(self, n_batch: int):
        self.n_batch = n_batch
        self.blocks = -(-n_batch // LANES)
        self.lanes = -(-n_batch // (self.blocks * ROUND)) * ROUND

    def pack(self, w: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """(B, n) -> (blocks, n, L)."""
        padded = np.full((self.blocks * self.lanes, w.shape[1]), fill)
        padded[: self.n_batch] = w
        return np.ascontiguousarray(padded.reshape(self.blocks, self.lanes, -1).transpose(0, 2, 1))

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """(blocks, n, L) -> (B, n)."""
        return np.array(
            packed.transpose(0, 2, 1).reshape(self.blocks * self.lanes, -1)[: self.n_batch],
            order="C",
        )

    def data(
        self, x: np.ndarray, y: np.ndarray, output: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and `one`, packed; the empty lanes hold the label that no error is measured
        against.
        """
        rest = {"identity": 0.0, "sigmoid": 0.5, "softmax": 1 / y.shape[1]}[output]
        return self.pack(x), self.pack(y, rest), self.pack(np.ones((self.n_batch, 1)))[:, 0].copy()


class FusedJointStepper(JointStepper):
    """The same steps as `JointStepper`, for chains."""

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
        self.chain, self.place = Chain(sheaf.network), Lanes(len(x))
        self.edge_weights = sheaf.edge_weights
        edges = [e for e in sheaf.edges if e.rows.stop <= sheaf.N]
        self.watched = [*(e.name for e in edges if e.kind == "affine"), "output"]
        self.weight = np.array([*(sheaf.edge_weights[e.name] for e in edges), output_weight(sheaf)])
        self.data = self.place.data(x, y, sheaf.network.output.name)
        self.springs = (pins.soft_index, pins.gamma, self.place.pack(pins.soft_value))
        self.clamps = (pins.hard_index, self.place.pack(pins.hard_value))
        super().__init__(sheaf, x, y, w, beta, dt, alpha, pins)

    def put(self, sheaf: NeuralSheaf, w: np.ndarray) -> None:
        self.theta = self.chain.flat(sheaf.network)
        self.stalks = self.place.pack(self.pins.impose(w))

    def state(self) -> tuple[NeuralSheaf, np.ndarray]:
        if not (np.isfinite(self.theta).all() and np.isfinite(self.stalks).all()):
            self.overflowed(self.sheaf, self.place.unpack(self.stalks))
        sheaf = NeuralSheaf(self.chain.unflat(self.theta), self.edge_weights)
        return sheaf, self.place.unpack(self.stalks)

    def advance(self, n: int) -> None:
        energies = np.zeros(len(self.watched))
        done = joint_steps(
            self.stalks,
            self.data,
            self.theta,
            self.chain.shape,
            self.weight,
            self.springs,
            self.clamps,
            n,
            self.dt * self.alpha,
            self.dt * self.beta,
            self.limit,
            energies,
        )
        self.step += done
        if done < n:
            self.check(dict(zip(self.watched, energies)))
            self.overflowed(self.sheaf, self.place.unpack(self.stalks))


class FusedDescentStepper(DescentStepper):
    """The same steps as `DescentStepper`, for chains."""

    def __init__(self, network: Network, x: np.ndarray, y: np.ndarray, lr: float):
        self.chain, self.place = Chain(network), Lanes(len(x))
        self.data = self.place.data(x, y, network.output.name)
        super().__init__(network, x, y, lr)

    def put(self, network: Network) -> None:
        self.theta = self.chain.flat(network)

    def state(self) -> Network:
        if not np.isfinite(self.theta).all():
            self.check(np.nan)
        return self.chain.unflat(self.theta)

    def advance(self, n: int) -> None:
        scale = loss_scale(self.chain.network.output, *self.y.shape)
        done, energy = descent_steps(
            *self.data, self.theta, *self.chain.shape, n, self.lr * scale, self.limit
        )
        self.step += done
        if done < n:
            self.check(energy)
            self.check(np.nan)
