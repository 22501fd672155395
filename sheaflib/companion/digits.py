"""scikit-learn's handwritten digits with some labels wrong: a network that learns them, and lists
of the most suspicious samples (derived).
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from sheaflib.companion.ladder import table
from sheaflib.diagnosis.report import Report, report
from sheaflib.linear.substitution import backward_substitution
from sheaflib.networks.graph import Network
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.support.extras import needs

with needs("sheaflib.companion.digits", "sklearn"):
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

DECAY = {"alpha": 1.0, "tol": 1e-3, "n_iter_no_change": 5}  # weight decay
MEMORY = {"alpha": 0.0, "learning_rate_init": 3e-3}  # none, and on to the end


def digits(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images (samples, 64), grey levels from 0 to 1, and their labels (samples,)."""
    data = load_digits()
    return data.data[:samples] / 16, data.target[:samples]


def flip(labels: np.ndarray, draw: int, part: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """The labels with a part of them replaced by another digit, and which those are."""
    chance = np.random.default_rng(draw)
    at = chance.choice(len(labels), round(part * len(labels)), replace=False)
    given = labels.copy()
    given[at] = (labels[at] + chance.integers(1, 10, len(at))) % 10
    return given, given != labels


def train(
    images: np.ndarray, labels: np.ndarray, draw: int, hidden: Sequence[int] = (128, 64), **settings
) -> Network:
    """A network of 64 inputs, 10 outputs and hidden layers of these widths from scikit-learn's
    MLPClassifier, initialised with seed `draw`.
    """
    mlp = MLPClassifier(tuple(hidden), random_state=draw, max_iter=1000, **settings)
    mlp.fit(images, labels)
    weights = [W.T for W in mlp.coefs_]  # scikit-learn stores (n_in, n_out)
    return Network.mlp(weights, mlp.intercepts_, output=mlp.out_activation_)


def gradient_norm(network: Network, images: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The norm of every sample's gradient of the cross-entropy: (B,).

    On a layer it is η [a, 1]ᵀ, η the backpropagated error and a what the layer reads; so one
    backward substitution gives it.
    """
    sheaf = NeuralSheaf(network)
    w, at_output = sheaf.forward(images), np.zeros((len(images), sheaf.N))
    at_output[:, sheaf.layout[network.output_name]] = network(images) - y
    eta = backward_substitution(sheaf, at_output, sheaf.pattern(w, images))
    values, total = {"x": images, **sheaf.layout.split(w)}, np.zeros(len(images))
    for node in network.affine_nodes:
        back, read = eta[:, sheaf.layout[node.name]], values[node.inputs[0]]
        total += (back**2).sum(axis=1) * (1 + (read**2).sum(axis=1))
    return np.sqrt(total)


def scores(found: Report, images: np.ndarray) -> dict[str, np.ndarray]:
    """Three ways to rank samples by suspicion, the highest first: name -> (B,)."""
    return {
        "discord": found.discord,
        "loss": found.loss,
        "gradient": gradient_norm(found.network, images, found.labels),
    }


def enrichment(score: np.ndarray, wrong: np.ndarray, length: int) -> float:
    """How many times more wrong labels the list of the `length` highest scores holds than a random
    list.

    >>> float(enrichment(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, False, False]), 1))
    4.0
    """
    return wrong[np.argsort(-score, kind="stable")[:length]].mean() / wrong.mean()


class Enrichments(dict[str, dict[str, float]]):
    """A network's name -> score -> enrichment of its list."""

    def __repr__(self):
        columns = list(next(iter(self.values())))
        rows = {name: [f"{value:.1f}×" for value in row.values()] for name, row in self.items()}
        return table("wrong labels on the list, over a random one's", columns, rows)


def enrichments(found: Report, images: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """The enrichment of a list as long as the report's, by each of the scores."""
    length = len(found.worst)
    each = scores(found, images)
    return {name: float(enrichment(score, wrong, length)) for name, score in each.items()}


def other_draws(
    images: np.ndarray, labels: np.ndarray, draws: Sequence[int], **settings
) -> Enrichments:
    """The same for other wrong labels and other initial weights: "draw 1" -> score -> number."""
    found = Enrichments()
    for draw in draws:
        given, wrong = flip(labels, draw)
        sheaf = NeuralSheaf(train(images, given, draw, **settings))
        again = report(sheaf, images, given)
        found[f"draw {draw}"] = enrichments(again, images, wrong)
    return found


def curves(
    found: Report, images: np.ndarray, wrong: np.ndarray, lengths: Sequence[int]
) -> dict[str, list[float]]:
    """The enrichment of lists of several lengths, by each of the scores: score -> numbers."""
    return {
        name: [float(enrichment(score, wrong, n)) for n in lengths]
        for name, score in scores(found, images).items()
    }
