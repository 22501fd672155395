"""What is public has type hints: mypy's configuration asks for them, and they are there at run
time.
"""

import inspect
import shutil
import subprocess
import sys
import tomllib
from functools import cached_property

import pytest

import sheaflib
from tools.project import REPOSITORY

CALLABLE = [name for name in sheaflib.__all__ if callable(getattr(sheaflib, name))]
CONFIGURATION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]


def unhinted(function, bound=False):
    """Return the names of the parameters without a hint, and "return" where what comes back has
    none; the first parameter of a bound function is the object itself.
    """
    signature = inspect.signature(function)
    given = list(signature.parameters.values())[1 if bound else 0 :]
    missing = [p.name for p in given if p.annotation is inspect.Parameter.empty]
    returned = signature.return_annotation is inspect.Signature.empty
    return missing + ["return"] * (returned and function.__name__ != "__init__")


def own_classes(cls):
    """Return a class of sheaflib and those of its bases that are sheaflib's."""
    return [base for base in cls.__mro__ if base.__module__.split(".")[0] == "sheaflib"]


def public_functions(cls):
    """Yield the functions behind the public methods and properties of a class, its constructor
    included: the name, the function, and whether its first parameter is the object or the class.
    """
    for base in own_classes(cls):
        for name, value in vars(base).items():
            bound = not isinstance(value, staticmethod)
            if isinstance(value, (classmethod, staticmethod)):
                value = value.__func__
            if isinstance(value, property):
                value = value.fget
            if isinstance(value, cached_property):
                value = value.func
            if inspect.isfunction(value) and (name in ("__init__", "__call__") or name[0] != "_"):
                yield f"{base.__name__}.{name}", value, bound


def lacks(name):
    """Return what lacks a hint of one public name: "parameter" or "Class.method parameter"."""
    value = getattr(sheaflib, name)
    if not isinstance(value, type):
        return unhinted(value)
    return [
        f"{where} {missing}"
        for where, function, bound in public_functions(value)
        for missing in unhinted(function, bound)
    ]


@pytest.mark.parametrize("name", CALLABLE)
def test_every_parameter_and_result_of_a_public_name_has_a_hint(name):
    assert lacks(name) == []


def test_most_public_names_are_looked_at():
    functions = [name for name in CALLABLE if not isinstance(getattr(sheaflib, name), type)]
    assert len(functions) >= 12 and len(CALLABLE) >= 25
    assert len(list(public_functions(sheaflib.NeuralSheaf))) >= 20


def test_what_lacks_a_hint_is_found():
    def some(x, y: int, *rest: int, z=1):
        return x

    class Some:
        def method(self, x) -> int:
            return x

    assert unhinted(some) == ["x", "z", "return"]
    assert unhinted(Some.method, bound=True) == ["x"]


# the type checker ---------------------------------------------------------------------------------


def test_no_kind_of_fault_is_left_out():
    """But one in the pictures of the notebooks: a figure carries its numbers, of which matplotlib
    does not know.
    """
    overrides = CONFIGURATION["overrides"]
    left_out = {
        tuple(part.get("module", ())): part["disable_error_code"]
        for part in (CONFIGURATION, *overrides)
        if "disable_error_code" in part
    }
    assert left_out == {("sheaflib.companion.figures.*",): ["attr-defined"]}
    assert not any(part.get("ignore_errors") for part in (CONFIGURATION, *overrides))


@pytest.mark.parametrize(
    "place, asked",
    [("linear/some.py", True), ("plots/some.py", False), ("companion/record/some.py", False)],
)
def test_the_type_checker_asks_for_hints_in_the_public_face(place, asked, tmp_path):
    """The same module with a function without hints and one with some, in another place each time;
    mypy runs with this repository's configuration."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    (tmp_path / "tools").mkdir()
    path = tmp_path / "sheaflib" / place
    path.parent.mkdir(parents=True)
    for folder in (tmp_path / "tools", *path.relative_to(tmp_path).parents[:-1]):
        (tmp_path / folder / "__init__.py").touch()
    path.write_text("def some(x):\n    return x\n\n\ndef other(x: int, y) -> int:\n    return x\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr == ""
    faults = [line for line in done.stdout.splitlines() if line.endswith("[no-untyped-def]")]
    assert [fault.split(":")[1] for fault in faults] == (["1", "5"] if asked else [])
    assert done.returncode == int(asked)
