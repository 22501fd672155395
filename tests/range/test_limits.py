"""What a verb says where a quantity leaves float64, and the output maps where they round to their
labels."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from sheaflib import Network, NeuralSheaf, Output, backpropagate, hard, harmonic_extension, soft
from sheaflib.circuits.currents import currents
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.sheaves import discord
from sheaflib.training.objective import error, output_energy

X = [[1.0]]


def chain(*weights):
    """One coordinate a layer."""
    return NeuralSheaf(Network.mlp([[[w]] for w in weights]))


HUGE = {
    "forward": (lambda: chain(1e200, 1e200).forward(X), "forward pass overflows at 'z2'"),
    "masked": (
        lambda: harmonic_extension(chain(-1e200, 1e200), X, pattern=[1]),
        "harmonic extension leaves",
    ),
    "pinned": (
        lambda: harmonic_extension(
            chain(1.0, 1e160, 1e160), [[0.0]], pins=hard("z3", 1.0), pattern=[1, 1]
        ),
        "gain from an edge to a pin",
    ),
    "sensitivity": (
        lambda: backpropagate(chain(1.0, 1e160, 1e160), [[0.0]], [[1.0]]),
        "sensitivity leaves",
    ),
    "gradient": (
        lambda: backpropagate(chain(1e160, 1e-160, 1e160), X, [[1.0]]),
        "gradient of the weight of 'z2'",
    ),
    "resistance": (lambda: currents(chain(1.0, 1e160), [[0.0]], [[1.0]]), "effective resistance"),
    "faces": (
        lambda: enumerate_equilibria(chain(1.0, 1e160), [[0.0]], pins=hard("z2", 1.0)),
        "stiffness of V",
    ),
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.filterwarnings("error")
def test_what_overflows_is_named(name):
    run, message = HUGE[name]
    with pytest.raises(OverflowError, match=message):
        run()


@pytest.mark.filterwarnings("error")
def test_energy_and_discord_above_float64_are_infinite():
    sheaf, w = chain(1.0), [[1e200]]
    assert sheaf.energy(w, [[0.0]]).tolist() == [np.inf] and discord.total(
        sheaf, w, [[0.0]]
    ).tolist() == [np.inf]


def test_where_rounding_decides_the_extension_declines():
    """Two outputs are 1e12 times one stalk and pulled apart by stiff springs: their difference is
    below the rounding of either."""
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1e12], [1e12 * (1 + 3e-16)]]]), {"affine_2": 1e20})
    with pytest.raises(ArithmeticError, match="rounding decides|move as one"):
        harmonic_extension(sheaf, X, pins=soft("z2", [1.0, -1.0], 1e20), pattern=[1])


@pytest.mark.parametrize("z", [-700.0, -40.0, -1e-9, 0.0, 1e-9, 37.0, 40.0, 700.0])
def test_cross_entropy_and_its_gradient_keep_their_digits(z):
    """Φ = log(1 + e^m), m the margin against the label, and |φ(z) − y| = 1/(1 + e^−m), with 40
    digits."""
    with localcontext() as context:
        context.prec = 400
        exponential = Decimal(z).exp()
        energy, gradient = float((1 + exponential).ln()), float(exponential / (1 + exponential))
    sigmoid, softmax = Output("sigmoid"), Output("softmax")
    for output, logits, y in (
        (sigmoid, [[z]], [[0.0]]),
        (sigmoid, [[-z]], [[1.0]]),
        (softmax, [[z, 0.0]], [[0.0, 1.0]]),
    ):
        logits, y = np.array(logits), np.array(y)
        np.testing.assert_allclose(output_energy(output, logits, y), [energy], rtol=4e-15)
        np.testing.assert_allclose(
            np.abs(error(output, logits, y)), np.full(y.shape, gradient), rtol=4e-15
        )


def test_square_loss_of_large_numbers_that_are_close():
    """½(z − y)² = 2 at 1e16, where z² and zy have lost it."""
    assert output_energy(Output(), np.array([[1e16 + 2]]), np.array([[1e16]])).tolist() == [2.0]
