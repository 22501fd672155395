"""The example of other parameters in docs/usage.md runs: one notebook at twice the step, into
build/runs.
"""

import os
import re

import pytest

from tools import __main__ as command_line
from tools import runs
from tools.project import REPOSITORY, Project


@pytest.fixture
def own_environment(monkeypatch):
    """Leave this process's environment as it was, for a run points Jupyter below build/."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_one_notebook_with_other_parameters(own_environment):
    """Without taking the checkout, which `make test` holds."""
    text = (REPOSITORY / "docs" / "usage.md").read_text(encoding="utf-8")
    number, given = re.search(r"`make figures NB=(\d+) P='([^']+)'`", text).groups()
    words = ["figures", "--notebook", number, "--parameters", given]
    assert runs.figures(Project(), command_line.parsed(words)) == 0
    made = REPOSITORY / "build" / "runs" / f"{number}-{given}" / "figures" / number
    assert list(made.glob("*.pdf"))
