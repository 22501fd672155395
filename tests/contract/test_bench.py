"""What `make bench` times and how it writes it down."""

import json
import shutil

import numpy as np
import pytest

from benchmarks import equilibria
from sheaflib import gallery
from tools import bench
from tools.project import REPOSITORY, Project

ROWS = '''
import pytest
from benchmarks import Side

COUNT = {"begun": 0}

def count(to):
    COUNT["begun"] += 1
    return sum(range(to))

def test_two_sides(row):
    row("two sides", Side(lambda: count(20_000)), Side(lambda: count(60_000), per=2), "a note")

@pytest.mark.parametrize("row", ["ours"], indirect=True)
def test_one_side(row):
    begin = lambda: ((30_000,), {})
    row("one side", Side(count, rounds=2, setup=begin, check=check), None, "another note")

def check(result):
    assert result == EXPECTED

def test_elsewhere(row, torch):
    raise AssertionError("there is no PyTorch here")
'''


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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with three rows of its own, one for PyTorch, which it lacks."""
    for file in ("__init__.py", "conftest.py"):
        (tmp_path / "benchmarks").mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "benchmarks" / file, tmp_path / "benchmarks")
    text = (tmp_path / "benchmarks" / "conftest.py").read_text(encoding="utf-8")
    here = f"from pathlib import Path\n\nREPOSITORY = Path({str(tmp_path)!r})"
    text = text.replace("from tools.project import REPOSITORY", here)
    (tmp_path / "benchmarks" / "conftest.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(bench, "Project", lambda: Project(tmp_path))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # with it nothing would be timed
    return Project(tmp_path)


def rows(project, result):
    """Write the rows, the last of which computes `result`."""
    text = ROWS.replace("EXPECTED", str(result))
    (project.root / "benchmarks" / "rows.py").write_text(text, encoding="utf-8")


def test_both_sides_of_a_row_make_a_ratio(project, capfd):
    rows(project, sum(range(30_000)))
    (project.build / "torch").mkdir(parents=True)  # as if PyTorch were in it
    assert bench.main(["bench"]) == 0
    both, one = json.loads((project.figures / "bench.json").read_text(encoding="utf-8"))
    assert list(both) == ["name", "ratio", "ours_us", "theirs_us", "note"]
    assert (both["name"], both["note"]) == ("two sides", "a note")
    assert both["ratio"] == pytest.approx(both["theirs_us"] / both["ours_us"], rel=0.01)
    assert 1 < both["ratio"] < 2.5                      # three times as much, twice in a call
    assert (one["ratio"], one["theirs_us"], one["note"]) == (None, None, "another note")
    assert 1 < one["ours_us"] < 1e5                     # microseconds, for 30 000 additions
    table = (project.figures / "bench.md").read_text(encoding="utf-8")
    assert f"\n| two sides | {both['ratio']:g} | {both['ours_us']:g} |" in table
    assert f"\n| one side | – | {one['ours_us']:g} | – | another note |\n" in table
    assert "no PyTorch in build/torch" in capfd.readouterr().out


@pytest.mark.parametrize("words", [["-k", "two"], []])
def test_some_rows_are_not_the_table(project, words):
    """Neither those asked for nor those that are left without PyTorch."""
    rows(project, sum(range(30_000)))
    assert bench.main(["bench", *words]) == 0
    assert not project.figures.exists()
    kept = json.loads((project.build / "bench" / "bench.json").read_text(encoding="utf-8"))
    assert kept[0]["name"] == "two sides" and len(kept) == (1 if words else 2)


def test_sides_that_do_not_agree_make_no_table(project):
    rows(project, 0)
    assert bench.main(["bench"]) == 1
    assert bench.main(["bench", "--nonsense"]) == 4
    assert not project.figures.exists()


def test_measured_times_have_names():
    rows = gallery.bench()
    kept = {"name", "ratio", "ours_us", "theirs_us", "note"}
    assert rows and all(row["name"] == name and set(row) == kept for name, row in rows.items())
