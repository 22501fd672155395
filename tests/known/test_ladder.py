"""The experiments of notebook 08: tables, counts over random networks, sign changes of steps and
flows.
"""

import numpy as np
import pytest
from oracles import dense_system

from sheaflib import Network, NeuralSheaf, exact_flow, hard
from sheaflib.companion import ladder, tasks
from sheaflib.companion.record import gallery

PASSES = {
    ladder.EULER: {"2x30x1": 20.0, "2x10x8x1": 30.0, "2x12x8x6x1": 40.0},
    "Newton": {"2x30x1": 10.0, "2x10x8x1": 10.0, "2x12x8x6x1": 1600.4, "deep": 7.0},
}


def test_a_ladder_is_a_table_with_gaps():
    found = ladder.Ladder(PASSES, {}, 0, 1.0)
    head, euler, newton = repr(found).splitlines()
    assert head.split("  ")[-1] == "deep" and head.startswith("passes until 1e-8 from rest")
    assert euler.endswith("40") and newton.split()[1:] == ["10", "10", "1", "600", "7"]
    assert found.over_newton(ladder.EULER) == {
        "2x30x1": 2.0,
        "2x10x8x1": 3.0,
        "2x12x8x6x1": pytest.approx(40 / 1600.4),
    }


def test_small_climbs_are_a_ladder():
    found = ladder.climb_all(samples=4, flow_samples=3, deep_layers=1, deep_samples=1, most=3000)
    assert list(found.passes) == [ladder.EULER, *ladder.METHODS] and found.astray == 0
    for method in ("Chebyshev", "Newton"):
        for size, seed in ladder.SIZES.items():
            runs = ladder.climb(size, ladder.METHODS[method]["method"], seed, samples=3)
            assert found.passes[method][size] == pytest.approx(runs.passes.mean())
    shown_as = "1 hidden layer of 50"
    assert [name for name, row in found.passes.items() if shown_as in row] == [
        ladder.BEST_STEP,
        "Chebyshev",
        "Newton",
    ]
    assert found.deep > 1
    for size, seed in ladder.SIZES.items():
        plain = ladder.climb(size, "euler", seed, samples=4, most=3000)
        assert found.arrived[size] == plain.reached.mean()
        # where no sample arrives there is no mean
        assert (size in found.passes[ladder.EULER]) == plain.reached.any()


def test_microseconds_are_those_of_the_bench():
    rows, clock = gallery.bench(), ladder.microseconds(gallery.bench(), 10)
    timed = rows["equilibrium 2x10x8x1: newton / chebyshev"]
    assert clock["Chebyshev"]["2x10x8x1"] == timed["theirs_us"] / 300
    assert clock[ladder.EULER] == {} and set(clock["Newton"]) == {
        *ladder.SIZES,
        "10 hidden layers of 50",
    }
    deep = rows[f"equilibrium {ladder.DEEP}: newton / prox-euler, best step"]
    assert clock["Newton"]["10 hidden layers of 50"] == deep["ours_us"]
    assert not any(ladder.microseconds({}, 10).values())


@pytest.mark.parametrize("reach", [0.0, 2.0])
def test_a_toys_label_is_within_reach_of_its_output(reach):
    rng = np.random.default_rng(5)
    distances = []
    for _ in range(50):
        sheaf, x, pin = ladder.toy("2x3x1", rng, reach)
        distances.append(abs(pin.value - sheaf.network(x)).max())
    assert 0.8 * reach <= max(distances) <= reach + 1e-12


def test_newton_is_held_against_the_list():
    assert ladder.against_the_list(5, np.random.default_rng(1), 10.0) == {
        "not-converged": 0,
        "not-in-the-list": 0,
    }


def test_lists_are_those_of_the_networks_drawn():
    """With the label that the network says itself, one state is at rest with V = 0: the forward
    pass.
    """
    lists = ladder.enumerated(["2x3x1", "2x2x2x1"], 3, np.random.default_rng(2), 0.0)
    assert {name: len(found) for name, found in lists.items()} == {"2x3x1": 3, "2x2x2x1": 3}
    again = np.random.default_rng(2)
    for name, found in lists.items():
        for equilibria in found:
            sheaf, x, _ = ladder.toy(name, again, 0.0)
            np.testing.assert_allclose(equilibria.minima[0], sheaf.forward(x)[0], atol=1e-9)
            assert equilibria.energies[0] < 1e-18


def test_a_path_begins_at_the_start_and_has_a_state_a_step():
    run = tasks.heat_run("2x4x1")
    states = ladder.path(run, "euler", 0.1, until=0.3)
    assert states.shape == (4, run.sheaf.N)
    np.testing.assert_array_equal(states[0], run.start[0])
    on = run.sheaf.pattern(run.start, run.x)[0]
    delta, c = dense_system(run.sheaf.network, on, run.x[0])
    step = states[0] - 0.1 * delta.T @ (delta @ states[0] - c)
    np.testing.assert_allclose(states[1], step, rtol=1e-12)


def test_sign_changes_are_those_of_the_path():
    run = tasks.heat_run("fig6")
    states = ladder.path(run, "euler", 0.01, until=3)[:, run.sheaf.layout["z1"]]
    assert ladder.sign_changes(run, "euler", 0.01, until=3) == np.diff(states >= 0, axis=0).sum()


def test_a_slide_entered_from_below_and_left_to_above_is_one_change():
    """The neuron u = ½ with z² clamped to 1, from (−½, −4): it slides from ln 2 to ln(4.5)/2."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))
    flow = exact_flow(sheaf, [[0.0]], [[-0.5, -4.0, 1.0]], pins=hard("z2", 1.0))
    assert len(flow.events) == 2 and ladder.state_changes(flow) == 1
    assert ladder.state_changes(flow, until=0.5) == 0


def test_no_start_leaves_its_basin():
    elsewhere, followed = ladder.leave_a_basin(2, seed=3, tries=2)
    assert elsewhere == 0 and 0 < followed <= 12


def test_an_agreement_is_a_table():
    shares = {"random": {"2x30x1": 0.955}}
    found = ladder.Agreement({"random": {"2x30x1": 16.61}}, shares, shares, shares, shares)
    head, row = repr(found).splitlines()
    assert row.split() == "2x30x1, random start 16.6 95.5 % 95.5 % 95.5 % 1".split()
    assert len(head) == len(row)


def test_ends_are_alike_sample_by_sample():
    end = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert ladder.alike(end, end + [[0, 0], [0, 1e-5]]) == 0.5
    assert ladder.alike(end, end + 1e-9) == 1.0
