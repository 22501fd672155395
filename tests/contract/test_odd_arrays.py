"""Masks are refused wherever arrays enter; numbers of other types are judged as what they are."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import (
    Affine,
    CellularSheaf,
    MaxPool,
    Network,
    NeuralSheaf,
    ReLU,
    backpropagate,
    backward_substitution,
    equilibrium,
    exact_flow,
    forward_substitution,
    gradient_descent,
    hard,
    harmonic_extension,
    heat,
    joint_flow,
    relax,
    report,
    soft,
)
from sheaflib.circuits.minibatch import MiniBatches
from sheaflib.layers import batch_norm, convolution
from sheaflib.linear import spectrum
from sheaflib.sheaves import discord
from sheaflib.support.checks import real_array
from sheaflib.training.drivers import loss

NET = Network.mlp([[[1.0, 2], [3, 4], [5, 6]], [[1, -1, 1]]])
SHEAF = NeuralSheaf(NET)
X, Y, W = np.array([[1.0, 0.5], [0.0, 1.0]]), np.array([[1.0], [2.0]]), np.zeros((2, 7))
POINT = CellularSheaf({"a": 1, "b": 1}, [("a", "b", [[1]], [[1]])])


def masked(values, at=0):
    """The values with one entry masked, under which lies a number nobody means."""
    values = np.ma.array(values, dtype=float, copy=True)
    values.flat[at] = 1e6
    values.mask = np.arange(values.size).reshape(values.shape) == at
    return values


MASKED = {
    "weight": (lambda: Affine(masked([[1, 2]])), r"weight is masked at index \(0, 0\)"),
    "bias": (lambda: Affine([[1, 2]], masked([3])), r"bias is masked at index \(0,\)"),
    "weights of a chain": (
        lambda: Network.mlp([[[1, 2]], masked([[3]])]),
        r"layer 2: weight is masked at index \(0, 0\)",
    ),
    "biases of a chain": (
        lambda: Network.mlp([[[1, 2]]], [masked([3])]),
        r"layer 1: bias is masked",
    ),
    "a row of a weight": (
        lambda: Network.mlp([[[1, 2], masked([3, 4], 1)]]),
        r"layer 1: weight is masked at index \(1, 1\)",
    ),
    "one entry of a weight": (
        lambda: Affine([[1.0, np.ma.masked]]),
        r"weight is masked at index \(0, 1\)",
    ),
    "slope": (lambda: ReLU(2, np.ma.masked), r"slope is masked at index \(\)"),
    "windows": (
        lambda: MaxPool(np.ma.array([[0, 1]], mask=[[0, 1]]), 2),
        r"windows is masked at index \(0, 1\)",
    ),
    "kernel": (
        lambda: convolution(masked(np.ones((1, 1, 2, 2)), 3), (1, 3, 3)),
        r"kernel is masked at index \(0, 0, 1, 1\)",
    ),
    "mean": (lambda: batch_norm([1], [0], masked([0]), [1]), r"mean is masked"),
    "x": (lambda: NET(masked(X, 3)), r"x is masked at index \(1, 1\)"),
    "rows of x": (lambda: NET([X[0], masked(X[1], 1)]), r"x is masked at index \(1, 1\)"),
    "cochain": (lambda: SHEAF.energy(masked(W), X), r"w is masked"),
    "pattern": (lambda: SHEAF.coboundary(masked([1, 0, 1])), r"pattern is masked at index \(0,\)"),
    "edge weight": (lambda: NeuralSheaf(NET, np.ma.masked), r"edge_weights is masked"),
    "injections": (lambda: forward_substitution(SHEAF, masked(W[:1]), [1, 1, 1]), r"f is masked"),
    "sensitivities": (
        lambda: backward_substitution(SHEAF, masked(W[:1]), [1, 1, 1]),
        r"g is masked",
    ),
    "output gradient": (lambda: backpropagate(SHEAF, X, masked(Y)), r"g is masked"),
    "discord": (lambda: discord.total(SHEAF, masked(W), X), r"w is masked"),
    "hard pin": (lambda: hard("z1", masked([1, 2, 3])), r"value is masked"),
    "soft pin": (lambda: soft("z1", masked([1, 2, 3]), gamma=1), r"value is masked"),
    "stiffness": (lambda: soft("z1", 0, gamma=np.ma.masked), r"gamma is masked"),
    "extension": (lambda: harmonic_extension(SHEAF, masked(X)), r"x is masked"),
    "start of heat": (lambda: heat(SHEAF, X, masked(W)), r"start is masked"),
    "start of a relaxation": (lambda: relax(SHEAF, X, masked(W)), r"start is masked"),
    "equilibrium": (lambda: equilibrium(SHEAF, masked(X), pins=hard("z2", Y)), r"x is masked"),
    "exact flow": (lambda: exact_flow(SHEAF, X[:1], masked(W[:1])), r"start is masked"),
    "logits": (
        lambda: spectrum.eigenvalues(
            NeuralSheaf(Network.mlp([[[1]]], output="sigmoid")), [], z=masked([[1]])
        ),
        r"z is masked",
    ),
    "labels of a flow": (lambda: joint_flow(SHEAF, X, masked(Y)), r"y is masked"),
    "stalks of a flow": (lambda: joint_flow(SHEAF, X, Y, start=masked(W)), r"start is masked"),
    "inputs of a descent": (
        lambda: gradient_descent(NeuralSheaf(NET), masked(X), Y, lr=0.1),
        r"x is masked",
    ),
    "labels of a descent": (
        lambda: gradient_descent(NeuralSheaf(NET), X, masked(Y), lr=0.1),
        r"y is masked",
    ),
    "labels of a loss": (lambda: loss(NET, X, masked(Y)), r"y is masked"),
    "labels of mini-batches": (lambda: MiniBatches(NET, X, masked(Y)), r"y is masked"),
    "order of mini-batches": (
        lambda: MiniBatches(NET, X, Y).advance(np.ma.array([[0, 1]], mask=[[0, 1]]), [0.1]),
        r"order is masked at index \(0, 1\)",
    ),
    "rates of mini-batches": (
        lambda: MiniBatches(NET, X, Y).advance([[0, 1]], masked([0.1])),
        r"lr is masked",
    ),
    "inputs of a report": (
        lambda: report(NeuralSheaf(NET), masked(X), Y, progress=False),
        r"x is masked",
    ),
    "labels of a report": (
        lambda: report(NeuralSheaf(NET), X, masked(Y[:, 0]), progress=False),
        r"y is masked at index \(0,\)",
    ),
    "restriction map": (
        lambda: CellularSheaf({"a": 1, "b": 1}, [("a", "b", masked([[1]]), [[1]])]),
        r"restriction map of a-b is masked",
    ),
    "boundary": (
        lambda: POINT.harmonic_extension({"a": masked([1])}),
        r"boundary\['a'\] is masked",
    ),
}


@pytest.mark.parametrize("call, message", MASKED.values(), ids=MASKED)
def test_masked_entries_are_refused(call, message):
    with pytest.raises(
        ValueError,
        match=message
        + r".*, expected no masked entries: fill them with numbers by its method filled\(…\), or"
        r" leave these",
    ):
        call()


def test_a_masked_array_of_which_nothing_is_masked_is_its_data():
    for mask in (np.ma.nomask, np.zeros((2, 2), dtype=bool)):
        np.testing.assert_array_equal(NET(np.ma.array(X, mask=mask)), NET(X))
    assert type(real_array("x", np.ma.array(X))) is np.ndarray


# numbers that are no float64 ----------------------------------------------------------------------

WIDER = pytest.mark.skipif(
    np.finfo(np.longdouble).max == np.finfo(float).max, reason="long double is double here"
)


@WIDER
def test_what_is_finite_is_not_called_infinite():
    wide = np.array([[1, 2], [3, -4]], dtype=np.longdouble)
    wide[1, 1] *= np.longdouble(10) ** 400
    with (
        np.errstate(all="raise"),
        pytest.raises(
            ValueError,
            match=(
                r"x holds -4e\+400 at index \(1, 1\), which is finite but too large for float64, .*"
                r" 1\.8e308"
            ),
        ),
    ):
        NET(wide)
    wide[0, 0] = np.inf
    with pytest.raises(ValueError, match=r"x must be finite, got inf at index \(0, 0\)"):
        NET(wide)


@WIDER
@given(st.fractions(-(10**6), 10**6))
def test_long_doubles_become_the_nearest_float64(number):
    wide = np.longdouble(number.numerator) / np.longdouble(number.denominator)
    near = float(real_array("x", wide))
    exact = Fraction(*(int(part) for part in wide.as_integer_ratio()))
    for other in (np.nextafter(near, np.inf), np.nextafter(near, -np.inf)):
        assert abs(Fraction(near) - exact) <= abs(Fraction(float(other)) - exact)


@given(
    st.one_of(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.just(np.int64)),
        st.tuples(st.integers(0, 2**64 - 1), st.just(np.uint64)),
    )
)
def test_whole_numbers_beyond_2_to_the_53_are_rounded_as_pythons_are(number):
    value, dtype = number
    assert float(real_array("x", np.array(value, dtype=dtype))) == float(value)


def test_every_half_precision_number_is_kept():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    np.testing.assert_array_equal(real_array("x", every).astype(np.float16), every)


@pytest.mark.parametrize(
    "dtype", [[("a", float), ("b", float)], "M8[s]", "m8[s]", "V8", object, "S3", complex], ids=str
)
def test_what_holds_no_real_numbers_is_refused(dtype):
    values = np.zeros((1, 2), dtype)
    with pytest.raises(TypeError, match=r"x has dtype .*, expected real numbers"):
        NET(values)
    with pytest.raises(TypeError, match=r"weight has dtype .*, expected real numbers"):
        Affine(values)
    with pytest.raises(TypeError, match=r"x has dtype .*, expected real numbers"):
        NET(np.ma.array(values))


def test_matrices_and_single_numbers():
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    weight = Affine(matrix).weight
    assert type(weight) is np.ndarray
    np.testing.assert_array_equal(Affine(weight).value(X), X @ np.array([[1, 3], [2, 4]]))
    np.testing.assert_array_equal(NET(matrix), NET([[1, 2], [3, 4]]))
    for single in (3.0, np.float32(3), np.array(3.0)):
        with pytest.raises(ValueError, match=r"x has the wrong shape: got \(\), expected \(B, 2\)"):
            NET(single)
        with pytest.raises(ValueError, match=r"weight has shape \(\), expected \(n_out, n_in\)"):
            Affine(single)
    assert ReLU(2, np.array(0.5)).slope == 0.5


def test_frames_and_series():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 0.0], "b": [0.5, 1.0]}, index=[7, 3])
    np.testing.assert_array_equal(NET(frame), NET(X))
    np.testing.assert_array_equal(
        Affine(frame, pandas.Series([1, 2], index=[5, 4])).value(X), X @ X.T + [1, 2]
    )
    for nullable in (frame.astype("Float64"), frame.astype("Float64").mask(frame == 1.0)):
        with pytest.raises(TypeError, match="x has dtype object, expected real numbers"):
            NET(nullable)
    with pytest.raises(TypeError, match="x has dtype object, expected real numbers"):
        NET(pandas.DataFrame({"a": ["u", "v"], "b": [1, 2]}))
