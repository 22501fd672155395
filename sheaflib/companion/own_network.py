"""A convolutional network of digits that comes as a file: its test images, discord by layer, and
how many flipped labels the lists of several draws hold (derived).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np

from sheaflib.companion import repository
from sheaflib.companion.digits import digits, enrichment, flip
from sheaflib.companion.ladder import table
from sheaflib.diagnosis.report import Report
from sheaflib.equilibria.newton import equilibrium
from sheaflib.sheaves import discord
from sheaflib.sheaves.neural import NeuralSheaf
from sheaflib.sheaves.pins import hard

FILE = "notebooks/14-digits-cnn.onnx"
ALL, TEST = 1797, 500  # scikit-learn's images, and those that the network was not trained on


def file() -> Path:
    """The file of the network."""
    return repository.needed(FILE)


def test_images(count: int = TEST) -> tuple[np.ndarray, np.ndarray]:
    """The first images (count, 64) of those kept for the test, grey levels from 0 to 1, and their
    labels (count,).
    """
    images, labels = digits(ALL)
    kept = np.random.default_rng(0).permutation(ALL)[: min(count, TEST)]
    return images[kept], labels[kept]


def by_layer(sheaf: NeuralSheaf, cochain: np.ndarray, x: np.ndarray) -> dict[str, float]:
    """The discord of one sample by the layer that an edge leads to: name -> number. Where several
    branches meet it is that of all their edges.
    """
    found: dict[str, float] = {}
    for edge, values in zip(sheaf.edges, discord.per_edge(sheaf, cochain, x).values(), strict=True):
        found[edge.head] = found.get(edge.head, 0.0) + float(values[0])
    return found


class Draw(NamedTuple):
    """One draw of flipped labels: which those are, (B,), and the scores of all samples, name ->
    (B,).
    """

    flipped: np.ndarray
    scores: dict[str, np.ndarray]

    def found(self, name: str, lengths: Sequence[int]) -> list[int]:
        """How many flipped labels are among so many samples of the highest scores."""
        order = np.argsort(-self.scores[name], kind="stable")
        return [int(self.flipped[order[:length]].sum()) for length in lengths]


class Draws(dict[str, Draw]):
    """Draws of flipped labels, "draw 0" -> Draw."""

    length: int  # of the lists that are compared

    def __repr__(self):
        rows = {
            name: [f"{draw.flipped.sum()}"]
            + [f"{draw.found(score, [self.length])[0]}" for score in draw.scores]
            for name, draw in self.items()
        }
        columns = ["flipped", "listed by discord", "by the loss"]
        return table(f"lists of {self.length}", columns, rows)

    def enrichments(self) -> dict[str, float]:
        """How many times more flipped labels a list holds than a random one, the mean of all draws:
        score -> number.
        """
        return {
            name: float(
                np.mean([enrichment(d.scores[name], d.flipped, self.length) for d in self.values()])
            )
            for name in ("discord", "loss")
        }


def draws(
    first: Report, images: np.ndarray, truth: np.ndarray, given: np.ndarray, numbers: Sequence[int]
) -> Draws:
    """A report on images with the labels `given`, and other draws of flipped labels beside it.

    A sample's discord and loss depend on its own label alone. So for another draw only the samples
    whose label differs from the one in the report are solved again; each (sample, label) once.
    """
    found, known = Draws(), dict[tuple[int, int], float]()
    found.length = len(first.worst)
    found["the report"] = Draw(given != truth, {"discord": first.discord, "loss": first.loss})
    for number in numbers:
        labels, flipped = flip(truth, number)
        other = np.flatnonzero(labels != given).tolist()
        new = [i for i in other if (i, int(labels[i])) not in known]
        for i, one in zip(new, pinned(first, images[new], labels[new]).tolist()):
            known[i, int(labels[i])] = one
        total = first.discord.copy()
        total[other] = [known[i, int(labels[i])] for i in other]
        loss = -np.log(first.output[np.arange(len(labels)), labels])
        found[f"draw {number}"] = Draw(flipped, {"discord": total, "loss": loss})
    return found


def pinned(found: Report, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The total discord (B,) of images with other labels pinned than a report's."""
    sheaf, y = NeuralSheaf(found.network), np.eye(found.network.n_out)[labels]
    rest = equilibrium(sheaf, images, pins=hard("a_out", y))
    return sum(discord.per_edge(sheaf, rest.cochain, images).values(), np.zeros(len(images)))
