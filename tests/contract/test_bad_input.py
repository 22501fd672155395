"""Every bad input is refused with the argument's name, what came, and what was expected; every
harmless form is accepted.
"""

import numpy as np
import pytest
import scipy.sparse as sparse

from sheaflib import (
    Affine,
    CellularSheaf,
    HeatUnstable,
    MaxPool,
    Network,
    NeuralSheaf,
    Node,
    Output,
    ReLU,
    Stack,
    backpropagate,
    backward_substitution,
    equilibrium,
    exact_flows,
    forward_substitution,
    hard,
    harmonic_extension,
    heat,
    joint_flow,
    relax,
    soft,
)
from sheaflib.companion.tasks import heat_run, paper_network, task
from sheaflib.layers import add, average_pool, batch_norm, convolution, max_pool
from sheaflib.linear import spectrum
from sheaflib.sheaves import discord
from sheaflib.sheaves.pins import resolve

NET = Network.mlp([[[1, 2], [3, 4], [5, 6]], [[1, -1, 1]]])
SHEAF = NeuralSheaf(NET)
X = np.array([[1.0, 0.5]])
W = np.zeros((1, 7))
NAN, INF = float("nan"), float("inf")
PATH = [("a", "b", [[1]], [[1]])]


def mlp(*weights, biases=None):
    return lambda: Network.mlp(weights, biases)


def flow(**options):
    return lambda: relax(SHEAF, **{"x": X, "start": W, "max_steps": 1, **options})


def pinned(*pins, x=X):
    return lambda: harmonic_extension(SHEAF, x, pins=pins)


BAD = {
    # weights and layers
    "NaN weight": (
        mlp([[1, NAN]]),
        ValueError,
        r"layer 1: weight must be finite, got nan at index \(0, 1\)",
    ),
    "infinite weight": (
        mlp([[1, 2]], [[INF]]),
        ValueError,
        r"layer 2: weight must be finite, got inf at index \(0, 0\)",
    ),
    "NaN sparse weight": (
        lambda: Affine(sparse.csr_array([[NAN]])),
        ValueError,
        r"weight.* must be finite, got nan",
    ),
    "infinite bias": (
        mlp([[1, 2]], biases=[[-INF]]),
        ValueError,
        r"layer 1: bias must be finite, got -inf",
    ),
    "ragged weight": (mlp([[1, 2], [3]]), ValueError, r"layer 1: weight is ragged"),
    "ragged layers": (
        mlp([[1, 2]], [[1, 2, 3]]),
        ValueError,
        r"layer 2: weight has shape \(1, 3\), expected \(any, 1\)",
    ),
    "transposed layer": (
        mlp([[1, 2]] * 4, [[1], [1], [1], [1]]),
        ValueError,
        (
            r"layer 2: weight has shape \(4, 1\), expected \(any, 4\): layer 1 is 4 wide \(it looks"
            r" transposed: pass weight\.T\)"
        ),
    ),
    "1-D weight": (mlp([1, 2]), ValueError, r"weight has shape \(2,\), expected \(n_out, n_in\)"),
    "1-D sparse weight": (
        lambda: Affine(sparse.coo_array([1.0, 2.0])),
        ValueError,
        r"weight has shape \(2,\), expected \(n_out, n_in\)",
    ),
    "empty weight": (mlp(np.zeros((0, 2))), ValueError, r"weight has shape \(0, 2\)"),
    "empty sparse weight": (
        lambda: Affine(sparse.csr_array((0, 3))),
        ValueError,
        r"weight has shape \(0, 3\)",
    ),
    "wrong bias": (
        mlp([[1, 2]], biases=[[1, 2]]),
        ValueError,
        r"layer 1: bias has shape \(2,\), expected \(1,\)",
    ),
    "too few biases": (mlp([[1, 2]], biases=[]), ValueError, r"got 1 weights and 0 biases"),
    "a bias beside an Affine": (mlp(Affine([[1.0]]), biases=[[5.0]]), ValueError, r"layer 1: bias"),
    "no layers": (mlp(), ValueError, r"got 0 weights .* at least one"),
    "complex weight": (
        mlp([[1j, 2]]),
        TypeError,
        r"layer 1: weight has dtype complex128, expected real",
    ),
    "string weight": (
        mlp([["1", "2"]]),
        TypeError,
        r"layer 1: weight has dtype <U1, expected real",
    ),
    "object weight": (
        mlp(np.array([[None, 1]])),
        TypeError,
        r"layer 1: weight has dtype object, expected real",
    ),
    "complex sparse weight": (
        lambda: Affine(sparse.csr_array([[1j]])),
        TypeError,
        r"weight.* has dtype complex128",
    ),
    "unknown output": (
        lambda: Network.mlp([[[1]]], output="tanh"),
        ValueError,
        r"output='tanh' is unknown, expected one of identity, sigmoid, softmax",
    ),
    "he dims": (
        lambda: Network.he([2, 0], np.random.default_rng(0)),
        ValueError,
        r"dims=0 must be ≥ 1",
    ),
    "he fraction": (
        lambda: Network.he([2, 1.5], np.random.default_rng(0)),
        TypeError,
        r"dims=1\.5 must be a whole number",
    ),
    "he too short": (
        lambda: Network.he([2], np.random.default_rng(0)),
        ValueError,
        r"dims=\[2\] must hold at least the input and the output",
    ),
    # graphs
    "no nodes": (
        lambda: Network(1, []),
        ValueError,
        r"nodes is \[\], expected a list of at least one",
    ),
    "unknown input": (
        lambda: Network(1, [("z", Affine([[1]]), "y")]),
        ValueError,
        r"node 'z' reads 'y', expected one of .*: x",
    ),
    "reads itself": (lambda: Network(1, [("z", ReLU(1), "z")]), ValueError, r"node 'z' reads 'z'"),
    "repeated name": (
        lambda: Network(1, [("z", ReLU(1)), ("z", ReLU(1))]),
        ValueError,
        r"node name 'z' is taken, expected a new name",
    ),
    "reserved name": (
        lambda: Network(1, [("a_out", ReLU(1))]),
        ValueError,
        r"node name 'a_out' is taken",
    ),
    "wrong width": (
        lambda: Network(2, [("a", ReLU(3))]),
        ValueError,
        r"node 'a' .*reads widths \(3,\), but x has \(2,\)",
    ),
    "wrong stack": (
        lambda: Network(2, [("a", ReLU(2)), ("p", Stack(2, 3), ("a", "x"))]),
        ValueError,
        r"node 'p' .*\(2, 3\).*\(2, 2\)",
    ),
    "not an operation": (
        lambda: Network(2, [("a", np.tanh)]),
        TypeError,
        r"node 'a' holds ufunc, expected an operation, as Affine, ReLU, MaxPool, Stack",
    ),
    "bare name": (
        lambda: Network(2, [("a",)]),
        ValueError,
        r"nodes holds \('a',\), expected \(name, operation\)",
    ),
    "stack of one": (lambda: Stack(2), ValueError, r"merges at least two parts, got dims \(2,\)"),
    "window out of range": (
        lambda: MaxPool([[0, 4]], 4),
        ValueError,
        r"windows holds 0 … 4, expected indices in 0 … 3",
    ),
    "window shape": (
        lambda: MaxPool([0, 1], 4),
        ValueError,
        r"windows has shape \(2,\).*expected \(n_out, k\) integers",
    ),
    "ReLU width": (lambda: ReLU(0), ValueError, r"n=0 must be ≥ 1"),
    "ReLU slope": (lambda: ReLU(1, NAN), ValueError, r"slope must be finite, got nan"),
    "kernel channels": (
        lambda: convolution(np.ones((1, 2, 2, 2)), (1, 3, 3)),
        ValueError,
        r"kernel has shape \(1, 2, 2, 2\), expected \(any, 1, any, any\)",
    ),
    "kernel too large": (
        lambda: convolution(np.ones((1, 1, 4, 4)), (1, 3, 3)),
        ValueError,
        r"window \(4, 4\) does not fit .*\(1, 3, 3\)",
    ),
    "stride 0": (
        lambda: convolution(np.ones((1, 1, 2, 2)), (1, 3, 3), stride=0),
        ValueError,
        r"stride=0 must be ≥ 1",
    ),
    "padding −1": (
        lambda: convolution(np.ones((1, 1, 2, 2)), (1, 3, 3), padding=-1),
        ValueError,
        r"padding=-1 must be ≥ 0",
    ),
    "pool too large": (lambda: max_pool((1, 3, 3), 4), ValueError, r"window \(4, 4\) does not fit"),
    "average pool stride": (
        lambda: average_pool((1, 3, 3), 2, 1.5),
        TypeError,
        r"stride=1\.5 must be a whole number",
    ),
    "negative variance": (
        lambda: batch_norm([1], [0], [0], [-1]),
        ValueError,
        r"variance must be ≥ 0, got -1",
    ),
    "batch norm beyond float64": (
        lambda: batch_norm([1, 1e300], [0, 0], [0, 1e100], [1, 0], eps=1e-20),
        ValueError,
        r"scale/√\(variance \+ eps\), or its product with mean, is too large .* in channel 1",
    ),
    "batch norm shapes": (
        lambda: batch_norm([1], [0, 1], [0], [1]),
        ValueError,
        r"shift has shape \(2,\), expected \(1,\)",
    ),
    "add one part": (lambda: add(2, 1), ValueError, r"parts=1 must be ≥ 2"),
    # inputs
    "wrong width of x": (
        lambda: NET([[1, 2, 3]]),
        ValueError,
        r"x has the wrong shape: got \(1, 3\), expected \(B, 2\)",
    ),
    "1-D x": (lambda: NET([1, 2]), ValueError, r"got \(2,\), expected \(B, 2\): use x\[None\]"),
    "1-D x of the wrong width": (
        lambda: NET([1, 2, 3]),
        ValueError,
        r"x has the wrong shape: got \(3,\), expected \(B, 2\)",
    ),
    "3-D x": (
        lambda: NET(np.zeros((1, 1, 2))),
        ValueError,
        r"x has the wrong shape: got \(1, 1, 2\), expected \(B, 2\)",
    ),
    "empty batch": (
        lambda: NET(np.zeros((0, 2))),
        ValueError,
        r"x is an empty batch: got \(0, 2\), expected \(B, 2\) with B ≥ 1",
    ),
    "NaN in x": (
        lambda: harmonic_extension(SHEAF, [[1, NAN]]),
        ValueError,
        r"x must be finite, got nan at index \(0, 1\)",
    ),
    "inf in x": (
        lambda: SHEAF.forward([[INF, 1]]),
        ValueError,
        r"x must be finite, got inf at index \(0, 0\)",
    ),
    "complex x": (
        lambda: NET([[1j, 1]]),
        TypeError,
        r"x has dtype complex128, expected real numbers",
    ),
    "object x": (
        lambda: NET(np.array([[None, 1]])),
        TypeError,
        r"x has dtype object, expected real numbers",
    ),
    "string x": (lambda: NET([["1", "2"]]), TypeError, r"x has dtype <U1, expected real numbers"),
    "ragged x": (lambda: NET([[1, 2], [3]]), ValueError, r"x is ragged"),
    # cochains, patterns, edge weights
    "narrow cochain": (
        lambda: SHEAF.energy(np.zeros((1, 6)), X),
        ValueError,
        r"w has the wrong shape: got \(1, 6\), expected \(B, 7\)",
    ),
    "1-D cochain": (
        lambda: SHEAF.discrepancy(np.zeros(7), X),
        ValueError,
        r"got \(7,\), expected \(B, 7\): use w\[None\]",
    ),
    "NaN cochain": (
        lambda: discord.total(SHEAF, W * NAN, X),
        ValueError,
        r"w must be finite, got nan",
    ),
    "more cochains than inputs": (
        lambda: SHEAF.energy(np.zeros((2, 7)), np.zeros((3, 2))),
        ValueError,
        r"\bw\b.*2.*(rows|\(B).*3|\bx\b.*3.*2",
    ),
    "one cochain, three inputs": (
        lambda: SHEAF.discrepancy(W, np.zeros((3, 2))),
        ValueError,
        r"\bw\b.*1.*(rows|\(B).*3|\bx\b.*3.*1",
    ),
    "short pattern": (
        lambda: SHEAF.coboundary([True, False]),
        ValueError,
        r"pattern has shape \(2,\), expected \(3,\) or \(B, 3\)",
    ),
    "long pattern": (
        lambda: harmonic_extension(SHEAF, X, pattern=[[True] * 4]),
        ValueError,
        r"pattern has shape \(1, 4\), expected \(3,\) or \(B, 3\)",
    ),
    "patterns of another batch": (
        lambda: harmonic_extension(SHEAF, np.zeros((3, 2)), pattern=np.ones((2, 3))),
        ValueError,
        r"pattern has (shape \(2, 3\)|2 rows), expected",
    ),
    "two patterns for a matrix": (
        lambda: SHEAF.laplacian(np.ones((2, 3))),
        ValueError,
        r"pattern has shape \(2, 3\), expected one pattern \(3,\)",
    ),
    "pattern outside the cube": (
        lambda: SHEAF.coboundary([2, 0, 1]),
        ValueError,
        r"pattern of 'a1' must lie in \[0, 1\], got 0 … 2",
    ),
    "NaN pattern": (
        lambda: SHEAF.coboundary([NAN, 0, 1]),
        ValueError,
        r"pattern must be finite, got nan",
    ),
    "string pattern": (
        lambda: SHEAF.coboundary(["a", "b", "c"]),
        TypeError,
        r"pattern has dtype <U1",
    ),
    "max-pool place": (
        lambda: NeuralSheaf(Network(2, [("m", MaxPool([[0, 1]], 2))])).coboundary([2]),
        ValueError,
        r"pattern of 'm' .*0 … 1, got 2 … 2",
    ),
    "wrong injections": (
        lambda: forward_substitution(SHEAF, np.zeros((1, 6)), [1, 1, 1]),
        ValueError,
        r"f has the wrong shape: got \(1, 6\), expected \(B, 7\)",
    ),
    "wrong sensitivities": (
        lambda: backward_substitution(SHEAF, np.zeros(7), [1, 1, 1]),
        ValueError,
        r"got \(7,\), expected \(B, 7\): use g\[None\]",
    ),
    "wrong output gradient": (
        lambda: backpropagate(SHEAF, X, [[1, 2]]),
        ValueError,
        r"g has the wrong shape: got \(1, 2\), expected \(B, 1\)",
    ),
    "gradients of another batch": (
        lambda: backpropagate(SHEAF, X, [[1], [2]]),
        ValueError,
        r"\bg\b.*2.*(rows|\(B).*1",
    ),
    "negative edge weight": (
        lambda: NeuralSheaf(NET, -1),
        ValueError,
        r"edge_weights=-1 must be > 0",
    ),
    "zero edge weight": (
        lambda: NeuralSheaf(NET, {"affine_1": 0}),
        ValueError,
        r"edge_weights\['affine_1'\]=0 must be > 0",
    ),
    "NaN edge weight": (
        lambda: NeuralSheaf(NET, {"affine_2": NAN}),
        ValueError,
        r"edge_weights\['affine_2'\] must be finite, got nan",
    ),
    "unknown edge": (
        lambda: NeuralSheaf(NET, {"affine_3": 1}),
        ValueError,
        r"edge_weights names 'affine_3', expected one of affine_1, activation_1, affine_2",
    ),
    "complex edge weight": (
        lambda: NeuralSheaf(NET, 1j),
        TypeError,
        r"edge_weights has dtype complex128",
    ),
    "unknown stalk": (
        lambda: harmonic_extension(SHEAF, X)["z3"],
        ValueError,
        r"stalk 'z3' is unknown, expected one of z1, a1, z2",
    ),
    "parts missing": (
        lambda: SHEAF.layout.join({"z1": np.zeros((1, 3))}),
        ValueError,
        r"parts lacks a1, z2",
    ),
    # pins
    "pin on an unknown stalk": (
        pinned(hard("z9", 0)),
        ValueError,
        r"stalk 'z9' is unknown, expected one of z1, a1, z2",
    ),
    "pin on a_out of an identity output": (
        pinned(hard("a_out", 0)),
        ValueError,
        r"stalk 'a_out' is unknown",
    ),
    "pin out of range": (
        pinned(hard("z1", 0, at=3)),
        ValueError,
        r"pin at=3 is out of range: 'z1' has coordinates 0 … 2",
    ),
    "pin far below": (
        pinned(hard("z1", 0, at=-4)),
        ValueError,
        r"pin at=-4 is out of range: 'z1' has coordinates 0 … 2",
    ),
    "pin at a fraction": (lambda: hard("z1", 0, at=0.7), TypeError, r"at=0\.7"),
    "pin of the wrong length": (
        pinned(hard("z1", [1, 2])),
        ValueError,
        r"pin value on 'z1' has shape \(2,\), expected a number, \(3,\) or \(1, 3\)",
    ),
    "pins of another batch": (
        pinned(hard("z1", np.zeros((2, 3)))),
        ValueError,
        r"pin value on 'z1' has shape \(2, 3\), expected a number, \(3,\) or \(1, 3\)",
    ),
    "NaN pin": (lambda: hard("z1", NAN), ValueError, r"value must be finite, got nan"),
    "complex pin": (lambda: hard("z1", 1j), TypeError, r"value has dtype complex128"),
    "contradiction": (
        pinned(hard("z1", 1, at=0), hard("z1", 2)),
        ValueError,
        r"two hard pins contradict on z1\[0\]: 1 and 2",
    ),
    "contradiction in the second sample": (
        pinned(hard("z2", [[1], [3]]), hard("z2", [[1], [4]]), x=np.zeros((2, 2))),
        ValueError,
        r"two hard pins contradict on z2\[0\].*: 3 and 4",
    ),
    "negative γ": (lambda: soft("z1", 0, gamma=-1), ValueError, r"gamma=-1 must be > 0"),
    "zero γ": (lambda: soft("z1", 0, gamma=0), ValueError, r"gamma=0 must be > 0"),
    "infinite γ": (lambda: soft("z1", 0, gamma=INF), ValueError, r"gamma must be finite, got inf"),
    "not a pin": (
        pinned(("z1", 0)),
        TypeError,
        r"pins holds \('z1', 0\), expected pins made by hard\(…\) or soft\(…\)",
    ),
    # the flow
    "dt = 0": (flow(dt=0), ValueError, r"dt=0 must be > 0"),
    "negative dt": (flow(dt=-0.1), ValueError, r"dt=-0\.1 must be > 0"),
    "NaN dt": (flow(dt=NAN), ValueError, r"dt must be finite, got nan"),
    "string dt": (flow(dt="0.1"), TypeError, r"dt has dtype <U3"),
    "negative α": (flow(alpha=-1), ValueError, r"alpha=-1 must be > 0"),
    "tol = 0 for relax": (flow(tol=0), ValueError, r"tol=0 must be > 0"),
    "tol = 1 relative to the terms": (
        flow(tol=1),
        ValueError,
        r"tol=1 must be < 1: it is relative .*rest=\"step\"",
    ),
    "unknown rule": (
        flow(rest="never"),
        ValueError,
        r"rest='never' is unknown, expected one of velocity, step",
    ),
    "no rule": (lambda: heat(SHEAF, X, W, rest=None), ValueError, r"rest=None is unknown"),
    "tol = 0 for the paper's rule": (flow(tol=0, rest="step"), ValueError, r"tol=0 must be > 0"),
    "negative tol": (lambda: heat(SHEAF, X, W, tol=-1), ValueError, r"tol=-1 must be ≥ 0"),
    "every = 0": (flow(every=0), ValueError, r"every=0 must be ≥ 1"),
    "max_steps = ½": (flow(max_steps=0.5), TypeError, r"max_steps=0\.5 must be a whole number"),
    "unknown force": (
        flow(output_force="none"),
        ValueError,
        r"output_force='none' is unknown, expected one of jacobian, identity",
    ),
    "start of another batch": (
        flow(start=np.zeros((2, 7))),
        ValueError,
        r"start has 2 rows, expected 1",
    ),
    "narrow start": (
        flow(start=np.zeros((1, 5))),
        ValueError,
        r"start has the wrong shape: got \(1, 5\), expected \(B, 7\)",
    ),
    "NaN start": (flow(start=W * NAN), ValueError, r"start must be finite, got nan"),
    "logits of the wrong length": (
        lambda: spectrum.eigenvalues(
            NeuralSheaf(Network.mlp([[[1]]], output="sigmoid")), [], z=[1, 2]
        ),
        ValueError,
        r"z has shape \(2,\), expected \(1, 1\): the logits of every sample",
    ),
    # general sheaves
    "restriction map": (
        lambda: CellularSheaf({"a": 2, "b": 1}, PATH),
        ValueError,
        r"restriction map from 'a' to edge 'a-b' has shape \(1, 1\), expected \(1, 2\)",
    ),
    "unknown vertex": (
        lambda: CellularSheaf({"a": 1}, PATH),
        ValueError,
        r"names the vertex 'b', expected one of vertices: a",
    ),
    "negative stalk": (
        lambda: CellularSheaf({"a": -1}, []),
        ValueError,
        r"vertices\['a'\]=-1 must be ≥ 0",
    ),
    "negative weight": (
        lambda: CellularSheaf({"a": 1, "b": 1}, [(*PATH[0], -1.0)]),
        ValueError,
        r"weight of edge 'a-b'=-1 must be > 0",
    ),
    "parallel edges": (
        lambda: CellularSheaf({"a": 1, "b": 1}, PATH * 2),
        ValueError,
        r"edges repeat a name",
    ),
    "NaN map": (
        lambda: CellularSheaf({"a": 1, "b": 1}, [("a", "b", [[NAN]], [[1]])]),
        ValueError,
        r"restriction map of a-b must be finite",
    ),
    "boundary of the wrong length": (
        lambda: CellularSheaf({"a": 1, "b": 1}, PATH).harmonic_extension({"a": [1, 2]}),
        ValueError,
        r"boundary\['a'\] has shape \(2,\), expected \(1,\)",
    ),
    "boundary place": (
        lambda: CellularSheaf({"a": 1, "b": 1}, PATH).harmonic_extension({"a": ([3], [1.0])}),
        ValueError,
        r"boundary\['a'\]|at=3|3 is out of range",
    ),
    # data
    "unknown run": (
        lambda: heat_run("4x4"),
        ValueError,
        r"heat run '4x4' is unknown, expected one of 2x4x1",
    ),
    "unknown task": (
        lambda: task("moons"),
        ValueError,
        r"task 'moons' is unknown, expected paraboloid",
    ),
    "unknown weights": (
        lambda: paper_network("2x9x1", 0),
        ValueError,
        r"no recorded weights for widths='2x9x1', seed=0; expected one of",
    ),
}


@pytest.mark.parametrize("call, exception, message", BAD.values(), ids=BAD)
def test_refused_by_name(call, exception, message):
    with pytest.raises(exception, match=message):
        call()


# dt: refused where it cannot converge, run where it may, stopped where it does not
# ----------------------------------------

# bound 4; λ_max = 4 sin²(5π/14) = 3.2470 when active
CROOKED = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]]))


def test_a_step_beyond_2_over_lambda_max_is_refused_with_both_numbers():
    with pytest.raises(
        ValueError,
        match=(
            r"dt=0\.7 is unstable: Euler needs dt < 2/\(α·λ_max\) = 0\.616 here \(α = 1, λ_max ="
            r" 3\.247 "
            r"at the harmonic extension\); use dt=0\.5\d, or dt < 0\.5,"
        ),
    ):
        relax(CROOKED, [[1.0]], np.zeros((1, 3)), dt=0.7)
    with pytest.raises(
        ValueError, match=r"dt=0\.35 is unstable: .* = 0\.308 here \(α = 2, λ_max = 3\.247"
    ):
        heat(CROOKED, [[1.0]], np.zeros((1, 3)), dt=0.35, alpha=2.0)


def test_with_pins_the_start_decides():
    """z² pinned: L on (z¹, a¹) is [[2, −1], [−1, 2]] when active (λ_max = 3) and diag(1, 2) when
    not.
    """
    pin = hard("z2", 1.0)
    with pytest.raises(
        ValueError, match=r"2/\(α·λ_max\) = 0\.667 here \(α = 1, λ_max = 3 at the start\)"
    ):
        relax(CROOKED, [[1.0]], [[1.0, 1.0, 1.0]], dt=0.7, pins=pin)
    with pytest.raises(
        ValueError, match=r"2/\(α·λ_max\) = 1 here \(α = 1, λ_max = 2 at the start\)"
    ):
        relax(CROOKED, [[1.0]], [[-1.0, 1.0, 1.0]], dt=1.0, pins=pin)


def test_between_the_bound_and_that_value_it_runs_and_converges():
    """2/bound = 0.5 < dt = 0.6 < 2/λ_max = 0.616."""
    solution = relax(CROOKED, [[1.0]], [[1.1, 0.9, 1.2]], dt=0.6, tol=1e-13)
    np.testing.assert_allclose(solution.cochain, [[1.0, 1.0, 1.0]], atol=1e-9)


@pytest.mark.parametrize("engine", [None, "numpy"])
def test_growth_stops_with_step_edge_and_energy(engine):
    from sheaflib.flow.euler import EulerStepper

    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[10.0], [0.0]]))
    with pytest.raises(
        HeatUnstable,
        match=(
            r"energy grew to \d+.* at step \d+ of sample 1, most of it on edge"
            r" (affine|activation)_\d.*dt=0\.9"
        ),
    ):
        relax(
            sheaf,
            [[-20.0], [0.0]],
            [[-10.0, 0.0, 0.0], [-0.01, 0.0, 10.0]],
            dt=0.9,
            pins=hard("z2", [[0.0], [10.0]]),
            stepper=EulerStepper if engine else None,
        )


@pytest.mark.parametrize("scale", [1e150, 1e200, 1e300])
@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")
def test_a_flow_never_returns_nan(scale):
    """From a start so large that V overflows, either the flow stops with a reason or what it
    returns is finite.
    """
    sheaf = NeuralSheaf(Network.mlp([[[1.0]], [[1.0]]], [[10.0], [0.0]]))
    try:
        solution = relax(
            sheaf,
            [[0.0]],
            np.array([[-1e-3, 1.0, 1.0]]) * scale,
            dt=0.9,
            pins=hard("z2", 10.0),
            max_steps=5000,
        )
    except (HeatUnstable, ValueError) as stopped:
        assert "nan" not in str(stopped)
    else:
        assert np.isfinite(solution.cochain).all()


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")
def test_an_overflowing_forward_pass_is_not_called_a_solution():
    network = Network.mlp([[[1e200], [1e200]], [[1e200, -1e200]], [[1.0]]])
    with pytest.raises((ValueError, ArithmeticError)):
        harmonic_extension(NeuralSheaf(network), [[1.0]])


# harmless forms
# --------------------------------------------------------------------------------------------------

FORMS = {
    "list": lambda a: np.asarray(a).tolist(),
    "tuple": lambda a: tuple(map(tuple, a)),
    "int": lambda a: np.asarray(a).astype(int),
    "int8": lambda a: np.asarray(a).astype(np.int8),
    "float32": lambda a: np.asarray(a).astype(np.float32),
    "float16": lambda a: np.asarray(a).astype(np.float16),
    "Fortran": lambda a: np.asfortranarray(a),
    "view": lambda a: np.repeat(a, 2, axis=0)[::2],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_real_form_gives_the_same_result(form):
    x, start = np.array([[3, -2], [1, 4]]), np.arange(-7, 7).reshape(2, 7)
    network = Network.mlp([form([[1, 2], [3, 4], [5, -6]]), form([[1, -1, 1]])], [[1, 0, 2], [3]])
    reference = Network.mlp(
        [[[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]], [[1.0, -1.0, 1.0]]], [[1.0, 0.0, 2.0], [3.0]]
    )
    sheaf, other = NeuralSheaf(reference), NeuralSheaf(network)
    assert other.forward(form(x)).dtype == np.float64
    np.testing.assert_array_equal(network(form(x)), reference(x.astype(float)))
    np.testing.assert_array_equal(
        other.discrepancy(form(start), form(x)),
        sheaf.discrepancy(start.astype(float), x.astype(float)),
    )
    pins = hard("z1", form([[1, 2, 3], [4, 5, 6]])), soft("a1", 2, gamma=3)
    np.testing.assert_array_equal(
        harmonic_extension(other, form(x), pins=pins).cochain,
        harmonic_extension(sheaf, x.astype(float), pins=pins).cochain,
    )
    np.testing.assert_array_equal(
        relax(other, form(x), form(start), max_steps=20).cochain,
        relax(sheaf, x.astype(float), start.astype(float), max_steps=20).cochain,
    )


@pytest.mark.parametrize("inputs", [["a1", "x"], ("a1", "x")], ids=["list", "tuple"])
def test_node_inputs_as_list_or_tuple(inputs):
    network = Network(
        1,
        [
            Node("z1", Affine([[1.0]], [1.0]), type(inputs)(["x"])),
            Node("a1", ReLU(1), type(inputs)(["z1"])),
            Node("r", ReLU(1), type(inputs)(["x"])),
            Node("p", Stack(1, 1), inputs),
            Node("z2", Affine([[1.0, 2.0]]), type(inputs)(["p"])),
        ],
    )
    sheaf = NeuralSheaf(network)
    # −W, −diag b
    np.testing.assert_array_equal(
        sheaf.extended.cellular([1, 1]).coboundary[0].toarray().ravel()[:2], [-1.0, -1.0]
    )
    np.testing.assert_allclose(
        relax(sheaf, [[2.0]], np.zeros((1, 6))).cochain, sheaf.forward([[2.0]]), atol=1e-9
    )


def test_pattern_forms():
    for pattern in (
        [True, False, True],
        [1, 0, 1],
        [1.0, 0.0, 1.0],
        np.array([[True, False, True]]),
    ):
        np.testing.assert_array_equal(
            SHEAF.coboundary(pattern).toarray(), SHEAF.coboundary([1, 0, 1]).toarray()
        )


def test_one_pin_or_a_sequence():
    np.testing.assert_array_equal(
        harmonic_extension(SHEAF, X, pins=hard("z1", 1)).cochain,
        harmonic_extension(SHEAF, X, pins=[hard("z1", [1, 1, 1])]).cochain,
    )


@pytest.mark.parametrize(
    "verb",
    [
        lambda x, w, pins: harmonic_extension(SHEAF, x, pins=pins),
        lambda x, w, pins: relax(SHEAF, x, w, pins=pins, max_steps=1),
        lambda x, w, pins: equilibrium(SHEAF, x, pins=pins),
        lambda x, w, pins: exact_flows(SHEAF, x, w, pins=pins, until=0.1),
        lambda x, w, pins: next(joint_flow(SHEAF, x, x[:, :1], pins=pins)),
    ],
    ids=["harmonic_extension", "relax", "equilibrium", "exact_flows", "joint_flow"],
)
def test_pins_that_are_turned_hold_for_their_own_number_of_samples(verb):
    x, w = np.vstack([X, X]), np.vstack([W, W])
    for pin in (soft("z1", [[1.0, 2.0, 3.0]] * 2, 1.0), hard("z1", [[1.0, 2.0, 3.0]] * 2)):
        verb(x, w, resolve(SHEAF, pin, 2))
    for n_batch in (1, 3):
        turned = resolve(SHEAF, hard("z1", 1.0), n_batch)
        with pytest.raises(ValueError, match=f"pins are for {n_batch} samples, expected 2"):
            verb(x, w, turned)


def test_places_and_stiffness_of_pins_are_read_for_any_number_of_samples():
    pins = soft("z2", 0.0, 2.0)
    for n_batch in (1, 3):
        turned = resolve(SHEAF, pins, n_batch)
        assert spectrum.bound(SHEAF, pins=turned) == spectrum.bound(SHEAF, pins=pins)
        assert spectrum.extreme(SHEAF, [1, 0, 1], pins=turned) == spectrum.extreme(
            SHEAF, [1, 0, 1], pins=pins
        )


def test_output_by_name_or_object():
    np.testing.assert_array_equal(
        Network.mlp([[[1.0]]], output=Output("sigmoid"))([[2.0]]),
        Network.mlp([[[1.0]]], output="sigmoid")([[2.0]]),
    )
