"""prox-Euler in NumPy and compiled are one flow, and its step is the minimisation that it says."""

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from strategies import KINDS, MODERATE, cases

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack, hard, heat, relax, soft
from sheaflib.flow.corners import prox
from sheaflib.flow.euler import EulerStepper, ProxEulerStepper
from sheaflib.flow.kernels import CompiledProxStepper, CompiledStepper, can_compile
from sheaflib.layers import add

STEPS = 100
COMPILED = tuple(kind for kind in KINDS if kind != "matrix-free")
SMALL = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))
numba = pytest.mark.skipif(not can_compile(SMALL), reason="numba is not there")


def both(sheaf, x, start, **options):
    return [
        relax(
            sheaf, x, start, max_steps=STEPS, every=STEPS // 4, tol=1e-9, stepper=stepper, **options
        )
        for stepper in (ProxEulerStepper, CompiledProxStepper)
    ]


def assert_same(oracle, engine):
    size = 1 + abs(oracle.cochain).max(axis=1, keepdims=True)
    assert (abs(engine.cochain - oracle.cochain) <= 1e-12 * size).all()
    np.testing.assert_array_equal(engine.history.switches, oracle.history.switches)
    np.testing.assert_array_equal(engine.history.steps, oracle.history.steps)
    np.testing.assert_array_equal(engine.history.arrived, oracle.history.arrived)


def random_pins(sheaf, rng, n_batch, augmented=False):
    names = sheaf.augmented_layout.names if augmented else sheaf.layout.names
    for name in rng.choice(names, size=rng.integers(1, min(3, len(names)) + 1), replace=False):
        s = sheaf.augmented_layout[name]
        value = rng.standard_normal((n_batch, s.stop - s.start))
        yield (
            hard(name, value)
            if rng.random() < 0.5
            else soft(name, value, gamma=rng.choice([0.1, 2.0]))
        )


# NumPy = compiled
# --------------------------------------------------------------------------------------------------


@numba
@examples(12)
@given(
    case=cases(scales=MODERATE, kinds=COMPILED, outputs=("identity", "sigmoid", "softmax")),
    augmented=st.booleans(),
    output_force=st.sampled_from(["jacobian", "identity"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_engines_agree_on_any_dag_with_edge_weights_and_pins(case, augmented, output_force, seed):
    sheaf, rng = case.sheaf, np.random.default_rng(seed)
    augmented = augmented and not sheaf.network.output.is_identity
    start = (
        np.hstack([case.w, rng.random((len(case.w), sheaf.network.n_out))]) if augmented else case.w
    )
    pins = list(random_pins(sheaf, rng, len(case.x), augmented))
    assert_same(
        *both(
            sheaf,
            case.x,
            start,
            pins=pins,
            output_force=output_force,
            alpha=rng.choice([0.5, 1.0, 2.0]),
        )
    )


@numba
@pytest.mark.parametrize("slope", [0.0, 0.1, -1.0])
@pytest.mark.parametrize(
    "pin",
    [
        hard("z3", 2.0),
        soft("z3", -2.0, 3.0),
        hard("a1", -0.5, at=0),
        soft("z1", 1.0, 0.5, at=(1, 2)),
    ],
)
def test_engines_agree_on_chains_of_every_slope(slope, pin):
    rng = np.random.default_rng(7)
    W = [rng.standard_normal((5, 2)), rng.standard_normal((4, 5)), rng.standard_normal((1, 4))]
    nodes = [
        ("z1", Affine(W[0])),
        ("a1", ReLU(5, slope)),
        ("z2", Affine(W[1])),
        ("a2", ReLU(4, slope)),
        ("z3", Affine(W[2])),
    ]
    sheaf = NeuralSheaf(Network(2, nodes), {"activation_1": 2.0, "affine_2": 0.5})
    assert_same(
        *both(sheaf, rng.standard_normal((4, 2)), rng.standard_normal((4, sheaf.N)), pins=pin)
    )


def branched():
    """Two ReLUs of other slopes and weights and a stack read z¹, one ReLU a ReLU, one x; the
    branches merge.
    """
    rng = np.random.default_rng(2)
    nodes = [
        ("z1", Affine(rng.standard_normal((3, 2)), rng.standard_normal(3))),
        ("a1", ReLU(3)),
        ("l1", ReLU(3, 0.25), "z1"),
        ("b1", ReLU(3, -1.0), "a1"),
        ("r", ReLU(2), "x"),
        ("p", Stack(3, 3, 3, 3, 2), ("z1", "a1", "l1", "b1", "r")),
        ("z2", Affine(rng.standard_normal((3, 14)) / 2)),
        ("q", Stack(3, 3), ("z2", "z1")),
        ("s", add(3)),
        ("a2", ReLU(3)),
        ("z3", Affine(rng.standard_normal((1, 3)))),
    ]
    sheaf = NeuralSheaf(
        Network(2, nodes), {"activation_1": 2.0, "activation_2": 0.5, "activation_3": 1.5}
    )
    return sheaf, rng.standard_normal((3, 2)), rng.standard_normal((3, sheaf.N))


@numba
@pytest.mark.parametrize(
    "pin", [hard("z3", -3.0), soft("z1", 0.0, 2.0), hard("z1", 0.0, at=1), hard("a1", -1.0)]
)
def test_engines_agree_on_several_readers_of_one_coordinate(pin):
    assert_same(*both(*branched(), pins=pin))


# the step
# --------------------------------------------------------------------------------------------------


def numbers(most):
    """Numbers that are zero or of some size: a search cannot tell the sign of the others."""
    return st.floats(-most, most).map(lambda v: round(v, 4))


# slope, edge weight, a
READERS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 1.0, -1.0, 2.0]), st.sampled_from([0.25, 1.0, 3.0]), numbers(3)
    ),
    min_size=1,
    max_size=3,
)


def lowest(side, value):
    """The minimum over one side of the kink of a function that is convex there, by a search that
    knows no formula.
    """
    bounds = (0.0, 40.0) if side > 0 else (-40.0, 0.0)
    found = minimize_scalar(
        value, bounds=bounds, method="bounded", options={"xatol": 1e-12, "maxiter": 1000}
    ).x
    return found if value(found) < value(0.0) - 1e-13 else 0.0


@examples(60)
@given(z=numbers(2), free=numbers(3), h=st.sampled_from([1e-2, 0.1, 0.5]), relus=READERS)
def test_the_update_minimises_and_prefers_its_own_side(z, free, h, relus):
    slope, weight, a = map(np.array, zip(*relus))

    def value(v):
        return (v - free) ** 2 / (2 * h) + 0.5 * (
            weight * (np.where(v >= 0, v, slope * v) - a) ** 2
        ).sum()

    pull = np.array([(slope * weight * a).sum(), (weight * a).sum()])
    stiffness = np.array([(slope**2 * weight).sum(), weight.sum()])
    found = float(prox(z, free, h, pull, stiffness, np.zeros(1)))
    own = 1 if z >= 0 else -1
    best = lowest(own, value) or lowest(-own, value)
    assert found == pytest.approx(best, abs=2e-6)
    assert value(found) <= min(value(0.0), value(best)) + 1e-12
    if found == 0:  # held: both sides push onto the kink
        assert free + h * pull[1] <= 0 <= free + h * pull[0]


# a ReLU's slope, or the bounds of a clamp; edge weight; a
ANY_READERS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, -1.0, (-1.0, 1.0), (0.0, 0.5), (-0.5, np.inf), (-np.inf, 1.0)]),
        st.sampled_from([0.25, 1.0, 3.0]),
        numbers(3),
    ),
    min_size=1,
    max_size=3,
)


@examples(80)
@given(z=numbers(2), free=numbers(4), h=st.sampled_from([1e-2, 0.1, 0.5, 4.0]), readers=ANY_READERS)
def test_the_update_goes_down_to_the_first_minimum_across_any_breaks(z, free, h, readers):
    """By searches between the breaks, from the piece of z on, that know no formula."""

    def selected(kind, v):
        return np.clip(v, *kind) if isinstance(kind, tuple) else np.where(v >= 0, v, kind * v)

    def value(v):
        parts = [weight * (selected(kind, v) - a) ** 2 for kind, weight, a in readers]
        return (v - free) ** 2 / (2 * h) + 0.5 * sum(parts)

    points = {
        p
        for kind, _, _ in readers
        for p in (kind if isinstance(kind, tuple) else (0.0,))
        if np.isfinite(p)
    }
    ends = [-90.0, *sorted(points), 90.0]

    def least(piece):
        low, high = ends[piece], ends[piece + 1]
        options = {"xatol": 1e-12, "maxiter": 1000}
        v = minimize_scalar(value, bounds=(low, high), method="bounded", options=options).x
        at_end = [
            end for end in (low, high) if value(end) <= value(v) + 1e-13 and abs(end - v) < 1e-4
        ]
        return at_end[0] if at_end else v

    piece, way = sum(z >= p for p in points), 0
    found = least(piece)
    while found in points and (way == 0 or found == ends[piece + (way > 0)]):
        way = way or (1 if found == ends[piece + 1] else -1)
        piece += way
        found = least(piece)
    numbers_of = np.zeros((2, len(ends) - 1))  # of each piece: the pull and the stiffness
    for k in range(len(ends) - 1):
        inner = (ends[k] + ends[k + 1]) / 2
        for kind, weight, a in readers:
            slope = selected(kind, inner + 1e-3) - selected(kind, inner - 1e-3)
            slope = round(float(slope) / 2e-3, 6)
            constant = float(selected(kind, inner)) - slope * inner
            numbers_of[:, k] += weight * slope * np.array([a - constant, slope])
    got = float(prox(z, free, h, *numbers_of, np.array(sorted(points))))
    assert value(got) <= value(z) + 1e-9
    assert got == pytest.approx(found, abs=1e-5)


@examples(60)
@given(
    z=st.floats(-2, 2),
    free=st.floats(-3, 3),
    h=st.sampled_from([1e-2, 0.1, 0.5, 2.0]),
    a=st.floats(-3, 3),
)
def test_the_update_of_one_relu_in_closed_form(z, free, h, a):
    """Slope 0, weight 1: (ẑ + ha)/(1 + h) on the plus side, min(ẑ, 0) else."""
    plus = free + h * a > 0 and (free >= 0 or z >= 0)
    found = prox(z, free, h, np.array([0.0, a]), np.array([0.0, 1.0]), np.zeros(1))
    assert found == ((free + h * a) / (1 + h) if plus else min(free, 0.0))


@pytest.mark.parametrize(
    "stepper", [ProxEulerStepper, pytest.param(CompiledProxStepper, marks=numba)]
)
def test_one_step_is_explicit_but_for_the_activation_edges_in_z(stepper):
    """x = 0, b¹ = ½, w = (z, a, z²) = (1, −1, 0), h = 0.1, z² → 1 by γ = 2, and z → 3 by γ = 4.

    ẑ = 1 + 0.1 (−(1 − ½) − 4 (1 − 3)) = 1.75, so z = (1.75 − 0.1)/1.1 = 1.5; a: −(−1 − 1) + (0 + 1)
    = 3; z²: −(0 + 1) + 2 = 1.
    """
    states = heat(
        SMALL,
        [[0.0]],
        [[1.0, -1.0, 0.0]],
        dt=0.1,
        pins=[soft("z2", 1.0, 2.0), soft("z1", 3.0, 4.0)],
        stepper=stepper,
    )
    state = [next(states), next(states)][1]
    np.testing.assert_allclose(state.cochain, [[1.5, -0.7, 0.1]], rtol=0, atol=1e-15)
    np.testing.assert_allclose(state.change, [0.5], rtol=1e-14)


@pytest.mark.parametrize(
    "stepper", [ProxEulerStepper, pytest.param(CompiledProxStepper, marks=numba)]
)
def test_a_step_of_a_branched_network_against_scalar_minimisations(stepper):
    """Every z that a ReLU reads by a search on its own line, every other coordinate by Euler,
    clamped ones not at all.
    """
    sheaf, x, start = branched()
    pins, h = [hard("a1", -1.0, at=0), hard("z1", 0.3, at=2), soft("z1", 0.5, 2.0, at=1)], 0.02
    states = heat(sheaf, x, start, dt=h, pins=pins, stepper=stepper)
    before, after = next(states).cochain, next(states).cochain
    euler = heat(sheaf, x, start, dt=h, pins=pins, stepper=EulerStepper)
    explicit = [next(euler), next(euler)][1].cochain
    nodes = [
        node
        for node in sheaf.network.nodes
        if isinstance(node.operation, ReLU) and node.inputs != ("x",)
    ]
    relus = [(node, sheaf.layout[node.name], sheaf.layout[node.inputs[0]]) for node in nodes]
    read = np.zeros(sheaf.N, dtype=bool)
    for _, _, z in relus:
        read[z] = True
    read[sheaf.layout["z1"].start + 2] = False
    np.testing.assert_allclose(after[:, ~read], explicit[:, ~read], rtol=0, atol=1e-15)
    for i in range(len(x)):
        for j in np.flatnonzero(read):
            mine = [
                (
                    node.operation.slope,
                    sheaf.row_weights[rows.start],
                    before[i, rows.start + j - z.start],
                )
                for node, rows, z in relus
                if z.start <= j < z.stop
            ]
            slope, weight, a = map(np.array, zip(*mine))
            z = before[i, j]
            gain = np.where(z >= 0, 1.0, slope)
            free = explicit[i, j] - h * (weight * gain * (a - gain * z)).sum()

            def value(v):
                return (v - free) ** 2 / (2 * h) + 0.5 * (
                    weight * (np.where(v >= 0, v, slope * v) - a) ** 2
                ).sum()

            own = 1 if z >= 0 else -1
            assert after[i, j] == pytest.approx(lowest(own, value) or lowest(-own, value), abs=1e-6)


def test_without_a_relu_on_a_coordinate_it_is_euler():
    """The only ReLU reads x, and is no kink for the flow: the same numbers."""
    sheaf = NeuralSheaf(Network(2, [("r", ReLU(2)), ("z", Affine([[1.0, -2.0]]))]))
    prox_euler, euler = (
        relax(sheaf, [[1.0, -1.0]], [[0.3, -2.0, 5.0]], max_steps=50, stepper=s)
        for s in ("prox-euler", "euler")
    )
    np.testing.assert_array_equal(prox_euler.cochain, euler.cochain)


# which stepper
# --------------------------------------------------------------------------------------------------

PIN = soft("z2", 1.0, 1.0)


@pytest.mark.parametrize(
    "pins, stepper, method",
    [
        ((), None, "heat"),
        ([], None, "heat"),
        (PIN, None, "heat by prox-euler"),
        (PIN, "euler", "heat"),
        ((), "prox-euler", "heat by prox-euler"),
        (PIN, EulerStepper, "heat"),
        ((), ProxEulerStepper, "heat by prox-euler"),
    ],
)
def test_the_default_is_prox_euler_with_pins_and_the_solution_says_so(pins, stepper, method):
    run = relax(SMALL, [[1.0]], [[0.0, 0.0, 0.0]], pins=pins, stepper=stepper)
    assert run.method == method
    assert repr(run).startswith(f"Solution({method}, at rest: |∂V/∂w| ≤ 1e-12 of its own terms")


@numba
@pytest.mark.parametrize(
    "name, stepper", [("euler", CompiledStepper), ("prox-euler", CompiledProxStepper)]
)
def test_a_name_is_compiled_where_possible(name, stepper, monkeypatch):
    named, given = (
        relax(SMALL, [[1.0]], [[0.1, -2.0, 0.0]], pins=PIN, stepper=s).cochain
        for s in (name, stepper)
    )
    np.testing.assert_array_equal(named, given)
    monkeypatch.setattr(stepper, "advance", lambda *_: pytest.fail("compiled"))
    maps = Affine.from_maps(lambda a: a, lambda e: e, (1, 1))
    matrix_free = NeuralSheaf(Network(1, [("z1", maps), ("a1", ReLU(1)), ("z2", maps)]))
    run = relax(matrix_free, [[1.0]], [[0.1, -2.0, 0.0]], pins=PIN, stepper=name)
    assert run["z2"][0, 0] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("stepper", ["Euler", "rk4", "", 3, ["euler"]])
def test_an_unknown_stepper_is_refused_with_those_there_are(stepper):
    for run in (relax, heat):
        with pytest.raises(
            ValueError,
            match=(
                r"stepper=.* is unknown, expected one of euler, prox-euler, .* or a Stepper class"
            ),
        ):
            run(SMALL, [[1.0]], [[0.0, 0.0, 0.0]], stepper=stepper)
