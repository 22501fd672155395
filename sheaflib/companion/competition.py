"""The race of notebook 11 as one result: every method tuned and tested on every row, beside the
paper's columns and scikit-learn, and the runs that explain how it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, NamedTuple, Sequence

import numpy as np

from sheaflib.companion import experiments, race, tuning
from sheaflib.companion.ladder import table
from sheaflib.companion.race import Ratio, ratio, verdict
from sheaflib.companion.record import gallery
from sheaflib.companion.sweep import sweep

DESCENT = 3  # passes of a step of gradient descent: forward, back, gradient
KAPPAS = {"equilibrium": 1.0, "ohm": 0.0, "mirror": -1.0}
REGRESSION = ("paraboloid-1h", "paraboloid-2h", "saddle-1h", "saddle-2h")


class Table(str):
    """A text that shows itself as it is, in a notebook too."""

    def __repr__(self):
        return str(self)


@dataclass(frozen=True, repr=False)
class Competition:
    """What every method reached on every row.

    finals: (row, method) -> the case that was tested, as keyword arguments of `race.losses`.
    losses: the same -> test losses over seeds. scikit_learn: row -> those of scikit-learn's MLP.
    paper: row -> the two columns of Table E.1. grids: row -> the learning rates that
    backpropagation was offered.
    """

    protocol: dict
    finals: dict[tuple[str, str], dict]
    losses: dict[tuple[str, str], np.ndarray]
    scikit_learn: dict[str, np.ndarray]
    paper: dict[str, dict[str, float]]
    grids: dict[str, list[float]]

    @property
    def rows(self) -> list[str]:
        """The rows of the race: those of Table E.1, and the digits."""
        return [*self.protocol["data"]["rows"], "digits"]

    @property
    def floor(self) -> float:
        """What a smaller test loss counts as."""
        return self.protocol["test"]["floor"]

    def median(self, row: str, method: str) -> float:
        """The median test loss of a method over the seeds."""
        return float(np.median(self.losses[row, method]))

    def over(self, method: str, other: str = "backprop") -> dict[str, Ratio]:
        """The paired ratios of the test losses of two methods, row by row."""
        return {
            row: ratio(self.losses[row, method], self.losses[row, other], self.floor)
            for row in self.rows
        }

    def verdicts(self) -> dict[str, str]:
        """Row by row, whether the primary method differs from backpropagation and from the null."""
        ours, over_null = self.over("primary"), self.over("primary", "null")
        return {row: verdict(ours[row], over_null[row]) for row in self.rows}

    def passes(self, row: str, method: str = "primary") -> int:
        """How often a whole run of a method touches every weight."""
        return tuning.passes(row, self.finals[row, method])

    def at_the_edge(self, method: str = "backprop") -> list[str]:
        """The rows on which tuning chose the lowest or the highest learning rate on offer."""
        ends = {row: (grid[0], grid[-1]) for row, grid in self.grids.items()}
        return [row for row in self.rows if self.finals[row, method]["lr"] in ends[row]]

    def reached(self, method: str = "primary") -> list[str]:
        """The rows of Table E.1 on which a method's median is at most the better of the paper's two
        columns, with at most a twentieth of gradient descent's passes."""
        return [
            row
            for row, columns in self.paper.items()
            if self.median(row, method) <= min(columns.values())
            and 20 * self.passes(row, method) <= descent_passes(row)
        ]

    def beside_the_paper(self, row: str) -> dict[str, float]:
        """What the ledger keeps of a row of Table E.1."""
        found = {
            "ours": self.median(row, "primary"),
            "backprop": self.median(row, "backprop"),
            "paper_sheaf": self.paper[row]["sheaf"],
            "paper_gd": self.paper[row]["gradient descent"],
            "passes_ours": self.passes(row),
            "passes_gd": descent_passes(row),
        }
        if row.startswith("blobs"):
            found["cheap"] = self.median(row, "cheap")
            found["quadratic_discriminant"] = race.quadratic_discriminant()
        return found

    def on_digits(self) -> dict[str, float]:
        """What the ledger keeps of the digits."""
        found = {
            name: self.median("digits", method)
            for name, method in (("ours", "primary"), ("cheap", "cheap"), ("backprop", "backprop"))
        }
        found["scikit_learn"] = float(np.median(self.scikit_learn["digits"]))
        over = self.over("primary")["digits"]
        return found | {"ratio": over.median, "low": over.low, "high": over.high}

    def blobs_over_the_paper(self) -> dict[str, float]:
        """The primary method's median over the better of the paper's columns, on both blobs."""
        return {
            row: self.median(row, "primary") / min(columns.values())
            for row, columns in self.paper.items()
            if row.startswith("blobs")
        }

    def intervals(self) -> dict[str, int]:
        """On how many rows an interval of ratios lies where: the primary method's over
        backpropagation, and the null's."""
        ours, null = self.over("primary").values(), self.over("null").values()
        return {
            "above-1": sum(r.low > 1 for r in ours),
            "ends-above-1-1": sum(r.high > 1.1 for r in ours),
            "wholly-below-1": sum(r.high < 1 for r in ours),
            "null-wholly-below-1": sum(r.high < 1 for r in null),
            "null-wholly-above-1": sum(r.low > 1 for r in null),
        }

    def __repr__(self):
        words, rows = self.verdicts(), {}
        columns = ["sheaf", "worst", "backprop", "worst", "decay", "sklearn"]
        columns += ["paper's sheaf", "its GD", "sheaf is"]
        for row in self.rows:
            theirs = self.paper.get(row, {})
            values = [
                self.median(row, "primary"),
                self.losses[row, "primary"].max(),
                self.median(row, "backprop"),
                self.losses[row, "backprop"].max(),
                self.median(row, "backprop-decay"),
                np.median(self.scikit_learn[row]),
                theirs.get("sheaf"),
                theirs.get("gradient descent"),
            ]
            rows[row] = ["" if v is None else f"{v:.2g}" for v in values] + [words[row]]
        edges = ", ".join(self.at_the_edge()) or "none"
        chosen = (
            f"rows on which backpropagation chose an end of its grid of learning rates: {edges}"
        )
        return f"{table('test loss', columns, rows)}\n{chosen}"


class Costs(NamedTuple):
    """What an update of the primary method costs over one of backpropagation, row -> number: in
    passes, in seconds, and in seconds with one sweep where there are several outputs; `run`: the
    seconds of a whole run over those of Table E.1's gradient descent.
    """

    passes: dict[str, float]
    seconds: dict[str, float]
    one_sweep: dict[str, float]
    run: dict[str, float]

    @property
    def dearest(self) -> float:
        """The largest cost of an update on any row, in passes or seconds."""
        return max(*self.passes.values(), *self.seconds.values())

    def __repr__(self):
        columns = ["passes", "seconds", "seconds, one sweep", "whole run / the paper's GD"]
        parts = (self.passes, self.seconds, self.one_sweep, self.run)
        rows = {
            row: [f"{part[row]:.2f}" if row in part else "" for part in parts] for row in parts[0]
        }
        return table("update / backprop's", columns, rows)


def compete(protocol: dict, choices: tuning.Choices) -> Competition:
    """Tune every method on every row, or take what `choices` keeps, and test what was chosen."""
    floor, rows = protocol["test"]["floor"], [*protocol["data"]["rows"], "digits"]
    longest_first = rows[::-1]
    entries = {
        (row, name): cases
        for row in longest_first
        for name, cases in tuning.entrants(protocol, row).items()
    }
    chosen = choices.choose("race", entries, floor)
    finals: dict[tuple[str, str], dict] = {}
    for row in longest_first:
        mine = {name: case for (place, name), case in chosen.items() if place == row}
        tested = tuning.finalists(protocol, row, mine)
        finals |= {(row, name): case for name, case in tested.items()}
    losses = tuning.measured(finals)
    seeds = {row: finals[row, "backprop"]["seeds"] for row in rows}
    return Competition(
        protocol,
        finals,
        losses,
        by_scikit_learn(protocol, choices, longest_first, seeds),
        gallery.committed("06-table-e1")["test-authors"],
        {row: [case["lr"] for case in entries[row, "backprop"]] for row in rows},
    )


def by_scikit_learn(
    protocol: dict, choices: tuning.Choices, rows: Sequence[str], seeds: Mapping[str, list]
) -> dict[str, np.ndarray]:
    """The test losses of scikit-learn's MLP on every row, tuned on folds as the protocol says."""
    mlp = protocol["methods"]["scikit-learn"]
    common = {"folds": mlp["folds"], "seeds": mlp["seeds"], "max_iter": mlp["max_iter"]}
    offered = {row: [{"row": row, "alpha": a, **common} for a in mlp["alpha"]] for row in rows}
    chosen = choices.choose("scikit-learn", offered, protocol["test"]["floor"], race.scikit_learn)
    final = {row: case | {"folds": 0, "seeds": seeds[row]} for row, case in chosen.items()}
    return tuning.measured(final, race.scikit_learn)


def descent_passes(row: str) -> int:
    """The passes of gradient descent in a row of Table E.1, three a step."""
    return DESCENT * experiments.TABLE_E1[row]["steps"]


def costs(found: Competition, bench: Mapping[str, dict]) -> Costs:
    """What an update costs, the seconds from the rows of `make bench`."""

    def timed(row: str, method: str) -> str:
        return f"update {row}, {'mirror' if found.finals[row, method]['kappa'] else 'ohm'}"

    cases = {row: found.finals[row, "primary"] for row in found.rows}
    return Costs(
        {row: found.passes(row) / (DESCENT * case["updates"]) for row, case in cases.items()},
        {row: 1 / bench[timed(row, "primary")]["ratio"] for row in found.rows},
        {
            row: 1 / bench[f"{timed(row, 'cheap')}, one sweep"]["ratio"]
            for row in found.rows
            if (row, "cheap") in found.finals
        },
        {row: 1 / bench[f"run {row}"]["ratio"] for row in found.paper},
    )


# the runs that explain it
# --------------------------------------------------------------------------------------------------


class Dial(NamedTuple):
    """Test losses over backpropagation's when one edge weight is turned: row -> rule -> a ratio for
    every weight; null: row -> backpropagation in another batch order.
    """

    weights: list[float]
    ratios: dict[str, dict[str, list[Ratio]]]
    null: dict[str, Ratio]


def turn(
    found: Competition,
    weights: Sequence[float] = (1.0, 10.0, 100.0),
    rows: Sequence[str] = ("paraboloid-2h", "blobs-1h"),
) -> Dial:
    """Train with every rule at every edge weight, all at one learning rate, untuned."""
    cases: dict[tuple, dict] = {}
    for row in rows:
        base = found.finals[row, "= backprop"]
        for name, kappa in KAPPAS.items():
            rule = {"rule": "rayleigh", "kappa": kappa}
            cases |= {(row, name, w): base | rule | {"stiffness": w} for w in weights}
        cases[row, "null"] = base | {"again": 1}
    losses = tuning.measured(cases)

    def over(key: tuple) -> Ratio:
        return ratio(losses[key], found.losses[key[0], "= backprop"], found.floor)

    ratios = {
        row: {name: [over((row, name, w)) for w in weights] for name in KAPPAS} for row in rows
    }
    return Dial(list(weights), ratios, {row: over((row, "null")) for row in rows})


def alike(found: Competition) -> Table:
    """A table of every rule over backpropagation at one learning rate, untuned."""
    rules = ["ohm", "mirror", "equilibrium"]
    ratios = {name: found.over(f"= {name}", "= backprop") for name in rules}
    rows = {row: [f"{ratios[name][row]}" for name in rules] for row in found.rows}
    return Table(table("over backpropagation", rules, rows))


class Inflation(NamedTuple):
    """The resistance before training and after it, by the rule that trained: name -> row -> medians
    over the training inputs, a number for each seed.
    """

    by_rule: dict[str, dict[str, np.ndarray]]

    def medians(self, name: str) -> list[float]:
        """The medians over seeds, row by row."""
        return [float(np.median(values)) for values in self.by_rule[name].values()]

    def measured(self) -> dict:
        """What the ledger keeps: on how many rows the equilibrium's gradient does not raise the
        resistance above backpropagation's, or the mirror does not lower it, and the medians."""
        base = self.medians("backpropagation")
        raised, lowered = self.medians("equilibrium"), self.medians("mirror")
        return {
            "not-raised": sum(ours <= theirs for ours, theirs in zip(raised, base)),
            "not-lowered": sum(ours >= theirs for ours, theirs in zip(lowered, base)),
            "initial": self.medians("before training"),
            "backprop": base,
            "equilibrium": raised,
            "mirror": lowered,
        }


def inflate(found: Competition, rows: Sequence[str] = REGRESSION) -> Inflation:
    """Train with every rule at one learning rate, all edges of weight 1, and measure the resistance
    before and after."""
    sides: dict[str, dict] = {"backpropagation": {"rule": "backprop"}}
    sides |= {name: {"rule": "circuit", "kappa": kappa} for name, kappa in KAPPAS.items()}
    keys = [(name, row) for name in sides for row in rows]
    cases = []
    for name, row in keys:
        base = found.finals[row, "= backprop"]
        common = {"row": row, "seeds": base["seeds"], "lr": base["lr"]}
        cases.append(common | tuning.budget(found.protocol, row) | sides[name])
    rho = dict(zip(keys, sweep(race.resistance, cases)))
    before = {"before training": {row: rho["ohm", row][:, 0] for row in rows}}
    return Inflation(before | {name: {row: rho[name, row][:, 1] for row in rows} for name in sides})


class Curve(NamedTuple):
    """Test losses (S, R) after so many updates (R,), and how many passes an update takes."""

    updates: Sequence[int]
    losses: np.ndarray
    passes: float


def learning_curves(
    found: Competition, steps: int, rows: Sequence[str] = ("saddle-1h", "paraboloid-2h")
) -> dict[str, dict[str, Curve]]:
    """Row -> method -> curve: currents and backpropagation over the test seeds, and the paper's two
    methods once each, from its own seed, for at most `steps` steps.
    """
    return {row: _fast(found, row) | _slow(row, steps) for row in rows}


def _fast(found: Competition, row: str) -> dict[str, Curve]:
    """The curves of currents and backpropagation."""
    cases = []
    for name in ("primary", "backprop"):
        case = {k: v for k, v in found.finals[row, name].items() if k not in ("again", "folds")}
        marks = np.geomspace(10, case["updates"], 30).astype(int).tolist()
        cases.append(case | {"row": row, "marks": sorted({*marks, case["updates"]})})
    ours, theirs = sweep(race.curve, cases)
    each = found.passes(row) / cases[0]["updates"]
    return {
        "sheaf, by currents": Curve(cases[0]["marks"], ours, each),
        "backpropagation": Curve(cases[1]["marks"], theirs, DESCENT),
    }


def _slow(row: str, steps: int) -> dict[str, Curve]:
    """The curves of the paper's two methods."""
    setting = experiments.TABLE_E1[row]
    n = min(setting["steps"], steps)
    common = {name: setting[name] for name in ("task", "widths", "dt")}
    common |= {"steps": n, "every": n // 100}
    runs = sweep(experiments.train, [common | {"method": method} for method in ("sheaf", "gd")])
    names = ("paper: sheaf", "paper: gradient descent")
    return {name: Curve(run.step[1:], run.test[1:], DESCENT) for name, run in zip(names, runs)}
