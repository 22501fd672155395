"""What `make bench` times and how it writes it down."""

import json
import shutil
from argparse import Namespace

import numpy as np
import pytest

from benchmarks import equilibria
from sheaflib.companion.record import gallery
from tools import bench
from tools.project import REPOSITORY, Project

ROWS = """
import pytest
from benchmarks import Side

COUNT = {"begun": 0}

def count(to):
    COUNT["begun"] += 1
    return sum(range(to))

def test_two_sides(row):
    row("two sides", Side(lambda: count(20_000)), Side(lambda: count(60_000), per=2), "a note")

def test_a_set_up_side(row):
    begin = lambda: ((30_000,), {})
    ours = Side(count, rounds=2, setup=begin, check=check)
    row("set up", ours, Side(count, setup=begin), "another note")

def check(result):
    assert result == EXPECTED

def test_elsewhere(row, torch):
    raise AssertionError("there is no PyTorch here")
"""


@pytest.mark.parametrize("method", ["prox-euler, best step", "chebyshev", "implicit-euler"])
def test_the_steps_taken_end_where_the_method_ends(method):
    _, flow, note = equilibria.sides("2x10x8x1", method, 42, 7, 7)
    (stepper,), options = flow.setup()
    start = stepper.w.copy()
    flow.check(flow.call(stepper, **options))
    assert stepper.steps.min() > 10 and np.abs(stepper.w - start).max() > 1e-3
    assert f"against {stepper.passes.mean():.4g}; exactly these steps" in note
    stepper.w[3, 5] += 1e-7
    with pytest.raises(AssertionError):
        flow.check(stepper)


def test_newton_ends_at_equilibria():
    newton, _, note = equilibria.sides("2x30x1", "prox-euler, best step", 0, 5, 3)
    solved = newton.call()
    assert solved.certificate.minimum().all() and len(solved.cochain) == 5
    assert f"a batch of 5 samples against one of 3, {solved.passes.mean():.4g} passes" in note


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The root of a repository with three rows of its own, one for PyTorch, which it lacks."""
    root = tmp_path_factory.mktemp("bench")
    for file in (
        "benchmarks/__init__.py",
        "benchmarks/conftest.py",
        "tools/__init__.py",
        "tools/environment.py",
        "tools/project.py",
    ):
        (root / file).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / file, root / file)
    return root


@pytest.fixture
def measure(checkout, monkeypatch):
    """A function that measures the rows, one of which computes `result`, and returns the status."""
    for name in ("figures", "build"):
        shutil.rmtree(checkout / name, ignore_errors=True)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # with it nothing would be timed

    def measure(*words, result=sum(range(30_000))):
        text = ROWS.replace("EXPECTED", str(result))
        (checkout / "benchmarks" / "rows.py").write_text(text, encoding="utf-8")
        return bench.bench(Project(checkout), Namespace(arguments=list(words)))

    return measure


def test_both_sides_of_a_row_make_a_ratio(checkout, measure, capfd):
    (checkout / "build" / "torch").mkdir(parents=True)  # as if PyTorch were in it
    assert measure() == 0
    text = (checkout / "figures" / "bench.json").read_text(encoding="utf-8")
    both, other = json.loads(text)
    assert list(both) == ["name", "ratio", "ours_us", "theirs_us", "note"]
    assert (both["name"], both["note"]) == ("two sides", "a note")
    for row in (both, other):
        assert row["ratio"] == pytest.approx(row["theirs_us"] / row["ours_us"], rel=0.01)
    assert 1 < both["ratio"] < 2.5  # three times as much, twice in a call
    assert other["note"] == "another note"
    assert 1 < other["ours_us"] < 1e5  # microseconds, for 30 000 additions
    table = (checkout / "figures" / "bench.md").read_text(encoding="utf-8")
    assert f"\n## {bench.OTHERS}\n" in table and table.count("\n## ") == 1
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if "note" in line[-8:]]
    for row, (name, ratio, ours, theirs, note) in zip((both, other), lines[-2:], strict=True):
        assert (name, float(ratio), note) == (row["name"], row["ratio"], row["note"])
        for time, side in ((ours, "ours_us"), (theirs, "theirs_us")):
            number, unit = time.split()
            microseconds = float(number) * {"s": 1e6, "ms": 1e3, "µs": 1}[unit]
            assert microseconds == pytest.approx(row[side], rel=0.005)
    assert "no PyTorch in build/torch" in capfd.readouterr().out


@pytest.mark.parametrize("words, torch", [(["-k", "two"], True), ([], False)])
def test_some_rows_are_not_the_table(checkout, measure, words, torch):
    """Neither those asked for nor those that are left without PyTorch."""
    if torch:
        (checkout / "build" / "torch").mkdir(parents=True)
    assert measure(*words) == 0
    assert not (checkout / "figures").exists()
    text = (checkout / "build" / "bench" / "bench.json").read_text(encoding="utf-8")
    assert [row["name"] for row in json.loads(text)] == ["two sides", "set up"][: 2 - torch]


def test_sides_that_do_not_agree_make_no_table(checkout, measure):
    (checkout / "build" / "torch").mkdir(parents=True)
    assert measure(result=0) == 1
    assert not (checkout / "figures").exists() and not list(checkout.glob("build/bench/bench.*"))


def test_measured_times_have_names():
    rows = gallery.bench()
    kept = {"name", "ratio", "ours_us", "theirs_us", "note"}
    assert rows and all(row["name"] == name and set(row) == kept for name, row in rows.items())
