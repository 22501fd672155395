"""The pictures of notebook 07 draw what they are given, on the axes they are given; the whole
figures carry the numbers that they draw.
"""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sheaflib.companion.figures import scaling
from sheaflib.companion.scaling import DepthLaw, FirstUnit, Limits, LossOverTime

BETA = [0.1, 1.0, 10.0]
LOSS = np.array([[3.0, 5.0], [1.0, 2.0], [4.0, np.nan]])


def test_the_line_joins_medians_and_stops_where_a_run_diverged(ax):
    assert scaling.beta_law(BETA, LOSS, ax, "law") is ax
    line, *marks = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), BETA[:2])
    np.testing.assert_allclose(line.get_ydata(), [4.0, 1.5])
    np.testing.assert_array_equal([m.get_ydata() for m in marks], LOSS.T)


def test_bands_stand_between_their_edges(ax):
    scaling.beta_law(BETA, LOSS, ax)
    limits = ax.get_xlim()
    scaling.bands([0.3, 3], ["low", "middle", "high"], ax)
    assert ax.get_xlim() == limits
    places = [text.get_position()[0] for text in ax.texts]
    assert places[0] < 0.3 < places[1] < 3 < places[2]


def test_a_bracket_is_drawn_over_its_prediction(ax):
    scaling.brackets({"one": (1.0, 2.0), "two": (3.0, 4.0)}, {"one": 2.0, "two": 2.0}, ax)
    assert [list(bar.get_xdata()) for bar in ax.lines[:2]] == [[0.5, 1.0], [1.5, 2.0]]
    assert list(ax.lines[2].get_xdata()) == [1, 1]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["one", "two"]


def test_a_shade_reaches_from_the_smallest_run_to_the_largest(ax):
    scaling.spread_curves([1, 2], {"net": [[3.0, 1.0, 2.0], [6.0, 4.0, 5.0]]}, ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2.0, 5.0])
    low, high = ax.collections[0].get_paths()[0].get_extents().get_points()[:, 1]
    assert (low, high) == (1.0, 6.0)


def test_runs_that_never_get_there_are_open_triangles(ax):
    scaling.by_depth([1, 2], [[1.0, 2.0, 3.0], [4.0, np.inf, np.inf]], ax, censored=50.0)
    triangles = [line for line in ax.lines if line.get_marker() == "^" and len(line.get_ydata())]
    assert [list(t.get_ydata()) for t in triangles] == [[50.0, 50.0]]
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), [2.0, np.nan])


# whole figures
# --------------------------------------------------------------------------------------------------


def law(beta_n, loss):
    """What a figure reads of a `Law`, with made-up losses and as many bent units as the place of
    the speed.
    """
    loss = np.array(loss)
    bent = np.where(np.isnan(loss), np.nan, np.arange(len(loss))[:, None])
    return SimpleNamespace(
        beta_n=np.array(beta_n),
        loss=loss,
        median=np.median(loss, axis=1),
        bent=bent,
        resistance=2 * loss,
        T=5.0,
        seeds=[[0, 42], [100, 43]],
    )


LAW = law([0.003, 1.0, 30.0], [[3.0, 5.0], [0.1, 0.2], [0.3, np.nan]])
FORWARD = law([1.0, 9.0], [[1.0, 3.0], [2.0, 4.0]])
UNIT = FirstUnit(
    np.array([1.0, 9.0, 30.0]),
    {start: np.array([[0.5, 0.6], [0.2, np.nan], [0.1, 0.1]]) for start in scaling.START_MARKS},
    {start: np.array([[0.4, 0.4], [0.3, 0.3], [0.2, 0.2]]) for start in scaling.START_MARKS},
)
LIMITS = Limits({"a": 9.0, "b": 90.0}, {"a": 11.0, "b": 110.0}, {"a": 10.0, "b": 100.0}, [])
BEYOND = law([60.0, 120.0], [[1.23456, 2.0], [np.nan, np.nan]])
TIMES = (0.5, 1.0, 5.0, 20.0, 25.0)
E4 = LossOverTime(
    TIMES,
    {"2x30x1": np.arange(1.0, 6), "2x10x8x1": np.arange(11.0, 16)},
    {widths: np.outer(np.arange(1.0, 6), [1.0, 3.0, 2.0]) for widths in ("2x30x1", "2x10x8x1")},
)
DEPTHS = DepthLaw(
    np.array([1, 2]),
    np.array([[12.0, 60.0], [150.0, np.inf]]),
    np.array([[0.1, 0.2], [0.01, 0.02]]),
    np.array([[3.0, 4.0], [5.0, 40.0]]),
    200.0,
)
FIGURES = {
    "fig_10": lambda: scaling.fig_10(LAW),
    "collapse": lambda: scaling.collapse(UNIT, LAW, FORWARD),
    "euler_limit": lambda: scaling.euler_limit(LIMITS, LAW, BEYOND),
    "fig_e4": lambda: scaling.fig_e4(E4),
    "depth_law": lambda: scaling.depth_law(DEPTHS),
}


@pytest.fixture(params=FIGURES)
def fig(request):
    """Every whole figure in turn, closed at the end."""
    yield FIGURES[request.param]()
    plt.close("all")


def test_a_logarithmic_axis_has_plain_numbers(fig):
    fig.canvas.draw()
    for ax in fig.axes:
        labels = [text.get_text() for text in ax.get_yticklabels(minor=False)]
        if ax.get_yscale() == "log":
            assert all(float(label) > 0 for label in labels)
            assert labels or ax.get_shared_y_axes().get_siblings(ax) != [ax]
        assert not any(text.get_text() for text in ax.get_yticklabels(minor=True))


def test_a_legend_covers_no_mark_and_no_other_text(fig):
    fig.canvas.draw()
    for ax in fig.axes:
        legend = ax.get_legend()
        if legend is None:
            continue
        box = legend.get_window_extent()
        marks = [
            ax.transData.transform(point)
            for line in ax.lines
            if line.get_marker() not in ("", "None") and ax.get_yscale() == "log"
            for point in line.get_xydata()
        ]
        assert not any(box.contains(*point) for point in marks if np.isfinite(point).all())
        assert not any(box.overlaps(text.get_window_extent()) for text in ax.texts)


def test_what_diverged_is_none_among_the_numbers():
    assert scaling.fig_10(LAW).numbers["loss"] == [[3.0, 5.0], [0.1, 0.2], [0.3, None]]
    numbers = scaling.collapse(UNIT, LAW, FORWARD).numbers
    assert numbers["zero-measured"] == [[0.5, 0.6], [0.2, None]]
    assert numbers["bent"] == [[0, 0], [1, 1], [2, None]]
    assert all(isinstance(v, int) for row in numbers["bent"][:2] for v in row)
    assert scaling.depth_law(DEPTHS).numbers["time"] == [[12.0, 60.0], [150.0, None]]
    plt.close("all")


def test_the_first_unit_of_time_is_drawn_up_to_ten():
    fig = scaling.collapse(UNIT, LAW, FORWARD)
    drawn = [list(line.get_xdata()) for line in fig.axes[0].lines]
    assert drawn and all(x == [1.0, 9.0] for x in drawn)
    names = [text.get_text() for text in fig.axes[0].get_legend().get_texts()]
    assert names == ["random stalks", "zero stalks", "forward pass", "lines: formula; marks: runs"]
    plt.close("all")


def test_the_law_goes_on_to_where_it_diverges():
    fig = scaling.euler_limit(LIMITS, LAW, BEYOND)
    assert fig.numbers["loss"][3:] == [[1.23, 2.0], [None, None]]
    shade = fig.axes[0].patches[0].get_extents().transformed(fig.axes[0].transData.inverted())
    assert shade.x0 == pytest.approx(100.0) and shade.x1 == pytest.approx(132.0)
    nothing = scaling.euler_limit(LIMITS._replace(predicted={"a": 10.0, "b": 1e4}), LAW, BEYOND)
    assert not nothing.axes[0].patches and not nothing.axes[0].texts
    plt.close("all")


def test_the_authors_reading_has_the_losses_of_other_times():
    fig = scaling.fig_e4(E4)
    left = fig.axes[0]
    first, deeper, script = left.lines
    assert list(first.get_xdata()) == list(deeper.get_xdata()) == [0.5, 5.0, 25.0]
    assert list(script.get_xdata()) == [0.5, 25.0]
    assert list(script.get_ydata()) == [12.0, 14.0]  # those at the times 1 and 20
    plt.close("all")
