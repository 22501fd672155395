"""An explorer in a browser, driven as a reader drives it: its numbers are those of sheaflib."""

import re
import struct
import zlib
from base64 import b64encode
from itertools import islice

import numpy as np
import pytest

from sheaflib import (
    Affine,
    Clamp,
    MaxPool,
    Network,
    NeuralSheaf,
    PReLU,
    ReLU,
    Stack,
    equilibrium,
    explore,
    hard,
    heat,
    layers,
    relax,
    soft,
)
from sheaflib.companion import tasks
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.linear import spectrum
from sheaflib.plots.explore import SCRIPT, STYLESHEET
from sheaflib.sheaves import discord

RUNS = ("2x4x1", "2x6x4x4x1")
WIDTHS = {"wide": 1280, "column": 760, "narrow": 690, "phone": 390}


def dot():
    """A PNG of one pixel, as an address."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")
    whole = bytes([137]) + b"PNG\r\n\x1a\n" + parts
    return f"data:image/png;base64,{b64encode(whole).decode()}"


def recorded(name, dt=0.01):
    """One of the authors' runs, and its explorer."""
    sheaf, x, start = tasks.heat_run(name)
    return sheaf, x, start, explore(sheaf, x, start=start, dt=dt)


def state(page, which=0):
    """The whole state of an explorer; a number that is infinite or none comes as text."""
    return page.evaluate(
        "which => document.querySelectorAll('.sheaf-explorer')[which].explorer.state", which
    )


def advance(page, n, which=0):
    page.evaluate(
        "([which, n]) => document.querySelectorAll('.sheaf-explorer')[which].explorer.advance(n)",
        [which, n],
    )


def settle(page):
    """Take steps until none moves anything by more than rounding."""
    page.evaluate(
        "() => { const { explorer } = document.querySelector('.sheaf-explorer');"
        " for (let k = 0; k < 100 && explorer.state.change > 1e-14; k++) explorer.advance(1000); }"
    )
    assert state(page)["change"] <= 1e-14


def put(page, label, value):
    """Move a slider, as a drag does."""
    page.get_by_label(label, exact=True).fill(repr(value))


def click(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def says_play(page):
    """Whether the first button says "Play", as it does while nothing plays."""
    return page.locator("[name=play]").inner_text() == "Play"


def close(found, expected, relative=1e-9):
    """Equal, relative to the largest number of what is expected."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= relative * np.abs(expected).max(initial=0)


def is_at(shown, sheaf, x, w):
    """What an explorer shows is the state w (1, N) of a sheaf, with all that belongs to it."""
    close(shown["x"], x[0])
    close(shown["w"], w[0])
    close(shown["forward"], sheaf.forward(x)[0])
    pattern = sheaf.pattern(w, x)
    assert shown["pattern"] == pattern[0].astype(int).tolist()
    squares = {name: d[0] for name, d in discord.per_edge(sheaf, w, x).items()}
    assert list(shown["discord"]) == list(squares)
    close(list(shown["discord"].values()), list(squares.values()), 2e-9)
    close([shown["total"]], discord.total(sheaf, w, x), 2e-9)


# The recorded runs
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_the_recorded_start_goes_the_way_of_heat(opened, name):
    sheaf, x, start, shown = recorded(name)
    page = opened(shown.html())
    states = list(islice(heat(sheaf, x, start, dt=0.01), 4001))
    is_at(state(page), sheaf, x, start)
    click(page, "Step")
    is_at(state(page), sheaf, x, states[1].cochain)
    advance(page, 99)
    is_at(state(page), sheaf, x, states[100].cochain)
    for _ in range(9):
        click(page, "100 steps")
    is_at(state(page), sheaf, x, states[1000].cochain)
    advance(page, 3000)
    found = state(page)
    assert found["step"] == 4000 and found["refused"] == ""
    is_at(found, sheaf, x, states[4000].cochain)
    close([found["energy"]], sheaf.energy(states[4000].cochain, x), 2e-9)
    rates = spectrum.extremes(sheaf, sheaf.pattern(states[4000].cochain, x))
    close([found["lambda_1"]], rates.smallest)


def test_what_is_read_are_the_numbers_of_the_state(opened):
    sheaf, x, start, shown = recorded("2x4x1")
    page = opened(shown.html())
    advance(page, 1000)
    found = state(page)
    w = next(islice(heat(sheaf, x, start, dt=0.01, every=1000), 1, None)).cochain
    said = page.get_by_role("status").inner_text()
    assert f"Step 1000, total discord {discord.total(sheaf, w, x)[0]:.3g}" in said
    pattern = " ".join(map(str, sheaf.pattern(w, x)[0].astype(int)))
    assert f"Pattern: {pattern}." in said
    assert page.get_by_text("(1: the neuron is on)").is_visible()
    numbers = page.locator(".sheaf-number").all_inner_texts()
    assert [float(text) for text in numbers] == pytest.approx(
        list(found["discord"].values()), rel=0.06
    )
    assert page.locator(".sheaf-label").all_inner_texts() == [
        "affine 1",
        "activation 1",
        "affine 2",
    ]
    assert page.locator(".sheaf-name").all_inner_texts() == ["x", "z1", "a1", "z2"]


def test_play_runs_heat_until_it_rests_at_the_forward_pass(opened):
    sheaf, x, start, shown = recorded("2x4x1", dt=0.2)
    page = opened(shown.html())
    page.get_by_label("Steps a frame").select_option("100")
    assert state(page)["step"] == 0  # nothing plays by itself
    click(page, "Play")
    page.get_by_role("status").filter(has_text="At rest").wait_for()
    assert says_play(page)  # it has stopped by itself
    close(state(page)["w"], sheaf.forward(x)[0])


def test_play_stops_where_it_is_paused(opened):
    page = opened(recorded("2x4x1")[3].html())
    click(page, "Play")
    page.wait_for_function("document.querySelector('.sheaf-explorer').explorer.state.step > 20")
    click(page, "Pause")
    step = state(page)["step"]
    page.wait_for_timeout(200)
    assert state(page)["step"] == step


@pytest.mark.parametrize("motion", ("no-preference", "reduce"))
def test_another_pin_or_input_is_followed_until_rest(opened, motion):
    """Nothing plays before it; and it does not where the reader wishes for no motion."""
    sheaf, x, _, shown = recorded("2x4x1", dt=0.2)
    page = opened(shown.html(), reduced_motion=motion)
    page.get_by_label("Steps a frame").select_option("100")
    put(page, "Step dt", float(np.log10(0.2)))
    page.wait_for_timeout(200)
    assert state(page)["step"] == 0 and says_play(page)
    click(page, "Start from the forward pass")
    moves = {
        "pin": (lambda: page.get_by_label("Pin", exact=True).select_option("hard"), 1.0, x),
        "value": (lambda: put(page, "Value of the pin", -0.5), -0.5, x),
        "input": (lambda: put(page, "Input x2", -1.0), -0.5, np.array([[x[0, 0], -1.0]])),
    }
    for move, value, at in moves.values():
        before = state(page)["w"]
        move()
        if motion == "reduce":
            page.wait_for_timeout(200)
            assert state(page)["step"] == 0 and says_play(page)
            assert state(page)["w"][:-1] == before[:-1]
            continue
        page.get_by_role("status").filter(has_text="At rest").wait_for()
        page.get_by_role("button", name="Play", exact=True).wait_for()
        w = np.array([before])
        w[0, -1] = value
        solution = relax(sheaf, at, w, dt=0.2, pins=hard("z2", value), tol=1e-13, max_steps=9000)
        close(state(page)["w"], solution.cochain[0], 1e-8)
        assert np.abs(np.subtract(state(page)["w"], before)[:-1]).max() > 0.01


def test_a_refusal_ends_playing_and_a_step_by_hand_does(opened):
    page = opened(recorded("2x4x1")[3].html())
    click(page, "Play")
    assert not says_play(page)
    page.get_by_label("Step dt").press("End")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    assert page.get_by_role("alert").is_visible()
    put(page, "Step dt", -2.0)
    click(page, "Play")
    assert not says_play(page)
    click(page, "Step")
    assert says_play(page)


def test_starts_are_the_recorded_one_noise_and_the_forward_pass(opened):
    sheaf, x, start, shown = recorded("2x4x1")
    page = opened(shown.html())
    click(page, "Start from noise")
    other = state(page)["w"]
    assert not np.allclose(other, start[0]) and np.abs(other).max() < 7
    advance(page, 50)
    click(page, "Start from noise")
    assert state(page)["step"] == 0 and not np.allclose(state(page)["w"], other)
    click(page, "Start again")
    is_at(state(page), sheaf, x, start)
    assert state(page)["step"] == 0
    click(page, "Start from the forward pass")
    close(state(page)["w"], sheaf.forward(x)[0])
    assert state(page)["total"] < 1e-28
    put(page, "Input x2", -1.25)
    moved = np.array([[x[0, 0], -1.25]])
    is_at(state(page), sheaf, moved, sheaf.forward(x))
    advance(page, 200)
    flow = heat(sheaf, moved, sheaf.forward(x), dt=0.01, every=200)
    is_at(state(page), sheaf, moved, next(islice(flow, 1, None)).cochain)


# Pins
# --------------------------------------------------------------------------------------------------


def pinned(page, mode, coordinate, value, gamma, start="Start again"):
    """Set a pin as a reader does, and start: what other pins have moved is back in its place."""
    page.get_by_label("Pin", exact=True).select_option(mode)
    page.get_by_label("Pinned coordinate").select_option(coordinate)
    put(page, "Value of the pin", value)
    if mode == "soft":
        put(page, "Stiffness γ", float(np.log10(gamma)))
    click(page, start)


def test_controls_that_do_nothing_are_off(opened):
    page = opened(recorded("2x4x1")[3].html())
    labels = ("Pinned coordinate", "Value of the pin", "Stiffness γ")
    expected = {"off": [False] * 3, "soft": [True] * 3, "hard": [True, True, False]}
    for mode in ("off", "soft", "hard", "off"):
        page.get_by_label("Pin", exact=True).select_option(mode)
        found = [page.get_by_label(label, exact=True).is_enabled() for label in labels]
        assert found == expected[mode]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("mode", ("soft", "hard"))
@pytest.mark.parametrize("stalk, at, value", [("z2", 0, 1.5), ("a1", 1, -0.75), ("z1", 2, 0.5)])
def test_a_pin_moves_heat_as_relax_does(opened, name, mode, stalk, at, value):
    sheaf, x, start, shown = recorded(name, dt=0.1)
    page = opened(shown.html())
    pin = hard(stalk, value, at) if mode == "hard" else soft(stalk, value, 10.0, at)
    pinned(page, mode, f"{stalk}[{at}]", value, 10.0)
    advance(page, 25)
    flow = heat(sheaf, x, start, dt=0.1, pins=pin, every=25)
    close(state(page)["w"], next(islice(flow, 1, None)).cochain[0])
    solution = relax(sheaf, x, start, dt=0.1, pins=pin, tol=1e-13, max_steps=60_000)
    assert solution.converged.all()
    settle(page)
    close(state(page)["w"], solution.cochain[0], 1e-8)


@pytest.mark.parametrize("mode", ("soft", "hard"))
def test_where_there_is_one_minimum_a_pin_leads_to_it(opened, mode):
    sheaf, x, start, shown = recorded("2x4x1", dt=0.1)
    page, met = opened(shown.html()), 0
    for stalk, at in (("z2", 0), ("z1", 0), ("z1", 3), ("a1", 1), ("a1", 2)):
        for value in (-1.0, 0.25, 2.0):
            pin = hard(stalk, value, at) if mode == "hard" else soft(stalk, value, 3.16, at)
            listed = enumerate_equilibria(sheaf, x, pins=pin)
            minima = listed.cochains[listed.concave == 0]
            if len(minima) != 1:
                continue
            met += 1
            found = equilibrium(sheaf, x, pins=pin)
            assert found.converged.all()
            close(found.cochain[0], minima[0], 1e-8)
            pinned(page, mode, f"{stalk}[{at}]", value, 3.16, "Start from the forward pass")
            assert mode == "hard" or state(page)["pin"]["gamma"] == 3.16
            settle(page)
            close(state(page)["w"], found.cochain[0], 1e-8)
    assert met >= 8


# Refusals
# --------------------------------------------------------------------------------------------------


def limit_of(message):
    """The limit that a refusal names, λ_max, and the step that is safe for every pattern."""
    found = re.search(r"2/\(α·λ_max\) = (\S+) here .α = 1, λ_max = (\S+) at", message)
    safe = re.search(r"or dt < ([^,]+),", message)
    return float(found[1]), float(found[2]), float(safe[1])


def refused(sheaf, x, start, **given):
    """What `heat` says to a step that is too large."""
    with pytest.raises(ValueError, match="is unstable") as caught:
        next(heat(sheaf, x, start, **given))
    return limit_of(str(caught.value))


@pytest.mark.parametrize("name", RUNS)
def test_a_step_beyond_the_limit_is_refused_with_heats_own_numbers(opened, name):
    sheaf, x, start, shown = recorded(name)
    page = opened(shown.html())
    page.get_by_label("Step dt").press("End")
    found = state(page)
    said = page.get_by_role("alert").inner_text()
    assert limit_of(said) == refused(sheaf, x, start, dt=found["dt"])
    plain = r"This step is too large: dt must be below (\S+) here\. Try (\S+)\.\n"
    below, tried = map(float, re.match(plain, said).groups())
    assert below == limit_of(said)[0] and 0.9 * below < tried < below
    for name in ("Step", "100 steps"):
        click(page, name)
    assert state(page)["step"] == 0
    close(state(page)["w"], start[0], 0)
    put(page, "Step dt", float(np.log10(tried)))
    assert not page.get_by_role("alert").is_visible()
    click(page, "Step")
    dt = state(page)["dt"]
    close(state(page)["w"], next(islice(heat(sheaf, x, start, dt=dt), 1, None)).cochain[0])


@pytest.mark.parametrize("mode", ("soft", "hard"))
def test_with_a_pin_the_limit_is_that_of_the_state(opened, mode):
    sheaf, x, start, shown = recorded("2x4x1")
    page = opened(shown.html())
    pinned(page, mode, "z2[0]", 1.0, 1.0)
    page.get_by_label("Step dt").press("End")
    pin = hard("z2", 1.0) if mode == "hard" else soft("z2", 1.0, 1.0)
    expected = refused(sheaf, x, start, dt=state(page)["dt"], pins=pin)
    assert limit_of(page.get_by_role("alert").inner_text()) == expected


def test_a_pin_that_is_too_stiff_is_refused_with_heats_own_numbers(opened):
    sheaf, x, start, shown = recorded("2x4x1")
    page = opened(shown.html())
    pinned(page, "soft", "z1[2]", 0.5, 1000.0)
    expected = refused(sheaf, x, start, dt=0.01, pins=soft("z1", 0.5, 1000.0, 2))
    said = page.get_by_role("alert").inner_text()
    assert limit_of(said) == expected
    assert re.search(r"Try \S+, or a softer pin\.\n", said)
    click(page, "100 steps")
    assert state(page)["step"] == 0
    put(page, "Stiffness γ", 2.0)
    assert not page.get_by_role("alert").is_visible()
    click(page, "Step")
    assert state(page)["step"] == 1


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_a_refusal_moves_nothing(opened, width):
    page = opened(recorded("2x4x1")[3].html(), viewport={"width": width, "height": 900})
    page.get_by_label("Pin", exact=True).select_option("soft")
    before = page.locator(".sheaf-plot").bounding_box()
    put(page, "Stiffness γ", 4.0)
    alert = page.get_by_role("alert").bounding_box()
    assert page.locator(".sheaf-plot").bounding_box() == before
    assert alert["y"] + alert["height"] <= before["y"]
    put(page, "Stiffness γ", 0.0)
    assert page.locator(".sheaf-plot").bounding_box() == before


# What is drawn
# --------------------------------------------------------------------------------------------------


def axis(page):
    """The numbers at the lines of the plot's grid, from the highest to the lowest."""
    return [float(mark) for mark in page.locator(".sheaf-marks").inner_text().split()]


def drawn(page, line="total"):
    """The corners of a line of the plot, whose width and height are 1, the foot being at 1."""
    points = page.locator(f".sheaf-{line}").get_attribute("points").split()
    return np.array([[float(part) for part in point.split(",")] for point in points])


def check_axis(page, totals):
    """The axis has few marks in equal steps, and no more decades than these totals need; the last
    of them is drawn where it belongs.
    """
    logs = np.log10(axis(page))
    highest, lowest = np.log10(max(totals)), np.log10(min(totals))
    part = logs[0] - logs[1]
    assert 3 <= len(logs) <= 9
    np.testing.assert_allclose(np.diff(logs), -part)
    assert highest <= logs[0] < highest + 1 + 1e-9 and logs[-1] <= lowest
    assert logs[0] - logs[-1] <= max(2, np.ceil(highest - lowest) + 1 + part)
    place = (logs[0] - np.log10(totals[-1])) / (logs[0] - logs[-1])
    assert drawn(page)[-1, 1] == pytest.approx(place)
    assert (drawn(page) >= 0).all() and (drawn(page) <= 1).all()


def test_the_axis_has_the_decades_in_use(opened):
    """Also after the forward pass, whose total discord is 0 or rounding."""
    page = opened(recorded("2x4x1", dt=0.2)[3].html())
    totals = [state(page)["total"]]
    check_axis(page, totals)
    for _ in range(20):
        advance(page, 50)
        totals.append(state(page)["total"])
        if totals[-1] < 1e-19:
            break
        check_axis(page, totals)
    advance(page, 1000)
    assert state(page)["total"] < 1e-20 and drawn(page)[-1, 1] > 0.8
    assert axis(page)[-1] >= 1e-22 and len(axis(page)) <= 9
    assert drawn(page, "predicted").size == 0
    click(page, "Start from the forward pass")
    assert state(page)["total"] < 1e-20
    assert axis(page) == pytest.approx([1e-18, 1e-19, 1e-20])
    assert (drawn(page) == [0, 1]).all() and drawn(page, "predicted").size == 0
    put(page, "Input x1", -1.0)
    totals = [state(page)["total"]]
    check_axis(page, totals)
    for _ in range(4):
        advance(page, 10)
        totals.append(state(page)["total"])
        check_axis(page, totals)


def test_a_start_begins_a_curve_and_another_pin_goes_on_with_it(opened):
    page = opened(recorded("2x4x1")[3].html())
    advance(page, 60)
    page.get_by_label("Pin", exact=True).select_option("hard")
    put(page, "Input x1", 0.5)
    advance(page, 60)
    assert len(drawn(page)) > 120 and drawn(page)[-1, 0] == 1
    for name in ("Start again", "Start from noise", "Start from the forward pass"):
        advance(page, 10)
        click(page, name)
        assert (drawn(page)[:, 0] == 0).all()


def test_the_scale_of_the_bars_grows_and_a_start_chooses_it_anew(opened):
    page = opened(recorded("2x4x1")[3].html())
    scale = page.locator(".sheaf-scale")
    page.get_by_label("Pin", exact=True).select_option("hard")
    found = []
    for value in (1.0, -3.0, 2.0, 0.5):
        put(page, "Value of the pin", value)
        found.append(float(scale.inner_text().removeprefix("bars: ").removeprefix("±")))
        assert found[-1] >= np.abs(state(page)["x"] + state(page)["w"]).max()
    assert found[0] < 3 <= found[1] == found[2] == found[3]
    click(page, "Start again")
    assert float(scale.inner_text().removeprefix("±")) == found[0]


def test_an_edge_has_the_colour_of_its_discord_alone(opened):
    page = opened(recorded("2x6x4x4x1")[3].html())
    edges = page.locator(".sheaf-line")
    colours = edges.evaluate_all(
        "all => all.map(line => [getComputedStyle(line).borderTopColor,"
        " getComputedStyle(line).backgroundColor, line.parentElement.dataset.level])"
    )
    assert len({rim for rim, _, _ in colours}) == 1
    by_level = {}
    for _, colour, level in colours:
        assert by_level.setdefault(level, colour) == colour
    assert len(by_level) > 1


# Every operation
# --------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(8)


def affine(n, m):
    return Affine(RNG.standard_normal((n, m)) / np.sqrt(m), 0.3 * RNG.standard_normal(n))


def through(operation, width=4):
    """A network of two inputs with this operation in its middle."""
    nodes = [("z1", affine(operation.n_in, 2)), ("a1", operation)]
    return Network(2, [*nodes, ("z2", affine(width, operation.n_out)), ("a2", ReLU(width))])


SPARSE = np.where(RNG.random((4, 4)) < 0.4, RNG.standard_normal((4, 4)), 0)
WEIGHT = RNG.standard_normal((4, 4))
BRANCHES = [("l", affine(3, 2)), ("r", affine(3, 2), "x")]
NETWORKS = {
    "ReLU": through(ReLU(4)),
    "leaky ReLU": through(ReLU(4, 0.2)),
    "absolute value": through(ReLU(4, -1.0)),
    "PReLU": through(PReLU(4, [0.3, -0.4, 1.5, 0.0])),
    "clamp": through(Clamp(4, -0.3, 0.6)),
    "one bound": through(Clamp(4, -np.inf, 0.5)),
    "max-pool": through(MaxPool([[0, 1, 2], [2, 3, 0]], 4)),
    "sparse": through(layers.upsample((1, 2, 2), 2)[0]),
    "convolution": through(layers.convolution(RNG.standard_normal((2, 1, 2, 2)), (1, 3, 3))[0]),
    "matrix-free": through(Affine.from_maps(lambda a: a @ WEIGHT.T, lambda e: e @ WEIGHT, (4, 4))),
    "stack": Network(
        2, [*BRANCHES, ("s", Stack(3, 3, 2), ("l", "r", "x")), ("y", affine(2, 8)), ("b", ReLU(2))]
    ),
    "sum": Network(
        2, [*BRANCHES, ("s", Stack(3, 3), ("l", "r")), ("y", layers.add(3)), ("b", ReLU(3))]
    ),
    "two readers": Network(
        2,
        [
            ("z", affine(3, 2)),
            ("a", ReLU(3)),
            ("c", Clamp(3, -0.5, 0.5), "z"),
            ("d", PReLU(3, 0.3), "z"),
            ("s", Stack(3, 3, 3), ("a", "c", "d")),
            ("y", affine(1, 9)),
        ],
    ),
    "read x": Network(2, [("a", ReLU(2), "x"), ("m", MaxPool([[0, 1]], 2), "x"), ("y", ReLU(1))]),
    "softmax": through(ReLU(4)).with_output("softmax"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_steps_as_in_heat(opened, name):
    """Without a pin, with a hard one and with a soft one on a coordinate that a selection reads,
    from a start far off, step by step; the edges have weights.
    """
    network = NETWORKS[name]
    plain = NeuralSheaf(network.with_output("identity"))
    weights = {edge.name: w for edge, w in zip(plain.edges, RNG.uniform(0.5, 2, len(plain.edges)))}
    sheaf = NeuralSheaf(network, weights)
    x, start = RNG.standard_normal((1, 2)), 2 * RNG.standard_normal((1, sheaf.N))
    shown = explore(sheaf, x, start=start)
    page = opened(shown.html())
    first = sheaf.layout.names[0]
    modes = {"off": (), "hard": hard(first, 0.5, 1), "soft": soft(first, -0.5, 2.0, 1)}
    for mode, pin in modes.items():
        page.get_by_label("Pin", exact=True).select_option("off")
        if mode != "off":
            page.reload()
            pinned(page, mode, f"{sheaf.layout.label(1)}", 0.5 if mode == "hard" else -0.5, 2.0)
        flow = heat(sheaf, x, start, dt=shown.dt, pins=pin)
        states = [flow_state.cochain[0] for flow_state in islice(flow, 61)]
        for step in (1, 2, 3, 10, 60):
            advance(page, step - state(page)["step"])
            assert state(page)["refused"] == ""
            close(state(page)["w"], states[step])
            squares = discord.per_edge(plain, states[step][None], x)
            assert list(state(page)["discord"]) == list(squares)
            close(list(state(page)["discord"].values()), np.ravel(list(squares.values())), 2e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_has_the_limit_and_the_slope_of_sheaflib(opened, name):
    sheaf = NeuralSheaf(NETWORKS[name].with_output("identity"))
    x, start = RNG.standard_normal((1, 2)), RNG.standard_normal((1, sheaf.N))
    page = opened(explore(sheaf, x, start=start).html())
    rates = spectrum.extremes(sheaf, sheaf.pattern(start, x))
    close([state(page)["lambda_1"]], rates.smallest, 1e-8)
    page.get_by_label("Step dt").press("End")
    expected = refused(sheaf, x, start, dt=state(page)["dt"])
    assert limit_of(page.get_by_role("alert").inner_text()) == expected


def test_random_chains_step_as_in_heat(opened):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        dims = [2, *rng.integers(1, 7, rng.integers(1, 5)).tolist(), 1]
        sheaf = NeuralSheaf(Network.he(dims, rng))
        x, start = rng.standard_normal((1, 2)), rng.standard_normal((1, sheaf.N))
        shown = explore(sheaf, x, start=start)
        page = opened(shown.html())
        advance(page, 200)
        flow = heat(sheaf, x, start, dt=shown.dt, every=200)
        close(state(page)["w"], next(islice(flow, 1, None)).cochain[0])


# The page
# --------------------------------------------------------------------------------------------------


def linked(*explorers):
    """A page's head that links script and style once, and a body with these explorers."""
    head = f'<link rel="stylesheet" href="{STYLESHEET.as_uri()}">'
    head += f'<script src="{SCRIPT.as_uri()}"></script>'
    return "".join(shown.html(dot()) for shown in explorers), head


@pytest.mark.parametrize("inside", (True, False))
def test_several_explorers_share_a_page(opened, inside):
    small, deep = (recorded(name) for name in RUNS)
    shown = (small[3], deep[3], small[3])  # the same output twice
    body, head = ("".join(one.html() for one in shown), "") if inside else linked(*shown)
    page = opened(body, head)
    assert page.locator(".sheaf-live:visible").count() == 3
    advance(page, 30, 1)
    assert [state(page, k)["step"] for k in range(3)] == [0, 30, 0]
    second = page.locator(".sheaf-explorer").nth(2)
    second.get_by_role("button", name="Step", exact=True).click()
    second.get_by_label("Input x1", exact=True).fill("-1")
    assert [state(page, k)["step"] for k in range(3)] == [0, 30, 1]
    assert state(page, 2)["x"][0] == -1 and state(page, 0)["x"][0] == small[1][0, 0]
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_buttons_stand_under_the_drawing(opened, width):
    """On a phone the drawing and the button "Play" are seen together."""
    page = opened(recorded("2x4x1")[3].html(), viewport={"width": width, "height": 800})
    graph = page.locator(".sheaf-graph").bounding_box()
    buttons = page.locator(".sheaf-buttons").bounding_box()
    below = buttons["y"] - graph["y"] - graph["height"]
    assert 0 <= below < 20 and graph["height"] <= 420
    play = page.get_by_role("button", name="Play", exact=True).bounding_box()
    assert play["y"] + play["height"] < 600
    controls = page.locator(".sheaf-controls").bounding_box()
    assert controls["y"] >= buttons["y"] + buttons["height"]
    hint = page.get_by_text("Press Play. Then choose Pin: hard, and move its value.")
    assert hint.bounding_box()["y"] < graph["y"]


def test_without_a_script_the_picture_stands_there(opened):
    page = opened(*linked(recorded("2x4x1")[3]), java_script_enabled=False)
    picture = page.locator(".sheaf-still img")
    assert picture.is_visible() and "x, z1, a1, z2" in picture.get_attribute("alt")
    assert page.get_by_role("button").count() == 0
    assert not page.get_by_text("Press Play").is_visible()
    with_script = opened(*linked(recorded("2x4x1")[3]))
    assert not with_script.locator(".sheaf-still img").is_visible()


def test_a_keyboard_is_enough(opened):
    sheaf, x, start, shown = recorded("2x4x1")
    page = opened(shown.html())
    names = []
    for _ in range(11):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.name"))
    buttons = ["play", "steps", "steps", "again", "noise", "pass"]
    assert names == [*buttons, "0", "1", "pin", "dt", "speed"]
    page.get_by_label("Input x1", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert state(page)["x"][0] == pytest.approx(x[0, 0] + 0.01)
    for _ in range(5):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # the button "Step"
    assert state(page)["step"] == 1
    page.get_by_label("Pin", exact=True).focus()
    page.keyboard.press("ArrowDown")
    assert state(page)["pin"]["mode"] == "soft"
    names = []
    for _ in range(5):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.name"))
    assert names == ["at", "value", "gamma", "dt", "speed"]


def test_a_finger_is_enough(opened):
    page = opened(
        recorded("2x4x1")[3].html(),
        has_touch=True,
        is_mobile=True,
        viewport={"width": 390, "height": 800},
    )
    page.get_by_role("button", name="Step", exact=True).tap()
    slider = page.get_by_label("Input x1", exact=True)
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert state(page)["step"] == 1 and state(page)["x"][0] > 2


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", (*RUNS, "two readers", "stack"))
def test_nothing_is_wider_than_the_page(opened, name, width):
    shown = recorded(name)[3] if name in RUNS else explore(NETWORKS[name])
    page = opened(shown.html(), viewport={"width": width, "height": 900})
    advance(page, 200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    frame = page.locator(".sheaf-explorer").bounding_box()
    parts = page.locator(".sheaf-live :is(.sheaf-bar, span, b, input, select, button)")
    boxes = parts.evaluate_all("all => all.map(part => part.getBoundingClientRect().toJSON())")
    shown_boxes = [box for box in boxes if box["width"]]
    assert len(shown_boxes) > 20
    assert min(box["left"] for box in shown_boxes) >= frame["x"]
    assert max(box["right"] for box in shown_boxes) <= frame["x"] + frame["width"]


SWITCHES = {"light": "light", "dark": "dark", "auto": "light"}


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize(
    "attribute, forced",
    [
        (None, None),
        ("data-theme=light", "light"),
        ("data-theme=dark", "dark"),
        ("data-theme=auto", None),
        ("data-jp-theme-light=true", "light"),
        ("data-jp-theme-light=false", "dark"),
    ],
)
def test_colours_follow_the_page_or_the_reader(opened, scheme, attribute, forced):
    page = opened(recorded("2x4x1")[3].html(), color_scheme=scheme)
    if attribute:
        page.evaluate(
            "([name, value]) => document.body.setAttribute(name, value)", attribute.split("=")
        )
    paper = page.evaluate("getComputedStyle(document.querySelector('.sheaf-explorer')).background")
    light = "rgb(255, 255, 255)" in paper
    assert light == ((forced or scheme) == "light")


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_axe_finds_nothing(opened, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(recorded("2x6x4x4x1")[3].html(), color_scheme=scheme)
    page.get_by_label("Step dt").press("End")  # a refusal is shown
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()


def test_the_smallest_network_has_a_curve_and_no_slope_where_nothing_is_free(opened):
    """One free coordinate, which the default step takes home at once: dt λ₁ = 1. Then it is
    pinned, and nothing is free; the page makes no error.
    """
    sheaf = NeuralSheaf(Network(1, [("y", Affine([[2.0]], [1.0]))]))
    page = opened(explore(sheaf, [3.0], start=[0.5]).html())
    advance(page, 1)
    close(state(page)["w"], [7.0])
    page.get_by_label("Pin", exact=True).select_option("hard")
    put(page, "Value of the pin", 1.0)
    advance(page, 10)
    close(state(page)["w"], [1.0])
    close([state(page)["total"]], [36.0])


def test_a_slider_that_is_dragged_adds_no_points_to_the_curve(opened):
    page = opened(recorded("2x4x1")[3].html())
    for value in np.linspace(-1, 1, 30).round(2).tolist():
        put(page, "Input x1", value)
    points = page.locator(".sheaf-total").get_attribute("points").split()
    assert state(page)["step"] == 0 and len(set(points)) == 1 and len(points) <= 2


def test_rest_is_judged_beside_the_size_of_the_values(opened):
    """A network with values around 1e6 comes to rest, and one with values around 1e-16 does not
    stand still at once.
    """
    for scale in (1e6, 1e-16):
        sheaf = NeuralSheaf(Network.he([2, 3, 1], np.random.default_rng(3)))
        x, start = np.array([[scale, 0.5 * scale]]), np.full((1, sheaf.N), scale)
        page = opened(explore(sheaf, x, start=start).html())
        click(page, "Step")
        assert "At rest" not in page.get_by_role("status").inner_text()
        page.get_by_label("Steps a frame").select_option("100")
        click(page, "Play")
        page.get_by_role("status").filter(has_text="At rest").wait_for()
        close(state(page)["w"], sheaf.forward(x)[0])
