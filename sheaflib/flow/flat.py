"""A network flattened to one list of rows, for the compiled steps.

Row i of the forward pass reads the coordinates indices[indptr[i]:indptr[i+1]] as a linear
combination (kind 0), a maximum (kind 1), or one of them by a ReLU (kind 2) or a clamp (kind 3,
which has constants). What rows of the last two kinds do is a table by the pieces of the coordinate
that they read (`corners`): side, slope and constant, (N, K + 1) each.
"""

from __future__ import annotations

import numpy as np

from sheaflib.flow.corners import Corners
from sheaflib.networks.graph import INPUT
from sheaflib.networks.selection import MaxPool
from sheaflib.sheaves.neural import NeuralSheaf

LINEAR, MAXIMUM, PIECES, SHIFTED, RELU = 0, 1, 2, 3, 4


def rows_of(sheaf: NeuralSheaf, kinks: Corners) -> tuple[np.ndarray, ...]:
    """kind (N,), indptr (N + 1,), indices and entries (nnz,) of every row of the forward pass."""
    kind = np.zeros(sheaf.N, dtype=np.int64)
    at_zero = len(kinks.breaks) == 1 and not kinks.breaks[kinks.breaks < np.inf].any()
    for reader in kinks.readers:
        rectifies = at_zero and (reader.slope[-1] == 1).all() and not reader.shifted
        kind[reader.rows] = SHIFTED if reader.shifted else RELU if rectifies else PIECES
    parts = []
    for node in sheaf.network.nodes:
        here, operation, columns = sheaf.layout[node.name], node.operation, sheaf.columns(node)
        if isinstance(operation, MaxPool) and node.inputs != (INPUT,):
            kind[here] = MAXIMUM
            rows = np.repeat(np.arange(operation.n_out), operation.windows.shape[1])
            reads = operation.windows.ravel()
            entries = np.ones(len(reads))
        else:
            rows, reads, entries = operation.triplets(np.zeros(operation.n_pattern))
        free = columns[reads] >= 0
        parts.append((rows[free] + here.start, columns[reads][free], entries[free]))
    rows, columns, entries = (np.concatenate(part) for part in zip(*parts))
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=sheaf.N))]).astype(np.int64)
    return kind, indptr, columns[order].astype(np.int64), entries[order].astype(np.float64)


def pieces_of(sheaf: NeuralSheaf, kinks: Corners) -> tuple[np.ndarray, ...]:
    """breaks (width, K) of the coordinates; side, slope and constant (N, K + 1) of the rows that
    read them, by their pieces.
    """
    shape = (sheaf.N, len(kinks.breaks) + 1)
    side, slope, constant = np.zeros(shape, dtype=np.int64), np.zeros(shape), np.zeros(shape)
    for reader in kinks.readers:
        side[reader.rows] = reader.side.T
        slope[reader.rows] = reader.slope.T
        constant[reader.rows] = reader.constant.T
    return np.ascontiguousarray(kinks.breaks.T), side, slope, constant


def steepness_of(sheaf: NeuralSheaf, rows: tuple[np.ndarray, ...], gamma: np.ndarray) -> np.ndarray:
    """B (width,) with T_i ≤ B_i m for the terms T of ∂V/∂w whatever the pattern, m being the
    largest |w_j| or constant, and 1 with a_out.

    So B_i is also how fast T_i can grow with w within a pattern.
    """
    kind, indptr, indices, entries, _, _, slope, _ = rows
    row = np.repeat(np.arange(sheaf.N), np.diff(indptr))
    sizes = np.where(kind[row] >= PIECES, np.abs(slope).max(axis=1)[row], np.abs(entries))
    steepness, weights = 2 * gamma, sheaf.row_weights[: len(gamma)]
    stress = weights[: sheaf.N] * (2 + np.bincount(row, sizes, sheaf.N))
    steepness[: sheaf.N] += stress + np.bincount(indices, sizes * stress[row], sheaf.N)
    if len(gamma) > sheaf.N:
        steepness[sheaf.N :] += 2 * weights[sheaf.N :]
        steepness[sheaf.layout[sheaf.network.output_name]] += 2 * weights[sheaf.N :].sum()
    return steepness
