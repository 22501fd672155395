"""Equilibria against enumeration of all faces, dense matrices, finite differences and general
optimisers.
"""

import numpy as np
import pytest
from effort import examples, seeds
from equilibrium_cases import DAGS, MODES, dense_piece, nearest, residual_scale, small, stress, toy
from hypothesis import given
from hypothesis import strategies as st
from oracles import dense_system
from scipy.optimize import minimize
from training_cases import chain, labels

from sheaflib import Network, NeuralSheaf, hard, joint_flow, relax, soft
from sheaflib.equilibria.certificate import certify
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.equilibria.newton import equilibrium
from sheaflib.linear.substitution import held_backward, held_forward
from sheaflib.training.joint import JointStepper

SEEDS = st.integers(0, 2**32 - 1)


def check_answer(found, minima, tol=1e-9):
    """Converged, certified, and one of the minima."""
    assert found.converged.all() and found.certificate.minimum().all()
    assert nearest(minima, found.cochain[0]) < tol * (1 + abs(found.cochain).max())


# enumeration
# --------------------------------------------------------------------------------------------------


def test_toy_nets_against_enumeration():
    """Nets [2,6,1], output clamped: from the forward pass and from random stalks, in both modes,
    always one of the minima.
    """
    for seed in seeds(40):
        p = toy(seed)
        minima = enumerate_equilibria(p.sheaf, p.x, pins=p.pins).minima
        for mode in MODES:
            for start in (None, p.start):
                check_answer(equilibrium(p.sheaf, p.x, pins=p.pins, start=start, mode=mode), minima)


@given(st.sampled_from(DAGS), st.sampled_from(MODES), st.booleans(), SEEDS)
def test_small_nets_against_enumeration(kind, mode, from_start, seed):
    """Merges, several readers, leaky ReLUs and |·|, edge weights, soft and hard pins anywhere."""
    p = small(kind, np.random.default_rng(seed))
    check_answer(
        equilibrium(p.sheaf, p.x, pins=p.pins, start=p.start if from_start else None, mode=mode),
        enumerate_equilibria(p.sheaf, p.x, pins=p.pins).minima,
    )


@examples(10)
@given(st.sampled_from(DAGS), SEEDS)
def test_other_starts_find_minima_only(kind, seed):
    p = small(kind, np.random.default_rng(seed))
    minima = enumerate_equilibria(p.sheaf, p.x, pins=p.pins).minima
    others = equilibrium(p.sheaf, p.x, pins=p.pins).others(10)
    assert 1 <= others.count[0] <= len(minima)
    assert all(nearest(minima, w) < 1e-8 for w in others.cochains[0])


@pytest.mark.parametrize("kind", DAGS)
def test_a_start_at_an_equilibrium_stays(kind):
    """Each enumerated minimum is its own answer, without a step, whatever the others are."""
    for seed in range(5):
        p = small(kind, np.random.default_rng(seed))
        for w in enumerate_equilibria(p.sheaf, p.x, pins=p.pins).minima:
            found = equilibrium(p.sheaf, p.x, pins=p.pins, start=w[None])
            assert abs(found.cochain - w).max() < 1e-9 and found.iterations[0] <= 1


def test_stress():
    """All converge to a certified minimum; the residual relative to the terms that it is the sum
    of: below 1e-12.
    """
    for seed in seeds(12):
        p = stress(seed)
        found = equilibrium(
            p.sheaf,
            p.x,
            pins=p.pins,
            start=p.start if seed % 2 else None,
            mode=MODES[seed // 2 % 2],
        )
        certificate, problem = found.certificate, found.problem
        assert found.converged.all() and certificate.minimum().all(), seed
        scale = residual_scale(
            p.sheaf,
            p.x[0],
            found.cochain[0],
            certificate.at.pattern[0],
            problem.gamma,
            problem.rest[0],
        )
        assert found.residual <= 1e-12 * scale, seed


# dense matrices and finite differences
# ---------------------------------------------------------------------------------------


@given(st.sampled_from(DAGS), SEEDS)
def test_gradient_and_hessian_against_dense_matrices(kind, seed):
    """δ_FFᵀ of the gradient is ∂V/∂w; the Hessian in ε is δ_FF⁻ᵀ H_FF δ_FF⁻¹; the step and its
    image are δ_FF⁻¹ε and F_σ of it.
    """
    rng = np.random.default_rng(seed)
    p = small(kind, rng, n_batch=3)
    problem = PinnedEnergy(p.sheaf, p.x, p.pins)
    w = problem.impose(p.start)
    at = problem.pieces(w, w >= 0)
    epsilon = np.where(at.held, 0, rng.standard_normal(at.w.shape))
    gradient, (bent, v, image) = problem.gradient(at), problem.hessian(at, epsilon)
    np.testing.assert_allclose(
        at.energy, p.sheaf.energy(at.w, p.x) + problem.pins.energy(at.w), rtol=1e-12
    )
    for i, (w, s, held) in enumerate(zip(at.w, at.pattern, at.held)):
        H, dense_gradient, free, delta = dense_piece(problem, i, s, held)
        dFF, inside = delta[np.ix_(free, free)], np.ix_(free, free)
        np.testing.assert_allclose(
            dFF.T @ gradient[i, free], dense_gradient(w)[free], rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(dFF @ v[i, free], epsilon[i, free], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            dFF.T @ bent[i, free], H[inside] @ v[i, free], rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(image[i], v[i] - delta @ v[i], rtol=1e-9, atol=1e-9)
        assert not (gradient[i, held].any() or bent[i, held].any() or v[i, held].any())


@given(st.sampled_from(("identity", "sigmoid", "softmax")), SEEDS)
def test_gradient_against_differences_of_the_energy(output, seed):
    """Central differences of V with springs and cross-entropy, on every coordinate that is neither
    clamped nor near its kink.
    """
    rng = np.random.default_rng(seed)
    network = chain([2, 4, 3, 2], rng, output, slopes=[0.0, 0.3])
    sheaf = NeuralSheaf(
        network,
        {"affine_1": 2.0, "activation_2": 0.5} | ({} if output == "identity" else {"output": 1.7}),
    )
    x = rng.standard_normal((1, 2))
    y = labels(output, rng, 1, 2)
    w = rng.standard_normal((1, sheaf.N))
    pins = [
        soft("z1", 1.0, 3.0, at=0),
        hard("a1", -0.5, at=1),
        hard("z3", y) if output == "identity" else hard("a_out", y),
    ]
    problem = PinnedEnergy(sheaf, x, pins)
    at = problem.pieces(problem.impose(w), w >= 0)

    def energy(v):
        V = sheaf.energy(v, x) + 1.5 * (v[:, 0] - 1) ** 2
        if output == "identity":
            return V[0]
        z = v[0, sheaf.layout["z3"]]
        psi = np.log(1 + np.exp(z)).sum() if output == "sigmoid" else np.log(np.exp(z).sum())
        return V[0] + 1.7 * (psi - y[0] @ z)

    assert at.energy[0] == pytest.approx(energy(at.w), rel=1e-12)
    slope = sheaf.pull(problem.gradient(at), at.pattern)[0]
    h = 1e-5
    kinked = np.concatenate([np.arange(*sheaf.layout[z].indices(sheaf.N)) for z in ("z1", "z2")])
    for k in np.flatnonzero(~at.held[0]):
        if k in kinked and abs(at.w[0, k]) < 2 * h:
            continue
        step = h * np.eye(sheaf.N)[[k]]
        assert slope[k] == pytest.approx(
            (energy(at.w + step) - energy(at.w - step)) / (2 * h), rel=1e-6, abs=1e-6
        )


@given(st.sampled_from(DAGS), SEEDS)
def test_held_substitutions_against_dense_inverses(kind, seed):
    """Any pattern, any set C of held coordinates: δ_FF⁻¹ f, −δ_CF v, δ_FF⁻ᵀ (g_F − δ_CFᵀ g_C)."""
    rng = np.random.default_rng(seed)
    sheaf = small(kind, rng).sheaf
    pattern, held = rng.random((3, sheaf.M)) < 0.5, rng.random((3, sheaf.N)) < rng.random()
    f, g = rng.standard_normal((2, 3, sheaf.N))
    kept = f.copy(), g.copy()
    (v, image), p = held_forward(sheaf, f, pattern, held), held_backward(sheaf, g, pattern, held)
    np.testing.assert_array_equal((f, g), kept)
    for i in range(3):
        delta, _ = dense_system(sheaf.network, pattern[i], np.zeros(2))
        F, C = ~held[i], held[i]
        inverse = np.linalg.inv(delta[np.ix_(F, F)])
        np.testing.assert_allclose(v[i, F], inverse @ f[i, F], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(image[i, F], v[i, F] - f[i, F], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(
            image[i, C], -delta[np.ix_(C, F)] @ v[i, F], rtol=1e-10, atol=1e-10
        )
        np.testing.assert_allclose(
            p[i, F], inverse.T @ (g[i, F] - delta[np.ix_(C, F)].T @ g[i, C]), rtol=1e-10, atol=1e-10
        )
        np.testing.assert_array_equal(p[i, C], g[i, C])
        assert not v[i, C].any()


# outputs
# --------------------------------------------------------------------------------------------------


def classified(output, seed):
    """A net [2,5,n] with a label on a_out, soft labels too, and the energy with its
    cross-entropy.
    """
    rng = np.random.default_rng(seed)
    sheaf = NeuralSheaf(chain([2, 5, 3], rng, output))
    x, y = rng.standard_normal((1, 2)), labels(output, rng, 1, 3)
    if seed % 2:
        y = 0.7 * y + 0.1  # probabilities still: 0.1, 0.1, 0.8

    def energy(w):
        z = w[:, sheaf.layout["z2"]]
        psi = (
            np.logaddexp(0, z).sum(axis=1) if output == "sigmoid" else np.log(np.exp(z).sum(axis=1))
        )
        return sheaf.energy(w, np.repeat(x, len(w), axis=0)) + psi - (y * z).sum(axis=1)

    return sheaf, x, y, energy, 2 * rng.standard_normal((1, sheaf.N))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_cross_entropy_against_a_general_optimiser(output, seed):
    """On the smooth face of the answer a quasi-Newton method from elsewhere ends at the same point;
    around it V rises.
    """
    sheaf, x, y, energy, start = classified(output, seed)
    for w0 in (None, start):
        found = equilibrium(sheaf, x, pins=hard("a_out", y), start=w0)
        w, rng = found.cochain[0, : sheaf.N], np.random.default_rng(seed)
        assert (
            found.converged.all()
            and found.certificate.minimum().all()
            and found.cochain[0, sheaf.N :].tolist() == y[0].tolist()
        )
        corner = found.certificate.corner[0]
        delta, c = dense_system(sheaf.network, found.certificate.at.pattern[0], x[0])

        def smooth(part):
            v = np.zeros(sheaf.N)
            v[~corner] = part
            z = v[sheaf.layout["z2"]]
            psi = np.logaddexp(0, z).sum() if output == "sigmoid" else np.log(np.exp(z).sum())
            return 0.5 * ((delta @ v - c) ** 2).sum() + psi - y[0] @ z

        best = minimize(
            smooth,
            w[~corner] + 0.3 * rng.standard_normal((~corner).sum()),
            method="BFGS",
            options={"gtol": 1e-8},
        )
        np.testing.assert_allclose(best.x, w[~corner], rtol=0, atol=2e-6)
        assert (energy(w + 1e-3 * rng.standard_normal((300, sheaf.N))) > energy(w[None])).all()


@pytest.mark.parametrize(
    "output, label",
    [("sigmoid", [0.5, 2.0, 0.0]), ("sigmoid", [-0.1, 0.5, 0.5]), ("softmax", [0.5, 0.5, 0.5])],
)
def test_a_pin_that_is_no_label_is_refused(output, label):
    sheaf = NeuralSheaf(Network.he([2, 4, 3], np.random.default_rng(0), output))
    with pytest.raises(
        ValueError, match=f"label of the {output}: expected .*, got .* in the first sample"
    ):
        equilibrium(sheaf, [[1.0, 0.5]], pins=hard("a_out", label))


def test_a_point_that_is_no_minimum_is_granted_nothing():
    rng = np.random.default_rng(1)
    sheaf = NeuralSheaf(Network.he([3, 20, 20, 2], rng))
    stopped = equilibrium(
        sheaf, rng.standard_normal((10, 3)), pins=hard("z3", [1.0, -1.0]), max_iterations=1
    )
    unfinished = ~stopped.converged
    assert unfinished.any() and "not converged after 1 iterations" in stopped.reason
    certificate = stopped.certificate
    assert (
        not certificate.minimum()[unfinished].any() and not certificate.is_global[unfinished].any()
    )
    basin = certificate.basin()
    assert (basin.radius[unfinished] == 0).all() and not basin.holds(stopped.cochain)[
        unfinished
    ].any()


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_cross_entropy_against_the_heat_flow(output):
    """The flow with the "identity" force descends the same energy: its limit is an equilibrium, and
    the solver stays there.
    """
    ended = 0
    for seed in range(8):
        sheaf, x, y, energy, start = classified(output, seed)
        flow = relax(
            sheaf,
            x,
            np.hstack([start, y]),
            pins=hard("a_out", y),
            output_force="identity",
            tol=1e-13,
            max_steps=20_000,
            every=20_000,
        )
        if not flow.history.arrived.all():
            continue
        ended += 1
        found = equilibrium(sheaf, x, pins=hard("a_out", y), start=flow.cochain)
        np.testing.assert_allclose(found.cochain, flow.cochain, rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            energy(found.cochain[:, : sheaf.N]),
            energy(flow.cochain[:, : sheaf.N]),
            rtol=0,
            atol=1e-12,
        )
    assert ended >= 4


@pytest.mark.parametrize("dims", [(2, 6, 1), (2, 5, 4, 2)])
def test_a_label_of_training_is_a_soft_pin_of_stiffness_one(dims):
    """With frozen weights the joint flow rests at such an equilibrium, and its energy is V; corners
    apart, where Euler chatters.
    """
    rested = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sheaf, x = NeuralSheaf(Network.he(dims, rng)), rng.standard_normal((1, 2))
        y = sheaf.network(x) + rng.uniform(-3, 3, (1, dims[-1]))
        found = equilibrium(sheaf, x, pins=soft(sheaf.layout.names[-1], y, 1.0))
        assert found.converged.all() and found.certificate.minimum().all()
        flow = joint_flow(
            sheaf, x, y, start=found.cochain, beta=0, dt=0.01, every=100, stepper=JointStepper
        )
        assert next(flow).record.energy == pytest.approx(found.energy[0], rel=1e-12)
        if not found.certificate.corner.any():
            rested += 1
            np.testing.assert_allclose(next(flow).stalks, found.cochain, rtol=0, atol=1e-11)
    assert rested >= 3


# the certificate
# --------------------------------------------------------------------------------------------------


def disturbed(p, w, rng):
    """w (1, N) moved on its free coordinates, corners kept and no z_j led across 0: still in its
    closed cell.
    """
    problem = PinnedEnergy(p.sheaf, p.x, p.pins)
    size = 10.0 ** rng.uniform(-9, 0)
    step = np.where(problem.clamped, 0, size * rng.standard_normal(w.shape))
    for kink in problem.kinks.values():
        z = w[:, kink.here]
        step[:, kink.here] = np.clip(step[:, kink.here], -0.9 * abs(z), 0.9 * abs(z))
    return problem, w + step


@given(st.sampled_from(DAGS), SEEDS)
def test_bounds_of_a_disturbed_cochain_hold(kind, seed):
    """V − V* and |w − w*|, both known here, are at most what the certificate of the disturbed
    cochain says, up to rounding.
    """
    rng = np.random.default_rng(seed)
    p = small(kind, rng)
    found = enumerate_equilibria(p.sheaf, p.x, pins=p.pins)
    for w, V in zip(found.cochains[found.concave == 0], found.energies[found.concave == 0]):
        problem, moved = disturbed(p, w[None], rng)
        certificate = certify(problem, moved)
        excess = p.sheaf.energy(moved, p.x) + problem.pins.energy(moved) - V
        assert excess[0] <= certificate.energy_gap[0] * (1 + 1e-9) + 1e-13 * (1 + V)
        assert np.linalg.norm(moved - w) <= certificate.distance[0] * (1 + 1e-9) + 1e-12 * (
            1 + abs(w).max()
        )
        true = np.array_equal(np.sign(moved[0, found.units]), np.sign(w[found.units]))
        assert true or not certificate.pattern_certified[0]


@given(st.sampled_from(DAGS), SEEDS)
def test_a_certified_pattern_belongs_to_a_minimum(kind, seed):
    """Whatever cochain is asked about, near an equilibrium or not: if its pattern is certified, one
    of the minima has it.
    """
    rng = np.random.default_rng(seed)
    p = small(kind, rng)
    found, problem = (
        enumerate_equilibria(p.sheaf, p.x, pins=p.pins),
        PinnedEnergy(p.sheaf, p.x, p.pins),
    )
    sides = found.sides[found.concave == 0]
    for minimum in found.minima:
        size = 10.0 ** rng.uniform(-6, 0)
        w = problem.impose(minimum[None] + size * rng.standard_normal((1, p.sheaf.N)))
        corners = (minimum == 0) & (rng.random(p.sheaf.N) < 0.7)
        w[:, corners] = 0
        w = problem.impose(w)
        if certify(problem, w).pattern_certified[0]:
            assert (sides == np.sign(w[0, found.units])).all(axis=1).any()


@given(st.sampled_from(DAGS), SEEDS)
def test_no_other_equilibrium_lies_in_the_charts(kind, seed):
    """And where no unit divides it is the lowest of all."""
    p = small(kind, np.random.default_rng(seed))
    minima = enumerate_equilibria(p.sheaf, p.x, pins=p.pins).minima
    problem = PinnedEnergy(p.sheaf, p.x, p.pins)
    for w in minima:
        certificate = certify(problem, w[None])
        inside = np.ones(len(minima), dtype=bool)
        for name, chart in certificate.charts.items():
            kink = problem.kinks[name]
            z, a = minima[:, kink.here], minima[:, kink.readers[0][0]]
            inside &= np.where(
                chart == "a <= 0", a <= 0, np.where(chart == "z >= 0", z >= 0, z <= 0)
            ).all(axis=1)
        assert inside.sum() == 1 and abs(minima[inside] - w).max() == 0
        assert certificate.dividing[0] > 0 or abs(w - minima[0]).max() == 0


def test_a_global_minimum_need_not_be_the_only_one():
    """No unit divides at the lower of two minima: nothing lies below it, but something lies
    elsewhere. By hand, from two coupled units.
    """
    H = np.array([[0.5, -0.3], [-0.3, 0.5]])
    M = H @ np.linalg.inv(np.eye(2) - H)
    upper, C = np.linalg.cholesky(M).T, np.array([[2.0, 14.0], [14.0, 400.0]])
    s, a = np.array([1, 0.1]), np.array([0.01, 0.01])
    target = np.linalg.solve(upper.T, (np.eye(2) + M) @ -a)
    weights = [[[1.0], [1.0]], np.linalg.cholesky(C - np.eye(2)), upper]
    sheaf = NeuralSheaf(Network.mlp(weights, [[-1000.0, -1000.0], s + C @ (H @ s + a), [0.0, 0.0]]))
    pin, x = hard("z3", target), [[0.0]]
    minima, found = enumerate_equilibria(sheaf, x, pins=pin), equilibrium(sheaf, x, pins=pin)
    assert len(minima.minima) == 2 and minima.energies[0] < 1e-3 < 10 < minima.energies[1]
    assert (
        found.certificate.dividing.tolist() == [0]
        and abs(found.cochain[0] - minima.minima[0]).max() < 1e-9
    )


def test_edge_weights_over_seven_decades():
    for seed in seeds(15):
        rng = np.random.default_rng(seed)
        network = Network.he([2, 6, 6, 1], rng)
        sheaf = NeuralSheaf(
            network, {edge.name: 10 ** rng.uniform(-5, 2) for edge in NeuralSheaf(network).edges}
        )
        x = rng.standard_normal((4, 2))
        found = equilibrium(
            sheaf,
            x,
            pins=hard("z3", network(x) + rng.uniform(-3, 3, (4, 1))),
            start=3 * rng.standard_normal((4, sheaf.N)),
        )
        assert found.converged.all() and found.certificate.minimum().all()


@pytest.mark.parametrize("scale", [1e-12, 1e-7, 1e7])
def test_no_scale_is_built_in(scale):
    """V is homogeneous in inputs and pins together (zero biases), and a common factor of all edge
    weights changes no minimum.
    """
    rng = np.random.default_rng(0)
    network = Network.he([2, 4, 4, 1], rng)
    x, pin = rng.standard_normal((3, 2)), hard("z3", 5.0)
    w = equilibrium(NeuralSheaf(network), x, pins=pin).cochain
    assert (
        abs(
            equilibrium(NeuralSheaf(network), scale * x, pins=hard("z3", scale * 5.0)).cochain
            / scale
            - w
        ).max()
        < 1e-9
    )
    assert abs(equilibrium(NeuralSheaf(network, scale), x, pins=pin).cochain - w).max() < 1e-9


@pytest.mark.parametrize("gamma", [1e4, 1e8, 1e12])
def test_stiff_springs_are_certified(gamma):
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.he([2, 4, 4, 1], rng))
    found = equilibrium(sheaf, rng.standard_normal((3, 2)), pins=soft("z3", 5.0, gamma))
    assert found.converged.all() and found.certificate.minimum().all()


@examples(12)
@given(st.sampled_from(DAGS), SEEDS)
def test_saddles_and_other_points_are_not_certified(kind, seed):
    """A point with a concave corner is stationary in Clarke's sense: residual 0, and still no
    minimum.
    """
    p = small(kind, np.random.default_rng(seed))
    found, problem = (
        enumerate_equilibria(p.sheaf, p.x, pins=p.pins),
        PinnedEnergy(p.sheaf, p.x, p.pins),
    )
    for w, concave in zip(found.cochains, found.concave):
        certificate = certify(problem, w[None])
        assert certificate.residual[0] < 1e-9 * (1 + abs(w).max())
        slack = np.minimum(certificate.slack_minus, certificate.slack_plus)
        assert (slack < 0).any() == (concave > 0) == (not certificate.minimum()[0])
