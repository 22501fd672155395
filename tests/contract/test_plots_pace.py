"""The pictures of the pace of training draw what they are given, on the axes they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import labels

from sheaflib.companion import pace as runs
from sheaflib.companion.figures import pace


def by_label(ax):
    return {line.get_label(): line for line in ax.lines}


def test_factors_have_their_median_and_every_measurement(ax):
    pace.factors(
        [0, 100],
        [[1, 2], [2, 3], [4, 5]],
        {"one": ([2.5, 3.5], "red"), "two": ([2.0, 2.5], "blue")},
        ax,
        unit=100,
    )
    median, one, two = ax.lines
    assert list(median.get_ydata()) == [2, 3] and list(one.get_ydata()) == [2.5, 3.5]
    assert one.get_marker() != two.get_marker()
    assert (one.get_color(), two.get_color()) == ("red", "blue")
    assert (ax.get_yscale(), ax.get_xlabel()) == ("log", "steps / 100") and list(
        two.get_xdata()
    ) == [0, 1]


def test_a_run_that_never_got_there_is_set_apart_or_left_out(ax):
    values = {
        "soft": [[1.0, np.inf, 3.0], [np.inf, np.inf, 5.0]],
        "stiff": [[1.0, np.nan, 2.0], [4.0, 5.0, 6.0]],
    }
    pace.runs([1, 6], {"soft": values["soft"]}, ax, beyond=10)
    there, beyond, medians = ax.lines
    assert sorted(there.get_ydata()) == [1, 3, 5] and list(medians.get_ydata()) == [3]
    assert list(beyond.get_ydata()) == [10, 10, 10]
    assert list(ax.get_xticks()) == [0, 1] and labels(ax.get_xticklabels()) == ["1", "6"]
    ax.clear()
    pace.runs([1, 6], values, ax)
    assert [len(line.get_xdata()) for line in ax.lines] == [3, 1, 5, 1]
    assert abs(ax.lines[0].get_xdata()[0] - ax.lines[2].get_xdata()[0]) > 0.2  # side by side


def test_speeds_are_against_one(ax):
    pace.speeds([1, 10], {"one": [0.5, 0.9], "two": [1.0, 1.1]}, ax)
    one, two, law = ax.lines
    assert list(two.get_ydata()) == [1, 1.1] and list(law.get_ydata()) == [1, 1]
    assert ax.get_xscale() == "log" and ax.get_ylim()[0] == 0
    assert (one.get_marker(), one.get_linestyle()) != (two.get_marker(), two.get_linestyle())


def test_proportional_draws_the_line_it_is_given(ax):
    pace.proportional([0.1, 1.0], [0.09, 0.7], [0.1, 1.0], ax)
    drawn = by_label(ax)
    assert list(drawn["in proportion"].get_ydata()) == [0.1, 1.0]
    assert list(drawn["measured"].get_ydata()) == [0.09, 0.7]


def test_a_unit_is_a_line_with_its_activities_open_when_it_is_off(ax):
    activity = {1: [1.0, 0.5], 0: [0.8, 0.0], -1: [0.6, -0.5]}
    assert pace.through_units([0.1, -0.2], activity, [True, False], ax) is ax
    segments = ax.collections[0].get_segments()
    assert [[tuple(end) for end in line] for line in segments] == [
        [(0.6, 0.1), (1.0, 0.1)],
        [(-0.5, -0.2), (0.5, -0.2)],
    ]
    marks = [line for line in ax.lines if line.get_marker() != "None"]
    seen = [(*line.get_xydata()[0], line.get_markerfacecolor() == "white") for line in marks]
    assert seen == [
        (1.0, 0.1, False),
        (0.5, -0.2, True),
        (0.8, 0.1, False),
        (0.0, -0.2, True),
        (0.6, 0.1, False),
        (-0.5, -0.2, True),
    ]


def test_currents_have_a_panel_for_every_stalk_and_keep_their_numbers():
    felt = runs.Felt(
        {"a1": np.array([0.5]), "a2": np.array([-1.0])},
        {
            name: {1: np.array([1.0]), 0: np.array([0.0]), -1: np.array([-1.0])}
            for name in ("a1", "a2")
        },
        {"a1": np.array([True]), "a2": np.array([False])},
    )
    fig = pace.currents(felt)
    assert [ax.get_xlabel() for ax in fig.axes] == [
        f"activity of $a^{{{i}}}$, as the next edge reads it" for i in (1, 2)
    ]
    assert len(fig.legends[0].get_texts()) == 4
    assert set(fig.numbers["activity"]["a1"]) == {"kappa 1", "kappa 0", "kappa -1"}
    assert fig.numbers["active"]["a2"].tolist() == [False]
    plt.close(fig)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pace.factors([0], [[1], [2], [3]], {}),
        lambda: pace.runs([1], {"a": [[1.0]]}),
        lambda: pace.speeds([1], {"a": [1]}),
        lambda: pace.proportional([1], [1], [1]),
        lambda: pace.through_units([0], {1: [1]}, [True]),
    ],
)
def test_without_axes_the_current_ones_are_taken(draw):
    fig, ax = plt.subplots()
    assert draw() is ax
    plt.close(fig)
