"""Compiled training of a chain: one pass over the samples a step, from the output to the input,
everything updated in place.

r^ℓ needs a^{ℓ−1}, which a pass from the output downwards has not touched yet. So every force uses
old values although z^ℓ and a^ℓ are overwritten at once, with no second buffer, at any depth.
Samples lie innermost and contiguous: block b of the stalks is (N, L), row = coordinate, and all
loops over l run over samples. Lanes beyond the last sample hold zeros and stay zero, because the
bias there acts on `one` = 0.

A row of layer ℓ is one loop: its stress, the force on z and a, its part of the gradients. `None`
for an array removes the terms that use it when numba compiles the call.
"""

from math import factorial

import numpy as np

from sheaflib.flow.kernels import OUTPUTS, njit

# no nnan, no ninf: those let the compiler delete the tests for NaN
FAST = {"reassoc", "contract", "nsz", "arcp"}
HUGE = 1e300

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
INVERSE_FACTORIALS = tuple(1 / factorial(n) for n in range(14))
IDENTITY, SIGMOID, SOFTMAX = OUTPUTS.values()

# forceinline: else numba runs one machine code of an inner function where it compiled it and
# another where it read the cache, and the two sum in different orders error_model: else each
# division looks for a zero first, and no loop with a branch in it vectorises
OPTIONS = {"cache": True, "forceinline": True, "error_model": "numpy"}


def compiled_with(fastmath):
    """Return a decorator that compiles a function with these liberties in its arithmetic."""
    return njit(fastmath=fastmath, **OPTIONS) if njit is not None else lambda function: function


fused, contracted = compiled_with(FAST), compiled_with({"contract"})


# kernels: they pass whole arrays and row numbers, since every view s[j] made in a loop costs more
# than the row's arithmetic ----


@contracted
def exponential(x):
    """eˣ to about 1e-15, without a branch, so that loops over it vectorise (libm's does not, and
    costs more than a whole layer).
    """
    x = min(max(x, -708.0), 708.0)
    k = np.floor(x * LOG2_E + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = INVERSE_FACTORIALS[13]
    for n in range(12, -1, -1):
        series = INVERSE_FACTORIALS[n] + r * series
    return series * np.int64((np.int64(k) + 1023) << 52).view(np.float64)


@fused
def gather(p, k, W, j, b, one, a, first, n):
    """p[k] = b_j + Σ_{i<n} W_ji a[first + i]: n mod 4 rows of a first, then four at a time."""
    lanes, i = len(one), n % 4
    if i == 0:
        for l in range(lanes):
            p[k, l] = b[j] * one[l]
    elif i == 1:
        for l in range(lanes):
            p[k, l] = b[j] * one[l] + W[j, 0] * a[first, l]
    elif i == 2:
        for l in range(lanes):
            p[k, l] = b[j] * one[l] + W[j, 0] * a[first, l] + W[j, 1] * a[first + 1, l]
    else:
        for l in range(lanes):
            p[k, l] = (
                b[j] * one[l]
                + W[j, 0] * a[first, l]
                + W[j, 1] * a[first + 1, l]
                + W[j, 2] * a[first + 2, l]
            )
    while i < n:
        w0, w1, w2, w3, at = W[j, i], W[j, i + 1], W[j, i + 2], W[j, i + 3], first + i
        for l in range(lanes):
            p[k, l] += w0 * a[at, l] + w1 * a[at + 1, l] + w2 * a[at + 2, l] + w3 * a[at + 3, l]
        i += 4


@fused
def back(q, V, dV, j, r, c, a, row):
    """q = Σ_{i≥1} V_ij r[i] and dV_ij += c⟨r[i], a[row]⟩ for those i: what the units above but the
    first send to unit j.
    """
    lanes, n = len(q), len(V)
    i = 1 + (n - 1) % 4
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    if i == 1:
        for l in range(lanes):
            q[l] = 0.0
    elif i == 2:
        v1 = V[1, j]
        for l in range(lanes):
            q[l] = v1 * r[1, l]
            s1 += r[1, l] * a[row, l]
        dV[1, j] += c * s1
    elif i == 3:
        v1, v2 = V[1, j], V[2, j]
        for l in range(lanes):
            q[l] = v1 * r[1, l] + v2 * r[2, l]
            s1 += r[1, l] * a[row, l]
            s2 += r[2, l] * a[row, l]
        dV[1, j] += c * s1
        dV[2, j] += c * s2
    else:
        v1, v2, v3 = V[1, j], V[2, j], V[3, j]
        for l in range(lanes):
            q[l] = v1 * r[1, l] + v2 * r[2, l] + v3 * r[3, l]
            s1 += r[1, l] * a[row, l]
            s2 += r[2, l] * a[row, l]
            s3 += r[3, l] * a[row, l]
        dV[1, j] += c * s1
        dV[2, j] += c * s2
        dV[3, j] += c * s3
    while i < n:
        v0, v1, v2, v3 = V[i, j], V[i + 1, j], V[i + 2, j], V[i + 3, j]
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        for l in range(lanes):
            q[l] += v0 * r[i, l] + v1 * r[i + 1, l] + v2 * r[i + 2, l] + v3 * r[i + 3, l]
            s0 += r[i, l] * a[row, l]
            s1 += r[i + 1, l] * a[row, l]
            s2 += r[i + 2, l] * a[row, l]
            s3 += r[i + 3, l] * a[row, l]
        dV[i, j] += c * s0
        dV[i + 1, j] += c * s1
        dV[i + 2, j] += c * s2
        dV[i + 3, j] += c * s3
        i += 4


@fused
def dots(dW, j, c, r, x):
    """dW_ji += c⟨r[j], x[i]⟩."""
    for i in range(len(x)):
        s = 0.0
        for l in range(x.shape[1]):
            s += r[j, l] * x[i, l]
        dW[j, i] += c * s


@fused
def move(s, z, a, one, b, p, x, w0, w1, r, v, q, out, j, slope, shares):
    """One hidden unit, rows z and a of s: e = m z − a and d = Wx + b − z; z += hc d − hs m e, a +=
    hs e − hq (v r[0] + q).

    Wx + b is in p[0], or is b + w0 x[0] + w1 x[1] where p is None. shares: hc, hs and hq, the step
    times the edges' weights; r[0] is d of the first unit above, q what `back` sums over the others
    (None: no others). d is left in out[j] where p is not None. Returns Σd, ⟨d, x[0]⟩, ⟨d, x[1]⟩,
    ⟨r[0], a⟩.
    """
    hc, hs, hq = shares
    total, d0, d1, ra = 0.0, 0.0, 0.0, 0.0
    hm, hv = hs * slope, hq * v
    for l in range(len(one)):
        zl, al = s[z, l], s[a, l]
        on = zl >= 0
        e = (zl if on else slope * zl) - al
        if p is None:
            d = b * one[l] + w0 * x[0, l] + w1 * x[1, l] - zl
            d0 += d * x[0, l]
            d1 += d * x[1, l]
        if p is not None:
            d = p[0, l] - zl
            out[j, l] = d
        change = hs * e - hv * r[0, l]
        if q is not None:
            change -= hq * q[l]
        total += d
        ra += r[0, l] * al
        s[z, l] = zl + hc * d - (hs if on else hm) * e
        s[a, l] = al + change
    return total, d0, d1, ra


@fused
def hidden_rows(rows, maps, r, out, p, q, slope, factors, first):
    """All units of a hidden layer: z and a move, dW, db and the layer above's dV gain.

    rows: the stalks s, the row where the layer's z begin, what it reads, x from the row `below` on,
    and the samples' ones. maps: W, b and their gradients, V of the layer above and its gradient. r:
    rows of the layer above, out: rows for this layer's. p None: x is the input and has two rows. q
    None: one unit above. factors: the weights of the affine edge, of the activation edge and of the
    affine edge above, and the step. `first`: this layer reads the input, and adds its own dW.
    """
    s, row, x, below, one = rows
    W, b, dW, db, V, dV = maps
    c, cs, cv, h = factors
    n, m = W.shape
    for j in range(n):
        z, a = row + j, row + n + j
        if p is not None:
            gather(p, 0, W, j, b, one, x, below, m)
        if q is not None:
            back(q, V, dV, j, r, cv, s, a)
        w0, w1 = W[j, 0], W[j, m - 1]
        shares = (h * c, h * cs, h * cv)
        u = move(s, z, a, one, b[j], p, x, w0, w1, r, V[0, j], q, out, j, slope, shares)
        if p is None:
            dW[j, 0] += c * u[1]
            dW[j, 1] += c * u[2]
        elif first:
            dots(dW, j, c, out, x)
        db[j] += c * u[0]
        dV[0, j] += cv * u[3]


@fused
def errors(g, z, row, y, output, top):
    """g = φ(z) − y, z the rows of an array from `row` on; returns Φ, for a sigmoid or softmax
    within ln 2 or ln n a sample.

    top: room for one row. (Φ without its logarithm is enough to see that training runs away.)
    """
    energy, lanes = 0.0, len(top)
    if output == SOFTMAX:
        probabilities(g, z, row, y, top)
    for j in range(len(y)):
        if output == IDENTITY:
            for l in range(lanes):
                g[j, l] = z[row + j, l] - y[j, l]
                energy += 0.5 * g[j, l] * g[j, l]
        elif output == SIGMOID:
            for l in range(lanes):
                g[j, l] = exponential(-z[row + j, l])
            for l in range(lanes):
                g[j, l] = 1 / (1 + g[j, l]) - y[j, l]
                energy += max(z[row + j, l], 0.0) - y[j, l] * z[row + j, l]
        else:
            for l in range(lanes):
                g[j, l] -= y[j, l]
                energy += y[j, l] * (top[l] - z[row + j, l])
    return energy


@fused
def probabilities(g, z, row, y, top):
    """g = softmax of the rows of z from `row` on; the largest of them is left in `top`."""
    n, lanes = len(y), len(top)
    total = np.zeros(lanes)
    for l in range(lanes):
        top[l] = z[row, l]
    for j in range(1, n):
        for l in range(lanes):
            top[l] = max(top[l], z[row + j, l])
    for j in range(n):
        for l in range(lanes):
            g[j, l] = exponential(z[row + j, l] - top[l])
            total[l] += g[j, l]
    for l in range(lanes):
        total[l] = 1 / total[l]
    for j in range(n):
        for l in range(lanes):
            g[j, l] *= total[l]


@fused
def output_rows(s, row, x, below, y, one, W, b, db, r, g, top, output, weight, h):
    """The last affine edge and the edge to the label: r = Wa + b − z, the step of z = z^{k+1};
    returns their energies.
    """
    affine, lanes = 0.0, len(one)
    for j in range(len(b)):
        gather(r, j, W, j, b, one, x, below, W.shape[1])
        total = 0.0
        for l in range(lanes):
            r[j, l] -= s[row + j, l]
            affine += r[j, l] * r[j, l]
            total += r[j, l]
        db[j] += weight[-2] * total
    label, hc, hl = errors(g, s, row, y, output, top), h * weight[-2], h * weight[-1]
    for j in range(len(b)):
        for l in range(lanes):
            s[row + j, l] += hc * r[j, l] - hl * g[j, l]
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
    return theta[end - n - n * m : end - n].reshape((n, m)), theta[end - n : end]


@fused
def joint_steps(S, data, theta, shape, weight, springs, clamps, n_steps, h, hb, limit, energies):
    """Up to n_steps Euler steps of the joint flow on stalks S (blocks, N, L) and weights θ, both in
    place.

    data: x, y and the samples' ones in blocks. shape: widths, slopes and the output's number.
    springs: their rows, stiffness and ends. clamps: their rows and values. h and hb: the step of
    the stalks and of the weights. weight: of the edges affine_1, activation_1, …, affine_{k+1},
    then of the edge to the label. Returns the steps done: fewer than n_steps when the energy before
    the last of them was above `limit`. Of the energy a lower bound is left in `energies`, for the
    edges affine_1, …, affine_{k+1} and the label's: exact for the last two, from the biases'
    gradients for the others.
    """
    X, Y, One = data
    dims, slopes, output = shape
    soft, gamma, rest = springs
    hard, held = clamps
    layers, lanes = len(dims) - 1, S.shape[2]
    R, g = np.zeros((2, max(dims[1:]), lanes)), np.zeros((dims[layers], lanes))
    p, q, pulls = np.zeros((1, lanes)), np.zeros(lanes), np.zeros((len(soft), lanes))
    gradient, count = np.zeros(len(theta)), One.sum()
    for t in range(n_steps):
        gradient[:] = 0
        energies[:] = 0
        for block in range(len(S)):
            s, x, one = S[block], X[block], One[block]
            for k in range(len(soft)):
                for l in range(lanes):
                    pulls[k, l] = gamma[k] * (rest[block, k, l] - s[soft[k], l])
            n, m, end, now = dims[layers], dims[layers - 1], len(theta), 0
            row = len(s) - n
            V, b = layer_of(theta, end, n, m)
            dV, db = layer_of(gradient, end, n, m)
            read, below = (x, 0) if layers == 1 else (s, row - m)
            affine, label = output_rows(
                s, row, read, below, Y[block], one, V, b, db, R[0], g, q, output, weight, h
            )
            energies[-2] += affine
            energies[-1] += label
            if layers == 1:
                for j in range(n):
                    dots(dV, j, weight[-2], R[0], x)
            for layer in range(layers - 1, 0, -1):
                end -= n * m + n
                above, n, m = n, dims[layer], dims[layer - 1]
                row -= 2 * n
                W, b = layer_of(theta, end, n, m)
                dW, db = layer_of(gradient, end, n, m)
                read, below = (x, 0) if layer == 1 else (s, row - m)
                r, out, first = R[now], R[1 - now], layer == 1
                slope, at = slopes[layer - 1], 2 * layer
                rows, maps = (s, row, read, below, one), (W, b, dW, db, V, dV)
                factors = (weight[at - 2], weight[at - 1], weight[at], h)
                fast = first and m == 2
                if fast and above == 1:
                    hidden_rows(rows, maps, r, out, None, None, slope, factors, first)
                elif fast:
                    hidden_rows(rows, maps, r, out, None, q, slope, factors, first)
                elif above == 1:
                    hidden_rows(rows, maps, r, out, p, None, slope, factors, first)
                else:
                    hidden_rows(rows, maps, r, out, p, q, slope, factors, first)
                V, dV, now = W, dW, 1 - now
            for k in range(len(soft)):
                for l in range(lanes):
                    s[soft[k], l] += h * pulls[k, l]
            for k in range(len(hard)):
                s[hard[k]] = held[block, k]
        end = 0
        for layer in range(1, layers):  # (Σ r)² ≤ n ‖r‖²
            end += dims[layer] * dims[layer - 1] + dims[layer]
            for j in range(end - dims[layer], end):
                energies[layer - 1] += 0.5 * gradient[j] ** 2 / (weight[2 * layer - 2] * count)
        if not (step_weights(theta, gradient, hb) and energies.sum() <= limit):
            return t
    return n_steps


@fused
def sensitivity(Z, A, row, x, fast, r, v, q, out, j, slope):
    """One hidden unit of the backward substitution, e = m(v r[0] + q); returns Σe, ⟨e, x[0]⟩, ⟨e,
    x[1]⟩, ⟨r[0], a⟩.

    Where `fast` is None e is left in out[j] and the products with x are not taken.
    """
    total, e0, e1, ra = 0.0, 0.0, 0.0, 0.0
    for l in range(x.shape[1]):
        e = v * r[0, l]
        if q is not None:
            e += q[l]
        e *= 1.0 if Z[row, l] >= 0 else slope
        if fast is not None:
            e0 += e * x[0, l]
            e1 += e * x[1, l]
        if fast is None:
            out[j, l] = e
        total += e
        ra += r[0, l] * A[row, l]
    return total, e0, e1, ra


@fused
def backward_rows(Z, A, row, x, fast, dW, db, V, dV, r, out, q, slope, first):
    """The sensitivities of a hidden layer, from those of the layer above in r into `out`; dW, db
    and dV gain.
    """
    for j in range(len(db)):
        if q is not None:
            back(q, V, dV, j, r, 1.0, A, row + j)
        u = sensitivity(Z, A, row + j, x, fast, r, V[0, j], q, out, j, slope)
        if fast is not None:
            dW[j, 0] += u[1]
            dW[j, 1] += u[2]
        elif first:
            dots(dW, j, 1.0, out, x)
        db[j] += u[0]
        dV[0, j] += u[3]


@fused
def forward_rows(Z, A, x, one, theta, dims, slopes):
    """The forward pass of one block: z into Z, a into A, layer below layer (the last layer's a is
    not set).
    """
    end, row = 0, 0
    for layer in range(1, len(dims)):
        n, m = dims[layer], dims[layer - 1]
        end += n * m + n
        W, b = layer_of(theta, end, n, m)
        read, below = (x, 0) if layer == 1 else (A, row - m)
        slope, last = slopes[layer - 1], layer == len(dims) - 1
        for j in range(row, row + n):
            if m == 2 and not last:
                b0, w0, w1 = b[j - row], W[j - row, 0], W[j - row, 1]
                for l in range(len(one)):
                    z = b0 * one[l] + w0 * read[below, l] + w1 * read[below + 1, l]
                    Z[j, l] = z
                    A[j, l] = z if z >= 0 else slope * z
            else:
                gather(Z, j, W, j - row, b, one, read, below, m)
                if not last:
                    for l in range(len(one)):
                        A[j, l] = Z[j, l] if Z[j, l] >= 0 else slope * Z[j, l]
        row += n


@fused
def descent_steps(X, Y, One, theta, dims, slopes, output, n_steps, step, limit):
    """Up to n_steps of θ −= step · Σ_i ∂Φ_i/∂θ, θ in place; returns the steps done and the last
    ΣΦ.
    """
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
            energy += errors(R[0], Z, row, Y[block], output, q)
            for j in range(n):
                db[j] += R[0, j].sum()
                if layers == 1:
                    dots(dV, j, 1.0, R[0], x)
            for layer in range(layers - 1, 0, -1):
                end -= n * m + n
                above, n, m = n, dims[layer], dims[layer - 1]
                row -= n
                W, b = layer_of(theta, end, n, m)
                dW, db = layer_of(gradient, end, n, m)
                r, out, slope, first = R[now], R[1 - now], slopes[layer - 1], layer == 1
                fast = first and m == 2
                if fast and above == 1:
                    backward_rows(Z, A, row, x, True, dW, db, V, dV, r, out, None, slope, first)
                elif fast:
                    backward_rows(Z, A, row, x, True, dW, db, V, dV, r, out, q, slope, first)
                elif above == 1:
                    backward_rows(Z, A, row, x, None, dW, db, V, dV, r, out, None, slope, first)
                else:
                    backward_rows(Z, A, row, x, None, dW, db, V, dV, r, out, q, slope, first)
                V, dV, now = W, dW, 1 - now
        if not (step_weights(theta, gradient, step) and energy <= limit):
            return t, energy
    return n_steps, energy
