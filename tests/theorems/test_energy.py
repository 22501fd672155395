"""V = ½ Σ w_e ‖(δw − c)_e‖² and its gradient; discord carries neither w nor ½."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import dense_system, row_weights
from strategies import MODERATE, cases

from sheaflib import Clamp, Network, NeuralSheaf
from sheaflib.networks.output import Output
from sheaflib.sheaves import discord
from sheaflib.sheaves.forces import force
from sheaflib.sheaves.pins import hard, resolve, soft


@given(cases(integer=True))
def test_energy_and_discord_by_the_definition(case):
    sheaf, w, x = case.sheaf, case.w, case.x
    for i, s in enumerate(case.pattern):
        delta, c = dense_system(sheaf.network, s, x[i])
        r = delta @ w[i] - c
        np.testing.assert_array_equal(sheaf.discrepancy(w, x, case.pattern)[i], r)
        assert sheaf.energy(w, x, case.pattern)[i] == 0.5 * row_weights(sheaf) @ r**2
        assert discord.total(sheaf, w, x, case.pattern)[i] == r @ r
        for edge in sheaf.edges:
            assert (
                discord.per_edge(sheaf, w, x, case.pattern)[edge.name][i]
                == r[edge.rows] @ r[edge.rows]
            )
            np.testing.assert_array_equal(
                discord.per_neuron(sheaf, w, x, case.pattern)[edge.name][i], r[edge.rows] ** 2
            )


@given(cases(integer=True))
def test_default_pattern_is_the_state_s_own_with_zero_active(case):
    sheaf = case.sheaf
    own = sheaf.pattern(case.w, case.x)
    np.testing.assert_array_equal(
        sheaf.discrepancy(case.w, case.x), sheaf.discrepancy(case.w, case.x, own)
    )
    zero = sheaf.pattern(np.zeros_like(case.w), np.zeros_like(case.x))
    for node in sheaf.network.nodes:
        if node.name in sheaf.pattern_layout:
            place = sheaf.pattern_layout[node.name]
            # z = 0 is active, and so is a bound; the first of equals is the maximum
            expected = 1 if hasattr(node.operation, "slope") else 0
            if isinstance(node.operation, Clamp):
                expected = sum(-np.inf < b <= 0 for b in (node.operation.low, node.operation.high))
            assert (zero[:, place] == expected).all()


@given(cases(integer=True))
def test_force_is_minus_the_gradient(case):
    """V is quadratic in a frozen pattern, so a central difference of width 1 is its derivative
    exactly.
    """
    sheaf, w, x, s = case.sheaf, case.w, case.x, case.pattern
    for i, direction in enumerate(np.eye(sheaf.N)):
        slope = sheaf.energy(w + direction / 2, x, s) - sheaf.energy(w - direction / 2, x, s)
        np.testing.assert_array_equal(force(sheaf, w, x, pattern=s)[:, i], -slope)


def test_soft_pins_add_their_spring_and_hard_pins_take_the_force_away():
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[2.0]]]))
    pins = resolve(sheaf, [soft("a1", 1.0, gamma=3.0), hard("z2", 0.0)], 1)
    # x = 1, z = 2, a = 0, z2 = 5: δw − c = (1, −2, 5); δᵀ of it = (1 + 2, −2 − 10, 5)
    w = np.array([[2.0, 0.0, 5.0]])
    np.testing.assert_array_equal(
        force(sheaf, w, [[1.0]], pins=pins), [[-3.0, 12.0 - 3.0 * (0.0 - 1.0), 0.0]]
    )
    np.testing.assert_array_equal(pins.energy(w), [0.5 * 3.0])


@pytest.mark.parametrize("name", ["identity", "sigmoid", "softmax"])
@given(seed=st.integers(0, 10**6), n=st.integers(1, 4), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_output_jacobian_and_potential_against_finite_differences(name, seed, n, scale):
    phi, z, h = Output(name), scale * np.random.default_rng(seed).standard_normal((1, n)), 1e-5
    steps = h * np.eye(n)
    numeric = (phi.value(z + steps) - phi.value(z - steps)).T / (2 * h)
    np.testing.assert_allclose(phi.jacobian(z[0]), numeric, atol=1e-9)
    gradient = (phi.potential(z + steps) - phi.potential(z - steps)) / (2 * h)
    np.testing.assert_allclose(phi.value(z)[0], gradient, rtol=1e-8, atol=1e-9)
    assert np.linalg.norm(phi.jacobian(z[0]), 2) <= phi.norm * (1 + 1e-12)


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_output_survives_large_logits(name):
    z = np.array([[800.0, -800.0, 0.0]])
    assert np.isfinite(Output(name).value(z)).all()
    assert np.isfinite(Output(name).potential(z)).all()
    np.testing.assert_allclose(Output(name).value(z)[0, :2], [1.0, 0.0], atol=1e-300)


@pytest.mark.parametrize("output_force", ["jacobian", "identity"])
@given(case=cases(scales=MODERATE, outputs=("sigmoid", "softmax"), most=5))
def test_augmented_force_is_minus_the_gradient(output_force, case):
    """The "jacobian" force descends V; with a_out held, "identity" descends V_Ω + ψ(z) −
    a_outᵀz.
    """
    sheaf, x = case.sheaf, case.x[:1]
    n_out = sheaf.network.n_out
    w = np.hstack([case.w[:1], [np.linspace(0.1, 0.9, n_out)]])
    s = sheaf.pattern(w, x)
    last, weight = sheaf.layout[sheaf.network.output_name], sheaf.edge_weights["output"]

    def energy(w):
        if output_force == "jacobian":
            return sheaf.energy(w, x, s)[0]
        z = w[:, last]
        cross_entropy = sheaf.network.output.potential(z) - (w[:, sheaf.N :] * z).sum(axis=1)
        return (sheaf.energy(w[:, : sheaf.N], x, s) + weight * cross_entropy)[0]

    moving = w.shape[1] if output_force == "jacobian" else sheaf.N

    def slopes(h):
        steps = h * np.eye(w.shape[1])[:moving]
        return np.array([(energy(w + d) - energy(w - d)) / (2 * h) for d in steps])

    numeric = (4 * slopes(5e-4) - slopes(1e-3)) / 3  # without the error of second order
    found = force(sheaf, w, x, pattern=s, output_force=output_force)[0]
    np.testing.assert_allclose(found[:moving], -numeric, atol=1e-8 * (1 + energy(w)))
    np.testing.assert_allclose(
        found[sheaf.N :],
        -weight * (w[:, sheaf.N :] - sheaf.network.output.value(w[:, last]))[0],
        rtol=1e-12,
        atol=1e-12,
    )


@given(cases(integer=True, outputs=("sigmoid", "softmax")))
def test_forward_deviation_is_zero_at_the_forward_pass_and_the_shift_elsewhere(case):
    sheaf, x = case.sheaf, case.x
    exact = sheaf.forward(x, augmented=True)
    assert not any(part.any() for part in discord.forward_deviation(sheaf, exact, x).values())
    shifted = discord.forward_deviation(sheaf, exact[:, : sheaf.N] + case.w, x)
    np.testing.assert_array_equal(np.hstack(list(shifted.values())), case.w)
