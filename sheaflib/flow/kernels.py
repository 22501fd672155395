"""The compiled steps: the same arithmetic as `EulerStepper` and `ProxEulerStepper`, one sample at a
time, for any chain or DAG.

The network is flattened to one list of rows (`flat`); what depends on x alone is the constant c.
"""

from __future__ import annotations

import numpy as np
import scipy as sp

from sheaflib.flow.compiled import compiled, njit, output_edge
from sheaflib.flow.corners import corners
from sheaflib.flow.euler import ProxEulerStepper, Stepper, raise_unstable
from sheaflib.flow.flat import LINEAR, PIECES, RELU, SHIFTED, pieces_of, rows_of, steepness_of
from sheaflib.linear.rest import SLACK
from sheaflib.sheaves.neural import NeuralSheaf

OUTPUTS = {"identity": 0, "sigmoid": 1, "softmax": 2}
MAX_ENTRIES = 2_000_000  # beyond this BLAS beats the row-by-row loop
EVENTS = 4096  # room for switches before the engine comes up for air
LAST_STEP, AT_REST, EVENTS_FULL, UNSTABLE, STUCK = 0, 1, 2, 3, 4
WITNESS, CEILING, LARGEST, CONSTANT = 0, 1, 2, 3  # what `_at_rest` remembers of a sample


def can_compile(sheaf: NeuralSheaf) -> bool:
    """Whether numba is there and the network is small enough, with entries to read (no matrix-free
    map).
    """
    weights = [node.operation.weight for node in sheaf.network.affine_nodes]
    foreign = sp.sparse.linalg.LinearOperator
    if njit is None or any(isinstance(weight, foreign) for weight in weights):
        return False
    sizes = [weight.nnz if sp.sparse.issparse(weight) else weight.size for weight in weights]
    return sum(sizes) <= MAX_ENTRIES


class CompiledStepper(Stepper):
    """The same steps as `EulerStepper`, sample by sample in compiled loops."""

    implicit = False  # in the kinked coordinates

    def _prepare(self) -> None:
        sheaf, w, pins = self.sheaf, self.w, self.pins
        kinks = corners(sheaf, w.shape[1])
        self.rows = (*rows_of(sheaf, kinks), *pieces_of(sheaf, kinks))
        self.constant = -sheaf.discrepancy(np.zeros((len(w), sheaf.N)), self.x)
        self.constant[:, self.rows[0] == SHIFTED] = 0.0  # theirs are those of their pieces
        self.unit = np.full(sheaf.N, -1, dtype=np.int64)  # row of Ω -> place in the pattern
        for name in sheaf.pattern_layout.names:
            s = sheaf.pattern_layout[name]
            self.unit[sheaf.layout[name]] = np.arange(s.start, s.stop)
        self.gamma, self.target = np.zeros(w.shape[1]), np.zeros(w.shape)
        self.gamma[pins.soft_index] = pins.gamma
        self.target[:, pins.soft_index] = pins.soft_value
        self.stiffness = np.ascontiguousarray(kinks.stiffness.T)
        self.sizes, self.steepness = np.zeros((len(w), sheaf.N)), np.zeros(w.shape[1])
        self.memory, self.floor = np.zeros((len(w), 4)), np.zeros(len(w))
        if self.by_velocity:
            self._measure()

    def _measure(self) -> None:
        """Prepare what the engine needs to measure how far a sample is from rest."""
        sheaf, w = self.sheaf, self.w
        self.sizes = sheaf.edge_terms(np.zeros((len(w), sheaf.N)), self.x)  # of the terms of c
        self.sizes[:, self.rows[0] == SHIFTED] = 0.0
        self.steepness = steepness_of(sheaf, self.rows, self.gamma)
        self.floor = self.gauge.floor[:, 0]
        self.memory[:, [CEILING, LARGEST]] = np.inf
        shifts = np.abs(self.rows[-1]).max(initial=0.0)
        constants = np.hstack([self.sizes, np.abs(self.target)]).max(axis=1, initial=shifts)
        self.memory[:, CONSTANT] = np.maximum(constants, 1.0 if w.shape[1] > sheaf.N else 0.0)

    def advance(self, n):
        found = [np.zeros((0, 3), dtype=np.int64)]
        for sample in np.flatnonzero(self.active).tolist():
            left = n
            while left:
                done, status, switches = self._run(sample, left)
                found.append(switches)
                left -= done
                if status == UNSTABLE:
                    raise_unstable(self, sample)
                if status in (AT_REST, STUCK):
                    (self.arrived if status == AT_REST else self.stuck)[sample] = True
                    self.settle(sample)
                    break
        switches = np.concatenate(found)
        return switches[np.lexsort((switches[:, 2], switches[:, 1], switches[:, 0]))]

    def _run(self, sample: int, n: int) -> tuple[int, int, np.ndarray]:
        """Up to n steps of one sample: steps done, why the engine returned, switches."""
        sheaf, events = self.sheaf, np.zeros((EVENTS + self.sheaf.N, 2), dtype=np.int64)
        last = sheaf.layout[sheaf.network.output_name].start
        output = OUTPUTS[sheaf.network.output.name] if self.w.shape[1] > sheaf.N else 0
        done, status, count, self.change[sample] = _advance(
            self.w[sample],
            self.constant[sample],
            *self.rows,
            sheaf.row_weights,
            last,
            output,
            self.output_force == "jacobian",
            self.pins.free,
            self.gamma,
            self.target[sample],
            self.dt * self.alpha,
            n,
            self.tol,
            self.limit[sample],
            events,
            self.implicit,
            self.stiffness,
            self.by_velocity,
            self.bar,
            self.floor[sample],
            self.sizes[sample],
            self.steepness,
            self.memory[sample],
        )
        step, row = events[:count].T
        switches = np.stack(
            [self.steps[sample] + step, np.full(count, sample), self.unit[row]], axis=1
        )
        self.steps[sample] += done
        return done, status, switches


class CompiledProxStepper(CompiledStepper):
    """The same steps as `ProxEulerStepper`, sample by sample in compiled loops."""

    name, implicit, holds_corners = ProxEulerStepper.name, True, True


STEPPERS = {"euler": CompiledStepper, "prox-euler": CompiledProxStepper}


@compiled
def _advance(
    w,
    c,
    kind,
    indptr,
    indices,
    entries,
    breaks,
    side,
    slope,
    constant,
    weight,
    last,
    output,
    jacobian,
    free,
    gamma,
    target,
    step_size,
    n_steps,
    tol,
    limit,
    events,
    implicit,
    stiffness,
    by_velocity,
    bar,
    floor,
    sizes,
    steepness,
    memory,
):
    """Up to n_steps steps of one sample, w (width,) in place, `implicit` in the kinks or not:
    Euler, prox-Euler.

    Returns steps done, status, number of events, max|Δ|. A sample that begins at rest never comes
    here.
    """
    n, width = len(c), len(w)
    stress, f, p = np.empty(width), np.empty(width), np.empty(width - n)
    gain, shift = np.empty(n), np.zeros(n)
    chosen, pattern = np.empty(n, np.int64), np.empty(n, np.int64)
    pull = np.zeros((width, breaks.shape[1] + 1))
    below = slope[:, 0].copy()  # of ReLUs
    count, change, moved = 0, np.inf, True
    at_zero = implicit and _all_at_zero(breaks)
    for t in range(n_steps + 1):
        seen = count
        count = _select(
            w,
            kind,
            indptr,
            indices,
            breaks,
            side,
            slope,
            below,
            constant,
            gain,
            shift,
            chosen,
            pattern,
            t,
            events,
            count,
        )
        energy = _stress(
            w,
            c,
            kind,
            indptr,
            indices,
            entries,
            gain,
            shift,
            chosen,
            weight,
            gamma,
            target,
            stress,
            f,
        )
        if output > 0:
            energy += output_edge(w, n, last, output, jacobian, weight, p, stress, f)
        if not energy <= limit:
            return t, UNSTABLE, count, change
        if not by_velocity and t > 0 and change < tol:
            return t, AT_REST, count, change
        if t == n_steps and not by_velocity:
            return t, LAST_STEP, count, change
        _pull(kind, indptr, indices, entries, gain, chosen, stress, f, implicit)
        if implicit:
            _kink_pull(w, kind, slope, below, constant, chosen, weight, pull)
        if by_velocity and t > 0:
            _follow(memory, change, count > seen, bar, steepness)
            witness = int(memory[WITNESS])
            excess = _excess(witness, w, f, gamma, target, pull, stiffness, breaks, implicit)
            if (
                not excess > max(memory[CEILING], floor)
                and _unrest(
                    w,
                    kind,
                    indptr,
                    indices,
                    entries,
                    breaks,
                    slope,
                    gain,
                    shift,
                    chosen,
                    weight,
                    last,
                    output,
                    p,
                    free,
                    gamma,
                    target,
                    f,
                    pull,
                    stiffness,
                    implicit,
                    bar,
                    floor,
                    sizes,
                    memory,
                )
                <= bar
            ):
                return t, AT_REST, count, change
            if not moved:
                return t, STUCK, count, change
        if t == n_steps:
            return t, LAST_STEP, count, change
        if count + n > len(events):
            return t, EVENTS_FULL, count, change
        change, moved = 0.0, False
        for i in range(width):
            if free[i]:
                before = w[i]
                delta = step_size * (f[i] - gamma[i] * (before - target[i]))
                if at_zero and breaks[i, 0] < np.inf:
                    there = _prox_at_zero(
                        before,
                        before + delta,
                        step_size,
                        pull[i, 0],
                        pull[i, 1],
                        stiffness[i, 0],
                        stiffness[i, 1],
                    )
                    delta = there - before
                elif implicit and _kinked(breaks, i):
                    free_z = before + delta
                    delta = _prox(before, free_z, step_size, pull, stiffness, breaks, i) - before
                w[i] = before + delta
                moved |= w[i] != before
                change = max(change, abs(delta))
    return n_steps, LAST_STEP, count, change


@compiled
def _kinked(breaks, i):
    """Whether a coordinate has a break."""
    return breaks.shape[1] > 0 and breaks[i, 0] < np.inf


@compiled
def _all_at_zero(breaks):
    """Whether no coordinate has another break than 0."""
    if breaks.shape[1] != 1:
        return False
    for i in range(len(breaks)):
        if breaks[i, 0] != 0 and breaks[i, 0] < np.inf:
            return False
    return True


@compiled
def _piece(w, breaks, i):
    """On which piece a coordinate is."""
    if breaks.shape[1] == 1:  # as in networks of ReLUs alone
        return 1 if w[i] >= breaks[i, 0] else 0
    piece = 0
    for k in range(breaks.shape[1]):
        if w[i] >= breaks[i, k]:
            piece = k + 1
    return piece


@compiled
def _select(
    w,
    kind,
    indptr,
    indices,
    breaks,
    side,
    slope,
    below,
    adds,
    gain,
    shift,
    chosen,
    pattern,
    t,
    events,
    count,
):
    """The pattern of the state: the coordinate each selection row reads, its gain and what it adds;
    switches since the last are events.
    """
    for i in range(len(kind)):
        if kind[i] == LINEAR:
            continue
        start, new = indptr[i], 0
        if kind[i] == RELU:
            new = 1 if w[indices[start]] >= 0 else 0
            chosen[i], gain[i] = indices[start], 1.0 if new == 1 else below[i]
        elif kind[i] >= PIECES:
            chosen[i] = indices[start]
            piece = _piece(w, breaks, chosen[i])
            new, gain[i], shift[i] = side[i, piece], slope[i, piece], adds[i, piece]
        else:
            for k in range(start + 1, indptr[i + 1]):
                if w[indices[k]] > w[indices[start + new]]:
                    new = k - start
            chosen[i], gain[i] = indices[start + new], 1.0
        if t > 0 and new != pattern[i]:
            events[count, 0], events[count, 1] = t, i
            count += 1
        pattern[i] = new
    return count


@compiled
def _stress(
    w, c, kind, indptr, indices, entries, gain, shift, chosen, weight, gamma, target, stress, f
):
    """stress = w_e (w − F(w)) row by row, f = −stress; returns the energy, penalty edges
    included.
    """
    energy = 0.0
    for i in range(len(c)):
        value = c[i]
        if kind[i] == LINEAR:
            for k in range(indptr[i], indptr[i + 1]):
                value += entries[k] * w[indices[k]]
        else:
            value += gain[i] * w[chosen[i]]
            if kind[i] == SHIFTED:
                value += shift[i]
        stress[i] = weight[i] * (w[i] - value)
        f[i] = -stress[i]
        energy += 0.5 * stress[i] * (w[i] - value)
    for i in range(len(w)):
        if gamma[i] > 0:
            energy += 0.5 * gamma[i] * (w[i] - target[i]) ** 2
    return energy


@compiled
def _pull(kind, indptr, indices, entries, gain, chosen, stress, f, implicit):
    """Add to f what every row does to the coordinates it reads: f = −δᵀ stress; with `implicit`,
    every row but the ReLUs and clamps.
    """
    for i in range(len(kind)):
        if kind[i] == LINEAR:
            for k in range(indptr[i], indptr[i + 1]):
                f[indices[k]] += entries[k] * stress[i]
        elif not (implicit and kind[i] >= PIECES):
            f[chosen[i]] += gain[i] * stress[i]


@compiled
def _kink_pull(w, kind, slope, below, constant, chosen, weight, pull):
    """pull (width, K + 1): `Corners.pull` of one sample."""
    pull[:] = 0.0
    for i in range(len(kind)):
        if kind[i] == RELU:
            pull[chosen[i], 0] += below[i] * weight[i] * w[i]
            pull[chosen[i], 1] += weight[i] * w[i]
        elif kind[i] >= PIECES:
            for k in range(pull.shape[1]):
                pull[chosen[i], k] += slope[i, k] * weight[i] * (w[i] - constant[i, k])


@compiled
def _least(free, h, pull, stiffness, breaks, i, k):
    """The minimum of `corners.prox` on piece k of one coordinate, and beyond which end it would
    lie: −1, 0 or 1.
    """
    least = (free + h * pull[i, k]) / (1 + h * stiffness[i, k])
    if k > 0 and least <= breaks[i, k - 1]:
        return breaks[i, k - 1], -1
    if k < breaks.shape[1] and least >= breaks[i, k]:
        return breaks[i, k], 1
    return least, 0


@compiled
def _prox_at_zero(z, free, h, pull_minus, pull_plus, stiff_minus, stiff_plus):
    """`corners.prox` for one coordinate whose only break is 0, as those have that ReLUs read."""
    minus = min((free + h * pull_minus) / (1 + h * stiff_minus), 0.0)
    plus = max((free + h * pull_plus) / (1 + h * stiff_plus), 0.0)
    if z >= 0:
        return plus if plus != 0 else minus
    return minus if minus != 0 else plus


@compiled
def _prox(z, free, h, pull, stiffness, breaks, i):
    """`corners.prox` for one coordinate."""
    piece = 0
    for k in range(breaks.shape[1]):
        if z >= breaks[i, k]:
            piece = k + 1
    found, way = _least(free, h, pull, stiffness, breaks, i, piece)
    beyond = way
    while way != 0 and beyond == way:
        piece += way
        found, beyond = _least(free, h, pull, stiffness, breaks, i, piece)
    return found


@compiled
def _follow(memory, change, switched, bar, steepness):
    """Keep the ceiling of bar·T of the witness and the bound of the largest coordinate valid after
    a step of size `change`.
    """
    steep = bar * steepness[int(memory[WITNESS])]
    memory[LARGEST] += change
    if switched:
        memory[CEILING] = SLACK * steep * memory[LARGEST]
    else:
        memory[CEILING] += steep * change


@compiled
def _excess(i, w, f, gamma, target, pull, stiffness, breaks, implicit):
    """|∂V/∂w_i|, from f without the ReLUs and clamps where `implicit`; where a kink is held, by how
    much a side does not push back.
    """
    g = f[i] - gamma[i] * (w[i] - target[i])
    if not (implicit and _kinked(breaks, i)):
        return abs(g)
    k = _piece(w, breaks, i)
    own = g + pull[i, k] - stiffness[i, k] * w[i]
    if k > 0 and w[i] == breaks[i, k - 1]:
        return max(own, -(g + pull[i, k - 1] - stiffness[i, k - 1] * w[i]))
    return abs(own)


@compiled
def _ratio(size, terms, floor):
    """`rest.relative` for one coordinate."""
    if not terms < np.inf:
        return np.inf
    if size <= floor:
        return 0.0
    return size / terms if size < np.inf and terms > 0 else np.inf


@compiled
def _unrest(
    w,
    kind,
    indptr,
    indices,
    entries,
    breaks,
    slope,
    gain,
    shift,
    chosen,
    weight,
    last,
    output,
    p,
    free,
    gamma,
    target,
    f,
    pull,
    stiffness,
    implicit,
    bar,
    floor,
    sizes,
    memory,
):
    """The largest |∂V/∂w_i|/T_i, and in the memory its coordinate, the witness, with a ceiling of
    bar·T there (in place).
    """
    n, width = len(kind), len(w)
    edge, terms = np.empty(width), np.empty(width)
    reads = np.zeros((width, breaks.shape[1] + 1))
    for i in range(n):
        value = abs(w[i]) + sizes[i]
        if kind[i] == LINEAR:
            for k in range(indptr[i], indptr[i + 1]):
                value += abs(entries[k] * w[indices[k]])
        else:
            value += abs(gain[i] * w[chosen[i]])
        if kind[i] == SHIFTED:
            value += abs(shift[i])
        edge[i] = weight[i] * value
        terms[i] = edge[i]
    for i in range(n):
        if kind[i] == LINEAR:
            for k in range(indptr[i], indptr[i + 1]):
                terms[indices[k]] += abs(entries[k]) * edge[i]
        elif kind[i] >= PIECES:
            for k in range(reads.shape[1]):
                reads[chosen[i], k] += abs(slope[i, k]) * edge[i]
        else:
            terms[chosen[i]] += edge[i]
    if output > 0:
        total = 0.0
        for j in range(len(p)):
            terms[n + j] = weight[n + j] * (abs(w[n + j]) + abs(p[j]))
            total += terms[n + j]
        for j in range(len(p)):
            terms[last + j] += total
    largest, unrest, witness, ceiling = memory[CONSTANT], -1.0, 0, np.inf
    for i in range(width):
        largest = max(largest, abs(w[i]))
        if not free[i]:
            continue
        own = terms[i] + gamma[i] * (abs(w[i]) + abs(target[i]))
        k = _piece(w, breaks, i)
        top = own + reads[i, k]
        if implicit and k > 0 and w[i] == breaks[i, k - 1]:
            g, below = f[i] - gamma[i] * (w[i] - target[i]), own + reads[i, k - 1]
            upward = g + pull[i, k] - stiffness[i, k] * w[i]
            downward = g + pull[i, k - 1] - stiffness[i, k - 1] * w[i]
            here = max(
                _ratio(max(upward, 0.0), top, floor), _ratio(max(-downward, 0.0), below, floor)
            )
            top = max(top, below)
        else:
            excess = _excess(i, w, f, gamma, target, pull, stiffness, breaks, implicit)
            here = _ratio(excess, top, floor)
        if here > unrest:
            unrest, witness, ceiling = here, i, bar * SLACK * top
    memory[WITNESS], memory[CEILING], memory[LARGEST] = witness, ceiling, largest
    return unrest
