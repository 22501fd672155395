"""The equilibrium rows of the bench take exactly the steps that lead to where each method ends."""

import numpy as np
import pytest

from sheaflib import gallery, ladder
from tools import bench, bench_equilibrium


@pytest.mark.parametrize("method", ["prox-euler, best step", "chebyshev", "implicit-euler"])
def test_the_steps_taken_end_where_the_method_ends(method):
    timed = bench_equilibrium.Flow("2x10x8x1", method, seed=42, samples=7)
    flow, drive = timed.flow(), timed.together
    if timed.one_by_one:
        drive = lambda flow: timed.grouped(flow, timed.steps.max())
    drive(flow)
    assert (flow.steps == timed.steps).all() and timed.steps.min() > 10
    assert (getattr(flow, "passes", 2 * flow.steps) == timed.passes).all()
    assert np.abs(flow.w - timed.end).max() < 1.1e-8
    assert timed.seconds() > 0


def test_a_row_says_both_sides():
    row = bench_equilibrium.against(bench.row, "2x30x1", 0, "prox-euler, best step", samples=5)
    size, ours, theirs = row["name"].removeprefix("equilibrium ").replace(" / ", ": ").split(": ")
    assert (size, ours, theirs) == ("2x30x1", "newton", "prox-euler, best step")
    assert size in ladder.SIZES and theirs in bench_equilibrium.METHODS and row["ratio"] > 0
    assert "one batch of 5 samples; " in row["note"] and " passes a sample against " in row["note"]


def test_measured_times_have_names():
    rows = gallery.bench()
    assert rows and all(row["name"] == name and {"ratio", "ours_us", "theirs_us", "note"} <= set(row) for name, row in rows.items())
