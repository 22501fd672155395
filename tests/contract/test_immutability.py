"""No function changes its arguments, and frozen objects stay frozen."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import scipy.sparse as sparse
from hypothesis import given
from strategies import cases

from sheaflib import (
    Affine,
    MaxPool,
    Network,
    NeuralSheaf,
    ReLU,
    Stack,
    backpropagate,
    backward_substitution,
    forward_substitution,
    hard,
    harmonic_extension,
    heat,
    relax,
    soft,
)
from sheaflib.flow.euler import EulerStepper
from sheaflib.layers import batch_norm, convolution
from sheaflib.linear import spectrum
from sheaflib.sheaves import discord
from sheaflib.sheaves.forces import force
from sheaflib.sheaves.pins import resolve

RNG = np.random.default_rng(0)
SHEAF = NeuralSheaf(Network.he([2, 3, 2], RNG, "sigmoid"))


def arguments():
    return {
        "x": RNG.standard_normal((3, 2)),
        "w": RNG.standard_normal((3, 8)),
        "aug": RNG.standard_normal((3, 10)),
        "g": RNG.standard_normal((3, 2)),
        "pattern": np.ones((3, 3)),
        "one": np.ones(3),
        "value": RNG.standard_normal((3, 3)),
        "z": np.ones(2),
    }


CALLS = {
    "network": lambda a: SHEAF.network(a["x"]),
    "forward": lambda a: SHEAF.forward(a["x"], augmented=True),
    "pattern": lambda a: SHEAF.pattern(a["w"], a["x"]),
    "discrepancy": lambda a: SHEAF.discrepancy(a["w"], a["x"], a["pattern"]),
    "augmented discrepancy": lambda a: SHEAF.discrepancy(a["aug"], a["x"]),
    "energy": lambda a: SHEAF.energy(a["w"], a["x"]),
    "push": lambda a: SHEAF.push(a["w"], a["pattern"]),
    "pull": lambda a: SHEAF.pull(a["w"], a["pattern"]),
    "matrices": lambda a: (
        SHEAF.coboundary(a["one"]),
        SHEAF.laplacian(a["one"]),
        SHEAF.extended.boundary_laplacian(a["one"]),
        SHEAF.extended.cellular(a["one"]),
    ),
    "forward substitution": lambda a: forward_substitution(SHEAF, a["w"], a["pattern"]),
    "backward substitution": lambda a: backward_substitution(SHEAF, a["w"], a["pattern"]),
    "harmonic extension": lambda a: repr(harmonic_extension(SHEAF, a["x"], pattern=a["pattern"])),
    "pinned": lambda a: repr(
        harmonic_extension(
            SHEAF, a["x"], pins=[hard("z1", a["value"]), soft("a1", a["value"], 2.0)]
        )
    ),
    "backpropagate": lambda a: backpropagate(SHEAF, a["x"], a["g"]),
    "force": lambda a: force(
        SHEAF,
        a["aug"],
        a["x"],
        pins=resolve(SHEAF, hard("z1", a["value"]), 3, True),
        pattern=a["pattern"],
    ),
    "discord": lambda a: (
        discord.per_neuron(SHEAF, a["w"], a["x"]),
        discord.forward_deviation(SHEAF, a["w"], a["x"]),
    ),
    "spectrum": lambda a: spectrum.extreme(SHEAF, a["one"], z=a["z"]),
    "relax": lambda a: repr(
        relax(
            SHEAF,
            a["x"],
            a["aug"],
            max_steps=20,
            pins=[hard("z1", a["value"]), soft("a1", a["value"], 2.0)],
        )
    ),
    "relax in NumPy": lambda a: repr(
        relax(
            SHEAF,
            a["x"],
            a["w"],
            max_steps=20,
            pins=soft("z1", a["value"], 1.0),
            stepper=EulerStepper,
        )
    ),
    "heat": lambda a: [state for state, _ in zip(heat(SHEAF, a["x"], a["w"]), range(5))],
    "network of arrays": lambda a: Network.mlp([a["value"], a["pattern"]], [a["one"], a["one"]])(
        a["value"]
    ),
    "convolution": lambda a: convolution(a["w"][:2, :4].reshape(2, 1, 2, 2), (1, 3, 3), a["z"]),
    "batch norm": lambda a: batch_norm(a["one"], a["value"][0], a["value"][1], a["one"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_arguments_are_left_alone(call):
    given = arguments()
    before = {name: array.copy() for name, array in given.items()}
    call(given)
    for name, array in given.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@given(cases())
def test_no_operation_writes_into_what_it_reads(case):
    for node in case.sheaf.network.nodes:
        a = np.random.default_rng(0).standard_normal((2, node.operation.n_in))
        e = np.random.default_rng(1).standard_normal((2, node.operation.n_out))
        kept = a.copy(), e.copy()
        s = node.operation.pattern(a)
        node.operation.value(a), node.operation.linear(a, s), node.operation.adjoint(e, s)
        np.testing.assert_array_equal(a, kept[0])
        np.testing.assert_array_equal(e, kept[1])


def test_matrix_free_identity_with_a_bias_leaves_its_input_alone():
    """The pair may return the very array it got."""
    shift, a = (
        Affine.from_maps(lambda a: a, lambda e: e, (2, 2), [1.0, 1.0]),
        np.array([[1.0, 2.0]]),
    )
    np.testing.assert_array_equal(shift.value(a), [[2.0, 3.0]])
    np.testing.assert_array_equal(a, [[1.0, 2.0]])


def test_later_changes_of_the_callers_arrays_do_not_reach_in():
    W, S, b = np.eye(2), sparse.csr_array(np.eye(2)), np.zeros(2)
    windows, x, value = np.array([[0, 1]]), np.array([[1.0, -1.0]]), np.array([0.5])
    network = Network(2, [("z1", Affine(W, b)), ("z2", Affine(S)), ("m", MaxPool(windows, 2))])
    sheaf = NeuralSheaf(network)
    before, pin = network(x), hard("m", value)
    W[:], S.data[:], b[:], windows[:], value[:] = 7, 7, 7, 0, 7
    np.testing.assert_array_equal(network(x), before)
    assert harmonic_extension(sheaf, x, pins=pin)["m"][0, 0] == 0.5


def test_a_solution_keeps_its_own_input():
    """`residual`, `error` and `energy` are computed when first asked for, from the x that was
    solved.
    """
    x = np.array([[1.0, -1.0]])
    direct, flow = harmonic_extension(SHEAF, x), relax(SHEAF, x, SHEAF.forward(x), max_steps=5)
    x += 1
    assert direct.residual < 1e-15 and direct.energy[0] < 1e-30
    assert flow.residual < 1e-12


@pytest.mark.parametrize("stepper", [None, EulerStepper])
def test_a_running_flow_does_not_see_changes_of_what_it_was_given_or_yielded(stepper):
    x, start = RNG.standard_normal((2, 2)), RNG.standard_normal((2, SHEAF.N))
    expected = [
        state.cochain.copy() for state, _ in zip(heat(SHEAF, x, start, stepper=stepper), range(6))
    ]
    states = heat(SHEAF, x, start, stepper=stepper)
    for step, state in zip(range(6), states):
        np.testing.assert_array_equal(state.cochain, expected[step])
        state.cochain[:], x[:], start[:] = 9, 9, 9


def test_frozen_objects():
    affine = Affine([[1.0]])
    for target, name in (
        (affine, "weight"),
        (SHEAF.network, "nodes"),
        (hard("z1", 0), "value"),
        (ReLU(2), "n"),
        (SHEAF.edges[0], "kind"),
        (harmonic_extension(SHEAF, [[1, 2]]), "cochain"),
        (Stack(1, 1), "dims"),
        (MaxPool([[0]], 1), "windows"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(target, name, None)
    for array in (affine.weight, affine.bias, MaxPool([[0]], 1).windows):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


def test_a_network_is_pickled_whatever_is_known_of_it():
    """What it has computed on the way, its shapes for one, is no part of it."""
    conv, _ = convolution(np.ones((2, 1, 3, 3)), (1, 4, 4), bias=[0.5, -0.5])
    network = Network(16, [("z1", conv), ("a1", ReLU(8)), ("z2", Affine(np.ones((1, 8))))])
    x = np.arange(16.0)[None]
    shapes, w = network.shapes, NeuralSheaf(network).forward(x)
    again = pickle.loads(pickle.dumps(network))
    assert again.shapes == shapes
    np.testing.assert_array_equal(NeuralSheaf(again).forward(x), w)
