"""What a label costs at the frozen pattern of the forward pass, in closed form: no equilibrium is
solved (derived).

Let ρ be the effective resistance of the logits z at the pattern of the sample's own forward pass.
Held at the pattern, moving z away from the forward pass's z₀ costs ½(z − z₀)ᵀρ⁻¹(z − z₀). An
identity output pinned to y has z = y: the current is c = ρ⁻¹(y − z₀). A sigmoid or softmax with
a_out pinned adds κ(ψ(z) − yᵀz), κ being the weight of the output edge: a convex problem in n_out
unknowns, at whose minimum c = κ(y − φ(z)) and z = z₀ + ρc. Either way edge e has the discord
cᵀρ_e c/w_e, ρ_e being its part of ρ. So ρ, once found, answers for every label there is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sheaflib.linear import resistance
from sheaflib.linear.resistance import Resistance
from sheaflib.networks.output import Output
from sheaflib.sheaves.neural import NeuralSheaf

PERMUTED = 1000  # how often the labels are permuted at the frozen pattern, where it costs nothing
WORK = 2**34  # additions at most, to find the discord of all samples with all labels
STEPS = 100  # of Newton in n_out dimensions: a handful is usual
ARMIJO = 1e-4  # the fraction of the predicted descent that a step must reach
FLAT = 1e-14  # a descent this small, relative to the terms of the energy, is rounding
ENTRIES = 2**22  # of the matrices that are solved with at once


class Costs(NamedTuple):
    """What labels cost at the frozen patterns of m samples.

    discord: edge name -> (m, k), of every sample with each of the k labels; norm (m,): λ_max(ρ);
    shares: edge name -> mean of tr ρ_e/tr ρ; passes: over the weights, of all samples.
    """

    discord: dict[str, np.ndarray]
    norm: np.ndarray
    shares: dict[str, float]
    passes: int


def passes_of(sheaf: NeuralSheaf) -> int:
    """How many passes over the weights ρ of one sample takes: a forward pass, and one backward for
    each output, repeated where G is too large to be held.
    """
    n = sheaf.network.n_out
    columns = max(1, resistance.ENTRIES // n)  # of G, that are held at a time
    return 1 + n * -(-sheaf.N // columns)


def costs(sheaf: NeuralSheaf, x: np.ndarray, labels: np.ndarray) -> Costs:
    """The discord of every edge for inputs x (m, n_in) and each of `labels` (k, n_out)."""
    w = sheaf.forward(x)
    law = Resistance(sheaf, sheaf.pattern(w, x), sheaf.layout[sheaf.network.output_name])
    z, parts, weight = w[:, law.place], law.edges, sheaf.edge_weights
    rho = np.sum(list(parts.values()), axis=0)
    current = currents(sheaf.network.output, rho, z, labels, weight.get("output", 1.0))
    trace, found, shares = np.trace(rho, axis1=1, axis2=2), {}, {}
    for name, part in parts.items():
        found[name] = ((current @ part) * current).sum(axis=2) / weight[name]
        shares[name] = float((np.trace(part, axis1=1, axis2=2) / trace).mean())
    if not sheaf.network.output.is_identity:
        found["output"] = (current**2).sum(axis=2) / weight["output"] ** 2
    return Costs(found, np.linalg.eigvalsh(rho)[:, -1], shares, len(x) * passes_of(sheaf))


def together(parts: list[Costs]) -> Costs:
    """The costs of several groups of samples, one after the other."""
    sizes = [len(part.norm) for part in parts]
    discord = {
        name: np.concatenate([part.discord[name] for part in parts]) for name in parts[0].discord
    }
    shares = {
        name: float(np.average([part.shares[name] for part in parts], weights=sizes))
        for name in parts[0].shares
    }
    norm = np.concatenate([part.norm for part in parts])
    return Costs(discord, norm, shares, sum(part.passes for part in parts))


def currents(
    output: Output, rho: np.ndarray, z: np.ndarray, labels: np.ndarray, kappa: float
) -> np.ndarray:
    """The current c into the logits of every sample with each label: (m, k, n), for ρ (m, n, n), z
    (m, n) and labels (k, n).

    >>> currents(Output(), np.array([[[3.0]]]), np.array([[1.0]]), np.array([[4.0], [1.0]]), 1.0)
    array([[[1.],
            [0.]]])
    """
    m, k, n = len(z), *labels.shape
    if output.is_identity:
        error = labels[None] - z[:, None]
        return np.linalg.solve(rho, error.swapaxes(1, 2)).swapaxes(1, 2)
    together, found = max(1, ENTRIES // (k * n * n)), []
    for start in range(0, m, together):
        part = slice(start, start + together)
        count = len(z[part])
        c = _pinned(
            output,
            np.repeat(rho[part], k, axis=0),
            np.repeat(z[part], k, axis=0),
            np.tile(labels, (count, 1)),
            kappa,
        )
        found.append(c.reshape(count, k, n))
    return np.concatenate(found)


def _pinned(
    output: Output, rho: np.ndarray, z: np.ndarray, y: np.ndarray, kappa: float
) -> np.ndarray:
    """The minimum over c of ½cᵀρc + κ(ψ(z + ρc) − yᵀ(z + ρc)) by damped Newton, a batch (b, n) at
    once.

    In c nothing is inverted but I + κJρ, whatever the condition of ρ.
    """
    c, n = np.zeros_like(z), z.shape[1]

    def energy(rows: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The energy at c of some rows, the sizes of its terms, and the logits there."""
        moved = (rho[rows] @ c[:, :, None])[:, :, 0]
        at = z[rows] + moved
        parts = [0.5 * (c * moved).sum(axis=1), kappa * output.potential(at)]
        parts.append(-kappa * (y[rows] * at).sum(axis=1))
        return sum(parts), sum(map(np.abs, parts)), at

    rows = np.arange(len(z))
    value, size, at = energy(rows, c)
    for _ in range(STEPS):
        gradient = c[rows] + kappa * (output.value(at) - y[rows])
        b, logits = len(rows), np.repeat(at, n, axis=0)
        J = output.jacobian_product(logits, np.tile(np.eye(n), (b, 1))).reshape(b, n, n)
        step = -np.linalg.solve(np.eye(n) + kappa * J @ rho[rows], gradient[:, :, None])[:, :, 0]
        slope = ((rho[rows] @ step[:, :, None])[:, :, 0] * gradient).sum(axis=1)
        t, tried = np.ones(b), np.arange(b)
        new, sizes, moved = value.copy(), size.copy(), at.copy()
        while len(tried):
            trial = c[rows[tried]] + t[tried, None] * step[tried]
            new[tried], sizes[tried], moved[tried] = energy(rows[tried], trial)
            enough = value[tried] + ARMIJO * t[tried] * slope[tried] + FLAT * size[tried]
            tried = tried[(new[tried] > enough) & (t[tried] > FLAT)]
            t[tried] /= 2
        c[rows] += t[:, None] * step
        left = -slope > FLAT * size
        rows, value, size, at = rows[left], new[left], sizes[left], moved[left]
        if not len(rows):
            break
    return c


def permuted(
    discord: dict[str, np.ndarray], own: np.ndarray, rng: np.random.Generator, times: int = PERMUTED
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean discord by edge with the samples' own labels, the columns `own` (m,) of discord (m, k):
    edge name -> (m,); and with those permuted among them: edge name -> (times,).
    """
    m = np.arange(len(own))
    orders = own[np.array([rng.permutation(len(own)) for _ in range(times)])]
    same = {name: values[m, own] for name, values in discord.items()}
    return same, {name: values[m, orders].mean(axis=1) for name, values in discord.items()}
