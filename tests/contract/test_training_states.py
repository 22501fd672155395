"""States of training are frozen and stay what they were, callers' arrays are left alone, and a long
run needs no more memory.
"""

import tracemalloc
import weakref
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from training_cases import OUTPUTS, chain, nth, pose, theta

from sheaflib import NeuralSheaf, hard, soft
from sheaflib.training.descent import DescentStepper
from sheaflib.training.drivers import gradient, gradient_descent, joint_flow, loss, weight_gradient
from sheaflib.training.joint import JointStepper, edge_energies

SHAPES = [[2, 1], [1, 3], [2, 4, 1], [3, 5, 4, 2]]


def posed(dims=(2, 4, 3, 2), output="identity", n_batch=5):
    rng = np.random.default_rng(sum(dims))
    return pose(chain(list(dims), rng, output), rng, n_batch)


def runs(problem, **options):
    """The four kinds of training of one problem: both flows and both descents."""
    sheaf, x, y, start = problem
    for stepper in (None, JointStepper):
        yield joint_flow(sheaf, x, y, start=start, stepper=stepper, **options)
    for stepper in (None, DescentStepper):
        yield gradient_descent(sheaf, x, y, lr=0.05, stepper=stepper, **options)


@pytest.mark.parametrize("n_batch", [1, 16, 330])
@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_a_state_stays_what_it_was_while_training_goes_on(dims, n_batch):
    for states in runs(posed(dims, n_batch=n_batch), every=1):
        kept, copies = [], []
        for state, _ in zip(states, range(4)):
            kept.append(state)
            energies = edge_energies(
                NeuralSheaf(state.network), state.record.x, state.record.y, state.stalks
            )
            copies.append((state.stalks.copy(), theta(state.network).copy(), energies))
        for state, (stalks, weights, energies) in zip(kept, copies):
            np.testing.assert_array_equal(state.stalks, stalks)
            np.testing.assert_array_equal(theta(state.network), weights)
            assert state.record.energies == energies  # asked for only now
        assert abs(theta(kept[0].network) - theta(kept[3].network)).max() > 0


def test_nothing_in_a_state_can_be_written():
    for states in runs(posed(), every=3):
        for state, _ in zip(states, range(2)):
            record = state.record
            arrays = [state.stalks, record.stalks, record.x, record.y]
            arrays += [
                part
                for node in state.network.affine_nodes
                for part in (node.operation.weight, node.operation.bias)
            ]
            for array in arrays:
                with pytest.raises(ValueError, match="read-only"):
                    array[0] = 7
            with pytest.raises(FrozenInstanceError):
                record.step = 5
            with pytest.raises(AttributeError):
                state.stalks = None


def arguments():
    x, y, start = posed()[1:]
    return {
        "x": x.copy(),
        "y": y.copy(),
        "start": start.copy(),
        "value": np.array([[0.5, 1.0, -1.0]] * 5),
    }


def pins(given):
    return [hard("z2", given["value"]), soft("a1", given["value"][:, :2], 0.5, at=[0, 1])]


CALLS = {
    "fused flow": lambda sheaf, a: joint_flow(
        sheaf, a["x"], a["y"], start=a["start"], every=2, cold=3, pins=pins(a)
    ),
    "NumPy flow": lambda sheaf, a: joint_flow(
        sheaf, a["x"], a["y"], start=a["start"], every=2, cold=3, pins=pins(a), stepper=JointStepper
    ),
    "fused descent": lambda sheaf, a: gradient_descent(sheaf, a["x"], a["y"], lr=0.05, every=2),
    "NumPy descent": lambda sheaf, a: gradient_descent(
        sheaf, a["x"], a["y"], lr=0.05, every=2, stepper=DescentStepper
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_arguments_are_neither_changed_nor_frozen(call):
    given, (sheaf, *_) = arguments(), posed()
    before = {name: array.copy() for name, array in given.items()}
    weights = theta(sheaf.network).copy()
    for state, _ in zip(call(sheaf, given), range(4)):
        assert np.isfinite(
            state.record.loss + state.record.energy + sum(state.record.discord.values())
        )
    (
        loss(sheaf.network, given["x"], given["y"]),
        gradient(sheaf.network, given["x"], given["y"]),
        weight_gradient(sheaf, given["x"], given["start"]),
    )
    for name, array in given.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
        assert array.flags.writeable, name
    np.testing.assert_array_equal(theta(sheaf.network), weights)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_later_changes_of_the_arguments_do_not_reach_in(call):
    (sheaf, *_), given = posed(), arguments()
    expected = [state.stalks.copy() for state, _ in zip(call(sheaf, arguments()), range(4))]
    for k, state in zip(range(4), call(sheaf, given)):
        np.testing.assert_array_equal(state.stalks, expected[k])
        for array in given.values():
            array[:] = 9


def test_a_state_taken_up_again_is_left_as_it_was():
    problem = posed()
    for engine in (None, JointStepper):
        state = nth(joint_flow(*problem[:3], start=problem[3], every=5, stepper=engine), 1)
        stalks, weights = state.stalks.copy(), theta(state.network).copy()
        nth(joint_flow(*problem[:3], start=state, every=5, pins=hard("z1", 0.0), stepper=engine), 2)
        np.testing.assert_array_equal(state.stalks, stalks)
        np.testing.assert_array_equal(theta(state.network), weights)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_record_speaks_of_its_own_state(output):
    """Loss and energies are those of the recorded step, whenever they are asked for."""
    problem = posed(output=output)
    states = [
        state for state, _ in zip(joint_flow(*problem[:3], start=problem[3], every=50), range(3))
    ]
    for state in states:
        assert state.record.loss == loss(state.network, problem.x, problem.y)
        assert state.record.sheaf.network is state.network and state.record.stalks is state.stalks
    assert repr(states[1]).startswith("TrainingState(step 50, t = 0.25, loss ")
    assert isinstance(states[1].record.sheaf, NeuralSheaf)


def peak(states, yields):
    """The most memory that following a training takes, every state dropped when the next one
    comes.
    """
    next(states)
    tracemalloc.start()
    for _ in range(yields):
        state = next(states)
        assert np.isfinite(state.record.loss)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.parametrize(
    "kind", range(4), ids=["fused flow", "NumPy flow", "fused descent", "NumPy descent"]
)
def test_memory_does_not_grow_with_the_steps(kind):
    """2000 steps against 20 000 (the NumPy steppers: 20 against 100), within a tenth, and no state
    outlives its use.

    So many samples that the few small blocks that NumPy keeps for later (about 0.2 MB in all) do
    not count.
    """
    problem, steps = (
        (posed((2, 16, 1), n_batch=2000), 1) if kind % 2 else (posed((2, 4, 1), n_batch=800), 100)
    )
    _, short, long = (
        peak(list(runs(problem, every=every))[kind], 20)
        for every in (5 * steps, steps, (5 if kind % 2 else 10) * steps)
    )
    assert long < 1.1 * short
    states = list(runs(problem, every=1))[kind]
    watched = [weakref.ref(next(states).record) for _ in range(5)]
    assert [reference() for reference in watched[:-1]] == [None] * 4
