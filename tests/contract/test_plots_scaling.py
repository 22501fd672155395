"""The pictures of notebook 07 draw what they are given, on the axes they are given."""

import numpy as np

from sheaflib.companion.figures import scaling

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
