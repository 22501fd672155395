"""The runs of the scaling laws against the NumPy stepper, closed forms and counting by hand."""

import numpy as np
import pytest
from figures_07 import DATA, moment, plain
from figures_07 import test_loss as loss_of

from sheaflib.companion import scaling
from sheaflib.companion.experiments import Run
from sheaflib.linear.resistance import effective_resistance
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf

SEEDS = [[0, 42], [100, 43]]


@pytest.fixture(autouse=True)
def no_kept_results(tmp_path, monkeypatch):
    monkeypatch.setenv("SHEAFLIB_CACHE", str(tmp_path))
    monkeypatch.setenv("SHEAFLIB_JOBS", "1")


@pytest.fixture(scope="module")
def short():
    """Two speeds, two seeds, 20 steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHEAFLIB_JOBS", "1")
        yield scaling.beta_law(0.1, 0.005, SEEDS, beta_n=[0.3, 9.0])


def test_a_law_is_what_the_numpy_stepper_finds(short):
    for i, beta_n in enumerate((0.3, 9.0)):
        for k, seeds in enumerate(SEEDS):
            stepper = plain("2x30x1", *seeds, False, beta_n, 0.005)
            stepper.advance(2)
            assert short.tenth[i, k] == pytest.approx(loss_of(stepper), rel=1e-9)
            stepper.advance(18)
            assert short.loss[i, k] == pytest.approx(loss_of(stepper), rel=1e-9)
    np.testing.assert_allclose(short.median, short.loss.mean(axis=1))


def test_half_the_step_ends_at_the_same_time(short):
    changes = scaling.at_half_the_step(short)
    expected = []
    for i, k in ((0, 0), (1, 0), (1, 0), (1, 1)):  # the first seed, then all above 3
        stepper = plain("2x30x1", *SEEDS[k], False, short.beta_n[i], 0.0025)
        stepper.advance(40)
        expected.append(loss_of(stepper) / short.loss[i, k])
    np.testing.assert_allclose(changes, expected, rtol=1e-8)


def test_a_speed_is_found_on_a_logarithmic_scale():
    law = scaling.Law(np.array([0.999, 9.0, 30.0]), [], 1.0, 0.005, SEEDS, "random")
    assert [law.place(b) for b in (1, 2.9, 3.1, 16, 17, 1000)] == [0, 0, 1, 1, 2, 2]


def made_up(test, diverged=""):
    network = Network.mlp([[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0, 3.0]]])
    return Run(np.array([0, 1]), np.ones(2), np.array(test), network, np.zeros(0), diverged)


def test_what_diverged_is_no_number_and_never_the_best():
    rows = [
        [made_up([5.0, 3.0]), made_up([5.0, 4.0])],
        [made_up([5.0, 1.0]), made_up([5.0, 1.0], "it ran away")],
        [made_up([5.0, 2.0]), made_up([5.0, 6.0])],
    ]
    law = scaling.Law(np.array([1.0, 2.0, 3.0]), rows, 1.0, 0.005, SEEDS, "random")
    np.testing.assert_array_equal(law.loss, [[3, 4], [1, np.nan], [2, 6]])
    np.testing.assert_array_equal(np.isnan(law.bent), np.isnan(law.loss))
    assert law.best == 0
    assert "1 diverged" in repr(law)


def test_a_unit_bends_inside_the_data_when_its_sign_changes_there():
    x = DATA.X_train
    outside = float(abs(x).max()) + 1
    network = Network.mlp(
        [[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [[1.0, 1.0, 1.0, 1.0]]],
        [[0.0, outside, -outside, 0.1], [0.0]],
    )
    run = Run(np.array([0]), np.ones(1), np.ones(1), network, np.zeros(0))
    assert scaling.bent_units(run) == 2
    sheaf = NeuralSheaf(network)
    each = [effective_resistance(sheaf, sheaf.forward_pattern(row[None])).norm[0] for row in x]
    assert scaling.resistance(run) == pytest.approx(np.median(each))


def test_from_the_forward_pass_the_formula_leaves_the_weights_as_they_are():
    unit = scaling.first_unit(0.005, SEEDS[:1], beta_n=[9.0])
    assert unit.formula["forward"] == pytest.approx(1, abs=1e-12)
    assert unit.kept["forward"] == pytest.approx(1, abs=0.3)
    W = Network.mlp(
        [plain("2x30x1", 0, 42, False, 9.0, 0.005).sheaf.network.nodes[0].operation.weight]
    )
    W = W.nodes[0].operation.weight
    shrunk = np.c_[W, np.zeros(30)] @ np.linalg.inv(np.eye(3) + 9 * moment(300)[1])
    expected = np.linalg.norm(shrunk[:, :2]) / np.linalg.norm(W)  # of zero stalks nothing is added
    assert unit.formula["zero"] == pytest.approx(expected, rel=1e-12)


def test_a_first_unit_that_diverges_is_no_number_and_farthest_leaves_it_out():
    unit = scaling.first_unit(0.02, SEEDS[:1], beta_n=[1e4])
    assert np.isnan(unit.kept["random"]).all() and np.isfinite(unit.formula["random"]).all()
    assert np.isnan(unit.farthest()["random"])
    made = scaling.FirstUnit(
        np.array([1.0, 3.0, 9.0]),
        {"zero": np.array([[9.0, 1.0], [1.1, np.nan], [1.0, 0.8]])},
        {"zero": np.ones((3, 2))},
    )
    assert made.farthest() == {"zero": 0.8}


@pytest.mark.parametrize("n", [300, 150])
def test_the_prediction_is_two_over_the_step_and_the_largest_eigenvalue(n):
    assert scaling.largest_moment(n) == pytest.approx(np.linalg.norm(moment(n)[1], 2), rel=1e-12)


def test_a_limit_is_bracketed_by_runs_that_train_and_runs_that_diverge(monkeypatch):
    def train(*, beta_n, dt, n, steps, **_):
        # a limit that is known: 90 for all samples, 40 for half of them, at a step of 0.01
        limit = (90 if n == 300 else 40) * 0.01 / dt
        late = steps * dt > 5 and beta_n > 0.999 * limit
        return made_up([1.0, 1.0], "it ran away" if beta_n > limit or late else "")

    monkeypatch.setattr(scaling, "sweep", lambda _, cases, label: [train(**c) for c in cases])
    limits = scaling.limits(10.0, 0.01, SEEDS[0])
    for name, limit in (("n=300, dt=0.01", 90), ("n=150, dt=0.02", 20), ("n=150, dt=0.005", 80)):
        assert limits.trains[name] <= limit < limits.diverges[name]
        assert limits.diverges[name] / limits.trains[name] < (1000 / 30) ** (1 / 250)
        assert limits.middle[name] ** 2 == pytest.approx(
            limits.trains[name] * limits.diverges[name]
        )
    assert limits.over_prediction["n=300, dt=0.01"] == pytest.approx(
        90 * 0.01 * scaling.largest_moment(300) / 2, rel=0.01
    )
    assert limits.late == [s for s, b in limits.trains.items() if b > 0.999 * limit_of(s)]


def limit_of(setting):
    n, dt = setting.removeprefix("n=").split(", dt=")
    return (90 if n == "300" else 40) * 0.01 / float(dt)


def test_losses_over_time_are_those_of_their_times(monkeypatch):
    monkeypatch.setattr(scaling, "E4_TIMES", (0.5, 1.0))
    found = scaling.loss_over_time(1)
    for widths, dt in scaling.E4_STEPS.items():
        for losses, seed, fresh in (
            (found.paper[widths], 42, False),
            (found.fresh[widths], 1, True),
        ):
            stepper = plain(widths, seed, seed, fresh, 1.0, dt)
            for place in range(2):
                stepper.advance(round(0.5 / dt))
                assert np.ravel(losses[place])[0] == pytest.approx(loss_of(stepper), rel=1e-8)


def test_a_depth_law_keeps_the_order_of_depths_and_seeds(monkeypatch):
    def sweep(function, cases, label):
        if function is scaling.experiments.at_birth:
            return [(case["widths"].count("10"), case["seed"]) for case in cases]
        return [100 * case["widths"].count("10") + case["seed"] for case in cases]

    monkeypatch.setattr(scaling, "sweep", sweep)
    law = scaling.depth_law(1.0, 3, depths=(1, 2))
    assert law.time.tolist() == [[101, 102, 103], [201, 202, 203]]
    assert law.gap.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert law.resistance.tolist() == [[1, 2, 3], [1, 2, 3]]
