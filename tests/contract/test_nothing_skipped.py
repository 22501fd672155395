"""With --nothing-skipped, as .ci/run calls the tests, a test that was left out is a failure."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
HERE = Path(__file__).parents[1]
NOT_NEEDED = ("cacheprovider", "nbval", "benchmark", "hypothesispytest")  # they take long to load
WITHOUT = [word for name in NOT_NEEDED for word in ("-p", f"no:{name}")]
GOOD = """
import pytest

def test_that_runs():
    pass

def test_for_another_system():
    pytest.skip("the script is for bash")
"""
WANTING = """
import pytest

def test_of_a_package():
    pytest.importorskip("no_such_package")

@pytest.mark.skipif(True, reason="no PyTorch in build/torch")
def test_of_a_program():
    pass
"""
MODULE = "import pytest; pytest.importorskip('no_such_package')"


@pytest.fixture
def run(pytester):
    """A run of some modules beside copies of this folder's conftest; with workers in a process of
    its own, since the one here may itself be a worker.
    """
    for name in ("conftest", "effort"):
        source = (HERE / f"{name}.py").read_text(encoding="utf-8")
        (pytester.path / f"{name}.py").write_text(source, encoding="utf-8")

    def run(*options, **modules):
        pytester.makepyfile(**modules)
        options = (*WITHOUT, *options)
        if "-n" in options:
            return pytester.runpytest_subprocess(*options, timeout=120)
        return pytester.runpytest_inprocess(*options)

    return run


def test_what_belongs_to_another_system_may_be_left_out(run):
    assert run("--nothing-skipped", test_good=GOOD).ret == 0


def test_what_misses_something_fails(run):
    """In a worker, as the tests are run; a whole module too."""
    modules = {"test_good": GOOD, "test_wanting": WANTING, "test_module": MODULE}
    found = run("--nothing-skipped", "-n", "1", **modules)
    assert found.ret == 1
    said = [line for line in found.outlines if line.startswith("must not be skipped: ")]
    assert sorted(line.split("Skipped: ")[1] for line in said) == [
        "could not import 'no_such_package': No module named 'no_such_package'",
        "could not import 'no_such_package': No module named 'no_such_package'",
        "no PyTorch in build/torch",
    ]


def test_without_the_option_it_is_told_and_nothing_more(run):
    assert run(test_good=GOOD, test_wanting=WANTING).ret == 0
