"""The regimes of notebook 11's protocol as cases: what each side tunes on, and what is measured of
its choice.
"""

from __future__ import annotations

import numpy as np

from sheaflib.companion.race import Ratio, drift, losses
from sheaflib.companion.tuning import Choices, candidates, measured

NULL = "null"
LATER = 10  # what the null adds to a tuning seed


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


def rows(results: dict, parts: list, sides: dict) -> tuple[dict, dict]:
    """The ratios that a panel shows, side -> row -> ratio, and those of the null, row -> ratio.

    parts: regimes with what stands before the names of their rows. sides: name -> the last parts
    of its keys.
    """
    shown: dict[str, dict] = {name: {} for name in sides}
    null: dict[str, Ratio] = {}
    for regime, prefix in parts:
        found, own = results[regime]
        null |= {prefix + place_name(place): r for place, r in own.items()}
        for name, wanted in sides.items():
            shown[name] |= {
                prefix + place_name(key[:-1]): r
                for key, (r, _) in found.items()
                if key[-1] in wanted
            }
    return shown, null


def told(found: dict) -> str:
    """The ratios of some rows and their verdicts, name -> (ratio, verdict), as a sentence."""
    return "; ".join(f"{name} {r}, {word}" for name, (r, word) in found.items())


def numbers(results: dict, contests: dict) -> dict:
    """What the figure of all regimes keeps: verdicts with their nulls, losses (None where a run
    diverged), and the rates chosen; regime -> key -> value.
    """
    kept: dict[str, dict] = {"verdicts": {}, "losses": {}, "chosen": {}}
    for name, (found, null) in results.items():
        kept["verdicts"][name] = {
            label(key): {"ratio": r, "verdict": word, "null": null[key[:-1]]}
            for key, (r, word) in found.items()
        }
    for name, (cases, measured_losses) in contests.items():
        kept["losses"][name] = {
            label(key): [v if np.isfinite(v) else None for v in values.tolist()]
            for key, values in measured_losses.items()
        }
        kept["chosen"][name] = {
            label(key): {k: case[k] for k in ("lr", "kappa") if k in case}
            for key, case in cases.items()
        }
    return kept
