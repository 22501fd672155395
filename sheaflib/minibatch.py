"""Compiled mini-batch training of a chain by circuit currents: forward, current sweep, Ohm's law, one step of an optimiser (derived).

θ is flat, (W¹, b¹, W², b², …); activations are (layer, coordinate, sample), samples innermost, so that every loop over s is one of
vector instructions. With the rule "backprop" the sweep starts with the error itself: the same loops, the short circuit ρ = 0. The edge
to the label has weight 1, all others `stiffness`.
"""

from __future__ import annotations

import numpy as np

from sheaflib.checks import batch, positive, real_array
from sheaflib.fused import IDENTITY, SIGMOID, Chain, can_fuse, fused
from sheaflib.network import INPUT, Network
from sheaflib.objective import check_labels

BACKPROP, CIRCUIT = 0, 1
RULES = {"backprop": BACKPROP, "circuit": CIRCUIT}
OPTIMISERS = ("adam", "sgd")
TINY = 1e-8            # Adam's ε


class MiniBatches:
    """A chain in training: `advance` takes updates, `network` is the present one. Rule "circuit" with κ as in `Currents.gradient`.

    Every update averages over its batch. decay: θ loses lr · decay · θ at each update, biases too (decoupled weight decay).
    Raises ValueError for a network that is no small chain, an unknown rule or optimiser, and labels that do not fit.

    >>> line = MiniBatches(Network.mlp([[[0.0]]]), [[1.0]], [[2.0]], rule="backprop", optimiser="sgd")
    >>> line.advance([[0]], [0.5])
    >>> line.network.nodes[0].operation.weight
    array([[1.]])
    """

    def __init__(self, network: Network, x, y, *, rule: str = "circuit", kappa: float = 0.0, stiffness: float = 1.0, optimiser: str = "adam",
                 beta1: float = 0.9, beta2: float = 0.99, decay: float = 0.0):
        if not can_fuse(network):
            raise ValueError(f"network is {network!r}, expected a chain of dense affine maps and ReLUs with at most 50 000 weights, and numba")
        if rule not in RULES or optimiser not in OPTIMISERS:
            raise ValueError(f"rule={rule!r}, optimiser={optimiser!r}, expected one of {', '.join(RULES)} and one of {', '.join(OPTIMISERS)}")
        if any(node.operation.slope for node in network.nodes[1::2]):
            raise ValueError("network has leaky ReLUs, expected slope 0")
        if rule == "backprop" and kappa:
            raise ValueError(f"kappa={kappa:g} with rule='backprop', expected 0: nothing is relaxed")
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{name}={beta:g}, expected a number in [0, 1)")
        self.x = np.ascontiguousarray(batch(INPUT, x, network.n_in))
        self.y = np.ascontiguousarray(check_labels(network.output, y, network.n_out, len(self.x)))
        self.chain, self.updates = Chain(network), 0
        self.theta = self.chain.flat(network)
        self.moments = np.zeros((2, len(self.theta)))
        self.rule, self.adam = RULES[rule], optimiser == "adam"
        self.kappa, self.stiffness = float(real_array("kappa", kappa, ())), positive("stiffness", stiffness)
        self.decay, self.betas = positive("decay", decay, zero=True), (float(beta1), float(beta2))

    @property
    def network(self) -> Network:
        """The network with the present weights."""
        return self.chain.unflat(self.theta.copy())

    def advance(self, order, lr) -> None:
        """Take len(order) updates: order (updates, batch) holds sample numbers, lr (updates,) the learning rates."""
        order, lr = np.ascontiguousarray(order, dtype=np.int64), np.ascontiguousarray(real_array("lr", lr))
        if order.ndim != 2 or lr.shape != (len(order),):
            raise ValueError(f"order has shape {order.shape} and lr {lr.shape}, expected (updates, batch) and (updates,)")
        if order.size and not 0 <= order.min() <= order.max() < len(self.x):
            raise ValueError(f"order names samples {order.min()} to {order.max()}, expected 0 to {len(self.x) - 1}")
        steps(self.theta, *self.moments, self.chain.dims, self.chain.output, self.x, self.y, order, lr, self.rule, self.kappa, self.stiffness,
              self.adam, *self.betas, self.decay, self.updates)
        self.updates += len(order)


@fused
def forward(theta, dims, a, z, size):
    """z[l], a[l] of a batch whose input is a[0]; a and z are (layers + 1, widest, batch)."""
    at, last = 0, len(dims) - 1
    for l in range(1, last + 1):
        n, m = dims[l - 1], dims[l]
        for j in range(m):
            bias = theta[at + m * n + j]
            for s in range(size):
                z[l, j, s] = bias
            for i in range(n):
                weight = theta[at + j * n + i]
                for s in range(size):
                    z[l, j, s] += weight * a[l - 1, i, s]
            if l < last:
                for s in range(size):
                    a[l, j, s] = max(z[l, j, s], 0.0)
        at += m * n + m


@fused
def sweep_down(theta, dims, z, g, up, size):
    """From g[last]: the current on every affine edge, g[l] (width, batch), and on every activation edge, up[l]."""
    last, at = len(dims) - 1, len(theta)
    for l in range(last, 1, -1):
        n, m = dims[l - 1], dims[l]
        at -= m * n + m
        for i in range(n):
            for s in range(size):
                up[l - 1, i, s] = 0.0
        for j in range(m):
            for i in range(n):
                weight = theta[at + j * n + i]
                for s in range(size):
                    up[l - 1, i, s] += weight * g[l, j, s]
        for i in range(n):
            for s in range(size):
                g[l - 1, i, s] = up[l - 1, i, s] if z[l - 1, i, s] >= 0 else 0.0


@fused
def resistance(dims, g, up, rho, size):
    """Σ_e |g_e|² of every sample, edges of weight 1."""
    last = len(dims) - 1
    for s in range(size):
        rho[s] = 0.0
    for l in range(1, last + 1):
        for j in range(dims[l]):
            for s in range(size):
                rho[s] += g[l, j, s] ** 2
            if l < last:
                for s in range(size):
                    rho[s] += up[l, j, s] ** 2


@fused
def relax_up(theta, dims, a, z, g, up, b, kappa, stiff, size):
    """b[l] = a + κ(a* − a), a* the relaxed stalk: a* = m ⊙ z* − (current)/w, z* = W a* + b − (current)/w; deviations alone are swept."""
    last, at = len(dims) - 1, 0
    for i in range(dims[0]):
        for s in range(size):
            b[0, i, s] = 0.0
    for l in range(1, last):
        n, m = dims[l - 1], dims[l]
        for j in range(m):
            for s in range(size):
                b[l, j, s] = g[l, j, s] / stiff
            for i in range(n):
                weight = theta[at + j * n + i]
                for s in range(size):
                    b[l, j, s] += weight * b[l - 1, i, s]
            for s in range(size):
                b[l, j, s] = (b[l, j, s] if z[l, j, s] >= 0 else 0.0) + up[l, j, s] / stiff
        at += m * n + m
    for l in range(last):
        for i in range(dims[l]):
            for s in range(size):
                b[l, i, s] = a[l, i, s] + kappa * b[l, i, s]


@fused
def pull_of(output, z, y, rho, c, size, width):
    """c = −∇Φ(ŷ + ρ c) for one output, sample by sample; with ρ = 0, y − φ(ŷ), for any number of outputs."""
    for s in range(size):
        if output == IDENTITY:
            for j in range(width):
                c[j, s] = (y[j, s] - z[j, s]) / (1.0 + rho[s])
        elif output == SIGMOID:
            for j in range(width):
                v, low, high = z[j, s], z[j, s] - rho[s], z[j, s] + rho[s]
                for _ in range(100):                       # v = ŷ − ρ(φ(v) − y) has one root, inside the bracket
                    p = 1.0 / (1.0 + np.exp(-v))
                    gap = v - z[j, s] + rho[s] * (p - y[j, s])
                    if gap > 0:
                        high = v
                    else:
                        low = v
                    new = v - gap / (1.0 + rho[s] * p * (1.0 - p))
                    if not low < new < high:
                        new = 0.5 * (low + high)
                    if abs(new - v) <= 1e-14 * (1.0 + abs(v)):
                        v = new
                        break
                    v = new
                c[j, s] = y[j, s] - 1.0 / (1.0 + np.exp(-v))
        else:
            top = z[0, s]
            for j in range(1, width):
                top = max(top, z[j, s])
            total = 0.0
            for j in range(width):
                c[j, s] = np.exp(z[j, s] - top)
                total += c[j, s]
            for j in range(width):
                c[j, s] = y[j, s] - c[j, s] / total


@fused
def objective(z, y, rho, c, v, s, m):
    """½ cᵀρc + Φ(ŷ + ρc) of sample s for a softmax; v is what it works in."""
    top, total, value = -1e300, 0.0, 0.0
    for j in range(m):
        shift = 0.0
        for k in range(m):
            shift += rho[j, k, s] * c[k]
        v[j] = z[j, s] + shift
        value += 0.5 * c[j] * shift - y[j, s] * v[j]
        top = max(top, v[j])
    for j in range(m):
        total += np.exp(v[j] - top)
    return value + top + np.log(total)


@fused
def ohm_softmax(z, y, rho, c, size, m):
    """c = −∇Φ(ŷ + ρc) of every sample, ρ (m, m, size): Newton's method on `objective`, with halvings."""
    v, p, now, move, trial = np.empty(m), np.empty(m), np.zeros(m), np.empty(m), np.empty(m)
    A = np.empty((m, m))
    for s in range(size):
        now[:] = 0.0
        value = objective(z, y, rho, now, v, s, m)
        for _ in range(50):
            top, total = v.max(), 0.0
            for j in range(m):
                p[j] = np.exp(v[j] - top)
                total += p[j]
            worst = 0.0
            for j in range(m):
                p[j] /= total
                move[j] = y[j, s] - p[j] - now[j]
                worst = max(worst, abs(move[j]))
            if worst < 1e-13:
                break
            for j in range(m):                             # (I + Jρ) move = −(c + ∇Φ)
                for k in range(m):
                    mean = 0.0
                    for i in range(m):
                        mean += p[i] * rho[i, k, s]
                    A[j, k] = p[j] * (rho[j, k, s] - mean) + (1.0 if j == k else 0.0)
            eliminate(A, move, m)
            slope = 0.0                                    # ⟨ρ(c + ∇Φ), move⟩
            for j in range(m):
                lift = 0.0
                for k in range(m):
                    lift += rho[j, k, s] * (now[k] + p[k] - y[k, s])
                slope += lift * move[j]
            t = 1.0
            for _ in range(40):
                for j in range(m):
                    trial[j] = now[j] + t * move[j]
                new = objective(z, y, rho, trial, v, s, m)
                if new <= value + 1e-4 * t * slope + 1e-15 * (1.0 + abs(value)):
                    break
                t *= 0.5
            value = new
            now[:] = trial
        for j in range(m):
            c[j, s] = y[j, s] - p[j]


@fused
def eliminate(A, right, m):
    """Solve A x = right in place of right, by elimination with partial pivoting; A is used up."""
    for k in range(m):
        pivot = k
        for i in range(k + 1, m):
            if abs(A[i, k]) > abs(A[pivot, k]):
                pivot = i
        if pivot != k:
            for j in range(m):
                A[k, j], A[pivot, j] = A[pivot, j], A[k, j]
            right[k], right[pivot] = right[pivot], right[k]
        for i in range(k + 1, m):
            factor = A[i, k] / A[k, k]
            for j in range(k, m):
                A[i, j] -= factor * A[k, j]
            right[i] -= factor * right[k]
    for k in range(m - 1, -1, -1):
        for j in range(k + 1, m):
            right[k] -= A[k, j] * right[j]
        right[k] /= A[k, k]


@fused
def steps(theta, moment, square, dims, output, x, y, order, lr, rule, kappa, stiff, adam, beta1, beta2, decay, first):
    """Take len(order) updates in place; order (updates, batch) names the samples, lr (updates,); `first` counts updates before these."""
    size, last, widest = order.shape[1], len(dims) - 1, dims.max()
    a, z = np.zeros((last + 1, widest, size)), np.zeros((last + 1, widest, size))
    g, up, b = np.zeros((last + 1, widest, size)), np.zeros((last + 1, widest, size)), np.zeros((last + 1, widest, size))
    target, c, rho = np.empty((dims[last], size)), np.empty((dims[last], size)), np.zeros(size)
    many = dims[last] if rule == CIRCUIT and dims[last] > 1 else 0
    unit_g, unit_up = np.zeros((many, last + 1, widest, size)), np.zeros((many, last + 1, widest, size))
    table = np.zeros((many, many, size))
    for step in range(len(order)):
        for s in range(size):
            for i in range(dims[0]):
                a[0, i, s] = x[order[step, s], i]
            for j in range(dims[last]):
                target[j, s] = y[order[step, s], j]
        forward(theta, dims, a, z, size)
        if rule == CIRCUIT and dims[last] == 1:
            for s in range(size):
                g[last, 0, s] = 1.0
            sweep_down(theta, dims, z, g, up, size)
            resistance(dims, g, up, rho, size)
            for s in range(size):
                rho[s] /= stiff
            pull_of(output, z[last], target, rho, c, size, 1)
            for l in range(1, last + 1):
                for j in range(dims[l]):
                    for s in range(size):
                        g[l, j, s] *= c[0, s]
                        up[l, j, s] *= c[0, s]
        elif many:
            for k in range(many):
                for j in range(many):
                    for s in range(size):
                        unit_g[k, last, j, s] = 1.0 if j == k else 0.0
                sweep_down(theta, dims, z, unit_g[k], unit_up[k], size)
            for k in range(many):
                for j in range(k + 1):
                    for s in range(size):
                        table[k, j, s] = 0.0
                    for l in range(1, last + 1):
                        for i in range(dims[l]):
                            for s in range(size):
                                table[k, j, s] += unit_g[k, l, i, s] * unit_g[j, l, i, s]
                            if l < last:
                                for s in range(size):
                                    table[k, j, s] += unit_up[k, l, i, s] * unit_up[j, l, i, s]
                    for s in range(size):
                        table[k, j, s] /= stiff
                        table[j, k, s] = table[k, j, s]
            ohm_softmax(z[last], target, table, c, size, many)
            for l in range(1, last + 1):
                for i in range(dims[l]):
                    for s in range(size):
                        g[l, i, s] = 0.0
                        up[l, i, s] = 0.0
                    for k in range(many):
                        for s in range(size):
                            g[l, i, s] += unit_g[k, l, i, s] * c[k, s]
                            up[l, i, s] += unit_up[k, l, i, s] * c[k, s]
        else:
            for s in range(size):
                rho[s] = 0.0
            pull_of(output, z[last], target, rho, c, size, dims[last])
            for j in range(dims[last]):
                for s in range(size):
                    g[last, j, s] = c[j, s]
            sweep_down(theta, dims, z, g, up, size)
        if kappa != 0.0:
            relax_up(theta, dims, a, z, g, up, b, kappa, stiff, size)
        at = 0
        now = first + step + 1
        grow1, grow2 = 1.0 - beta1**now, 1.0 - beta2**now
        for l in range(1, last + 1):
            n, m = dims[l - 1], dims[l]
            for j in range(m):
                for i in range(n + 1):
                    total = 0.0
                    if i == n:
                        for s in range(size):
                            total += g[l, j, s]
                    elif kappa != 0.0:
                        for s in range(size):
                            total += g[l, j, s] * b[l - 1, i, s]
                    else:
                        for s in range(size):
                            total += g[l, j, s] * a[l - 1, i, s]
                    total /= size
                    k = at + j * n + i if i < n else at + m * n + j
                    if adam:
                        moment[k] = beta1 * moment[k] + (1.0 - beta1) * total
                        square[k] = beta2 * square[k] + (1.0 - beta2) * total * total
                        change = moment[k] / grow1 / (np.sqrt(square[k] / grow2) + TINY)
                    else:
                        change = total
                    theta[k] += lr[step] * (change - decay * theta[k])
            at += m * n + m
