"""Tuning in the race of notebook 11: the candidates of every method by the protocol, and the
choices that folds of the training data make among them.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from itertools import product
from pathlib import Path

import numpy as np

from sheaflib.companion import repository
from sheaflib.companion.race import losses, place
from sheaflib.companion.sweep import sweep

PROTOCOL, CHOSEN = "11-protocol.toml", "11-chosen.json"  # beside the claims


def agreed(share: float, seeds: int, every: int, tune: bool) -> tuple[dict, Choices]:
    """The protocol of the race, made lighter as `lighter` does, and the choices to race with.

    The whole protocol takes the choices that are kept, unless `tune` says to try all candidates
    again, and `Choices.settle` then compares. A lighter one always tries its own.
    """
    written = tomllib.loads(repository.claims().with_name(PROTOCOL).read_text(encoding="utf-8"))
    protocol, kept = lighter(written, share, seeds, every), repository.claims().with_name(CHOSEN)
    if protocol is not written:
        return protocol, Choices()
    return protocol, Choices(known=kept) if tune else Choices(kept)


def candidates(method: dict, lr: list | None = None) -> list[dict]:
    """The candidates of a method of the protocol, as keyword arguments of `losses`, by rising
    learning rate; lr: in place of its own.

    >>> candidates({"rule": "backprop", "lr": [0.1], "decay": [0.5]})
    [{'rule': 'backprop', 'lr': 0.1, 'kappa': 0.0, 'stiffness': 1.0, 'decay': 0.5}]
    """
    rule = "rayleigh" if method.get("several_outputs", "").startswith("one") else method["rule"]
    grid = product(
        lr or method["lr"],
        method.get("kappa_and_stiffness", [[0.0, 1.0]]),
        method.get("decay", [0.0]),
    )
    return [
        {"rule": rule, "lr": lr, "kappa": kappa, "stiffness": stiffness, "decay": decay}
        for lr, (kappa, stiffness), decay in grid
    ]


def budget(protocol: dict, row: str) -> dict:
    """Updates and batch size of a row of the race."""
    return {
        "updates": protocol["budget"]["updates"][row.rpartition("-")[2]],
        "size": protocol["budget"]["batch"],
    }


def entrants(protocol: dict, row: str) -> dict[str, list[dict]]:
    """The cases that tune each method on a row of the race; rows of the second round by its
    rules.
    """
    again, found = protocol["second-round"] if row in protocol["second-round"]["rows"] else None, {}
    for name, method in protocol["methods"].items():
        if "rule" not in method or name == ("primary" if again else "cheap"):
            continue
        null = int("batch_order" in method)
        common = {"row": row, "again": null, **budget(protocol, row)}
        if again:
            seeds = again["digits_seeds" if row == "digits" else "seeds"]
            common |= {"folds": again["folds"], "seeds": [seed + 10 * null for seed in seeds]}
            lr = again["lr" if len(method["lr"]) == 6 else "lr_alone"]
            found[name] = [common | c for c in candidates(method, lr)]
        else:
            common |= {
                "folds": protocol["tuning"]["folds"],
                "seeds": method.get("seeds", protocol["tuning"]["seeds"]),
            }
            found[name] = [common | c for c in candidates(method)]
        if again and name == "equilibrium":
            found[name] = [case | {"rule": "rayleigh"} for case in found[name]]
    return {name: cases[:: protocol.get("every", 1)] for name, cases in found.items()}


def finalists(protocol: dict, row: str, chosen: dict[str, dict]) -> dict[str, dict]:
    """The cases that test what was chosen for a row, and "= …": everything once more at one
    learning rate, untuned.
    """
    again = (
        protocol["second-round"] if row in protocol["second-round"]["rows"] else protocol["test"]
    )
    found = {
        name: (
            {key: value for key, value in case.items() if key != "folds"}
            | {"seeds": again.get("test_seeds", again.get("seeds"))}
        )
        for name, case in chosen.items()
    }
    if "cheap" in found:
        found["primary"] = found["cheap"] | {"rule": "circuit"}
        found["equilibrium"] = found["equilibrium"] | {"rule": "circuit"}
    common = {
        "row": row,
        "seeds": found["backprop"]["seeds"],
        "lr": again["equal_lr"],
        **budget(protocol, row),
    }
    one = {"rule": "rayleigh"}  # one output: the same as "circuit"
    plain = {"kappa": 0.0, "stiffness": 1.0}
    alike = {
        "backprop": plain | {"rule": "backprop"},
        "ohm": plain | one,
        "mirror": one | {"kappa": -1.0, "stiffness": 3.0},
        "equilibrium": plain | one | {"kappa": 1.0},
    }
    return found | {f"= {name}": common | case for name, case in alike.items()}


def lighter(protocol: dict, share: float, seeds: int, every: int) -> dict:
    """The protocol with a share of the updates, so many test seeds, every so-many-th candidate and
    one tuning seed: for a quick look.
    """
    if share == every == 1 and seeds >= len(protocol["test"]["seeds"]):
        return protocol

    def cut(name, value):
        if isinstance(value, dict):
            return {key: cut(key, inner) for key, inner in value.items()}
        if name in ("updates", "1h", "2h", "digits") and isinstance(value, int):
            return max(64, int(share * value))
        if name == "test_seeds":
            return value[:seeds]
        return value[:1] if name in ("seeds", "digits_seeds") else value

    found = cut("", protocol)
    return found | {
        "test": found["test"] | {"seeds": protocol["test"]["seeds"][:seeds]},
        "every": every,
    }


def passes(row: str, case: dict) -> int:
    """Sweeps over all weights in a whole run, as the protocol counts them."""
    n_out = int(place(row)[1].rpartition("x")[2])
    currents = n_out + 1 if case["rule"] == "circuit" and n_out > 1 else 1
    return case["updates"] * (2 + currents + int(case["kappa"] != 0))


def tune(entries: dict, floor: float, function=losses) -> dict:
    """{key: cases} -> {key: the case with the lowest mean of ln max(loss, floor)}, the first of
    those that tie; all cases in one sweep.
    """
    found = iter(
        sweep(function, [case for cases in entries.values() for case in cases], label="tuning")
    )
    return {
        key: min(cases, key=lambda case: float(np.log(np.maximum(next(found), floor)).mean()))
        for key, cases in entries.items()
    }


class Choices:
    """What tuning chose, group by group of methods; kept in a file, so that a run need not tune
    again.

    Without a file, `choose` tunes. With one it takes the choice that the file keeps, as long as
    candidates, folds, seeds and budget are those that were tuned on.
    """

    def __init__(self, file: Path | None = None, known: Path | None = None):
        """Take the choices of a file that `save` wrote; None: there are none yet.

        known: a file of choices that those made here are to agree with.
        """
        self.file, self.known = file, known
        self.made: dict[str, dict] = {}
        self.kept = json.loads(file.read_text(encoding="utf-8")) if file else None

    def choose(self, group: str, entries: dict, floor: float, function=losses) -> dict:
        """{key: cases} -> {key: the case chosen}, by `tune` or as the file says.

        ValueError: the file's choices were made among other candidates.
        """
        tuned_on = hashlib.sha256(repr([*entries.items(), floor]).encode()).hexdigest()
        if self.file is None or self.kept is None:
            found = tune(entries, floor, function)
        elif self.kept.get(group, {}).get("tuned on") != tuned_on:
            raise ValueError(
                f"{self.file.name} holds no choices among these candidates of {group}; tune again"
            )
        else:
            chosen = self.kept[group]["chosen"]
            found = {key: candidate(cases, chosen[words(key)]) for key, cases in entries.items()}
        choices = {words(key): varied(entries[key], case) for key, case in found.items()}
        self.made[group] = {"tuned on": tuned_on, "chosen": choices}
        return found

    def changed(self, file: Path) -> list[str]:
        """The choices made here that are other than those in a file, "group: method" each."""
        kept = json.loads(file.read_text(encoding="utf-8"))
        before = {
            f"{group}: {name}": choice
            for group, made in kept.items()
            for name, choice in made["chosen"].items()
        }
        now = {
            f"{group}: {name}": choice
            for group, made in self.made.items()
            for name, choice in made["chosen"].items()
        }
        return [name for name, choice in now.items() if before.get(name) != choice]

    def settle(self):
        """When all is chosen: save what was tuned here among the results of the run, and compare it
        with what is known. AssertionError names the methods that chose otherwise.
        """
        if self.file is not None:
            return
        self.save(repository.results() / CHOSEN)
        changed = self.changed(self.known) if self.known else []
        if changed:
            raise AssertionError(f"tuning chose otherwise than {CHOSEN} says: {changed}")

    def save(self, file: Path):
        """Write all choices made so far to a file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.made, indent=1) + "\n", encoding="utf-8")


def words(key) -> str:
    """The name of a key in a file of choices: its parts, one after the other."""
    return key if isinstance(key, str) else " ".join(map(str, key))


def varied(cases: list[dict], case: dict) -> dict:
    """What tells a case from the others among `cases`.

    >>> slow, fast = {"row": "digits", "lr": 0.1}, {"row": "digits", "lr": 0.2}
    >>> varied([slow, fast], fast)
    {'lr': 0.2}
    """
    return {
        name: value for name, value in case.items() if any(other[name] != value for other in cases)
    }


def candidate(cases: list[dict], chosen: dict) -> dict:
    """The one of `cases` that has what was chosen."""
    (found,) = [case for case in cases if varied(cases, case) == chosen]
    return found


def measured(chosen: dict, function=losses) -> dict:
    """{key: case} -> {key: losses (seeds,)}, all cases in one sweep."""
    return dict(zip(chosen, sweep(function, list(chosen.values()), label="testing")))
