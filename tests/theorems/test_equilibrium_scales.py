"""Equilibria and their certificates at scales from 1e-8 to 1e8, against exact rational
arithmetic."""

import numpy as np
import pytest
from effort import seeds
from exact_equilibrium import energy, face, rational
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import Affine, Network, NeuralSheaf, hard, soft
from sheaflib.equilibria.certificate import MINIMUM, NO_MINIMUM, UNDECIDED, certify
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.newton import equilibrium

SCALES = (1e-8, 1e-4, 1.0, 1e4, 1e6, 1e8)


def large(seed, scale, dims=(3, 4, 4, 1)):
    """A chain with weights N(0, scale²), one input, and an output that is to move by about its own
    size."""
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(
        Network.mlp([scale * rng.standard_normal((n, m)) for m, n in zip(dims, dims[1:])])
    )
    x = rng.standard_normal((1, dims[0]))
    output = sheaf.network(x)
    target = output + rng.uniform(-3, 3, output.shape) * max(1.0, abs(output).max())
    start = None if seed % 2 else scale ** rng.integers(0, 3) * rng.standard_normal((1, sheaf.N))
    return sheaf, x, target, start


def away(sheaf, found, exact):
    """The largest error of a stalk relative to the stalk's size."""
    exact = np.array([float(v) for v in exact])
    return max(
        abs(found - exact)[part].max() / (abs(exact[part]).max() or 1.0)
        for part in sheaf.layout.slices.values()
    )


def pinned_output(sheaf, target):
    """The last stalk's coordinates and the values that they are clamped to."""
    return dict(zip(range(sheaf.N - len(target), sheaf.N), target))


@pytest.mark.parametrize("factor", [1e10, 1e13, 1e16, 1e40])
def test_a_large_bystander_hides_nothing(factor):
    """The output reads the second unit alone: an error of 1 over three resistors has the energy
    1/6, whatever the first unit does."""
    sheaf = NeuralSheaf(Network.mlp([[[factor], [1.0]], [[0.0, 1.0]]]))
    found = equilibrium(sheaf, [[1.0]], pins=hard("z2", 2.0))
    assert found.converged.all() and found.certificate.verdict.tolist() == [MINIMUM]
    np.testing.assert_allclose(found.energy, 1 / 6, rtol=1e-12)
    np.testing.assert_allclose(found.cochain[0], [factor, 4 / 3, factor, 5 / 3, 2.0], rtol=1e-12)
    forward = sheaf.forward([[1.0]])
    forward[:, -1] = 2.0
    assert certify(
        PinnedEnergy(sheaf, np.ones((1, 1)), hard("z2", 2.0)), forward
    ).verdict.tolist() == [NO_MINIMUM]


@pytest.mark.parametrize("scale", SCALES)
def test_large_and_small_weights_against_exact_arithmetic(scale):
    """Every answer that converged is the exact minimum of its face; what does not converge says
    that rounding decides."""
    undecided = slow = 0
    for seed in seeds(6):
        sheaf, x, target, start = large(seed, scale)
        found = equilibrium(sheaf, x, pins=hard("z3", target), start=start)
        if not found.converged.all():
            slow += 1
            assert "rounding" in found.reason and found.certificate.verdict.tolist() != [MINIMUM]
            continue
        exact, is_minimum = face(sheaf, x[0], pinned_output(sheaf, target[0]), {}, found.cochain[0])
        verdict = found.certificate.verdict[0]
        assert is_minimum or verdict == UNDECIDED
        assert away(sheaf, found.cochain[0], exact) < 1e-11
        undecided += verdict == UNDECIDED
    assert slow <= (scale > 1e6) * len(seeds(6)) * 0.4 and (undecided == 0 or scale >= 1e4)


@given(
    st.integers(0, 2**32 - 1),
    st.floats(-8, 8),
    st.floats(-8, 8),
    st.floats(-8, 8),
    st.floats(-8, 8),
)
def test_mixed_scales_against_exact_arithmetic(seed, first, last, inputs, edge):
    """Each layer, the inputs, a bias, an edge weight and a spring at a scale of their own: right,
    or not called a minimum."""
    rng = np.random.default_rng(seed)
    weights = [
        10.0**first * rng.standard_normal((3, 2)),
        rng.standard_normal((2, 3)),
        10.0**last * rng.standard_normal((1, 2)),
    ]
    biases = [10.0**edge * rng.standard_normal(3), np.zeros(2), np.zeros(1)]
    sheaf = NeuralSheaf(
        Network.mlp(weights, biases), {"affine_2": 10.0**edge, "activation_1": 10.0**inputs}
    )
    x = 10.0**inputs * rng.standard_normal((1, 2))
    output = sheaf.network(x)
    target = output + rng.uniform(-3, 3, (1, 1)) * abs(output).max()
    gamma = 10.0**first
    value = float(abs(sheaf.forward(x)[0, sheaf.layout["a1"]]).max())
    at = sheaf.layout["a1"].start
    found = equilibrium(sheaf, x, pins=[hard("z3", target), soft("a1", value, gamma, at=0)])
    verdict = found.certificate.verdict[0]
    assert verdict in (MINIMUM, UNDECIDED, NO_MINIMUM) and (
        verdict != NO_MINIMUM or not found.converged[0]
    )
    if verdict == MINIMUM:
        exact, is_minimum = face(
            sheaf, x[0], pinned_output(sheaf, target[0]), {at: (gamma, value)}, found.cochain[0]
        )
        assert is_minimum and away(sheaf, found.cochain[0], exact) < 1e-6
    else:
        assert found.converged[0] or "rounding" in found.reason


@given(st.integers(0, 2**32 - 1), st.sampled_from(SCALES), st.floats(-9, 0))
def test_a_point_that_can_fall_is_no_minimum(seed, scale, size):
    """A coordinate moved by more than its rounding: V falls on the way back, in exact arithmetic,
    and the verdict says so."""
    sheaf, x, target, _ = large(seed, scale, dims=(2, 3, 1))
    found = equilibrium(sheaf, x, pins=hard("z2", target))
    if found.certificate.verdict[0] != MINIMUM:
        return
    rng, moved = np.random.default_rng(seed), found.cochain.copy()
    k = int(rng.integers(sheaf.N - 1))
    if moved[0, k] == 0:
        return
    moved[0, k] *= 1 + 10.0**size
    before, after = (energy(sheaf, x[0], rational(w)) for w in (moved[0], found.cochain[0]))
    problem = PinnedEnergy(sheaf, x, hard("z2", target))
    certificate = certify(problem, moved)
    own = sheaf.row_weights[k] * 10.0**size * abs(moved[0, k])
    if own > 1e-10 * certificate.terms[0, k]:
        assert before > after and certificate.verdict.tolist() == [NO_MINIMUM]


@pytest.mark.parametrize("tol", [1e18, 1.0, 2e-3])
def test_tol_is_bounded(tol):
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    with pytest.raises(
        ValueError,
        match=(
            r"tol=.* is relative to the terms of each coordinate's gradient, expected at most 0.001"
        ),
    ):
        equilibrium(sheaf, [[1.0]], pins=hard("z2", 5.0), tol=tol)


def test_a_loose_answer_is_converged_and_no_minimum():
    """What was asked for is reached, and the certificate judges by rounding alone."""
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.he([3, 20, 20, 2], rng))
    found = equilibrium(sheaf, rng.standard_normal((20, 3)), pins=hard("z3", [1.0, -1.0]), tol=1e-3)
    assert found.converged.all()
    assert (abs(found.certificate.gradient) <= 1e-3 * found.certificate.terms).all()
    assert found.certificate.minimum(1e-3).all()
    assert (found.certificate.verdict == NO_MINIMUM).any()


@pytest.mark.parametrize("factor", [1e4, 1e10, 1e16])
def test_a_loose_tol_counts_each_coordinates_own_terms(factor):
    """z, a and the output 2 of the small unit have V = ½((z − 1)² + (a − z)² + (2 − a)²) and terms
    up to 8; a bystander of size `factor` must not end the search where V is still ½."""
    sheaf = NeuralSheaf(Network.mlp([[[factor], [1.0]], [[0.0, 1.0]]]))
    found = equilibrium(sheaf, [[1.0]], pins=hard("z2", 2.0), tol=1e-3)
    z, a = found.cochain[0, [1, 3]]
    assert found.converged.all()
    assert abs((z - 1) - (a - z)) <= 1e-3 * (1 + 2 * abs(z) + abs(a))
    assert abs((a - z) - (2 - a)) <= 1e-3 * (2 + 2 * abs(a) + abs(z))
    np.testing.assert_allclose(found.energy, 1 / 6, rtol=1e-3)


def test_a_concave_kink_within_rounding_is_undecided():
    """x = 1, u = W¹x + b with W¹x = 1e8 and b = −1e8 cancels to z = 0 up to 1e-8; an output pulled
    up makes a > 0: no one can tell.

    With the output pulled down, a < 0, the same unit has a convex kink pushed from the right for
    certain: a minimum.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1e8]], [[1.0]]], [[-1e8], [0.0]]))
    problem = PinnedEnergy(sheaf, np.ones((1, 1)), [])
    for a, verdict in ((1e-9, UNDECIDED), (1e-2, NO_MINIMUM)):
        above = np.array([[0.0, a, a]])
        pinned = PinnedEnergy(sheaf, np.ones((1, 1)), [hard("a1", a), hard("z2", a)])
        assert certify(pinned, above).verdict.tolist() == [verdict]
    pinned = PinnedEnergy(sheaf, np.ones((1, 1)), [hard("a1", -1.0), hard("z2", -1.0)])
    assert certify(pinned, np.array([[0.0, -1.0, -1.0]])).verdict.tolist() == [MINIMUM]
    assert certify(problem, np.zeros((1, 3))).verdict.tolist() == [UNDECIDED]


def test_where_v_leaves_float64_the_reason_says_so():
    sheaf = NeuralSheaf(Network.mlp([[[1e160]], [[1.0]]]))
    found = equilibrium(sheaf, [[1.0]], pins=hard("z2", 1.0))
    assert not found.converged[0] and "V or its gradient leaves float64" in found.reason
    assert found.certificate.verdict.tolist() == [UNDECIDED]


def test_large_stalks_whose_squares_leave_float64_have_an_energy():
    """Two edges of weight 1 in a row share a gap d evenly: V = d²/4, all of it powers of two."""
    identity = Affine([[1.0]])
    sheaf = NeuralSheaf(Network(1, [("z1", identity), ("z2", identity)]))
    x, d = 2.0**530, 2.0**490
    found = equilibrium(sheaf, [[x]], pins=hard("z2", x + d))
    assert found.converged[0] and found.energy.tolist() == [2.0**978]
    assert found.cochain.tolist() == [[x + d / 2, x + d]]


@pytest.mark.parametrize("factor", [1.0, 1e6, 1e12])
def test_a_large_bystander_merges_no_equilibria(factor):
    """Two equilibria of a small unit, 1 apart (known by hand), beside a unit of size `factor` that
    the output does not read."""
    sheaf = NeuralSheaf(Network.mlp([[[factor], [1.0]], [[0.0, 1.0]]], [[0.0, -1.5], [0.0]]))
    others = equilibrium(sheaf, [[1.0]], pins=hard("z2", 2.0)).others(20)
    assert others.count.tolist() == [2]
    np.testing.assert_allclose(others.energies[0], [1.0, 25 / 24], rtol=1e-12)
    np.testing.assert_allclose(others.cochains[0][:, 1], [-0.5, 1 / 3], rtol=1e-12)
