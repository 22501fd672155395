"""The pictures of notebooks 02 and 03 draw what they are given, on the axes they are given, the
same in every run; the random networks they rest on are what their names say."""

import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sheaflib import NeuralSheaf
from sheaflib.companion.figures import harmonic
from sheaflib.companion.random_networks import (
    WEIGHTS,
    cube_points,
    draw,
    measure,
    pairs,
    random_matrix,
    random_network,
    random_patterns,
    small_cnn,
)
from sheaflib.plots import spectra
from sheaflib.sheaves.layout import Layout

rng = np.random.default_rng(0)
ROWS = {"first": rng.random(20) + 0.1, "second": rng.random(30) + 0.1}
LAYOUT = Layout(("z1", "a1", "z2"), (2, 2, 1))

PICTURES = {
    "entries": lambda ax: spectra.entries(
        [1, 2, 2], [0, 0, 1], ["affine", "activation", "projection"], 4, ax
    ),
    "running products": lambda ax: spectra.running_products(
        -np.ones(4), np.ones(4), rng.random((3, 4)), ax
    ),
    "spectra": lambda ax: spectra.spectra(
        ROWS,
        {k: 5 + v for k, v in ROWS.items()},
        dict.fromkeys(ROWS, 9.0),
        {"first": (0.3, 5.5)},
        ax,
    ),
    "extremes": lambda ax: spectra.extremes_by_weights(ROWS, ROWS, ax),
    "face": lambda ax: spectra.face([0, 0.5, 1], rng.random((3, 3)), ("one", "other"), ax),
    "places": lambda ax: spectra.by_place(ROWS, ax),
    "depth": lambda ax: spectra.smallest_by_depth(
        [[1, 1], [2, 2]], [[1, 1], [0.2, 0.1]], [2], [0.2], ax
    ),
    "energy plane": lambda ax: harmonic.energy_plane(
        np.linspace(-1, 1, 5), np.linspace(0, 1, 4), 1 + rng.random((4, 5)), (0, 0), ("z", "a"), ax
    ),
    "energy lines": lambda ax: harmonic.energy_lines([-1, 0, 1], rng.random((2, 3)), ax),
    "cochain": lambda ax: harmonic.cochain(
        rng.random(5), LAYOUT, ax, reference=rng.random(5), switched=[1]
    ),
    "edges": lambda ax: harmonic.edge_bars({"affine_1": 1.0, "activation_1": 0.5}, ax, top=2),
    "wrong": lambda ax: harmonic.energy_by_wrong([0, 1, 1, 2], [0, 1, 2, 3], ax),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", PICTURES)
def test_draws_on_the_axes_it_is_given_and_returns_them(name):
    _, (left, right) = plt.subplots(1, 2)
    assert PICTURES[name](right) is right
    assert right.has_data()
    assert not left.has_data()


def test_pattern_table_marks_the_self_consistent_pattern():
    axes = plt.subplots(2, 1, sharex=True)[1]
    top = harmonic.pattern_table(
        [[1, 0], [1, 1], [0, 0]], [0.0, 1.0, 2.0], [True, False, False], axes
    )
    assert top is axes[0]
    assert [bar.get_height() for bar in top.patches] == [0, 1, 2]
    assert len(axes[1].lines[0].get_xdata()) == 3  # active units


def test_jitter_needs_no_chance():
    assert (spectra.jitter(50) == spectra.jitter(50)).all()
    assert np.abs(spectra.jitter(1000)).max() <= 0.3


def test_entries_show_the_diagonal_in_black_and_the_upper_half_white():
    picture = PICTURES["entries"](plt.gca()).images[0].get_array()
    assert (picture[np.arange(4), np.arange(4)] == 0).all()
    assert (picture[np.triu_indices(4, 1)] == 1).all()
    assert not (picture[2, 0] == 1).all()


def test_weights_are_of_the_kind_they_are_called():
    generator = np.random.default_rng(1)
    sizes = {kind: np.abs(random_matrix(generator, 30, 20, kind)).mean(axis=1) for kind in WEIGHTS}
    assert np.linalg.matrix_rank(random_matrix(generator, 30, 20, "rank one")) == 1
    assert np.ptp(np.log10(sizes["layers 1e±6"])) < 1 < 10 < np.ptp(np.log10(sizes["rows 1e±6"]))
    assert 0.1 < sizes["He"].mean() < 1
    with pytest.raises(ValueError, match="weights='hard' is unknown, expected one of He"):
        random_matrix(generator, 2, 2, "hard")


def test_one_seed_gives_the_same_networks_and_patterns():
    first, second = (
        list(pairs(np.random.default_rng(3), 4, 2, max_width=9, max_depth=5)) for _ in range(2)
    )
    assert [p.shape for p in first] == [p.shape for p in second]
    assert all((p.pattern == q.pattern).all() for p, q in zip(first, second))
    assert [p.number for p in first] == [0, 1] * 4


def test_networks_stay_within_their_limits_and_often_merge():
    shapes = [
        measure(network)
        for network, _ in draw(np.random.default_rng(4), 400, max_width=40, max_depth=7)
    ]
    assert max(s.width for s in shapes) == 40
    assert max(s.depth for s in shapes) == 7
    assert np.mean([s.merges > 0 for s in shapes]) > 1 / 3
    assert np.mean([s.fan_out > 0 for s in shapes]) > 1 / 3


def test_a_merge_before_every_layer_is_counted():
    network = random_network(np.random.default_rng(5), [2, 3, 3, 3, 1], merge_rate=1.0)
    assert measure(network).merges == 3
    assert measure(network).depth == 4
    assert NeuralSheaf(small_cnn(np.random.default_rng(5), 6)).M == 48 + 12


def test_cube_points_lie_where_they_are_called():
    places = cube_points(np.random.default_rng(6), 25, 8)
    inner = {name: ((s > 0) & (s < 1)).sum(axis=1) for name, s in places.items()}
    assert (inner["vertices"] == 0).all()
    assert (inner["edges"] == 1).all()
    assert (inner["inside"] == 8).all()
    assert random_patterns(np.random.default_rng(6), 5, 8).dtype == bool
    assert all(0 <= s.min() and s.max() <= 1 for s in itertools.chain(places.values()))
