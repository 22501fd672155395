"""Every example in sheaflib's docstrings prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import sheaflib

MODULES = [
    "sheaflib",
    *(
        m.name
        for m in pkgutil.walk_packages(sheaflib.__path__, "sheaflib.")
        if not m.name.endswith("__main__")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name):
    failed, _ = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert (
        sum(
            bool(t.examples) for name in MODULES for t in finder.find(importlib.import_module(name))
        )
        >= 10
    )
