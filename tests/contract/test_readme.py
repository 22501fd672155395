"""The README and the pages in docs/: their code prints what it says, their links lead somewhere,
and the README is short, says what the figure of the race shows, and reads others' networks.
"""

import doctest
import json
import re
from pathlib import Path

import pytest
from pages import anchors
from pages import links as links_of
from sklearn.datasets import load_digits

from sheaflib import Network

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "sheaflib/README.md", ROOT / "figures/LEDGER.md"]


def each(files):
    """Parametrize a test over files, by their paths in the repository."""
    names = [file.relative_to(ROOT).as_posix() for file in files]
    return pytest.mark.parametrize("page", files, ids=names)


def blocks(text, word):
    """The Python blocks of a text in which `word` stands."""
    return [
        code for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if word in code
    ]


def block(word):
    """The one Python block of the README in which `word` stands."""
    (found,) = blocks(README, word)
    return found


def read(page):
    """The text of a page."""
    return page.read_text(encoding="utf-8")


def links(page):
    """The local links and pictures of a page, as (file, anchor)."""
    return links_of(read(page))


@pytest.mark.parametrize("name, least", [("README.md", 9), ("docs/library.md", 40)])
def test_examples_print_what_they_say(name, least):
    text = (ROOT / name).read_text(encoding="utf-8")
    code = "".join(blocks(text, ">>>"))
    test = doctest.DocTestParser().get_doctest(code, {}, name, name, 0)
    assert len(test.examples) >= least
    assert doctest.DocTestRunner().run(test).failed == 0


def test_no_other_page_has_examples():
    having = [page.name for page in PAGES if ">>>" in page.read_text(encoding="utf-8")]
    assert having == ["README.md", "library.md"]


def test_the_first_example_has_about_ten_lines():
    """Ten statements, as the README says above it, besides what they print."""
    first = re.search(r"In ten lines:\n\n```python\n(.*?)```", README, flags=re.DOTALL)[1]
    assert first == blocks(README, ">>>")[0]
    assert len(doctest.DocTestParser().get_examples(first)) == 10


def test_three_lines_read_a_network_and_report_on_it(capsys):
    """The README's lines as they stand, on the file of notebook 14 and scikit-learn's digits."""
    lines = block("read(").replace("model.onnx", str(ROOT / "notebooks" / "14-digits-cnn.onnx"))
    assert len([line for line in lines.splitlines() if line and "import" not in line]) == 3
    x, y = load_digits(return_X_y=True)
    space = {"x": x[:8] / 16, "y": y[:8]}
    exec(lines, space)
    assert isinstance(space["network"], Network) and space["network"].difference < 1e-5
    assert "block1.relu1" in capsys.readouterr().out


def test_the_readme_is_a_door():
    assert len(README.encode()) <= 8000


@each(LINKED)
def test_every_local_link_leads_somewhere(page):
    found = links(page)
    assert (
        found or page.name in ("CHANGELOG.md", "README.md") or "```{include} README" in read(page)
    )
    targets = [(page.parent / file if file else page, anchor) for file, anchor in found]
    assert [file for file, _ in targets if not file.exists()] == []
    lost = [
        (file, anchor) for file, anchor in targets if anchor and anchor not in anchors(read(file))
    ]
    assert lost == []


def test_every_page_is_one_link_from_the_readme_or_in_the_contents_of_the_book():
    """Pages that only the book has stand in the contents of its landing page."""
    reached = {(ROOT / file).resolve() for file, _ in links(ROOT / "README.md") if file}
    contents = "\n".join(
        re.findall(r"```{toctree}\n(.*?)```", read(ROOT / "docs/index.md"), re.DOTALL)
    )
    reached |= {(ROOT / "docs" / f"{line}.md").resolve() for line in contents.splitlines()}
    assert [page.name for page in PAGES[1:] if page.resolve() not in reached] == ["index.md"]
    assert ROOT / "figures" / "LEDGER.md" in reached


def test_what_the_readme_says_of_the_race_is_what_its_figure_shows():
    """The numbers, and how many rows differ from backpropagation and from its null on one side."""
    shown = json.loads(
        (ROOT / "figures" / "11" / "11-competitive.json").read_text(encoding="utf-8")
    )
    ledger = json.loads((ROOT / "figures" / "ledger.json").read_text(encoding="utf-8"))
    ratios, over_null = shown["numbers"]["ratios"], shown["numbers"]["over null"]
    medians = {name: [row[0] for row in ratios[name].values()] for name in ("primary", "null")}
    low, high = min(medians["primary"]), max(medians["primary"])
    least, most = min(medians["null"]), max(medians["null"])
    text = " ".join(README.split())
    paper = next(row for row in ledger if row["id"] == "gap.goal.paper")
    assert f"is {low:.2f} to {high:.2f} times backpropagation's" in text
    assert f"is already {least:.2f} to {most:.2f}" in text
    both = [(ratios["primary"][name], over_null[name]) for name in over_null]
    lower = sum(all(end < 1 for _, _, end in pair) for pair in both)
    higher = sum(all(begin > 1 for _, begin, _ in pair) for pair in both)
    assert (len(both), lower, higher) == (9, 2, 1)
    said = "of nine rows it is lower on two, higher on one, and not to be told apart on six"
    assert said in text and f"on {paper['measured']} of 8 rows" in text
