"""What the comparison of Newton's method, the homotopy and others found: read from the record that
`make batch NB=15` writes, counted, and told as tables (derived).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Mapping

from sheaflib.companion import repository
from sheaflib.companion.descents import GROWTH, Descent
from sheaflib.companion.ladder import spaced, table
from sheaflib.companion.pinned_problems import DEEP, RESNET
from sheaflib.companion.ways_down import (
    CLOSE,
    FILE,
    HOMOTOPY,
    METHODS,
    MODES,
    NEWTON,
    RESTARTS,
    compared,
    interval,
    measure_all,
)

WAYS = (*MODES, RESTARTS)  # of finding a minimum of a network whose minima are all known
RESNET_PASSES = 4000  # the goal


class Table(str):
    """A table that shows itself as it is."""

    def __repr__(self):
        return str(self)


@dataclass(frozen=True, repr=False)
class Comparison:
    """race: problem -> method -> how low after how many passes, the ResNet-20 among the problems;
    starts: family -> ends of Newton and of the homotopy; lists: widths -> networks whose minima are
    known; report: network -> what its report says at the ends of both.
    """

    race: Mapping[str, Mapping[str, Descent]]
    starts: Mapping[str, list[dict]]
    lists: Mapping[str, list[dict]]
    report: Mapping[str, dict]

    def __repr__(self):
        networks = sum(map(len, self.lists.values()))
        runs = sum(map(len, self.starts.values()))
        return (
            f"Comparison({len(self.race)} problems raced, {runs} starts, {networks} networks with"
            f" all their minima, {len(self.report)} reports)"
        )

    # the race

    def lowest(self, problem: str) -> float:
        """V*: the lowest V that any method has reached."""
        return min(run.energy[-1] for run in self.race[problem].values())

    def arrivals(self, problem: str) -> dict[str, int | None]:
        """The passes after which each method is as low as V* but for a thousandth; None: never."""
        low = (1 + CLOSE) * self.lowest(problem)
        return {method: run.until(low) for method, run in self.race[problem].items()}

    def raced(self) -> Table:
        """V* of every problem, and after how many passes each method has arrived."""
        rows = {}
        for problem in self.race:
            arrived = self.arrivals(problem)
            cells = [shown(arrived[m]) if m in arrived else "" for m in METHODS]
            rows[problem] = [f"{self.lowest(problem):.6f}", *cells]
        return Table(table("passes to V*, within a thousandth", ["V*", *METHODS], rows))

    def passes(self) -> dict[str, int]:
        """On how many deep problems the homotopy arrives, on how many no other method arrives at an
        earlier look, of which there is one at every third more passes, and how many there are.
        """
        found = {"arrives": 0, "first": 0, "problems": 0}
        for problem in self.race:
            if problem in DEEP:
                arrived = {m: p for m, p in self.arrivals(problem).items() if p is not None}
                found["problems"] += 1
                found["arrives"] += HOMOTOPY in arrived
                soonest = GROWTH**0.5 * min(arrived.values())
                found["first"] += arrived.get(HOMOTOPY, float("inf")) <= soonest
        return found

    def resnet(self) -> Table:
        """How low each method comes on the random ResNet-20, and after how many passes."""
        rows = {
            method: [
                f"{run.energy[-1]:.6f}",
                spaced(run.passes[-1]),
                "certified" if run.certified else run.end,
            ]
            for method, run in self.race[RESNET].items()
        }
        return Table(table(f"{RESNET}", ["V", "passes", ""], rows))

    def resnet_measured(self) -> dict[str, Any]:
        """What the claim on the ResNet-20 measures."""
        run = self.race[RESNET][HOMOTOPY]
        return {
            "certified": run.certified,
            "within": run.passes[-1] <= RESNET_PASSES,
            "V": run.energy[-1],
            "passes": run.passes[-1],
        }

    # starts

    def counts(self, family: str = "", newton: str = NEWTON) -> dict[str, int]:
        """How often the homotopy ends lower than Newton in a mode, equal and higher: of a family,
        or of all.
        """
        runs = [run for name, own in self.starts.items() if family in ("", name) for run in own]
        return compared([run[newton][0] for run in runs], [run[HOMOTOPY][0] for run in runs])

    def lower(self) -> dict[str, Any]:
        """The counts of all families, the interval of the share of lower ends among those that
        differ, and whether all of it is above a half.
        """
        found = self.counts()
        ends = interval(found["lower"], found["lower"] + found["higher"])
        return {"more-often": ends[0] > 0.5, "interval": ends} | found

    def by_family(self) -> Table:
        """The counts, family by family, and the mean passes of both."""
        rows = {}
        for family, runs in self.starts.items():
            found = self.counts(family)
            share = interval(found["lower"], found["lower"] + found["higher"])
            means = [sum(r[m][1] for r in runs) / len(runs) for m in (NEWTON, HOMOTOPY)]
            beside = self.counts(family, "Newton, global").values()
            told = f"{share[0]:.2f} to {share[1]:.2f}"
            rows[family] = [*map(str, found.values()), told, "/".join(map(str, beside))]
            rows[family] += map(spaced, means)
        columns = ["lower", "equal", "higher", "of those that differ", "beside global"]
        columns.append("Newton's passes")
        return Table(table("the homotopy beside Newton", [*columns, "the homotopy's"], rows))

    # networks whose minima are known

    def global_shares(self, widths: str = "", several: bool = True) -> dict[str, float]:
        """Way -> the share of the networks, or of those with several minima, in which it finds the
        global one.
        """
        nets = [net for name, own in self.lists.items() if widths in ("", name) for net in own]
        nets = [net for net in nets if net["minima"] > 1 or not several]
        return {way: sum(net[way][0] == 0 for net in nets) / len(nets) for way in WAYS}

    def listed(self) -> Table:
        """How often each way finds the global minimum, and its mean passes."""
        columns: list[str] = []
        rows: dict[str, list[str]] = {way: [] for way in WAYS}
        for widths, nets in self.lists.items():
            several = sum(net["minima"] > 1 for net in nets)
            columns += [f"{widths}, all {len(nets)}", f"the {several} with several", "passes"]
            shares = [self.global_shares(widths, several=only) for only in (False, True)]
            for way in WAYS:
                passes = sum(net[way][1] for net in nets) / len(nets)
                rows[way] += [*(f"{100 * s[way]:.1f} %" for s in shares), f"{passes:.0f}"]
        return Table(table("the global minimum is found", columns, rows))

    def enumerated(self) -> dict[str, Any]:
        """What the claim on these networks measures: whether the homotopy finds the global minimum
        more often than each other way, of those with several; and all shares.
        """
        shares = self.global_shares()
        nets = [net for own in self.lists.values() for net in own]
        above = {
            f"above-{way.split()[-1]}": shares[HOMOTOPY] > shares[way]
            for way in WAYS
            if way != HOMOTOPY
        }
        return above | {
            "shares": list(shares.values()),
            "several": sum(net["minima"] > 1 for net in nets),
            "networks": len(nets),
        }

    # certificates and reports

    def certified(self) -> dict[str, int]:
        """How many of the homotopy's ends are no proven minimum, and how many there are."""
        proven = [methods[HOMOTOPY].certified for methods in self.race.values()]
        proven += [run[HOMOTOPY][2] for own in self.starts.values() for run in own]
        proven += [net[HOMOTOPY][2] for own in self.lists.values() for net in own]
        return {"not-certified": proven.count(False), "runs": len(proven)}

    def reported(self) -> Table:
        """What changes in a report, network by network."""
        rows = {}
        for name, found in self.report.items():
            before, after = found[NEWTON], found[HOMOTOPY]
            rows[name] = [
                "/".join(map(str, found["counts"].values())),
                f"{100 * (after['energy'] / before['energy'] - 1):+.2f} %",
                f"{100 * self.largest_change(name):.2f} %",
                f"{found['rank correlation']:.4f}",
                f"{before['enrichment']:.1f}×",
                f"{after['enrichment']:.1f}×",
            ]
        columns = ["lower/equal/higher", "mean V", "an edge's discord, at most"]
        columns += ["ranks", "Newton's list", "the homotopy's"]
        return Table(table("the homotopy's report beside Newton's", columns, rows))

    def largest_change(self, network: str) -> float:
        """The largest relative change of the mean discord of an edge."""
        before, after = (self.report[network][method]["edges"] for method in (NEWTON, HOMOTOPY))
        return max(abs(after[edge] / before[edge] - 1) for edge in before)

    def report_measured(self) -> dict[str, list[float]]:
        """Network -> the largest relative change of an edge's discord, the correlation of the
        ranks, and the enrichments of both lists.
        """
        return {
            name.replace(" ", "-"): [
                self.largest_change(name),
                found["rank correlation"],
                found[NEWTON]["enrichment"],
                found[HOMOTOPY]["enrichment"],
            ]
            for name, found in self.report.items()
        }


def shown(passes: int | None) -> str:
    """A number of passes in a table, a dash for none.

    >>> shown(1200), shown(None)
    ('1 200', '–')
    """
    return "–" if passes is None else spaced(passes)


def compare(measure: bool = False) -> Comparison:
    """The comparison as it is kept beside the claims; measure: run again, an hour or two."""
    if measure:
        said = measure_all()
    else:
        said = json.loads(repository.claims().with_name(FILE).read_text(encoding="utf-8"))
    race = {**said["race"], RESNET: said["resnet"]}
    runs = {
        problem: {method: Descent(**run) for method, run in methods.items()}
        for problem, methods in race.items()
    }
    return Comparison(runs, said["starts"], said["lists"], said["report"])
