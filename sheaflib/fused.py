"""Compiled training of a chain: one pass over the samples a step, from the output to the input, everything updated in place.

r^ℓ needs a^{ℓ−1}, which a pass from the output downwards has not touched yet. So every force uses old values although z^ℓ and a^ℓ
are overwritten at once, with no second buffer, at any depth. Samples lie innermost and contiguous: block b of the stalks is
(N, L), row = coordinate, and all loops over l run over samples. Lanes beyond the last sample hold zeros and stay zero, because
the bias there acts on `one` = 0.

A row of layer ℓ is one loop: its stress, the force on z and a, its part of the gradients. `None` for an array removes
the terms that use it when numba compiles the call.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sheaflib.affine import Affine
from sheaflib.compiled import OUTPUTS, njit
from sheaflib.descent import DescentStepper
from sheaflib.joint import JointStepper, output_weight, with_weights
from sheaflib.network import INPUT, Network
from sheaflib.objective import loss_scale
from sheaflib.selection import ReLU
from sheaflib.sheaf import NeuralSheaf

FAST = {"reassoc", "contract", "nsz", "arcp"}             # no nnan, no ninf: those let the compiler delete the tests for NaN
LANES, ROUND = 320, 16                                    # samples a block at most; lanes are a multiple of ROUND
MAX_WEIGHTS = 50_000                                      # beyond this BLAS beats loops over rows
HUGE = 1e300

LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
IDENTITY, SIGMOID, SOFTMAX = OUTPUTS.values()

fused = njit(cache=True, fastmath=FAST) if njit is not None else lambda function: function
contracted = njit(cache=True, fastmath={"contract"}) if njit is not None else lambda function: function


def can_fuse(network: Network) -> bool:
    """Whether numba is there and the network is a small chain: dense affine maps with ReLUs (any slope) between them."""
    nodes = network.nodes
    chain = all(node.inputs == (before,) for node, before in zip(nodes, (INPUT, *(n.name for n in nodes))))
    kinds = all(isinstance(node.operation, ReLU if i % 2 else Affine) for i, node in enumerate(nodes))
    if njit is None or not chain or not kinds or len(nodes) % 2 == 0:
        return False
    weights = [node.operation.weight for node in nodes[::2]]
    return all(isinstance(W, np.ndarray) for W in weights) and sum(W.size for W in weights) <= MAX_WEIGHTS


class Chain:
    """The shape of a chain and its weights as one flat array θ = (W¹, b¹, W², b², …)."""

    def __init__(self, network: Network):
        self.network = network
        affine = [node.operation for node in network.nodes[::2]]
        self.dims = np.array([network.n_in, *(a.n_out for a in affine)])
        self.slopes = np.array([node.operation.slope for node in network.nodes[1::2]] + [0.0])
        self.output = OUTPUTS[network.output.name]

    def flat(self, network: Network) -> np.ndarray:
        """θ of a network of this shape."""
        return np.concatenate([part.ravel() for node in network.nodes[::2] for part in (node.operation.weight, node.operation.bias)])

    def unflat(self, theta: np.ndarray) -> Network:
        """The network of this shape with the weights θ."""
        weights, start = {}, 0
        for node, (m, n) in zip(self.network.nodes[::2], pairwise(self.dims)):
            weights[node.name] = (theta[start:start + n * m].reshape(n, m), theta[start + n * m:start + n * m + n])
            start += n * m + n
        return with_weights(self.network, weights)


class Lanes:
    """How a batch of B samples lies in blocks of L lanes."""

    def __init__(self, n_batch: int):
        self.n_batch = n_batch
        self.blocks = -(-n_batch // LANES)
        self.lanes = -(-n_batch // (self.blocks * ROUND)) * ROUND

    def pack(self, w: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """(B, n) -> (blocks, n, L)."""
        padded = np.full((self.blocks * self.lanes, w.shape[1]), fill)
        padded[:self.n_batch] = w
        return np.ascontiguousarray(padded.reshape(self.blocks, self.lanes, -1).transpose(0, 2, 1))

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """(blocks, n, L) -> (B, n)."""
        return np.ascontiguousarray(packed.transpose(0, 2, 1).reshape(self.blocks * self.lanes, -1)[:self.n_batch])

    def data(self, x, y, output: str):
        """x, y and `one`, packed; the empty lanes hold the label that no error is measured against."""
        rest = {"identity": 0.0, "sigmoid": 0.5, "softmax": 1 / y.shape[1]}[output]
        return self.pack(x), self.pack(y, rest), self.pack(np.ones((self.n_batch, 1)))[:, 0].copy()


class FusedJointStepper(JointStepper):
    """The same steps as `JointStepper`, for chains."""

    def __init__(self, sheaf: NeuralSheaf, x, y, w, beta, dt, alpha, pins):
        self.chain, self.place = Chain(sheaf.network), Lanes(len(x))
        self.edge_weights = sheaf.edge_weights
        self.names = [e.name for e in sheaf.edges if e.rows.stop <= sheaf.N] + ["output"]
        self.weight = np.array([*(sheaf.edge_weights[name] for name in self.names[:-1]), output_weight(sheaf)])
        self.data = self.place.data(x, y, sheaf.network.output.name)
        self.springs = (pins.soft_index, pins.gamma, self.place.pack(pins.soft_value))
        self.clamps = (pins.hard_index, self.place.pack(pins.hard_value))
        super().__init__(sheaf, x, y, w, beta, dt, alpha, pins)

    def put(self, sheaf, w):
        self.theta, self.stalks = self.chain.flat(sheaf.network), self.place.pack(self.pins.impose(w))

    def state(self):
        return NeuralSheaf(self.chain.unflat(self.theta), self.edge_weights), self.place.unpack(self.stalks)

    def advance(self, n):
        energies = np.zeros(len(self.names))
        done = joint_steps(self.stalks, *self.data, self.theta, self.chain.dims, self.chain.slopes, self.chain.output, self.weight,
                           *self.springs, *self.clamps, n, self.dt * self.alpha, self.dt * self.beta, self.limit, energies)
        self.step += done
        if done < n:
            self.check(dict(zip(self.names, energies)))


class FusedDescentStepper(DescentStepper):
    """The same steps as `DescentStepper`, for chains."""

    def __init__(self, network: Network, x, y, lr):
        self.chain, self.place = Chain(network), Lanes(len(x))
        self.data = self.place.data(x, y, network.output.name)
        super().__init__(network, x, y, lr)

    def put(self, network):
        self.theta = self.chain.flat(network)

    def state(self):
        return self.chain.unflat(self.theta)

    def advance(self, n):
        scale = loss_scale(self.chain.network.output, *self.y.shape)
        done, energy = descent_steps(*self.data, self.theta, self.chain.dims, self.chain.slopes, self.chain.output, n,
                                     self.lr * scale, self.limit)
        self.step += done
        if done < n:
            self.check(energy)


# kernels ---------------------------------------------------------------------------------------------------------------

@fused
def gather(p, w, b, one, a, n):
    """p = b + Σ_{i<n} w_i a_i, rows of samples: n mod 4 rows of a first, then four at a time."""
    i = n % 4
    a0, a1, a2 = a[0], a[min(1, n - 1)], a[min(2, n - 1)]
    if i == 0:
        for l in range(len(p)):
            p[l] = b * one[l]
    elif i == 1:
        for l in range(len(p)):
            p[l] = b * one[l] + w[0] * a0[l]
    elif i == 2:
        for l in range(len(p)):
            p[l] = b * one[l] + w[0] * a0[l] + w[1] * a1[l]
    else:
        for l in range(len(p)):
            p[l] = b * one[l] + w[0] * a0[l] + w[1] * a1[l] + w[2] * a2[l]
    while i < n:
        w0, w1, w2, w3 = w[i], w[i + 1], w[i + 2], w[i + 3]
        a0, a1, a2, a3 = a[i], a[i + 1], a[i + 2], a[i + 3]
        for l in range(len(p)):
            p[l] += w0 * a0[l] + w1 * a1[l] + w2 * a2[l] + w3 * a3[l]
        i += 4


@fused
def back(q, V, dV, j, r, n, c, a):
    """q = Σ_{1≤i<n} V_ij r_i and dV_ij += c⟨r_i, a⟩ for those i: what the units above but the first send to unit j."""
    i = 1 + (n - 1) % 4
    r1, r2, r3 = r[1], r[min(2, n - 1)], r[min(3, n - 1)]
    v1, v2, v3 = V[1, j], V[min(2, n - 1), j], V[min(3, n - 1), j]
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    if i == 1:
        for l in range(len(q)):
            q[l] = 0.0
    elif i == 2:
        for l in range(len(q)):
            q[l] = v1 * r1[l]
            s1 += r1[l] * a[l]
    elif i == 3:
        for l in range(len(q)):
            q[l] = v1 * r1[l] + v2 * r2[l]
            s1 += r1[l] * a[l]
            s2 += r2[l] * a[l]
        dV[2, j] += c * s2
    else:
        for l in range(len(q)):
            q[l] = v1 * r1[l] + v2 * r2[l] + v3 * r3[l]
            s1 += r1[l] * a[l]
            s2 += r2[l] * a[l]
            s3 += r3[l] * a[l]
        dV[2, j] += c * s2
        dV[3, j] += c * s3
    dV[1, j] += c * s1
    while i < n:
        v0, v1, v2, v3 = V[i, j], V[i + 1, j], V[i + 2, j], V[i + 3, j]
        r0, r1, r2, r3 = r[i], r[i + 1], r[i + 2], r[i + 3]
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        for l in range(len(q)):
            q[l] += v0 * r0[l] + v1 * r1[l] + v2 * r2[l] + v3 * r3[l]
            s0 += r0[l] * a[l]
            s1 += r1[l] * a[l]
            s2 += r2[l] * a[l]
            s3 += r3[l] * a[l]
        dV[i, j] += c * s0
        dV[i + 1, j] += c * s1
        dV[i + 2, j] += c * s2
        dV[i + 3, j] += c * s3
        i += 4


@fused
def dots(d, c, r, x):
    """d_i += c⟨r, x_i⟩."""
    for i in range(len(x)):
        xi, s = x[i], 0.0
        for l in range(len(r)):
            s += r[l] * xi[l]
        d[i] += c * s


@fused
def move(z, a, one, b, p, x0, x1, w0, w1, above, q, out, slope, hc, hs, hv, hq):
    """One hidden unit: r = Wx + b − z, e = m z − a, the steps of z and a; returns its sums Σr, ⟨r, x0⟩, ⟨r, x1⟩, ⟨above, a⟩, r², e².

    Wx + b is in p, or is b + w0 x0 + w1 x1 where p is None. The steps z += hc r − hs m e and a += hs e − hv above − hq q have the
    edge weights in their coefficients; `above` is r of the first unit above, q what `back` sums over the others (None: no others).
    """
    s, s0, s1, sv, rr, ee = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    hm = hs * slope
    for l in range(len(z)):
        zl, al = z[l], a[l]
        on = zl >= 0
        e = (zl if on else slope * zl) - al
        if p is None:
            r = b * one[l] + w0 * x0[l] + w1 * x1[l] - zl
            s0 += r * x0[l]
            s1 += r * x1[l]
        if p is not None:
            r = p[l] - zl
            out[l] = r
        da = hs * e - hv * above[l]
        if q is not None:
            da -= hq * q[l]
        s += r
        sv += above[l] * al
        rr += r * r
        ee += e * e
        z[l] = zl + hc * r - (hs if on else hm) * e
        a[l] = al + da
    return s, s0, s1, sv, rr, ee


@fused
def hidden_rows(z, a, x, one, W, b, dW, db, V, dV, r, out, p, q, slope, c, cs, cv, h, first):
    """All units of a hidden layer: z and a move, dW, db and the layer above's dV gain; returns the energies of its two edges.

    r: rows of the layer above, out: rows for this layer's r. p None: x has two rows, the input. q None: one unit above.
    cv: the weight of the affine edge above. `first`: the layer that reads the input adds its own dW.
    """
    n, m = W.shape
    affine, activation = 0.0, 0.0
    for j in range(n):
        if p is not None:
            gather(p, W[j], b[j], one, x, m)
        if q is not None:
            back(q, V, dV, j, r, len(V), cv, a[j])
        u = move(z[j], a[j], one, b[j], p, x[0], x[m - 1], W[j, 0], W[j, m - 1], r[0], q, out[j], slope, h * c, h * cs, h * cv * V[0, j], h * cv)
        if p is None:
            dW[j, 0] += c * u[1]
            dW[j, 1] += c * u[2]
        elif first:
            dots(dW[j], c, out[j], x)
        db[j] += c * u[0]
        dV[0, j] += cv * u[3]
        affine += 0.5 * c * u[4]
        activation += 0.5 * cs * u[5]
    return affine, activation


@contracted
def exponential(x):
    """eˣ to about 1e-15, without a branch, so that loops over it vectorise (libm's does not, and costs more than a whole layer)."""
    x = min(max(x, -708.0), 708.0)
    k = np.floor(x * LOG2_E + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = 1.0
    for n in range(13, 0, -1):                            # Horner: 1 + r(1 + r/2 (1 + r/3 (…)))
        series = 1.0 + series * r * (1.0 / n)
    return series * np.int64((np.int64(k) + 1023) << 52).view(np.float64)


@fused
def errors(g, z, y, output, top):
    """g = φ(z) − y, rows of outputs; returns Φ, for a sigmoid or softmax within ln 2 or ln n a sample (no logarithm is taken).

    top: room for one row.
    """
    energy = 0.0
    if output == SOFTMAX:
        probabilities(g, z, top)
    for j in range(len(z)):
        zj, yj, gj = z[j], y[j], g[j]
        if output == IDENTITY:
            for l in range(len(top)):
                gj[l] = zj[l] - yj[l]
                energy += 0.5 * gj[l] * gj[l]
        elif output == SIGMOID:
            for l in range(len(top)):
                gj[l] = exponential(-zj[l])
            for l in range(len(top)):
                gj[l] = 1 / (1 + gj[l]) - yj[l]
                energy += max(zj[l], 0.0) - yj[l] * zj[l]
        else:
            for l in range(len(top)):
                gj[l] -= yj[l]
                energy += yj[l] * (top[l] - zj[l])
    return energy


@fused
def probabilities(g, z, top):
    """g = softmax of the rows z; the largest of them is left in `top`."""
    total = np.zeros(len(top))
    for l in range(len(top)):
        top[l] = z[0, l]
    for j in range(1, len(z)):
        zj = z[j]
        for l in range(len(top)):
            top[l] = max(top[l], zj[l])
    for j in range(len(z)):
        zj, gj = z[j], g[j]
        for l in range(len(top)):
            gj[l] = exponential(zj[l] - top[l])
            total[l] += gj[l]
    for j in range(len(z)):
        gj = g[j]
        for l in range(len(top)):
            gj[l] /= total[l]


@fused
def output_rows(z, below, y, one, W, b, db, r, g, p, output, weight, h):
    """The last affine edge and the edge to the label: r = Wa + b − z, the step of z = z^{k+1}; returns their energies."""
    affine = 0.0
    for j in range(len(b)):
        gather(p, W[j], b[j], one, below, W.shape[1])
        zj, rj, total = z[j], r[j], 0.0
        for l in range(len(p)):
            d = p[l] - zj[l]
            affine += d * d
            rj[l] = d
            total += d
        db[j] += weight[-2] * total
    label = errors(g, z, y, output, p)
    for j in range(len(b)):
        zj, rj, gj = z[j], r[j], g[j]
        for l in range(len(p)):
            zj[l] += h * (weight[-2] * rj[l] - weight[-1] * gj[l])
    return 0.5 * weight[-2] * affine, weight[-1] * label


@fused
def step_weights(theta, gradient, step):
    """θ −= step · gradient; returns whether the gradient is made of numbers."""
    fine = True
    for i in range(len(theta)):
        theta[i] -= step * gradient[i]
        fine = fine and abs(gradient[i]) < HUGE
    return fine


@fused
def layer_of(theta, end, n, m):
    """The weight (n, m) and bias (n,) of the layer whose part of θ ends at `end`."""
    return theta[end - n - n * m:end - n].reshape((n, m)), theta[end - n:end]


@fused
def joint_steps(S, X, Y, One, theta, dims, slopes, output, weight, soft, gamma, rest, hard, held, n_steps, h, hb, limit, energies):
    """Up to n_steps Euler steps of the joint flow on stalks S (blocks, N, L) and weights θ, both in place.

    weight: of the edges affine_1, activation_1, …, affine_{k+1}, then of the edge to the label. Returns the steps done: fewer than
    n_steps when the energy before the last of them, whose parts are left in `energies`, was above `limit`.
    """
    layers, lanes = len(dims) - 1, S.shape[2]
    R, g = np.zeros((2, max(dims[1:]), lanes)), np.zeros((dims[layers], lanes))
    p, q, springs = np.zeros(lanes), np.zeros(lanes), np.zeros((len(soft), lanes))
    gradient = np.zeros(len(theta))
    for t in range(n_steps):
        gradient[:] = 0
        energies[:] = 0
        for block in range(len(S)):
            s, x, one = S[block], X[block], One[block]
            for k in range(len(soft)):
                for l in range(lanes):
                    springs[k, l] = gamma[k] * (rest[block, k, l] - s[soft[k], l])
            n, m, end, now = dims[layers], dims[layers - 1], len(theta), 0
            row = len(s) - n
            V, b = layer_of(theta, end, n, m)
            dV, db = layer_of(gradient, end, n, m)
            below = x if layers == 1 else s[row - m:row]
            affine, label = output_rows(s[row:], below, Y[block], one, V, b, db, R[0], g, p, output, weight, h)
            energies[-2] += affine
            energies[-1] += label
            if layers == 1:
                for j in range(n):
                    dots(dV[j], weight[-2], R[0, j], x)
            for layer in range(layers - 1, 0, -1):
                end -= n * m + n
                above, n, m = n, dims[layer], dims[layer - 1]
                row -= 2 * n
                W, b = layer_of(theta, end, n, m)
                dW, db = layer_of(gradient, end, n, m)
                below = x if layer == 1 else s[row - m:row]
                z, a, r, out, first = s[row:row + n], s[row + n:row + 2 * n], R[now], R[1 - now], layer == 1
                slope, c, cs, cv = slopes[layer - 1], weight[2 * layer - 2], weight[2 * layer - 1], weight[2 * layer]
                fast = first and m == 2
                if fast and above == 1:
                    u = hidden_rows(z, a, below, one, W, b, dW, db, V, dV, r, out, None, None, slope, c, cs, cv, h, first)
                elif fast:
                    u = hidden_rows(z, a, below, one, W, b, dW, db, V, dV, r, out, None, q, slope, c, cs, cv, h, first)
                elif above == 1:
                    u = hidden_rows(z, a, below, one, W, b, dW, db, V, dV, r, out, p, None, slope, c, cs, cv, h, first)
                else:
                    u = hidden_rows(z, a, below, one, W, b, dW, db, V, dV, r, out, p, q, slope, c, cs, cv, h, first)
                energies[2 * layer - 2] += u[0]
                energies[2 * layer - 1] += u[1]
                V, dV, now = W, dW, 1 - now
            for k in range(len(soft)):
                for l in range(lanes):
                    s[soft[k], l] += h * springs[k, l]
            for k in range(len(hard)):
                s[hard[k]] = held[block, k]
        if not (step_weights(theta, gradient, hb) and energies.sum() <= limit):
            return t
    return n_steps


@fused
def sensitivity(z, a, x0, x1, above, v, q, out, slope):
    """One hidden unit of the backward substitution, e = m(v·above + q); returns Σe, ⟨e, x0⟩, ⟨e, x1⟩, ⟨above, a⟩.

    Where x0 is None e is left in `out` and the products with x are not taken.
    """
    s, s0, s1, sv = 0.0, 0.0, 0.0, 0.0
    for l in range(len(z)):
        e = v * above[l]
        if q is not None:
            e += q[l]
        e *= 1.0 if z[l] >= 0 else slope
        if x0 is not None:
            s0 += e * x0[l]
            s1 += e * x1[l]
        if x0 is None:
            out[l] = e
        s += e
        sv += above[l] * a[l]
    return s, s0, s1, sv


@fused
def backward_rows(z, a, x0, x1, x, dW, db, V, dV, r, out, q, slope, first):
    """The sensitivities of a hidden layer, from those of the layer above in r into `out`; dW, db and dV gain."""
    for j in range(len(z)):
        if q is not None:
            back(q, V, dV, j, r, len(V), 1.0, a[j])
        u = sensitivity(z[j], a[j], x0, x1, r[0], V[0, j], q, out[j], slope)
        if x0 is not None:
            dW[j, 0] += u[1]
            dW[j, 1] += u[2]
        elif first:
            dots(dW[j], 1.0, out[j], x)
        db[j] += u[0]
        dV[0, j] += u[3]


@fused
def forward_rows(Z, A, x, one, theta, dims, slopes):
    """The forward pass of one block: z into Z, a into A, layer below layer (the last layer's a is not set)."""
    end, row = 0, 0
    for layer in range(1, len(dims)):
        n, m = dims[layer], dims[layer - 1]
        end += n * m + n
        W, b = layer_of(theta, end, n, m)
        below = x if layer == 1 else A[row - m:row]
        for j in range(n):
            z, a = Z[row + j], A[row + j]
            gather(z, W[j], b[j], one, below, m)
            if layer < len(dims) - 1:
                slope = slopes[layer - 1]
                for l in range(len(z)):
                    a[l] = z[l] if z[l] >= 0 else slope * z[l]
        row += n


@fused
def descent_steps(X, Y, One, theta, dims, slopes, output, n_steps, step, limit):
    """Up to n_steps of θ −= step · Σ_i ∂Φ_i/∂θ, θ in place; returns the steps done and the last ΣΦ."""
    layers, lanes = len(dims) - 1, X.shape[2]
    Z, A = np.zeros((dims[1:].sum(), lanes)), np.zeros((dims[1:].sum(), lanes))
    R, q = np.zeros((2, max(dims[1:]), lanes)), np.zeros(lanes)
    gradient, energy = np.zeros(len(theta)), 0.0
    for t in range(n_steps):
        gradient[:] = 0
        energy = 0.0
        for block in range(len(X)):
            x, one = X[block], One[block]
            forward_rows(Z, A, x, one, theta, dims, slopes)
            n, m, end, now = dims[layers], dims[layers - 1], len(theta), 0
            row = len(Z) - n
            V, b = layer_of(theta, end, n, m)
            dV, db = layer_of(gradient, end, n, m)
            energy += errors(R[0], Z[row:], Y[block], output, q)
            for j in range(n):
                db[j] += R[0, j].sum()
                if layers == 1:
                    dots(dV[j], 1.0, R[0, j], x)
            for layer in range(layers - 1, 0, -1):
                end -= n * m + n
                above, n, m = n, dims[layer], dims[layer - 1]
                row -= n
                W, b = layer_of(theta, end, n, m)
                dW, db = layer_of(gradient, end, n, m)
                z, a, r, out, slope, first = Z[row:row + n], A[row:row + n], R[now], R[1 - now], slopes[layer - 1], layer == 1
                fast = first and m == 2
                if fast and above == 1:
                    backward_rows(z, a, x[0], x[1], x, dW, db, V, dV, r, out, None, slope, first)
                elif fast:
                    backward_rows(z, a, x[0], x[1], x, dW, db, V, dV, r, out, q, slope, first)
                elif above == 1:
                    backward_rows(z, a, None, None, x, dW, db, V, dV, r, out, None, slope, first)
                else:
                    backward_rows(z, a, None, None, x, dW, db, V, dV, r, out, q, slope, first)
                V, dV, now = W, dW, 1 - now
        if not (step_weights(theta, gradient, step) and energy <= limit):
            return t, energy
    return n_steps, energy
