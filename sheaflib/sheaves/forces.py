"""The force −∂V/∂w on every coordinate of a cochain, penalty edges and the output edge included
(Thm 4.1), and what pulls at the parameters of operations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sheaflib.networks.graph import INPUT, Parameters, gather
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pins
from sheaflib.support.checks import choice, instance

OUTPUT_FORCES = ("jacobian", "identity")


def check_output_force(name: str) -> str:
    """Raise ValueError unless `name` is "jacobian" (J_φᵀ, the gradient) or "identity" (the
    cross-entropy form).
    """
    return choice("output_force", name, OUTPUT_FORCES)


def force(
    sheaf: NeuralSheaf,
    w: ArrayLike,
    x: ArrayLike,
    *,
    pins: Pins | None = None,
    pattern: ArrayLike | None = None,
    output_force: str = "jacobian",
) -> np.ndarray:
    """−δᵀ diag(w_e)(δw − c) − γ(w − v*), zero on clamped coordinates: shape of w, (B, N) or (B, N +
    n_out) with a_out.

    The pattern follows w unless given (Filippov's fast selection). The output edge pulls z^{k+1}
    back by J_φᵀ(φ(z) − a_out) ("jacobian") or φ(z) − a_out ("identity").
    """
    w = check_sheaf(sheaf).cochain("w", w)
    check_output_force(output_force)
    s = sheaf.pattern(w, x) if pattern is None else pattern
    stress = sheaf.row_weights[: w.shape[1]] * sheaf.discrepancy(w, x, s)
    f = -stress
    f[:, : sheaf.N] = -sheaf.pull(stress[:, : sheaf.N], s)
    if w.shape[1] > sheaf.N:
        last = sheaf.layout[sheaf.network.output_name]
        back = stress[:, sheaf.N :]
        if output_force == "jacobian":
            back = sheaf.network.output.jacobian_product(w[:, last], back)
        f[:, last] += back
    if pins is None:
        return f
    instance("pins", pins, Pins, "what resolve(sheaf, pins, n_batch) gives")
    if (pins.width, len(pins.hard_value)) != w.shape[::-1]:
        raise ValueError(
            f"pins are for cochains of shape ({len(pins.hard_value)}, {pins.width}), expected"
            f" {w.shape}"
        )
    return pins.apply(w, f)


def parameter_gradient(
    sheaf: NeuralSheaf,
    x: np.ndarray,
    w: np.ndarray,
    e: np.ndarray,
    pattern: np.ndarray | None = None,
) -> Parameters:
    """The gradient of Σ_i ⟨e_i, F(w_i)⟩ by the parameters of all nodes, F what each node makes of
    the stalks it reads: node -> parameter -> array, summed over the batch.

    w and e are (B, N). The pattern (B, M) follows w unless given. TypeError, which names the node,
    for a matrix-free affine map.
    """
    values, found = {INPUT: x, **sheaf.layout.split(w)}, {}
    names = sheaf.network.parameters
    for node in sheaf.network.nodes:
        if node.name in names:
            a, operation = gather(values, node), node.operation
            s = operation.pattern(a) if pattern is None else sheaf.own(node, pattern)
            found[node.name] = operation.gradient(a, e[:, sheaf.layout[node.name]], s)
    return found
