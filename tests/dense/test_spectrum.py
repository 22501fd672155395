"""Extreme eigenvalues, Lanczos included, against a dense symmetric eigensolver on an independent
matrix.
"""

import tracemalloc

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from oracles import dense_laplacian
from strategies import MODERATE, any_pattern, cases

from sheaflib import Network, NeuralSheaf, hard, relax, soft
from sheaflib.linear import spectrum
from sheaflib.networks.output import Output
from sheaflib.sheaves.forces import force
from sheaflib.sheaves.pins import resolve

OUTPUTS = ["identity", "sigmoid", "softmax"]


def dense_augmented(sheaf, pattern, z, output_force):
    """[[L + wJJᵀ…, −wJᵀ], [−wJ, wI]] with J_φ (or its square root: the "identity" force's similar
    symmetric form).
    """
    p = Output(sheaf.network.output.name).value(z[None])[0]
    J = (
        np.diag(p * (1 - p))
        if sheaf.network.output.name == "sigmoid"
        else np.diag(p) - np.outer(p, p)
    )
    if output_force == "identity":
        values, vectors = np.linalg.eigh(J)
        J = vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T
    w, n, N = sheaf.edge_weights["output"], len(z), sheaf.N
    L = np.zeros((N + n, N + n))
    L[:N, :N] = dense_laplacian(sheaf, pattern)
    L[N - n : N, N - n : N] += w * J.T @ J
    L[N:, N - n : N], L[N - n : N, N:], L[N:, N:] = -w * J, -w * J.T, w * np.eye(n)
    return L


@given(cases(scales=MODERATE, cube=True))
def test_all_and_extreme_eigenvalues(case):
    expected = np.linalg.eigvalsh(dense_laplacian(case.sheaf, case.pattern[0]))
    found = spectrum.eigenvalues(case.sheaf, case.pattern[0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * expected[-1])
    np.testing.assert_allclose(
        spectrum.extreme(case.sheaf, case.pattern[0]),
        expected[[0, -1]],
        rtol=0,
        atol=1e-12 * expected[-1],
    )


@pytest.mark.parametrize("output_force", ["jacobian", "identity"])
@pytest.mark.parametrize("output", OUTPUTS[1:])
def test_augmented(output, output_force):
    rng = np.random.default_rng(4)
    sheaf = NeuralSheaf(Network.he([2, 4, 3], rng, output), {"output": 3.0})
    pattern, z = any_pattern(sheaf, rng)[0], rng.standard_normal(3)
    expected = np.linalg.eigvalsh(dense_augmented(sheaf, pattern, z, output_force))
    np.testing.assert_allclose(
        spectrum.eigenvalues(sheaf, pattern, z=z, output_force=output_force),
        expected,
        rtol=0,
        atol=1e-12,
    )
    # uneven pins are refused there
    at = [0, 1, 2] if (output, output_force) == ("softmax", "identity") else [1]
    pins = resolve(
        sheaf, [hard("a_out", 0.5, at=at), soft("z1", 0.0, 2.0, at=0)], 1, augmented=True
    )
    L = dense_augmented(sheaf, pattern, z, output_force)
    L[0, 0] += 2.0
    free = np.delete(np.arange(len(L)), sheaf.N + np.array(at))
    np.testing.assert_allclose(
        spectrum.eigenvalues(sheaf, pattern, pins=pins, z=z, output_force=output_force),
        np.linalg.eigvalsh(L[np.ix_(free, free)]),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("pinned", [False, True])
def test_lanczos_beyond_400_coordinates(output, pinned):
    rng = np.random.default_rng(6)
    network = Network.he([3, 110, 100, 5], rng, output)
    sheaf = NeuralSheaf(network, {"affine_2": 0.5, "activation_1": 2.0})
    pattern = any_pattern(sheaf, rng)[0]
    z = None if output == "identity" else rng.standard_normal(5)
    L = (
        dense_laplacian(sheaf, pattern)
        if z is None
        else dense_augmented(sheaf, pattern, z, "jacobian")
    )
    assert len(L) > spectrum.DENSE
    pins, free = (), np.arange(len(L))
    if pinned:
        pins = resolve(
            sheaf, [hard("z2", 1.0, at=(3, 4)), soft("a1", 0.0, 5.0)], 1, augmented=z is not None
        )
        a1, z2 = sheaf.layout["a1"], sheaf.layout["z2"]
        L[range(a1.start, a1.stop), range(a1.start, a1.stop)] += 5.0
        free = np.delete(free, [z2.start + 3, z2.start + 4])
    expected = np.linalg.eigvalsh(L[np.ix_(free, free)])[[0, -1]]
    np.testing.assert_allclose(
        spectrum.extreme(sheaf, pattern, pins=pins, z=z), expected, rtol=1e-9
    )
    assert expected[1] <= spectrum.bound(sheaf, pins=pins, augmented=z is not None)


def test_a_spectrum_with_everything_clamped_is_empty_and_any_step_is_stable():
    """Nothing moves: there is no eigenvalue, and no reason to refuse a step."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]]]))
    pins = hard("z1", 2.0)
    assert spectrum.eigenvalues(sheaf, [], pins=resolve(sheaf, pins, 1)).size == 0
    assert relax(sheaf, [[1.0]], [[0.0]], dt=10.0, pins=pins).cochain.tolist() == [[2.0]]


def finite_difference_jacobian(f, w, h=1e-6):
    """Central differences of a vector field at w (n,): (n, n)."""
    steps = h * np.eye(len(w))
    return np.array([(f(w + step) - f(w - step)) / (2 * h) for step in steps]).T


@pytest.mark.parametrize("output, n_out", [("sigmoid", 1), ("sigmoid", 2), ("softmax", 3)])
@pytest.mark.parametrize("which", ["free", "hard", "soft"])
def test_identity_force_linearises_to_the_augmented_laplacian(output, n_out, which):
    """At the forward pass the force's own Jacobian, found by differences, has the eigenvalues of
    −L_aug.
    """
    rng = np.random.default_rng(5)
    sheaf = NeuralSheaf(Network.he([2, 4, n_out], rng, output=output))
    x = rng.standard_normal((1, 2))
    w = sheaf.forward(x, augmented=True)
    a_out = w[0, sheaf.N :]
    pins = resolve(
        sheaf,
        {"free": [], "hard": [hard("a_out", a_out)], "soft": [soft("a_out", a_out, gamma=2.0)]}[
            which
        ],
        1,
        augmented=True,
    )
    s = sheaf.pattern(w, x)

    def field(v):
        return force(sheaf, v[None], x, pins=pins, pattern=s, output_force="identity")[0]

    free = pins.free
    found = np.sort(
        np.linalg.eigvals(-finite_difference_jacobian(field, w[0])[np.ix_(free, free)]).real
    )
    z = w[0, sheaf.layout[sheaf.layout.names[-1]]]
    np.testing.assert_allclose(
        spectrum.eigenvalues(sheaf, s, pins=pins, z=z, output_force="identity"),
        found,
        rtol=1e-6,
        atol=1e-8,
    )


def test_unevenly_pinned_softmax_with_the_identity_force_is_refused():
    sheaf = NeuralSheaf(Network.he([2, 4, 3], np.random.default_rng(0), output="softmax"))
    start = sheaf.forward([[1.0, 0.5]], augmented=True)
    for pins in (
        [hard("a_out", 0.2, at=1)],
        [soft("a_out", 0.2, 1.0, at=[0, 1])],
        [soft("a_out", 0.2, 1.0), soft("a_out", 0.2, 1.0, at=0)],
    ):
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
    p, q = (W2[pattern] ** 2).sum(), (W2[~pattern] ** 2).sum()
    small = np.array(
        [
            [2, -1, 0, 0],
            [-1, 1 + p, np.sqrt(p * q), -np.sqrt(p)],
            [0, np.sqrt(p * q), 1 + q, -np.sqrt(q)],
            [0, -np.sqrt(p), -np.sqrt(q), 1],
        ]
    )
    # the spectrum of one hidden layer and one output: this, (3 ± √5)/2 and 1
    exact = np.linalg.eigvalsh(small)
    np.testing.assert_allclose(found, (exact[0], exact[-1]), rtol=1e-8)
    assert peak < 50e6


# a batch at once, without a matrix
# --------------------------------------------------------------------------------------------


@examples(60)  # copies of eigenvalues are rare
@given(cases(scales=MODERATE, cube=True))
def test_lanczos_agrees_with_the_dense_solver_on_every_sample(case):
    found = spectrum.extremes(case.sheaf, case.pattern, dense=0)
    for i, s in enumerate(case.pattern):
        L = dense_laplacian(case.sheaf, s)
        values = np.linalg.eigvalsh(L)
        np.testing.assert_allclose(
            (found.smallest[i], found.largest[i]), values[[0, -1]], rtol=1e-8
        )
        for v, value in ((found.bottom[i], values[0]), (found.top[i], values[-1])):
            assert np.linalg.norm(v) == pytest.approx(1)
            assert v @ L @ v == pytest.approx(value, rel=1e-8)
    np.testing.assert_allclose(
        spectrum.smallest(case.sheaf, case.pattern), found.smallest, rtol=1e-8
    )


@pytest.mark.parametrize(
    "output, output_force",
    [("identity", "jacobian"), ("sigmoid", "jacobian"), ("softmax", "identity")],
)
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("dense", [0, 1000])
def test_extremes_of_a_batch(output, output_force, pinned, dense):
    """Weights, pins, the augmented Laplacian: every sample against its own dense matrix; clamped
    coordinates are 0 in the vectors.
    """
    rng = np.random.default_rng(7)
    sheaf = NeuralSheaf(
        Network.he([3, 12, 10, 4], rng, output), {"affine_2": 0.5, "activation_1": 2.0}
    )
    patterns = any_pattern(sheaf, rng, 5)
    z = None if output == "identity" else rng.standard_normal((5, 4))
    pins = (
        resolve(
            sheaf, [hard("z2", 1.0, at=(3, 4)), soft("a1", 0.0, 5.0)], 5, augmented=z is not None
        )
        if pinned
        else ()
    )
    found = spectrum.extremes(
        sheaf, patterns, pins=pins, z=z, output_force=output_force, dense=dense
    )
    width = sheaf.N if z is None else sheaf.N + 4
    assert found.bottom.shape == found.top.shape == (5, width)
    for i, s in enumerate(patterns):
        L = (
            dense_laplacian(sheaf, s)
            if z is None
            else dense_augmented(sheaf, s, z[i], output_force)
        )
        free = np.arange(width)
        if pinned:
            a1, z2 = sheaf.layout["a1"], sheaf.layout["z2"]
            L[range(a1.start, a1.stop), range(a1.start, a1.stop)] += 5.0
            free = np.delete(free, [z2.start + 3, z2.start + 4])
            assert (found.bottom[i, [z2.start + 3, z2.start + 4]] == 0).all()
        L = L[np.ix_(free, free)]
        values, vectors = np.linalg.eigh(L)
        np.testing.assert_allclose(
            (found.smallest[i], found.largest[i]), values[[0, -1]], rtol=1e-8
        )
        for mine, theirs in (
            (found.bottom[i, free], vectors[:, 0]),
            (found.top[i, free], vectors[:, -1]),
        ):
            assert abs(mine @ theirs) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found.condition, found.largest / found.smallest)
    low, high = spectrum.extreme(
        sheaf, patterns[0], pins=pins, z=None if z is None else z[0], output_force=output_force
    )
    np.testing.assert_allclose((low, high), (found.smallest[0], found.largest[0]), rtol=1e-8)


def test_the_lower_bound_of_the_gap():
    """Below λ₁ in all of many networks, close to it with many steps, 0 with few; less by rounding
    alone where a dense solver gave it."""
    rng = np.random.default_rng(8)
    ratios = []
    for _ in range(40):
        sheaf = NeuralSheaf(Network.he([3, *rng.integers(10, 60, 3), 2], rng))
        s = any_pattern(sheaf, rng, 2)
        exact = spectrum.extremes(sheaf, s, dense=10_000)
        assert (exact.lower() < exact.smallest).all()
        assert (exact.lower() > exact.smallest * (1 - 1e-12)).all()
        found = spectrum.extremes(sheaf, s, dense=0, least=24)
        assert (found.lower() <= exact.smallest * (1 + 1e-10)).all() and (
            found.lower(1e-12) < found.lower(1e-3)
        ).all()
        ratios.append(found.lower() / exact.smallest)
    assert np.min(ratios) > 0.6
    few = spectrum.extremes(
        NeuralSheaf(Network.mlp([np.eye(5), np.eye(5)])), np.ones((1, 5)), dense=0
    )
    assert few.steps[0] < 15 and few.lower()[0] == 0
    with pytest.raises(ValueError, match="failure=-1 must be > 0"):
        found.lower(-1)
    with pytest.raises(ValueError, match="failure=5, expected a probability below 1"):
        found.lower(5)


def test_everything_clamped_leaves_no_eigenvalue():
    sheaf = NeuralSheaf(Network.mlp([[[1.0]]]))
    pins = resolve(sheaf, hard("z1", 2.0), 1)
    found = spectrum.extremes(sheaf, [[]], pins=pins)
    assert (
        found.smallest == spectrum.smallest(sheaf, [[]], pins=pins) == np.inf and found.largest == 0
    )


def test_memory_grows_with_vectors_not_with_matrices():
    """N = 60 000, W sparse: λ₁ and λ_max in at most 40 vectors of length N beyond what the network
    holds.
    """
    import scipy.sparse as sparse

    rng, n = np.random.default_rng(9), 15_000
    band = [
        sparse.csr_array(
            sparse.diags_array([rng.standard_normal(n), rng.standard_normal(n - 1)], offsets=[0, 1])
        )
        for _ in range(2)
    ]
    sheaf = NeuralSheaf(
        Network.mlp([sparse.csr_array(rng.standard_normal((n, 1))), *band], output="identity")
    )
    pattern = rng.random((1, sheaf.M)) < 0.5
    tracemalloc.start()
    found = spectrum.extremes(sheaf, pattern, tol=1e-4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 8 * sheaf.N
    assert 0 < found.smallest[0] < 1 < found.largest[0] < spectrum.bound(sheaf)


def test_restarts_do_not_count_for_the_lower_bound():
    """P(θ < (1 − ε)λ) ≤ 1.648 √n e^{−√ε(2k−1)} is a theorem on k steps without a restart: beyond
    the first cycle k does not grow.
    """
    one, exact = np.ones(1), np.zeros(1)
    long = spectrum.Extremes(one, one, one, one, one, one, (500, 3), 1000, 500, exact, exact)
    k = 24
    assert 1.648 * np.sqrt(1000) * np.exp(
        -np.sqrt(1 - long.lower(1e-9)[0]) * (2 * k - 1)
    ) == pytest.approx(1e-9, rel=1e-9)
    # the sample that took fewest counts
    short = spectrum.Extremes(one, one, one, one, one, one, (500, 3), 1000, 20, exact, exact)
    assert 1.648 * np.sqrt(1000) * np.exp(-np.sqrt(1 - short.lower(1e-6)[0]) * 39) == pytest.approx(
        1e-6, rel=1e-9
    )


def gap_of(sheaf, s):
    """λ₁ = 1/‖W^-½ δ⁻ᵀ‖², from singular values: small ones keep their digits where eigenvalues of L
    lose them.
    """
    delta = np.linalg.inv(sheaf.coboundary(s).toarray())
    return 1 / np.linalg.norm(delta / np.sqrt(sheaf.row_weights[: sheaf.N]), 2) ** 2


@pytest.mark.parametrize("dense", [0, 400])
def test_a_gap_far_below_rounding_of_the_largest_eigenvalue(dense):
    """Gain 1000 a layer: λ₁ = 5e-19 beside λ_max = 1e6; and edge weights over twelve decades."""
    rng = np.random.default_rng(10)
    chain = NeuralSheaf(Network.mlp([[[1e3]]] * 4))
    found = spectrum.extremes(chain, np.ones((1, 3)), dense=dense)
    assert (
        found.smallest[0] == pytest.approx(gap_of(chain, np.ones(3)), rel=1e-8)
        and found.condition[0] > 1e20
    )
    for _ in range(10):
        network = Network.he([3, 12, 9, 2], rng)
        sheaf = NeuralSheaf(
            network, {e.name: 10.0 ** rng.uniform(-6, 6) for e in NeuralSheaf(network).edges}
        )
        s = any_pattern(sheaf, rng)
        close = 1e-8 if dense else 1e-4  # Lanczos: clusters that it has not resolved
        assert spectrum.extremes(sheaf, s, dense=dense).smallest[0] == pytest.approx(
            gap_of(sheaf, s[0]), rel=close
        )


@pytest.mark.parametrize("hidden, n_out", [(60, 3), (67, 3), (60, 1), (100, 1), (300, 5)])
def test_wide_layers_have_few_eigenvalues_and_lanczos_knows_when_it_is_done(hidden, n_out):
    """One hidden layer: 3 + 4·n_out distinct ones at most, so that every batch comes to an
    invariant subspace and looks on.
    """
    rng = np.random.default_rng(hidden)
    sheaf = NeuralSheaf(Network.he([3, hidden, n_out], rng))
    patterns = any_pattern(sheaf, rng, 20)
    found = spectrum.extremes(sheaf, patterns, dense=0, least=24)
    for i, s in enumerate(patterns):
        values = np.linalg.eigvalsh(dense_laplacian(sheaf, s))
        np.testing.assert_allclose(
            (found.smallest[i], found.largest[i]), values[[0, -1]], rtol=1e-10
        )


@pytest.mark.parametrize("gain", [1.0, 10.0, 30.0])
@pytest.mark.parametrize("dense", [0, 400])
def test_pins_that_cut_a_gain(gain, dense):
    """Every hidden activity clamped: λ₁ is that of single layers, while δ⁻¹ without the pins has
    the gain of all six.
    """
    rng = np.random.default_rng(11)
    sheaf = NeuralSheaf(Network.mlp([gain * rng.standard_normal((5, 5)) for _ in range(6)]))
    pins = [hard(f"a{i}", 0.0) for i in range(1, 6)]
    free = resolve(sheaf, pins, 1).free
    expected = np.linalg.eigvalsh(dense_laplacian(sheaf, np.ones(25))[np.ix_(free, free)])[0]
    found = spectrum.extremes(sheaf, np.ones((1, 25)), pins=pins, dense=dense)
    assert found.smallest[0] == pytest.approx(expected, rel=1e-6) and found.error_low[0] < 1e-4


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda sheaf, s: spectrum.extremes(sheaf.network, s),
            TypeError,
            "sheaf is a Network, expected NeuralSheaf",
        ),
        (
            lambda sheaf, s: spectrum.extremes(sheaf, s[:0]),
            ValueError,
            r"pattern is an empty batch: got \(0, 4\)",
        ),
        (lambda sheaf, s: spectrum.extreme(sheaf, s), ValueError, "expected one pattern"),
        (
            lambda sheaf, s: spectrum.extremes(sheaf, s, dense=-1),
            ValueError,
            "dense=-1 must be ≥ 0",
        ),
        (
            lambda sheaf, s: spectrum.extremes(sheaf, s, least=2.5),
            TypeError,
            "least=2.5 must be a whole number",
        ),
        (
            lambda sheaf, s: spectrum.extremes(sheaf, s, seed=-1, dense=0),
            ValueError,
            "seed=-1 must be ≥ 0",
        ),
        (
            lambda sheaf, s: spectrum.extremes(sheaf, s, output_force="none"),
            ValueError,
            "output_force='none' is unknown",
        ),
        (
            lambda sheaf, s: spectrum.extremes(
                sheaf, s, pins=resolve(sheaf, hard("a_out", 0.5), 2, True)
            ),
            ValueError,
            "pins are for cochains of width 10, expected 9: without a_out",
        ),
        (lambda sheaf, s: spectrum.extremes(sheaf, s, pins=hard("z9", 0.5)), ValueError, "z9"),
    ],
)
def test_bad_input_is_named(call, error, message):
    sheaf = NeuralSheaf(Network.he([2, 4, 1], np.random.default_rng(0), "sigmoid"))
    with pytest.raises(error, match=message):
        call(sheaf, np.ones((2, 4)))


def test_pins_are_taken_as_everywhere():
    sheaf = NeuralSheaf(Network.he([2, 4, 1], np.random.default_rng(0)))
    s, pins = np.ones((2, 4)), [hard("z2", 1.0), soft("a1", 0.0, 2.0)]
    one = spectrum.extremes(sheaf, s, pins=pins)
    other = spectrum.extremes(sheaf, s, pins=resolve(sheaf, pins, 2))
    np.testing.assert_array_equal(one.smallest, other.smallest)
    np.testing.assert_array_equal(
        spectrum.eigenvalues(sheaf, s[0], pins=pins),
        spectrum.eigenvalues(sheaf, s[0], pins=resolve(sheaf, pins, 1)),
    )
