"""The pictures of notebook 08 draw what they are given, on the axes they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import labels

from sheaflib import Network, NeuralSheaf, exact_flow, hard
from sheaflib.companion.figures import inference

RUNGS = {
    "slow": {"small": 100.0, "large": 1000.0},
    "quick": {"small": 10.0, "large": None},
    "untried": {},
}


def test_a_rung_that_is_missing_is_left_out(ax):
    assert inference.ladder(RUNGS, ax, "passes") is ax
    assert {line.get_label(): list(map(tuple, line.get_xydata())) for line in ax.lines} == {
        "small": [(100, 0), (10, 1)],
        "large": [(1000, 0)],
    }
    assert (
        labels(ax.get_yticklabels()) == ["slow", "quick", "untried"]
        and ax.get_xscale() == "log"
        and ax.get_xlabel() == "passes"
    )
    low, high = ax.get_ylim()
    assert low > high  # the first method on top


def test_a_ladder_of_nothing_is_empty(ax):
    assert not inference.ladder({"one": {}, "two": {}}, ax).lines
    assert labels(ax.get_yticklabels()) == ["one", "two"]


@pytest.mark.parametrize("u, a", [(0.5, -1.0), (-0.5, 1.2)])
def test_both_faces_meet_at_the_kink(u, a, ax):
    """The side in force is solid and is V; both parabolas have the same value at z = 0, and the
    dotted ones are their continuations.
    """
    inference.faces(u, a, ax)
    solid = {line.get_label(): line for line in ax.lines if line.get_linestyle() == "-"}
    assert set(solid) == {"inactive", "active"}
    for line in solid.values():
        z, V = line.get_data()
        np.testing.assert_allclose(
            V, 0.5 * (z - u) ** 2 + 0.5 * (np.maximum(z, 0) - a) ** 2, rtol=1e-12
        )
    assert solid["inactive"].get_ydata()[-1] == pytest.approx(
        solid["active"].get_ydata()[0], rel=1e-12
    )
    bottom = [line.get_xdata()[line.get_ydata().argmin()] for line in solid.values()]
    assert (bottom == [0, 0]) if a < 0 else (bottom[0] < 0 < bottom[1])


def test_events_have_a_row_a_unit_and_a_slide_is_a_bar(ax):
    """The neuron u = ½, z² clamped to 1, from (−½, −4): lands at ln 2, leaves upwards at
    ln(4.5)/2.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))
    flow = exact_flow(sheaf, [[0.0]], [[-0.5, -4.0, 1.0]], pins=hard("z2", 1.0))
    assert inference.events(flow, ax) is ax
    bar, *marks = ax.lines
    np.testing.assert_allclose(bar.get_xdata(), [np.log(2), np.log(4.5) / 2], rtol=1e-9)
    found = {mark.get_label(): mark.get_xdata()[0] for mark in marks}
    assert found == pytest.approx({"slides": np.log(2), "leaves up": np.log(4.5) / 2})
    assert labels(ax.get_yticklabels()) == ["z1[0]"] and ax.get_xscale() == "log"


def test_every_kind_of_event_has_a_mark():
    kinds = {f"{verb} {way}" for verb in ("crosses", "leaves") for way in ("up", "down")} | {
        "slides"
    }
    assert set(inference.KINDS) == kinds and len(set(inference.KINDS.values())) == len(kinds)


def test_shares_add_up_and_all_groups_have_the_same_bars(ax):
    inference.shares({"one": np.array([1, 1, 2, 1]), "two": [3, 1]}, ax, "how many")
    heights = [[bar.get_height() for bar in group] for group in ax.containers]
    assert heights == [[0.75, 0.25, 0.0], [0.5, 0.0, 0.5]]
    assert list(ax.get_xticks()) == [1, 2, 3] and labels(ax.get_legend().get_texts()) == [
        "one",
        "two",
    ]
    middle = [[bar.get_x() + bar.get_width() / 2 for bar in group] for group in ax.containers]
    np.testing.assert_allclose(np.mean(middle, axis=0), [1, 2, 3])


def test_grouped_bars_follow_the_rows_of_the_first_series(ax):
    inference.grouped(
        {
            "one": {"affine_1": 1.0, "activation_1": 10.0},
            "two": {"activation_1": 2.0, "affine_1": 3.0},
        },
        ax,
        "discord",
    )
    assert [[bar.get_width() for bar in group] for group in ax.containers] == [[1, 10], [3, 2]]
    assert labels(ax.get_yticklabels()) == ["affine 1", "activation 1"]
    assert ax.get_xlim()[0] == 0 and ax.yaxis_inverted() and ax.get_xlabel() == "discord"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: inference.ladder(RUNGS),
        lambda: inference.faces(0.5, -1.0),
        lambda: inference.shares({"a": [1]}),
        lambda: inference.grouped({"a": {"b": 1.0}}),
    ],
)
def test_without_axes_the_current_ones_are_taken(draw):
    fig, ax = plt.subplots()
    assert draw() is ax
    plt.close(fig)
