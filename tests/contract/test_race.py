"""The race does what its protocol says: who enters, what is counted, how ratios and verdicts come
about.
"""

import inspect
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import training
from sheaflib import Network
from sheaflib.circuits import kernels
from sheaflib.circuits.minibatch import HOLD, MiniBatches
from sheaflib.companion import race, regimes, tuning
from sheaflib.companion.race import Ratio, ratio, verdict
from sheaflib.companion.tasks import task

PROTOCOL = tomllib.loads(
    (Path(__file__).parents[2] / "notebooks" / "11-protocol.toml").read_text(encoding="utf-8")
)
ROWS = [*PROTOCOL["data"]["rows"], "digits"]
SMALL = {"rule": "backprop", "lr": 0.01, "updates": 20}


@pytest.mark.parametrize("row", ROWS)
def test_every_side_has_the_same_number_of_trials_budget_and_data(row):
    found = tuning.entrants(PROTOCOL, row)
    several = row in PROTOCOL["second-round"]["rows"]
    assert set(found) == {
        "cheap" if several else "primary",
        "equilibrium",
        "backprop",
        "backprop-decay",
        "null",
    }
    for name, cases in found.items():
        assert (
            len(cases)
            == PROTOCOL["tuning"]["trials"]
            == len({tuple(map(str, case.items())) for case in cases})
        )
        assert {(case["updates"], case["size"], case["folds"]) for case in cases} == {
            tuple(found["backprop"][0][k] for k in ("updates", "size", "folds"))
        }
        assert [case["lr"] for case in cases] == sorted(case["lr"] for case in cases)
        assert {str(case["seeds"]) for case in cases} == {str(cases[0]["seeds"])}
    assert (
        not set(found["null"][0]["seeds"]) & set(found["backprop"][0]["seeds"])
        and found["null"][0]["again"] == 1
    )
    assert {case["rule"] for case in found["backprop"]} == {"backprop"} and {
        case["kappa"] for case in found["equilibrium"]
    } == {1.0}


@pytest.mark.parametrize("row", ROWS)
def test_finalists_read_the_test_set_with_seeds_that_tuned_nothing(row):
    entrants = tuning.entrants(PROTOCOL, row)
    finals = tuning.finalists(PROTOCOL, row, {name: cases[3] for name, cases in entrants.items()})
    assert {
        "primary",
        "equilibrium",
        "backprop",
        "backprop-decay",
        "null",
        "= ohm",
        "= mirror",
        "= equilibrium",
        "= backprop",
    } <= set(finals)
    for case in finals.values():
        assert "folds" not in case and len(set(case["seeds"])) == 20
        assert not set(case["seeds"]) & {
            seed for cases in entrants.values() for c in cases for seed in c["seeds"]
        }
    assert finals["primary"]["rule"] == finals["equilibrium"]["rule"] == "circuit"
    assert len({case["lr"] for name, case in finals.items() if name.startswith("=")}) == 1


def test_passes_are_counted_as_the_protocol_says():
    one = {"updates": 10, "kappa": 0.0}
    assert (
        tuning.passes("saddle-1h", one | {"rule": "backprop"})
        == tuning.passes("saddle-1h", one | {"rule": "circuit"})
        == 30
    )
    assert tuning.passes("saddle-1h", {"updates": 10, "kappa": -1.0, "rule": "circuit"}) == 40
    assert (
        tuning.passes("blobs-1h", one | {"rule": "circuit"}) == 70
        and tuning.passes("blobs-1h", one | {"rule": "rayleigh"}) == 30
    )
    assert tuning.passes("digits", one | {"rule": "circuit"}) == 130


def test_a_candidate_is_kept_as_its_losses_say(monkeypatch):
    """The lowest mean of ln max(loss, floor), and of those that tie the first."""
    cases = {
        "a": [
            {"lr": 1, "gives": [4.0, 1.0]},
            {"lr": 2, "gives": [2.0, 1.9]},
            {"lr": 3, "gives": [1e-9, 1e-7]},
            {"lr": 4, "gives": [1e-5, 1e-5]},
        ],
        "b": [{"lr": 5, "gives": [np.inf, 1e-9]}, {"lr": 6, "gives": [9.0, 9.0]}],
        "c": [{"lr": 7, "gives": [2.0, 2.0]}, {"lr": 8, "gives": [9.0, 0.01]}],
    }
    monkeypatch.setattr(
        tuning, "sweep", lambda function, given, label: [np.array(case["gives"]) for case in given]
    )
    chosen = tuning.tune(cases, 1e-4)
    assert (chosen["a"]["lr"], chosen["b"]["lr"], chosen["c"]["lr"]) == (3, 6, 8)


def test_folds_part_the_training_data_and_leave_the_test_data_alone():
    given = task("saddle")
    held = [out for *_, out, _ in race.parts(given, 5, seed=3)]
    assert sorted(map(tuple, np.concatenate(held))) == sorted(map(tuple, given.X_train))
    for x, y, out, labels in race.parts(given, 5, seed=3):
        assert len(x) == 240 and len(out) == 60 and not set(map(tuple, x)) & set(map(tuple, out))
        index = {tuple(row): label for row, label in zip(given.X_train, given.Y_train)}
        assert all(index[tuple(row)] == label for row, label in zip(out, labels))
    ((x, y, out, labels),) = race.parts(given, 0, seed=3)
    assert x is given.X_train and labels is given.Y_test


def test_batches_are_permutations_one_after_another():
    order = race.batches(5, 0, 30, 17, 8)
    assert order.shape == (17, 8)
    for k in range(4):
        assert sorted(order.ravel()[30 * k : 30 * k + 30]) == list(range(30))
    assert not np.array_equal(order, race.batches(5, 1, 30, 17, 8)) and np.array_equal(
        order, race.batches(5, 0, 30, 17, 8)
    )


def test_the_learning_rate_is_held_and_then_falls_to_zero():
    speeds = race.rates(2.0, 1000, False)
    assert (
        (speeds[:301] == 2).all()
        and (np.diff(speeds[301:]) < 0).all()
        and speeds[-1] == pytest.approx(2 / 700)
    )
    assert (race.rates(2.0, 5, True) == 2).all()


def test_one_seed_gives_one_start_one_order_and_one_spoiling():
    a, b = (race.losses("saddle-1h", [4, 5], **SMALL) for _ in range(2))
    assert np.array_equal(a, b) and a.shape == (2,) and a[0] != a[1]
    assert race.losses("saddle-1h", [4, 5], 3, **SMALL).shape == (2, 3)
    flipped = race.data("circular-1h", 1, flips=0.25).Y_train != task("circular").Y_train
    assert 0.15 < flipped.mean() < 0.35
    noise = race.data("saddle-1h", 1, deviation=0.5).Y_train - task("saddle").Y_train
    assert 0.4 < noise.std() < 0.6 and np.array_equal(
        race.data("saddle-1h", 1, deviation=0.5).X_test, task("saddle").X_test
    )
    few = race.data("saddle-1h", 1, samples=40)
    assert few.X_train.shape == (40, 2) and {tuple(x) for x in few.X_train} <= {
        tuple(x) for x in task("saddle").X_train
    }


def test_looks_average_the_second_half():
    many = race.losses("saddle-1h", [4], constant=True, looks=4, **SMALL | {"updates": 40})
    single = [
        race.losses("saddle-1h", [4], constant=True, **SMALL | {"updates": n})[0]
        for n in (25, 30, 35, 40)
    ]
    assert many[0] == pytest.approx(np.mean(single), rel=1e-12)


def test_a_run_that_diverges_has_no_loss():
    assert (
        race.losses(
            "paraboloid-1h",
            [1],
            rule="backprop",
            lr=50.0,
            updates=200,
            optimiser="sgd",
            constant=True,
        )[0]
        == np.inf
    )
    assert (
        race.drift("2x30x1", [1], rule="backprop", lr=50.0, updates=200, optimiser="sgd")[0]
        == np.inf
    )


def test_weights_too_large_to_run_forward_have_no_loss():
    engine = MiniBatches(Network.mlp([[[1e200]], [[1e200]]]), [[1.0]], [[0.0]])
    assert race.held_out(engine, np.ones((1, 1)), np.zeros((1, 1))) == np.inf


def test_a_curve_ends_at_the_loss():
    ended = race.curve("saddle-1h", [4, 5], [5, 20], **SMALL)
    np.testing.assert_allclose(ended[:, -1], race.losses("saddle-1h", [4, 5], **SMALL), rtol=1e-12)


def test_unknown_rows_are_named():
    with pytest.raises(ValueError, match="row='parabola-1h' is unknown"):
        race.losses("parabola-1h", [0], **SMALL)


@given(st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=20))
def test_a_method_against_itself_is_1(values):
    assert ratio(values, values, 1e-4) == (1, 1, 1)


def test_ratios_count_the_floor_and_divergence():
    assert ratio([1e-9] * 5, [1e-6] * 5, 1e-4) == (1, 1, 1)
    assert ratio([np.inf] * 5, [np.inf] * 5, 1e-4) == (1, 1, 1)
    assert (
        ratio([1.0] * 5, [np.inf] * 5, 1e-4).median == 0
        and ratio([np.inf] * 5, [1.0] * 5, 1e-4).median == np.inf
    )
    found = ratio(np.exp(np.random.default_rng(0).standard_normal(2001)), np.ones(2001), 0.0)
    assert found.low < 1 < found.high and found.high / found.low < 1.2


@pytest.mark.parametrize(
    "ours, over_null, word",
    [
        ((0.8, 0.7, 0.9), (0.85, 0.75, 0.95), "better"),
        ((0.8, 0.7, 1.1), (0.8, 0.7, 0.9), "no difference"),
        ((0.8, 0.7, 0.9), (1.0, 0.9, 1.1), "no difference"),
        ((1.3, 1.1, 1.5), (1.2, 1.05, 1.4), "worse"),
        ((1.3, 1.1, 1.5), (1.1, 0.9, 1.4), "no difference"),
        ((1.3, 1.1, 1.5), (0.8, 0.7, 0.9), "no difference"),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), "no difference"),
    ],
)
def test_verdicts_follow_the_rule(ours, over_null, word):
    assert verdict(Ratio(*ours), Ratio(*over_null)) == word


@pytest.mark.parametrize("name", ["online", "continual", "initialisation", "depth", "few", "noise"])
def test_regimes_tune_all_sides_alike_beside_a_null(name):
    entries = getattr(regimes, name)(PROTOCOL)
    places = {key[:-1] for key in entries}
    for place in places:
        sides = {key[-1]: cases for key, cases in entries.items() if key[:-1] == place}
        assert {"backprop", "null"} < set(sides) and {len(cases) for cases in sides.values()} == {
            12
        }
        assert all(
            len(cases[0]["seeds"]) == len(sides["backprop"][0]["seeds"]) for cases in sides.values()
        )
        assert not set(sides["null"][0]["seeds"]) & set(sides["backprop"][0]["seeds"])
        tuned = {seed for cases in sides.values() for seed in cases[0]["seeds"]}
        assert not tuned & set(PROTOCOL["regimes"]["test_seeds"])


def test_the_drifting_label_is_what_the_docstring_says():
    """With steps too small to learn anything the error is the initial network's."""
    x = np.random.default_rng([7, 4]).uniform(-2, 2, (40, 2))
    zero = race.drift("2x30x1", [7], rule="backprop", lr=1e-9, updates=40, optimiser="sgd")[0]
    share = np.sin(2 * np.pi * np.linspace(0, 1, 40)) ** 2
    y = (1 - share) * ((x**2).sum(axis=1) - 2 / 3) + share * (
        x[:, 0] ** 2 - x[:, 1] ** 2 + np.sin(2 * x[:, 0]) / 2
    )
    network = race.start("paraboloid/2x30x1", 7)
    assert zero == pytest.approx(((network(x)[20:, 0] - y[20:]) ** 2).mean(), rel=1e-5)


def test_a_lighter_protocol_is_smaller_and_the_full_one_is_itself():
    assert tuning.lighter(PROTOCOL, 1, 20, 1) is PROTOCOL
    light = tuning.lighter(PROTOCOL, 0.1, 3, 4)
    assert (
        light["budget"]["updates"]["1h"] == 360
        and light["test"]["seeds"] == PROTOCOL["test"]["seeds"][:3]
    )
    for row in ROWS:
        assert {len(cases) for cases in tuning.entrants(light, row).values()} == {3}
    assert {len(cases) for cases in regimes.depth(light).values()} == {3}
    assert light["regimes"]["test_seeds"] == PROTOCOL["regimes"]["test_seeds"][:3]
    assert PROTOCOL["budget"]["updates"]["1h"] == 3600


def test_what_the_protocol_says_is_what_the_code_does():
    constant = f"constant for {100 * HOLD:.0f} % of the updates, then linear to 0"
    assert PROTOCOL["budget"]["schedule"] == constant
    assert PROTOCOL["data"]["digits"]["widths"] == race.DIGITS and PROTOCOL["data"]["rows"] == list(
        PROTOCOL["data"]["rows"]
    )
    given, scale = race.digits(), PROTOCOL["data"]["digits"]["scale"]
    assert (
        len(given.X_test) == PROTOCOL["data"]["digits"]["test"]
        and given.X_train.max() == 16 / scale
    )
    adam, defaults = PROTOCOL["budget"]["adam"], inspect.signature(MiniBatches).parameters
    assert (adam["beta1"], adam["beta2"], adam["epsilon"]) == (
        defaults["beta1"].default,
        defaults["beta2"].default,
        kernels.TINY,
    )
    updates = {kind: training.budget(f"saddle-{kind}") for kind in ("1h", "2h")}
    assert PROTOCOL["budget"]["updates"] | {"digits": 0} == updates | {"digits": 0}
    candidates = [list(which.values()) for which in training.CANDIDATES.values()]
    assert candidates == PROTOCOL["methods"]["primary"]["kappa_and_stiffness"]
    assert "score" in PROTOCOL["tuning"] and PROTOCOL["second-round"]["tuned_by_one_sweep"]
