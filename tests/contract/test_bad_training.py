"""Bad input to training is refused by the argument's name, with what came and what was expected."""

import numpy as np
import pytest
from training_cases import chain, nth, pose

from sheaflib import Affine, Network, NeuralSheaf, hard
from sheaflib.companion.experiments import initial, train
from sheaflib.training.drivers import gradient_descent, joint_flow, loss, weight_gradient

NET = Network.mlp([[[1, 2], [3, 4], [5, 6]], [[1, -1, 1]]])
SHEAF = NeuralSheaf(NET)
X, Y, START = np.array([[1.0, 0.5], [0.0, 1.0]]), np.array([[1.0], [2.0]]), np.zeros((2, 7))
NAN, INF = float("nan"), float("inf")


def flow(output="identity", n_out=1, network=None, **options):
    network = network or Network.mlp([np.ones((3, 2)), np.ones((n_out, 3))], output=output)
    return lambda: joint_flow(NeuralSheaf(network), **{"x": X, "y": Y, **options})


def descent(output="identity", n_out=1, **options):
    network = Network.mlp([np.ones((3, 2)), np.ones((n_out, 3))], output=output)
    return lambda: gradient_descent(NeuralSheaf(network), **{"x": X, "y": Y, "lr": 0.1, **options})


def state_of(dims, output="identity"):
    """A state of another network's training."""
    problem = pose(chain(dims, np.random.default_rng(0), output), np.random.default_rng(1), 2)
    return next(joint_flow(*problem[:3], start=problem[3]))


BOTH = {
    # labels
    "1-D labels": (
        {"y": [1.0]},
        ValueError,
        r"y has shape \(1,\), expected \(B, 1\): use y\[:, None\]",
    ),
    "class numbers, 1-D": (
        {"y": [0, 1], "output": "softmax", "n_out": 2},
        ValueError,
        r"expected \(B, 2\): np.eye\(2\)\[y\] makes",
    ),
    "wide labels": (
        {"y": np.ones((2, 2))},
        ValueError,
        r"y has the wrong shape: got \(2, 2\), expected \(B, 1\)",
    ),
    "a label missing": ({"y": [[1.0]]}, ValueError, r"y has 1 rows, expected 2: one a row of x"),
    "no labels": ({"y": np.zeros((0, 1))}, ValueError, r"y is an empty batch"),
    "NaN label": (
        {"y": [[1.0], [NAN]]},
        ValueError,
        r"y must be finite, got nan at index \(1, 0\)",
    ),
    "infinite label": (
        {"y": [[INF], [1.0]]},
        ValueError,
        r"y must be finite, got inf at index \(0, 0\)",
    ),
    "text label": ({"y": [["cat"], ["dog"]]}, TypeError, r"y has dtype <U3, expected real numbers"),
    "half a class": (
        {"y": [[1.0], [0.5]], "output": "sigmoid"},
        ValueError,
        r"y holds 0\.5 at index \(1, 0\), expected 0 or 1: the output is a sigmoid",
    ),
    "label −1": (
        {"y": [[-1.0], [1.0]], "output": "sigmoid"},
        ValueError,
        r"y holds -1 at index \(0, 0\), expected 0 or 1",
    ),
    "label 2": (
        {"y": [[0.0, 2.0], [1.0, 0.0]], "output": "softmax", "n_out": 2},
        ValueError,
        r"y holds 2 at index \(0, 1\), expected 0 or 1: the output is a softmax",
    ),
    "two classes at once": (
        {"y": [[0.0, 1.0], [1.0, 1.0]], "output": "softmax", "n_out": 2},
        ValueError,
        r"y is not one-hot: row 1 sums to 2, expected one 1 a row",
    ),
    "no class": (
        {"y": [[0.0, 0.0], [1.0, 0.0]], "output": "softmax", "n_out": 2},
        ValueError,
        r"y is not one-hot: row 0 sums to 0",
    ),
    "class numbers": (
        {"y": [[0.0], [1.0]], "output": "softmax", "n_out": 2},
        ValueError,
        r"y has the wrong shape: got \(2, 1\), expected \(B, 2\)",
    ),
    # inputs
    "no samples": (
        {"x": np.zeros((0, 2)), "y": np.zeros((0, 1))},
        ValueError,
        r"x is an empty batch: got \(0, 2\), expected \(B, 2\) with B ≥ 1",
    ),
    "wide x": (
        {"x": np.ones((2, 3))},
        ValueError,
        r"x has the wrong shape: got \(2, 3\), expected \(B, 2\)",
    ),
    "squares beyond float64": (
        {"x": [[1e200, 0.0], [0.0, 1.0]]},
        ValueError,
        r"the energy at the start is too large for float64: x and y hold numbers up to "
        r"1e\+200 and 2 in size; rescale them",
    ),
    "labels whose squares are beyond float64": (
        {"y": [[1e200], [0.0]]},
        ValueError,
        r"the energy at the start is too large for float64: x and y hold numbers up to "
        r"1 and 1e\+200 in size",
    ),
    "1-D x": (
        {"x": [1.0, 2.0]},
        ValueError,
        r"x has the wrong shape: got \(2,\), expected \(B, 2\): use x\[None\]",
    ),
    "NaN x": (
        {"x": [[1.0, NAN], [0.0, 0.0]]},
        ValueError,
        r"x must be finite, got nan at index \(0, 1\)",
    ),
    # intervals and states
    "every = 0": ({"every": 0}, ValueError, r"every=0 must be ≥ 1"),
    "negative every": ({"every": -5}, ValueError, r"every=-5 must be ≥ 1"),
    "every = ½": ({"every": 0.5}, TypeError, r"every=0\.5 must be a whole number"),
    "state of wider layers": (
        {"start": state_of([2, 4, 1])},
        ValueError,
        (
            r"start is a state of Network\(x\(2\) -> z1\(4\).*, expected one of Network\(x\(2\) ->"
            r" z1\(3\)"
        ),
    ),
    "state of more layers": (
        {"start": state_of([2, 3, 3, 1])},
        ValueError,
        r"start is a state of Network.*, expected one of Network",
    ),
    "state over another input": (
        {"start": state_of([3, 3, 1])},
        ValueError,
        r"start is a state of Network\(x\(3\).*, expected one of Network\(x\(2\)",
    ),
    "state of another output": (
        {"start": state_of([2, 3, 1], "sigmoid")},
        ValueError,
        r"start is a state of Network.*sigmoid.*, expected one of Network.*identity",
    ),
}
BAD = {
    **{
        f"flow: {name}": (flow(**options), error, message)
        for name, (options, error, message) in BOTH.items()
    },
    **{
        f"descent: {name}": (descent(**options), error, message)
        for name, (options, error, message) in BOTH.items()
    },
    # the joint flow alone
    "negative β": (flow(beta=-0.1), ValueError, r"beta=-0\.1 must be ≥ 0"),
    "NaN β": (flow(beta=NAN), ValueError, r"beta must be finite, got nan"),
    "text β": (flow(beta="1/n"), TypeError, r"beta has dtype <U3, expected real numbers"),
    "dt = 0": (flow(dt=0), ValueError, r"dt=0 must be > 0"),
    "negative dt": (flow(dt=-0.1), ValueError, r"dt=-0\.1 must be > 0"),
    "infinite dt": (flow(dt=INF), ValueError, r"dt must be finite, got inf"),
    "α = 0": (flow(alpha=0), ValueError, r"alpha=0 must be > 0"),
    "negative cold": (flow(cold=-1), ValueError, r"cold=-1 must be ≥ 0"),
    "cold = True": (flow(cold=True), TypeError, r"cold=True must be a whole number"),
    "narrow start": (
        flow(start=np.zeros((2, 6))),
        ValueError,
        r"start has the wrong shape: got \(2, 6\), expected \(B, 7\)",
    ),
    "start of three samples": (
        flow(start=np.zeros((3, 7))),
        ValueError,
        r"start has 3 rows, expected 2: one a row of x",
    ),
    "1-D start": (
        flow(start=np.zeros(7)),
        ValueError,
        r"start has the wrong shape: got \(7,\), expected \(B, 7\)",
    ),
    "NaN start": (flow(start=START * NAN), ValueError, r"start must be finite, got nan"),
    "state over fewer samples": (
        flow(x=X[:1], y=Y[:1], start=state_of([2, 3, 1])),
        ValueError,
        r"start has 2 rows, expected 1: one a row of x",
    ),
    "pin on an unknown stalk": (
        flow(pins=hard("z9", 0)),
        ValueError,
        r"stalk 'z9' is unknown, expected one of z1, a1, z2",
    ),
    "pin on the label": (
        flow(output="sigmoid", y=[[0], [1]], pins=hard("a_out", 0)),
        ValueError,
        r"stalk 'a_out' is unknown, expected one of z1, a1, z2",
    ),
    "pin outside": (
        flow(pins=hard("z1", 0, at=3)),
        ValueError,
        r"pin at=3 is out of range: 'z1' has coordinates 0 … 2",
    ),
    "pins of another batch": (
        flow(pins=hard("z1", np.zeros((3, 3)))),
        ValueError,
        r"pin value on 'z1' has shape \(3, 3\), expected a number, \(3,\) or \(2, 3\)",
    ),
    "network for sheaf": (
        lambda: joint_flow(NET, X, Y),
        TypeError,
        r"sheaf is a Network, expected NeuralSheaf\(network\)",
    ),
    "matrix-free": (
        lambda: nth(
            flow(
                network=Network(
                    2,
                    [
                        (
                            "z1",
                            Affine.from_maps(
                                lambda a: a[:, :1], lambda e: np.hstack([e, 0 * e]), (1, 2)
                            ),
                        )
                    ],
                )
            )(),
            1,
        ),
        TypeError,
        r"matrix-free",
    ),
    # gradient descent alone
    "lr = 0": (descent(lr=0), ValueError, r"lr=0 must be > 0"),
    "negative lr": (descent(lr=-0.1), ValueError, r"lr=-0\.1 must be > 0"),
    "NaN lr": (descent(lr=NAN), ValueError, r"lr must be finite, got nan"),
    "network for the sheaf of a descent": (
        lambda: gradient_descent(SHEAF.network, X, Y, lr=0.1),
        TypeError,
        r"sheaf is a Network, expected NeuralSheaf\(network\)",
    ),
    "stalks for a state": (
        descent(start=START),
        TypeError,
        r"start is a ndarray, expected a TrainingState",
    ),
    # losses and gradients
    "loss of other labels": (
        lambda: loss(NET, X, [[1.0]]),
        ValueError,
        r"y has 1 rows, expected 2",
    ),
    "gradient at other stalks": (
        lambda: weight_gradient(SHEAF, X, np.zeros((2, 6))),
        ValueError,
        r"w has the wrong shape: got \(2, 6\), expected \(B, 7\)",
    ),
    # experiments
    "unknown task": (
        lambda: train("moons", "2x30x1"),
        ValueError,
        r"task='moons' is unknown, expected one of paraboloid, saddle, circular, blobs",
    ),
    "unknown widths": (
        lambda: initial("saddle", "2x31x1", 42, False),
        ValueError,
        r"no recorded weights for widths='2x31x1', seed=42; expected one of",
    ),
    "unknown seed": (
        lambda: train("saddle", "2x30x1", seed=5),
        ValueError,
        r"no recorded weights for widths='2x30x1', seed=5; expected one of .*2x30x1/seed42",
    ),
    "unknown stalks": (
        lambda: train("saddle", "2x30x1", stalk_seed=5),
        ValueError,
        r"no recorded stalks for widths='2x30x1', seed=5; expected one of .*2x30x1/seed42",
    ),
    "unknown method": (
        lambda: train("saddle", "2x30x1", method="adam"),
        ValueError,
        r"method='adam' is unknown, expected sheaf or gd",
    ),
    "unknown start": (
        lambda: train("saddle", "2x30x1", start="hot", steps=1),
        ValueError,
        r"start='hot' is unknown, expected",
    ),
    "no training samples": (
        lambda: train("saddle", "2x30x1", n=0, steps=1),
        ValueError,
        r"empty batch|n=0",
    ),
    "widths of another task": (
        lambda: train("blobs", "2x10x8x1", steps=1),
        ValueError,
        r"y has the wrong shape: got \(300, 4\), expected \(B, 1\)",
    ),
}


@pytest.mark.parametrize("call, exception, message", BAD.values(), ids=BAD)
def test_refused_by_name_when_called(call, exception, message):
    """Before the first step, and before the first `next`."""
    with pytest.raises(exception, match=message):
        call()
