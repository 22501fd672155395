"""Bad input to the equilibrium solvers is refused by the argument's name; arguments are left alone;
samples do not see each other.
"""

from dataclasses import replace

import numpy as np
import pytest
from equilibrium_cases import DAGS, MODES, small, toy
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import Affine, MaxPool, Network, NeuralSheaf, ReLU, Stack, hard, soft
from sheaflib.equilibria.enumeration import enumerate_equilibria
from sheaflib.equilibria.newton import equilibrium

NET = Network.mlp([[[1, 2], [3, 4], [5, 6]], [[1, -1, 1]]])
SHEAF, X = NeuralSheaf(NET), np.array([[1.0, 0.5], [0.0, 1.0]])
SOFTMAX = NeuralSheaf(Network.he([2, 3, 2], np.random.default_rng(0), "softmax"))
POOL = Network(2, [("z1", Affine(np.eye(2))), ("m", MaxPool([[0, 1], [1, 1]], 2))])
OVERLAPPING = Network(2, [("z1", Affine(np.eye(2))), ("m", MaxPool([[0, 1], [1, 0]], 2))])
WIDE = Network(2, [("z1", Affine(np.ones((13, 2)))), ("m", MaxPool([range(13)], 13))])
BOTH = Network(
    2,
    [
        ("z1", Affine(np.eye(2))),
        ("a1", ReLU(2)),
        ("y", Affine(np.eye(2)), "z1"),
        ("p", Stack(2, 2), ("y", "a1")),
    ],
)
CHAINED = Network(2, [("z1", Affine(np.eye(2))), ("a1", ReLU(2)), ("a2", ReLU(2, 0.5))])
RESTACKED = Network(
    2,
    [("z1", Affine(np.eye(2))), ("a1", ReLU(2)), ("p", Stack(2, 2), ("z1", "a1")), ("b", ReLU(4))],
)
NAN, INF = float("nan"), float("inf")


def solve(sheaf=SHEAF, x=X, pins=(), start=None, **options):
    return lambda: equilibrium(sheaf, x, pins=pins, start=start, **options)


def enumerated(sheaf=SHEAF, x=X[:1], pins=()):
    return lambda: enumerate_equilibria(sheaf, x, pins=pins)


BAD = {
    "unknown mode": (
        solve(mode="greedy"),
        ValueError,
        r"mode='greedy' is unknown, expected one of track, global",
    ),
    "no mode": (solve(mode=None), ValueError, r"mode=None is unknown"),
    "tol = 0": (solve(tol=0), ValueError, r"tol=0 must be > 0"),
    "negative tol": (solve(tol=-1e-9), ValueError, r"tol=-1e-09 must be > 0"),
    "NaN tol": (solve(tol=NAN), ValueError, r"tol must be finite, got nan"),
    "text tol": (solve(tol="small"), TypeError, r"tol has dtype"),
    "no iterations": (solve(max_iterations=0), ValueError, r"max_iterations=0 must be ≥ 1"),
    "half an iteration": (
        solve(max_iterations=2.5),
        TypeError,
        r"max_iterations=2\.5 must be a whole number",
    ),
    "narrow start": (
        solve(start=np.zeros((2, 6))),
        ValueError,
        r"start has the wrong shape: got \(2, 6\), expected \(B, 7\)",
    ),
    "1-D start": (
        solve(start=np.zeros(7)),
        ValueError,
        r"start has the wrong shape: got \(7,\), expected \(B, 7\): use start\[None\]",
    ),
    "start of three samples": (
        solve(start=np.zeros((3, 7))),
        ValueError,
        r"start has 3 rows, expected 2: one a row of x",
    ),
    "infinite start": (
        solve(start=np.full((2, 7), INF)),
        ValueError,
        r"start must be finite, got inf",
    ),
    "a solution for start": (
        solve(start=equilibrium(SHEAF, X)),
        TypeError,
        r"start is a Equilibrium, expected its array: use \.cochain",
    ),
    "wide x": (
        solve(x=np.ones((2, 3))),
        ValueError,
        r"x has the wrong shape: got \(2, 3\), expected \(B, 2\)",
    ),
    "1-D x": (
        solve(x=[1.0, 2.0]),
        ValueError,
        r"x has the wrong shape: got \(2,\), expected \(B, 2\): use x\[None\]",
    ),
    "no samples": (solve(x=np.zeros((0, 2))), ValueError, r"x is an empty batch"),
    "NaN x": (solve(x=[[NAN, 0.0]]), ValueError, r"x must be finite, got nan"),
    "network for sheaf": (
        solve(NET),
        TypeError,
        r"sheaf is a Network, expected NeuralSheaf\(network\)",
    ),
    "max-pool": (
        solve(NeuralSheaf(POOL)),
        ValueError,
        r"node 'm' reads windows of the stalk 'z1' that overlap.*do not lie apart: take"
        r" the sheaf of network\.separated\(\), or use relax",
    ),
    "affine map on a kink": (
        solve(NeuralSheaf(BOTH)),
        ValueError,
        r"reads the stalk 'z1', which the affine node 'y' reads too.*network\.separated\(\)",
    ),
    "ReLU of a ReLU": (
        solve(NeuralSheaf(CHAINED)),
        ValueError,
        r"reads the stalk 'a1', which itself reads the kinked stalk 'z1'.*\.separated\(\)",
    ),
    "ReLU of a stack of kinks": (
        solve(NeuralSheaf(RESTACKED)),
        ValueError,
        r"reads the stalk 'p', which itself reads the kinked stalk 'z1'.*\.separated\(\)",
    ),
    "half a label": (
        solve(SOFTMAX, pins=hard("a_out", 1.0, at=0)),
        ValueError,
        r"pins on a_out hold a softmax in part, or by unequal springs: pin all of it alike.*relax",
    ),
    "hard and soft label": (
        solve(SOFTMAX, pins=[hard("a_out", 1.0, at=0), soft("a_out", 0.0, 1.0, at=1)]),
        ValueError,
        r"pins on a_out hold a softmax in part, or by unequal springs",
    ),
    "uneven springs on a label": (
        solve(SOFTMAX, pins=[soft("a_out", 1.0, 2.0, at=0), soft("a_out", 0.0, 1.0, at=1)]),
        ValueError,
        r"pins on a_out hold a softmax in part, or by unequal springs",
    ),
    "label of an identity": (
        solve(pins=hard("a_out", 1.0)),
        ValueError,
        r"stalk 'a_out' is unknown, expected one of z1, a1, z2",
    ),
    "pin on an unknown stalk": (solve(pins=hard("z9", 0)), ValueError, r"stalk 'z9' is unknown"),
    "pin outside": (solve(pins=hard("z1", 0, at=3)), ValueError, r"pin at=3 is out of range"),
    "pins of another batch": (
        solve(pins=hard("z1", np.zeros((3, 3)))),
        ValueError,
        r"pin value on 'z1' has shape \(3, 3\)",
    ),
    "contradicting pins": (
        solve(pins=[hard("z1", 0.0), hard("z1", 1.0)]),
        ValueError,
        r"two hard pins contradict on z1\[0\]",
    ),
    "a number for pins": (solve(pins=3), TypeError, r"pins is 3, expected a pin"),
    "a name among the pins": (solve(pins=["z1"]), TypeError, r"pins holds 'z1'"),
    "others from no start": (
        lambda: equilibrium(SHEAF, X).others(0),
        ValueError,
        r"starts=0 must be ≥ 1",
    ),
    # enumeration
    "faces of two samples": (
        enumerated(x=X),
        ValueError,
        r"x has 2 rows, expected 1: the faces are those of one sample",
    ),
    "too many faces": (
        enumerated(NeuralSheaf(Network.he([2, 13, 1], np.random.default_rng(0)))),
        ValueError,
        r"sheaf has 13 free kinks, which make 1594323 faces, expected at most 531441",
    ),
    "faces of a network": (
        enumerated(NET),
        TypeError,
        r"sheaf is a Network, expected NeuralSheaf\(network\)",
    ),
    "faces of a shared stalk": (
        enumerated(NeuralSheaf(BOTH)),
        ValueError,
        r"node 'a1' reads the stalk 'z1', which the affine node 'y' reads too.*network\.separated",
    ),
    "faces of windows that overlap": (
        enumerated(NeuralSheaf(OVERLAPPING)),
        ValueError,
        r"node 'm' reads windows of the stalk 'z1' that overlap.*network\.separated\(\)",
    ),
    "faces of a wide window": (
        enumerated(NeuralSheaf(WIDE)),
        ValueError,
        r"sheaf has a window of 13 entries that are not clamped, expected at most 12",
    ),
    "faces with a label": (
        enumerated(SOFTMAX, pins=hard("a_out", [1.0, 0.0])),
        ValueError,
        r"a_out is pinned: its edge is not quadratic",
    ),
    "faces of a wide x": (
        enumerated(x=np.ones((1, 3))),
        ValueError,
        r"x has the wrong shape: got \(1, 3\), expected \(B, 2\)",
    ),
}


@pytest.mark.parametrize("call, exception, message", BAD.values(), ids=BAD)
def test_refused_by_name(call, exception, message):
    with pytest.raises(exception, match=message):
        call()


def test_clamping_brings_a_net_within_the_limit():
    sheaf = NeuralSheaf(Network.he([2, 13, 1], np.random.default_rng(0)))
    pins = [hard("z1", 1.0, at=range(10)), hard("z2", 2.0)]
    assert enumerate_equilibria(sheaf, [[1.0, 0.5]], pins=pins).sides.shape[1] == 3


def test_arguments_are_left_alone_and_later_changes_do_not_reach_in():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2))
    start = rng.standard_normal((2, 7))
    value = rng.standard_normal((2, 1))
    kept = x.copy(), start.copy(), value.copy()
    pins = [hard("z2", value), soft("z1", 0.5, 2.0, at=1)]
    found = equilibrium(SHEAF, x, pins=pins, start=start)
    enumerate_equilibria(SHEAF, x[:1], pins=[soft("z1", value[0], 2.0, at=1)])
    for array, before in zip((x, start, value), kept):
        np.testing.assert_array_equal(array, before)
    x += 1
    start += 1
    assert found.residual < 1e-10 and found.certificate.minimum().all()
    np.testing.assert_array_equal(found.x, kept[0])


@given(st.sampled_from(DAGS), st.sampled_from(MODES), st.booleans(), st.integers(0, 2**32 - 1))
def test_samples_do_not_see_each_other(kind, mode, from_start, seed):
    """A batch gives what its samples give one by one (the last CG steps may differ in number, being
    rounding).
    """
    p = small(kind, np.random.default_rng(seed), n_batch=4)
    start = p.start if from_start else None
    together = equilibrium(p.sheaf, p.x, pins=p.pins, start=start, mode=mode)
    for i in range(4):
        pins = [
            type(pin)(
                pin.stalk, pin.value[[i]] if pin.value.ndim == 2 else pin.value, pin.at, pin.gamma
            )
            for pin in p.pins
        ]
        alone = equilibrium(
            p.sheaf, p.x[[i]], pins=pins, start=None if start is None else start[[i]], mode=mode
        )
        np.testing.assert_allclose(together.cochain[[i]], alone.cochain, rtol=1e-12, atol=1e-12)
        assert together.converged[i] == alone.converged[0]


class Counting:
    """A matrix-free affine map that counts how often it is applied, forward or transposed."""

    def __init__(self, weight):
        self.weight, self.count, self.operation = weight, 0, None
        self.operation = Affine.from_maps(self.apply, self.adjoint, weight.shape)

    def apply(self, a):
        self.count += 1
        return a @ self.weight.T

    def adjoint(self, e):
        self.count += 1
        return e @ self.weight


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", MODES)
def test_passes_are_counted_as_documented(seed, mode):
    """2 at the start, 2 + 2·CG in each iteration, 1 to 5 for each look at all coordinates; a hidden
    layer's weights are touched so often.

    Of a look, the passes over the absolute values of a matrix-free map are not seen here.
    """
    p = toy(seed, (2, 5, 4, 1))
    weights = [Counting(node.operation.weight) for node in p.sheaf.network.affine_nodes]
    network = Network.mlp([w.operation for w in weights])
    for weight in weights:
        weight.operation.absolute(np.ones((1, weight.operation.n_in)))  # asks for its entries once
        weight.count = 0
    found = equilibrium(NeuralSheaf(network), p.x, pins=p.pins, start=p.start, mode=mode)
    looks = found.passes[0] - (2 + 2 * found.iterations + 2 * found.cg)[0]
    unseen = found.passes[0] - weights[1].count
    assert 1 <= looks <= 5 * (found.iterations[0] + 1) and found.iterations[0] > 0
    assert 0 <= unseen < looks


def test_too_few_iterations_are_admitted():
    """The answer says so, in its flags and in its repr, and no certificate is issued for it."""
    p = toy(1, (2, 12, 12, 12, 1))
    full = equilibrium(p.sheaf, p.x, pins=p.pins, start=p.start)
    cut = equilibrium(p.sheaf, p.x, pins=p.pins, start=p.start, max_iterations=1)
    assert full.iterations[0] > 1 and full.converged.all() and cut.iterations.tolist() == [1]
    assert (
        not cut.converged.any()
        and not cut.certificate.minimum().any()
        and "1 of 1 samples not converged" in repr(cut)
    )


@pytest.mark.filterwarnings("error")
def test_a_unit_that_nothing_reaches():
    """A zero row of W: the force at its corner does not depend on anything, and no warning is
    due.
    """
    sheaf = NeuralSheaf(Network.mlp([[[0.0], [1.0]], [[1.0, 1.0]]]))
    found = equilibrium(sheaf, [[1.0]], pins=hard("a1", -1.0, at=0))
    assert (
        found.converged.all()
        and found.certificate.minimum().all()
        and not np.isnan(found.certificate.margin).any()
    )


def test_the_lowest_of_nothing_is_refused():
    """A sample for which no start converged has no lowest equilibrium: it is named."""
    others = equilibrium(SHEAF, X, pins=hard("z2", 1.0)).others(2)
    assert others.lowest.shape == (2, SHEAF.N)
    empty = replace(
        others,
        energies=[others.energies[0], others.energies[1][:0]],
        cochains=[others.cochains[0], others.cochains[1][:0]],
    )
    with pytest.raises(
        ValueError, match="sample 1 has no equilibrium: none of its 3 starts converged"
    ):
        empty.lowest
