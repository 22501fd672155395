"""Substitution in δ_Ω: forward is a forward pass with injections, backward is back-propagation (Lemma 3.2).

Pinned problems for a frozen pattern use δ_Ω⁻¹ too: with G the rows of δ_Ω⁻¹ at the pinned coordinates, the smallest
disturbance η of the edges that closes the gaps at the pins is diag(w)⁻¹ Gᵀ (ρ + Γ⁻¹)⁻¹ gap, ρ = G diag(w)⁻¹ Gᵀ being their
effective resistance (derived). No N × N matrix is formed; the only dense system has one row a pinned coordinate.
"""

from __future__ import annotations

import numpy as np

from sheaflib.checks import batch
from sheaflib.network import INPUT, gather
from sheaflib.pins import ResolvedPins
from sheaflib.sheaf import NeuralSheaf


def masked_forward(sheaf: NeuralSheaf, x: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """δ_Ω⁻¹ c: the forward pass with the selections frozen at `pattern` (B, M): (B, n_0) -> (B, N)."""
    w = np.empty((len(x), sheaf.N))
    values = {INPUT: x, **sheaf.layout.split(w)}
    for node in sheaf.network.nodes:
        values[node.name][:] = node.operation.value(gather(values, node), sheaf.own(node, pattern))
    return w


def forward_substitution(sheaf: NeuralSheaf, f, pattern) -> np.ndarray:
    """δ_Ω⁻¹ f, a forward pass with injections f into every block: (B, N) -> (B, N)."""
    f = batch("f", f, sheaf.N)
    return inject(sheaf, f.copy(), sheaf.check_pattern(pattern, len(f)))


def inject(sheaf: NeuralSheaf, v: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """δ_Ω⁻¹ v in place of v, nothing checked."""
    values = {INPUT: np.zeros((len(v), sheaf.network.n_in)), **sheaf.layout.split(v)}
    for node in sheaf.network.nodes:
        if node.inputs != (INPUT,):
            values[node.name] += node.operation.linear(gather(values, node), sheaf.own(node, pattern))
    return v


def backward_substitution(sheaf: NeuralSheaf, g, pattern) -> np.ndarray:
    """δ_Ω⁻ᵀ g: back-propagation of the sensitivities g of every block: (B, N) -> (B, N)."""
    g = batch("g", g, sheaf.N)
    return send_back(sheaf, g.copy(), sheaf.check_pattern(pattern, len(g)))


def send_back(sheaf: NeuralSheaf, e: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """δ_Ω⁻ᵀ e in place of e, nothing checked."""
    for node in reversed(sheaf.network.nodes):
        sheaf.scatter(node, e[:, sheaf.layout[node.name]], pattern, e)
    return e


def pinned_solve(sheaf: NeuralSheaf, pattern: np.ndarray, pins: ResolvedPins, gap: np.ndarray,
                 load: np.ndarray | None = None) -> np.ndarray:
    """The change d (B, N) that minimises ½‖δ_Ω d‖²_w − ⟨load, d⟩ + ½ Σ γ (d − gap)² on soft pins, with d = gap on hard ones.

    gap: (B, h + s), hard pins first; load: (B, N) or None for zero.
    """
    index = np.concatenate([pins.hard_index, pins.soft_index])
    compliance = np.diag(np.concatenate([np.zeros(len(pins.hard_index)), 1 / pins.gamma]))
    unit = np.zeros((len(index), sheaf.N))
    unit[np.arange(len(index)), index] = 1
    weights = sheaf.row_weights[:sheaf.N]
    eta = np.zeros((len(pattern), sheaf.N)) if load is None else backward_substitution(sheaf, load, pattern) / weights
    for i, s in enumerate(pattern):
        G = backward_substitution(sheaf, unit, s[None])                    # the rows of δ_Ω⁻¹ at the pins
        resistance = (G / weights) @ G.T
        eta[i] += np.linalg.solve(resistance + compliance, gap[i] - G @ eta[i]) @ (G / weights)
    return forward_substitution(sheaf, eta, pattern)


def held_forward(sheaf: NeuralSheaf, f: np.ndarray, pattern: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """v = δ_FF⁻¹ f with the held coordinates C at 0, and F_σ v, what every block would compute from it: two (B, N).

    f (B, N) (read on F alone), pattern (B, M), held (B, N) of bool. On F, F_σ v = v − f; on C it is −δ_CF v, what the held edges feel.
    """
    v, image = np.zeros_like(f), np.zeros_like(f)
    values = sheaf.layout.split(v)
    values[INPUT] = np.zeros((len(f), sheaf.network.n_in))
    for node in sheaf.network.nodes:
        here = sheaf.layout[node.name]
        if node.inputs != (INPUT,):
            image[:, here] = node.operation.linear(gather(values, node), sheaf.own(node, pattern))
        v[:, here] = np.where(held[:, here], 0.0, f[:, here] + image[:, here])
    return v, image


def held_pass(sheaf: NeuralSheaf, x: np.ndarray, f: np.ndarray, w: np.ndarray, pattern: np.ndarray,
              held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The forward pass with injections f into the free coordinates, the held ones staying as in w: that cochain, and F_σ of it.

    x (B, n_0); f, w (B, N); pattern (B, M); held (B, N) of bool. Without injections only the held edges disagree.
    """
    found, image = w.copy(), np.empty_like(w)
    values = {INPUT: x, **sheaf.layout.split(found)}
    for node in sheaf.network.nodes:
        here = sheaf.layout[node.name]
        image[:, here] = node.operation.value(gather(values, node), sheaf.own(node, pattern))
        found[:, here] = np.where(held[:, here], w[:, here], image[:, here] + f[:, here])
    return found, image


def held_backward(sheaf: NeuralSheaf, g: np.ndarray, pattern: np.ndarray, held: np.ndarray) -> np.ndarray:
    """p = δ_FF⁻ᵀ (g_F − δ_CFᵀ g_C): back-propagation from g on F and from the held edges, which keep p_C = g_C: (B, N)."""
    p = g.copy()
    for node in reversed(sheaf.network.nodes):
        here = sheaf.layout[node.name]
        p[:, here] = np.where(held[:, here], g[:, here], p[:, here])
        sheaf.scatter(node, p[:, here], pattern, p)
    return p
