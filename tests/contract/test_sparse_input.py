"""Sparse matrices are looked at before any compiled loop, which trusts their indices, sees them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse
from hypothesis import given
from hypothesis import strategies as st

from sheaflib import (
    Affine,
    CellularSheaf,
    Network,
    NeuralSheaf,
    ReLU,
    SheafEdge,
    gradient_descent,
    joint_flow,
)
from sheaflib.training.chains import FusedDescentStepper, FusedJointStepper, can_fuse

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]
NAN = float("nan")
DENSE = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 3.0]])


def altered(form, part, value, place=None):
    """A sound (2, 4) matrix of a format with one part replaced, or one entry of it."""
    matrix = getattr(sparse, f"{form}_array")(DENSE)
    if place is None:
        setattr(matrix, part, value)
    else:
        getattr(matrix, part)[place] = value
    return matrix


def coo(part, place, value):
    """A coo matrix with one coordinate of the rows (0) or columns (1) changed after it was made."""
    matrix = sparse.coo_array(DENSE)
    matrix.coords[part][place] = value
    return matrix


def dok(key):
    matrix = sparse.dok_array(DENSE)
    matrix._dict[key] = 1.0
    return matrix


ODD = {
    "csr column far below": (
        lambda: altered("csr", "indices", -5_000_000, 1),
        ValueError,
        r"weight.indices holds -5000000 at index \(1,\), expected 0 … 3",
    ),
    "csr column outside": (
        lambda: altered("csr", "indices", 7, 0),
        ValueError,
        r"weight.indices holds 7 .*expected 0 … 3",
    ),
    "csr column one too large": (
        lambda: altered("csr", "indices", 4, 0),
        ValueError,
        r"weight.indices holds 4",
    ),
    "csr fractional columns": (
        lambda: altered("csr", "indices", np.array([0.0, 1.5, 3.0])),
        TypeError,
        r"weight.indices has dtype float64, expected whole numbers",
    ),
    "csr too few columns": (
        lambda: altered("csr", "indices", np.array([0, 2])),
        ValueError,
        r"weight.indices has shape \(2,\), expected \(3,\): one for every entry of weight.data",
    ),
    "csr too few entries": (
        lambda: altered("csr", "data", np.ones(2)),
        ValueError,
        r"weight.indptr holds 3 at index \(2,\), expected 0 … 2",
    ),
    "csr columns of two dimensions": (
        lambda: altered("csr", "indices", np.zeros((3, 1), int)),
        ValueError,
        r"weight.indices has shape \(3, 1\)",
    ),
    "csr entries of two dimensions": (
        lambda: altered("csr", "data", np.ones((3, 1))),
        ValueError,
        r"weight.data has shape \(3, 1\), expected 1 dim",
    ),
    "csr row beyond the entries": (
        lambda: altered("csr", "indptr", 10**9, 2),
        ValueError,
        r"weight.indptr holds 1000000000 .*expected 0 … 3",
    ),
    "csr negative row": (
        lambda: altered("csr", "indptr", -3, 1),
        ValueError,
        r"weight.indptr holds -3",
    ),
    "csr rows that fall": (
        lambda: altered("csr", "indptr", np.array([0, 3, 2])),
        ValueError,
        r"numbers that begin at 0 and never fall",
    ),
    "csr rows that fall, unsigned": (
        lambda: altered("csr", "indptr", np.array([0, 3, 2], np.uint32)),
        ValueError,
        r"never fall",
    ),
    "csr rows that begin late": (lambda: altered("csr", "indptr", 1, 0), ValueError, r"begin at 0"),
    "csr too few rows": (
        lambda: altered("csr", "indptr", np.array([0, 3])),
        ValueError,
        r"weight.indptr has shape \(2,\), expected \(3,\)",
    ),
    "csr too many rows": (
        lambda: altered("csr", "indptr", np.array([0, 1, 2, 3])),
        ValueError,
        r"weight.indptr has shape \(4,\)",
    ),
    "csc row outside": (
        lambda: altered("csc", "indices", 2, 0),
        ValueError,
        r"weight.indices holds 2 .*expected 0 … 1",
    ),
    "csc too few columns": (
        lambda: altered("csc", "indptr", np.array([0, 1, 3])),
        ValueError,
        r"weight.indptr has shape \(3,\), expected \(5,\)",
    ),
    "bsr block outside": (
        lambda: altered("bsr", "indices", 4, 0),
        ValueError,
        r"weight.indices holds 4",
    ),
    "bsr blocks that do not divide": (
        lambda: altered("bsr", "data", np.ones((3, 1, 3))),
        ValueError,
        r"blocks of shape \(1, 3\), which do not divide",
    ),
    "bsr without blocks": (
        lambda: altered("bsr", "data", np.ones(3)),
        ValueError,
        r"weight.data has shape \(3,\), expected 3 dimensions",
    ),
    "coo row below": (
        lambda: coo(0, 1, -1),
        ValueError,
        r"weight.row holds -1 at index \(1,\), expected 0 … 1",
    ),
    "coo column outside": (
        lambda: coo(1, 0, 4),
        ValueError,
        r"weight.col holds 4 at index \(0,\), expected 0 … 3",
    ),
    "coo too few rows": (
        lambda: altered("coo", "coords", (np.zeros(2, int), np.zeros(3, int))),
        ValueError,
        r"has 2 row and 3 column indices",
    ),
    "coo too few entries": (
        lambda: altered("coo", "data", np.ones(2)),
        ValueError,
        r"every of its 2 entries",
    ),
    "dia too few diagonals": (
        lambda: altered("dia", "offsets", np.array([0])),
        ValueError,
        r"weight.offsets has shape \(1,\)",
    ),
    "dia fractional diagonals": (
        lambda: altered("dia", "offsets", np.array([0.0, 2.5])),
        ValueError,
        r"weight.offsets .*float64",
    ),
    "lil column outside": (
        lambda: altered("lil", "rows", [0, 4], 0),
        ValueError,
        r"weight.col holds 4",
    ),
    "lil column below": (
        lambda: altered("lil", "rows", [-1], 1),
        ValueError,
        r"weight.col holds -1",
    ),
    "lil more entries than columns": (
        lambda: altered("lil", "data", [1.0, 2.0, 3.0], 0),
        ValueError,
        r"weight.rows and weight.data hold lists",
    ),
    "lil too few rows": (
        lambda: altered("lil", "rows", np.array([[0, 1], []], dtype=object)[:1]),
        ValueError,
        r"expected 2 lists of each",
    ),
    "dok row outside": (lambda: dok((2, 0)), ValueError, r"weight.row holds 2"),
    "dok column below": (lambda: dok((0, -1)), ValueError, r"weight.col holds -1"),
    "masked entries": (
        lambda: altered("csr", "data", np.ma.array([1.0, 2, 3], mask=[0, 1, 0])),
        ValueError,
        r"weight.data is masked at index \(1,\)",
    ),
    "masked columns": (
        lambda: altered("csr", "indices", np.ma.array([0, 2, 3], mask=[0, 0, 1])),
        ValueError,
        r"weight.indices is masked",
    ),
    "a sum too large": (
        lambda: sparse.coo_array(([1.5e308, 1.5e308], ([0, 0], [0, 0])), shape=(1, 1)),
        ValueError,
        r"weight holds entries at one place whose sum is too large for float64",
    ),
    **{
        f"NaN, {form}": (
            lambda form=form: getattr(sparse, f"{form}_array")(np.array([[NAN]])),
            ValueError,
            r"weight.data must be finite, got nan",
        )
        for form in FORMATS
    },
    **{
        f"complex, {form}": (
            lambda form=form: getattr(sparse, f"{form}_array")(np.array([[1j]])),
            TypeError,
            r"weight.data has dtype complex128",
        )
        for form in FORMATS
    },
}


@pytest.mark.parametrize("make, error, message", ODD.values(), ids=ODD)
def test_an_unsound_sparse_matrix_is_refused_by_its_part(make, error, message):
    matrix = make()
    with pytest.raises(error, match=message):
        Affine(matrix)
    with pytest.raises(
        error,
        match=f"layer 2: {message.partition('|')[0]}" if message.startswith("weight") else message,
    ):
        Network.mlp([np.ones((4, 1)), matrix])


@pytest.mark.parametrize("column", [-5_000_000, 7])
def test_an_index_outside_ends_no_process(column):
    """In a process of its own, which once ended by a segmentation fault or read foreign memory."""
    code = (
        "import numpy as np, scipy.sparse as sparse; from sheaflib import Affine, Network\n"
        f"W = sparse.csr_array(np.eye(3)); W.indices[1] = {column}\n"
        "print(Network(3, [('z', Affine(W))])([[1.0, 2.0, 3.0]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and not done.stdout
    assert (
        done.stderr.splitlines()[-1]
        == f"ValueError: weight.indices holds {column} at index (1,), expected 0 … 2"
    )


@pytest.mark.parametrize("column", [-5_000_000, 2])
def test_a_general_sheaf_looks_at_its_restriction_maps(column):
    bad = sparse.csr_array(np.ones((1, 2)))
    bad.indices[0] = column
    with pytest.raises(
        ValueError, match=rf"from_tail of edge 'e'.indices holds {column} .*expected 0 … 1"
    ):
        CellularSheaf(
            {"a": 2, "b": 1}, [SheafEdge("e", "a", "b", bad, sparse.csr_array(np.ones((1, 1))))]
        )


# sound ones ---------------------------------------------------------------------------------------


@st.composite
def entries(draw):
    """A shape, and entries at places that may repeat, in any order."""
    n, m = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    place = st.tuples(st.integers(0, n - 1), st.integers(0, m - 1), st.integers(-9, 9))
    return (n, m), draw(st.lists(place, max_size=12))


@given(
    entries(),
    st.sampled_from(FORMATS),
    st.sampled_from([np.float64, np.float32, np.int8, np.int64, np.uint64]),
)
def test_every_format_is_the_matrix_it_says(given_entries, form, dtype):
    """The oracle adds the entries up one by one."""
    (n, m), places = given_entries
    dense = np.zeros((n, m))
    places = [(i, j, abs(value)) if dtype is np.uint64 else (i, j, value) for i, j, value in places]
    for i, j, value in places:
        dense[i, j] += value
    rows, columns, data = (
        (np.array(part, dtype=kind) for part, kind in zip(zip(*places), (int, int, dtype)))
        if places
        else ([], [], [])
    )
    matrix = sparse.coo_array(
        (np.asarray(data, dtype), (np.asarray(rows, int), np.asarray(columns, int))), shape=(n, m)
    )
    weight = Affine(matrix if form == "coo" else matrix.astype(float).asformat(form)).weight
    assert (
        isinstance(weight, sparse.csr_array)
        and weight.dtype == np.float64
        and weight.has_canonical_format
    )
    np.testing.assert_array_equal(weight.toarray(), dense)


@given(entries(), st.sampled_from(["csr", "csc"]), st.integers(0, 3))
def test_rows_may_be_unsorted_repeat_columns_and_leave_room(given_entries, form, room):
    """The parts are made by hand, in the order of the entries; the matrix given is not changed."""
    (n, m), places = given_entries
    major, minor = (0, 1) if form == "csr" else (1, 0)
    places = sorted(places, key=lambda place: place[major])
    dense = np.zeros((n, m))
    for i, j, value in places:
        dense[i, j] += value
    kind = getattr(sparse, f"{form}_array")
    matrix = kind((n, m))
    matrix.indptr = np.searchsorted(
        [place[major] for place in places], np.arange((n, m)[major] + 1)
    ).astype(np.int32)
    matrix.indices = np.array([place[minor] for place in places] + [0] * room, dtype=np.int32)
    matrix.data = np.array([place[2] for place in places] + [99] * room, dtype=float)
    before = [matrix.indptr.copy(), matrix.indices.copy(), matrix.data.copy()]
    np.testing.assert_array_equal(Affine(matrix).weight.toarray(), dense)
    for part, was in zip((matrix.indptr, matrix.indices, matrix.data), before):
        np.testing.assert_array_equal(part, was)
        assert part.flags.writeable


@pytest.mark.parametrize(
    "kind",
    [
        sparse.csr_matrix,
        sparse.csc_matrix,
        sparse.coo_matrix,
        sparse.bsr_matrix,
        sparse.dia_matrix,
        sparse.lil_matrix,
        sparse.dok_matrix,
    ],
)
def test_the_older_matrix_classes_and_blocks(kind):
    np.testing.assert_array_equal(Affine(kind(DENSE)).weight.toarray(), DENSE)
    blocks = sparse.bsr_array(np.kron(DENSE, np.ones((2, 3))), blocksize=(2, 3))
    np.testing.assert_array_equal(Affine(blocks).weight.toarray(), np.kron(DENSE, np.ones((2, 3))))


def test_what_a_diagonal_holds_outside_the_matrix_is_no_entry():
    diagonals = sparse.dia_array(
        (np.array([[1.0, 2.0, 3.0], [NAN, 5.0, 6.0]]), [0, 1]), shape=(2, 3)
    )
    np.testing.assert_array_equal(Affine(diagonals).weight.toarray(), [[1, 5, 0], [0, 2, 6]])


def test_duplicates_have_one_gradient():
    """W = 1 + 2 at one place: its gradient is that of the dense W there, not twice as much."""
    W = Affine(sparse.coo_array(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2)))
    a, e = np.array([[2.0, 3.0], [1.0, 5.0]]), np.array([[1.0, 7.0], [2.0, 1.0]])
    gradient = W.gradient(a, e)["weight"]
    np.testing.assert_array_equal(
        gradient.toarray(), np.where(W.weight.toarray() != 0, e.T @ a, 0.0)
    )


# engines ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not can_fuse(Network.mlp([[[1.0]]])), reason="numba is not there")
def test_an_engine_for_chains_refuses_other_networks():
    """Its loops find a layer in a flat array by the widths of a chain."""
    x, y = np.ones((3, 2)), np.ones((3, 1))
    wide = [("z1", Affine(np.ones((40, 2)))), ("a1", ReLU(40))]
    for network in (
        Network(2, [*wide, ("z2", Affine(np.ones((1, 2))), "x")]),
        Network(2, [("z1", Affine(sparse.csr_array(np.ones((1, 2)))))]),
    ):
        with pytest.raises(ValueError, match="expected a chain of dense affine maps with ReLUs"):
            gradient_descent(NeuralSheaf(network), x, y, lr=0.1, stepper=FusedDescentStepper)
        with pytest.raises(ValueError, match="expected a chain of dense affine maps with ReLUs"):
            joint_flow(NeuralSheaf(network), x, y, stepper=FusedJointStepper)
