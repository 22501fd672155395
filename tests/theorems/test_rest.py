"""When a flow has arrived: its velocity against its own terms, whatever dt, α and the scale of the
numbers, in every stepper.
"""

import numpy as np
import pytest
from equilibrium_cases import nearest, toy
from hypothesis import given
from hypothesis import strategies as st
from oracles import dense_laplacian, dense_system, row_weights

from sheaflib import Affine, HeatUnstable, Network, NeuralSheaf, ReLU, hard, heat, relax, soft
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.flow.euler import EulerStepper, ProxEulerStepper
from sheaflib.flow.heat import default_step
from sheaflib.flow.kernels import CompiledProxStepper, CompiledStepper, can_compile

EPS = np.finfo(float).eps
NEURON = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))  # u = ½
NUMBA = pytest.mark.skipif(not can_compile(NEURON), reason="numba is not there")
EULER = [EulerStepper, pytest.param(CompiledStepper, marks=NUMBA)]
EXPLICIT = [*EULER, ProxEulerStepper, pytest.param(CompiledProxStepper, marks=NUMBA)]
ALL = ["euler", "prox-euler", "implicit-euler", "minimising-movements", "chebyshev"]


def net(seed, dims=(2, 5, 4, 1), scale=1.0, bias=True):
    """A He net with biases, everything in it but the weights, and x and the start, `scale` times
    the numbers of scale 1.
    """
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((m, n)) * np.sqrt(2 / n) for n, m in zip(dims, dims[1:])]
    biases = [scale * bias * rng.standard_normal(m) for m in dims[1:]]
    sheaf = NeuralSheaf(Network.mlp(weights, biases))
    x, start = rng.standard_normal((2, dims[0])), 3 * rng.standard_normal((2, sheaf.N))
    return sheaf, scale * x, scale * start


def farthest(sheaf, x, w, tol):
    """How far a sample at rest may be from the forward pass: |w − w*|₂ ≤ |g|₂/λ₁ ≤ tol |T|₂/λ₁ in
    one pattern, by dense matrices.
    """
    terms = sheaf.gradient_terms(w, x)
    slow = [np.linalg.eigvalsh(dense_laplacian(sheaf, s))[0] for s in sheaf.pattern(w, x)]
    return tol * np.linalg.norm(terms, axis=1) / slow


def off(sheaf, x, w):
    return np.linalg.norm(w - sheaf.forward(x), axis=1)


# dt -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stepper", EXPLICIT)
def test_a_step_of_1e_18_does_not_arrive(stepper):
    sheaf, x, start = net(0)
    run = relax(sheaf, x, start, dt=1e-18, stepper=stepper, max_steps=500)
    assert not run.history.arrived.any() and (off(sheaf, x, run.cochain) > 1).all()
    assert "of its own terms in 2 of 2 samples" in run.reason


@pytest.mark.parametrize("stepper", EXPLICIT)
def test_where_no_coordinate_moves_it_ends_and_says_so(stepper):
    """w + dt·g = w in every coordinate: all later steps are the same."""
    sheaf, x, start = net(0)
    run = relax(sheaf, x, start, dt=1e-300, stepper=stepper)
    np.testing.assert_array_equal(run.cochain, start)
    assert run.history.steps.tolist() == [1, 1] and not run.history.arrived.any()
    assert run.reason.startswith("dt is below rounding: no coordinate moves after 1 steps, |∂V/∂w|")
    assert len(list(heat(sheaf, x, start, dt=1e-300, stepper=stepper, tol=1e-12))) == 2
    forever = heat(sheaf, x, start, dt=1e-300, stepper=stepper)  # tol = 0: as many as asked for
    assert [state.step for state, _ in zip(forever, range(5))] == [0, 1, 2, 3, 4]


@given(exponent=st.floats(-18, 0), seed=st.integers(0, 1000), name=st.sampled_from(ALL[:2]))
def test_whatever_dt_it_arrives_near_the_forward_pass_or_not_at_all(exponent, seed, name):
    sheaf, x, start = net(seed, (2, 4, 3, 1))
    dt = 1.9 * default_step(sheaf) * 10.0**exponent
    run = relax(sheaf, x, start, dt=dt, stepper=name, max_steps=20_000, every=20_000)
    near = off(sheaf, x, run.cochain) <= 2 * farthest(sheaf, x, run.cochain, 1e-12)
    assert near[run.history.arrived].all()
    ended = run.reason.startswith(("stopped at ", "dt is below rounding"))
    assert run.history.arrived.all() != ended
    if dt < 1e-8:  # 20 000 steps cover less time than 2e-4
        assert not run.history.arrived.any()


@given(exponent=st.floats(-12, 0), seed=st.integers(0, 500), name=st.sampled_from(ALL[:2]))
def test_with_pins_it_arrives_at_an_enumerated_minimum_or_not_at_all(exponent, seed, name):
    p = toy(seed)
    dt = 1.9 * default_step(p.sheaf) * 10.0**exponent
    run = relax(
        p.sheaf, p.x, p.start, dt=dt, pins=p.pins, stepper=name, max_steps=20_000, every=20_000
    )
    if run.history.arrived.all():
        assert (
            nearest(enumerate_equilibria(p.sheaf, p.x, pins=p.pins).minima, run.cochain[0]) < 1e-8
        )
    else:
        assert run.reason.startswith(("stopped at 20000 steps: ", "dt is below rounding"))
    if dt < 1e-8:
        assert not run.history.arrived.any()


@pytest.mark.parametrize("name", ALL)
def test_every_stepper_arrives_at_the_forward_pass(name):
    sheaf, x, start = net(3)
    run = relax(sheaf, x, start, stepper=name)
    assert run.history.arrived.all()
    assert run.reason.startswith("at rest: |∂V/∂w| ≤ 1e-12 of its own terms after ")
    assert (off(sheaf, x, run.cochain) <= 2 * farthest(sheaf, x, run.cochain, 1e-12)).all()


def test_the_implicit_steps_of_a_tiny_dt_do_not_arrive_either():
    sheaf, x, start = net(3)
    run = relax(sheaf, x, start, stepper="implicit-euler", dt=1e-18, max_steps=50)
    assert not run.history.arrived.any() and (off(sheaf, x, run.cochain) > 1).all()
    assert run.reason.startswith("a step changes nothing: no coordinate moves after ")


@pytest.mark.parametrize("stepper, dt", [("implicit-euler", 1e5), ("minimising-movements", None)])
@pytest.mark.parametrize("tol", [1e-12, 1e-3])
@pytest.mark.parametrize("seed", range(4))
def test_implicit_steppers_end_in_an_exact_solve(stepper, dt, tol, seed):
    """Whatever tol: on stiff networks, where tol leaves w free by tol·κ(L), they end within what
    256 ε leaves free, as the solver does.
    """
    rng = np.random.default_rng(seed)
    weights = [10 * rng.standard_normal((m, n)) for n, m in zip((2, 5, 4), (5, 4, 1))]
    sheaf = NeuralSheaf(Network.mlp(weights, [rng.standard_normal(m) for m in (5, 4, 1)]))
    x, start = rng.standard_normal((2, 2)), 3 * rng.standard_normal((2, sheaf.N))
    run = relax(sheaf, x, start, dt=dt, stepper=stepper, tol=tol)
    assert run.history.arrived.all()
    assert (off(sheaf, x, run.cochain) <= farthest(sheaf, x, run.cochain, 256 * EPS)).all()


def test_minimising_movements_outgrow_a_tiny_dt():
    sheaf, x, start = net(3)
    run = relax(sheaf, x, start, stepper="minimising-movements", dt=1e-18)
    assert run.history.arrived.all() and run.history.steps.max() < 200
    np.testing.assert_allclose(run.cochain, sheaf.forward(x), rtol=1e-10, atol=1e-10)


# the rule -----------------------------------------------------------------------------------------


def dense_unrest(sheaf, x, path, hard_at=(), springs=(), corners=False):
    """max |g_i|/T_i of every cochain of a path by dense matrices, g = δᵀW(δw − c) + γ(w − v), T of
    the absolute values; corners by both slopes.
    """
    constants = np.zeros(sheaf.N)
    for node in sheaf.network.nodes:
        if node.inputs == ("x",):
            constants[sheaf.layout[node.name]] = abs(node.operation.weight) @ abs(x)
        if isinstance(node.operation, Affine):
            constants[sheaf.layout[node.name]] += abs(node.operation.bias)

    weights, systems = row_weights(sheaf), {}

    def both(pattern, w):
        key = pattern.tobytes()
        if key not in systems:
            systems[key] = dense_system(sheaf.network, pattern, x)
        delta, c = systems[key]
        g = delta.T @ (weights * (delta @ w - c))
        T = abs(delta).T @ (weights * (abs(delta) @ abs(w) + constants))
        for i, gamma, value in springs:
            g[i] += gamma * (w[i] - value)
            T[i] += gamma * (abs(w[i]) + abs(value))
        return g, T

    relus = [n for n in sheaf.network.nodes if isinstance(n.operation, ReLU)]
    reads = np.concatenate([np.arange(sheaf.N)[sheaf.layout[n.inputs[0]]] for n in relus])
    found = []
    for w, own in zip(path, sheaf.pattern(path, np.repeat(x[None], len(path), axis=0))):
        (g, T), zero = both(own, w), w == 0
        ratio = np.divide(abs(g), T, out=np.zeros_like(g), where=T > 0)
        if corners and zero.any():
            left, T_left = both(own & ~zero[reads], w)
            sides = np.maximum(np.maximum(-g, 0) / T, np.maximum(left, 0) / T_left)
            ratio = np.where(zero, sides, ratio)
        ratio[list(hard_at)] = 0
        found.append(ratio.max())
    return found


@pytest.mark.parametrize(
    "stepper, tol",
    [
        *((stepper, 1e-2) for stepper in (EulerStepper, ProxEulerStepper)),
        pytest.param(CompiledStepper, 1e-6, marks=NUMBA),
        pytest.param(CompiledProxStepper, 1e-6, marks=NUMBA),
    ],
)
@pytest.mark.parametrize("case", ["free", "soft", "hard", "corner"])
def test_a_flow_ends_at_its_first_state_that_is_at_rest(stepper, tol, case):
    """By dense matrices, state by state: every state before the last one moves, and the last does
    not.
    """
    sheaf, x, start = net(1, (2, 4, 3, 1))
    sheaf = NeuralSheaf(sheaf.network, {"affine_1": 3.0, "activation_2": 0.25})
    x, start = x[:1], start[:1]
    if case == "corner":
        sheaf, x, start = NEURON, np.array([[0.0]]), np.array([[-2.0, -1.0, 3.0]])
    z2 = np.arange(sheaf.N)[sheaf.layout["z2"]]
    pins, options = {
        "free": ([], {}),
        "soft": ([soft("z2", 0.7, 2.0)], {"springs": [(i, 2.0, 0.7) for i in z2]}),
        "hard": ([hard("z2", 1.5, at=0)], {"hard_at": [z2[0]]}),
        "corner": ([hard("a1", -1.0)], {"hard_at": [1]}),
    }[case]
    prox = stepper in (ProxEulerStepper, CompiledProxStepper)
    flow = heat(sheaf, x, start, pins=pins, tol=tol, stepper=stepper)
    most = 500
    states = [state for state, _ in zip(flow, range(most if case == "corner" else 2000))]
    path = np.array([state.cochain[0] for state in states])
    unrest = dense_unrest(sheaf, x[0], path, corners=prox, **options)
    if states[-1].arrived[0]:
        assert unrest[-1] <= tol * (1 + 1e-6)
    else:  # Euler chatters at a corner for ever
        assert not prox and len(states) == most
    assert len(states) > 3 and min(unrest[:-1]) > tol * (1 - 1e-6)
    assert not any(state.arrived[0] for state in states[:-1])
    if case == "corner":
        assert states[-1].arrived[0] == prox and (not prox or states[-1].cochain[0, 0] == 0)


@pytest.mark.parametrize(
    "u, a, corner",
    [
        (0.5, -1.0, True),
        (0.5, -0.2, False),
        (-0.5, -1.0, False),
        (-0.5, 1.2, False),
        (0.0, -1.0, True),
    ],
)
@pytest.mark.parametrize("stepper", ALL + EXPLICIT)
def test_a_start_at_zero_rests_where_both_sides_push_back_and_it_is_held(u, a, corner, stepper):
    """Q₋ = u, Q₊ = u + a at z = 0. With u = 0 the slope of the inactive side is 0: no stepper but
    Euler, which starts active, moves.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[u], [0.0]]))
    run = relax(sheaf, [[0.0]], [[0.0, a, a]], pins=hard("a1", a), max_steps=1, stepper=stepper)
    euler = stepper in ("euler", EulerStepper, CompiledStepper)
    assert (run.history.steps[0] == 0) == (corner and not euler)
    assert run.history.arrived[0] or not (corner and not euler)


@pytest.mark.parametrize("name", ALL)
def test_a_start_at_rest_is_left_as_it_is(name):
    sheaf, x, _ = net(5)
    start = sheaf.forward(x)
    run = relax(sheaf, x, start, stepper=name)
    assert run.history.arrived.all() and run.history.steps.tolist() == [0, 0]
    np.testing.assert_array_equal(run.cochain, start)
    assert [state.step for state in heat(sheaf, x, start, tol=1e-12, stepper=name)] == [0]


@pytest.mark.parametrize("name", ALL)
def test_where_all_terms_vanish_there_is_rest(name):
    sheaf = NeuralSheaf(Network.mlp([[[1.0, 2.0], [0.5, -1.0]], [[1.0, 1.0]]]))
    run = relax(sheaf, [[0.0, 0.0]], np.zeros((1, sheaf.N)), stepper=name)
    assert run.history.arrived.all() and run.history.steps.tolist() == [0]


@pytest.mark.parametrize("stepper", EXPLICIT + ALL[2:])
def test_what_tends_to_zero_with_all_its_terms_arrives(stepper):
    """A dead layer without biases (or no input): a and the output tend to 0, and their velocity
    keeps its ratio to their terms.
    """
    sheaf = NeuralSheaf(Network.mlp([[[-1.0, -1.0], [-2.0, 0.5]], [[1.0, -1.0]]]))
    x, start = [[0.0, 0.0], [1.0, 0.5]], np.tile([-0.5, -1.0, 0.3, 0.2, 0.7], (2, 1))
    run = relax(sheaf, x, start, stepper=stepper, every=10_000)
    ordinary = relax(*net(2, (2, 2, 1)), stepper=stepper, every=10_000)
    assert run.history.arrived.all() and run.history.steps.max() < 20 * ordinary.history.steps.max()
    np.testing.assert_allclose(run.cochain, sheaf.forward(x), rtol=1e-10, atol=1e-24)


# scales -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale, bias", [(1e-8, True), (1.0, False), (1e8, True)])
@pytest.mark.parametrize("name", ALL)
def test_every_scale_arrives_with_the_same_relative_error(scale, bias, name):
    sheaf, x, start = net(7, scale=scale, bias=bias)
    run = relax(sheaf, x, start, stepper=name, every=100_000)
    assert run.history.arrived.all()
    assert (off(sheaf, x, run.cochain) <= 2 * farthest(sheaf, x, run.cochain, 1e-12)).all()
    assert off(sheaf, x, run.cochain).max() < 1e-9 * scale


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_inputs_of_another_scale_than_the_biases(scale):
    sheaf, x, start = net(7)
    run = relax(sheaf, scale * x, scale * start, every=100_000)
    assert run.history.arrived.all()
    allowed = 2 * farthest(sheaf, scale * x, run.cochain, 1e-12)
    assert (off(sheaf, scale * x, run.cochain) <= allowed).all()


@given(
    k=st.integers(-60, 60),
    j=st.integers(-40, 40),
    seed=st.integers(0, 1000),
    pinned=st.booleans(),
    stepper=st.sampled_from(ALL[:2]),
)
def test_powers_of_two_change_neither_the_steps_nor_the_digits(k, j, seed, pinned, stepper):
    """x, biases, start and targets 2ᵏ times as large: w is 2ᵏw to the bit. All edge weights and γ
    2ʲ times: with dt/2ʲ, w stays.
    """

    def run(scale, weight):
        sheaf, x, start = net(seed, (2, 4, 3, 1), scale)
        pins = [
            soft("z2", scale * np.array([0.5, -1.0, 2.0]), 2.0 * weight),
            hard("z1", scale * 0.3, at=1),
        ]
        return relax(
            NeuralSheaf(sheaf.network, weight),
            x,
            start,
            dt=2.0**-5 / weight,
            pins=pins if pinned else [],
            stepper=stepper,
            max_steps=20_000,
            every=20_000,
        )

    one, other = run(1.0, 1.0), run(2.0**k, 2.0**j)
    np.testing.assert_array_equal(other.history.steps, one.history.steps)
    np.testing.assert_array_equal(other.cochain, 2.0**k * one.cochain)
    np.testing.assert_array_equal(other.history.arrived, one.history.arrived)


def test_alpha_and_dt_only_matter_as_a_product():
    """α = 1e6 with a millionth of dt: the same states, and the same end; so max|Δ| is the same and
    no reason to say otherwise.
    """
    sheaf, x, start = net(4)
    slow = relax(sheaf, x, start, dt=2.0**-5)
    fast = relax(sheaf, x, start, dt=2.0**-25, alpha=2.0**20)
    np.testing.assert_array_equal(fast.history.steps, slow.history.steps)
    np.testing.assert_array_equal(fast.cochain, slow.cochain)
    lazy = relax(sheaf, x, start, dt=2.0**-5, alpha=2.0**-30, max_steps=2000)
    assert not lazy.history.arrived.any()


@pytest.mark.parametrize(
    "output, output_force",
    [("sigmoid", "jacobian"), ("softmax", "jacobian"), ("softmax", "identity")],
)
def test_the_output_edge_counts(output, output_force):
    """All but a_out at rest: the run goes on until a_out is φ(z)."""
    sheaf = NeuralSheaf(Network.he([2, 4, 2], np.random.default_rng(0), output))
    x = [[1.0, 0.5]]
    start = sheaf.forward(x, augmented=True)
    start[:, sheaf.N :] += 1e-6
    run = relax(sheaf, x, start, output_force=output_force)
    assert run.history.arrived.all() and run.history.steps[0] > 10
    np.testing.assert_allclose(run["a_out"], sheaf.network(x), rtol=0, atol=1e-11)


def test_a_large_bystander_does_not_hide_a_force():
    """Two nets side by side, one 1e8 times as large: the small one comes as near to its forward
    pass, relative to itself.
    """
    rng = np.random.default_rng(0)
    W1, W2 = rng.standard_normal((3, 2)), rng.standard_normal((1, 3))
    block = lambda W: np.block([[W, np.zeros_like(W)], [np.zeros_like(W), W]])
    sheaf = NeuralSheaf(Network.mlp([block(W1), block(W2)]))
    x = np.array([[1.0, 0.5, 1e8, 0.5e8]])
    exact = sheaf.forward(x)
    start = exact * (1 + 0.3 * rng.standard_normal(exact.shape))
    for name in ALL[:2]:
        run = relax(sheaf, x, start, stepper=name, every=100_000)
        assert run.history.arrived.all()
        for part in ([0, 1, 2, 6, 7, 8, 12], [3, 4, 5, 9, 10, 11, 13]):
            assert abs(run.cochain - exact)[:, part].max() <= 1e-10 * abs(exact)[:, part].max()


# what no rule may call rest -----------------------------------------------------------------------


@pytest.mark.parametrize("stepper", EXPLICIT)
@pytest.mark.parametrize("scale", [1e150, 1e200, 1e300, 1e307])
@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")
def test_terms_beyond_float64_are_no_rest(stepper, scale):
    sheaf, x, start = net(6)
    try:
        run = relax(sheaf, x, scale * start, stepper=stepper, max_steps=3)
    except (HeatUnstable, ValueError):
        return
    assert not run.history.arrived.any() and np.isfinite(run.cochain).all()


def test_the_papers_rule_is_still_there():
    """max|Δ| < tol, a number of the step: it stops where the velocity rule goes on, and at once for
    a tiny dt.
    """
    sheaf, x, start = net(1)
    by_step = relax(sheaf, x, start, dt=0.01, rest="step")
    assert by_step.history.arrived.all() and by_step.history.change.max() < 1e-12
    steps = int(by_step.history.steps.max())
    assert by_step.reason == f"max|Δ| < 1e-12 (the paper's rule) after {steps} steps"
    before = relax(sheaf, x, start, dt=0.01, rest="step", max_steps=steps - 1)
    assert before.history.change.max() >= 1e-12 and before.reason.startswith("stopped at ")
    assert relax(sheaf, x, start, dt=1e-18, rest="step").history.steps.tolist() == [1, 1]


# the energy that stops a flow ---------------------------------------------------------------------


@given(
    seed=st.integers(0, 1000),
    x_scale=st.integers(-8, 8),
    weight=st.integers(-8, 8),
    name=st.sampled_from(ALL[:2]),
    share=st.sampled_from([0.01, 0.5, 0.95]),
    ulps=st.sampled_from([0, 4]),
)
def test_a_flow_from_rest_never_runs_away(seed, x_scale, weight, name, share, ulps):
    """V is rounding of its terms there, whatever the scale of inputs and edge weights (1e-8 … 1e8,
    unequal): no HeatUnstable.
    """
    rng = np.random.default_rng(seed)
    sheaf, x, _ = net(seed, scale=10.0**x_scale)
    weights = {e.name: 10.0**weight * rng.uniform(0.5, 2) for e in sheaf.edges}
    sheaf = NeuralSheaf(sheaf.network, weights)
    start = sheaf.forward(x) * (1 + ulps * EPS * rng.standard_normal((2, sheaf.N)))
    dt = 2 * share * default_step(sheaf)
    for state, _ in zip(heat(sheaf, x, start, dt=dt, stepper=name, every=100), range(20)):
        np.testing.assert_allclose(
            state.cochain, sheaf.forward(x), rtol=1e-9, atol=1e-12 * 10.0**x_scale
        )


def first_beyond_twice():
    """The first step at which V of the run below is more than twice V of its start, by the two
    equations of motion.
    """

    def V(z, a):
        return 0.5 * ((z - 10) ** 2 + (a - max(z, 0)) ** 2 + (10 - a) ** 2)

    z, a, step, limit = -0.01, 0.0, 0, 2 * V(-0.01, 0.0)
    while V(z, a) <= limit:
        on = float(z >= 0)
        dz, da = z - 10 - on * (a - on * z), a - on * z - (10 - a)
        z, a, step = z - 0.9 * dz, a - 0.9 * da, step + 1
    return step


@pytest.mark.parametrize("stepper", EULER)
@pytest.mark.parametrize("scale", [2.0**-27, 1.0, 2.0**27])
@pytest.mark.parametrize("weight", [2.0**-27, 1.0, 2.0**27])
@pytest.mark.parametrize("springs", [[], [soft("z1", 1e6, 1e-9), soft("z1", -1e6, 1e-9)]])
def test_a_runaway_is_stopped_at_the_same_step_at_every_scale(stepper, scale, weight, springs):
    """z² pinned: λ_max = 2 while inactive, as at the start, and 3 once active, where dt = 0.9 > 2/3
    makes V grow.

    Two springs that pull a coordinate apart hold an energy that never changes, 1000 here, and is no
    reason to wait longer.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[10.0 * scale], [0.0]]), weight)
    springs = [soft("z1", pin.value * scale, pin.gamma * weight) for pin in springs]
    with pytest.raises(HeatUnstable, match=rf"at step {first_beyond_twice()} of sample 0"):
        relax(
            sheaf,
            [[0.0]],
            scale * np.array([[-0.01, 0.0, 10.0]]),
            dt=0.9 / weight,
            pins=[hard("z2", 10.0 * scale), *springs],
            stepper=stepper,
        )


@pytest.mark.parametrize("stepper", EULER)
@pytest.mark.parametrize("logit", [37.0, 40.0, 700.0, 1e8])
def test_a_saturated_cross_entropy_is_rounding_and_no_runaway(stepper, logit):
    """ψ(z) − az with a = 1 is e⁻ᶻ, far below the rounding of z: it may seem to grow from 0 to some
    ε z.
    """
    rng = np.random.default_rng(0)
    sheaf = NeuralSheaf(Network.mlp([np.ones((1, 2))], output="sigmoid"), {"output": 50.0})
    x = logit * np.array([[0.3, 0.7]])
    start = sheaf.forward(x, augmented=True)
    start[:, 0] *= 1 + 4 * EPS * rng.standard_normal()
    states = heat(
        sheaf, x, start, pins=hard("a_out", 1.0), output_force="identity", stepper=stepper
    )
    assert len([state for state, _ in zip(states, range(300))]) == 300


@pytest.mark.parametrize("stepper", EULER)
@pytest.mark.parametrize(
    "weight, away", [(1e-8, 1e-8), (1e-8, 1e8), (1.0, 1.0), (1e8, 1e-8), (1e8, 1e8)]
)
def test_a_far_a_out_under_the_identity_force_is_no_runaway(stepper, weight, away):
    """a_out tends to φ(z) by itself and gives the edges below what it holds, whatever that is."""
    sheaf = NeuralSheaf(Network.he([2, 4, 1], np.random.default_rng(0), "sigmoid"), weight)
    x = [[1.0, 0.5]]
    start = sheaf.forward(x, augmented=True)
    start[:, sheaf.N :] += away
    run = relax(
        sheaf, x, start, output_force="identity", stepper=stepper, max_steps=5000, every=5000
    )
    assert run.history.arrived.all()
    np.testing.assert_allclose(run["a_out"], sheaf.network(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "weight, alpha, dt",
    [(1e200, 1.0, None), (1e200, 1.0, 0.1), (1e20, 1e308, None), (1.0, 1e-320, None)],
)
def test_a_step_that_float64_cannot_hold_is_refused_by_name(weight, alpha, dt):
    sheaf = NeuralSheaf(Network.mlp([[[weight]], [[weight]]]))
    with pytest.raises(OverflowError, match=r"[12]/\(α·λ\) is no float64 for α = .*: give dt"):
        relax(sheaf, [[0.0]], [[0.0, 0.0, 1.0]], alpha=alpha, dt=dt)
