"""Faults put into trained networks many times over, and how often each score finds them: the
trials of notebook 09 (derived).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from sheaflib.companion import faults
from sheaflib.companion.ladder import table
from sheaflib.companion.paraboloid import Runs
from sheaflib.companion.sweep import sweep

LEARNED: dict[str, dict] = {  # how networks are trained on flipped labels
    "1H, GD": {"widths": "2x30x1", "method": "gd", "steps": 5000, "dt": 0.005},
    "3H, sheaf": {"widths": "2x12x8x6x1", "method": "sheaf", "steps": 3000, "dt": 0.05},
    "3H, GD": {"widths": "2x12x8x6x1", "method": "gd", "steps": 5000, "dt": 0.05},
}
SATURATED = {"task": "circular", "widths": "2x25x1", "steps": 3000, "gain": 10.0}
AFTER, DURING = "flipped labels, after training", "flipped labels, trained on"
DEAD, SCRAMBLED, SATURATION = "dead unit", "scrambled layer", "saturated output"
BY_LAYER = ("pinned discord", "pinned, jump", "kept stalks", "gradient")
REPORTED = {  # detector -> its name in the ledger
    "pinned discord": "discord",
    "loss": "loss",
    "gradient": "gradient",
    "kept stalks": "kept-stalks",
}


@dataclass(frozen=True, repr=False)
class Trials:
    """AUROC of every trial: `found[fault][network][kind][detector]` is (trials,); kind is "fault",
    "null" (no fault) or "longer" (trained for longer, no fault).
    """

    found: dict[str, dict[str, dict[str, dict[str, np.ndarray]]]]

    def __repr__(self):
        rows = {
            fault.split(",")[0]: [
                f"{row[key]:.2f}" if key in row else "" for key in REPORTED.values()
            ]
            for fault, row in self.averages().items()
            if fault != "null"
        }
        return table("AUROC, mean over the networks", list(REPORTED), rows)

    def averages(self) -> dict[str, dict]:
        """Mean AUROC over trials and networks, fault -> detector -> number, and the same under
        "null" without a fault.
        """
        injected = {
            fault.split(", ")[0].replace(" ", "-"): rows
            for fault, rows in self.found.items()
            if fault != DURING
        }
        means: dict[str, dict] = {f: averaged(rows, "fault") for f, rows in injected.items()}
        means["null"] = {fault: averaged(rows, "null") for fault, rows in injected.items()}
        return means

    def summaries(self) -> dict[str, dict]:
        """(10 %, mean, 90 %) over the trials: fault -> kind -> network -> detector."""
        return {
            fault: {
                kind: {
                    name: {detector: summary(v) for detector, v in row[kind].items()}
                    for name, row in rows.items()
                    if kind in row
                }
                for kind in ("fault", "null")
            }
            for fault, rows in self.found.items()
        }

    def by_layer(self) -> dict[str, np.ndarray]:
        """Mean AUROC of a scrambled layer against its number: detector -> (4,)."""
        rows = [row["fault"] for row in self.found[SCRAMBLED].values()]
        return {
            d: np.mean([row[d].reshape(4, -1).mean(axis=1) for row in rows], axis=0)
            for d in BY_LAYER
        }

    def over_loss(self) -> dict[str, float]:
        """Mean AUROC of pinned discord minus that of the loss on flipped labels, for each way to
        flip and each network.
        """
        return {
            f"{fault}: {name}": float(
                (row["fault"]["pinned discord"] - row["fault"]["loss"]).mean()
            )
            for fault in (AFTER, DURING)
            for name, row in self.found[fault].items()
        }

    def learned_over_loss(self, network: str, detector: str) -> tuple[float, float]:
        """Mean AUROC of a detector minus that of the loss when a network was trained on the flipped
        labels, with its standard error over seeds.
        """
        row = self.found[DURING][network]["fault"]
        apart = row[detector] - row["loss"]
        return float(apart.mean()), float(apart.std(ddof=1) / np.sqrt(len(apart)))

    def worst_unit(self) -> dict[str, float]:
        """The smallest AUROC of pinned discord over all dead units: network -> number."""
        rows = self.found[DEAD].items()
        return {name: float(row["fault"]["pinned discord"].min()) for name, row in rows}

    def longer(self) -> dict[str, float]:
        """AUROC of pinned discord for networks that were only trained for longer."""
        rows = self.found[SATURATION].items()
        return {name: float(row["longer"]["pinned discord"].mean()) for name, row in rows}


def averaged(rows: dict, kind: str) -> dict[str, float]:
    """Mean over trials and networks of the detectors that all networks have."""
    return {
        key: float(np.mean([row[kind][d].mean() for row in rows.values()]))
        for d, key in REPORTED.items()
        if all(d in row[kind] for row in rows.values())
    }


def summary(values: np.ndarray) -> list:
    """10 %, mean and 90 %."""
    return [np.quantile(values, 0.1), values.mean(), np.quantile(values, 0.9)]


def trials(function: Callable, networks: dict[str, dict], **more) -> dict[str, dict]:
    """One of the trials of `faults` for each network, side by side: network -> its result."""
    cases = [{"task": "paraboloid"} | network | more for network in networks.values()]
    return dict(zip(networks, sweep(function, cases, label=function.__name__)))


def plain(runs: Runs) -> dict[str, dict]:
    """The four networks at the end of their training, as parameters of a sweep."""
    return {
        f"{size}, {'sheaf' if method == 'sheaf' else 'GD'}": faults.plain(moment.network)
        for (size, method), moment in runs.last.items()
    }


def learned_flips(draws: int) -> dict[str, dict]:
    """Train networks of `draws` seeds on flipped labels, and look for those: network -> result."""
    found = {}
    for name, how in LEARNED.items():
        cases = [{"task": "paraboloid", "seed": i} | how for i in range(draws)]
        each = sweep(faults.learned_flips, cases)
        found[name] = {"fault": {d: np.array([one[d] for one in each]) for d in each[0]}}
    return found


def run_trials(runs: Runs, draws: int, seed: int) -> Trials:
    """Put every kind of fault into the networks, `draws` times where it is drawn."""
    networks = plain(runs)
    deep = {name: net for name, net in networks.items() if name.startswith("3H")}
    layers = {"draws": max(1, draws // 4), "seed": seed}
    saturated = [
        SATURATED | {"draws": 2 * draws, "method": method, "seeds": list(range(draws))}
        for method in ("sheaf", "gd")
    ]
    return Trials(
        {
            DEAD: trials(faults.dead_units, networks, margin=1.0),
            SCRAMBLED: trials(faults.scrambled_layers, deep, **layers),
            AFTER: trials(faults.flipped_labels, networks, draws=draws, seed=seed),
            SATURATION: dict(
                zip(("1H, sheaf", "1H, GD"), sweep(faults.saturated_outputs, saturated))
            ),
            DURING: learned_flips(draws),
        }
    )


@dataclass(frozen=True, repr=False)
class Missed:
    """Of `units` dead units: how many pinned discord does not put below all others, and how many
    the law at the forward pass's pattern does not.
    """

    units: int
    pinned: int
    frozen: int

    def __repr__(self):
        return (
            f"of {self.units} units pinned discord misses {self.pinned},"
            f" the law at the forward pass's pattern {self.frozen}"
        )


def missed_units(runs: Runs, network: str, margin: float) -> Missed:
    """Kill every unit of one network until its largest pre-activation is −margin."""
    found = trials(faults.dead_units, {network: plain(runs)[network]}, margin=margin)
    row = found[network]["fault"]
    pinned, frozen = (int((row[d] < 1).sum()) for d in ("pinned discord", "frozen pattern"))
    return Missed(len(row["pinned discord"]), pinned, frozen)
