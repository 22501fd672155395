"""The restricted Laplacian and the augmented coboundary of one pattern, as sparse matrices."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import scipy as sp
from numpy.typing import ArrayLike

from sheaflib.linear.fixed_pattern import check_output_pins, output_maps
from sheaflib.sheaves.forces import check_output_force
from sheaflib.sheaves.neural import NeuralSheaf, check_sheaf
from sheaflib.sheaves.pins import Pin, Pins, resolve_places


def laplacian(
    sheaf: NeuralSheaf,
    pattern: ArrayLike,
    *,
    pins: Pin | Sequence[Pin] | Pins = (),
    z: ArrayLike | None = None,
    output_force: str = "jacobian",
) -> sp.sparse.csr_array:
    """The Laplacian on the free coordinates for one pattern: clamped ones removed, γ added on soft
    pins; sparse.

    z: (n_out,), the logits at which φ is linearised; then a_out is included (the augmented
    Laplacian). The "identity" force is similar to an output edge with J^½ in place of J, which is
    what is returned for it; ValueError for a softmax whose a_out is pinned unevenly, where that
    does not hold.
    """
    check_output_force(output_force)
    root = _root(sheaf, pattern, pins, z, output_force)
    return sp.sparse.csr_array(root.T @ root)


def augmented_coboundary(
    sheaf: NeuralSheaf, pattern: ArrayLike, z: ArrayLike, *, output_force: str = "jacobian"
) -> sp.sparse.csr_array:
    """δ with the row and column of a_out, [[δ_Ω, 0], [−J at z^{k+1}, I]], linearised at the logits
    z (n_out,) (Thm 4.2, as reported).
    """
    check_output_force(output_force)
    J = output_maps(check_sheaf(sheaf), z, 1, output_force)[0]
    last = sheaf.layout[sheaf.network.output_name]
    row = sp.sparse.lil_array((len(J), sheaf.N))
    row[:, last] = -J
    blocks = [[sheaf.coboundary(pattern), None], [row, sp.sparse.eye_array(len(J))]]
    return sp.sparse.csr_array(sp.sparse.block_array(blocks))


def _root(
    sheaf: NeuralSheaf,
    pattern: ArrayLike,
    pins: Pin | Sequence[Pin] | Pins,
    z: ArrayLike | None,
    output_force: str,
) -> sp.sparse.csr_array:
    """A with L = AᵀA: the rows √w_e of δ and √γ of the penalty edges, the columns of the free
    coordinates.
    """
    pins = resolve_places(sheaf, pins, 1, z is not None)
    if z is not None:
        check_output_pins(sheaf, pins, output_force)
    delta = (
        sheaf.coboundary(pattern)
        if z is None
        else augmented_coboundary(sheaf, pattern, z, output_force=output_force)
    )
    weights = sp.sparse.diags_array(np.sqrt(sheaf.row_weights[: delta.shape[0]]))
    root = sp.sparse.csr_array(weights @ delta)
    if not pins:
        return root
    n = len(pins.soft_index)
    places = (np.arange(n), pins.soft_index)
    springs = sp.sparse.csr_array((np.sqrt(pins.gamma), places), shape=(n, delta.shape[0]))
    return sp.sparse.csr_array(sp.sparse.vstack([root, springs]).tocsc()[:, pins.free])
