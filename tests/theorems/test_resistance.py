"""Effective resistance: its law against dense pinned problems, for every network, pattern and edge
weight.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import constrained_minimum, dense_laplacian, dense_system, row_weights
from strategies import MODERATE, cases

from sheaflib import Network, NeuralSheaf, hard, harmonic_extension, soft
from sheaflib.circuits.currents import currents
from sheaflib.linear import fixed_pattern, resistance
from sheaflib.linear.fixed_pattern import Frozen
from sheaflib.linear.resistance import effective_resistance
from sheaflib.sheaves import discord


@given(cases(scales=MODERATE, cube=True))
def test_it_is_a_block_of_the_inverse_laplacian_and_a_sum_over_edges(case):
    for name in case.sheaf.layout.names:
        here = case.sheaf.layout[name]
        found = effective_resistance(case.sheaf, case.pattern, name)
        for i, s in enumerate(case.pattern):
            expected = np.linalg.inv(dense_laplacian(case.sheaf, s))[here, here]
            np.testing.assert_allclose(
                found.total[i], expected, rtol=0, atol=1e-9 * np.abs(expected).max()
            )
        np.testing.assert_allclose(sum(found.edges.values()), found.total, rtol=1e-12, atol=1e-12)


@given(cases(scales=MODERATE))
def test_the_law_is_the_pinned_problem(case):
    """Discord of every edge and total energy, output pinned and behind a spring, against least
    squares on dense matrices.
    """
    sheaf, rng = case.sheaf, np.random.default_rng(0)
    out, weights = sheaf.layout[sheaf.layout.names[-1]], row_weights(sheaf)
    law = effective_resistance(sheaf, case.pattern)
    for i, s in enumerate(case.pattern):
        delta, c = dense_system(sheaf.network, s, case.x[i])
        forward = np.linalg.solve(delta, c)
        y = forward[out] + rng.standard_normal(out.stop - out.start)
        error = np.broadcast_to(y - forward[out], (len(case.pattern), len(y)))
        for spring, pins in (
            (np.inf, {"hard": list(zip(range(out.start, out.stop), y))}),
            (0.5, {"soft": [(j, 0.5, v) for j, v in zip(range(out.start, out.stop), y)]}),
        ):
            w = constrained_minimum(delta, c, weights, **pins)
            eta = delta @ w - c
            scale = np.abs(eta).max() + np.abs(forward).max() + 1
            np.testing.assert_allclose(
                law.injections(error, spring)[i], eta, rtol=0, atol=1e-8 * scale
            )
            found = law.discord(error, spring)
            for edge in sheaf.edges:
                assert found[edge.name][i] == pytest.approx(
                    (eta[edge.rows] ** 2).sum(), rel=1e-6, abs=1e-8 * scale**2
                )
            stiff = law.total[i] + np.eye(len(y)) / spring
            energy = (weights * eta**2).sum() + (
                0 if np.isinf(spring) else spring * ((w[out] - y) ** 2).sum()
            )
            assert energy == pytest.approx(
                error[0] @ np.linalg.solve(stiff, error[0]), rel=1e-6, abs=1e-8 * scale**2
            )


@given(cases(scales=MODERATE, cube=True))
def test_the_gap_is_at_most_one_over_the_resistance(case):
    """λ₁ ≤ 1/λ_max(ρ) for every stalk; with one output the bottom eigenvector's energy there is
    between two bounds.
    """
    for i, s in enumerate(case.pattern):
        values, vectors = np.linalg.eigh(dense_laplacian(case.sheaf, s))
        for name in case.sheaf.layout.names:
            norm = effective_resistance(case.sheaf, s, name).norm[0]
            assert values[0] <= (1 + 1e-9) / norm
        last = case.sheaf.layout[case.sheaf.layout.names[-1]]
        assume(len(values) > 1)
        if last.stop - last.start == 1 and values[0] < values[1] * (1 - 1e-6):
            upper = values[0] * effective_resistance(case.sheaf, s).norm[0]
            quotient = values[0] / values[1]
            energy = vectors[-1, 0] ** 2
            assert (upper - quotient) / (1 - quotient) - 1e-7 <= energy <= upper + 1e-9


def test_one_hidden_layer_in_closed_form():
    """ρ = 1 + ‖W²‖² + ‖W²R‖², and the discords of affine_2, activation_1 and affine_1 in these
    proportions, whatever the label.
    """
    rng = np.random.default_rng(1)
    sheaf = NeuralSheaf(Network.he([2, 9, 1], rng))
    x, y = rng.standard_normal((20, 2)), rng.standard_normal((20, 1))
    w = sheaf.forward(x)
    R, W2 = sheaf.pattern(w, x), sheaf.network.nodes[2].operation.weight
    law = effective_resistance(sheaf, R)
    p, whole = ((W2 * R) ** 2).sum(axis=1), (W2**2).sum()
    np.testing.assert_allclose(law.total[:, 0, 0], 1 + whole + p, rtol=1e-13)
    np.testing.assert_allclose(law.norm, 1 + whole + p, rtol=1e-13)
    pinned = harmonic_extension(sheaf, x, pins=hard("z2", y), pattern=R)
    for found in (discord.per_edge(sheaf, pinned.cochain, x, R), law.discord(y - sheaf.network(x))):
        np.testing.assert_allclose(found["activation_1"], whole * found["affine_2"], rtol=1e-9)
        np.testing.assert_allclose(found["affine_1"], p * found["affine_2"], rtol=1e-9, atol=1e-25)


def test_resistors_in_series_and_stiffer_edges():
    """A chain of k unit edges has resistance k; an edge of weight w counts 1/w; a spring of 1 adds
    one resistor to the current.
    """
    chain = NeuralSheaf(Network.mlp([[[1.0]]] * 3), {"affine_2": 4.0})
    law = effective_resistance(chain, [[True, True]])
    assert (
        law.total[0, 0, 0] == 4.25
        and {e: r[0, 0, 0] for e, r in law.edges.items()}["affine_2"] == 0.25
    )
    assert law.discord([[4.25]])["affine_2"][0] == pytest.approx(1 / 16) and law.discord([[4.25]])[
        "affine_1"
    ][0] == pytest.approx(1)
    assert law.injections([[5.25]], spring=1.0)[0, 0] == pytest.approx(1)
    assert repr(law) == "Resistance(1 samples, λ_max(ρ) 4.25 to 4.25)"


def test_it_agrees_with_the_library_behind_a_soft_pin():
    rng = np.random.default_rng(2)
    sheaf = NeuralSheaf(Network.he([3, 6, 5, 2], rng), {"affine_1": 3.0})
    x, y = rng.standard_normal((8, 3)), rng.standard_normal((8, 2))
    s = sheaf.forward_pattern(x)
    solved = harmonic_extension(sheaf, x, pins=soft("z3", y, 1.0), pattern=s)
    predicted = effective_resistance(sheaf, s).discord(y - sheaf.network(x), spring=1.0)
    for edge, values in discord.per_edge(sheaf, solved.cochain, x, s).items():
        np.testing.assert_allclose(predicted[edge], values, rtol=1e-9, atol=1e-24)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda law, sheaf: law.injections(np.zeros((3, 1))), r"error has 3 rows, expected 2"),
        (
            lambda law, sheaf: law.discord(np.zeros((2, 2))),
            r"error has the wrong shape: got \(2, 2\), expected \(B, 1\)",
        ),
        (lambda law, sheaf: law.discord(np.full((2, 1), np.nan)), r"error must be finite"),
        (lambda law, sheaf: law.discord(np.zeros((2, 1)), spring=0.0), r"spring=0 must be > 0"),
        (
            lambda law, sheaf: effective_resistance(sheaf, np.ones((2, 5))),
            r"pattern has shape \(2, 5\)",
        ),
        (lambda law, sheaf: effective_resistance(sheaf, np.ones((2, 4)), "z9"), r"z9"),
    ],
)
def test_bad_input_is_named(call, message):
    sheaf = NeuralSheaf(Network.he([2, 4, 1], np.random.default_rng(0)))
    with pytest.raises(ValueError, match=message):
        call(effective_resistance(sheaf, np.ones((2, 4))), sheaf)


# G some at a time ---------------------------------------------------------------------------------


def streamed(monkeypatch, entries=0, block=50, at_once=2**24):
    """G is never held, parts of it have `entries` entries at most, or one column."""
    monkeypatch.setattr(resistance, "ENTRIES", entries)
    monkeypatch.setattr(resistance, "BLOCK", block)
    for module in (resistance, fixed_pattern):
        monkeypatch.setattr(module, "AT_ONCE", at_once)


@given(
    cases(scales=MODERATE, cube=True),
    st.integers(0, 2**32 - 1),
    st.integers(0, 60),
    st.sampled_from([1, 2, 50]),
    st.sampled_from([1, 30, 2**24]),
)
def test_streamed_or_held_it_is_the_same(case, seed, entries, block, at_once):
    """Every number, for any stalk, at several sizes of the parts; a small G may still be held."""
    rng = np.random.default_rng(seed)
    pattern = case.pattern[rng.integers(0, len(case.pattern), 3)]
    sheaf = NeuralSheaf(case.sheaf.network, {e.name: rng.uniform(0.2, 5) for e in case.sheaf.edges})
    name = rng.choice(sheaf.layout.names)
    held = effective_resistance(sheaf, pattern, name)
    error, pull = rng.standard_normal((2, 3, held.m))
    assert not held.streamed and held.G.shape == (3, held.m, sheaf.N)

    def near(found, expected, part, size=None):
        size = np.abs(expected).max() if size is None else size
        np.testing.assert_allclose(found, expected, rtol=0, atol=part * size + 1e-300)

    with pytest.MonkeyPatch.context() as monkeypatch:
        streamed(monkeypatch, entries, block, at_once)
        law = effective_resistance(sheaf, pattern, name)
        assert law.streamed == (held.G.size > entries)
        near(law.total, held.total, 1e-12)
        near(law.norm, held.norm, 1e-11)
        near(law.currents(pull), held.currents(pull), 1e-13)
        for mine, theirs in ((law.edges, held.edges), (law.shares, held.shares)):
            assert list(mine) == list(theirs)
            for edge in mine:
                near(mine[edge], theirs[edge], 1e-12)
        worst = np.sqrt(np.linalg.cond(held.total).max())
        for spring in (np.inf, 0.5):
            eta = held.injections(error, spring)
            near(law.injections(error, spring), eta, 1e-13 * worst)
            for edge, values in held.discord(error, spring).items():
                size = (eta**2).sum(axis=1).max()
                near(law.discord(error, spring)[edge], values, 1e-12 * worst, size)


@given(cases(scales=MODERATE))
def test_streamed_it_is_a_block_of_the_inverse_laplacian(case):
    with pytest.MonkeyPatch.context() as monkeypatch:
        streamed(monkeypatch, 10, 2)
        law = effective_resistance(case.sheaf, case.pattern)
        out = law.place
        for i, s in enumerate(case.pattern):
            expected = np.linalg.inv(dense_laplacian(case.sheaf, s))[out, out]
            size = np.abs(expected).max()
            np.testing.assert_allclose(law.total[i], expected, rtol=0, atol=1e-9 * size)
            assert law.norm[i] == pytest.approx(np.linalg.eigvalsh(expected)[-1], rel=1e-8)
            np.testing.assert_array_equal(law.total[i], law.total[i].T)


def several_outputs():
    rng = np.random.default_rng(3)
    sheaf = NeuralSheaf(Network.he([5, 60, 80, 40], rng), {"affine_2": 3.0, "activation_1": 0.2})
    return sheaf, rng.standard_normal((3, 5)), rng.standard_normal((3, 40))


def test_more_outputs_than_lanczos_keeps_vectors(monkeypatch):
    sheaf, x, _ = several_outputs()
    pattern = sheaf.forward_pattern(x)
    held = effective_resistance(sheaf, pattern).norm
    streamed(monkeypatch)
    np.testing.assert_allclose(effective_resistance(sheaf, pattern).norm, held, rtol=1e-12)


def test_how_many_vectors_go_through_and_how_many_stand(monkeypatch):
    """`total` takes one each way for every output, `shares` one back, `currents` one back in all;
    `edges` one back for every output and part of G.
    """
    sheaf, x, y = several_outputs()
    streamed(monkeypatch, 2 * 40 * sheaf.N // 3, 7)
    sent = {"forward": [], "backward": []}
    for name, found in sent.items():

        def counting(frozen, v, name=name, found=found, way=getattr(Frozen, name)):
            found.append(len(v))
            return way(frozen, v)

        monkeypatch.setattr(Frozen, name, counting)

    def passes(call):
        for found in sent.values():
            found.clear()
        call()
        most = max(max(found, default=0) for found in sent.values())
        return sum(sent["forward"]), sum(sent["backward"]), most

    law = effective_resistance(sheaf, sheaf.forward_pattern(x))
    assert passes(lambda: law.total) == (3 * 40, 3 * 40, 3 * 7)
    assert passes(lambda: law.shares) == (0, 3 * 40, 3 * 7)
    assert passes(lambda: law.currents(y)) == (0, 3, 3)
    assert passes(lambda: law.edges) == (0, 2 * 3 * 40, 7)
    assert passes(lambda: law.injections(y)) == (0, 2 * 3 * 40 + 3, 7)
    forward, backward, most = passes(lambda: law.norm)
    assert forward == backward <= 3 * 41 and most == 3


def test_currents_of_training_with_resistances_that_are_streamed(monkeypatch):
    sheaf, x, y = several_outputs()
    held = currents(sheaf, x, y)
    expected = held.edges, held.relaxed
    streamed(monkeypatch, 1000)
    found = currents(sheaf, x, y)
    assert found.resistance.streamed
    for mine, theirs in zip((found.edges, found.relaxed), expected):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())


def test_rows_that_are_streamed_are_not_given(monkeypatch):
    sheaf, x, _ = several_outputs()
    streamed(monkeypatch)
    with pytest.raises(ValueError, match=r"G of 3 × 40 × 320 entries is streamed .* at most 0: "):
        effective_resistance(sheaf, sheaf.forward_pattern(x)).G
