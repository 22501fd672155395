"""A notebook's text stays true when its parameters change: every notebook runs at other values of
each parameter, no claim fails there, and nothing that it prints or draws names a default.
"""

import os
import re

import other_values
import pytest
from other_values import COINCIDE, SETS, defaults_in, literal_numbers, said

from tools import notebooks
from tools.project import Project

PROJECT = Project()
NOTEBOOKS = {n.number: n for n in notebooks.load(PROJECT)}
EACH = [(number, place) for number in NOTEBOOKS for place in range(len(SETS.get(number, [])))]


@pytest.fixture
def own_environment():
    """Leave this process's environment as it was, for a run points Jupyter below build/."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("notebook", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_each_parameter_has_two_other_values(notebook):
    given = [parameters for parameters, _ in SETS[notebook.number]]
    # a switch has one other value, which `make batch` runs: tuning anew takes long
    chosen = {n: v for n, v in notebook.parameters.items() if not isinstance(v, bool)}
    assert {name for parameters in given for name in parameters} == set(chosen)
    for name, default in chosen.items():
        known = [default, notebook.quick.get(name, default)]
        values = [p[name] for p in given if name in p and p[name] not in known]
        assert len({repr(value) for value in values}) >= 2, name


@pytest.mark.parametrize("number, place", EACH)
def test_a_notebook_is_true_at_other_values(own_environment, number, place):
    notebook, (parameters, edits) = NOTEBOOKS[number], SETS[number][place]
    folder = PROJECT.build / "other-values" / f"{number}-{place}"
    problem = other_values.run(PROJECT, notebook, parameters, edits, folder)
    assert not problem, problem
    texts = said(folder)
    assert not [text for text in texts if "✗" in text]
    ambiguous = COINCIDE.get(number, ())
    defaults = {n: v for n, v in notebook.parameters.items() if n not in ambiguous}
    assert not defaults_in(texts, defaults, parameters)
    marked = [text for text in texts if re.match("[✓≠○·] ", text)]
    assert marked, "its claims are checked"


@pytest.mark.parametrize("notebook", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_numbers_in_printed_sentences_come_from_variables(notebook):
    code = [cell.source for cell in notebooks.read(notebook.path).cells if cell.cell_type == "code"]
    assert not [text for source in code for text in literal_numbers(source)]


def test_the_search_for_defaults_finds_them():
    """The sentence that once stood in notebook 04, and its like."""
    defaults, given = {"dt": 0.01, "n_fine": 20000, "seeds": 5}, {"dt": 0.02, "n_fine": 7}
    given["seeds"] = 3
    for text in ("29 switches at dt = 0.01", "after 20,000 steps", "20 000", "5 seeds", "dt=0.01"):
        assert defaults_in([text], defaults, given), text
    for text in ("29 switches at dt = 0.02", "dt = 0.012", "5 layers", "0.01", "x20000"):
        assert not defaults_in([text], defaults, given), text
    assert not defaults_in(["dt = 0.01"], defaults, {"dt": 0.01})


def test_the_search_for_literal_numbers_finds_them():
    assert literal_numbers("print(f'at t = 40 it swings by {s:.5f}')")
    assert literal_numbers("f'{bent:.0f} of 30 units'")
    assert literal_numbers("print('100 samples')")
    assert not literal_numbers("print(f'z1 of [2,4,1]: {s:.5f}, {n} of {m}', n)\nx = f'W{1}/2x4x1'")
