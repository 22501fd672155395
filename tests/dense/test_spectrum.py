"""Extreme eigenvalues, Lanczos included, against a dense symmetric eigensolver on an independent matrix."""

import numpy as np
import pytest
from hypothesis import given, settings

from oracles import dense_laplacian
from sheaflib import Network, NeuralSheaf, hard, relax, soft, spectrum
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
    pins = resolve(sheaf, [hard("a_out", 0.5, at=1), soft("z1", 0.0, 2.0, at=0)], 1, augmented=True)
    L = dense_augmented(sheaf, pattern, z, output_force)
    L[0, 0] += 2.0
    free = np.delete(np.arange(len(L)), sheaf.N + 1)
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
