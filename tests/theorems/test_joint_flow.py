"""The joint flow is gradient flow on E, sums over the batch, and does the same however it is
watched, stopped and taken up again (§5.2).
"""

import numpy as np
import pytest
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import dense_laplacian, dense_system, row_weights
from scipy.linalg import expm
from training_cases import OUTPUTS, assert_same_bits, chain, nth, pose, problems, random_pins, theta

from sheaflib import Network, NeuralSheaf, hard, relax, soft
from sheaflib.flow.euler import EulerStepper
from sheaflib.training.descent import DescentStepper
from sheaflib.training.drivers import gradient_descent, joint_flow
from sheaflib.training.joint import JointStepper

SEEDS = st.integers(0, 2**32 - 1)
ENGINES = [None, JointStepper]


@examples(12)
@given(
    problem=problems(batches=(1, 4), widest=5, deepest=3),
    speed=st.sampled_from([0.0, 0.1, 1.0]),
    alpha=st.sampled_from([0.5, 1.0]),
)
def test_energy_falls_at_the_rate_of_gradient_flow(problem, speed, alpha):
    """While no unit switches, a small step lowers E by |Δω|²/(α dt) + |Δθ|²/(β dt), up to a part of
    order dt: dE/dt = −α|∂E/∂ω|² − β|∂E/∂θ|².
    """
    sheaf, x, *_ = problem
    beta, dt, counted = speed / len(x), 5e-4, 0
    states = [
        state
        for state, _ in zip(
            joint_flow(*problem[:3], start=problem[3], beta=beta, alpha=alpha, dt=dt, every=1),
            range(40),
        )
    ]
    for before, after in zip(states, states[1:]):
        if (sheaf.pattern(before.stalks, x) != sheaf.pattern(after.stalks, x)).any():
            continue
        rate = ((after.stalks - before.stalks) ** 2).sum() / (alpha * dt)
        if beta:
            rate += ((theta(after.network) - theta(before.network)) ** 2).sum() / (beta * dt)
        fall = before.record.energy - after.record.energy
        assert fall == pytest.approx(rate, rel=0.2, abs=1e-12 * before.record.energy)
        counted += 1
    assert counted >= 10 and states[-1].record.energy < states[0].record.energy


def test_where_a_unit_slides_the_energy_chatters_by_an_amount_of_order_dt():
    """1-1-1 with unit weights, x = 1, y = −10, weights at rest: z¹ slides at 0, a¹ is a third of y.

    From the left z¹ moves by r¹ dt = dt at most, on the right E climbs with slope −r¹ − a¹ = 10/3 −
    1: single steps raise E, by 7/3 dt at most.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    for dt in (0.01, 0.0025):
        sliding = nth(joint_flow(sheaf, [[1.0]], [[-10.0]], beta=0, dt=dt, every=round(30 / dt)), 1)
        states = joint_flow(sheaf, [[1.0]], [[-10.0]], start=sliding, beta=0, dt=dt, every=1)
        energies = [state.record.energy for state, _ in zip(states, range(600))]
        assert np.diff(energies).max() == pytest.approx(7 / 3 * dt, rel=0.02)


@examples(12)
@given(problem=problems(batches=(3,)), seed=SEEDS)
def test_without_motion_of_the_weights_it_is_the_heat_equation_with_a_spring_to_the_label(
    problem, seed
):
    """Identity: a soft pin of stiffness 1. Sigmoid, softmax: a_out clamped to the label, in the
    cross-entropy form of the force.
    """
    sheaf, x, y, start = problem
    last = sheaf.layout.names[-1]
    pins = [
        pin
        for pin in random_pins(problem, np.random.default_rng(seed))
        if pin.stalk != sheaf.layout.names[-1]
    ]
    options = {"dt": 0.01, "max_steps": 40, "every": 40, "tol": 1e-300, "output_force": "identity"}
    if sheaf.network.output.is_identity:
        heat = relax(
            sheaf, x, start, pins=[*pins, soft(last, y, 1.0)], stepper=EulerStepper, **options
        )
    else:
        heat = relax(
            sheaf,
            x,
            np.hstack([start, y]),
            pins=[*pins, hard("a_out", y)],
            stepper=EulerStepper,
            **options,
        )
    joint = nth(joint_flow(*problem[:3], start=problem[3], beta=0, dt=0.01, every=40, pins=pins), 1)
    np.testing.assert_allclose(joint.stalks, heat.cochain[:, : sheaf.N], rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(theta(joint.network), theta(sheaf.network))


@pytest.mark.parametrize("stepper", ENGINES)
@pytest.mark.parametrize("dims", [[2, 3], [2, 4, 1], [1, 3, 2, 2]])
def test_linear_network_by_the_matrix_exponential(dims, stepper):
    """Slopes 1: ω̇ = −αHω + …, H = L + 1 at the output; Euler is (1 − α dt H)ⁿ exactly and e^{−αtH}
    to first order.
    """
    rng = np.random.default_rng(sum(dims))
    problem = pose(chain(dims, rng, slopes=[1.0] * len(dims), scale=0.7), rng, 4, weighted=True)
    sheaf, x, y, start = problem
    ones, alpha, time = np.ones(sheaf.M), 1.5, 1.0
    tie = np.diag((np.arange(sheaf.N) >= sheaf.N - dims[-1]).astype(float))
    H, rest = dense_laplacian(sheaf, ones) + tie, []
    for i in range(4):
        delta, c = dense_system(sheaf.network, ones, x[i])
        rest.append(
            np.linalg.solve(
                H,
                delta.T @ (row_weights(sheaf) * c)
                + tie @ np.concatenate([np.zeros(sheaf.N - dims[-1]), y[i]]),
            )
        )
    rest, errors = np.array(rest), []
    for n in (200, 400):
        found = nth(
            joint_flow(
                *problem[:3],
                start=problem[3],
                beta=0,
                dt=time / n,
                alpha=alpha,
                every=n,
                stepper=stepper,
            ),
            1,
        ).stalks
        powers = np.linalg.matrix_power(np.eye(sheaf.N) - alpha * time / n * H, n)
        np.testing.assert_allclose(found, rest + (start - rest) @ powers.T, rtol=1e-11, atol=1e-11)
        errors.append(np.linalg.norm(found - rest - (start - rest) @ expm(-alpha * time * H).T))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.05)


# sums over the batch
# --------------------------------------------------------------------------------------------------


@given(problems(batches=(1, 5, 9)))
def test_twice_the_samples_at_half_beta_is_the_same_training(problem):
    sheaf, x, y, start = problem
    one = nth(joint_flow(sheaf, x, y, start=start, beta=0.2, dt=0.01, every=40), 1)
    two = nth(
        joint_flow(
            sheaf,
            np.vstack([x, x]),
            np.vstack([y, y]),
            start=np.vstack([start, start]),
            beta=0.1,
            dt=0.01,
            every=40,
        ),
        1,
    )
    np.testing.assert_allclose(theta(two.network), theta(one.network), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        two.stalks, np.vstack([one.stalks, one.stalks]), rtol=1e-10, atol=1e-10
    )
    mean = nth(joint_flow(sheaf, x, y, start=start, dt=0.01, every=40), 1)
    np.testing.assert_array_equal(
        theta(mean.network),
        theta(
            nth(joint_flow(sheaf, x, y, start=start, beta=1 / len(x), dt=0.01, every=40), 1).network
        ),
    )


@given(problem=problems(batches=(5, 17)), seed=SEEDS)
def test_the_order_of_the_samples_does_not_matter(problem, seed):
    sheaf, x, y, start = problem
    order = np.random.default_rng(seed).permutation(len(x))
    one = nth(joint_flow(sheaf, x, y, start=start, dt=0.01, every=40), 1)
    other = nth(joint_flow(sheaf, x[order], y[order], start=start[order], dt=0.01, every=40), 1)
    np.testing.assert_allclose(other.stalks, one.stalks[order], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(theta(other.network), theta(one.network), rtol=1e-10, atol=1e-10)


# watched, stopped, taken up again
# ------------------------------------------------------------------------------------------


def trained(output, n_batch=5):
    rng = np.random.default_rng(5)
    return pose(chain([2, 5, 4, 2], rng, output, [0.1, 0.0, 0.0]), rng, n_batch, weighted=True)


@pytest.mark.parametrize("stepper", ENGINES)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("cold", [0, 15])
def test_resumed_from_any_yield_and_recorded_at_any_interval_to_the_same_bits(
    output, cold, stepper
):
    """With resets at 15, 30, …: a state at step 7 or 34 goes on to the next reset, not to one of
    its own.
    """
    problem = trained(output)
    pins = [hard("z2", 0.3, at=1), soft("a1", -1.0, 0.5)]
    options = {"dt": 0.02, "beta": 0.05, "cold": cold, "pins": pins, "stepper": stepper}
    fine = [
        state
        for state, _ in zip(
            joint_flow(*problem[:3], start=problem[3], every=1, **options), range(51)
        )
    ]
    for every in (7, 26):
        for state in (
            s
            for s, _ in zip(
                joint_flow(*problem[:3], start=problem[3], every=every, **options),
                range(50 // every + 1),
            )
        ):
            assert_same_bits(state, fine[state.record.step])
    for begun in (7, 15, 34):
        again = joint_flow(*problem[:3], start=fine[begun], every=50 - begun, **options)
        assert_same_bits(next(again), fine[begun])
        assert_same_bits(next(again), fine[50])
    assert abs(fine[50].stalks - fine[45].stalks).max() > 1e-3


@pytest.mark.parametrize("stepper", [None, DescentStepper])
@pytest.mark.parametrize("output", OUTPUTS)
def test_gradient_descent_resumed_and_recorded_to_the_same_bits(output, stepper):
    (sheaf, x, y, _), options = trained(output), {"lr": 0.02, "stepper": stepper}
    fine = [state for state, _ in zip(gradient_descent(sheaf, x, y, every=1, **options), range(41))]
    for begun in (0, 13, 39):
        assert_same_bits(
            nth(gradient_descent(sheaf, x, y, start=fine[begun], every=40 - begun, **options), 1),
            fine[40],
        )
    for state in (s for s, _ in zip(gradient_descent(sheaf, x, y, every=9, **options), range(5))):
        assert_same_bits(state, fine[state.record.step])


@pytest.mark.parametrize("stepper", ENGINES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_cold_states_are_forward_passes_at_multiples_and_at_no_other_step(output, stepper):
    problem = trained(output)
    for state in (
        s
        for s, _ in zip(
            joint_flow(*problem[:3], start=problem[3], cold=6, every=1, dt=0.02, stepper=stepper),
            range(20),
        )
    ):
        forward = NeuralSheaf(state.network).forward(problem.x)
        if state.record.step and state.record.step % 6 == 0:
            np.testing.assert_array_equal(state.stalks, forward)
        else:
            assert abs(state.stalks - forward).max() > 1e-6


@given(problem=problems(batches=(1, 4)), cold=st.sampled_from([0, 4]), seed=SEEDS)
def test_hard_pins_hold_exactly(problem, cold, seed):
    """At the start, after every step, through resets."""
    pins = [
        pin
        for pin in random_pins(problem, np.random.default_rng(seed), least=1)
        if np.isinf(pin.gamma)
    ]
    assume(pins)
    for stepper in ENGINES:
        for state in (
            s
            for s, _ in zip(
                joint_flow(
                    *problem[:3],
                    start=problem[3],
                    pins=pins,
                    cold=cold,
                    every=1,
                    dt=0.01,
                    stepper=stepper,
                ),
                range(10),
            )
        ):
            for pin in pins:
                held = state.stalks[:, problem.sheaf.layout[pin.stalk]]
                held = held if pin.at is None else held[:, list(pin.at)]
                np.testing.assert_array_equal(held, np.broadcast_to(pin.value, held.shape))


def test_steps_and_clock_of_the_record():
    problem = trained("identity")
    steps = [
        (s.record.step, s.record.time)
        for s, _ in zip(
            joint_flow(*problem[:3], start=problem[3], every=4, dt=0.25, beta=0), range(3)
        )
    ]
    assert steps == [(0, 0.0), (4, 1.0), (8, 2.0)]
    steps = [
        (s.record.step, s.record.time)
        for s, _ in zip(gradient_descent(problem.sheaf, *problem[1:3], lr=0.125, every=2), range(3))
    ]
    assert steps == [(0, 0.0), (2, 0.25), (4, 0.5)]
