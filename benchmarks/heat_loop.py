"""The heat equation of a chain as a loop that NumPy's arrays and PyTorch's tensors both run."""


def heat(W, x, z, a, steps, dt):
    """Euler steps without biases, z and a in place, x a list of one; returns the four lists."""
    k = len(W) - 1
    for _ in range(steps):
        r = [(a[i - 1] if i else x[0]) @ W[i].T - z[i] for i in range(k + 1)]
        on = [z[i] >= 0 for i in range(k)]
        dz = [r[i] - on[i] * (on[i] * z[i] - a[i]) for i in range(k)] + [r[k]]
        da = [on[i] * z[i] - a[i] - r[i + 1] @ W[i + 1] for i in range(k)]
        for state, force in zip(z + a, dz + da):
            state += dt * force
    return W, x, z, a
