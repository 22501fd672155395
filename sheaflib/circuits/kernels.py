"""Compiled mini-batch updates of a chain by the currents of training's sheaf: forward, current
sweep, Ohm's law, optimiser (derived).

θ is flat, (W¹, b¹, W², b², …); activations are (layer, coordinate, sample), samples innermost, so
that every loop over s is one of vector instructions. Every rule runs the same loops. With BACKPROP
the sweep carries the error itself: the short circuit ρ = 0. The edge to the label has weight 1.

Ohm's law c = y − φ(ŷ + ρ c) is stationarity of ½ cᵀρc + Φ(ŷ + ρc), solved by Newton's method. Along
a step g(t) has |g‴| ≤ δ g″, δ the largest move of a logit, for a softmax the largest between two;
so g′ stays ≤ 0 up to t = ln(1 + δ)/δ, and a step of that length needs no line search. Only far from
the solution, δ > `FAR`, is one made.
"""

import numpy as np

from sheaflib.training.kernels import IDENTITY, SIGMOID, exponential, fused

BACKPROP, EXACT, RAYLEIGH, PROX = range(4)
SGD, ADAM, REGRESSION = range(3)
TINY = 1e-8  # Adam's ε
ITERATIONS, HALVINGS = 200, 60
FAR = 8.0
# of the square of what is sought: Newton's last step, squared; what is left is quadratic in it
CLOSE = 1e-14
ROUNDING = 1e-28  # of the square of a pull

# numba's cache watches this file alone: kernels that call each other stay in it, and whoever
# changes `exponential` touches it


@fused
def combine(out, l, j, base, theta, at, step, v, q, n, size):
    """out[l, j] = base + Σ_{k<n} θ[at + k step] v[q, k]: one to four rows of v first, then four at
    a time.
    """
    i, w0 = (n - 1) % 4 + 1, theta[at]
    if i == 1:
        for s in range(size):
            out[l, j, s] = base + w0 * v[q, 0, s]
    elif i == 2:
        w1 = theta[at + step]
        for s in range(size):
            out[l, j, s] = base + w0 * v[q, 0, s] + w1 * v[q, 1, s]
    elif i == 3:
        w1, w2 = theta[at + step], theta[at + 2 * step]
        for s in range(size):
            out[l, j, s] = base + w0 * v[q, 0, s] + w1 * v[q, 1, s] + w2 * v[q, 2, s]
    else:
        w1, w2, w3 = theta[at + step], theta[at + 2 * step], theta[at + 3 * step]
        for s in range(size):
            first = base + w0 * v[q, 0, s] + w1 * v[q, 1, s]
            out[l, j, s] = first + w2 * v[q, 2, s] + w3 * v[q, 3, s]
    while i < n:
        k = at + i * step
        w0, w1, w2, w3 = theta[k], theta[k + step], theta[k + 2 * step], theta[k + 3 * step]
        for s in range(size):
            first = w0 * v[q, i, s] + w1 * v[q, i + 1, s]
            out[l, j, s] += first + w2 * v[q, i + 2, s] + w3 * v[q, i + 3, s]
        i += 4


@fused
def forward(theta, dims, a, z, size):
    """z[l], a[l] of a batch whose input is a[0]; a and z are (layers + 1, widest, batch)."""
    at, last = 0, len(dims) - 1
    for l in range(1, last + 1):
        n, m = dims[l - 1], dims[l]
        for j in range(m):
            row, bias = at + j * n, theta[at + m * n + j]
            combine(z, l, j, bias, theta, row, 1, a, l - 1, n, size)
            if l < last:
                for s in range(size):
                    a[l, j, s] = max(z[l, j, s], 0.0)
        at += m * n + m


@fused
def sweep_down(theta, dims, z, g, up, power, size, unit):
    """From g[last]: the current on every affine edge, g[l] (width, batch), and on every activation
    edge, up[l] = W^{l+1}ᵀ g[l+1].

    unit ≥ 0: g[last] is that unit vector, set here. power (batch,) becomes Σ_e |g_e|² of each
    sample.
    """
    last, at = len(dims) - 1, len(theta)
    if unit >= 0:
        for j in range(dims[last]):
            for s in range(size):
                g[last, j, s] = 1.0 if j == unit else 0.0
    power[:] = 0.0
    for j in range(dims[last]):
        for s in range(size):
            power[s] += g[last, j, s] * g[last, j, s]
    for l in range(last, 1, -1):
        n, m = dims[l - 1], dims[l]
        at -= m * n + m
        for i in range(n):
            if m == 1 or l == last and unit >= 0:  # one current alone comes from above
                one = max(unit, 0) if l == last else 0
                weight = theta[at + one * n + i]
                for s in range(size):
                    upward = weight * g[l, one, s]
                    current = upward if z[l - 1, i, s] >= 0 else 0.0
                    up[l - 1, i, s] = upward
                    g[l - 1, i, s] = current
                    power[s] += current * current + upward * upward
            else:
                combine(up, l - 1, i, 0.0, theta, at + i, n, g, l, m, size)
                for s in range(size):
                    upward = up[l - 1, i, s]
                    current = upward if z[l - 1, i, s] >= 0 else 0.0
                    g[l - 1, i, s] = current
                    power[s] += current * current + upward * upward


@fused
def power_of(dims, g, up, h, down, stiff, power, size):
    """Σ_e ⟨g_e, h_e⟩/w_e of every sample, all edges of weight `stiff`: a matrix element of ρ."""
    last = len(dims) - 1
    power[:] = 0.0
    for l in range(1, last + 1):
        for j in range(dims[l]):
            for s in range(size):
                power[s] += g[l, j, s] * h[l, j, s]
        if l < last:
            for j in range(dims[l]):
                for s in range(size):
                    power[s] += up[l, j, s] * down[l, j, s]
    for s in range(size):
        power[s] /= stiff


@fused
def tangent_power(dims, a, g, lr, power, room, size):
    """lr Σ_l (1 + |a^{l−1}|²)|g_l|² of every sample: power in affine edges of that compliance,
    activation edges rigid.
    """
    power[:] = 0.0
    for l in range(1, len(dims)):
        room[:] = 1.0
        for i in range(dims[l - 1]):
            for s in range(size):
                room[s] += a[l - 1, i, s] ** 2
        for j in range(dims[l]):
            for s in range(size):
                power[s] += room[s] * g[l, j, s] ** 2
    for s in range(size):
        power[s] *= lr


@fused
def relax_up(theta, dims, a, z, g, up, t, b, kappa, stiff, size):
    """b[l] = a + κ(a* − a), a* the relaxed stalk: a* = m ⊙ z* + (current)/w, z* = W a* + b +
    (current)/w; deviations alone are swept.

    The currents are t g and t up.
    """
    last, at, soft = len(dims) - 1, 0, 1.0 / stiff
    for i in range(dims[0]):
        for s in range(size):
            b[0, i, s] = 0.0
    for l in range(1, last):
        n, m = dims[l - 1], dims[l]
        for j in range(m):
            if l == 1:
                for s in range(size):
                    through = g[l, j, s] if z[l, j, s] >= 0 else 0.0
                    b[l, j, s] = soft * t[s] * (through + up[l, j, s])
            else:
                combine(b, l, j, 0.0, theta, at + j * n, 1, b, l - 1, n, size)
                for s in range(size):
                    moved = b[l, j, s] + soft * t[s] * g[l, j, s]
                    b[l, j, s] = (moved if z[l, j, s] >= 0 else 0.0) + soft * t[s] * up[l, j, s]
        at += m * n + m
    for l in range(last):
        for i in range(dims[l]):
            for s in range(size):
                b[l, i, s] = a[l, i, s] + kappa * b[l, i, s]


# Ohm's law
# --------------------------------------------------------------------------------------------------


@fused
def activation(output, v, p, room, m, size):
    """p = φ(v), rows 0 … m−1; room (2, size) is what it works in."""
    if output == IDENTITY:
        p[:m] = v[:m]
    elif output == SIGMOID:
        for j in range(m):
            for s in range(size):
                p[j, s] = exponential(-v[j, s])
            for s in range(size):
                p[j, s] = 1.0 / (1.0 + p[j, s])
    else:
        room[0, :] = v[0]
        room[1, :] = 0.0
        for j in range(1, m):
            for s in range(size):
                room[0, s] = max(room[0, s], v[j, s])
        for j in range(m):
            for s in range(size):
                p[j, s] = exponential(v[j, s] - room[0, s])
            for s in range(size):
                room[1, s] += p[j, s]
        for j in range(m):
            for s in range(size):
                p[j, s] /= room[1, s]


@fused
def shorter(delta):
    """A factor ≤ ln(1 + δ)/δ for a step of Newton's (Padé's approximant, from below)."""
    return (6.0 + 3.0 * delta) / (6.0 + 6.0 * delta + delta * delta)


@fused
def moved(output, d, delta, room, m, size):
    """δ of a step d of the logits: 0, max |d_j|, or max d_j − min d_j."""
    delta[:] = 0.0
    if output == SIGMOID:
        for j in range(m):
            for s in range(size):
                delta[s] = max(delta[s], abs(d[j, s]))
    elif output != IDENTITY:
        delta[:] = d[0]
        room[0, :] = d[0]
        for j in range(1, m):
            for s in range(size):
                delta[s] = max(delta[s], d[j, s])
                room[0, s] = min(room[0, s], d[j, s])
        for s in range(size):
            delta[s] -= room[0, s]


@fused
def ohm_along(output, z, y, c, power, t, w, m, size):
    """t in (0, 1] of every sample: Ohm's law along c = y − φ(ŷ), ρ its Rayleigh quotient r =
    power/|c|², power = cᵀρc = Σ_e |G_eᵀc|²/w_e.

    t c is the pull: exactly for one output. Far away the root is bisected. z, y, c: (m, size); w
    (5, m + 2, size) is room.
    """
    v, p, room = w[0], w[1], w[2]
    square, r, low, high = w[0, m], w[0, m + 1], w[1, m], w[1, m + 1]
    gap, slope, mean, widest = w[3, m], w[3, m + 1], w[4, m], w[4, m + 1]
    square[:] = 1e-300
    for j in range(m):
        for s in range(size):
            square[s] += c[j, s] * c[j, s]
            v[j, s] = z[j, s]
            p[j, s] = y[j, s] - c[j, s]
    for s in range(size):
        square[s] = 1.0 / square[s]  # from here on 1/|c|²
        r[s] = power[s] * square[s]
    if output == IDENTITY:
        for s in range(size):
            t[s] = 1.0 / (1.0 + r[s])
        return
    moved(output, c, widest, room, m, size)
    t[:], low[:], high[:] = 0.0, 0.0, 1.0
    for _ in range(ITERATIONS):
        gap[:], slope[:], mean[:] = 0.0, 0.0, 0.0
        for j in range(m):
            for s in range(size):
                gap[s] += c[j, s] * (p[j, s] - y[j, s])
                if output == SIGMOID:
                    slope[s] += c[j, s] * c[j, s] * (p[j, s] - p[j, s] * p[j, s])
                else:
                    slope[s] += c[j, s] * c[j, s] * p[j, s]
                    mean[s] += c[j, s] * p[j, s]
        unsettled = 0.0
        for s in range(size):
            curvature = 1.0 + r[s] * (slope[s] - mean[s] * mean[s]) * square[s]
            newton = -(t[s] + gap[s] * square[s]) / curvature
            high[s] = t[s] if newton < 0.0 else high[s]
            low[s] = low[s] if newton < 0.0 else t[s]
            delta = abs(newton) * r[s] * widest[s]
            step = newton * shorter(delta) if delta <= FAR else 0.5 * (low[s] + high[s]) - t[s]
            t[s] += step
            gap[s] = step * r[s]
            unsettled += 1.0 if step * step > CLOSE * t[s] * t[s] + ROUNDING * square[s] else 0.0
        if unsettled == 0.0:
            break
        for j in range(m):
            for s in range(size):
                v[j, s] += gap[s] * c[j, s]
        activation(output, v, p, room, m, size)


@fused
def cholesky(A, m, size):
    """A = L Lᵀ of every sample in place, lower triangles of (m, m, size)."""
    for k in range(m):
        for s in range(size):
            A[k, k, s] = np.sqrt(A[k, k, s])
        for i in range(k + 1, m):
            for s in range(size):
                A[i, k, s] /= A[k, k, s]
        for i in range(k + 1, m):
            for j in range(k + 1, i + 1):
                for s in range(size):
                    A[i, j, s] -= A[i, k, s] * A[j, k, s]


@fused
def substitute(L, d, m, size):
    """Solve L Lᵀ x = d in place of d (m, size)."""
    for i in range(m):
        for k in range(i):
            for s in range(size):
                d[i, s] -= L[i, k, s] * d[k, s]
        for s in range(size):
            d[i, s] /= L[i, i, s]
    for i in range(m - 1, -1, -1):
        for k in range(i + 1, m):
            for s in range(size):
                d[i, s] -= L[k, i, s] * d[k, s]
        for s in range(size):
            d[i, s] /= L[i, i, s]


@fused
def energy_along(output, u, v, y, move, d, t, m, s):
    """½|u + t move|² + Φ(v + t d) of sample s."""
    top, total, value = 0.0, 0.0, 0.0
    for j in range(m):
        at = v[j, s] + t * d[j, s]
        value += 0.5 * (u[j, s] + t * move[j, s]) ** 2 - y[j, s] * at
        if output == IDENTITY:
            value += 0.5 * at * at
        elif output == SIGMOID:
            value += max(at, 0.0) + np.log1p(np.exp(-abs(at)))
        else:
            top = at if j == 0 else max(top, at)
    if output != IDENTITY and output != SIGMOID:
        for j in range(m):
            total += np.exp(v[j, s] + t * d[j, s] - top)
        value += top + np.log(total)
    return value


@fused
def halved(output, u, v, y, move, d, decrement, m, s):
    """The first of t = 1, ½, ¼, … at which the energy has fallen enough (Armijo)."""
    before, t = energy_along(output, u, v, y, move, d, 0.0, m, s), 1.0
    for _ in range(HALVINGS):
        enough = before - 1e-4 * t * decrement + 1e-15 * (1.0 + abs(before))
        if energy_along(output, u, v, y, move, d, t, m, s) <= enough:
            return t
        t *= 0.5
    return t


@fused
def ohm_exact(output, z, y, rho, c, tables, w, m, size):
    """c (m, size) of every sample for ρ (m, m, size) = LLᵀ, which becomes L: Newton's method on
    ½|u|² + Φ(ŷ + Lu).

    tables (2, m, m, size) and w (6, m + 2, size) are room.
    """
    A, K = tables[0], tables[1]
    u, v, p, d, move, room = w[0], w[1], w[2], w[3], w[4], w[5]
    decrement, delta, mean = w[0, m], w[1, m], w[2, m]
    cholesky(rho, m, size)
    u[:m] = 0.0
    v[:m] = z[:m]
    unsettled = 1.0
    for _ in range(ITERATIONS):
        activation(output, v, p, room, m, size)
        for j in range(m):
            for s in range(size):
                c[j, s] = y[j, s] - p[j, s]
        if unsettled == 0.0:
            break
        for j in range(m):  # d = −(u − Lᵀc)
            for s in range(size):
                d[j, s] = -u[j, s]
            for k in range(j, m):
                for s in range(size):
                    d[j, s] += rho[k, j, s] * c[k, s]
        for j in range(m):  # K = J L, column by column
            mean[:] = 0.0
            if output != IDENTITY and output != SIGMOID:
                for k in range(j, m):
                    for s in range(size):
                        mean[s] += p[k, s] * rho[k, j, s]
            for i in range(m):
                for s in range(size):
                    entry = rho[i, j, s] if i >= j else 0.0
                    if output == IDENTITY:
                        K[i, j, s] = entry
                    elif output == SIGMOID:
                        K[i, j, s] = p[i, s] * (1.0 - p[i, s]) * entry
                    else:
                        K[i, j, s] = p[i, s] * (entry - mean[s])
        for i in range(m):  # A = I + LᵀK
            for j in range(i + 1):
                for s in range(size):
                    A[i, j, s] = 1.0 if i == j else 0.0
                for k in range(i, m):
                    for s in range(size):
                        A[i, j, s] += rho[k, i, s] * K[k, j, s]
        move[:m] = d[:m]
        cholesky(A, m, size)
        substitute(A, move, m, size)
        decrement[:] = 0.0
        for j in range(m):
            for s in range(size):
                decrement[s] += move[j, s] * d[j, s]
        for i in range(m):  # d is now the logits' step
            for s in range(size):
                d[i, s] = 0.0
            for k in range(i + 1):
                for s in range(size):
                    d[i, s] += rho[i, k, s] * move[k, s]
        moved(output, d, delta, room, m, size)
        unsettled = 0.0
        for s in range(size):
            if delta[s] <= FAR:
                delta[s] = shorter(delta[s])
            else:
                delta[s] = halved(output, u, v, y, move, d, decrement[s], m, s)
            decrement[s] -= CLOSE
        for j in range(m):
            for s in range(size):
                u[j, s] += delta[s] * move[j, s]
                v[j, s] += delta[s] * d[j, s]
                decrement[s] -= CLOSE * u[j, s] * u[j, s]
        for s in range(size):
            unsettled += 1.0 if decrement[s] > 0.0 else 0.0


# updates
# --------------------------------------------------------------------------------------------------


@fused
def flow(theta, dims, output, batch, sweeps, rho, tables, room, power, t, rule, stiff, lr, size):
    """The currents t g and t up of a batch (a, z, y) by the rule, after `forward`; g and up are the
    last of gs and ups, which make up `sweeps`.

    Before them stand the sweeps of a unit current into each output, where the rule asks for them.
    lr is what PROX takes compliances from.
    """
    a, z, y = batch
    gs, ups = sweeps
    last, units = len(dims) - 1, len(gs) - 1
    m, g = dims[last], gs[units]
    for k in range(units + 1):
        if k == units and units > 0:
            ohm_exact(output, z[last], y, rho, g[last], tables, room, m, size)
        elif k == units:
            activation(output, z[last], room[0], room[5], m, size)
            for j in range(m):
                for s in range(size):
                    g[last, j, s] = y[j, s] - room[0, j, s]
        sweep_down(theta, dims, z, gs[k], ups[k], power, size, k if k < units else -1)
        for j in range(k + 1 if k < units else 0):
            power_of(dims, gs[k], ups[k], gs[j], ups[j], stiff, power, size)
            for s in range(size):
                rho[k, j, s] = power[s]
    if units > 0 or rule == BACKPROP:
        t[:] = 1.0
        return
    if rule == PROX:
        tangent_power(dims, a, g, lr, power, t, size)
    else:
        for s in range(size):
            power[s] = power[s] / stiff
    ohm_along(output, z[last], y, g[last], power, t, room, m, size)


@fused
def force_of(dims, g, t, b, force, size):
    """The mean over the batch of (current)(b)ᵀ and (current), flat like θ; the currents are t g."""
    at, share = 0, 1.0 / size
    for l in range(1, len(dims)):
        n, m = dims[l - 1], dims[l]
        for j in range(m):
            row, i = at + j * n, (n - 1) % 4 + 1
            total, f0, f1, f2, f3 = 0.0, 0.0, 0.0, 0.0, 0.0
            if i == 1:
                for s in range(size):
                    current = t[s] * g[l, j, s]
                    total += current
                    f0 += current * b[l - 1, 0, s]
            elif i == 2:
                for s in range(size):
                    current = t[s] * g[l, j, s]
                    total += current
                    f0 += current * b[l - 1, 0, s]
                    f1 += current * b[l - 1, 1, s]
            elif i == 3:
                for s in range(size):
                    current = t[s] * g[l, j, s]
                    total += current
                    f0 += current * b[l - 1, 0, s]
                    f1 += current * b[l - 1, 1, s]
                    f2 += current * b[l - 1, 2, s]
            else:
                for s in range(size):
                    current = t[s] * g[l, j, s]
                    total += current
                    f0 += current * b[l - 1, 0, s]
                    f1 += current * b[l - 1, 1, s]
                    f2 += current * b[l - 1, 2, s]
                    f3 += current * b[l - 1, 3, s]
            force[at + m * n + j] = share * total
            sums = (f0, f1, f2, f3)
            for k in range(i):
                force[row + k] = share * sums[k]
            while i < n:
                f0, f1, f2, f3 = 0.0, 0.0, 0.0, 0.0
                for s in range(size):
                    current = t[s] * g[l, j, s]
                    f0 += current * b[l - 1, i, s]
                    f1 += current * b[l - 1, i + 1, s]
                    f2 += current * b[l - 1, i + 2, s]
                    f3 += current * b[l - 1, i + 3, s]
                force[row + i], force[row + i + 1] = share * f0, share * f1
                force[row + i + 2], force[row + i + 3] = share * f2, share * f3
                i += 4
        at += m * n + m


@fused
def regress(dims, b, force, moment, second, A, row, beta1, beta2, now, damping, size):
    """Every affine edge a damped least-squares problem: moment (C + damping)⁻¹ in place of `force`,
    C the running moments of [b, 1], b what is felt.
    """
    at, grow1, grow2 = 0, 1.0 - beta1**now, 1.0 - beta2**now
    for l in range(1, len(dims)):
        n, m = dims[l - 1], dims[l]
        for i in range(n + 1):
            for j in range(i + 1):
                total = 0.0
                for s in range(size):
                    total += (b[l - 1, i, s] if i < n else 1.0) * (b[l - 1, j, s] if j < n else 1.0)
                second[l, i, j] = beta2 * second[l, i, j] + (1.0 - beta2) * total / size
                A[i, j, 0] = second[l, i, j] / grow2 + (damping if i == j else 0.0)
        cholesky(A, n + 1, 1)
        for j in range(m):
            for i in range(n + 1):
                k = at + j * n + i if i < n else at + m * n + j
                moment[k] = beta1 * moment[k] + (1.0 - beta1) * force[k]
                row[i, 0] = moment[k] / grow1
            substitute(A, row, n + 1, 1)
            for i in range(n + 1):
                force[at + j * n + i if i < n else at + m * n + j] = row[i, 0]
        at += m * n + m


@fused
def steps(theta, averages, dims, output, data, order, lr, rule, edges, optimiser, rates, first):
    """Take len(order) updates in place; order (updates, batch) names the samples, lr (updates,);
    `first` counts updates before these.

    averages: of currents, of their squares, of the products of what is felt. data: x, y. edges:
    κ and the stiffness. rates: β₁, β₂, the damping and the decay.
    """
    moment, square, second = averages
    x, y = data
    kappa, stiff = edges
    beta1, beta2, damping, decay = rates
    size, last, widest = order.shape[1], len(dims) - 1, dims.max()
    a, z = np.zeros((last + 1, widest, size)), np.zeros((last + 1, widest, size))
    m, b = dims[last], np.zeros((last + 1, widest, size))
    many = m if rule == EXACT and m > 1 else 0
    gs = np.zeros((many + 1, last + 1, widest, size))
    ups = np.zeros_like(gs)
    g, up = gs[many], ups[many]
    rho, tables = np.zeros((many, many, size)), np.zeros((2, many, many, size))
    room, power, t = np.zeros((6, m + 2, size)), np.zeros(size), np.zeros(size)
    target = np.zeros((m, size))
    force, edge = np.zeros(len(theta)), widest + 1 if optimiser == REGRESSION else 0
    A, row = np.zeros((edge, edge, 1)), np.zeros((edge, 1))
    for step in range(len(order)):
        for s in range(size):
            a[0, : dims[0], s] = x[order[step, s]]
            target[:, s] = y[order[step, s]]
        forward(theta, dims, a, z, size)
        share = lr[step] / size
        batch, sweeps = (a, z, target), (gs, ups)
        flow(
            theta,
            dims,
            output,
            batch,
            sweeps,
            rho,
            tables,
            room,
            power,
            t,
            rule,
            stiff,
            share,
            size,
        )
        if kappa != 0.0:
            relax_up(theta, dims, a, z, g, up, t, b, kappa, stiff, size)
        feels = b if kappa != 0.0 else a
        force_of(dims, g, t, feels, force, size)
        now, rate = first + step + 1, lr[step]
        if optimiser == REGRESSION:
            regress(dims, feels, force, moment, second, A, row, beta1, beta2, now, damping, size)
        if optimiser == ADAM:
            grow1, grow2 = 1.0 - beta1**now, 1.0 - beta2**now
            for k in range(len(theta)):
                moment[k] = beta1 * moment[k] + (1.0 - beta1) * force[k]
                square[k] = beta2 * square[k] + (1.0 - beta2) * force[k] * force[k]
                pull = moment[k] / grow1 / (np.sqrt(square[k] / grow2) + TINY)
                theta[k] += rate * (pull - decay * theta[k])
        else:
            for k in range(len(theta)):
                theta[k] += rate * (force[k] - decay * theta[k])
