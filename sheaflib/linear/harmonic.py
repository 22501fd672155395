"""Harmonic extension: the forward pass is the unique one, back-propagation its transposed solve
(Prop. 3.4).
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.linear.solution import Solution
from sheaflib.linear.substitution import backward_substitution, masked_forward, pinned_minimum
from sheaflib.networks.graph import INPUT, Parameters
from sheaflib.sheaves.forces import parameter_gradient
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, resolve
from sheaflib.support.checks import batch, finite


def harmonic_extension(
    sheaf: NeuralSheaf,
    x: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] = (),
    pattern: ArrayLike | None = None,
) -> Solution:
    """Find the cochain of least energy V for a batch of inputs.

    Without pins and pattern it is the forward pass, with V = 0: it is computed by forward
    substitution, the pattern being read off on the way. With `pattern` the selections are frozen;
    this is the masked network. With pins the pattern is frozen at the given one, or at that of the
    forward pass, and V of that frozen sheaf is minimised; `Solution.residual` and `Solution.error`
    speak of it. Where the pattern of the answer differs (`Solution.pattern_changes` > 0) the answer
    is no equilibrium of the network's own sheaf; then use `relax` or `equilibrium`.

    Every coordinate is exact for weights, biases, inputs, edge weights and pins that differ by a
    relative 1e-14 at most, whatever their scales.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    x : array_like, shape (B, n_0)
        The inputs, one row a sample.
    pins : Pin or sequence of Pin, optional
        Pins that `hard` and `soft` make.
    pattern : array_like, shape (M,) or (B, M), optional
        The activation pattern at which the sheaf is frozen.

    Returns
    -------
    Solution
        The cochain, its pattern, and measures of its quality.

    Raises
    ------
    ArithmeticError
        If rounding decides the answer.
    OverflowError
        If a stalk or a gain leaves the range of float64.

    Notes
    -----
    In the paper: Prop. 3.4, and section 5.1 for pins.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, harmonic_extension
    >>> harmonic_extension(NeuralSheaf(Network.mlp([[[2.0]], [[3.0]]])), [[1.0]])
    Solution(direct, residual < 1e-12, error < 1e-12)
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in).copy()
    pinned = resolve(sheaf, pins, len(x))
    frozen, everyone = pattern is not None or bool(pinned), np.ones(len(x), dtype=bool)
    if not frozen:
        w = sheaf.forward(x)
        return Solution(sheaf, x, w, sheaf.pattern(w, x), pinned, "direct", "", everyone)
    s = sheaf.check_pattern(sheaf.forward_pattern(x) if pattern is None else pattern, len(x))
    s = np.broadcast_to(s, (len(x), sheaf.M))
    with np.errstate(over="ignore", invalid="ignore"):
        w = (
            pinned_minimum(sheaf, x, s, pinned).checked().cochain
            if pinned
            else masked_forward(sheaf, x, s)
        )
    finite("the harmonic extension", w)
    reason = "pinned, pattern frozen" if pinned else ""
    return Solution(sheaf, x, w, s, pinned, "direct", reason, everyone, frozen=True)


def backpropagate(sheaf: NeuralSheaf, x: ArrayLike, g: ArrayLike) -> Parameters:
    """Return the gradients of a loss by the parameters of every node.

    They are found by one transposed harmonic solve. They may be asked for in any range: every entry
    is exact for weights, biases, inputs and `g` that differ by a relative 1e-14 at most.

    Parameters
    ----------
    sheaf : NeuralSheaf
        The sheaf of a network.
    x : array_like, shape (B, n_0)
        The inputs, one row a sample.
    g : array_like, shape (B, n_out)
        The gradient of the loss by ``z^(k+1)``, the values before the output map, at the forward
        pass.

    Returns
    -------
    dict
        Node -> name of the parameter -> the gradient, summed over the batch, in the shapes of
        `Network.parameters`.

    Raises
    ------
    OverflowError
        If a sensitivity or a gradient leaves the range of float64.
    ValueError
        If `g` does not have as many rows as `x`.
    TypeError
        If an affine map is matrix-free; the message names the node.

    Notes
    -----
    In the paper: not there; derived from Prop. 3.4.

    Examples
    --------
    >>> from sheaflib import Network, NeuralSheaf, backpropagate
    >>> found = backpropagate(NeuralSheaf(Network.mlp([[[2.0]]])), [[3.0]], [[1.0]])
    >>> {name: float(part.sum()) for name, part in found["z1"].items()}
    {'weight': 3.0, 'bias': 1.0}
    """
    x = batch(INPUT, x, check_sheaf(sheaf).network.n_in)
    w, g = sheaf.forward(x), batch("g", g, sheaf.network.n_out)
    if len(g) != len(x):
        raise ValueError(f"g has {len(g)} rows, expected {len(x)}: one a row of x")
    seed = np.zeros_like(w)
    seed[:, sheaf.layout[sheaf.network.output_name]] = g
    s = sheaf.pattern(w, x)
    with np.errstate(over="ignore", invalid="ignore"):
        e = finite("a sensitivity", backward_substitution(sheaf, seed, s))
        found = parameter_gradient(sheaf, x, w, e, s)
    for name, own in found.items():
        for parameter, part in own.items():
            entries = part.data if sp.sparse.issparse(part) else part
            finite(f"the gradient of the {parameter} of {name!r}", entries)
    return found
