"""What every notebook, figure and claim keeps to; it holds for whatever notebooks there are, and
fails when there are none.
"""

import json
import re
from dataclasses import replace

import pytest

from sheaflib.companion.record import gallery, index
from sheaflib.companion.record.claims import read_claims
from sheaflib.plots.palette import VERDICT_COLOURS
from tools import ledgers, notebooks, runs
from tools.project import Project

PROJECT = Project()
EVERY = notebooks.load(PROJECT)
FIGURES = [name for notebook in EVERY for name in notebook.figures]
CLAIMS = read_claims(PROJECT.notebooks / "claims.toml")
LINE = re.compile(r"^[✓≠○✗·] ([^\s:]+): ", re.MULTILINE)
each_notebook = pytest.mark.parametrize("notebook", EVERY, ids=lambda n: n.number)
each_figure = pytest.mark.parametrize("name", FIGURES)


def code_cells(notebook):
    """Return the code cells of a notebook that hold code."""
    cells = notebooks.read(notebook.path).cells
    return [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]


def printed(notebook):
    """Return everything that a notebook's cells printed."""
    cells = code_cells(notebook)
    return "".join(o.text for cell in cells for o in cell.outputs if o.output_type == "stream")


def ledger():
    """Return the records of the committed ledger."""
    return json.loads((PROJECT.figures / "ledger.json").read_text(encoding="utf-8"))


def roomy(claim):
    """Return a claim that allows for the rounding of what the ledger holds, at most a twentieth of
    its tolerance or bound.
    """
    if claim.kind in ("equal", "measured"):
        return replace(claim, tolerance=claim.tolerance * 1.06)
    return replace(
        claim,
        expected=claim.expected + (0.06 if claim.kind == "below" else -0.06) * abs(claim.expected),
    )


def test_the_index_lists_the_notebooks_there_are():
    listed = re.findall(
        r'^file\s*=\s*"(.+)"',
        (PROJECT.notebooks / "index.toml").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert EVERY and sorted(listed) == sorted(p.name for p in PROJECT.notebooks.glob("*.ipynb"))
    assert (
        all(n.file.startswith(f"{n.number}-") for n in EVERY)
        and len(set(FIGURES)) == len(FIGURES) > 0
    )


@each_notebook
def test_a_notebook_was_run_from_top_to_bottom(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(o.output_type == "error" for cell in cells for o in cell.outputs)


@each_notebook
def test_no_cell_hides_its_value_behind_a_semicolon(notebook):
    """IPython may still print such a value, which then differs from what is committed."""
    hidden = [cell["id"] for cell in code_cells(notebook) if cell.source.rstrip().endswith(";")]
    assert not hidden, f"{notebook.file}: assign the last value to a name in cells {hidden}"


@each_notebook
def test_a_notebook_is_committed_clean_and_small(notebook):
    text = notebook.path.read_text(encoding="utf-8")
    assert notebooks.clean(notebooks.read(notebook.path)) == text
    live = [
        len(json.dumps(output.data).encode())
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "sheaf-explorer" in output.get("data", {}).get("text/html", "")
    ]
    assert len(text.encode()) - sum(live) <= 300_000
    assert len(live) <= 1 and sum(live) <= 80_000  # a live network brings its script along


@each_notebook
def test_a_notebook_has_a_title_ids_parameters_and_a_picture(notebook):
    cells = notebooks.read(notebook.path).cells
    ids = [cell.id for cell in cells]
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert len(set(ids)) == len(ids) and all(
        re.fullmatch(rf"{notebook.number}-[A-Za-z0-9-]*[a-z][A-Za-z0-9-]*", i) for i in ids
    ), ids
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    assert any("image/png" in o.get("data", {}) for cell in cells for o in cell.get("outputs", []))


@each_notebook
def test_the_parameter_sets_of_the_index_are_the_notebooks(notebook):
    for given in (notebook.quick, *(entry["parameters"] for entry in notebook.batch)):
        notebooks.check_parameters(notebook, given)


@each_notebook
def test_the_index_has_the_parameters_of_the_notebook_with_their_defaults(notebook):
    (cell,) = [
        cell
        for cell in notebooks.read(notebook.path).cells
        if "parameters" in cell.metadata.get("tags", [])
    ]
    session = {}
    exec(cell.source, session)
    del session["__builtins__"]
    assert notebook.parameters == session


@each_notebook
def test_a_notebook_checks_its_claims_and_no_other(notebook):
    own = sorted(name for name, claim in CLAIMS.items() if claim.notebook == notebook.number)
    assert sorted(LINE.findall(printed(notebook))) == own


def test_every_claim_names_a_notebook_of_the_index():
    assert CLAIMS and {claim.notebook for claim in CLAIMS.values()} <= {n.number for n in EVERY}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_is_one_short_sentence_with_short_evidence(claim):
    assert claim.says and len(claim.statement.split()) <= 25
    assert len((claim.evidence or "").split()) <= 40


def test_the_ledger_has_every_claim_with_the_verdict_expected():
    rows = ledger()
    assert {row["id"]: row["verdict"] for row in rows} == {
        name: claim.verdict for name, claim in CLAIMS.items()
    }
    assert len(rows) == len(CLAIMS) and all(tuple(row) == ledgers.FIELDS for row in rows)
    order = [("refuted", "holds", "measured").index(row["verdict"]) for row in rows]
    assert order == sorted(order), "refuted first"


def test_the_ledger_says_what_the_claims_say():
    for row in ledger():
        claim = CLAIMS[row["id"]]
        expected = {
            "notebook": claim.notebook,
            "statement": claim.statement,
            "source": claim.source,
            "expected": claim.written_expected(),
            "tolerance": claim.written_tolerance(),
        }
        assert {key: row[key] for key in expected} == expected
        assert claim.verdict == "refuted" or roomy(claim).agrees(row["measured"]), row["id"]


@each_figure
def test_a_figure_has_its_three_files_and_they_are_small(name):
    files = [PROJECT.figures / (index.place(name) + ending) for ending in runs.ENDINGS]
    assert (
        all(path.is_file() for path in files)
        and sum(path.stat().st_size for path in files) <= gallery.LIMIT
    )


@each_figure
def test_a_figures_numbers_have_the_hash_that_all_three_files_hold(name):
    stored = json.loads((PROJECT.figures / f"{index.place(name)}.json").read_text(encoding="utf-8"))
    assert (
        stored["caption"] == index.figure(name)["caption"]
        and gallery.numbers_hash(stored["numbers"]) == stored["sha256"]
    )
    for ending in (".pdf", ".png"):
        assert (
            stored["sha256"].encode()
            in (PROJECT.figures / (index.place(name) + ending)).read_bytes()
        )


def test_the_scoreboard_shows_every_claim_in_the_colour_of_its_verdict():
    text = (PROJECT.figures / "scoreboard.svg").read_text(encoding="utf-8")
    rows = json.loads((PROJECT.figures / "ledger.json").read_text(encoding="utf-8"))
    shown = re.findall(r'<rect class="(\w+)" .*? fill="(.*?)"><title>(\S+): ', text)
    wanted = [(r["verdict"], VERDICT_COLOURS[r["verdict"]], r["id"]) for r in rows]
    assert sorted(shown) == sorted(wanted)


@each_figure
def test_a_figure_has_words_for_those_who_cannot_see_it(name):
    said = index.figure(name)
    assert len(said["alt"].split()) >= 12 and said["alt"] != said["caption"]


def test_no_figure_is_left_over():
    expected = {name + ending for name in FIGURES for ending in runs.ENDINGS}
    files = [path for path in PROJECT.figures.rglob("*") if path.is_file()]
    assert {path.name for path in files} - runs.NOT_FIGURES == expected


@pytest.mark.parametrize("name", ledgers.GENERATED)
def test_what_quotes_the_ledger_and_the_figures_is_current(name):
    text = (PROJECT.root / name).read_text(encoding="utf-8")
    assert ledgers.filled(name, PROJECT) == text
