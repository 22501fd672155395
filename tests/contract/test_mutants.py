"""The defects of `make mutants`, and that one which no test notices is not taken for a caught
one.
"""

from argparse import Namespace

import pytest

from tools import mutants
from tools.mutants import Mutant
from tools.project import REPOSITORY, Project

MUTANTS = mutants.load()


def test_every_text_stands_where_it_is_looked_for():
    assert mutants.misplaced(MUTANTS) == []


def test_every_mutant_changes_something_and_names_tests():
    assert len({(m.file, m.reason) for m in MUTANTS}) == len(MUTANTS) >= 130
    for mutant in MUTANTS:
        assert mutant.old != mutant.new and mutant.reason and mutant.tests
        files = [REPOSITORY / test.partition("::")[0] for test in mutant.tests.split()]
        assert all(file.is_file() for file in files), mutant
        for file, test in zip(files, mutant.tests.split()):
            name = test.partition("::")[2]
            assert not name or f"def {name}(" in file.read_text(encoding="utf-8"), mutant


@pytest.fixture
def base(tmp_path):
    """An unchanged copy: a function and its test."""
    folder = tmp_path / "unchanged"
    folder.mkdir()
    (folder / "half.py").write_text("def half(n):\n    return n / 2\n", encoding="utf-8")
    test = "from half import half\n\ndef test_half():\n    assert half(4) == 2\n"
    (folder / "test_half.py").write_text(test, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "new, well, said",
    [
        ("n / 3", True, "✓ half.py: why: caught by test_half.py::test_half\n"),
        ("n // 2", False, "✗ half.py: why: SURVIVED test_half.py\n"),
        ("n /", False, "✗ half.py: why: SURVIVED test_half.py\n"),
    ],
)
def test_a_mutant_is_caught_by_a_test_that_fails_and_by_nothing_else(base, capsys, new, well, said):
    mutant = Mutant("half.py", "why", "n / 2", new, "test_half.py")
    assert mutants.caught(base, mutant) == well
    assert capsys.readouterr().out.startswith(said)
    assert "n / 2" in (base / "half.py").read_text(encoding="utf-8")


def test_a_mutant_that_never_ends_is_caught(base, monkeypatch):
    sooner = [option.replace(f"={mutants.LIMIT}", "=2") for option in mutants.PYTEST]
    monkeypatch.setattr(mutants, "PYTEST", sooner)
    endless = "__import__('time').sleep(99)"
    assert mutants.caught(base, Mutant("half.py", "why", "n / 2", endless, "test_half.py"))


def test_a_text_that_is_not_there_once_is_named_and_nothing_runs(monkeypatch, capsys):
    wrong = [
        Mutant("tools/mutants.py", "gone", "no such " + "text", "", "tests"),
        Mutant("tools/mutants.py", "often", "return", "", "tests"),
    ]
    monkeypatch.setattr(mutants, "load", lambda: wrong)
    monkeypatch.setattr(mutants, "run", lambda *arguments: pytest.fail("it runs"))

    def asked(*words, dry=False):
        return mutants.mutants(Project(), Namespace(words=words, dry=dry))

    assert asked() == 1
    said = capsys.readouterr().out
    assert "tools/mutants.py: gone: 0 times: no such text\n" in said and "2 out of place" in said
    assert asked("often", dry=True) == 1
    assert asked("neither") == 1
    placed = Mutant("tools/mutants.py", "once", "def caught(", "", "tests")
    monkeypatch.setattr(mutants, "load", lambda: [placed])
    assert asked(dry=True) == 0
