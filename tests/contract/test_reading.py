"""What a reader of a notebook meets, counted: prose beside code, the length of cells, plumbing, and
how soon there is a picture.
"""

import ast
import re
from statistics import median

import pytest

from tools import notebooks
from tools.project import Project

EVERY = notebooks.load(Project())
WORDS, MEDIAN, LONGEST, PLUMBING, PICTURE = 8, 6, 18, 0.1, 30
# statements that only save, tick, style or lay out
TICKS = re.compile(r"(ledger\.check|gallery\.|plt\.|ax\.|axes)")


def code_cells(notebook):
    return [cell for cell in notebooks.read(notebook.path).cells if cell.cell_type == "code"]


def lines(cell):
    return len(cell.source.splitlines())


@pytest.fixture(params=EVERY, ids=lambda n: n.number)
def notebook(request):
    return request.param


def is_a_picture(output):
    """Whether an output shows a picture, by itself or inside a page of HTML."""
    data = output.get("data", {})
    return "image/png" in data or "<img" in data.get("text/html", "")


def test_there_are_eight_words_of_prose_a_line_of_code(notebook):
    cells = notebooks.read(notebook.path).cells
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    assert words >= WORDS * sum(map(lines, code_cells(notebook)))


def test_cells_are_short(notebook):
    sizes = [lines(cell) for cell in code_cells(notebook)]
    assert median(sizes) <= MEDIAN and max(sizes) <= LONGEST


def test_little_only_saves_ticks_or_lays_out(notebook):
    plumbing = 0
    for cell in code_cells(notebook):
        for statement in ast.parse(cell.source).body:
            if isinstance(statement, ast.Expr) and TICKS.match(ast.unparse(statement)):
                plumbing += statement.end_lineno - statement.lineno + 1
    assert plumbing <= PLUMBING * sum(map(lines, code_cells(notebook)))


def test_the_first_picture_comes_soon(notebook):
    seen = 0
    for cell in code_cells(notebook):
        seen += lines(cell)
        if any(is_a_picture(output) for output in cell.outputs):
            break
    assert seen <= PICTURE


def test_a_notebook_ends_with_things_to_try(notebook):
    text = "\n".join(
        cell.source
        for cell in notebooks.read(notebook.path).cells[-2:]
        if cell.cell_type == "markdown"
    )
    assert "## Try" in text


def test_no_hidden_input(notebook):
    hidden = {"hide-input", "remove-input", "hide-cell"}
    assert not [c.id for c in code_cells(notebook) if hidden & set(c.metadata.get("tags", []))]
    assert not [c.id for c in code_cells(notebook) if re.search(r"\bexec\(|%run", c.source)]
