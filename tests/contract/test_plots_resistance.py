"""The pictures of notebook 10 draw what they are given, on the axes they are given."""

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import labels

from sheaflib.companion.figures import resistance
from sheaflib.plots.palette import EDGE_COLOURS

EDGES = {"affine_1": 2.0, "activation_1": 1.0, "output": 1.0}
LINES = {"pinned": [0.0, 2.0, 3.0], "spring": [0.0, 1.5, 2.25, 3.0]}


def by_label(ax):
    return {line.get_label(): line for line in ax.lines}


def test_a_circuit_has_a_resistor_an_edge_as_long_as_its_resistance(ax):
    assert resistance.resistors(EDGES, ["x", "z1", "a1", "y"], LINES, LINES, ax) is ax
    resistors = {line.get_gid(): line for line in ax.lines if line.get_gid()}
    assert {gid: tuple(line.get_xdata()[[0, -1]]) for gid, line in resistors.items()} == {
        "edge:affine_1": (0, 2),
        "edge:activation_1": (2, 3),
        "edge:output": (3, 4),
    }
    assert all(
        line.get_color() == EDGE_COLOURS[gid[5:].split("_")[0]] for gid, line in resistors.items()
    )
    assert labels(ax.texts) == [
        "affine 1\n2",
        "activation 1\n1",
        "output\n1",
        "$x$",
        "$z^{1}$",
        "$a^{1}$",
        "$y$",
    ]
    assert max(line.get_ydata().max() for line in resistors.values()) < 0  # below the potentials


def test_a_potential_may_end_before_the_last_resistor(ax):
    resistance.resistors(
        EDGES,
        ["x", "z1", "a1", "y"],
        LINES,
        {name: 2 * np.array(row) for name, row in LINES.items()},
        ax,
    )
    drawn = by_label(ax)
    assert list(map(tuple, drawn["pinned, predicted"].get_xydata())) == [(0, 0), (2, 2), (3, 3)]
    assert list(map(tuple, drawn["spring, solved"].get_xydata())) == [
        (0, 0),
        (2, 3),
        (3, 4.5),
        (4, 6),
    ]
    assert len(set(ax.get_legend_handles_labels()[1])) == 4 and ax.get_yticks().min() >= -0.2


def test_the_line_of_equality_spans_all_points(ax):
    assert (
        resistance.against(
            {"one": ([1.0, 10.0], [1.0, 20.0]), "two": ([0.1], [0.3])}, ax, "law", "solved"
        )
        is ax
    )
    equal, *marks = ax.lines
    np.testing.assert_array_equal(equal.get_xdata(), equal.get_ydata())
    assert equal.get_xdata()[0] < 0.1 and equal.get_xdata()[1] > 20
    assert [list(map(tuple, mark.get_xydata())) for mark in marks] == [
        [(1, 1), (10, 20)],
        [(0.1, 0.3)],
    ]
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == (
        "log",
        "log",
        "law",
        "solved",
    )
    assert labels(ax.get_legend().get_texts()) == ["one", "two"]


def test_every_interval_is_a_bar_with_its_dot(ax):
    resistance.intervals([0.0, 1.0], [0.5, 1.5], [1.0, 3.0], ax)
    bars = ax.collections[0].get_segments()
    assert [[tuple(point) for point in bar] for bar in bars] == [[(0, 0), (0, 1)], [(1, 1), (1, 3)]]
    assert list(map(tuple, ax.lines[0].get_xydata())) == [(0, 0.5), (1, 1.5)]


def test_along_a_run_predictions_are_lines_and_measurements_marks(ax):
    resistance.along(
        [0, 2000],
        {"sheaf": [1, 2], "gd": [3, 4]},
        {"sheaf": [1.1, 2.1], "gd": [3.1, 4.1]},
        ax,
        unit=1000,
    )
    drawn = by_label(ax)
    assert list(drawn) == ["sheaf, predicted", "sheaf, measured", "gd, predicted", "gd, measured"]
    assert list(map(tuple, drawn["gd, measured"].get_xydata())) == [(0, 3.1), (2, 4.1)]
    assert all(
        (line.get_linestyle() == "None") == name.endswith("measured")
        for name, line in drawn.items()
    )
    assert drawn["sheaf, predicted"].get_linestyle() != drawn["gd, predicted"].get_linestyle()
    assert ax.get_xlabel() == "thousand steps"


def test_a_band_lies_between_its_bounds(ax):
    resistance.band([0, 1], [0.1, 0.2], [0.3, 0.4], [0.5, 0.6], ax, label="found")
    assert {name: list(line.get_ydata()) for name, line in by_label(ax).items()} == {
        "upper bound": [0.5, 0.6],
        "found": [0.3, 0.4],
        "lower bound": [0.1, 0.2],
    }
    assert len(ax.collections) == 1 and ax.get_xlabel() == "step"


def test_bars_by_edge_run_from_the_input_on(ax):
    resistance.by_edge(EDGES, ax, "resistance")
    assert [bar.get_width() for bar in ax.patches] == [2, 1, 1] and ax.yaxis_inverted()
    assert labels(ax.get_yticklabels()) == ["affine 1", "activation 1", "output"]
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in ax.patches]
    assert colours == [EDGE_COLOURS[kind] for kind in ("affine", "activation", "output")]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: resistance.resistors(EDGES, ["x", "z1", "a1", "y"], LINES, LINES),
        lambda: resistance.against({"a": ([1.0], [1.0])}),
        lambda: resistance.intervals([0], [1], [2]),
        lambda: resistance.along([0], {"a": [1]}, {"a": [1]}),
        lambda: resistance.band([0], [0], [1], [2]),
        lambda: resistance.by_edge(EDGES),
    ],
)
def test_without_axes_the_current_ones_are_taken(draw):
    fig, ax = plt.subplots()
    assert draw() is ax
    plt.close(fig)
