"""A last digit moves nothing in a picture, whatever draws it, the fourth does; one layout does.

Each drawer takes twelve numbers between 0.1 and 0.9, of two or three digits each.
"""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns
from matplotlib.patches import Circle, FancyBboxPatch

from sheaflib.companion.figures import (
    diagnostics,
    faults,
    gap,
    harmonic,
    pinned,
    resistance,
    scaling,
    training,
)
from sheaflib.companion.figures import spectra as figures_of_spectra
from sheaflib.companion.record import gallery, index
from sheaflib.diagnosis import picture as report
from sheaflib.plots import matrices, spectra
from sheaflib.sheaves.layout import Layout

PLAIN = np.array([0.127, 0.31, 0.84, 0.27, 0.52, 0.73, 0.19, 0.66, 0.45, 0.9, 0.11, 0.58])
PLACES = np.arange(1, 13)
SQUARE = np.add.outer(PLACES, PLACES)

ARTISTS = {
    "line": lambda ax, v: ax.plot(PLACES, v),
    "line on logarithms": lambda ax, v: ax.loglog(PLACES * v, v**9),
    "long line": lambda ax, v: ax.plot(np.repeat(v, 40)),
    "markers": lambda ax, v: ax.semilogy(v, v**2, "s", mec="black"),
    "markers of pixels": lambda ax, v: ax.plot(v, v**2, "o", rasterized=True),
    "lines across": lambda ax, v: (ax.axhline(v[0]), ax.axvline(v[1]), ax.axvspan(v[2], v[3])),
    "many lines": lambda ax, v: (ax.vlines(PLACES, 0, v), ax.hlines(v, 0, 1)),
    "area": lambda ax, v: ax.fill_between(PLACES, v, 1 + v, alpha=0.3),
    "scatter": lambda ax, v: ax.scatter(v, v[::-1], s=40 * v),
    "scatter of colours": lambda ax, v: ax.scatter(PLACES, v, c=v, cmap="cividis"),
    "bars": lambda ax, v: (ax.bar(PLACES, v), ax.barh(PLACES, v, left=v[0])),
    "stairs": lambda ax, v: ax.stairs(v, fill=True),
    "error bars": lambda ax, v: ax.errorbar(PLACES, v, yerr=v / 3, capsize=4),
    "box plot": lambda ax, v: ax.boxplot(v, patch_artist=True),
    "filled contours": lambda ax, v: plt.colorbar(ax.contourf(np.multiply.outer(v, v)), ax=ax),
    "contours": lambda ax, v: ax.contour(np.sin(SQUARE * v), levels=[0.0, 0.3]),
    "contours through corners": lambda ax, v: ax.contourf(np.multiply.outer(v - 0.11, v - 0.11)),
    "image": lambda ax, v: ax.imshow(v.reshape(3, 4), extent=(v[0], v[2], 0, v[1])),
    "mesh": lambda ax, v: sns.heatmap(v.reshape(3, 4), ax=ax, linewidths=0.4),
    "shaded triangles": lambda ax, v: ax.tripcolor(v, v[::-1] ** 2, v, shading="gouraud"),
    "violins": lambda ax, v: sns.violinplot(data={"a": v, "b": 2 * v}, ax=ax, log_scale=True),
    "strip": lambda ax, v: sns.stripplot(data={"a": v, "b": 2 * v}, ax=ax, jitter=False),
    "median and range": lambda ax, v: sns.lineplot(x=PLACES // 4, y=v, errorbar=("pi", 100), ax=ax),
    "text": lambda ax, v: (ax.text(v[0], v[1], "text"), ax.text(v[2], v[3], "$x^2$", rotation=30)),
    "arrow": lambda ax, v: ax.annotate("note", v[:2], v[2:4], arrowprops={"arrowstyle": "-|>"}),
    "box": lambda ax, v: ax.add_patch(FancyBboxPatch(v[:2], v[2], v[3], clip_on=False)),
    "cut to a circle": lambda ax, v: [
        line.set_clip_path(Circle(v[:2], v[2], transform=ax.transData)) for line in ax.plot(v)
    ],
    "insets": lambda ax, v: ax.indicate_inset_zoom(ax.inset_axes([0.5, *v[:3]], xlim=(0, v[3]))),
}

WITH_TICKS = {"line", "line on logarithms", "bars"}
PIXELS = {
    "line",
    "markers of pixels",
    "bars",
    "image",
    "mesh",
    "shaded triangles",
    "text",
    "samples",
}

PICTURES = {
    "bands": lambda ax, v: figures_of_spectra.bands(PLACES, {"sheaf": [v, 2 * v, 3 * v]}, ax),
    "strips": lambda ax, v: diagnostics.strips({"z1": v, "a2": v**3}, ax),
    "spreads": lambda ax, v: diagnostics.spreads(
        {name: {"affine_1": v[:2], "output": v[2:4]} for name in faults.NETWORKS}, ax
    ),
    "ratios": lambda ax, v: gap.ratios({"one": {"a": v[:3], "b": v[3:6]}}, {"a": v[6:9]}, ax),
    "dial": lambda ax, v: gap.dial(PLACES[:4], {"a": v.reshape(4, 3)}, v[:3], ax),
    "bars of edges": lambda ax, v: harmonic.edge_bars({"affine_1": v[0], "output": v[1]}, ax),
    "matrix": lambda ax, v: matrices.block_matrix(
        np.diag(v[:3]), Layout("ab", (1, 2)), Layout("ab", (1, 2)), ax
    ),
    "displacements": lambda ax, v: pinned.displacement_map(v[:9].reshape(3, 3), "abc", ax),
    "samples": lambda ax, v: report.samples(
        v, v**2, [SimpleNamespace(index=1), SimpleNamespace(index=3)], ax
    ),
    "intervals": lambda ax, v: resistance.intervals(v, v + 0.1, v + 0.3, ax),
    "by depth": lambda ax, v: scaling.by_depth([1, 2, 3], v.reshape(3, 4), ax),
    "by place": lambda ax, v: spectra.by_place({"a": v, "b": v**2}, ax),
    "face": lambda ax, v: spectra.face(v, np.multiply.outer(v, v), ("a", "b"), ax),
    "decision": lambda ax, v: training.decision(
        PLACES[:4] / 4, PLACES[:3] / 3, v.reshape(3, 4), np.c_[v, v], PLACES % 2, ax
    ),
}


def drawn(name, values, kinds):
    """Return the bytes of a picture with these values in files of some kinds."""
    gallery.style()
    fig, ax = plt.subplots(figsize=(3, 2))
    try:
        {**ARTISTS, **PICTURES}[name](ax, values)
        if name in ARTISTS and name not in WITH_TICKS:
            ax.axis("off")  # ticks take most of the time
        with gallery.laid_out(fig) as box:
            return [gallery.drawn(fig, kind, box, {}) for kind in kinds]
    finally:
        plt.close(fig)


def noisy(values):
    """Return the values with noise in the thirteenth digit, of either sign."""
    rng = np.random.default_rng(0)
    return values * (1 + 1e-13 * rng.uniform(-1, 1, 12)) + 1e-13 * rng.uniform(-1, 1, 12)


@pytest.mark.parametrize("name", [*ARTISTS, *PICTURES])
def test_a_last_digit_moves_nothing_and_the_fourth_does(name):
    kinds = ["pdf", "png"] if name in PIXELS else ["pdf"]
    plain = drawn(name, PLAIN, kinds)
    assert drawn(name, noisy(PLAIN), kinds) == plain
    other = drawn(name, PLAIN * (1 + 1e-3 * (-1) ** PLACES), ["pdf"])
    assert other != plain[:1]  # pixels may be too coarse for it


@pytest.fixture
def fig():
    """Return a figure with a legend and a label, which take room."""
    gallery.style()
    fig, ax = plt.subplots(figsize=(2.5, 2))
    ax.plot(PLAIN, label="line")
    ax.set(xlabel="step")
    ax.legend()
    yield fig
    plt.close(fig)


@pytest.fixture
def layouts(monkeypatch):
    """Return a list that grows by one for each layout."""
    found, layout = [], plt.Figure.draw_without_rendering

    def counted(fig):
        found.append(fig)
        layout(fig)

    monkeypatch.setattr(plt.Figure, "draw_without_rendering", counted)
    return found


def test_a_layout_serves_all_files_and_the_page(fig, layouts, tmp_path, monkeypatch):
    monkeypatch.setenv("SHEAFLIB_OUT", str(tmp_path))
    alone = gallery.shown(fig)
    fig.axes[0].set_xlabel("step")  # the same again, which matplotlib cannot know
    fig.numbers = {"y": PLAIN}
    gallery.save(fig, "line")
    assert gallery.shown(fig) == alone and len(layouts) == 2
    assert fig.get_layout_engine() is not None


def test_a_figure_that_changes_is_laid_out_again(fig, layouts):
    before = gallery.shown(fig)
    fig.axes[0].set_ylabel("a label that takes\nthe room of two lines")
    assert gallery.shown(fig) != before and len(layouts) == 2


def test_a_file_that_cannot_be_drawn_leaves_the_layout_to_the_next(fig):
    with pytest.raises(RuntimeError, match="no ink"), gallery.laid_out(fig):
        raise RuntimeError("no ink")
    assert fig.get_layout_engine() is not None and "draw" not in vars(fig)


def test_numbers_are_no_finer_than_a_millionth_of_what_may_differ(fig, tmp_path, monkeypatch):
    monkeypatch.setenv("SHEAFLIB_OUT", str(tmp_path))
    fig.numbers = {"near": [2.465e-17, -1e-30, 1 / 3], "far": 12345.678901234567}
    monkeypatch.setattr(index, "figure", lambda name: {"atol": 1e-4})
    gallery.save(fig, "line")
    stored = json.loads((tmp_path / "figures" / "line.json").read_text())
    assert stored["numbers"] == {"near": [0, 0, 0.3333333333], "far": 12345.6789}
    monkeypatch.setattr(index, "figure", lambda name: {"atol": 2e-12})
    gallery.save(fig, "line")
    stored = json.loads((tmp_path / "figures" / "line.json").read_text())
    assert stored["numbers"] == {"near": [2.5e-17, 0, 0.3333333333], "far": 12345.6789}
