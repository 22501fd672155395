"""Every committed figure: the numbers it plots against an oracle computed here, or against the
recorded digits.
"""

import tomllib
from functools import cache
from itertools import product

import figures_06  # noqa: F401  (its oracles register themselves)
import figures_07  # noqa: F401
import figures_08  # noqa: F401
import figures_09  # noqa: F401
import figures_10  # noqa: F401
import figures_11  # noqa: F401
import figures_12  # noqa: F401
import figures_13  # noqa: F401
import figures_14  # noqa: F401
import figures_15  # noqa: F401
import figures_images  # noqa: F401
import numpy as np
import pytest
from figure_oracles import FIGURES, ORACLES, ROOT, close, numbers, oracle
from oracles import dense_laplacian, dense_system

from sheaflib import Network, NeuralSheaf, heat
from sheaflib.companion.tasks import heat_run, paper_network
from sheaflib.sheaves import discord


def patterns(sheaf):
    return [np.array(s) for s in product((0, 1), repeat=sheaf.M)]


def at_forward(sheaf, x):
    return sheaf.forward_pattern(x)[0]


def extremes(sheaf, s):
    return np.linalg.eigvalsh(dense_laplacian(sheaf, s))[[0, -1]]


def predicted(sheaf, x):
    """Change of the log discord in a step of dt = 0.01: 2 ln(1 − dt λ₁), λ₁ from the dense
    matrix.
    """
    return 2 * np.log1p(-0.01 * extremes(sheaf, at_forward(sheaf, x))[0])


def slope(step, total, first, last):
    a, b = np.searchsorted(step, [first, last])
    return np.log(total[b] / total[a]) / (step[b] - step[a])


@cache
def states(name, n):
    """The first n states of a recorded run."""
    return [state for state, _ in zip(heat(*heat_run(name), dt=0.01), range(n))]


@cache
def dense_euler(name, n):
    """The first n + 1 states of a recorded [2,4,1] run, their patterns and discords by edge: dense
    matrices of each state's own pattern and plain Euler steps of 0.01.
    """
    run, w, path, own = heat_run(name), heat_run(name).start[0], [], []
    edges = {"affine_1": slice(4), "activation_1": slice(4, 8), "affine_2": slice(8, 9)}
    found = {edge: [] for edge in edges}
    for _ in range(n + 1):
        s = (w[:4] >= 0).astype(int)
        delta, c = dense_system(run.sheaf.network, s, run.x[0])
        e = delta @ w - c
        path.append(w)
        own.append(s)
        for edge, part in edges.items():
            found[edge].append((e[part] ** 2).sum())
        w = w - 0.01 * delta.T @ e
    return np.array(path), np.array(own), {edge: np.array(v) for edge, v in found.items()}


def index():
    with open(ROOT / "notebooks" / "index.toml", "rb") as file:
        return [name for notebook in tomllib.load(file)["notebook"] for name in notebook["figures"]]


def test_every_figure_has_an_oracle():
    assert set(index()) == set(ORACLES)
    assert {path.stem for path in FIGURES.rglob("*.json")} - {
        "ledger",
        "bench",
        "operations",
        "readers",
    } <= set(ORACLES)


@pytest.mark.parametrize("name", index())
def test_figure(name):
    ORACLES[name](numbers(name))


# 00, 01
# --------------------------------------------------------------------------------------------------


@oracle("00-map")
def _(n):
    index = tomllib.loads((ROOT / "notebooks" / "index.toml").read_text(encoding="utf-8"))
    entries = {entry["number"]: entry for entry in index["notebook"]}
    assert n["notebooks"] == {number: entry["title"] for number, entry in entries.items()}
    assert set(n["builds on"]) == set(entries) - {"00"}
    files = {number: entry["file"] for number, entry in entries.items()}
    texts = {n: (ROOT / "notebooks" / f).read_text(encoding="utf-8") for n, f in files.items()}
    for number, earlier in n["builds on"].items():
        for one in earlier:
            assert files[one] in texts[number] or files[number] in texts[one], (one, number)
    assert all(set(route) <= set(entries) for route in n["routes"].values())


@oracle("00-heat")
def _(n):
    run = heat_run("2x4x1")
    values, path = np.array(n["values"]).T, states("2x4x1", 201)
    close(values[0], run.start[0])
    close(values[:41], [path[i].cochain[0] for i in n["early"][:41]], rtol=1e-7)
    last = abs(values[-1] - run.sheaf.forward(run.x)[0]).max()
    assert last < abs(values[len(values) // 2] - run.sheaf.forward(run.x)[0]).max() / 5
    for edge, first in discord.per_edge(run.sheaf, run.start, run.x).items():
        close(n["discord"][edge][0], first[0])
    close(n["rate"], extremes(run.sheaf, at_forward(run.sheaf, run.x))[0])
    total = np.sum(list(n["discord"].values()), axis=0)
    assert slope(n["late"], total, 6000, 8000) == pytest.approx(
        predicted(run.sheaf, run.x), rel=1e-4
    )


@oracle("01-schematic-2x4x1")
def _(n):
    assert n == {
        "stalks": {"x": 2 + 4, "z1": 4, "a1": 4 + 1, "z2": 1},
        "edges": {"affine_1": 4, "activation_1": 4, "affine_2": 1},
    }


@oracle("01-residual-block")
def _(n):
    assert n == {
        "stalks": {"x": 3 + 4, "z1": 4, "a1": 4, "p": 4 + 3 + 3, "z2": 3},
        "edges": {
            "affine_1": 4,
            "activation_1": 4,
            "projection_1": 4,
            "projection_2": 3,
            "affine_2": 3,
        },
    }


@oracle("01-cnn")
def _(n):
    stalks, edges = n["stalks"], n["edges"]
    assert (stalks["a1"], stalks["a2"], stalks["z4"]) == (8 * 28 * 28, 8 * 14 * 14, 10)
    # the two max-pools
    assert (edges["activation_4"], edges["activation_5"]) == (8 * 14 * 14, 8 * 7 * 7)
    assert edges["affine_4"] == 10
    rows, columns = np.array(n["rows"]), np.array(n["columns"])
    assert (columns < rows).all() and columns.min() >= 0 and rows.max() < sum(edges.values())


@oracle("01-coboundary")
def _(n):
    network = paper_network("2x4x1", 42)
    bias = np.random.default_rng(1).normal(size=4)
    delta, s = np.array(n["delta"]), np.array(n["pattern"])
    free, given = np.r_[6:14, 15], np.r_[0:2]
    system, _ = dense_system(network, s, np.zeros(2))
    close(delta[:, free], system)
    close(delta[:4, given], -network.nodes[0].operation.weight)
    close(delta[:4, 2:6], -np.diag(bias))
    assert np.linalg.det(delta[:, free]) == pytest.approx(1, rel=1e-9)


@oracle("01-laplacian")
def _(n):
    sheaf, whole = NeuralSheaf(paper_network("2x4x1", 42)), numbers("01-coboundary")
    close(n["free"], dense_laplacian(sheaf, np.array(n["pattern"])))
    delta, free, given = np.array(whole["delta"]), np.r_[6:14, 15], np.r_[0:6, 14]
    assert n["pattern"] == whole["pattern"]
    close(n["boundary"], delta[:, free].T @ delta[:, given])


@oracle("01-path")
def _(n):
    close(n["constant"], np.arange(7) / 6)
    # resistances in series: an edge of weight ¼ takes four shares
    steps = np.array([1, 1, 4, 1, 1, 1]) / 9
    close(n["soft edge"], np.r_[0, np.cumsum(steps)])


# 02
# --------------------------------------------------------------------------------------------------


@oracle("02-triangle")
def _(n):
    rows, columns = np.array(n["rows"]), np.array(n["columns"])
    assert (columns <= rows).all() and rows.max() < n["N"]
    assert (rows == columns).sum() == n["N"]


@oracle("02-exact-pivots")
def _(n):
    low, high, some = np.array(n["low"]), np.array(n["high"]), np.array(n["some"])
    assert len(low) == 2 * 5 + 2 * 4 + 1 + 1  # the empty product, then N = 19 pivots
    close([low[-1], high[-1]], 0, atol=1e-9)  # log₂ 1
    close(some[:, -1], 0, atol=1e-9)
    assert (low <= some + 1e-8).all() and (some <= high + 1e-8).all()
    assert low.min() > -1e-9  # a leading minor is det of a Gram matrix of a unitriangular block


@oracle("02-spectra-of-all-patterns")
def _(n):
    x = heat_run("2x4x1").x
    names = {
        f"[{dims.replace('x', ',')}] seed {seed}": (dims, seed)
        for dims, seed in (
            ("2x4x1", 42),
            ("2x4x1", 7),
            ("2x6x4x1", 0),
            ("2x6x4x4x1", 0),
            ("2x6x4x4x1", 123),
        )
    }
    assert set(n["quantiles"]) == set(names)
    for name, (dims, seed) in names.items():
        sheaf, (low, high) = NeuralSheaf(paper_network(dims, seed)), np.array(n["quantiles"][name])
        close(n["forward"][name], extremes(sheaf, at_forward(sheaf, x)))
        assert (low < 1).all() and (high > 1).all() and high.max() <= n["bounds"][name]
        if sheaf.M == 4:
            found = np.array([extremes(sheaf, s) for s in patterns(sheaf)])
            close([low, high], np.quantile(found, np.linspace(0, 1, 41), axis=0).T)


@oracle("02-random-networks")
def _(n):
    low, high = n["log10 low"], n["log10 high"]
    for kind in low:  # det L = 1: the eigenvalues lie on both sides of 1
        assert max(low[kind]) <= 1e-9 and min(high[kind]) >= -1e-9


@oracle("02-cube")
def _(n):
    face, s = np.array(n["face"]), np.array(n["s"])
    close(s, np.linspace(0, 1, 25))
    sheaf = NeuralSheaf(paper_network("2x4x1", 42))
    known = np.array([extremes(sheaf, p)[0] for p in patterns(sheaf)])
    for corner in face[[0, 0, -1, -1], [0, -1, 0, -1]]:
        assert abs(known - corner).min() < 1e-8
    assert face.min() > 0 and face.max() < 1
    assert min(min(v) for v in n["quantiles"].values()) > 0
    deep = NeuralSheaf(paper_network("2x6x4x4x1", 123))
    vertices = [extremes(deep, p)[0] for p in patterns(deep)[::64]]
    assert min(vertices) >= n["quantiles"]["vertices"][0] * (1 - 1e-8)
    assert max(vertices) <= n["quantiles"]["vertices"][-1] * (1 + 1e-8)


# 03
# --------------------------------------------------------------------------------------------------


def energy(sheaf, x, w):
    """V by the dense matrices of the pattern of w."""
    delta, c = dense_system(sheaf.network, sheaf.pattern(w[None], x)[0], x[0])
    return 0.5 * ((delta @ w - c) ** 2).sum()


@oracle("03-energy")
def _(n):
    run, plane = heat_run("2x4x1"), np.array(n["plane"])
    forward = run.sheaf.forward(run.x)[0]
    for i, j in ((0, 0), (5, 11), (15, 20), (8, 3)):
        w = forward.copy()
        w[2], w[6] = n["z"][j], n["a"][i]
        close(plane[i, j], energy(run.sheaf, run.x, w))
    lines, t = np.array(n["lines"]), np.array(n["t"])
    close(lines[:, t == 0], 0, atol=1e-20)
    assert (np.delete(lines, np.flatnonzero(t == 0), axis=1) > 0).all()


@oracle("03-three-cochains")
def _(n):
    run = heat_run("2x6x4x4x1")
    close(n["cochains"]["forward pass"], run.sheaf.forward(run.x)[0])
    for name, w in n["cochains"].items():
        delta, c = dense_system(run.sheaf.network, run.sheaf.pattern([w], run.x)[0], run.x[0])
        squares = (delta @ w - c) ** 2
        for edge in run.sheaf.edges:
            close(n["discord"][name][edge.name], squares[edge.rows].sum(), rtol=1e-7)


@oracle("03-wrong-patterns")
def _(n):
    run = heat_run("2x4x1")
    own = at_forward(run.sheaf, run.x)
    for s, v in zip(np.array(n["patterns"]), n["energy"]):
        delta, c = dense_system(run.sheaf.network, s, run.x[0])
        close(v, energy(run.sheaf, run.x, np.linalg.solve(delta, c)))
        assert (v < 1e-20) == (s == own).all()
    assert len({tuple(s) for s in n["patterns"]}) == 16
    assert ((np.array(n["units"]) == 0) == (np.array(n["deep energy"]) < 1e-20)).all()


@oracle("03-sensitivities")
def _(n):
    run = heat_run("2x6x4x4x1")
    s = at_forward(run.sheaf, run.x)
    delta, _ = dense_system(run.sheaf.network, s, run.x[0])
    close(n["values"], run.sheaf.forward(run.x)[0])
    close(n["sensitivities"], np.linalg.solve(delta.T, np.eye(run.sheaf.N)[-1]))
    assert len(n["inactive"]) == (s == 0).sum() and max(np.array(n["values"])[n["inactive"]]) < 0


@oracle("03-lambda-1")
def _(n):
    layers, rates = np.array(n["layers"]), np.array(n["by substitution"])
    close(rates[0], 1)
    for depth, column in ((2, 0), (6, 3), (12, 0)):
        rng = np.random.default_rng(column)
        sheaf, x = NeuralSheaf(Network.he([8] * (depth + 1), rng)), rng.standard_normal((1, 8))
        close(rates[depth - 1, column], extremes(sheaf, at_forward(sheaf, x))[0])
    for depth, rate in n["dense"]:
        close(rates[layers == depth, 0], rate)


# 04
# --------------------------------------------------------------------------------------------------


@oracle("04-graph-in-time")
def _(n):
    close(n["time"], [0, 1, 5, 20])
    _, own, found = dense_euler("2x4x1", 2000)
    steps = [0, 100, 500, 2000]
    assert n["pattern"] == own[steps].tolist()
    assert set(n["discord"]) == set(found)
    for edge, values in n["discord"].items():
        close(values, found[edge][steps], rtol=1e-7)


@oracle("04-switch")
def _(n):
    path, own, found = dense_euler("fig6", 60)
    assert n["step"] == [49, 50] and (own[:50] == own[0]).all()  # the first switch of all
    assert n["pattern"] == own[[49, 50]].tolist()
    assert np.flatnonzero(own[49] != own[50]).tolist() == [n["unit"]]
    close(n["z"], path[[49, 50], n["unit"]], rtol=1e-7)
    close(n["discord"], np.sum(list(found.values()), axis=0)[[49, 50]], rtol=1e-7)


@oracle("04-recorded-runs")
def _(n):
    for name, end, late in (("2x4x1", 8592, (5000, 8000)), ("2x6x4x4x1", 67557, (30_000, 60_000))):
        run, step, total = heat_run(name), n[f"{name}-step"], n[f"{name}-discord"]
        assert step[-1] == end
        close(total[0], discord.total(run.sheaf, run.start, run.x)[0])
        assert slope(step, total, *late) == pytest.approx(predicted(run.sheaf, run.x), rel=1e-4)
    assert total[-1] < 1e-15 and n["2x4x1-discord"][-1] == pytest.approx(9.28e-20, abs=0.005e-20)
    switches = n["2x6x4x4x1-switches"]
    assert (len(switches), switches[-1]) == (47, 20303)


@oracle("04-fig-6")
def _(n):
    run, path = heat_run("fig6"), states("fig6", 201)
    assert n["switches"] == [50, 65]
    assert sum(n[e][0] for e in ("affine_1", "activation_1", "affine_2")) == pytest.approx(
        10.30, abs=0.005
    )
    z1 = np.array(n["z1"])
    shown = [i for i, step in enumerate(n["step"]) if step <= 200]
    close(z1[:, shown].T, [path[n["step"][i]].cochain[0, :4] for i in shown], rtol=1e-7)
    for edge in ("affine_1", "activation_1", "affine_2"):
        close(n[edge][0], discord.per_edge(run.sheaf, run.start, run.x)[edge][0])


@oracle("04-lyapunov")
def _(n):
    run = heat_run("2x4x1")
    time, V, bound = (np.array(n[key]) for key in ("time", "V", "bound"))
    mu = min(extremes(run.sheaf, s)[0] for s in patterns(run.sheaf))
    close(V[0], energy(run.sheaf, run.x, run.start[0]))
    close(bound, V[0] * np.exp(-2 * mu * time), rtol=1e-7)
    assert (V <= bound * (1 + 1e-9)).all()


@oracle("04-sliding")
def _(n):
    step, sample, unit = n["switches"]
    slide = [t for t, u in zip(step, unit) if u == np.bincount(unit).argmax() and t >= 90]
    # all but the last, at 20303
    assert (len(step), set(sample), len(slide), min(slide), max(slide)) == (46, {0}, 39, 94, 148)
    run, path = heat_run("2x6x4x4x1"), states("2x6x4x4x1", 201)
    place = run.sheaf.layout["z3"].start
    close(n["z"], [state.cochain[0, place] for state in path], rtol=1e-7)
    coarse, fine = (
        np.ptp(part)
        for part in (
            np.array(n["z"])[110:145],
            np.array(n["fine-z"])[
                (np.array(n["fine-time"]) > 1.1) & (np.array(n["fine-time"]) < 1.45)
            ],
        )
    )
    assert fine < coarse / 3


@oracle("04-fig-e1")
def _(n):
    run = heat_run("sigmoid")
    for edge, first in discord.per_edge(run.sheaf, run.start, run.x).items():
        close(n[edge][0], first[0])
    close(n["a_out"][0], run.start[0, -1])
    close(n["phi"][0], 1 / (1 + np.exp(-run.start[0, -2])))
    assert n["step"][-1] == 62_500
    # six recorded digits, and what the cap leaves
    close([n["a_out"][-1], n["phi"][-1]], 0.703263, atol=5e-6, rtol=0)
    z, s = run.sheaf.forward(run.x)[0, -1], at_forward(run.sheaf, run.x)
    delta, _ = dense_system(run.sheaf.network, s, run.x[0])
    p = 1 / (1 + np.exp(-z))
    augmented = np.block(
        [[delta, np.zeros((len(delta), 1))], [np.zeros((1, len(delta) - 1)), -p * (1 - p), 1]]
    )
    total = np.sum([n[e.name] for e in run.sheaf.edges], axis=0)
    rate = np.linalg.eigvalsh(augmented.T @ augmented)[0]
    assert slope(n["step"], total, 50_000, 62_500) == pytest.approx(
        2 * np.log1p(-0.01 * rate), rel=1e-4
    )


@oracle("04-fig-e2")
def _(n):
    rng = np.random.default_rng(0)
    for widths in ("2x4x1", "2x6x4x1", "2x6x4x4x1"):
        sheaf = NeuralSheaf(paper_network(widths, 0))
        start, z = 2 * rng.standard_normal((6, sheaf.N)), sheaf.layout[sheaf.layout.names[-3]].start
        rest = sheaf.forward([[1.0, 0.5]])[0, z : z + 2]
        for i in range(6):
            path = np.array(n[f"{widths}-path-{i}"])
            close(path[0], start[i, z : z + 2])
            assert np.linalg.norm(path[-1] - rest) < np.linalg.norm(path[0] - rest)


@oracle("04-any-start")
def _(n):
    sheaf = NeuralSheaf(paper_network("2x6x4x1", 0))
    inverse, time = np.array(n["inverse-rate"]), np.array(n["time"])
    known = np.array([1 / extremes(sheaf, s)[0] for s in patterns(sheaf)])
    assert all(abs(known / value - 1).min() < 1e-8 for value in inverse)
    law = np.log(1e12) * inverse  # from an error of 1 to max|Δ| < 1e-12, but for the factor dt λ₁
    assert ((0.5 * law < time) & (time < 1.5 * law)).all()


# 05
# --------------------------------------------------------------------------------------------------


@oracle("05-pin-as-edge")
def _(n):
    assert n == {"soft": ["z1", "gamma 10"], "hard": ["z1[0]"]}


@oracle("05-soft-to-hard")
def _(n):
    run, gamma = heat_run("2x4x1"), np.array(n["gamma"])
    c = run.sheaf.forward(run.x)[0, 0]
    close(n["z1_0"], c / (1 + gamma), atol=1e-8)
    close(n["z1_0"], [0.364632, 0.200548, 0.036463, 0.003971], rtol=0, atol=5e-7)
    # no biases: downstream is homogeneous
    close(n["output"], run.sheaf.network(run.x)[0, 0] / (1 + gamma), atol=1e-8)
    close(n["output"], [1.162022, 0.639112, 0.116202, 0.012656], rtol=0, atol=5e-7)
    stiff, gap = np.array(n["stiff"]), np.array(n["gap"])
    assert (np.diff(gap) < 0).all()
    assert np.polyfit(np.log(stiff[10:20]), np.log(gap[10:20]), 1)[0] == pytest.approx(-1, abs=0.01)


@oracle("05-upstream")
def _(n):
    moved = np.array(n["moved"])
    assert n["stalks"] == list(heat_run("2x6x4x4x1").sheaf.layout.names)
    close(np.diag(moved), 1)
    assert moved[1, 0] > 0.01 and moved[2, 0] > 0.01 and moved[2, 1] > 0.01
    # z1 pinned: nothing is upstream but x, the rest is a forward pass from z1 + 1
    run = heat_run("2x6x4x4x1")
    nodes, forward = run.sheaf.network.nodes, run.sheaf.forward(run.x)[0]
    a, expected = forward[:6] + 1, [1.0]
    for node in nodes[1:]:
        a = np.maximum(a, 0) if node.operation.kind != "affine" else node.operation.weight @ a
        expected.append(np.sqrt(np.mean((a - forward[run.sheaf.layout[node.name]]) ** 2)))
    close(moved[0], expected, rtol=1e-7, atol=0)


@oracle("05-pinned-rate")
def _(n):
    sheaf = heat_run("2x4x1").sheaf
    all_dense = [dense_laplacian(sheaf, s) for s in patterns(sheaf)]
    close(n["none"], [np.linalg.eigvalsh(L)[0] for L in all_dense])
    for i in range(sheaf.N):
        rates = np.array(n[sheaf.layout.label(i)])
        close(
            rates, [np.linalg.eigvalsh(np.delete(np.delete(L, i, 0), i, 1))[0] for L in all_dense]
        )
        assert (rates >= np.array(n["none"]) - 1e-9).all()


@oracle("05-two-equilibria")
def _(n):
    close(n["active"], [1 / 3, 7 / 6, 25 / 24], atol=1e-8)
    close(n["inactive"], [-1 / 2, 1, 1], atol=1e-8)
    assert (n["z"][0], n["z"][-1], n["a"][0], n["a"][-1]) == (-1.5, 1.5, -0.5, 2.2)
