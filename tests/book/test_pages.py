"""The book in build/book: it needs nothing from elsewhere, every link of it leads somewhere, every
page can be read on a telephone, in light and dark and by a screen reader, and every claim, word of
the glossary, figure and public name stands where a reader looks for it.
"""

import functools
import http.server
import json
import re
import threading
import tomllib
from html.parser import HTMLParser
from importlib.resources import files
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from sheaflib import hard, heat, relax
from sheaflib.companion import tasks

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "build" / "book"
PAGES = sorted(
    path.relative_to(BOOK).as_posix()
    for path in BOOK.rglob("*.html")
    if "_downloads" not in path.parts and "_static" not in path.parts
)
INDEX = tomllib.loads((ROOT / "notebooks" / "index.toml").read_text(encoding="utf-8"))["notebook"]
LEDGER = json.loads((ROOT / "figures" / "ledger.json").read_text(encoding="utf-8"))
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Drawings of formulas are hidden from readers of screens, who get the MathML beside them.
RUN_AXE = "(asked) => axe.run({ exclude: ['mjx-container > svg'] }, asked)"
COLOURS = ["color-contrast", "link-in-text-block"]  # the rules of these that see colours
LOADS = {"img": "src", "script": "src", "source": "src", "iframe": "src", "video": "src"}
MOST_BYTES = 3_000_000


class Page(HTMLParser):
    """The links, the anchors, what is loaded, and the text of one page."""

    def __init__(self, name):
        super().__init__()
        self.name, self.links, self.anchors, self.loads = name, [], {""}, []
        self.images, self.words = [], []
        self.feed((BOOK / name).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name" * (tag == "a")) if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in (
            "canonical",
            "search",
            "index",
            "next",
            "prev",
        ):
            self.loads.append(given["href"])
        if tag in LOADS and given.get(LOADS[tag]):
            self.loads.append(given[LOADS[tag]])
        if tag == "img":
            self.images.append(given)

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        """All words of the page, with one space between them."""
        return " ".join(" ".join(self.words).split())

    def target(self, link):
        """The file that a local link leads to, and the anchor in it."""
        parts = urlsplit(link)
        path = (BOOK / self.name).parent / unquote(parts.path) if parts.path else BOOK / self.name
        return path.resolve(), unquote(parts.fragment)


@functools.cache
def page(name):
    """One page, read once."""
    return Page(name)


def wait_for_formulas(opened):
    """Wait until MathJax has set the formulas of an opened page, where it has some."""
    opened.wait_for_function(
        "document.querySelectorAll('.math:not(:has(mjx-container))').length === 0"
    )


def local(link):
    """Whether a link stays in the book."""
    return not urlsplit(link).scheme and not link.startswith("//")


def test_there_is_a_book():
    """`make book` has been run, and made all the pages that this folder tests."""
    assert {"index.html", "search.html", "gallery.html", "figures/LEDGER.html"} <= set(PAGES)
    assert len(PAGES) > 70


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    lost = []
    for link in filter(local, [*page(name).links, *page(name).loads]):
        path, anchor = page(name).target(link)
        if not path.is_file():
            lost.append(link)
        elif path.suffix == ".html":
            found = page(path.relative_to(BOOK).as_posix()).anchors
            lost += [link] if anchor not in found else []
    assert lost == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_loaded_from_elsewhere(name):
    """Of the pages; links that a reader may follow to other places are not loaded."""
    assert [
        each for each in page(name).loads if not local(each) and not each.startswith("data:")
    ] == []


def test_no_style_loads_from_elsewhere():
    found = {}
    for path in BOOK.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        asked = re.findall(r"url\(['\"]?(.*?)['\"]?\)|@import ['\"](.*?)['\"]", text)
        found[path.name] = [
            a or b for a, b in asked if not local(a or b) and "data:" not in (a or b)
        ]
    assert {name: asked for name, asked in found.items() if asked} == {}


@pytest.mark.parametrize("name", [name for name in PAGES if name != "gallery.html"])
def test_no_page_is_heavy(name):
    """The page with its own pictures, without what all pages share."""
    own = [page(name).target(each["src"])[0] for each in page(name).images if local(each["src"])]
    assert sum(path.stat().st_size for path in {BOOK / name, *own}) <= MOST_BYTES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_in_the_browser(browser, name):
    """Offline, from the file system, on a telephone: it asks for nothing but files beside it, makes
    no error, sets its formulas, shows its pictures, and scrolls to no side; then axe-core finds no
    fault, in light and in dark.
    """
    context = browser.new_context(viewport={"width": 390, "height": 844}, offline=True)
    opened, faults = context.new_page(), []
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request", lambda asked: faults.append(asked.url) if asked.url[:5] != "file:" else None
    )
    opened.on("requestfailed", lambda asked: faults.append(asked.url))
    opened.goto((BOOK / name).as_uri())
    wait_for_formulas(opened)
    assert faults == []
    assert opened.locator("mjx-merror, .math:not(:has(mjx-container))").count() == 0
    assert (
        opened.evaluate("[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)")
        == []
    )
    wide = opened.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    opened.set_viewport_size({"width": 1280, "height": 900})
    opened.evaluate(AXE)
    for scheme, rules in (("light", RULES), ("dark", COLOURS)):
        opened.emulate_media(color_scheme=scheme)
        asked = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
        found = opened.evaluate(RUN_AXE, asked)["violations"]
        assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in found] == []
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_has_a_text(name):
    """A text of its own, and not the name of its file."""
    shown = [each for each in page(name).images if not each.get("aria-hidden")]
    assert [each["src"][-40:] for each in shown if len(each.get("alt", "").split()) < 5] == []


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves files, and writes nothing."""

    def log_message(self, *arguments):
        pass


def test_a_server_may_have_it_in_any_folder(browser, tmp_path):
    """A page deep in the book, under two more folders: all that it asks for is there."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "folder").symlink_to(BOOK)
    handler = functools.partial(Silent, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened, answers = browser.new_page(), []
        opened.on("response", lambda answer: answers.append((answer.status, answer.url)))
        base = f"http://127.0.0.1:{server.server_port}/some/folder/"
        opened.goto(
            base + "notebooks/04-heat-finds-the-forward-pass.html", wait_until="networkidle"
        )
        opened.click("text=Ledger")
        opened.wait_for_selector(f"text=of {len(LEDGER)} claims")
        assert opened.url == base + "figures/LEDGER.html"
        assert {status for status, _ in answers} <= {200, 304}
        assert all(url.startswith(base) for _, url in answers)
        opened.close()
        server.shutdown()


@pytest.mark.parametrize(
    "word, place",
    [
        ("discord", "notebooks/glossary.html#discord"),
        ("kappa", "notebooks/glossary.html#kappa"),
        ("PyTorch", "your-own-network.html#from-pytorch"),
        ("refuted", "figures/LEDGER.html"),
        ("benchmarks", "figures/bench.html"),
        ("relax", "reference/sheaflib.relax.html#sheaflib.relax"),
    ],
)
def test_the_search_finds_it_offline(browser, word, place):
    context, faults = browser.new_context(offline=True), []
    opened = context.new_page()
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    opened.on(
        "request", lambda asked: faults.append(asked.url) if asked.url[:5] != "file:" else None
    )
    opened.goto((BOOK / "index.html").as_uri())
    opened.get_by_placeholder("Search").fill(word)
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#search-results li a")
    opened.wait_for_timeout(300)
    found = opened.eval_on_selector_all("#search-results li a", "(all) => all.map((a) => a.href)")
    assert any(link.endswith(place) for link in found[:5]), found[:8]
    assert faults == []
    context.close()


def test_formulas_do_not_depend_on_what_a_menu_has_stored(browser):
    """MathJax's menu, which the book leaves out, keeps choices that need files it does not have."""
    context = browser.new_context()
    opened = context.new_page()
    place = (BOOK / "notebooks" / "02-unitriangular.html").as_uri()
    opened.goto(place)
    stored = json.dumps({"renderer": "CHTML", "explorer": True, "collapsible": True})
    opened.evaluate("(all) => localStorage.setItem('MathJax-Menu-Settings', all)", stored)
    opened.goto(place)
    wait_for_formulas(opened)
    formulas = opened.locator(".math").count()
    assert formulas > 50 and opened.locator(".math mjx-container svg").count() == formulas
    assert opened.locator(".math mjx-assistive-mml math").count() == formulas
    context.close()


def test_light_and_dark_can_be_chosen(browser):
    opened = browser.new_page(color_scheme="light")
    opened.goto((BOOK / "index.html").as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    seen = {opened.evaluate(colour)}
    for _ in range(3):
        opened.locator("button.theme-toggle:visible").click()
        opened.wait_for_timeout(300)
        seen.add(opened.evaluate(colour))
    assert len(seen) == 2
    opened.close()


def test_the_landing_page_answers_first_questions():
    """The definition of discord, the meaning of κ, a module of PyTorch, what is refuted: a link."""
    assert {
        "notebooks/glossary.html#discord",
        "notebooks/glossary.html#kappa",
        "your-own-network.html#from-pytorch",
        "figures/LEDGER.html",
        "reading.html",
        "reference.html",
    } <= set(page("index.html").links)


def test_the_notebooks_stand_in_order():
    names = [f"notebooks/{each['file'].removesuffix('ipynb')}html" for each in INDEX]
    found = [link for link in page("index.html").links if link in names]
    assert list(dict.fromkeys(found)) == names
    for each in INDEX:
        assert f"{each['number']} {each['title']}" in page("index.html").text


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["number"])
def test_a_notebook_shows_its_stored_output(entry):
    """Every line that its cells print, but for spaces; nothing was run to make the page."""
    notebook = json.loads((ROOT / "notebooks" / entry["file"]).read_text(encoding="utf-8"))
    printed = [
        line.strip()
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        for line in "".join(output.get("text", [])).splitlines()
    ]
    shown = page(f"notebooks/{entry['file'].removesuffix('ipynb')}html").text
    assert [line for line in printed if " ".join(line.split()) not in shown] == []


def test_the_gallery_has_every_figure():
    found = page("gallery.html")
    alts = {each["alt"] for each in found.images}
    straight = found.text.replace("’", "'").replace(" ,", ",")
    for entry in INDEX:
        assert f"notebooks/{entry['file'].removesuffix('ipynb')}html" in found.links
        for figure in entry["figures"].values():
            assert " ".join(figure["caption"].replace("`", "").split()) in straight
            assert figure["alt"].translate(str.maketrans("[]", "()")) in alts
    rows = {f"figures/LEDGER.html#{row['id'].replace('.', '-')}" for row in LEDGER}
    assert rows <= set(found.links)


def test_the_ledger_has_every_claim_and_can_be_sorted_and_filtered(browser):
    opened = browser.new_page()
    opened.goto((BOOK / "figures" / "LEDGER.html").as_uri())
    rows = opened.locator("article tbody tr:visible")
    assert rows.count() == len(LEDGER)
    for row in LEDGER:
        assert row["id"].replace(".", "-") in page("figures/LEDGER.html").anchors
        assert row["id"] in page("figures/LEDGER.html").text
    opened.get_by_label("verdict").select_option("refuted")
    refuted = [row for row in LEDGER if row["verdict"] == "refuted"]
    assert rows.count() == len(refuted)
    opened.get_by_label("notebook").select_option("06")
    assert rows.count() == sum(row["notebook"] == "06" for row in refuted)
    opened.get_by_label("verdict").select_option("all")
    opened.get_by_label("notebook").select_option("all")
    opened.get_by_label("words").fill("skip connections break")
    assert rows.count() == 1
    opened.get_by_label("words").fill("")
    column = opened.locator("article tbody tr td:nth-child(6)")
    for direction in ("ascending", "descending"):
        opened.get_by_role("button", name="notebook").click()
        numbers = column.all_inner_texts()
        assert numbers == sorted(numbers, reverse=direction == "descending")
        head = opened.locator(f"th[aria-sort={direction}]")
        assert head.inner_text().startswith("notebook")
    opened.close()


def test_every_word_of_the_glossary_links_back():
    """To each notebook and page that links to it, and to no other."""
    text = (BOOK / "notebooks" / "glossary.html").read_text(encoding="utf-8")
    sections = dict(
        re.findall(r'<section id="([\w-]+)">\n<h2>(.*?)</section>', text, flags=re.DOTALL)
    )
    linked: dict[str, set] = {}
    sources = [ROOT / "notebooks" / entry["file"] for entry in INDEX]
    for source in [*sources, *(ROOT / "docs").glob("*.md"), ROOT / "CHANGELOG.md"]:
        place = "" if source.parent.name == "notebooks" else "../"
        for anchor in re.findall(r"glossary\.md#([\w-]+)", source.read_text(encoding="utf-8")):
            linked.setdefault(anchor, set()).add(f"{place}{source.stem}.html")
    assert len(linked) > 50
    for anchor, section in sections.items():
        _, _, used = section.partition("Used in")
        back = set(re.findall(r'href="([^"#]+)', used))
        assert back == linked.get(anchor, set()), anchor


def test_the_reference_has_a_page_for_every_name_it_lists():
    """What these pages say, tests/book/test_docstrings.py holds to numpydoc's validator."""
    listed = re.findall(
        r"(?m)^   (\w+)$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    )
    pages = [name for name in PAGES if name.startswith("reference/")]
    assert len(pages) == len(listed) > 80
    for name in pages:
        assert "In the paper:" in page(name).text and ">>>" in page(name).text, name


@pytest.mark.parametrize(
    "name, run",
    [("index.html", "2x4x1"), ("notebooks/04-heat-finds-the-forward-pass.html", "2x6x4x4x1")],
)
def test_the_live_network_of_a_page_is_the_recorded_run(browser, name, run):
    """Its steps, and then a hard pin moved to -1, are those of `heat` and of `relax`; the other
    tests of it are in test_explore.py. Without a script a picture stands there.
    """
    sheaf, x, start = tasks.heat_run(run)
    opened = browser.new_page(reduced_motion="reduce")  # so that nothing plays by itself
    opened.goto((BOOK / name).as_uri())
    explorer = opened.locator(".sheaf-explorer")
    assert explorer.get_by_role("button", name="Play").is_visible()
    state = "(e) => e.explorer.state.w"
    states = list(islice(heat(sheaf, x, start, dt=0.01), 4001))
    for before, step in ((0, 1), (1, 100), (100, 1000), (1000, 4000)):
        explorer.evaluate("(e, n) => e.explorer.advance(n)", step - before)
        w = states[step].cochain[0]
        np.testing.assert_allclose(explorer.evaluate(state), w, rtol=0, atol=1e-9 * abs(w).max())
    last = sheaf.network.output_name
    explorer.get_by_label("Pin", exact=True).select_option("hard")
    explorer.get_by_label("Pinned coordinate").select_option(f"{last}[0]")
    explorer.get_by_label("Value of the pin").fill("-1")
    explorer.evaluate("(e) => e.explorer.advance(3000)")
    held = relax(
        sheaf, x, states[-1].cochain, dt=0.01, pins=hard(last, -1), max_steps=3000, tol=1e-15
    )
    np.testing.assert_allclose(explorer.evaluate(state), held.cochain[0], rtol=1e-9, atol=1e-9)
    opened.close()
    still = browser.new_context(java_script_enabled=False).new_page()
    still.goto((BOOK / name).as_uri())
    assert still.locator(".sheaf-explorer img").is_visible()
    assert not still.get_by_role("button", name="Play").is_visible()
    still.context.close()
