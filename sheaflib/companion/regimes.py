"""The regimes of notebook 11's protocol as cases: what each side tunes on, and what is measured of
its choice.
"""

from __future__ import annotations

from sheaflib.companion.race import Choices, candidates, drift, losses, measured

NULL = "null"
LATER = 10  # what the null adds to a tuning seed


def online(protocol: dict) -> dict[tuple, list[dict]]:
    """(row, optimiser, side) -> cases, one sample an update."""
    rules, found = protocol["regimes"]["online"], {}
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
    rules, found = protocol["regimes"]["continual"], {}
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
    rules, found = protocol["regimes"]["initialisation"], {}
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
    rules, found = protocol["regimes"]["depth"], {}
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
    rules, found = protocol["regimes"]["noise"], {}
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
