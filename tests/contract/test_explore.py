"""An explorer without a browser: what Python hands to the script are the numbers of the sheaf, its
bytes stay, and what it cannot hold is refused by name.
"""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from matplotlib.colors import to_hex
from PIL import Image
from strategies import cases

from sheaflib import Affine, CellularSheaf, Clamp, MaxPool, Network, NeuralSheaf, ReLU, explore
from sheaflib.companion import tasks
from sheaflib.flow.heat import default_step
from sheaflib.linear.spectrum import bound
from sheaflib.networks.selection import Selection
from sheaflib.plots.explore import SCRIPT, STYLESHEET
from sheaflib.plots.palette import DISCORD, EDGE_COLOURS

NETWORK = Network.he([2, 3, 1], np.random.default_rng(0))
CODE, STYLE = SCRIPT.read_text(encoding="utf-8"), STYLESHEET.read_text(encoding="utf-8")


def deep():
    """The recorded run of the deeper network."""
    sheaf, x, start = tasks.heat_run("2x6x4x4x1")
    return explore(sheaf, x, start=start, dt=0.01)


class Elements(HTMLParser):
    """The elements of a page, by their names, with their attributes, and the text in scripts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script":
            self.scripts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


# The numbers
# --------------------------------------------------------------------------------------------------


def at_pattern(data, sheaf, pattern):
    """δ and the constants b_s as the script makes them of the rules, at one pattern."""
    n, left = data["n"], list(pattern)
    delta, boundary = np.eye(sheaf.N, n + sheaf.N, n), np.zeros(sheaf.N)
    for row, rule in enumerate(data["rules"]):
        if "breaks" in rule:
            piece = int(left.pop(0))
            at, by, plus = rule["at"], [rule["slopes"][piece]], rule["offsets"][piece]
        elif "window" in rule:
            at, by, plus = [rule["window"][int(left.pop(0))]], [1.0], 0.0
        else:
            at, by, plus = rule["at"], rule["by"], rule["plus"]
        np.subtract.at(delta[row], at, by)
        boundary[row] = plus
    assert left == []
    return delta[:, n:], delta[:, :n], boundary


@given(cases())
def test_the_rules_are_the_coboundary_at_every_pattern(case):
    sheaf, x = case.sheaf, case.x[:1]
    shown = explore(sheaf, x, start=case.w[:1])
    data = json.loads(json.dumps(shown.data))
    pattern = sheaf.pattern(case.w, case.x)
    for row in range(len(case.w)):
        free, given_x, plus = at_pattern(data, sheaf, pattern[row])
        np.testing.assert_array_equal(free, sheaf.coboundary(pattern[row]).toarray())
        w = case.w[row]
        terms = np.abs(free) @ np.abs(w) + np.abs(given_x) @ np.abs(case.x[row]) + np.abs(plus)
        found = free @ w + given_x @ case.x[row] - plus
        expected = sheaf.discrepancy(case.w, case.x)[row]
        assert (np.abs(found - expected) <= 1e-13 * terms).all()


@given(cases())
def test_all_else_that_the_script_is_given_is_the_sheafs(case):
    sheaf = case.sheaf
    data = explore(sheaf, case.x[:1], start=case.w[:1]).data
    assert data["x"] == case.x[0].tolist() and data["start"] == case.w[0].tolist()
    assert data["weights"] == sheaf.row_weights[: sheaf.N].tolist()
    assert data["bound"] == bound(sheaf) and data["dt"] == default_step(sheaf)
    edges = [(edge.name, edge.rows.start, edge.rows.stop) for edge in sheaf.edges]
    assert [tuple(edge.values()) for edge in data["edges"]] == edges
    for place, rows in enumerate(data["readers"]):
        own = [i for i, rule in enumerate(data["rules"]) if "breaks" in rule]
        assert rows == [i for i in own if place >= data["n"] and data["rules"][i]["at"] == [place]]


def test_weights_of_edges_count_and_an_output_is_left_off():
    network = NETWORK.with_output("sigmoid")
    shown = explore(NeuralSheaf(network, {"affine_1": 3.0, "output": 7.0}), [[1.0, 2.0]])
    assert shown.data["weights"] == [3.0] * 3 + [1.0] * 4
    assert [edge["name"] for edge in shown.data["edges"]] == [
        "affine_1",
        "activation_1",
        "affine_2",
    ]


def test_what_is_not_given_is_drawn_from_the_seed():
    first, again, other = (explore(NETWORK, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.start, again.start)
    np.testing.assert_array_equal(first.x, again.x)
    assert not np.isin(first.start, other.start).any()
    given_x = explore(NETWORK, [1.0, 2.0], seed=1)
    np.testing.assert_array_equal(given_x.start, first.start)  # whatever else is given


# The page
# --------------------------------------------------------------------------------------------------


def test_the_bytes_stay():
    assert deep().html() == deep().html() and deep().png() == deep().png()
    bundle = deep()._repr_mimebundle_()
    assert bundle == deep()._repr_mimebundle_()
    assert sorted(bundle) == ["image/png", "text/html", "text/plain"]
    assert bundle["image/png"] in bundle["text/html"]  # the picture stands in the page


def test_the_picture_is_small_and_shows_each_edge():
    png = deep().png()
    assert len(png) < 40_000
    image = Image.open(BytesIO(png)).convert("RGB")
    colours = {colour for _, colour in image.getcolors(image.width * image.height)}
    near = [
        min(max(abs(a - b) for a, b in zip(colour, wanted)) for colour in colours)
        for wanted in [(0, 114, 178), (230, 159, 0)]  # affine and activation edges
    ]
    assert max(near) <= 12


def test_all_stands_in_the_page_or_nothing_does():
    whole, bare = Elements(deep().html()), Elements(deep().html("a&b.png"))
    assert len(whole.named("style")) == 1 and CODE in whole.scripts
    assert bare.named("style") == [] and len(bare.named("script")) == 1
    assert bare.named("img")[0]["src"] == "a&b.png"
    assert json.loads(bare.scripts[0]) == deep().data
    for elements in (whole, bare, Elements(deep().data["live"])):
        sources = [a.get("src", a.get("href", "data:")) for _, a in elements.found]
        assert all(source.startswith("data:") or source == "a&b.png" for source in sources)
        assert not [a for _, a in elements.found if "id" in a]
    assert all("z1, a1, z2" in elements.named("img")[0]["alt"] for elements in (whole, bare))


def test_without_scripts_and_attributes_the_picture_alone_is_left():
    """As JupyterLab shows a stored notebook that is not trusted: scripts and styles are taken out
    with all that stands in them, and most attributes of what is left.
    """
    left = re.sub(r"(?s)<(script|style)\b.*?</\1>", "", deep().html())
    assert re.sub(r"<img [^>]*>", "<img>", left).strip() == (
        '<div class="sheaf-explorer"><div class="sheaf-still"><img></div></div>'
    )


def test_every_control_has_a_name_and_a_label():
    elements = Elements(deep().data["live"])
    controls = elements.named("input") + elements.named("select")
    assert len(controls) == len(elements.named("label")) == 8
    assert all(control["name"] and control["aria-label"] for control in controls)
    assert len(elements.named("option")) == deep().sheaf.N + 3 + 3


def test_more_inputs_than_four_have_four_sliders():
    shown = explore(Network.he([7, 2], np.random.default_rng(0)))
    sliders = Elements(shown.data["live"]).named("input")
    assert [s["aria-label"] for s in sliders if "Input" in s["aria-label"]] == [
        f"Input x{i}" for i in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize("name", [*"#$%&{}_^~\\<", "a^b^c", "a_b_c_d", "z1$", "a.b", "δ"])
def test_a_picture_shows_any_name(name):
    """Also what mathtext, which writes the names, would read as its own."""
    shown = explore(Network(1, [(name, Affine([[1.0]])), ("y", ReLU(1))]))
    assert shown.png().startswith(b"\x89PNG") and "text/html" in shown._repr_mimebundle_()


def test_a_name_ends_no_element():
    odd = '</script><b title="&'
    shown = explore(Network(1, [(odd, Affine([[1.0]])), ("y", Affine([[2.0]]))]))
    elements, live = Elements(shown.html("a.png")), Elements(shown.data["live"])
    assert [a for a in live.named("b") + elements.named("b") if "title" in a] == []
    assert (
        live.named("script") == []
        and len(elements.named("script")) == 1
        and json.loads(elements.scripts[0]) == shown.data
    )


# The files
# --------------------------------------------------------------------------------------------------


def test_the_script_is_small_and_needs_nothing():
    lines = [line.strip() for line in CODE.splitlines()]
    assert len([line for line in lines if line and not line.startswith("//")]) <= 250
    assert max(map(len, CODE.splitlines())) <= 100
    assert not re.search(r"\b(import|require|fetch|XMLHttpRequest|eval)\b|https?:|</", CODE)
    assert not re.search(r"@import|url\(|https?:|</", STYLE)
    assert max(map(len, STYLE.splitlines())) <= 100


def test_colours_mean_what_they_mean_in_all_figures():
    plasma = matplotlib.colormaps[DISCORD]
    for level, place in enumerate(np.linspace(0, 1, 8)):
        assert f'[data-level="{level}"] {{ --colour: {to_hex(plasma(place))};' in STYLE
    assert f"--penalty: {EDGE_COLOURS['penalty'].lower()};" in STYLE


def test_each_function_of_sheaflib_that_the_script_names_is_there():
    """The comments say which function computes the same: it has not moved."""
    from sheaflib.equilibria import newton  # noqa: F401 - so that all is loaded
    from sheaflib.flow import corners, euler, heat
    from sheaflib.linear import fixed_pattern, spectrum
    from sheaflib.sheaves import discord, forces, neural

    modules = (corners, euler, heat, fixed_pattern, spectrum, discord, forces, neural)
    by_name = {module.__name__.split(".")[-1]: module for module in modules}
    named = re.findall(
        r"\((?:[^()]*\bis )?((?:[A-Za-z]+\.)+[a-z_]+)", CODE.split("Interface ==")[0]
    )
    named = [name for name in named if name.split(".")[0] in by_name]
    assert len(named) >= 6
    for name in named:
        module, function = name.split(".")
        assert hasattr(by_name[module], function), name


# What is refused
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Cubed(Selection):
    """A selection of somebody else's, which is no piecewise-linear one that explore knows."""

    n_in: int = 1
    n_out: int = 1
    norm: float = 1.0


WIDE = Network.he([2, 60, 1], np.random.default_rng(0))
REFUSED = {
    "another selection": (
        lambda: explore(Network(1, [("z", Affine([[1.0]])), ("c", Cubed())])),
        TypeError,
        r"network holds Cubed at 'c', expected .*ReLU, PReLU, Clamp or MaxPool",
    ),
    "too large": (
        lambda: explore(WIDE),
        ValueError,
        r"network has 121 free coordinates and 2 inputs, expected at most 100 and 1000",
    ),
    "too many inputs": (
        lambda: explore(Network(2000, [("z", Affine(np.ones((1, 2000))))])),
        ValueError,
        r"network has 1 free coordinates and 2000 inputs, expected at most 100 and 1000",
    ),
    "no network": (lambda: explore("2x4x1"), TypeError, r"network is a str, expected a Network"),
    "a cellular sheaf": (
        lambda: explore(CellularSheaf({"u": 1, "v": 1}, [("u", "v", [[1.0]], [[1.0]])])),
        TypeError,
        r"network is a CellularSheaf, expected a Network",
    ),
    "two inputs": (lambda: explore(NETWORK, np.ones((2, 2))), ValueError, r"x has 2 rows"),
    "an input of another width": (lambda: explore(NETWORK, [1.0, 2.0, 3.0]), ValueError, r"x "),
    "two starts": (
        lambda: explore(NETWORK, start=np.zeros((2, 7))),
        ValueError,
        r"start has 2 rows, expected one",
    ),
    "a start with a_out": (
        lambda: explore(NETWORK.with_output("sigmoid"), start=np.zeros((1, 8))),
        ValueError,
        r"start .*7",
    ),
    "not finite": (lambda: explore(NETWORK, [np.nan, 1.0]), ValueError, r"x "),
    "dt": (lambda: explore(NETWORK, dt=-1.0), ValueError, r"dt"),
    "seed": (lambda: explore(NETWORK, seed=-1), ValueError, r"seed"),
    "picture": (lambda: explore(NETWORK).html(3), TypeError, r"picture is a int, expected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_is_refused_by_name(name):
    call, error, said = REFUSED[name]
    with pytest.raises(error, match=said):
        call()


def test_the_largest_network_and_every_selection_are_taken():
    explore(Network.he([2, 49, 2], np.random.default_rng(0))).html("a.png")
    nodes = [("z", Affine(np.eye(3))), ("a", ReLU(3, -1.0)), ("c", Clamp(3, -1.0, np.inf))]
    explore(Network(3, [*nodes, ("m", MaxPool([[0, 1]], 3))])).html("a.png")
