"""Implicit Euler, minimising movements and Chebyshev: what each descends, how fast, where it ends;
and the ladder that counts their passes.
"""

from dataclasses import replace

import numpy as np
import pytest
from effort import examples
from equilibrium_cases import DAGS, dense_piece, nearest, small, toy
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from sheaflib import Affine, MaxPool, Network, NeuralSheaf, exact_flow, hard, heat, relax, soft
from sheaflib.companion import ladder
from sheaflib.companion.tasks import heat_run
from sheaflib.equilibria.certificate import certify
from sheaflib.equilibria.energy import PinnedEnergy
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.equilibria.newton import equilibrium
from sheaflib.flow.steppers import (
    SETTLED,
    ChebyshevStepper,
    ImplicitEulerStepper,
    MinimisingMovementsStepper,
)
from sheaflib.sheaves.pins import resolve

SEEDS = st.integers(0, 2**32 - 1)
NAMES = {
    "implicit-euler": ImplicitEulerStepper,
    "minimising-movements": MinimisingMovementsStepper,
    "chebyshev": ChebyshevStepper,
}
NEURON = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))  # u = ½


def timed(name, dt):
    """dt, None for the one stepper that has none."""
    return None if name == "chebyshev" else dt


def test_a_step_given_to_chebyshev_is_refused():
    with pytest.raises(ValueError, match="dt=0.1: chebyshev has no step, leave dt out"):
        relax(NEURON, [[0.0]], [[-2.0, -1.0, -1.0]], dt=0.1, stepper="chebyshev")


def begin(stepper, p, dt=0.1, tol=0.0):
    """A stepper at the start of a problem."""
    pins = resolve(p.sheaf, p.pins, len(p.x))
    return stepper(p.sheaf, p.x, pins.impose(p.start), dt, 1.0, pins, "jacobian", tol)


# implicit Euler
# --------------------------------------------------------------------------------------------------


@examples(12)
@given(st.sampled_from(DAGS), st.floats(-2, 3), SEEDS)
def test_every_implicit_step_lowers_the_energy(kind, exponent, seed):
    """By |Δw|²/(2dt) at least, for every dt: V(v) + |v − w|²/(2dt) ≤ V(w)."""
    p, dt = small(kind, np.random.default_rng(seed), n_batch=2), 10.0**exponent
    pins = resolve(p.sheaf, p.pins, 2)
    states = heat(p.sheaf, p.x, p.start, dt=dt, pins=p.pins, stepper="implicit-euler")
    path = np.array([state.cochain for state, _ in zip(states, range(8))])
    energy = np.array([p.sheaf.energy(w, p.x) + pins.energy(w) for w in path])
    moved = (np.diff(path, axis=0) ** 2).sum(axis=2) / (2 * dt)
    assert (np.diff(energy, axis=0) + moved <= 1e-11 * (1 + energy[0])).all()
    assert (path[:, :, pins.hard_index] == pins.hard_value).all()


@given(st.sampled_from(DAGS), st.floats(-2, 2), SEEDS)
def test_an_implicit_step_is_one_of_the_enumerated_minima(kind, exponent, seed):
    """Of V + |v − w|²/(2dt), which is V with a soft pin of stiffness 1/dt at w on every coordinate
    that is not clamped.
    """
    rng = np.random.default_rng(seed)
    p, dt = small(kind, rng), 10.0**exponent
    at = hard(p.sheaf.layout.names[-1], rng.uniform(-3, 3))
    p = p._replace(pins=[at])
    flow = begin(ImplicitEulerStepper, p, dt)
    springs = [
        soft(name, flow.w[:, p.sheaf.layout[name]], 1 / dt) for name in p.sheaf.layout.names[:-1]
    ]
    minima = enumerate_equilibria(p.sheaf, p.x, pins=[at, *springs]).minima
    flow.advance(1)
    assert nearest(minima, flow.w[0]) < 1e-9 * (1 + abs(flow.w).max())


@pytest.mark.parametrize("dt", [0.05, 1.0, 40.0])
@pytest.mark.parametrize("a", [-3.0, -1.0, -0.2, 0.0])
@pytest.mark.parametrize("z", [-2.0, -0.1, 0.0, 0.3, 2.0])
def test_an_implicit_step_of_one_neuron_by_a_scalar_search(z, a, dt):
    """a clamped at or below 0: ½(v − ½)² + ½(max(v, 0) − a)² + (v − z)²/(2dt) has one minimum; z²
    steps on its own.
    """
    state = list(
        zip(
            range(2),
            heat(
                NEURON, [[0.0]], [[z, a, 1.0]], dt=dt, pins=hard("a1", a), stepper="implicit-euler"
            ),
        )
    )[1][1]

    def objective(v):
        return 0.5 * (v - 0.5) ** 2 + 0.5 * (max(v, 0) - a) ** 2 + (v - z) ** 2 / (2 * dt)

    sides = [
        minimize_scalar(objective, bounds=b, method="bounded", options={"xatol": 1e-11})
        for b in ((-4, 0), (0, 4))
    ]
    best = min(sides, key=lambda found: found.fun).x
    np.testing.assert_allclose(
        state.cochain, [[best, a, (1 + dt * a) / (1 + dt)]], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("pinned", [False, True])
def test_implicit_euler_is_first_order(pinned):
    """Against the exact flow of the recorded run that slides, and with its output clamped: the
    largest error up to t = 1.6.
    """
    sheaf, x, start = heat_run("2x6x4x4x1")
    pins, errors = hard("z4", 3.0) if pinned else (), []
    flow = exact_flow(sheaf, x, start, pins=pins, until=1.7)
    for dt in (0.08, 0.04):
        times = dt * np.arange(round(1.6 / dt) + 1)
        exact = flow.at(times)
        states = heat(sheaf, x, start, dt=dt, pins=pins, stepper="implicit-euler")
        errors.append(abs(np.array([s.cochain[0] for s, _ in zip(states, times)]) - exact).max())
    assert abs(np.log2(np.divide(errors[:-1], errors[1:])) - 1).max() < 0.3 and errors[-1] < 0.2


# minimising movements
# --------------------------------------------------------------------------------------------------


def test_minimising_movements_double_their_step():
    p = toy(0)
    flow = begin(MinimisingMovementsStepper, p, 0.25)
    flow.advance(4)
    assert flow.time == 0.25 * 15 and flow.tau == 4.0 and flow.steps.tolist() == [4]


@pytest.mark.parametrize("widths", ladder.SIZES)
def test_minimising_movements_end_where_the_flow_does(widths):
    """On three quarters of these 12 samples at least; of 200 it is all but 5 %."""
    rungs = (ladder.exact_limits, ladder.movements)
    exact, moved = (rung(widths, ladder.SIZES[widths], samples=12) for rung in rungs)
    assert exact.settled.all() and moved.reached.all() and exact.end.shape == moved.end.shape
    agree = abs(exact.end - moved.end).max(axis=1) < 1e-6
    assert agree.sum() >= 9
    sheaf, x, pin, _, problem = ladder.problem(widths, ladder.SIZES[widths], samples=12)
    assert certify(problem, np.where(abs(exact.end) < 1e-13, 0, exact.end)).minimum().all()
    np.testing.assert_array_equal(moved.end[:, -1:], pin.value)


# Chebyshev
# --------------------------------------------------------------------------------------------------


@examples(12)
@given(st.sampled_from(DAGS), SEEDS)
def test_chebyshev_ends_at_a_strict_local_minimum(kind, seed):
    p = small(kind, np.random.default_rng(seed), n_batch=2)
    run = relax(
        p.sheaf,
        p.x,
        p.start,
        pins=p.pins,
        stepper="chebyshev",
        tol=1e-13,
        max_steps=50_000,
        every=50_000,
    )
    assert run.history.arrived.all()
    assert certify(PinnedEnergy(p.sheaf, p.x, p.pins), run.cochain).minimum(1e-8).all()


@examples(10)
@given(SEEDS)
def test_chebyshev_ends_at_an_enumerated_minimum(seed):
    p = toy(seed)
    run = relax(
        p.sheaf,
        p.x,
        p.start,
        pins=p.pins,
        stepper="chebyshev",
        tol=1e-14,
        max_steps=50_000,
        every=50_000,
    )
    assert nearest(enumerate_equilibria(p.sheaf, p.x, pins=p.pins).minima, run.cochain[0]) < 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_chebyshev_takes_the_root_of_kappa_steps(seed):
    """Once the pieces are fixed the error falls by 2ρⁿ, ρ = (√κ − 1)/(√κ + 1): ½√κ ln(2/ε) steps,
    not κ ln(1/ε).
    """
    p = toy(seed, (2, 12, 10, 8, 1))
    found = equilibrium(p.sheaf, p.x, pins=p.pins, start=p.start)
    problem, rng = found.problem, np.random.default_rng(seed)
    kinked = np.concatenate([np.arange(k.here.start, k.here.stop) for k in problem.kinks.values()])
    off = np.where(
        problem.clamped, 0, 1e-3 * found.certificate.margin[0] * rng.standard_normal(p.sheaf.N)
    )
    off[kinked] = 0
    flow = begin(ChebyshevStepper, p._replace(start=found.cochain + off))
    H, _, free, _ = dense_piece(
        problem, 0, found.certificate.at.pattern[0].astype(float), found.certificate.at.held[0]
    )
    low = np.linalg.eigvalsh(H[np.ix_(free, free)])[0]
    kappa = flow.largest / low
    rest, inner = np.setdiff1d(free, kinked), np.intersect1d(free, kinked)
    S = H[np.ix_(rest, rest)] - H[np.ix_(rest, inner)] @ np.linalg.solve(
        H[np.ix_(inner, inner)], H[np.ix_(inner, rest)]
    )
    values, modes = np.linalg.eigh(S)  # of V minimised over its kinks
    flow.advance(SETTLED)
    first = modes.T @ (flow.w - found.cochain)[0, rest]
    n = int(0.5 * np.sqrt(kappa) * np.log(2 / 1e-6)) + 1
    rho = (np.sqrt(kappa) - 1) / (np.sqrt(kappa) + 1)
    polynomial = np.polynomial.Chebyshev.basis
    for degree in (1, 2, 3, 10, n):
        flow.advance(degree + SETTLED - flow.steps[0])
        now = modes.T @ (flow.w - found.cochain)[0, rest]
        middle = (flow.largest + low) / 2
        half = (flow.largest - low) / 2
        expected = (
            polynomial(degree)((middle - values) / half) / polynomial(degree)(middle / half) * first
        )
        np.testing.assert_allclose(now, expected, rtol=0, atol=1e-12 + 1e-6 * abs(expected).max())
        assert np.linalg.norm(now) <= 2 * rho**degree * np.linalg.norm(first) + 1e-12
    assert (
        kappa > 100
        and flow.lowest[0] == pytest.approx(low, rel=1e-8)
        and n < kappa * np.log(1e6) / 3
    )


# names, passes, refusals
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_by_name_and_by_class_at_any_step(name):
    """A dt beyond Euler's limit, refused there, is fine here; the method says who it was; both ways
    give the same.
    """
    p = toy(3)
    options = {"pins": p.pins, "dt": 50.0, "tol": 1e-12, "max_steps": 3000}
    own = options | {"dt": timed(name, 50.0)}
    run, again = (
        relax(p.sheaf, p.x, p.start, stepper=stepper, **own) for stepper in (name, NAMES[name])
    )
    np.testing.assert_array_equal(run.cochain, again.cochain)
    assert run.method == f"heat by {name}" and run.history.arrived.all()
    # polished: a minimising movement is taken loosely
    w = equilibrium(p.sheaf, p.x, pins=p.pins, start=run.cochain).cochain
    assert abs(w - run.cochain).max() < (0.1 if name == "minimising-movements" else 1e-8)
    assert certify(PinnedEnergy(p.sheaf, p.x, p.pins), w).minimum(1e-8).all()
    for explicit in ("euler", "prox-euler"):
        with pytest.raises(ValueError, match=r"dt=50 is unstable: Euler needs dt < 2/\(α·λ_max\)"):
            relax(p.sheaf, p.x, p.start, stepper=explicit, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_a_start_with_a_out_is_refused(name, output):
    sheaf, x = NeuralSheaf(Network.he([2, 3, 2], np.random.default_rng(0), output)), np.ones((1, 2))
    with pytest.raises(ValueError, match="start holds a_out, which .* out"):
        relax(sheaf, x, sheaf.forward(x, augmented=True), stepper=name)
    run = relax(sheaf, x, sheaf.forward(x) + 0.1, stepper=name, dt=timed(name, 5.0), max_steps=2000)
    np.testing.assert_allclose(
        run.cochain, sheaf.forward(x), rtol=0, atol=0.01 if name == "minimising-movements" else 1e-8
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_passes_are_what_is_touched(name, seed):
    """By a hidden layer that counts, forward or transposed; two a step with Chebyshev, as Newton
    says with the implicit ones.

    Where Newton looks at every coordinate's own terms, some passes go over |W|, which are not seen
    here.
    """
    p, touched = toy(seed, (2, 5, 4, 1)), []

    def watched(weight):
        def apply(a):
            touched.append(1)
            return a @ weight.T

        def adjoint(e):
            touched.append(1)
            return e @ weight

        operation = Affine.from_maps(apply, adjoint, weight.shape)
        operation.absolute(np.ones((1, operation.n_in)))  # asks for its entries once
        return operation

    weights = [node.operation.weight for node in p.sheaf.network.affine_nodes]
    sheaf = NeuralSheaf(Network.mlp([weights[0], watched(weights[1]), weights[2]]))
    flow = begin(NAMES[name], p._replace(sheaf=sheaf), 0.3)
    for _ in range(5):
        before, paid = len(touched), flow.passes[0]
        flow.advance(1)
        unseen = (flow.passes[0] - paid) - (len(touched) - before)
        assert unseen == 0 if name == "chebyshev" else 0 <= unseen < flow.passes[0] - paid
    assert flow.passes[0] == 10 if name == "chebyshev" else flow.passes[0] >= 4 * 5
    run = relax(
        p.sheaf,
        p.x,
        p.start,
        pins=p.pins,
        stepper=name,
        dt=timed(name, 0.3),
        max_steps=5,
        tol=1e-300,
    )
    assert run.history.passes.tolist() == flow.passes.tolist() and run.history.steps.tolist() == [5]


def test_samples_that_rest_touch_nothing_more():
    """Each sample pays for its own steps: a batch as its samples one by one."""
    p = small("chain", np.random.default_rng(5), n_batch=2, weighted=False)
    p = p._replace(pins=hard(p.sheaf.layout.names[-1], 1.0))
    for name in NAMES:
        options = {
            "pins": p.pins,
            "stepper": name,
            "dt": timed(name, 20.0),
            "tol": 1e-10,
            "max_steps": 5000,
            "every": 5000,
        }
        together = relax(p.sheaf, p.x, p.start, **options)
        alone = [relax(p.sheaf, p.x[[i]], p.start[[i]], **options) for i in range(2)]
        np.testing.assert_allclose(
            together.cochain, np.concatenate([run.cochain for run in alone]), rtol=0, atol=1e-8
        )
        assert abs(together.history.steps - [run.history.steps[0] for run in alone]).max() <= 2


# residuals at a kink
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stepper", ["prox-euler", "implicit-euler", "minimising-movements", "chebyshev"]
)
def test_a_run_that_slides_at_rest_has_no_residual(stepper):
    """u = ½, a clamped to −1: z¹ rests at its corner, where V has the slopes −½ and ½; one corner,
    and no residual.
    """
    run = relax(
        NEURON,
        [[0.0]],
        [[-2.0, -1.0, -1.0]],
        pins=hard("a1", -1.0),
        dt=timed(stepper, 0.3),
        tol=1e-13,
        stepper=stepper,
    )
    assert run.cochain.tolist() == [[0.0, -1.0, -1.0]]
    assert run.corners.tolist() == [[True, False, False]] and run.residual == 0 and run.error == 0


@pytest.mark.parametrize(
    "u, a, corner, residual",
    [
        (0.5, -1.0, True, 0),
        (0.5, -0.2, False, 0.3),
        (-0.5, -1.0, False, 1.5),
        (-0.5, 1.2, False, 0.7),
        (0.0, -1.0, True, 0),
        (0.5, 0.0, False, 0.5),
    ],
)
def test_a_zero_that_is_not_held_is_no_corner(u, a, corner, residual):
    """Q₋ = u, Q₊ = u + a at z = 0: a corner where Q₋ ≥ 0 ≥ Q₊; elsewhere the force of the active
    side counts.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[u], [0.0]]))
    run = relax(sheaf, [[0.0]], [[0.0, a, a]], pins=hard("a1", a), max_steps=1, tol=1e-300)
    run = replace(run, cochain=np.array([[0.0, a, a]]))
    assert run.corners.tolist() == [[corner, False, False]] and run.residual == pytest.approx(
        residual, abs=1e-15
    )


def test_a_frozen_pattern_has_no_corners():
    run = relax(NEURON, [[0.0]], [[-2.0, -1.0, -1.0]], pins=hard("a1", -1.0), tol=1e-13)
    frozen = replace(run, frozen=True)
    assert not frozen.corners.any() and frozen.residual == pytest.approx(0.5)


# the ladder
# --------------------------------------------------------------------------------------------------


def test_sizes_of_the_ladder():
    assert ladder.SIZES == {"2x30x1": 0, "2x10x8x1": 42, "2x12x8x6x1": 0} and ladder.DEEP.split(
        "x"
    ) == ["2", *["50"] * 10, "1"]


@pytest.mark.parametrize("start", ["random", "forward"])
def test_the_problem_of_the_ladder(start):
    sheaf, x, pin, w, problem = ladder.problem("2x10x8x1", 42, start, samples=6)
    assert (
        x.shape == (6, 2)
        and w.shape == (6, sheaf.N)
        and problem.clamped.tolist() == [False] * (sheaf.N - 1) + [True]
    )
    np.testing.assert_array_equal(w[:, -1:], pin.value)
    assert (abs(w - sheaf.forward(x))[:, :-1].max() == 0) == (start == "forward")


@pytest.mark.parametrize("widths", ["2x30x1", "2x10x8x1"])
@pytest.mark.parametrize(
    "method, most",
    [("newton", 200), ("chebyshev", 5000), ("implicit-euler", 20_000), ("prox-euler", 40_000)],
)
def test_every_rung_arrives(widths, method, most):
    climb = ladder.climb(widths, method, ladder.SIZES[widths], samples=5)
    assert climb.reached.all() and (0 < climb.passes).all() and climb.passes.max() < most
    assert method in ("newton", "implicit-euler") or (climb.passes % 2 == 0).all()
    assert (
        certify(ladder.problem(widths, ladder.SIZES[widths], samples=5)[-1], climb.end)
        .minimum()
        .all()
    )


def test_passes_of_a_rung_are_where_it_comes_near_its_end():
    """Two passes a step: at the steps that are counted prox-Euler is within 1e-8 of its end, at 95
    % of them it was not.
    """
    climb = ladder.climb("2x30x1", "prox-euler", samples=3)
    sheaf, x, pin, start, problem = ladder.problem("2x30x1", 0, samples=3)
    for i, passes in enumerate(climb.passes):
        value, dt = pin.value[[i]], ladder.best_step(sheaf, problem.pins)
        late, early = (
            relax(
                sheaf,
                x[[i]],
                start[[i]],
                dt=dt,
                pins=hard("z2", value),
                max_steps=int(n),
                every=10**6,
                tol=1e-300,
            )
            for n in (passes / 2, 0.95 * passes / 2)
        )
        assert (
            abs(late.cochain - climb.end[i]).max() < 1e-8 < abs(early.cochain - climb.end[i]).max()
        )


def test_a_climb_that_is_cut_says_so():
    climb = ladder.climb("2x30x1", "prox-euler", samples=3, most=20)
    assert not climb.reached.any()
    plain = ladder.climb("2x30x1", "euler", samples=20, most=3000)
    assert 0 < plain.reached.sum() < 20  # some chatter for ever


@pytest.mark.parametrize("start", ["random", "forward"])
def test_fresh_nets_climb_too(start):
    climb = ladder.climb("2x6x4x1", "newton", 3, start=start, samples=4, fresh=True)
    assert (
        climb.reached.all()
        and climb.end.shape == (4, 6 + 6 + 4 + 4 + 1)
        and climb.passes.max() < 150
    )


@pytest.mark.parametrize("stepper", ("chebyshev", "implicit-euler", "minimising-movements"))
def test_ties_of_a_max_pool_are_refused(stepper):
    """A tie is at rest under forces that no stepper of these can tell from motion."""
    pool = Network(
        1, [("z", Affine(np.ones((2, 1)))), ("m", MaxPool([[0, 1]], 2)), ("o", Affine([[1.0]]))]
    )
    with pytest.raises(
        ValueError, match=f"max-pool reads the stalk 'z', which the stepper {stepper}"
    ):
        relax(
            NeuralSheaf(pool), [[3.0]], start=np.zeros((1, 4)), pins=hard("o", -3), stepper=stepper
        )
