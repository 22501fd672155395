"""The compiled Euler step: the same arithmetic as `EulerStepper`, one sample at a time, for any chain or DAG.

The network is flattened to one list of rows: row i of the forward pass reads the coordinates indices[indptr[i]:indptr[i+1]]
as a linear combination (kind 0), a ReLU (kind 1) or a maximum (kind 2); what depends on x alone is the constant c.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import LinearOperator

from sheaflib.euler import energy_limit, raise_unstable
from sheaflib.network import INPUT
from sheaflib.operations import MaxPool, ReLU
from sheaflib.pins import ResolvedPins
from sheaflib.sheaf import NeuralSheaf

try:
    from numba import njit
except ImportError:                                       # numba is optional: EulerStepper does the same, slower
    njit = None

LINEAR, RELU, MAXIMUM = 0, 1, 2
OUTPUTS = {"identity": 0, "sigmoid": 1, "softmax": 2}
MAX_ENTRIES = 2_000_000                                   # beyond this BLAS beats the row-by-row loop
EVENTS = 4096                                             # switches kept a call before the engine comes up for air
DONE, CONVERGED, FULL, UNSTABLE = 0, 1, 2, 3


def can_compile(sheaf: NeuralSheaf) -> bool:
    """Whether numba is there and the network is small enough, with entries to read (no matrix-free map)."""
    entries = 0
    for node in sheaf.network.nodes:
        weight = getattr(node.operation, "weight", None)
        if isinstance(weight, LinearOperator):
            return False
        entries += 0 if weight is None else weight.nnz if sparse.issparse(weight) else weight.size
    return njit is not None and entries <= MAX_ENTRIES


class CompiledStepper:
    """State of a flow, as `EulerStepper`."""

    def __init__(self, sheaf: NeuralSheaf, x, w, dt: float, alpha: float, pins: ResolvedPins, output_force: str, tol: float):
        self.sheaf, self.x, self.w, self.pins, self.output_force, self.tol = sheaf, x, w.copy(), pins, output_force, tol
        self.dt, self.alpha = dt, alpha
        self.steps = np.zeros(len(w), dtype=np.int64)
        self.change = np.full(len(w), np.inf)
        self.active = np.ones(len(w), dtype=bool)
        self.limit = energy_limit(sheaf, self.w, x, pins, output_force)
        self.rows = _rows(sheaf)
        self.constant = -sheaf.discrepancy(np.zeros((len(w), sheaf.N)), x)
        self.unit = np.full(sheaf.N, -1, dtype=np.int64)      # row of Ω -> place in the pattern
        for name in sheaf.pattern_layout.names:
            s = sheaf.pattern_layout[name]
            self.unit[sheaf.layout[name]] = np.arange(s.start, s.stop)
        self.gamma = np.zeros(w.shape[1])
        self.gamma[pins.soft_index] = pins.gamma
        self.target = np.zeros(w.shape)
        self.target[:, pins.soft_index] = pins.soft_value

    def advance(self, n: int) -> np.ndarray:
        """Take up to n steps with every sample that still moves; return the switches (K, 3): step, sample, unit."""
        found = [np.zeros((0, 3), dtype=np.int64)]
        for sample in np.flatnonzero(self.active):
            left = n
            while left:
                done, status, switches = self._run(sample, left)
                left = 0 if status == CONVERGED else left - done
                found.append(switches)
                if status == CONVERGED:
                    self.active[sample] = False
                if status == UNSTABLE:
                    raise_unstable(self, sample)
        switches = np.concatenate(found)
        return switches[np.lexsort((switches[:, 2], switches[:, 1], switches[:, 0]))]

    def _run(self, sample: int, n: int):
        sheaf, events = self.sheaf, np.zeros((EVENTS, 2), dtype=np.int64)
        last = sheaf.layout[sheaf.network.nodes[-1].name]
        output = OUTPUTS[sheaf.network.output.name] if self.w.shape[1] > sheaf.N else 0
        done, status, count, change = _advance(
            self.w[sample], self.constant[sample], *self.rows, sheaf.row_weights, last.start, output,
            self.output_force == "jacobian", self.pins.free, self.gamma, self.target[sample],
            self.dt * self.alpha, n, self.tol, self.limit[sample], events)
        step, row = events[:count].T
        switches = np.stack([self.steps[sample] + step, np.full(count, sample), self.unit[row]], axis=1)
        self.steps[sample] += done
        self.change[sample] = change
        return done, status, switches


def _rows(sheaf: NeuralSheaf):
    """kind (N,), slope (N,), indptr (N + 1,), indices and entries (nnz,) of every row of the forward pass."""
    kind, slope = np.zeros(sheaf.N, dtype=np.int64), np.zeros(sheaf.N)
    parts = []
    for node in sheaf.network.nodes:
        here, operation, columns = sheaf.layout[node.name], node.operation, sheaf._columns(node)
        if isinstance(operation, ReLU) and node.inputs != (INPUT,):
            kind[here], slope[here] = RELU, operation.slope
        if isinstance(operation, MaxPool) and node.inputs != (INPUT,):
            kind[here] = MAXIMUM
            rows = np.repeat(np.arange(operation.n_out), operation.windows.shape[1])
            reads, entries = operation.windows.ravel(), np.ones(operation.windows.size)
        else:
            rows, reads, entries = operation.triplets(np.ones(operation.n_pattern))
        free = columns[reads] >= 0
        parts.append((rows[free] + here.start, columns[reads][free], entries[free]))
    rows, columns, entries = (np.concatenate(part) for part in zip(*parts))
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=sheaf.N))]).astype(np.int64)
    return kind, slope, indptr, columns[order].astype(np.int64), entries[order].astype(np.float64)


def _advance_python(w, c, kind, slope, indptr, indices, entries, weight, last, output, jacobian, free, gamma, target,
                    step_size, n_steps, tol, limit, events):
    """Up to n_steps Euler steps of one sample, w (width,) in place; returns steps done, status, number of events, max|Δ|."""
    width, n = len(w), len(c)
    n_out = width - n
    stress, f, gain, chosen = np.empty(width), np.empty(width), np.empty(n), np.empty(n, np.int64)
    p, pattern = np.empty(n_out), np.empty(n, np.int64)
    count, change = 0, np.inf
    for t in range(n_steps + 1):
        # the pattern of this state, and its switches
        for i in range(n):
            start = indptr[i]
            new = 0
            if kind[i] == 1:
                chosen[i] = indices[start]
                new = 1 if w[indices[start]] >= 0 else 0
                gain[i] = 1.0 if new == 1 else slope[i]
            elif kind[i] == 2:
                for k in range(start + 1, indptr[i + 1]):
                    if w[indices[k]] > w[indices[start + new]]:
                        new = k - start
                chosen[i] = indices[start + new]
                gain[i] = 1.0
            if t > 0 and new != pattern[i]:
                events[count, 0], events[count, 1] = t, i
                count += 1
            pattern[i] = new
        # discrepancy, stress, energy
        energy = 0.0
        for i in range(n):
            value = c[i]
            if kind[i] == 0:
                for k in range(indptr[i], indptr[i + 1]):
                    value += entries[k] * w[indices[k]]
            else:
                value += gain[i] * w[chosen[i]]
            e = w[i] - value
            stress[i] = weight[i] * e
            energy += 0.5 * weight[i] * e * e
            f[i] = -stress[i]
        if output > 0:
            top = 0.0
            if output == 2:
                top = w[last]
                for j in range(1, n_out):
                    top = max(top, w[last + j])
                total = 0.0
                for j in range(n_out):
                    p[j] = np.exp(w[last + j] - top)
                    total += p[j]
                for j in range(n_out):
                    p[j] /= total
                potential = top + np.log(total)
            else:
                potential = 0.0
                for j in range(n_out):
                    z = w[last + j]
                    p[j] = 1 / (1 + np.exp(-z)) if z >= 0 else np.exp(z) / (1 + np.exp(z))
                    potential += max(z, 0.0) + np.log1p(np.exp(-abs(z)))
            dot = 0.0
            for j in range(n_out):
                e = w[n + j] - p[j]
                stress[n + j] = weight[n + j] * e
                f[n + j] = -stress[n + j]
                dot += p[j] * stress[n + j]
                if jacobian:
                    energy += 0.5 * weight[n + j] * e * e
                else:
                    potential -= w[n + j] * w[last + j]
            if not jacobian:
                energy += weight[n] * potential
            for j in range(n_out):
                if not jacobian:
                    f[last + j] += stress[n + j]
                elif output == 1:
                    f[last + j] += p[j] * (1 - p[j]) * stress[n + j]
                else:
                    f[last + j] += p[j] * (stress[n + j] - dot)
        for i in range(width):
            if gamma[i] > 0:
                energy += 0.5 * gamma[i] * (w[i] - target[i])**2
        if not energy <= limit:
            return t, 3, count, change
        if t > 0 and change < tol:
            return t, 1, count, change
        if t == n_steps:
            return t, 0, count, change
        if count + n > len(events):
            return t, 2, count, change
        # force and step, all from the old state
        for i in range(n):
            if kind[i] == 0:
                for k in range(indptr[i], indptr[i + 1]):
                    f[indices[k]] += entries[k] * stress[i]
            else:
                f[chosen[i]] += gain[i] * stress[i]
        change = 0.0
        for i in range(width):
            if free[i]:
                delta = step_size * (f[i] - gamma[i] * (w[i] - target[i]))
                w[i] += delta
                change = max(change, abs(delta))
    return n_steps, 0, count, change


_advance = njit(cache=True)(_advance_python) if njit is not None else None
