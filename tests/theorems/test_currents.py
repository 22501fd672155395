"""The circuit of training: Ohm's law, conservation and gradients, against dense solves, differences
and back-propagation.
"""

import numpy as np
import pytest
from hypothesis import given
from oracles import dense_system, row_weights
from strategies import MODERATE, cases

from sheaflib import Network, NeuralSheaf, backpropagate, harmonic_extension, soft
from sheaflib.circuits.currents import currents, edge_update
from sheaflib.training.objective import error, loss_gradient, loss_scale

OUTPUTS = {"identity": 1, "sigmoid": 2, "softmax": 4}


def labels(output, n_batch, n, rng):
    if output == "identity":
        return rng.standard_normal((n_batch, n))
    return (
        np.eye(n)[rng.integers(0, n, n_batch)]
        if output == "softmax"
        else rng.integers(0, 2, (n_batch, n)).astype(float)
    )


def weighted(network, w):
    """The sheaf with weight w on every edge but the output's."""
    return NeuralSheaf(
        network, {e.name: w for e in NeuralSheaf(network).edges if e.name != "output"}
    )


def setting(output, widths=(3, 7, 6), seed=0, w=1.0, n_batch=9):
    rng = np.random.default_rng(seed)
    sheaf = weighted(Network.he([*widths, OUTPUTS[output]], rng, output), w)
    x = rng.standard_normal((n_batch, widths[0]))
    return sheaf, x, labels(output, n_batch, OUTPUTS[output], rng)


@given(cases(scales=MODERATE))
def test_square_loss_is_a_soft_pin_of_one(case):
    """Any network and edge weights: relaxed stalks are the linear solve with the forward pattern,
    currents its weighted discrepancies.
    """
    sheaf, rng = case.sheaf, np.random.default_rng(0)
    y = rng.standard_normal((len(case.x), sheaf.network.n_out))
    found = currents(sheaf, case.x, y)
    solved = harmonic_extension(
        sheaf, case.x, pins=soft(sheaf.layout.names[-1], y, 1.0), pattern=found.pattern
    )
    scale = 1 + np.abs(solved.cochain).max()
    np.testing.assert_allclose(found.relaxed, solved.cochain, rtol=0, atol=1e-9 * scale)
    for i, s in enumerate(found.pattern):
        delta, c = dense_system(sheaf.network, s, case.x[i])
        np.testing.assert_allclose(
            found.edges[i],
            row_weights(sheaf) * (delta @ solved.cochain[i] - c),
            rtol=0,
            atol=1e-8 * scale,
        )


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("w", [1.0, 5.0])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_circuit_is_closed(output, w, scale):
    """Nothing is left over at any stalk: δᵀ(current) is the pull at the output and zero elsewhere,
    and the pull is Φ's at the relaxed z.
    """
    sheaf, x, y = setting(output, w=w)
    found = currents(sheaf, scale * x, y)
    last = sheaf.layout["z3"]
    residue = sheaf.pull(
        w * sheaf.discrepancy(found.relaxed, scale * x, found.pattern), found.pattern
    )
    residue[:, last] -= found.pull
    assert np.abs(residue).max() < 1e-10 * (1 + np.abs(found.relaxed).max())
    np.testing.assert_allclose(
        found.pull, -error(sheaf.network.output, found.relaxed[:, last], y), atol=1e-9 * scale
    )


@pytest.mark.parametrize("output", OUTPUTS)
def test_kappa_1_is_the_gradient_of_the_equilibrium_energy(output):
    """Central differences of min_ω E(ω, θ), the minimum found anew for every shifted weight."""
    sheaf, x, y = setting(output, widths=(2, 4, 3), n_batch=5)
    weights = [node.operation.weight for node in sheaf.network.affine_nodes]
    biases = [node.operation.bias + 0.3 for node in sheaf.network.affine_nodes]

    def energy(weights, biases):
        from sheaflib.training.objective import output_energy

        shifted = NeuralSheaf(Network.mlp(weights, biases, output))
        found = currents(shifted, x, y)
        z = found.relaxed[:, shifted.layout["z3"]]
        return float(
            (
                shifted.energy(found.relaxed, x, found.pattern)
                + output_energy(shifted.network.output, z, y)
            ).sum()
        )

    found = currents(NeuralSheaf(Network.mlp(weights, biases, output)), x, y).gradient()
    for layer in range(3):
        dW, db = found[f"z{layer + 1}"].values()
        for place in [(0, 0), (weights[layer].shape[0] - 1, weights[layer].shape[1] - 1)]:
            step = np.zeros_like(weights[layer])
            step[place] = 1e-5
            shifted = [
                [W + sign * step if i == layer else W for i, W in enumerate(weights)]
                for sign in (1, -1)
            ]
            assert dW[place] == pytest.approx(
                (energy(shifted[0], biases) - energy(shifted[1], biases)) / 2e-5, rel=1e-6, abs=1e-8
            )
        step = np.eye(len(biases[layer]))[0] * 1e-5
        shifted = [
            [b + sign * step if i == layer else b for i, b in enumerate(biases)] for sign in (1, -1)
        ]
        assert db[0] == pytest.approx(
            (energy(weights, shifted[0]) - energy(weights, shifted[1])) / 2e-5, rel=1e-6, abs=1e-8
        )


@pytest.mark.parametrize("kappa", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("output", OUTPUTS)
def test_stiff_edges_give_backpropagation_to_first_order(output, kappa):
    """The distance from the summed loss's gradient falls like 1/w."""
    sheaf, x, y = setting(output)
    z = sheaf.forward(x)[:, sheaf.layout["z3"]]
    exact = backpropagate(
        sheaf,
        x,
        loss_gradient(sheaf.network.output, z, y) / loss_scale(sheaf.network.output, *y.shape),
    )
    off = []
    for w in (1e3, 1e4, 1e5):
        found = currents(weighted(sheaf.network, w), x, y).gradient(kappa)
        off.append(
            max(
                np.abs(found[name]["weight"] - own["weight"]).max() / np.abs(own["weight"]).max()
                for name, own in exact.items()
            )
        )
    assert np.diff(np.log10(off)) == pytest.approx([-1, -1], abs=0.05)


def test_one_output_divides_each_samples_error_by_one_plus_its_resistance():
    sheaf, x, y = setting("identity")
    found = currents(sheaf, x, y)
    rho = found.resistance.total[:, 0, 0]
    scaled = backpropagate(sheaf, x, (sheaf.network(x) - y) / (1 + rho)[:, None])
    for name, own in found.gradient(0.0).items():
        for part, expected in scaled[name].items():
            np.testing.assert_allclose(own[part], expected, rtol=1e-12, atol=1e-14)


def test_the_mirror_is_a_mirror():
    """κ = 1 and κ = −1 average to κ = 0, and only κ = 1 and κ = −1 feel how the activity moves."""
    sheaf, x, y = setting("softmax")
    found = currents(sheaf, x, y)
    up, middle, down = (
        {name: own["weight"] for name, own in found.gradient(kappa).items()}
        for kappa in (1.0, 0.0, -1.0)
    )
    for name in middle:
        np.testing.assert_allclose(
            (up[name] + down[name]) / 2, middle[name], rtol=1e-11, atol=1e-13
        )
    assert np.abs(up["z3"] - middle["z3"]).max() > 1e-3
    # x is boundary and does not move
    np.testing.assert_array_equal(up["z1"], middle["z1"])


@pytest.mark.parametrize(
    "y, message",
    [
        ([[0.5]] * 9, r"expected 0 or 1"),
        (np.zeros((4, 2)), r"y has 4 rows, expected 9"),
        (None, "y is None"),
    ],
)
def test_labels_are_checked(y, message):
    sheaf, x, _ = setting("sigmoid")
    y = np.full((9, 2), 0.5) if isinstance(y, list) else y
    with pytest.raises((ValueError, TypeError), match=message):
        currents(sheaf, x, y)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kappa", [-1.0, 0.0, 1.0])
def test_an_edges_own_ends_are_enough(output, kappa):
    """Everything but its two stalks is poisoned; edge weights all different. (It cannot show how
    the stalks were found.)
    """
    rng = np.random.default_rng(2)
    network = Network.he([3, 7, 6, OUTPUTS[output]], rng, output)
    sheaf = NeuralSheaf(
        network, {"affine_1": 0.5, "activation_1": 3.0, "affine_2": 2.0, "affine_3": 1.5}
    )
    x = rng.standard_normal((9, 3))
    found = currents(sheaf, x, labels(output, 9, OUTPUTS[output], rng))
    whole = found.gradient(kappa)
    for node, below in zip(network.affine_nodes, ("x", "a1", "a2")):
        poisoned = [np.full_like(found.relaxed, np.nan) for _ in range(2)]
        for own in {below, node.name} - {"x"}:
            for state, true in zip(poisoned, (found.forward, found.relaxed)):
                state[:, sheaf.layout[own]] = true[:, sheaf.layout[own]]
        for part, alone in edge_update(sheaf, node.name, x, *poisoned, kappa).items():
            np.testing.assert_allclose(alone, whole[node.name][part], rtol=0, atol=1e-12)


def test_an_edge_without_parameters_has_no_update():
    sheaf, x, y = setting("identity")
    found = currents(sheaf, x, y)
    with pytest.raises(
        ValueError,
        match="name='a1', expected a stalk at the end of an edge with parameters: z1, z2, z3",
    ):
        edge_update(sheaf, "a1", x, found.forward, found.relaxed)


def test_a_poisoned_end_is_felt():
    sheaf, x, y = setting("identity")
    found = currents(sheaf, x, y)
    for own in ("a1", "z2"):
        relaxed = found.relaxed.copy()
        relaxed[:, sheaf.layout[own]] = np.nan
        with pytest.raises(ValueError, match=f"relaxed at {own} must be finite, got nan"):
            edge_update(sheaf, "z2", x, found.forward, relaxed)
