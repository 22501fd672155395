"""Newton's method and the homotopy, and how low each of them comes: the comparison of notebook 15
(derived).

The protocol. A first run led to two changes of the homotopy, the rule of "global" at its end and a
first width of 1 in place of 0.3, both of which find more of the global minima; the numbers that are
kept were measured after them.

*Problems.* `pinned_problems.problem`: five small families, two deep ones, a random ResNet-20; the
label is the class that the network holds for least likely. A seed gives the same problem always.

*The race*: seed 0 of the small and the deep families, from the forward pass. Candidates:
Newton's method ("track", "global"), the homotopy, and in injections Gauss–Newton, L-BFGS and
error-based predictive coding, the last with the step of a fixed list that ends lowest. Each has
MOST passes. V* is the lowest V that any of them reaches. A method has arrived at V − V* ≤ 1e-3 V*;
one that does not arrive within its passes has failed and is counted so.

*The starts*: seeds 0 to 9 of the small families, from the forward pass and from two random starts.
Newton in both modes and the homotopy run to the end; the homotopy's V is lower, equal (to 1e-9 of
V) or higher than Newton's. Wilson's intervals of 95 %.

*The lists*: 400 random networks [2,6,1] and 200 [2,4,4,1] of which every minimum is known, labels
up to 10 from what the network says; from the forward pass. Beside the modes, Newton from the
forward pass and as many random starts as the homotopy's passes allow, of which the lowest counts.

*The ResNet-20*: seed 0. Goal: certified within 4 000 passes. The others have 300 there.

*The report*: three networks on 250 digits with 5 % wrong labels; discord by edge and the list of
suspicious samples at Newton's answers and at the homotopy's.

The goals: the homotopy's answers are certified, all of them; it ends lower than Newton more often
than higher; on the lists it finds the global minimum more often than each other way; on deep
networks it arrives, and no other method does so in fewer passes.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import scipy as sp

from sheaflib.companion import descents, digits, repository
from sheaflib.companion.ladder import toy
from sheaflib.companion.pinned_problems import DEEP, RESNET, SMALL, problem, start
from sheaflib.companion.sweep import sweep
from sheaflib.equilibria.certificate import MINIMUM
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.equilibria.newton import equilibrium
from sheaflib.sheaves import discord
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard

FILE = "15-compared.json"  # beside the claims
NEWTON, HOMOTOPY = "Newton, track", "homotopy"
MODES = {NEWTON: "track", "Newton, global": "global", HOMOTOPY: "homotopy"}
INJECTIONS = {
    "Gauss–Newton": descents.gauss_newton,
    "L-BFGS": descents.lbfgs,
    "predictive coding": descents.predictive_coding,
}
METHODS = (*MODES, *INJECTIONS)
RESTARTS = "Newton, restarts"
MOST = {"small": 2000, "deep": 5000, "resnet": 4000}  # passes of a method in the race
RESNET_OTHERS = 300  # of the other methods on the ResNet-20
CLOSE = 1e-3  # of V*: who is so near has arrived
SAME = 1e-9  # of V: two ends are equal
SEEDS, STARTS = 10, 3
LISTS = {"2x6x1": 400, "2x4x4x1": 200}
REACH = 10.0  # how far at most labels of these networks lie from what the network says
LABELLED: dict[str, dict] = {
    "weight decay": digits.DECAY,
    "by heart": digits.MEMORY,
    "six layers": digits.DECAY | {"alpha": 0.1, "hidden": [32] * 6},
}
SAMPLES = 250
DIGITS = 12  # that are kept of a number


# cases of sweeps
# --------------------------------------------------------------------------------------------------


def raced(family: str, seed: int, method: str, most: int, growth: float = descents.GROWTH) -> dict:
    """How low a method comes from the forward pass, after how many passes: a `Descent` as a
    dict.
    """
    of = problem(family, seed)
    begin = of.sheaf.forward(of.x)
    if method in MODES:
        found = descents.by_budget(of, begin, most, MODES[method], growth)
    else:
        found = INJECTIONS[method](of, begin, most)
    return found._asdict()


def ended(family: str, seed: int, number: int) -> dict[str, list]:
    """Where Newton's modes and the homotopy end from a start of a problem: method -> V, passes,
    whether it is certified.
    """
    of, found = problem(family, seed), {}
    begin = start(of, number, seed)
    for method, mode in MODES.items():
        end = descents.solved(of, begin, mode)
        found[method] = [float(end.energy[0]), int(end.passes[0]), descents.certified(end)]
    return found


def listed(widths: str, number: int) -> dict[str, Any]:
    """A random network whose minima are all known: how many there are, and way -> the rank of the
    minimum where it ends (0: the global one, −1: none of the list), its passes, and whether it is
    certified.
    """
    rng = np.random.default_rng([number, len(widths)])
    sheaf, x, pin = toy(widths, rng, REACH)
    minima = enumerate_equilibria(sheaf, x, pins=pin).minima

    def place(w: np.ndarray) -> int:
        away = np.abs(minima - w).max(axis=1)
        nearest = int(away.argmin())
        return nearest if away[nearest] <= 1e-9 * (1 + np.abs(w).max()) else -1

    found: dict[str, Any] = {"minima": len(minima)}
    for method, mode in MODES.items():
        end = equilibrium(sheaf, x, pins=pin, mode=mode, progress=False)  # type: ignore[arg-type]
        proven = bool(end.converged[0]) and end.certificate.verdict[0] == MINIMUM
        found[method] = [place(end.cochain[0]), int(end.passes[0]), proven]
    lowest, passes, proven = found[NEWTON]
    while True:
        end = equilibrium(sheaf, x, pins=pin, start=3 * rng.standard_normal((1, sheaf.N)))
        if passes + int(end.passes[0]) > found[HOMOTOPY][1]:
            break
        passes += int(end.passes[0])
        lowest = min(lowest, place(end.cochain[0]) % len(minima))
    found[RESTARTS] = [lowest, passes, proven]
    return found


def labelled(name: str, samples: int) -> dict[str, Any]:
    """A network that has learned digits with wrong labels: discord by edge, mean V, passes a sample
    and how many times more wrong labels than a random list the list of suspicious samples holds, at
    Newton's answers and at the homotopy's; how both compare.
    """
    images, truth = digits.digits(samples)
    given, wrong = digits.flip(truth, 0)
    sheaf = NeuralSheaf(digits.train(images, given, 0, **LABELLED[name]))
    pins, length = hard("a_out", np.eye(10)[given]), int(wrong.sum())
    energies, order, found = [], [], {}
    for method in (NEWTON, HOMOTOPY):
        mode: Any = MODES[method]
        end = equilibrium(sheaf, images, pins=pins, mode=mode, progress=False)
        edges = discord.per_edge(sheaf, end.cochain, images)
        energies.append(end.energy)
        order.append(np.sum(list(edges.values()), axis=0))
        found[method] = {
            "edges": {edge: float(values.mean()) for edge, values in edges.items()},
            "energy": float(end.energy.mean()),
            "passes": float(end.passes.mean()),
            "certified": int((end.converged & (end.certificate.verdict == MINIMUM)).sum()),
            "enrichment": float(digits.enrichment(order[-1], wrong, length)),
        }
    lists = [set(np.argsort(-score, kind="stable")[:length].tolist()) for score in order]
    return found | {
        "counts": compared(*energies),
        "rank correlation": float(sp.stats.spearmanr(*order).statistic),
        "of both lists": len(lists[0] & lists[1]) / length,
    }


# the comparison
# --------------------------------------------------------------------------------------------------


def compared(newton, homotopy) -> dict[str, int]:
    """How often the second energies (n,) are lower, equal and higher than the first."""
    newton, homotopy = np.asarray(newton), np.asarray(homotopy)
    equal = np.abs(homotopy - newton) <= SAME * np.abs(newton)
    return {
        "lower": int((~equal & (homotopy < newton)).sum()),
        "equal": int(equal.sum()),
        "higher": int((~equal & (homotopy > newton)).sum()),
    }


def interval(count: int, of: int) -> list[float]:
    """Wilson's interval of 95 % of a share.

    >>> [round(end, 3) for end in interval(5, 10)]
    [0.237, 0.763]
    """
    ends = sp.stats.binomtest(count, of).proportion_ci(0.95, "wilson")
    return [float(ends.low), float(ends.high)]


def measure_all() -> dict[str, Any]:
    """Run the whole comparison, an hour or two, and keep it among the results of this run."""
    found = {
        "race": measure_race(),
        "starts": measure_starts(),
        "lists": measure_lists(),
        "report": {name: labelled_once(name) for name in LABELLED},
        "resnet": measure_resnet(),
    }
    file = repository.results() / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(written(shortened(found)) + "\n", encoding="utf-8")
    return shortened(found)


def written(part: Any, depth: int = 3) -> str:
    """JSON with one line for each part at a depth.

    >>> print(written({"a": [[1, 2], [3]]}, 2))
    {
    "a": [
    [1, 2],
    [3]
    ]
    }
    """
    if not depth or not isinstance(part, (dict, list)):
        return json.dumps(part, ensure_ascii=False)
    if isinstance(part, list):
        return "[\n" + ",\n".join(written(value, depth - 1) for value in part) + "\n]"
    rows = [
        f"{json.dumps(key, ensure_ascii=False)}: {written(value, depth - 1)}"
        for key, value in part.items()
    ]
    return "{\n" + ",\n".join(rows) + "\n}"


def measure_race() -> dict[str, dict]:
    """The race: family -> method -> Descent."""
    cases: list[dict[str, Any]] = [
        {"family": family, "seed": 0, "method": method, "most": MOST[size]}
        for size, families in (("small", SMALL), ("deep", DEEP))
        for family in families
        for method in METHODS
    ]
    found: dict[str, dict] = {}
    for case, run in zip(cases, sweep(raced, cases, label="race")):
        found.setdefault(case["family"], {})[case["method"]] = run
    return found


def measure_resnet() -> dict[str, dict]:
    """The race on the ResNet-20, with fewer looks on the way: method -> Descent."""
    common: dict[str, Any] = {"family": RESNET, "seed": 0, "growth": 9.0}
    cases = [
        common | {"method": method, "most": MOST["resnet"] if method == HOMOTOPY else RESNET_OTHERS}
        for method in (HOMOTOPY, NEWTON, *INJECTIONS)
    ]
    return {case["method"]: run for case, run in zip(cases, sweep(raced, cases, label="ResNet"))}


def measure_starts() -> dict[str, list[dict]]:
    """Ends by family, seed after seed and start after start."""
    cases: list[dict[str, Any]] = [
        {"family": family, "seed": seed, "number": number}
        for family in SMALL
        for seed in range(SEEDS)
        for number in range(STARTS)
    ]
    found: dict[str, list] = {}
    for case, run in zip(cases, sweep(ended, cases, label="starts")):
        found.setdefault(case["family"], []).append(run)
    return found


def measure_lists() -> dict[str, list[dict]]:
    """Networks whose minima are known, by widths."""
    cases: list[dict[str, Any]] = [
        {"widths": w, "number": k} for w, count in LISTS.items() for k in range(count)
    ]
    found: dict[str, list] = {}
    for case, run in zip(cases, sweep(listed, cases, label="lists")):
        found.setdefault(case["widths"], []).append(run)
    return found


def labelled_once(name: str) -> dict[str, Any]:
    """`labelled` of one network, kept by the sweep."""
    return sweep(labelled, [{"name": name, "samples": SAMPLES}], label="report")[0]


def shortened(part: Any) -> Any:
    """Numbers without the digits that rounding has."""
    if isinstance(part, dict):
        return {key: shortened(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [shortened(value) for value in part]
    return float(f"{part:.{DIGITS}g}") if isinstance(part, float) else part
