"""The ledger: verdicts, lines, profiles, rounding; the gallery: stable bytes, limits."""

import hashlib
import json
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sheaflib.companion import repository
from sheaflib.companion.record import gallery, index
from sheaflib.companion.record.claims import round_to
from sheaflib.companion.record.ledger import Ledger

ENTRIES = {
    "equal": "expected = 1.5\ntolerance = 0.01",
    "relative": "expected = 1.5\nrtolerance = 0.01",
    "list": "expected = [1, [2, 3]]\ntolerance = 0.5",
    "table": "expected = { a = 1.0, b = 2.0 }\ntolerance = 0.1",
    "count": "expected = 8592",
    "below": "below = 1e-12",
    "above": "above = 0.9",
    "true": "expected = true",
    "text": "expected = 'unique'",
    "wrong": (
        "expected = 1.0\ntolerance = 0.1\nverdict = 'refuted'\nevidence = 'it is two'\nfound = 2.0"
    ),
    "big": "expected = 7\nfull = true",
    "mixed": "expected = { a = 1.0, b = 2 }\nalso = ['c', 'd']\ntolerance = 0.1",
    "free": "also = ['c', 'd']",
    "fine": "also = ['c']\nrtolerance = 1e-6",
    "twisted": (
        "expected = { a = 1.0 }\nalso = ['c']\ntolerance = 0.1\nverdict = 'refuted'\nevidence = 'it"
        " is two'\nfound = { a = 2.0 }"
    ),
    "said": "expected = 1.5\ntolerance = 0.01\nsays = 'the rate is {:.3f}'",
    "said-list": "below = 9\nsays = 'from {:.1f} to {:.2f}'",
    "said-place": "also = ['1', 'dt=0.5']\nsays = '{0:.1f}, then {1[0]}'",
    "said-table": "also = ['a-b', 'c']\nsays = '{a-b} of {c[most]:.1f}'",
    "other": "expected = 1",
}


@pytest.fixture
def claims(tmp_path):
    """Return a claims file with one claim of each kind for notebook 04, and "other" for 05."""
    path = tmp_path / "notebooks" / "claims.toml"
    path.parent.mkdir()
    common = 'statement = "s"\nsource = "paper"\nwhere = "w"\n'
    blocks = [
        f'["{k}"]\nnotebook = "{"05" if k == "other" else "04"}"\n{common}{v}\n'
        for k, v in ENTRIES.items()
    ]
    path.write_text("\n".join(blocks))
    return path


@pytest.fixture
def ledger(claims, tmp_path):
    """Return an interactive ledger of notebook 04, which never raises."""
    return Ledger("04", profile="", claims=claims, folder=tmp_path / "parts")


@pytest.mark.parametrize(
    "name, measured, verdict",
    [
        ("equal", 1.509, "holds"),
        ("equal", np.float64(1.52), "fails"),
        ("equal", float("nan"), "fails"),
        ("equal", "1.5", "fails"),
        ("relative", 1.514, "holds"),
        ("relative", 1.516, "fails"),
        ("list", np.array([1, 2]), "fails"),
        ("list", [1.4, (2.2, 3)], "holds"),
        ("list", [1, [2, 4]], "fails"),
        ("table", {"a": 1.05, "b": 2}, "holds"),
        ("table", {"a": 1.0}, "fails"),
        ("count", np.int64(8592), "holds"),
        ("count", 8593, "fails"),
        ("count", True, "fails"),
        ("below", 3e-16, "holds"),
        ("below", 1e-12, "fails"),
        ("below", float("nan"), "fails"),
        ("below", [1e-13, 1e-11], "fails"),
        ("above", np.array([0.95, 0.91]), "holds"),
        ("above", 0.9, "fails"),
        ("above", [], "fails"),
        ("true", np.bool_(True), "holds"),
        ("true", False, "fails"),
        ("true", 1, "fails"),
        ("text", "unique", "holds"),
        ("text", "two", "fails"),
        ("mixed", {"a": 1.05, "b": 2, "c": 7.0, "d": [1, "x"]}, "holds"),
        ("mixed", {"a": 1.2, "b": 2, "c": 7.0, "d": 1}, "fails"),
        ("mixed", {"a": 1.0, "b": 2}, "fails"),
        ("mixed", {"a": 1.0, "b": 2, "c": 1}, "fails"),
        ("mixed", {"c": 1, "d": 1}, "fails"),
        ("mixed", {"a": 1.0, "b": 2, "c": 1, "d": 1, "e": 1}, "fails"),
        ("mixed", {"a": 1.0, "b": 2, "c": float("nan"), "d": 1}, "fails"),
        ("mixed", 1.0, "fails"),
        ("free", {"c": np.float64(3), "d": np.arange(2)}, "measured"),
        ("free", {"d": 0, "c": True}, "measured"),
        ("free", {"c": 1}, "fails"),
        ("free", {"c": 1, "d": 2, "e": 3}, "fails"),
        ("free", {"c": 1, "d": float("inf")}, "fails"),
        ("free", {"c": 1, "d": [2, float("nan")]}, "fails"),
        ("free", [1, 2], "fails"),
        ("free", {}, "fails"),
        ("twisted", {"a": 2.0, "c": 5}, "refuted"),
        ("twisted", {"a": 1.0, "c": 5}, "fails"),
        ("twisted", {"a": 2.0}, "fails"),
        ("twisted", {"a": 2.0, "c": float("nan")}, "fails"),
        ("twisted", {"a": 3.0, "c": 5}, "fails"),
        ("wrong", 2.0, "refuted"),
        ("wrong", 1.0, "fails"),
        ("wrong", float("nan"), "fails"),
        ("wrong", 3.0, "fails"),
    ],
)
def test_verdicts(ledger, name, measured, verdict):
    assert ledger.check(name, measured).verdict == verdict


def test_each_verdict_prints_one_line(ledger, claims, capsys):
    record = ledger.check("equal", 1.5)
    ledger.check("wrong", 2)
    ledger.check("count", 3)
    ledger.check("free", {"c": 1, "d": 2})
    Ledger("04", profile="quick", claims=claims).check("big", 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "✓ equal: 1.5; expected 1.5 within 0.01",
        "≠ wrong: 2; expected 1.0 within 0.1 (refuted: it is two)",
        "✗ count: 3; expected 8592",
        "○ free: {'c': 1, 'd': 2}",
        "· big: 1; expected 7 at the default parameters",
    ]
    assert repr(record) == lines[0] and record._ipython_display_() is None


@pytest.mark.parametrize("profile", ["full", "quick", "custom"])
def test_strict_profiles_raise_after_writing_what_was_measured(claims, tmp_path, profile):
    ledger = Ledger("04", profile=profile, claims=claims, folder=tmp_path)
    with pytest.raises(AssertionError, match="equal: expected 1.5 within 0.01, measured 2.0"):
        ledger.check("equal", 2.0)
    assert json.loads((tmp_path / "04.json").read_text())[0]["verdict"] == "fails"
    with pytest.raises(
        AssertionError, match="agrees with 1.0 within 0.1, yet the claim is listed as refuted"
    ):
        ledger.check("wrong", 1.0)
    with pytest.raises(AssertionError, match="wrong: refuted by 2.0, measured 3.0"):
        ledger.check("wrong", 3.0)
    with pytest.raises(
        AssertionError, match=r"free: expected finite entries c, d, measured \{'c': 1\}"
    ):
        ledger.check("free", {"c": 1})
    with pytest.raises(
        AssertionError,
        match=(
            r"mixed: expected \{'a': 1.0, 'b': 2\} within 0.1 and finite entries c, d, measured"
            r" \{'c': inf\}"
        ),
    ):
        ledger.check("mixed", {"c": float("inf")})


def test_claims_of_full_size_are_left_out_of_other_profiles_only(claims, tmp_path):
    for profile, count in (("quick", 0), ("custom", 0), ("full", 1), ("", 1)):
        ledger = Ledger("04", profile=profile, claims=claims, folder=tmp_path)
        ledger.check("big", 7)
        assert len(ledger.records) == count


@pytest.mark.parametrize(
    "name, measured, line",
    [
        ("said", 1.50049, "✓ said: the rate is 1.500; expected 1.5 within 0.01"),
        ("said-list", np.array([1.25, 3]), "✓ said-list: from 1.2 to 3.00; expected below 9"),
        ("said-place", {"1": 3, "dt=0.5": [4]}, "○ said-place: 3.0, then 4"),
        ("said-table", {"a-b": 3, "c": {"most": 2}}, "○ said-table: 3 of 2.0"),
        ("above", 0.95, "✓ above: 0.95; expected above 0.9"),
        ("relative", 1.5, "✓ relative: 1.5; expected 1.5 within 0.01 of it"),
        ("count", 8593, "✗ count: 8593; expected 8592"),
        ("table", {"a": 1.0, "b": 2.0}, "✓ table: {'a': 1.0, 'b': 2.0}; expected a 1.0, b 2.0"),
    ],
)
def test_the_line_shows_what_was_measured_beside_what_was_expected(
    ledger, capsys, name, measured, line
):
    ledger.check(name, measured)
    assert capsys.readouterr().out.startswith(line)


def test_several_claims_go_in_one_call(ledger, capsys):
    assert ledger.check({"count": 8592, "below": 1e-13}) is None
    assert list(ledger.records) == ["count", "below"]
    assert [line[:3] for line in capsys.readouterr().out.splitlines()] == ["✓ c", "✓ b"]


INDEX = """
[[notebook]]
number = "04"
parameters = { dt = 0.01, seed = 0 }
[notebook.figures."04-curve"]
caption = "a curve"
seed = 7
rtol = 0.5
"""


@pytest.fixture
def session(claims, tmp_path, monkeypatch):
    """Return a function that sets parameters as a notebook's cell does, in a repository with an
    index.
    """
    (claims.parent / "index.toml").write_text(INDEX)
    monkeypatch.setattr(repository, "INSTALLED", tmp_path)
    main = sys.modules["__main__"]
    return lambda **given: [
        monkeypatch.setattr(main, name, value, raising=False) for name, value in given.items()
    ]


@pytest.mark.parametrize("dt, mark", [(0.01, "✗"), (0.02, "·")])
@pytest.mark.parametrize("name, wrong", [("big", 8), ("equal", 2.0)])
def test_at_other_parameters_an_open_notebook_calls_nothing_wrong(
    ledger, session, capsys, dt, mark, name, wrong
):
    session(dt=dt, seed=0)
    ledger.check(name, wrong)
    said = capsys.readouterr().out
    assert said.startswith(f"{mark} {name}: {wrong}; expected ")
    assert (name in ledger.records) == (mark == "✗")


def test_a_figure_takes_caption_seed_tolerance_and_parameters_from_the_index(
    session, tmp_path, monkeypatch
):
    session(dt=0.02, seed=0)
    monkeypatch.setenv("SHEAFLIB_OUT", str(tmp_path))
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    fig.numbers = {"y": [1, 2]}
    gallery.save(fig, "04-curve")
    plt.close(fig)
    stored = json.loads((tmp_path / "figures" / "04" / "04-curve.json").read_text(encoding="utf-8"))
    del stored["sha256"]
    assert stored == {
        "caption": "a curve",
        "seed": 7,
        "rtol": 0.5,
        "atol": 1e-9,
        "parameters": {"dt": 0.02, "seed": 0},
        "numbers": {"y": [1, 2]},
    }


def test_long_curves_are_stored_thinned_with_both_ends(drawn):
    x = np.arange(1501.0)
    stored = json.loads(drawn(x)["json"])["numbers"]["y"]
    assert len(stored) <= 1000 and stored[0] == 0 and stored[-1] == 1500
    assert np.diff(stored).min() >= 1 and np.diff(stored).max() <= 2


def test_the_part_is_sorted_and_rounded(ledger, tmp_path):
    for name, value in (
        ("true", True),
        ("below", 3e-16),
        ("equal", np.float32(1.50123)),
        ("list", [1.234, [2.01, 3]]),
    ):
        ledger.check(name, value)
    rows = json.loads((tmp_path / "parts" / "04.json").read_text())
    assert [(row["id"], row["measured"]) for row in rows] == [
        ("below", 0.0),
        ("equal", 1.501),
        ("list", [1.23, [2.01, 3]]),
        ("true", True),
    ]
    assert [row["tolerance"] for row in rows] == [None, 0.01, 0.5, None] and rows[0][
        "expected"
    ] == {"below": 1e-12}
    assert not list((tmp_path / "parts").glob(".*")) and repr(ledger) == "Ledger('04', 4 checked)"


def test_entries_without_an_expectation_are_written_with_four_digits(ledger, tmp_path):
    ledger.check("mixed", {"a": 1.0123, "b": 2, "c": 0.000123456, "d": [98765.4, 7, -0.99999]})
    ledger.check("free", {"c": 3e-17, "d": 1.23449})
    ledger.check("fine", {"c": 1 / 3})
    rows = {row["id"]: row for row in json.loads((tmp_path / "parts" / "04.json").read_text())}
    assert rows["mixed"]["measured"] == {"a": 1.01, "b": 2, "c": 0.0001235, "d": [98770.0, 7, -1.0]}
    assert (rows["mixed"]["expected"], rows["mixed"]["tolerance"], rows["mixed"]["verdict"]) == (
        {"a": 1.0, "b": 2},
        0.1,
        "holds",
    )
    assert rows["free"]["measured"] == {"c": 3e-17, "d": 1.234}
    assert (rows["free"]["expected"], rows["free"]["tolerance"], rows["free"]["verdict"]) == (
        None,
        None,
        "measured",
    )
    assert rows["fine"]["measured"] == {"c": 0.33333333} and rows["fine"]["tolerance"] == {
        "relative": 1e-6
    }


@pytest.mark.parametrize(
    "value, unit, relative, rounded",
    [
        (1.23456, 0.01, False, 1.235),
        (1.23456, 5e-4, False, 1.23456),
        (1234.5678, 0.01, True, 1235.0),
        (-1e-20, 1e-12, False, 0.0),
        (1 / 3, 0, False, 0.3333333333),
        (0.0, 0.01, True, 0.0),
        (float("nan"), 1, False, "nan"),
        (7, 0.1, False, 7),
    ],
)
def test_rounding_is_one_digit_below_the_tolerance(value, unit, relative, rounded):
    assert round_to(value, unit, relative) == rounded


def test_unknown_foreign_and_unusable_are_errors(ledger):
    with pytest.raises(ValueError, match="no claim 'nothing'"):
        ledger.check("nothing", 1)
    with pytest.raises(ValueError, match="'other' belongs to notebook 05, not 04"):
        ledger.check("other", 1)
    with pytest.raises(TypeError, match="got complex"):
        ledger.check("equal", 1j)


@pytest.mark.parametrize(
    "entry, said",
    [
        ('notebook = "04"\nstatement = "s"\nsource = "paper"\nexpected = 1', "lacks \\['where'\\]"),
        (
            (
                'notebook = "04"\nstatement = "s"\nsource = "paper"\nwhere = "w"\nexpected ='
                " 1\nbelow = 2"
            ),
            "exactly one of",
        ),
        (
            'notebook = "04"\nstatement = "s"\nsource = "me"\nwhere = "w"\nexpected = 1',
            "source 'me'",
        ),
        (
            (
                'notebook = "04"\nstatement = "s"\nsource = "paper"\nwhere = "w"\nexpected ='
                ' 1\nverdict = "refuted"'
            ),
            "no evidence",
        ),
        (
            (
                'notebook = "04"\nstatement = "s"\nsource = "paper"\nwhere = "w"\nexpected ='
                " 1\ntolerence = 1"
            ),
            "unknown keys \\['tolerence'\\]",
        ),
        ('notebook = "04"\nstatement = "s"\nsource = "paper"\nwhere = "w"', "exactly one of"),
        *[
            (f'notebook = "04"\nstatement = "s"\nsource = "paper"\nwhere = "w"\n{also}', said)
            for also, said in [
                ("also = []", "also = \\[\\], expected a list of names"),
                ("also = ['a', 'a']", "each once"),
                ("also = 'a'", "expected a list"),
                ("also = [1, [2]]", "expected a list"),
                ("also = ['a']\nexpected = 1", "expected is a dict of other entries"),
                ("also = ['a']\nbelow = 1", "expected is a dict of other entries"),
                ("also = ['a']\nexpected = { a = 1 }", "\\['a'\\] in also and expected"),
                ("also = ['a']\nverdict = 'holds'", "expects nothing and has a verdict"),
                (
                    "also = ['a']\nverdict = 'refuted'\nevidence = 'e'\nfound = 1",
                    "expects nothing and has a verdict",
                ),
                (
                    "expected = { a = 1 }\nalso = ['b']\nverdict = 'measured'",
                    "neither holds nor refuted",
                ),
            ]
        ],
    ],
)
def test_a_malformed_claim_is_named(tmp_path, entry, said):
    path = tmp_path / "claims.toml"
    path.write_text(f'["bad"]\n{entry}\n')
    with pytest.raises(ValueError, match=f"'bad' .*{said}"):
        Ledger("04", profile="", claims=path)


def test_an_unknown_profile_is_named(claims, monkeypatch):
    monkeypatch.setenv("SHEAFLIB_PROFILE", "fast")
    with pytest.raises(ValueError, match="SHEAFLIB_PROFILE is 'fast'"):
        Ledger("04", claims=claims)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Return a function that saves one curve and gives the three files' bytes."""
    monkeypatch.setenv("SHEAFLIB_OUT", str(tmp_path))

    monkeypatch.setattr(index, "figure", lambda name: {"caption": "a curve", "seed": 3})
    monkeypatch.setattr(index, "parameters", lambda number: {"dt": 0.01})

    def save(y):
        gallery.style()
        fig, ax = plt.subplots()
        ax.plot(y)
        fig.numbers = {"y": y}
        gallery.save(fig, "curve")
        plt.close(fig)
        return {
            e: (tmp_path / "figures" / f"curve.{e}").read_bytes() for e in ("pdf", "png", "json")
        }

    return save


def test_the_same_numbers_give_the_same_bytes_with_their_hash_inside(drawn):
    first, second, other = drawn([0.1, 1 / 3]), drawn([0.1 + 1e-14, 1 / 3]), drawn([0.1, 0.4])
    assert first["json"] == second["json"] and all(first[e] != other[e] for e in first)
    stored = json.loads(first["json"])
    canonical = json.dumps(stored["numbers"], sort_keys=True, separators=(",", ":"))
    assert stored["sha256"] == hashlib.sha256(canonical.encode()).hexdigest() and stored[
        "numbers"
    ] == {"y": [0.1, 0.3333333333]}
    assert list(stored) == ["caption", "rtol", "atol", "parameters", "seed", "sha256", "numbers"]
    for ending in ("pdf", "png"):
        assert stored["sha256"].encode() in first[ending] and b'"dt":0.01' in first[ending]
        assert not any(
            word in first[ending] for word in (b"CreationDate", b"atplotlib", b"Software")
        )
    assert drawn([0.1, 1 / 3]) == first


@pytest.mark.parametrize(
    "y, said", [([0, np.nan], "curve: y holds nan"), ([1j], "holds a complex")]
)
def test_numbers_that_json_cannot_hold_are_refused(y, said):
    with pytest.raises(ValueError, match=said):
        gallery.save(SimpleNamespace(numbers={"y": y}), "curve")


def test_too_big_and_badly_named_figures_are_refused(drawn):
    with pytest.raises(
        ValueError,
        match="figure curve is over 300 kB: curve.pdf .* kB, curve.png .* kB, curve.json .* kB",
    ):
        drawn(np.random.default_rng(0).random((200, 100)))
    with pytest.raises(ValueError, match="lower-case"):
        gallery.save(None, "A b")
    with pytest.raises(ValueError, match="figure curve has no numbers: .* should set fig.numbers"):
        gallery.save(plt.figure(), "curve")


def test_thinning_keeps_ends_and_switches():
    x = np.arange(100_000)
    thinned, squares = gallery.thin(x, x**2, keep=[3, 777, 778])
    assert (
        len(thinned) <= 1000
        and {0, 3, 777, 778, 99_999} <= set(thinned)
        and (squares == thinned**2).all()
    )
    assert np.diff(thinned).min() > 0 and np.diff(thinned).max() < 120
    assert [len(v) for v in gallery.thin([], [])] == [0, 0]
    with pytest.raises(ValueError, match="one length"):
        gallery.thin([1, 2], [1])
    with pytest.raises(ValueError, match="at most 10"):
        gallery.thin(x, keep=range(50), n=10)
    with pytest.raises(ValueError, match="inside 0..4"):
        gallery.thin(range(5), keep=[5])
