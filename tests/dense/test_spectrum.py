"""Extreme eigenvalues, Lanczos included, against a dense symmetric eigensolver on an independent matrix."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings

from oracles import dense_laplacian
from sheaflib import Network, NeuralSheaf, hard, relax, soft, spectrum
from sheaflib.forces import force
from sheaflib.output import Output
from sheaflib.pins import resolve
from strategies import MODERATE, any_pattern, cases

OUTPUTS = ["identity", "sigmoid", "softmax"]


def dense_augmented(sheaf, pattern, z, output_force):
    """[[L + wJJᵀ…, −wJᵀ], [−wJ, wI]] with J_φ (or its square root: the "identity" force's similar symmetric form)."""
    p = Output(sheaf.network.output.name).value(z[None])[0]
    J = np.diag(p * (1 - p)) if sheaf.network.output.name == "sigmoid" else np.diag(p) - np.outer(p, p)
    if output_force == "identity":
        values, vectors = np.linalg.eigh(J)
        J = vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T
    w, n, N = sheaf.edge_weights["output"], len(z), sheaf.N
    L = np.zeros((N + n, N + n))
    L[:N, :N] = dense_laplacian(sheaf, pattern)
    L[N - n:N, N - n:N] += w * J.T @ J
    L[N:, N - n:N], L[N - n:N, N:], L[N:, N:] = -w * J, -w * J.T, w * np.eye(n)
    return L


@settings(max_examples=60)
@given(cases(scales=MODERATE, cube=True))
def test_all_and_extreme_eigenvalues(case):
    expected = np.linalg.eigvalsh(dense_laplacian(case.sheaf, case.pattern[0]))
    found = spectrum.eigenvalues(case.sheaf, case.pattern[0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * expected[-1])
    np.testing.assert_allclose(spectrum.extreme(case.sheaf, case.pattern[0]), expected[[0, -1]], rtol=0, atol=1e-12 * expected[-1])


@pytest.mark.parametrize("output_force", ["jacobian", "identity"])
@pytest.mark.parametrize("output", OUTPUTS[1:])
def test_augmented(output, output_force):
    rng = np.random.default_rng(4)
    sheaf = NeuralSheaf(Network.he([2, 4, 3], rng, output), {"output": 3.0})
    pattern, z = any_pattern(sheaf, rng)[0], rng.standard_normal(3)
    expected = np.linalg.eigvalsh(dense_augmented(sheaf, pattern, z, output_force))
    np.testing.assert_allclose(spectrum.eigenvalues(sheaf, pattern, z=z, output_force=output_force), expected, rtol=0, atol=1e-12)
    at = [0, 1, 2] if (output, output_force) == ("softmax", "identity") else [1]         # uneven pins are refused there
    pins = resolve(sheaf, [hard("a_out", 0.5, at=at), soft("z1", 0.0, 2.0, at=0)], 1, augmented=True)
    L = dense_augmented(sheaf, pattern, z, output_force)
    L[0, 0] += 2.0
    free = np.delete(np.arange(len(L)), sheaf.N + np.array(at))
    np.testing.assert_allclose(spectrum.eigenvalues(sheaf, pattern, pins, z, output_force),
                               np.linalg.eigvalsh(L[np.ix_(free, free)]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("pinned", [False, True])
def test_lanczos_beyond_400_coordinates(output, pinned):
    rng = np.random.default_rng(6)
    network = Network.he([3, 110, 100, 5], rng, output)
    sheaf = NeuralSheaf(network, {"affine_2": 0.5, "activation_1": 2.0})
    pattern = any_pattern(sheaf, rng)[0]
    z = None if output == "identity" else rng.standard_normal(5)
    L = dense_laplacian(sheaf, pattern) if z is None else dense_augmented(sheaf, pattern, z, "jacobian")
    assert len(L) > spectrum.DENSE
    pins, free = None, np.arange(len(L))
    if pinned:
        pins = resolve(sheaf, [hard("z2", 1.0, at=(3, 4)), soft("a1", 0.0, 5.0)], 1, augmented=z is not None)
        a1, z2 = sheaf.layout["a1"], sheaf.layout["z2"]
        L[range(a1.start, a1.stop), range(a1.start, a1.stop)] += 5.0
        free = np.delete(free, [z2.start + 3, z2.start + 4])
    expected = np.linalg.eigvalsh(L[np.ix_(free, free)])[[0, -1]]
    np.testing.assert_allclose(spectrum.extreme(sheaf, pattern, pins, z), expected, rtol=1e-9)
    assert expected[1] <= spectrum.bound(sheaf, pins, z is not None)


def test_a_spectrum_with_everything_clamped_is_empty_and_any_step_is_stable():
    """Nothing moves: there is no eigenvalue, and no reason to refuse a step."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]]]))
    pins = hard("z1", 2.0)
    assert spectrum.eigenvalues(sheaf, [], resolve(sheaf, pins, 1)).size == 0
    assert relax(sheaf, [[1.0]], [[0.0]], dt=10.0, pins=pins).cochain.tolist() == [[2.0]]


def finite_difference_jacobian(f, w, h=1e-6):
    """Central differences of a vector field at w (n,): (n, n)."""
    steps = h * np.eye(len(w))
    return np.array([(f(w + step) - f(w - step)) / (2 * h) for step in steps]).T


@pytest.mark.parametrize("output, n_out", [("sigmoid", 1), ("sigmoid", 2), ("softmax", 3)])
@pytest.mark.parametrize("which", ["free", "hard", "soft"])
def test_identity_force_linearises_to_the_augmented_laplacian(output, n_out, which):
    """At the forward pass the force's own Jacobian, found by differences, has the eigenvalues of −L_aug."""
    rng = np.random.default_rng(5)
    sheaf, x = NeuralSheaf(Network.he([2, 4, n_out], rng, output=output)), rng.standard_normal((1, 2))
    w = sheaf.forward(x, augmented=True)
    a_out = w[0, sheaf.N:]
    pins = resolve(sheaf, {"free": [], "hard": [hard("a_out", a_out)], "soft": [soft("a_out", a_out, gamma=2.0)]}[which], 1, augmented=True)
    s = sheaf.pattern(w, x)

    def field(v):
        return force(sheaf, v[None], x, pins, s, "identity")[0]

    free = pins.free
    found = np.sort(np.linalg.eigvals(-finite_difference_jacobian(field, w[0])[np.ix_(free, free)]).real)
    z = w[0, sheaf.layout[sheaf.layout.names[-1]]]
    np.testing.assert_allclose(spectrum.eigenvalues(sheaf, s, pins, z, "identity"), found, rtol=1e-6, atol=1e-8)


def test_unevenly_pinned_softmax_with_the_identity_force_is_refused():
    sheaf = NeuralSheaf(Network.he([2, 4, 3], np.random.default_rng(0), output="softmax"))
    start = sheaf.forward([[1.0, 0.5]], augmented=True)
    for pins in ([hard("a_out", 0.2, at=1)], [soft("a_out", 0.2, 1.0, at=[0, 1])], [soft("a_out", 0.2, 1.0), soft("a_out", 0.2, 1.0, at=0)]):
        with pytest.raises(ValueError, match="a_out unevenly"):
            relax(sheaf, [[1.0, 0.5]], start, pins=pins, output_force="identity")


def test_no_product_is_formed_for_a_wide_network():
    """[2, 8000, 1]: δᵀδ has a full 8000 × 8000 block (half a gigabyte), δ only 32 000 entries."""
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.he([2, 8000, 1], rng))
    pattern = rng.random(8000) < 0.5
    W2 = sheaf.network.nodes[-1].operation.weight[0]
    tracemalloc.start()
    found = spectrum.extreme(sheaf, pattern)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    p, q = (W2[pattern]**2).sum(), (W2[~pattern]**2).sum()
    small = np.array([[2, -1, 0, 0], [-1, 1 + p, np.sqrt(p * q), -np.sqrt(p)], [0, np.sqrt(p * q), 1 + q, -np.sqrt(q)], [0, -np.sqrt(p), -np.sqrt(q), 1]])
    exact = np.linalg.eigvalsh(small)          # the spectrum of one hidden layer and one output: this, (3 ± √5)/2 and 1
    np.testing.assert_allclose(found, (exact[0], exact[-1]), rtol=1e-8)
    assert peak < 50e6
