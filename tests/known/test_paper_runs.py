"""The recorded runs, from the authors' exact inputs; tolerances are the printed digits."""

from functools import cache

import numpy as np
import pytest

from sheaflib import hard, heat, relax, soft
from sheaflib.companion.tasks import heat_run, paper_inputs, task
from sheaflib.flow.euler import EulerStepper
from sheaflib.linear import spectrum
from sheaflib.sheaves import discord

pytestmark = pytest.mark.filterwarnings("error")


@cache
def recorded(name, every=100, **options):
    run = heat_run(name)
    return relax(*run, dt=0.01, every=every, stepper="euler", rest="step", **options)


def slope(solution, first, last):
    """Change of log total discord per step between two recorded steps."""
    steps, total = solution.history.step, solution.history.total[:, 0]
    a, b = np.searchsorted(steps, [first, last])
    return np.log(total[b] / total[a]) / (steps[b] - steps[a])


@pytest.mark.parametrize(
    "name, iterations, error, output",
    [
        ("2x4x1", 8592, (3.90e-10, 0.005e-10), (1.278224, 5e-7)),
        ("2x6x4x4x1", 67557, (1.55e-9, 0.005e-9), (-0.114350, 5e-7)),
    ],
)
def test_iterations_error_and_output(name, iterations, error, output):
    solution, run = recorded(name), heat_run(name)
    assert solution.history.steps.tolist() == [iterations] and solution.history.arrived.all()
    assert solution.reason == f"max|Δ| < 1e-12 (the paper's rule) after {iterations} steps"
    exact = run.sheaf.network(run.x)[0, 0]
    assert abs(solution.output[0, 0] - exact) == pytest.approx(error[0], abs=error[1])
    assert solution.output[0, 0] == pytest.approx(output[0], abs=output[1])


def test_discord_at_the_end_of_the_first_run():
    solution = recorded("2x4x1")
    assert discord.total(solution.sheaf, solution.cochain, solution.x)[0] == pytest.approx(
        9.28e-20, abs=0.005e-20
    )
    assert solution.history.total[-1, 0] == pytest.approx(9.28e-20, abs=0.005e-20)


def test_rate_of_the_first_run():
    """λ₁ = 0.254916, λ_max = 2.9087, measured slope −5.10483e-3 = 2 ln(1 − dt λ₁)."""
    solution = recorded("2x4x1")
    low, high = spectrum.extreme(solution.sheaf, solution.pattern)
    assert low == pytest.approx(0.254916, abs=5e-7)
    assert high == pytest.approx(2.9087, abs=5e-5)
    assert slope(solution, 7000, 8500) == pytest.approx(-5.10483e-3, abs=5e-9)
    assert 2 * np.log1p(-0.01 * low) == pytest.approx(-5.10483e-3, abs=5e-9)


def test_rates_and_switches_of_the_second_run():
    solution = recorded("2x6x4x4x1")
    switches = solution.history.switches
    assert len(switches) == 47
    assert switches[-1, 0] == 20303
    steps, units = switches[:, 0], switches[:, 2]
    busiest = np.bincount(units).argmax()
    slide = steps[(units == busiest) & (steps > 50)]
    assert (len(slide), slide.min(), slide.max()) == (39, 94, 148)
    after = solution.pattern[0].copy()
    before = after.copy()
    before[units[-1]] ^= True
    assert spectrum.extreme(solution.sheaf, after)[0] == pytest.approx(0.0292898, abs=5e-8)
    assert spectrum.extreme(solution.sheaf, before)[0] == pytest.approx(0.0141788, abs=5e-8)
    assert slope(solution, 50_000, 65_000) == pytest.approx(-5.858812e-4, abs=5e-11)
    assert slope(solution, 17_000, 20_000) == pytest.approx(-2.836e-4, abs=5e-8)


def test_sigmoid_run_of_figure_E1():
    run, solution = heat_run("sigmoid"), recorded("sigmoid", max_steps=62_500)
    assert solution.history.steps.tolist() == [62_500]
    assert not solution.history.arrived.any()
    assert "stopped at 62500 steps with max|Δ| = " in solution.reason
    assert run.sheaf.network(run.x)[0, 0] == pytest.approx(0.703263, abs=5e-7)
    z = run.sheaf.forward(run.x)[0, run.sheaf.layout["z4"]]
    pattern = run.sheaf.forward_pattern(run.x)
    assert spectrum.extreme(run.sheaf, pattern, z=z)[0] == pytest.approx(0.0192714, abs=5e-8)
    steps, _, units = solution.history.switches.T
    assert len(steps) == 390
    busiest = np.bincount(units).argmax()
    assert (units == busiest).sum() == 384
    assert busiest < run.sheaf.pattern_layout["a1"].stop  # a neuron of layer 1
    # the recorded runs: "between steps 150 and 560"; it begins earlier
    assert steps[units == busiest].max() == 560


def test_figure_6():
    run, solution = heat_run("fig6"), recorded("fig6")
    assert solution.history.switches[:, 0].tolist() == [50, 65]
    assert discord.total(run.sheaf, run.start, run.x)[0] == pytest.approx(10.30, abs=0.005)
    assert solution.output[0, 0] == pytest.approx(-0.710566, abs=5e-7)
    low, high = spectrum.extreme(run.sheaf, solution.pattern)
    assert low == pytest.approx(0.164771, abs=5e-7)
    assert high == pytest.approx(3.646, abs=5e-4)


@pytest.mark.parametrize("stepper", [None, EulerStepper])
def test_a_switch_at_step_t_means_that_state_t_has_another_pattern_than_state_t_minus_1(stepper):
    run = heat_run("fig6")
    patterns = [
        run.sheaf.pattern(state.cochain, run.x)[0]
        for state, _ in zip(heat(*run, dt=0.01), range(70))
    ]
    found = [
        [t, 0, unit]
        for t in range(1, 70)
        for unit in np.flatnonzero(patterns[t] != patterns[t - 1])
    ]
    assert [t for t, _, _ in found] == [50, 65]
    assert relax(*run, dt=0.01, max_steps=69, stepper=stepper).history.switches.tolist() == found


def test_hard_pin():
    solution = recorded("2x4x1", pins=hard("z1", 0.5, at=0))
    assert solution.history.steps.tolist() == [8144]
    assert solution["z1"][0, 0] == 0.5
    assert solution.output[0, 0] == pytest.approx(1.310511, abs=5e-7)


@pytest.mark.parametrize(
    "gamma, z, output",
    [
        (0.1, 0.364632, 1.162022),
        (1.0, 0.200548, 0.639112),
        (10.0, 0.036463, 0.116202),
        (100.0, 0.003971, 0.012656),
    ],
)
def test_soft_pins_on_the_whole_of_z1(gamma, z, output):
    """z¹ → 0 with stiffness γ: z¹ = W¹x/(1 + γ)."""
    solution = recorded("2x4x1", pins=soft("z1", 0.0, gamma))
    assert solution["z1"][0, 0] == pytest.approx(z, abs=5e-7)
    assert solution.output[0, 0] == pytest.approx(output, abs=5e-7)


def test_pre_activation_of_the_pinned_network():
    run = heat_run("2x4x1")
    assert abs(run.sheaf.forward(run.x)[0, :4] - [0.4011, 0.3496, -1.216, 1.8892]).max() < 5e-5


@pytest.mark.parametrize(
    "name, n_out", [("paraboloid", 1), ("saddle", 1), ("circular", 1), ("blobs", 4)]
)
def test_datasets(name, n_out):
    data = task(name)
    assert [part.shape for part in data] == [(300, 2), (300, n_out), (100, 2), (100, n_out)]
    if name == "paraboloid":
        expected = (data.X_test**2).sum(axis=1, keepdims=True) - 2 / 3
        assert np.std(data.Y_test - expected) < 0.05
    if name == "blobs":
        assert (np.sort(data.Y_train, axis=1) == [0, 0, 0, 1]).all()


def test_inputs_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        next(iter(paper_inputs().values()))[...] = 0
