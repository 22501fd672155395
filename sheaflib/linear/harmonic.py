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
    """The cochain that minimises V over Ω, for a batch x (B, n_0): the forward pass, or its pinned
    counterpart.

    Without pins and pattern: forward substitution, the pattern read off on the way; this is the
    forward pass and V = 0. With `pattern` (M,) or (B, M) the selections are frozen: the masked
    network. With pins the pattern is frozen at the given one, or at the forward pass's, and V of
    that frozen sheaf is minimised: `residual` and `error` speak of it. Where the answer's own
    pattern differs (`pattern_changes` > 0) it is no equilibrium of the network's sheaf: use
    `relax`.

    Range: every coordinate is exact for weights, biases, inputs, edge weights and pins that differ
    by a relative 1e-14 at most, whatever their scales. Outside it ArithmeticError, where rounding
    decides, and OverflowError, where a stalk or a gain leaves float64.

    >>> from sheaflib.networks.graph import Network
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
    """Gradients of a loss with respect to the parameters of every node, by one transposed harmonic
    solve.

    g: (B, n_out), the loss's gradient with respect to z^{k+1} at the forward pass. Returns node ->
    parameter -> array, summed over the batch, in the shapes of `Network.parameters`. Range: any;
    every entry is exact for weights, biases, inputs and g that differ by a relative 1e-14 at most.
    OverflowError when a sensitivity or a gradient leaves float64. Raises ValueError when g has
    other rows than x, TypeError, which names the node, when an affine map is matrix-free.

    >>> from sheaflib.networks.graph import Network
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
