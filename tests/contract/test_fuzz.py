"""Every argument of every public function meets every kind of bad value, one at a time: it is
refused by an error that names the argument, or it has a meaning and the call goes on.

No other error may come out, since a person who reads it could not tell what to mend, and no
argument may be changed.
"""

import copy
import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sparse

import sheaflib
from sheaflib import Affine, CellularSheaf, Network, NeuralSheaf, Output, ReLU, SheafEdge, layers
from sheaflib.circuits.currents import currents, edge_update
from sheaflib.circuits.minibatch import MiniBatches, rates
from sheaflib.linear import matrices, spectrum
from sheaflib.linear.resistance import effective_resistance
from sheaflib.sheaves import discord

RNG = np.random.default_rng(0)
NETWORK = Network.mlp(
    [RNG.standard_normal((3, 2)), RNG.standard_normal((1, 3))],
    [RNG.standard_normal(3), RNG.standard_normal(1)],
)
SHEAF = NeuralSheaf(NETWORK)
X, Y = RNG.standard_normal((4, 2)), RNG.standard_normal((4, 1))
FORWARD = SHEAF.forward(X)
PATTERN = SHEAF.forward_pattern(X)
START = FORWARD + 0.1
PIN = sheaflib.soft("z1", 0.5, 1.0, at=0)
FLOW = {"sheaf": SHEAF, "x": X, "start": START, "alpha": 1.0, "pins": PIN}
STEPS = {
    **FLOW,
    "dt": 0.01,
    "output_force": "jacobian",
    "every": 1,
    "tol": 0.0,
    "stepper": "euler",
    "rest": "velocity",
}
DISCORD = {"sheaf": SHEAF, "w": FORWARD, "x": X, "pattern": PATTERN}
SPECTRUM = {"sheaf": SHEAF, "pattern": PATTERN, "output_force": "jacobian"}


def first(generator):
    """A function that returns the first state of a generator."""
    return lambda **given: next(generator(**given))


def stacked(dims):
    """Stack with one of its dims as the argument."""
    return sheaflib.Stack(2, dims)


CALLS = {  # name: (function, arguments that are well)
    "harmonic_extension": (
        sheaflib.harmonic_extension,
        {"sheaf": SHEAF, "x": X, "pins": PIN, "pattern": PATTERN},
    ),
    "equilibrium": (
        sheaflib.equilibrium,
        {
            "sheaf": SHEAF,
            "x": X,
            "pins": PIN,
            "start": START,
            "tol": 1e-12,
            "mode": "track",
            "max_iterations": 9,
        },
    ),
    "heat": (first(sheaflib.heat), STEPS),
    "relax": (sheaflib.relax, {**STEPS, "tol": 1e-9, "max_steps": 9}),
    "exact_flow": (
        sheaflib.exact_flow,
        {**FLOW, "x": X[:1], "start": START[:1], "until": 1.0, "max_events": 9},
    ),
    "exact_flows": (sheaflib.exact_flows, {**FLOW, "until": 1.0, "max_events": 9, "most": 4}),
    "joint_flow": (
        first(sheaflib.joint_flow),
        {
            "sheaf": SHEAF,
            "x": X,
            "y": Y,
            "start": START,
            "beta": 0.1,
            "dt": 0.01,
            "alpha": 1.0,
            "cold": 1,
            "pins": PIN,
            "every": 1,
            "stepper": None,
        },
    ),
    "gradient_descent": (
        first(sheaflib.gradient_descent),
        {"sheaf": SHEAF, "x": X, "y": Y, "lr": 0.1, "every": 1, "start": None, "stepper": None},
    ),
    "report": (
        sheaflib.report,
        {
            "sheaf": SHEAF,
            "x": X,
            "y": Y[:, 0],
            "permutations": 1,
            "samples": 2,
            "worst": 1,
            "seed": 0,
            "progress": False,
        },
    ),
    "backpropagate": (sheaflib.backpropagate, {"sheaf": SHEAF, "x": X, "g": Y}),
    "forward_substitution": (
        sheaflib.forward_substitution,
        {"sheaf": SHEAF, "f": START, "pattern": PATTERN},
    ),
    "backward_substitution": (
        sheaflib.backward_substitution,
        {"sheaf": SHEAF, "g": START, "pattern": PATTERN},
    ),
    "per_neuron": (discord.per_neuron, DISCORD),
    "per_edge": (discord.per_edge, DISCORD),
    "total": (discord.total, DISCORD),
    "forward_deviation": (discord.forward_deviation, {"sheaf": SHEAF, "w": START, "x": X}),
    "spectrum.bound": (spectrum.bound, {"sheaf": SHEAF, "pins": PIN, "output_force": "jacobian"}),
    "matrices.laplacian": (matrices.laplacian, {**SPECTRUM, "pattern": PATTERN[0]}),
    "spectrum.eigenvalues": (spectrum.eigenvalues, {**SPECTRUM, "pattern": PATTERN[0]}),
    "spectrum.extremes": (
        spectrum.extremes,
        {**SPECTRUM, "tol": 1e-9, "dense": 400, "least": 0, "seed": 0},
    ),
    "effective_resistance": (
        effective_resistance,
        {"sheaf": SHEAF, "pattern": PATTERN, "stalk": "z1"},
    ),
    "currents": (currents, {"sheaf": SHEAF, "x": X, "y": Y}),
    "edge_update": (
        edge_update,
        {"sheaf": SHEAF, "name": "z1", "x": X, "forward": FORWARD, "relaxed": START, "kappa": 1.0},
    ),
    "Currents.gradient": (currents(SHEAF, X, Y).gradient, {"kappa": 1.0}),
    "MiniBatches": (
        MiniBatches,
        {
            "network": NETWORK,
            "x": X,
            "y": Y,
            "rule": "circuit",
            "kappa": 0.0,
            "stiffness": 1.0,
            "optimiser": "adam",
            "beta1": 0.9,
            "beta2": 0.99,
            "damping": 0.1,
            "decay": 0.0,
        },
    ),
    "MiniBatches.advance": (
        MiniBatches(NETWORK, X, Y).advance,
        {"order": [[0, 1], [2, 3]], "lr": [0.1, 0.1]},
    ),
    "rates": (rates, {"lr": 0.1, "updates": 9, "constant": False}),
    "NeuralSheaf": (NeuralSheaf, {"network": NETWORK, "edge_weights": {"affine_1": 2.0}}),
    "Network": (
        Network,
        {"n_in": 2, "nodes": [("z1", Affine(np.ones((1, 2))))], "output": "identity"},
    ),
    "Network.mlp": (Network.mlp, {"weights": [[[1.0]]], "biases": [[1.0]], "output": "identity"}),
    "Network.he": (
        Network.he,
        {"dims": [2, 3, 1], "rng": np.random.default_rng(0), "output": "identity"},
    ),
    "Affine": (Affine, {"weight": np.ones((1, 2)), "bias": [1.0]}),
    "ReLU": (ReLU, {"n": 3, "slope": 0.1}),
    "MaxPool": (sheaflib.MaxPool, {"windows": np.array([[0, 1]]), "n_in": 2}),
    "Stack": (stacked, {"dims": 3}),
    "Output": (Output, {"name": "sigmoid"}),
    "CellularSheaf": (
        CellularSheaf,
        {
            "vertices": {"u": 1, "v": 1},
            "edges": [
                SheafEdge("e", "u", "v", sparse.csr_array([[1.0]]), sparse.csr_array([[1.0]]))
            ],
        },
    ),
    "SheafEdge": (
        SheafEdge,
        {
            "name": "e",
            "tail": "u",
            "head": "v",
            "from_tail": sparse.csr_array([[1.0]]),
            "from_head": sparse.csr_array([[1.0]]),
            "weight": 1.0,
        },
    ),
    "hard": (sheaflib.hard, {"stalk": "z1", "value": 1.0, "at": 0}),
    "soft": (sheaflib.soft, {"stalk": "z1", "value": 1.0, "gamma": 2.0, "at": [0]}),
    "add": (layers.add, {"n": 2, "parts": 2}),
    "average_pool": (layers.average_pool, {"shape": (1, 4, 4), "size": 2, "stride": 2}),
    "batch_norm": (
        layers.batch_norm,
        {
            "scale": [1.0],
            "shift": [0.0],
            "mean": [0.0],
            "variance": [1.0],
            "eps": 1e-5,
            "pixels": 2,
        },
    ),
    "convolution": (
        layers.convolution,
        {
            "kernel": np.ones((1, 1, 2, 2)),
            "shape": (1, 4, 4),
            "bias": [1.0],
            "stride": 1,
            "padding": 0,
        },
    ),
    "max_pool": (layers.max_pool, {"shape": (1, 4, 4), "size": 2, "stride": 2}),
}
BAD = {
    "None": None,
    "text": "nonsense",
    "bytes": b"x",
    "object": object(),
    "class": int,
    "NaN": np.nan,
    "infinity": np.inf,
    "complex": 1 + 2j,
    "below zero": -1,
    "half": 0.5,
    "True": True,
    "empty list": [],
    "dict": {"a": 1},
    "set": {1, 2},
    "ragged": [[1.0], [1.0, 2.0]],
    "array of NaN": np.full((4, 2), np.nan),
    "array of text": np.array(["a", "b"]),
    "array of objects": np.array([None, object()]),
    "other shape": np.ones((3, 5, 7)),
    "empty array": np.zeros((0, 2)),
    "masked": np.ma.masked_all((4, 2)),
    "another's": NETWORK.nodes,
}
ALSO = {("Output", "name"): "output"}  # what the argument is called where people give it
NAMED = (ValueError, TypeError, OverflowError, ArithmeticError)
CASES = [(name, argument) for name, (_, given) in CALLS.items() for argument in given]


@pytest.mark.parametrize("name", CALLS)
def test_what_is_well_is_taken(name):
    function, given = CALLS[name]
    function(**given)


@pytest.mark.parametrize("name, argument", CASES)
def test_a_bad_value_is_refused_by_its_name_or_has_a_meaning(name, argument):
    function, given = CALLS[name]
    bare = []
    for kind, value in BAD.items():
        before = copy.deepcopy(value) if isinstance(value, np.ndarray) else value
        try:
            with warnings.catch_warnings(action="ignore"):
                function(**{**given, argument: value})
        except NAMED as error:
            if not re.search(rf"\b{ALSO.get((name, argument), argument)}s?\b", str(error)):
                bare.append(f"{kind}: {type(error).__name__}: {error}")
        except Exception as error:
            bare.append(f"{kind}: {type(error).__name__}: {error}")
        if isinstance(value, np.ndarray) and value.dtype != object:
            np.testing.assert_array_equal(np.asarray(value), np.asarray(before))
    assert not bare, "\n".join(bare)
