"""Spectra of networks: at birth, along training, and where their bottom and top eigenvectors live
(Fig. 11, E.4, E.5).
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from sheaflib.companion import tasks
from sheaflib.companion.experiments import Snapshot
from sheaflib.companion.paraboloid import METHODS, Runs
from sheaflib.companion.random_networks import random_network
from sheaflib.linear import spectrum
from sheaflib.linear.resistance import effective_resistance
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard, resolve, soft

BINS = np.linspace(0.02, 0.16, 36)  # of λ₁, in the histograms of Fig. E.5
RECORDED = {
    "sheaf": (0, 10_000, 20_000, 50_000, 100_000),
    "gradient descent": (10_000, 100_000),
}  # the steps at which the authors recorded medians
PARTS = {"λ₁": "smallest", "λ_max": "largest", "κ": "condition"}


def ends(network: Network, x) -> spectrum.Extremes:
    """Both ends of the restricted Laplacian's spectrum at the forward pass's pattern, for every
    input of x (B, n_0).
    """
    sheaf = NeuralSheaf(network)
    return spectrum.extremes(sheaf, sheaf.forward_pattern(x))


def random_problem(rng: np.random.Generator):
    """A random network with edge weights, pins and an output of any kind: sheaf, pattern, pins and
    z, the logits that the output's derivative is taken at (None for the identity).
    """
    widths = [2, *rng.integers(2, 9, size=rng.integers(2, 5)).tolist(), rng.integers(2, 4)]
    drawn = random_network(rng, widths, merge_rate=0.5)
    output = ("identity", "sigmoid", "softmax")[rng.integers(3)]
    plain = NeuralSheaf(Network(2, drawn.nodes, output))
    sheaf = NeuralSheaf(plain.network, {e.name: rng.uniform(0.5, 2) for e in plain.edges})
    z = None if output == "identity" else rng.standard_normal((1, widths[-1]))
    pins = [hard("z1", 0.0, at=[0]), soft("z2", 0.0, 3.0)][: rng.integers(3)]
    resolved = resolve(sheaf, pins, 1, augmented=z is not None)
    return sheaf, rng.integers(0, 2, (1, sheaf.M)), resolved, z


def lanczos_against_dense(networks: int, rng: np.random.Generator) -> float:
    """The largest relative difference between Lanczos's extreme eigenvalues and a dense solver's,
    over random networks.
    """
    worst = 0.0
    for _ in range(networks):
        sheaf, pattern, pins, z = random_problem(rng)
        lanczos = spectrum.extremes(sheaf, pattern, pins=pins, z=z, dense=0, tol=1e-11)
        dense = spectrum.eigenvalues(sheaf, pattern, pins=pins, z=None if z is None else z[0])
        both = np.array([lanczos.smallest[0], lanczos.largest[0]])
        worst = max(worst, float(abs(both / dense[[0, -1]] - 1).max()))
    return worst


def at_birth(widths: Sequence[str], x, seed: int = 42) -> dict[str, list[float]]:
    """Median and standard deviation of λ₁ over the inputs x, of recorded networks as they are born:
    widths -> [median, deviation].
    """
    found = {w: ends(tasks.paper_network(w, seed), x).smallest for w in widths}
    return {w: [float(np.median(values)), float(values.std())] for w, values in found.items()}


def medians(network: Network, x) -> list[float]:
    """Medians of λ₁, λ_max and κ over inputs, in the digits that the authors recorded."""
    found = ends(network, x)
    values = (found.smallest, found.largest, found.condition)
    return [round(float(np.median(v)), digits) for v, digits in zip(values, (4, 2, 1))]


def recorded_medians(runs: Runs, x) -> dict[str, list[float]]:
    """Those medians at the recorded moments of both runs of 1H at 0/42, e.g. "sheaf-10000"."""
    return {
        f"{METHODS[method]}-{step}": medians(runs.main["1H", method][step].network, x)
        for method, steps in RECORDED.items()
        for step in steps
        if step in runs.main["1H", method]
    }


def along_training(runs: Runs, x, many) -> dict:
    """What Fig. E.5 shows of 1H at 42/42: the steps, "quartiles"[λ₁, λ_max, κ][method] (3, steps)
    over the inputs x, and "counts"[step][method], a histogram of λ₁ over the inputs `many`.
    """
    runs_of = runs.appendix
    steps = [step for step in runs_of["sheaf"] if step % 5000 == 0]
    found = {m: [ends(run[step].network, x) for step in steps] for m, run in runs_of.items()}
    quartiles = {
        name: {
            m: np.quantile([getattr(one, part) for one in every], [0.25, 0.5, 0.75], axis=1)
            for m, every in found.items()
        }
        for name, part in PARTS.items()
    }
    counts = {
        step: {
            m: np.histogram(ends(run[step].network, many).smallest, BINS)[0]
            for m, run in runs_of.items()
        }
        for step in runs.shown["1H"]
    }
    return {"step": steps, "quartiles": quartiles, "bins": BINS, "counts": counts}


def energies(network: Network, x) -> dict[str, dict[str, float]]:
    """Mean energy of the bottom and the top eigenvector on every block of the cochain:
    end -> block -> number; those of an end add up to 1.
    """
    found, layout = ends(network, x), NeuralSheaf(network).layout
    return {
        end: {
            block: float((getattr(found, end)[:, rows] ** 2).sum(axis=1).mean())
            for block, rows in layout.slices.items()
        }
        for end in ("bottom", "top")
    }


def bound_on_the_output(moment: Snapshot, x) -> float:
    """Mean of λ₁ρ, the most energy that the bottom eigenvector can have on a single output."""
    sheaf = NeuralSheaf(moment.network)
    pattern = sheaf.forward_pattern(x)
    resistance = effective_resistance(sheaf, pattern).norm
    return float((spectrum.extremes(sheaf, pattern).smallest * resistance).mean())


def on_the_output(moment: Snapshot, x) -> float:
    """Mean energy of the bottom eigenvector on the output."""
    return energies(moment.network, x)["bottom"][moment.network.output_name]
