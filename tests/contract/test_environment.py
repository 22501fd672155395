"""pyproject.toml, environment.yml and requirements.lock say the same; the environment step says what it does."""

import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools import __main__ as commands
from tools import environment, venv
from tools.project import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
CONDA = {"matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}
PYTHONS = ("3.11", "3.12", "3.13")


def declared():
    """Return {name: bounds} of pyproject.toml, the extras of the notebooks and the tests included."""
    lines = [*PROJECT["dependencies"], *(line for extra in environment.TESTS for line in PROJECT["optional-dependencies"][extra])]
    return {r.name: r.specifier for r in map(Requirement, lines)}


def locked():
    """Return the pinned requirements of the lock with the number of hashes of each."""
    text = (REPOSITORY / "requirements.lock").read_text().replace("\\\n", "")
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [(Requirement(line.split("--hash")[0].strip()), line.count("--hash=sha256:")) for line in lines if line]


def test_conda_has_the_bounds_of_pyproject():
    entries = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    assert entries[-1] == {"pip": ["-e ."]} and entries[-2] == "pip"
    conda = {CONDA.get(r.name, r.name): r.specifier for r in map(Requirement, entries[:-2])}
    assert conda.pop("python") == SpecifierSet(PROJECT["requires-python"])
    assert conda == declared()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_pyproject_on_every_python(python):
    marks = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux", "platform_system": "Linux"}
    pins = {}
    for requirement, hashes in locked():
        assert hashes > 0 and len(requirement.specifier) == 1
        if requirement.marker is None or requirement.marker.evaluate(marks):
            assert pins.setdefault(canonicalize_name(requirement.name), requirement) is requirement
    for name, bounds in {**declared(), "flit-core": SpecifierSet(">=3.11,<5")}.items():
        version = next(iter(pins[canonicalize_name(name)].specifier)).version
        assert version in bounds, f"{name} {version} is not {bounds}"


def test_the_lock_names_no_place_and_none_of_the_other_extras():
    text = (REPOSITORY / "requirements.lock").read_text()
    assert not any(word in text for word in ("http:", "https:", "file:", "--find-links", "--index-url", "torch", "distributed==", " @ "))


def test_the_tests_run_on_an_admitted_python_with_what_is_required():
    assert environment.python_problem() == "" and environment.shortcomings(extras=environment.TESTS) == []
    assert environment.versions_admitted() == ((3, 11), (3, 14))


@pytest.mark.parametrize("command, needed", [
    ("figures", {"sklearn"}), ("quick", {"sklearn"}), ("test", {"test", "sklearn"}),
    ("bench", {"test", "sklearn"}), ("mutants", {"test", "sklearn"}),
])  # fmt: skip
def test_a_command_asks_for_the_extras_it_needs(command, needed, monkeypatch):
    asked = []
    monkeypatch.setattr(environment, "ensure", lambda extras: asked.append(set(extras)) or sys.executable)
    monkeypatch.setattr(commands, "dispatch", lambda *_: 0)
    assert commands.main([command]) == 0 and asked == [needed]


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_named(version):
    assert f"Python 3.11 to 3.13, and this is {version[0]}.{version[1]}" in environment.python_problem(version)


def test_shortcomings_name_what_is_missing_or_old():
    assert environment.shortcoming("no-such-thing", {}) == "no-such-thing is missing"
    assert "is not >=99" in environment.shortcoming("numpy", {">=": "99"}) and "is not <1" in environment.shortcoming("numpy", {"<": "1"})
    assert environment.release("3.11.2rc1") == (3, 11, 2)


def test_the_state_of_the_environment_is_told_apart(tmp_path):
    (tmp_path / "requirements.lock").write_text("a==1\n")
    folder, python = tmp_path / ".venv", venv.interpreter(tmp_path / ".venv")
    assert venv.state(tmp_path) == "missing"
    python.parent.mkdir(parents=True)
    assert venv.state(tmp_path) == "unfinished"
    (folder / "pyvenv.cfg").touch()
    assert venv.state(tmp_path) == "foreign"
    (folder / venv.UNFINISHED).touch()
    assert venv.state(tmp_path) == "unfinished"
    (folder / venv.UNFINISHED).unlink()
    (folder / venv.STAMP).write_text(venv.stamp(tmp_path))
    python.touch()
    assert venv.state(tmp_path) == "ready"
    (tmp_path / "requirements.lock").write_text("a==2\n")
    assert venv.state(tmp_path) == "outdated"


def test_a_missing_venv_names_the_package(monkeypatch):
    monkeypatch.setattr(venv.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    venv.check_tools(uv="uv")
    with pytest.raises(SystemExit, match=f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"):
        venv.check_tools(uv=None)


def test_what_runs_before_the_environment_needs_the_standard_library_only():
    code = "import tools.__main__ as m, tools.environment, tools.venv, tools.project, tools.clean; m.main(['help'])"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and "make figures" in done.stdout, done.stderr
