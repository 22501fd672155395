"""PReLUs, clamps and pools with repeated entries: the sheaf's theorems and its flows hold for them
as for ReLUs (derived), by dense matrices and by a long Euler of tiny steps.
"""

from itertools import product

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from oracles import clamped, dense_laplacian, dense_system, operation_matrix, row_weights
from strategies import MODERATE, cases

from sheaflib import (
    Affine,
    Clamp,
    MaxPool,
    Network,
    NeuralSheaf,
    PReLU,
    ReLU,
    Stack,
    hard,
    harmonic_extension,
    heat,
    relax,
    soft,
)
from sheaflib.diagnosis import frozen, measures
from sheaflib.flow.euler import EulerStepper, ProxEulerStepper
from sheaflib.flow.exact_flow import exact_flow
from sheaflib.flow.kernels import CONSTANT, CompiledProxStepper, CompiledStepper, can_compile
from sheaflib.sheaves.forces import force
from sheaflib.sheaves.pins import resolve

EPS = np.finfo(float).eps
# x = 0, z = ½, a = clamp(z) between −1 and 2, z² = a
NEURON = NeuralSheaf(Network(1, [("z1", Affine([[1.0]], [0.5])), ("a1", Clamp(1, -1.0, 2.0))]))
NUMBA = pytest.mark.skipif(not can_compile(NEURON), reason="numba is not there")
PROX = [ProxEulerStepper, pytest.param(CompiledProxStepper, marks=NUMBA)]
ALL = [EulerStepper, pytest.param(CompiledStepper, marks=NUMBA), *PROX]
SELECTIONS = ("dense", "dense", "relu", "prelu", "clamp", "clamp", "pool", "stack")


def mixed(seed=0):
    """Every selection: a ReLU, a clamp, a one-sided clamp and a PReLU read z¹, a pool repeats
    entries, one clamp reads x, and one the pool.
    """
    rng = np.random.default_rng(seed)
    nodes = [
        ("z1", Affine(rng.standard_normal((4, 3)), rng.standard_normal(4))),
        ("a1", ReLU(4)),
        ("c1", Clamp(4, -0.5, 1.0), "z1"),
        ("b1", Clamp(4, -np.inf, 0.25), "z1"),
        ("l1", PReLU(4, [0.25, -1.5]), "z1"),
        ("r", Clamp(3, -1.0, 0.5), "x"),
        ("p", Stack(4, 4, 4, 4, 3), ("a1", "c1", "b1", "l1", "r")),
        ("m", MaxPool(rng.integers(0, 19, (5, 4)).repeat(2, axis=1), 19)),
        ("c2", Clamp(5, 0.0, 6.0)),
        ("z2", Affine(rng.standard_normal((2, 5)))),
    ]
    names = [edge.name for edge in NeuralSheaf(Network(3, nodes)).edges]
    weights = {name: rng.choice([0.5, 1.0, 2.0]) for name in names}
    sheaf = NeuralSheaf(Network(3, nodes), weights)
    return sheaf, rng.standard_normal((3, 3)), 2 * rng.standard_normal((3, sheaf.N))


# the sheaf ----------------------------------------------------------------------------------------


@given(cases(scales=MODERATE, most=6, kinds=SELECTIONS))
def test_the_forward_pass_is_the_one_global_section_over_x_and_the_ones(case):
    """With its own pattern, x and the ones of biases and clamps it is in the kernel of δ; the part
    of δ on Ω is unitriangular, so that no other cochain is.
    """
    sheaf, x = case.sheaf, case.x
    w = sheaf.forward(x)
    patterns = sheaf.pattern(w, x)
    for i, s in enumerate(patterns):
        delta, c = dense_system(sheaf.network, s, x[i])
        size = 1 + np.abs(w[i]).max()
        np.testing.assert_allclose(delta @ w[i], c, rtol=0, atol=1e-12 * size)
        cellular, boundary = sheaf.extended.cellular(s), sheaf.extended.boundary_index
        section = np.empty(cellular.layout.size)
        section[boundary] = sheaf.extended.boundary_values(x)[i]
        section[np.setdiff1d(np.arange(len(section)), boundary)] = w[i]
        np.testing.assert_allclose(cellular.coboundary @ section, 0, atol=1e-12 * size)
        free = cellular.coboundary[:, np.setdiff1d(np.arange(len(section)), boundary)].toarray()
        np.testing.assert_array_equal(free, delta)
    found = harmonic_extension(sheaf, x, pattern=patterns).cochain
    np.testing.assert_allclose(found, w, rtol=0, atol=1e-12 * (1 + np.abs(w).max()))


@given(cases(integer=True, kinds=SELECTIONS))
def test_V_is_zero_at_the_forward_pass_alone(case):
    """In whole numbers: at any other cochain some stalk differs first from what it is told."""
    sheaf, x = case.sheaf, case.x
    w = sheaf.forward(x)
    assert not sheaf.energy(w, x).any()
    np.testing.assert_array_equal(sheaf.energy(w + case.w, x) > 0, case.w.any(axis=1))


def test_the_restriction_maps_of_a_clamp():
    """[R | diag c] on (z, 1): 0 and the bound on the outer sides, 1 and 0 between."""
    network = Network(2, [("z1", Affine(np.eye(2))), ("a1", Clamp(2, -1.0, 2.0))])
    extended = NeuralSheaf(network).extended
    assert extended.ones_blocks["z1"] == (("a1", 2),) and extended.layout.dims == (4, 4, 2)
    for sides in product(range(3), repeat=2):
        edge = extended.cellular(sides).edges[1]
        R, c = ([[0, 1, 0][side] for side in sides], [[-1, 0, 2][side] for side in sides])
        expected = np.hstack([np.diag(R), np.diag(c)])
        np.testing.assert_array_equal(edge.from_tail.toarray(), expected)
        np.testing.assert_array_equal(edge.from_head.toarray(), np.eye(2))
    np.testing.assert_array_equal(extended.boundary_values([[3.0, 4.0]]), [[3, 4, 1, 1, 1, 1]])


@pytest.mark.parametrize(
    "clamp, ones",
    [(Clamp(1, 0.0, np.inf), 0), (Clamp(1, 0.0, 6.0), 1), (Clamp(1, -1.0, np.inf), 1)],
)
def test_only_a_clamp_with_a_constant_has_ones(clamp, ones):
    """One at 0 alone is a ReLU."""
    sheaf = NeuralSheaf(Network(1, [("z1", Affine([[1.0]])), ("a1", clamp)]))
    assert len(sheaf.extended.ones_blocks["z1"]) == ones


def test_the_measures_of_a_report_that_need_no_equilibrium():
    """λ₁, λ_max and the resistance of the forward pass's patterns by dense matrices."""
    sheaf, x, _ = mixed()
    found = measures.spectra(sheaf, x, np.arange(3))
    law = frozen.costs(sheaf, x, np.zeros((1, 2)))
    last = sheaf.layout["z2"]
    for i, s in enumerate(sheaf.forward_pattern(x)):
        L = dense_laplacian(sheaf, s)
        values = np.linalg.eigvalsh(L)
        rho = np.linalg.eigvalsh(np.linalg.inv(L)[last, last])
        assert found.smallest[i] == pytest.approx(values[0], rel=1e-9)
        assert found.largest[i] == pytest.approx(values[-1], rel=1e-9)
        assert law.norm[i] == pytest.approx(rho[-1], rel=1e-9)
    assert sum(law.shares.values()) == pytest.approx(1)
    values, loss = measures.forward(sheaf, x, np.zeros((3, 2)))
    np.testing.assert_array_equal(values, sheaf.network(x))
    np.testing.assert_allclose(loss, (values**2).sum(axis=1) / 2)


# where flows end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stepper", ["euler", "prox-euler"])
@pytest.mark.parametrize("seed", range(3))
def test_without_pins_every_flow_ends_in_the_forward_pass(stepper, seed):
    """From anywhere; the only rest is V = 0 (the paper's theorem, extended: derived). The error is
    at most |g|/λ₁ ≤ tol |T|/λ₁, and V at most |g|²/(2λ₁).
    """
    sheaf, x, start = mixed(seed)
    run = relax(sheaf, x, start, stepper=stepper, max_steps=400_000, every=400_000, tol=1e-7)
    assert run.history.arrived.all()
    assert (off(run) <= 1e-7 * reach(run)).all()
    size = np.linalg.norm(sheaf.gradient_terms(run.cochain, x), axis=1)
    assert (run.energy <= 1e-14 * size * reach(run)).all()


@NUMBA
@pytest.mark.parametrize("steppers", [ALL[0:2], ALL[2:4]], ids=["euler", "prox-euler"])
@pytest.mark.parametrize(
    "pins", [(), hard("z2", 2.0), soft("z1", 0.25, 2.0), [hard("c1", 1.5), hard("z1", -0.5, at=1)]]
)
def test_both_engines_take_the_same_steps(steppers, pins):
    sheaf, x, start = mixed(4)
    options = {"pins": pins, "max_steps": 80, "every": 80, "tol": 1e-9}
    oracle, engine = (
        relax(sheaf, x, start, stepper=getattr(s, "values", [s])[0], **options) for s in steppers
    )
    np.testing.assert_allclose(engine.cochain, oracle.cochain, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(engine.history.switches, oracle.history.switches)
    assert len(oracle.history.switches) > 10


def off(run):
    return np.linalg.norm(run.cochain - run.sheaf.forward(run.x), axis=1)


def reach(run):
    """|T|/λ₁ of the last state's pattern, and twice that for rounding."""
    slow = [np.linalg.eigvalsh(dense_laplacian(run.sheaf, s))[0] for s in run.pattern]
    return 2 * np.linalg.norm(run.sheaf.gradient_terms(run.cochain, run.x), axis=1) / slow


@examples(12)
@given(cases(scales=(0.5, 1.0), most=5, kinds=SELECTIONS))
def test_V_falls_along_the_flow_and_rest_is_the_forward_pass(case):
    """At rest or not: who arrives is at the forward pass; V never grows where nothing but
    single coordinates selects, whose kinks are implicit.
    """
    sheaf, x, w = case.sheaf, case.x, 2 * case.w
    run = relax(sheaf, x, w, tol=1e-9, max_steps=4000, every=4000)
    assert (off(run) <= 1e-9 * reach(run) + 1e-12)[run.history.arrived].all()
    states = heat(sheaf, x, w, stepper="prox-euler")
    V = np.array([sheaf.energy(s.cochain, x) for s, _ in zip(states, range(40))])
    pools = any(isinstance(node.operation, MaxPool) for node in sheaf.network.nodes)
    if not pools:
        assert (np.diff(V, axis=0) <= 1e-12 * (1 + V[0])).all()


def test_the_force_is_the_gradient_of_V_by_finite_differences():
    """V itself, its pattern following w, in the middle of pieces."""
    sheaf, x, w = mixed(5)
    h = 1e-6
    found = force(sheaf, w, x)
    for j, step in enumerate(h * np.eye(sheaf.N)):
        numeric = (sheaf.energy(w + step, x) - sheaf.energy(w - step, x)) / (2 * h)
        np.testing.assert_allclose(found[:, j], -numeric, rtol=0, atol=1e-6)


# corners ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a, rests", [(5.0, 2.0), (-3.0, -1.0), (1.0, 0.75)])
@pytest.mark.parametrize("start", [-4.0, -1.0, 0.2, 2.0, 7.0])
@pytest.mark.parametrize("stepper", PROX)
def test_a_flow_rests_on_the_bound_that_both_sides_push_it_to(a, rests, start, stepper):
    """a clamped: inside ż = (½ − z) + (a − z), outside ½ − z. With a = 5 the forces at 2 are 1.5
    and −1.5; with −3 those at −1 are 1.5 and −0.5; with 1 it rests at ¾.
    """
    pins, options = hard("a1", a), {"dt": 0.2, "tol": 1e-13}
    run = relax(NEURON, [[0.0]], [[start, a]], pins=pins, stepper=stepper, **options)
    assert run.history.arrived.all() and len(run.history.switches) <= 4
    held = rests in (-1.0, 2.0)
    assert run["z1"][0, 0] == rests if held else run["z1"][0, 0] == pytest.approx(rests, abs=1e-11)
    assert run.corners[0].tolist() == [held, False]
    assert run.residual < 1e-11 and run.error < 1e-11


@pytest.mark.parametrize("stepper", PROX)
@pytest.mark.parametrize("a", [5.0, -5.0])
def test_a_step_may_cross_both_bounds(stepper, a):
    """u = 10, the bounds ±0.01, z = −1, h = 0.4: ẑ = −1 + 0.4 · 11 = 3.4. Between the bounds the
    minimum is (3.4 + 0.4 a)/1.4 > 0.01, so every piece hands z on, and above it is ẑ.
    """
    nodes = [("z1", Affine([[1.0]], [10.0])), ("a1", Clamp(1, -0.01, 0.01))]
    sheaf = NeuralSheaf(Network(1, nodes))
    flow = heat(sheaf, [[0.0]], [[-1.0, a]], dt=0.4, stepper=stepper, pins=hard("a1", a))
    state = [next(flow), next(flow)][1]
    np.testing.assert_allclose(state.cochain, [[3.4, a]], rtol=1e-14)
    assert state.switches.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_first_order_against_a_much_finer_euler_on_pinned_networks_that_slide(seed):
    rng = np.random.default_rng(seed)
    nodes = [
        ("z1", Affine(rng.standard_normal((5, 2)), rng.standard_normal(5))),
        ("a1", Clamp(5, -0.5, 0.5)),
        ("l1", PReLU(5, rng.uniform(-1, 1, 5)), "z1"),
        ("s", Affine(rng.standard_normal((3, 5))), "a1"),
        ("a2", PReLU(3, rng.uniform(-1, 1, 3))),
        ("p", Stack(3, 5), ("a2", "l1")),
        ("z3", Affine(rng.standard_normal((1, 8)))),
    ]
    sheaf = NeuralSheaf(Network(2, nodes), {"activation_1": 3.0})
    x, start = rng.standard_normal((2, 2)), 1.5 * rng.standard_normal((2, sheaf.N))
    pins = [hard("z3", 4.0), hard("a1", 1.5, at=(0, 1))]

    def at_end(dt, stepper):
        n = round(2 / dt)
        options = {"max_steps": n, "every": n, "tol": 1e-300, "pins": pins}
        return relax(sheaf, x, start, dt=dt, stepper=stepper, **options)

    exact = at_end(2e-5, "euler")
    errors = [
        abs(at_end(dt, "prox-euler").cochain - exact.cochain).max() for dt in (0.02, 0.005, 0.00125)
    ]
    orders = np.log(np.divide(errors[:-1], errors[1:])) / np.log(4)
    assert errors[-1] < 0.01 and abs(orders - 1).max() < 0.3
    assert len(exact.history.switches) > 1000  # it slides, where prox-Euler holds it on a bound
    held = at_end(0.00125, "prox-euler").cochain[:, sheaf.layout["z1"]]
    assert (np.abs(held) == 0.5).any()


# when they have arrived ---------------------------------------------------------------------------


@pytest.mark.parametrize("stepper", ALL)
@examples(8)
@given(case=cases(scales=MODERATE, most=5, kinds=SELECTIONS), seed=st.integers(0, 2**32 - 1))
def test_a_flow_ends_at_its_first_state_at_rest_whatever_selects(stepper, case, seed):
    """Dense matrices, state by state: none before the last is at rest by its own terms."""
    sheaf, x, tol = case.sheaf, case.x[:1], 1e-3
    prox = stepper in (ProxEulerStepper, CompiledProxStepper)
    flow = heat(sheaf, x, case.w[:1], tol=tol, stepper=stepper)
    states = [state for state, _ in zip(flow, range(150))]
    floor = (256 * EPS) ** 2 * sheaf.gradient_terms(case.w[:1], x).max()
    unrest = [dense_unrest(sheaf, x[0], state.cochain[0], prox, floor) for state in states]
    assert min(unrest[:-1], default=1.0) > tol * (1 - 1e-6)
    assert (unrest[-1] <= tol * (1 + 1e-6)) >= states[-1].arrived[0]
    assert not any(state.arrived[0] for state in states[:-1])


def dense_unrest(sheaf, x, w, corners, floor):
    """max |g_i|/T_i with g = δᵀW(δw − c), T = |δ|ᵀW(|δ||w| + |c|'s parts); with `corners` what
    pushes away from a break, by either side's slope; 0 up to the floor.
    """
    own = sheaf.pattern(w[None], x[None])[0].astype(int)
    left = own.copy()
    at = np.zeros(sheaf.N, dtype=bool)
    for node in sheaf.network.nodes:
        operation = node.operation
        if node.inputs == ("x",) or not isinstance(operation, (ReLU, PReLU, Clamp)):
            continue
        z = w[sheaf.layout[node.inputs[0]]]
        points = [0.0] if not isinstance(operation, Clamp) else [operation.low, operation.high]
        on = np.isin(z, points)
        at[sheaf.layout[node.inputs[0]]] |= on
        left[sheaf.pattern_layout[node.name]] -= on

    def both(pattern):
        delta, c = dense_system(sheaf.network, pattern, x)
        constants = np.zeros(sheaf.N)
        for node in sheaf.network.nodes:
            here, operation = sheaf.layout[node.name], node.operation
            if isinstance(operation, Affine):
                constants[here] += abs(operation.bias)
            if isinstance(operation, Clamp):
                sides = pattern[sheaf.pattern_layout[node.name]]
                constants[here] += [abs(clamped(operation, side) or 0.0) for side in sides]
            start = 0
            for tail in node.inputs:
                width = len(x) if tail == "x" else len(w[sheaf.layout[tail]])
                if tail == "x":
                    F = operation_matrix(operation, sheaf.own(node, pattern[None])[0])
                    constants[here] += abs(F[:, start : start + width]) @ abs(x)
                start += width
        weights = row_weights(sheaf)
        g = delta.T @ (weights * (delta @ w - c))
        return g, abs(delta).T @ (weights * (abs(delta) @ abs(w) + constants))

    g, T = both(own)
    ratio = np.divide(abs(g), T, out=np.zeros_like(g), where=abs(g) > floor)
    if corners and at.any():
        g_left, T_left = both(left)
        up = np.divide(-g, T, out=np.zeros_like(g), where=-g > floor)
        down = np.divide(g_left, T_left, out=np.zeros_like(g), where=g_left > floor)
        ratio = np.where(at, np.maximum(up, down), ratio)
    return ratio.max()


@NUMBA
@given(cases(scales=MODERATE, most=6, kinds=SELECTIONS))
def test_the_compiled_steps_bound_the_terms_of_every_state(case):
    """T ≤ B m, m the largest coordinate or constant: what lets them leave T alone on the way."""
    sheaf, x, pins = case.sheaf, case.x, resolve(case.sheaf, [], len(case.x))
    flow = CompiledStepper(sheaf, x, case.w, 0.1, 1.0, pins, "jacobian", 1e-3)
    for scale in (0.0, 1.0, 100.0):
        w = scale * case.w
        most = np.maximum(np.abs(w).max(axis=1), flow.memory[:, CONSTANT])
        assert (sheaf.gradient_terms(w, x) <= (1 + 1e-12) * flow.steepness * most[:, None]).all()


# the exact flow -----------------------------------------------------------------------------------


def chain(first, second, seed):
    rng = np.random.default_rng(seed)
    nodes = [
        ("z1", Affine(rng.standard_normal((4, 2)), rng.standard_normal(4))),
        ("a1", first),
        ("z2", Affine(rng.standard_normal((4, 4)))),
        ("a2", second),
        ("z3", Affine(rng.standard_normal((1, 4)))),
    ]
    sheaf = NeuralSheaf(Network(2, nodes), {"activation_2": 2.0})
    return sheaf, rng.standard_normal((1, 2)), 2 * rng.standard_normal((1, sheaf.N))


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_flow_of_equal_slopes_is_that_of_a_leaky_relu(seed):
    one, x, start = chain(ReLU(4, 0.3), ReLU(4, -1.0), seed)
    other, _, _ = chain(PReLU(4, [0.3] * 4), PReLU(4, [-1.0, -1.0]), seed)
    flows = [exact_flow(sheaf, x, start, pins=hard("z3", 3.0)) for sheaf in (one, other)]
    assert flows[0].events == flows[1].events and len(flows[0].events) > 2
    np.testing.assert_array_equal(flows[0].limit, flows[1].limit)


@pytest.mark.parametrize("seed", range(6))
def test_the_exact_flow_of_a_prelu_against_a_fine_euler(seed):
    rng = np.random.default_rng(seed)
    sheaf, x, start = chain(PReLU(4, rng.uniform(-1, 1, 4)), PReLU(4, [0.5, -0.5]), seed)
    for pins in ([], [hard("z3", 3.0)], [soft("a1", -1.0, 2.0)]):
        flow = exact_flow(sheaf, x, start, pins=pins)
        options = {"dt": 1e-4, "max_steps": 10_000, "every": 10_000, "tol": 1e-300}
        run = relax(sheaf, x, start, pins=pins, stepper="euler", **options)
        np.testing.assert_allclose(flow.at([1.0])[0], run.cochain[0], rtol=0, atol=5e-3)
        if not pins:
            np.testing.assert_allclose(flow.limit, sheaf.forward(x)[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "operation, match",
    [
        (Clamp(2, -1.0, 2.0), r"node 'a1' is Clamp\(.*\), with kinks at -1, 2: .*use relax"),
        (Clamp(2, -1.0, np.inf), r"node 'a1' is Clamp\(.*\), with kinks at -1: .*use relax"),
        (MaxPool([[0, 1]], 2), r"node 'a1' is a max-pool: .*use relax"),
    ],
)
def test_the_exact_flow_names_the_selection_that_it_does_not_cover(operation, match):
    sheaf = NeuralSheaf(Network(1, [("z1", Affine(np.ones((2, 1)))), ("a1", operation)]))
    with pytest.raises(ValueError, match=match):
        exact_flow(sheaf, [[1.0]], np.zeros((1, sheaf.N)))


def test_the_exact_flow_names_the_way_out_where_kinks_do_not_separate():
    nodes = [("z1", Affine([[1.0]])), ("a1", PReLU(1, 0.5)), ("z2", Affine([[1.0]]), "z1")]
    sheaf = NeuralSheaf(Network(1, nodes))
    with pytest.raises(
        ValueError, match=r"node 'a1' reads the stalk 'z1', .*network.separated\(\)"
    ):
        exact_flow(sheaf, [[1.0]], np.zeros((1, 3)))
    apart = NeuralSheaf(sheaf.network.separated())
    flow = exact_flow(apart, [[1.0]], np.zeros((1, apart.N)))
    np.testing.assert_allclose(flow.limit, apart.forward([[1.0]])[0], atol=1e-12)
