"""The pictures of notebook 11 draw what they are given, on the axes they are given."""

import numpy as np
import pytest
from pictures import labels

from sheaflib.companion.figures import gap
from sheaflib.plots.palette import METHOD_COLOURS, SERIES

FOUND = {"ours": {"one-1h": [3.0, 1.0, 2.0], "two": [5.0]}, "recorded": {"one-1h": 4.0}}


def drawn(ax):
    """Label -> points, without the lines that have none."""
    return {
        line.get_label(): list(map(tuple, line.get_xydata()))
        for line in ax.lines
        if not line.get_label().startswith("_")
    }


def test_losses_are_medians_quartiles_and_stars(ax):
    assert gap.losses(FOUND, ax) is ax
    assert drawn(ax) == {"ours": [(2.0, -0.1)], "recorded": [(4.0, 0.1)]}
    star = next(line for line in ax.lines if line.get_label() == "recorded")
    assert star.get_marker() == "*" and labels(ax.get_yticklabels()) == ["one 1h", "two"]
    assert ax.get_xscale() == "log" and ax.yaxis_inverted() and ax.get_xlabel() == "test loss"


def test_quartiles_are_ends_of_the_bar(ax):
    gap.losses({"ours": {"row": np.arange(1.0, 10.0)}}, ax)
    bar = next(
        line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_color() == SERIES[0]
    )
    assert list(bar.get_xdata()) == [3.0, 7.0]


def test_a_quartile_is_a_value_and_the_median_is_the_median():
    low, median, high = gap.quartiles([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]])
    assert list(median) == [3.0, 30.0] and {*low, *high} <= {
        1.0,
        2.0,
        4.0,
        8.0,
        10.0,
        20.0,
        40.0,
        80.0,
    }


def test_ratios_lie_beside_a_line_at_one_and_their_null(ax):
    null = {"one": (1.0, 0.9, 1.2), "two": (0.8, 0.7, 0.9)}
    assert (
        gap.ratios({"ours": {"one": (0.5, 0.4, 0.6)}, "other": {"two": (2.0, 1.0, 3.0)}}, null, ax)
        is ax
    )
    assert drawn(ax) == {"ours": [(0.5, -0.1)], "other": [(2.0, 1.1)]}
    ours, other = (
        next(line for line in ax.lines if line.get_label() == name) for name in ("ours", "other")
    )
    assert (ours.get_color(), other.get_color()) == (
        SERIES[0],
        SERIES[1],
    ) and ours.get_marker() != other.get_marker()
    assert any(list(line.get_xdata()) == [1, 1] for line in ax.lines)
    bands = [band.get_paths()[0].get_extents() for band in ax.collections]
    assert [(box.x0, box.x1) for box in bands] == [(0.9, 1.2), (0.7, 0.9)]
    assert labels(ax.get_yticklabels()) == ["one", "two"]


def test_a_side_looks_alike_in_every_panel_and_has_its_methods_colour(ax):
    """The equilibrium's own gradient in all five kinds of panels, wherever it stands in them."""
    name, line = "equilibrium", ([1.0, 2.0], [[0.5, 0.7], [0.6, 0.8]])
    for draw in (
        lambda: gap.losses({"ours": {"row": [1.0, 2.0]}, name: {"row": [3.0]}}, ax),
        lambda: gap.ratios({"ours": {"row": (1, 1, 1)}, name: {"row": (1, 1, 1)}}, None, ax),
        lambda: gap.dial([1.0], {name: [(1.0, 0.9, 1.1)]}, None, ax),
        lambda: gap.learning({"ours": line, name: line}, ax),
        lambda: gap.sweeps({"ours": line, name: line}, ax),
    ):
        ax.clear()
        draw()
        labelled = [line for line in ax.lines if line.get_label() == gap.LABELS[name]]
        assert {line.get_color() for line in labelled} == {METHOD_COLOURS["equilibrium"]}


def test_sides_of_one_method_share_its_colour_and_no_mark_or_line():
    sheaf = [gap.LOOKS[name] for name in ("sheaf, by currents", "mirror", "paper: sheaf")]
    assert {colour for colour, _, _ in sheaf} == {METHOD_COLOURS["sheaf"]}
    assert len({mark for _, mark, _ in sheaf}) == len({line for _, _, line in sheaf}) == 3
    assert gap.LOOKS["weight decay"][0] == gap.LOOKS["backpropagation"][0]
    assert gap.LOOKS["weight decay"][1] != gap.LOOKS["backpropagation"][1]


def test_ratios_without_a_null(ax):
    gap.ratios({"ours": {"one": (0.5, 0.4, 0.6)}}, ax=ax)
    assert not ax.collections and labels(ax.get_yticklabels()) == ["one"]


def test_a_dial_has_a_band_a_line_and_a_null(ax):
    assert (
        gap.dial(
            [1.0, 10.0], {"ours": [(2.0, 1.5, 3.0), (1.0, 0.9, 1.1)]}, (1.0, 0.8, 1.25), ax, "title"
        )
        is ax
    )
    assert (
        drawn(ax)["ours"] == [(1.0, 2.0), (10.0, 1.0)]
        and len(ax.collections) == 1
        and len(ax.patches) == 1
    )
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_title()) == ("log", "log", "title")


def test_learning_draws_medians_and_one_run_as_a_line(ax):
    x = np.array([1, 2])
    assert (
        gap.learning(
            {"many": (x, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), "one": (x, [7.0, 8.0])},
            ax,
            "passes",
        )
        is ax
    )
    assert (
        drawn(ax) == {"many": [(1, 3.0), (2, 4.0)], "one": [(1, 7.0), (2, 8.0)]}
        and len(ax.collections) == 1
    )
    assert ax.get_xlabel() == "passes"


def test_errors_below_rounding_are_drawn_there(ax):
    assert gap.sweeps({"exact": ([1, 2], [0.5, 0.0])}, ax, "title") is ax
    assert drawn(ax) == {"exact": [(1, 0.5), (2, 1e-13)]}


@pytest.mark.parametrize(
    "limits, expected",
    [
        ((0.55, 1.0), ["0.6", "0.7", "0.8", "0.9", "1"]),
        ((0.25, 4.0), ["0.3", "0.5", "0.7", "1", "1.5", "2", "3"]),
        ((0.05, 50.0), ["0.1", "1", "10"]),
    ],
)
def test_ticks_of_ratios_are_plain_numbers(ax, limits, expected):
    ax.set(xscale="log", xlim=limits)
    gap.plain_ticks(ax)
    ax.figure.draw_without_rendering()
    assert labels(ax.get_xticklabels()) == expected and not list(ax.get_xticks(minor=True))
