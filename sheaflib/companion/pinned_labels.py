"""What pinned labels leave on the edges of trained networks: by edge and unit, from several starts,
and with the labels permuted (Fig. E.6, Table E.2; the null is derived).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import numpy as np

from sheaflib.companion import tasks
from sheaflib.companion.experiments import Snapshot
from sheaflib.companion.ladder import table
from sheaflib.companion.paraboloid import METHODS, Runs, said
from sheaflib.equilibria.newton import equilibrium
from sheaflib.flow.exact_flow import exact_flows
from sheaflib.linear.resistance import effective_resistance
from sheaflib.networks.graph import Network
from sheaflib.sheaves import discord
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard
from sheaflib.training.objective import loss

SEEDS = {"1H": "42/42", "3H": "0/42"}  # of Table E.2: weights, stalks
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
SAME = 1e-6  # relative difference from which on two ends are different, or two shares

ByEdge = dict[str, np.ndarray]  # edge -> discord of every sample (B,)


def by_edge(network: Network, x, y, start=None) -> ByEdge:
    """Discord of every edge and sample with the output pinned to y, by Newton's method from the
    forward pass, or from `start` (B, N).
    """
    sheaf = NeuralSheaf(network)
    found = equilibrium(sheaf, x, pins=hard(network.output_name, y), start=start)
    if not found.converged.all():
        raise RuntimeError(f"{int((~found.converged).sum())} samples did not converge")
    return discord.per_edge(sheaf, found.cochain, x)


def flowed(network: Network, x, y) -> tuple[NeuralSheaf, np.ndarray]:
    """The sheaf, and where the heat flow with the output pinned to y goes from the forward pass:
    (B, N).
    """
    sheaf = NeuralSheaf(network)
    flows = exact_flows(sheaf, x, sheaf.forward(x), pins=hard(network.output_name, y))
    return sheaf, np.array([flow.limit for flow in flows])


def flowed_by_edge(network: Network, x, y) -> ByEdge:
    """Discord of every edge and sample where that flow ends."""
    sheaf, w = flowed(network, x, y)
    return discord.per_edge(sheaf, w, x)


# Fig. E.6
# --------------------------------------------------------------------------------------------------


def along_training(runs: Runs, x, y) -> dict[str, dict]:
    """What Fig. E.6 shows of 1H at 42/42, where the heat flow ends: "residuals"[method][step][edge]
    (5, 25, 50, 75, 95 % of the residuals' norms), "discord"[method][edge] (mean and standard
    deviation at the end) and "neurons"[method] (mean discord of every hidden unit, largest first).
    """
    found: dict[str, dict] = {"residuals": {}, "discord": {}, "neurons": {}}
    for method, run in runs.appendix.items():
        found["residuals"][method] = {}
        for step in runs.shown["1H"]:
            sheaf, w = flowed(run[step].network, x, y)
            edges = discord.per_edge(sheaf, w, x)
            found["residuals"][method][said(step)] = {
                edge: np.sqrt(np.quantile(values, LEVELS, method="nearest"))
                for edge, values in edges.items()
            }
        units = discord.per_neuron(sheaf, w, x)["affine_1"].mean(axis=0)
        found["discord"][method] = {e: (d.mean(), d.std(ddof=1)) for e, d in edges.items()}
        found["neurons"][method] = np.sort(units)[::-1]
    return found


# Table E.2
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Starts:
    """Pinned discord of one network from three starts: the heat flow from the forward pass
    ("flow"), Newton's method from there ("Newton") and from random stalks ("random").

    means[start][edge] is (mean, standard deviation); elsewhere[start] counts the solves that end
    elsewhere than the flow, of solves[start]; ratio is the total mean discord from random stalks
    over the flow's; loss is the mean squared error.
    """

    means: dict[str, dict[str, tuple[float, float]]]
    elsewhere: dict[str, int]
    solves: dict[str, int]
    ratio: float
    highest: float
    loss: float

    @property
    def total(self) -> float:
        """The mean discord of all edges together, where the flow ends."""
        return sum(mean for mean, _ in self.means["flow"].values())

    @property
    def table(self) -> dict:
        """The row of Table E.2: edge -> (mean, standard deviation), and the "total"."""
        return {**self.means["flow"], "total": self.total}


def from_starts(network: Network, x, y, starts: int, seed: int) -> Starts:
    """Solve the pinned samples by the flow, by Newton's method, and by it from `starts` random
    stalks each.
    """
    n = NeuralSheaf(network).N
    drawn = [np.random.default_rng([seed, i]).standard_normal((len(x), n)) for i in range(starts)]
    solved = {
        "flow": [flowed_by_edge(network, x, y)],
        "Newton": [by_edge(network, x, y)],
        "random": [by_edge(network, x, y, start) for start in drawn],
    }
    means, samples = {}, {}
    for name, found in solved.items():
        pooled = {edge: np.concatenate([one[edge] for one in found]) for edge in found[0]}
        means[name] = {e: (float(d.mean()), float(d.std(ddof=1))) for e, d in pooled.items()}
        samples[name] = np.array([sum(one.values()) for one in found])
    apart = {name: abs(values / samples["flow"] - 1) > SAME for name, values in samples.items()}
    return Starts(
        means,
        {name: int(those.sum()) for name, those in apart.items()},
        {name: values.size for name, values in samples.items()},
        float(samples["random"].mean() / samples["flow"].mean()),
        float(samples["random"].max()),
        loss(network, x, y),
    )


class TableE2(dict[tuple[str, str], Starts]):
    """(size, method) -> Starts; prints as Table E.2, with more digits, and what starts change."""

    def __repr__(self):
        columns, rows = ["affine_1", "activation_1", "affine_2", "total"], {}
        for method in METHODS:
            found = self["1H", method]
            cells = [f"{mean:.2e} ± {std:.0e}" for mean, std in found.means["flow"].values()]
            rows[method] = [*cells, f"{found.total:.4f}"]
        first = table("1H at 42/42, mean ± std", columns, rows)
        columns = ["loss", "discord", "Newton", "random", "over the flow's"]
        rows = {}
        for (size, method), found in self.items():
            counts = [f"{found.elsewhere[s]} of {found.solves[s]}" for s in ("Newton", "random")]
            told = [f"{found.loss:.4f}", f"{found.total:.2e}", *counts, f"{found.ratio:.4g}"]
            rows[f"{size} at {SEEDS[size]}, {method}"] = told
        return first + "\n\n" + table("how many end elsewhere", columns, rows)


def table_e2(runs: Runs, starts: int, seed: int, samples: int = 50) -> TableE2:
    """Table E.2 over the first test inputs: 1H at 42/42, and 3H at 0/42, which is ours."""
    data = tasks.task("paraboloid")
    x, y = data.X_test[:samples], data.Y_test[:samples]
    tabled = {("1H", method): moment for method, moment in runs.last_appendix.items()}
    tabled |= {("3H", method): runs.last["3H", method] for method in METHODS}
    return TableE2(
        {key: from_starts(moment.network, x, y, starts, seed) for key, moment in tabled.items()}
    )


# labels permuted
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Null:
    """Mean pinned discord of every edge, `observed`, beside that with the labels permuted, which is
    the null: `permuted[edge]` is (n,); `loss_ratio` is the loss over its median with permuted
    labels.
    """

    observed: dict[str, float]
    permuted: ByEdge
    loss_ratio: float

    @property
    def bands(self) -> ByEdge:
        """5, 50 and 95 % of the null: edge -> (3,)."""
        return {e: np.quantile(d, [0.05, 0.5, 0.95]) for e, d in self.permuted.items()}

    @property
    def ratio(self) -> dict[str, float]:
        """The observed mean over the null's median, edge by edge."""
        return {edge: self.observed[edge] / band[1] for edge, band in self.bands.items()}

    def __repr__(self):
        edges = ", ".join(f"{edge} {value:.2e}" for edge, value in self.ratio.items())
        return f"observed over permuted: {edges}; of the loss {self.loss_ratio:.2e}"


def permuted(network: Network, x, y, permutations: int, seed: int) -> Null:
    """Pin the labels, then the same labels in `permutations` random orders."""
    chance = np.random.default_rng([seed, 1])
    orders = [chance.permutation(len(y)) for _ in range(permutations)]
    tables = [{e: d.mean() for e, d in by_edge(network, x, y[o]).items()} for o in orders]
    observed = {edge: float(d.mean()) for edge, d in by_edge(network, x, y).items()}
    losses = [loss(network, x, y[order]) for order in orders]
    return Null(
        observed,
        {edge: np.array([one[edge] for one in tables]) for edge in observed},
        loss(network, x, y) / float(np.median(losses)),
    )


class Shares(dict[tuple[str, str], dict]):
    """(size, method) -> in how many samples the shares of the edges are those of the resistance."""

    def __repr__(self):
        columns = ["own label", "permuted label", "median ρ", "std / mean of ρ"]
        rows = {}
        for (size, method), found in self.items():
            counts = [f"{count} of {found['samples']}" for count in found["agree"]]
            told = [f"{found['median']:.3g}", f"{found['spread']:.2f}"]
            rows[f"{size}, {method}"] = [*counts, *told]
        return table("shares as predicted", columns, rows)


def shares(ends: Mapping[tuple[str, str], Snapshot], x, y, seed: int) -> Shares:
    """Compare each edge's share of the pinned discord with its share of the effective resistance at
    the forward pass's pattern, with every sample's own label and with permuted ones.
    """
    found = Shares()
    for key, moment in ends.items():
        sheaf = NeuralSheaf(moment.network)
        resistance = effective_resistance(sheaf, sheaf.forward_pattern(x))
        total = resistance.total[:, 0, 0]
        law = np.array([rho[:, 0, 0] for rho in resistance.edges.values()]) / total
        agree = []
        for labels in (y, y[np.random.default_rng(seed).permutation(len(y))]):
            values = np.array(list(by_edge(moment.network, x, labels).values()))
            off = abs(values / values.sum(axis=0) - law).max(axis=0)
            agree.append(int((off < SAME).sum()))
        found[key] = {
            "samples": len(x),
            "agree": agree,
            "median": float(np.median(total)),
            "spread": float(total.std() / total.mean()),
        }
    return found
