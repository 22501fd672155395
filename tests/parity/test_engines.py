"""The compiled step and the NumPy step are one flow: same states, same switches, same refusals."""

import re

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, MODERATE, cases

from sheaflib import (
    Affine,
    HeatUnstable,
    MaxPool,
    Network,
    NeuralSheaf,
    ReLU,
    Stack,
    hard,
    heat,
    relax,
    soft,
)
from sheaflib.flow.euler import EulerStepper, ProxEulerStepper
from sheaflib.flow.kernels import CompiledProxStepper, CompiledStepper, can_compile
from sheaflib.layers import add, max_pool

STEPS = 60
COMPILED = tuple(kind for kind in KINDS if kind != "matrix-free")
pytestmark = pytest.mark.skipif(
    not can_compile(NeuralSheaf(Network.mlp([[[1.0]]]))), reason="numba is not there"
)


def both(sheaf, x, start, **options):
    return [
        relax(
            sheaf, x, start, max_steps=STEPS, every=STEPS // 4, tol=1e-9, stepper=stepper, **options
        )
        for stepper in (EulerStepper, CompiledStepper)
    ]


def assert_same(oracle, engine):
    size = 1 + abs(oracle.cochain).max(axis=1, keepdims=True)
    assert (abs(engine.cochain - oracle.cochain) <= 1e-12 * size).all()
    np.testing.assert_array_equal(engine.history.switches, oracle.history.switches)
    np.testing.assert_array_equal(engine.history.steps, oracle.history.steps)
    np.testing.assert_array_equal(engine.history.step, oracle.history.step)
    np.testing.assert_array_equal(engine.history.arrived, oracle.history.arrived)
    assert engine.reason.split(" is ")[0] == oracle.reason.split(" is ")[0]


@examples(12)
@given(cases(scales=MODERATE, kinds=COMPILED))
def test_free_flow_on_any_dag(case):
    assert_same(*both(case.sheaf, case.x, case.w))


@examples(12)
@given(
    case=cases(scales=MODERATE, kinds=COMPILED, outputs=("identity", "sigmoid", "softmax")),
    output_force=st.sampled_from(["jacobian", "identity"]),
    augmented=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_output_force_and_pin(case, output_force, augmented, seed):
    sheaf, rng = case.sheaf, np.random.default_rng(seed)
    augmented = augmented and not sheaf.network.output.is_identity
    start = (
        np.hstack([case.w, rng.random((len(case.w), sheaf.network.n_out))]) if augmented else case.w
    )
    names = sheaf.augmented_layout.names if augmented else sheaf.layout.names
    pins = []
    for name in rng.choice(names, size=rng.integers(0, min(3, len(names) + 1)), replace=False):
        s = sheaf.augmented_layout[name]
        value = rng.random((len(case.x), s.stop - s.start))
        pins += [
            (
                hard(name, value)
                if rng.random() < 0.4
                else soft(name, value, gamma=rng.choice([0.1, 2.0]))
            )
        ]
        if rng.random() < 0.3 and name != "a_out":  # where uneven pins may be refused
            pins += [soft(name, 1.0, gamma=0.5, at=0)]
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


@pytest.mark.parametrize("rest", ["velocity", "step"])
@pytest.mark.parametrize("prox", [False, True])
@examples(10)
@given(
    case=cases(scales=MODERATE, kinds=COMPILED, most=6, outputs=("identity", "softmax")),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_engines_arrive_at_the_same_step(rest, prox, case, seed):
    """To the step, whatever the operations, pins and an output edge; or neither arrives."""
    sheaf, rng = case.sheaf, np.random.default_rng(seed)
    start = case.w
    if not sheaf.network.output.is_identity:
        start = np.hstack([case.w, rng.random((len(case.w), sheaf.network.n_out))])
    name = rng.choice(sheaf.layout.names)
    pins = [[], [soft(name, rng.standard_normal(), 0.5)], [hard(name, rng.standard_normal())]]
    steppers = (ProxEulerStepper, CompiledProxStepper) if prox else (EulerStepper, CompiledStepper)
    options = {"pins": pins[rng.integers(3)], "tol": 1e-3, "rest": rest, "max_steps": 150}
    oracle, engine = (
        relax(sheaf, case.x, start, every=150, stepper=stepper, **options) for stepper in steppers
    )
    assert_same(oracle, engine)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_convolutional_network_with_overlapping_pools_and_a_residual(output):
    rng = np.random.default_rng(1)
    pool, shape = max_pool((2, 4, 4), 2, stride=1)
    n = pool.n_out
    network = Network(
        3,
        [
            ("z1", Affine(rng.standard_normal((32, 3)))),
            ("a1", pool),
            ("p1", Stack(n, 3), ("a1", "x")),
            ("z2", Affine(rng.standard_normal((n, n + 3)) / 5)),
            ("a2", ReLU(n, 0.1)),
            ("p2", Stack(n, n), ("a2", "a1")),
            ("s", add(n)),
            ("z3", Affine(rng.standard_normal((3, n)) / 4)),
        ],
        output,
    )
    sheaf = NeuralSheaf(network, {"affine_2": 0.5, "activation_1": 2.0})
    start = 2 * rng.standard_normal((2, sheaf.augmented_layout.size))
    oracle, engine = both(sheaf, rng.standard_normal((2, 3)), start)
    assert len(oracle.history.switches) > 20
    assert_same(oracle, engine)


def test_selections_that_read_x_and_windows_of_one():
    network = Network(
        2,
        [
            ("p", MaxPool([[0], [1]], 2), "x"),
            ("r", ReLU(2), "x"),
            ("q", Stack(2, 2, 2), ("p", "r", "x")),
            ("m", MaxPool([[0, 3], [2, 5], [4, 4]], 6)),
            ("z", Affine([[1.0, 1.0, -1.0]])),
        ],
    )
    sheaf, x = NeuralSheaf(network), np.array([[0.5, -1.0], [-2.0, 3.0]])
    start = np.random.default_rng(0).standard_normal((2, sheaf.N))
    assert_same(*both(sheaf, x, start))
    np.testing.assert_allclose(relax(sheaf, x, start).output, network(x), atol=1e-9)


def test_more_coordinates_than_the_engine_keeps_switches_for():
    """N = 8201 (more than one call's room for switches): the engine must come back, and find every
    switch.
    """
    n = 4100
    sheaf = NeuralSheaf(Network.mlp([np.ones((n, 1)), np.full((1, n), 1 / n)]))
    start = sheaf.forward([[1.0]])
    start[:, :n] = -np.linspace(0.5, 1.5, n)
    engine = relax(sheaf, [[1.0]], start, dt=0.1, max_steps=60, stepper=CompiledStepper)
    oracle = relax(sheaf, [[1.0]], start, dt=0.1, max_steps=60, stepper=EulerStepper)
    np.testing.assert_array_equal(engine.history.switches, oracle.history.switches)
    assert len(engine.history.switches) >= n


def test_both_engines_stop_a_growing_flow_at_the_same_step_with_the_same_words():
    """z² pinned: λ_max = 2 while inactive, as at the start, and 3 once active, where dt = 0.9 > 2/3
    makes V grow.
    """
    sheaf, found = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[10.0], [0.0]])), []
    for stepper in (EulerStepper, CompiledStepper):
        with pytest.raises(HeatUnstable) as caught:
            relax(
                sheaf, [[0.0]], [[-0.01, 0.0, 10.0]], dt=0.9, pins=hard("z2", 10.0), stepper=stepper
            )
        found.append(str(caught.value))
    assert found[0] == found[1]
    assert re.search(
        r"the energy grew to \d+ .*at step \d+ of sample 0, most of it on edge"
        r" (affine|activation)_[12] .*dt=0\.9",
        found[0],
    )


@pytest.mark.parametrize("augmented", [False, True])
def test_generator_recorded_every_1_and_every_7_and_relax(augmented):
    rng = np.random.default_rng(3)
    sheaf = NeuralSheaf(Network.he([2, 5, 3, 2], rng, "softmax"))
    x, start = rng.standard_normal((3, 2)), 2 * rng.standard_normal((3, sheaf.N + 2 * augmented))
    fine = {state.step: state for state in heat(sheaf, x, start, tol=1e-6)}
    coarse = list(heat(sheaf, x, start, tol=1e-6, every=7))
    for state in coarse:
        np.testing.assert_array_equal(state.cochain, fine[state.step].cochain)
        np.testing.assert_array_equal(state.steps, fine[state.step].steps)
        assert state.time == fine[state.step].time
    np.testing.assert_array_equal(
        np.concatenate([s.switches for s in coarse]),
        np.concatenate([s.switches for s in fine.values()]),
    )
    solution = relax(sheaf, x, start, tol=1e-6, every=13)
    np.testing.assert_array_equal(solution.cochain, fine[max(fine)].cochain)
    np.testing.assert_array_equal(
        solution.history.switches, np.concatenate([s.switches for s in fine.values()])
    )
    assert [s.step for s in coarse[:-1]] == list(range(0, max(fine), 7))
    assert max(fine) == coarse[-1].step == solution.history.steps.max()


@pytest.mark.parametrize("stepper", [EulerStepper, CompiledStepper])
def test_a_batch_is_its_samples(stepper):
    rng = np.random.default_rng(4)
    sheaf = NeuralSheaf(Network.he([2, 5, 3, 2], rng))
    x = rng.standard_normal((3, 2))
    start = rng.standard_normal((3, sheaf.N))
    targets = rng.standard_normal((3, 2))
    batch = relax(
        sheaf, x, start, tol=1e-2, max_steps=1000, pins=soft("z3", targets, 0.5), stepper=stepper
    )
    assert len(set(batch.history.steps.tolist())) > 1
    for i in range(3):
        alone = relax(
            sheaf,
            x[i : i + 1],
            start[i : i + 1],
            tol=1e-2,
            max_steps=1000,
            pins=soft("z3", targets[i], 0.5),
            stepper=stepper,
        )
        np.testing.assert_allclose(alone.cochain[0], batch.cochain[i], rtol=1e-13, atol=1e-13)
        assert alone.history.steps[0] == batch.history.steps[i]
        mine = batch.history.switches[batch.history.switches[:, 1] == i]
        np.testing.assert_array_equal(mine[:, [0, 2]], alone.history.switches[:, [0, 2]])


def test_direct_solutions_of_a_batch_are_those_of_its_samples():
    rng = np.random.default_rng(5)
    sheaf = NeuralSheaf(Network.he([3, 6, 2], rng))
    x = rng.standard_normal((7, 3))
    np.testing.assert_allclose(
        sheaf.forward(x),
        np.concatenate([sheaf.forward(row[None]) for row in x]),
        rtol=1e-13,
        atol=1e-14,
    )
