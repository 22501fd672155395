"""Table E.1: four tasks, one and two hidden layers, sheaf training and gradient descent with equal
steps, from the authors' inputs and from fresh seeds.
"""

from __future__ import annotations

from itertools import product
from typing import Callable, Iterable, Sequence

import numpy as np

from sheaflib.companion import experiments
from sheaflib.companion.sweep import sweep

METHODS = {"sheaf": "sheaf", "gd": "gradient descent"}
ROWS = list(experiments.TABLE_E1)
AUTHORS = None  # in place of a seed: the weights and stalks that the authors drew


def runs(
    rows: Sequence[str] = ROWS,
    seeds: Iterable[int | None] = (AUTHORS,),
    scale: float = 1.0,
    label: str = "",
) -> dict[tuple, experiments.Run]:
    """Train every row by both methods: (row, method, seed) -> Run.

    seeds: weights and random stalks are drawn afresh by each; AUTHORS takes the recorded ones.
    scale: the steps over the table's. The runs go side by side, and each result is kept on disk.
    """
    keys, cases = list(product(rows, METHODS, seeds)), []
    for row, method, seed in keys:
        case = experiments.TABLE_E1[row] | {"method": method}
        steps = max(1, round(case["steps"] * scale / 1000)) * 1000
        records = 100 if seed is AUTHORS else 20
        drawn = {} if seed is AUTHORS else {"fresh": True, "seed": seed, "stalk_seed": seed}
        cases.append(case | drawn | {"steps": steps, "every": max(1, steps // records)})
    return dict(zip(keys, sweep(experiments.train, cases, label=label)))


def losses(found: dict[tuple, experiments.Run], row: str, seed: int | None = AUTHORS) -> dict:
    """The last train and test loss of both methods on a row, named as the ledger names them."""
    return {
        f"{method}_{part}": getattr(found[row, method, seed], part)[-1]
        for part in ("train", "test")
        for method in METHODS
    }


def ratios(found: dict[tuple, experiments.Run], value: Callable) -> dict[str, np.ndarray]:
    """Sheaf training over gradient descent, seed by seed: row -> (seeds,). value: Run -> number."""
    rows = dict.fromkeys(row for row, _, _ in found)
    seeds = dict.fromkeys(seed for _, _, seed in found)
    return {
        row: np.array([value(found[row, "sheaf", s]) / value(found[row, "gd", s]) for s in seeds])
        for row in rows
    }


def table(found: dict[tuple, experiments.Run]) -> str:
    """The ratios of all rows as text: median and range of the last test loss, medians of the last
    train loss and of the lowest test loss that either run records.
    """
    test = ratios(found, lambda run: run.test[-1])
    train = ratios(found, lambda run: run.train[-1])
    lowest = ratios(found, lambda run: run.test.min())
    lines = [
        f"{'':14}{'test loss:':>11}{'':21}{'training loss:':>16}{'lowest test loss:':>19}",
        f"{'':14}{'median':>11}{'range':>21}{'median':>16}{'median':>19}",
    ]
    for row, values in test.items():
        spread = f"{values.min():.3g} to {values.max():.3g}"
        medians = np.median(train[row]), np.median(lowest[row])
        lines.append(
            f"{row:14}{np.median(values):11.3g}{spread:>21}{medians[0]:16.3g}{medians[1]:19.3g}"
        )
    return "\n".join(lines)
