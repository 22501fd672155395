"""The oracles of notebook 08's figures: rates from dense spectra, an independent event-driven
integration, dense faces, dense gradients.
"""

from functools import cache
from itertools import product

import numpy as np
from figure_oracles import close, oracle
from oracles import dense_laplacian, dense_system
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar

from sheaflib import Network, hard
from sheaflib.companion import ladder
from sheaflib.companion.record import gallery
from sheaflib.companion.tasks import heat_run
from sheaflib.equilibria.newton import equilibrium
from sheaflib.sheaves import discord

PAPER, BEST = "prox-Euler, the authors' dt", "prox-Euler, best step"
NAMES = {
    PAPER: "prox-euler, paper's dt",
    BEST: "prox-euler, best step",
    "Chebyshev": "chebyshev",
    "implicit Euler": "implicit-euler",
}
SMALL = 1e-8  # the accuracy of the ladder
SOME = list(range(0, 300, 30))  # samples whose equilibria are found again


# dense sides
# --------------------------------------------------------------------------------------------------


def kinked(layout):
    """Where a chain's ReLUs read: the hidden z, (K,), and the a that reads each of them."""
    hidden = [name for name in layout.names if name[0] == "z"][:-1]
    z = np.concatenate([np.arange(layout[name].start, layout[name].stop) for name in hidden])
    a = np.concatenate(
        [np.arange(layout["a" + name[1:]].start, layout["a" + name[1:]].stop) for name in hidden]
    )
    return z, a


def stationary(sheaf, w, x, tol=1e-9):
    """Whether w (N,), its last coordinate clamped, is a strict minimum: no force off the corners,
    Q₋ ≥ 0 ≥ Q₊ = Q₋ + a at them.
    """
    z, a = kinked(sheaf.layout)
    delta, c = dense_system(sheaf.network, w[z] >= 0, x)
    stress = delta @ w - c
    g, corner = delta.T @ stress, w[z] == 0
    u = w[z] - stress[z]
    g[-1], g[z[corner]] = 0, 0
    return (
        abs(g).max() < tol * (1 + abs(w).max())
        and (u[corner] >= 0).all()
        and (u[corner] + w[a[corner]] <= 0).all()
    )


def slowest(sheaf, w):
    """λ₁ of the pieces at w (N,) and its mode on the coordinates that are free, with the corners
    and the output held.
    """
    z, _ = kinked(sheaf.layout)
    held = np.r_[z[w[z] == 0], len(w) - 1]
    free = np.delete(np.arange(len(w)), held)
    values, modes = np.linalg.eigh(
        dense_laplacian(sheaf, (w[z] >= 0).astype(float))[np.ix_(free, free)]
    )
    mode = np.zeros(len(w))
    mode[free] = modes[:, 0]
    return values[0], mode


def largest(sheaf):
    """The bound of λ_max of a chain: (1 + the largest norm of a weight, or 1)²."""
    weights = [node.operation.weight for node in sheaf.network.affine_nodes]
    return (1 + max(1, *(np.linalg.norm(W, 2) for W in weights[1:]))) ** 2


@cache
def ends(widths):
    """The ladder's problem, and for its first 100 samples: λ₁ where minimising movements end from
    its start, and how far the slowest mode has to fall.
    """
    sheaf, x, _, start, _ = ladder.problem(widths, ladder.SIZES[widths], samples=100)
    end = ladder.movements(widths, ladder.SIZES[widths], samples=100).end
    assert all(stationary(sheaf, w, one) for w, one in zip(end, x))
    rates, modes = (np.array(part) for part in zip(*(slowest(sheaf, w) for w in end)))
    far = abs(((start - end) * modes).sum(axis=1)) * abs(modes).max(axis=1)
    return sheaf, rates, np.log(np.maximum(far, 10 * SMALL) / SMALL)


@oracle("08-ladder")
def _(figure):
    passes, clock = figure["passes"], figure["microseconds"]
    plain = "Euler, best step, where it arrives"
    assert set(passes) == set(clock) == {*NAMES, "Newton", plain} and clock[plain] == {}
    rows = gallery.bench()
    for size, name_shown, batch in [
        *((size, size, 300) for size in ladder.SIZES),
        (ladder.DEEP, "10 hidden layers of 50", 1),
    ]:
        known = {
            name: rows[row]
            for name, theirs in NAMES.items()
            if (row := f"equilibrium {size}: newton / {theirs}") in rows
        }
        for name in NAMES:
            assert (name_shown in clock[name]) == (name in known)
            if name in known:
                close(clock[name][name_shown], known[name]["theirs_us"] / batch)
        if known:
            assert any(
                abs(clock["Newton"][name_shown] / (row["ours_us"] / batch) - 1) < 1e-8
                for row in known.values()
            )
    for size in ladder.SIZES:  # Euler and prox-Euler differ at the kinks alone
        assert 0.5 < passes[plain][size] / passes[BEST][size] < 1.5
    for size in ladder.SIZES:
        sheaf, rates, fall = ends(size)
        bound, paid = largest(sheaf), {name: row[size] for name, row in passes.items()}
        # the slowest mode falls by 1 − dt λ₁ a step of two passes
        for name, dt in ((PAPER, 0.01), (BEST, 1.9 / bound)):
            assert 0.95 < paid[name] / np.mean(-2 * fall / np.log1p(-dt * rates)) < 1.3
        assert 1 < paid["Chebyshev"] / np.mean(np.sqrt(bound / rates) * (np.log(2) + fall)) < 2
        # by 1 + dt λ₁ a step
        assert (
            4 < paid["implicit Euler"] / np.mean(fall / np.log1p(10 * rates)) < 2 * (sheaf.N + 10)
        )
        some = ladder.climb(size, "implicit-euler", ladder.SIZES[size], samples=10)
        assert 0.75 < paid["implicit Euler"] / some.passes.mean() < 1.33
        assert paid["Newton"] < paid["Chebyshev"] < paid[BEST] < paid[PAPER]
        sheaf, x, pin, start, _ = ladder.problem(size, ladder.SIZES[size], samples=100)
        found = equilibrium(sheaf, x, pins=pin, start=start)
        assert all(stationary(sheaf, w, one) for w, one in zip(found.cochain, x))
        # as documented: these, and from 1 to 5 each time that a sample is looked at coordinate by
        # coordinate
        steps_paid, looks = 2 + 2 * found.iterations + 2 * found.cg, found.iterations + 1
        assert (steps_paid + 1).mean() <= paid["Newton"] <= (steps_paid + 5 * looks).mean()
        close(paid["Newton"], found.passes.mean(), rtol=0.02)
        for climb in (
            some,
            *(
                ladder.climb(size, method, ladder.SIZES[size], samples=4)
                for method in ("prox-euler", "chebyshev")
            ),
        ):
            assert climb.reached.all() and all(
                stationary(sheaf, w, one) for w, one in zip(climb.end, x)
            )
    paid = {
        name: row["10 hidden layers of 50"]
        for name, row in passes.items()
        if name not in (PAPER, "implicit Euler", plain)
    }
    sheaf, x, pin, start, _ = ladder.problem(ladder.DEEP, 1, "forward", 2, True)
    found = equilibrium(sheaf, x, pins=pin, start=start)
    assert all(stationary(sheaf, w, one) for w, one in zip(found.cochain, x))
    close(paid["Newton"], found.passes.mean(), rtol=0.05)
    # near the flow's end, if not there
    rates = np.array([slowest(sheaf, w)[0] for w in found.cochain])
    kappa = largest(sheaf) / rates
    assert 0.7 < paid[BEST] / np.mean(-2 * np.log(1 / SMALL) / np.log1p(-1.9 / kappa)) < 1.4
    # it begins anew as pieces change
    assert 0.7 < paid["Chebyshev"] / np.mean(np.sqrt(kappa) * np.log(2 / SMALL)) < 3
    assert paid["Newton"] < paid["Chebyshev"] / 10 < paid[BEST] / 100


# the smallest pinned network
# --------------------------------------------------------------------------------------------------


def pinned_energy(z, u, y):
    """V of x → z → a → output at z, u sent by the input, the output pinned to y: the lowest over a,
    found by a general minimiser.
    """

    def energy(a):
        return 0.5 * (z - u) ** 2 + 0.5 * (max(z, 0) - a) ** 2 + 0.5 * (y - a) ** 2

    return minimize_scalar(energy, bracket=(-5, 5), tol=1e-12).fun


@oracle("08-two-labels")
def _(figure):
    z, cases = np.array(figure["z"]), figure["cases"]
    assert cases == [[-0.5, 2.0], [0.5, -2.0]]
    for (u, y), curve in zip(cases, figure["energy"]):
        minima = figure["minima"][f"label {y:g}"]
        V = np.array([pinned_energy(at, u, y) for at in z])
        close(curve, V)
        inside = np.flatnonzero((V[1:-1] < V[:-2]) & (V[1:-1] < V[2:])) + 1
        close(minima, z[inside], rtol=0, atol=z[1] - z[0])
        for at in minima:
            here = pinned_energy(at, u, y)
            assert all(pinned_energy(at + step, u, y) > here for step in (-1e-4, 1e-4))
    assert {name: len(minima) for name, minima in figure["minima"].items()} == {
        "label 2": 2,
        "label -2": 1,
    }


# the recorded run that slides
# -------------------------------------------------------------------------------------------------


class Run:
    """The recorded [2,6,4,4,1] run by dense matrices alone."""

    def __init__(self):
        run = heat_run("2x6x4x4x1")
        self.network = run.sheaf.network
        self.layout = run.sheaf.layout
        self.x = run.x[0]
        self.start = run.start[0]
        self.z, self.a = kinked(run.sheaf.layout)

    def pieces(self, side):
        """δ and c of a pattern (K,)."""
        return dense_system(self.network, side.astype(float), self.x)

    def carried(self, w):
        """What the edges carry into the kinked z: (K,)."""
        delta, c = self.pieces(w[self.z] >= 0)
        return (w - delta @ w + c)[self.z]


@cache
def filippov(until=210.0):
    """The flow by a general integrator, event by event: [(time, unit, kind)], and the pieces (from,
    to, w(t), sides, slides).
    """
    run = Run()
    w, t, events, pieces = run.start.copy(), 0.0, [], []
    side, slide = w[run.z] >= 0, np.zeros(len(run.z), dtype=bool)
    while t < until:
        delta, c = run.pieces(side)
        free = np.ones(len(w))
        free[run.z[slide]] = 0
        H, b = free[:, None] * (delta.T @ delta), free * (delta.T @ c)

        def distance(t, w, k):
            u = (w - delta @ w + c)[run.z[k]]
            return (
                min(u, -u - w[run.a[k]]) if slide[k] else (w[run.z[k]] if side[k] else -w[run.z[k]])
            )

        watched = [lambda t, w, k=k: distance(t, w, k) for k in range(len(run.z))]
        for function in watched:
            function.terminal, function.direction = True, -1
        part = solve_ivp(
            lambda t, w: b - H @ w,
            (t, until),
            w,
            method="DOP853",
            rtol=1e-11,
            atol=1e-13,
            events=watched,
            dense_output=True,
        )
        pieces.append((t, part.t[-1], part.sol, side.copy(), slide.copy()))
        t, w = part.t[-1], part.y[:, -1].copy()
        if part.status == 0:
            break
        k = next(k for k, times in enumerate(part.t_events) if len(times))
        w[run.z[k]] = 0
        u = run.carried(w)[k]
        if slide[k]:
            # the force that has come to zero
            slide[k], side[k] = (False, abs(u + w[run.a[k]]) < abs(u))
            kind = f"leaves {'up' if side[k] else 'down'}"
        elif u > 0 > u + w[run.a[k]]:
            slide[k], kind = True, "slides"
        else:
            side[k] = not side[k]
            kind = f"crosses {'up' if side[k] else 'down'}"
        events.append((t, run.layout.label(run.z[k]), kind))
    return events, pieces


def steps(n, dt, prox):
    """n steps of Euler, or of prox-Euler by trying the candidates of each unit's minimum, in plain
    NumPy: cochains (n + 1, N).
    """
    run = Run()
    w, path, systems = run.start.copy(), [run.start.copy()], {}
    for _ in range(n):
        side = w[run.z] >= 0
        key = side.tobytes()
        if key not in systems:
            delta, c = run.pieces(side)
            systems[key] = delta.T @ delta, delta.T @ c
        H, b = systems[key]
        new = w + dt * (b - H @ w)
        if prox:
            a, z = w[run.a], w[run.z]
            explicit = new[run.z] - dt * np.where(side, a - z, 0)  # without the edges that read z
            up, down = np.maximum((explicit + dt * a) / (1 + dt), 0), np.minimum(explicit, 0)
            new[run.z] = np.where(side, np.where(up > 0, up, down), np.where(down < 0, down, up))
        w = new
        path.append(w)
    return np.array(path)


def changes(path):
    z, _ = kinked(Run().layout)
    return int((np.diff(path[:, z] >= 0, axis=0)).sum())


@oracle("08-kink")
def _(figure):
    events, pieces = filippov()
    unit, begin = next((unit, t) for t, unit, kind in events if kind == "slides")
    end = next(t for t, name, kind in events if name == unit and kind.startswith("leaves"))
    close(figure["slide"], [begin, end], rtol=0, atol=1e-7)
    close(figure["slide"], [0.9015, 1.5833], rtol=0, atol=5.1e-5)
    run, times = Run(), np.array(figure["time"])
    place = next(k for k in run.z if run.layout.label(k) == unit)
    close(times, np.linspace(0.7, 1.8, 600))
    for start, stop, solution, _, _ in pieces:
        here = (times >= start) & (times < stop)
        if here.any():
            close(np.array(figure["exact"])[here], solution(times[here])[place], rtol=0, atol=1e-8)
    held = (times > begin) & (times < end)
    assert (np.array(figure["exact"])[held] == 0).all() and held.sum() > 300
    for name, prox in (("euler", False), ("prox-euler", True)):
        close(figure[name], steps(180, 0.01, prox)[:, place], rtol=0, atol=1e-9)
    held = slice(round(begin / 0.01) + 3, round(end / 0.01) - 3)
    assert (np.array(figure["prox-euler"])[held] == 0).all() and np.ptp(
        figure["euler"][held]
    ) > 1e-3


@oracle("08-events")
def _(figure):
    events, pieces = filippov()
    time, unit, kind = zip(*events)
    assert figure["unit"] == list(unit) and figure["kind"] == list(kind)
    close(figure["time"], time, rtol=0, atol=1e-5)  # the last one falls flat on its kink
    run, (_, stop, solution, side, slide) = Run(), pieces[-1]
    delta, c = run.pieces(side)
    values, modes = np.linalg.eigh(delta.T @ delta)
    rest = np.linalg.solve(delta, c)
    share = abs((modes * (modes.T @ (solution(stop) - rest)))[run.z]).sum(axis=1)
    # no event comes after
    assert (
        not slide.any() and ((rest[run.z] >= 0) == side).all() and (share < abs(rest[run.z])).all()
    )
    states = np.array([side | slide for start, _, _, side, slide in pieces if start <= 100])
    assert figure["flow"] == (states[1:] != states[:-1]).sum() == 8
    assert figure["dt"] == [0.01, 0.001, 0.0001]
    assert figure["euler"] == [46, 416, 4096] and figure["prox-euler"] == [8, 8, 8]  # recorded
    assert [changes(steps(10_000, 0.01, prox)) for prox in (False, True)] == [
        figure["euler"][0],
        figure["prox-euler"][0],
    ]
    # later ones are the flow's
    assert changes(steps(5000, 0.001, False)) == figure["euler"][1] - sum(
        5 < t <= 100 for t in time
    )


# many equilibria
# --------------------------------------------------------------------------------------------------


def draws(seed=0, toys=1000, listed=200):
    """The networks that the notebook counts, in the order of its generator: (dims, sheaf, x,
    label).
    """
    rng = np.random.default_rng(seed)

    def toy(dims):
        network, x = Network.he(dims, rng), rng.standard_normal((1, 2))
        return network, x[0], network(x)[0, 0] + rng.uniform(-3, 3)

    for _ in range(toys):
        network, _, _ = toy([2, 6, 1])
        rng.standard_normal((1, sum(node.operation.n_out for node in network.nodes)))
    return {
        dims: [toy([int(n) for n in dims.split("x")]) for _ in range(listed // 2)]
        for dims in ("2x6x1", "2x4x4x1")
    }


def minima(network, x, label):
    """How many faces hold a strict minimum of V: one dense system for each of the 3^K."""
    ends = np.cumsum([node.operation.n_out for node in network.nodes])
    blocks = {
        node.name: np.arange(end - node.operation.n_out, end)
        for node, end in zip(network.nodes, ends)
    }
    hidden = [name for name in blocks if name[0] == "z"][:-1]
    z = np.concatenate([blocks[n] for n in hidden])
    a = np.concatenate([blocks["a" + n[1:]] for n in hidden])
    K, N, count = len(z), ends[-1], 0
    faces = np.array(list(product((-1, 0, 1), repeat=K)))
    for up in np.unique(faces > 0, axis=0):
        delta, c = dense_system(network, up.astype(float), x)
        mine = faces[((faces > 0) == up).all(axis=1)]
        held = np.zeros((len(mine), N), dtype=bool)
        held[:, z], held[:, -1] = mine == 0, True
        value = np.where(np.arange(N) == N - 1, label, 0.0)
        H = np.where(held[:, :, None] | held[:, None, :], np.eye(N), delta.T @ delta)
        b = np.where(held, value, delta.T @ (c - delta @ value))
        w = np.linalg.solve(H, b[..., None])[..., 0]
        u = (w - w @ delta.T + c)[:, z]
        corner = (u >= 0) & (u + w[:, a] <= 0)
        count += (np.where(mine == 0, corner, np.sign(w[:, z]) == mine)).all(axis=1).sum()
    return count


@oracle("08-multiplicity")
def _(figure):
    for dims, nets in draws().items():
        found = figure[f"enumerated-{dims}"]
        assert len(found) == 100 and min(found) >= 1
        chosen = range(0, 100, 5 if dims == "2x6x1" else 50)
        assert [found[i] for i in chosen] == [minima(*nets[i]) for i in chosen]
    for size, seed in ladder.SIZES.items():
        found = np.array(figure[f"sampled-{size}"])
        assert found.shape == (300,) and found.min() >= 1 and found.max() <= 51
        sheaf, x, pin, start, _ = ladder.problem(size, seed)
        rng, points, value = np.random.default_rng(0), [[] for _ in SOME], pin.value[SOME]
        for begin in [start, *(3 * rng.standard_normal((50, *start.shape)))]:
            for known, w, one in zip(
                points,
                equilibrium(sheaf, x[SOME], pins=hard(pin.stalk, value), start=begin[SOME]).cochain,
                x[SOME],
            ):
                if all(abs(w - other).max() > 1e-5 * (1 + abs(w).max()) for other in known):
                    assert stationary(sheaf, w, one)
                    known.append(w)
        assert [len(known) for known in points] == found[SOME].tolist()
    assert np.mean(figure["sampled-2x30x1"]) < np.mean(figure["sampled-2x12x8x6x1"])


@oracle("08-discord-by-start")
def _(figure):
    size = "2x12x8x6x1"
    by_edge, energy = figure["discord"], figure["energy"]
    assert list(by_edge) == list(energy) == ["forward", "forward, lower side", "lowest of 51"]
    for name in energy:
        close(energy[name], sum(by_edge[name].values()) / 2)
    assert energy["lowest of 51"] < energy["forward, lower side"] < energy["forward"]
    sheaf, x, pin, start, _ = ladder.problem(size, ladder.SIZES[size])
    few = equilibrium(sheaf, x, pins=pin, start=start).others(4).lowest
    for name, w in (
        ("forward", equilibrium(sheaf, x, pins=pin).cochain),
        ("forward, lower side", equilibrium(sheaf, x, pins=pin, mode="global").cochain),
        ("lowest of 51", few),
    ):
        assert all(stationary(sheaf, *pair) for pair in zip(w, x))
        V = np.array(
            [
                0.5 * ((delta @ v - c) ** 2).sum()
                for v, one in zip(w, x)
                for delta, c in [dense_system(sheaf.network, v[kinked(sheaf.layout)[0]] >= 0, one)]
            ]
        )
        if w is few:
            assert energy[name] < V.mean()  # the first four starts are among the fifty
        else:
            close(energy[name], V.mean(), rtol=1e-7)
            for edge, mean in by_edge[name].items():
                close(mean, discord.per_edge(sheaf, w, x)[edge].mean(), rtol=1e-7)
