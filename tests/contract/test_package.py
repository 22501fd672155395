"""The wheel and the sdist: what they hold, and what a person has who installs the wheel alone."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.environment import interpreter
from tools.project import REPOSITORY

BUILD = """
import sys
from flit_core import buildapi
for build in sys.argv[2:]:
    getattr(buildapi, build)(sys.argv[1])
"""
ALONE = """
import doctest, importlib.metadata, json, sys
from pathlib import Path

readme = sys.argv[1]
block = Path(readme).read_text(encoding="utf-8").split("```python")[1].split("```")[0]
test = doctest.DocTestParser().get_doctest(block, {}, "README", readme, 0)
failed, attempted = doctest.DocTestRunner().run(test)

import sheaflib
from sheaflib.companion.record.ledger import Ledger

try:
    Ledger("01")
except FileNotFoundError as error:
    said = str(error)
names = [distribution.name for distribution in importlib.metadata.distributions()]
print(json.dumps({"failed": failed, "attempted": attempted, "said": said, "names": names,
                  "at": sheaflib.__file__, "modules": sorted(sys.modules)}))
"""
# what pip and uv say where there is no network
UNREACHED = r"NewConnectionError|ConnectTimeout|Failed to fetch|[Nn]ame or service not known"


def call(*command, cwd, **options):
    """Run a command; the test fails with what it said when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(source, target, *kinds):
    """Build from a source tree, as pip does, with the back end of pyproject.toml and no network."""
    target.mkdir()
    call(sys.executable, "-c", BUILD, target, *kinds, cwd=source)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder that holds a wheel and an sdist of this checkout."""
    folder = tmp_path_factory.mktemp("package") / "dist"
    build(REPOSITORY, folder, "build_wheel", "build_sdist")
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(dist, tmp_path_factory):
    """The sdist's one folder, unpacked."""
    (path,) = dist.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    (only,) = folder.iterdir()
    return only


def files(folder):
    """The files below a folder, by their paths in it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def contents(wheel):
    """The files of a wheel with their bytes."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="this is no checkout of git")
def test_the_sdist_holds_all_that_git_keeps(unpacked):
    tracked = set(call("git", "ls-files", cwd=REPOSITORY).split("\n")) - {""}
    named = {
        "Makefile",
        "requirements.lock",
        "environment.yml",
        "README.md",
        ".ci/run",
        "tools/__main__.py",
        "notebooks/index.toml",
        "sheaflib/py.typed",
        "figures/ledger.json",
    }
    assert named <= tracked and any(name.startswith("tests/") for name in tracked)
    present = {name for name in tracked if (REPOSITORY / name).is_file()}
    assert present - files(unpacked) == set()


def test_the_sdist_holds_nothing_that_can_be_made_again(unpacked):
    made = re.compile(r"(^|/)(__pycache__|\.ipynb_checkpoints|build|\.venv)/|\.(nbi|nbc|pyc|tmp)$")
    assert [name for name in files(unpacked) if made.search(name)] == []


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    inside = set(contents(wheel))
    library = {name for name in inside if name.startswith("sheaflib/")}
    wanted = {
        f"sheaflib/{name}" for name in files(REPOSITORY / "sheaflib") if "__pycache__" not in name
    }
    assert library == wanted
    assert {
        "sheaflib/py.typed",
        "sheaflib/plots/sheaflib.mplstyle",
        "sheaflib/plots/explore.js",
        "sheaflib/plots/explore.css",
        "sheaflib/companion/data/paper_inputs.npz",
    } <= library
    assert {name.split("/")[0] for name in inside - library} == {"sheaflib-0.2.0.dist-info"}


def test_the_sdist_makes_the_same_wheel(wheel, unpacked, tmp_path):
    build(unpacked, tmp_path / "again", "build_wheel")
    (again,) = (tmp_path / "again").iterdir()
    assert again.name == wheel.name and contents(again) == contents(wheel)


# installed ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(wheel, tmp_path_factory):
    """The interpreter of an empty environment into which pip put the wheel and what it needs, in
    the versions of the lock."""
    folder = tmp_path_factory.mktemp("installed")
    python, uv = interpreter(folder / "environment"), shutil.which("uv")
    call(sys.executable, "-m", "venv", "--without-pip", python.parents[1], cwd=folder)
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9-]+==[^\\\n]+", lock, flags=re.MULTILINE)
    (folder / "pins.txt").write_text("\n".join(pins) + "\n")
    pip = (
        [uv, "pip", "install", "--python", python]
        if uv
        else [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--no-compile",
            "--retries",
            "1",
        ]
    )
    words = [*pip, "--quiet", "--only-binary", ":all:", "--constraint", "pins.txt", wheel]
    done = subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True)
    if re.search(UNREACHED, done.stderr) and not os.environ.get("CI"):
        pytest.skip("there is no network to install from")
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def told(alone, tmp_path_factory):
    """What the installed copy says of itself after the README's first example, run in an empty
    folder."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "SHEAFLIB_"))
    }
    clean["NUMBA_DISABLE_JIT"] = "1"  # that it compiles is for other tests, and takes long
    here = tmp_path_factory.mktemp("elsewhere")
    told = json.loads(call(alone, "-c", ALONE, REPOSITORY / "README.md", cwd=here, env=clean))
    return {**told, "here": here}


def test_the_first_example_of_the_readme_runs_elsewhere(told, alone):
    assert told["failed"] == 0 and told["attempted"] >= 9
    assert Path(told["at"]).is_relative_to(alone.parents[1])
    assert list(told["here"].iterdir()) == []


def test_installing_it_brings_at_most_ten_distributions(told):
    assert {"sheaflib", "numpy", "scipy", "numba"} <= set(told["names"])
    assert len(told["names"]) <= 10, told["names"]
    extras = {"matplotlib", "seaborn", "PIL", "joblib", "tqdm", "sklearn", "pytest", "IPython"}
    assert not extras & set(told["modules"])


def test_the_installed_copy_says_that_it_is_in_no_repository(told, alone):
    assert told["said"].startswith("notebooks/claims.toml is a file of sheaflib's repository")
    assert str(alone.parents[1]) in told["said"] and str(told["here"]) in told["said"]
