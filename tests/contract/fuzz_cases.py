"""Good calls of everything that sheaflib offers, one or several each, which the fuzz then spoils.

`CASES` holds them. `offered` finds by inspection what sheaflib offers, and `INSIDE` says what of it
no person calls, and why: test_fuzz.py holds the three against each other.
"""

import importlib
import inspect
import pkgutil
import tempfile
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np
import scipy.sparse as sparse
from onnx_files import SOUND

import sheaflib
from sheaflib import (
    Affine,
    CellularSheaf,
    Clamp,
    MaxPool,
    Network,
    NeuralSheaf,
    Node,
    PReLU,
    ReLU,
    SheafEdge,
)
from sheaflib.circuits import messages, minibatch, relaxation
from sheaflib.circuits.currents import currents, edge_update
from sheaflib.circuits.estimators import SheafClassifier, SheafRegressor
from sheaflib.equilibria.certificate import certify
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.flow.heat import default_step
from sheaflib.linear import matrices, rational, spectrum
from sheaflib.linear.resistance import effective_resistance
from sheaflib.sheaves import discord, forces
from sheaflib.sheaves.layout import Layout
from sheaflib.sheaves.pins import resolve
from sheaflib.training import drivers


class Case(NamedTuple):
    """One good call: what is called, by its path in sheaflib, how, and the arguments by name.

    label: tells several cases of one path apart.
    """

    path: str
    call: Callable
    given: dict[str, Any]
    label: str = ""


RNG = np.random.default_rng(0)


def chain(output, *dims):
    """A chain of these widths with random weights and biases."""
    return Network.mlp(
        [RNG.standard_normal((n, m)) for m, n in zip(dims, dims[1:])],
        [RNG.standard_normal(n) for n in dims[1:]],
        output,
    )


NETWORK, CLASSES = chain("identity", 2, 3, 1), chain("softmax", 2, 3, 3)
MERGED = Network(
    2,
    [
        ("z1", Affine(RNG.standard_normal((4, 2)))),
        ("a1", MaxPool([[0, 1], [2, 3]], 4)),
        ("p", sheaflib.Stack(2, 2), ("a1", "x")),
        ("z2", Affine(RNG.standard_normal((1, 4)))),
    ],
)
# every kind of kink; its windows overlap
DRAW = np.random.default_rng(1)
KINKED = Network(
    2,
    [
        ("z1", Affine(DRAW.standard_normal((2, 2)))),
        ("a1", PReLU(2, [0.5, 0.1])),
        ("z2", Affine(DRAW.standard_normal((3, 2)))),
        ("a2", MaxPool([[0, 1], [1, 2]], 3)),
        ("z3", Affine(DRAW.standard_normal((1, 2)))),
        ("a3", Clamp(1, 0.0, 1.0)),
    ],
)
SHEAF, SOFT, GRAPH = NeuralSheaf(NETWORK), NeuralSheaf(CLASSES), NeuralSheaf(MERGED)
EVERY_KINK = NeuralSheaf(KINKED.separated())
X, Y, ROWS = RNG.standard_normal((4, 2)), RNG.standard_normal((4, 1)), np.eye(3)[[0, 1, 2, 0]]
PIN, PATTERN, START = (
    sheaflib.soft("z1", 0.5, 1.0, at=0),
    SHEAF.forward_pattern(X),
    SHEAF.forward(X),
)
START = START + 0.1
TURNED = resolve(SHEAF, PIN, 4)
WITH_A_OUT = SOFT.forward(X, augmented=True) + 0.1
FOUND = sheaflib.equilibrium(SHEAF, X, pins=sheaflib.hard("z2", Y))
REPORTED = sheaflib.report(SHEAF, X, Y[:, 0], progress=False)
LAYOUT = Layout(("z1", "a1"), (2, 1))
PATH = CellularSheaf({"u": 1, "v": 1}, [("u", "v", [[1.0]], [[1.0]])])
EDGE = SheafEdge("e", "u", "v", sparse.csr_array([[1.0]]), sparse.csr_array([[1.0]]))
EXACT = [[Fraction(2), Fraction(1)], [Fraction(1), Fraction(2)]]


def first(generator, count=2):
    """A function that takes the first states of a generator, the first alone of endless strides."""

    def taken(**given):
        far = not isinstance(given.get("every", 1), int) or given.get("every", 1) > 100
        return list(islice(generator(**given), 1 if far else count))

    return taken


def scheme(sheaf, x, y):
    """A local scheme for `relaxation.reach`."""
    return relaxation.red_black(sheaf, x, y)


def stacked(dims):
    """Stack with one of its dims as the argument."""
    return sheaflib.Stack(2, dims)


TEMPORARY = tempfile.TemporaryDirectory()  # removed as the process ends


def in_folder(name, call):
    """A function of one file, whose name stands for one in a folder of this name, which holds the
    file of a network.
    """
    folder = Path(TEMPORARY.name) / name
    folder.mkdir()
    NETWORK.save(folder / "some.npz")

    def called(file):
        return call(folder / file if isinstance(file, str) else file)

    return called


WITH_KINKS = {
    "sheaf": EVERY_KINK,
    "start": EVERY_KINK.forward(X) + 0.1,
    "pins": sheaflib.soft("a3", Y, 1.0),
}
FLOW = {"sheaf": SHEAF, "x": X, "start": START, "alpha": 1.0, "pins": PIN}
STEPS = {
    **FLOW,
    "dt": 0.1,
    "output_force": "jacobian",
    "every": 1,
    "tol": 1e-9,
    "stepper": "euler",
    "rest": "velocity",
}
WITH_CLASSES = {
    "sheaf": SOFT,
    "start": WITH_A_OUT,
    "pins": sheaflib.hard("a_out", ROWS),
    "output_force": "identity",
}
STATE = {"sheaf": SHEAF, "w": START, "x": X, "pattern": PATTERN}
ONE = {"sheaf": SHEAF, "pattern": PATTERN[0], "pins": PIN, "z": None, "output_force": "jacobian"}
ONE_SOFT = {
    "sheaf": SOFT,
    "pattern": SOFT.forward_pattern(X)[0],
    "pins": sheaflib.soft("a_out", ROWS[0], 1.0),
    "z": X[0, 0] * ROWS[0],
    "output_force": "identity",
}
SEARCH = {"tol": 1e-9, "seed": 0}
SWEEPS = {"sheaf": SHEAF, "x": X, "y": Y, "start": START, "pattern": PATTERN}
TRAINING = {
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
}
DESCENT = {"sheaf": SHEAF, "x": X, "y": Y, "lr": 0.1, "every": 1, "start": None, "stepper": None}
REPORT = {
    "sheaf": SHEAF,
    "x": X,
    "y": Y[:, 0],
    "budget": 100,
    "samples": 2,
    "worst": 1,
    "seed": 0,
    "mode": "track",
    "progress": False,
}
ESTIMATOR = {
    "hidden_layer_sizes": (3,),
    "rule": "circuit",
    "kappa": 0.0,
    "stiffness": 3.0,
    "optimiser": "adam",
    "damping": 0.1,
    "decay": 0.0,
    "learning_rate": "linear",
    "learning_rate_init": 0.02,
    "batch_size": 2,
    "max_iter": 2,
    "standardise": True,
    "early_stopping": False,
    "validation_fraction": 0.5,
    "n_iter_no_change": 3,
    "tol": 1e-4,
    "random_state": 0,
    "verbose": False,
}
BATCHES = {
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
}
LABELS = np.array([0, 1, 0, 1])


@cache
def regressor():
    """A fitted regressor, once one is needed: the first one takes time to compile."""
    return SheafRegressor(**ESTIMATOR).fit(X, Y[:, 0])


@cache
def classifier():
    """A fitted classifier, once one is needed."""
    return SheafClassifier(**ESTIMATOR).fit(X, LABELS)


def fitted(kind, labels):
    """A function that fits an estimator with the given parameters, stopping early or not."""

    def fit(**given):
        return kind(**given).fit(X, labels)

    return fit


def method(owner, path, given, label=""):
    """A case of a method of an object."""
    return Case(path, getattr(owner, path.rpartition(".")[2]), given, label)


def made_for(make, path, given):
    """A case of a method on an object that is made for the call, as it is dear or is changed."""
    name = path.rpartition(".")[2]
    return Case(path, lambda **arguments: getattr(make(), name)(**arguments), given)


NETWORKS = [
    Case("layers.add", sheaflib.layers.add, {"n": 2, "parts": 2}),
    Case(
        "layers.average_pool",
        sheaflib.layers.average_pool,
        {
            "shape": (1, 4, 4),
            "size": 2,
            "stride": 2,
            "padding": 0,
            "ceil_mode": False,
            "count_include_pad": True,
        },
    ),
    Case(
        "layers.max_pool",
        sheaflib.layers.max_pool,
        {
            "shape": (1, 4, 4),
            "size": 2,
            "stride": 2,
            "padding": 0,
            "dilation": 1,
            "ceil_mode": False,
        },
    ),
    *(
        Case(f"layers.{name}", getattr(sheaflib.layers, name), {"shape": (1, 4, 4), **given})
        for name, given in (
            ("adaptive_average_pool", {"output_size": 2}),
            ("adaptive_max_pool", {"output_size": (2, 3)}),
            ("global_average_pool", {}),
            ("global_max_pool", {}),
            ("pad", {"padding": 1, "mode": "constant"}),
            ("upsample", {"scale_factor": 2}),
        )
    ),
    Case("layers.permutation", sheaflib.layers.permutation, {"order": np.array([1, 0, 2])}),
    Case(
        "layers.concatenation",
        lambda shapes: sheaflib.layers.concatenation((1, 4, 4), shapes),
        {"shapes": (2, 4, 4)},
    ),
    Case(
        "layers.transposed",
        sheaflib.layers.transposed,
        {
            "kernel": np.ones((1, 1, 2, 2)),
            "shape": (1, 4, 4),
            "bias": [1.0],
            "stride": 2,
            "padding": 0,
            "output_padding": 1,
            "groups": 1,
            "dilation": 1,
        },
    ),
    Case(
        "layers.batch_norm",
        sheaflib.layers.batch_norm,
        {
            "scale": np.array([1.0, 2.0]),
            "shift": [0.0, 0.0],
            "mean": [0.0, 0.0],
            "variance": np.array([1.0, 1.0]),
            "eps": 1e-5,
            "pixels": 2,
        },
    ),
    Case(
        "layers.convolution",
        sheaflib.layers.convolution,
        {
            "kernel": np.ones((1, 1, 2, 2)),
            "shape": (1, 4, 4),
            "bias": [1.0],
            "stride": 1,
            "padding": 0,
            "dilation": 1,
            "groups": 1,
        },
    ),
    Case("networks.affine.Affine", Affine, {"weight": np.ones((2, 3)), "bias": [1.0, 2.0]}),
    Case("networks.affine.Affine", Affine, {"weight": sparse.csr_array(np.eye(2)), "bias": None}),
    Case(
        "networks.affine.Affine.from_maps",
        Affine.from_maps,
        {"apply": lambda a: 2 * a, "adjoint": lambda e: 2 * e, "shape": (2, 2), "bias": [0.0, 0.0]},
    ),
    Case(
        "networks.graph.Network",
        Network,
        {
            "n_in": 2,
            "nodes": [("z1", Affine(np.ones((1, 2)))), ("a1", ReLU(1), "z1")],
            "output": "identity",
            "difference": 1e-7,
        },
    ),
    Case(
        "networks.readers.read.read",
        sheaflib.read,
        {"model": SOUND["branches"], "example": np.ones((3, 4)), "output": "y"},
    ),
    Case(
        "networks.graph.Network.mlp",
        Network.mlp,
        {"weights": [[[1.0]], [[2.0]]], "biases": [[1.0], [0.0]], "output": "identity"},
    ),
    Case(
        "networks.graph.Network.he",
        Network.he,
        {"dims": [2, 3, 1], "rng": np.random.default_rng(0), "output": "identity"},
    ),
    method(NETWORK, "networks.graph.Network.__call__", {"x": X}),
    method(
        NETWORK,
        "networks.graph.Network.with_parameters",
        {"parameters": {NETWORK.output_name: {"bias": NETWORK.nodes[-1].operation.bias + 1}}},
    ),
    method(NETWORK, "networks.graph.Network.with_output", {"output": "sigmoid"}),
    method(
        KINKED.separated(),
        "networks.graph.Network.with_parameters",
        {"parameters": {"a1": {"slope": np.array([0.2, 0.0])}}},
        "every kink",
    ),
    Case("networks.graph.Network.save", in_folder("saved", NETWORK.save), {"file": "some.npz"}),
    Case("networks.graph.Network.load", in_folder("loaded", Network.load), {"file": "some.npz"}),
    Case(
        "networks.graph.Node",
        lambda **given: Network(2, [Node(**given)]),
        {"name": "z1", "operation": ReLU(2), "inputs": ("x",)},
    ),
    Case("networks.operations.Stack", stacked, {"dims": 3}),
    Case("networks.output.Output", sheaflib.Output, {"name": "sigmoid"}),
    Case("networks.selection.ReLU", ReLU, {"n": 3, "slope": 0.1}),
    Case("networks.selection.PReLU", PReLU, {"n": 4, "slope": [0.5, 0.1]}),
    Case("networks.selection.Clamp", Clamp, {"n": 3, "low": 0.0, "high": 6.0}),
    Case("networks.selection.MaxPool", MaxPool, {"windows": np.array([[0, 1]]), "n_in": 2}),
]
SHEAVES = [
    Case(
        "sheaves.cellular.CellularSheaf",
        CellularSheaf,
        {"vertices": {"u": 1, "v": 1}, "edges": [EDGE]},
    ),
    Case(
        "sheaves.cellular.CellularSheaf",
        CellularSheaf,
        {"vertices": {"u": 1, "v": 1}, "edges": [("u", "v", [[1.0]], [[1.0]], 2.0)]},
    ),
    method(PATH, "sheaves.cellular.CellularSheaf.relative_dims", {"boundary": [0]}),
    method(PATH, "sheaves.cellular.CellularSheaf.harmonic_extension", {"boundary": {"u": [1.0]}}),
    method(
        PATH, "sheaves.cellular.CellularSheaf.harmonic_extension", {"boundary": {"u": ([0], [1.0])}}
    ),
    Case(
        "sheaves.cellular.SheafEdge",
        lambda **given: CellularSheaf({"u": 1, "v": 1}, [SheafEdge(**given)]),
        {
            "name": "e",
            "tail": "u",
            "head": "v",
            "from_tail": sparse.csr_array([[1.0]]),
            "from_head": sparse.csr_array([[1.0]]),
            "weight": 1.0,
        },
    ),
    Case("sheaves.discord.per_neuron", discord.per_neuron, STATE),
    Case("sheaves.discord.per_edge", discord.per_edge, STATE),
    Case("sheaves.discord.total", discord.total, STATE),
    Case(
        "sheaves.discord.forward_deviation",
        discord.forward_deviation,
        {"sheaf": SHEAF, "w": START, "x": X},
    ),
    *(
        method(SHEAF.extended, f"sheaves.extended.ExtendedStalks.{name}", {"pattern": PATTERN[0]})
        for name in ("cellular", "boundary_coboundary", "boundary_laplacian")
    ),
    method(SHEAF.extended, "sheaves.extended.ExtendedStalks.boundary_values", {"x": X}),
    Case(
        "sheaves.forces.force", forces.force, {**STATE, "pins": TURNED, "output_force": "jacobian"}
    ),
    Case("sheaves.layout.Layout.__getitem__", LAYOUT.__getitem__, {"name": "z1"}),
    Case("sheaves.layout.Layout.__contains__", LAYOUT.__contains__, {"name": "z1"}),
    method(LAYOUT, "sheaves.layout.Layout.join", {"parts": {"z1": X, "a1": X[:, :1]}}),
    method(LAYOUT, "sheaves.layout.Layout.locate", {"index": 0}),
    method(LAYOUT, "sheaves.layout.Layout.label", {"index": 0}),
    Case(
        "sheaves.neural.NeuralSheaf",
        NeuralSheaf,
        {"network": NETWORK, "edge_weights": {"affine_1": 2.0}},
    ),
    *(
        method(
            SHEAF, f"sheaves.neural.NeuralSheaf.{name}", {"w": START, "x": X, "pattern": PATTERN}
        )
        for name in ("discrepancy", "edge_terms", "gradient_terms", "energy")
    ),
    *(
        method(SHEAF, f"sheaves.neural.NeuralSheaf.{name}", {"pattern": PATTERN[0]})
        for name in ("coboundary", "laplacian", "one_pattern")
    ),
    method(SHEAF, "sheaves.neural.NeuralSheaf.cochain", {"name": "w", "w": START}),
    method(SHEAF, "sheaves.neural.NeuralSheaf.pattern", {"w": START, "x": X}),
    method(GRAPH, "sheaves.neural.NeuralSheaf.pattern", {"w": GRAPH.forward(X), "x": X}, "graph"),
    method(SHEAF, "sheaves.neural.NeuralSheaf.forward_pattern", {"x": X}),
    method(SHEAF, "sheaves.neural.NeuralSheaf.forward", {"x": X, "augmented": False}),
    method(SOFT, "sheaves.neural.NeuralSheaf.forward", {"x": X, "augmented": True}, "classes"),
    method(SHEAF, "sheaves.neural.NeuralSheaf.check_pattern", {"pattern": PATTERN, "n_batch": 4}),
    method(
        GRAPH,
        "sheaves.neural.NeuralSheaf.check_pattern",
        {"pattern": GRAPH.forward_pattern(X), "n_batch": 4},
        "graph",
    ),
    method(SHEAF, "sheaves.neural.NeuralSheaf.push", {"v": START, "pattern": PATTERN}),
    method(SHEAF, "sheaves.neural.NeuralSheaf.pull", {"e": START, "pattern": PATTERN}),
    Case(
        "sheaves.pins.hard",
        lambda **given: sheaflib.harmonic_extension(SHEAF, X, pins=sheaflib.hard(**given)),
        {"stalk": "z1", "value": 1.0, "at": 0},
    ),
    Case(
        "sheaves.pins.soft",
        lambda **given: sheaflib.harmonic_extension(SHEAF, X, pins=sheaflib.soft(**given)),
        {"stalk": "z1", "value": np.ones((4, 2)), "gamma": 2.0, "at": [0, 2]},
    ),
    Case(
        "sheaves.pins.resolve",
        resolve,
        {"sheaf": SOFT, "pins": [PIN, PIN], "n_batch": 4, "augmented": True},
    ),
]
LINEAR = [
    Case(
        "linear.harmonic.harmonic_extension",
        sheaflib.harmonic_extension,
        {"sheaf": SHEAF, "x": X, "pins": PIN, "pattern": PATTERN},
    ),
    Case(
        "linear.harmonic.harmonic_extension",
        sheaflib.harmonic_extension,
        {"sheaf": GRAPH, "x": X, "pins": (), "pattern": GRAPH.forward_pattern(X)},
        "graph",
    ),
    Case(
        "linear.harmonic.harmonic_extension",
        sheaflib.harmonic_extension,
        {"sheaf": SHEAF, "x": X, "pins": TURNED, "pattern": PATTERN},
        "turned pins",
    ),
    Case("linear.harmonic.backpropagate", sheaflib.backpropagate, {"sheaf": SHEAF, "x": X, "g": Y}),
    Case(
        "linear.substitution.forward_substitution",
        sheaflib.forward_substitution,
        {"sheaf": SHEAF, "f": START, "pattern": PATTERN},
    ),
    Case(
        "linear.substitution.backward_substitution",
        sheaflib.backward_substitution,
        {"sheaf": SHEAF, "g": START, "pattern": PATTERN},
    ),
    Case("linear.matrices.laplacian", matrices.laplacian, ONE),
    Case("linear.matrices.laplacian", matrices.laplacian, ONE_SOFT, "classes"),
    Case(
        "linear.matrices.augmented_coboundary",
        matrices.augmented_coboundary,
        {name: ONE_SOFT[name] for name in ("sheaf", "pattern", "z", "output_force")},
    ),
    Case("linear.rational.rational", rational.rational, {"matrix": np.eye(2)}),
    Case("linear.rational.gram", rational.gram, {"delta": EXACT}),
    Case("linear.rational.pivots", rational.pivots, {"matrix": EXACT}),
    Case("linear.rational.determinant", rational.determinant, {"matrix": EXACT}),
    Case(
        "linear.rational.solve",
        rational.solve,
        {"matrix": EXACT, "right": [Fraction(1), Fraction(2)]},
    ),
    Case(
        "linear.resistance.effective_resistance",
        effective_resistance,
        {"sheaf": SHEAF, "pattern": PATTERN, "stalk": "z1"},
    ),
    *(
        method(
            effective_resistance(SHEAF, PATTERN),
            f"linear.resistance.Resistance.{name}",
            {"error": Y, "spring": 2.0},
        )
        for name in ("injections", "discord")
    ),
    method(
        effective_resistance(SHEAF, PATTERN), "linear.resistance.Resistance.currents", {"pull": Y}
    ),
    Case(
        "linear.solution.Solution.__getitem__",
        sheaflib.harmonic_extension(SHEAF, X).__getitem__,
        {"stalk": "z1"},
    ),
    Case("equilibria.newton.Equilibrium.__getitem__", FOUND.__getitem__, {"stalk": "z1"}),
    Case(
        "linear.spectrum.bound",
        spectrum.bound,
        {"sheaf": SHEAF, "pins": PIN, "augmented": False, "output_force": "jacobian"},
    ),
    Case(
        "linear.spectrum.bound",
        spectrum.bound,
        {"sheaf": SOFT, "pins": (), "augmented": True, "output_force": "identity"},
        "classes",
    ),
    Case("linear.spectrum.eigenvalues", spectrum.eigenvalues, ONE),
    Case("linear.spectrum.eigenvalues", spectrum.eigenvalues, ONE_SOFT, "classes"),
    Case("linear.spectrum.extreme", spectrum.extreme, ONE),
    Case("linear.spectrum.extreme", spectrum.extreme, ONE_SOFT, "classes"),
    Case("linear.spectrum.smallest", spectrum.smallest, {**ONE, **SEARCH, "pattern": PATTERN}),
    Case(
        "linear.spectrum.extremes",
        spectrum.extremes,
        {**ONE, **SEARCH, "pattern": PATTERN, "dense": 400, "least": 0},
    ),
    Case(
        "linear.spectrum.extremes",
        spectrum.extremes,
        {**ONE_SOFT, **SEARCH, "dense": 0, "least": 0},
        "by Lanczos",
    ),
    method(spectrum.extremes(SHEAF, PATTERN), "linear.spectrum.Extremes.lower", {"failure": 1e-9}),
]
EQUILIBRIA = [
    Case(
        "equilibria.newton.equilibrium",
        sheaflib.equilibrium,
        {
            "sheaf": SHEAF,
            "x": X,
            "pins": PIN,
            "start": START,
            "tol": 1e-12,
            "mode": "track",
            "max_iterations": 9,
            "budget": 90,
        },
    ),
    Case(
        "equilibria.newton.equilibrium",
        sheaflib.equilibrium,
        {
            "sheaf": SOFT,
            "x": X,
            "pins": sheaflib.hard("a_out", ROWS),
            "start": WITH_A_OUT,
            "tol": 1e-12,
            "mode": "global",
            "max_iterations": 9,
            "budget": 90,
        },
        "classes",
    ),
    Case(
        "equilibria.newton.equilibrium",
        sheaflib.equilibrium,
        {**WITH_KINKS, "x": X, "tol": 1e-12, "mode": "track", "max_iterations": 30, "budget": 99},
        "every kink",
    ),
    Case(
        "equilibria.newton.equilibrium",
        sheaflib.equilibrium,
        {
            "sheaf": SOFT,
            "x": X,
            "pins": sheaflib.hard("a_out", ROWS),
            "start": WITH_A_OUT,
            "tol": 1e-12,
            "mode": "homotopy",
            "max_iterations": 30,
            "budget": 200,
            "progress": False,
        },
        "the homotopy",
    ),
    method(FOUND, "equilibria.newton.Equilibrium.others", {"starts": 2, "seed": 0, "scale": 3.0}),
    method(FOUND.certificate, "equilibria.certificate.Certificate.minimum", {"tol": 0.0}),
    method(FOUND.certificate.basin(), "equilibria.certificate.Basin.holds", {"w": START}),
    Case("equilibria.certificate.certify", certify, {"problem": FOUND.problem, "w": FOUND.cochain}),
    Case(
        "equilibria.enumeration.enumerate_equilibria",
        enumerate_equilibria,
        {"sheaf": SHEAF, "x": X[:1], "pins": PIN},
    ),
    Case(
        "equilibria.enumeration.enumerate_equilibria",
        enumerate_equilibria,
        {"sheaf": EVERY_KINK, "x": X[:1], "pins": sheaflib.soft("a3", 0.5, 1.0)},
        "every kink",
    ),
]
FLOWS = [
    Case("flow.heat.heat", first(sheaflib.heat), STEPS),
    Case("flow.heat.heat", first(sheaflib.heat), {**STEPS, **WITH_CLASSES}, "classes"),
    Case("flow.heat.heat", first(sheaflib.heat), {**STEPS, **WITH_KINKS}, "every kink"),
    Case("flow.heat.relax", sheaflib.relax, {**STEPS, "max_steps": 9}),
    Case(
        "flow.heat.relax",
        sheaflib.relax,
        {**STEPS, **WITH_KINKS, "stepper": "prox-euler", "max_steps": 9},
        "every kink",
    ),
    *(
        Case(
            "flow.heat.relax",
            sheaflib.relax,
            {**STEPS, "stepper": stepper, "max_steps": 9, **more},
            stepper,
        )
        for stepper, more in (
            ("prox-euler", {}),
            ("implicit-euler", {"rest": "step", "dt": 10.0}),
            ("minimising-movements", {}),
            ("chebyshev", {"dt": None}),
        )
    ),
    Case(
        "flow.heat.default_step",
        default_step,
        {"sheaf": SHEAF, "pins": PIN, "augmented": False, "alpha": 1.0, "output_force": "jacobian"},
    ),
    Case(
        "flow.exact_flow.exact_flow",
        sheaflib.exact_flow,
        {**FLOW, "x": X[:1], "start": START[:1], "until": 1.0, "max_events": 9},
    ),
    Case(
        "flow.exact_flow.exact_flows",
        sheaflib.exact_flows,
        {**FLOW, "until": 1.0, "max_events": 9, "most": 4},
    ),
    method(
        sheaflib.exact_flow(SHEAF, X[:1], START[:1]),
        "flow.exact_flow.ExactFlow.at",
        {"times": np.array([0.0, 1.0])},
    ),
]
TRAININGS = [
    Case("training.drivers.joint_flow", first(sheaflib.joint_flow), TRAINING),
    Case(
        "training.drivers.joint_flow",
        first(sheaflib.joint_flow),
        {**TRAINING, "sheaf": GRAPH, "start": None},
        "graph",
    ),
    Case(
        "training.drivers.joint_flow",
        first(sheaflib.joint_flow),
        {**TRAINING, "sheaf": SOFT, "y": ROWS, "start": None, "pins": ()},
        "classes",
    ),
    Case(
        "training.drivers.joint_flow",
        first(sheaflib.joint_flow),
        {**TRAINING, "start": next(sheaflib.joint_flow(SHEAF, X, Y))},
        "goes on",
    ),
    Case("training.drivers.gradient_descent", first(sheaflib.gradient_descent), DESCENT),
    Case(
        "training.drivers.gradient_descent",
        first(sheaflib.gradient_descent),
        {**DESCENT, "start": next(sheaflib.gradient_descent(SHEAF, X, Y, lr=0.1))},
        "goes on",
    ),
    Case(
        "training.drivers.gradient_descent",
        first(sheaflib.gradient_descent),
        {**DESCENT, "sheaf": SOFT, "y": ROWS},
        "classes",
    ),
    Case("training.objective.loss", drivers.loss, {"network": NETWORK, "x": X, "y": Y}),
    Case("training.descent.gradient", drivers.gradient, {"network": NETWORK, "x": X, "y": Y}),
    Case(
        "training.joint.weight_gradient",
        drivers.weight_gradient,
        {"sheaf": SHEAF, "x": X, "w": START},
    ),
]
CIRCUITS = [
    Case("circuits.currents.currents", currents, {"sheaf": SHEAF, "x": X, "y": Y}),
    Case("circuits.currents.currents", currents, {"sheaf": SOFT, "x": X, "y": ROWS}, "classes"),
    method(currents(SHEAF, X, Y), "circuits.currents.Currents.gradient", {"kappa": 1.0}),
    Case(
        "circuits.currents.edge_update",
        edge_update,
        {
            "sheaf": SHEAF,
            "name": "z1",
            "x": X,
            "forward": SHEAF.forward(X),
            "relaxed": START,
            "kappa": 1.0,
        },
    ),
    Case(
        "circuits.currents.edge_update",
        edge_update,
        {
            "sheaf": SHEAF,
            "name": "z2",
            "x": X,
            "forward": SHEAF.forward(X),
            "relaxed": START,
            "kappa": 1.0,
        },
        "inside",
    ),
    Case("circuits.messages.messages", first(messages.messages), SWEEPS),
    Case("circuits.messages.vector_messages", first(messages.vector_messages), SWEEPS),
    Case("circuits.messages.exact_after", messages.exact_after, {"sheaf": SHEAF, "vectors": True}),
    Case("circuits.relaxation.colours", relaxation.colours, {"sheaf": SHEAF}),
    Case(
        "circuits.relaxation.parallel_rounds",
        first(relaxation.parallel_rounds),
        {**SWEEPS, "groups": [["z1", "z2"], ["a1"]], "every": 1},
    ),
    Case(
        "circuits.relaxation.gauss_seidel",
        first(relaxation.gauss_seidel),
        {**SWEEPS, "order": ["z2", "a1", "z1"]},
    ),
    Case("circuits.relaxation.red_black", first(relaxation.red_black), SWEEPS),
    Case(
        "circuits.relaxation.jacobi_bounds",
        relaxation.jacobi_bounds,
        {"sheaf": SHEAF, "pattern": PATTERN},
    ),
    Case(
        "circuits.relaxation.chebyshev",
        first(relaxation.chebyshev),
        {**SWEEPS, "low": 0.1, "high": np.array([2.0, 2.0, 2.0, 2.0])},
    ),
    Case(
        "circuits.relaxation.edge_currents",
        relaxation.edge_currents,
        {"sheaf": SHEAF, "x": X, "w": START, "pattern": PATTERN},
    ),
    Case(
        "circuits.relaxation.relative_error",
        relaxation.relative_error,
        {"exact": currents(SHEAF, X, Y), "w": START},
    ),
    Case(
        "circuits.relaxation.reach",
        relaxation.reach,
        {"scheme": scheme, "sheaf": SHEAF, "x": X, "y": Y, "other": Y + 1, "rounds": 2},
    ),
    Case("circuits.minibatch.MiniBatches", minibatch.MiniBatches, BATCHES),
    Case(
        "circuits.minibatch.MiniBatches",
        minibatch.MiniBatches,
        {**BATCHES, "network": CLASSES, "y": ROWS, "rule": "prox", "optimiser": "sgd"},
        "classes",
    ),
    made_for(
        lambda: minibatch.MiniBatches(NETWORK, X, Y),
        "circuits.minibatch.MiniBatches.advance",
        {"order": np.array([[0, 1], [2, 3]]), "lr": np.array([0.1, 0.1])},
    ),
    Case("circuits.minibatch.rates", minibatch.rates, {"lr": 0.1, "updates": 9, "constant": False}),
    Case("circuits.estimators.SheafRegressor", fitted(SheafRegressor, Y[:, 0]), ESTIMATOR),
    Case(
        "circuits.estimators.SheafRegressor",
        fitted(SheafRegressor, Y[:, 0]),
        {**ESTIMATOR, "early_stopping": True, "batch_size": "auto", "kappa": "auto"},
        "stopped early",
    ),
    Case("circuits.estimators.SheafClassifier", fitted(SheafClassifier, LABELS), ESTIMATOR),
    made_for(
        lambda: SheafRegressor(**ESTIMATOR),
        "circuits.estimators.SheafRegressor.fit",
        {"X": X, "y": Y},
    ),
    made_for(
        lambda: SheafClassifier(**ESTIMATOR),
        "circuits.estimators.SheafClassifier.fit",
        {"X": X, "y": LABELS},
    ),
    made_for(
        lambda: SheafRegressor(**ESTIMATOR),
        "circuits.estimators.SheafRegressor.partial_fit",
        {"X": X, "y": Y},
    ),
    made_for(
        lambda: SheafClassifier(**ESTIMATOR),
        "circuits.estimators.SheafClassifier.partial_fit",
        {"X": X, "y": LABELS, "classes": np.array([0, 1])},
    ),
    made_for(regressor, "circuits.estimators.SheafRegressor.predict", {"X": X}),
    made_for(
        regressor,
        "circuits.estimators.SheafRegressor.score",
        {"X": X, "y": Y[:, 0], "sample_weight": np.ones(4)},
    ),
    made_for(classifier, "circuits.estimators.SheafClassifier.predict", {"X": X}),
    made_for(classifier, "circuits.estimators.SheafClassifier.predict_proba", {"X": X}),
    made_for(classifier, "circuits.estimators.SheafClassifier.predict_log_proba", {"X": X}),
    made_for(
        classifier,
        "circuits.estimators.SheafClassifier.score",
        {"X": X, "y": LABELS, "sample_weight": np.ones(4)},
    ),
]
PLOTS = [
    Case(
        "plots.explore.explore",
        sheaflib.explore,
        {"network": SHEAF, "x": X[:1], "start": START[:1], "seed": 0, "dt": 0.1},
    ),
    method(
        sheaflib.explore(SHEAF, X[:1]), "plots.explore.Explorer.html", {"picture": "network.png"}
    ),
]
DIAGNOSIS = [
    Case("diagnosis.report.report", sheaflib.report, REPORT),
    Case(
        "diagnosis.report.report",
        sheaflib.report,
        {**REPORT, "sheaf": SOFT, "y": np.array([0, 1, 2, 0])},
        "classes",
    ),
    method(REPORTED, "diagnosis.report.Report.to_frame", {"of": "edges"}),
]
CASES = [
    *NETWORKS,
    *SHEAVES,
    *LINEAR,
    *EQUILIBRIA,
    *FLOWS,
    *TRAININGS,
    *CIRCUITS,
    *PLOTS,
    *DIAGNOSIS,
]


# What is not called here, and why; * stands for any text
INSIDE = {
    "it draws, prints or spells out what the library has made": (
        "diagnosis.frame.*",
        "diagnosis.graph.*",
        "diagnosis.names.*",
        "diagnosis.page.*",
        "diagnosis.picture.*",
        "diagnosis.text.*",
        "linear.solution.shown",
    ),
    "scikit-learn makes it": ("circuits.estimators.*.set_*_request",),
    "it is a check of an argument": (
        "support.*",
        "networks.graph.check_*",
        "networks.foreign.way_from",
        "networks.*.check_pattern",
        "sheaves.neural.check_sheaf",
        "sheaves.forces.check_output_force",
        "linear.rest.check_rule",
        "linear.fixed_pattern.check_output_pins",
        "equilibria.energy.names_a_out",
        "equilibria.certificate.check_rows",
        "flow.heat.check_step",
        "flow.heat.choose_stepper",
        "training.objective.check_labels",
        "diagnosis.inputs.*",
    ),
    "a function above it makes it, of arguments that it has checked": (
        "networks.archive.*",
        "networks.convolution.*",
        "networks.pooling.*",
        "networks.stencil.*",
        "networks.structured.*",
        "networks.gather.*",
        "networks.windows.*",
        "networks.readers.[!r]*",
        "networks.affine.absolute_bound",
        "networks.affine.random_bound",
        "networks.graph.forward_values",
        "sheaves.extended.ExtendedStalks",
        "sheaves.layout.Layout",
        "sheaves.edges.*",
        "sheaves.pins.Pin",
        "sheaves.pins.Pins",
        "linear.resistance.Resistance",
        "plots.explore.Explorer",
        "linear.solution.Solution",
        "linear.spectrum.Extremes",
        "equilibria.certificate.Basin",
        "equilibria.certificate.Certificate",
        "equilibria.enumeration.Equilibria",
        "equilibria.newton.Equilibrium",
        "equilibria.others.Others",
        "flow.exact_flow.Event",
        "flow.exact_flow.ExactFlow",
        "flow.heat.HeatHistory",
        "flow.heat.HeatState",
        "training.drivers.Record",
        "training.drivers.TrainingState",
        "circuits.currents.Currents",
        "diagnosis.report.Report",
    ),
    "a flow or a training makes it; its class is the argument `stepper`, and is fuzzed as that": (
        "flow.euler.*Stepper*",
        "flow.steppers.*Stepper*",
        "flow.steppers.without_windows",
        "training.chains.Fused*Stepper*",
        "training.descent.DescentStepper*",
        "training.joint.JointStepper*",
    ),
    "it computes for the functions above it, on arrays that they have checked": (
        "*.kernels.*",
        "networks.affine.Affine.a*",
        "networks.affine.Affine.constant",
        "networks.affine.Affine.gradient",
        "networks.affine.Affine.linear",
        "networks.affine.Affine.out_shape",
        "networks.affine.Affine.pattern",
        "networks.affine.Affine.triplets",
        "networks.affine.Affine.value",
        "networks.affine.Affine.with_parameters",
        "networks.graph.gather",
        "networks.operations.check_parameters",
        "networks.operations.Operation*",
        "networks.operations.Stack.*",
        "networks.output.Output.*",
        "networks.selection.Clamp.*",
        "networks.selection.Elementwise*",
        "networks.selection.MaxPool.*",
        "networks.selection.PReLU.*",
        "networks.selection.ReLU.*",
        "networks.selection.Selection*",
        "networks.separation.*",
        "networks.storage.*",
        "sheaves.extended.has_constant",
        "sheaves.forces.parameter_gradient",
        "sheaves.layout.Layout.split",
        "sheaves.neural.NeuralSheaf.delta*",
        "sheaves.neural.NeuralSheaf.own",
        "sheaves.neural.NeuralSheaf.columns",
        "sheaves.neural.NeuralSheaf.scatter",
        "sheaves.pins.Pins.*",
        "sheaves.pins.keeps_all",
        "sheaves.pins.resolve_places",
        "linear.fixed_pattern.Frozen*",
        "linear.fixed_pattern.output_maps",
        "linear.lanczos.*",
        "linear.rest.*",
        "linear.substitution.Pinned*",
        "linear.substitution.Ties*",
        "linear.substitution.held_*",
        "linear.substitution.inject",
        "linear.substitution.masked_forward",
        "linear.substitution.pinned_minimum",
        "linear.substitution.send_back",
        "linear.substitution.share",
        "equilibria.certificate.holding",
        "equilibria.certificate.kink_forces",
        "equilibria.certificate.reach",
        "equilibria.certificate.rectifiers",
        "equilibria.certificate.row_norms",
        "equilibria.energy.Pieces*",
        "equilibria.energy.Pinned*",
        "equilibria.enumeration.possible_faces",
        "equilibria.faces.*",
        "equilibria.kink_faces.*",
        "equilibria.rounded_faces.*",
        "equilibria.kinks.*",
        "equilibria.arrival.*",
        "equilibria.homotopy.*",
        "equilibria.newton.newton",
        "equilibria.newton.solve",
        "equilibria.newton_steps.*",
        "equilibria.pinned_output.*",
        "equilibria.sides.*",
        "equilibria.smoothed.*",
        "equilibria.windows.*",
        "flow.compiled.*",
        "flow.corners.*",
        "flow.euler.*",
        "flow.exact_flow.Monitors",
        "flow.exact_flow.begin",
        "flow.exact_flow.change",
        "flow.exact_flow.elsewhere",
        "flow.exact_flow.follow",
        "flow.exact_flow.monitors",
        "flow.first_zero.*",
        "flow.flat.*",
        "flow.heat.rate_bound",
        "flow.heat.stable_step",
        "flow.heat.why_ended",
        "flow.quadratics.*",
        "training.chains.*",
        "training.descent.total_energy",
        "training.joint.descend",
        "training.joint.edge_energies",
        "training.joint.output_weight",
        "training.joint.runaway_limit",
        "training.objective.error",
        "training.objective.loss_*",
        "training.objective.output_energy",
        "circuits.currents.ohm",
        "circuits.currents.times",
        "circuits.messages.send_*",
        "circuits.mlp.*",
        "circuits.passes.*",
        "circuits.standardisation.*",
        "circuits.vertices.*",
        "diagnosis.cost.*",
        "diagnosis.frozen.*",
        "diagnosis.measures.*",
    ),
}
# What is left out: what is for the notebooks of this repository, and pictures of data that the
# library has made.
LEFT_OUT = ("companion", "plots")
BUT = "sheaflib.plots.explore"  # a person calls it
CALLED = ("__call__", "__getitem__", "__contains__")  # methods that a person calls by a sign


def inside(path):
    """The patterns of INSIDE that a path matches."""
    return [
        pattern
        for patterns in INSIDE.values()
        for pattern in patterns
        if fnmatchcase(path, pattern)
    ]


def parameters(function):
    """The names of the arguments of a function, method or class."""
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def methods(kind, path):
    """The methods of a class that take arguments: name -> function.

    Those of a base class count where the base is inside, since nobody would find them there.
    """
    for name in dir(kind):
        if name.startswith("_") and name not in CALLED:
            continue
        owner = next(base for base in kind.__mro__ if name in vars(base))
        if owner is not kind and not (
            owner.__module__.startswith("sheaflib.") and inside(of(owner))
        ):
            continue
        function = getattr(kind, name)
        if (inspect.isfunction(function) or inspect.ismethod(function)) and parameters(function):
            yield f"{path}.{name}", parameters(function)


def of(thing):
    """The path of a class or function within sheaflib."""
    return f"{thing.__module__}.{thing.__name__}".removeprefix("sheaflib.")


def offered():
    """Everything in sheaflib that can be called with arguments: path -> their names."""
    found = {}
    for module in pkgutil.walk_packages(sheaflib.__path__, "sheaflib."):
        if module.name.split(".")[1] in LEFT_OUT and module.name != BUT:
            continue
        for name, thing in vars(importlib.import_module(module.name)).items():
            own = getattr(thing, "__module__", None) == module.name and not name.startswith("_")
            if not own or not callable(thing):
                continue
            if inspect.isclass(thing):
                if issubclass(thing, BaseException):
                    continue
                found.update(methods(thing, of(thing)))
            if parameters(thing):
                found[of(thing)] = parameters(thing)
    return found
