"""Newton and its certificates on networks of every kind of kink, against all minima by brute force:
clamps, PReLUs, max-pools, selections of selections, ties and corners, exact ones among them.
"""

from itertools import product

import numpy as np
import pytest
from brute_equilibria import KINDS, case, minima
from effort import TIMES, seeds
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import Clamp, MaxPool, Network, NeuralSheaf, equilibrium, hard, relax, soft
from sheaflib.equilibria.certificate import MINIMUM, NO_MINIMUM, certify
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.equilibria.sides import Rule
from sheaflib.networks.affine import Affine

STARTS = 5
SEEDS = st.integers(0, 2**32 - 1)
CASES = list(product(KINDS, (False, True)))


@pytest.mark.parametrize("kind, integer", CASES)
def test_every_answer_is_a_minimum(kind, integer):
    """From the forward pass and random starts, in both modes: converged, on the list of all minima,
    and never called none. `make fuzz` tries forty times as many."""
    runs = 0
    for seed in seeds(1):
        rng = np.random.default_rng([seed, list(KINDS).index(kind)])
        problem = case(kind, rng, integer)
        known = np.array([w for w, _ in minima(problem.sheaf, problem.x, problem.pins)])
        starts = [None, *(2 * rng.standard_normal((STARTS, 1, problem.sheaf.N)))]
        for start, mode in product(starts, ("track", "global")):
            found = equilibrium(problem.sheaf, problem.x, pins=problem.pins, start=start, mode=mode)
            assert found.converged.all(), (seed, found.reason)
            assert found.certificate.verdict[0] != NO_MINIMUM, seed
            w = found.cochain[0, : problem.sheaf.N]
            assert np.abs(known - w).max(axis=1).min() <= 1e-9 * (1 + np.abs(w).max()), seed
            runs += 1
    assert runs == TIMES * 2 * (STARTS + 1)


@pytest.mark.parametrize("kind, seed", [("clamp", 16), ("shared", 36), ("residual", 27)])
def test_no_run_ends_where_rounding_hides_a_break(kind, seed):
    """Here a unit's minimum is its break up to one rounding, and V falls on the other side."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    problem = case(kind, rng, True)
    known = np.array([w for w, _ in minima(problem.sheaf, problem.x, problem.pins)])
    for start in (None, *(2 * rng.standard_normal((STARTS, 1, problem.sheaf.N)))):
        found = equilibrium(problem.sheaf, problem.x, pins=problem.pins, start=start)
        w = found.cochain[0, : problem.sheaf.N]
        assert np.abs(known - w).max(axis=1).min() <= 1e-9 * (1 + np.abs(w).max())


@pytest.mark.parametrize("kind, integer", CASES)
def test_no_saddle_is_certified(kind, integer):
    """Of the points where 0 lies in Clarke's gradient `certify` calls no saddle a minimum and no
    minimum none; and away from all of them nothing is one.
    """
    for seed in seeds(2):
        rng = np.random.default_rng([1, seed, list(KINDS).index(kind)])
        problem = case(kind, rng, integer)
        known = enumerate_equilibria(problem.sheaf, problem.x, pins=problem.pins)
        pinned = PinnedEnergy(problem.sheaf, problem.x, problem.pins)
        for w, concave in zip(known.cochains, known.concave):
            verdict = certify(pinned, w[None]).verdict[0]
            assert verdict != (MINIMUM if concave else NO_MINIMUM), (seed, concave)
        moved = known.minima[:1] + 1e-3 * rng.standard_normal((1, problem.sheaf.N))
        moved = pinned.impose(moved)
        if np.abs(moved - known.minima[:1]).max() > 1e-4:
            assert certify(pinned, moved).verdict[0] == NO_MINIMUM


@given(st.sampled_from(list(KINDS)), SEEDS)
def test_gradient_and_hessian_against_differences(kind, seed):
    """On the pieces at a random point, ties and corners held: δ_FFᵀ of the gradient is the slope,
    which central differences of V in every coordinate that moves tell, its followers with it; and
    the Hessian is the change of the gradient.
    """
    rng = np.random.default_rng(seed)
    problem = case(kind, rng)
    sheaf = problem.sheaf
    pinned = PinnedEnergy(sheaf, problem.x, problem.pins)
    w = pinned.impose(2 * rng.standard_normal((1, sheaf.N)))
    at = pinned.pieces(w, pinned.sides(w), Rule("track", True))
    slope, h = pinned.slope(at)[0], 1e-6
    leader = np.full(sheaf.N, -1) if at.ties is None else at.ties.leader[0]
    sizes = 1 + np.abs(pinned.gradient_terms(at)[0])

    def energy(v):
        image = v - sheaf.discrepancy(v, problem.x, at.pattern)
        return pinned.energy(v, image)[0]

    for k in np.flatnonzero(~at.held[0]):
        move = np.zeros((1, sheaf.N))
        move[0, (np.arange(sheaf.N) == k) | (leader == k)] = h
        difference = (energy(at.w + move) - energy(at.w - move)) / (2 * h)
        assert abs(difference - slope[k]) <= 1e-7 * sizes[k]
    gradient = pinned.gradient(at)
    epsilon = np.where(at.held, 0.0, rng.standard_normal((1, sheaf.N)))
    bent, v, image = pinned.hessian(at, epsilon)
    along = (np.where(at.held, 0.0, v) * slope).sum()
    np.testing.assert_allclose(
        (gradient * epsilon).sum(), along, atol=1e-9 * (sizes * abs(v)).sum()
    )
    if at.ties is not None:
        sample, follower = np.nonzero(at.ties.leader >= 0)
        np.testing.assert_array_equal(v[sample, follower], v[sample, leader[follower]])
    moved = at.rows(slice(None))
    moved.w, moved.image = at.w + v, at.image + image
    np.testing.assert_allclose(pinned.gradient(moved) - gradient, bent, rtol=1e-8, atol=1e-8)


def test_the_window_of_the_study():
    """Entries with P = w_m = 1, c = (0, 1) and m = 2: the label 0 has t = 1 = c₁ and V = 1, which
    is no minimum; the label 1 has t = 3/2 and V = ¼ (times two edges)."""
    pool = Network(2, [("g", Affine(np.eye(2))), ("m", MaxPool([[0, 1]], 2))])
    sheaf, x, pins = NeuralSheaf(pool), [[0.0, 1.0]], hard("m", 2.0)
    for start in ([[5.0, 0.0, 2.0]], [[0.0, 5.0, 2.0]]):
        found = equilibrium(sheaf, x, pins=pins, start=start)
        np.testing.assert_allclose(found.cochain, [[0.0, 1.5, 2.0]], atol=1e-14)
        assert found.energy[0] == pytest.approx(0.25)
    problem = PinnedEnergy(sheaf, np.array(x), pins)
    assert certify(problem, [[1.0, 1.0, 2.0]]).verdict[0] == NO_MINIMUM
    # pulled down instead, both entries are tied: t = (0 + 1 − 2)/3
    tied = equilibrium(sheaf, [[1.0, 1.0]], pins=hard("m", -2.0))
    np.testing.assert_allclose(tied.cochain, [[0.0, 0.0, -2.0]], atol=1e-14)
    assert tied.certificate.verdict[0] == MINIMUM
    assert tied.certificate.corner.tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    "x, pins, w, verdict",
    [
        # t = 0 is at rest for both together, but the first entry alone is pushed down from it
        ([-1.0, 2.0], [hard("m", -1.0)], [0.0, 0.0, -1.0], NO_MINIMUM),
        # the second entry is pushed up by 1 from a clamped one, and pulled down by t − m
        ([0.0, 1.0], [hard("g", 0.0, at=0), hard("m", -0.5)], [0.0, 0.0, -0.5], NO_MINIMUM),
        ([0.0, 1.0], [hard("g", 0.0, at=0), hard("m", -2.0)], [0.0, 0.0, -2.0], MINIMUM),
    ],
)
def test_a_tie_is_a_minimum_where_no_entry_leaves_it(x, pins, w, verdict):
    pool = Network(2, [("g", Affine(np.eye(2))), ("m", MaxPool([[0, 1]], 2))])
    problem = PinnedEnergy(NeuralSheaf(pool), np.array([x]), pins)
    assert certify(problem, [w]).verdict[0] == verdict


def test_a_tie_of_three_entries_with_springs():
    """Three entries of 1 with springs to ½, pulled down to −2: with t in common V is 3(t − 1)²/2 +
    3(t − ½)²/2 + (t + 2)²/2, with its minimum at 7t = 3 + 3/2 − 2. The springs of both followers
    pull their leader."""
    sheaf = NeuralSheaf(Network(3, [("g", Affine(np.eye(3))), ("m", MaxPool([[0, 1, 2]], 3))]))
    found = equilibrium(sheaf, [[1.0, 1.0, 1.0]], pins=[hard("m", -2.0), soft("g", 0.5, 1.0)])
    np.testing.assert_allclose(found.cochain, [[*[2.5 / 7] * 3, -2.0]], atol=1e-14)
    assert found.certificate.verdict[0] == MINIMUM
    assert found.certificate.followers.tolist() == [[False, True, True, False]]


def test_the_clamp_of_one_unit():
    """z → clamp(z, 0, 1) → a with a pinned at 3, and ½ into z: inside, z = (½ + 3)/2 lies beyond
    the bound, and beyond it V has its minimum at z = ½, which is not there: the corner z = 1."""
    sheaf = NeuralSheaf(Network(1, [("z", Affine([[1.0]])), ("a", Clamp(1, 0.0, 1.0))]))
    for start in ([[0.5, 0.0]], [[4.0, 0.0]]):
        found = equilibrium(sheaf, [[0.5]], pins=hard("a", 3.0), start=start)
        np.testing.assert_array_equal(found.cochain, [[1.0, 3.0]])
        assert found.energy[0] == pytest.approx(0.5 * 0.5**2 + 0.5 * 2**2)
        assert found.certificate.verdict[0] == MINIMUM
        assert found.certificate.slack_minus[0, 0] == pytest.approx(0.5 + 3.0 - 2.0)
        assert found.certificate.slack_plus[0, 0] == pytest.approx(0.5)
    for what in ("charts", "dividing"):
        with pytest.raises(ValueError, match="charts are derived for ReLUs, but a clamp reads"):
            getattr(found.certificate, what)
    with pytest.raises(ValueError, match="basin is derived for ReLUs, but a clamp reads"):
        found.certificate.basin()
    assert not found.certificate.is_global.any()


@pytest.mark.parametrize("output", ("softmax", "sigmoid"))
@pytest.mark.parametrize("seed", seeds(4))
def test_springs_on_the_output_are_where_relax_comes_to_rest(output, seed):
    """A spring on all of a softmax's a_out, and any pins on a sigmoid's: the flow with the identity
    force rests at the equilibrium, a_out included."""
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(Network.he([2, 5, 3], rng, output), {"output": float(rng.uniform(0.5, 2))})
    x = rng.standard_normal((1, 2))
    label = np.eye(3)[[int(rng.integers(3))]]
    pins = [soft("a_out", label, float(rng.uniform(0.5, 4)))]
    if output == "sigmoid":
        pins = [hard("a_out", 1.0, at=0), soft("a_out", 0.2, float(rng.uniform(0.5, 4)), at=1)]
    found = equilibrium(sheaf, x, pins=pins)
    assert found.converged.all()
    assert (found.certificate.verdict == MINIMUM).all()
    # moved by less than what leads to another basin, beyond the nearest kink
    z1 = np.abs(found.cochain[:, sheaf.layout["z1"]])
    start = found.cochain + min(1e-3, 0.1 * z1[z1 > 0].min())
    flow = relax(sheaf, x, pins=pins, start=start, output_force="identity", tol=1e-12)
    np.testing.assert_allclose(flow.cochain, found.cochain, atol=1e-8)


@pytest.mark.parametrize("seed", seeds(3))
def test_a_stiff_spring_on_a_label_is_the_clamped_label(seed):
    """κ = γw/(γ + w) tends to w."""
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(Network.he([2, 5, 3], rng, "softmax"))
    x, label = rng.standard_normal((2, 2)), np.eye(3)[[0, 2]]
    clamped = equilibrium(sheaf, x, pins=hard("a_out", label))
    errors = [
        np.abs(equilibrium(sheaf, x, pins=soft("a_out", label, gamma)).cochain - clamped.cochain)
        for gamma in (1e3, 1e6)
    ]
    assert errors[0].max() < 1e-2
    assert errors[1].max() < 2e-3 * errors[0].max()
