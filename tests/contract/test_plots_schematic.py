"""The picture of a network as its sheaf: one name a vertex and an edge, boxes apart, chains and
merges alike.
"""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from sheaflib import Affine, Clamp, MaxPool, Network, NeuralSheaf, PReLU, ReLU, Stack
from sheaflib.plots.matrices import block_matrix, nonzeros
from sheaflib.plots.schematic import BOUNDARY, schematic
from sheaflib.sheaves.layout import Layout


def chain():
    return NeuralSheaf(Network.he([2, 4, 1], np.random.default_rng(0), output="sigmoid"))


def merged():
    ones = np.ones
    return NeuralSheaf(
        Network(
            3,
            [
                ("z1", Affine(ones((9, 3)))),
                ("a1", ReLU(9)),
                ("z2", Affine(ones((2, 9)))),
                ("a2", ReLU(2)),
                ("p", Stack(2, 9, 3), ("a2", "a1", "x")),
                ("z3", Affine(ones((1, 14)))),
            ],
        )
    )


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def names(ax, prefix):
    return [
        t.get_gid().removeprefix(prefix) for t in ax.texts if (t.get_gid() or "").startswith(prefix)
    ]


@pytest.mark.parametrize("sheaf", [chain(), merged()], ids=["chain", "merged"])
def test_one_name_for_every_vertex_and_edge(sheaf):
    ax = schematic(sheaf)
    assert isinstance(ax, plt.Axes)
    assert sorted(names(ax, "vertex:")) == sorted(("x", *sheaf.augmented_layout.names))
    assert sorted(names(ax, "edge:")) == sorted(e.name for e in sheaf.edges)


@pytest.mark.parametrize("stalks", [True, False])
@pytest.mark.parametrize("sheaf", [chain(), merged()], ids=["chain", "merged"])
def test_boxes_stand_apart_and_inside(sheaf, stalks):
    ax = schematic(sheaf, stalks=stalks)
    boxes = [p.get_bbox() for p in ax.patches if (p.get_gid() or "").startswith("box:")]
    assert len(boxes) == len(sheaf.augmented_layout.names) + 1
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(ax.viewLim.x0 < b.x0 and b.x1 < ax.viewLim.x1 for b in boxes)


def test_words_do_not_overlap():
    ax = schematic(merged())
    renderer = ax.figure.canvas.get_renderer()
    boxes = [
        t.get_window_extent(renderer)
        for t in ax.texts
        if t.get_text() and t.get_text() not in "1⋮⋯"
    ]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_every_selection_and_a_convolution_has_its_letter():
    """The clamp's constant stands beside its map, as a bias does; its words do not overlap."""

    class Kernelled(Affine):
        kernel = np.ones((1, 1, 1, 1))

    nodes = [
        ("z1", Kernelled(np.eye(2))),
        ("a1", ReLU(2)),
        ("z2", Affine(np.eye(2))),
        ("a2", PReLU(2, [0.5, 0.25])),
        ("z3", Affine(np.eye(2))),
        ("a3", Clamp(2, 0.0, 6.0)),
        ("m3", MaxPool([[0, 1]], 2)),
    ]
    ax = schematic(NeuralSheaf(Network(2, nodes)))
    words = {t.get_text() for t in ax.texts}
    assert {
        r"$[K^{1}\,|\,\mathrm{diag}\,b^{1}]$",
        "$R_{z^{1}}$",
        r"$[W^{2}\,|\,\mathrm{diag}\,b^{2}]$",
        "$P_{z^{2}}$",
        r"$[C_{z^{3}}\,|\,\mathrm{diag}\,c_{z^{3}}]$",
        "$S_{a^{3}}$",
    } <= words
    renderer = ax.figure.canvas.get_renderer()
    written = [t for t in ax.texts if t.get_text() and t.get_text() not in "1⋮⋯"]
    boxes = [t.get_window_extent(renderer) for t in written]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    grey = [p for p in ax.patches if p.get_facecolor()[:3] == to_rgb(BOUNDARY)]
    assert len(grey) == 2 + 2 + 2 + 2 + 2 + 1  # x, the ones of four maps, and the legend's


def test_skip_edges_over_one_stretch_take_different_lanes():
    ax = schematic(merged())
    depths = [
        line.get_ydata().min()
        for line in ax.lines
        if line.get_gid() in ("line:projection_2", "line:projection_3")
    ]
    assert len(depths) == 2 and depths[0] != depths[1] and max(depths) < 0


def test_every_line_joins_its_edge_s_vertices():
    sheaf = merged()
    ax = schematic(sheaf)
    at = {
        p.get_gid()[4:]: p.get_bbox() for p in ax.patches if (p.get_gid() or "").startswith("box:")
    }
    lines = {
        line.get_gid()[5:]: line.get_xdata()
        for line in ax.lines
        if (line.get_gid() or "").startswith("line:")
    }
    assert set(lines) == {e.name for e in sheaf.edges}
    for edge in sheaf.edges:
        assert at[edge.tail].x0 < lines[edge.name][0] < at[edge.tail].x1
        assert at[edge.head].x0 < lines[edge.name][-1] < at[edge.head].x1


def test_draws_into_a_given_axes_and_renames_maps():
    _, given = plt.subplots()
    ax = schematic(chain(), given, maps={"affine_1": ("from below", "same")})
    assert ax is given and {"from below", "same"} <= {t.get_text() for t in ax.texts}


def test_matrix_pictures_name_their_blocks_and_return_the_axes():
    layout = Layout(("z1", "a1"), (2, 2))
    _, given = plt.subplots()
    ax = block_matrix(np.eye(4), layout, layout, given, {("z1", "z1"): "I"})
    assert ax is given and [t.get_text() for t in ax.texts] == ["$I$"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["$z^{1}$", "$a^{1}$"]
    ax = nonzeros([1, 2], [0, 1], layout)
    assert isinstance(ax, plt.Axes) and ax.get_ylim() == (4, 0)
