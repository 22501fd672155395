"""Nets of one neuron a layer, worked by hand."""

import numpy as np
import pytest

from sheaflib import Affine, Network, NeuralSheaf, ReLU, hard, harmonic_extension, heat, relax, soft
from sheaflib.linear import spectrum
from sheaflib.sheaves import discord


def net(b1=0.0, w2=1.0, b2=0.0, w1=1.0, weights=1.0, output="identity"):
    return NeuralSheaf(Network.mlp([[[w1]], [[w2]]], [[b1], [b2]], output), weights)


@pytest.mark.parametrize(
    "x, cochain",
    [
        (2.0, [5, 5, 11]),
        (-1.0, [-4, 0, 1]),
        (-1 / 3, [-2, 0, 1]),
        (0.0, [-1, 0, 1]),
        (1 / 3, [0, 0, 1]),
    ],
)
def test_forward_pass(x, cochain):
    """z = 3x − 1, a = max(z, 0), out = 2a + 1."""
    np.testing.assert_allclose(
        net(-1.0, 2.0, 1.0, 3.0).forward([[x]]), [cochain], rtol=0, atol=1e-15
    )


def test_zero_counts_as_active():
    sheaf = net()
    assert sheaf.pattern([[0.0, -1.0, 0.0]], [[0.0]]).tolist() == [[True]]
    assert sheaf.pattern([[-1e-300, 0.0, 0.0]], [[0.0]]).tolist() == [[False]]


def test_discord_and_energy():
    """x = 1, w = (2, 1, 5): r = (2 − 1, 1 − 2, 5 − 3) for W = 1, 3."""
    sheaf = net(w2=3.0, weights={"affine_1": 2.0, "activation_1": 3.0, "affine_2": 5.0})
    w, x = [[2.0, 1.0, 5.0]], [[1.0]]
    assert {name: value.tolist() for name, value in discord.per_edge(sheaf, w, x).items()} == {
        "affine_1": [1.0],
        "activation_1": [1.0],
        "affine_2": [4.0],
    }
    assert discord.total(sheaf, w, x) == [6.0]
    assert sheaf.energy(w, x) == [0.5 * (2 + 3 + 20)]


def test_leaky_relu_and_absolute_value():
    for slope, expected in ((0.1, -0.2), (-1.0, 2.0), (0.0, 0.0)):
        network = Network(1, [("z1", Affine([[1.0]])), ("a1", ReLU(1, slope))])
        assert network([[-2.0]])[0, 0] == expected
        assert network([[2.0]])[0, 0] == 2.0


def test_one_step_of_euler():
    """x = 1, w = (2, 1, 5), W = 1, 3: forces z1: −1 − (2 − 1) = −2, a1: (2 − 1) + 3·2 = 7, z2: −2;
    dt = .1.
    """
    states = list(zip(range(2), heat(net(w2=3.0), [[1.0]], [[2.0, 1.0, 5.0]], dt=0.1)))
    np.testing.assert_allclose(states[1][1].cochain, [[1.8, 1.7, 4.8]], rtol=1e-15)
    np.testing.assert_allclose(states[1][1].change, [0.7], rtol=1e-14)


@pytest.mark.parametrize("gamma", [0.1, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("x, b1, target", [(1.0, 0.5, 0.25), (1.0, 0.5, 4.0), (-1.0, 0.0, -0.3)])
def test_soft_pin_on_z1_has_a_closed_form(x, b1, target, gamma):
    """z = (c + γv*)/(1 + γ), c = W¹x + b¹; everything downstream relaxes to zero discord."""
    sheaf = net(b1, 2.0, 1.0)
    z = (x + b1 + gamma * target) / (1 + gamma)
    direct = harmonic_extension(sheaf, [[x]], pins=soft("z1", target, gamma))
    np.testing.assert_allclose(
        direct.cochain, [[z, max(z, 0), 2 * max(z, 0) + 1]], rtol=0, atol=1e-13
    )
    flow = relax(sheaf, [[x]], [[0.3, 0.0, 0.0]], pins=soft("z1", target, gamma), tol=1e-14)
    np.testing.assert_allclose(flow.cochain, direct.cochain, rtol=0, atol=1e-9)


EQUILIBRIA = [(-1.0, [-0.5, 1.0, 2.0], 1.0), (1.0, [1 / 3, 7 / 6, 2.0], 25 / 24)]


@pytest.mark.parametrize("start, cochain, energy", EQUILIBRIA)
def test_two_equilibria_of_one_output_pinned_net(start, cochain, energy):
    """The recorded runs: x = 0, b¹ = −½, W² = 1, z² pinned to 2; two patterns are self-consistent
    and stable, V = 1 and 25/24.
    """
    sheaf, pin = net(-0.5), hard("z2", 2.0)
    direct = harmonic_extension(sheaf, [[0.0]], pins=pin, pattern=[start >= 0])
    np.testing.assert_allclose(direct.cochain, [cochain], rtol=0, atol=1e-14)
    assert direct.pattern_changes == 0
    np.testing.assert_allclose(direct.energy, [energy], rtol=1e-14)
    flow = relax(sheaf, [[0.0]], [[start, 1.0, 2.0]], pins=pin, tol=1e-14)
    np.testing.assert_allclose(flow.cochain, [cochain], rtol=0, atol=1e-12)
    nudged = relax(sheaf, [[0.0]], direct.cochain + [[0.05, -0.05, 0.0]], pins=pin, tol=1e-14)
    np.testing.assert_allclose(nudged.cochain, [cochain], rtol=0, atol=1e-12)


def test_euler_chatters_where_the_equilibrium_slides():
    """x = 0, b¹ = ½, a¹ pinned to −1: V has its minimum on the kink z¹ = 0, where neither pattern
    is at rest.
    """
    sheaf, pin, dt = net(0.5), hard("a1", -1.0), 0.01
    run = relax(
        sheaf,
        [[0.0]],
        [[0.0, -1.0, 0.0]],
        pins=pin,
        dt=dt,
        tol=1e-10,
        max_steps=20_000,
        stepper="euler",
    )
    assert run.history.steps.tolist() == [20_000]
    assert not run.history.arrived.any()
    assert abs(run["z1"][0, 0]) <= 1.5 * dt  # one step of speed at most ½ + 1 beyond the kink
    assert run["z2"][0, 0] == pytest.approx(-1.0)
    # inactive: ż = ½ > 0; active: ż = ½ − (0 + 1) = −½ < 0: it crosses in nearly every step
    assert len(run.history.switches) == pytest.approx(20_000, rel=0.01)


def test_sigmoid_equilibrium_with_pinned_output_probability():
    """a_out pinned to ¾, "identity" force: the logit's stress p − ¾ is balanced along the chain of
    three unit springs.

    x = 0, all pre-activations > 0: r = (z − b, a − z, u − a) all equal s = ¾ − σ(u), so u = b + 3s.
    """
    sheaf = net(1.0, output="sigmoid")
    flow = relax(
        sheaf,
        [[0.0]],
        sheaf.forward([[0.0]], augmented=True),
        pins=hard("a_out", 0.75),
        output_force="identity",
        tol=1e-14,
    )
    z, a, u, p = flow.cochain[0]
    s = 0.75 - 1 / (1 + np.exp(-u))
    np.testing.assert_allclose(
        [z, a, u, p], [1 + s, 1 + 2 * s, 1 + 3 * s, 0.75], rtol=0, atol=1e-11
    )


@pytest.mark.parametrize(
    "pattern, expected", [([False], (3 - 5**0.5) / 2), ([True], 4 * np.sin(np.pi / 14) ** 2)]
)
def test_smallest_eigenvalue(pattern, expected):
    assert spectrum.extreme(net(), pattern)[0] == pytest.approx(expected, rel=1e-13)
