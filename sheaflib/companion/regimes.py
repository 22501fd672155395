"""The regimes of notebook 11's protocol: what each side tunes on, what is measured of its choice,
and what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaflib.companion.competition import Table
from sheaflib.companion.ladder import table
from sheaflib.companion.race import Ratio, drift, losses, ratio, verdict
from sheaflib.companion.tuning import Choices, candidates, measured

NULL = "null"
LATER = 10  # what the null adds to a tuning seed
TITLES = {  # what stands before a row of a regime
    "online": "",
    "continual": "drifting label ",
    "initialisation": "",
    "depth": "hidden layers: ",
    "few": "40 samples, ",
    "noise": "noise, ",
}
SIDES = {
    "prox": "implicit steps",
    "circuit": "currents",
    "primary": "sheaf",
    "equilibrium": "equilibrium's own gradient",
    "backprop": "backpropagation",
    "backprop-decay": "weight decay",
}


def online(protocol: dict) -> dict[tuple, list[dict]]:
    """(row, optimiser, side) -> cases, one sample an update."""
    rules = protocol["regimes"]["online"]
    found: dict[tuple, list[dict]] = {}
    for row in rules["rows"]:
        for optimiser in ("sgd", "adam"):
            common = {
                "row": row,
                "folds": rules["folds"],
                "updates": rules["updates"],
                "size": 1,
                "constant": True,
                "looks": rules["looks"],
            }
            found |= {
                (row, *key): [common | case for case in cases]
                for key, cases in _one_by_one(protocol, rules, optimiser).items()
            }
    return found


def continual(protocol: dict) -> dict[tuple, list[dict]]:
    """(widths, optimiser, side) -> cases of `drift`."""
    rules = protocol["regimes"]["continual"]
    found: dict[tuple, list[dict]] = {}
    for widths in rules["widths"]:
        for optimiser in ("sgd", "adam"):
            common = {"widths": widths, "updates": rules["updates"]}
            found |= {
                (widths, *key): [common | case for case in cases]
                for key, cases in _one_by_one(protocol, rules, optimiser).items()
            }
    return found


def _one_by_one(protocol: dict, rules: dict, optimiser: str) -> dict[tuple, list[dict]]:
    """(optimiser, side) -> cases that online and continual share."""
    grid = protocol["regimes"]["online"][optimiser]
    sides = {
        (optimiser, side): [{"rule": side, "lr": lr, "optimiser": optimiser} for lr in grid["lr"]]
        for side in grid["sides"]
    }
    return _with_null(protocol, rules, sides)


def initialisation(protocol: dict) -> dict[tuple, list[dict]]:
    """(task, scale, side) -> cases: four hidden layers of ten, He weights times a scale."""
    rules = protocol["regimes"]["initialisation"]
    found: dict[tuple, list[dict]] = {}
    for row, scale in rules["rows"]:
        common = {
            "row": f"{row}/2x10x10x10x10x1",
            "scale": scale,
            "folds": rules["folds"],
            "updates": rules["updates"],
        }
        found |= _sides(protocol, rules, (row, scale), common)
    return found


def depth(protocol: dict) -> dict[tuple, list[dict]]:
    """(hidden layers, side) -> cases: paraboloid, ten units a layer."""
    rules = protocol["regimes"]["depth"]
    found: dict[tuple, list[dict]] = {}
    for hidden in rules["hidden"]:
        common = {
            "row": f"paraboloid/2x{'10x' * hidden}1",
            "folds": rules["folds"],
            "updates": rules["updates"],
        }
        sides = rules["sides"] + ["equilibrium"] * (hidden in rules["equilibrium"])
        found |= _sides(protocol, rules | {"sides": sides}, (hidden,), common)
    return found


def few(protocol: dict) -> dict[tuple, list[dict]]:
    """(row, side) -> cases with few training samples."""
    rules = protocol["regimes"]["few"]
    return {
        key: cases
        for row in rules["rows"]
        for key, cases in _sides(
            protocol,
            rules,
            (row,),
            {
                "row": row,
                "samples": rules["samples"],
                "folds": rules["folds"],
                "updates": rules["updates"],
            },
        ).items()
    }


def noise(protocol: dict) -> dict[tuple, list[dict]]:
    """(row, side) -> cases with noisy training labels, flipped ones where they are classes."""
    rules = protocol["regimes"]["noise"]
    found: dict[tuple, list[dict]] = {}
    for row in rules["rows"]:
        spoilt = (
            {"flips": rules["flips"]}
            if row.startswith("circular")
            else {"deviation": rules["deviation"]}
        )
        found |= _sides(
            protocol,
            rules,
            (row,),
            {"row": row, "folds": rules["folds"], "updates": rules["updates"], **spoilt},
        )
    return found


def _sides(protocol: dict, rules: dict, place: tuple, common: dict) -> dict[tuple, list[dict]]:
    """(*place, side) -> cases of the race's methods."""
    sides = {
        (*place, side): [common | case for case in candidates(protocol["methods"][side])]
        for side in rules["sides"]
    }
    return _with_null(protocol, rules, sides)


def _with_null(
    protocol: dict, rules: dict, sides: dict[tuple, list[dict]]
) -> dict[tuple, list[dict]]:
    """Every side with the regime's tuning seeds, and back-propagation once more with others and
    another batch order.
    """
    seeds, every = rules.get("seeds", protocol["regimes"]["seeds"]), protocol.get("every", 1)
    null = {"seeds": [seed + LATER for seed in seeds], "again": 1}
    found = {
        key: [case | {"seeds": seeds} for case in cases[::every]] for key, cases in sides.items()
    }
    return found | {
        (*key[:-1], NULL): [case | null for case in cases[::every]]
        for key, cases in sides.items()
        if key[-1] == "backprop"
    }


def contest(protocol: dict, name: str, choices: Choices) -> tuple[dict, dict]:
    """What every side of a regime chose, and its losses over the regimes' test seeds, by key."""
    function = drift if name == "continual" else losses
    chosen = choices.choose(name, REGIMES[name](protocol), protocol["regimes"]["floor"], function)
    final = {
        key: (
            {name: value for name, value in case.items() if name != "folds"}
            | {"seeds": protocol["regimes"]["test_seeds"]}
        )
        for key, case in chosen.items()
    }
    return chosen, measured(final, function)


REGIMES = {
    "online": online,
    "continual": continual,
    "initialisation": initialisation,
    "depth": depth,
    "few": few,
    "noise": noise,
}


def label(key: tuple) -> str:
    """The parts of a key in the words of a figure.

    >>> label(("saddle", "2x30x1", 8))
    'saddle 1h 8'
    """
    text = " ".join(str(part) for part in key).replace("-", " ")
    return text.replace("2x30x1", "1h").replace("2x10x8x1", "2h")


def place_name(key: tuple) -> str:
    """The words for a place, which is a key without its side; a scale of weights is named.

    >>> place_name(("saddle-1h", 2.0))
    'saddle-1h, weights × 2'
    """
    if len(key) == 2 and isinstance(key[1], float):
        return f"{key[0]}, weights × {key[1]:g}"
    return label(key)


def capitals(name: str) -> str:
    """The name of a row, optimisers as they are written.

    >>> capitals("saddle 1h sgd"), capitals("drifting label 2h adam")
    ('saddle 1h SGD', 'drifting label 2h Adam')
    """
    return name.replace(" sgd", " SGD").replace(" adam", " Adam")


@dataclass(frozen=True, repr=False)
class Contests:
    """What every side reached in every regime.

    chosen: regime -> (*place, side) -> the case that tuning chose. losses: the same -> losses over
    the test seeds. found: the same, but for backpropagation and its null -> the ratio to
    backpropagation, and the verdict. null: regime -> place -> the null's ratio.
    """

    chosen: dict[str, dict]
    losses: dict[str, dict]
    found: dict[str, dict]
    null: dict[str, dict]
    floor: float

    def lower(self) -> dict[str, int]:
        """Online: on how many rows the sheaf's rule has the lower median, by optimiser."""
        online = self.found["online"].items()
        return {
            o: sum(r.median < 1 for key, (r, _) in online if key[1] == o) for o in ("sgd", "adam")
        }

    def counted(self) -> dict[str, int]:
        """Online: how many verdicts there are of each kind, by optimiser."""
        online = self.found["online"].items()
        return {
            f"{o}-{word}": sum(w == word for key, (_, w) in online if key[1] == o)
            for o in ("sgd", "adam")
            for word in ("better", "worse")
        }

    def drifting(self) -> dict[str, float]:
        """The median ratios where the label drifts."""
        return {
            f"{optimiser}-{label((widths,))}": r.median
            for (widths, optimiser, _), (r, _) in self.found["continual"].items()
        }

    def deep(self) -> dict[str, float]:
        """The median ratios by depth, and the equilibrium's where it is deepest."""
        return {
            str(hidden) if side == "primary" else f"{side}-{hidden}": r.median
            for (hidden, side), (r, _) in self.found["depth"].items()
            if (hidden, side) != (2, "equilibrium")
        }

    def scaled(self) -> dict[str, float]:
        """The median ratios with initial weights scaled, to backpropagation, and to it with weight
        decay."""
        mine = [key for key in self.found["initialisation"] if key[-1] == "primary"]
        over = {f"{row}-{scale:g}": (row, scale, "primary") for row, scale, _ in mine}
        losses = self.losses["initialisation"]
        decay = {
            f"{name}-decay": ratio(losses[key], losses[*key[:2], "backprop-decay"], self.floor)
            for name, key in over.items()
        }
        found = {name: self.found["initialisation"][key][0] for name, key in over.items()}
        return {name: r.median for name, r in (found | decay).items()}

    def small(self) -> dict[str, float]:
        """The median ratios with few samples and with noise."""
        return {
            f"{name}-{row.removesuffix('-1h')}": r.median
            for name in ("few", "noise")
            for (row, side), (r, _) in self.found[name].items()
            if side == "primary"
        }

    def decided(self) -> Table:
        """A table of what is better or worse, and by how much."""
        rows = {
            f"{capitals(TITLES[name] + place_name(key[:-1]))}, {SIDES[key[-1]]}": [
                f"{r}",
                f"{self.null[name][key[:-1]]}",
                word,
            ]
            for name, found in self.found.items()
            for key, (r, word) in found.items()
            if word != "no difference"
        }
        return Table(table("over backpropagation", ["ratio", "the null's", "verdict"], rows))

    def against_adam(self) -> Table:
        """A table of implicit steps against backpropagation with Adam, and the rates chosen."""
        rows = {}
        for name in ("online", "continual"):
            losses = self.losses[name]
            for place in dict.fromkeys(key[0] for key in losses):
                against = losses[place, "adam", "backprop"]
                over = ratio(losses[place, "sgd", "prox"], against, self.floor)
                rate = self.chosen[name][place, "sgd", "prox"]["lr"]
                rows[f"{TITLES[name]}{label((place,))}"] = [f"{over}", f"{rate:g}"]
        columns = ["over backpropagation with Adam", "their rate"]
        return Table(table("implicit steps", columns, rows))

    def untrained(self, above: float = 0.01) -> Table:
        """A table of how many runs from scaled weights end above a loss."""
        losses = self.losses["initialisation"]
        sides = ["backprop", "backprop-decay", "primary"]
        rows = {
            place_name(place): [
                f"{(losses[*place, side] > above).sum()} of {len(losses[*place, side])}"
                for side in sides
            ]
            for place in dict.fromkeys(key[:2] for key in losses)
        }
        title, columns = f"runs that end above {above:g}", [SIDES[side] for side in sides]
        return Table(table(title, columns, rows))

    def panel(self, parts: dict, sides: dict) -> tuple[dict, dict]:
        """The ratios that a panel shows, side -> row -> ratio, and those of the null, row -> ratio.

        parts: regime -> what stands before the names of its rows. sides: name -> the last parts of
        its keys.
        """
        shown: dict[str, dict] = {name: {} for name in sides}
        null: dict[str, Ratio] = {}
        for regime, prefix in parts.items():
            null |= {
                capitals(prefix + place_name(place)): r for place, r in self.null[regime].items()
            }
            for name, wanted in sides.items():
                shown[name] |= {
                    capitals(prefix + place_name(key[:-1])): r
                    for key, (r, _) in self.found[regime].items()
                    if key[-1] in wanted
                }
        return shown, null

    def numbers(self) -> dict:
        """What the figure keeps: verdicts with their nulls, losses (None where a run diverged), and
        what was chosen; regime -> key -> value."""
        kept: dict[str, dict] = {"verdicts": {}, "losses": {}, "chosen": {}}
        for name, found in self.found.items():
            kept["verdicts"][name] = {
                label(key): {"ratio": r, "verdict": word, "null": self.null[name][key[:-1]]}
                for key, (r, word) in found.items()
            }
            kept["losses"][name] = {
                label(key): [v if np.isfinite(v) else None for v in values.tolist()]
                for key, values in self.losses[name].items()
            }
            kept["chosen"][name] = {
                label(key): {k: case[k] for k in ("lr", "kappa") if k in case}
                for key, case in self.chosen[name].items()
            }
        return kept


def compete(protocol: dict, choices: Choices) -> Contests:
    """Hold every regime: tune all sides or take what `choices` keeps, test them, and compare."""
    floor = protocol["regimes"]["floor"]
    contests = Contests({}, {}, {}, {}, floor)
    for name in REGIMES:
        contests.chosen[name], losses = contest(protocol, name, choices)
        contests.losses[name] = losses
        contests.found[name], contests.null[name] = compared(losses, floor)
    return contests


def compared(losses: dict, floor: float) -> tuple[dict, dict]:
    """(*place, side) -> ratio to backpropagation and verdict, and place -> the null's ratio."""
    over = {
        key: ratio(values, losses[*key[:-1], "backprop"], floor) for key, values in losses.items()
    }
    null = {key[:-1]: r for key, r in over.items() if key[-1] == NULL}
    found = {}
    for key, r in over.items():
        if key[-1] not in ("backprop", NULL):
            found[key] = r, verdict(r, ratio(losses[key], losses[*key[:-1], NULL], floor))
    return found, null
