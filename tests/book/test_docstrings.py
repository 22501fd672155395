"""The docstrings of sheaflib's public face are numpydoc's: whole, in order, and easy to look up.

The public face is what the book's reference lists: `sheaflib.__all__`, the functions of
`sheaflib.layers`, and what else users call; and the public methods and properties of the classes
among them that sheaflib itself defines, base classes included. What a class inherits from Python's
own classes is documented there.
"""

import dataclasses
import functools
import importlib
import inspect
import re
from pathlib import Path

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate

import sheaflib
from sheaflib import layers

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {  # codes of numpydoc's validator that are not asked for, with the reason of each
    "ES01": "an extended summary is not always needed: some things are said in one sentence",
    "SA01": "links to other objects stand in the text, where they are needed",
}
ALLOWED_OF_MEMBERS = {
    **ALLOWED,
    "EX01": "the example of the class shows how its methods and properties are used",
}
PAPER = re.compile(r"In the paper: \S(.*\S)?\.$", re.MULTILINE)


def functions_of(module):
    """Return the names of the public functions that a module defines, in order."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    ]


def listed():
    """Return the full names that docs/reference.md lists, in order."""
    found, module = [], ""
    for line in (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            found.append(f"{module}.{line.strip()}")
    return found


PUBLIC = listed()


def public(name):
    """Return the object of a public name."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


CLASSES = [name for name in PUBLIC if inspect.isclass(public(name))]


def is_member(value):
    """Return whether an entry of a class is a method or a property, of any kind."""
    kinds = (property, functools.cached_property, classmethod, staticmethod)
    return inspect.isfunction(value) or isinstance(value, kinds)


def members_of(name):
    """Return the full names of the methods and properties that sheaflib gives to a class."""
    own = [c for c in public(name).__mro__ if c.__module__.split(".")[0] == "sheaflib"]
    keys = sorted({key for c in own for key in vars(c) if not key.startswith("_")})
    return [f"{name}.{key}" for key in keys if is_member(inspect.getattr_static(public(name), key))]


MEMBERS = [member for name in CLASSES for member in members_of(name)]


def errors_of(name, allowed):
    """Return what numpydoc's validator has against a docstring, but what is allowed."""
    return [f"{code}: {said}" for code, said in validate(name)["errors"] if code not in allowed]


@pytest.mark.parametrize("name", PUBLIC)
def test_numpydoc_has_nothing_against_a_public_name(name):
    assert errors_of(name, ALLOWED) == []


@pytest.mark.parametrize("name", MEMBERS)
def test_numpydoc_has_nothing_against_a_method_or_a_property(name):
    assert errors_of(name, ALLOWED_OF_MEMBERS) == []


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_its_place_in_the_paper_and_has_an_example(name):
    doc = get_doc_object(public(name))
    assert PAPER.search("\n".join(doc["Notes"]))
    assert any(line.startswith(">>> ") for line in doc["Examples"])


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_of_a_class_is_explained(name):
    cls = public(name)
    doc = get_doc_object(cls)
    said = {
        part.strip()
        for section in ("Parameters", "Attributes")
        for entry in doc[section]
        if entry.desc
        for part in entry.name.split(",")
    }
    fields = getattr(cls, "_fields", ())
    if dataclasses.is_dataclass(cls):
        fields = [field.name for field in dataclasses.fields(cls)]
    assert set(fields) <= said


def test_the_public_face_is_all_there():
    exported = {f"sheaflib.{name}" for name in sheaflib.__all__}
    assert len(PUBLIC) == len(set(PUBLIC)) and exported <= set(PUBLIC)
    assert {f"sheaflib.layers.{name}" for name in functions_of(layers)} <= set(PUBLIC)
    assert "sheaflib.layers.max_pool" in PUBLIC and "sheaflib.layers.choice" not in PUBLIC
    assert "sheaflib.Affine.pattern" in MEMBERS  # from its base class
    assert "sheaflib.HeatUnstable.add_note" not in MEMBERS  # from Python's own


def test_a_poor_docstring_is_found(monkeypatch):
    def poor(kernel):
        """makes a layer

        In the paper: somewhere
        """
        return kernel

    monkeypatch.setattr(layers, "poor", poor, raising=False)
    codes = {error.split(":")[0] for error in errors_of("sheaflib.layers.poor", ALLOWED)}
    assert codes >= {"SS02", "SS03", "PR01", "RT01", "EX01"}
    assert not PAPER.search(inspect.getdoc(poor))
