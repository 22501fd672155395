"""The pictures of notebooks 09 and 12 draw what they are given, on the axes they are given."""

import matplotlib.pyplot as plt
import pytest
from pictures import labels

from sheaflib.companion.figures import diagnostics, faults, spectra
from sheaflib.plots.palette import EDGE_COLOURS

EDGES = ("affine_1", "activation_1", "affine_2")
METHODS = ("sheaf", "gradient descent")
FOUND = {
    "1H, GD": {"loss": (0.1, 0.2, 0.3), "pinned discord": (0.4, 0.5, 0.6)},
    "3H, sheaf": {"gradient": (0.7, 0.8, 0.9)},
}


def points(ax):
    return {
        line.get_label(): list(map(tuple, line.get_xydata()))
        for line in ax.lines
        if not line.get_label().startswith("_")
    }


def test_bands_are_the_quartiles(ax):
    assert (
        spectra.bands([0, 1000], {m: [[1, 2], [3, 4], [5, 6]] for m in METHODS}, ax, 1000, "κ")
        is ax
    )
    assert points(ax) == {m: [(0, 3), (1, 4)] for m in METHODS}
    for band in ax.collections:
        low, high = band.get_datalim(ax.transData).intervaly
        assert (low, high) == (1, 6)
    assert (
        ax.get_ylabel() == "κ" and ax.get_yscale() == "log" and ax.get_xlabel() == "thousand steps"
    )


def test_histograms_are_the_counts(ax):
    spectra.histograms([0, 1, 2], {"sheaf": [3, 4], "gradient descent": [0, 5]}, ax, "λ")
    assert [list(patch.get_data().values) for patch in ax.patches] == [
        [3, 4],
        [3, 4],
        [0, 5],
        [0, 5],
    ]


def test_block_energies_are_bars(ax):
    spectra.block_energies(
        {"early": {"z1": 0.25, "a1": 0.75}, "late": {"a1": 0.5, "z1": 0.5}}, ax, "title"
    )
    assert [[bar.get_height() for bar in group] for group in ax.containers] == [
        [0.25, 0.75],
        [0.5, 0.5],
    ]
    assert labels(ax.get_xticklabels()) == ["$z^1$", "$a^1$"] and ax.get_ylim() == (0, 1)


def test_strips_leave_zeros_out_and_say_so(ax):
    diagnostics.strips({"affine_1": [1.0, 0.0, 3.0], "activation_1": [2.0, 4.0]}, ax, "discord")
    clouds = [line for line in ax.lines if line.get_marker() == "."]
    assert [sorted(line.get_xdata()) for line in clouds] == [[1, 3], [2, 4]]
    assert [line.get_color() for line in clouds] == [
        EDGE_COLOURS["affine"],
        EDGE_COLOURS["activation"],
    ]
    assert all(abs(line.get_ydata() - row).max() < 0.31 for row, line in enumerate(clouds))
    # medians, the zero counted
    assert [line.get_xdata()[0] for line in ax.lines if line.get_marker() != "."] == [1, 3]
    assert [text.get_text() for text in ax.texts] == ["1 at 0"] and ax.yaxis_inverted()
    assert labels(ax.get_yticklabels()) == ["affine 1", "activation 1"]


def test_stalks_have_the_colour_of_the_edge_into_them():
    assert (
        diagnostics.kind_colour("z12")
        == EDGE_COLOURS["affine"]
        == diagnostics.kind_colour("affine_3")
    )
    assert diagnostics.kind_colour("a1") == EDGE_COLOURS["activation"]
    assert diagnostics.kind_colour("output") == EDGE_COLOURS["output"]


def test_boxes_are_the_five_quantiles(ax):
    diagnostics.boxes(
        {"early": {e: [1, 2, 3, 4, 5] for e in EDGES}, "late": {e: [2, 3, 4, 5, 6] for e in EDGES}},
        ax,
    )
    boxes = [patch.get_path().get_extents().intervalx for patch in ax.patches]
    assert sorted(map(tuple, boxes)) == [(2, 4)] * 3 + [(3, 5)] * 3
    assert labels(diagnostics.plt.legend().get_texts()) == ["early", "late"]


def test_spreads_reach_one_standard_deviation_up(ax):
    diagnostics.spreads({m: {e: (1.0, 0.5) for e in EDGES} for m in METHODS}, ax)
    bars = [c for c in ax.containers]
    assert [c.get_label() for c in bars] == list(METHODS)
    for container in bars:
        mean, caps, (line,) = container
        assert (mean.get_xdata() == 1).all() and all(
            (s[:, 0] == [1, 1.5]).all() for s in line.get_segments()
        )


def test_units_are_sorted(ax):
    diagnostics.unit_discord({"sheaf": [1.0, 3.0, 2.0]}, ax)
    assert points(ax) == {"sheaf": [(1, 3), (2, 2), (3, 1)]}


def test_null_bands_and_ratios(ax):
    null = {m: {e: (1.0, 2.0, 4.0) for e in EDGES} for m in METHODS}
    diagnostics.null_bands({m: {e: 0.1 for e in EDGES} for m in METHODS}, null, ax)
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(1, 3)] * 6
    assert (
        all([x for x, _ in found] == [0.1] * 3 for found in points(ax).values())
        and len(points(ax)) == 2
    )
    medians = [line for line in ax.lines if line.get_marker() == "|"]
    assert all((line.get_xdata() == 2).all() for line in medians)
    ax.clear()
    diagnostics.ratios(
        {m: {e: 0.3 for e in EDGES} for m in METHODS}, dict.fromkeys(METHODS, 0.25), ax
    )
    found = points(ax)
    assert found["sheaf, its edges"] == [(0.3, 0), (0.3, 1), (0.3, 2)] and {
        x for x, _ in found["sheaf, its loss"]
    } == {0.25}


def test_curves(ax):
    diagnostics.curves([0, 10], {"z1": [1, 2], "a1": [3, 4], "z2": [5, 6]}, ax)
    assert points(ax) == {
        "$z^1$": [(0, 1), (10, 2)],
        "$a^1$": [(0, 3), (10, 4)],
        "$z^2$": [(0, 5), (10, 6)],
    }
    kinds = ("affine", "activation", "affine")
    assert [line.get_color() for line in ax.lines] == [EDGE_COLOURS[kind] for kind in kinds]
    assert len({line.get_linestyle() for line in ax.lines}) == 3


def test_auroc_marks_means_and_keeps_its_rows(ax):
    faults.auroc(FOUND, {"1H, GD": {"loss": (0.45, 0.5, 0.55)}}, ax, "fault")
    # one order in all panels
    assert labels(ax.get_yticklabels()) == ["pinned discord", "loss", "gradient"]
    assert {name: sorted(x for x, _ in found) for name, found in points(ax).items()} == {
        "1H, GD": [0.2, 0.5],
        "3H, sheaf": [0.8],
    }
    spans = [tuple(segment[:, 0]) for lines in ax.collections for segment in lines.get_segments()]
    assert sorted(spans) == [(0.1, 0.3), (0.4, 0.6), (0.45, 0.55), (0.7, 0.9)]
    marks = {line.get_label(): line.get_marker() for line in ax.lines}
    # a network looks the same in every panel
    assert (marks["1H, GD"], marks["3H, sheaf"]) == ("s", "^")


def test_by_layer(ax):
    faults.by_layer({"one": [0.5, 1.0], "two": [0.0, 0.25]}, ax)
    assert points(ax) == {"one": [(1, 0.5), (2, 1)], "two": [(1, 0), (2, 0.25)]}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: diagnostics.strips({"affine_1": [1.0]}),
        lambda: faults.auroc(FOUND, {}),
        lambda: diagnostics.unit_discord({"sheaf": [1.0]}),
        lambda: faults.by_layer({"one": [1.0]}),
    ],
)
def test_without_axes_the_current_ones_are_taken(draw):
    fig, ax = plt.subplots()
    assert draw() is ax
    plt.close(fig)
