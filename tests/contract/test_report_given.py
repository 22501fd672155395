"""What a report is given and how it tells it: images as images, tables of pandas, layers by their
names and types, tables back to pandas, and the network's graph.
"""

import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest
from matplotlib.colors import to_rgba
from pictures import labels

from sheaflib import Affine, Clamp, MaxPool, Network, NeuralSheaf, ReLU, Stack, report
from sheaflib.diagnosis import picture
from sheaflib.diagnosis.graph import graph, places
from sheaflib.diagnosis.measures import EdgeRow
from sheaflib.diagnosis.names import layer, short, type_of
from sheaflib.layers import add, average_pool, convolution, max_pool, transposed
from sheaflib.plots.palette import DISCORD

RNG = np.random.default_rng(0)
SHAPE = (3, 6, 4)
IMAGES = RNG.standard_normal((7, *SHAPE))
CLASSES = RNG.integers(0, 2, 7)


def image_network(shape=SHAPE):
    """A residual network of images whose nodes are called as in PyTorch."""
    rng = np.random.default_rng(1)
    stem, s = convolution(rng.standard_normal((2, shape[0], 3, 3)), shape, padding=1)
    n = stem.n_out
    conv, _ = convolution(rng.standard_normal((2, 2, 3, 3)) / 3, s, padding=1)
    pool, last = average_pool(s, 2)
    nodes = [
        ("stem", stem),
        ("relu", ReLU(n)),
        ("layer1.0.conv1", conv, "relu"),
        ("layer1.0.relu", ReLU(n)),
        ("layer1.0.both", Stack(n, n), ("layer1.0.relu", "relu")),
        ("layer1.0.sum", add(n, 2)),
        ("pool", pool),
        ("fc", Affine(rng.standard_normal((2, int(np.prod(last)))))),
    ]
    return Network(int(np.prod(shape)), nodes, "softmax")


SHEAF = NeuralSheaf(image_network())


@pytest.fixture(scope="module")
def found():
    return report(SHEAF, IMAGES, CLASSES, progress=False)


# what comes in
# --------------------------------------------------------------------------------------------------


def test_images_are_flattened_as_the_network_reads_them(found):
    flat = report(SHEAF, IMAGES.reshape(7, -1), CLASSES, progress=False)
    np.testing.assert_array_equal(found.discord, flat.discord)
    nested = report(SHEAF, IMAGES.tolist(), CLASSES.tolist(), progress=False)
    np.testing.assert_array_equal(nested.discord, flat.discord)


def test_signals_are_flattened_too():
    conv, _ = convolution(np.ones((1, 2, 3)), (2, 5))
    sheaf = NeuralSheaf(Network(10, [("z", conv)]))
    x, y = RNG.standard_normal((4, 2, 5)), RNG.standard_normal((4, 3))
    one, two = (report(sheaf, part, y, progress=False) for part in (x, x.reshape(4, 10)))
    np.testing.assert_array_equal(one.discord, two.discord)
    with pytest.raises(ValueError, match=r"x has shape \(4, 5, 2\), expected \(B, 2, 5\), \(B, ch"):
        report(sheaf, np.moveaxis(x, 1, 2), y, progress=False)


@pytest.mark.parametrize(
    "x, message",
    [
        (
            np.moveaxis(IMAGES, 1, -1),
            (
                r"x has shape \(7, 6, 4, 3\), expected \(B, 3, 6, 4\), \(B, channels, height, "
                r"width\): the channels seem to stand last, use np\.moveaxis\(x, -1, 1\)$"
            ),
        ),
        (
            np.moveaxis(IMAGES, 2, 3),
            r"x has shape \(7, 3, 4, 6\), expected \(B, 3, 6, 4\), \(B, channels, height, width\)$",
        ),
        (IMAGES[0], r"x has the wrong shape: got \(3, 6, 4\), expected \(B, 72\)"),
        (np.where(IMAGES > 2, np.nan, IMAGES), r"x must be finite, got nan"),
        (np.array(IMAGES, dtype=object), r"x has dtype object, expected real numbers"),
    ],
    ids=["channels last", "turned", "one image", "NaN", "objects"],
)
def test_other_images_are_refused(x, message):
    with pytest.raises((ValueError, TypeError), match=message):
        report(SHEAF, x, CLASSES, progress=False)


def test_images_of_a_network_that_reads_vectors_are_refused():
    sheaf = NeuralSheaf(Network.mlp([np.ones((2, 72))], None, "softmax"))
    with pytest.raises(ValueError, match=r"flatten to \(n_samples, n_features\)"):
        report(sheaf, IMAGES, CLASSES, progress=False)


def test_tables_of_pandas_are_taken_by_their_values():
    """With any index; classes as a Series, as a table of one column, or as codes."""
    sheaf = NeuralSheaf(Network.he([3, 5, 3], np.random.default_rng(2), "softmax"))
    x, y = RNG.standard_normal((9, 3)), RNG.integers(0, 3, 9)
    index = list("ihgfedcba")
    table = pandas.DataFrame(x, columns=["a", "b", "c"], index=index)
    plain = report(sheaf, x, y, progress=False)
    classes = pandas.Series(y, index=index)
    one_hot = pandas.DataFrame(np.eye(3)[y], index=index)
    for given in (
        classes,
        classes.to_frame("label"),
        one_hot,
        classes.astype("category").cat.codes,
    ):
        again = report(sheaf, table, given, progress=False)
        np.testing.assert_array_equal(again.discord, plain.discord)
    one = NeuralSheaf(Network.he([3, 5, 1], np.random.default_rng(2)))
    numbers = pandas.DataFrame({"price": x.sum(axis=1)}, index=index)
    np.testing.assert_array_equal(
        report(one, table, numbers, progress=False).discord,
        report(one, x, x.sum(axis=1), progress=False).discord,
    )


def test_tables_that_hold_no_numbers_are_refused():
    sheaf = NeuralSheaf(Network.he([2, 3, 3], np.random.default_rng(2), "softmax"))
    mixed = pandas.DataFrame({"a": [1.0, 2.0], "b": ["u", "v"]})
    with pytest.raises(TypeError, match="x has dtype object, expected real numbers"):
        report(sheaf, mixed, [0, 1], progress=False)
    with pytest.raises(
        TypeError, match=r"y has dtype .*return_inverse=True\)\[1\] numbers classes"
    ):
        report(sheaf, np.ones((2, 2)), pandas.Series(["cat", "dog"]), progress=False)


# layers and neurons by name
# --------------------------------------------------------------------------------------------------


def test_a_row_says_node_type_and_where_a_projection_comes_from(found):
    assert [row.layer for row in found.edges] == [
        "stem · Convolution 3×3",
        "relu · ReLU",
        "layer1.0.conv1 · Convolution 3×3",
        "layer1.0.relu · ReLU",
        "layer1.0.both · Stack from layer1.0.relu",
        "layer1.0.both · Stack from relu",
        "layer1.0.sum · Sum",
        "pool · Separable",
        "fc · Affine",
        "a_out · softmax",
    ]
    assert [row.name for row in found.edges] == [edge.name for edge in SHEAF.edges]
    said = str(found)
    assert "… · Stack from relu" not in said and "Stack from layer1.0.relu  " in said
    assert "affine_" not in said
    assert "layer1.0.conv1 · Convolution 3×3  " in said
    assert max(map(len, said.splitlines())) <= 100


def test_types_have_the_size_of_their_window():
    shape = (1, 6, 6)
    made = [
        convolution(np.ones((1, 1, 5, 3)), shape)[0],
        convolution(np.ones((1, 1, 4)), (1, 6))[0],
        transposed(np.ones((1, 1, 2, 2)), shape)[0],
        max_pool(shape, 2)[0],
        max_pool((1, 6), 3)[0],
        MaxPool([[0, 1]], 2),
        Clamp(2, 0.0, 6.0),
    ]
    assert [type_of(one) for one in made] == [
        "Convolution 5×3",
        "Convolution 4",
        "TransposedConvolution 2×2",
        "MaxPool 2×2",
        "MaxPool 3",
        "MaxPool",
        "Clamp",
    ]


def test_neurons_are_told_by_channel_row_and_column(found):
    pixel = r"(stem|relu|layer1\.0\.\w+|pool)\[channel \d, row \d, column \d\]"
    for neuron in found.neurons:
        assert re.fullmatch(rf"{pixel}|fc\[\d\]", neuron.name)
        assert neuron.layer == layer(
            SHEAF.network, next(edge for edge in SHEAF.edges if edge.name == neuron.edge)
        )
    assert any("channel" in neuron.name for neuron in found.neurons)
    assert found.neurons[0].name in str(found)


def test_names_that_are_too_long_keep_their_end():
    name = "model.encoder.backbone.stages.3.blocks.11.attention_free.project.conv2"
    network = Network(2, [(f"{name}.{i}", Affine(np.eye(2))) for i in range(3)])
    found = report(NeuralSheaf(network), np.eye(2), np.ones((2, 2)) * [[1], [2]], progress=False)
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100
    rows = [line for line in lines if line.startswith("…")]
    assert [row.split("  ")[0][-10:] for row in rows] == [f".{i} · Affine"[-10:] for i in range(3)]
    assert short("abc", 3) == "abc" and short("abcd", 3) == "…bcd"


# tables to pandas
# --------------------------------------------------------------------------------------------------


def test_the_edges_as_a_frame(found):
    frame = found.to_frame()
    assert frame.index.name == "edge" and list(frame.index) == [row.name for row in found.edges]
    assert list(frame.columns[:6]) == ["layer", "kind", "size", "discord", "share", "resistance"]
    for row, record in zip(found.edges, frame.itertuples()):
        assert (record.layer, record.kind, record.size) == (row.layer, row.kind, row.size)
        np.testing.assert_equal([record.discord, record.share], [row.discord, row.share])
        for name in ("low", "median", "high", "same", "ratio"):
            np.testing.assert_equal(getattr(record, f"frozen_{name}"), getattr(row.frozen, name))
            assert np.isnan(getattr(record, f"solved_{name}"))
    assert frame["discord"].sum() == pytest.approx(found.total.discord)


def test_the_samples_as_a_frame(found):
    frame = found.to_frame("samples")
    assert frame.index.name == "sample" and len(frame) == 7
    assert list(frame.columns) == ["label", "output", "loss", "discord", "converged", "verdict"]
    np.testing.assert_array_equal(frame["label"], CLASSES)
    np.testing.assert_array_equal(frame["output"], found.output.argmax(axis=1))
    np.testing.assert_array_equal(frame["discord"], found.discord)
    assert frame.sort_values("discord").index[-1] == found.worst[0]
    wide = NeuralSheaf(Network.mlp([np.eye(2)]))
    two = report(wide, np.eye(2), 3 * np.eye(2), progress=False).to_frame("samples")
    assert list(two.columns[:4]) == ["label_0", "label_1", "output_0", "output_1"]
    one = report(NeuralSheaf(Network.mlp([[[1.0]]])), [[1.0]], [3.0], progress=False)
    assert one.to_frame("samples")[["label", "output"]].to_numpy().tolist() == [[3.0, 1.0]]


def test_another_frame_is_refused(found):
    with pytest.raises(ValueError, match="of='neurons' is unknown, expected one of edges, samples"):
        found.to_frame("neurons")


# pictures
# --------------------------------------------------------------------------------------------------


def rows_of(network, discord):
    sheaf = NeuralSheaf(network)
    return [
        EdgeRow(edge.name, edge.kind, edge.dim, float(d), layer=layer(network, edge))
        for edge, d in zip(sheaf.edges, discord, strict=True)
    ]


def test_every_edge_is_drawn_as_wide_and_as_bright_as_its_share(ax):
    network = image_network()
    discord = np.arange(10.0)
    assert graph(network, rows_of(network, discord), ax) is ax
    lines = {patch.get_gid(): patch for patch in ax.patches}
    ends = [f"line:{edge.tail}:{edge.head}" for edge in SHEAF.edges]
    assert list(lines) == ends
    widths = [lines[end].get_linewidth() for end in ends]
    assert np.allclose(np.diff(widths), widths[1] - widths[0]) and widths[0] > 0
    colours = plt.get_cmap(DISCORD)
    for end, share in zip(ends, discord / discord.max()):
        np.testing.assert_allclose(lines[end].get_edgecolor(), to_rgba(colours(share)), atol=0.01)
    bar = next(a for a in ax.figure.axes if a is not ax)
    assert bar.get_ylim() == (0, pytest.approx(9 / 45))
    names = [text.get_text() for text in ax.texts]
    assert names == ["x", *(node.name for node in network.nodes), "a_out"]


def test_vertices_stand_by_their_distance_and_skips_are_arcs(ax):
    network = image_network()
    depth, lane, reads = places(network)
    assert list(depth.values()) == list(range(10)) and set(lane.values()) == {0}
    assert reads == [(edge.tail, edge.head) for edge in SHEAF.edges]
    graph(network, rows_of(network, np.ones(10)), ax)
    high = {patch.get_gid(): patch.get_path().vertices[:, 1].max() for patch in ax.patches}
    assert [name for name, top in high.items() if top > 0] == ["line:relu:layer1.0.both"]
    fork = Network(
        2, [("a", Affine(np.eye(2))), ("b", Affine(np.eye(2)), "x"), ("p", Stack(2, 2), ("a", "b"))]
    )
    depth, lane, _ = places(fork)
    assert depth == {"x": 0, "a": 1, "b": 1, "p": 2} and lane == {"x": 0, "a": 0, "b": -1, "p": 0}


def test_no_discord_is_drawn_too(ax):
    network = Network.mlp([[[1.0]]])
    graph(network, rows_of(network, [0.0]), ax)
    ax.figure.draw_without_rendering()
    assert len(ax.patches) == 1


def test_the_worst_samples_images_are_shown(found):
    """Stretched to all of them together, each with index, label and output."""
    np.testing.assert_array_equal(found.images, IMAGES[found.worst])
    axes = found.figure().axes
    shown = [ax for ax in axes if ax.images]
    assert len(shown) == len(found.worst) == 5
    low, high = found.images.min(), found.images.max()
    for ax, i in zip(shown, found.worst):
        expected = (np.moveaxis(IMAGES[i], 0, -1) - low) / (high - low)
        np.testing.assert_allclose(ax.images[0].get_array(), expected)
        assert ax.get_title() == f"{i}: {CLASSES[i]} → {found.output[i].argmax()}"


def test_images_of_one_channel_are_grey_and_of_two_are_not_shown():
    grey = NeuralSheaf(image_network((1, 6, 4)))
    found = report(grey, IMAGES[:, :1], CLASSES, progress=False)
    image = next(ax.images[0] for ax in found.figure().axes if ax.images)
    assert image.get_array().shape == (6, 4) and image.get_cmap().name == "gray"
    assert "images of the worst samples" in found._repr_html_()
    two = report(NeuralSheaf(image_network((2, 6, 4))), IMAGES[:, :2], CLASSES, progress=False)
    assert two.images is None and not any(ax.images for ax in two.figure().axes)


def test_alike_images_are_drawn(ax):
    picture.images(np.zeros((1, 1, 2, 2)), [("0", "1", "2")], [ax])
    assert ax.images[0].get_array().tolist() == [[0, 0], [0, 0]]


def test_a_long_network_keeps_its_names_apart():
    """Sixty vertices: no two names overlap, and no layer is left out."""
    nodes = []
    for i in range(29):
        nodes += [(f"blocks.{i}.fc", Affine(np.eye(2))), (f"blocks.{i}.relu", ReLU(2))]
    network = Network(2, [*nodes, ("head", Affine(np.eye(2)))], "softmax")
    found = report(NeuralSheaf(network), np.eye(2), [0, 1], progress=False)
    fig = found.figure()
    fig.draw_without_rendering()
    ax = next(ax for ax in fig.axes if ax.get_title() == "share of discord along the network")
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 61
    assert all(a.x1 <= b.x0 + 1 for a, b in zip(boxes, boxes[1:]))
    assert all(box.y0 >= ax.bbox.y0 - 40 for box in boxes)
    assert len(labels(fig.axes[0].get_yticklabels())) == 60
