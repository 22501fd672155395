"""Training's equilibrium as an electrical circuit, for the forward pass's pattern (derived, not
known to be in the paper).

The label pulls at z^{k+1} through the output edge; the pull c runs down the network as a current,
G_eᵀ c on edge e, conserved at every stalk: this is back-propagation's recursion. Ohm's law closes
the circuit: z = ŷ + ρ c and c = −w ∇Φ(z), ρ the effective resistance, w the weight of the output
edge. Back-propagation is the short circuit ρ = 0, where z = ŷ: all other edge weights → ∞.

At that one pattern V is convex and has one minimum, so there is no mode to choose here: only where
ReLUs may switch, as in `equilibrium`, are there several ways down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.linear.fixed_pattern import output_maps
from sheaflib.linear.resistance import Resistance, effective_resistance
from sheaflib.linear.substitution import inject
from sheaflib.networks.graph import INPUT, Node, Parameters
from sheaflib.networks.operations import Parameter
from sheaflib.networks.output import Output
from sheaflib.sheaves.forces import parameter_gradient
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.support.checks import batch, brief, even, finite, real_array
from sheaflib.training.joint import output_weight
from sheaflib.training.objective import check_labels, error

NEWTON, HALVINGS = 100, 60
FLAT = 0.5  # a step of Newton's ends where the slope along it has fallen to this part of its start
ROUNDING = 2e-15  # of the terms of Ohm's law


@dataclass(frozen=True, eq=False, repr=False)
class Currents:
    """The relaxed sheaf of training, as an electrical circuit: what ``currents`` returns.

    The label pulls at the output, and the pull runs down the network as a current. B is the number
    of samples.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    x : ndarray of shape (B, n_0)
        The inputs.
    forward : ndarray of shape (B, N)
        The stalks of the forward pass.
    pattern : ndarray of shape (B, M)
        The activation pattern of the forward pass.
    resistance : Resistance
        The effective resistance ρ of the output.
    pull : ndarray of shape (B, n_out)
        The pull c = −w ∇Φ(z) at the relaxed output z = ŷ + ρ c, with w the weight of the edge to
        the label.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.circuits.currents import currents
    >>> found = currents(NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]])), [[1.0]], [[5.0]])
    >>> found.relaxed, found.pull  # the output 1 moves to 4 of 5
    (array([[2., 3., 4.]]), array([[1.]]))
    """

    sheaf: NeuralSheaf
    x: np.ndarray
    forward: np.ndarray
    pattern: np.ndarray
    resistance: Resistance
    pull: np.ndarray

    @cached_property
    def edges(self) -> np.ndarray:
        """The current w_e η_e = G_eᵀ c of every edge, coordinate by coordinate, shape (B, N)."""
        return self.resistance.currents(self.pull)

    @cached_property
    def relaxed(self) -> np.ndarray:
        """The stalks at equilibrium, shape (B, N).

        They are those of the forward pass moved by δ_Ω⁻¹ of currents over weights. Their rounding
        error is that of the forward pass and of the change: behind a gain of 1e8, where a stalk is
        a small difference of both, take the harmonic extension with a soft pin at the output
        instead.
        """
        return self.forward + inject(
            self.sheaf, self.edges / self.sheaf.row_weights[: self.sheaf.N], self.pattern
        )

    def gradient(self, kappa: float = 1.0) -> Parameters:
        """Compute the gradient by the parameters of every node, at the activities that κ chooses.

        It is the gradient of −Σ_i ⟨current, F_s(a + κ(a* − a))⟩, with a the activity of the forward
        pass, a* the relaxed one, and s the forward pass's pattern.

        Parameters
        ----------
        kappa : float, default: 1.0
            With κ = 1 it is the gradient of the equilibrium energy. With κ = 0 it is
            back-propagation of −c in place of the error. With κ = −1, the mirror, it lowers the
            resistance where κ = 1 raises it.

        Returns
        -------
        dict of str to dict of str to ndarray
            Node -> parameter -> array. For an affine node they are "weight", −Σ_i (current)(a +
            κ(a* − a))ᵀ, and "bias", −Σ_i (current).

        Raises
        ------
        TypeError
            When an affine map is matrix-free, whose node the message names.
        """
        kappa = float(real_array("kappa", kappa, ()))
        w = self.forward + kappa * (self.relaxed - self.forward)
        return parameter_gradient(self.sheaf, self.x, w, -self.edges, self.pattern)

    def __repr__(self) -> str:
        return (
            f"Currents({len(self.x)} samples, |c| up to {np.abs(self.pull).max():.3g},"
            f" {self.resistance!r})"
        )


def edge_update(
    sheaf: NeuralSheaf,
    name: str,
    x: ArrayLike,
    forward: ArrayLike,
    relaxed: ArrayLike,
    kappa: float = 1.0,
) -> dict[str, Parameter]:
    """Compute the part of ``Currents.gradient`` that one edge finds by itself.

    The edge looks at its own two ends alone. Its current is w(z* − F_s(a*)), for an affine edge
    w(z* − W a* − b), and what it feels is a + κ(a* − a), with a and z its lower and upper stalk and
    s the pattern at a.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    name : str
        The stalk at the upper end of the edge.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    forward : array_like of shape (B, N)
        The whole cochain of the forward pass; what other stalks hold is not read.
    relaxed : array_like of shape (B, N)
        The whole relaxed cochain.
    kappa : float, default: 1.0
        Which activity the edge feels.

    Returns
    -------
    dict of str to ndarray
        The gradient by each parameter of the edge.

    Raises
    ------
    ValueError
        For a name that is no end of an edge with parameters.
    TypeError
        When the affine map is matrix-free.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.circuits.currents import currents, edge_update
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> found = currents(chain, [[1.0]], [[5.0]])
    >>> edge_update(chain, "z2", [[1.0]], found.forward, found.relaxed)
    {'weight': array([[-3.]]), 'bias': array([-1.])}
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in)
    kappa = float(real_array("kappa", kappa, ()))
    known = [node.name for node in sheaf.network.nodes if _owns_parameters(node)]
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f"name={brief(name)}, expected a stalk at the end of an edge with parameters: "
            f"{', '.join(known)}"
        )
    node = next(node for node in sheaf.network.nodes if node.name == name)
    weight = next(sheaf.edge_weights[edge.name] for edge in sheaf.edges if edge.head == name)

    given = {}
    for what, value in (("forward", forward), ("relaxed", relaxed)):
        given[what] = w = value if isinstance(value, np.ma.MaskedArray) else even(what, value)
        if w.shape != (len(x), sheaf.N):
            raise ValueError(f"{what} has shape {w.shape}, expected ({len(x)}, {sheaf.N})")
        real_array(what, w[:0])  # of numbers; which of them are read, `end` says

    def end(what: str, stalk: str) -> np.ndarray:
        """One stalk of a cochain, whose other stalks may hold anything."""
        return real_array(f"{what} at {stalk}", given[what][:, sheaf.layout[stalk]])

    before, after = (
        np.concatenate([x if a == INPUT else end(what, a) for a in node.inputs], axis=1)
        for what in given
    )
    s = node.operation.pattern(before)
    current = weight * (end("relaxed", name) - node.operation.value(after, s))
    try:
        return node.operation.gradient(before + kappa * (after - before), -current, s)
    except TypeError as error:
        raise TypeError(f"node {name!r}: {error}") from None


def _owns_parameters(node: Node) -> bool:
    """Whether a node has parameters; of a matrix-free map, which cannot tell them, that it has."""
    try:
        return bool(node.operation.parameters)
    except TypeError:
        return True


def currents(sheaf: NeuralSheaf, x: ArrayLike, y: ArrayLike) -> Currents:
    """Close the circuit: let the labels pull at the output, and find the current of every edge.

    It takes one backward substitution an output for the resistance, and then Ohm's law.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    x : array_like of shape (B, n_0)
        The inputs, one sample a row.
    y : array_like of shape (B, n_out)
        The labels: 0 or 1 for a sigmoid, one-hot for a softmax.

    Returns
    -------
    Currents
        The currents, and the stalks at equilibrium. Pull and currents are exact for weights,
        inputs, labels and edge weights that differ by a relative 1e-11 at most, whatever their
        scales.

    Raises
    ------
    ValueError
        For labels that do not fit the output.
    ArithmeticError
        Where Newton's method on a sigmoid or softmax does not come so far.

    Notes
    -----
    In the paper: not there; derived.

    Examples
    --------
    An error of 4 drops over three resistors of 1 and the label's own.

    >>> from sheaflib import Network, NeuralSheaf
    >>> from sheaflib.circuits.currents import currents
    >>> chain = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    >>> currents(chain, [[1.0]], [[5.0]]).edges
    array([[1., 1., 1.]])
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in)
    y = check_labels(sheaf.network.output, y, sheaf.network.n_out, len(x))
    w = sheaf.forward(x)
    pattern = sheaf.pattern(w, x)
    with np.errstate(over="ignore", invalid="ignore"):
        law = effective_resistance(sheaf, pattern)
        finite("the effective resistance of the output", law.total)
    z = w[:, sheaf.layout[sheaf.network.output_name]]
    return Currents(sheaf, x, w, pattern, law, ohm(sheaf, law.total, z, y))


def ohm(sheaf: NeuralSheaf, rho: np.ndarray, forward: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The pull c (B, m) with c = −w ∇Φ(ŷ + ρ c): by one solve for the square loss, else by Newton's
    method on w Φ(ŷ + ρc) + ½ cᵀρc.

    Newton stops where what is missing of the law is rounding of the terms it is a sum of, whatever
    their scale. ArithmeticError when it does not come there.
    """
    output, weight = sheaf.network.output, output_weight(sheaf)
    if output.is_identity:
        return np.linalg.solve(rho + np.eye(y.shape[1]) / weight, (y - forward)[:, :, None])[
            :, :, 0
        ]
    rho = np.broadcast_to(rho, (len(y), *rho.shape[-2:]))
    c, eye, left = np.zeros_like(y), np.eye(y.shape[1]), np.arange(len(y))
    for _ in range(NEWTON):
        R, now, goal = rho[left], c[left], y[left]
        z = forward[left] + times(R, now)
        pull = weight * error(output, z, goal)
        short = now + pull  # what Ohm's law is short of
        J = weight * output_maps(sheaf, z, len(z), "jacobian")
        terms = (
            np.abs(now)
            + np.abs(pull)
            + times(np.abs(J), np.abs(forward[left]) + times(np.abs(R), np.abs(now)))
        )
        going = (np.abs(short) > ROUNDING * terms).any(axis=1)
        # an unknown is as large as its terms: else small ones drown in the others
        scale = np.where(terms > 0, terms, 1)
        matrix = (eye + J @ R) * (scale[:, None] / scale[:, :, None])
        step = -scale * np.linalg.solve(matrix, (short / scale)[:, :, None])[:, :, 0]
        # also where done: rounding of z is in the range of J, which the step damps
        c[left] = now + step
        if not going.any():
            return c
        left, now, goal, z, step, lift, terms = (
            part[going] for part in (left, now, goal, z, step, times(R, step), terms)
        )
        noise = ROUNDING * (np.abs(lift) * terms).sum(axis=1)
        c[left] = now + step * _length(output, weight, now, step, z, lift, goal, noise)[:, None]
    raise ArithmeticError(
        f"Ohm's law of sample {left[0]} is not met after {NEWTON} Newton steps: "
        f"it is {np.abs(short[going][0]).max():.3g} short, "
        f"resistance {np.abs(rho[left[0]]).max():.3g}, weight of the output edge {weight:.3g}"
    )


def _length(
    output: Output,
    weight: float,
    c: np.ndarray,
    step: np.ndarray,
    z: np.ndarray,
    lift: np.ndarray,
    y: np.ndarray,
    noise: np.ndarray,
) -> np.ndarray:
    """How far to go along a step of Newton's, at most 1: where the slope of the convex energy has
    fallen by enough, or is noise, (B,)."""

    def slope(t: np.ndarray) -> np.ndarray:
        return (
            lift * (c + t[:, None] * step + weight * error(output, z + t[:, None] * lift, y))
        ).sum(axis=1)

    low, high, t = np.zeros(len(c)), np.ones(len(c)), np.ones(len(c))
    start = np.abs(slope(low))
    for _ in range(HALVINGS):
        rate = slope(t)
        far = np.abs(rate) > FLAT * start + noise
        if not far.any():
            break
        low, high = np.where(far & (rate < 0), t, low), np.where(far & (rate > 0), t, high)
        t = np.where(far, (low + high) / 2, t)
    return t


def times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(B, m, m) and (B, m) -> (B, m)."""
    return (matrices @ vectors[:, :, None])[:, :, 0]
