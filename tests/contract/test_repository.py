"""Where an installed copy and a checkout look for the repository, and where results go."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from sheaflib.companion import operations, repository
from sheaflib.companion.record import gallery
from sheaflib.companion.record.ledger import Ledger

CHECKOUT = Path(__file__).resolve().parents[2]
VARIABLES = ("SHEAFLIB_OUT", "SHEAFLIB_CACHE", "SHEAFLIB_CLAIMS")


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """Nothing in the environment says where things go."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Make this sheaflib look as one that pip installed, seen from an empty working directory."""
    packages, here = tmp_path / "site-packages", tmp_path / "here"
    packages.mkdir()
    here.mkdir()
    monkeypatch.setattr(repository, "INSTALLED", packages)
    monkeypatch.chdir(here)
    return packages


@pytest.fixture
def clone(tmp_path):
    """A repository with an index, claims, a bench and one figure's numbers."""
    root = tmp_path / "clone"
    for folder in ("notebooks/deep", "figures/01"):
        (root / folder).mkdir(parents=True)
    (root / "notebooks" / "index.toml").touch()
    (root / "notebooks" / "claims.toml").write_text("")
    (root / "figures" / "bench.json").write_text(json.dumps([{"name": "step", "ratio": 2.0}]))
    (root / "figures" / "01" / "01-one.json").write_text(json.dumps({"numbers": {"y": [1.0]}}))
    return root


def test_a_checkout_is_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert repository.found() == CHECKOUT
    assert repository.claims() == CHECKOUT / "notebooks" / "claims.toml"
    assert repository.results() == CHECKOUT / "build" / "lab"
    assert repository.sweeps() == CHECKOUT / "build" / "sweeps"


@pytest.mark.parametrize("below", ["", "notebooks", "notebooks/deep"])
def test_an_installed_copy_finds_the_repository_from_the_working_directory(
    installed, clone, monkeypatch, below
):
    monkeypatch.chdir(clone / below)
    assert repository.found() == clone
    assert repository.claims() == clone / "notebooks" / "claims.toml"
    assert gallery.bench() == {"step": {"name": "step", "ratio": 2.0}}
    assert gallery.committed("01-one") == {"y": [1.0]}
    assert gallery.path("x.pdf") == clone / "build" / "lab" / "figures" / "x.pdf"
    assert Ledger("01").folder == clone / "build" / "lab" / "ledger"
    assert repository.sweeps() == clone / "build" / "sweeps"


@pytest.mark.parametrize(
    "ask, file",
    [
        (gallery.bench, "figures/bench.json"),
        (lambda: gallery.committed("01-one"), "figures/01/01-one.json"),
        (lambda: Ledger("01"), "notebooks/claims.toml"),
        (operations.compared, operations.FILE),
    ],
)
def test_where_there_is_no_repository_an_error_says_so(installed, ask, file):
    with pytest.raises(FileNotFoundError) as caught:
        ask()
    said = str(caught.value)
    assert said.startswith(f"{file} is a file of sheaflib's repository, and there is none here")
    assert str(installed) in said and str(Path.cwd()) in said and "\n" not in said


def test_a_file_that_the_repository_lacks_is_named(installed, clone, monkeypatch):
    monkeypatch.chdir(clone)
    with pytest.raises(FileNotFoundError, match="there is no figures/02/02-two.json in the repo"):
        gallery.committed("02-two")


def test_results_without_a_repository_stay_in_the_working_directory(installed):
    fig, ax = plt.subplots()
    ax.plot([1.0, 2.0])
    fig.numbers = {"y": [1.0, 2.0]}
    gallery.save(fig, "curve")
    plt.close(fig)
    made = sorted(path.relative_to(Path.cwd()).as_posix() for path in Path.cwd().rglob("*.*"))
    assert made == [f"sheaflib-results/figures/curve.{e}" for e in ("json", "pdf", "png")]
    assert repository.sweeps() == Path.cwd() / "sheaflib-results" / "sweeps"
    assert list(installed.iterdir()) == []


def test_what_the_environment_says_goes_first(clone, monkeypatch, tmp_path):
    monkeypatch.chdir(clone)
    for name in VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / name))
    assert repository.results() == tmp_path / "SHEAFLIB_OUT"
    assert repository.sweeps() == tmp_path / "SHEAFLIB_CACHE"
    assert repository.claims() == tmp_path / "SHEAFLIB_CLAIMS"
