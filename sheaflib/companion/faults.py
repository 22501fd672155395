"""Faults put into networks, and how well scores find them: discord against the loss and the norm of
the gradient (derived).

A score is given to every unit, layer, sample or network; AUROC is the chance that a faulty one
scores above a healthy one. Pinned discord has the labels clamped and is Newton's equilibrium from
the forward pass. "kept stalks" is the discord of stalks that were there before the fault: of the
healthy network's forward pass, or those that training left.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import Mapping, Sequence

import numpy as np
from scipy.stats import mannwhitneyu

from sheaflib.companion import experiments, tasks
from sheaflib.equilibria.newton import equilibrium
from sheaflib.linear.resistance import effective_resistance
from sheaflib.linear.substitution import backward_substitution
from sheaflib.networks.graph import A_OUT, INPUT, Network
from sheaflib.sheaves import discord
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard
from sheaflib.training.drivers import gradient, gradient_descent, joint_flow, loss
from sheaflib.training.objective import error, output_energy

SMALLEST = 1e-300
FAULT, NULL = "fault", "null"


def auroc(faulty, healthy):
    """The chance that a faulty score is above a healthy one, ties counted half: the Mann–Whitney U
    over its maximum.

    Scores (m,) and (n,) give a number, (k, m) and (k, n) give (k,).

    >>> float(auroc([2.0, 3.0], [1.0, 2.0]))
    0.875
    """
    faulty, healthy = np.asarray(faulty, dtype=float), np.asarray(healthy, dtype=float)
    # its p-value, unused, has none when all are tied
    with np.errstate(divide="ignore", invalid="ignore"):
        larger = mannwhitneyu(faulty, healthy, axis=-1, method="asymptotic").statistic
    return larger / (faulty.shape[-1] * healthy.shape[-1])


def among(scores: Mapping[str, np.ndarray], faulty, counted=True) -> dict[str, float]:
    """AUROC of the entries `faulty` (an index or several) against all other `counted` ones, for
    each detector's scores (n,).
    """
    table = np.array(list(scores.values()))
    chosen = np.zeros(table.shape[1], dtype=bool)
    chosen[faulty] = True
    return dict(zip(scores, auroc(table[:, chosen], table[:, ~chosen & counted]).tolist()))


# networks and their faults
# --------------------------------------------------------------------------------------------------


def plain(network: Network) -> dict:
    """A chain's weights and biases as lists: the parameters `weights` and `biases` of a sweep."""
    affine = [node.operation for node in network.affine_nodes]
    return {
        "weights": [a.weight.tolist() for a in affine],
        "biases": [a.bias.tolist() for a in affine],
    }


def affine_nodes(network: Network) -> list:
    return network.affine_nodes


def dead(network: Network, part: Part, x, margin: float = 1.0) -> Network:
    """The network with one ReLU unit's bias lowered until its largest pre-activation over x is
    −margin.
    """
    sheaf = NeuralSheaf(network)
    _, bias = part.weights(network)
    bias[part.rows] -= sheaf.forward(x)[:, sheaf.layout[part.node]][:, part.rows].max() + margin
    return network.with_parameters({part.node: {"bias": bias}})


def silenced(network: Network, part: Part) -> Network:
    """The network with the weights and biases into a part set to 0."""
    weight, bias = part.weights(network)
    weight[part.rows], bias[part.rows] = 0, 0
    return network.with_parameters({part.node: {"weight": weight, "bias": bias}})


def scrambled(network: Network, part: Part, rng: np.random.Generator) -> Network:
    """The network with the entries of one layer's weight permuted at random."""
    weight, _ = part.weights(network)
    mixed = rng.permutation(weight.ravel()).reshape(weight.shape)
    return network.with_parameters({part.node: {"weight": mixed}})


def saturated(network: Network, gain: float) -> Network:
    """The network with its logits `gain` times as large."""
    last = network.output_name
    own = network.parameters[last]
    return network.with_parameters({last: {name: gain * part for name, part in own.items()}})


def flipped(network: Network, y, rows) -> np.ndarray:
    """The labels with some rows flipped: 1 − y for a sigmoid, −y in regression."""
    y = np.array(y, dtype=float)
    y[rows] = -y[rows] if network.output.is_identity else 1 - y[rows]
    return y


@dataclass(frozen=True)
class Part:
    """Some rows of an affine node: a unit, or a whole layer."""

    node: str
    rows: list

    def weights(self, network: Network) -> tuple[np.ndarray, np.ndarray]:
        """Copies of the node's weight and bias."""
        operation = next(node.operation for node in network.nodes if node.name == self.node)
        return operation.weight.copy(), operation.bias.copy()


def units(network: Network) -> list[Part]:
    """Every hidden unit."""
    return [
        Part(node.name, [j])
        for node in affine_nodes(network)[:-1]
        for j in range(node.operation.n_out)
    ]


def layers(network: Network) -> list[Part]:
    """Every layer, the output's included."""
    return [Part(node.name, list(range(node.operation.n_out))) for node in affine_nodes(network)]


# scores
# --------------------------------------------------------------------------------------------------


def pinned(network: Network, x, y) -> np.ndarray:
    """The cochain of the equilibrium with the output clamped to its labels, z^{k+1} or for a
    sigmoid or softmax a_out.
    """
    return equilibrium(
        NeuralSheaf(network),
        x,
        pins=hard(network.output_name if network.output.is_identity else A_OUT, y),
    ).cochain


def sample_gradients(network: Network, x, y) -> np.ndarray:
    """The gradient of every sample's Φ (half the squared error, or the cross-entropy) in all
    weights and biases: (B, weights).
    """
    sheaf = NeuralSheaf(network)
    w, last = sheaf.forward(x), sheaf.layout[network.output_name]
    pulled = np.zeros_like(w)
    pulled[:, last] = error(network.output, w[:, last], y)
    back = backward_substitution(sheaf, pulled, sheaf.pattern(w, x))
    values, parts = {INPUT: x, **sheaf.layout.split(w)}, []
    for node in affine_nodes(network):
        e, a = back[:, sheaf.layout[node.name]], values[node.inputs[0]]
        parts += [(e[:, :, None] * a[:, None]).reshape(len(x), -1), e]
    return np.hstack(parts)


def sample_scores(network: Network, x, y) -> dict[str, np.ndarray]:
    """Of every sample (B,): total pinned discord, twice its Φ (the squared error in regression),
    norm of its gradient.
    """
    sheaf = NeuralSheaf(network)
    z = sheaf.forward(x)[:, sheaf.layout[network.output_name]]
    return {
        "pinned discord": discord.total(sheaf, pinned(network, x, y), x),
        "loss": 2 * output_energy(network.output, z, y),
        "gradient": np.linalg.norm(sample_gradients(network, x, y), axis=1),
    }


def frozen_discord(sheaf: NeuralSheaf, x, y) -> np.ndarray:
    """Total pinned discord eᵀρ⁻¹e at the forward pass's pattern, by effective resistance: (B,)."""
    resistance = effective_resistance(sheaf, sheaf.forward_pattern(x))
    return (resistance.injections(y - sheaf.network(x)) ** 2).sum(axis=1)


def part_scores(
    network: Network, x, y, parts: Sequence[Part], kept: np.ndarray, w: np.ndarray
) -> dict[str, np.ndarray]:
    """Of every part (n,): mean discord of its own affine rows in `w` (pinned), with the forward
    pattern frozen, and in the stalks `kept`; how much the loss changes when the part is silenced;
    norm of the gradient of the weights into it. Identity output."""
    sheaf = NeuralSheaf(network)
    resistance = effective_resistance(sheaf, sheaf.forward_pattern(x))
    squares = {
        "pinned discord": sheaf.discrepancy(w, x) ** 2,
        "frozen pattern": resistance.injections(y - network(x)) ** 2,
        "kept stalks": sheaf.discrepancy(kept, x) ** 2,
    }
    slope, now = gradient(network, x, y), loss(network, x, y)
    scores = {}
    for name, s in squares.items():
        scores[name] = np.array(
            [s[:, sheaf.layout[p.node]][:, p.rows].sum(axis=1).mean() for p in parts]
        )
    scores["loss"] = np.array([abs(loss(silenced(network, p), x, y) - now) for p in parts])
    scores["gradient"] = np.array(
        [np.sqrt(sum((g[p.rows] ** 2).sum() for g in slope[p.node].values())) for p in parts]
    )
    return scores


def change(
    scores: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """How far each part's score moved against a reference: |log ratio − its mean over the parts|;
    kept stalks as they are.
    """
    moved = {
        name: np.log(np.maximum(s, SMALLEST)) - np.log(np.maximum(reference[name], SMALLEST))
        for name, s in scores.items()
    }
    return {name: abs(m - m.mean()) for name, m in moved.items()} | {
        "kept stalks": scores["kept stalks"]
    }


def edge_means(network: Network, x, w) -> dict[str, float]:
    """Mean discord of every edge."""
    return {
        name: float(values.mean())
        for name, values in discord.per_edge(NeuralSheaf(network), w, x).items()
    }


def jumps(edges: Mapping[str, float], reference: Mapping[str, float]) -> np.ndarray:
    """How far the log ratio of mean discord to its reference jumps across each layer's input:
    (layers,); 0 for the first.
    """
    ratio = {
        name: np.log(max(edges[name], SMALLEST) / max(reference[name], SMALLEST)) for name in edges
    }
    return np.array(
        [0.0]
        + [
            abs(ratio[f"affine_{i + 1}"] - ratio[name])
            for i, name in enumerate(
                (name for name in ratio if name.startswith("activation")), start=1
            )
        ]
    )


# trials: functions of plain parameters
# ----------------------------------------------------------------------------------------


def rebuilt(task: str, weights: list, biases: list) -> Network:
    return Network.mlp(weights, biases, experiments.OUTPUTS[task])


def collected(
    trials: Sequence[Mapping[str, Mapping[str, float]]],
) -> dict[str, dict[str, np.ndarray]]:
    """[{"fault": {detector: AUROC}, "null": …}] -> {"fault": {detector: (trials,)}, "null": …}."""
    return {
        kind: {name: np.array([t[kind][name] for t in trials]) for name in trials[0][kind]}
        for kind in trials[0]
    }


def dead_units(task: str, weights: list, biases: list, margin: float = 1.0) -> dict:
    """Every hidden unit killed in turn, all training samples: AUROC of the unit against those that
    still live, low scores first.

    The null: the same scores of the network as it was.
    """
    healthy, (x, y, *_) = rebuilt(task, weights, biases), tasks.task(task)
    sheaf, parts = NeuralSheaf(healthy), units(healthy)
    kept = sheaf.forward(x)
    before, trials = low(part_scores(healthy, x, y, parts, kept, pinned(healthy, x, y))), []
    for i, part in enumerate(parts):
        network = dead(healthy, part, x, margin)
        alive = NeuralSheaf(network).pattern(NeuralSheaf(network).forward(x), x).any(axis=0)
        after = low(part_scores(network, x, y, parts, kept, pinned(network, x, y)))
        trials.append({FAULT: among(after, i, alive), NULL: among(before, i)})
    return collected(trials)


def low(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores turned round where a small one is suspect, as of a dead unit; not of kept stalks."""
    return {name: s if name == "kept stalks" else -s for name, s in scores.items()}


def scrambled_layers(task: str, weights: list, biases: list, draws: int, seed: int) -> dict:
    """Every layer's weight permuted `draws` times: AUROC of that layer against the others, by the
    change from the healthy state.

    Suspect and reference see different halves of the training samples. The null: the healthy
    network as suspect.
    """
    healthy, (X, Y, *_), rng = (
        rebuilt(task, weights, biases),
        tasks.task(task),
        np.random.default_rng(seed),
    )
    parts, trials = layers(healthy), []

    def scored(network, rows):
        x, y = X[rows], Y[rows]
        w = pinned(network, x, y)
        return part_scores(network, x, y, parts, NeuralSheaf(healthy).forward(x), w), edge_means(
            network, x, w
        )

    for i, _ in product(range(len(parts)), range(draws)):
        here, there = np.split(rng.permutation(len(X)), 2)
        reference, trial = scored(healthy, there), {}
        for kind, network in ((FAULT, scrambled(healthy, parts[i], rng)), (NULL, healthy)):
            scores, edges = scored(network, here)
            trial[kind] = among(
                change(scores, reference[0]) | {"pinned, jump": jumps(edges, reference[1])}, i
            )
        trials.append(trial)
    return collected(trials)


def flipped_labels(
    task: str, weights: list, biases: list, draws: int, seed: int, part: float = 0.1
) -> dict:
    """A part of the training labels flipped after training: AUROC of those samples. The null: their
    own labels.
    """
    network, (x, y, *_), rng = (
        rebuilt(task, weights, biases),
        tasks.task(task),
        np.random.default_rng(seed),
    )
    before, trials = sample_scores(network, x, y), []
    for _ in range(draws):
        rows = rng.choice(len(x), round(part * len(x)), replace=False)
        trials.append(
            {
                FAULT: among(sample_scores(network, x, flipped(network, y, rows)), rows),
                NULL: among(before, rows),
            }
        )
    return collected(trials)


def learned_flips(
    task: str, widths: str, method: str, steps: int, dt: float, seed: int, part: float = 0.1
) -> dict[str, float]:
    """A part of the labels flipped before training, weights and stalks drawn with `seed`: AUROC of
    those samples.

    "frozen pattern" (identity output): eᵀρ⁻¹e, no solver. "kept stalks" (method "sheaf"): total
    discord of the stalks as training left them, the edge to the label included.
    """
    x, y, *_ = tasks.task(task)
    network, rng = experiments.initial(task, widths, seed, True), np.random.default_rng([seed, 2])
    rows = rng.choice(len(x), round(part * len(x)), replace=False)
    y = flipped(network, y, rows)
    if method == "gd":
        run = gradient_descent(
            NeuralSheaf(network),
            x,
            y,
            lr=0.005 if network.output.is_identity else 0.01,
            every=steps,
        )
    else:
        sheaf = NeuralSheaf(network)
        run = joint_flow(
            sheaf,
            x,
            y,
            start=experiments.stalks(sheaf, widths, seed, True, len(x)),
            dt=dt,
            every=steps,
        )
    state = list(islice(run, 2))[1]
    scores, sheaf = sample_scores(state.network, x, y), NeuralSheaf(state.network)
    if network.output.is_identity:
        scores["frozen pattern"] = frozen_discord(sheaf, x, y)
    if method == "sheaf":
        z = state.stalks[:, sheaf.layout[state.network.output_name]]
        scores["kept stalks"] = discord.total(sheaf, state.stalks, x) + 2 * output_energy(
            state.network.output, z, y
        )
    return among(scores, rows)


def saturated_outputs(
    task: str, widths: str, method: str, steps: int, gain: float, seeds: list, draws: int
) -> dict:
    """Networks of many seeds against the same with `gain` times the logits: AUROC of the saturated,
    on halves of the samples.

    Fresh weights, trained for `steps`; test samples, as many halves as `draws`. The null: the other
    half, no fault; "longer": twice the steps, no fault.
    """
    x, y = tasks.task(task)[2:]
    runs = [
        experiments.snapshots(
            task, widths, [steps, 2 * steps], method=method, seed=seed, fresh=True
        )
        for seed in seeds
    ]
    healthy, longer = ([run[i].network for run in runs] for i in (0, 1))
    kinds = {
        "healthy": (healthy, healthy),
        FAULT: ([saturated(n, gain) for n in healthy], healthy),
        "longer": (longer, longer),
    }
    scores = {
        name: [network_scores(n, x, y, before) for n, before in zip(*pair)]
        for name, pair in kinds.items()
    }
    rng, trials = np.random.default_rng(draws), []
    for _ in range(draws):
        here, there = np.split(rng.permutation(len(x)), 2)
        means = {name: of_networks(s, here) for name, s in scores.items()} | {
            NULL: of_networks(scores["healthy"], there)
        }
        trials.append(
            {kind: against(means[kind], means["healthy"]) for kind in (FAULT, NULL, "longer")}
        )
    return collected(trials)


def against(
    faulty: Mapping[str, np.ndarray], healthy: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """AUROC of scores against others, for each detector."""
    return dict(zip(faulty, auroc(list(faulty.values()), list(healthy.values())).tolist()))


def network_scores(network: Network, x, y, before: Network) -> dict[str, np.ndarray]:
    """What `of_networks` averages: (B,), of the gradient (B, weights); kept are the stalks of the
    network `before`.
    """
    sheaf = NeuralSheaf(network)
    return {
        **sample_scores(network, x, y),
        "gradient": sample_gradients(network, x, y),
        "kept stalks": discord.total(sheaf, NeuralSheaf(before).forward(x), x),
    }


def of_networks(scores: list, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Each network's mean over some samples; of the gradient, the norm of the mean: detector ->
    (networks,).
    """
    return {
        name: np.array([np.linalg.norm(np.atleast_1d(s[name][rows].mean(axis=0))) for s in scores])
        for name in scores[0]
    }
