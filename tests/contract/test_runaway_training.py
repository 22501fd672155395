"""Runaway training is stopped with its step, edge and remedy, without a warning, and no NaN is ever
handed out.
"""

import re
import warnings

import numpy as np
import pytest
from training_cases import OUTPUTS, chain, nth, pose

from sheaflib import Network, NeuralSheaf
from sheaflib.companion.experiments import train
from sheaflib.sheaves.pins import resolve
from sheaflib.training.chains import FusedDescentStepper, FusedJointStepper, can_fuse
from sheaflib.training.descent import DescentStepper
from sheaflib.training.drivers import TrainingDiverged, gradient_descent, joint_flow
from sheaflib.training.joint import JointStepper

NET, NAN, INF = Network.mlp([[[1.0]]]), float("nan"), float("inf")
ENGINES = [JointStepper, FusedJointStepper] if can_fuse(NET) else [JointStepper]
DESCENTS = [DescentStepper, FusedDescentStepper] if can_fuse(NET) else [DescentStepper]
ABSURD = [
    {"beta": 1e5},
    {"dt": 100.0},
    {"beta": 1e200},
    {"dt": 1e200},
    {"beta": 1e308, "dt": 10.0},
    {"dt": 1e308},
    {"dt": 1e308, "beta": 0.0},
    {"beta": 1e200, "cold": 1},
    {"alpha": 1e308, "dt": 10.0},
]


def until_it_stops(states):
    """Follow a runaway training without one warning; everything yielded is finite. Returns the
    message.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TrainingDiverged) as caught:
            for state, _ in zip(states, range(300)):
                assert np.isfinite(state.stalks).all()
    return str(caught.value)


@pytest.mark.parametrize("stepper", ENGINES)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("every", [1, 1000])
@pytest.mark.parametrize("absurd", ABSURD, ids=str)
def test_a_runaway_flow_is_stopped(absurd, every, output, stepper):
    problem = pose(chain([2, 4, 3, 2], np.random.default_rng(1), output), np.random.default_rng(2))
    message = until_it_stops(
        joint_flow(*problem[:3], start=problem[3], every=every, stepper=stepper, **absurd)
    )
    values = {"beta": 0.2, "dt": 0.005, **absurd}
    assert re.search(
        r"diverged at step \d+: energy \S+ \(limit \S+, .*\), (most of it on edge"
        r" (affine_[123]|activation_[12]|output)|stalk \S+ is no longer finite"
        r"|weights are no longer finite|at a reset: .*overflows at '[az]\d'.*); lower beta=",
        message,
    )
    assert f"lower beta={values['beta']:.3g} (" in message and f"or dt={values['dt']:g}" in message


@pytest.mark.parametrize("stepper", DESCENTS)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("every", [1, 1000])
@pytest.mark.parametrize("lr", [1e4, 1e150, 1e200, 1e308])
def test_a_runaway_descent_is_stopped(lr, every, output, stepper):
    """In gradient descent the layer is always the output's."""
    problem = pose(chain([2, 4, 3, 2], np.random.default_rng(1), output), np.random.default_rng(2))
    message = until_it_stops(
        gradient_descent(problem.sheaf, problem.x, problem.y, lr=lr, every=every, stepper=stepper)
    )
    assert re.search(
        r"diverged at step \d+: ΣΦ = \S+ at the output layer, over \S+, .*; lower"
        rf" lr={re.escape(f'{lr:g}')}",
        message,
    )


@pytest.mark.parametrize("every", [1, 50])
def test_both_engines_stop_one_layer_and_a_descent_at_the_same_step_with_the_same_words(every):
    """Of the last affine edge and the edge to the label the fused engine knows the energy; of those
    before, a lower bound.
    """
    layer = pose(chain([2, 3], np.random.default_rng(1)), np.random.default_rng(2))
    messages = {
        until_it_stops(
            joint_flow(*layer[:3], start=layer[3], beta=120.0, every=every, stepper=stepper)
        )
        for stepper in ENGINES
    }
    assert len(messages) == 1 and int(re.search(r"step (\d+)", messages.pop())[1]) > 3
    deep = pose(chain([2, 4, 3, 2], np.random.default_rng(1)), np.random.default_rng(2))
    messages = {
        until_it_stops(
            gradient_descent(deep.sheaf, *deep[1:3], lr=3.0, every=every, stepper=stepper)
        )
        for stepper in DESCENTS
    }
    assert len(messages) == 1 and int(re.search(r"step (\d+)", messages.pop())[1]) > 3


@pytest.mark.parametrize(
    "runaway", [{"beta": 120.0}, {"beta": 1000.0}, {"dt": 0.6}, {"dt": 3.0}], ids=str
)
def test_the_fused_engine_stops_a_few_steps_after_the_oracle_at_most(runaway):
    problem = pose(chain([2, 4, 3, 2], np.random.default_rng(1)), np.random.default_rng(2))
    steps = [
        int(
            re.search(
                r"step (\d+)",
                until_it_stops(
                    joint_flow(*problem[:3], start=problem[3], every=50, stepper=stepper, **runaway)
                ),
            )[1]
        )
        for stepper in ENGINES
    ]
    assert steps[0] <= steps[-1] <= steps[0] + 3


@pytest.mark.parametrize("task, widths", [("paraboloid", "2x30x1"), ("circular", "2x25x1")])
@pytest.mark.parametrize("beta_n, every", [(600.0, 10), (1e200, 1), (1e300, 1)])
def test_a_diverged_experiment_keeps_what_came_before_and_says_why(beta_n, every, task, widths):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(task, widths, seed=0, beta_n=beta_n, steps=5000, every=every)
    assert (
        run.step[0] == 0
        and run.step[-1] < 5000
        and len(run.step) == len(run.train) == len(run.test)
    )
    assert np.isfinite(run.train).all() and np.isfinite(run.stalks).all()
    assert re.search(r"diverged at step \d+: ", run.diverged)
    assert f"lower beta={beta_n / 300:.3g} (β·n = {beta_n:.3g}) or dt=0.005" in run.diverged


@pytest.mark.parametrize("stepper", ENGINES)
@pytest.mark.parametrize(
    "network",
    [chain([2, 4, 1], np.random.default_rng(5)), Network.mlp([np.zeros((4, 2)), np.zeros((1, 4))])],
    ids=["fits", "zero"],
)
def test_a_perfect_fit_is_no_divergence(network, stepper):
    """E = 0 at the start and for ever: a million times nothing is not exceeded."""
    x = np.random.default_rng(6).standard_normal((5, 2))
    state = nth(joint_flow(NeuralSheaf(network), x, network(x), every=50, stepper=stepper), 1)
    np.testing.assert_allclose(state.stalks, NeuralSheaf(network).forward(x), atol=1e-13)
    nth(gradient_descent(NeuralSheaf(network), x, network(x), lr=0.1, every=50), 1)


@pytest.mark.parametrize("scale", [1e150, 1e152])
@pytest.mark.parametrize("stepper", [*ENGINES, *DESCENTS])
def test_a_start_near_the_end_of_float64_is_stopped_as_any_other(stepper, scale):
    """A million times its energy is no float64, and an infinite energy must not pass for less."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    x, y = [[scale]], [[0.0]]
    if stepper in ENGINES:
        states = joint_flow(sheaf, x, y, beta=1.0, every=50, stepper=stepper)
    else:
        states = gradient_descent(sheaf, x, y, lr=1.0, every=50, stepper=stepper)
    assert re.search(r"diverged at step \d+", until_it_stops(states))


# a NaN in the engine
# --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not can_fuse(NET), reason="numba is not there")
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("dims", [[2, 3], [2, 3, 1], [1, 5, 2], [3, 4, 3, 2]])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_planted_nan_is_caught_at_the_next_step(bad, dims, output):
    """In any stalk and any weight, first sample or last: the compiler must not delete the test."""
    problem = pose(chain(dims, np.random.default_rng(3), output), np.random.default_rng(4), 9)

    def begun():
        stepper = FusedJointStepper(*problem, 0.1, 0.01, 1.0, resolve(problem.sheaf, (), 9))
        stepper.advance(2)
        return stepper

    for row in range(problem.sheaf.N):
        for lane in (0, 8):
            stepper = begun()
            stepper.stalks[0, row, lane] = bad
            with pytest.raises(TrainingDiverged, match=r"at step 2: energy (nan|inf)"):
                stepper.advance(5)
    for place in range(len(begun().theta)):
        stepper = begun()
        stepper.theta[place] = bad
        with pytest.raises(TrainingDiverged, match=r"at step 2: energy (nan|inf)"):
            stepper.advance(5)
