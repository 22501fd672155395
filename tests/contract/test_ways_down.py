"""The comparison of notebook 15: its methods find the minimum where there is one, its problems are
the same each time, and its record is counted as it says.
"""

import json

import numpy as np
import pytest
from effort import seeds

from sheaflib import Affine, Network, NeuralSheaf, equilibrium, hard
from sheaflib.companion import descents, ways_down
from sheaflib.companion.comparison import Comparison, shown
from sheaflib.companion.descents import Descent
from sheaflib.companion.pinned_problems import SMALL, Problem, cnn, drawn, problem, start
from sheaflib.companion.ways_down import HOMOTOPY, NEWTON, RESTARTS

INJECTIONS = ways_down.INJECTIONS


def pinned(network, rng):
    x = rng.standard_normal((1, network.n_in))
    label = np.eye(network.n_out)[[network(x)[0].argmin()]]
    return Problem(NeuralSheaf(network), x, hard("a_out", label))


@pytest.mark.parametrize("method", INJECTIONS)
@pytest.mark.parametrize("seed", seeds(2))
def test_without_kinks_every_method_finds_the_one_minimum(method, seed):
    """Two affine maps and a softmax: V is strictly convex in the injections."""
    rng = np.random.default_rng(seed)
    nodes = [("z1", Affine(rng.normal(size=(4, 3)))), ("z2", Affine(rng.normal(size=(3, 4))))]
    of = pinned(Network(3, nodes, "softmax"), rng)
    lowest = equilibrium(of.sheaf, of.x, pins=of.pins).energy[0]
    run = INJECTIONS[method](of, of.sheaf.forward(of.x), 3000)
    assert run.energy[0] == pytest.approx(-np.log(of.sheaf.network(of.x)[0].min()))
    assert lowest - 1e-9 <= run.energy[-1] <= lowest + 1e-6 * (1 + lowest)


@pytest.mark.parametrize("method", ways_down.METHODS)
def test_a_run_goes_down_and_counts_its_passes(method):
    rng = np.random.default_rng(1)
    of = pinned(Network.he([3, 8, 6, 3], rng, "softmax"), rng)
    begin = of.sheaf.forward(of.x)
    if method in INJECTIONS:
        run = INJECTIONS[method](of, begin, 200)
        # SciPy ends the line search that it has begun
        assert run.passes[-1] <= 200 + 20 and not run.certified
    else:
        run = descents.by_budget(of, begin, 2000, ways_down.MODES[method])
        whole = descents.solved(of, begin, ways_down.MODES[method])
        assert run.energy[-1] == pytest.approx(whole.energy[0]) and run.certified
        assert run.end == "at rest" and run.passes[-1] <= 2000
    assert (np.diff(run.passes) > 0).all() and (np.diff(run.energy) <= 0).all()
    assert run.until(run.energy[-1]) in run.passes and run.until(-1.0) is None


def test_problems_are_the_same_each_time_and_pin_the_least_likely_class():
    for family in set(SMALL) - {"digits CNN"}:
        one, again = problem(family, 3), problem(family, 3)
        assert (one.x == again.x).all()
        assert (start(one, 2, 3) == start(again, 2, 3)).all()
        assert one.pins.value.argmax() == one.sheaf.network(one.x)[0].argmin()
        assert (start(one, 0, 3) == one.sheaf.forward(one.x)).all()
    assert drawn("chain 50 × 50", np.random.default_rng(0)).nodes[-1].operation.n_out == 5
    assert cnn(np.random.default_rng(0)).n_in == 64


def ends(newton, homotopy, certified=True):
    """A run of the starts: V of both."""
    return {
        NEWTON: [newton, 10, True],
        "Newton, global": [newton, 10, True],
        HOMOTOPY: [homotopy, 20, certified],
    }


def net(minima, *ranks):
    """A network of the lists: where Newton's modes, the homotopy and restarts end."""
    ways = (*ways_down.MODES, RESTARTS)
    return {"minima": minima} | {way: [rank, 8, True] for way, rank in zip(ways, ranks)}


def made():
    fast, slow = (
        Descent([10, 20], [2.0, 1.0], True, "at rest"),
        Descent([10, 90], [3.0, 1.0], 0, ""),
    )
    high = Descent([10, 20], [3.0, 2.9], False, "passes spent")
    race = {
        "chain 50 × 50": {NEWTON: high, HOMOTOPY: fast, "L-BFGS": slow},
        "residual 64 × 50": {NEWTON: fast, HOMOTOPY: slow},
        "random ResNet-20": {NEWTON: high, HOMOTOPY: fast},
    }
    starts = {"a": [ends(2.0, 1.0), ends(1.0, 1.0 + 1e-12)], "b": [ends(1.0, 2.0, False)] * 2}
    lists = {"2x6x1": [net(1, 0, 0, 0, 0), net(2, 1, 0, 0, 1), net(3, 1, 2, 0, 0)]}
    row = {"energy": 2.0, "passes": 1.0, "certified": 1, "enrichment": 3.0}
    report = {
        "by heart": {
            NEWTON: row | {"edges": {"e": 1.0, "f": 2.0}},
            HOMOTOPY: row | {"edges": {"e": 1.1, "f": 1.0}},
            "counts": {"lower": 1, "equal": 2, "higher": 0},
            "rank correlation": 0.9,
        }
    }
    return Comparison(race, starts, lists, report)


def test_a_record_is_counted():
    found = made()
    assert found.lowest("chain 50 × 50") == 1.0
    assert found.arrivals("chain 50 × 50") == {NEWTON: None, HOMOTOPY: 20, "L-BFGS": 90}
    assert found.passes() == {"arrives": 2, "first": 1, "problems": 2}
    assert found.resnet_measured() == {"certified": True, "within": True, "V": 1.0, "passes": 20}
    assert found.counts() == {"lower": 1, "equal": 1, "higher": 2}
    assert found.counts("a") == {"lower": 1, "equal": 1, "higher": 0}
    assert found.lower()["more-often"] is False
    shares = {"Newton, track": 0.0, "Newton, global": 0.5, "homotopy": 1.0, "Newton, restarts": 0.5}
    assert found.global_shares() == shares
    measured = found.enumerated()
    assert measured["several"] == 2 and measured["networks"] == 3
    assert all(measured[f"above-{way}"] for way in ("track", "global", "restarts"))
    assert found.certified() == {"not-certified": 3, "runs": 10}
    assert found.largest_change("by heart") == 0.5
    assert found.report_measured() == {"by-heart": [0.5, 0.9, 3.0, 3.0]}


def test_its_tables_say_what_it_counts():
    found = made()
    assert "–" in repr(found.raced()) and "90" in repr(found.raced())
    assert "certified" in repr(found.resnet()) and "passes spent" in repr(found.resnet())
    assert "1/1/0" in repr(found.by_family()) and "100.0 %" in repr(found.listed())
    assert "50.00 %" in repr(found.reported()) and shown(1234) == "1 234"
    assert repr(found) == (
        "Comparison(3 problems raced, 4 starts, 3 networks with all their minima, 1 reports)"
    )


def test_an_interval_is_wilsons():
    """The ends p with (share − p)² = z² p (1 − p)/n."""
    for count, n in ((5, 10), (138, 150), (0, 7)):
        for p in ways_down.interval(count, n):
            assert (count / n - p) ** 2 == pytest.approx(
                1.959963984540054**2 * p * (1 - p) / n, abs=1e-9
            )


def test_a_record_is_written_as_it_is_read():
    part = {"a": {"b": [1, 0.1]}, "ü": [], "c": [{"d": [True, None, "x"]}]}
    assert json.loads(ways_down.written(part)) == part
    assert ways_down.shortened({"a": [1 / 3, 2]}) == {"a": [0.333333333333, 2]}
