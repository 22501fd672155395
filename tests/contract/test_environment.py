"""pyproject.toml, environment.yml and requirements.lock say the same; the step `env` says what it
does."""

import os
import re
import subprocess
import sys
import tomllib
from unittest.mock import Mock

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools import __main__ as commands
from tools import environment, surroundings
from tools.project import REPOSITORY, Refusal, file_digest
from tools.surroundings import process_environment

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
CONDA = {"matplotlib-base": "matplotlib", "seaborn-base": "seaborn", "flit-core": "flit_core"}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def extra(name):
    """Return {name: bounds} of an extra, with what the extras bring that it names in turn."""
    found = {}
    for line in map(Requirement, PROJECT["optional-dependencies"][name]):
        if line.name == "sheaflib":
            for other in line.extras:
                found |= extra(other)
        else:
            found[line.name] = line.specifier
    return found


def declared():
    """Return {name: bounds} of all that the commands need: the tests need the most."""
    core = {line.name: line.specifier for line in map(Requirement, PROJECT["dependencies"])}
    return core | extra("test")


def locked():
    """Return the pinned requirements of the lock with the number of hashes of each."""
    text = (REPOSITORY / "requirements.lock").read_text().replace("\\\n", "")
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [
        (Requirement(line.split("--hash")[0].strip()), line.count("--hash=sha256:"))
        for line in lines
        if line
    ]


def test_the_library_alone_needs_what_it_computes_with():
    names = [Requirement(line).name for line in PROJECT["dependencies"]]
    assert names == ["numpy", "scipy", "numba"]


def test_the_extras_bring_what_they_are_named_after():
    plots, notebooks, tests = extra("plots"), extra("notebooks"), extra("test")
    assert set(plots) == {"matplotlib", "seaborn", "pillow"}
    assert set(extra("sklearn")) == {"scikit-learn"} and set(extra("onnx")) == {"onnx"}
    assert set(extra("torch")) == {"torch", "onnx", "onnxscript"}  # modules are read through ONNX
    commands = {"jupyterlab", "papermill", "nbval", "joblib", "tqdm"}
    assert {*commands, *plots, *extra("sklearn"), *extra("onnx")} <= set(notebooks)
    assert set(extra("dask")) == {"joblib", "distributed"}
    assert {"pytest", "hypothesis", "ruff", "mypy", *notebooks, *extra("dask")} <= set(tests)
    assert "torch" not in tests and not {"pytest", "hypothesis", "ruff", "mypy"} & set(notebooks)


def test_the_tools_read_the_same_out_of_pyproject():
    core = {line.name: line.specifier for line in map(Requirement, PROJECT["dependencies"])}
    for extras in (("notebooks",), ("test", "torch")):
        found = environment.requirements(extras=extras)
        read = {line.name: line.specifier for line in found}
        wanted = [extra(each) for each in extras]
        assert read == {name: bounds for found in (core, *wanted) for name, bounds in found.items()}


def test_a_reason_stands_beside_every_upper_bound():
    lines = (REPOSITORY / "pyproject.toml").read_text().splitlines()
    bounded = [line for line in lines if re.search(r'"[^"]*<[\d.]+"', line)]
    again = 2  # Python itself, and the back end of the build
    assert len(bounded) == sum("<" in str(bounds) for bounds in declared().values()) + again
    assert not [line for line in bounded if not re.search(r"  ?# \w", line)]


def test_conda_has_the_bounds_of_pyproject():
    entries = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    assert entries[-1] == {"pip": ["-e ."]} and entries[-2] == "pip"
    conda = {CONDA.get(r.name, r.name): r.specifier for r in map(Requirement, entries[:-2])}
    assert conda.pop("python") == SpecifierSet(PROJECT["requires-python"])
    assert conda == declared()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_pyproject_on_every_python(python):
    marks = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    pins = {}
    for requirement, hashes in locked():
        assert hashes > 0 and len(requirement.specifier) == 1
        if requirement.marker is None or requirement.marker.evaluate(marks):
            assert pins.setdefault(canonicalize_name(requirement.name), requirement) is requirement
    for name, bounds in declared().items():
        version = next(iter(pins[canonicalize_name(name)].specifier)).version
        assert version in bounds, f"{name} {version} is not {bounds}"


def test_the_lock_names_no_place_and_no_pytorch():
    text = (REPOSITORY / "requirements.lock").read_text()
    places = ("http:", "https:", "file:", "--find-links", "--index-url", " @ ")
    assert not [word for word in (*places, "torch") if word in text]


def test_the_tests_run_on_an_admitted_python_with_what_is_required():
    environment.check_python()
    assert environment.shortcomings(extras=environment.TESTS) == []


@pytest.mark.parametrize(
    "command, needed",
    [
        ("figures", {"notebooks"}),
        ("quick", {"notebooks"}),
        ("test", {"test"}),
        ("bench", {"test"}),
        ("mutants", {"test"}),
    ],
)
def test_a_command_asks_for_the_extras_it_needs(command, needed, monkeypatch):
    asked = []
    monkeypatch.setattr(
        environment, "ensure", lambda extras: asked.append(set(extras)) or sys.executable
    )
    monkeypatch.setattr(commands.importlib, "import_module", lambda name: Mock())
    assert commands.perform(commands.parsed([command]), [command], Mock())
    assert asked == [needed]


@pytest.mark.parametrize("version", [(3, 10), (3, 15)])
def test_another_python_is_named(version):
    said = "Python 3.11 to 3.14, and this is %d.%d" % version
    with pytest.raises(Refusal, match=said):
        environment.check_python(version)


def wanting(folder, *requirements):
    """Return a folder whose pyproject.toml requires these and, in an extra, packaging."""
    lines = f"dependencies = {list(requirements)}\n[project.optional-dependencies]\n"
    text = f'[project]\nname = "toy"\n{lines}all = ["toy[more]"]\nmore = ["packaging<1"]\n'
    (folder / "pyproject.toml").write_text(text)
    return folder


@pytest.mark.parametrize(
    "requirement, said",
    [
        ("no-such-thing>=1", "no-such-thing is missing"),
        ("numpy>=99", "is not >=99"),
        ("numpy<1", "is not <1"),
    ],
)
def test_shortcomings_name_what_is_missing_or_old(tmp_path, requirement, said):
    found = environment.shortcomings(wanting(tmp_path, requirement, "numpy>=2"))
    assert len(found) == 1 and said in found[0]


def test_an_extra_brings_what_the_extras_it_names_bring(tmp_path):
    root = wanting(tmp_path, "numpy>=2")
    assert environment.shortcomings(root) == []
    [found] = environment.shortcomings(root, ["all"])
    assert found.startswith("packaging ") and found.endswith(" is not <1")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Return a folder with a lock, and the environments that get built in it, for no active one."""
    (tmp_path / "requirements.lock").write_text("a==1\n")
    monkeypatch.setattr(environment.sys, "base_prefix", sys.prefix)
    built = []
    monkeypatch.setattr(
        environment, "build", lambda *_, fresh: built.append("fresh" if fresh else "updated")
    )
    return tmp_path, built


def test_the_state_of_the_environment_is_told_apart(outside):
    root, built = outside
    python = root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = root / ".venv" / environment.STAMP
    assert environment.ensure(root) == str(python) and built == ["fresh"]
    python.parent.mkdir(parents=True)
    python.touch()
    stamp.write_text("")
    assert environment.ensure(root) == str(python) and built == ["fresh", "fresh"], "unfinished"
    stamp.write_text(file_digest(root / "requirements.lock"))
    assert environment.ensure(root) == str(python) and len(built) == 2, "ready"
    (root / "requirements.lock").write_text("a==2\n")
    assert environment.ensure(root) == str(python) and built[2:] == ["updated"]


def test_an_environment_of_someone_else_is_left_alone(outside):
    root, built = outside
    (root / ".venv").mkdir()
    (root / ".venv" / "pyvenv.cfg").touch()
    with pytest.raises(Refusal, match="was not made by this command"):
        environment.ensure(root)
    assert built == []


def test_an_environment_that_cannot_be_made_stays_unfinished(tmp_path, monkeypatch):
    (tmp_path / "requirements.lock").write_text("a==1\n")
    folder = tmp_path / ".venv"
    monkeypatch.setattr(environment.subprocess, "call", lambda command, cwd: 1)
    with pytest.raises(Refusal, match="failed: .* -m venv "):
        environment.build(tmp_path, folder, folder / "bin" / "python", "reason", fresh=True)
    assert (folder / environment.STAMP).read_text() == ""


def test_what_runs_before_the_environment_needs_the_standard_library_only():
    code = "import tools.__main__ as command_line; command_line.main(['help'])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0 and "make COMMAND" in done.stdout, done.stderr


def test_large_matrices_are_multiplied_with_the_instructions_of_all_runs():
    """OpenBLAS 0.3.34, of the NumPy for Python 3.12 on, crashed here on a Zen 4."""
    code = "import numpy as np; A = np.ones((500, 500)); print((A @ A).min(), (A @ A).max())"
    changed = process_environment(surroundings.target())
    done = subprocess.run([sys.executable, "-c", code], env=changed, capture_output=True, text=True)
    assert done.stdout.split() == ["500.0", "500.0"], done.stderr
