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


def energy(z, u, y):
    """V of the pinned 1-1-1 network over z, the lowest over a grid of a."""
    a = np.linspace(-4, 4, 8001)[:, None]
    return ((z - u) ** 2 + (np.maximum(z, 0) - a) ** 2 + (y - a) ** 2).min(axis=0) / 2


@pytest.mark.parametrize("u, y", [(-0.5, 2.0), (0.5, -2.0), (0.3, 1.0)])
def test_both_parabolas_meet_at_the_kink(u, y, ax):
    """The side in force is solid and is V; the dotted parabolas continue both sides and have the
    same value at the kink.
    """
    z = np.linspace(-1, 1, 201)
    V = energy(z, u, y)
    assert inference.parabolas(z, V, u, y, ax) is ax
    solid = {line.get_label(): line for line in ax.lines if line.get_linestyle() == "-"}
    off, on = solid["neuron off, z < 0"], solid["neuron on, z ≥ 0"]
    np.testing.assert_array_equal(off.get_xydata(), np.transpose([z[z <= 0], V[z <= 0]]))
    np.testing.assert_array_equal(on.get_xydata(), np.transpose([z[z >= 0], V[z >= 0]]))
    dotted = [
        line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata()) > 2
    ]
    for line, own in zip(dotted, (off, on)):
        x = np.concatenate([line.get_xdata(), own.get_xdata()])
        V_there = np.concatenate([line.get_ydata(), own.get_ydata()])
        fit = np.polyfit(x, V_there, 2)  # one parabola through both parts
        np.testing.assert_allclose(np.polyval(fit, x), V_there, atol=1e-6)


def test_two_labels_mark_the_states_at_rest():
    z, cases = np.linspace(-1, 1, 201), [(-0.5, 2.0), (0.5, -2.0), (0.3, 1.0)]
    curves, resting = [energy(z, *case) for case in cases], [[-0.5, 1 / 3], [0.0], [1.6 / 3]]
    fig = inference.two_labels(z, curves, resting, cases)
    for ax, curve, minima in zip(fig.axes, curves, resting):
        (stars,) = [line for line in ax.lines if line.get_marker() == "*"]
        np.testing.assert_array_equal(stars.get_xdata(), minima)
        np.testing.assert_allclose(stars.get_ydata(), curve[np.searchsorted(z, minima)], atol=0.02)
    assert [ax.get_title().split(": ")[1] for ax in fig.axes] == [
        "2 states at rest",
        "at rest on the kink",
        "one state at rest",
    ]
    assert fig.numbers["minima"] == {
        "label 2": [-0.5, 1 / 3],
        "label -2": [0.0],
        "label 1": [1.6 / 3],
    }
    assert fig.numbers["cases"] == [list(case) for case in cases] and fig.numbers["z"] is z


def test_costs_keep_what_they_draw():
    clock = {"slow": {"small": 7.0}, "quick": {}, "untried": {}}
    fig = inference.costs(RUNGS, clock)
    left, right = fig.axes
    assert [len(ax.lines) for ax in (left, right)] == [2, 1]
    assert list(right.lines[0].get_xdata()) == [7.0]
    assert fig.numbers == {"passes": RUNGS, "microseconds": clock}
    assert labels(fig.legends[0].get_texts()) == ["small", "large"]


def test_a_slide_shows_the_steps_from_time_0_and_the_interval():
    times, stepped = [0.5, 1.0, 1.5], {"euler": [0.0, 0.1, -0.1], "prox-euler": [0.0, 0.2]}
    fig = inference.slide(times, [0.0, 0.0, 0.1], stepped, (0.6, 1.2), 0.5)
    lines = {line.get_label(): line.get_xydata().tolist() for line in fig.axes[0].lines}
    assert lines == {
        "Euler, dt = 0.5": [[0, 0], [0.5, 0.1], [1, -0.1]],
        "prox-Euler, dt = 0.5": [[0, 0], [0.5, 0.2]],
        "exact flow": [[0.5, 0], [1, 0], [1.5, 0.1]],
    }
    (held,) = fig.axes[0].patches
    assert (held.get_x(), held.get_x() + held.get_width()) == pytest.approx((0.6, 1.2))
    assert fig.numbers == {
        "time": times,
        "exact": [0.0, 0.0, 0.1],
        "slide": [0.6, 1.2],
        "euler": [0.0, 0.1, -0.1],
        "prox-euler": [0.0, 0.2],
    }


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


def test_events_stand_beside_what_steps_count():
    """The same neuron: one slide, of which steps count what they like."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))
    flow = exact_flow(sheaf, [[0.0]], [[-0.5, -4.0, 1.0]], pins=hard("z2", 1.0))
    changes = {"euler": [5, 50], "prox-euler": [1, 1]}
    fig = inference.events_and_counts(flow, [0.1, 0.01], changes, 1)
    left, right = fig.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in right.lines}
    assert lines == {"Euler": [5, 50], "prox-Euler": [1, 1], "exact flow": [1, 1]}
    assert left.get_title() == "the flow has 2 events"
    assert fig.numbers["time"] == pytest.approx([np.log(2), np.log(4.5) / 2])
    del fig.numbers["time"]
    assert fig.numbers == {
        "unit": ["z1[0]", "z1[0]"],
        "kind": ["slides", "leaves up"],
        "dt": [0.1, 0.01],
        "flow": 1,
        **changes,
    }


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


def test_multiplicity_shows_lists_and_starts_apart():
    minima, found = {"small": [1, 2]}, {"large": [3, 3, 1]}
    fig = inference.multiplicity(minima, found, 51)
    heights = [[bar.get_height() for bar in ax.patches] for ax in fig.axes]
    assert heights == [[0.5, 0.5], [pytest.approx(1 / 3), 0, pytest.approx(2 / 3)]]
    assert "51 starts" in fig.axes[1].get_xlabel()
    assert fig.numbers == {"enumerated-small": [1, 2], "sampled-large": [3, 3, 1]}


def test_discord_by_start_names_the_energies():
    by_edge = {"first": {"affine_1": 1.0}, "second": {"affine_1": 0.5}}
    energy_of = {"first": 0.5, "second": 0.25}
    fig = inference.by_start(by_edge, energy_of, 20)
    (ax,) = fig.axes
    assert [bar.get_width() for bar in ax.patches] == [1.0, 0.5]
    assert labels(ax.get_legend().get_texts()) == ["first: V = 0.500", "second: V = 0.250"]
    assert "20 samples" in ax.get_xlabel()
    assert fig.numbers == {"discord": by_edge, "energy": energy_of}


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
        lambda: inference.parabolas([-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], 0.0, 0.0),
        lambda: inference.shares({"a": [1]}),
        lambda: inference.grouped({"a": {"b": 1.0}}),
    ],
)
def test_without_axes_the_current_ones_are_taken(draw):
    fig, ax = plt.subplots()
    assert draw() is ax
    plt.close(fig)
