"""prox-Euler rests where the flow does, slides exactly where Euler chatters, is first order, and
descends the energy.
"""

from functools import cache

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from oracles import dense_laplacian
from scipy.linalg import expm
from strategies import KINDS, MODERATE, cases

from sheaflib import Network, NeuralSheaf, ReLU, hard, harmonic_extension, heat, relax, soft
from sheaflib.companion.tasks import heat_run, paper_network, task
from sheaflib.flow.euler import ProxEulerStepper, flow_energy
from sheaflib.flow.kernels import CompiledProxStepper, can_compile
from sheaflib.sheaves import discord
from sheaflib.sheaves.forces import force

NEURON = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))  # z = ½, a = ReLU(z), z² = a
HELD = hard("a1", -1.0)  # ż = ½ − z below the kink, ½ − z − (z + 1) above: both push onto it
NUMBA = pytest.mark.skipif(not can_compile(NEURON), reason="numba is not there")
STEPPERS = [ProxEulerStepper, pytest.param(CompiledProxStepper, marks=NUMBA)]


# sliding
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("dt", [0.05, 0.4])
@pytest.mark.parametrize("start", [-2.0, -0.01, 0.0, 0.01, 2.0])
def test_a_flow_that_slides_at_rest_converges_to_the_kink(stepper, dt, start):
    """The equilibrium is z¹ = 0 exactly, and z² = a¹ = −1 follows; at most two changes of sign on
    the way.
    """
    run = relax(NEURON, [[0.0]], [[start, -1.0, 0.0]], pins=HELD, dt=dt, tol=1e-13, stepper=stepper)
    assert run.history.arrived.all()
    assert run["z1"][0, 0] == 0.0
    assert run["z2"][0, 0] == pytest.approx(-1.0, abs=1e-11)
    assert len(run.history.switches) <= 2


@pytest.mark.parametrize("dt", [0.01, 0.1, 0.4])
def test_euler_never_does(dt):
    run = relax(
        NEURON,
        [[0.0]],
        [[-2.0, -1.0, 0.0]],
        pins=HELD,
        dt=dt,
        tol=1e-3,
        max_steps=10_000,
        stepper="euler",
    )
    assert run.history.steps[0] == 10_000 and run.history.change[0] > dt / 4
    assert len(run.history.switches) > 2_000


def test_the_switches_of_the_second_recorded_run_do_not_grow_as_dt_shrinks():
    """Euler crosses the kink that the run slides along 46 times up to t = 100, and 416 times at a
    tenth of dt.
    """
    run = heat_run("2x6x4x4x1")

    def switches(stepper, dt, time):
        flow = relax(
            *run, dt=dt, max_steps=round(time / dt), every=10**6, tol=1e-300, stepper=stepper
        )
        return flow.history.switches

    coarse, fine = (switches("prox-euler", dt, 100) for dt in (1e-2, 1e-3))
    assert len(coarse) == len(fine) == 8
    assert [len(switches("euler", dt, 100)) for dt in (1e-2, 1e-3)] == [46, 416]
    # the same neurons in the same order, about when
    np.testing.assert_array_equal(coarse[:, 2], fine[:, 2])
    np.testing.assert_allclose(1e-2 * coarse[:, 0], 1e-3 * fine[:, 0], rtol=0.03, atol=0.02)
    last = switches("prox-euler", 1e-2, 250)  # and the one late switch of the flow itself
    assert len(last) == 9 and last[-1, 0] == pytest.approx(20303, rel=0.005)


@cache
def labelled(seed, stepper):
    """The paper's [2, 30, 1] with the output clamped to the label, from the forward pass: 300
    samples.
    """
    data, sheaf = task("paraboloid"), NeuralSheaf(paper_network("2x30x1", seed))
    options = {"pins": hard("z2", data.Y_train), "tol": 1e-11, "max_steps": 3000, "every": 3000}
    return relax(sheaf, data.X_train, sheaf.forward(data.X_train), stepper=stepper, **options)


@pytest.mark.parametrize("seed", [42, 0])
def test_with_the_output_clamped_to_the_label_every_sample_converges(seed):
    run, euler = labelled(seed, "prox-euler"), labelled(seed, "euler")
    assert run.history.arrived.all()
    chatters = euler.history.change > 1e-4
    assert 50 < chatters.sum() < 200
    held = (run["z1"] == 0).any(axis=1)
    assert held[chatters].all()  # who chatters is who slides


@pytest.mark.parametrize("seed", [42, 0])
def test_where_it_rests_the_flow_rests(seed):
    """0 lies between the forces of both sides on a held z (Filippov), and every other force is
    0.
    """
    run = labelled(seed, "prox-euler")
    sheaf, w, held = run.sheaf, run.cochain, run["z1"] == 0
    pattern = sheaf.pattern(w, run.x)
    plus, minus = (
        force(sheaf, w, run.x, pins=run.pins, pattern=s)[:, :30] for s in (pattern, pattern & ~held)
    )
    assert held.sum() > 100
    assert (
        (plus[held] < 1e-9).all()
        and (minus[held] > -1e-9).all()
        and (minus - plus)[held].max() > 0.01
    )
    rest = force(sheaf, w, run.x, pins=run.pins)
    rest[:, :30][held] = 0
    assert abs(rest).max() < 1e-9


def test_both_steppers_end_in_the_same_point_where_nothing_slides():
    run, euler = labelled(42, "prox-euler"), labelled(42, "euler")
    both = euler.history.arrived & (run.own_pattern == euler.own_pattern).all(axis=1)
    assert both.sum() > 100
    np.testing.assert_allclose(run.cochain[both], euler.cochain[both], rtol=0, atol=1e-8)


@examples(12)
@given(cases(scales=MODERATE, most=6, batch=2))
def test_without_pins_it_finds_the_forward_pass(case):
    """From near it, every operation included: matrix-free maps and max-pool too."""
    exact = case.sheaf.forward(case.x)
    options = {"stepper": "prox-euler", "tol": 1e-12, "max_steps": 1000, "every": 1000}
    run = relax(case.sheaf, case.x, exact + 0.1 * case.w, **options)
    if run.history.arrived.all():
        slow = np.linalg.eigvalsh(dense_laplacian(case.sheaf, run.pattern[0]))[0]
        assert discord.total(case.sheaf, run.cochain, case.x).max() < 1e-12 / min(slow, 1.0) ** 2


def test_a_pin_at_the_forward_pass_changes_nothing():
    rng = np.random.default_rng(0)
    sheaf, x = NeuralSheaf(Network.he([3, 5, 4, 2], rng)), rng.standard_normal((4, 3))
    w = sheaf.forward(x)
    run = relax(sheaf, x, w, pins=hard("z3", w[:, sheaf.layout["z3"]]), max_steps=100)
    np.testing.assert_allclose(run.cochain, w, rtol=0, atol=1e-13)


def test_soft_and_hard_pins_end_in_the_frozen_solve_of_their_pattern():
    rng = np.random.default_rng(3)
    sheaf, x = NeuralSheaf(Network.he([2, 6, 4, 1], rng)), rng.standard_normal((5, 2))
    w = sheaf.forward(x)
    for pin in (
        hard("z3", w[:, -1:] + 0.01),
        soft("a2", w[:, sheaf.layout["a2"]] + 0.01, 2.0),
        soft("z1", 0.3, 0.5),
    ):
        run = relax(sheaf, x, w, pins=pin, tol=1e-13)
        free = ~(run.cochain == 0).any(axis=1)
        direct = harmonic_extension(sheaf, x, pins=pin, pattern=run.pattern)
        assert free.any()
        np.testing.assert_allclose(run.cochain[free], direct.cochain[free], rtol=0, atol=1e-9)


# first order
# --------------------------------------------------------------------------------------------------


def orders(errors, ratio=2):
    return np.log(np.divide(errors[:-1], errors[1:])) / np.log(ratio)


def test_first_order_within_one_pattern():
    """w(t) = w* + e^{−tL}(w(0) − w*) with every neuron on."""
    rng = np.random.default_rng(12)
    network = Network.mlp(
        [rng.uniform(0.2, 1, (3, 2)), rng.uniform(-1, 1, (2, 3))], [[1.0] * 3, [0.5, -0.5]]
    )
    sheaf = NeuralSheaf(network, {"affine_2": 2.0})
    x = np.array([[1.0, 0.5]])
    rest = sheaf.forward(x)[0]
    start = rest + 0.2 * rng.uniform(-1, 1, sheaf.N)
    exact = rest + expm(-dense_laplacian(sheaf, np.ones(3))) @ (start - rest)
    errors = []
    for n in (50, 100, 200, 400, 800):
        run = relax(
            sheaf, x, start[None], dt=1 / n, max_steps=n, every=n, tol=1e-300, stepper="prox-euler"
        )
        assert len(run.history.switches) == 0
        errors.append(np.linalg.norm(run.cochain[0] - exact))
    assert abs(orders(errors) - 1).max() < 0.1 and abs(orders(errors)[-1] - 1) < 0.02


LANDS, LEAVES = np.log(2), np.log(4.5) / 2


def slides_and_leaves(t):
    """(z, a) of the neuron with z² clamped to 1 from (−½, −4): ȧ = 1 − 2a + max(z, 0), on three
    legs.

    z = ½ − e⁻ᵗ, a = ½ − 4.5 e⁻²ᵗ below the kink; at t = ln 2, a = −0.625 < −½ holds z = 0 till a =
    −½, at t = ln(4.5)/2; then ż = ½ − 2z + a, a linear system that rests at (2/3, 5/6).
    """
    a = 0.5 - 4.5 * np.exp(-2 * t)
    if t <= LEAVES:
        return np.array([min(0.5 - np.exp(-t), 0.0), a])
    rest = np.array([2 / 3, 5 / 6])
    return rest + expm((t - LEAVES) * np.array([[-2.0, 1.0], [1.0, -2.0]])) @ (
        np.array([0.0, -0.5]) - rest
    )


@pytest.mark.parametrize("stepper", STEPPERS)
def test_first_order_through_landing_on_a_kink_sliding_and_leaving_it(stepper):
    """The largest error along the trajectory against the closed form."""
    errors = []
    for dt in (0.02, 0.01, 0.005, 0.0025, 0.00125):
        states = heat(
            NEURON, [[0.0]], [[-0.5, -4.0, 1.0]], dt=dt, pins=hard("z2", 1.0), stepper=stepper
        )
        path = np.array([s.cochain[0, :2] for s, _ in zip(states, range(round(2 / dt) + 1))])
        exact = np.array([slides_and_leaves(dt * k) for k in range(len(path))])
        times = dt * np.arange(len(path))
        slides = (times > LANDS + 4 * dt) & (times < LEAVES - 4 * dt)
        assert (path[slides, 0] == 0).all() and (slides.any() or dt > 0.005)
        errors.append(abs(path - exact).max())
    assert errors[-1] < 0.005
    assert (
        abs(orders(errors) - 1).max() < 0.3 and abs(np.log2(errors[0] / errors[-1]) / 4 - 1) < 0.1
    )


def test_first_order_against_a_much_finer_euler_on_a_pinned_network_that_slides():
    sheaf, x, start = heat_run("2x6x4x4x1")
    pin = hard("z4", 3.0)

    def at_end(dt, stepper):
        return relax(
            sheaf,
            x,
            start,
            dt=dt,
            pins=pin,
            max_steps=round(8 / dt),
            every=10**6,
            tol=1e-300,
            stepper=stepper,
        )

    exact = at_end(2e-5, "euler")
    assert len(exact.history.switches) > 1000  # it slides
    errors = [
        abs(at_end(dt, "prox-euler").cochain - exact.cochain).max()
        for dt in (0.08, 0.02, 0.005, 0.00125)
    ]
    assert abs(orders(errors, 4) - 1).max() < 0.3
    assert errors[-1] < 0.01


# energy and step
# --------------------------------------------------------------------------------------------------


@examples(12)
@given(
    case=cases(scales=MODERATE, kinds=tuple(kind for kind in KINDS if kind != "pool")),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_energy_never_grows_at_the_default_step_across_kinks_too(case, seed):
    """Each leg of a crossing, to the kink and from it, goes down a convex parabola at least as
    steep as 1/h.
    """
    sheaf, rng = case.sheaf, np.random.default_rng(seed)
    name = rng.choice(sheaf.layout.names)
    pins = (
        hard(name, rng.standard_normal())
        if rng.random() < 0.5
        else soft(name, rng.standard_normal(), 2.0)
    )
    states = heat(sheaf, case.x, 2 * case.w, pins=pins, stepper=ProxEulerStepper)
    path = [state.cochain for state, _ in zip(states, range(60))]
    pinned = relax(sheaf, case.x, case.w, pins=pins, max_steps=1).pins
    energy = np.array([flow_energy(sheaf, w, case.x, pinned, "jacobian") for w in path])
    assert (np.diff(energy, axis=0) <= 1e-12 * (1 + energy[0])).all()


@pytest.mark.parametrize("slope", [0.0, 1.0, -1.0])
def test_the_largest_step_of_euler_is_stable(slope):
    """dt a hair below 2/λ_max with the neuron on: prox-Euler still converges; the implicit part
    only adds to its margin.
    """
    nodes = [
        (n.name, ReLU(1, slope) if n.name == "a1" else n.operation) for n in NEURON.network.nodes
    ]
    sheaf = NeuralSheaf(Network(1, nodes))
    largest = np.linalg.eigvalsh(dense_laplacian(sheaf, [1.0]))[-1]
    for start in (1.0, -1.0):
        run = relax(
            sheaf, [[1.0]], [[start, -1.0, 3.0]], dt=1.99 / largest, tol=1e-12, stepper="prox-euler"
        )
        np.testing.assert_allclose(run.cochain, [[1.5, 1.5, 1.5]], rtol=0, atol=1e-9)


@pytest.mark.parametrize("stalk, value", [("z1", -0.7), ("a1", -1.0), ("z2", 3.0)])
@pytest.mark.parametrize("stepper", STEPPERS)
def test_clamped_coordinates_never_move(stalk, value, stepper):
    for state, _ in zip(
        heat(NEURON, [[0.0]], [[0.5, -1.0, 2.0]], pins=hard(stalk, value), stepper=stepper),
        range(50),
    ):
        assert state.cochain[0, NEURON.layout[stalk]] == value
