"""What a report says of its nulls, where permutations leave labels as they are, and of budgets."""

import re

import numpy as np
import pytest

from sheaflib import Network, NeuralSheaf
from sheaflib.diagnosis import measures, text
from sheaflib.diagnosis.report import report

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 5))


def sheaf(output="identity"):
    rng = np.random.default_rng(1)
    weights = [
        rng.standard_normal((b, a)) * np.sqrt(2 / a) for a, b in ((5, 20), (20, 20), (20, 3))
    ]
    return NeuralSheaf(Network.mlp(weights, output=output))


@pytest.mark.parametrize("output", ["identity", "softmax"])
@pytest.mark.parametrize("seed", range(3))
def test_permutations_that_change_no_label_count_in_p(output, seed):
    """Two samples have two permutations: one leaves the labels as they are, one swaps them."""
    y = np.eye(3)[[seed, (seed + 1) % 3]]
    found = report(sheaf(output), X[[seed, seed + 4]], y, budget=4000, progress=False)
    totals = np.sum(list(found.null.values()), axis=0)
    own = found.discord.mean()
    as_they_are = np.isclose(totals, own, rtol=1e-9)
    assert 0 < as_they_are.sum() < len(totals)
    less = 1 + (as_they_are | (totals < own)).sum()
    said = re.search(r"p = ([0-9.]+),", " ".join(text.solved_null(found)))
    assert float(said[1]) == pytest.approx(less / (len(totals) + 1), rel=5e-3)


def test_a_budget_that_is_enough_for_one_permutation_is_enough():
    """However much the samples' own equilibria took, none takes more than MOST passes."""
    subset = np.arange(2)
    budget, y = 2 * measures.MOST, np.eye(3)[:2]
    found = measures.resolved(
        sheaf(), X[:2], y, subset, budget, 4 * measures.MOST, np.random.default_rng(0)
    )
    assert len(found.means["affine_1"]) >= 1 and found.passes <= budget


def test_labels_that_cost_less_than_permuted_ones_are_not_said_to_cost_as_much():
    network = sheaf()
    y = network.network(X) + 2.0 * np.random.default_rng(2).standard_normal((8, 3))
    found = report(network, X, y, progress=False)
    assert 0.5 < found.total.frozen.ratio < 1
    assert "no better" not in str(found)
    assert "more than half of what permuted ones do" in str(found).replace("\n", " ")
