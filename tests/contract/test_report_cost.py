"""What a report costs: within 300 passes a sample, estimated before, and told by part; samples that
do not arrive within their passes are counted and listed.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sheaflib.diagnosis.report  # noqa: F401  (the module, whose name the function takes)
from sheaflib import Network, NeuralSheaf, equilibrium, hard, report
from sheaflib.diagnosis import cost, measures
from sheaflib.equilibria.newton import FEWEST
from sheaflib.layers import convolution
from sheaflib.networks.affine import Affine
from sheaflib.networks.selection import ReLU

SEEDS = st.integers(0, 2**32 - 1)


def deep(seed, n=40, dims=(6, 30, 30, 30, 4)):
    """A deep softmax network that has learned nothing, so that its labels are dear."""
    rng = np.random.default_rng(seed)
    network = Network.he(dims, rng, "softmax")
    return NeuralSheaf(network), rng.standard_normal((n, 6)), rng.integers(0, 4, n)


@settings(max_examples=20)
@given(SEEDS, st.integers(4, 60))
def test_at_most_300_passes_a_sample_and_the_estimate_is_not_below(seed, n):
    """Whatever the network has learned: what is spent is within what was said, and within 300."""
    sheaf, x, y = deep(seed, n)
    found = report(sheaf, x, y, progress=False)
    spent = sum(found.passes.values()) / n
    assert spent <= found.estimate.passes <= cost.ALLOWED == 300
    assert found.passes["equilibria"] <= 240 * n and found.passes["null"] == 0
    assert found.seconds <= 2 * found.estimate.seconds  # loose: other programs may be running


@given(SEEDS, st.integers(FEWEST, 200))
@settings(max_examples=20)
def test_an_equilibrium_keeps_within_its_passes(seed, most):
    """No sample takes more; one that has converged is where it is without a bound; the energy of
    the others is above that, or another minimum's, but not above the start's.
    """
    sheaf, x, y = deep(seed, 6)
    pins = hard("a_out", np.eye(4)[y])
    cut, whole = (equilibrium(sheaf, x, pins=pins, budget=m) for m in (most, None))
    assert (cut.passes <= most).all() and whole.converged.all()
    same = cut.converged
    np.testing.assert_allclose(cut.cochain[same], whole.cochain[same], rtol=1e-6, atol=1e-9)
    w = sheaf.forward(x)
    start = whole.problem.energy(w, w - sheaf.discrepancy(w, x))
    assert (cut.energy <= start + 1e-9).all()
    if not cut.converged.all():
        assert f"{(~cut.converged).sum()} of 6 samples not converged" in cut.reason


def test_few_passes_are_refused():
    sheaf, x, y = deep(0, 2)
    with pytest.raises(ValueError, match=f"budget=3 must be ≥ {FEWEST}"):
        equilibrium(sheaf, x, pins=hard("a_out", np.eye(4)[y]), budget=3)
    with pytest.raises(TypeError, match=r"budget=30\.0 must be a whole number"):
        equilibrium(sheaf, x, pins=hard("a_out", np.eye(4)[y]), budget=30.0)


def test_samples_that_did_not_arrive_are_counted_and_listed(monkeypatch):
    """With hardly any passes nothing arrives; the discord is that of the point reached, and the
    loss beside it still the forward pass's.
    """
    sheaf, x, y = deep(1)
    whole = report(sheaf, x, y, progress=False)
    assert whole.converged.all() and "not converged" not in str(whole)
    monkeypatch.setattr(cost, "EQUILIBRIA", 30)
    found = report(sheaf, x, y, progress=False)
    lost = np.flatnonzero(~found.converged)
    assert len(lost) > 20 and found.passes["equilibria"] <= 30 * len(x)
    said = " ".join(str(found).split())
    assert f"{len(lost)} did not converge." in said
    listed = ", ".join(map(str, lost[:20]))
    assert f"not converged samples {listed}, …; their discord is that of the point reached" in said
    assert np.isfinite(found.discord).all()
    np.testing.assert_array_equal(found.loss, whole.loss)
    one = replace(whole, converged=np.arange(len(x)) != 7)
    assert "not converged samples 7; their" in " ".join(str(one).split())


def test_what_rounding_keeps_from_rest_is_there_for_a_report():
    """An answer that says of itself that it has not arrived counts where it is at rest to 1e-6, and
    not where it is the forward pass, or where no passes are left.
    """
    sheaf, x, y = deep(7, 5)
    pins = hard("a_out", np.eye(4)[y])
    found = equilibrium(sheaf, x, pins=pins)
    doubted = replace(found, converged=np.arange(5) > 2)
    near, passes = measures.nearly(doubted, 2000)
    assert near.tolist() == [True] * 3 + [False] * 2
    assert (passes[:3] > 0).all() and passes[:3].max() <= FEWEST and not passes[3:].any()
    w = sheaf.forward(x)
    early = replace(doubted, cochain=np.hstack([w, sheaf.network(x)]))
    assert not measures.nearly(early, 2000)[0].any()
    near, passes = measures.nearly(doubted, int(found.passes.min()))
    assert not near.any() and not passes.any()


def test_what_easy_samples_leave_goes_to_hard_ones(monkeypatch):
    """Of 40 samples all but four have the label of the network itself: those four take more than
    their even part, and all arrive.
    """
    sheaf, x, y = deep(2)
    y = sheaf.network(x).argmax(axis=1)
    y[:4] = sheaf.network(x[:4]).argmin(axis=1)
    bounds = {}
    original = measures.pinned

    def watched(sheaf, x, y, at, of, limit, *more):
        bounds.update(dict.fromkeys(at.tolist(), limit))
        return original(sheaf, x, y, at, of, limit, *more)

    monkeypatch.setattr(measures, "pinned", watched)
    monkeypatch.setattr(cost, "FIRST", (8, 8))
    found = report(sheaf, x, y, progress=False)
    easy = max(bounds[i] for i in range(4, 40) if found.loss[i] < np.median(found.loss))
    assert found.converged.all() and sorted(bounds) == list(range(40))
    assert max(bounds[i] for i in range(4)) > 2 * easy and easy >= 240


def test_the_first_samples_span_the_losses_and_are_solved_once(monkeypatch):
    sheaf, x, y = deep(3)
    loss = measures.forward(sheaf, x, np.eye(4)[y])[1]
    monkeypatch.setattr(cost, "FIRST", (8, 8))
    first = cost.first_of(sheaf, loss)
    assert len(set(first.tolist())) == 8 and loss[first[-1]] == loss.max()
    assert (np.diff(loss[first]) >= 0).all() and loss[first[0]] < np.median(loss)
    solved = []
    original = measures.pinned

    def watched(sheaf, x, y, at, of, *more):
        solved.extend(at.tolist())
        return original(sheaf, x, y, at, of, *more)

    monkeypatch.setattr(measures, "pinned", watched)
    report(sheaf, x, y, progress=False)
    assert sorted(solved) == list(range(40)) and set(solved[:8]) == set(first.tolist())


def test_a_budget_is_kept_and_one_that_is_too_small_says_what_is_needed():
    sheaf, x, y = deep(4, 12)
    for budget in (100, 3000, 40_000):
        found = report(sheaf, x, y, budget=budget, progress=False)
        assert found.passes["null"] <= budget
        n = found.permutations
        said = " ".join(str(found).split())
        if n:
            assert f"permuted {n} times and equilibria solved again" in said
            assert f"resolution 1/(n + 1) = {1 / (n + 1):.3g}" in said
        else:
            assert f"budget={budget} passes is too little" in said
            assert f"budget={found.needed} passes are surely enough" in said
    assert n > 3
    enough = report(sheaf, x, y, budget=found.needed, progress=False)
    assert enough.permutations >= 1
    nothing = " ".join(str(report(sheaf, x, y, progress=False)).split())
    assert "re-solved null none; one permutation takes about" in nothing
    assert f"budget={found.needed} passes are surely enough for one" in nothing


def test_the_smallest_p_is_the_resolution():
    """A network that knows its labels: no permutation does as well."""
    x = np.repeat(np.eye(3), 4, axis=0)
    sheaf = NeuralSheaf(Network.mlp([8 * np.eye(3)], None, "softmax"))
    found = report(sheaf, x, x.argmax(axis=1), budget=3000, progress=False)
    p = f"{1 / (found.permutations + 1):.3g}"
    assert f"p = {p}, resolution 1/(n + 1) = {p}" in " ".join(str(found).split())


def test_nothing_is_printed_without_progress_and_the_estimate_is_kept(capsys):
    sheaf, x, y = deep(5, 9)
    found = report(sheaf, x, y, progress=False)
    assert capsys.readouterr() == ("", "")
    assert 0 < found.seconds and 0 < found.estimate.seconds < 60
    assert cost.said(found.estimate, 9).startswith("report: about ")


def test_passes_are_told_by_part():
    sheaf, x, y = deep(6)
    found = report(sheaf, x, y, budget=20_000, progress=False)
    assert list(found.passes) == ["forward", "equilibria", "resistance", "spectra", "null"]
    assert found.passes["forward"] == 40 and found.passes["resistance"] == 40 * 5
    said = " ".join(str(found).split())
    assert f"passes {sum(found.passes.values()) / 40:.0f} over the weights a sample" in said
    assert f"equilibria {found.passes['equilibria'] / 40:.3g};" in said


def test_a_large_image_network_is_solved_a_few_samples_at_a_time(monkeypatch):
    """Every chunk holds as many coordinates as there is room for, and the answers are the same."""
    rng = np.random.default_rng(0)
    conv, shape = convolution(rng.standard_normal((2, 1, 3, 3)), (1, 6, 6))
    n = int(np.prod(shape))
    head = Affine(rng.standard_normal((3, n)) / 3)
    sheaf = NeuralSheaf(Network(36, [("conv", conv), ("act", ReLU(n)), ("head", head)], "softmax"))
    x, y = rng.standard_normal((20, 36)), rng.integers(0, 3, 20)
    whole = report(sheaf, x, y, progress=False)
    monkeypatch.setattr(measures, "ROOM", 3 * sheaf.N)
    parts = report(sheaf, x, y, progress=False)
    np.testing.assert_allclose(parts.discord, whole.discord, rtol=1e-8)
    assert parts.passes["resistance"] == whole.passes["resistance"]


def test_the_module_that_the_function_hides_is_there():
    assert sys.modules["sheaflib.diagnosis.report"].report is report


def test_a_mode_is_handed_on_and_may_take_four_times_as_many_passes():
    """Discord is that of `equilibrium` in that mode, and the page names it."""
    sheaf, x, y = deep(4, 12)
    found = report(sheaf, x, y, mode="homotopy", progress=False)
    pins = hard("a_out", np.eye(sheaf.network.n_out)[y])
    same = equilibrium(sheaf, x, pins=pins, mode="homotopy", progress=False)
    discord = (sheaf.discrepancy(same.cochain, x) ** 2).sum(axis=1)
    assert found.converged.all() and same.converged.all()
    np.testing.assert_allclose(found.discord, discord, rtol=1e-8)
    track = report(sheaf, x, y, progress=False)
    assert not np.allclose(found.discord, track.discord, rtol=1e-3)
    assert "a homotopy and Newton" in str(found)
    assert cost.each_equilibrium("homotopy") == 4 * cost.each_equilibrium("track") == 960
    with pytest.raises(ValueError, match="mode"):
        report(sheaf, x, y, mode="newton", progress=False)
