"""The pictures of notebook 06 draw what they are given, on the axes they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sheaflib import Network, NeuralSheaf
from sheaflib.companion.figures import training
from sheaflib.plots.palette import EDGE_COLOURS

rng = np.random.default_rng(0)
SHEAF = NeuralSheaf(Network.he([2, 3, 1], rng))
DEEP = NeuralSheaf(Network.he([2, 4, 3, 2], rng, output="softmax"))
AXIS = np.linspace(-1, 1, 9)
PLANE = np.add.outer(AXIS**2, AXIS**2)
STEP = [0, 1000, 2000]
RUNS = {"sheaf": (STEP, [3, 2, 1], [4, 3, 2]), "gradient descent": (STEP, [3, 1, 0.1], [4, 1, 0.2])}
LOSSES = {
    row: {method: rng.random(4) + 0.1 for method in training.METHODS}
    for row in ("first", "second", "third")
}
OWN = {
    row: {method: 0.5 + place for place, method in enumerate(training.METHODS)} for row in LOSSES
}

PICTURES = {
    "stalk sheaves": lambda ax: training.stalk_sheaves(SHEAF, ax),
    "weight sheaves": lambda ax: training.weight_sheaves(SHEAF, ax),
    "losses": lambda ax: training.loss_curves(RUNS, ax, unit=1000),
    "energies": lambda ax: training.energy_curves(
        STEP, {"affine_1": [3, 2, 1], "affine_2": [2, 1, 1], "output": [2, 1, 1]}, ax
    ),
    "surface": lambda ax: training.surface(
        AXIS, AXIS, PLANE - 0.5, np.linspace(-1, 2, 7), ax, "title"
    ),
    "decision": lambda ax: training.decision(
        AXIS, AXIS, PLANE / 2, rng.random((6, 2)), [0, 1, 0, 1, 1, 1], ax
    ),
    "slowdown": lambda ax: training.slowdown(
        STEP, [[1, 2, 3], [2, 3, 4], [3, 4, 5]], [2, 3, 4], [4, 5, 6], ax
    ),
    "table": lambda ax: training.seeds_table(LOSSES, OWN, ax, "title"),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def gids(ax, prefix):
    return [
        artist.get_gid().removeprefix(prefix)
        for artist in (*ax.patches, *ax.lines)
        if (artist.get_gid() or "").startswith(prefix)
    ]


@pytest.mark.parametrize("name", PICTURES)
def test_draws_on_the_axes_it_is_given_and_returns_them(name):
    _, (left, right) = plt.subplots(1, 2)
    assert PICTURES[name](right) is right
    assert right.has_data()
    assert not left.has_data()


@pytest.mark.parametrize("name", PICTURES)
def test_finds_axes_of_its_own(name):
    assert PICTURES[name](None) is plt.gca()


@pytest.mark.parametrize("draw", [training.stalk_sheaves, training.weight_sheaves])
@pytest.mark.parametrize("sheaf", [SHEAF, DEEP], ids=["one layer", "two layers"])
def test_boxes_stand_apart_and_inside(draw, sheaf):
    ax = draw(sheaf)
    boxes = [p.get_bbox() for p in ax.patches if (p.get_gid() or "").startswith("box:")]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(
        ax.viewLim.x0 < b.x0 and b.x1 < ax.viewLim.x1 and ax.viewLim.y0 < b.y0 for b in boxes
    )


@pytest.mark.parametrize("sheaf", [SHEAF, DEEP], ids=["one layer", "two layers"])
def test_a_stalk_is_free_on_the_left_and_boundary_on_the_right(sheaf):
    def colours(ax):
        return {p.get_gid(): p.get_facecolor() for p in ax.patches}

    left = colours(training.stalk_sheaves(sheaf, plt.subplots()[1]))
    right = colours(training.weight_sheaves(sheaf, plt.subplots()[1]))
    layers = sum(e.kind == "affine" for e in sheaf.edges)
    assert len(left) == 3 * (len(sheaf.layout.names) + 2) and len(right) == 4 * layers
    assert set(left) & set(right) == {
        f"box:z^{{{i + 1}}}_{{{s}}}" for i in range(layers) for s in training.SAMPLES
    }
    assert not any(left[name] == right[name] for name in set(left) & set(right))


def test_an_edge_for_every_step_of_every_sample():
    sheaf = DEEP
    # 3 affine, 2 activations, the label
    assert len(gids(training.stalk_sheaves(sheaf, plt.subplots()[1]), "edge:")) == 3 * (5 + 1)
    assert sorted(gids(training.weight_sheaves(sheaf, plt.subplots()[1]), "edge:")) == sorted(
        f"{i}:{s}" for i in (1, 2, 3) for s in "12n"
    )


def test_words_do_not_overlap():
    for draw in (training.stalk_sheaves, training.weight_sheaves):
        fig, ax = plt.subplots(figsize=(7, 2.6))
        draw(SHEAF, ax)
        renderer = fig.canvas.get_renderer()
        boxes = [t.get_window_extent(renderer) for t in ax.texts if t.get_text() not in "⋮⋯"]
        assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_training_is_solid_and_test_dashed_in_the_colour_of_the_method():
    ax = PICTURES["losses"](plt.gca())
    drawn = {
        line.get_label(): (line.get_color(), line.get_linestyle(), list(line.get_xdata()))
        for line in ax.lines
    }
    assert drawn == {
        f"{name}, {part}": (training.METHODS[name], style, [0, 1, 2])
        for name in RUNS
        for part, style in (("train", "-"), ("test", "--"))
    }
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "thousand steps"


def test_energies_have_the_colour_of_their_edge_and_a_sum():
    ax = PICTURES["energies"](plt.gca())
    lines = {line.get_label(): line for line in ax.lines}
    assert [lines[name].get_color() for name in ("affine 1", "affine 2", "output")] == [
        EDGE_COLOURS[k] for k in ("affine", "affine", "output")
    ]
    assert lines["affine 1"].get_linestyle() != lines["affine 2"].get_linestyle()
    assert list(lines["all edges"].get_ydata()) == [7, 4, 3]


def test_samples_are_drawn_once_each_by_class():
    ax = PICTURES["decision"](plt.gca())
    assert {line.get_label(): len(line.get_xdata()) for line in ax.lines} == {
        "class 0": 2,
        "class 1": 4,
    }


def test_the_table_stars_the_paper_s_seed_and_shows_every_fresh_one():
    ax = PICTURES["table"](plt.gca())
    stars = [
        (float(line.get_xdata()[0]), round(float(line.get_ydata()[0])))
        for line in ax.lines
        if line.get_marker() == "*"
    ]
    assert sorted(stars) == sorted(
        (value, place) for place, row in enumerate(OWN.values()) for value in row.values()
    )
    assert sum(len(dots.get_offsets()) for dots in ax.collections) == 3 * 2 * 4
    assert ax.get_xscale() == "log" and [t.get_text() for t in ax.get_yticklabels()] == list(LOSSES)
    assert [h.get_label() for h in training.method_handles()] == [
        *training.METHODS,
        "the paper's seed",
    ]
