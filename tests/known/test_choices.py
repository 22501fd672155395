"""The learning rates that notebook 11 takes from 11-chosen.json: some are tuned again here, the way
`make batch NB=11` tunes all of them, and a table made among other candidates is refused.
"""

import json
import tomllib
from pathlib import Path

import pytest

from sheaflib.companion import regimes, tuning

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
KEPT = NOTEBOOKS / "11-chosen.json"
PROTOCOL = tomllib.loads((NOTEBOOKS / "11-protocol.toml").read_text(encoding="utf-8"))
FLOOR = PROTOCOL["test"]["floor"]


@pytest.mark.parametrize("name", ["primary", "backprop", "null"])
def test_a_row_of_the_race_tuned_again_chooses_what_is_kept(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SHEAFLIB_CACHE", str(tmp_path))
    cases = tuning.entrants(PROTOCOL, "saddle-1h")[name]
    again = tuning.tune({"again": cases}, FLOOR)["again"]
    kept = json.loads(KEPT.read_text(encoding="utf-8"))["race"]["chosen"][f"saddle-1h {name}"]
    assert tuning.varied(cases, again) == kept


@pytest.mark.parametrize("side", ["backprop", "prox"])
def test_a_regime_tuned_again_chooses_what_is_kept(side, tmp_path, monkeypatch):
    monkeypatch.setenv("SHEAFLIB_CACHE", str(tmp_path))
    key = ("circular-1h", "sgd", side)
    cases = regimes.online(PROTOCOL)[key]
    again = tuning.tune({key: cases}, PROTOCOL["regimes"]["floor"])[key]
    kept = json.loads(KEPT.read_text(encoding="utf-8"))["online"]["chosen"][tuning.words(key)]
    assert tuning.varied(cases, again) == kept


def test_every_method_of_every_row_and_regime_has_its_choice():
    """The file's hashes are those of the candidates as the protocol has them: no ValueError."""
    choices = tuning.Choices(KEPT)
    rows = [*PROTOCOL["data"]["rows"], "digits"][::-1]
    race_entries = {
        (row, name): cases for row in rows for name, cases in tuning.entrants(PROTOCOL, row).items()
    }
    groups = {"race": race_entries}
    groups |= {name: regime(PROTOCOL) for name, regime in regimes.REGIMES.items()}
    for name, entries in groups.items():
        floor = FLOOR if name == "race" else PROTOCOL["regimes"]["floor"]
        assert choices.choose(name, entries, floor).keys() == entries.keys()
    assert set(choices.kept) == {*groups, "scikit-learn"}
    assert choices.changed(KEPT) == []


def cost(row, lr):
    """A loss that is lowest at lr = 0.2."""
    return [abs(lr - 0.2), abs(lr - 0.2)]


def test_choices_saved_are_taken_again_and_other_candidates_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SHEAFLIB_CACHE", str(tmp_path / "cache"))
    cases = [{"row": "digits", "lr": lr} for lr in (0.1, 0.2, 0.4)]
    first = tuning.Choices()
    assert first.choose("some", {("digits", 1): cases}, FLOOR, cost) == {("digits", 1): cases[1]}
    first.save(tmp_path / "new" / "chosen.json")
    later = tuning.Choices(tmp_path / "new" / "chosen.json")
    # no function is called: the choice is read
    assert later.choose("some", {("digits", 1): cases}, FLOOR, None) == {("digits", 1): cases[1]}
    assert later.made == first.made
    assert later.changed(tmp_path / "new" / "chosen.json") == []
    later.made["some"]["chosen"]["digits 1"]["lr"] = 0.4
    assert later.changed(tmp_path / "new" / "chosen.json") == ["some: digits 1"]
    later = tuning.Choices(tmp_path / "new" / "chosen.json")
    with pytest.raises(ValueError, match="chosen.json holds no choices among these candidates"):
        later.choose("some", {("digits", 1): cases[:2]}, FLOOR, cost)
    with pytest.raises(ValueError, match="of others; tune again"):
        later.choose("others", {("digits", 1): cases}, FLOOR, cost)
    with pytest.raises(ValueError, match="tune again"):
        later.choose("some", {("digits", 1): cases}, 10 * FLOOR, cost)
