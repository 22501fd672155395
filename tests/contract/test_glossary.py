"""The glossary of the notebooks: its terms, their order, their names in the library, and the links
from it and to it.
"""

import inspect
import pkgutil
import re

import pytest
from pages import anchor, anchors, links

from tools import notebooks
from tools.project import Project

PROJECT = Project()
EVERY = notebooks.load(PROJECT)
GLOSSARY = PROJECT.notebooks / "glossary.md"
TEXT = GLOSSARY.read_text(encoding="utf-8")
TERMS = re.findall(r"^## (.+)$", TEXT, flags=re.MULTILINE)
ENTRIES = dict(zip(TERMS, re.split(r"^## .+$", TEXT, flags=re.MULTILINE)[1:], strict=True))
MOST = 12  # links from one notebook
each_term = pytest.mark.parametrize("term", TERMS)
each_notebook = pytest.mark.parametrize("notebook", EVERY, ids=lambda n: n.number)


def prose(notebook):
    """The Markdown cells of a notebook, as one text."""
    cells = notebooks.read(notebook.path).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def linked(notebook):
    """The terms of the glossary that a notebook links to, by their anchors, in order."""
    return [name for file, name in links(prose(notebook)) if file == GLOSSARY.name and name]


def library_names(term):
    """The names of an entry's sentence on the library: (dotted name, argument or "")."""
    said = re.search(r"In the library: (.+?)(?:Explained|First used) in", ENTRIES[term], re.DOTALL)
    return re.findall(r"`([\w.]+)(?:\((\w+)\))?`", said[1]) if said else []


def test_the_terms_are_unique_and_in_alphabetical_order():
    assert len(TERMS) > 50 and len({anchor(term) for term in TERMS}) == len(TERMS)
    assert TERMS == sorted(TERMS, key=str.lower)


@each_term
def test_a_term_has_the_same_anchor_everywhere(term):
    """Letters, spaces, hyphens and an apostrophe: sites treat other signs in different ways."""
    assert re.fullmatch(r"[A-Za-z' -]+", term)


@each_term
def test_an_entry_says_where_its_term_is_explained(term):
    explained = re.search(
        r"(?:Explained|First used) in\s+\[notebook\s(\d\d)\]\((.+?)\)", ENTRIES[term]
    )
    files = {notebook.number: notebook.file for notebook in EVERY}
    assert explained and files[explained[1]] == explained[2]


@each_term
def test_an_entry_names_what_the_library_has(term):
    for name, argument in library_names(term):
        path = name if name.startswith("sheaflib.") else f"sheaflib.{name}"
        found = pkgutil.resolve_name(path)
        assert not argument or argument in inspect.signature(found).parameters, (name, argument)


def test_most_entries_name_something_of_the_library():
    assert sum(bool(library_names(term)) for term in TERMS) > len(TERMS) / 2


def test_the_links_of_the_glossary_lead_somewhere():
    found = links(TEXT)
    assert {file for file, _ in found if file} >= {notebook.file for notebook in EVERY[:10]}
    assert [file for file, _ in found if not (PROJECT.notebooks / file).exists()] == []
    own = [name for file, name in found if not file]
    assert own and set(own) <= anchors(TEXT)


@each_term
def test_no_entry_links_to_itself(term):
    assert ("", anchor(term)) not in links(ENTRIES[term])


def test_every_term_stands_once_in_the_list_by_subject():
    listed = [name for file, name in links(TEXT[: TEXT.index("\n## ")]) if not file]
    assert sorted(listed) == sorted(anchor(term) for term in TERMS)


def test_the_notebooks_link_to_the_glossary():
    assert sum(bool(linked(notebook)) for notebook in EVERY) >= 12


@each_notebook
def test_a_notebooks_links_lead_to_a_term(notebook):
    assert set(linked(notebook)) <= {anchor(term) for term in TERMS}


@each_notebook
def test_a_notebook_links_a_term_once_and_few_terms(notebook):
    found = linked(notebook)
    assert len(set(found)) == len(found) <= MOST


@each_notebook
def test_no_heading_links_to_the_glossary(notebook):
    headings = re.findall(r"^#+ .*$", prose(notebook), flags=re.MULTILINE)
    assert headings and not [h for h in headings if GLOSSARY.name in h]
