"""The figures of notebook 04 draw what they are given, and the flows that they draw are those of
the heat equation.
"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from sheaflib import Network, NeuralSheaf, hard, relax
from sheaflib.companion import flows
from sheaflib.companion.figures import heat as figures
from sheaflib.companion.tasks import heat_run

DT = 0.01


@pytest.fixture(scope="module")
def run():
    return heat_run("2x4x1")


@pytest.fixture(scope="module")
def path(run):
    return flows.follow(*run, dt=DT, steps=300)


@pytest.fixture(scope="module")
def relaxed(run):
    return relax(*run, dt=DT, every=1, max_steps=300)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_a_path_is_what_relax_walks(path, relaxed):
    np.testing.assert_array_equal(path.cochain[-1], relaxed.cochain)
    np.testing.assert_array_equal(path.switches, relaxed.history.switches)
    np.testing.assert_array_equal(path.step, relaxed.history.step)
    np.testing.assert_allclose(path.time, DT * np.arange(301), rtol=1e-12)
    assert path.cochain.shape == (301, 1, 9) and repr(path) == "Path(301 states to t = 3)"


def test_a_path_may_leave_states_out(run, path):
    some = flows.follow(*run, dt=DT, steps=299, every=100)
    np.testing.assert_array_equal(some.step, [0, 100, 200])
    np.testing.assert_array_equal(some.cochain, path.cochain[[0, 100, 200]])


def test_a_plotted_neuron_switches_where_its_coordinate_changes_sign():
    planes = flows.phase_planes(np.random.default_rng(3), DT, 4, ("2x4x1", "2x6x4x1"))
    for plane in planes.values():
        step, sample, _ = plane.switches[plane.own].T
        crossings = (plane.paths[1:] >= 0) != (plane.paths[:-1] >= 0)
        np.testing.assert_array_equal(
            np.sort(step * 6 + sample),
            np.sort([(i + 1) * 6 + j for i, j, _ in np.argwhere(crossings)]),
        )
        assert 0 < plane.own.sum() < len(plane.switches)
    assert planes["2x6x4x1"].names == ("z2[0]", "z2[1]")


def test_the_swing_is_that_of_the_last_states():
    """z below 0: ż = ½ − z; from 0 on: ż = −½ − 2z, by hand."""
    tiny = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[0.5], [0.0]]))
    pinned = {"pins": hard("a1", -1), "stepper": "euler"}
    found = flows.swing(tiny, [[0.0]], [[1.0, -1.0, 0.0]], dt=DT, time=30, last=200, **pinned)
    z, walked = 1.0, []
    for _ in range(3000):
        walked.append(z)
        z += DT * (0.5 - z if z < 0 else -0.5 - 2 * z)
    assert found[0] == pytest.approx(np.ptp(walked[-200:]), rel=1e-9)
    assert found[1] == 0


def test_the_graph_has_the_colours_of_its_discord(run, path):
    fig = figures.graph_in_time(run.sheaf, run.x, path.cochain[:, 0], DT, (0, 1, 2, 3))
    panels, bar = fig.axes[:4], fig.axes[4]
    low, high = bar.get_ylim()
    found = fig.numbers["discord"]
    every = np.concatenate(list(found.values()))
    assert low <= every.min() and every.max() <= high and bar.get_yscale() == "log"
    assert [ax.get_title() for ax in panels] == ["time 0", "time 1", "time 2", "time 3"]
    for i, ax in enumerate(panels):
        lines = {line.get_gid(): line for line in ax.lines if line.get_gid()}
        assert set(lines) == {f"line:{edge}" for edge in found}
        for edge, values in found.items():
            share = np.log(values[i] / low) / np.log(high / low)
            assert lines[f"line:{edge}"].get_color() == plt.get_cmap("plasma")(share)
            assert edge.replace("_", " ") in words(ax)
        (dots,) = ax.collections
        on = [tuple(colour) == to_rgba("#000000") for colour in dots.get_facecolors()]
        np.testing.assert_array_equal(on, path.cochain[100 * i, 0, :4] >= 0)


def test_the_numbers_in_the_graph_are_short():
    assert figures._short(14.19) == "14" and figures._short(0.0541) == "0.054"
    assert figures._short(2.13e-5) == r"$2\cdot 10^{-5}$"


def test_before_and_after_a_switch_one_entry_differs(run, path):
    fig = figures.switch(run.sheaf, run.x, path)
    before, after = fig.numbers["pattern"]
    assert np.flatnonzero(before != after).tolist() == [fig.numbers["unit"]]
    for ax, mask, word in zip(fig.axes, (before, after), ("before", "after")):
        marked = [text.get_text() for text in ax.texts if text.get_bbox_patch()]
        assert marked == [rf"$\mathrm{{diag}}({','.join(map(str, mask))})$"]
        assert ax.get_title().startswith(f"{word}, step ")


def test_the_predicted_line_has_its_slope_and_ends_where_the_run_does(relaxed):
    fig = figures.recorded_runs({"2x4x1": (relaxed.history, -0.01)})
    total, line, ticks = fig.axes[0].lines
    (first, last), (high, low) = line.get_data()
    assert np.log(low / high) / (last - first) == pytest.approx(-0.01)
    assert low == pytest.approx(total.get_ydata()[-1])
    np.testing.assert_array_equal(ticks.get_xdata(), np.unique(relaxed.history.switches[:, 0]))
    assert fig.axes[0].get_title() == "[2,4,1]"


def test_two_switches_are_marked_and_their_neurons_black(relaxed, path):
    fig = figures.two_switches(relaxed, path.cochain[:, 0, :4])
    switching = set(relaxed.history.switches[:, 2])
    curves = fig.axes[0].lines[:4]
    assert {i for i, line in enumerate(curves) if line.get_color() == figures.INK} == switching
    assert words(fig.axes[0]) == ["$z^1_0$", "$z^1_1$", "$z^1_2$", "$z^1_3$"]
    np.testing.assert_array_equal(fig.numbers["z1"], path.cochain[:, 0, :4].T)


def test_the_raster_counts_and_the_busiest_neuron_is_drawn_close(run, relaxed):
    near = [flows.follow(*run, dt=step, steps=20) for step in (DT, DT / 10)]
    fig = figures.sliding(relaxed, *near)
    left, right = fig.axes
    units, counts = np.unique(relaxed.history.switches[:, 2], return_counts=True)
    assert words(left) == list(map(str, counts))
    assert [t.get_text() for t in left.get_yticklabels()] == [f"z1[{unit}]" for unit in units]
    assert right.get_ylabel() == f"z1[{units[counts.argmax()]}]"
    np.testing.assert_array_equal(fig.numbers["z"], near[0].cochain[:, 0, units[counts.argmax()]])


def test_all_paths_and_switches_are_in_the_planes():
    planes = flows.phase_planes(np.random.default_rng(3), 0.05, 4, ("2x4x1", "2x6x4x1"))
    fig = figures.phase_planes(planes)
    for ax, (name, plane) in zip(fig.axes, planes.items()):
        others, own = ax.collections
        assert len(own.get_offsets()) == plane.own.sum()
        assert len(others.get_offsets()) == (~plane.own).sum()
        for sample in range(6):
            kept = fig.numbers[f"{name}-path-{sample}"]
            np.testing.assert_array_equal(kept[[0, -1]], plane.paths[[0, -1], sample])


def test_the_edges_of_a_sigmoid_run_sum_to_its_kinds_and_layers():
    start = heat_run("sigmoid")
    ended = relax(*start, dt=DT, every=10, max_steps=200, rest="step")
    path = flows.follow(*start, dt=DT, steps=300, every=10)
    fig = figures.sigmoid_output(ended, -1e-3, path)
    total, kinds, layers, output = fig.axes
    for ax in (kinds, layers):
        drawn = sum(line.get_ydata() for line in ax.lines)
        rest = ended.history.discord["output"][:, 0] if ax is layers else 0
        np.testing.assert_allclose(drawn + rest, ended.history.total[:, 0], rtol=1e-12)
    assert len(total.lines) == 3
    assert [len(line.get_ydata()) for line in output.lines[1:]] == [21, 21]


def test_the_bound_is_dashed_and_the_times_lie_on_a_line_for_an_error_of_one(path):
    fig = figures.below_the_bound(path, np.exp(-path.time), 2 * np.exp(-path.time))
    solid, dashed = fig.axes[0].lines
    np.testing.assert_allclose(dashed.get_ydata(), 2 * solid.get_ydata())
    one = NeuralSheaf(Network.mlp([[[1.0]]]))
    ended = relax(one, [[1.0]], [[2.0]], dt=0.1, tol=1e-6, rest="step")
    (found,) = figures.any_start([1.0], ended.history, 1e-6).numbers["time"]
    # step t moves a tenth of the distance 0.9^(t − 1), first below 1e-6 at t = 111
    assert 0.1 * 0.9**110 < 1e-6 < 0.1 * 0.9**109
    assert found == pytest.approx(0.1 * 111)
