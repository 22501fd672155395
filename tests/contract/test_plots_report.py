"""The pictures of a report draw what they are given, on the axes they are given."""

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import labels

from sheaflib import Network, NeuralSheaf
from sheaflib import report as make
from sheaflib.diagnosis import picture as report
from sheaflib.diagnosis.measures import EdgeRow, Neuron, Null
from sheaflib.plots.palette import EDGE_COLOURS

ROWS = [
    EdgeRow("affine_1", "affine", 4, 0.3, 0.5, 0.5, Null(1.0, 2.0, 3.0, 0.1), layer="z1 · Affine"),
    EdgeRow("activation_1", "activation", 4, 0.2, 0.5, 0.5, layer="a1 · ReLU"),
]


def test_an_edge_is_a_mark_beside_its_band(ax):
    assert report.edges(ROWS, ax) is ax
    assert [list(map(tuple, line.get_xydata())) for line in ax.lines] == [
        [(1, 0), (3, 0)],
        [(2, 0)],
        [(0.1, 0)],
        [(0.2, 1)],
    ]
    assert (
        labels(ax.get_yticklabels()) == ["z1 · Affine", "a1 · ReLU"]
        and ax.get_xscale() == "log"
        and ax.yaxis_inverted()
    )
    assert [ax.lines[i].get_color() for i in (2, 3)] == [
        EDGE_COLOURS["affine"],
        EDGE_COLOURS["activation"],
    ]


def test_nothing_positive_needs_no_logarithm(ax):
    report.edges([EdgeRow("affine_1", "affine", 1, 0.0)], ax)
    report.samples(np.zeros(3), np.zeros(3), [0], ax)
    ax.figure.draw_without_rendering()
    assert ax.get_xscale() == ax.get_yscale() == "linear" and not ax.lines[0].get_xdata().size


def test_neurons_keep_their_order_and_the_colour_of_their_edge(ax):
    assert (
        report.neurons(
            [
                Neuron("a1[3]", "activation_1", 2.0, "activation"),
                Neuron("z2[0]", "affine_2", 1.0, "affine"),
            ],
            ax,
        )
        is ax
    )
    assert [bar.get_width() for bar in ax.patches] == [2, 1] and labels(ax.get_yticklabels()) == [
        "a1[3]",
        "z2[0]",
    ]
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in ax.patches]
    assert colours == [EDGE_COLOURS["activation"], EDGE_COLOURS["affine"]]
    assert ax.yaxis_inverted()


def test_samples_on_the_list_are_marked_and_zeros_left_out(ax):
    assert report.samples([1.0, 2.0, 0.0, 4.0], [0.1, 0.2, 0.3, 0.4], [3], ax) is ax
    others, listed = ax.lines
    assert others.get_xydata().tolist() == [
        [1, 0.1],
        [2, 0.2],
    ] and listed.get_xydata().tolist() == [[4, 0.4]]
    assert others.get_marker() != listed.get_marker() and labels(ax.get_legend().get_texts()) == [
        "others",
        "the 1 listed",
    ]


def test_what_lists_find(ax):
    assert report.finds([1, 2], {"one": [5.0, 4.0], "two": [1.0, 3.0]}, ax, [9.0, 8.0], 7) is ax
    best, one, two, chance, listed = ax.lines
    assert [line.get_xydata().tolist() for line in (best, one, two)] == [
        [[1, 9], [2, 8]],
        [[1, 5], [2, 4]],
        [[1, 1], [2, 3]],
    ]
    assert len({(line.get_linestyle(), line.get_color()) for line in (best, one, two)}) == 3
    assert (
        list(chance.get_ydata()) == [1, 1]
        and list(listed.get_xdata()) == [7, 7]
        and ax.get_ylim()[0] == 0
    )
    assert labels(ax.get_legend().get_texts()) == ["best possible", "one", "two"]


def test_the_overview_has_four_panels():
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))
    found = make(sheaf, [[1.0], [2.0]], [4.0, 3.0], budget=100, progress=False)
    fig = found.figure()
    assert [ax.get_title() for ax in fig.axes] == [
        "edges; grey: labels permuted, re-solved",
        "worst neurons",
        "samples",
        "share of discord along the network",
        "",  # the bar of colours
    ]
    assert labels(fig.axes[0].get_yticklabels()) == ["z1 · Affine", "a1 · ReLU", "z2 · Affine"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: report.edges(ROWS),
        lambda: report.neurons([Neuron("a1[3]", "activation_1", 2.0, "activation")]),
        lambda: report.samples([1.0], [1.0], [0]),
        lambda: report.finds([1], {"one": [2.0]}),
    ],
)
def test_without_axes_the_current_ones_are_taken(draw):
    fig, ax = plt.subplots()
    assert draw() is ax
    plt.close(fig)
