"""The fused step and the NumPy step of training are one flow, on the paper's networks and on any
chain; other graphs take the NumPy step.
"""

import numpy as np
import pytest
import scipy.sparse as sparse
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from training_cases import (
    OUTPUTS,
    assert_same_bits,
    chain,
    gap,
    nth,
    pose,
    problems,
    random_pins,
    theta,
)

from sheaflib import Affine, Network, NeuralSheaf, ReLU, Stack, hard, soft
from sheaflib.companion import tasks
from sheaflib.companion.experiments import TABLE_E1, initial, stalks
from sheaflib.layers import add
from sheaflib.sheaves.pins import resolve
from sheaflib.training.chains import (
    LANES,
    MAX_WEIGHTS,
    FusedDescentStepper,
    FusedJointStepper,
    can_fuse,
)
from sheaflib.training.descent import DescentStepper
from sheaflib.training.drivers import gradient_descent, joint_flow
from sheaflib.training.joint import JointStepper

TIGHT = 1e-10
STEPS = 100
ROWS = {
    **{name: (row["task"], row["widths"], 42, row["dt"]) for name, row in TABLE_E1.items()},
    "paraboloid-3h": ("paraboloid", "2x12x8x6x1", 0, 0.05),
}
CLASSES = [name for name, row in ROWS.items() if row[0] in ("circular", "blobs")]
pytestmark = pytest.mark.skipif(not can_fuse(Network.mlp([[[1.0]]])), reason="numba is not there")


def setting(name, n=100):
    """Sheaf, inputs, labels, start and dt of a row, for its first n samples."""
    task, widths, seed, dt = ROWS[name]
    sheaf, data = NeuralSheaf(initial(task, widths, seed, False)), tasks.task(task)
    start = stalks(sheaf, widths, 42, False, n) if sheaf.network.output.is_identity else None
    return sheaf, data.X_train[:n], data.Y_train[:n], start, dt


@pytest.mark.parametrize(
    "name, cold", [(name, 0) for name in ROWS] + [(name, 30) for name in CLASSES]
)
def test_every_network_of_table_e1(name, cold):
    """100 steps of the paper's runs, with a third of the samples; "cold" passes three resets and 10
    steps after the last.
    """
    sheaf, x, y, start, dt = setting(name)
    fused, numpy = (
        nth(joint_flow(sheaf, x, y, start=start, dt=dt, cold=cold, every=STEPS, stepper=stepper), 1)
        for stepper in (None, JointStepper)
    )
    assert gap(fused, numpy) < TIGHT
    # it went somewhere
    assert gap(fused, nth(joint_flow(sheaf, x, y, start=start, dt=dt, every=1), 0)) > 1e-3


@pytest.mark.parametrize("name", ROWS)
def test_gradient_descent_on_every_network_of_table_e1(name):
    sheaf, x, y, *_ = setting(name)
    fused, numpy = (
        nth(gradient_descent(sheaf, x, y, lr=0.01, every=STEPS, stepper=stepper), 1)
        for stepper in (None, DescentStepper)
    )
    assert gap(fused, numpy) < TIGHT
    assert abs(theta(fused.network) - theta(sheaf.network)).max() > 1e-3


@examples(12)
@given(
    problem=problems(batches=(1, 2, 7, 16, 17)),
    cold=st.sampled_from([0, 0, 15]),
    alpha=st.sampled_from([0.5, 1.0, 2.0]),
    speed=st.sampled_from([0.0, 1.0, 5.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_chain_with_edge_weights_slopes_and_pins(problem, cold, alpha, speed, seed):
    sheaf, x, y, start = problem
    options = {
        "beta": speed / len(x),
        "dt": 0.01,
        "alpha": alpha,
        "cold": cold,
        "every": 50,
        "pins": random_pins(problem, np.random.default_rng(seed)),
    }
    fused, numpy = (
        nth(joint_flow(sheaf, x, y, start=start, stepper=stepper, **options), 1)
        for stepper in (FusedJointStepper, JointStepper)
    )
    assert gap(fused, numpy) < TIGHT * (1 + abs(numpy.stalks).max())


@examples(12)
@given(problems(batches=(1, 2, 7, 16, 17), weighted=False))
def test_gradient_descent_on_any_chain(problem):
    fused, numpy = (
        nth(
            gradient_descent(
                problem.sheaf, problem.x, problem.y, lr=0.01, every=30, stepper=stepper
            ),
            1,
        )
        for stepper in (FusedDescentStepper, DescentStepper)
    )
    assert gap(fused, numpy) < TIGHT * (1 + abs(numpy.stalks).max())


@pytest.mark.parametrize("kind", [hard, soft])
def test_pins_on_the_last_stalk(kind):
    """The output edge pulls there too."""
    problem = pose(
        chain([2, 6, 5, 3], np.random.default_rng(1), "softmax"), np.random.default_rng(2), 17
    )
    last, options = np.random.default_rng(3).standard_normal((17, 3)), {"beta": 0.1, "every": 100}
    pin = kind("z3", last, *[0.7] * (kind is soft))
    fused, numpy, free = (
        nth(joint_flow(*problem[:3], start=problem[3], pins=pins, stepper=stepper, **options), 1)
        for stepper, pins in ((None, pin), (JointStepper, pin), (None, ()))
    )
    assert gap(fused, numpy) < TIGHT
    assert gap(fused, free) > 0.1


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("n_batch", [1, 7, 16, 300, LANES, LANES + 1, 700])
def test_blocks_and_empty_lanes(n_batch, output):
    """One to three blocks, full or not; what fills them up stays where it was put, at zero."""
    rng = np.random.default_rng(n_batch)
    problem = pose(chain([2, 5, 3, 3], rng, output, [0.1, 0.0, 0.0]), rng, n_batch, weighted=True)
    pins = resolve(
        problem.sheaf,
        [hard("z1", 0.4, at=1), soft("a2", rng.standard_normal((n_batch, 3)), 0.5)],
        n_batch,
    )
    fused, numpy = (
        stepper(*problem, 1 / n_batch, 0.02, 1.0, pins)
        for stepper in (FusedJointStepper, JointStepper)
    )
    for flow in (fused, numpy):
        flow.advance(20)
    assert abs(fused.state()[1] - numpy.state()[1]).max() < TIGHT
    assert abs(theta(fused.state()[0].network) - theta(numpy.state()[0].network)).max() < TIGHT
    lanes = fused.stalks.transpose(0, 2, 1).reshape(-1, problem.sheaf.N)
    assert len(lanes) >= n_batch and not lanes[n_batch:].any()
    descents = [
        nth(
            gradient_descent(
                problem.sheaf, problem.x, problem.y, lr=0.02, every=20, stepper=stepper
            ),
            1,
        )
        for stepper in (FusedDescentStepper, DescentStepper)
    ]
    assert gap(*descents) < TIGHT


# other graphs
# --------------------------------------------------------------------------------------------------


def branches(rng):
    """Two branches of one hidden layer side by side, and the chain that computes the same: (dag,
    chain).
    """
    U, V, W = (
        Affine(rng.standard_normal(shape), rng.standard_normal(shape[0]))
        for shape in ((4, 2), (3, 2), (1, 7))
    )
    dag = Network(
        2, [("u", U, "x"), ("v", V, "x"), ("p", Stack(4, 3), ("u", "v")), ("a", ReLU(7)), ("z", W)]
    )
    return dag, Network.mlp(
        [np.vstack([U.weight, V.weight]), W.weight], [np.hstack([U.bias, V.bias]), W.bias]
    )


def test_gradient_descent_on_a_dag_is_that_of_the_chain_that_computes_the_same():
    rng = np.random.default_rng(4)
    (dag, line), x, y = branches(rng), rng.standard_normal((9, 2)), rng.standard_normal((9, 1))
    assert not can_fuse(dag) and can_fuse(line)
    one, other = (
        nth(gradient_descent(NeuralSheaf(network), x, y, lr=0.01, every=200), 1)
        for network in (dag, line)
    )
    moved = {node.name: node.operation.weight for node in one.network.affine_nodes}
    np.testing.assert_allclose(
        np.vstack([moved["u"], moved["v"]]), other.network.nodes[0].operation.weight, atol=TIGHT
    )
    np.testing.assert_allclose(moved["z"], other.network.nodes[2].operation.weight, atol=TIGHT)
    assert abs(moved["u"] - dag.nodes[0].operation.weight).max() > 0.01


def test_a_merge_pulls_on_its_parts_like_the_affine_map_that_merges():
    """Without motion of the weights a Stack is an edge with W = I, and `add` one with W = [I I]."""
    rng = np.random.default_rng(5)
    dag, _ = branches(rng)
    first = Affine(
        np.vstack([dag.nodes[0].operation.weight, dag.nodes[1].operation.weight]),
        np.hstack([dag.nodes[0].operation.bias, dag.nodes[1].operation.bias]),
    )
    total, last = [*zip(np.arange(2), np.arange(2) + 2)], Affine(rng.standard_normal((1, 2)))
    merged = Network(
        2, [*dag.nodes[:-1], ("q", Stack(2, 2), ("x", "x")), ("s", add(2)), ("z", last)]
    )
    dense = Network(
        2,
        [
            ("z1", first),
            ("p", Affine(np.eye(7))),
            ("a", ReLU(7)),
            ("q", Affine(np.eye(2)[[0, 1, 0, 1]]), "x"),
            ("s", Affine(np.array([[float(j in pair) for j in range(4)] for pair in total]))),
            ("z", last),
        ],
    )
    x = rng.standard_normal((4, 2))
    y = rng.standard_normal((4, 1))
    start = rng.standard_normal((4, NeuralSheaf(merged).N))
    one, other = (
        nth(joint_flow(NeuralSheaf(network), x, y, start=start, beta=0, dt=0.02, every=100), 1)
        for network in (merged, dense)
    )
    assert abs(one.stalks - other.stalks).max() < TIGHT
    assert abs(one.stalks - start).max() > 0.1


def test_a_sparse_map_with_every_entry_stored_is_the_dense_one():
    rng = np.random.default_rng(6)
    problem = pose(chain([2, 4, 3, 2], rng, "sigmoid"), rng, 6)
    nodes = [
        (
            n.name,
            (
                Affine(sparse.csr_array(n.operation.weight), n.operation.bias)
                if n.name == "z2"
                else n.operation
            ),
        )
        for n in problem.sheaf.network.nodes
    ]
    loose = Network(2, nodes, "sigmoid")
    assert not can_fuse(loose)
    one, other = (
        nth(
            joint_flow(NeuralSheaf(network), *problem[1:3], start=problem[3], every=100, cold=40), 1
        )
        for network in (loose, problem.sheaf.network)
    )
    assert gap(one, other) < TIGHT
    assert sparse.issparse(one.network.nodes[2].operation.weight)


@pytest.mark.parametrize(
    "network, fuses",
    [
        (Network.mlp([[[1.0]]]), True),
        (Network(1, [("z", Affine([[1.0]])), ("a", ReLU(1))]), False),
        (
            Network(1, [("z", Affine([[1.0]])), ("w", Affine([[1.0]])), ("v", Affine([[1.0]]))]),
            False,
        ),
        (Network(1, [("z", Affine([[1.0]])), ("a", ReLU(1), "x"), ("v", Affine([[1.0]]))]), False),
        (Network.mlp([np.ones((MAX_WEIGHTS, 1)), np.ones((1, MAX_WEIGHTS))]), False),
    ],
    ids=["layer", "ends in ReLU", "no ReLU", "skips", "large"],
)
def test_which_engine_is_the_default(network, fuses):
    assert can_fuse(network) == fuses
    if network.nodes[-1].operation.n_in > 9:
        return
    default, numpy, fused = (
        nth(
            joint_flow(
                NeuralSheaf(network),
                [[1.0]],
                [[2.0]],
                start=np.ones((1, len(network.nodes))),
                every=20,
                stepper=stepper,
            ),
            1,
        )
        for stepper in (None, JointStepper, FusedJointStepper if fuses else None)
    )
    assert_same_bits(default, fused if fuses else numpy)
