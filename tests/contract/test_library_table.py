"""The table of layers in docs/library.md says what the library does: what training changes in each
layer, and which verbs cover a network that has it.
"""

import re
from itertools import islice

import numpy as np
import pytest

from sheaflib import (
    Affine,
    Clamp,
    MaxPool,
    Network,
    NeuralSheaf,
    PReLU,
    ReLU,
    Stack,
    equilibrium,
    exact_flow,
    hard,
    harmonic_extension,
    joint_flow,
    layers,
    relax,
)
from sheaflib.equilibria.enumeration import enumerate_equilibria
from tools.project import REPOSITORY

PAGE = (REPOSITORY / "docs" / "library.md").read_text(encoding="utf-8")
LINES = PAGE.split("| layer |")[1].split("\n\n")[0].split("\n")[2:]
SHAPE = (1, 3, 3)
RNG = np.random.default_rng(0)


def affine(n, m):
    """A dense layer with a bias."""
    return Affine(RNG.standard_normal((n, m)) / np.sqrt(m), 0.1 * RNG.standard_normal(n))


def ended(*nodes, n_in=9):
    """The nodes, then an affine map to two coordinates, a ReLU, and one to a single output."""
    width = nodes[-1][1].n_out
    ends = [("y1", affine(2, width)), ("b1", ReLU(2)), ("y2", affine(1, 2))]
    return Network(n_in, [*nodes, *ends])


def linear(operation):
    """A network whose first layer, "it", is this operation."""
    return ended(("it", operation), n_in=operation.n_in)


def selection(operation):
    """A network of a kinked layer, "it", behind an affine one."""
    return ended(("y0", affine(operation.n_in, 2)), ("it", operation), n_in=2)


def matrix_free():
    """A layer that is given by a function and its transpose."""
    weight = RNG.standard_normal((3, 2))
    return Affine.from_maps(lambda a: a @ weight.T, lambda e: e @ weight, (3, 2))


def branches(*after):
    """Two branches, read side by side."""
    nodes = [("l", affine(2, 2)), ("r", affine(2, 2), "x"), ("it", Stack(2, 2), ("l", "r"))]
    return ended(*nodes, *after, n_in=2)


KERNEL = RNG.standard_normal((1, 1, 2, 2))
POOL = MaxPool([[0, 1], [1, 2]], 3)
NETWORKS = {  # by what the second column names
    "Affine": linear(affine(3, 2)),
    "Affine.from_maps": linear(matrix_free()),
    "convolution": linear(layers.convolution(KERNEL, SHAPE, [0.1])[0]),
    "transposed": linear(layers.transposed(KERNEL, SHAPE, [0.1])[0]),
    "batch_norm": linear(layers.batch_norm([1.2], [0.1], [0.2], [0.9], pixels=9)),
    "average_pool": linear(layers.average_pool(SHAPE, 2, 1)[0]),
    "adaptive_average_pool": linear(layers.adaptive_average_pool(SHAPE, 2)[0]),
    "global_average_pool": linear(layers.global_average_pool(SHAPE)[0]),
    "pad": linear(layers.pad(SHAPE, 1)[0]),
    "upsample": linear(layers.upsample(SHAPE, 2)[0]),
    "Stack": branches(),
    "concatenation": ended(
        ("l", affine(4, 2)),
        ("r", affine(4, 2), "x"),
        ("it", layers.concatenation((1, 2, 2), (1, 2, 2))[0], ("l", "r")),
        n_in=2,
    ),
    "add": branches(("s", layers.add(2))),
    "ReLU": selection(ReLU(3, 0.1)),
    "PReLU": selection(PReLU(3, [0.1, -0.2, 0.3])),
    "Clamp": selection(Clamp(3, -0.2, 0.4)),
    "MaxPool": selection(POOL),
    "max_pool": selection(layers.max_pool((1, 2, 3), 2, 1)[0]),
    "adaptive_max_pool": selection(layers.adaptive_max_pool((1, 2, 3), (1, 2))[0]),
    "global_max_pool": selection(layers.global_max_pool((1, 2, 2))[0]),
}


def cells(line):
    """The cells of a line of the table."""
    return [cell.strip() for cell in re.split(r"\|", line)[1:-1]]


ROWS = [
    (name, changed, said)
    for _, made_by, changed, *said in map(cells, LINES)
    for name in re.findall(r"`([^`]+)`", made_by)
]


def heat(sheaf, x):
    """The flow without pins rests at the forward pass."""
    found = relax(sheaf, x, np.zeros((len(x), sheaf.N)), tol=1e-9, rest="step")
    np.testing.assert_allclose(found.output, sheaf.network(x), atol=1e-6)
    harmonic_extension(sheaf, x)


def rest(sheaf, x):
    """Newton's answer under a pin is a strict local minimum."""
    found = equilibrium(sheaf, x, pins=hard("y2", 0.5))
    assert found.converged.all() and found.certificate.minimum().all()


def every(sheaf, x):
    """Newton's answer is on the list of all equilibria."""
    known = enumerate_equilibria(sheaf, x, pins=hard("y2", 0.5)).minima
    found = equilibrium(sheaf, x, pins=hard("y2", 0.5)).cochain
    assert np.abs(known - found).max(axis=1).min() < 1e-9


def exact(sheaf, x):
    """The flow by events ends where all coordinates are at rest."""
    flow = exact_flow(sheaf, x, np.zeros((1, sheaf.N)), pins=hard("y2", 0.5))
    assert flow.solution.converged.all()


VERBS = (heat, rest, every, exact)


def test_the_table_has_the_layers_that_are_tried_here():
    assert sorted(name for name, *_ in ROWS) == sorted(NETWORKS)
    others = {"permutation"}  # said to be an Affine below the table
    functions = {name for name, thing in vars(layers).items() if callable(thing)}
    made = {name for name in functions if getattr(layers, name).__module__ == layers.__name__}
    assert {name for name in made if not name.startswith("_")} - others <= set(NETWORKS)
    assert isinstance(layers.permutation([1, 0]), Affine)


@pytest.mark.parametrize("name, changed, _", ROWS, ids=[name for name, *_ in ROWS])
def test_training_changes_what_the_table_says(name, changed, _):
    network = NETWORKS[name]
    sheaf, x = NeuralSheaf(network), RNG.standard_normal((4, network.n_in))
    # as many steps as the labels need to be felt at the first layer, and some more
    states = islice(joint_flow(sheaf, x, np.ones((4, 1)), every=20, dt=0.01), 2)
    if changed == "refuses":
        with pytest.raises(TypeError, match="matrix-free"):
            list(states)
        return
    first, second = states
    before, after = (state.network.parameters.get("it", {}) for state in (first, second))
    assert sorted(before) == ([] if changed == "nothing" else sorted(changed.split(", ")))
    assert all((np.asarray(before[part]) != np.asarray(after[part])).any() for part in before)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name, _, said", ROWS, ids=[name for name, *_ in ROWS])
def test_a_cell_says_which_verb_covers_a_layer(name, _, said, verb):
    network, cell = NETWORKS[name], said[VERBS.index(verb)]
    x = np.random.default_rng(1).standard_normal((1, network.n_in))
    if cell == "yes":
        verb(NeuralSheaf(network), x)
    elif cell == "separated":
        verb(NeuralSheaf(network.separated()), x)
    else:
        assert cell == "no"
        with pytest.raises(ValueError, match="use .*relax"):
            verb(NeuralSheaf(network), x)
